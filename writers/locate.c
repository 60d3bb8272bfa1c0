/* The record that COPY complained about, found in the piece that was sent, by the line that its context names. */
#include "writers/append_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writers/records.h"

#define SHOWN_MAX 200

/* Where the context of COPY of this table has its first number; NULL if there is none. */
static const char *context_digits(const char *context, const char *table_name)
{
    static const char copy[] = "COPY ";
    size_t name_size = strlen(table_name);

    for (const char *at = context; at != NULL && (at = strstr(at, copy)) != NULL; at++) {
        const char *name = at + strlen(copy);
        const char *digits;

        if ((at != context && at[-1] != '\n') || strncmp(name, table_name, name_size) != 0)
            continue;
        digits = name + name_size;
        if (*digits == '"')
            digits++;
        if (*digits == ',')
            return digits + strcspn(digits, "0123456789\n");
    }
    return NULL;
}

int64_t locate_context_line(const char *context, const char *table_name)
{
    const char *digits = context_digits(context, table_name);

    return digits != NULL ? strtoll(digits, NULL, 10) : 0;
}

const char *locate_context_column(const char *context, const char *table_name, const struct table *table)
{
    const char *at = context_digits(context, table_name);

    if (at == NULL)
        return "";
    at += strspn(at, "0123456789");
    /* ", column NAME: ", with the word in the server's language. */
    if (strncmp(at, ", ", 2) != 0 || (at = strchr(at + 2, ' ')) == NULL)
        return "";
    at++;
    for (size_t i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i].name;
        size_t size = strlen(name);

        if (strncmp(at, name, size) == 0 && (at[size] == ':' || at[size] == '\n' || at[size] == '\0'))
            return name;
    }
    return "";
}

/* Escapes what a terminal must not see; all but ASCII where the server has found bytes that are no characters. */
void locate_show(struct error *error, const char *record, size_t record_size)
{
    char text[4 * SHOWN_MAX + 1] = "";
    bool ascii_only = strcmp(error->sqlstate, "22021") == 0;
    size_t size = record_text_size(record, record_size), used = 0;
    bool cut = size > SHOWN_MAX;

    if (cut)
        size = SHOWN_MAX;
    /* Not half a character (UTF-8). */
    while (cut && size > 0 && ((unsigned char)record[size - 1] & 0xc0) == 0x80)
        size--;
    if (cut && size > 0 && (unsigned char)record[size - 1] >= 0xc0)
        size--;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)record[i];

        if (byte < ' ' || byte == 0x7f || (byte >= 0x80 && ascii_only))
            used += (size_t)snprintf(text + used, sizeof text - used, "\\x%02x", byte);
        else
            text[used++] = (char)byte;
    }
    text[used] = '\0';
    error_hint(error, "\nRECORD:  %s%s", text, cut ? "…" : "");
}

void locate_describe(const struct record *record, struct error *error)
{
    error->line = record->line;
    error->offset = record->offset;
    locate_show(error, record->text, record->size);
}

int64_t locate_lines_sent(const struct append_input *input, const struct record *record, enum line_end line_end,
                          bool first, struct shape_text *text)
{
    struct record shaped = *record;
    struct error ignored;

    error_reset(&ignored);
    text->size = 0;
    if (input->shape != NULL && shape_apply(input->shape, record->text, record->size, text, &ignored) == STATUS_OK) {
        shaped.text = text->data;
        shaped.size = text->size;
    }
    return record_server_lines(&shaped, line_end, first);
}

void locate_record(struct append_session *session, struct piece *piece, int64_t line, struct error *error)
{
    const struct append_input *input = append_input_of(session, piece);
    struct shape_text text = {0};
    struct records records;
    struct record record;
    struct error ignored;
    int64_t at = 0;
    bool found = false;

    error_reset(&ignored);
    records_init(&records, piece, input->quote, input->escape, session->packer, pipeline_stats(session->pipeline));
    while (!found && records_next(&records, &record, &ignored) == STATUS_OK && record.size > 0) {
        at += locate_lines_sent(input, &record, records.cutter.line_end, at == 0, &text);
        found = at >= line;
    }
    if (found)
        locate_describe(&record, error);
    records_reset(&records);
    shape_text_reset(&text);
}
