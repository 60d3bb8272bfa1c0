/* The queue of pieces. */
#include "engine/queue.h"

#include <assert.h>
#include <stdlib.h>

struct entry {
    struct piece *piece;
    struct entry *next;
    int64_t blocks;
    int64_t before; /* entries of the same range that stand before it and must be committed first */
    bool flying;    /* a writer has it */
    struct entry *next_flying;
};

struct queue {
    struct stop *stop;
    struct throttle *throttle;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t cond;   /* something was pushed or done, or the queue closed */
    struct entry *first;   /* in the order of pushing */
    struct entry **last;
    struct entry *flying; /* those that writers have */
    int64_t count, blocks;
    int waiting;
    bool closed;
};

enum status queue_create(struct stop *stop, struct throttle *throttle, struct queue **result, struct error *error)
{
    struct queue *queue = calloc(1, sizeof *queue);

    if (queue == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    queue->stop = stop;
    queue->throttle = throttle;
    queue->last = &queue->first;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->cond, NULL);
    stop_watch(stop, &queue->mutex, &queue->cond);
    throttle_watch(throttle, &queue->mutex, &queue->cond);
    *result = queue;
    return STATUS_OK;
}

static bool same_range(const struct entry *one, const struct entry *other)
{
    const struct piece_spec *left = piece_spec(one->piece), *right = piece_spec(other->piece);

    return left->table == right->table && left->place.range.lo == right->place.range.lo;
}

static bool same_cell(const struct piece *one, const struct piece *other)
{
    const struct piece_spec *left = piece_spec(one), *right = piece_spec(other);

    return left->table == right->table && left->place.cell.lo == right->place.cell.lo;
}

/* With the lock held: takes the entry out of the books. */
static void queue_remove(struct queue *queue, struct entry **link)
{
    struct entry *entry = *link;

    for (struct entry *other = entry->next; other != NULL; other = other->next)
        other->before -= same_range(entry, other);
    for (struct entry **flying = &queue->flying; entry->flying && *flying != NULL; flying = &(*flying)->next_flying)
        if (*flying == entry) {
            *flying = entry->next_flying;
            break;
        }
    *link = entry->next;
    if (queue->last == &entry->next)
        queue->last = link;
    queue->count--;
    queue->blocks -= entry->blocks;
    piece_release(entry->piece);
    free(entry);
}

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    while (queue->first != NULL)
        queue_remove(queue, &queue->first);
    stop_unwatch(queue->stop, &queue->cond);
    throttle_unwatch(queue->throttle, &queue->cond);
    pthread_cond_destroy(&queue->cond);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

enum status queue_push(struct queue *queue, struct piece *piece, int64_t blocks, struct error *error)
{
    struct entry *entry = malloc(sizeof *entry);

    if (entry == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    *entry = (struct entry){.piece = piece, .blocks = blocks};
    pthread_mutex_lock(&queue->mutex);
    assert(!queue->closed);
    for (const struct entry *other = queue->first; other != NULL; other = other->next)
        entry->before += same_range(entry, other);
    *queue->last = entry;
    queue->last = &entry->next;
    queue->count++;
    queue->blocks += blocks;
    pthread_cond_broadcast(&queue->cond);
    pthread_mutex_unlock(&queue->mutex);
    return STATUS_OK;
}

/* Whether a writer works in the same chunk: possible, but not the first choice. */
static bool queue_is_crowded(const struct queue *queue, const struct entry *entry)
{
    for (const struct entry *other = queue->flying; other != NULL; other = other->next_flying)
        if (same_cell(other->piece, entry->piece))
            return true;
    return false;
}

/* With the lock held: the first entry that may be written now, an uncrowded one if there is one. */
static struct entry *queue_choose(struct queue *queue)
{
    struct entry *second = NULL;

    for (struct entry *entry = queue->first; entry != NULL; entry = entry->next) {
        if (entry->flying || entry->before > 0)
            continue;
        if (!queue_is_crowded(queue, entry))
            return entry;
        if (second == NULL)
            second = entry;
    }
    return second;
}

struct piece *queue_pop(struct queue *queue, int64_t *waited_ns)
{
    struct piece *piece = NULL;
    struct entry *entry = NULL;
    int64_t since = 0;

