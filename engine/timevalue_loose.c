/* Reading other spellings of ISO 8601, and epochs. Off the fast path. */
#include <string.h>
#include <strings.h>

#include "engine/timevalue_private.h"

#define SECOND INT64_C(1000000)

/* ---- Parts of a text ---- */

bool time_is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool time_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool time_blanks_skip(struct cursor *cursor)
{
    const char *before = cursor->at;

    while (cursor->at < cursor->end && time_is_blank(*cursor->at))
        cursor->at++;
    return cursor->at > before;
}

bool time_char_skip(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

/* From `least` to `most` digits. */
bool time_number_read(struct cursor *cursor, int least, int most, uint32_t *value)
{
    int count = 0;

    *value = 0;
    for (; count < most && cursor->at < cursor->end && time_is_digit(*cursor->at); count++)
        *value = *value * 10 + (uint32_t)(*cursor->at++ - '0');
    return count >= least;
}

size_t time_digits_ahead(const struct cursor *cursor)
{
    size_t count = 0;

    while (cursor->at + count < cursor->end && time_is_digit(cursor->at[count]))
        count++;
    return count;
}

/* Takes the first of the words that the text goes on with; its index, or -1. */
int time_word_read(struct cursor *cursor, const char *const words[], int count)
{
    for (int i = 0; i < count; i++) {
        size_t size = strlen(words[i]);

        if ((size_t)(cursor->end - cursor->at) >= size && strncasecmp(cursor->at, words[i], size) == 0) {
            cursor->at += size;
            return i;
        }
    }
    return -1;
}

/* ---- Other spellings of ISO 8601 ---- */

const char *const time_utc_words[3] = {"UTC", "GMT", "Z"};

/* YYYYMMDD, or YYYY-M-D with dashes or slashes. */
static bool loose_date(struct cursor *cursor, struct fields *fields, bool *basic)
{
    char separator;

    *basic = time_digits_ahead(cursor) == 8;
    if (*basic)
        return time_number_read(cursor, 4, 4, &fields->year) && time_number_read(cursor, 2, 2, &fields->month) &&
               time_number_read(cursor, 2, 2, &fields->day);
    if (time_digits_ahead(cursor) != 4 || !time_number_read(cursor, 4, 4, &fields->year) || cursor->at == cursor->end)
        return false;
    separator = *cursor->at++;
    return (separator == '-' || separator == '/') && time_number_read(cursor, 1, 2, &fields->month) &&
           time_char_skip(cursor, separator) && time_number_read(cursor, 1, 2, &fields->day) &&
           time_digits_ahead(cursor) == 0;
}

/* HHMM[SS[.digits]] behind a T, or H:MM[:SS[.digits]]. */
static bool loose_clock(struct cursor *cursor, struct fields *fields, bool behind_t)
{
    size_t digits = time_digits_ahead(cursor);
    bool seconds;

    if (behind_t && (digits == 4 || digits == 6)) {
        seconds = digits == 6;
        if (!time_number_read(cursor, 2, 2, &fields->hour) || !time_number_read(cursor, 2, 2, &fields->minute) ||
            (seconds && !time_number_read(cursor, 2, 2, &fields->second)))
            return false;
    } else {
        if (!time_number_read(cursor, 1, 2, &fields->hour) || !time_char_skip(cursor, ':') ||
            !time_number_read(cursor, 2, 2, &fields->minute))
            return false;
        seconds = time_char_skip(cursor, ':');
        if (seconds && !time_number_read(cursor, 2, 2, &fields->second))
            return false;
    }
    if (time_digits_ahead(cursor) > 0)
        return false;
    return !seconds || !time_char_skip(cursor, '.') || time_fraction_read(cursor, &fields->micros);
}

/* ParseDateTime takes a minus behind bare digits for that of a date, and so cuts a zone with colons in two. */
static bool cuts_zone(const char *clock, const struct cursor *cursor)
{
    size_t size = (size_t)(cursor->at - clock), left = (size_t)(cursor->end - cursor->at);

    return left > 0 && *cursor->at == '-' && memchr(cursor->at, ':', left) != NULL &&
           memchr(clock, ':', size) == NULL && memchr(clock, '.', size) == NULL;
}

bool time_fields_read_loosely(struct cursor cursor, struct fields *fields)
{
    bool basic, clock = false, behind_t;
    const char *clock_begin;

    *fields = (struct fields){0};
    if (!loose_date(&cursor, fields, &basic))
        return false;
    behind_t = time_char_skip(&cursor, 'T') || time_char_skip(&cursor, 't');
    if (behind_t || (time_blanks_skip(&cursor) && time_digits_ahead(&cursor) > 0)) {
        clock = true;
        clock_begin = cursor.at;
        if (!loose_clock(&cursor, fields, behind_t) || cuts_zone(clock_begin, &cursor))
            return false;
    }
    time_blanks_skip(&cursor);
    if (cursor.at == cursor.end)
        return true;
    if (time_word_read(&cursor, time_utc_words, 3) >= 0) {
        fields->zone = true;
        return cursor.at == cursor.end;
    }
    /* Without a clock the server takes a sign for another part of the date. Seconds of a zone are rare enough. */
    return clock && time_zone_read(&cursor, fields) && fields->zone_second == 0 && cursor.at == cursor.end;
}

/* ---- Epochs ---- */

/* What is finer than a microsecond is cut off, towards the past. */
enum time_problem time_epoch_parse(const struct time_column *column, struct cursor cursor, int64_t *value)
{
    static const int64_t scales[] = {
        [TIME_FORM_EPOCH] = SECOND, [TIME_FORM_EPOCH_MS] = 1000, [TIME_FORM_EPOCH_US] = 1, [TIME_FORM_EPOCH_NS] = 1};
    bool negative = time_char_skip(&cursor, '-'), overflow = false, rest = false;
    int64_t scale = scales[column->form], instant = 0;

    if (!negative)
        time_char_skip(&cursor, '+');
    if (time_digits_ahead(&cursor) == 0)
        return TIME_UNREADABLE;
    for (; cursor.at < cursor.end && time_is_digit(*cursor.at); cursor.at++) {
        overflow |= __builtin_mul_overflow(instant, 10, &instant);
        overflow |= __builtin_add_overflow(instant, *cursor.at - '0', &instant);
    }
    overflow |= __builtin_mul_overflow(instant, scale, &instant);
    if (scale > 1 && time_char_skip(&cursor, '.')) {
        if (time_digits_ahead(&cursor) == 0)
            return TIME_UNREADABLE;
        for (; cursor.at < cursor.end && time_is_digit(*cursor.at); cursor.at++) {
            scale /= 10;
            rest |= scale == 0 && *cursor.at != '0';
            overflow |= __builtin_add_overflow(instant, (*cursor.at - '0') * scale, &instant);
        }
    }
    if (cursor.at != cursor.end)
        return TIME_UNREADABLE;
    if (overflow)
        return TIME_OUT_OF_RANGE;
    if (column->form == TIME_FORM_EPOCH_NS) {
        rest = instant % 1000 != 0;
        instant /= 1000;
    }
    return time_instant_take(column, negative ? -instant - rest : instant, value);
}
