/* The reader's side of threads that decompress ahead. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "readers/bytes_parallel_private.h"

#define RING_MIN ((int64_t)64 << 10)
/* Larger rings were measured to cost a tenth more processor time: they fall out of the cache before they are read. */
#define RING_MAX ((int64_t)4 << 20)

/* ---- Reading ---- */

/* What can be taken of the first unit right now, up to the ring's edge. */
static size_t unit_left(const struct parallel *parallel, const struct unit *unit)
{
    const struct worker *worker = unit->worker;
    int64_t left = (unit->end >= 0 ? unit->end : worker->given) - worker->taken;
    int64_t to_edge = parallel->ring_size - worker->taken % parallel->ring_size;

    return (size_t)(left < to_edge ? left : to_edge);
}

static void unit_take(struct parallel *parallel, struct unit *unit, char *to, size_t size)
{
    struct worker *worker = unit->worker;
    const char *from = worker->ring + worker->taken % parallel->ring_size;

    /* The thread leaves alone what was given and not yet taken. */
    pthread_mutex_unlock(&parallel->mutex);
    memcpy(to, from, size);
    pthread_mutex_lock(&parallel->mutex);
    worker->taken += (int64_t)size;
    pthread_cond_broadcast(&parallel->work);
}

/* The first unit was taken to its end, which is where the next one begins. */
static void unit_leave(struct parallel *parallel, const struct unit *unit)
{
    parallel->frame = (struct bytes_place){unit->position, parallel->text};
    parallel->unsized = parallel->unsized || !unit->sized;
    parallel->unit_first++;
    pthread_cond_broadcast(&parallel->work);
}

enum status parallel_read(struct parallel *parallel, char *to, size_t room, size_t *got, struct error *error)
{
    enum status status = STATUS_OK;

    *got = 0;
    pthread_mutex_lock(&parallel->mutex);
    while (*got < room) {
        bool none = parallel->unit_first == parallel->unit_next;
        struct unit *unit = &parallel->units[parallel->unit_first % UNITS_MAX];
        size_t left = none ? 0 : unit_left(parallel, unit), size = left < room - *got ? left : room - *got;

        if (size > 0) {
            unit_take(parallel, unit, to + *got, size);
            *got += size;
            parallel->text += (int64_t)size;
        } else if (!none && unit->end >= 0 && !unit->failed) {
            unit_leave(parallel, unit);
        } else if (*got > 0 || (none && parallel->ended)) {
            break;
        } else if (!none && unit->end >= 0) {
            *error = error->status == STATUS_OK ? unit->worker->error : *error;
            status = unit->worker->error.status;
            break;
        } else {
            pthread_cond_wait(&parallel->filled, &parallel->mutex);
        }
    }
    pthread_mutex_unlock(&parallel->mutex);
    return status;
}

bool parallel_frame(struct parallel *parallel, struct bytes_place *place)
{
    bool known;

    pthread_mutex_lock(&parallel->mutex);
    *place = parallel->frame;
    known = parallel->kind == BYTES_ZSTD && parallel->unsized;
    pthread_mutex_unlock(&parallel->mutex);
    return known;
}

int64_t parallel_position(struct parallel *parallel)
{
    int64_t position;

    pthread_mutex_lock(&parallel->mutex);
    position = parallel->unit_first < parallel->unit_next ? parallel->units[parallel->unit_first % UNITS_MAX].position
                                                          : parallel->next;
    pthread_mutex_unlock(&parallel->mutex);
    return position;
}

/* ---- Starting and ending ---- */

/* As many threads as there are frames' worth of memory for, if all are like the first. `wanted`: the size of a ring. */
static int count_threads(const struct parallel *parallel, const struct frame *first, int64_t rings, int64_t wanted)
{
    const struct bytes_file *file = &parallel->raw->file;
    int64_t fit = parallel->memory_max / (first->window + DECODER_MEMORY);
    int count = file->threads < THREADS_MAX ? file->threads : THREADS_MAX;

    fit = wanted > RING_MAX && rings / wanted < fit ? rings / wanted : fit;
    if (file->size == first->until)
        fit = 1;
    count = fit < count ? (int)fit : count;
    return count > 0 ? count : 1;
}

