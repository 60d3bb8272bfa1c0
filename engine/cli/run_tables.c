/*
 * `hyperfill run` for several tables: one pipeline loads them all.
 *
 * The order of things is that of a run of one table. The checkpoint file is written once before the first row, with a
 * part for each table named now and those of earlier runs as they were.
 */
#include "engine/cli/run_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/ask.h"
#include "engine/cli/text.h"
#include "engine/log.h"

static void notice_signal(enum stop_level level)
{
    if (level == STOP_DRAIN)
        log_line(LOG_NOTICE, "stopping: pieces that are being written will be finished; once more to abort them");
    else
        log_line(LOG_NOTICE, "aborting");
}

static bool confirm(const struct set_run *set)
{
    char question[128], count[NUMBER_TEXT_MAX];
    int64_t rows = 0;

    for (int32_t i = 0; i < set->tables.count; i++)
        rows += set->tables.items[i].planned ? set->tables.items[i].run.job.overlap.rows : 0;
    if (rows == 0 || set->options->overlap != OVERLAP_REPLACE || set->options->yes || !ask_can())
        return true;
    snprintf(question, sizeof question, "%s rows of these tables will be deleted as their ranges are loaded. Go on?",
             count_format(rows, count));
    return ask(set->stop, question);
}

/* A refresh policy may have made buckets until it was paused. */
static enum status look_again(struct job *job, struct error *error)
{
    enum status status = job_plan(job, error);

    return status == STATUS_OK ? job_check_overlap(job, error) : status;
}

/* Registers the job, and tells its writers what to do. */
static enum status prepare_one(struct table_run *table, struct error *error)
{
    struct run *run = &table->run;
    struct job *job = &run->job;
    struct range late;
    char *layout = strdup(job->layout_text);
    size_t rows = job->row_count;
    enum status status = layout == NULL ? error_set(error, STATUS_SYSTEM, "out of memory") : STATUS_OK;

    if (status == STATUS_OK)
        status = run_check_late(run, &late, error);
    if (status == STATUS_OK)
        status = run_check_policies(run, error);
    /* Buckets come to both sides when each has refreshed them: how far, says nothing. */
    if (status == STATUS_OK && table->aggregate == NULL)
        run_tell_until(run);
    if (status == STATUS_OK)
        status = run_register(run, error);

    /* Somebody else was faster, with another layout perhaps. */
    if (status == STATUS_OK && (strcmp(layout, job->layout_text) != 0 || rows != job->row_count))
        status = job_plan(job, error);
    free(layout);
    job_append_target(job, &run->append);
    job_rejects_target(job, &run->rejects, &run->append);
    if (status == STATUS_OK)
        status = append_target_init(&run->append, error);
    if (status == STATUS_OK)
        status = job_builds(job, &run->append, &run->stats, error);
    if (status == STATUS_OK)
        status = run_pause_policies(run, error);
    if (status == STATUS_OK && table->aggregate != NULL)
        status = look_again(job, error);
    table->loading = status == STATUS_OK;
    atomic_store(&table->left, status == STATUS_OK ? (int64_t)job->task_count : 0);
    return status;
}

static enum status prepare(struct set_run *set, struct error *error)
{
    enum status status = command_checkpoint_path(set->options, set->path, error);

