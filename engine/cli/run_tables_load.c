/* Several tables through one pipeline. */
#include "engine/cli/run_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/progress_private.h"
#include "engine/cli/text.h"
#include "engine/interleave.h"
#include "engine/log.h"

#define TABLES_SUMMED_MAX 40

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

void run_tables_stats(struct set_run *set)
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

void run_tables_tell(const struct set_run *set)
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

struct table_run *run_tables_any(struct set_run *set)
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
        struct table_run *own = table->loading ? table : run_tables_any(set);

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

enum status run_tables_pipeline(struct set_run *set, struct error *error)
{
    struct table_run *any = run_tables_any(set);
    struct progress *progress = NULL;
    struct plan_of_all plan;
    struct progress_job shown = {
        .table = set->title,
        .job = set->path,
        .source = any->run.job.source_address.display,
        .target = any->run.job.target_address.display,
        .checkpoint = set->path,
        .resumed = stats_get(&set->stats.rows_before) > 0,
        .throttle = set->throttle.throttle,
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
        .throttle = set->throttle.throttle,
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