/*
 * A ring has room for a whole frame where it can: what that costs the cache is little beside verifying all frames in a
 * turn of its own.
 */
static enum status plan_threads(struct parallel *parallel, int *count, struct error *error)
{
    const int64_t rings = memory_rings(parallel->raw, parallel->kind);
    struct frame frame = {0};
    bool none = false;
    enum status status = STATUS_OK;
    int64_t wanted = RING_MAX;

    *count = 1;
    if (parallel->kind == BYTES_ZSTD)
        status = frame_find(parallel->raw, NULL, parallel->next, WALK_MAX, &frame, &none, error);
    if (status == STATUS_OK && parallel->kind == BYTES_ZSTD && !none && frame.until >= 0) {
        if (frame.text > wanted && frame.text <= rings)
            wanted = frame.text;
        *count = count_threads(parallel, &frame, rings, wanted);
    }
    parallel->ring_size = rings / *count < wanted ? rings / *count : wanted;
    parallel->ring_size = parallel->ring_size < RING_MIN ? RING_MIN : parallel->ring_size;
    return status;
}

static enum status worker_start(struct parallel *parallel, struct error *error)
{
    struct worker *worker = &parallel->workers[parallel->worker_count];

    worker->parallel = parallel;
    error_reset(&worker->error);
    worker->ring = malloc((size_t)parallel->ring_size);
    if (worker->ring == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    errno = pthread_create(&worker->thread, NULL, parallel_worker_main, worker);
    if (errno != 0) {
        free(worker->ring);
        return error_set_errno(error, STATUS_SYSTEM, "cannot start a thread that decompresses");
    }
    parallel->worker_count++;
    return STATUS_OK;
}

enum status parallel_open(struct raw *raw, enum bytes_kind kind, struct bytes_place begin, struct parallel **result,
                          struct error *error)
{
    struct parallel *parallel = calloc(1, sizeof *parallel);
    enum status status;
    int count;

    if (parallel == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    parallel->raw = raw;
    parallel->kind = kind;
    parallel->next = begin.file;
    parallel->text = begin.text;
    parallel->frame = begin;
    parallel->unsized = raw->file.known.text > 0;
    parallel->memory_max = memory_decoders(raw, kind);
    pthread_mutex_init(&parallel->mutex, NULL);
    pthread_cond_init(&parallel->work, NULL);
    pthread_cond_init(&parallel->filled, NULL);
    status = plan_threads(parallel, &count, error);
    for (int i = 0; status == STATUS_OK && i < count; i++)
        status = worker_start(parallel, error);
    if (status != STATUS_OK) {
        parallel_close(parallel);
        return status;
    }
    *result = parallel;
    return STATUS_OK;
}

int64_t parallel_ring_size(const struct parallel *parallel)
{
    return parallel->ring_size;
}

int parallel_threads(const struct parallel *parallel)
{
    return parallel->worker_count;
}

int64_t parallel_memory(struct parallel *parallel)
{
    int64_t memory;

    pthread_mutex_lock(&parallel->mutex);
    memory = parallel->memory_used + parallel->ring_size * parallel->worker_count;
    pthread_mutex_unlock(&parallel->mutex);
    return memory;
}

void parallel_close(struct parallel *parallel)
{
    if (parallel == NULL)
        return;
    pthread_mutex_lock(&parallel->mutex);
    parallel->closing = true;
    pthread_cond_broadcast(&parallel->work);
    pthread_mutex_unlock(&parallel->mutex);
    for (int i = 0; i < parallel->worker_count; i++) {
        pthread_join(parallel->workers[i].thread, NULL);
        free(parallel->workers[i].ring);
    }
    pthread_cond_destroy(&parallel->filled);
    pthread_cond_destroy(&parallel->work);
    pthread_mutex_destroy(&parallel->mutex);
    free(parallel);
}
