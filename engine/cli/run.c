/* A run of one table: between its job, its ledger and its part of the checkpoint file. */
#include "engine/cli/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/log.h"
#include "engine/retry.h"

enum status run_committed(struct run *run, const struct piece_spec *piece, const struct write_result *result,
                          struct error *error)
{
    /* Rejects are no range, and have a line of their own. */
    bool rejects = range_is_rejects(piece->place.range);
    struct checkpoint_piece line = {
        .input = piece->input,
        .lo = piece->place.range.lo,
        .hi = piece->place.range.hi,
        .mark = piece->end,
        .rows = result->rows,
        .bytes = result->bytes,
        .conflicts = result->conflicts,
    };

    enum status status = rejects ? STATUS_OK : checkpoint_piece(run->checkpoint, &line, error);

    if (status != STATUS_OK || result->piece_rejects == 0)
        return status;
    run->rejects_all += result->piece_rejects;
    run->rejects_open += result->piece_rejects;
    return checkpoint_rejects(run->checkpoint, run->rejects_all, run->rejects_open, error);
}

/* Errors about a row have the SQLSTATE that the server gives, or would give. */
static bool is_bad_row(const struct error *error)
{
    return error->status == STATUS_DATA && error->sqlstate[0] != '\0';
}

enum status run_failed(struct run *run, const struct piece_spec *piece, const struct error *reason, struct error *error)
{
    run->bad_rows = run->bad_rows || is_bad_row(reason);
    log_error(reason);
    return checkpoint_failed(run->checkpoint, piece->input, piece->place.range.lo, piece->place.range.hi, reason->text,
                             error);
}

enum status run_state(struct run *run, struct checkpoint_state *state, struct error *error)
{
    struct job *job = &run->job;
    time_t now = time(NULL);
    struct tm parts;

