/* Rejects that people have corrected: read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/cli/reject_files.h"
#include "readers/cutter.h"

#define KEY_FIELD 7

static enum status read_file(const char *path, char **text, size_t *size, struct error *error)
{
    FILE *file = fopen(path, "r");
    struct stat about;
    enum status status = STATUS_OK;

    *text = NULL;
    *size = 0;
    if (file == NULL)
        return error_set_errno(error, STATUS_USAGE, "cannot open %s", path);
    if (fstat(fileno(file), &about) != 0 || (*text = malloc((size_t)about.st_size + 1)) == NULL) {
        status = error_set_errno(error, STATUS_SYSTEM, "cannot read %s", path);
    } else {
        *size = fread(*text, 1, (size_t)about.st_size, file);
        if (ferror(file))
            status = error_set_errno(error, STATUS_SYSTEM, "cannot read %s", path);
    }
    fclose(file);
    return status;
}

/* The next record at `at`, whatever line ends an editor has made of those of several inputs. */
static enum status cut_next(const char *path, char quote, char escape, const char *text, size_t size, int64_t *line,
                            size_t *record_size, struct error *error)
{
    struct cutter cutter;
    int64_t lines = 1;

    cutter_init(&cutter, quote, escape);
    *record_size = 0;
    if (cutter_cut(&cutter, text, size, true, record_size, &lines) != CUT_RECORD && *record_size == 0)
        return error_set(error, STATUS_DATA, "%s, line %" PRId64 ": %s", path, *line, cutter.problem);
    *line += lines;
    return STATUS_OK;
}

/* "job:input:lo:offset" */
static bool read_key(const char *text, const char *job, struct reject_key *key)
{
    long long lo, offset;
    int input;

    if (strncmp(text, job, strlen(job)) != 0 || sscanf(text + strlen(job), ":%d:%lld:%lld", &input, &lo, &offset) != 3)
        return false;
    *key = (struct reject_key){input, lo, offset};
    return true;
}

static enum status add_pair(struct reject_pairs *pairs, size_t *room, struct error *error)
{
    if (pairs->count == *room) {
        size_t more = *room * 2 + 256;
        struct replay *replays = realloc(pairs->replays, more * sizeof *replays);

        if (replays == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory");
        pairs->replays = replays;
        *room = more;
    }
    pairs->replays[pairs->count++] = (struct replay){0};
    return STATUS_OK;
}

static enum status read_reasons(const struct reject_files *files, const char *job, struct reject_pairs *pairs,
                                struct error *error)
{
    char *text, buffer[256];
    size_t size, at = 0, cut, room = 0;
    int64_t line = 1;
    enum status status = read_file(files->reasons, &text, &size, error);

    while (status == STATUS_OK && at < size) {
        int64_t here = line;
        struct cutter cutter;
        struct csv_field field;

        status = cut_next(files->reasons, '"', '"', text + at, size - at, &line, &cut, error);
        if (status == STATUS_OK && here > 1)
            status = add_pair(pairs, &room, error);
        if (status == STATUS_OK && here > 1) {
            cutter_init(&cutter, '"', '"');
            memset(buffer, 0, sizeof buffer);
            if (cutter_field(&cutter, ',', text + at, record_text_size(text + at, cut), KEY_FIELD, buffer,
                             sizeof buffer - 1, &field) &&
                field.size < sizeof buffer)
                memmove(buffer, field.text, field.size);
            if (!read_key(buffer, job, &pairs->replays[pairs->count - 1].key))
                status = error_set(error, STATUS_USAGE,
                                   "%s, line %" PRId64 ": its last field is no key of job %s; is it the file of"
                                   " another job?",
                                   files->reasons, here, job);
        }
        at += cut;
    }
    free(text);
    return status;
}

enum status reject_files_read(const struct reject_files *files, const char *job, char quote, char escape,
                              struct reject_pairs *pairs, struct error *error)
{
    size_t size = 0, at = 0, count = 0, cut;
    int64_t line = 1;
    enum status status;

    *pairs = (struct reject_pairs){0};
    if (reject_files_torn(files))
        return error_set(
            error, STATUS_USAGE,
            "%s was not written to its end: run the job again, which writes it anew, before it is replayed",
            files->file);
    status = read_reasons(files, job, pairs, error);
    if (status == STATUS_OK)
        status = read_file(files->file, &pairs->text, &size, error);
    while (status == STATUS_OK && at < size) {
        status = cut_next(files->file, quote, escape, pairs->text + at, size - at, &line, &cut, error);
        if (status == STATUS_OK && count < pairs->count) {
            struct replay *replay = &pairs->replays[count];

            replay->text = pairs->text + at;
            replay->size = record_text_size(replay->text, cut);
            replay->drop = replay->size == 0;
        }
        count += status == STATUS_OK;
        at += cut;
    }
    if (status == STATUS_OK && count != pairs->count)
        status = error_set(error, STATUS_USAGE,
                           "%s has %zu record%s and %s names %zu: each record must stay where it is; leave an empty"
                           " line for one that is to be dropped. Nothing was loaded",
                           files->file, count, count == 1 ? "" : "s", files->reasons, pairs->count);
    return status;
}

void reject_pairs_reset(struct reject_pairs *pairs)
{
    free(pairs->replays);
    free(pairs->text);
    *pairs = (struct reject_pairs){0};
}
