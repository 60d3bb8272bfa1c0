/*
 * `hyperfill run` for several tables: one pipeline loads them all.
 *
 * The order of things is that of a run of one table. The checkpoint file is written once before the first row, with a
 * part for each table named now and those of earlier runs as they were.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/commands.h"
#include "engine/cli/progress_private.h"
#include "engine/cli/tables.h"
#include "engine/cli/text.h"
#include "engine/interleave.h"
#include "engine/log.h"

#define TABLES_SUMMED_MAX 40

struct set_run {
    const struct options *options;
    struct tables tables;
    struct checkpoint *checkpoint;
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint_set before;
    struct stop *stop;
    struct signals *signals;
    struct stats stats; /* of all tables */
    char title[64];
};

static void notice_signal(enum stop_level level)
{
    if (level == STOP_DRAIN)
        log_line(LOG_NOTICE, "stopping: pieces that are being written will be finished; once more to abort them");
    else
        log_line(LOG_NOTICE, "aborting");
}

/* ---- Hooks ---- */

/* One task has ended, whatever became of it. */
static struct table_run *task_ended(struct set_run *set, int32_t number)
{
    struct table_run *table = &set->tables.items[number];

    atomic_fetch_sub(&table->left, 1);
    atomic_fetch_add(&table->ended, 1);
    checkpoint_turn(set->checkpoint, table->part);
    return table;
}

static enum status committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                             struct error *error)
{
    struct table_run *table = task_ended(context, piece->table);
    struct stats *stats = &table->run.stats;

    stats_add(&stats->rows_done, result->already ? result->rows : result->piece_rows);
    stats_add(&stats->bytes_done, result->already ? result->bytes : result->piece_bytes);
    stats_add(&stats->rejects_done, result->piece_rejects);
    stats_add(&stats->ranges_done, 1);
    return run_committed(&table->run, piece, result, error);
}

static enum status failed(void *context, const struct piece_spec *piece, const struct error *reason,
                          struct error *error)
{
    struct table_run *table = task_ended(context, piece->table);

    if (table->failure.status == STATUS_OK)
        table->failure = *reason;
    table->ranges_failed++;
    stats_add(&table->run.stats.ranges_failed, 1);
    return run_failed(&table->run, piece, reason, error);
}

static void given_up(void *context, int32_t number, const struct error *reason)
{
    struct set_run *set = context;
    struct table_run *table = &set->tables.items[number];

    if (table->failure.status == STATUS_OK)
        table->failure = *reason;
    log_line(LOG_ERROR, "%s is given up, the other tables go on: %s", table->part, reason->text);
}

/* ---- What is shown ---- */

static const char *under_way(const void *context, char *text, size_t size)
{
    const struct set_run *set = context;
    size_t used = 0;
    int32_t done = 0;

    for (int32_t i = 0; i < set->tables.count; i++)
        done += atomic_load(&((struct table_run *)&set->tables.items[i])->left) == 0;
    used = (size_t)snprintf(text, size, "%d/%d", (int)done, (int)set->tables.count);
    for (int32_t i = 0; i < set->tables.count && used < size; i++) {
        struct table_run *table = (struct table_run *)&set->tables.items[i];

        if (atomic_load(&table->left) > 0 && atomic_load(&table->ended) > 0)
            used += (size_t)snprintf(text + used, size - used, " %s", table->run.job.table.name);
    }
    return text;
}

static int64_t sum_known(int64_t sum, int64_t number)
{
    return sum < 0 || number < 0 ? -1 : sum + number;
}

static void set_stats(struct set_run *set)
{
    struct stats *all = &set->stats;

    all->input_size = -1;
    for (int32_t i = 0; i < set->tables.count; i++) {
        struct table_run *table = &set->tables.items[i];
        struct stats *one = &table->run.stats;

        if (!table->planned)
            continue;
        run_set_stats(&table->run);
        if (table->run.job.finished)
            one->ranges_total = one->ranges_before;
        if (table->run.job.finished)
            one->rows_total = one->rows_before;
        all->ranges_total = sum_known(all->ranges_total, one->ranges_total);
        all->rows_total = sum_known(all->rows_total, one->rows_total);
        all->bytes_total = sum_known(all->bytes_total, table->run.job.finished ? one->bytes_before : one->bytes_total);
        all->ranges_before += one->ranges_before;
        all->rows_before += one->rows_before;
        all->bytes_before += one->bytes_before;
        all->rejects_before += one->rejects_before;
        all->conflicts_before += one->conflicts_before;
        all->builds_open += one->builds_open;
    }
}

