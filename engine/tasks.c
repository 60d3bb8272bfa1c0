/* The list of ranges to read. */
#include "engine/tasks.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

enum task_state { TASK_NEW, TASK_OUT, TASK_PAUSED, TASK_DONE };

struct slot {
    const struct task *task;
    enum task_state state;
    int64_t due_ns;      /* TASK_PAUSED */
    struct retry *retry; /* made at the first failure */
    bool careful;
};

struct task_list {
    struct slot *slots; /* in the order of work */
    size_t *by_lo;      /* their numbers sorted by table and lo, for finding one that comes back */
    size_t count;
    size_t *left;  /* by table: tasks that are not done; guarded as what is below */
    bool *dropped; /* by table */
    int out_max;
    int64_t retry_ms;
    struct stop *stop;
    struct throttle *throttle;
    pthread_mutex_t mutex; /* guards the slots and all below */
    pthread_cond_t cond;
    size_t next; /* no new task before it */
    size_t done;
    int out, paused;
};

static const struct task *sorting; /* qsort has no context; lists are made by one thread, before any other starts */

/* Below 0, 0 or above: where the task stands to the range that begins at `lo`. */
static int compare_task(const struct task *task, int32_t table, int64_t lo)
{
    if (task->table != table)
        return task->table < table ? -1 : 1;
    return (task->place.range.lo > lo) - (task->place.range.lo < lo);
}

static int compare_lo(const void *a, const void *b)
{
    const struct task *other = &sorting[*(const size_t *)b];

    return compare_task(&sorting[*(const size_t *)a], other->table, other->place.range.lo);
}

enum status tasks_create(const struct task *tasks, size_t count, int32_t tables, int out_max, int64_t retry_ms,
                         struct stop *stop, struct throttle *throttle, struct task_list **result, struct error *error)
{
    struct task_list *list = calloc(1, sizeof *list);
    pthread_condattr_t attributes;

    if (list != NULL) {
        list->slots = calloc(count + 1, sizeof *list->slots);
        list->by_lo = calloc(count + 1, sizeof *list->by_lo);
        list->left = calloc((size_t)tables, sizeof *list->left);
        list->dropped = calloc((size_t)tables, sizeof *list->dropped);
    }
    if (list == NULL || list->slots == NULL || list->by_lo == NULL || list->left == NULL || list->dropped == NULL) {
        tasks_free(list);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        list->slots[i].task = &tasks[i];
        list->by_lo[i] = i;
        list->left[tasks[i].table]++;
    }
    sorting = tasks;
    qsort(list->by_lo, count, sizeof *list->by_lo, compare_lo);
    list->count = count;
    list->out_max = out_max;
    list->retry_ms = retry_ms;
    list->stop = stop;
    list->throttle = throttle;
    pthread_mutex_init(&list->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&list->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    stop_watch(stop, &list->mutex, &list->cond);
    throttle_watch(throttle, &list->mutex, &list->cond);
    *result = list;
    return STATUS_OK;
}

void tasks_free(struct task_list *list)
{
    if (list == NULL)
        return;
    for (size_t i = 0; i < list->count; i++)
        free(list->slots[i].retry);
    free(list->left);
    free(list->dropped);
    if (list->stop != NULL) {
        stop_unwatch(list->stop, &list->cond);
        throttle_unwatch(list->throttle, &list->cond);
        pthread_cond_destroy(&list->cond);
        pthread_mutex_destroy(&list->mutex);
    }
    free(list->slots);
    free(list->by_lo);
    free(list);
}

/* With the lock held: a paused task that is due, or when the first one will be. */
static struct slot *tasks_due(struct task_list *list, int64_t *due_ns)
{
    int64_t now = stats_now_ns();

    *due_ns = INT64_MAX;
    if (list->paused == 0)
        return NULL;
    for (size_t i = 0; i < list->next; i++) {
        if (list->slots[i].state != TASK_PAUSED)
            continue;
        if (list->slots[i].due_ns <= now)
            return &list->slots[i];
        if (list->slots[i].due_ns < *due_ns)
            *due_ns = list->slots[i].due_ns;
    }
    return NULL;
}

/* With the lock held: something to do now, or NULL and how long there will be nothing by itself. */
static struct slot *tasks_choose(struct task_list *list, int64_t *due_ns)
{
    struct slot *slot;

