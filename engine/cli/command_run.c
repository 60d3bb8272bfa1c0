/*
 * `hyperfill run`: starts a job, or resumes it.
 *
 * The checkpoint file is locked first, so that nothing is decided beside another run. The ledger is asked next: what it
 * says is what was done, and the file is written anew from it, whatever state it was in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cli/ask.h"
#include "engine/cli/commands.h"
#include "engine/cli/progress.h"
#include "engine/cli/run.h"
#include "engine/cli/text.h"
#include "engine/log.h"
#include "engine/retry.h"

static void notice_signal(enum stop_level level)
{
    if (level == STOP_DRAIN)
        log_line(LOG_NOTICE, "stopping: pieces that are being written will be finished; once more to abort them");
    else
        log_line(LOG_NOTICE, "aborting");
}

/* The file as the ledger has it. */
static enum status run_rewrite_checkpoint(struct run *run, struct error *error)
{
    struct checkpoint_state state;
    enum status status = run_state(run, &state, error);

    if (status == STATUS_OK)
        status = checkpoint_rewrite(run->checkpoint, &state, error);
    run_state_reset(&state);
    return status;
}

/* Tells what the file and the ledger disagree about. */
static void run_tell_checkpoint(const struct run *run)
{
    if (run->job.ledger.none && (run->before.damaged || run->before.torn))
        log_line(LOG_WARNING,
                 "the checkpoint file %s is damaged at its end: ranges that it does not name are loaded again",
                 run->path);
    else if (run->before.damaged)
        log_line(LOG_WARNING, "the checkpoint file %s is damaged at line %lld: rebuilt from the ledger in the target",
                 run->path, (long long)run->before.damaged_line);
    else if (run->before.torn)
        log_line(LOG_NOTICE, "the last line of the checkpoint file %s was cut off: completed from the ledger",
                 run->path);
    else if (!run->before.exists && run->known)
        log_line(LOG_NOTICE, "no checkpoint file %s: rebuilt from the ledger in the target", run->path);
    else if (run->before.exists && run->before.piece_count > 0 && !run->known)
        log_line(
            LOG_WARNING,
            "the checkpoint file %s knows %zu ranges, the ledger in the target knows nothing of the job: the ledger "
            "counts, the job begins anew",
            run->path, run->before.piece_count);
}

static bool run_confirm(const struct run *run)
{
    char question[512], count[NUMBER_TEXT_MAX];

    if (run->job.overlap.rows == 0 || run->job.options->overlap != OVERLAP_REPLACE || run->job.options->yes ||
        !ask_can())
        return true;
    snprintf(question, sizeof question, "%s rows of %s will be deleted as their ranges are loaded. Go on?",
             count_format(run->job.overlap.rows, count), run->job.table.sql);
    return ask(run->stop, question);
}

static enum status run_prepare_job(struct run *run, const struct options *options, struct error *error)
{
    struct job *job = &run->job;
    struct range late;
    enum status status;

    status = job_open(job, options, run->stop, error);
    if (status == STATUS_OK)
        status = run_plan(run, &run->before, error);
    if (status != STATUS_OK || job->finished)
        return status;
    if (!run_confirm(run) || stop_level(run->stop) != STOP_RUN)
        status = error_set(error, STATUS_STOPPED, "nothing was touched by this run");
    if (status == STATUS_OK)
        status = run_check_late(run, &late, error);
    if (status == STATUS_OK)
        status = run_check_policies(run, error);
    if (status == STATUS_OK)
        status = run_register(run, error);
    /* The layout that stands may be another process's. */
    if (status == STATUS_OK && job->kind != SOURCE_STREAM)
        status = job_plan(job, error);
    return status;
}

static bool has_standard_input(const struct options *options)
{
    bool found = false;

    for (int i = 0; i < options->sources.count; i++)
        found = found || strcmp(options->sources.items[i], "-") == 0;
    return found;
}

/*
 * All before the first row. A connection that was lost is made again; one that could never be made is told at once,
 * since the address may be wrong.
 */
static enum status run_prepare(struct run *run, const struct options *options, struct error *error)
{
    struct retry retry;
    enum status status;

