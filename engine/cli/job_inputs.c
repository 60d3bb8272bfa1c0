/* The inputs of a stream: found from --source, put in order, opened. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine/cli/job.h"
#include "engine/log.h"

/* Descriptors that are not of inputs: connections, the checkpoint file, standard ones. */
#define FILES_RESERVED 600

static bool is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

/* ---- Finding ---- */

static enum status path_add(struct job *job, const char *path, struct error *error)
{
    char **more = realloc(job->paths, (job->input_count + 1) * sizeof *more);
    char *copy = strdup(path);

    if (more != NULL)
        job->paths = more;
    if (more == NULL || copy == NULL) {
        free(copy);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    job->paths[job->input_count++] = copy;
    return STATUS_OK;
}

/* In a folder lies more than data: checkpoint files, checksums, a README. */
static bool is_named_as_data(const char *path)
{
    static const char *const endings[] = {".csv", ".tsv", ".txt"};
    size_t size = strlen(path);

    if (size > 3 && strcasecmp(path + size - 3, ".gz") == 0)
        size -= 3;
    else if (size > 4 && strcasecmp(path + size - 4, ".zst") == 0)
        size -= 4;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (size > 4 && strncasecmp(path + size - 4, endings[i], 4) == 0)
            return true;
    return false;
}

/* Adds what the pattern matches, but for folders; of a folder what is named as data. */
static enum status pattern_add(struct job *job, const char *pattern, const char *source, bool is_folder,
                               struct error *error)
{
    enum status status = STATUS_OK;
    size_t found = 0, left_out = 0;
    struct stat facts;
    glob_t paths;
    int failed = glob(pattern, GLOB_NOSORT, NULL, &paths);

    if (failed != 0 && failed != GLOB_NOMATCH)
        return error_set(error, STATUS_SYSTEM, "cannot look for files of --source %s", source);
    for (size_t i = 0; failed == 0 && i < paths.gl_pathc && status == STATUS_OK; i++) {
        if (stat(paths.gl_pathv[i], &facts) == 0 && S_ISDIR(facts.st_mode))
            continue;
        if (is_folder && !is_named_as_data(paths.gl_pathv[i])) {
            left_out++;
            continue;
        }
        status = path_add(job, paths.gl_pathv[i], error);
        found++;
    }
    if (failed == 0)
        globfree(&paths);
    if (status == STATUS_OK && found == 0)
        return error_set(error, STATUS_USAGE, "--source %s: there is no %s", source,
                         is_folder
                             ? "file named *.csv, *.tsv or *.txt, or so with .gz or .zst; give a pattern for others"
                             : "file that matches");
    if (left_out > 0)
        log_line(LOG_NOTICE,
                 "%s: %zu file%s of other names than *.csv, *.tsv, *.txt left out; a pattern takes them all", source,
                 left_out, left_out == 1 ? "" : "s");
    return status;
}

/* The characters of a folder's name that a pattern would take for its own. */
static char *pattern_of_folder(const char *folder)
{
    char *pattern = malloc(strlen(folder) * 2 + 3), *to = pattern;

    if (pattern == NULL)
        return NULL;
    for (const char *from = folder; *from != '\0'; from++) {
        if (strchr("*?[]\\", *from) != NULL)
            *to++ = '\\';
        *to++ = *from;
    }
    memcpy(to, "/*", 3);
    return pattern;
}

static enum status folder_add(struct job *job, const char *folder, struct error *error)
{
    char *pattern = pattern_of_folder(folder);
    enum status status;

    if (pattern == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = pattern_add(job, pattern, folder, true, error);
    free(pattern);
    return status;
}

static enum status source_add(struct job *job, const char *source, struct error *error)
{
    struct stat facts;

