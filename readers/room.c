/* What the router does when blocks run short: it packs, spills, seals early or waits. */
#include "readers/router.h"

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
/* Packing that does not free one block of eight is not tried again until another pool full of input was read. */
#define PACK_POOR 8

/* The bucket that is best given up early: large, not to grow further, and with a writer free to take it. */
static struct bucket *choose_for_room(const struct router *router)
{
    const bool ordered = !router_is_disordered(router);
    struct bucket *best = NULL;
    int64_t best_weight = 0;

    for (struct bucket *bucket = router->buckets.first; bucket != NULL; bucket = bucket->next) {
        int64_t weight = bucket->bytes * (ordered && router_is_cold(router, bucket) ? 4 : 1);

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
    bool spills = router_is_spilling(router);
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
        struct bucket *for_idle = pipeline_hungry(router->pipeline) > 0 ? router_choose_for_idle(router) : NULL;

        /* Writers are the slow side: they will give blocks back, and the queue is long enough. */
        if (bucket == NULL || pipeline_queued_blocks(router->pipeline) * 2 >= pool_block_count(router->pool))
            return wait_for_block(router, block, error);
        /* Packing takes time, and is for when the writers take longer. */
        if (for_idle == NULL && router_is_disordered(router)) {
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