    *state = (struct checkpoint_state){.exists = true, .ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1};
    snprintf(state->job, sizeof state->job, "%s", job->ledger.job);
    if (job->created != NULL)
        snprintf(state->created, sizeof state->created, "%s", job->created);
    else
        strftime(state->created, sizeof state->created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    state->texts = calloc(JOB_TEXTS_MAX + 3, sizeof *state->texts);
    state->pieces = calloc(job->row_count + 1, sizeof *state->pieces);
    state->inputs = calloc(job->input_count + 1, sizeof *state->inputs);
    state->frames = calloc(job->input_count + 1, sizeof *state->frames);
    if (state->texts == NULL || state->pieces == NULL || state->inputs == NULL || state->frames == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < job->text_count; i++)
        state->texts[state->text_count++] = (struct checkpoint_text){(char *)job->texts[i].key, job->texts[i].value};
    state->texts[state->text_count++] = (struct checkpoint_text){(char *)"layout", job->layout_text};
    /* For people only; a host may get another name. */
    state->texts[state->text_count++] =
        (struct checkpoint_text){(char *)"reads", job_reads_csv(job) ? job->name : job->source_address.display};
    state->texts[state->text_count++] = (struct checkpoint_text){(char *)"writes", job->target_address.display};
    state->runs = run->before.runs;
    state->rejects = run->rejects_all = run->rejects.all;
    state->rejects_open = run->rejects_open = run->rejects.open;
    for (size_t i = 0; job->identities != NULL && i < job->input_count; i++)
        state->inputs[state->input_count++] =
            (struct checkpoint_text){(char *)job->set.sources[i].name, job->identities[i]};
    for (size_t i = 0; job->kind == SOURCE_STREAM && i < job->input_count; i++)
        if (job->set.sources[i].known.text > 0)
            state->frames[state->frame_count++] =
                (struct checkpoint_frame){(int32_t)i, job->set.sources[i].known.file, job->set.sources[i].known.text};
    for (size_t i = 0; i < job->row_count; i++)
        state->pieces[state->piece_count++] = (struct checkpoint_piece){
            .input = job->rows[i].input,
            .lo = job->rows[i].range.lo,
            .hi = job->rows[i].range.hi,
            .mark = job->rows[i].mark,
            .rows = job->rows[i].rows,
            .bytes = job->rows[i].bytes,
            .conflicts = job->rows[i].conflicts,
        };
    return STATUS_OK;
}

void run_state_reset(struct checkpoint_state *state)
{
    free(state->texts);
    free(state->inputs);
    free(state->frames);
    free(state->pieces);
}

/* An unfinished job of the same source that would load some of the same rows under other options. */
static enum status run_check_rivals(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    char *other = NULL;
    bool exists;
    enum status status = ledger_exists(job->target, &job->ledger, &exists, error);

    if (status != STATUS_OK || !exists)
        return status;
    status = ledger_find_rival(job->target, &job->ledger, job->table.oid, job->source_key, job->window, &other, error);
    if (status == STATUS_OK && other != NULL)
        status =
            error_set(error, STATUS_USAGE,
                      "the ledger has an unfinished job that loads the same source into %s with other settings:\n%s"
                      "now:\n%sResume that one with its options, or forget it: hyperfill clean --target … --table %s "
                      "--yes",
                      job->table.sql, other, job->fingerprint, job->options->table);
    free(other);
    return status;
}

enum status run_register(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    char *kept = NULL;
    enum status status;

    job->ledger.builds = job->build.count > 0 || job->options->defer_indexes;
    status = ledger_prepare(job->target, &job->ledger, error);
    if (status == STATUS_OK && !job->resumed)
        status = run_check_rivals(run, error);
    if (status == STATUS_OK && !job->resumed)
        status = ledger_register(job->target, &job->ledger, job->table.oid, job->table.sql, job->source_key,
                                 job->window, job->fingerprint, job->layout_text, &kept, error);
    free(kept);
    if (status == STATUS_OK)
        status = job_read_ledger(job, error);
    return status;
}

/* Where reading may begin of what is compressed, as far as the file knows; the last place before what is needed. */
static void take_frames(struct job *job, const struct checkpoint_state *before)
{
    for (size_t i = 0; job->kind == SOURCE_STREAM && job->resumed && i < before->frame_count; i++) {
        const struct checkpoint_frame *frame = &before->frames[i];
        struct stream_source *source;

        if (before->job[0] == '\0' || frame->input < 0 || (size_t)frame->input >= job->input_count)
            continue;
        source = &job->set.sources[frame->input];
        if (frame->text <= source->start.offset && frame->text > source->known.text)
            source->known = (struct bytes_place){frame->file, frame->text};
    }
}

static enum status note_frame(void *context, int32_t input, struct bytes_place frame, struct error *error)
{
    struct run *run = context;
    struct checkpoint_frame line = {.input = input, .file = frame.file, .text = frame.text};

    return checkpoint_frame(run->checkpoint, &line, error);
}

enum status run_plan(struct run *run, const struct checkpoint_state *before, struct error *error)
{
    struct job *job = &run->job;
    enum status status = job_check_checkpoint(job, before, run->path, error);

    if (status == STATUS_OK)
        status = job_unledgered_resume(job, before, error);
    if (status == STATUS_OK)
        take_frames(job, before);
    if (status == STATUS_OK)
        status = job_rejects_prepare(job, &run->rejects, error);
    if (status != STATUS_OK || job->finished)
        return status;
    run->known = job->resumed;
    if (!job->resumed)
        status = run_check_rivals(run, error);
    if (status == STATUS_OK)
        status = job_plan(job, error);
    if (status == STATUS_OK)
        status = job_check_overlap(job, error);
    return status;
}

/* Several inputs may have rows of one range; the ledger's rows are sorted. */
static int64_t ranges_before(const struct job *job)
{
    int64_t count = 0;

    for (size_t i = 0; i < job->row_count; i++)
        count += i == 0 || job->rows[i].range.lo != job->rows[i - 1].range.lo;
    return count;
}

/* -1: unknown. */
static int64_t inputs_size(const struct job *job)
{
    int64_t size = job->kind == SOURCE_STREAM ? 0 : -1;

    for (size_t i = 0; job->kind == SOURCE_STREAM && i < job->input_count; i++)
        size = size < 0 || job->set.sources[i].size < 0 ? -1 : size + job->set.sources[i].size;
    return size;
}

void run_note_frames(struct run *run)
{
    struct job *job = &run->job;

    for (size_t i = 0; job->kind == SOURCE_STREAM && i < job->input_count; i++) {
        job->set.sources[i].note = note_frame;
        job->set.sources[i].note_context = run;
    }
}

void run_set_stats(struct run *run)
{
    struct job *job = &run->job;

    run->stats.ranges_total = job->ranges_total;
    run->stats.rows_total = job->rows_total;
    run->stats.bytes_total = job->bytes_total;
    run->stats.ranges_before = ranges_before(job);
    run->stats.rows_before = job->rows_before;
    run->stats.bytes_before = job->bytes_before;
    run->stats.rejects_before = run->rejects.all;
    run->stats.conflicts_before = job->conflicts_before;
    run->stats.input_size = inputs_size(job);
}

/* A share of bad rows is judged when all are known. */
static enum status run_judge_rejects(struct run *run, struct error *error)
{
    int64_t rejects = atomic_load(&run->append.rejects), seen = atomic_load(&run->append.rows_seen);

