/* Which ranges of an aggregate are to be refreshed. */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/log.h"
#include "engine/method/loaded.h"
#include "engine/method/refresh_private.h"

/* Where the table has chunks; those of a space partition share their time. */
static size_t where_chunks_are(const struct table *table, const struct range *ranges, size_t count, struct range *parts)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < table->cell_count; j++) {
            struct range both = {ranges[i].lo > table->cells[j].lo ? ranges[i].lo : table->cells[j].lo,
                                 ranges[i].hi < table->cells[j].hi ? ranges[i].hi : table->cells[j].hi};

            if (both.lo >= both.hi)
                continue;
            if (kept > 0 && both.lo <= parts[kept - 1].hi)
                parts[kept - 1].hi = both.hi > parts[kept - 1].hi ? both.hi : parts[kept - 1].hi;
            else
                parts[kept++] = both;
        }
    return kept;
}

/* What finished jobs have loaded into the hypertable and nobody has refreshed since; or the window that is given. */
static enum status find_loaded(const struct refresh_task *task, struct range **ranges, size_t *count,
                               struct error *error)
{
    const struct table *table = task->spec->table;
    struct sql condition = {0};
    struct range *loaded = NULL;
    size_t loaded_count = 0;
    enum status status = STATUS_OK;

    if (!task->spec->window_given) {
        /* What is covered by a range that was begun after the job had ended was seen. */
        sql_add(&condition,
                "j.finished IS NOT NULL AND NOT EXISTS (SELECT FROM %s r WHERE r.aggregate = %d AND r.lo <= p.lo"
                " AND p.hi <= r.done AND r.begun > j.finished)",
                task->state, task->aggregate->id);
        status =
            loaded_ranges(task->spec->pg, task->spec->ledger, table, condition.text, &loaded, &loaded_count, error);
        sql_reset(&condition);
    }
    *count = 0;
    *ranges = status == STATUS_OK ? calloc(loaded_count * (table->cell_count + 1) + 1, sizeof **ranges) : NULL;
    if (status == STATUS_OK && *ranges == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    if (status == STATUS_OK && task->spec->window_given)
        (*ranges)[(*count)++] = task->spec->window;
    else if (status == STATUS_OK)
        *count = where_chunks_are(table, loaded, loaded_count, *ranges);
    free(loaded);
    return status;
}

/* Of what the aggregate is built on, if that is one, too. */
static enum status parent_has(const struct refresh_task *task, struct range range, bool *has, struct error *error)
{
    struct refresh_kept kept = {0};
    enum status status = STATUS_OK;

    *has = false;
    for (size_t i = 0; i < task->list->count && status == STATUS_OK; i++)
        if (task->list->items[i].id == task->aggregate->parent) {
            status = refresh_kept_read(task->spec, &task->list->items[i], &kept, error);
            *has = status == STATUS_OK && refresh_kept_has(&kept, range);
        }
    free(kept.windows);
    return status;
}

/*
 * A bucket that begins before all that was loaded may have had more rows than are left: where its aggregate has a
 * history of its own, it is not made from those.
 */
static enum status leave_first(const struct refresh_task *task, struct range *first, struct error *error)
{
    struct range wide;
    bool whole = false;
    enum status status =
        aggregate_widen(task->spec->pg, task->aggregate, (struct range){first->lo, first->lo}, &wide, error);

    if (status != STATUS_OK || wide.lo == first->lo)
        return status;
    status = parent_has(task, (struct range){wide.lo, first->lo}, &whole, error);
    if (status == STATUS_OK && !whole) {
        char text[TABLE_RANGE_TEXT_MAX];

        log_line(LOG_NOTICE, "%s: the bucket of %s is left alone: of its rows those before that were not loaded",
                 task->aggregate->name, table_range_text(task->spec->table, (struct range){wide.lo, first->lo}, text));
        first->lo = wide.hi;
    }
    return status;
}

/* Whether it was refreshed since the last job was finished. */
static enum status is_seen(const struct refresh_task *task, struct range range, bool *seen, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql,
            "SELECT 1 FROM %s r WHERE r.aggregate = %d AND r.lo <= '%" PRId64 "' AND '%" PRId64 "' <= r.done"
            " AND r.begun > (SELECT max(finished) FROM %s j WHERE j.table_oid = %u) LIMIT 1",
            task->state, task->aggregate->id, range.lo, range.hi, task->spec->ledger->job_table,
            task->spec->table->oid);
    status = pg_value(task->spec->pg, sql.text, &found, error);
    sql_reset(&sql);
    *seen = found != NULL;
    free(found);
    return status;
}

/* Without what was loaded into the aggregate itself. */
static enum status leave_kept(const struct refresh_task *task, struct range **ranges, size_t *count,
                              struct error *error)
{
    int64_t first = *count > 0 ? (*ranges)[0].lo : 0;
    struct range *parts = refresh_kept_cut(&task->kept, *ranges, count);
    enum status status = STATUS_OK;
    size_t left = 0;

    free(*ranges);
    *ranges = parts;
    if (parts == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (*count > 0 && parts[0].lo == first && !task->spec->window_given)
        status = leave_first(task, &parts[0], error);
    for (size_t i = 0; i < *count && status == STATUS_OK; i++) {
        bool seen = false;

        if (!task->spec->window_given && parts[i].lo < parts[i].hi)
            status = is_seen(task, parts[i], &seen, error);
        if (parts[i].lo < parts[i].hi && !seen)
            parts[left++] = parts[i];
    }
    *count = left;
    return status;
}

/* The ranges of the aggregate that are left. */
enum status refresh_find_ranges(const struct refresh_task *task, struct range **ranges, size_t *count,
                                struct error *error)
{
    enum status status = find_loaded(task, ranges, count, error);

    if (status == STATUS_OK && task->kept.count > 0 && task->spec->window_given)
        log_line(LOG_NOTICE, "%s: buckets that were loaded into it are left as they are", task->aggregate->name);
    return status == STATUS_OK && task->kept.count > 0 ? leave_kept(task, ranges, count, error) : status;
}

enum status refresh_is_whole(const struct refresh_task *task, struct range bucket, bool *whole, struct error *error)
{
    const struct table *table = task->spec->table;
    struct refresh_kept loaded = {0};
    enum status status = parent_has(task, bucket, whole, error);
    struct range *parts = NULL;

    if (status != STATUS_OK || *whole)
        return status;
    status = loaded_ranges(task->spec->pg, task->spec->ledger, table, "j.finished IS NOT NULL", &loaded.windows,
                           &loaded.count, error);
    if (status == STATUS_OK)
        parts = calloc(loaded.count * (table->cell_count + 1) + 1, sizeof *parts);
    if (status == STATUS_OK && parts == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    if (status == STATUS_OK) {
        struct refresh_kept there = {.windows = parts};

        there.count = where_chunks_are(table, loaded.windows, loaded.count, parts);
        *whole = refresh_kept_has(&there, bucket);
    }
    free(loaded.windows);
    free(parts);
    return status;
}
