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
#include <unistd.h>

#include "engine/cli/commands.h"
#include "engine/cli/job_rejects.h"
#include "engine/cli/job_throttle.h"
#include "engine/cli/progress.h"
#include "engine/cli/text.h"
#include "engine/log.h"
#include "engine/retry.h"

struct run {
    struct job job;
    struct stats stats;
    struct checkpoint *checkpoint;
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint_state before; /* what the file said */
    struct append_target append;
    struct stop *stop;
    struct signals *signals;
    struct job_rejects rejects;
    struct job_throttle throttle;
    int64_t rejects_all, rejects_open; /* as the checkpoint file has them */
    bool bad_rows;                     /* a range has failed for its rows */
    bool known;                        /* the ledger had the job before this run */
};

static void notice_signal(enum stop_level level)
{
    if (level == STOP_DRAIN)
        log_line(LOG_NOTICE, "stopping: pieces that are being written will be finished; once more to abort them");
    else
        log_line(LOG_NOTICE, "aborting");
}

static enum status run_committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                                 struct error *error)
{
    struct run *run = context;
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

static enum status run_failed(void *context, const struct piece_spec *piece, const struct error *reason,
                              struct error *error)
{
    struct run *run = context;

    run->bad_rows = run->bad_rows || is_bad_row(reason);
    log_error(reason);
    return checkpoint_failed(run->checkpoint, piece->input, piece->place.range.lo, piece->place.range.hi, reason->text,
                             error);
}

/* The file as the ledger has it. */
static enum status run_rewrite_checkpoint(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    struct checkpoint_state state = {.exists = true, .ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1};
    struct checkpoint_text texts[JOB_TEXTS_MAX + 3];
    enum status status;
    time_t now = time(NULL);
    struct tm parts;

    snprintf(state.job, sizeof state.job, "%s", job->ledger.job);
    if (job->created != NULL)
        snprintf(state.created, sizeof state.created, "%s", job->created);
    else
        strftime(state.created, sizeof state.created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    for (int i = 0; i < job->text_count; i++)
        texts[state.text_count++] = (struct checkpoint_text){(char *)job->texts[i].key, job->texts[i].value};
    texts[state.text_count++] = (struct checkpoint_text){(char *)"layout", job->layout_text};
    /* For people only; a host may get another name. */
    texts[state.text_count++] =
        (struct checkpoint_text){(char *)"reads", job_reads_csv(job) ? job->name : job->source_address.display};
    texts[state.text_count++] = (struct checkpoint_text){(char *)"writes", job->target_address.display};
    state.texts = texts;
    state.runs = run->before.runs;
    state.rejects = run->rejects_all = run->rejects.all;
    state.rejects_open = run->rejects_open = run->rejects.open;
    state.pieces = calloc(job->row_count + 1, sizeof *state.pieces);
    state.inputs = calloc(job->input_count + 1, sizeof *state.inputs);
    if (state.pieces == NULL || state.inputs == NULL) {
        status = error_set(error, STATUS_SYSTEM, "out of memory");
        goto out;
    }
    for (size_t i = 0; job->identities != NULL && i < job->input_count; i++)
        state.inputs[state.input_count++] =
            (struct checkpoint_text){(char *)job->set.sources[i].name, job->identities[i]};
    for (size_t i = 0; i < job->row_count; i++)
        state.pieces[state.piece_count++] = (struct checkpoint_piece){
            .input = job->rows[i].input,
            .lo = job->rows[i].range.lo,
            .hi = job->rows[i].range.hi,
            .mark = job->rows[i].mark,
            .rows = job->rows[i].rows,
            .bytes = job->rows[i].bytes,
            .conflicts = job->rows[i].conflicts,
        };
    status = checkpoint_rewrite(run->checkpoint, &state, error);
out:
    free(state.inputs);
    free(state.pieces);
    return status;
}

/* Tells what the file and the ledger disagree about. */
static void run_tell_checkpoint(const struct run *run)
{
    if (run->before.damaged)
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

/* Registers the job; where another process was faster, its layout is ours. */
static enum status run_register(struct run *run, struct error *error)
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

static bool run_confirm(const struct run *run)
{
    char answer[16], count[NUMBER_TEXT_MAX];

    if (run->job.overlap.rows == 0 || run->job.options->overlap != OVERLAP_REPLACE || run->job.options->yes ||
        !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return true;
    fprintf(stderr, "%s rows of %s will be deleted as their ranges are loaded. Go on? [y/N] ",
            count_format(run->job.overlap.rows, count), run->job.table.sql);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
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

static void run_set_stats(struct run *run)
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

static enum status run_prepare_job(struct run *run, const struct options *options, struct error *error)
{
    struct job *job = &run->job;
    enum status status;

    status = job_open(job, options, run->stop, error);
    if (status == STATUS_OK)
        status = job_check_checkpoint(job, &run->before, run->path, error);
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
    if (status == STATUS_OK && (!run_confirm(run) || stop_level(run->stop) != STOP_RUN))
        status = error_set(error, STATUS_STOPPED, "nothing was touched by this run");
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

/* Runs the pipeline with everything that watches it. */
static enum status run_pipeline(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    const struct options *options = job->options;
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
    struct pipeline_spec spec = {
        .stream = job->kind == SOURCE_STREAM,
        .inputs = (int32_t)job->input_count,
        .readers = job_readers(job),
        .writer = &append_writer,
        .target = &run->append,
        .writers = options->jobs,
        .tasks = job->tasks,
        .task_count = job->task_count,
        .memory_bytes = job_block_memory(job),
        .spill_dir = options->spill_dir,
        .spill_max = options->spill_max,
        .retry_ms = options->retry_seconds * 1000,
        .throttle = run->throttle.throttle,
        .stop = run->stop,
        .stats = &run->stats,
        .committed = run_committed,
        .failed = run_failed,
        .context = run,
    };
    enum status status;

    job_set_reader(job, &spec);
    status = progress_start(options->progress, &run->stats, &shown, &progress, error);
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

/* Writes into the ledger that the job is complete, through restarts of the server. Only for a run that ended well. */
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
        if (status == STATUS_OK && run->job.kind == SOURCE_STREAM && run->job.options->overlap == OVERLAP_REPLACE)
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

/* The last line of the file, and what to do now. `status` is how the pipeline ended, with its error. */
static enum status run_close(struct run *run, enum status status, struct error *error)
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
    run_hint(run, status);
    return status;
}

static void run_tell_until(struct run *run)
{
    char text[JOB_UNTIL_MAX];

    job_check_until(&run->job, text);
    if (text[0] != '\0')
        log_line(LOG_WARNING, "%s (hyperfill completion-point finds out which time is right)", text);
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
    return run_close(run, status, error);
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

enum status command_run(const struct options *options, struct error *error)
{
    struct run *run = calloc(1, sizeof *run);
    enum status status;

    if (run == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    run->job.options = options;
    status = stop_create(&run->stop, error);
    if (status == STATUS_OK)
        status = signals_start(run->stop, notice_signal, &run->signals, error);
    if (status == STATUS_OK)
        status = run_prepare(run, options, error);
    if (status == STATUS_OK && run->job.finished) {
        char count[NUMBER_TEXT_MAX];

        log_line(
            LOG_NOTICE,
            "nothing to do: the job is complete, %s rows; to load again, forget it first: hyperfill clean --target … "
            "--table %s",
            count_format(run->job.rows_before, count), options->table);
        status = run_tell_complete(run, error);
        if (status == STATUS_OK && run->rejects.open > 0)
            status = job_rejects_render(&run->job, &run->rejects, error);
        if (status == STATUS_OK)
            status = job_rejects_tell(&run->rejects, error);
    } else if (status == STATUS_OK) {
        status = run_load(run, error);
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
