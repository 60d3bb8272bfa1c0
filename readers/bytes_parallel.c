/*
 * Threads that decompress ahead of the reader, each its own frames into its own ring.
 *
 *     units:     [ frame 7, thread 1 ][ frame 8, thread 2 ][ frame 9, thread 1 ] …     in the order of the file
 *     ring of 1: ── 7 7 7 7 9 9 ──►    the reader takes 7 from it, then 8 from thread 2, then 9
 *
 * One thread at a time has the claim: it finds the next frame, has the memory for it, puts it in line. Of a frame whose
 * end is not found soon, and of gzip, it keeps the claim until it has decompressed it: so one long frame is one stream.
 *
 * Nobody waits for ever: the first unit in line always can go on, since what lies before it in its ring was taken, and
 * threads that wait for the claim give back memory when another one wants it. Waits of the reader last as long as a
 * read of the file, so they need not hear a stop; waits of threads end when the reader closes.
 */
#include "readers/bytes_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 16
#define UNITS_MAX 64
#define RING_MIN ((int64_t)64 << 10)
/* Larger rings were measured to cost a tenth more processor time: they fall out of the cache before they are read. */
#define RING_MAX ((int64_t)4 << 20)
/* A frame is looked through for its end so far, before it is taken for a stream. */
#define WALK_MAX ((int64_t)64 << 20)
/* Bytes given to the reader at once: they are still in the cache. */
#define STEP_MAX ((size_t)256 << 10)

struct worker {
    struct parallel *parallel;
    pthread_t thread;
    struct decoder decoder; /* opened while `memory` is not 0 */
    int64_t memory;         /* that it holds */
    char *ring;
    /* Positions since the start, in the ring modulo its size. `decoded` is the thread's own, the others guarded. */
    int64_t decoded, given, taken;
    struct error error; /* why its last unit failed; set before the unit is marked */
};

/* A frame, or all of a gzip file, in the line of those that were begun and not all taken. */
struct unit {
    struct worker *worker;
    int64_t position; /* how far into the file it is decompressed */
    int64_t end;      /* in the ring; -1: not yet known */
    int64_t held_to;  /* in the ring, where it must end: so far nothing of it is given, until it is verified; -1: any */
    bool failed;      /* there */
};

struct parallel {
    struct raw *raw;
    enum bytes_kind kind;
    int64_t ring_size;
    int64_t memory_max;
    int worker_count;
    pthread_mutex_t mutex; /* guards all below, and given and taken of the workers */
    pthread_cond_t work;   /* for threads: room, the claim, memory, the end */
    pthread_cond_t filled; /* for the reader */
    struct unit units[UNITS_MAX];
    uint64_t unit_first, unit_next;
    int64_t next;       /* where the next frame is looked for */
    bool claimed;       /* by a thread */
    bool ended;         /* no more frames */
    bool closing;       /* the reader wants no more */
    bool memory_wanted; /* by who has the claim */
    int64_t memory_used;
    struct worker workers[THREADS_MAX];
};

/* ---- Memory of decoders ---- */

static void memory_free(struct worker *worker)
{
    if (worker->memory == 0)
        return;
    decoder_close(&worker->decoder);
    worker->parallel->memory_used -= worker->memory;
    worker->memory = 0;
    pthread_cond_broadcast(&worker->parallel->work);
}

/* With the claim: has a decoder for the frame. One that needs more than there is will be refused by the decoder. */
static enum status memory_take(struct worker *worker, int64_t window, struct error *error)
{
    struct parallel *parallel = worker->parallel;
    int64_t need = window + DECODER_MEMORY < parallel->memory_max ? window + DECODER_MEMORY : parallel->memory_max;
    enum status status;

    if (worker->memory >= need && worker->memory / 2 <= need)
        return STATUS_OK;
    memory_free(worker);
    while (!parallel->closing && parallel->memory_used + need > parallel->memory_max) {
        parallel->memory_wanted = true;
        pthread_cond_broadcast(&parallel->work);
        pthread_cond_wait(&parallel->work, &parallel->mutex);
    }
    parallel->memory_wanted = false;
    status =
        decoder_open(&worker->decoder, parallel->raw, parallel->kind, parallel->memory_max - DECODER_MEMORY, error);
    if (status == STATUS_OK) {
        worker->memory = need;
        parallel->memory_used += need;
    }
    return status;
}

