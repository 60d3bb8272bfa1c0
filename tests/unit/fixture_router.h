/*
 * What tests of the router share: a pipeline that only collects (fixture_router_pipeline.c), random inputs
 * (fixture_router_data.c), a run, and what the ledger would hold after it (fixture_router.c).
 */
#pragma once

#include "engine/pipeline.h"
#include "readers/stream.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define INTERVAL 1000
#define UNTIL_RANGES 40
#define PIECES_MAX 65536

/* --- A pipeline that only collects --- */

struct collected {
    struct piece_spec spec;
    struct chain chain; /* only while queued */
    char *text;
    size_t size;
    int64_t rows;
};

struct pipeline {
    struct pool *pool;
    struct spill *spill;
    struct stop *stop;
    struct stats stats;
    int writers;
    bool slow, stuck;
    const struct input *input;
    pthread_mutex_t mutex; /* guards the fields below */
    pthread_cond_t cond;
    struct piece *queue[PIECES_MAX];
    size_t submitted, done;
    int64_t queued_blocks;
    bool closed;
    struct collected *collected;
};

struct input {
    char *text;
    size_t size;
    int64_t *lines; /* of each byte */
};

/* A thread: takes pieces out, checks where each stretch says it is, and keeps their text. */
void *collector(void *opaque);

/* It is in its line, and has the hash of what lies before. */
void check_position(const struct pipeline *pipeline, const struct input_position *position, bool hashed);

/* --- Random inputs --- */

enum order { ORDERED, REVERSED, JITTERED, SHUFFLED, BY_HOST, ORDER_COUNT };

struct plan {
    unsigned seed;
    enum order order;
    int rows;
    int payload; /* bytes, at most */
    bool header, stream, crlf, open_end, quotes;
    int time_index;
    int64_t pool_bytes;
    uint32_t block_size;
    int64_t memory_bytes;
    /* 0: no spill */
    int64_t spill_bytes;
    bool slow;
    bool bad; /* some records have no time, and are rejected */
    /* What goes wrong: the pipe stays open, nobody takes pieces, the file grows; a stop is asked for soon in the first
     * two. */
    bool idle, stuck, grows;
};

struct record {
    size_t at, size;
    int64_t time;
    bool bad; /* its time cannot be read */
};

struct data {
    struct input input;
    struct record *records;
    int count;
};

/* HYPERFILL_TEST_SEED, or another each time. */
unsigned base_seed(void);
int random_below(unsigned *seed, int limit);
void data_make(struct data *data, const struct plan *plan);
void data_free(struct data *data);

/* Room of a spill: none, enough, or soon full. */
int64_t spill_make(unsigned *dice);

/* A random plan of the seed. */
struct plan plan_make(unsigned seed);

/* The plan of an input of a few rows; and such an input, whose `lines` are to be freed. */
struct plan small_plan(bool stream);
void input_from(struct input *input, char *text);

/* --- One run --- */

struct marks {
    struct stream_mark list[UNTIL_RANGES + 8];
    size_t count;
};

struct outcome {
    struct collected *pieces;
    size_t count;
    enum status status;
    struct error error;
    int64_t skipped, packed, spilled;
};

/* From `start`, with the marks of earlier runs (NULL: none). */
void run_router(const struct plan *plan, const struct input *input, struct input_position start,
                const struct marks *marks, struct outcome *outcome);
void outcome_free(struct outcome *outcome);

/* --- What the ledger would hold --- */

struct ledger {
    struct input_position frontier;
    struct marks marks;
    /* What is committed of each range. */
    struct {
        char *text;
        size_t size;
        int64_t rows, end;
    } ranges[UNTIL_RANGES + 1]; /* the last: of what has no time */
};

void ledger_free(struct ledger *ledger);
/* Pieces of the outcome, in an order in which writers could commit them, until `stop_at` are in. */
void ledger_commit_some(struct ledger *ledger, const struct outcome *outcome, size_t stop_at, unsigned *seed);
/* All rows of the data are in, each once and in order. */
void ledger_check(const struct ledger *ledger, const struct data *data);
