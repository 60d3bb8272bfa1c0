/* The router's housekeeping: when buckets become pieces, and what happens when blocks run short. */
#include <stdlib.h>

#include "readers/router.h"

/* A bucket without rows in so many of the largest windows is cold: an input in order has moved on. */
#define COLD_WINDOWS 4
/* Packing stops when this part of the pool came free. */
#define PACK_SHARE 8
/* And spilling. */
#define SPILL_SHARE 8
/* The first block that is packed frees nothing. */
#define PACK_BLOCKS_MIN 2
/*
 * Faster levels leave numbers as they are (no entropy coding): of rows of a few dozen metrics, 64 KiB at a time, level
 * 1 makes 2.2 to 2.9 times less at 225 MB/s, -1 only 1.2 to 1.7 times at 300, -5 1.1 to 1.3; 2 and 3 are no smaller.
 */
#define PACK_LEVEL 1
/*
 * With a spill, pieces of an input in no order need not fit into memory: large enough for whole chunks of usual sizes,
 * small enough that what a failed transaction costs is seconds. A cold bucket waits for an eighth of that. An idle
 * writer gets less, of which the transaction's own cost is still below a twentieth; if readers are faster there are no
 * idle writers, and the buckets that they find are larger each time.
 */
#define PIECE_MAX_SPILLED ((int64_t)128 << 20)
#define PIECE_COLD_SPILLED ((int64_t)16 << 20)
#define PIECE_IDLE_SPILLED ((int64_t)8 << 20)
/* Packing that does not free one block of eight is not tried again until another pool full of input was read. */
#define PACK_POOR 8

static bool is_cold(const struct router *router, const struct bucket *bucket)
{
    return router->input.window.offset - bucket->touched > COLD_WINDOWS * (int64_t)router->input.buffer_size;
}

/* One turn in ten back to a bucket that was left: rows of a range are spread over the input. */
static bool is_disordered(const struct router *router)
{
    return router->returns > router->turns / 10;
}

/* Buckets may grow on disk. In an ordered input they need not. */
static bool is_spilling(const struct router *router)
{
    return router->spill != NULL && is_disordered(router);
}

/* What a piece has at the least; `spilled` where buckets may grow on disk. */
static int64_t piece_min(const struct router *router, int64_t spilled)
{
    return is_spilling(router) && router->piece_min < spilled ? spilled : router->piece_min;
}

bool router_full(const struct router *router, const struct bucket *bucket)
{
    return bucket->bytes >= router->piece_max && (!is_spilling(router) || bucket->bytes >= PIECE_MAX_SPILLED);
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

/* A piece that idle writers can have now: the largest that is large enough, or will not grow. */
static struct bucket *choose_for_idle(const struct router *router)
{
    const int64_t least = piece_min(router, PIECE_IDLE_SPILLED);
    struct bucket *best = NULL;

    for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next) {
        if (best != NULL && bucket->bytes <= best->bytes)
            continue;
        if (bucket->bytes < least && (!is_cold(router, bucket) || is_disordered(router)))
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
        bool complete = bucket->bytes >= least && is_cold(router, bucket);
        /* Lines in marks have 32 bits. */
        bool far = router->line - bucket->first_line > INT32_MAX;

        next = bucket->next;
        if (complete || far)
            status = router_seal(router, bucket, error);
    }
    for (int idle = pipeline_hungry(router->pipeline); idle > 0 && status == STATUS_OK; idle--) {
        struct bucket *bucket = choose_for_idle(router);

        if (bucket == NULL)
            break;
        status = router_seal(router, bucket, error);
    }
    return status;
}

/* ---- When blocks run short ---- */

/* The bucket that is best given up early: large, not to grow further, and with a writer free to take it. */
static struct bucket *choose_for_room(const struct router *router)
{
    const bool ordered = !is_disordered(router);
    struct bucket *best = NULL;
    int64_t best_weight = 0;

    for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next) {
        int64_t weight = bucket->bytes * (ordered && is_cold(router, bucket) ? 4 : 1);

        if (weight * 2 <= best_weight)
            continue;
        if (!pipeline_range_busy(router->pipeline, bucket->place.range.lo))
            weight *= 2;
        if (weight > best_weight) {
            best = bucket;
            best_weight = weight;
        }
    }
    return best;
}

/* Packs the buckets with the most raw blocks. Returns how many blocks came free. */
static int64_t pack_some(struct router *router)
{
    int64_t total = pool_block_count(router->pool), seen = 0, freed = 0, raw = 0, packed = 0;

    if (router->input.window.offset < router->pack_again)
        return 0;
    while (freed <= total / PACK_SHARE) {
        struct bucket *most = NULL;

        for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next)
            if (bucket->fresh.blocks >= (most != NULL ? most->fresh.blocks + 1 : PACK_BLOCKS_MIN))
                most = bucket;
        if (most == NULL)
            break;
        seen += most->fresh.blocks;
        freed += bucket_pack(most, router->pool, router->packer, PACK_LEVEL, &raw, &packed);
    }
    stats_add(&router->stats->packed_raw_bytes, raw);
    stats_add(&router->stats->packed_bytes, packed);
    if (seen > 0 && freed < seen / PACK_POOR)
        router->pack_again = router->input.window.offset + total * router->block_size;
    return freed;
}