/* ---- Units ---- */

/* Waits for its turn to find a frame; false: there is none to find any more. */
static bool claim_take(struct worker *worker)
{
    struct parallel *parallel = worker->parallel;

    while (!parallel->closing && !parallel->ended &&
           (parallel->claimed || parallel->unit_next - parallel->unit_first == UNITS_MAX)) {
        if (parallel->memory_wanted)
            memory_free(worker);
        pthread_cond_wait(&parallel->work, &parallel->mutex);
    }
    if (parallel->closing || parallel->ended)
        return false;
    parallel->claimed = true;
    return true;
}

static void claim_leave(struct parallel *parallel, int64_t next, bool ended)
{
    parallel->next = next;
    parallel->ended = ended;
    parallel->claimed = false;
    pthread_cond_broadcast(&parallel->work);
    pthread_cond_signal(&parallel->filled);
}

/* With the claim and the mutex: finds the next frame. */
static enum status claim_find(struct parallel *parallel, struct frame *frame, bool *none, struct error *error)
{
    enum status status;

    *frame = (struct frame){.from = parallel->next, .until = -1, .text = -1};
    *none = false;
    if (parallel->kind == BYTES_GZIP)
        return STATUS_OK;
    pthread_mutex_unlock(&parallel->mutex);
    status = frame_find(parallel->raw, NULL, frame->from, WALK_MAX, frame, none, error);
    pthread_mutex_lock(&parallel->mutex);
    return status;
}

static struct unit *unit_add(struct worker *worker, const struct frame *frame)
{
    struct parallel *parallel = worker->parallel;
    struct unit *unit = &parallel->units[parallel->unit_next++ % UNITS_MAX];

    *unit = (struct unit){.worker = worker, .position = frame->from, .end = -1, .held_to = -1};
    if (frame->until >= 0 && frame->text >= 0 && frame->text <= parallel->ring_size)
        unit->held_to = worker->decoded + frame->text;
    return unit;
}

/* ---- A thread ---- */

/* Waits for room in the ring behind what is decoded; 0: the reader wants no more. */
static size_t ring_room(struct worker *worker)
{
    struct parallel *parallel = worker->parallel;
    int64_t free_size, to_edge = parallel->ring_size - worker->decoded % parallel->ring_size;

    while (!parallel->closing && worker->decoded - worker->taken == parallel->ring_size)
        pthread_cond_wait(&parallel->work, &parallel->mutex);
    free_size = parallel->ring_size - (worker->decoded - worker->taken);
    if (parallel->closing)
        return 0;
    free_size = free_size < to_edge ? free_size : to_edge;
    return (size_t)free_size < STEP_MAX ? (size_t)free_size : STEP_MAX;
}

/*
 * Gives the reader what is decoded, but of a unit that goes on not the last byte; and nothing, where all of it has room
 * in the ring. One that is longer than it said would wait for room without end.
 */
static enum status unit_give(struct worker *worker, struct unit *unit, size_t got, enum decoded decoded,
                             struct error *error)
{
    int64_t held = decoded == DECODED_SOME;

    worker->decoded += (int64_t)got;
    unit->position = decoder_position(&worker->decoder);
    if (unit->held_to >= 0 && worker->decoded > unit->held_to)
        return raw_error(worker->parallel->raw, unit->position, error,
                         "the zstd frame is corrupt: it is longer than its header says. Get the input anew");
    if (unit->held_to >= 0 && held)
        return STATUS_OK;
    worker->given = worker->decoded - held;
    pthread_cond_signal(&worker->parallel->filled);
    return STATUS_OK;
}

/* Decompresses the unit to its end. Of gzip that is the input's end; of zstd, the frame's. */
static enum status unit_decode(struct worker *worker, struct unit *unit, enum decoded *decoded, struct error *error)
{
    struct parallel *parallel = worker->parallel;
    enum decoded until = parallel->kind == BYTES_GZIP ? DECODED_END : DECODED_UNIT;
    enum status status = STATUS_OK;

