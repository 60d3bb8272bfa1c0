/* Times, as engine/timevalue.c reads them. */
#include "writers/transcode_private.h"

#include <strings.h>

/* The server counts from 2000-01-01. */
#define EPOCH_2000 INT64_C(946684800000000)

static bool is_infinity(const char *text, size_t size, bool *negative)
{
    trim_spaces(&text, &size);
    *negative = size > 0 && *text == '-';
    text += *negative;
    size -= *negative;
    return size == 8 && strncasecmp(text, "infinity", 8) == 0;
}

/* The type modifier is left to the server, which rounds in both formats (AdjustTimestampForTypmod). */
static enum time_problem read_time(enum time_type type, const struct transcode_zone *zone, const char *text,
                                   size_t size, int64_t *value)
{
    const struct time_column column = {
        .type = type, .precision = -1, .zone_given = zone->given, .zone_seconds = zone->seconds};

    return time_parse(&column, text, size, value);
}

static char *put_instant(enum time_type type, const struct transcode_zone *zone, char *at, const char *text,
                         size_t size)
{
    int64_t value = 0;
    bool negative;

    switch (read_time(type, zone, text, size, &value)) {
    case TIME_FINE: value -= EPOCH_2000; break;
    case TIME_INFINITE:
        if (!is_infinity(text, size, &negative))
            return NULL;
        value = negative ? INT64_MIN : INT64_MAX;
        break;
    default: return NULL;
    }
    return put_int64(put_int32(at, 8), value);
}

TRANSCODE_VALUE(transcode_timestamptz)
{
    return put_instant(TIME_TIMESTAMPTZ, zone, at, text, size);
}

TRANSCODE_VALUE(transcode_timestamp)
{
    return put_instant(TIME_TIMESTAMP, zone, at, text, size);
}

TRANSCODE_VALUE(transcode_date)
{
    int64_t value = 0;
    int32_t days;
    bool negative;

    switch (read_time(TIME_DATE, zone, text, size, &value)) {
    case TIME_FINE: days = (int32_t)((value - EPOCH_2000) / TIME_DAY); break;
    case TIME_INFINITE:
        if (!is_infinity(text, size, &negative))
            return NULL;
        days = negative ? INT32_MIN : INT32_MAX;
        break;
    default: return NULL;
    }
    return put_int32(put_int32(at, 4), days);
}
