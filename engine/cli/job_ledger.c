/* What earlier runs of a job have left: rows in the ledger, a checkpoint file. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"

/* Where the reading of each input begins. */
static enum status take_frontiers(struct job *job, struct error *error)
{
    for (size_t i = 0; i < job->input_count; i++) {
        free(job->marks[i]);
        job->marks[i] = NULL;
        job->set.sources[i].mark_count = 0;
        job->set.sources[i].start = (struct input_position){0};
    }
    for (size_t i = 0; i < job->row_count; i++) {
        const struct ledger_row *row = &job->rows[i];
        struct stream_source *source;

        if (row->input < 0 || (size_t)row->input >= job->input_count)
            return error_set(error, STATUS_DATA, "the ledger has input %d of this job, which has %zu", (int)row->input,
                             job->input_count);
        source = &job->set.sources[row->input];
        source->mark_count++;
        if (row->frontier.offset > source->start.offset)
            source->start = row->frontier;
    }
    return STATUS_OK;
}

/* What each range of each input has; their numbers are known. */
static enum status take_marks(struct job *job, struct error *error)
{
    for (size_t i = 0; i < job->input_count; i++) {
        struct stream_source *source = &job->set.sources[i];

        job->marks[i] = calloc(source->mark_count + 1, sizeof *job->marks[i]);
        if (job->marks[i] == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory");
        source->marks = job->marks[i];
        source->mark_count = 0;
    }
    for (size_t i = 0; i < job->row_count; i++) {
        const struct ledger_row *row = &job->rows[i];
        struct stream_source *source = &job->set.sources[row->input];

        job->marks[row->input][source->mark_count++] =
            (struct stream_mark){row->range.lo, row->mark, {row->mark_hash[0], row->mark_hash[1]}};
    }
    return STATUS_OK;
}

/* The job as it stands in the ledger; *found false: it does not. */
static enum status find_job(struct job *job, bool *found, struct error *error)
{
    struct ledger_job known = {0};
    enum status status = ledger_exists(job->target, &job->ledger, found, error);

    if (status != STATUS_OK || !*found)
        return status;
    status = ledger_find_job(job->target, &job->ledger, &known, error);
    *found = known.found;
    if (status == STATUS_OK && known.found) {
        job->resumed = true;
        job->finished = known.finished;
        free(job->created);
        job->created = strdup(known.created);
        free(job->layout_text);
        job->layout_text = strdup(known.layout);
        layout_free(job->layout);
        job->layout = NULL;
        status = layout_from_text(known.layout, &job->layout, error);
    }
    ledger_job_reset(&known);
    return status;
}

static enum status read_rows(struct job *job, struct error *error)
{
    enum status status;

    free(job->rows);
    job->rows = NULL;
    job->row_count = 0;
    job->rows_before = job->bytes_before = job->conflicts_before = 0;
    status = ledger_read(job->target, &job->ledger, &job->rows, &job->row_count, error);
    for (size_t i = 0; status == STATUS_OK && i < job->row_count; i++) {
        job->rows_before += job->rows[i].rows;
        job->conflicts_before += job->rows[i].conflicts;
        job->bytes_before += job->rows[i].bytes;
    }
    return status;
}

enum status job_read_ledger(struct job *job, struct error *error)
{
    bool found = false;
    enum status status = find_job(job, &found, error);

    if (status != STATUS_OK || !found)
        return status;
    status = read_rows(job, error);
    if (status == STATUS_OK && job->kind == SOURCE_STREAM)
        status = take_frontiers(job, error);
    if (status == STATUS_OK && job->kind == SOURCE_STREAM)
        status = take_marks(job, error);
    if (status != STATUS_OK)
        return status;
    job_share_layout(job);
    /* From here on these are ranges of time; they are sorted, so what is none comes last. */
    while (job->row_count > 0 && range_is_rejects(job->rows[job->row_count - 1].range))
        job->row_count--;
    return STATUS_OK;
}

/* The options of the job that differ from what the file says. */
static void add_differences(const struct job *job, const struct checkpoint_state *state, const char *path,
                            struct error *error)
{
    for (int i = 0; i < job->text_count; i++) {
        const char *before = checkpoint_state_text(state, job->texts[i].key);

        /* A file that was damaged may have lost the line; the ledger still tells the job apart. */
        if (before == NULL || strcmp(before, job->texts[i].value) == 0)
            continue;
        if (error->status == STATUS_OK)
            error_set(error, STATUS_USAGE, "the checkpoint file %s belongs to another job:", path);
        error_hint(error, "\n%s: was %s\n%*s  now %s", job->texts[i].key, before, (int)strlen(job->texts[i].key), "",
                   job->texts[i].value);
    }
}

enum status job_check_checkpoint(const struct job *job, const struct checkpoint_state *state, const char *path,
                                 struct error *error)
{
    if (!state->exists || state->job[0] == '\0')
        return STATUS_OK;
    add_differences(job, state, path, error);
    if (error->status == STATUS_OK && strcmp(state->job, job->ledger.job) != 0)
        error_set(error, STATUS_USAGE, "the checkpoint file %s belongs to another job (%s, not %s)", path, state->job,
                  job->ledger.job);
    if (error->status == STATUS_OK)
        return STATUS_OK;
    job_tell_inputs(job, state, error);
    error_hint(error, "\nGive the options of that job to resume it, or another --checkpoint file to begin a new one.");
    return error->status;
}
