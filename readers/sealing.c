/* The router's housekeeping: when buckets become pieces. */
#include <stdlib.h>

#include "readers/router.h"

/* A bucket without rows in so many of the largest windows is cold: an input in order has moved on. */
#define COLD_WINDOWS 4
/*
 * With a spill, pieces of an input in no order need not fit into memory: large enough for whole chunks of usual sizes,
 * small enough that what a failed transaction costs is seconds. A cold bucket waits for an eighth of that. An idle
 * writer gets less, of which the transaction's own cost is still below a twentieth; if readers are faster there are no
 * idle writers, and the buckets that they find are larger each time.
 */
#define PIECE_MAX_SPILLED ((int64_t)128 << 20)
#define PIECE_COLD_SPILLED ((int64_t)16 << 20)
#define PIECE_IDLE_SPILLED ((int64_t)8 << 20)

bool router_is_cold(const struct router *router, const struct bucket *bucket)
{
    return router->input.window.offset - bucket->touched > COLD_WINDOWS * (int64_t)router->input.buffer_size;
}

bool router_is_disordered(const struct router *router)
{
    return router->returns > router->turns / 10;
}

bool router_is_spilling(const struct router *router)
{
    return router->spill != NULL && router_is_disordered(router);
}

/* What a piece has at the least; `spilled` where buckets may grow on disk. */
static int64_t piece_min(const struct router *router, int64_t spilled)
{
    return router_is_spilling(router) && router->piece_min < spilled ? spilled : router->piece_min;
}

bool router_full(const struct router *router, const struct bucket *bucket)
{
    return bucket->bytes >= router->piece_max && (!router_is_spilling(router) || bucket->bytes >= PIECE_MAX_SPILLED);
}

/* ---- Sealing ---- */

enum status router_seal(struct router *router, struct bucket *bucket, struct error *error)
{
    const struct input *input = &router->input;
    size_t end = router->run.bucket != NULL ? (size_t)(router->run.text - input->buffer) : router->at;
    struct piece_spec spec = {
        .place = bucket->place,
        .input = router->source->input,
        .replayable = true,
        .begin = bucket->mark,
        .end = input->window.offset + (int64_t)end,
        .first = bucket->first,
        .first_line = bucket->first_line,
        .rows_estimate = bucket->rows,
        .last = router->source->alone &&
                (router->ended || (router_is_cold(router, bucket) && !router_is_disordered(router))),
    };
    const struct bucket *open = router->buckets.first == bucket ? bucket->next : router->buckets.first;
    enum status status = input_hash(&router->input, end, spec.end_hash, error);
    struct piece *piece;
    struct chain chain;

    spec.open = open != NULL ? open->first : input->window;
    if (status == STATUS_OK)
        status = piece_create(&spec, router->pool, &piece, error);
    if (status != STATUS_OK)
        return status;
    chain = bucket_give(bucket);
    piece_set_first_record(piece, bucket->first_record_size);
    piece_set_chain(piece, &chain);
    piece_complete(piece, bucket->rows, bucket->bytes);
    pipeline_cell_closed(router->pipeline, bucket->place.cell.lo);
    pipeline_submit(router->pipeline, piece);
    bucket_close(&router->buckets, bucket, spec.end);
    return STATUS_OK;
}

static int bucket_compare(const void *one, const void *other)
{
    int64_t a = (*(struct bucket *const *)one)->place.range.lo, b = (*(struct bucket *const *)other)->place.range.lo;

    return (a > b) - (a < b);
}

enum status router_seal_all(struct router *router, struct error *error)
{
    size_t count = 0;
    struct bucket **order;
    enum status status = STATUS_OK;

    for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next)
        count++;
    order = calloc(count + 1, sizeof(struct bucket *));
    if (order == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    count = 0;
    for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next)
        order[count++] = bucket;
    qsort(order, count, sizeof(struct bucket *), bucket_compare);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = router_seal(router, order[i], error);
    free(order);
    return status;
}

/* ---- Once a window ---- */

struct bucket *router_choose_for_idle(const struct router *router)
{
    const int64_t least = piece_min(router, PIECE_IDLE_SPILLED);
    struct bucket *best = NULL;

    for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next) {
        if (best != NULL && bucket->bytes <= best->bytes)
            continue;
        if (bucket->bytes < least && (!router_is_cold(router, bucket) || router_is_disordered(router)))
            continue;
        if (!pipeline_range_busy(router->pipeline, bucket->place.range.lo))
            best = bucket;
    }
    return best;
}

enum status router_tidy(struct router *router, struct error *error)
{
    const int64_t least = piece_min(router, PIECE_COLD_SPILLED);
    enum status status = STATUS_OK;
    struct bucket *next;

    for (struct bucket *bucket = router->buckets.first; bucket != NULL && status == STATUS_OK; bucket = next) {
        bool complete = bucket->bytes >= least && router_is_cold(router, bucket);
        /* Lines in marks have 32 bits. */
        bool far = router->line - bucket->first_line > INT32_MAX;

        next = bucket->next;
        if (complete || far)
            status = router_seal(router, bucket, error);
    }
    for (int idle = pipeline_hungry(router->pipeline); idle > 0 && status == STATUS_OK; idle--) {
        struct bucket *bucket = router_choose_for_idle(router);

        if (bucket == NULL)
            break;
        status = router_seal(router, bucket, error);
    }
    return status;
}
