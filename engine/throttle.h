/*
 * How fast rows may go to the target, and whether they may at all: a rate that all writers share, and a gate that is
 * shut while some limit of the user's is passed.
 *
 * The rate is kept exactly in the long run: each piece of data has its place on a schedule, and who is ahead of it
 * waits. After a pause no more than a fraction of a second is made up for. Nobody is woken to look: a wait ends when
 * its time has come, at ABORT, or at the end of the run.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/error.h"
#include "engine/stop.h"

enum throttle_unit { THROTTLE_BYTES, THROTTLE_ROWS };

/* The schedule alone, with the time as an argument; for one rate. */
struct schedule {
    int64_t rate; /* a second */
    int64_t next_ns;
    int64_t rest; /* of a nanosecond, in 1/rate */
};

void schedule_init(struct schedule *schedule, int64_t rate, int64_t now_ns);

/* Takes the next place for `amount` (below 0: gives some back); the time at which it may go, which may be past. */
int64_t schedule_take(struct schedule *schedule, int64_t amount, int64_t now_ns);

struct throttle;

/* `rate` 0: no rate, only the gate. */
MUST_CHECK enum status throttle_create(int64_t rate, enum throttle_unit unit, struct stop *stop,
                                       struct throttle **throttle, struct error *error);
void throttle_free(struct throttle *throttle);

/*
 * What one writer sends in one COPY. Of a rate in rows, bytes are taken for as many rows as earlier ones were, before
 * any were counted of `row_bytes` (0: unknown); what that was wrong by is waited for when the count is known, so that
 * no commit comes before its time. A NULL throttle is fine in all that follows.
 */
struct throttle_writer {
    int64_t row_bytes;
    int64_t bytes, rows; /* sent; rows as they were taken */
};
void throttle_begin(struct throttle_writer *writer, int64_t row_bytes);
void throttle_send(struct throttle *throttle, struct throttle_writer *writer, int64_t bytes); /* waits */
void throttle_count(struct throttle *throttle, struct throttle_writer *writer, int64_t rows); /* waits */

/* Waits for the place of so many rows of so many bytes. */
void throttle_take(struct throttle *throttle, int64_t rows, int64_t bytes);

/*
 * For who knows only afterwards how much it was. Waits while the gate is shut, and until all that was booked has had
 * its time; false: asked to stop, from DRAIN on.
 */
bool throttle_enter(struct throttle *throttle);
void throttle_book(struct throttle *throttle, int64_t rows, int64_t bytes);

/* Shuts the gate, or says anew why it is; opens it. */
void throttle_pause(struct throttle *throttle, const char *reason);
void throttle_resume(struct throttle *throttle);
bool throttle_is_paused(const struct throttle *throttle);

/* Why the gate is shut, "" if it is open. */
#define THROTTLE_REASON_MAX 160
const char *throttle_reason(struct throttle *throttle, char reason[THROTTLE_REASON_MAX]);

/* Broadcasts `cond` under `mutex` when the gate opens. At most 8, undone before the condition is destroyed. */
void throttle_watch(struct throttle *throttle, pthread_mutex_t *mutex, pthread_cond_t *cond);
void throttle_unwatch(struct throttle *throttle, const pthread_cond_t *cond);
