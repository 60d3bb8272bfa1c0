/*
 * The router of a stream input: one thread that cuts it into records and appends each to the bucket of its range
 * (router.c); and its housekeeping, which turns buckets into pieces (sealing.c) and keeps within the memory (room.c).
 * Routers of several inputs share the pool: what each gathers is bounded by its share.
 *
 *     input ─► cutter ─► time ─► run ─► bucket ─► piece ─► pipeline
 *                         of records of one bucket
 *
 * What is appended reaches up to the run; so that is where a piece that is sealed now ends: it has all records of its
 * range before.
 */
#pragma once

#include "readers/bucket.h"
#include "readers/input.h"
#include "readers/record.h"

/* So many buckets may take turns without the input being taken for disordered. */
#define RECENT_COUNT 4

struct router {
    const struct stream_source *source;
    struct pipeline *pipeline;
    struct pool *pool;
    struct spill *spill; /* NULL: none */
    struct stop *stop;
    struct stats *stats;
    uint32_t block_size;
    struct input input;
    struct cutter cutter;
    struct record_times times;
    struct buckets buckets;
    struct packer *packer;
    struct block *spare; /* blocks for the run */
    struct run run;
    size_t at;             /* in the window: what lies before is looked at */
    int64_t line;          /* there */
    struct bucket *bucket; /* of the last record */
    /* A bucket of piece_max is sealed; one below piece_min makes a poor piece. */
    int64_t piece_max, piece_min;
    size_t run_max;
    int64_t record_max; /* a larger one is refused: it must fit into the pool while another piece is being written */
    int64_t skipped;    /* rows outside the window of time, not yet in the stats */
    int64_t shown_file, shown_text; /* how far the stats know the input to be read */
    /* Order of the input: turns to buckets that were not among the recent ones, and how many of these had rows before.
     */
    struct bucket *recent[RECENT_COUNT];
    int64_t turns, returns;
    int64_t pack_again; /* offset before which packing is known not to pay */
    bool ended;         /* nothing comes any more */
};

/* --- sealing.c --- */

/* Without rows for a while. */
bool router_is_cold(const struct router *router, const struct bucket *bucket);

/* One turn in ten goes back to a bucket that was left: rows of a range are spread over the input. */
bool router_is_disordered(const struct router *router);

/* Buckets may grow on disk. In an ordered input they need not. */
bool router_is_spilling(const struct router *router);

/* Whether the bucket has what a piece may have at most. */
bool router_full(const struct router *router, const struct bucket *bucket);

/* A piece that idle writers can have now: the largest that is large enough, or will not grow. NULL: there is none. */
struct bucket *router_choose_for_idle(const struct router *router);

/* Once a window, with an empty run: seals what is complete, and what idle writers can have. */
MUST_CHECK enum status router_tidy(struct router *router, struct error *error);

/* Hands the bucket over as a piece. */
MUST_CHECK enum status router_seal(struct router *router, struct bucket *bucket, struct error *error);

/* All that are open, in the order of time. */
MUST_CHECK enum status router_seal_all(struct router *router, struct error *error);

/* --- room.c --- */

/* Makes room for the run: blocks in router->spare. Waits for writers, packs, spills or seals as the memory demands. */
MUST_CHECK enum status router_reserve(struct router *router, struct error *error);
