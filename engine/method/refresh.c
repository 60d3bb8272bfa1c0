/* What is to be refreshed, batch by batch, and remembered. */
#include "engine/method/refresh_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/log.h"
#include "engine/retry.h"
#include "engine/stats.h"
#include "writers/ledger_state.h"

#define TELL_EVERY_NS INT64_C(2000000000)

static enum status prepare(const struct refresh_spec *spec, struct error *error)
{
    return ledger_state_prepare(
        spec->pg, spec->ledger, "refresh",
        "table_oid oid NOT NULL, aggregate int NOT NULL, lo bigint NOT NULL, hi bigint NOT NULL, done bigint NOT NULL,"
        " begun timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (aggregate, lo, hi)",
        "hyperfill: continuous aggregates that were refreshed after history was loaded", error);
}

/* Where to begin: where a run of the same range was stopped, or at its beginning, anew. */
static enum status begin_task(const struct refresh_task *task, int64_t *from, struct error *error)
{
    struct sql sql = {0};
    char *done = NULL;
    enum status status;

    sql_add(&sql,
            "INSERT INTO %s AS r (table_oid, aggregate, lo, hi, done) VALUES (%u, %d, '%" PRId64 "', '%" PRId64
            "', '%" PRId64 "')",
            task->state, task->spec->table->oid, task->aggregate->id, task->range.lo, task->range.hi, task->range.lo);
    /* Of the ledger's ranges what an older run has done may be from before they were loaded: its row ends there. */
    sql_add(&sql,
            " ON CONFLICT (aggregate, lo, hi) DO UPDATE SET begun = CASE WHEN %s THEN r.begun ELSE"
            " clock_timestamp() END, done = CASE WHEN %s THEN r.done ELSE EXCLUDED.done END RETURNING done",
            task->spec->window_given ? "r.done < r.hi" : "false", task->spec->window_given ? "r.done < r.hi" : "false");
    status = pg_value(task->spec->pg, sql.text, &done, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        *from = done != NULL ? strtoll(done, NULL, 10) : task->range.lo;
    free(done);
    return status;
}

static enum status remember(const struct refresh_task *task, int64_t done, struct error *error)
{
    return pg_runf(task->spec->pg, NULL, error,
                   "UPDATE %s SET done = '%" PRId64 "' WHERE aggregate = %d AND lo = '%" PRId64 "' AND hi = '%" PRId64
                   "'",
                   task->state, done, task->aggregate->id, task->range.lo, task->range.hi);
}

/* A transaction of its own, or several: the server's business. */
static enum status refresh(const struct refresh_task *task, struct range window, struct error *error)
{
    bool force = task->list->force_ends || task->aggregate->pairs;
    const char *type = time_type_sql(task->aggregate->type);
    char lo[TIME_TEXT_MAX], hi[TIME_TEXT_MAX];
    char *name = pg_literal(task->aggregate->name);
    enum status status =
        pg_runf(task->spec->pg, NULL, error, "CALL %s.refresh_continuous_aggregate(%s, '%s'::%s, '%s'::%s%s)",
                task->list->schema, name, time_format(task->aggregate->type, window.lo, lo), type,
                time_format(task->aggregate->type, window.hi, hi), type, force ? ", force => true" : "");

    free(name);
    return status;
}

/* Once more after what passes by itself: another refresh of the same buckets, a lost connection. */
static enum status refresh_retrying(const struct refresh_task *task, struct range batch, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, task->spec->retry_ms, 3);
    for (;;) {
        struct range window;
        int64_t pause_ms;

        error_reset(error);
        status = pg_connect(task->spec->pg, error);
        if (status == STATUS_OK)
            status = refresh_window(task, batch, &window, error);
        if (status == STATUS_OK)
            status = refresh(task, window, error);
        if (status == STATUS_OK)
            status = remember(task, batch.hi, error);
        if (status != STATUS_TRANSIENT || (pause_ms = retry_next(&retry)) < 0)
            return status;
        if (stop_wait(task->spec->stop, pause_ms, STOP_DRAIN))
            return status;
    }
}

static void tell(struct refresh_task *task, int64_t from, int64_t until, int64_t position)
{
    int64_t now = stats_now_ns();
    char text[TIME_TEXT_MAX];

    if (now - task->told_ns < TELL_EVERY_NS)
        return;
    task->told_ns = now;
    log_line(LOG_NOTICE, "%s: refreshed up to %s, %d%% of this range", task->aggregate->name,
             time_format(task->aggregate->type, position, text),
             (int)(((double)position - (double)from) * 100 / ((double)until - (double)from)));
}

static enum status refresh_range(struct refresh_task *task, struct refresh_done *done, struct error *error)
{
    struct range wide, batch;
    int64_t position = 0;
    enum status status = begin_task(task, &position, error);

