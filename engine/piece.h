/*
 * A piece: rows of one range from one input, committed in one transaction. The unit of exactly-once.
 *
 * A reader fills it with blocks while a writer may already take them out. Where the source can be asked again
 * (addressable), blocks are given back as soon as they are written and a failed piece is read anew; where it cannot
 * (stream), the piece is whole before it is queued and keeps its blocks, in memory or spilled, until the commit, so
 * that it can be written again.
 *
 * Two hold it, the reader and the writer; the last one to let go frees it. A writer commits only after the reader has
 * said that it reached the end without error.
 */
#pragma once

#include "engine/chain.h"
#include "engine/layout.h"
#include "engine/stats.h"

/* A point in a stream input: everything before it was seen. The hash is of all bytes before it (standard input only).
 */
struct input_position {
    int64_t offset;
    int64_t line; /* of the byte at offset, from 1 */
    uint64_t hash[2];
};

/* What is fixed when a piece is made. */
struct piece_spec {
    struct place place;
    int32_t table; /* of a job of several tables */
    int32_t input;
    bool replayable; /* a stream's piece: whole, kept until the commit */
    /* Streams: the rows of the range with record offset in [begin, end). Addressable: 0 and 1. */
    int64_t begin, end;
    uint64_t end_hash[2];
    struct input_position first; /* at or before the first record: where reading would start again for it */
    struct input_position open;  /* no record before it is in a bucket that is still open */
    int64_t first_line;          /* line that the marks of its blocks count from */
    int64_t rows_estimate;
    bool last;    /* streams: the reader expects no more rows of the range; it may be wrong */
    bool careful; /* addressable: rows of it were found to be bad, so it is written the slow way that tells which */
};

struct piece; /* its link in queues and lists is private */

MUST_CHECK enum status piece_create(const struct piece_spec *spec, struct pool *pool, struct piece **piece,
                                    struct error *error);
const struct piece_spec *piece_spec(const struct piece *piece);

/* Reader and writer each let go once. */
void piece_release(struct piece *piece);

/* --- the reader's side --- */

/*
 * A block to fill, waiting for memory; NULL when the piece was given up by its writer or the run stops (then fail it).
 * When memory is short and no writer has the piece yet, what it holds is packed first.
 */
struct block *piece_take_block(struct piece *piece, struct stop *stop, struct packer *packer, struct stats *stats);

/* Adds a full or last block; takes it. Whoever waits for rows is woken. */
void piece_append(struct piece *piece, struct block *block);

/* A stream's piece takes a whole chain before it is queued; the chain is left empty. */
void piece_set_chain(struct piece *piece, struct chain *chain);

/* Blocks of memory it holds now. */
int64_t piece_blocks(struct piece *piece);

/* The end was reached without error; rows and CSV bytes as the reader counted them. */
void piece_complete(struct piece *piece, int64_t rows, int64_t bytes);

/* The reader could not read on; the writer gets this error from piece_next. */
void piece_fail(struct piece *piece, const struct error *error);

/* Whether the writer has given it up, so that reading on is useless. */
bool piece_given_up(struct piece *piece);

/* --- the writer's side --- */

/*
 * The next stretch of text, or the end: STATUS_OK with span->size == 0 means the reader has completed it. Waits for
 * rows: a reader always ends its piece, by piece_complete or piece_fail, and hears the stop itself. The reader's error
 * if it failed, or why what was spilled cannot be read. A span is valid until the next call.
 */
MUST_CHECK enum status piece_next(struct piece *piece, struct cursor *cursor, struct packer *packer,
                                  struct stats *stats, struct span *span, struct error *error);

/* Valid once piece_next has said the end. */
int64_t piece_rows(struct piece *piece);
int64_t piece_bytes(struct piece *piece);

/* The writer has taken it (the pool then prefers it), or gives it up. */
void piece_taken(struct piece *piece);
void piece_give_up(struct piece *piece);

/*
 * How many bytes of the piece's text its first record has, once anything is there; waits like piece_next. 0: the piece
 * is empty. For making a chunk ahead with a real row.
 */
MUST_CHECK enum status piece_first_record(struct piece *piece, struct stats *stats, uint32_t *size,
                                          struct error *error);

/* Set by the reader before its first piece_append or piece_set_chain. */
void piece_set_first_record(struct piece *piece, uint32_t size);
