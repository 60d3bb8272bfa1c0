/*
 * A chain: CSV text in order, in blocks of the pool, raw or packed by zstd. What is first in it may be spilled to disk.
 * One thread at a time works on a chain.
 *
 *     spilled ─► slot ─► slot    then    head ─► block ─► block ─► tail
 */
#pragma once

#include "engine/spill.h"

struct chain {
    struct spill *spill; /* NULL: nothing is spilled */
    struct spilled spilled;
    struct block *head;
    struct block *tail;
    int64_t blocks; /* in memory */
    int64_t bytes;  /* of CSV text */
};

/* Adds a block at the end; takes it. */
void chain_push(struct chain *chain, struct block *block);

/* Gives all blocks and slots back. */
void chain_clear(struct chain *chain, struct pool *pool);

/* Compressor and decompressor of one thread, with their buffers. */
struct packer;

MUST_CHECK enum status packer_create(uint32_t block_size, struct packer **packer, struct error *error);
void packer_free(struct packer *packer);

/*
 * Packs raw blocks of the chain in place, from the front; all but the last `keep` blocks. Blocks that become free go
 * back to the pool. What does not shrink by a fifth stays raw. Returns how many blocks came free; adds the sizes before
 * and after of what was packed to *raw and *packed.
 */
int64_t chain_pack(struct chain *chain, struct pool *pool, struct packer *packer, int level, int keep, int64_t *raw,
                   int64_t *packed);

/*
 * Moves blocks of the chain to disk, from the front. Fewer than all when the spill takes no more. Adds to *freed the
 * blocks that went back to the pool.
 */
MUST_CHECK enum status chain_spill(struct chain *chain, struct pool *pool, struct spill *spill, int64_t *freed,
                                   struct error *error);

/* Where a reader of a chain stands. Start with {0}. */
struct cursor {
    const struct block *block;
    uint32_t slot;  /* where the block was read from; 0: it is in memory */
    uint32_t frame; /* packed: position of the next frame */
    bool started;
};

/* A stretch of raw text; `marks` as in a raw block (mark i by span_mark). */
struct span {
    const char *data;
    uint32_t size;
    const struct block_mark *marks;
    uint32_t mark_count;
};

/*
 * The next stretch of text, in the packer's buffers where it was packed or spilled; valid until the next call with the
 * same packer. span->data is NULL at the end of what the chain holds now. Fails if what was spilled cannot be read. A
 * frame that does not unpack is a bug or broken memory: the program stops.
 */
MUST_CHECK enum status chain_next(const struct chain *chain, struct cursor *cursor, struct packer *packer,
                                  struct span *span, struct error *error);

static inline const struct block_mark *span_mark(const struct span *span, uint32_t i)
{
    return span->marks - i;
}
