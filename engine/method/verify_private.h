/* Between the files of verify. */
#pragma once

#include <pthread.h>

#include "engine/method/verify.h"
#include "engine/retry.h"

#define SOURCE 0
#define TARGET 1

/* ---- verify.c */

struct verify {
    const struct verify_spec *spec;
    struct verify_report *report; /* guarded by the lock while threads run */
    char *select_list;
    struct range *ranges; /* to compare, by time */
    bool *equal;          /* found so by an earlier call; parallel to ranges */
    size_t count;
    struct verify_memory *memory; /* NULL: nothing is remembered */
    pthread_mutex_t lock;
    size_t next;           /* range to compare; the lock */
    struct error failure;  /* the first; the lock */
    int64_t first_look_ns; /* of the last difference that was found; the lock */
};

/* ---- verify_work.c */

/* Two read-only sessions. */
MUST_CHECK enum status verify_pair_open(const struct verify *verify, struct rowhash_pair *pair, struct error *error);
void verify_pair_close(struct rowhash_pair *pair);

/* Whether STATUS_TRANSIENT is to be tried again: waits, and resets the error. */
bool verify_again(const struct verify *verify, struct retry *retry, enum status status, struct error *error);

struct verify_work {
    struct verify *verify;
    size_t count;
    /* Does one of them, as often as that fails for now. */
    enum status (*one)(struct verify *verify, struct rowhash_pair *pair, size_t index, struct error *error);
};

/* All of them, by spec->jobs threads. STATUS_STOPPED if some are left. */
MUST_CHECK enum status verify_work_run(struct verify_work *work, struct error *error);

/* ---- verify_plan.c */

/* ranges, equal and count: where either side has rows. */
MUST_CHECK enum status verify_plan(struct verify *verify, struct rowhash_pair *pair, struct range window,
                                   struct error *error);

/* report->key. */
MUST_CHECK enum status verify_find_key(struct verify *verify, struct rowhash_pair *pair, struct error *error);

/* ---- verify_narrow.c */

/* Stretches of a range that still differ, each as small as is cheap; adds them. Trying again after a failure adds none
 * twice. */
struct verify_stretches {
    struct range *items;
    size_t count;
};
MUST_CHECK enum status verify_narrow(struct rowhash_pair *pair, struct range range, int64_t unit,
                                     struct verify_stretches *stretches, struct error *error);

/* ---- verify_rows.c */

/* A look at each row of difference->range: fills the rest and shrinks the range. *same: nothing differs. */
MUST_CHECK enum status verify_rows(const struct verify *verify, struct rowhash_pair *pair,
                                   struct verify_difference *difference, bool *same, struct error *error);

/* Frees the examples, and counts nothing any more. */
void verify_difference_clear(struct verify_difference *difference);

/* ---- verify_memory.c */

struct verify_memory;

/*
 * Opens the tables of what was verified, and reads what is known of this comparison; *begun is when it began, NULL if
 * nothing is known. *memory is NULL, and a line says why, where the role may not make tables in the target.
 */
MUST_CHECK enum status verify_memory_open(const struct verify_spec *spec, struct range window,
                                          struct verify_memory **memory, char **begun, struct error *error);
void verify_memory_close(struct verify_memory *memory); /* NULL is fine */

/* Whether the range was found equal, and how many rows it had. */
bool verify_memory_knows(const struct verify_memory *memory, struct range range, int64_t *rows);

/*
 * Notes that it is equal, and writes what is noted about once a second. What cannot be written is a matter of comparing
 * it again some day, and fails nothing. One thread at a time.
 */
void verify_memory_add(struct verify_memory *memory, struct range range, int64_t rows);
void verify_memory_flush(struct verify_memory *memory);

/* The comparison has come to its end: forgets it, and drops tables that nobody needs any more. */
MUST_CHECK enum status verify_memory_finish(struct verify_memory *memory, struct error *error);
