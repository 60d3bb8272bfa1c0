/* Rejects of a job. */
#include "engine/cli/job_rejects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/text.h"
#include "readers/record.h"

enum status job_rejects_prepare(struct job *job, struct job_rejects *rejects, struct error *error)
{
    enum status status = reject_files_name(&rejects->files, job->options, error);

    if (status == STATUS_OK)
        status = reject_count(job->target, &job->ledger, &rejects->all, &rejects->open, error);
    if (status == STATUS_OK && (job->options->on_bad_row == BAD_ROW_REJECT || rejects->open > 0))
        status = reject_files_claim(&rejects->files, job->ledger.job, error);
    return status;
}

/* What record_time_error says, or the cutter. The SQLSTATE is the one that the server would choose. */
static void explain(const void *context, const char *record, size_t size, struct error *error)
{
    const struct stream_source *source = context;
    struct record_times times;
    struct cutter cutter;
    int64_t lines;
    size_t cut;

    record_times_init(&times, source);
    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    if (cutter_cut(&cutter, record, size, true, &cut, &lines) == CUT_BAD) {
        record_error(source, -1, -1, error, "%s", cutter.problem);
        snprintf(error->sqlstate, sizeof error->sqlstate, "22P04");
        return;
    }
    record_time_error(&times, &cutter, record, size, -1, -1, error);
}

/* What a command prints goes straight into the piece of its range, and this is a look at it from there. */
static bool refuses(const void *context, const char *record, size_t size, struct error *error)
{
    const struct stream_source *source = context;
    struct record_times times;
    struct cutter cutter;
    int64_t value, lines;
    size_t cut;

    record_times_init(&times, source);
    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    if (cutter_cut(&cutter, record, size, true, &cut, &lines) == CUT_RECORD &&
        record_time(&times, &cutter, record, size, &value))
        return false;
    explain(context, record, size, error);
    return true;
}

void job_rejects_target(struct job *job, const struct job_rejects *rejects, struct append_target *target)
{
    target->reject = job->options->on_bad_row == BAD_ROW_REJECT;
    target->rejects_max = job->options->max_rejects;
    target->rejects_percent = job->options->max_rejects_percent;
    atomic_store(&target->rejects, rejects->all);
    atomic_store(&target->rows_seen, job->rows_before + rejects->all);
    for (size_t i = 0; job_reads_csv(job) && i < job->input_count; i++) {
        job->inputs[i].explain = explain;
        job->inputs[i].refuses = job->kind == SOURCE_COMMAND ? refuses : NULL;
        job->inputs[i].context = &job->set.sources[i];
    }
}

enum status job_rejects_render(struct job *job, struct job_rejects *rejects, struct error *error)
{
    const char **names = calloc(job->input_count, sizeof *names);
    struct reject_inputs inputs = {.names = names, .count = job->input_count, .placed = job->kind == SOURCE_STREAM};
    enum status status =
        names != NULL ? pg_connect(job->target, error) : error_set(error, STATUS_SYSTEM, "out of memory");

    for (size_t i = 0; names != NULL && i < job->input_count; i++)
        names[i] = job->inputs[i].name;
    if (status == STATUS_OK)
        status = reject_count(job->target, &job->ledger, &rejects->all, &rejects->open, error);
    if (status == STATUS_OK && rejects->open > 0)
        status = reject_files_render(&rejects->files, job->target, &job->ledger, &inputs, error);
    free(names);
    return status;
}

enum status job_rejects_tell(const struct job_rejects *rejects, struct error *error)
{
    char count[NUMBER_TEXT_MAX];

    if (rejects->open == 0)
        return STATUS_OK;
    return error_set(error, STATUS_REJECTS,
                     "%s row%s rejected: %s has %s, %s says why. Correct %s there and load %s with the options of this"
                     " run: hyperfill replay …",
                     count_format(rejects->open, count), rejects->open == 1 ? " was" : "s were", rejects->files.file,
                     rejects->open == 1 ? "it" : "them", rejects->files.reasons, rejects->open == 1 ? "it" : "them",
                     rejects->open == 1 ? "it" : "them");
}