    if (rejects == 0 || !append_target_exceeds(&run->append, rejects, seen, true))
        return STATUS_OK;
    return error_set(
        error, STATUS_DATA,
        "%lld of %lld rows were rejected, more than --max-rejects %s allows: with a higher one the job is complete",
        (long long)rejects, (long long)seen, run->job.options->max_rejects_text);
}

/* Writes into the ledger that the job is complete. Only for a run that ended well. */
static enum status run_finish(struct run *run, struct error *error)
{
    struct pg *target = run->job.target;
    struct retry retry;
    enum status status;

    retry_init(&retry, run->job.options->retry_seconds * 1000, 1);
    for (;;) {
        int64_t pause_ms;

        error_reset(error);
        status = run_judge_rejects(run, error);
        if (status == STATUS_OK)
            status = pg_connect(target, error);
        if (status == STATUS_OK && run->job.options->overlap == OVERLAP_REPLACE)
            status = job_empty_gaps(&run->job, error);
        if (status == STATUS_OK)
            status = ledger_finish(target, &run->job.ledger, error);
        if (status == STATUS_OK)
            status = job_tell_uncompressed(&run->job, error);
        if (status != STATUS_TRANSIENT || (pause_ms = retry_next(&retry)) < 0)
            return status;
        if (stop_wait(run->stop, pause_ms, STOP_DRAIN))
            return status;
    }
}

enum status run_end(struct run *run, enum status status, struct error *error)
{
    enum checkpoint_end end;
    struct error second;

    if (status == STATUS_OK)
        status = run_finish(run, error);
    end = status == STATUS_OK ? CHECKPOINT_COMPLETE : status == STATUS_STOPPED ? CHECKPOINT_STOPPED : CHECKPOINT_FAILED;
    error_reset(&second);
    /* However it ended; what cannot be written now is safe in the ledger. */
    if ((run->append.reject || run->rejects.open > 0) &&
        job_rejects_render(&run->job, &run->rejects, &second) != STATUS_OK) {
        if (status == STATUS_OK) {
            *error = second;
            status = second.status;
        } else {
            log_line(LOG_WARNING, "the reject file is not up to date: %s", second.text);
        }
        error_reset(&second);
    }
    /* Commits whose answer was lost are counted now. */
    if (run->rejects.all != run->rejects_all &&
        checkpoint_rejects(run->checkpoint, run->rejects.all, run->rejects.open, &second) != STATUS_OK) {
        log_line(LOG_WARNING, "%s", second.text);
        error_reset(&second);
    }
    if (checkpoint_stop(run->checkpoint, end, &second) != STATUS_OK && status == STATUS_OK) {
        *error = second;
        status = second.status;
    }
    run->bad_rows = run->bad_rows || is_bad_row(error);
    if (status == STATUS_OK)
        status = job_rejects_tell(&run->rejects, error);
    return status;
}

void run_tell_until(struct run *run)
{
    char text[JOB_UNTIL_MAX];

    job_check_until(&run->job, text);
    if (text[0] != '\0')
        log_line(LOG_WARNING, "%s: %s (hyperfill completion-point finds out which time is right)", run->job.table.sql,
                 text);
}
