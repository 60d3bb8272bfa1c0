/*
 * What tests of the engine share: chance, and a world of a source and a target that fail at random
 * (fixture_engine_world.c).
 *
 * The seed is printed; HYPERFILL_TEST_SEED=… repeats a run as far as threads allow.
 */
#pragma once

#include "engine/pipeline.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK 16384

/* cmocka's asserts jump out of the test and cannot be used in other threads. */
/* cmocka's asserts jump out of the test and cannot be used in other threads. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold (seed %" PRIu64 ")\n", __FILE__, __LINE__, #condition, seed);     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

extern uint64_t seed;

/* Draws the seed, or takes it as given, and says it. */
void seed_make(void);
/* The same number for the same one. */
uint64_t mix(uint64_t number);
uint32_t draw(uint32_t below);

struct stop *stop_make(void);
struct pool *pool_make(int64_t blocks, int reserve, struct stop *stop);
struct packer *packer_make(uint32_t block_size);

/* The setup of each test: it may not take for ever. */
int limit(void **state);

/* --- A world: what the target holds, a ledger, and their moods --- */

enum mood { MOOD_FINE, MOOD_BAD_WRITE, MOOD_BAD_READ, MOOD_NEVER, MOOD_OUTAGE };

struct range_book {
    enum mood mood;
    bool stored;     /* addressable: its rows are in the target */
    int64_t mark;    /* stream: records before it are in the target */
    int told;        /* calls of the committed hook */
    int quarantined; /* calls of the failed hook */
};

/* A record of the stream. */
struct line {
    int64_t offset;
    uint32_t size;
    uint32_t range;
    bool stored;
};

#define RANGES_MAX 400
#define LINES_MAX 6000
#define LINE_SIZE_MAX 3000

struct world {
    struct stop *stop;
    struct stats stats;
    _Atomic int failures_left;  /* transient ones still to come, on both sides */
    _Atomic int64_t steps;      /* of readers and writers */
    int64_t drain_at, abort_at; /* steps at which to stop; 0: never */
    bool slow;
    pthread_mutex_t mutex; /* guards the books, the lines and what follows */
    struct range_book books[RANGES_MAX];
    size_t range_count;
    struct line lines[LINES_MAX];
    size_t line_count;
    struct input_position frontier; /* the ledger's, of the last commit */
    int sessions;
    bool over; /* the last session is closing: nobody may request a stop any more */
};

struct world *world_make(size_t ranges);
void world_free(struct world *world);

/* Called at every step of readers and writers: time for something to happen. */
void world_step(struct world *world);
bool world_fails(struct world *world, uint32_t one_of);
enum status fail_with(struct error *error, enum status status, const char *sqlstate, const char *text);
enum status fail_transient(struct error *error);
/* What a target in a mood says to a piece, if anything. */
enum status target_refuses(enum mood mood, struct error *error);

/* For a run after one that was stopped. */
void world_rearm(struct world *world);
size_t count_stored(const struct world *world);

/* --- Sessions of both sides --- */

struct session {
    struct world *world;
    struct pipeline *pipeline;
    struct packer *packer;
    struct line **lines; /* writer: of the piece */
    size_t line_count, line_room;
};

enum status session_open(void *context, struct pipeline *pipeline, void **result, struct error *error);
void session_close(void *argument);
enum status session_refuse(void *context, struct pipeline *pipeline, void **result, struct error *error);

/* --- Running --- */

struct pipeline_spec spec_make(struct world *world, const struct reader_ops *reader, const struct writer_ops *writer);
enum status world_run(struct world *world, const struct pipeline_spec *base, struct error *error);
