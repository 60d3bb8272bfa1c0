/* What is looked at: both sides, the window, how far it reaches back. */
#include "engine/method/completion_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "engine/stats.h"

#define BUCKETS_MAX 1000000
#define WINDOW_DEFAULT_SECONDS 900
#define BUCKET_DEFAULT_SECONDS 10
/* Days, as buckets of a date column cannot be shorter than one. */
#define WINDOW_DEFAULT_DATES 30
/* A window that nobody asked for grows to this many times its length, and no further once a look takes so long. */
#define GROWTH_MAX 512
#define GROWTH_LOOK_NS INT64_C(10000000000)
/* An integer is taken for a time if that makes it one of these years around now. */
#define PLAUSIBLE_SECONDS (3 * 366 * INT64_C(86400))

static const struct pg_setting settings[] = {{"timezone", "UTC"}, {NULL, NULL}};

static enum status sides_open(const struct completion_spec *spec, struct completion_sides *sides, struct error *error)
{
    const char *source_name = spec->source_table != NULL ? spec->source_table : spec->table;
    enum status status = pg_create(spec->source, settings, spec->stop, &sides->source, error);

    if (status == STATUS_OK)
        status = pg_create(spec->target, settings, spec->stop, &sides->target, error);
    if (status == STATUS_OK)
        status = table_describe(sides->target, spec->table, spec->time_column, true, &sides->target_table, error);
    if (status == STATUS_OK)
        status = table_describe(sides->source, source_name, sides->target_table.time_name, false, &sides->source_table,
                                error);
    if (status != STATUS_OK)
        return status;
    if (sides->source_table.time.type != sides->target_table.time.type &&
        !(time_type_is_integer(sides->source_table.time.type) && time_type_is_integer(sides->target_table.time.type)))
        return error_set(error, STATUS_USAGE, "the time column is %s in the source and %s in the target",
                         time_type_sql(sides->source_table.time.type), time_type_sql(sides->target_table.time.type));
    return bucket_columns_choose(&sides->source_table, &sides->target_table, spec->columns, spec->column_count,
                                 &sides->columns, error);
}

static void sides_close(struct completion_sides *sides)
{
    pg_free(sides->source);
    pg_free(sides->target);
    table_reset(&sides->source_table);
    table_reset(&sides->target_table);
    bucket_columns_reset(&sides->columns);
}

/* How many of an integer column's numbers make a second, if they look like a time at all. */
static int64_t guess_per_second(int64_t newest, int64_t clock)
{
    static const int64_t units[] = {1, 1000, 1000000, 1000000000};

    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        int64_t seconds = newest / units[i] - clock / 1000000;

        if (seconds > -PLAUSIBLE_SECONDS && seconds < PLAUSIBLE_SECONDS)
            return units[i];
    }
    return 0;
}

/* A length as the column's type has it, or as a time where its numbers are one. */
static enum status length_read(const struct completion *completion, const char *option, const char *text,
                               int64_t *length, struct error *error)
{
    int64_t us;

    if (time_interval_parse(completion->time.type, text, length))
        return STATUS_OK;
    if (time_type_is_integer(completion->time.type) && completion->per_second > 0 &&
        time_interval_parse(TIME_TIMESTAMPTZ, text, &us)) {
        *length = (int64_t)((__int128)us * completion->per_second / 1000000);
        if (*length > 0)
            return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE, "--%s %s cannot be read: write %s", option, text,
                     completion->time.type == TIME_DATE            ? "30d or so; a bucket is a day at the least"
                     : time_type_is_integer(completion->time.type) ? "a number, in the unit of the column"
                                                                   : "2h, 30m or 10s");
}

/* Length of the window and step of the buckets. */
static enum status lengths_choose(const struct completion_spec *spec, struct completion *completion, int64_t *window,
                                  struct error *error)
{
    bool date = completion->time.type == TIME_DATE;
    enum status status = STATUS_OK;

