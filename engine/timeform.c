/* Patterns of times, as strptime has them, and which form is meant. */
#include "engine/timeform.h"

#include <string.h>
#include <strings.h>

#include "engine/timevalue_private.h"

#define SECOND INT64_C(1000000)

/* ---- Patterns ---- */

static const char *const months[] = {"January",   "February", "March",    "April",    "May", "June", "July", "August",
                                     "September", "October",  "November", "December", "Jan", "Feb",  "Mar",  "Apr",
                                     "May",       "Jun",      "Jul",      "Aug",      "Sep", "Oct",  "Nov",  "Dec"};
static const char *const weekdays[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
                                       "Mon",    "Tue",     "Wed",       "Thu",      "Fri",    "Sat",      "Sun"};
static const char *const halves[] = {"AM", "PM"};

struct reading {
    struct fields fields;
    int half; /* of the day; -1: a clock of 24 hours */
    bool has_epoch;
    int64_t epoch;
};

/* What stands for several conversions; NULL: one. */
static const char *compound(char conversion)
{
    switch (conversion) {
    case 'F': return "%Y-%m-%d";
    case 'T': return "%H:%M:%S";
    case 'R': return "%H:%M";
    case 'D': return "%m/%d/%y";
    }
    return NULL;
}

static bool month_read(struct cursor *cursor, struct fields *fields)
{
    int index = time_word_read(cursor, months, 24);

    fields->month = (uint32_t)(index % 12 + 1);
    return index >= 0;
}

static bool epoch_read(struct cursor *cursor, struct reading *reading)
{
    bool negative = time_char_skip(cursor, '-');
    size_t digits = time_digits_ahead(cursor);

    if (digits == 0 || digits > 15)
        return false;
    for (; digits > 0; digits--)
        reading->epoch = reading->epoch * 10 + (*cursor->at++ - '0');
    if (negative)
        reading->epoch = -reading->epoch;
    reading->has_epoch = true;
    return true;
}

static bool two_digit_year(struct cursor *cursor, struct fields *fields)
{
    if (!time_number_read(cursor, 2, 2, &fields->year))
        return false;
    fields->year += fields->year >= 69 ? 1900 : 2000;
    return true;
}

static bool conversion_read(struct cursor *cursor, char conversion, struct reading *reading)
{
    struct fields *fields = &reading->fields;

    switch (conversion) {
    case 'Y': return time_number_read(cursor, 4, 4, &fields->year);
    case 'y': return two_digit_year(cursor, fields);
    case 'm': return time_number_read(cursor, 1, 2, &fields->month);
    case 'b':
    case 'B':
    case 'h': return month_read(cursor, fields);
    case 'e': time_blanks_skip(cursor); return time_number_read(cursor, 1, 2, &fields->day);
    case 'd': return time_number_read(cursor, 1, 2, &fields->day);
    case 'k':
    case 'l': time_blanks_skip(cursor); return time_number_read(cursor, 1, 2, &fields->hour);
    case 'H':
    case 'I': return time_number_read(cursor, 1, 2, &fields->hour);
    case 'M': return time_number_read(cursor, 1, 2, &fields->minute);
    case 'S': return time_number_read(cursor, 1, 2, &fields->second);
    case 'f': return time_fraction_read(cursor, &fields->micros);
    case 'p': reading->half = time_word_read(cursor, halves, 2); return reading->half >= 0;
    case 'a':
    case 'A': return time_word_read(cursor, weekdays, 14) >= 0;
    case 'z': return time_zone_read(cursor, fields);
    case 'Z': fields->zone = true; return time_word_read(cursor, time_utc_words, 3) >= 0;
    case 's': return epoch_read(cursor, reading);
    default: return time_char_skip(cursor, conversion); /* %% */
    }
}

static bool pattern_read(struct cursor *cursor, const char *pattern, struct reading *reading)
{
    for (; *pattern != '\0'; pattern++) {
        if (time_is_blank(*pattern)) {
            if (!time_blanks_skip(cursor))
                return false;
            while (time_is_blank(pattern[1]))
                pattern++;
        } else if (*pattern != '%') {
            if (!time_char_skip(cursor, *pattern))
                return false;
        } else if (compound(*++pattern) != NULL) {
            if (!pattern_read(cursor, compound(*pattern), reading))
                return false;
        } else if (!conversion_read(cursor, *pattern, reading)) {
            return false;
        }
    }
    return true;
}

static enum time_problem pattern_parse(const struct time_column *column, struct cursor cursor, int64_t *value)
{
    struct reading reading = {.half = -1};

