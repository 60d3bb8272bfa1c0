/* Rejects for people: written. */
#include "engine/cli/reject_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/cli/text.h"
#include "engine/log.h"
#include "readers/cutter.h"

static const char header[] = "record,input,line,offset,column,sqlstate,reason,key\n";

struct rendering {
    const struct reject_files *files;
    const struct ledger *ledger;
    const struct reject_inputs *inputs;
    FILE *file, *reasons;
    char file_new[CHECKPOINT_PATH_MAX + 32], reasons_new[CHECKPOINT_PATH_MAX + 32];
    int64_t count;
};

enum status reject_files_name(struct reject_files *files, const struct options *options, struct error *error)
{
    enum status status = command_default_path(options, options->reject_file, "rejects", files->file, error);

    if (status == STATUS_OK)
        snprintf(files->reasons, sizeof files->reasons, "%s.reasons", files->file);
    return status;
}

/* The job that the first line of FILE.reasons is of: its key begins the last field. */
static bool is_of_job(const char *path, const char *job)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    bool ours = false;

    if (file == NULL)
        return false;
    if (getline(&line, &room, file) > 0 && strcmp(line, header) == 0)
        while (!ours && getline(&line, &room, file) > 0) {
            char *key = strrchr(line, ',');

            ours = key != NULL && strncmp(key + 1, job, strlen(job)) == 0 && key[1 + strlen(job)] == ':';
        }
    free(line);
    fclose(file);
    return ours;
}

enum status reject_files_claim(const struct reject_files *files, const char *job, struct error *error)
{
    bool there = access(files->file, F_OK) == 0, reasons = access(files->reasons, F_OK) == 0;

    if ((!there && !reasons) || is_of_job(files->reasons, job))
        return STATUS_OK;
    return error_set(error, STATUS_USAGE,
                     "%s is there, and not made by this job: it is not written over. Move it away, or give another"
                     " --reject-file",
                     there ? files->file : files->reasons);
}

/* ---- Rendering ---- */

static void csv_text(FILE *file, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, file);
        return;
    }
    putc('"', file);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putc('"', file);
        putc(*text == '\n' || *text == '\r' ? ' ' : *text, file);
    }
    putc('"', file);
}

static enum status render_one(void *context, const struct reject *reject, struct error *error)
{
    struct rendering *rendering = context;
    const struct reject_inputs *inputs = rendering->inputs;
    const struct reject_key *key = &reject->key;
    bool ended = record_text_size(reject->record, reject->size) < reject->size;
    FILE *reasons = rendering->reasons;

    (void)error;
    fwrite(reject->record, 1, reject->size, rendering->file);
    if (!ended)
        putc('\n', rendering->file);
    fprintf(reasons, "%" PRId64 ",", ++rendering->count);
    csv_text(reasons, (size_t)key->input < inputs->count ? inputs->names[key->input] : "");
    if (inputs->placed)
        fprintf(reasons, ",%" PRId64 ",%" PRId64 ",", reject->line, key->offset);
    else
        fputs(",,,", reasons);
    csv_text(reasons, reject->column);
    fprintf(reasons, ",%s,", reject->sqlstate);
    csv_text(reasons, reject->reason);
    fprintf(reasons, ",%s:%" PRId32 ":%" PRId64 ":%" PRId64 "\n", rendering->ledger->job, key->input, key->lo,
            key->offset);
    return STATUS_OK;
}

static enum status finish_file(FILE **file, const char *path, enum status status, struct error *error)
{
    bool fine = *file != NULL && fflush(*file) == 0 && !ferror(*file) && fsync(fileno(*file)) == 0;

    if (!fine && status == STATUS_OK)
        status = error_set_errno(error, STATUS_SYSTEM, "cannot write %s", path);
    if (*file != NULL)
        fclose(*file);
    *file = NULL;
    return status;
}

static bool same_content(const char *one, const char *other)
{
    FILE *a = fopen(one, "r"), *b = fopen(other, "r");
    bool same = a != NULL && b != NULL;
    int c = 0;

    while (same && c != EOF) {
        c = getc(a);
        same = c == getc(b);
    }
    if (a != NULL)
        fclose(a);
    if (b != NULL)
        fclose(b);
    return same;
}

