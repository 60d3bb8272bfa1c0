/*
 * Blocks: the unit of memory. One pool holds them all, made at start and never grown; holders borrow, and at the end
 * every block has come home (asserted). When none is free, whoever wants one waits: that is the back pressure.
 *
 *     data:  [ CSV bytes 0..used ) … free … ( marks, one for each run of the input that starts here ]
 *
 * A raw block holds a stretch of a piece's CSV text; a record may go on in the next block. Marks, growing down from the
 * block's end, say where in the input its stretches came from. A packed block holds zstd frames, each of which was a
 * raw block.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/error.h"
#include "engine/stop.h"

enum block_form { BLOCK_RAW, BLOCK_PACKED };

struct block {
    struct block *next; /* in the holder's chain, or in the pool's free list */
    char *data;
    uint32_t used;       /* bytes at the front */
    uint32_t mark_count; /* raw: marks at the end */
    enum block_form form;
};

/*
 * From `at` on, the block's bytes are those of the input from `offset` on; the input's line there is `line`, or
 * LINE_GOES_ON: then the stretch only goes on from the block before, and nobody has counted its lines.
 */
#define LINE_GOES_ON UINT32_MAX
struct block_mark {
    int64_t offset;
    uint32_t at;
    uint32_t line; /* counted from the piece's first line */
};

struct pool;

/*
 * Makes floor(bytes / block_size) blocks, at least 8. The last `reserve` of them are kept for claims that are ACTIVE,
 * so that pieces read ahead can never starve a piece that a writer waits for.
 */
MUST_CHECK enum status pool_create(int64_t bytes, uint32_t block_size, int reserve, struct stop *stop,
                                   struct pool **pool, struct error *error);

/* Keeps the count of blocks that are out in `used`, for whoever watches; set before they are taken. */
void pool_watch(struct pool *pool, _Atomic int64_t *used);

/* Asserts that all blocks are home; NULL is fine. */
void pool_free(struct pool *pool);

uint32_t pool_block_size(const struct pool *pool);
int64_t pool_block_count(const struct pool *pool);
int64_t pool_free_count(struct pool *pool);

/* What the one who waits for a block is to the pool just now; asked again at each wake, so it may change. */
enum claim { CLAIM_AHEAD, CLAIM_ACTIVE, CLAIM_GIVE_UP };

/*
 * Waits for a block by the claim's rules; NULL when the claim says GIVE_UP. `waited_ns` is added to. `claim` is called
 * with the pool's lock held and must not call the pool.
 */
struct block *pool_take(struct pool *pool, enum claim (*claim)(void *context), void *context, int64_t *waited_ns);

/* A block if one is free above the reserve, else NULL. */
struct block *pool_try(struct pool *pool);

void pool_give(struct pool *pool, struct block *block);

/* Something that claims depend on has changed. */
void pool_wake(struct pool *pool);

/* Room for `size` more bytes of data and one mark, kept apart. */
static inline uint32_t block_room(const struct block *block, uint32_t block_size)
{
    uint32_t taken = block->used + (block->mark_count + 1) * (uint32_t)sizeof(struct block_mark);

    return taken < block_size ? block_size - taken : 0;
}

/* The i-th mark of a raw block; marks are in the order of `at`. */
struct block_mark *block_mark(const struct block *block, uint32_t block_size, uint32_t i);