    pthread_mutex_lock(&queue->mutex);
    while (stop_level(queue->stop) == STOP_RUN) {
        entry = throttle_is_paused(queue->throttle) ? NULL : queue_choose(queue);
        if (entry != NULL || (queue->closed && queue->count == 0))
            break;
        if (since == 0)
            since = stats_now_ns();
        queue->waiting++;
        pthread_cond_wait(&queue->cond, &queue->mutex);
        queue->waiting--;
    }
    if (entry != NULL && stop_level(queue->stop) == STOP_RUN) {
        entry->flying = true;
        entry->next_flying = queue->flying;
        queue->flying = entry;
        piece = entry->piece;
    }
    pthread_mutex_unlock(&queue->mutex);
    if (since != 0)
        *waited_ns += stats_now_ns() - since;
    return piece;
}

void queue_done(struct queue *queue, struct piece *piece)
{
    struct entry **link;

    pthread_mutex_lock(&queue->mutex);
    for (link = &queue->first; *link != NULL && (*link)->piece != piece; link = &(*link)->next)
        ;
    assert(*link != NULL);
    queue_remove(queue, link);
    pthread_cond_broadcast(&queue->cond);
    pthread_mutex_unlock(&queue->mutex);
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->cond);
    pthread_mutex_unlock(&queue->mutex);
}

void queue_drop_range(struct queue *queue, const struct piece_spec *range)
{
    struct entry **link = &queue->first;

    pthread_mutex_lock(&queue->mutex);
    while (*link != NULL) {
        const struct piece_spec *spec = piece_spec((*link)->piece);

        if (!(*link)->flying && spec->table == range->table && spec->input == range->input &&
            spec->place.range.lo == range->place.range.lo)
            queue_remove(queue, link);
        else
            link = &(*link)->next;
    }
    pthread_cond_broadcast(&queue->cond);
    pthread_mutex_unlock(&queue->mutex);
}

int queue_waiting(struct queue *queue)
{
    int waiting;

    pthread_mutex_lock(&queue->mutex);
    /* Those before a shut gate want nothing. */
    waiting = throttle_is_paused(queue->throttle) ? 0 : queue->waiting;
    pthread_mutex_unlock(&queue->mutex);
    return waiting;
}

int64_t queue_count(struct queue *queue)
{
    int64_t count;

    pthread_mutex_lock(&queue->mutex);
    count = queue->count;
    pthread_mutex_unlock(&queue->mutex);
    return count;
}

int64_t queue_blocks(struct queue *queue)
{
    int64_t blocks;

    pthread_mutex_lock(&queue->mutex);
    blocks = queue->blocks;
    pthread_mutex_unlock(&queue->mutex);
    return blocks;
}

bool queue_has_range(struct queue *queue, int64_t lo)
{
    bool found = false;

    pthread_mutex_lock(&queue->mutex);
    for (struct entry *entry = queue->first; entry != NULL && !found; entry = entry->next)
        found = piece_spec(entry->piece)->place.range.lo == lo;
    pthread_mutex_unlock(&queue->mutex);
    return found;
}

bool queue_has_cell(struct queue *queue, const struct piece *except)
{
    bool found = false;

    pthread_mutex_lock(&queue->mutex);
    for (struct entry *entry = queue->first; entry != NULL && !found; entry = entry->next)
        found = entry->piece != except && same_cell(entry->piece, except);
    pthread_mutex_unlock(&queue->mutex);
    return found;
}

struct input_position queue_frontier(struct queue *queue, const struct piece *except, struct input_position own)
{
    int32_t input = piece_spec(except)->input;

    pthread_mutex_lock(&queue->mutex);
    for (struct entry *entry = queue->first; entry != NULL; entry = entry->next) {
        const struct piece_spec *spec = piece_spec(entry->piece);

        if (entry->piece != except && spec->input == input && spec->first.offset < own.offset)
            own = spec->first;
    }
    pthread_mutex_unlock(&queue->mutex);
    return own;
}
