/*
 * Buckets: for each range that the input has rows of, those that are read and not yet in a piece.
 *
 * A bucket is open while it has rows. Open buckets stand in a list in the order of their first rows, so the first of
 * the list says how far back reading would have to begin again.
 */
#pragma once

#include "engine/chain.h"
#include "engine/piece.h"
#include "readers/stream.h"

struct bucket {
    struct place place;
    int64_t mark;    /* end of the last piece of this range, also from earlier runs; 0: there is none */
    int64_t touched; /* offset of the window in which rows came last */
    /* While it is open: */
    struct chain packed; /* full blocks that the packer has seen, whether they shrank or not; first the spilled ones */
    struct chain fresh;  /* full blocks behind them */
    struct block *tail;  /* the one being filled, behind them; or NULL */
    int64_t rows, bytes;
    int64_t next_offset;         /* of the input, behind the last byte taken */
    struct input_position first; /* the window in which the first row came */
    int64_t first_line;
    uint32_t first_record_size;
    struct bucket *next, *previous; /* open buckets */
    struct bucket *next_in_slot;
};

struct buckets {
    struct bucket **slots;
    size_t slot_count, count;
    struct bucket *first, *last; /* open ones */
    struct stream_mark *marks;   /* of the source, sorted by lo */
    size_t mark_count;
};

MUST_CHECK enum status buckets_init(struct buckets *buckets, const struct stream_source *source, struct error *error);

/* Gives the blocks of open buckets back. */
void buckets_free(struct buckets *buckets, struct pool *pool);

/* The bucket of a range; made if there is none. NULL: out of memory. */
struct bucket *buckets_find(struct buckets *buckets, const struct place *place);

/* Records of one bucket that follow each other in the input. */
struct run {
    struct bucket *bucket; /* NULL: empty */
    const char *text;
    size_t size;
    int64_t offset, line; /* where it begins */
    int64_t rows;
    size_t first_record_size;
};

/* How many more blocks the bucket needs to take `size` bytes. */
int64_t bucket_needs(const struct bucket *bucket, size_t size, uint32_t block_size);

/* Takes the run; *spare has the blocks that it needs. Opens the bucket if it has no rows. */
void bucket_take(struct buckets *buckets, const struct run *run, const struct input_position *window,
                 uint32_t block_size, struct block **spare);

/* Packs the fresh blocks. Returns how many blocks came free; adds what was packed to *raw and *packed. */
int64_t bucket_pack(struct bucket *bucket, struct pool *pool, struct packer *packer, int level, int64_t *raw,
                    int64_t *packed);

/* Spills the full blocks, or the tail where there are none. Adds to *freed how many came free. */
MUST_CHECK enum status bucket_spill(struct bucket *bucket, struct pool *pool, struct spill *spill, int64_t *freed,
                                    struct error *error);

/* All blocks of the bucket in one chain. */
struct chain bucket_give(struct bucket *bucket);

/* Out of the list, without rows; the chain has been given away. `mark`: what it held ends there. */
void bucket_close(struct buckets *buckets, struct bucket *bucket, int64_t mark);

/* Blocks of memory it holds. */
static inline int64_t bucket_blocks(const struct bucket *bucket)
{
    return bucket->packed.blocks + bucket->fresh.blocks + (bucket->tail != NULL);
}
