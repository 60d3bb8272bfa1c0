/* Values of the time column: reading them as the server does. timevalue_format.c writes them. */
#include "engine/timevalue_private.h"

#include <assert.h>
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND INT64_C(1000000)

#define DAYS_END (TIME_END / TIME_DAY)
#define YEAR_MIN (-4713) /* 4714 BC */

#define EPOCH_2000 INT64_C(946684800000000)
#define ZONE_SECONDS_MAX (7 * 86400)

/* Digits after the point. The server refuses somewhat over 100, depending on what else is in the text. */
#define FRACTION_DIGITS_MAX 40
#define DIGITS_EXACT_MAX 15

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The server's isspace in the C locale. */
static ALWAYS_INLINE bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static ALWAYS_INLINE void blanks_skip(struct cursor *cursor)
{
    while (cursor->at < cursor->end && is_blank(*cursor->at))
        cursor->at++;
}

static ALWAYS_INLINE bool char_is(const struct cursor *cursor, char c)
{
    return cursor->at < cursor->end && *cursor->at == c;
}

static ALWAYS_INLINE bool char_skip(struct cursor *cursor, char c)
{
    if (!char_is(cursor, c))
        return false;
    cursor->at++;
    return true;
}

static ALWAYS_INLINE uint32_t digit_of(char c)
{
    return (uint32_t)(unsigned char)c - '0';
}

static ALWAYS_INLINE bool digit_is(const struct cursor *cursor)
{
    return cursor->at < cursor->end && digit_of(*cursor->at) <= 9;
}

static ALWAYS_INLINE bool two_read(struct cursor *cursor, uint32_t *value)
{
    uint32_t tens, ones;

    if (cursor->end - cursor->at < 2)
        return false;
    tens = digit_of(cursor->at[0]);
    ones = digit_of(cursor->at[1]);
    if (tens > 9 || ones > 9)
        return false;
    *value = tens * 10 + ones;
    cursor->at += 2;
    return true;
}

static ALWAYS_INLINE bool date_read(struct cursor *cursor, struct fields *fields)
{
    uint32_t century, rest;

    if (!two_read(cursor, &century) || !two_read(cursor, &rest))
        return false;
    fields->year = century * 100 + rest;
    for (int more = 0; more < 2 && digit_is(cursor); more++)
        fields->year = fields->year * 10 + digit_of(*cursor->at++);
    return char_skip(cursor, '-') && two_read(cursor, &fields->month) && char_skip(cursor, '-') &&
           two_read(cursor, &fields->day);
}

/* As ParseFractionalSecond: rint(strtod(".ddd") * 1e6). */
static __attribute__((noinline)) bool fraction_as_double(const char *digits, size_t count, uint32_t *micros)
{
    char text[FRACTION_DIGITS_MAX + 2];
    double fraction;
    char *end;

    if (count > FRACTION_DIGITS_MAX)
        return false;
    text[0] = '.';
    memcpy(text + 1, digits, count);
    text[count + 1] = '\0';
    fraction = strtod(text, &end);
    *micros = (uint32_t)rint(fraction * 1e6);
    /* In a locale whose point is a comma strtod stops at once. */
    return *end == '\0';
}

/*
 * The digits behind the sixth. The server's doubles are off by less than 2.3e-10 microseconds, so up to 15 digits
 * only a tie can come out otherwise than by whole numbers.
 */
static ALWAYS_INLINE bool fraction_round(struct cursor *cursor, const char *digits, uint32_t *micros)
{
    uint64_t rest = 0, scale = 1;
    size_t count = 6;

    for (; digit_is(cursor); cursor->at++, count++)
        if (count < DIGITS_EXACT_MAX) {
            rest = rest * 10 + digit_of(*cursor->at);
            scale *= 10;
        }
    if (count > DIGITS_EXACT_MAX || rest * 2 == scale)
        return fraction_as_double(digits, count, micros);
    *micros += rest * 2 > scale;
    return true;
}

/* Digits after the second's point: at least one. */
static ALWAYS_INLINE bool fraction_read(struct cursor *cursor, uint32_t *micros)
{
    static const uint32_t scales[] = {0, 100000, 10000, 1000, 100, 10, 1};
    const char *digits = cursor->at;
    uint32_t value = 0;
    size_t count = 0;

    for (; count < 6 && digit_is(cursor); cursor->at++, count++)
        value = value * 10 + digit_of(*cursor->at);
    *micros = value * scales[count];
    return digit_is(cursor) ? fraction_round(cursor, digits, micros) : count > 0;
}

