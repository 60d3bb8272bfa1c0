/* What the values of a head look like. */
#include <string.h>

#include "engine/timeform.h"
#include "readers/sniff_private.h"

/* Not NaN: it is a number to the server. */
const char *const value_nulls[] = {"NULL", "null", "\\N", "NA", "N/A", "None", "nil", "#N/A", NULL};

/* Those before the patterns are recognised by the size of the number. */
const char *const value_time_formats[] = {"iso",
                                          "epoch",
                                          "epoch-ms",
                                          "epoch-us",
                                          "epoch-ns",
                                          "%d.%m.%Y %H:%M:%S",
                                          "%d.%m.%Y %H:%M",
                                          "%d.%m.%Y",
                                          "%d/%m/%Y %H:%M:%S",
                                          "%m/%d/%Y %H:%M:%S",
                                          "%d/%m/%Y %H:%M",
                                          "%m/%d/%Y %H:%M",
                                          "%d/%m/%Y",
                                          "%m/%d/%Y",
                                          "%m/%d/%Y %I:%M:%S %p",
                                          "%d/%b/%Y:%H:%M:%S %z",
                                          "%Y%m%d%H%M%S",
                                          NULL};
#define FORMAT_ISO 0
#define FORMAT_FIRST_PATTERN 5

int value_null_index(const struct sniff_value *value)
{
    for (int i = 0; !value->quoted && value_nulls[i] != NULL; i++)
        if (strlen(value_nulls[i]) == value->size && memcmp(value_nulls[i], value->text, value->size) == 0)
            return i;
    return -1;
}

/* -12, 12.5, 1e-5; `point` is what stands before the fraction. */
static bool is_number(const struct sniff_value *value, char point)
{
    size_t at = 0, digits = 0;

    at += at < value->size && (value->text[at] == '-' || value->text[at] == '+');
    for (; at < value->size && value->text[at] >= '0' && value->text[at] <= '9'; at++)
        digits++;
    if (at < value->size && value->text[at] == point)
        for (at++; at < value->size && value->text[at] >= '0' && value->text[at] <= '9'; at++)
            digits++;
    if (digits > 0 && at + 1 < value->size && (value->text[at] == 'e' || value->text[at] == 'E')) {
        at += 1 + (size_t)(value->text[at + 1] == '-' || value->text[at + 1] == '+');
        if (at == value->size)
            return false;
        while (at < value->size && value->text[at] >= '0' && value->text[at] <= '9')
            at++;
    }
    return digits > 0 && at == value->size;
}

/* Whether the value can be a moment between 1973 and 2286 in the epoch's unit. */
static bool is_epoch(const struct sniff_value *value, int unit)
{
    static const size_t digits[] = {0, 9, 12, 15, 18};
    size_t size = 0;

    while (size < value->size && value->text[size] >= '0' && value->text[size] <= '9')
        size++;
    if (size < digits[unit] || size > digits[unit] + 1)
        return false;
    return size == value->size || (unit == 1 && is_number(value, '.'));
}

static bool is_in_format(const struct sniff_value *value, int format)
{
    struct time_column column = {.type = TIME_TIMESTAMP, .precision = -1};
    struct error ignored;
    int64_t time;

    if (format > FORMAT_ISO && format < FORMAT_FIRST_PATTERN)
        return is_epoch(value, format);
    /* Eight digits are a date, but more likely a number. */
    if (format == FORMAT_ISO && is_number(value, '.'))
        return false;
    error_reset(&ignored);
    return time_form_read(value_time_formats[format], &column, &ignored) == STATUS_OK &&
           time_parse(&column, value->text, value->size, &time) == TIME_FINE;
}

enum value_kind value_kind(const struct sniff_value *value)
{
    if (value->size == 0)
        return VALUE_EMPTY;
    if (value_null_index(value) >= 0)
        return VALUE_NULL;
    if (is_number(value, '.'))
        return VALUE_NUMBER;
    if (is_number(value, ','))
        return VALUE_DECIMAL_COMMA;
    for (int i = 0; value_time_formats[i] != NULL; i++)
        if (is_in_format(value, i))
            return VALUE_TIME;
    return VALUE_TEXT;
}

enum value_kind column_kind(const struct reading *reading, int field, bool without_first)
{
    enum value_kind kind = VALUE_EMPTY;

    for (int i = without_first; i < reading->records; i++) {
        enum value_kind next = value_kind(reading_value(reading, i, field));

        if (next == VALUE_EMPTY || next == VALUE_NULL || next == kind)
            continue;
        if (kind == VALUE_EMPTY)
            kind = next;
        else if ((kind == VALUE_NUMBER && next == VALUE_DECIMAL_COMMA) ||
                 (kind == VALUE_DECIMAL_COMMA && next == VALUE_NUMBER))
            kind = VALUE_DECIMAL_COMMA;
        else
            return VALUE_TEXT;
    }
    return kind;
}

uint32_t column_time_formats(const struct reading *reading, int field, bool without_first)
{
    uint32_t formats = 0;
    bool any = false;

    for (int i = 0; value_time_formats[i] != NULL; i++)
        formats |= UINT32_C(1) << i;
    for (int i = without_first; i < reading->records && formats != 0; i++) {
        const struct sniff_value *value = reading_value(reading, i, field);

        if (value->size == 0 || value_null_index(value) >= 0)
            continue;
        any = true;
        for (int j = 0; value_time_formats[j] != NULL; j++)
            if ((formats >> j & 1) != 0 && !is_in_format(value, j))
                formats &= ~(UINT32_C(1) << j);
    }
    return any ? formats : 0;
}
