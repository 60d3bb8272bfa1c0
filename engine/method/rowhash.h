/*
 * How many rows there are in stretches of time, and a hash of them that does not depend on their order.
 *
 * A row is its columns' texts, in the order of the columns that are asked for, so that sides may differ in the order of
 * theirs. NULL is not the empty text, 1.0 is not 1.00, and -0 is not 0. Rows are hashed twice with 64 bits, and each
 * hash is summed modulo 2^64: a row that is there twice counts twice, which a XOR would not see. Nobody is known to
 * have made two tables of the same sums on purpose, but it could be done: this finds accidents, not forgers.
 *
 * The server hashes (hashtextextended over the text of ROW(…), the same from PostgreSQL 11 on) where both sides have
 * the same encoding. Elsewhere rows travel as COPY text and are hashed here. Sums of the two ways cannot be compared.
 */
#pragma once

#include "engine/pg/pg.h"
#include "engine/throttle.h"
#include "writers/target.h"

/* What is hashed of one side. Borrowed. */
struct rowhash_table {
    const struct table *table;
    const char *select_list; /* quoted columns, the same on both sides */
    int time_index;          /* which of them is the time */
};

/* How both sides of a comparison are read. */
struct rowhash_way {
    bool streamed;        /* hashed here */
    const char *encoding; /* of both connections; borrowed from one of the tables */
};

struct rowhash {
    int64_t rows;
    int64_t bytes; /* of their texts, where the pair has a throttle */
    uint64_t sums[2];
};

struct rowhash_way rowhash_choose(const struct table *source, const struct table *target);

static inline bool rowhash_equal(const struct rowhash *one, const struct rowhash *other)
{
    return one->rows == other->rows && one->sums[0] == other->sums[0] && one->sums[1] == other->sums[1];
}

/* A range in equal parts; the last may be shorter. The range is bounded on both sides. */
#define ROWHASH_PARTS_MAX 64
struct rowhash_parts {
    struct range range;
    uint64_t step;
    int count;
};

/* At most `wanted` parts, each a multiple of `unit`. */
struct rowhash_parts rowhash_cut(struct range range, int wanted, int64_t unit);
struct range rowhash_part(const struct rowhash_parts *parts, int index);

/* Two sides of a comparison, source and target, each with a connection that nobody else uses meanwhile. */
struct rowhash_pair {
    struct pg *pg[2];
    struct rowhash_table table[2];
    struct rowhash_way way;
    struct pg_setting *settings; /* of the connections, for who made them */
    struct throttle *throttle;   /* what is read of one side keeps to its rate; NULL: as fast as it goes */
};

/*
 * The parts of both sides, by two statements that run at the same time: hashes[side][part]. Connects where that is
 * needed. After a failure a connection may be closed; trying again is always right. STATUS_STOPPED from DRAIN on, where
 * the throttle would have to be waited for.
 */
MUST_CHECK enum status rowhash_take(struct rowhash_pair *pair, const struct rowhash_parts *parts,
                                    struct rowhash hashes[2][ROWHASH_PARTS_MAX], struct error *error);

/* --- for who reads rows by themselves --- */

/* COPY (SELECT columns FROM table WHERE range [ORDER BY time]) TO STDOUT, in the text format. */
void rowhash_add_copy(struct sql *sql, const struct rowhash_table *table, struct range range, bool ordered);

/* The field of a line of COPY text, without its escapes undone; *size is its length. */
const char *rowhash_field(const char *line, size_t line_size, int index, size_t *size);

/* The time of a line of COPY text. STATUS_DATA if it is no time of a range. */
MUST_CHECK enum status rowhash_time(const struct rowhash_table *table, const char *line, size_t size, int64_t *time,
                                    struct error *error);