    if (completion->per_second == 0 && (spec->window == NULL || spec->bucket == NULL))
        return error_set(error, STATUS_USAGE,
                         "the numbers of the time column do not look like seconds, milli-, micro- or nanoseconds since"
                         " 1970: give --window and --bucket in their unit");
    *window = date ? WINDOW_DEFAULT_DATES * TIME_DAY : WINDOW_DEFAULT_SECONDS * completion->per_second;
    completion->step = date ? TIME_DAY : BUCKET_DEFAULT_SECONDS * completion->per_second;
    if (spec->window != NULL)
        status = length_read(completion, "window", spec->window, window, error);
    if (status == STATUS_OK && spec->bucket != NULL)
        status = length_read(completion, "bucket", spec->bucket, &completion->step, error);
    if (status == STATUS_OK && (*window < completion->step || *window / completion->step > BUCKETS_MAX))
        return error_set(error, STATUS_USAGE,
                         "--window must have at least one bucket, and at most %d: choose another"
                         " --bucket",
                         BUCKETS_MAX);
    return status;
}

static int64_t now_of(const struct completion *completion, const struct completion_moment *moment)
{
    return completion->by_clock ? moment->clock : moment->newest;
}

/* Makes the buckets reach from lo to behind now; those that are there already are kept. */
static enum status reach(struct completion *completion, int64_t lo, int64_t now, struct error *error)
{
    size_t before = completion->count > 0 ? (size_t)((completion->lo - lo) / completion->step) : 0;
    size_t count = (size_t)((now - lo) / completion->step + 1);
    struct completion_bucket *buckets;

    if (count < before + completion->count)
        count = before + completion->count;
    buckets = calloc(count, sizeof *buckets);
    if (buckets == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (completion->count > 0)
        memcpy(buckets + before, completion->buckets, completion->count * sizeof *buckets);
    free(completion->buckets);
    completion->buckets = buckets;
    completion->count = count;
    completion->lo = lo;
    return STATUS_OK;
}

static int64_t reach_end(const struct completion *completion)
{
    return completion->lo + (int64_t)completion->count * completion->step;
}

/* How far back is looked. */
struct window {
    int64_t length, longest; /* longest: to which one that was not asked for may grow */
    int64_t look_ns;         /* what the last look back took */
    size_t added;            /* buckets that it has added, the oldest ones */
};

/* Whether such a bucket has rows of the source that the target has not, as far as one look tells. */
static bool sees_begin(const struct completion *completion, size_t added)
{
    for (size_t i = 0; i < added; i++)
        if (completion->buckets[i].source[0].rows > completion->buckets[i].target[0].rows)
            return true;
    return false;
}

static bool may_grow(const struct completion *completion, const struct window *window)
{
    return window->length < window->longest && 2 * window->length / completion->step <= BUCKETS_MAX &&
           window->look_ns < GROWTH_LOOK_NS;
}

/* Adds older buckets and looks at them: for the first look, all that the window has. */
static enum status look_at_older(struct completion_sides *sides, struct completion *completion, struct window *window,
                                 int64_t lo, struct error *error)
{
    int64_t since = stats_now_ns(), hi = completion->lo;
    bool first = completion->count == 0;
    enum status status = reach(completion, lo, completion->now[0], error);

    if (status == STATUS_OK)
        status = completion_look(sides, completion, 0, lo, first ? reach_end(completion) : hi, error);
    window->look_ns = stats_now_ns() - since;
    /* The last ones are being filled. */
    window->added =
        first ? (completion->count > 2 ? completion->count - 2 : 0) : (size_t)((hi - lo) / completion->step);
    return status;
}

/* A window that was not asked for grows until it shows where dual writing began. */
static enum status look_back(struct completion_sides *sides, struct completion *completion, struct window *window,
                             struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && may_grow(completion, window) && !sees_begin(completion, window->added)) {
        int64_t lo = completion->lo - window->length / completion->step * completion->step;

        window->length *= 2;
        status = look_at_older(sides, completion, window, lo, error);
    }
    return status;
}

static enum status look_first(const struct completion_spec *spec, struct completion_sides *sides,
                              struct completion *completion, struct window *window, struct error *error)
{
    struct completion_moment moment;
    int64_t lo;
    enum status status = completion_look_begin(sides, &moment, error);

