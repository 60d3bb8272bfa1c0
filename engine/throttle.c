/* The rate and the gate. */
#include "engine/throttle.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/stats.h"

#define SECOND_NS INT64_C(1000000000)
/* What may be made up for after a pause. */
#define BURST_NS (SECOND_NS / 4)
#define WATCH_MAX 8
/* Of a row of which nothing is known. */
#define ROW_BYTES_GUESS 64

struct throttle {
    struct stop *stop;
    enum throttle_unit unit;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t cond;   /* broadcast by the stop and when the gate opens; else it is a time that is waited for */
    struct schedule schedule;
    int64_t rows, bytes; /* of what was counted */
    char reason[THROTTLE_REASON_MAX];
    struct {
        pthread_mutex_t *mutex;
        pthread_cond_t *cond;
    } watches[WATCH_MAX];
    int watch_count;
    _Atomic bool paused;
};

void schedule_init(struct schedule *schedule, int64_t rate, int64_t now_ns)
{
    *schedule = (struct schedule){.rate = rate, .next_ns = now_ns};
}

int64_t schedule_take(struct schedule *schedule, int64_t amount, int64_t now_ns)
{
    __int128 cost;
    int64_t at;

    if (schedule->next_ns < now_ns - BURST_NS) {
        schedule->next_ns = now_ns - BURST_NS;
        schedule->rest = 0;
    }
    at = schedule->next_ns;
    cost = (__int128)amount * SECOND_NS + schedule->rest;
    schedule->next_ns += (int64_t)(cost / schedule->rate);
    schedule->rest = (int64_t)(cost % schedule->rate);
    return at;
}

enum status throttle_create(int64_t rate, enum throttle_unit unit, struct stop *stop, struct throttle **result,
                            struct error *error)
{
    struct throttle *throttle = calloc(1, sizeof *throttle);
    pthread_condattr_t attributes;

