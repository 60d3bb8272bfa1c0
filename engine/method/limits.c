/* The thread that watches limits. */
#include "engine/method/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/log.h"
#include "engine/method/limits_private.h"
#include "engine/stats.h"

#define INTERVAL_NS INT64_C(2000000000)
/* Of its time that it may measure. */
#define MEASURE_SHARE 10
#define LIMITS_MAX 6

/* In percent of the limit: where a value that has passed it counts as back. */
#define BACK_BELOW 80
#define BACK_ABOVE 110

/* A server that answers late is asked again, not waited for. */
static const struct pg_setting settings[] = {{"statement_timeout", "30s"}, {NULL, NULL}};

enum unit { UNIT_MS, UNIT_BYTES, UNIT_SHARE };

struct limit {
    const char *name; /* as the progress line says it */
    enum unit unit;
    bool least; /* the value must not be below it */
    int64_t at, value;
    enum status (*measure)(struct limits_place *place, int64_t *value, struct error *error);
    struct limits_place *place;
    bool passed;
};

struct limits {
    struct throttle *throttle;
    struct limits_place source, target;
    struct limit limits[LIMITS_MAX];
    int count;
    bool silent;       /* a failure to measure was told */
    int64_t paused_ns; /* since when the gate is shut; 0: it is open */
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t cond; /* monotonic */
    bool ending;         /* guarded by mutex */
};

bool limits_given(const struct limits_spec *spec)
{
    return spec->source_lag_ms > 0 || spec->source_lag_bytes > 0 || spec->disk_free_bytes > 0 ||
           spec->disk_free_percent > 0 || spec->wal_bytes > 0 || spec->target_bytes > 0;
}

static void limit_add(struct limits *limits, const char *name, enum unit unit, bool least, int64_t at,
                      enum status (*measure)(struct limits_place *, int64_t *, struct error *),
                      struct limits_place *place)
{
    if (at > 0)
        limits->limits[limits->count++] =
            (struct limit){.name = name, .unit = unit, .least = least, .at = at, .measure = measure, .place = place};
}

static const char *value_text(enum unit unit, int64_t value, char buffer[32])
{
    static const char *const sizes[] = {"B", "KB", "MB", "GB", "TB"};
    double number = (double)value;
    size_t power = 0;

    if (unit == UNIT_MS) {
        snprintf(buffer, 32, "%.*f s", value < 10000 ? 1 : 0, number / 1000);
    } else if (unit == UNIT_SHARE) {
        snprintf(buffer, 32, "%.1f%%", number * 100 / DISK_SHARE_WHOLE);
    } else {
        for (; number >= 1023.5 && power + 1 < sizeof sizes / sizeof *sizes; power++)
            number /= 1024;
        snprintf(buffer, 32, "%.*f %s", power > 0 && number < 99.5 ? 1 : 0, number, sizes[power]);
    }
    return buffer;
}

/* With some distance between shutting and opening, so that it does not flutter. */
static void limit_judge(struct limit *limit)
{
    int64_t back = limit->at / 100 * (limit->least ? BACK_ABOVE : BACK_BELOW);

    if (limit->least)
        limit->passed = limit->value < (limit->passed ? back : limit->at);
    else
        limit->passed = limit->value > (limit->passed ? back : limit->at);
}

static enum status limits_measure_all(struct limits *limits, struct error *error)
{
    for (int i = 0; i < limits->count; i++) {
        struct limit *limit = &limits->limits[i];

        if (limit->measure(limit->place, &limit->value, error) != STATUS_OK)
            return error->status;
        limit_judge(limit);
    }
    return STATUS_OK;
}

/* Shuts or opens the gate by what is measured. */
static void limits_apply(struct limits *limits)
{
    char reason[THROTTLE_REASON_MAX] = "", value[32], at[32];

    for (int i = 0; i < limits->count; i++) {
        const struct limit *limit = &limits->limits[i];
        size_t used = strlen(reason);

        if (limit->passed)
            snprintf(reason + used, sizeof reason - used, "%s%s %s %s %s", used > 0 ? ", " : "", limit->name,
                     value_text(limit->unit, limit->value, value), limit->least ? "<" : ">",
                     value_text(limit->unit, limit->at, at));
    }
    if (reason[0] != '\0') {
        throttle_pause(limits->throttle, reason);
        if (limits->paused_ns == 0) {
            limits->paused_ns = stats_now_ns();
            log_line(LOG_NOTICE, "paused: %s; what is being written is finished", reason);
        }
    } else if (limits->paused_ns != 0) {
        throttle_resume(limits->throttle);
        log_line(LOG_NOTICE, "resumed after %lld s", (long long)((stats_now_ns() - limits->paused_ns) / 1000000000));
        limits->paused_ns = 0;
    }
}