    if (is_standard(source))
        return path_add(job, source, error);
    if (stat(source, &facts) == 0)
        return S_ISDIR(facts.st_mode) ? folder_add(job, source, error) : path_add(job, source, error);
    /* What looks like an address but is none may hold a password: it is not repeated as the name of a file. */
    if (strpbrk(source, "=@") != NULL)
        return error_set(error, STATUS_USAGE,
                         "--source is neither a file that exists nor an address that libpq can read: write "
                         "postgresql://user@host/database or host=… dbname=…");
    if (strpbrk(source, "*?[") != NULL)
        return pattern_add(job, source, source, false, error);
    return path_add(job, source, error);
}

static int path_compare(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static enum status find_inputs(struct job *job, struct error *error)
{
    const struct text_list *sources = &job->options->sources;
    enum status status = STATUS_OK;

    /* The text of a command is no path, and is kept to itself. */
    if (job_command_given(job->options) && sources->count == 1)
        return path_add(job, "exec", error);

    for (int i = 0; i < sources->count && status == STATUS_OK; i++) {
        if (pg_is_conninfo(sources->items[i]))
            return error_set(error, STATUS_USAGE, "--source: a database cannot be one of several sources");
        if (job_command_is(sources->items[i]))
            return error_set(error, STATUS_USAGE, "--source: a command cannot be one of several sources");
        status = source_add(job, sources->items[i], error);
    }
    if (status != STATUS_OK)
        return status;
    /* The order gives inputs their numbers in the ledger. */
    qsort(job->paths, job->input_count, sizeof *job->paths, path_compare);
    for (size_t i = 1; i < job->input_count; i++)
        if (strcmp(job->paths[i - 1], job->paths[i]) == 0)
            return error_set(error, STATUS_USAGE, "--source names %s twice",
                             is_standard(job->paths[i]) ? "standard input" : job->paths[i]);
    return STATUS_OK;
}

/* ---- Opening ---- */

/* All inputs stay open for the whole run, so that none can be exchanged unseen. */
static enum status reserve_files(size_t count, struct error *error)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)count + FILES_RESERVED;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return STATUS_OK;
    if (limit.rlim_max < wanted)
        return error_set(error, STATUS_USAGE,
                         "%zu input files are more than this system lets be open at once (%llu): load them in several "
                         "jobs, or raise the hard limit (ulimit -Hn)",
                         count, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot raise the number of open files");
    return STATUS_OK;
}

struct dialect job_dialect(const struct options *options)
{
    return (struct dialect){
        .delimiter = options->delimiter,
        .quote = options->quote,
        .escape = options->escape,
        .null_text = options->null_text,
        .header = options->header,
        .comment = options->comment,
        .skip_lines = options->skip_lines,
        .trim = options->trim,
    };
}

static void source_init(struct job *job, size_t index)
{
    const struct options *options = job->options;

    job->set.sources[index] = (struct stream_source){
        .path = job->paths[index],
        .name = is_standard(job->paths[index]) ? "standard input" : job->paths[index],
        .fd = -1,
        .input = (int32_t)index,
        .memory_bytes = options->memory_bytes,
        .stop = job->stop,
        .reject = options->on_bad_row == BAD_ROW_REJECT,
        .verify_after = options->verify_input == VERIFY_INPUT_AFTER,
        .dialect = job_dialect(options),
    };
}

static enum status check_same_file(const struct job *job, struct error *error)
{
    for (size_t i = 0; i < job->input_count; i++)
        for (size_t j = 0; j < i && job->set.sources[i].seekable; j++) {
            const struct stream_source *one = &job->set.sources[j], *other = &job->set.sources[i];

            if (one->seekable && one->inode == other->inode && one->device == other->device)
                return error_set(error, STATUS_USAGE, "%s and %s are the same file", one->name, other->name);
        }
    return STATUS_OK;
}

static void name_inputs(struct job *job)
{
    struct sql name = {0};

    sql_add(&name, "%s", job->set.sources[0].name);
    if (job->input_count > 1)
        sql_add(&name, " … %s (%zu files)", job->set.sources[job->input_count - 1].name, job->input_count);
    job->name = name.text;
}

enum status job_inputs(struct job *job, struct error *error)
{
    enum status status = find_inputs(job, error);
    size_t count = job->input_count;

    if (status == STATUS_OK)
        status = reserve_files(count, error);
    if (status != STATUS_OK)
        return status;
    job->set.sources = calloc(count, sizeof *job->set.sources);
    job->marks = calloc(count, sizeof(struct stream_mark *));
    job->inputs = calloc(count, sizeof *job->inputs);
    job->mappings = calloc(count, sizeof *job->mappings);
    if (job->set.sources == NULL || job->marks == NULL || job->inputs == NULL || job->mappings == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        source_init(job, i);
    job->set.count = count;
    job->rereadable = true;
    if (job->options->dialect == DIALECT_SNIFF)
        status = job_sniff(job, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status =
            job_command_given(job->options) ? job_command_open(job, error) : stream_open(&job->set.sources[i], error);
        job->rereadable = job->rereadable && job->set.sources[i].seekable;
    }
    for (size_t i = 0; i < count; i++)
        job->set.sources[i].readers = job_readers(job);
    if (status == STATUS_OK)
        status = check_same_file(job, error);
    name_inputs(job);
    return status;
}

void job_inputs_reset(struct job *job)
{
    for (size_t i = 0; i < job->input_count; i++) {
        if (job->set.sources != NULL)
            stream_reset(&job->set.sources[i]);
        if (job->marks != NULL)
            free(job->marks[i]);
        if (job->mappings != NULL)
            mapping_reset(&job->mappings[i]);
        if (job->identities != NULL)
            free(job->identities[i]);
        if (job->paths != NULL)
            free(job->paths[i]);
    }
    free(job->identities);
    free(job->set.sources);
    free(job->marks);
    free(job->mappings);
    free(job->inputs);
    free(job->paths);
    free(job->name);
}
