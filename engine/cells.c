/* Counted cells, sorted: there are few at a time, and they change once a bucket, not once a row. */
#include "engine/cells.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct cell {
    int64_t lo;
    int64_t count;
};

struct cells {
    pthread_mutex_t mutex; /* guards all below */
    struct cell *items;    /* sorted by lo, none with count 0 */
    size_t count, room;
};

enum status cells_create(struct cells **result, struct error *error)
{
    struct cells *cells = calloc(1, sizeof *cells);

    if (cells == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    pthread_mutex_init(&cells->mutex, NULL);
    *result = cells;
    return STATUS_OK;
}

void cells_free(struct cells *cells)
{
    if (cells == NULL)
        return;
    pthread_mutex_destroy(&cells->mutex);
    free(cells->items);
    free(cells);
}

/* With the lock held: where it is, or would be. */
static size_t cells_find(const struct cells *cells, int64_t lo)
{
    size_t low = 0, high = cells->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (cells->items[middle].lo < lo)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool cells_is(const struct cells *cells, size_t at, int64_t lo)
{
    return at < cells->count && cells->items[at].lo == lo;
}

static bool cells_grow(struct cells *cells)
{
    size_t room = cells->room * 2 + 64;
    struct cell *items = realloc(cells->items, room * sizeof *items);

    if (items == NULL)
        return false;
    cells->items = items;
    cells->room = room;
    return true;
}

enum status cells_add(struct cells *cells, int64_t lo, struct error *error)
{
    enum status status = STATUS_OK;
    size_t at;

    pthread_mutex_lock(&cells->mutex);
    at = cells_find(cells, lo);
    if (cells_is(cells, at, lo)) {
        cells->items[at].count++;
    } else if (cells->count == cells->room && !cells_grow(cells)) {
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    } else {
        memmove(&cells->items[at + 1], &cells->items[at], (cells->count - at) * sizeof *cells->items);
        cells->items[at] = (struct cell){lo, 1};
        cells->count++;
    }
    pthread_mutex_unlock(&cells->mutex);
    return status;
}

void cells_remove(struct cells *cells, int64_t lo)
{
    size_t at;

    pthread_mutex_lock(&cells->mutex);
    at = cells_find(cells, lo);
    assert(cells_is(cells, at, lo));
    if (--cells->items[at].count == 0) {
        cells->count--;
        memmove(&cells->items[at], &cells->items[at + 1], (cells->count - at) * sizeof *cells->items);
    }
    pthread_mutex_unlock(&cells->mutex);
}

bool cells_has(struct cells *cells, int64_t lo)
{
    bool found;

    pthread_mutex_lock(&cells->mutex);
    found = cells_is(cells, cells_find(cells, lo), lo);
    pthread_mutex_unlock(&cells->mutex);
    return found;
}
