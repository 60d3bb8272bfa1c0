/* The limits of a measurement, and the user's wish to stop. */
#include <time.h>

#include "engine/cli/bench.h"

static bool is_late(const struct watch *watch)
{
    return watch->deadline_ns != 0 && stats_now_ns() >= watch->deadline_ns;
}

/* With the lock held: nothing happens for a while. */
static void wait_for_event(struct watch *watch)
{
    struct timespec until = {.tv_sec = watch->deadline_ns / 1000000000, .tv_nsec = watch->deadline_ns % 1000000000};

    if (watch->deadline_ns == 0 || watch->limit_ns != 0 || is_late(watch))
        pthread_cond_wait(&watch->cond, &watch->mutex);
    else
        pthread_cond_timedwait(&watch->cond, &watch->mutex, &until);
}

/* With the lock held, which is let go while others are woken. */
static void request(struct watch *watch, enum stop_level level)
{
    pthread_mutex_unlock(&watch->mutex);
    stop_request(watch->inner, level);
    pthread_mutex_lock(&watch->mutex);
}

static int64_t bytes_so_far(const struct watch *watch)
{
    return stats_get(watch->stream ? &watch->stats->input_text : &watch->stats->bytes_read);
}

/* Without any row there is nothing to measure: the first ones are waited for, however late they are. */
static bool limit_reached(const struct watch *watch)
{
    int64_t rows = stats_get(&watch->stats->rows_done);

    return rows >= watch->rows_max ||
           (is_late(watch) && (rows > 0 || (watch->reads && bytes_so_far(watch) > watch->bytes_before)));
}

static void *watch_main(void *argument)
{
    struct watch *watch = argument;
    bool aborted = false;

    pthread_mutex_lock(&watch->mutex);
    while (!watch->end) {
        if (!aborted && stop_level(watch->outer) != STOP_RUN) {
            aborted = true;
            request(watch, STOP_ABORT);
        } else if (watch->limit_ns == 0 && limit_reached(watch)) {
            watch->limit_ns = stats_now_ns();
            watch->bytes_read = bytes_so_far(watch);
            /* What is only read has no commit that must be waited for. */
            request(watch, watch->reads ? STOP_ABORT : STOP_DRAIN);
        } else {
            wait_for_event(watch);
        }
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

enum status watch_start(struct watch *watch, struct error *error)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&watch->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    stop_watch(watch->outer, &watch->mutex, &watch->cond);
    if (pthread_create(&watch->thread, NULL, watch_main, watch) == 0)
        return STATUS_OK;
    stop_unwatch(watch->outer, &watch->cond);
    return error_set(error, STATUS_SYSTEM, "cannot start a thread");
}

void watch_begin(struct watch *watch, int64_t limit_ms, int64_t limit_rows)
{
    pthread_mutex_lock(&watch->mutex);
    watch->rows_max = limit_rows;
    watch->deadline_ns = stats_now_ns() + limit_ms * 1000000;
    pthread_cond_signal(&watch->cond);
    pthread_mutex_unlock(&watch->mutex);
}

void watch_committed(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    pthread_cond_signal(&watch->cond);
    pthread_mutex_unlock(&watch->mutex);
}

void watch_finish(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    watch->end = true;
    pthread_cond_signal(&watch->cond);
    pthread_mutex_unlock(&watch->mutex);
    pthread_join(watch->thread, NULL);
    stop_unwatch(watch->outer, &watch->cond);
    pthread_cond_destroy(&watch->cond);
    pthread_mutex_destroy(&watch->mutex);
}
