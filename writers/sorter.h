/*
 * The records of a piece in the order in which a columnstore wants them: those of one segment together, within a
 * segment by time.
 *
 *     b,2 a,1 b,1 a,2    ─►   b,1 b,2 a,1 a,2        segments in the order in which they first came
 *
 * It needs all records in memory at once. Whatever it does not understand for sure, it does not sort: what makes two
 * fields the same segment to the server must be known from their texts.
 */
#pragma once

#include "engine/timevalue.h"
#include "writers/records.h"

enum sorter_kind { SORTER_TEXT, SORTER_INTEGER };

struct sorter_key {
    int field; /* of the record, from 0 */
    enum sorter_kind kind;
};

#define SORTER_KEYS_MAX 8

/* Of one input. Borrowed. */
struct sorter_spec {
    char delimiter, quote, escape;
    const char *null_text;
    struct sorter_key keys[SORTER_KEYS_MAX];
    int key_count;
    int time_field;
    struct time_column time;
    bool descending;
};

struct sorter;

/* `bytes_max`: what it holds at most. */
MUST_CHECK enum status sorter_create(int64_t bytes_max, struct sorter **sorter, struct error *error);
void sorter_free(struct sorter *sorter);

/*
 * Takes all `count` records of a replayable piece, with so many bytes together, and sorts them. *sorted false: there is
 * one that it does not understand, or too little room; then it holds none.
 */
MUST_CHECK enum status sorter_fill(struct sorter *sorter, const struct sorter_spec *spec, struct records *records,
                                   int64_t count, int64_t bytes, bool *sorted, struct error *error);

/* The next stretch of sorted text, or with `one` the next record; valid until the next call; size 0 at the end. */
struct span sorter_next(struct sorter *sorter, bool one);
