/* Parts of the transcoder: each type alone, rows of eight fields of it; and the rows of the other parts. */
#include "bench/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pg/pg.h"
#include "readers/cutter.h"
#include "writers/transcode.h"

#define ROWS 5000
#define FIELDS 8
#define SENT_SIZE ((size_t)64 << 10)

/* Numbers that are the same on every run. */
static uint64_t drawn(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void add_value(struct sql *text, const char *type, uint64_t *state)
{
    uint64_t a = drawn(state), b = drawn(state);

    if (strcmp(type, "bool") == 0)
        sql_add(text, "%s", a % 2 == 0 ? "true" : "false");
    else if (strcmp(type, "int4") == 0)
        sql_add(text, "%" PRIu64, a);
    else if (strcmp(type, "int8") == 0)
        sql_add(text, "-%" PRIu64 "%06" PRIu64, a, b % 1000000);
    else if (strcmp(type, "float8") == 0 || strcmp(type, "numeric") == 0)
        sql_add(text, "%" PRIu64 ".%07" PRIu64, a % 1000, b % 10000000);
    else if (strcmp(type, "timestamptz") == 0)
        sql_add(text, "2024-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)(a % 12 + 1), (unsigned)(a / 12 % 28 + 1),
                (unsigned)(b % 24), (unsigned)(b / 24 % 60), (unsigned)(b / 1440 % 60), (unsigned)(a % 1000000));
    else if (strcmp(type, "date") == 0)
        sql_add(text, "20%02u-%02u-%02u", (unsigned)(a % 100), (unsigned)(b % 12 + 1), (unsigned)(b / 12 % 28 + 1));
    else if (strcmp(type, "uuid") == 0)
        sql_add(text, "%08x-%04x-4%03x-a%03x-%08x%04x", (unsigned)a, (unsigned)(b & 0xffff), (unsigned)(a & 0xfff),
                (unsigned)(b & 0xfff), (unsigned)b, (unsigned)(a >> 8 & 0xffff));
    else if (strcmp(type, "jsonb") == 0)
        sql_add(text, "\"{\"\"a\"\": %u, \"\"b\"\": [true, null, \"\"%x\"\"]}\"", (unsigned)(a % 1000), (unsigned)b);
    else
        sql_add(text, "host_%u rack %u", (unsigned)(a % 1000), (unsigned)(b % 10));
}

struct transcoding {
    char *data;
    size_t size;
    int64_t rows;
    struct transcoder *transcoder;
    struct transcoder_rows sent;
    int64_t converted;
};

static enum status work_transcode(void *context, struct error *error)
{
    struct transcoding *transcoding = context;
    const char *text = transcoding->data;
    size_t left = transcoding->size, size;
    enum status status = STATUS_OK;
    struct cutter cutter;
    int64_t lines;

    cutter_init(&cutter, '"', '"');
    for (; left > 0 && status == STATUS_OK; text += size, left -= size) {
        bool converted = false;

        if (cutter_cut(&cutter, text, left, true, &size, &lines) != CUT_RECORD)
            return error_set(error, STATUS_DATA, "%s", cutter.problem);
        if (transcoding->sent.size > SENT_SIZE)
            transcoding->sent.size = 0;
        status = transcoder_add(transcoding->transcoder, text, size, &transcoding->sent, &converted, error);
        transcoding->converted += converted;
    }
    return status;
}

static const char *const types[] = {"bool",        "int4", "int8", "float8", "numeric",
                                    "timestamptz", "date", "uuid", "text",   "jsonb"};

static void make_values(struct transcoding *transcoding, const char *type)
{
    struct sql text = {0};
    uint64_t state = 7;

    for (int row = 0; row < ROWS; row++)
        for (int field = 0; field < FIELDS; field++) {
            add_value(&text, type, &state);
            sql_add(&text, "%s", field < FIELDS - 1 ? "," : "\n");
        }
    transcoding->data = text.text;
    transcoding->size = text.size;
    transcoding->rows = ROWS;
}

/* All records must be converted: what is refused costs little. */
static enum status run_prepared(struct transcoding *transcoding, const struct transcoder_column *columns, int count,
                                int64_t *units, struct error *error)
{
    const struct transcoder_spec spec = {
        .delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .columns = columns, .column_count = count};
    enum status status = transcoder_create(&spec, &transcoding->transcoder, error);

    if (status == STATUS_OK)
        status = parts_measure(work_transcode, transcoding, error);
    if (status == STATUS_OK && transcoding->converted != transcoding->rows)
        status = error_set(error, STATUS_DATA, "%" PRId64 " of %" PRId64 " records were converted",
                           transcoding->converted, transcoding->rows);
    *units = transcoding->rows;
    transcoder_free(transcoding->transcoder);
    transcoder_rows_reset(&transcoding->sent);
    free(transcoding->data);
    return status;
}

static enum status run_type(const struct part *part, int64_t *units, struct error *error)
{
    const char *type = types[part->variant];
    struct transcoder_column columns[FIELDS];
    struct transcoding transcoding = {0};

    for (int i = 0; i < FIELDS; i++)
        columns[i] = (struct transcoder_column){.name = type, .type = type, .base = type};
    make_values(&transcoding, type);
    return run_prepared(&transcoding, columns, FIELDS, units, error);
}

static enum status run_rows(const struct part *part, int64_t *units, struct error *error)
{
    struct transcoder_column columns[TEXT_FIELDS];
    struct transcoding transcoding = {0};
    struct text text;
    enum status status = text_make((enum text_kind)part->variant, &text, error);

    if (status != STATUS_OK)
        return status;
    for (int i = 0; i < TEXT_FIELDS; i++) {
        const char *type = i == 0 ? "timestamptz" : i == 1 ? "int4" : i == 2 ? "text" : "float8";

        columns[i] = (struct transcoder_column){.name = type, .type = type, .base = type};
    }
    transcoding.data = text.data;
    transcoding.size = text.size;
    transcoding.rows = text.rows;
    return run_prepared(&transcoding, columns, TEXT_FIELDS, units, error);
}

const struct part parts_transcode[] = {
    {"transcode", "row", run_rows, TEXT_PLAIN}, {"transcode-bool", "row", run_type, 0},
    {"transcode-int4", "row", run_type, 1},     {"transcode-int8", "row", run_type, 2},
    {"transcode-float8", "row", run_type, 3},   {"transcode-numeric", "row", run_type, 4},
    {"transcode-time", "row", run_type, 5},     {"transcode-date", "row", run_type, 6},
    {"transcode-uuid", "row", run_type, 7},     {"transcode-text", "row", run_type, 8},
    {"transcode-jsonb", "row", run_type, 9},    {0},
};