    if (status == STATUS_OK)
        status = aggregate_widen(task->spec->pg, task->aggregate, task->range, &wide, error);
    if (status != STATUS_OK)
        return status;
    if (position <= task->range.lo)
        position = wide.lo;
    while (position < wide.hi) {
        if (stop_level(task->spec->stop) != STOP_RUN)
            return error_set(error, STATUS_STOPPED, "%s is not refreshed wholly: run it again to go on",
                             task->aggregate->name);
        status = refresh_batch(task->spec->pg, task->spec->table, task->aggregate, (struct range){position, wide.hi},
                               &batch, error);
        if (status == STATUS_OK)
            status = refresh_retrying(task, batch, error);
        if (status != STATUS_OK)
            return status;
        assert(batch.hi > position);
        position = batch.hi;
        done->batches++;
        tell(task, wide.lo, wide.hi, position);
    }
    done->ranges++;
    return STATUS_OK;
}

/*
 * The view of a real-time aggregate shows what its table has only up to where the server has refreshed it. The last
 * bucket that was loaded, made once more from rows that are all there, takes that forward.
 */
static enum status show(struct refresh_task *task, struct refresh_done *done, struct error *error)
{
    int64_t end = task->kept.windows[task->kept.count - 1].hi;
    struct range bucket;
    bool hidden = false, whole = false;
    enum status status = refresh_is_hidden(task->spec->pg, task->aggregate, end, &hidden, error);

    /* What is still being loaded is not to be found there by who loads it. */
    if (status != STATUS_OK || !hidden || task->kept.unfinished)
        return status;
    bucket.lo = end - time_type_unit(task->aggregate->type);
    status = aggregate_widen(task->spec->pg, task->aggregate, (struct range){bucket.lo, end}, &bucket, error);
    if (status == STATUS_OK)
        status = refresh_is_whole(task, bucket, &whole, error);
    task->range = bucket;
    if (status == STATUS_OK && whole)
        status = refresh_retrying(task, bucket, error);
    if (status == STATUS_OK && whole)
        done->batches++;
    if (status == STATUS_OK)
        status = refresh_is_hidden(task->spec->pg, task->aggregate, end, &hidden, error);
    if (status == STATUS_OK && hidden)
        log_line(LOG_WARNING,
                 "%s does not show what was loaded into it until a bucket after that is refreshed; at once with ALTER"
                 " MATERIALIZED VIEW %s SET (timescaledb.materialized_only = true)",
                 task->aggregate->name, task->aggregate->name);
    return status;
}

static enum status refresh_ranges(struct refresh_task *task, struct refresh_done *done, struct error *error)
{
    struct range *ranges = NULL;
    size_t count = 0;
    enum status status = refresh_find_ranges(task, &ranges, &count, error);

    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        char text[TABLE_RANGE_TEXT_MAX];

        task->range = ranges[i];
        log_line(LOG_NOTICE, "refreshing %s in %s", task->aggregate->name,
                 table_range_text(task->spec->table, task->range, text));
        status = refresh_range(task, done, error);
    }
    free(ranges);
    return status;
}

static enum status refresh_aggregate(struct refresh_task *task, struct refresh_done *done, struct error *error)
{
    enum status status = refresh_kept_read(task->spec, task->aggregate, &task->kept, error);

    if (status == STATUS_OK)
        status = refresh_ranges(task, done, error);
    if (status == STATUS_OK && task->kept.count > 0 && !task->spec->window_given)
        status = show(task, done, error);
    free(task->kept.windows);
    task->kept = (struct refresh_kept){0};
    if (status != STATUS_OK)
        error_prefix(error, "refresh of %s", task->aggregate->name);
    return status;
}

static enum status look_for_unfinished(const struct refresh_spec *spec, bool *unfinished, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    bool exists;
    enum status status = ledger_exists(spec->pg, spec->ledger, &exists, error);

    if (status != STATUS_OK || !exists)
        return status;
    sql_add(&sql, "SELECT 1 FROM %s WHERE finished IS NULL AND table_oid = %u LIMIT 1", spec->ledger->job_table,
            spec->table->oid);
    status = pg_value(spec->pg, sql.text, &found, error);
    sql_reset(&sql);
    *unfinished = found != NULL;
    free(found);
    return status;
}

enum status refresh_run(const struct refresh_spec *spec, struct refresh_done *done, struct error *error)
{
    struct refresh_task task = {.spec = spec};
    struct aggregates list = {0};
    enum status status = aggregates_read(spec->pg, spec->table, &list, error);

    *done = (struct refresh_done){.aggregates = list.count};
    if (status != STATUS_OK || list.count == 0)
        goto out;
    status = prepare(spec, error);
    if (status == STATUS_OK && !spec->window_given)
        status = look_for_unfinished(spec, &done->unfinished, error);
    task.state = ledger_state_table(spec->ledger, "refresh");
    task.list = &list;
    task.told_ns = stats_now_ns();
    for (size_t i = 0; i < list.count && status == STATUS_OK; i++) {
        task.aggregate = &list.items[i];
        status = refresh_aggregate(&task, done, error);
    }
out:
    free(task.state);
    aggregates_reset(&list);
    return status;
}