    *decoded = DECODED_SOME;
    while (status == STATUS_OK && *decoded != until && *decoded != DECODED_END) {
        size_t got = 0, room = ring_room(worker);

        if (room == 0)
            break;
        pthread_mutex_unlock(&parallel->mutex);
        status = decoder_step(&worker->decoder, NULL, worker->ring + worker->decoded % parallel->ring_size, room, &got,
                              decoded, error);
        pthread_mutex_lock(&parallel->mutex);
        if (status == STATUS_OK)
            status = unit_give(worker, unit, got, *decoded, error);
    }
    return status;
}

/* Finds a frame and decompresses it. False: the thread is done. */
static bool worker_turn(struct worker *worker)
{
    struct parallel *parallel = worker->parallel;
    enum decoded decoded = DECODED_SOME;
    struct frame frame;
    struct unit *unit;
    enum status status;
    bool none;

    if (!claim_take(worker))
        return false;
    status = claim_find(parallel, &frame, &none, &worker->error);
    if (status == STATUS_OK && none) {
        claim_leave(parallel, parallel->raw->file.size, true);
        return false;
    }
    if (status == STATUS_OK)
        status = memory_take(worker, frame.window, &worker->error);
    unit = unit_add(worker, &frame);
    if (status == STATUS_OK) {
        decoder_seek(&worker->decoder, frame.from, frame.until);
        if (frame.until >= 0)
            claim_leave(parallel, frame.until, false);
        status = unit_decode(worker, unit, &decoded, &worker->error);
    }
    unit->failed = status != STATUS_OK;
    unit->end = worker->given;
    pthread_cond_signal(&parallel->filled);
    if (status == STATUS_OK && frame.until < 0)
        claim_leave(parallel, decoder_position(&worker->decoder), decoded == DECODED_END);
    return status == STATUS_OK && !parallel->closing;
}

static void *worker_main(void *context)
{
    struct worker *worker = context;

    pthread_mutex_lock(&worker->parallel->mutex);
    while (worker_turn(worker))
        ;
    memory_free(worker);
    pthread_mutex_unlock(&worker->parallel->mutex);
    return NULL;
}

/* ---- The reader ---- */

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
        } else if (!none && unit->end >= 0 && !unit->failed) {
            parallel->unit_first++;
            pthread_cond_broadcast(&parallel->work);
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

/*
 * As many threads as there are frames' worth of memory for, if all are like the first. A ring has room for a whole
 * frame where it can: what that costs the cache is little beside verifying all frames in a turn of its own.
 */
static enum status plan_threads(struct parallel *parallel, int *count, struct error *error)
{
    const int64_t rings = memory_rings(parallel->raw, parallel->kind);
    struct frame frame = {0};
    bool none = false;
    enum status status = STATUS_OK;
    int64_t fit, wanted = RING_MAX;

    *count = 1;
    if (parallel->kind == BYTES_ZSTD)
        status = frame_find(parallel->raw, NULL, parallel->next, WALK_MAX, &frame, &none, error);
    if (status == STATUS_OK && parallel->kind == BYTES_ZSTD && !none && frame.until >= 0) {
        if (frame.text > wanted && frame.text <= rings)
            wanted = frame.text;
        fit = parallel->memory_max / (frame.window + DECODER_MEMORY);
        fit = wanted > RING_MAX && rings / wanted < fit ? rings / wanted : fit;
        if (parallel->raw->file.size == frame.until)
            fit = 1;
        *count = parallel->raw->file.threads < THREADS_MAX ? parallel->raw->file.threads : THREADS_MAX;
        *count = fit < *count ? (int)fit : *count;
        *count = *count > 0 ? *count : 1;
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
    errno = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (errno != 0) {
        free(worker->ring);
        return error_set_errno(error, STATUS_SYSTEM, "cannot start a thread that decompresses");
    }
    parallel->worker_count++;
    return STATUS_OK;
}

enum status parallel_open(struct raw *raw, enum bytes_kind kind, int64_t from, struct parallel **result,
                          struct error *error)
{
    struct parallel *parallel = calloc(1, sizeof *parallel);
    enum status status;
    int count;

    if (parallel == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    parallel->raw = raw;
    parallel->kind = kind;
    parallel->next = from;
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