    if (!pattern_read(&cursor, column->pattern, &reading) || cursor.at != cursor.end)
        return TIME_UNREADABLE;
    if (reading.has_epoch)
        return time_instant_take(column, reading.epoch * SECOND + reading.fields.micros, value);
    if (reading.half >= 0) {
        if (reading.fields.hour < 1 || reading.fields.hour > 12)
            return TIME_OUT_OF_RANGE;
        reading.fields.hour = reading.fields.hour % 12 + 12 * (uint32_t)reading.half;
    }
    return time_instant_make(column, &reading.fields, value);
}

enum time_problem time_form_parse(const struct time_column *column, struct cursor cursor, int64_t *value)
{
    return column->form == TIME_FORM_PATTERN ? pattern_parse(column, cursor, value)
                                             : time_epoch_parse(column, cursor, value);
}

/* ---- What patterns may be ---- */

/* What a conversion says, one letter each; 0: there is no such conversion. */
static char meaning(char conversion)
{
    static const char names[] = "YymbBhdeHkIlMSfpaAzZs%";
    static const char means[] = "YYmmmmddHHHHMSfpaazzs%";
    const char *at = conversion != '\0' ? strchr(names, conversion) : NULL;

    return at != NULL ? means[at - names] : '\0';
}

struct meanings {
    char said[32];
    size_t count;
    bool twelve; /* %I or %l */
};

static enum status pattern_look(const char *pattern, struct meanings *meanings, struct error *error)
{
    for (; (pattern = strchr(pattern, '%')) != NULL; pattern++) {
        char conversion = *++pattern, means = meaning(conversion);

        if (compound(conversion) != NULL) {
            if (pattern_look(compound(conversion), meanings, error) != STATUS_OK)
                return error->status;
            continue;
        }
        if (means == '\0')
            return error_set(error, STATUS_USAGE,
                             "--time-format: %%%.1s is not known; see %%Y %%m %%d %%H %%M %%S %%f %%z %%b %%p %%s",
                             conversion != '\0' ? pattern : "");
        if (means == '%')
            continue;
        if (memchr(meanings->said, means, meanings->count) != NULL)
            return error_set(error, STATUS_USAGE, "--time-format: %%%c says what another conversion has said already",
                             conversion);
        meanings->said[meanings->count++] = means;
        meanings->twelve |= conversion == 'I' || conversion == 'l';
    }
    return STATUS_OK;
}

static bool is_said(const struct meanings *meanings, char means)
{
    return memchr(meanings->said, means, meanings->count) != NULL;
}

static enum status pattern_check(const char *pattern, struct error *error)
{
    struct meanings meanings = {0};
    enum status status = pattern_look(pattern, &meanings, error);

    if (status != STATUS_OK)
        return status;
    if (is_said(&meanings, 's') ? meanings.count > 1 + (size_t)is_said(&meanings, 'f')
                                : !is_said(&meanings, 'Y') || !is_said(&meanings, 'm') || !is_said(&meanings, 'd'))
        return error_set(
            error, STATUS_USAGE,
            "--time-format %s: write iso, epoch, epoch-ms, epoch-us, epoch-ns, or a format with year, month"
            " and day such as '%%d.%%m.%%Y %%H:%%M:%%S', or with %%s",
            pattern);
    if (meanings.twelve != is_said(&meanings, 'p'))
        return error_set(error, STATUS_USAGE, "--time-format %s: %%I and %%p belong together", pattern);
    if ((is_said(&meanings, 'M') && !is_said(&meanings, 'H')) || (is_said(&meanings, 'S') && !is_said(&meanings, 'M')))
        return error_set(error, STATUS_USAGE, "--time-format %s: it has minutes or seconds, but no hours or minutes",
                         pattern);
    return STATUS_OK;
}

enum status time_form_read(const char *text, struct time_column *column, struct error *error)
{
    static const char *const names[] = {"iso", "epoch", "epoch-ms", "epoch-us", "epoch-ns"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            column->form = (enum time_form)i;
            return STATUS_OK;
        }
    column->form = TIME_FORM_PATTERN;
    column->pattern = text;
    return pattern_check(text, error);
}

bool time_form_has_zone(const struct time_column *column)
{
    struct meanings meanings = {0};
    struct error ignored;

    if (column->form != TIME_FORM_PATTERN)
        return column->form != TIME_FORM_ISO;
    error_reset(&ignored);
    return pattern_look(column->pattern, &meanings, &ignored) == STATUS_OK &&
           (is_said(&meanings, 'z') || is_said(&meanings, 's'));
}
