/*
 * The transcoder: any bytes as a record of any columns. A row is well formed, fields that are quoted are the same as
 * bare ones, and the room for it is never left (the sanitizer sees that).
 *
 *     dialect, count of columns, their types, record
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "readers/cutter.h"
#include "writers/transcode.h"

#define COLUMNS_MAX 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const bases[] = {"bool", "int2", "int4", "int8",  "float4", "float8",      "numeric",   "text",
                                    "json", "uuid", "enum", "jsonb", "bpchar", "timestamptz", "timestamp", "date"};

static const char dialects[][3] = {{',', '"', '"'}, {',', '"', '\\'}, {';', '\'', '\''}, {' ', '~', 'a'}};

static uint32_t number_at(const char *at, int bytes)
{
    uint32_t number = 0;

    for (int i = 0; i < bytes; i++)
        number = number << 8 | (unsigned char)at[i];
    return number;
}

/* The count of fields, and of each a length and so many bytes: just the row. */
static void check_row(const char *row, size_t size, int columns)
{
    size_t at = 2;

    assert(size >= 2 && number_at(row, 2) == (uint32_t)columns);
    for (int i = 0; i < columns; i++) {
        uint32_t length;

        assert(size - at >= 4);
        length = number_at(row + at, 4);
        at += 4;
        assert(length == UINT32_MAX || length <= size - at);
        at += length == UINT32_MAX ? 0 : length;
    }
    assert(at == size);
}

static bool add(const struct transcoder *transcoder, const char *text, size_t size, struct transcoder_rows *rows)
{
    /* Of its own, so that a look behind it is seen. */
    char *copy = malloc(size > 0 ? size : 1);
    struct error error;
    bool converted;

    if (copy == NULL)
        abort();
    memcpy(copy, text, size);
    error_reset(&error);
    if (transcoder_add(transcoder, copy, size, rows, &converted, &error) != STATUS_OK)
        abort();
    free(copy);
    return converted;
}

/* A single bare field says the same in quotes. */
static void check_quoted(const struct transcoder *transcoder, const struct transcoder_spec *spec, const char *text,
                         size_t size, const struct transcoder_rows *rows)
{
    struct transcoder_rows again = {0};
    char *quoted = malloc(size + 2);

    if (quoted == NULL)
        abort();
    for (size_t i = 0; i < size; i++)
        if (text[i] == spec->quote || text[i] == spec->escape || text[i] == spec->delimiter || text[i] == '\r' ||
            text[i] == '\n')
            goto out;
    quoted[0] = quoted[size + 1] = spec->quote;
    memcpy(quoted + 1, text, size);
    assert(add(transcoder, quoted, size + 2, &again) == (rows->size > 0));
    assert(again.size == rows->size && memcmp(again.data, rows->data, rows->size) == 0);
out:
    transcoder_rows_reset(&again);
    free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transcoder_column columns[COLUMNS_MAX] = {0};
    struct transcoder_spec spec = {.null_text = "NULL", .columns = columns, .zone_given = true, .zone_seconds = -3600};
    struct transcoder_rows rows = {0};
    struct transcoder *transcoder;
    struct error error;
    const char *text;

    if (size < 2 + COLUMNS_MAX)
        return 0;
    spec.delimiter = dialects[data[0] % 4][0];
    spec.quote = dialects[data[0] % 4][1];
    spec.escape = dialects[data[0] % 4][2];
    spec.column_count = 1 + data[1] % COLUMNS_MAX;
    for (int i = 0; i < COLUMNS_MAX; i++)
        columns[i] = (struct transcoder_column){"c", "t", bases[data[2 + i] % 16], data[2 + i] & 64, data[2 + i] & 128};
    error_reset(&error);
    if (transcoder_create(&spec, &transcoder, &error) != STATUS_OK)
        abort();
    text = (const char *)data + 2 + COLUMNS_MAX;
    size -= 2 + COLUMNS_MAX;
    if (add(transcoder, text, size, &rows))
        check_row(rows.data, rows.size, spec.column_count);
    else
        assert(rows.size == 0);
    if (spec.column_count == 1 && (size != 4 || memcmp(text, "NULL", 4) != 0) &&
        (size != 2 || memcmp(text, "\\.", 2) != 0))
        check_quoted(transcoder, &spec, text, size, &rows);
    transcoder_rows_reset(&rows);
    transcoder_free(transcoder);
    return 0;
}
