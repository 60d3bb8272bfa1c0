/* Values and intervals of the time column as texts for the server and for people. */
#include "engine/timevalue.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* The reverse of days_from_civil. */
static void civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t since = days + 719468;
    int64_t era = floor_divide(since, 146097);
    int64_t day_of_era = since - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t months = (5 * day_of_year + 2) / 153;

    *day = (int)(day_of_year - (153 * months + 2) / 5 + 1);
    *month = (int)(months < 10 ? months + 3 : months - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

/* On the path of rows whose times are written anew: printf would take longer than all the rest. */
static char *digits_put(char *at, int64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + digits;
}

static char *clock_put(char *at, int64_t micros)
{
    int64_t seconds = micros / SECOND, fraction = micros % SECOND;

    *at++ = ' ';
    at = digits_put(at, seconds / 3600, 2);
    *at++ = ':';
    at = digits_put(at, seconds / 60 % 60, 2);
    *at++ = ':';
    at = digits_put(at, seconds % 60, 2);
    if (fraction == 0)
        return at;
    *at++ = '.';
    at = digits_put(at, fraction, 6);
    while (at[-1] == '0')
        at--;
    return at;
}

static char *date_put(char *at, int64_t year, int month, int day)
{
    int digits = 4;

    for (int64_t rest = year / 10000; rest > 0; rest /= 10)
        digits++;
    at = digits_put(at, year, digits);
    *at++ = '-';
    at = digits_put(at, month, 2);
    *at++ = '-';
    return digits_put(at, day, 2);
}

const char *time_format(enum time_type type, int64_t value, char buffer[TIME_TEXT_MAX])
{
    int64_t days = floor_divide(value, TIME_DAY);
    int64_t year;
    int month, day;
    char *at;

    if (time_type_is_integer(type)) {
        snprintf(buffer, TIME_TEXT_MAX, "%" PRId64, value);
        return buffer;
    }
    if (value < TIME_MIN)
        return memcpy(buffer, "-infinity", sizeof "-infinity");
    if (value == INT64_MAX)
        return memcpy(buffer, "infinity", sizeof "infinity");
    civil_from_days(days, &year, &month, &day);
    at = date_put(buffer, year > 0 ? year : 1 - year, month, day);
    if (type != TIME_DATE)
        at = clock_put(at, value - days * TIME_DAY);
    if (type == TIME_TIMESTAMPTZ)
        at = stpcpy(at, "+00");
    stpcpy(at, year > 0 ? "" : " BC");
    return buffer;
}

/* A plural is taken of words of more than one letter. For each length the first name is the one that is written. */
static const struct interval_unit {
    const char *name;
    int64_t length;
} interval_units[] = {
    {"d", TIME_DAY},    {"day", TIME_DAY},  {"h", HOUR},         {"hour", HOUR},         {"hr", HOUR},
    {"m", MINUTE},      {"min", MINUTE},    {"minute", MINUTE},  {"s", SECOND},          {"sec", SECOND},
    {"second", SECOND}, {"ms", 1000},       {"msec", 1000},      {"millisecond", 1000},  {"us", 1},
    {"usec", 1},        {"microsecond", 1}, {"w", 7 * TIME_DAY}, {"week", 7 * TIME_DAY},
};

#define INTERVAL_UNIT_COUNT (sizeof interval_units / sizeof *interval_units)

static bool unit_matches(const char *name, const char *word, size_t size)
{
    size_t length = strlen(name);

    if (size < length || strncasecmp(word, name, length) != 0)
        return false;
    if (size == length)
        return true;
    return size == length + 1 && length > 1 && name[length - 1] != 's' && tolower((unsigned char)word[length]) == 's';
}

static bool unit_find(const char *word, size_t size, int64_t *length)
{
    for (size_t i = 0; i < sizeof interval_units / sizeof *interval_units; i++)
        if (unit_matches(interval_units[i].name, word, size)) {
            *length = interval_units[i].length;
            return true;
        }
    return false;
}

bool time_interval_parse(enum time_type type, const char *text, int64_t *interval)
{
    static const char blanks[] = " \t\n\v\f\r";
    const struct time_column number = {.type = TIME_INT8};
    const char *digits = text + strspn(text, blanks);
    size_t digit_count = strspn(digits, "0123456789");
    const char *word = digits + digit_count + strspn(digits + digit_count, blanks);
    size_t word_size = strcspn(word, blanks);
    int64_t count, length = 1;

    if (word[word_size + strspn(word + word_size, blanks)] != '\0')
        return false;
    if (time_parse(&number, digits, digit_count, &count) != TIME_FINE)
        return false;
    if (time_type_is_integer(type) ? word_size > 0 : !unit_find(word, word_size, &length))
        return false;
    return !__builtin_mul_overflow(count, length, interval) && *interval > 0 && *interval % time_type_unit(type) == 0;
}

const char *time_interval_format(enum time_type type, int64_t interval, char buffer[TIME_TEXT_MAX])
{
    const struct interval_unit *unit = interval_units;

    if (time_type_is_integer(type)) {
        snprintf(buffer, TIME_TEXT_MAX, "%" PRId64, interval);
        return buffer;
    }
    /* From days down; microseconds divide everything. */
    while (interval % unit->length != 0)
        unit++;
    snprintf(buffer, TIME_TEXT_MAX, "%" PRId64 "%s", interval / unit->length, unit->name);
    return buffer;
}