    status = command_checkpoint_path(options, run->path, error);
    if (status == STATUS_OK)
        status = checkpoint_open(run->path, &run->checkpoint, error);
    if (status == STATUS_OK)
        status = checkpoint_read(run->path, &run->before, error);
    if (status != STATUS_OK)
        return status;
    retry_init(&retry, options->retry_seconds * 1000, 1);
    while ((status = run_prepare_job(run, options, error)) == STATUS_TRANSIENT) {
        bool never = retry.attempts == 0 && strcmp(error->sqlstate, "08001") == 0;
        int64_t pause_ms = never ? -1 : retry_next(&retry);

        /* What was skipped of standard input cannot be read again. */
        if (pause_ms < 0 || has_standard_input(options) || stop_level(run->stop) != STOP_RUN)
            return status;
        log_line(LOG_WARNING, "%s: trying again", error->text);
        if (stop_wait(run->stop, pause_ms, STOP_DRAIN))
            return status;
        error_reset(error);
        job_close(&run->job);
    }
    return status;
}

static enum status committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                             struct error *error)
{
    return run_committed(context, piece, result, error);
}

static enum status failed(void *context, const struct piece_spec *piece, const struct error *reason,
                          struct error *error)
{
    return run_failed(context, piece, reason, error);
}

/* Runs the pipeline with everything that watches it. */
static enum status run_pipeline(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    struct progress *progress = NULL;
    struct progress_job shown = {
        .table = job->table.name,
        .job = job->ledger.job,
        .source = job_reads_csv(job) ? job->name : job->source_address.display,
        .target = job->target_address.display,
        .checkpoint = run->path,
        .resumed = job->resumed && job->rows_before > 0,
        .throttle = run->throttle.throttle,
    };
    struct pipeline_spec spec = job_pipeline(job);
    enum status status;

    spec.writer = &append_writer;
    spec.target = &run->append;
    spec.throttle = run->throttle.throttle;
    spec.stop = run->stop;
    spec.stats = &run->stats;
    spec.committed = committed;
    spec.failed = failed;
    spec.context = run;
    status = progress_start(job->options->progress, &run->stats, &shown, &progress, error);
    if (status == STATUS_OK)
        status = pipeline_run(&spec, error);
    progress_finish(progress, status == STATUS_OK && run->rejects.open + stats_get(&run->stats.rejects_done) > 0
                                  ? STATUS_REJECTS
                                  : status);
    return status;
}

/* What to do now. */
static void run_hint(const struct run *run, enum status status)
{
    if (status == STATUS_OK || status == STATUS_REJECTS)
        return;
    log_line(LOG_NOTICE, "what is committed stays; run the same command again to resume (checkpoint file %s)",
             run->path);
    if (run->bad_rows && !run->append.reject)
        log_line(LOG_NOTICE, "with --on-bad-row reject it sets bad rows aside and goes on");
    if (status == STATUS_DATA && run->job.kind == SOURCE_STREAM)
        log_line(LOG_NOTICE,
                 "to load a corrected file instead: hyperfill clean --target … --table %s --yes, then run it with "
                 "--overlap replace",
                 run->job.options->table);
}

static enum status run_load(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    enum status status;

    run_tell_checkpoint(run);
    run_tell_until(run);
    if (job->table.pooled)
        log_line(LOG_NOTICE,
                 "the target is behind a connection pooler, which may lose settings of the session (timeouts):"
                 " better connect to the server itself");
    run_set_stats(run);
    status = job_throttle_start(&run->throttle, job, run->stop, error);
    if (status == STATUS_OK)
        status = run_rewrite_checkpoint(run, error);
    if (status == STATUS_OK)
        status = checkpoint_start(run->checkpoint, error);
    if (status == STATUS_OK)
        status = checkpoint_plan(run->checkpoint, job->ranges_total, job->rows_total, job->bytes_total, error);
    if (status != STATUS_OK)
        return status;
    run_note_frames(run);
    job_append_target(job, &run->append);
    job_rejects_target(job, &run->rejects, &run->append);
    status = append_target_init(&run->append, error);
    if (status == STATUS_OK)
        status = job_builds(job, &run->append, &run->stats, error);
    if (status == STATUS_OK) {
        /* Sessions have connections of their own; this one would only sit there idle for hours. */
        pg_disconnect(job->target);
        if (job->kind == SOURCE_POSTGRES)
            pg_disconnect(job->source);
        status = run_pipeline(run, error);
        job_tell_builds(job, run->append.builds, status);
    }
    builds_free(run->append.builds);
    append_target_reset(&run->append);
    status = run_end(run, status, error);
    run_hint(run, status);
    return status;
}