/* How each one ended. Many tables that went well need no lines. */
static void tell_tables(const struct set_run *set)
{
    for (int32_t i = 0; i < set->tables.count; i++) {
        const struct table_run *table = &set->tables.items[i];
        const struct stats *stats = &table->run.stats;
        char rows[NUMBER_TEXT_MAX];

        if (set->options->progress == PROGRESS_JSON)
            event_table(table->part, table->failure.status, stats, table->failure.text);
        else if (set->options->progress != PROGRESS_NONE &&
                 (set->tables.count <= TABLES_SUMMED_MAX || table->failure.status != STATUS_OK))
            fprintf(stderr, "  %-10s %s: %s rows\n",
                    table->failure.status == STATUS_OK ? "complete" : status_name(table->failure.status), table->part,
                    count_format(stats_get(&stats->rows_done) + stats_get(&stats->rows_before), rows));
    }
}

/* ---- Before the first row ---- */

/* What is in the file and not in the job any more, and the other way round. */
static void tell_changes(const struct set_run *set)
{
    if (set->before.damaged)
        log_line(LOG_WARNING, "the checkpoint file %s is damaged at line %lld: rebuilt from the ledger in the target",
                 set->path, (long long)set->before.damaged_line);
    else if (set->before.torn)
        log_line(LOG_NOTICE, "the last line of the checkpoint file %s was cut off: completed from the ledger",
                 set->path);
    for (size_t i = 0; i < set->before.count; i++) {
        bool found = false;

        for (int32_t j = 0; j < set->tables.count && !found; j++)
            found = strcmp(set->before.parts[i].name, set->tables.items[j].part) == 0;
        if (!found && set->before.parts[i].state.job[0] != '\0')
            log_line(LOG_NOTICE, "%s is in the checkpoint file %s and is not named now: its part stays as it is",
                     set->before.parts[i].name, set->path);
    }
    for (int32_t j = 0; set->before.count > 0 && !set->before.damaged && j < set->tables.count; j++)
        if (checkpoint_set_part(&set->before, set->tables.items[j].part) == NULL && set->tables.items[j].planned)
            log_line(LOG_NOTICE, "%s is new in this job", set->tables.items[j].part);
}