    if (throttle == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    throttle->stop = stop;
    throttle->unit = unit;
    schedule_init(&throttle->schedule, rate, stats_now_ns());
    pthread_mutex_init(&throttle->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&throttle->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    stop_watch(stop, &throttle->mutex, &throttle->cond);
    *result = throttle;
    return STATUS_OK;
}

void throttle_free(struct throttle *throttle)
{
    if (throttle == NULL)
        return;
    assert(throttle->watch_count == 0);
    stop_unwatch(throttle->stop, &throttle->cond);
    pthread_cond_destroy(&throttle->cond);
    pthread_mutex_destroy(&throttle->mutex);
    free(throttle);
}

/* ---- The rate ---- */

/* With the lock held. Pieces in flight are finished at the same rate after a first stop; a second one ends the wait. */
static void wait_until(struct throttle *throttle, int64_t at_ns)
{
    struct timespec until = {.tv_sec = at_ns / SECOND_NS, .tv_nsec = at_ns % SECOND_NS};

    while (stop_level(throttle->stop) < STOP_ABORT && stats_now_ns() < at_ns)
        pthread_cond_timedwait(&throttle->cond, &throttle->mutex, &until);
}

/* With the lock held. */
static void take(struct throttle *throttle, int64_t amount)
{
    wait_until(throttle, schedule_take(&throttle->schedule, amount, stats_now_ns()));
}

static int64_t rows_of(const struct throttle *throttle, const struct throttle_writer *writer)
{
    if (throttle->rows > 0 && throttle->bytes > 0)
        return (int64_t)((double)writer->bytes * (double)throttle->rows / (double)throttle->bytes);
    return writer->bytes / (writer->row_bytes > 0 ? writer->row_bytes : ROW_BYTES_GUESS);
}

void throttle_begin(struct throttle_writer *writer, int64_t row_bytes)
{
    *writer = (struct throttle_writer){.row_bytes = row_bytes};
}

void throttle_send(struct throttle *throttle, struct throttle_writer *writer, int64_t bytes)
{
    int64_t amount = bytes;

    if (throttle == NULL || throttle->schedule.rate == 0)
        return;
    pthread_mutex_lock(&throttle->mutex);
    writer->bytes += bytes;
    if (throttle->unit == THROTTLE_ROWS) {
        /* By the sum, so that what is rounded off small sends is not lost. */
        int64_t rows = rows_of(throttle, writer);

        amount = rows > writer->rows ? rows - writer->rows : 0;
        writer->rows += amount;
    }
    take(throttle, amount);
    pthread_mutex_unlock(&throttle->mutex);
}

void throttle_count(struct throttle *throttle, struct throttle_writer *writer, int64_t rows)
{
    if (throttle == NULL || throttle->schedule.rate == 0)
        return;
    pthread_mutex_lock(&throttle->mutex);
    if (throttle->unit == THROTTLE_ROWS) {
        throttle->rows += rows;
        throttle->bytes += writer->bytes;
        (void)schedule_take(&throttle->schedule, rows - writer->rows, stats_now_ns());
    }
    take(throttle, 0);
    pthread_mutex_unlock(&throttle->mutex);
}

void throttle_take(struct throttle *throttle, int64_t rows, int64_t bytes)
{
    if (throttle == NULL || throttle->schedule.rate == 0)
        return;
    pthread_mutex_lock(&throttle->mutex);
    take(throttle, throttle->unit == THROTTLE_ROWS ? rows : bytes);
    pthread_mutex_unlock(&throttle->mutex);
}

void throttle_book(struct throttle *throttle, int64_t rows, int64_t bytes)
{
    if (throttle == NULL || throttle->schedule.rate == 0)
        return;
    pthread_mutex_lock(&throttle->mutex);
    (void)schedule_take(&throttle->schedule, throttle->unit == THROTTLE_ROWS ? rows : bytes, stats_now_ns());
    pthread_mutex_unlock(&throttle->mutex);
}

/* With the lock held. */
static bool is_ahead(const struct throttle *throttle)
{
    return throttle->schedule.rate > 0 && throttle->schedule.next_ns > stats_now_ns();
}

bool throttle_enter(struct throttle *throttle)
{
    bool entered;

    if (throttle == NULL)
        return true;
    pthread_mutex_lock(&throttle->mutex);
    while (stop_level(throttle->stop) == STOP_RUN && (throttle->paused || is_ahead(throttle))) {
        int64_t at_ns = throttle->schedule.next_ns;
        struct timespec until = {.tv_sec = at_ns / SECOND_NS, .tv_nsec = at_ns % SECOND_NS};

        if (throttle->paused)
            pthread_cond_wait(&throttle->cond, &throttle->mutex);
        else
            pthread_cond_timedwait(&throttle->cond, &throttle->mutex, &until);
    }
    entered = stop_level(throttle->stop) == STOP_RUN;
    pthread_mutex_unlock(&throttle->mutex);
    return entered;
}

/* ---- The gate ---- */

void throttle_pause(struct throttle *throttle, const char *reason)
{
    pthread_mutex_lock(&throttle->mutex);
    snprintf(throttle->reason, sizeof throttle->reason, "%s", reason);
    throttle->paused = true;
    pthread_mutex_unlock(&throttle->mutex);
}

void throttle_resume(struct throttle *throttle)
{
    pthread_mutex_lock(&throttle->mutex);
    throttle->paused = false;
    throttle->reason[0] = '\0';
    pthread_cond_broadcast(&throttle->cond);
    /* Under our lock, as the stop does it: nobody who holds one of theirs asks for ours. */
    for (int i = 0; i < throttle->watch_count; i++) {
        pthread_mutex_lock(throttle->watches[i].mutex);
        pthread_cond_broadcast(throttle->watches[i].cond);
        pthread_mutex_unlock(throttle->watches[i].mutex);
    }
    pthread_mutex_unlock(&throttle->mutex);
}

bool throttle_is_paused(const struct throttle *throttle)
{
    return throttle != NULL && throttle->paused;
}

const char *throttle_reason(struct throttle *throttle, char reason[THROTTLE_REASON_MAX])
{
    reason[0] = '\0';
    if (throttle == NULL)
        return reason;
    pthread_mutex_lock(&throttle->mutex);
    memcpy(reason, throttle->reason, THROTTLE_REASON_MAX);
    pthread_mutex_unlock(&throttle->mutex);
    return reason;
}

void throttle_watch(struct throttle *throttle, pthread_mutex_t *mutex, pthread_cond_t *cond)
{
    if (throttle == NULL)
        return;
    pthread_mutex_lock(&throttle->mutex);
    assert(throttle->watch_count < WATCH_MAX);
    throttle->watches[throttle->watch_count].mutex = mutex;
    throttle->watches[throttle->watch_count++].cond = cond;
    pthread_mutex_unlock(&throttle->mutex);
}

void throttle_unwatch(struct throttle *throttle, const pthread_cond_t *cond)
{
    if (throttle == NULL)
        return;
    pthread_mutex_lock(&throttle->mutex);
    for (int i = 0; i < throttle->watch_count; i++)
        if (throttle->watches[i].cond == cond)
            throttle->watches[i--] = throttle->watches[--throttle->watch_count];
    pthread_mutex_unlock(&throttle->mutex);
}