/* Memory that a bucket would free if it were spilled: full blocks, or else its tail. */
static int64_t spill_weight(const struct router *router, const struct bucket *bucket)
{
    int64_t full = bucket->packed.blocks + bucket->fresh.blocks;

    return full > 0 ? full * router->block_size : bucket->tail != NULL ? bucket->tail->used : 0;
}

/* Spills the buckets that hold the most; `packs`: smaller than they are. Says by *freed whether blocks came free. */
static enum status spill_some(struct router *router, bool packs, int64_t *freed, struct error *error)
{
    int64_t wanted = pool_block_count(router->pool) / SPILL_SHARE, before = -1, raw = 0, packed = 0;
    enum status status = STATUS_OK;

    *freed = 0;
    while (status == STATUS_OK && *freed <= wanted && *freed > before) {
        struct bucket *most = router->buckets.first;

        for (struct bucket *bucket = most; bucket != NULL; bucket = bucket->next)
            if (spill_weight(router, bucket) > spill_weight(router, most))
                most = bucket;
        before = *freed;
        if (most == NULL)
            break;
        if (packs && router->input.window.offset >= router->pack_again)
            *freed += bucket_pack(most, router->pool, router->packer, PACK_LEVEL, &raw, &packed);
        status = bucket_spill(most, router->pool, router->spill, freed, error);
    }
    stats_add(&router->stats->packed_raw_bytes, raw);
    stats_add(&router->stats->packed_bytes, packed);
    return status;
}

/* Frees blocks without sealing, if that is possible. Writing to disk is ten times as quick as packing, so a bucket is
 * packed only where writers have enough to do, or the disk has little room. */
static enum status free_some(struct router *router, int64_t *freed, struct error *error)
{
    bool spills = is_spilling(router);
    bool packs = !spills || pipeline_hungry(router->pipeline) == 0 || !spill_has_room(router->spill);

    *freed = packs ? pack_some(router) : 0;
    if (*freed > 0 || !spills)
        return STATUS_OK;
    return spill_some(router, packs, freed, error);
}

static enum claim router_claim(void *context)
{
    const struct router *router = context;

    return stop_level(router->stop) == STOP_RUN ? CLAIM_ACTIVE : CLAIM_GIVE_UP;
}

/* A block whatever it takes; one that is given back while we wait for it. */
static enum status wait_for_block(struct router *router, struct block **block, struct error *error)
{
    int64_t waited = 0;

    *block = pool_take(router->pool, router_claim, router, &waited);
    stats_add(&router->stats->reader_wait_ns, waited);
    if (*block == NULL)
        return error_set(error, STATUS_STOPPED, "stopped while reading %s", router->source->name);
    return STATUS_OK;
}

/* Whether the router has gathered all that is its part of the pool while others read as well. */
static bool has_share(const struct router *router)
{
    int32_t readers = atomic_load(&router->stats->readers_active);
    int64_t blocks = 0;

    if (readers <= 1)
        return false;
    for (const struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next)
        blocks += bucket_blocks(bucket);
    return blocks >= pool_block_count(router->pool) / readers;
}

static enum status find_block(struct router *router, struct block **block, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && (has_share(router) || (*block = pool_try(router->pool)) == NULL)) {
        struct bucket *bucket = router->buckets.first;
        struct bucket *for_idle = pipeline_hungry(router->pipeline) > 0 ? choose_for_idle(router) : NULL;

        /* Writers are the slow side: they will give blocks back, and the queue is long enough. */
        if (bucket == NULL || pipeline_queued_blocks(router->pipeline) * 2 >= pool_block_count(router->pool))
            return wait_for_block(router, block, error);
        /* Packing takes time, and is for when the writers take longer. */
        if (for_idle == NULL && is_disordered(router)) {
            int64_t freed;

            status = free_some(router, &freed, error);
            if (status != STATUS_OK || freed > 0)
                continue;
        }
        status = router_seal(router, for_idle != NULL ? for_idle : choose_for_room(router), error);
    }
    return status;
}

enum status router_reserve(struct router *router, struct error *error)
{
    const struct run *run = &router->run;
    int64_t spares = 0;

    /* Sealing may take this very bucket's tail, so that it needs more than before. */
    while (spares < bucket_needs(run->bucket, run->size, router->block_size)) {
        struct block *block;
        enum status status = find_block(router, &block, error);

        if (status != STATUS_OK)
            return status;
        block->next = router->spare;
        router->spare = block;
        spares++;
    }
    return STATUS_OK;
}
