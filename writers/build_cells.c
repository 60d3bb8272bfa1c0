/* The cells of a job: which are built, and who has which in hand. */
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

struct builds {
    const struct build_plan *plan;
    int64_t rows_min;
    struct stop *stop;
    pthread_mutex_t mutex; /* guards all below, and states */
    pthread_cond_t cond;   /* a state has changed */
    struct build **items;  /* sorted by lo */
    size_t count, room;
};

enum status builds_create(const struct build_plan *plan, int64_t rows_min, struct stop *stop, struct builds **result,
                          struct error *error)
{
    struct builds *builds = calloc(1, sizeof *builds);

    if (builds == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    builds->plan = plan;
    builds->rows_min = rows_min;
    builds->stop = stop;
    pthread_mutex_init(&builds->mutex, NULL);
    pthread_cond_init(&builds->cond, NULL);
    stop_watch(stop, &builds->mutex, &builds->cond);
    *result = builds;
    return STATUS_OK;
}

void builds_free(struct builds *builds)
{
    if (builds == NULL)
        return;
    for (size_t i = 0; i < builds->count; i++) {
        build_reset(builds->items[i]);
        free(builds->items[i]);
    }
    stop_unwatch(builds->stop, &builds->cond);
    pthread_cond_destroy(&builds->cond);
    pthread_mutex_destroy(&builds->mutex);
    free(builds->items);
    free(builds);
}

/* With the lock held: where the cell is, or would be. */
static size_t builds_at(const struct builds *builds, int64_t lo)
{
    size_t low = 0, high = builds->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (builds->items[middle]->cell.lo < lo)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* With the lock held: a new item; NULL: out of memory. */
static struct build *builds_insert(struct builds *builds, size_t at, struct range cell)
{
    struct build *build;

    if (builds->count == builds->room) {
        size_t room = builds->room * 2 + 64;
        struct build **items = realloc(builds->items, room * sizeof *items);

        if (items == NULL)
            return NULL;
        builds->items = items;
        builds->room = room;
    }
    build = calloc(1, sizeof *build);
    if (build == NULL)
        return NULL;
    build->cell = cell;
    memmove(&builds->items[at + 1], &builds->items[at], (builds->count - at) * sizeof *builds->items);
    builds->items[at] = build;
    builds->count++;
    return build;
}

/* An item of ours for each that was found. Takes their texts, also when it was given a failure. */
static enum status take_over(struct builds *builds, enum status status, struct build *items, size_t count,
                             struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct build *build = status == STATUS_OK ? builds_insert(builds, builds->count, items[i].cell) : NULL;

        if (build != NULL) {
            *build = items[i];
            build->state = BUILD_OPEN;
            continue;
        }
        build_reset(&items[i]);
        if (status == STATUS_OK)
            status = error_set(error, STATUS_SYSTEM, "out of memory");
    }
    return status;
}

enum status builds_load(struct builds *builds, struct pg *pg, const struct ledger *ledger, size_t *count,
                        struct error *error)
{
    struct sql where = {0};
    struct build *items;
    enum status status;

    sql_add(&where, "job = '%s'", ledger->job);
    status = build_ledger_read(pg, ledger, where.text, &items, count, error);
    sql_reset(&where);
    status = take_over(builds, status, items, *count, error);
    free(items);
    return status;
}

const struct build_order *builds_order(const struct builds *builds)
{
    return &builds->plan->order;
}

int64_t builds_rows_min(const struct builds *builds)
{
    return builds->rows_min;
}

const struct build_plan *builds_plan(const struct builds *builds)
{
    return builds->plan;
}

struct stop *builds_stop(const struct builds *builds)
{
    return builds->stop;
}

size_t builds_open(struct builds *builds)
{
    size_t open = 0;

    pthread_mutex_lock(&builds->mutex);
    for (size_t i = 0; i < builds->count; i++)
        open += builds->items[i]->state == BUILD_OPEN || builds->items[i]->state == BUILD_PUBLISHING;
    pthread_mutex_unlock(&builds->mutex);
    return open;
}

bool builds_aside(struct builds *builds)
{
    bool aside = false;

    pthread_mutex_lock(&builds->mutex);
    for (size_t i = 0; i < builds->count; i++)
        aside = aside || (builds->items[i]->state == BUILD_OPEN && builds->items[i]->way->aside);
    pthread_mutex_unlock(&builds->mutex);
    return aside;
}

enum build_state builds_state(struct builds *builds, const struct build *build)
{
    enum build_state state;

    pthread_mutex_lock(&builds->mutex);
    state = build->state;
    pthread_mutex_unlock(&builds->mutex);
    return state;
}

void builds_set(struct builds *builds, struct build *build, enum build_state state)
{
    pthread_mutex_lock(&builds->mutex);
    build->state = state;
    pthread_cond_broadcast(&builds->cond);
    pthread_mutex_unlock(&builds->mutex);
}

struct build *builds_claim(struct builds *builds, struct range cell, bool *mine)
{
    struct build *build;
    size_t at;

    *mine = false;
    pthread_mutex_lock(&builds->mutex);
    at = builds_at(builds, cell.lo);
    if (at < builds->count && builds->items[at]->cell.lo == cell.lo)
        build = builds->items[at];
    else
        build = builds_insert(builds, at, cell);
    while (build != NULL && (build->state == BUILD_DECIDING || build->state == BUILD_WHOLE)) {
        if (stop_level(builds->stop) == STOP_ABORT)
            build = NULL;
        else
            pthread_cond_wait(&builds->cond, &builds->mutex);
    }
    if (build != NULL && build->state == BUILD_UNDECIDED) {
        build->state = BUILD_DECIDING;
        *mine = true;
    }
    pthread_mutex_unlock(&builds->mutex);
    return build;
}

bool builds_claim_open(struct builds *builds, struct build *build)
{
    bool open;

    pthread_mutex_lock(&builds->mutex);
    open = build->state == BUILD_OPEN;
    if (open)
        build->state = BUILD_PUBLISHING;
    pthread_mutex_unlock(&builds->mutex);
    return open;
}

struct build *builds_claim_next(struct builds *builds)
{
    struct build *found = NULL;

    pthread_mutex_lock(&builds->mutex);
    for (size_t i = 0; i < builds->count && found == NULL; i++)
        if (builds->items[i]->state == BUILD_OPEN)
            found = builds->items[i];
    if (found != NULL)
        found->state = BUILD_PUBLISHING;
    pthread_mutex_unlock(&builds->mutex);
    return found;
}