    if (status == STATUS_OK)
        status = checkpoint_open(set->path, &set->checkpoint, error);
    if (status == STATUS_OK)
        status = checkpoint_read_set(set->path, &set->before, error);
    if (status == STATUS_OK)
        status = tables_open(&set->tables, set->options, &set->before, set->path, set->stop, error);
    if (status == STATUS_OK)
        status = run_guard(set->options, &set->tables.sides.target_address, set->stop, &set->guard, error);
    if (status == STATUS_OK && (!confirm(set) || stop_level(set->stop) != STOP_RUN))
        status = error_set(error, STATUS_STOPPED, "nothing was touched by this run");
    if (status == STATUS_OK)
        status = tables_cascade_begin(&set->tables, error);
    for (int32_t i = 0; status == STATUS_OK && i < set->tables.count; i++) {
        struct table_run *table = &set->tables.items[i];

        table->run.checkpoint = set->checkpoint;
        table->run.guard = set->guard;
        table->run.guard_shared = true;
        if (table->planned && !table->run.job.finished)
            status = prepare_one(table, error);
        if (status != STATUS_OK)
            status = table_failed(table, error);
    }
    /* Last: an aggregate's policies must not run between a hypertable that is complete and the aggregate. */
    for (int32_t i = 0; status == STATUS_OK && i < set->tables.count; i++) {
        struct table_run *table = &set->tables.items[i];

        if (table->planned && table->run.job.finished)
            status = run_take_over_policies(&table->run, error);
        if (status != STATUS_OK)
            status = table_failed(table, error);
    }
    return status;
}

/* ---- After the last row ---- */

/* How the loading of one table ended, when that of all ended with `all`. */
static enum status outcome_of(struct table_run *table, const struct error *all, struct error *error)
{
    struct builds *builds = table->run.append.builds;

    if (table->ranges_failed > 0 && table->failure.status != STATUS_OK)
        return error_set(error, table->failure.status, "%lld range%s could not be loaded: %s",
                         (long long)table->ranges_failed, table->ranges_failed == 1 ? "" : "s", table->failure.text);
    if (table->failure.status != STATUS_OK) {
        *error = table->failure;
        return error->status;
    }
    if (atomic_load(&table->left) > 0 || (builds != NULL && builds_open(builds) > 0)) {
        if (all->status != STATUS_OK) {
            *error = *all;
            return error->status;
        }
        return error_set(error, STATUS_SERVER, "all rows are in, but chunks could not be completed, as told above");
    }
    return STATUS_OK;
}

/*
 * Each table that has all its rows is complete, however the others ended; but once the target was away for as long as
 * it may be, `away` says so, and the others are not tried for as long again.
 */
static void end_one(struct set_run *set, struct table_run *table, const struct error *all, struct error *away)
{
    struct error error;
    enum status status;

    error_reset(&error);
    status = outcome_of(table, all, &error);
    if (status == STATUS_OK && away->status != STATUS_OK) {
        error = *away;
        status = error.status;
    }
    job_tell_builds(&table->run.job, table->run.append.builds, status);
    checkpoint_turn(set->checkpoint, table->part);
    status = run_end(&table->run, status, &error);
    if (status == STATUS_OK)
        status = run_catch_up(&table->run, &error);
    if (run_restore_policies(&table->run, status, &error) != STATUS_OK)
        table->failure = error;
    if (table->failure.status == STATUS_TRANSIENT)
        *away = table->failure;
}

/* That a table could not even be begun is in the file, too. */
static void end_unbegun(struct set_run *set, const struct table_run *table)
{
    struct error error;

    error_reset(&error);
    checkpoint_turn(set->checkpoint, table->part);
    if (checkpoint_failed(set->checkpoint, 0, INT64_MIN, INT64_MAX, table->failure.text, &error) != STATUS_OK ||
        checkpoint_stop(set->checkpoint, CHECKPOINT_FAILED, &error) != STATUS_OK)
        log_line(LOG_WARNING, "%s", error.text);
}

static void end_all(struct set_run *set, const struct error *all)
{
    struct error away;

    error_reset(&away);
    if (all->status == STATUS_TRANSIENT)
        away = *all;
    for (int32_t i = 0; i < set->tables.count; i++) {
        struct table_run *table = &set->tables.items[i];

        if (table->loading)
            end_one(set, table, all, &away);
        else if (table->failure.status != STATUS_OK)
            end_unbegun(set, table);
    }
}

/* Of a table that was complete before: what came late since; and rejected rows are told as long as they wait. */
static enum status tell_complete(struct table_run *table, struct error *error)
{
    enum status status;

