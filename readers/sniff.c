/* Which reading of a head is the one that fits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers/sniff_private.h"

#define BOM "\xef\xbb\xbf"

static void say(char text[SNIFF_TEXT_MAX], const char *format, ...) PRINTF_LIKE(2, 3);
static void say(char text[SNIFF_TEXT_MAX], const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    if (used > 0)
        used += (size_t)snprintf(text + used, SNIFF_TEXT_MAX - used, ", ");
    if (used >= SNIFF_TEXT_MAX)
        return;
    va_start(args, format);
    vsnprintf(text + used, SNIFF_TEXT_MAX - used, format, args);
    va_end(args);
}

/* ---- Header, NULL, times, encoding ---- */

/* Names are texts, none is empty or comes twice. */
static bool can_be_header(const struct reading *reading)
{
    for (int i = 0; i < reading->fields; i++) {
        const struct sniff_value *name = reading_value(reading, 0, i);

        if (value_kind(name) != VALUE_TEXT)
            return false;
        for (int j = 0; j < i; j++) {
            const struct sniff_value *other = reading_value(reading, 0, j);

            if (other->size == name->size && memcmp(other->text, name->text, name->size) == 0)
                return false;
        }
    }
    return true;
}

static enum status look_at_header(const struct sniff_head *look, const struct reading *reading, struct error *error)
{
    bool can_be = can_be_header(reading), differs = false, is_row = true;

    if (look->given->header)
        return STATUS_OK;
    for (int i = 0; i < reading->fields; i++) {
        enum value_kind kind = column_kind(reading, i, true);

        differs = differs || (kind != VALUE_TEXT && kind != VALUE_EMPTY);
        is_row = is_row &&
                 (kind == VALUE_TEXT || kind == VALUE_EMPTY || value_kind(reading_value(reading, 0, i)) != VALUE_TEXT);
    }
    if (can_be ? !differs : !is_row)
        return error_set(error, STATUS_USAGE,
                         "--dialect sniff: the first record can be a header or a row: say --header or --no-header");
    look->sniff->dialect.header = can_be;
    say(look->sniff->found, "header %s", can_be ? "yes" : "no");
    return STATUS_OK;
}

/* A text for NULL stands among numbers or times, or is \N, which is nothing else. */
static enum status look_at_nulls(const struct sniff_head *look, const struct reading *reading, struct error *error)
{
    bool first = look->sniff->dialect.header, empty = false;
    int found = -1;

    if (look->given->null_text)
        return STATUS_OK;
    for (int j = 0; j < reading->fields; j++) {
        enum value_kind kind = column_kind(reading, j, first);
        bool typed = kind != VALUE_TEXT && kind != VALUE_EMPTY;

        for (int i = first; i < reading->records; i++) {
            const struct sniff_value *value = reading_value(reading, i, j);
            int index = value_null_index(value);
            bool counts = typed || (index >= 0 && strcmp(value_nulls[index], "\\N") == 0);

            empty = empty || (typed && value->size == 0 && !value->quoted);
            if (index < 0 || !counts)
                continue;
            if (found >= 0 && found != index)
                return error_set(
                    error, STATUS_USAGE,
                    "--dialect sniff: both %s and %s stand where values should be: COPY takes one text for "
                    "NULL; say which with --null",
                    value_nulls[found], value_nulls[index]);
            found = index;
        }
    }
    look->sniff->seen.null_text = found >= 0;
    look->sniff->seen.empty = empty;
    if (found >= 0 && empty)
        return error_set(
            error, STATUS_USAGE,
            "--dialect sniff: both %s and nothing stand where values should be: COPY takes one text for NULL; "
            "say --null '%s' or --null ''",
            value_nulls[found], value_nulls[found]);
    look->sniff->dialect.null_text = found >= 0 ? value_nulls[found] : "";
    if (found >= 0)
        say(look->sniff->found, "NULL is %s", value_nulls[found]);
    return STATUS_OK;
}

static void name_field(const struct sniff_head *look, const struct reading *reading, int field, char name[80])
{
    const struct sniff_value *value = reading_value(reading, 0, field);

    if (look->sniff->dialect.header)
        snprintf(name, 80, "\"%.*s\"", value->size < 60 ? (int)value->size : 60, value->text);
    else
        snprintf(name, 80, "field %d", field + 1);
}

/* All columns that look like times in one way; else nothing is set, as the time column is not known here. */
static enum status look_at_times(const struct sniff_head *look, const struct reading *reading, struct error *error)
{
    bool first = look->sniff->dialect.header;
    uint32_t formats = 0, all = 0;
    char name[80] = "";
    int columns = 0;

    for (int i = 0; i < reading->fields; i++) {
        uint32_t next = column_time_formats(reading, i, first);

        if (column_kind(reading, i, first) == VALUE_DECIMAL_COMMA) {
            name_field(look, reading, i, name);
            say(look->sniff->unsure, "%s has decimal commas: the server's numbers have points", name);
        }
        if (next == 0)
            continue;
        all |= next;
        formats = next;
        columns++;
        name_field(look, reading, i, name);
    }
    look->sniff->seen.times = columns > 0;
    if (look->given->time_format || columns == 0)
        return STATUS_OK;
    if ((all & 1) != 0) {
        say(look->sniff->found, "times iso");
        return STATUS_OK;
    }
    if (columns > 1) {
        say(look->sniff->unsure, "several columns can be times, none as ISO 8601 has it: say --time-format");
        return STATUS_OK;
    }
    for (int i = 0; value_time_formats[i] != NULL; i++) {
        if (formats != UINT32_C(1) << i)
            continue;
        look->sniff->time_format = value_time_formats[i];
        say(look->sniff->found, "times %s (%s)", value_time_formats[i], name);
        return STATUS_OK;
    }
    error_set(error, STATUS_USAGE, "--dialect sniff: the times of %s can be read in several ways: say ", name);
    for (int i = 0; value_time_formats[i] != NULL; i++)
        if ((formats >> i & 1) != 0) {
            formats &= ~(UINT32_C(1) << i);
            error_hint(error, "--time-format '%s'%s", value_time_formats[i], formats != 0 ? " or " : "");
        }
    return error->status;
}