    *due_ns = INT64_MAX;
    if (list->out >= list->out_max || throttle_is_paused(list->throttle))
        return NULL;
    slot = tasks_due(list, due_ns);
    if (slot != NULL)
        list->paused--;
    /* Those of a table that was dropped are done before they were begun. */
    while (slot == NULL && list->next < list->count) {
        slot = &list->slots[list->next++];
        if (slot->state == TASK_DONE)
            slot = NULL;
    }
    return slot;
}

const struct task *tasks_next(struct task_list *list, bool *careful)
{
    struct slot *slot = NULL;
    int64_t due_ns;

    pthread_mutex_lock(&list->mutex);
    while (stop_level(list->stop) == STOP_RUN && list->done < list->count) {
        slot = tasks_choose(list, &due_ns);
        if (slot != NULL)
            break;
        if (due_ns == INT64_MAX) {
            pthread_cond_wait(&list->cond, &list->mutex);
        } else {
            struct timespec until = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};

            pthread_cond_timedwait(&list->cond, &list->mutex, &until);
        }
    }
    if (slot != NULL) {
        slot->state = TASK_OUT;
        *careful = slot->careful;
        list->out++;
    }
    pthread_mutex_unlock(&list->mutex);
    return slot != NULL ? slot->task : NULL;
}

/* The first of by_lo whose range begins at `lo` of the table or later. */
static size_t tasks_from(const struct task_list *list, int32_t table, int64_t lo)
{
    size_t low = 0, high = list->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_task(list->slots[list->by_lo[middle]].task, table, lo) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* With the lock held. */
static struct slot *tasks_find(struct task_list *list, int32_t table, int64_t lo)
{
    size_t at = tasks_from(list, table, lo);

    assert(at < list->count && compare_task(list->slots[list->by_lo[at]].task, table, lo) == 0);
    return &list->slots[list->by_lo[at]];
}

bool tasks_has_cell(struct task_list *list, int32_t table, const struct place *place)
{
    bool found = false;

    pthread_mutex_lock(&list->mutex);
    for (size_t at = tasks_from(list, table, place->cell.lo); at < list->count && !found; at++) {
        const struct slot *slot = &list->slots[list->by_lo[at]];

        if (slot->task->table != table || slot->task->place.range.lo >= place->cell.hi)
            break;
        found = slot->state != TASK_DONE && slot->task->place.range.lo != place->range.lo;
    }
    pthread_mutex_unlock(&list->mutex);
    return found;
}

bool tasks_done(struct task_list *list, int32_t table, int64_t lo, bool *table_ended)
{
    struct slot *slot;
    bool last;

    pthread_mutex_lock(&list->mutex);
    slot = tasks_find(list, table, lo);
    assert(slot->state == TASK_OUT);
    slot->state = TASK_DONE;
    list->out--;
    *table_ended = --list->left[table] == 0;
    last = ++list->done == list->count;
    pthread_cond_broadcast(&list->cond);
    pthread_mutex_unlock(&list->mutex);
    return last;
}

/* With the lock held: it is out, and will be tried again. */
static void tasks_pause(struct task_list *list, struct slot *slot, int64_t pause_ms)
{
    slot->state = TASK_PAUSED;
    slot->due_ns = stats_now_ns() + pause_ms * 1000000;
    list->out--;
    list->paused++;
    pthread_cond_broadcast(&list->cond);
}

bool tasks_careful(struct task_list *list, int32_t table, int64_t lo)
{
    struct slot *slot;
    bool first;

    pthread_mutex_lock(&list->mutex);
    slot = tasks_find(list, table, lo);
    assert(slot->state == TASK_OUT);
    first = !slot->careful && !list->dropped[table];
    slot->careful = true;
    if (first)
        tasks_pause(list, slot, 0);
    pthread_mutex_unlock(&list->mutex);
    return first;
}

bool tasks_again(struct task_list *list, int32_t table, int64_t lo)
{
    struct slot *slot;
    int64_t pause_ms = -1;

    pthread_mutex_lock(&list->mutex);
    slot = tasks_find(list, table, lo);
    assert(slot->state == TASK_OUT);
    if (slot->retry == NULL && (slot->retry = malloc(sizeof *slot->retry)) != NULL)
        retry_init(slot->retry, list->retry_ms, (uint64_t)stats_now_ns() ^ (uint64_t)lo);
    if (slot->retry != NULL && !list->dropped[table])
        pause_ms = retry_next(slot->retry);
    if (pause_ms >= 0)
        tasks_pause(list, slot, pause_ms);
    pthread_mutex_unlock(&list->mutex);
    return pause_ms >= 0;
}

void tasks_drop_table(struct task_list *list, int32_t table)
{
    pthread_mutex_lock(&list->mutex);
    list->dropped[table] = true;
    for (size_t i = 0; i < list->count; i++) {
        struct slot *slot = &list->slots[i];

        if (slot->task->table != table || slot->state == TASK_OUT || slot->state == TASK_DONE)
            continue;
        list->paused -= slot->state == TASK_PAUSED;
        slot->state = TASK_DONE;
        list->left[table]--;
        list->done++;
    }
    /* The caller's own is out, so this is not the end of all. */
    assert(list->done < list->count);
    pthread_cond_broadcast(&list->cond);
    pthread_mutex_unlock(&list->mutex);
}
