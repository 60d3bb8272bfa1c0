/*
 * Values of the time column as one number, as TimescaleDB keeps them.
 *
 * timestamptz, timestamp and date are microseconds since 1970-01-01 00:00 UTC (timestamp and date are taken as if
 * they were UTC); integers are themselves. Texts are read exactly as the server would read them or not at all: what
 * the reader here does not know is TIME_UNREADABLE, never a guess. Rules follow the server's DecodeDateTime,
 * ParseFractionalSecond and AdjustTimestampForTypmod.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum time_type { TIME_TIMESTAMPTZ, TIME_TIMESTAMP, TIME_DATE, TIME_INT2, TIME_INT4, TIME_INT8 };

/* How the texts are written: as the server reads them itself, or as timeform.c does. */
enum time_form {
    TIME_FORM_ISO,
    TIME_FORM_EPOCH,
    TIME_FORM_EPOCH_MS,
    TIME_FORM_EPOCH_US,
    TIME_FORM_EPOCH_NS,
    TIME_FORM_PATTERN
};

struct time_column {
    enum time_type type;
    int precision;        /* digits kept after the second's point, 0..6; -1: all six */
    bool zone_given;      /* texts without a zone are in `zone_seconds`; else a timestamptz needs one */
    int32_t zone_seconds; /* east of Greenwich */
    enum time_form form;
    const char *pattern; /* of TIME_FORM_PATTERN; checked by time_form_read */
};

enum time_problem {
    TIME_FINE,
    TIME_EMPTY,        /* nothing but blanks */
    TIME_UNREADABLE,   /* not in a form that is read here */
    TIME_NO_ZONE,      /* a timestamptz without a zone, and no zone was given */
    TIME_INFINITE,     /* infinity, -infinity */
    TIME_OUT_OF_RANGE, /* no such day, or outside what the type holds */
};

#define TIME_TEXT_MAX 64
#define TIME_DAY INT64_C(86400000000)

/* What TimescaleDB holds of time types (time_utils.h): its end is 30 years before the server's, to fit from 1970 on. */
#define TIME_MIN INT64_C(-210866803200000000)
#define TIME_END INT64_C(9223371331200000000)

/*
 * Reads `size` bytes. Accepts blanks around; for time types ISO 8601 as `YYYY-MM-DD`, then optionally `T`, `t` or
 * blanks and `HH:MM[:SS[.digits]]` (24:00:00 and second 60 as the server takes them), then optionally blanks and a
 * zone `Z`, `+HH`, `+HHMM`, `+HH:MM`, `+HH:MM:SS`, then optionally ` BC`. Years of 4 to 6 digits, up to 40 digits
 * behind the point. A zone on a timestamp or date is read and ignored, as the server does. Also, more slowly: the basic
 * form `YYYYMMDD[THHMM[SS[.digits]]]`, slashes in the date, single digits of month, day and hour, `UTC` or `GMT` as the
 * zone. Integers: optional sign and decimal digits. Other forms: see timeform.h. On the path of every row: no
 * allocation.
 */
enum time_problem time_parse(const struct time_column *column, const char *text, size_t size, int64_t *value);

/* What is wrong and what to write instead, as a phrase: "is not a time that can be read: write …". */
const char *time_problem_text(enum time_problem problem);

/*
 * Writes the value as a literal's content for the server (`2024-01-01 00:00:00+00`, `-5`; BC years get ` BC`). For time
 * types INT64_MAX is `infinity` and what lies before TIME_MIN `-infinity`: right as the bounds of a range.
 */
const char *time_format(enum time_type type, int64_t value, char buffer[TIME_TEXT_MAX]);

/* SQL name of the type ("timestamptz"), and its reverse from pg_type's name ("timestamptz", "int8", ...). */
const char *time_type_sql(enum time_type type);
bool time_type_from_name(const char *name, enum time_type *type);
bool time_type_is_integer(enum time_type type);

/* Smallest step between two values: 1, or a day for date. Ranges are multiples of it. */
int64_t time_type_unit(enum time_type type);

/*
 * Reads the length of an interval in the column's unit: "6h", "1 day", "15 minutes", "30s", "1 week"; a bare number
 * for integer columns. False if it cannot be read, is not positive, or is no multiple of the unit.
 */
bool time_interval_parse(enum time_type type, const char *text, int64_t *interval);

/* Writes an interval for people: "6h", "1d", "1000000". */
const char *time_interval_format(enum time_type type, int64_t interval, char buffer[TIME_TEXT_MAX]);
