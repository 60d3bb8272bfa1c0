/* Parts of writing: pieces, their records, shapes. */
#include "bench/parts.h"

#include <stdlib.h>

#include "writers/records.h"
#include "writers/shape.h"

#define SHAPED_MAX (64 << 10)

/* ---- Pieces ---- */

struct holding {
    struct text_blocks blocks;
    struct stats stats;
    struct piece *piece;
    int64_t found;
};

static enum status holding_open(struct holding *holding, enum text_kind kind, struct error *error)
{
    const struct piece_spec spec = {.replayable = true};
    const struct text *text = &holding->blocks.text;
    enum status status = text_blocks_open(kind, &holding->blocks, error);

    if (status == STATUS_OK)
        status = piece_create(&spec, holding->blocks.pool, &holding->piece, error);
    if (status == STATUS_OK) {
        piece_set_chain(holding->piece, &holding->blocks.chain);
        piece_complete(holding->piece, text->rows, (int64_t)text->size);
    }
    return status;
}

static void holding_close(struct holding *holding)
{
    /* Reader and writer. */
    for (int i = 0; i < 2; i++)
        piece_release(holding->piece);
    text_blocks_close(&holding->blocks);
}

static enum status work_records(void *context, struct error *error)
{
    struct holding *holding = context;
    struct records records;
    struct record record;
    enum status status;

    records_init(&records, holding->piece, '"', '"', holding->blocks.packer, &holding->stats);
    while ((status = records_next(&records, &record, error)) == STATUS_OK && record.size > 0)
        holding->found++;
    records_reset(&records);
    return status;
}

static enum status run_records(const struct part *part, int64_t *units, struct error *error)
{
    struct holding holding = {0};
    enum status status = holding_open(&holding, (enum text_kind)part->variant, error);

    if (status == STATUS_OK)
        status = parts_measure(work_records, &holding, error);
    if (status == STATUS_OK && holding.found != holding.blocks.text.rows)
        status = error_set(error, STATUS_DATA, "not all records were found");
    *units = holding.blocks.text.rows;
    holding_close(&holding);
    return status;
}

/* ---- Shapes ---- */

struct shaping {
    struct text text;
    struct shape *shape;
    struct shape_text shaped;
};

/* The last columns come first, the time is written anew, and one more column is the same in each row. */
static enum status shaping_open(struct shaping *shaping, enum text_kind kind, struct error *error)
{
    const struct shape_dialect dialect = {',', '"', '"'};
    const char *names[TEXT_FIELDS];
    struct shape_column columns[TEXT_FIELDS + 1];
    const struct shape_spec spec = {
        .from = dialect,
        .to = dialect,
        .null_text = "",
        .field_names = names,
        .field_count = TEXT_FIELDS,
        .columns = columns,
        .column_count = TEXT_FIELDS + 1,
        .time = {.type = TIME_TIMESTAMPTZ, .precision = -1},
    };
    enum status status = text_make(kind, &shaping->text, error);

    for (int i = 0; i < TEXT_FIELDS; i++) {
        const int field = TEXT_FIELDS - 1 - i;

        names[i] = "field";
        columns[i] = (struct shape_column){field == 0 ? SHAPE_TIME : SHAPE_FIELD, field, NULL};
    }
    columns[TEXT_FIELDS] = (struct shape_column){SHAPE_CONSTANT, 0, "berlin"};
    return status == STATUS_OK ? shape_create(&spec, &shaping->shape, error) : status;
}

static enum status work_shape(void *context, struct error *error)
{
    struct shaping *shaping = context;
    const char *text = shaping->text.data;
    size_t left = shaping->text.size, size;
    enum status status = STATUS_OK;
    struct cutter cutter;
    int64_t lines;

    cutter_init(&cutter, '"', '"');
    for (; left > 0 && status == STATUS_OK; text += size, left -= size) {
        if (cutter_cut(&cutter, text, left, true, &size, &lines) != CUT_RECORD)
            return error_set(error, STATUS_DATA, "%s", cutter.problem);
        if (shaping->shaped.size > SHAPED_MAX)
            shaping->shaped.size = 0;
        status = shape_apply(shaping->shape, text, size, &shaping->shaped, error);
    }
    return status;
}

static enum status run_shape(const struct part *part, int64_t *units, struct error *error)
{
    struct shaping shaping = {0};
    enum status status = shaping_open(&shaping, (enum text_kind)part->variant, error);

    if (status == STATUS_OK)
        status = parts_measure(work_shape, &shaping, error);
    *units = shaping.text.rows;
    shape_text_reset(&shaping.shaped);
    shape_free(shaping.shape);
    free(shaping.text.data);
    return status;
}

const struct part parts_write[] = {
    {"records", "row", run_records, TEXT_PLAIN},
    {"records-quoted", "row", run_records, TEXT_QUOTED},
    {"shape", "row", run_shape, TEXT_PLAIN},
    {"shape-quoted", "row", run_shape, TEXT_QUOTED},
    {0},
};