    if (status != STATUS_OK)
        return status;
    completion->newest = moment.newest_source;
    if (!completion->by_clock && moment.newest == INT64_MIN)
        return STATUS_OK; /* Two empty tables: no buckets. */
    if (time_type_is_integer(completion->time.type))
        completion->per_second = guess_per_second(moment.newest, moment.clock);
    completion->now[0] = now_of(completion, &moment);
    status = lengths_choose(spec, completion, &window->length, error);
    if (status != STATUS_OK)
        return status;
    window->longest = spec->window == NULL ? window->length * GROWTH_MAX : window->length;
    lo = completion->now[0] - window->length;
    lo -= lo % completion->step + (lo % completion->step < 0 ? completion->step : 0);
    status = look_at_older(sides, completion, window, lo, error);
    return status == STATUS_OK ? look_back(sides, completion, window, error) : status;
}

static enum status look_again(struct completion_sides *sides, struct completion *completion, struct error *error)
{
    struct completion_moment moment;
    enum status status = completion_look_begin(sides, &moment, error);

    if (status != STATUS_OK)
        return status;
    completion->newest = moment.newest_source;
    completion->now[1] = now_of(completion, &moment);
    /* A clock that was set back, or rows that were deleted: time stands still. */
    if (completion->now[1] < completion->now[0])
        completion->now[1] = completion->now[0];
    if (completion->count > 0)
        status = reach(completion, completion->lo, completion->now[1], error);
    if (status == STATUS_OK && completion->count > 0)
        status = completion_look(sides, completion, 1, completion->lo, reach_end(completion), error);
    return status;
}

/* For want of a right to, it is not kept: nothing but a warning of run depends on it. */
static void keep(const struct completion_spec *spec, const struct completion_sides *sides,
                 const struct completion *completion)
{
    struct error error;

    error_reset(&error);
    if (spec->ledger_schema != NULL && completion->verdict == COMPLETION_FOUND && !sides->target_table.in_recovery &&
        completion_keep(sides->target, spec->ledger_schema, &sides->source_table, &sides->target_table, completion,
                        &error) != STATUS_OK)
        log_line(LOG_DEBUG, "what was found is not kept in the ledger: %s", error.text);
}

/* Waits, looks again, and judges. */
static enum status watch(const struct completion_spec *spec, struct completion_sides *sides,
                         struct completion *completion, struct error *error)
{
    enum status status;

    /* No transaction is open while nothing is done in it. */
    completion_look_end(sides);
    if (stop_wait(spec->stop, spec->watch_ms, STOP_DRAIN))
        return error_set(error, STATUS_STOPPED, "stopped by request");
    status = look_again(sides, completion, error);
    if (status == STATUS_OK && completion->count > 0)
        completion_judge(completion);
    return status;
}

/*
 * A row that was on its way to the target at the first look may have been taken for where dual writing began; the
 * second one shows that it is not. Then the window grows on.
 */
static enum status look_further(const struct completion_spec *spec, struct completion_sides *sides,
                                struct completion *completion, struct window *window, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && completion->count > 0 && !completion->begin_seen && may_grow(completion, window)) {
        window->added = 0;
        status = look_back(sides, completion, window, error);
        if (status == STATUS_OK)
            status = watch(spec, sides, completion, error);
    }
    return status;
}

enum status completion_find(const struct completion_spec *spec, struct completion *completion, struct error *error)
{
    struct completion_sides sides = {0};
    struct window window = {0};
    enum status status = sides_open(spec, &sides, error);

    *completion = (struct completion){.newest = INT64_MIN, .verdict = COMPLETION_EMPTY};
    if (status == STATUS_OK) {
        completion->time = sides.target_table.time;
        completion->by_clock = completion->time.type == TIME_TIMESTAMPTZ;
        completion->per_second = time_type_is_integer(completion->time.type) ? 0 : 1000000;
        status = look_first(spec, &sides, completion, &window, error);
    }
    if (status == STATUS_OK)
        status = watch(spec, &sides, completion, error);
    if (status == STATUS_OK)
        status = look_further(spec, &sides, completion, &window, error);
    if (status == STATUS_OK) {
        completion_look_end(&sides);
        keep(spec, &sides, completion);
    }
    sides_close(&sides);
    return status;
}

void completion_reset(struct completion *completion)
{
    free(completion->buckets);
    completion->buckets = NULL;
    completion->count = 0;
}
