/*
 * Filling the piece of an addressable source with text: row after row into blocks, each handed to the piece as soon as
 * it is full.
 */
#pragma once

#include <string.h>

#include "engine/pipeline.h"

/* Of one piece; the first four are the caller's. */
struct filling {
    struct pipeline *pipeline;
    struct packer *packer;
    struct piece *piece;
    _Atomic int64_t *handed_over; /* counts the bytes of blocks that the piece has; NULL: nobody counts */
    struct block *block;          /* being filled; ours until it is handed over */
};

/* STATUS_STOPPED: the writer wants no more of the piece, or the run is aborted. */
enum status filling_given_up(const struct filling *filling, struct error *error);

/* The text is split over as many blocks as it takes. Waits for memory; STATUS_STOPPED when the piece was given up. */
MUST_CHECK enum status filling_split(struct filling *filling, const char *text, size_t size, struct error *error);

/* On the path of every row. */
static inline enum status filling_add(struct filling *filling, const char *text, size_t size, uint32_t block_size,
                                      struct error *error)
{
    struct block *block = filling->block;

    if (block == NULL || size > block_size - block->used)
        return filling_split(filling, text, size, error);
    memcpy(block->data + block->used, text, size);
    block->used += (uint32_t)size;
    return STATUS_OK;
}

/* Hands over the last block, before piece_complete; or gives it back, before piece_fail. */
void filling_end(struct filling *filling);
void filling_drop(struct filling *filling);