/* HH:MM[:SS[.digits]] */
static ALWAYS_INLINE bool clock_read(struct cursor *cursor, struct fields *fields)
{
    if (!two_read(cursor, &fields->hour) || !char_skip(cursor, ':') || !two_read(cursor, &fields->minute))
        return false;
    if (!char_skip(cursor, ':'))
        return true;
    if (!two_read(cursor, &fields->second))
        return false;
    return !char_skip(cursor, '.') || fraction_read(cursor, &fields->micros);
}

bool time_fraction_read(struct cursor *cursor, uint32_t *micros)
{
    return fraction_read(cursor, micros);
}

static ALWAYS_INLINE bool zone_begins(const struct cursor *cursor)
{
    char c = cursor->at < cursor->end ? *cursor->at : '\0';

    return c == '+' || c == '-' || c == 'Z' || c == 'z';
}

/* Z, +HH, +HHMM, +HH:MM, +HH:MM:SS */
static ALWAYS_INLINE bool zone_read(struct cursor *cursor, struct fields *fields)
{
    char sign = *cursor->at++;

    fields->zone = true;
    if (sign == 'Z' || sign == 'z')
        return true;
    fields->zone_west = sign == '-';
    if (!two_read(cursor, &fields->zone_hour))
        return false;
    if (!char_skip(cursor, ':'))
        return !digit_is(cursor) || two_read(cursor, &fields->zone_minute);
    if (!two_read(cursor, &fields->zone_minute))
        return false;
    return !char_skip(cursor, ':') || two_read(cursor, &fields->zone_second);
}

bool time_zone_read(struct cursor *cursor, struct fields *fields)
{
    return zone_begins(cursor) && zone_read(cursor, fields);
}

/* " BC" or nothing, then the end. */
static ALWAYS_INLINE bool tail_read(struct cursor *cursor, struct fields *fields)
{
    blanks_skip(cursor);
    if (cursor->at == cursor->end)
        return true;
    fields->bc = true;
    return is_blank(cursor->at[-1]) && cursor->end - cursor->at == 2 && strncasecmp(cursor->at, "BC", 2) == 0;
}

/* What, added to the difference from DAY_FORM or CLOCK_FORM, shows above the low half of a byte what is not in the
 * form: 6 for a digit, 15 for what is between. */
#define DAY_FORM "0000-00-"
#define DAY_BEYOND UINT64_C(0x0f06060f06060606)
#define CLOCK_FORM "00:00:00"
#define CLOCK_BEYOND UINT64_C(0x06060f06060f0606)

