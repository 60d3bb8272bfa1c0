/* Times that are not as the server writes them: other spellings of ISO 8601, epochs, patterns. */
#include "engine/timeform.h"

#include <string.h>
#include <strings.h>

#include "engine/timevalue_private.h"

#define SECOND INT64_C(1000000)

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool blanks_skip(struct cursor *cursor)
{
    const char *before = cursor->at;

    while (cursor->at < cursor->end && is_blank(*cursor->at))
        cursor->at++;
    return cursor->at > before;
}

static bool char_skip(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

/* From `least` to `most` digits. */
static bool number_read(struct cursor *cursor, int least, int most, uint32_t *value)
{
    int count = 0;

    *value = 0;
    for (; count < most && cursor->at < cursor->end && is_digit(*cursor->at); count++)
        *value = *value * 10 + (uint32_t)(*cursor->at++ - '0');
    return count >= least;
}

static size_t digits_ahead(const struct cursor *cursor)
{
    size_t count = 0;

    while (cursor->at + count < cursor->end && is_digit(cursor->at[count]))
        count++;
    return count;
}

/* Takes the first of the words that the text goes on with; its index, or -1. */
static int word_read(struct cursor *cursor, const char *const words[], int count)
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

static const char *const utc_words[] = {"UTC", "GMT", "Z"};

/* YYYYMMDD, or YYYY-M-D with dashes or slashes. */
static bool loose_date(struct cursor *cursor, struct fields *fields, bool *basic)
{
    char separator;

    *basic = digits_ahead(cursor) == 8;
    if (*basic)
        return number_read(cursor, 4, 4, &fields->year) && number_read(cursor, 2, 2, &fields->month) &&
               number_read(cursor, 2, 2, &fields->day);
    if (digits_ahead(cursor) != 4 || !number_read(cursor, 4, 4, &fields->year) || cursor->at == cursor->end)
        return false;
    separator = *cursor->at++;
    return (separator == '-' || separator == '/') && number_read(cursor, 1, 2, &fields->month) &&
           char_skip(cursor, separator) && number_read(cursor, 1, 2, &fields->day) && digits_ahead(cursor) == 0;
}

/* HHMM[SS[.digits]] behind a T, or H:MM[:SS[.digits]]. */
static bool loose_clock(struct cursor *cursor, struct fields *fields, bool behind_t)
{
    size_t digits = digits_ahead(cursor);
    bool seconds;

    if (behind_t && (digits == 4 || digits == 6)) {
        seconds = digits == 6;
        if (!number_read(cursor, 2, 2, &fields->hour) || !number_read(cursor, 2, 2, &fields->minute) ||
            (seconds && !number_read(cursor, 2, 2, &fields->second)))
            return false;
    } else {
        if (!number_read(cursor, 1, 2, &fields->hour) || !char_skip(cursor, ':') ||
            !number_read(cursor, 2, 2, &fields->minute))
            return false;
        seconds = char_skip(cursor, ':');
        if (seconds && !number_read(cursor, 2, 2, &fields->second))
            return false;
    }
    if (digits_ahead(cursor) > 0)
        return false;
    return !seconds || !char_skip(cursor, '.') || time_fraction_read(cursor, &fields->micros);
}

bool time_fields_read_loosely(struct cursor cursor, struct fields *fields)
{
    bool basic, clock = false, behind_t;

    *fields = (struct fields){0};
    if (!loose_date(&cursor, fields, &basic))
        return false;
    behind_t = char_skip(&cursor, 'T') || char_skip(&cursor, 't');
    if (behind_t || (blanks_skip(&cursor) && digits_ahead(&cursor) > 0)) {
        clock = true;
        if (!loose_clock(&cursor, fields, behind_t))
            return false;
    }
    blanks_skip(&cursor);
    if (cursor.at == cursor.end)
        return true;
    if (word_read(&cursor, utc_words, 3) >= 0) {
        fields->zone = true;
        return cursor.at == cursor.end;
    }
    /* Without a clock the server takes a sign for another part of the date. Seconds of a zone are rare enough. */
    return clock && time_zone_read(&cursor, fields) && fields->zone_second == 0 && cursor.at == cursor.end;
}

/* ---- Epochs ---- */

/* What is finer than a microsecond is cut off, towards the past. */
static enum time_problem epoch_parse(const struct time_column *column, struct cursor cursor, int64_t *value)
{
    static const int64_t scales[] = {
        [TIME_FORM_EPOCH] = SECOND, [TIME_FORM_EPOCH_MS] = 1000, [TIME_FORM_EPOCH_US] = 1, [TIME_FORM_EPOCH_NS] = 1};
    bool negative = char_skip(&cursor, '-'), overflow = false, rest = false;
    int64_t scale = scales[column->form], instant = 0;

    if (!negative)
        char_skip(&cursor, '+');
    if (digits_ahead(&cursor) == 0)
        return TIME_UNREADABLE;
    for (; cursor.at < cursor.end && is_digit(*cursor.at); cursor.at++) {
        overflow |= __builtin_mul_overflow(instant, 10, &instant);
        overflow |= __builtin_add_overflow(instant, *cursor.at - '0', &instant);
    }
    overflow |= __builtin_mul_overflow(instant, scale, &instant);
    if (scale > 1 && char_skip(&cursor, '.')) {
        if (digits_ahead(&cursor) == 0)
            return TIME_UNREADABLE;
        for (; cursor.at < cursor.end && is_digit(*cursor.at); cursor.at++) {
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
    int index = word_read(cursor, months, 24);

    fields->month = (uint32_t)(index % 12 + 1);
    return index >= 0;
}

static bool epoch_read(struct cursor *cursor, struct reading *reading)
{
    bool negative = char_skip(cursor, '-');
    size_t digits = digits_ahead(cursor);

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
    if (!number_read(cursor, 2, 2, &fields->year))
        return false;
    fields->year += fields->year >= 69 ? 1900 : 2000;
    return true;
}

static bool conversion_read(struct cursor *cursor, char conversion, struct reading *reading)
{
    struct fields *fields = &reading->fields;

    switch (conversion) {
    case 'Y': return number_read(cursor, 4, 4, &fields->year);
    case 'y': return two_digit_year(cursor, fields);
    case 'm': return number_read(cursor, 1, 2, &fields->month);
    case 'b':
    case 'B':
    case 'h': return month_read(cursor, fields);
    case 'e': blanks_skip(cursor); return number_read(cursor, 1, 2, &fields->day);
    case 'd': return number_read(cursor, 1, 2, &fields->day);
    case 'k':
    case 'l': blanks_skip(cursor); return number_read(cursor, 1, 2, &fields->hour);
    case 'H':
    case 'I': return number_read(cursor, 1, 2, &fields->hour);
    case 'M': return number_read(cursor, 1, 2, &fields->minute);
    case 'S': return number_read(cursor, 1, 2, &fields->second);
    case 'f': return time_fraction_read(cursor, &fields->micros);
    case 'p': reading->half = word_read(cursor, halves, 2); return reading->half >= 0;
    case 'a':
    case 'A': return word_read(cursor, weekdays, 14) >= 0;
    case 'z': return time_zone_read(cursor, fields);
    case 'Z': fields->zone = true; return word_read(cursor, utc_words, 3) >= 0;
    case 's': return epoch_read(cursor, reading);
    default: return char_skip(cursor, conversion); /* %% */
    }
}

static bool pattern_read(struct cursor *cursor, const char *pattern, struct reading *reading)
{
    for (; *pattern != '\0'; pattern++) {
        if (is_blank(*pattern)) {
            if (!blanks_skip(cursor))
                return false;
            while (is_blank(pattern[1]))
                pattern++;
        } else if (*pattern != '%') {
            if (!char_skip(cursor, *pattern))
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
                                             : epoch_parse(column, cursor, value);
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
