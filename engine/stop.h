/*
 * One place that says "stop", and wakes everybody who waits.
 *
 * Three levels, only ever raised: RUN; DRAIN, when pieces that are being written are finished and nothing new is begun
 * (the first signal, or an error that ends the run); ABORT, when even those are given up (the second signal). Waits are
 * woken, not polled: condition variables registered here are broadcast at each raise, and descriptors for poll(2)
 * become readable, one at DRAIN, one at ABORT.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/error.h"

enum stop_level { STOP_RUN, STOP_DRAIN, STOP_ABORT };

struct stop;

MUST_CHECK enum status stop_create(struct stop **stop, struct error *error);
void stop_free(struct stop *stop);

/* Raises the level; a lower one than now changes nothing. From any thread. */
void stop_request(struct stop *stop, enum stop_level level);
enum stop_level stop_level(const struct stop *stop);

/* Readable from ABORT on. Only for poll(2); never read from it. */
int stop_fd(const struct stop *stop);

/* The same from DRAIN on, for waits that may be given up as soon as nothing new is begun. */
int stop_drain_fd(const struct stop *stop);

/* Broadcasts `cond` under `mutex` at each raise; both must outlive the last raise. Ends the program when memory ends.
 */
void stop_watch(struct stop *stop, pthread_mutex_t *mutex, pthread_cond_t *cond);

/* Undoes stop_watch, before the condition is destroyed; unknown ones are fine. */
void stop_unwatch(struct stop *stop, const pthread_cond_t *cond);

/* Waits at most `ms`; true as soon as the level is at least `level`. */
bool stop_wait(struct stop *stop, int64_t ms, enum stop_level level);

/*
 * Takes SIGINT and SIGTERM from now on: blocks them in the calling thread (so call it before any other thread starts)
 * and starts a thread that waits for them. The first raises DRAIN, the second ABORT; `notice` is told which, outside of
 * any signal handler. signals_finish ends the thread; the signals stay blocked, so that
 * one that comes a moment too late does not kill the program on its way out.
 */
struct signals;
MUST_CHECK enum status signals_start(struct stop *stop, void (*notice)(enum stop_level level), struct signals **signals,
                                     struct error *error);
void signals_finish(struct signals *signals);