/* `status` is how the load ended: with rejects perhaps. */
static enum status run_late(struct run *run, enum status status, struct error *error)
{
    struct error second;
    enum status late;

    error_reset(&second);
    late = run_catch_up(run, &second);
    if (late == STATUS_OK)
        return status;
    *error = second;
    return late;
}

/* The file of a complete job may have been lost: then it is there again for `status`. */
static enum status run_tell_complete(struct run *run, struct error *error)
{
    enum status status;

    if (run->before.exists && !run->before.damaged && run->before.end == CHECKPOINT_COMPLETE &&
        run->before.rejects == run->rejects.all && run->before.rejects_open == run->rejects.open)
        return STATUS_OK;
    status = run_rewrite_checkpoint(run, error);
    if (status == STATUS_OK)
        status = checkpoint_start(run->checkpoint, error);
    if (status == STATUS_OK)
        status = checkpoint_stop(run->checkpoint, CHECKPOINT_COMPLETE, error);
    return status;
}

/*
 * What a pipe or a command gives is told by its header alone until it is read: the next one of many, with the same
 * header, must not be taken for what was loaded.
 */
static enum status check_pipes(struct run *run, struct error *error)
{
    const struct job *job = &run->job;
    enum status status = STATUS_OK;

    for (size_t i = 0; job->kind == SOURCE_STREAM && i < job->input_count && status == STATUS_OK; i++)
        if (!job->set.sources[i].seekable)
            status = stream_compare(&job->set.sources[i], run->stop, error);
    if (status == STATUS_DATA)
        error_hint(error,
                   ". The job of inputs with this header is complete, and nothing was loaded: to load this one, "
                   "forget that job first (hyperfill clean --target … --table %s; its rows stay) and remove "
                   "the checkpoint file",
                   job->options->table);
    return status;
}

static enum status run_complete(struct run *run, struct error *error)
{
    char count[NUMBER_TEXT_MAX];
    enum status status = check_pipes(run, error);

    if (status != STATUS_OK)
        return status;
    if (run->job.ledger.none)
        log_line(LOG_NOTICE, "nothing to do: the job is complete, %s rows; to load again, remove %s",
                 count_format(run->job.rows_before, count), run->path);
    else
        log_line(LOG_NOTICE,
                 "nothing to do: the job is complete, %s rows; to load again, forget it first: hyperfill clean --target"
                 " … --table %s",
                 count_format(run->job.rows_before, count), run->job.options->table);
    status = run_tell_complete(run, error);
    if (status == STATUS_OK)
        status = run_catch_up(run, error);
    if (status == STATUS_OK)
        status = run_take_over_policies(run, error);
    if (status == STATUS_OK && run->rejects.open > 0)
        status = job_rejects_render(&run->job, &run->rejects, error);
    return status == STATUS_OK ? job_rejects_tell(&run->rejects, error) : status;
}

enum status command_run(const struct options *options, struct error *error)
{
    struct run *run;
    enum status status;

    if (options_several(options))
        return run_tables(options, error);
    run = calloc(1, sizeof *run);
    if (run == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    run->job.options = options;
    status = stop_create(&run->stop, error);
    if (status == STATUS_OK)
        status = signals_start(run->stop, notice_signal, &run->signals, error);
    if (status == STATUS_OK)
        status = run_prepare(run, options, error);
    if (status == STATUS_OK && run->job.finished) {
        status = run_complete(run, error);
    } else if (status == STATUS_OK) {
        status = run_pause_policies(run, error);
        if (status == STATUS_OK)
            status = run_load(run, error);
        if (status == STATUS_OK || status == STATUS_REJECTS)
            status = run_late(run, status, error);
        status = run_restore_policies(run, status, error);
    }
    /* Stopped while still preparing. The file may lag behind what is committed, so that it is there says enough. */
    if (status == STATUS_STOPPED && (run->before.exists || run->known) && run->append.table == NULL)
        run_hint(run, status);
    job_throttle_finish(&run->throttle);
    signals_finish(run->signals);
    job_close(&run->job);
    checkpoint_state_free(&run->before);
    checkpoint_close(run->checkpoint);
    stop_free(run->stop);
    free(run);
    return status;
}