    if (!table->planned || !table->run.job.finished)
        return STATUS_OK;
    status = run_catch_up(&table->run, error);
    if (status == STATUS_OK && table->run.rejects.open > 0)
        status = job_rejects_render(&table->run.job, &table->run.rejects, error);
    if (status == STATUS_OK && table->run.rejects.open > 0)
        status = job_rejects_tell(&table->run.rejects, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    table->failure = *error;
    error_reset(error);
    return STATUS_OK;
}

static enum status load(struct set_run *set, struct error *error)
{
    enum status status;

    run_tables_changes(set);
    if (run_tables_any(set) != NULL && run_tables_any(set)->run.job.table.pooled)
        log_line(LOG_NOTICE,
                 "the target is behind a connection pooler, which may lose settings of the session (timeouts):"
                 " better connect to the server itself");
    run_tables_stats(set);
    snprintf(set->title, sizeof set->title, "%d table%s", (int)set->tables.count, set->tables.count == 1 ? "" : "s");
    status = run_tables_rewrite(set, error);
    if (status != STATUS_OK)
        return status;
    pg_disconnect(set->tables.sides.source_names);
    pg_disconnect(set->tables.sides.target_names);
    pg_disconnect(set->tables.sides.source);
    pg_disconnect(set->tables.sides.target);
    if (run_tables_any(set) != NULL) {
        status = job_throttle_start(&set->throttle, &run_tables_any(set)->run.job, set->stop, error);
        if (status == STATUS_OK)
            status = run_tables_pipeline(set, error);
    } else {
        log_line(LOG_NOTICE, "nothing to load: no table has rows left");
    }
    job_throttle_finish(&set->throttle);
    end_all(set, error);
    for (int32_t i = 0; i < set->tables.count; i++)
        status = status_worse(status, tell_complete(&set->tables.items[i], error));
    run_tables_tell(set);
    return status;
}

static void set_reset(struct set_run *set)
{
    struct error error;

    for (int32_t i = 0; i < set->tables.count; i++) {
        struct run *run = &set->tables.items[i].run;

        /* Of a table that was begun while another one stopped the whole. */
        error_reset(&error);
        if (run_restore_policies(run, STATUS_OK, &error) != STATUS_OK)
            log_line(LOG_WARNING, "%s", error.text);
        builds_free(run->append.builds);
        append_target_reset(&run->append);
    }
    policies_guard_free(set->guard);
    tables_reset(&set->tables);
    checkpoint_set_free(&set->before);
    checkpoint_close(set->checkpoint);
    stop_free(set->stop);
}

/* What concerns all comes first; a stop is no failure of a table's own. */
static enum status result_of(const struct set_run *set, enum status status, struct error *error)
{
    struct error tables;
    enum status worst;

    error_reset(&tables);
    worst = tables_result(&set->tables, &tables);
    if (worst == STATUS_OK || (status != STATUS_OK && worst == status))
        return status;
    if (status != STATUS_OK && status_worse(status, worst) == status) {
        error_hint(error, "\n%s", tables.text);
        return status;
    }
    *error = tables;
    return worst;
}

enum status run_tables(const struct options *options, struct error *error)
{
    struct set_run *set = calloc(1, sizeof *set);
    bool begun = false;
    enum status status;

    if (set == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    set->options = options;
    status = stop_create(&set->stop, error);
    if (status == STATUS_OK)
        status = signals_start(set->stop, notice_signal, &set->signals, error);
    if (status == STATUS_OK)
        status = prepare(set, error);
    if (status == STATUS_OK) {
        begun = true;
        status = load(set, error);
        status = result_of(set, status, error);
    }
    if (status != STATUS_OK && status != STATUS_REJECTS && (begun || set->before.exists))
        log_line(LOG_NOTICE, "what is committed stays; run the same command again to resume (checkpoint file %s)",
                 set->path);
    signals_finish(set->signals);
    set_reset(set);
    free(set);
    return status;
}