/* Eight bytes as numbers of two digits, each at the place of its first; false if they are not of the form. */
static ALWAYS_INLINE bool pairs_read(const char *text, const char *form, uint64_t beyond, uint64_t *pairs)
{
    uint64_t bytes, zeros;

    memcpy(&bytes, text, sizeof bytes);
    memcpy(&zeros, form, sizeof zeros);
    bytes = le64toh(bytes ^ zeros);
    *pairs = bytes * 10 + (bytes >> 8);
    return ((bytes | (bytes + beyond)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) == 0;
}

/* Of the pair that begins in the i-th byte. */
static ALWAYS_INLINE uint32_t pair_of(uint64_t pairs, int i)
{
    return (uint32_t)(pairs >> (8 * i) & 0xff);
}

/* YYYY-MM-DD, T or a blank, HH:MM:SS, as most exports have it; else nothing is read. */
static ALWAYS_INLINE bool usual_read(struct cursor *cursor, struct fields *fields)
{
    const char *text = cursor->at;
    struct cursor day = {text + 8, text + 10};
    uint64_t date, clock;

    if (cursor->end - text < 19 || !pairs_read(text, DAY_FORM, DAY_BEYOND, &date) ||
        !pairs_read(text + 11, CLOCK_FORM, CLOCK_BEYOND, &clock))
        return false;
    if ((text[10] != 'T' && text[10] != 't' && !is_blank(text[10])) || !two_read(&day, &fields->day))
        return false;
    fields->year = pair_of(date, 0) * 100 + pair_of(date, 2);
    fields->month = pair_of(date, 5);
    fields->hour = pair_of(clock, 0);
    fields->minute = pair_of(clock, 3);
    fields->second = pair_of(clock, 6);
    cursor->at += 19;
    return true;
}

static ALWAYS_INLINE bool day_and_clock_read(struct cursor *cursor, struct fields *fields)
{
    const char *day_end;

    if (usual_read(cursor, fields))
        return !char_skip(cursor, '.') || fraction_read(cursor, &fields->micros);
    if (!date_read(cursor, fields))
        return false;
    day_end = cursor->at;
    if (char_skip(cursor, 'T') || char_skip(cursor, 't'))
        return clock_read(cursor, fields);
    /* ParseDateTime takes a minus right behind the day as part of the date. */
    if (char_is(cursor, '-'))
        return false;
    blanks_skip(cursor);
    return cursor->at == day_end || !digit_is(cursor) || clock_read(cursor, fields);
}

static ALWAYS_INLINE bool fields_read(struct cursor *cursor, struct fields *fields)
{
    if (!day_and_clock_read(cursor, fields))
        return false;
    blanks_skip(cursor);
    if (zone_begins(cursor) && !zone_read(cursor, fields))
        return false;
    return tail_read(cursor, fields);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* ValidateDate. `year` counts 1 BC as 0. */
static ALWAYS_INLINE bool date_exists(const struct fields *fields, int64_t year)
{
    static const uint8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (fields->year == 0 || fields->month == 0 || fields->month > 12 || fields->day == 0)
        return false;
    return fields->day <= days[fields->month] || (fields->month == 2 && fields->day == 29 && is_leap(year));
}

/* time_overflows: 24:00:00 and second 60 are taken as long as they do not lead past the day's end. */
static ALWAYS_INLINE bool clock_exists(const struct fields *fields, int64_t clock)
{
    return fields->minute <= 59 && fields->second <= 60 && clock <= TIME_DAY;
}

/* DecodeTimezone. */
static ALWAYS_INLINE bool zone_exists(const struct fields *fields)
{
    return fields->zone_hour <= 15 && fields->zone_minute <= 59 && fields->zone_second <= 59;
}

static ALWAYS_INLINE int64_t clock_of(const struct fields *fields)
{
    return (int64_t)((fields->hour * 60 + fields->minute) * 60 + fields->second) * SECOND + fields->micros;
}

/* Days since 1970-01-01. Years begin in March, and are counted from 4801 BC so as not to be negative. */
static ALWAYS_INLINE int64_t days_from_civil(int64_t year, uint32_t month, uint32_t day)
{
    uint32_t years = (uint32_t)(year + 4800) - (month <= 2);
    uint32_t months = month > 2 ? month - 3 : month + 9;
    uint32_t days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day;

    return (int64_t)days - 1 - 719468 - 12 * 146097;
}

/* AdjustTimestampForTypmod: half away from zero, where zero is the year 2000. */
static int64_t precision_apply(int64_t value, int precision)
{
    static const int64_t scales[] = {1000000, 100000, 10000, 1000, 100, 10};
    int64_t scale, since_2000 = value - EPOCH_2000;

    if (precision < 0 || precision > 5)
        return value;
    scale = scales[precision];
    if (since_2000 >= 0)
        return (since_2000 + scale / 2) / scale * scale + EPOCH_2000;
    return -((-since_2000 + scale / 2) / scale * scale) + EPOCH_2000;
}

static ALWAYS_INLINE bool instant_in_range(int64_t value)
{
    return value >= TIME_MIN && value < TIME_END;
}

static ALWAYS_INLINE int64_t zone_of(const struct time_column *column, const struct fields *fields)
{
    int64_t seconds;

    if (!fields->zone)
        return column->zone_seconds;
    seconds = (int64_t)((fields->zone_hour * 60 + fields->zone_minute) * 60 + fields->zone_second);
    return fields->zone_west ? -seconds : seconds;
}

static ALWAYS_INLINE enum time_problem instant_make(const struct time_column *column, const struct fields *fields,
                                                    int64_t *value)
{
    int64_t year = fields->bc ? 1 - (int64_t)fields->year : (int64_t)fields->year;
    int64_t clock = clock_of(fields);
    int64_t days, instant;

    if (year < YEAR_MIN || !date_exists(fields, year) || !clock_exists(fields, clock) || !zone_exists(fields))
        return TIME_OUT_OF_RANGE;
    /* The last day may still come back into the range by its zone. */
    days = days_from_civil(year, fields->month, fields->day);
    if (days > DAYS_END)
        return TIME_OUT_OF_RANGE;
    instant = days * TIME_DAY;
    if (column->type != TIME_DATE)
        instant += clock;
    if (column->type == TIME_TIMESTAMPTZ) {
        if (!fields->zone && !column->zone_given)
            return TIME_NO_ZONE;
        instant -= zone_of(column, fields) * SECOND;
    }
    if (!instant_in_range(instant))
        return TIME_OUT_OF_RANGE;
    if (column->type != TIME_DATE)
        instant = precision_apply(instant, column->precision);
    *value = instant;
    return instant_in_range(instant) ? TIME_FINE : TIME_OUT_OF_RANGE;
}

enum time_problem time_instant_make(const struct time_column *column, const struct fields *fields, int64_t *value)
{
    return instant_make(column, fields, value);
}

enum time_problem time_instant_take(const struct time_column *column, int64_t instant, int64_t *value)
{
    if (column->type != TIME_TIMESTAMPTZ && column->zone_given)
        instant += column->zone_seconds * SECOND;
    if (!instant_in_range(instant))
        return TIME_OUT_OF_RANGE;
    if (column->type == TIME_DATE)
        instant -= (instant % TIME_DAY + TIME_DAY) % TIME_DAY;
    else
        instant = precision_apply(instant, column->precision);
    *value = instant;
    return instant_in_range(instant) ? TIME_FINE : TIME_OUT_OF_RANGE;
}

static bool is_infinity(const char *text, size_t size)
{
    if (size > 0 && (*text == '-' || *text == '+')) {
        text++;
        size--;
    }
    return size == strlen("infinity") && strncasecmp(text, "infinity", size) == 0;
}

static enum time_problem instant_parse(const struct time_column *column, struct cursor cursor, int64_t *value)
{
    const char *text = cursor.at;
    struct fields fields = {0};

    assert(column->zone_seconds >= -ZONE_SECONDS_MAX && column->zone_seconds <= ZONE_SECONDS_MAX);
    if (fields_read(&cursor, &fields))
        return instant_make(column, &fields, value);
    cursor.at = text;
    if (time_fields_read_loosely(cursor, &fields))
        return instant_make(column, &fields, value);
    return is_infinity(text, (size_t)(cursor.end - text)) ? TIME_INFINITE : TIME_UNREADABLE;
}

static bool integer_in_range(enum time_type type, int64_t value)
{
    switch (type) {
    case TIME_INT2: return value >= INT16_MIN && value <= INT16_MAX;
    case TIME_INT4: return value >= INT32_MIN && value <= INT32_MAX;
    default: return true;
    }
}

static enum time_problem integer_parse(enum time_type type, struct cursor cursor, int64_t *value)
{
    bool negative = char_is(&cursor, '-');
    bool overflow = false;
    int64_t result = 0;

    if (!char_skip(&cursor, '-'))
        char_skip(&cursor, '+');
    if (!digit_is(&cursor))
        return TIME_UNREADABLE;
    for (; digit_is(&cursor); cursor.at++) {
        int64_t digit = digit_of(*cursor.at);

        overflow |= __builtin_mul_overflow(result, 10, &result);
        overflow |= __builtin_add_overflow(result, negative ? -digit : digit, &result);
    }
    if (cursor.at != cursor.end)
        return TIME_UNREADABLE;
    if (overflow || !integer_in_range(type, result))
        return TIME_OUT_OF_RANGE;
    *value = result;
    return TIME_FINE;
}

enum time_problem time_parse(const struct time_column *column, const char *text, size_t size, int64_t *value)
{
    struct cursor cursor = {.at = text, .end = text + size};

    blanks_skip(&cursor);
    while (cursor.end > cursor.at && is_blank(cursor.end[-1]))
        cursor.end--;
    if (cursor.at == cursor.end)
        return TIME_EMPTY;
    if (time_type_is_integer(column->type))
        return integer_parse(column->type, cursor, value);
    if (column->form != TIME_FORM_ISO)
        return time_form_parse(column, cursor, value);
    return instant_parse(column, cursor, value);
}

const char *time_problem_text(enum time_problem problem)
{
    switch (problem) {
    case TIME_FINE: return "is fine";
    case TIME_EMPTY: return "is empty: every row needs a time";
    case TIME_UNREADABLE:
        return "is not a time that can be read: write it like 2024-01-31 12:00:00.5+00, or as a whole number for an "
               "integer column";
    case TIME_NO_ZONE: return "has no time zone: write one behind it, like 2024-01-31 12:00:00+00, or name the zone";
    case TIME_INFINITE: return "is infinite: no chunk holds it, write a time";
    case TIME_OUT_OF_RANGE: return "does not exist, or is outside of what the column's type holds";
    }
    return "is not known";
}

static const char *const type_names[] = {
    [TIME_TIMESTAMPTZ] = "timestamptz",
    [TIME_TIMESTAMP] = "timestamp",
    [TIME_DATE] = "date",
    [TIME_INT2] = "int2",
    [TIME_INT4] = "int4",
    [TIME_INT8] = "int8",
};

const char *time_type_sql(enum time_type type)
{
    return type_names[type];
}

bool time_type_from_name(const char *name, enum time_type *type)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(name, type_names[i]) == 0) {
            *type = (enum time_type)i;
            return true;
        }
    return false;
}

bool time_type_is_integer(enum time_type type)
{
    return type == TIME_INT2 || type == TIME_INT4 || type == TIME_INT8;
}

int64_t time_type_unit(enum time_type type)
{
    return type == TIME_DATE ? TIME_DAY : 1;
}