static bool confirm(const struct set_run *set)
{
    char answer[16], count[NUMBER_TEXT_MAX];
    int64_t rows = 0;

    for (int32_t i = 0; i < set->tables.count; i++)
        rows += set->tables.items[i].planned ? set->tables.items[i].run.job.overlap.rows : 0;
    if (rows == 0 || set->options->overlap != OVERLAP_REPLACE || set->options->yes || !isatty(STDIN_FILENO) ||
        !isatty(STDERR_FILENO))
        return true;
    fprintf(stderr, "%s rows of these tables will be deleted as their ranges are loaded. Go on? [y/N] ",
            count_format(rows, count));
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Registers the job, and tells its writers what to do. */
static enum status prepare_one(struct table_run *table, struct error *error)
{
    struct run *run = &table->run;
    struct job *job = &run->job;
    char *layout = strdup(job->layout_text);
    size_t rows = job->row_count;
    enum status status = layout == NULL ? error_set(error, STATUS_SYSTEM, "out of memory") : run_register(run, error);

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
    if (status == STATUS_OK && (!confirm(set) || stop_level(set->stop) != STOP_RUN))
        status = error_set(error, STATUS_STOPPED, "nothing was touched by this run");
    for (int32_t i = 0; status == STATUS_OK && i < set->tables.count; i++) {
        struct table_run *table = &set->tables.items[i];

        table->run.checkpoint = set->checkpoint;
        if (table->planned && !table->run.job.finished)
            status = prepare_one(table, error);
        if (status != STATUS_OK)
            status = table_failed(table, error);
    }
    return status;
}

/* What the file is to say of a table; `borrowed`: not from the run. */
static enum status part_of(struct set_run *set, struct table_run *table, struct checkpoint_part *part, bool *borrowed,
                           struct error *error)
{
    const struct checkpoint_part *old = checkpoint_set_part(&set->before, table->part);
    const struct job *job = &table->run.job;
    enum status status;

    *borrowed = !table->planned || (job->finished && old != NULL && old->state.end == CHECKPOINT_COMPLETE &&
                                    old->state.rejects_open == table->run.rejects.open);
    *part = (struct checkpoint_part){.name = table->part, .starts = true};
    if (*borrowed && old != NULL)
        part->state = old->state;
    else if (*borrowed)
        part->state = (struct checkpoint_state){.ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1};
    if (*borrowed) {
        part->starts = !table->planned;
        return STATUS_OK;
    }
    status = run_state(&table->run, &part->state, error);
    part->state.ranges_planned = job->finished ? (int64_t)job->row_count : job->ranges_total;
    part->state.rows_planned = job->finished ? job->rows_before : job->rows_total;
    part->state.bytes_planned = job->finished ? job->bytes_before : job->bytes_total;
    /* Nothing is begun for one that is complete. */
    part->starts = !job->finished;
    if (job->finished) {
        part->state.runs += part->state.runs == 0;
        part->state.end = CHECKPOINT_COMPLETE;
    }
    return status;
}

static enum status rewrite(struct set_run *set, struct error *error)
{
    size_t room = (size_t)set->tables.count + set->before.count;
    struct checkpoint_set file = {.parts = calloc(room + 1, sizeof *file.parts)};
    bool *borrowed = calloc(room + 1, sizeof *borrowed);
    enum status status = STATUS_OK;

    if (file.parts == NULL || borrowed == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int32_t i = 0; status == STATUS_OK && i < set->tables.count; i++, file.count++)
        status = part_of(set, &set->tables.items[i], &file.parts[file.count], &borrowed[file.count], error);
    for (size_t i = 0; status == STATUS_OK && i < set->before.count; i++) {
        if (checkpoint_set_part(&file, set->before.parts[i].name) != NULL || set->before.parts[i].state.job[0] == '\0')
            continue;
        borrowed[file.count] = true;
        file.parts[file.count++] = set->before.parts[i];
    }
    if (status == STATUS_OK)
        status = checkpoint_rewrite_set(set->checkpoint, &file, error);
    for (size_t i = 0; file.parts != NULL && borrowed != NULL && i < file.count; i++)
        if (!borrowed[i])
            run_state_reset(&file.parts[i].state);
    free(file.parts);
    free(borrowed);
    return status;
}

/* ---- The pipeline ---- */

/* The lists that sessions turn by, and the tasks of all; freed by the caller, also after a failure. */
struct plan_of_all {
    struct append_tables writers;
    struct postgres_tables readers;
    struct task *tasks;
    size_t task_count;
};

static void plan_reset(struct plan_of_all *plan)
{
    free(plan->writers.targets);
    free(plan->readers.sources);
    free(plan->tasks);
}

/* Any one that is loaded: they share what sessions need. */
static struct table_run *first_loading(struct set_run *set)
{
    for (int32_t i = 0; i < set->tables.count; i++)
        if (set->tables.items[i].loading)
            return &set->tables.items[i];
    return NULL;
}

static enum status plan_make(struct set_run *set, struct plan_of_all *plan, struct error *error)
{
    int32_t count = set->tables.count;
    struct task_row *rows = calloc((size_t)count + 1, sizeof *rows);
    int width = set->options->jobs > 2 ? set->options->jobs : 2;
    enum status status;

    *plan = (struct plan_of_all){
        .writers = {calloc((size_t)count + 1, sizeof *plan->writers.targets), count},
        .readers = {calloc((size_t)count + 1, sizeof *plan->readers.sources)},
    };
    if (rows == NULL || plan->writers.targets == NULL || plan->readers.sources == NULL) {
        free(rows);
        return error_set(error, STATUS_SYSTEM, "out of memory for %d tables", (int)count);
    }
    for (int32_t i = 0; i < count; i++) {
        struct table_run *table = &set->tables.items[i];
        struct table_run *own = table->loading ? table : first_loading(set);

        /* Sessions are opened with the first of them. */
        plan->writers.targets[i] = &own->run.append;
        plan->readers.sources[i] = &own->run.job.postgres;
        if (table->loading)
            rows[i] = (struct task_row){table->run.job.tasks, table->run.job.task_count};
    }
    status = tasks_interleave(rows, count, width, &plan->tasks, &plan->task_count, error);
    free(rows);
    return status;
}

static enum status run_pipeline(struct set_run *set, struct error *error)
{
    struct table_run *any = first_loading(set);
    struct progress *progress = NULL;
    struct plan_of_all plan;
    struct progress_job shown = {
        .table = set->title,
        .job = set->path,
        .source = any->run.job.source_address.display,
        .target = any->run.job.target_address.display,
        .checkpoint = set->path,
        .resumed = stats_get(&set->stats.rows_before) > 0,
        .under_way = under_way,
        .context = set,
    };
    struct pipeline_spec spec = {
        .reader = &postgres_tables_reader,
        .source = &plan.readers,
        .readers = job_readers(&any->run.job),
        .writer = &append_tables_writer,
        .target = &plan.writers,
        .writers = set->options->jobs,
        .tables = set->tables.count + 1, /* even one is one of several: it fails by itself */
        .memory_bytes = job_block_memory(&any->run.job),
        .retry_ms = set->options->retry_seconds * 1000,
        .stop = set->stop,
        .stats = &set->stats,
        .committed = committed,
        .failed = failed,
        .table_failed = given_up,
        .context = set,
    };
    enum status status = plan_make(set, &plan, error);

    spec.tasks = plan.tasks;
    spec.task_count = plan.task_count;
    if (status == STATUS_OK)
        status = progress_start(set->options->progress, &set->stats, &shown, &progress, error);
    if (status == STATUS_OK)
        status = pipeline_run(&spec, error);
    for (int32_t i = 0; status == STATUS_OK && i < set->tables.count; i++)
        status = set->tables.items[i].failure.status;
    progress_finish(progress, status);
    plan_reset(&plan);
    return error->status;
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
    if (run_end(&table->run, status, &error) != STATUS_OK)
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

/* Rejected rows of earlier runs are told as long as they wait. */
static enum status tell_complete(struct table_run *table, struct error *error)
{
    enum status status = STATUS_OK;

    if (!table->planned || !table->run.job.finished || table->run.rejects.open == 0)
        return STATUS_OK;
    status = job_rejects_render(&table->run.job, &table->run.rejects, error);
    if (status == STATUS_OK)
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

    tell_changes(set);
    if (first_loading(set) != NULL && first_loading(set)->run.job.table.pooled)
        log_line(LOG_NOTICE,
                 "the target is behind a connection pooler, which may lose settings of the session (timeouts):"
                 " better connect to the server itself");
    set_stats(set);
    snprintf(set->title, sizeof set->title, "%d table%s", (int)set->tables.count, set->tables.count == 1 ? "" : "s");
    status = rewrite(set, error);
    if (status != STATUS_OK)
        return status;
    pg_disconnect(set->tables.sides.source_names);
    pg_disconnect(set->tables.sides.target_names);
    pg_disconnect(set->tables.sides.source);
    pg_disconnect(set->tables.sides.target);
    if (first_loading(set) != NULL)
        status = run_pipeline(set, error);
    else
        log_line(LOG_NOTICE, "nothing to load: no table has rows left");
    end_all(set, error);
    for (int32_t i = 0; i < set->tables.count; i++)
        status = status_worse(status, tell_complete(&set->tables.items[i], error));
    tell_tables(set);
    return status;
}

static void set_reset(struct set_run *set)
{
    for (int32_t i = 0; i < set->tables.count; i++) {
        struct run *run = &set->tables.items[i].run;

        builds_free(run->append.builds);
        append_target_reset(&run->append);
    }
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