/* FILE is written before FILE.reasons, so it is newer only if somebody has touched it since. */
static bool was_edited(const struct reject_files *files)
{
    struct stat file, reasons;

    if (stat(files->file, &file) != 0 || stat(files->reasons, &reasons) != 0)
        return false;
    return file.st_mtim.tv_sec != reasons.st_mtim.tv_sec ? file.st_mtim.tv_sec > reasons.st_mtim.tv_sec
                                                         : file.st_mtim.tv_nsec > reasons.st_mtim.tv_nsec;
}

static enum status keep_edited(const struct reject_files *files, struct error *error)
{
    char file[CHECKPOINT_PATH_MAX + 32], reasons[CHECKPOINT_PATH_MAX + 48];

    snprintf(file, sizeof file, "%s.edited", files->file);
    snprintf(reasons, sizeof reasons, "%s.edited.reasons", files->file);
    if (rename(files->reasons, reasons) != 0 || rename(files->file, file) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot rename %s, which was edited, to %s", files->file, file);
    log_line(LOG_WARNING, "%s was edited and the job has other rejects now: what was edited is kept as %s", files->file,
             file);
    return STATUS_OK;
}

/* FILE.new is the last to get its name: while it is there, the pair is not whole. */
static enum status put_in_place(const struct rendering *rendering, bool interrupted, struct error *error)
{
    const struct reject_files *files = rendering->files;
    bool same = !interrupted && same_content(rendering->reasons_new, files->reasons);
    enum status status = STATUS_OK;

    if (rendering->count == 0 || (same && access(files->file, F_OK) == 0)) {
        unlink(rendering->file_new);
        unlink(rendering->reasons_new);
        return STATUS_OK;
    }
    if (!same && !interrupted && was_edited(files))
        status = keep_edited(files, error);
    if (status == STATUS_OK &&
        (rename(rendering->reasons_new, files->reasons) != 0 || rename(rendering->file_new, files->file) != 0))
        status = error_set_errno(error, STATUS_SYSTEM, "cannot rename %s and %s into place", rendering->file_new,
                                 rendering->reasons_new);
    return status;
}

bool reject_files_torn(const struct reject_files *files)
{
    char file[CHECKPOINT_PATH_MAX + 32], reasons[CHECKPOINT_PATH_MAX + 32];

    snprintf(file, sizeof file, "%s.new", files->file);
    snprintf(reasons, sizeof reasons, "%s.new", files->reasons);
    return access(file, F_OK) == 0 && access(reasons, F_OK) != 0;
}

enum status reject_files_render(const struct reject_files *files, struct pg *pg, const struct ledger *ledger,
                                const struct reject_inputs *inputs, struct error *error)
{
    struct rendering rendering = {.files = files, .ledger = ledger, .inputs = inputs};
    enum status status = STATUS_OK;
    bool interrupted;

    snprintf(rendering.file_new, sizeof rendering.file_new, "%s.new", files->file);
    snprintf(rendering.reasons_new, sizeof rendering.reasons_new, "%s.new", files->reasons);
    interrupted = reject_files_torn(files);
    rendering.file = fopen(rendering.file_new, "w");
    rendering.reasons = fopen(rendering.reasons_new, "w");
    if (rendering.file == NULL || rendering.reasons == NULL)
        status = error_set_errno(error, STATUS_SYSTEM, "cannot make %s", rendering.file_new);
    if (status == STATUS_OK) {
        fputs(header, rendering.reasons);
        status = reject_each(pg, ledger, render_one, &rendering, error);
    }
    status = finish_file(&rendering.file, rendering.file_new, status, error);
    status = finish_file(&rendering.reasons, rendering.reasons_new, status, error);
    if (status == STATUS_OK)
        status = put_in_place(&rendering, interrupted, error);
    if (status != STATUS_OK)
        error_hint(error, ". The rejects are safe in the ledger %s", ledger->reject_table);
    return status;
}
