/* The zones that the buckets show, and the completion point within them. */
#include "engine/method/completion.h"

#include <inttypes.h>
#include <stdio.h>

/* A zone that is shorter has no room for a margin on both sides. */
#define ZONE_STEPS_MIN 4
/* So many buckets with as many rows on both sides, but other ones, are no accident. */
#define UNLIKE_MIN 3

const char completion_legend[] = "< missing in the target   ! different   = equal   ~ late   . no rows on either side"
                                 "   T completion point";

static int64_t floor_to(int64_t value, int64_t step)
{
    int64_t rest = value % step;

    return value - (rest < 0 ? rest + step : rest);
}

static int64_t bucket_lo(const struct completion *completion, size_t index)
{
    return completion->lo + (int64_t)index * completion->step;
}

static bool same_side(const struct completion_side *one, const struct completion_side *other)
{
    return one->rows == other->rows && one->hash == other->hash;
}

static bool is_changed(const struct completion_bucket *bucket)
{
    return !same_side(&bucket->source[0], &bucket->source[1]) || !same_side(&bucket->target[0], &bucket->target[1]);
}

/* Of the second look. */
static enum bucket_state state_of(const struct completion_bucket *bucket)
{
    const struct completion_side *source = &bucket->source[1], *target = &bucket->target[1];

    if (source->rows == 0 && target->rows == 0)
        return BUCKET_EMPTY;
    if (same_side(source, target))
        return BUCKET_EQUAL;
    return target->rows < source->rows ? BUCKET_MISSING : BUCKET_DIFFERENT;
}

/*
 * Rows as late as one that was seen may come again, so the zone of late data begins at the oldest bucket that has
 * changed. It has at least the bucket that was filling at the first look and the one before it.
 */
static void judge_lateness(struct completion *completion)
{
    int64_t now = completion->now[0];

    completion->late_lo = floor_to(now - completion->lo, completion->step) + completion->lo - completion->step;
    completion->lateness = completion->late_rows = 0;
    for (size_t i = 0; i < completion->count && bucket_lo(completion, i) + completion->step <= now; i++) {
        const struct completion_bucket *bucket = &completion->buckets[i];

        if (!is_changed(bucket))
            continue;
        if (bucket->source[1].rows > bucket->source[0].rows)
            completion->late_rows += bucket->source[1].rows - bucket->source[0].rows;
        if (completion->lateness > 0)
            continue;
        completion->lateness = completion->now[1] - bucket_lo(completion, i);
        if (bucket_lo(completion, i) < completion->late_lo)
            completion->late_lo = bucket_lo(completion, i);
    }
}

/* Downwards from the late data, as long as nothing differs; then both ends are drawn in to buckets with rows. */
static void judge_zone(struct completion *completion)
{
    size_t first = 0, end = 0, begin;

    while (end < completion->count && bucket_lo(completion, end) < completion->late_lo)
        end++;
    begin = end;
    while (begin > 0 && (completion->buckets[begin - 1].state == BUCKET_EQUAL ||
                         completion->buckets[begin - 1].state == BUCKET_EMPTY))
        begin--;
    completion->begin_seen = begin > 0;
    first = begin;
    while (first < end && completion->buckets[first].state == BUCKET_EMPTY)
        first++;
    while (end > first && completion->buckets[end - 1].state == BUCKET_EMPTY)
        end--;
    completion->zone_lo = bucket_lo(completion, first);
    completion->zone_hi = bucket_lo(completion, end);
    if (first == end)
        completion->zone_lo = completion->zone_hi = bucket_lo(completion, begin);
}

/* When a zone that begins where this one does is long enough, if nothing comes later than what was seen. */
static void judge_again(struct completion *completion)
{
    int64_t late = completion->lateness > 2 * completion->step ? completion->lateness : 2 * completion->step;
    int64_t now = completion->now[1], again = completion->zone_lo + ZONE_STEPS_MIN * completion->step + late;

    completion->look_again = again > now ? again : now + ZONE_STEPS_MIN * completion->step;
}

static enum completion_verdict verdict_of(const struct completion *completion)
{
    size_t source = 0, target = 0, equal = 0, unlike = 0, both = 0;

    for (size_t i = 0; i < completion->count; i++) {
        const struct completion_bucket *bucket = &completion->buckets[i];

        source += bucket->source[1].rows > 0;
        target += bucket->target[1].rows > 0;
        equal += bucket->state == BUCKET_EQUAL;
        both += bucket->state != BUCKET_LATE && bucket->source[1].rows > 0 && bucket->target[1].rows > 0;
        unlike += bucket->state == BUCKET_DIFFERENT && bucket->source[1].rows == bucket->target[1].rows;
    }
    if (source == 0 && target == 0)
        return COMPLETION_EMPTY;
    if (completion->zone_hi - completion->zone_lo >= ZONE_STEPS_MIN * completion->step)
        return COMPLETION_FOUND;
    if (target == 0)
        return COMPLETION_NOT_BEGUN;
    return equal == 0 && unlike >= UNLIKE_MIN && 2 * unlike > both ? COMPLETION_UNLIKE : COMPLETION_TOO_SOON;
}

