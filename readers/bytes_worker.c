/* A thread that decompresses ahead. */
#include "readers/bytes_parallel_private.h"

/* Bytes given to the reader at once: they are still in the cache. */
#define STEP_MAX ((size_t)256 << 10)

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

    *unit =
        (struct unit){.worker = worker, .position = frame->from, .end = -1, .held_to = -1, .sized = frame->text >= 0};
    if (frame->until >= 0 && frame->text >= 0 && frame->text <= parallel->ring_size)
        unit->held_to = worker->decoded + frame->text;
    return unit;
}

/* ---- The thread ---- */

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

void *parallel_worker_main(void *context)
{
    struct worker *worker = context;

    pthread_mutex_lock(&worker->parallel->mutex);
    while (worker_turn(worker))
        ;
    memory_free(worker);
    pthread_mutex_unlock(&worker->parallel->mutex);
    return NULL;
}
