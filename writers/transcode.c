/* Records into rows of a binary COPY: the fields. */
#include "writers/transcode_private.h"

#include <stdlib.h>

#include "readers/cutter.h"

struct column {
    TRANSCODE_VALUE((*value));
    TRANSCODE_USUAL((*usual)); /* NULL: there is none, or what it takes may be something else in this dialect */
    bool force_null, force_not_null;
};

struct transcoder {
    char delimiter, quote, escape;
    struct transcode_zone zone;
    char *null_text;
    size_t null_size;
    int column_count;
    struct column columns[];
};

#ifdef __x86_64__
#define USUAL(type) .usual = transcode_usual_##type, .usual_sse = transcode_sse_##type
#else
#define USUAL(type) .usual = transcode_usual_##type
#endif

static const struct {
    const char *base;
    TRANSCODE_VALUE((*value));
    TRANSCODE_USUAL((*usual));
    TRANSCODE_USUAL((*usual_sse)); /* where the processor has SSE 4.1 */
} values[] = {
    {.base = "bool", .value = transcode_bool},
    {.base = "int2", .value = transcode_int2, USUAL(int2)},
    {.base = "int4", .value = transcode_int4, USUAL(int4)},
    {.base = "int8", .value = transcode_int8, USUAL(int8)},
    {.base = "float4", .value = transcode_float4},
    {.base = "float8", .value = transcode_float8, USUAL(float8)},
    {.base = "numeric", .value = transcode_numeric},
    {.base = "text", .value = transcode_text},
    {.base = "varchar", .value = transcode_text},
    {.base = "bpchar", .value = transcode_text},
    {.base = "enum", .value = transcode_text},
    {.base = "json", .value = transcode_text},
    {.base = "jsonb", .value = transcode_jsonb},
    {.base = "uuid", .value = transcode_uuid},
    {.base = "timestamptz", .value = transcode_timestamptz},
    {.base = "timestamp", .value = transcode_timestamp},
    {.base = "date", .value = transcode_date},
};

static bool processor_has_sse(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("sse4.1");
#else
    return false;
#endif
}

/* Whether a number could be mistaken: a byte of it is special, or NULL may look like it. */
static bool numbers_special(const struct transcoder_spec *spec)
{
    static const char letters[] = "0123456789-.";

    return strchr(letters, spec->delimiter) != NULL || strchr(letters, spec->quote) != NULL ||
           strchr(letters, spec->escape) != NULL ||
           (*spec->null_text != '\0' && strchr(letters, *spec->null_text) != NULL);
}

static enum status column_make(const struct transcoder_column *spec, bool usual, struct column *column,
                               struct error *error)
{
    *column = (struct column){.force_null = spec->force_null, .force_not_null = spec->force_not_null};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (strcmp(values[i].base, spec->base) == 0) {
            column->value = values[i].value;
            column->usual = !usual ? NULL : processor_has_sse() ? values[i].usual_sse : values[i].usual;
        }
    if (column->value == NULL)
        return error_set(error, STATUS_USAGE, "column \"%s\" of type %s has no exact conversion", spec->name,
                         spec->type);
    return STATUS_OK;
}

enum status transcoder_create(const struct transcoder_spec *spec, struct transcoder **made, struct error *error)
{
    size_t count = (size_t)spec->column_count;
    struct transcoder *transcoder = calloc(1, sizeof *transcoder + count * sizeof *transcoder->columns);
    enum status status = STATUS_OK;

    *made = NULL;
    if (transcoder == NULL || (transcoder->null_text = strdup(spec->null_text)) == NULL) {
        free(transcoder);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    transcoder->delimiter = spec->delimiter;
    transcoder->quote = spec->quote;
    transcoder->escape = spec->escape;
    transcoder->zone = (struct transcode_zone){spec->zone_given, spec->zone_seconds};
    transcoder->null_size = strlen(spec->null_text);
    transcoder->column_count = spec->column_count;
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = column_make(&spec->columns[i], !numbers_special(spec), &transcoder->columns[i], error);
    if (status == STATUS_OK)
        *made = transcoder;
    else
        transcoder_free(transcoder);
    return status;
}

void transcoder_free(struct transcoder *transcoder)
{
    if (transcoder == NULL)
        return;
    free(transcoder->null_text);
    free(transcoder);
}

void transcoder_rows_reset(struct transcoder_rows *rows)
{
    free(rows->data);
    *rows = (struct transcoder_rows){0};
}

enum status transcoder_rows_reserve(struct transcoder_rows *rows, size_t more, struct error *error)
{
    size_t room = (rows->size + more) * 2;
    char *data;