void completion_judge(struct completion *completion)
{
    int64_t margin;

    judge_lateness(completion);
    for (size_t i = 0; i < completion->count; i++) {
        struct completion_bucket *bucket = &completion->buckets[i];

        bucket->state = state_of(bucket);
        if (bucket_lo(completion, i) >= completion->late_lo && bucket->state != BUCKET_EMPTY)
            bucket->state = BUCKET_LATE;
    }
    judge_zone(completion);
    judge_again(completion);
    completion->verdict = verdict_of(completion);
    if (completion->verdict != COMPLETION_FOUND)
        return;
    margin = (completion->zone_hi - completion->zone_lo) / 4;
    completion->until = completion_round(completion, completion->zone_lo + margin, completion->zone_hi - margin);
}

int64_t completion_round(const struct completion *completion, int64_t lo, int64_t hi)
{
    static const int seconds[] = {86400, 21600, 3600, 1800, 900, 600, 300, 60, 30, 10, 5, 1};

    for (size_t i = 0; completion->per_second > 0 && i < sizeof seconds / sizeof *seconds; i++) {
        int64_t unit = seconds[i] * completion->per_second;

        if (floor_to(hi, unit) >= lo)
            return floor_to(hi, unit);
    }
    for (int64_t unit = INT64_C(1000000000000); unit > 1 && completion->per_second == 0; unit /= 10)
        if (floor_to(hi, unit) >= lo)
            return floor_to(hi, unit);
    return lo + floor_to(hi - lo, time_type_unit(completion->time.type));
}

char completion_character(const struct completion *completion, size_t index)
{
    static const char characters[] = {
        [BUCKET_EMPTY] = '.', [BUCKET_MISSING] = '<', [BUCKET_DIFFERENT] = '!',
        [BUCKET_EQUAL] = '=', [BUCKET_LATE] = '~',
    };
    int64_t lo = bucket_lo(completion, index);

    if (completion->verdict == COMPLETION_FOUND && completion->until >= lo && completion->until < lo + completion->step)
        return 'T';
    return characters[completion->buckets[index].state];
}

const char *completion_length(const struct completion *completion, int64_t length, char buffer[TIME_TEXT_MAX])
{
    double seconds = completion->per_second > 0 ? (double)length / (double)completion->per_second : 0;

    if (completion->per_second == 0)
        snprintf(buffer, TIME_TEXT_MAX, "%" PRId64, length);
    else if (seconds < 120)
        snprintf(buffer, TIME_TEXT_MAX, "%.0f s", seconds);
    else if (seconds < 7200)
        snprintf(buffer, TIME_TEXT_MAX, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        snprintf(buffer, TIME_TEXT_MAX, "%.1f h", seconds / 3600);
    else
        snprintf(buffer, TIME_TEXT_MAX, "%.1f days", seconds / 86400);
    return buffer;
}

static enum status tell_too_soon(const struct completion *completion, struct error *error)
{
    char at[TIME_TEXT_MAX], in[TIME_TEXT_MAX], have[TIME_TEXT_MAX], want[TIME_TEXT_MAX], what[3 * TIME_TEXT_MAX];
    const char *moment = time_format(completion->time.type, completion->look_again, at);
    int64_t length = completion->zone_hi - completion->zone_lo;

    snprintf(what, sizeof what, "there is no consistent zone yet");
    if (length > 0)
        snprintf(what, sizeof what, "the consistent zone is too short yet (%s; %s are needed)",
                 completion_length(completion, length, have),
                 completion_length(completion, ZONE_STEPS_MIN * completion->step, want));
    completion_length(completion, completion->look_again - completion->now[1], in);
    if (completion->by_clock)
        return error_set(error, STATUS_DATA,
                         "%s; look again at %s (in %s), when the first buckets that are in both are older than the"
                         " lateness seen",
                         what, moment, in);
    return error_set(error, STATUS_DATA, "%s; look again when rows of %s have come (now the newest are %s older)", what,
                     moment, in);
}

enum status completion_status(const struct completion *completion, struct error *error)
{
    char newest[TIME_TEXT_MAX];

    switch (completion->verdict) {
    case COMPLETION_FOUND: return STATUS_OK;
    case COMPLETION_EMPTY:
        error_set(
            error, STATUS_DATA,
            "no side has rows in the window, so nothing is known about dual writes: give a longer --window, or look"
            " again when rows are written");
        if (completion->newest != INT64_MIN)
            error_hint(error, "; the newest row of the source is of %s",
                       time_format(completion->time.type, completion->newest, newest));
        return error->status;
    case COMPLETION_NOT_BEGUN:
        return error_set(error, STATUS_DATA,
                         "the target has no row of the window: dual writes have not begun; start them, and look again"
                         " some minutes after the last writer did");
    case COMPLETION_UNLIKE:
        return error_set(error, STATUS_DATA,
                         "both sides have as many rows, but never the same ones: leave out columns that each side fills"
                         " by itself, such as serial numbers, by naming the others with --columns");
    case COMPLETION_TOO_SOON: break;
    }
    return tell_too_soon(completion, error);
}