/* -1: no UTF-8; 0: ASCII; 1: UTF-8 with more than ASCII. A character may be cut off by the end of the head. */
static int utf8_look(const char *text, size_t size, bool last)
{
    int result = 0;

    for (size_t i = 0; i < size;) {
        unsigned char c = (unsigned char)text[i++];
        int more = c < 0x80                ? 0
                   : c >= 0xc2 && c < 0xe0 ? 1
                   : c >= 0xe0 && c < 0xf0 ? 2
                   : c >= 0xf0 && c < 0xf5 ? 3
                                           : -1;

        if (more < 0)
            return -1;
        for (; more > 0; more--) {
            if (i == size)
                return last ? -1 : result;
            if (((unsigned char)text[i++] & 0xc0) != 0x80)
                return -1;
            result = 1;
        }
    }
    return result;
}

static enum status look_at_encoding(const struct sniff_head *look, bool bom, struct error *error)
{
    int utf8 = utf8_look(look->head, look->size, look->last);

    if (look->given->encoding)
        return STATUS_OK;
    if (utf8 < 0)
        return error_set(
            error, STATUS_USAGE,
            "--dialect sniff: the text is not UTF-8: which encoding of one byte a character it is cannot be "
            "seen; say --encoding WIN1252, --encoding LATIN1 or another");
    if (utf8 > 0 || bom) {
        look->sniff->encoding = "UTF8";
        say(look->sniff->found, "encoding UTF8%s", bom ? " (with a byte order mark)" : "");
    }
    return STATUS_OK;
}

/* Behind the lines of --skip-lines. */
static void skip_lines(struct sniff_head *look)
{
    for (int i = 0; i < look->sniff->dialect.skip_lines && look->size > 0; i++) {
        size_t size = 0;

        while (size < look->size && look->head[size] != '\n' && look->head[size] != '\r')
            size++;
        size += size < look->size;
        size += size < look->size && look->head[size - 1] == '\r' && look->head[size] == '\n';
        look->head += size;
        look->size -= size;
    }
}

static enum status look_at_records(struct sniff_head *look, bool bom, struct error *error)
{
    struct sniff *sniff = look->sniff;
    struct reading reading = {0};
    enum status status = reading_choose(look, &reading, error);

    if (status != STATUS_OK)
        return status;
    sniff->dialect.delimiter = reading.delimiter;
    sniff->dialect.quote = reading.quote;
    sniff->seen.delimiter = reading.fields > 1;
    sniff->seen.quote = reading.encloses;
    if (!look->given->escape)
        sniff->dialect.escape = reading.quote;
    if (!look->given->delimiter)
        say(sniff->found, "delimiter %s", sniff_byte_text(reading.delimiter));
    if (!look->given->quote)
        say(sniff->found, "quote %s%s", sniff_byte_text(reading.quote), reading.encloses ? "" : " (none is there)");
    status = look_at_header(look, &reading, error);
    if (status == STATUS_OK)
        status = look_at_nulls(look, &reading, error);
    if (status == STATUS_OK)
        status = look_at_times(look, &reading, error);
    if (status == STATUS_OK)
        status = look_at_encoding(look, bom, error);
    if (status == STATUS_OK && reading.records < 3)
        say(sniff->unsure, "only %d records were there to look at", reading.records);
    if (sniff->dialect.comment == '\0' && look->head[0] == '#')
        say(sniff->unsure, "the first line begins with #: if it is a comment, say --comment '#'");
    reading_free(&reading);
    return status;
}

enum status sniff_look(const char *head, size_t size, bool last, const struct sniff_given *given, struct sniff *sniff,
                       struct error *error)
{
    struct sniff_head look = {.head = head, .size = size, .last = last, .given = given, .sniff = sniff};
    bool bom = size >= sizeof BOM - 1 && memcmp(head, BOM, sizeof BOM - 1) == 0;

    sniff->found[0] = sniff->unsure[0] = '\0';
    sniff->encoding = sniff->time_format = NULL;
    sniff->seen = (struct sniff_seen){0};
    if (size >= 2 && (memcmp(head, "\xff\xfe", 2) == 0 || memcmp(head, "\xfe\xff", 2) == 0))
        return error_set(
            error, STATUS_DATA,
            "the input is UTF-16, which the server does not read: convert it first, as with iconv -f UTF-16 "
            "-t UTF-8");
    if (bom) {
        look.head += sizeof BOM - 1;
        look.size -= sizeof BOM - 1;
    }
    skip_lines(&look);
    if (look.size == 0)
        return error_set(error, STATUS_USAGE, "--dialect sniff: there is nothing to look at: the input is empty");
    return look_at_records(&look, bom, error);
}