/* Waits until then; true: it is to end. */
static bool limits_wait(struct limits *limits, int64_t at_ns)
{
    struct timespec until = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    bool ending;

    pthread_mutex_lock(&limits->mutex);
    while (!limits->ending && stats_now_ns() < at_ns)
        pthread_cond_timedwait(&limits->cond, &limits->mutex, &until);
    ending = limits->ending;
    pthread_mutex_unlock(&limits->mutex);
    return ending;
}

static void *limits_main(void *argument)
{
    struct limits *limits = argument;
    int64_t interval_ns = INTERVAL_NS;
    struct error error;

    while (!limits_wait(limits, stats_now_ns() + interval_ns)) {
        int64_t since = stats_now_ns(), taken;

        error_reset(&error);
        if (limits_measure_all(limits, &error) == STATUS_OK) {
            limits_apply(limits);
            limits->silent = false;
        } else if (error.status != STATUS_STOPPED && !limits->silent) {
            log_line(LOG_WARNING, "limits cannot be looked after now, it goes on as it did: %s", error.text);
            limits->silent = true;
        }
        taken = (stats_now_ns() - since) * (MEASURE_SHARE - 1);
        interval_ns = taken > INTERVAL_NS ? taken : INTERVAL_NS;
    }
    return NULL;
}

static enum status limits_open(const struct limits_spec *spec, struct limits *limits, struct error *error)
{
    bool of_source = spec->source_lag_ms > 0 || spec->source_lag_bytes > 0;
    enum status status = STATUS_OK;

    if (of_source && spec->source == NULL)
        return error_set(error, STATUS_USAGE, "--max-source-lag is for a PostgreSQL source");
    if (of_source)
        status = pg_create(spec->source, settings, spec->stop, &limits->source.pg, error);
    if (status == STATUS_OK)
        status = pg_create(spec->target, settings, spec->stop, &limits->target.pg, error);
    limits->target.table = spec->table;
    limit_add(limits, "source lag", UNIT_MS, false, spec->source_lag_ms, measure_lag_ms, &limits->source);
    limit_add(limits, "source lag", UNIT_BYTES, false, spec->source_lag_bytes, measure_lag_bytes, &limits->source);
    limit_add(limits, "waiting WAL", UNIT_BYTES, false, spec->wal_bytes, measure_wal, &limits->target);
    limit_add(limits, "target size", UNIT_BYTES, false, spec->target_bytes, measure_target_size, &limits->target);
    limit_add(limits, "free disk", UNIT_BYTES, true, spec->disk_free_bytes, measure_disk_bytes, &limits->target);
    limit_add(limits, "free disk", UNIT_SHARE, true, (int64_t)(spec->disk_free_percent * DISK_SHARE_WHOLE / 100),
              measure_disk_share, &limits->target);
    return status;
}

enum status limits_start(const struct limits_spec *spec, struct limits **result, struct error *error)
{
    struct limits *limits = calloc(1, sizeof *limits);
    pthread_condattr_t attributes;
    enum status status;

    *result = limits;
    if (limits == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    limits->throttle = spec->throttle;
    pthread_mutex_init(&limits->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&limits->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    status = limits_open(spec, limits, error);
    if (status == STATUS_OK)
        status = limits_measure_all(limits, error);
    if (status == STATUS_OK) {
        limits_apply(limits);
        limits->started = pthread_create(&limits->thread, NULL, limits_main, limits) == 0;
        if (!limits->started)
            status = error_set(error, STATUS_SYSTEM, "cannot start the thread that watches limits");
    }
    if (status != STATUS_OK) {
        limits_finish(limits);
        *result = NULL;
    }
    return status;
}

void limits_finish(struct limits *limits)
{
    if (limits == NULL)
        return;
    if (limits->started) {
        pthread_mutex_lock(&limits->mutex);
        limits->ending = true;
        pthread_cond_signal(&limits->cond);
        pthread_mutex_unlock(&limits->mutex);
        pthread_join(limits->thread, NULL);
    }
    pg_free(limits->source.pg);
    pg_free(limits->target.pg);
    pthread_cond_destroy(&limits->cond);
    pthread_mutex_destroy(&limits->mutex);
    free(limits);
}
