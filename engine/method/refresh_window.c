/*
 * Batches of buckets, and the windows by which the server refreshes them.
 *
 * Before TimescaleDB 2.25.2 the server shrinks a window to buckets as they were without origin and offset, and widens
 * what is left of it to buckets as they are: two of them or more come out as they were given, of a single one nothing
 * is left.
 */
#include "engine/method/refresh_private.h"

/* Not a bucket alone, nor one that is left over at the end. */
static enum status pair(struct pg *pg, const struct aggregate *aggregate, struct range left, struct range *batch,
                        struct error *error)
{
    struct range first, next;
    enum status status = aggregate_bucket_after(pg, aggregate, left.lo, &first, error);

    if (status != STATUS_OK || batch->hi >= left.hi)
        return status;
    status = aggregate_bucket_after(pg, aggregate, batch->hi, &next, error);
    if (status == STATUS_OK && batch->hi == first.hi) {
        batch->hi = next.hi;
        status = aggregate_bucket_after(pg, aggregate, batch->hi, &next, error);
    }
    if (status == STATUS_OK && next.hi >= left.hi)
        batch->hi = left.hi;
    return status;
}

/* From one chunk's length of the table to the next, but a whole bucket at least. */
enum status refresh_batch(struct pg *pg, const struct table *table, const struct aggregate *aggregate,
                          struct range left, struct range *batch, struct error *error)
{
    int64_t length = table->interval > 0 ? table->interval : 1;
    struct range wanted = {left.lo, left.hi - left.lo > length ? left.lo + length : left.hi};
    enum status status = aggregate_widen(pg, aggregate, wanted, batch, error);

    batch->lo = left.lo;
    return status == STATUS_OK && aggregate->pairs ? pair(pg, aggregate, left, batch, error) : status;
}

/* Whether chunks are all over the range, which retention has taken nothing from then. */
static bool has_chunks(const struct table *table, struct range range)
{
    int64_t position = range.lo;

    for (size_t i = 0; i < table->cell_count && position < range.hi; i++)
        if (table->cells[i].lo <= position && table->cells[i].hi > position)
            position = table->cells[i].hi;
    return position >= range.hi;
}

/* Neither made of less than all its rows, nor of other ones than those that a job has put there. */
static bool may_come_along(const struct refresh_task *task, struct range neighbour)
{
    return has_chunks(task->spec->table, neighbour) && !refresh_kept_has(&task->kept, neighbour);
}

enum status refresh_window(const struct refresh_task *task, struct range batch, struct range *window,
                           struct error *error)
{
    const struct aggregate *aggregate = task->aggregate;
    struct range first, neighbour;
    enum status status;

    *window = batch;
    if (!aggregate->pairs)
        return STATUS_OK;
    status = aggregate_bucket_after(task->spec->pg, aggregate, batch.lo, &first, error);
    if (status != STATUS_OK || first.hi < batch.hi)
        return status;
    status = aggregate_bucket_before(task->spec->pg, aggregate, batch.lo, &neighbour, error);
    if (status == STATUS_OK && may_come_along(task, neighbour)) {
        window->lo = neighbour.lo;
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = aggregate_bucket_after(task->spec->pg, aggregate, batch.hi, &neighbour, error);
    if (status == STATUS_OK && refresh_kept_has(&task->kept, neighbour))
        return error_set(error, STATUS_USAGE,
                         "before TimescaleDB 2.25.2 a bucket of %s cannot be refreshed alone, and both beside it were"
                         " loaded: refresh it by hand, or update TimescaleDB",
                         aggregate->name);
    if (status == STATUS_OK)
        window->hi = neighbour.hi;
    return status;
}