    if (rows->room - rows->size >= more)
        return STATUS_OK;
    data = realloc(rows->data, room);
    if (data == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for a record of %zu bytes", more);
    rows->data = data;
    rows->room = room;
    return STATUS_OK;
}

/* ---- Fields ---- */

struct field {
    const char *text;
    size_t size;
    bool quoted;
};

/* Marks the bytes of a word that are zero, the lowest of them reliably. */
static inline uint64_t zero_bytes(uint64_t word)
{
    return (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
}

/* The next delimiter or quote, else `end`. */
static inline const char *find_special(const struct transcoder *transcoder, const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t delimiters = ones * (unsigned char)transcoder->delimiter;
    const uint64_t quotes = ones * (unsigned char)transcoder->quote;

    for (; at < end; at += 8) {
        uint64_t word = load_text(at);
        uint64_t found = zero_bytes(word ^ delimiters) | zero_bytes(word ^ quotes);

        if (found != 0) {
            at += __builtin_ctzll(found) / 8;
            break;
        }
    }
    return at < end ? at : end;
}

/* A field with a quote in it, by the server's rule (CopyReadAttributesCSV). NULL: a quote is open. */
static const char *read_quoted(const struct transcoder *transcoder, const char *at, const char *end, char **scratch,
                               struct field *field)
{
    const char quote = transcoder->quote, escape = transcoder->escape;
    bool in_quote = false;
    char *to = *scratch;

    *field = (struct field){.text = to, .quoted = true};
    for (; at < end; at++) {
        if (in_quote && *at == escape && at + 1 < end && (at[1] == escape || at[1] == quote)) {
            *to++ = *++at;
        } else if (*at == quote) {
            in_quote = !in_quote;
        } else if (*at == transcoder->delimiter && !in_quote) {
            break;
        } else {
            *to++ = *at;
        }
    }
    field->size = (size_t)(to - *scratch);
    *scratch = to;
    return in_quote ? NULL : at;
}

/* The field that begins at `at`; gives where it ends. Usual ones are left where they are. */
static inline const char *read_field(const struct transcoder *transcoder, const char *at, const char *end,
                                     char **scratch, struct field *field)
{
    const char *stop;

    if (at < end && *at == transcoder->quote) {
        stop = memchr(at + 1, transcoder->quote, (size_t)(end - at) - 1);
        if (stop != NULL && transcoder->escape == transcoder->quote &&
            (stop + 1 == end || stop[1] == transcoder->delimiter)) {
            *field = (struct field){at + 1, (size_t)(stop - at) - 1, true};
            return stop + 1;
        }
        return read_quoted(transcoder, at, end, scratch, field);
    }
    stop = find_special(transcoder, at, end);
    if (stop < end && *stop == transcoder->quote)
        return read_quoted(transcoder, at, end, scratch, field);
    *field = (struct field){at, (size_t)(stop - at), false};
    return stop;
}

/* As NextCopyFrom: FORCE_NULL is for what is quoted, FORCE_NOT_NULL for what is not. */
static inline bool is_null(const struct transcoder *transcoder, const struct column *column, const struct field *field)
{
    return field->size == transcoder->null_size && memcmp(field->text, transcoder->null_text, field->size) == 0 &&
           (field->quoted ? column->force_null : !column->force_not_null);
}

/* A field of any kind: writes its value at `to`, and gives where it ends in `at`. NULL: refused. */
static char *make_value(const struct transcoder *transcoder, const struct column *column, const char **at,
                        const char *end, char *to, char **scratch)
{
    struct field field;
    const char *stop = read_field(transcoder, *at, end, scratch, &field);

    *at = stop;
    if (stop == NULL)
        return NULL;
    if (is_null(transcoder, column, &field))
        return put_int32(to, -1);
    return column->value(&transcoder->zone, to, field.text, field.size);
}

/* Writes the row at `to`; NULL if it is refused. */
static char *make_row(const struct transcoder *transcoder, const char *at, const char *end, char *to, char *scratch)
{
    const struct column *column = transcoder->columns, *last = column + transcoder->column_count - 1;

    to = put_int16(to, (int16_t)transcoder->column_count);
    for (;; column++, at++) {
        const char *stop;
        char *done = column->usual != NULL ? column->usual(to, at, &stop) : NULL;

        /* What lies behind the end is padding, and no part of a number. */
        if (done != NULL && (*stop == transcoder->delimiter || stop == end)) {
            at = stop;
            to = done;
        } else {
            to = make_value(transcoder, column, &at, end, to, &scratch);
        }
        /* Too few fields, or too many. */
        if (to == NULL || (at == end) != (column == last))
            return NULL;
        if (column == last)
            return to;
    }
}

/*
 *     | rows | room for the row | fields without quotes and escapes | the record, and padding |
 */
enum status transcoder_add(const struct transcoder *transcoder, const char *record, size_t size,
                           struct transcoder_rows *rows, bool *converted, struct error *error)
{
    size_t text_size = record_text_size(record, size);
    size_t row_room = 2 + (size_t)transcoder->column_count * VALUE_ROOM + text_size;
    enum status status = transcoder_rows_reserve(rows, row_room + 2 * text_size + TEXT_PADDING, error);
    char *row, *scratch, *text, *end;

    *converted = false;
    /* Servers up to 17 take the second for the end of the data. */
    if (status != STATUS_OK || transcoder->column_count == 0 || (text_size == 2 && memcmp(record, "\\.", 2) == 0))
        return status;
    row = rows->data + rows->size;
    scratch = row + row_room;
    text = scratch + text_size;
    memcpy(text, record, text_size);
    memset(text + text_size, 0, TEXT_PADDING);
    end = make_row(transcoder, text, text + text_size, row, scratch);
    *converted = end != NULL;
    if (*converted)
        rows->size = (size_t)(end - rows->data);
    return STATUS_OK;
}
