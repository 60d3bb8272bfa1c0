/* Records of a piece. */
#include "writers/records.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void records_init(struct records *records, struct piece *piece, char quote, char escape, struct packer *packer,
                  struct stats *stats)
{
    int64_t line = piece_spec(piece)->first_line;

    *records = (struct records){.piece = piece, .packer = packer, .stats = stats, .line = line > 0 ? line : 1};
    cutter_init(&records->cutter, quote, escape);
}

void records_reset(struct records *records)
{
    free(records->carried);
    records->carried = NULL;
    records->carried_size = records->carried_room = 0;
}

/* The rest of the span goes behind what is carried. */
static enum status carry(struct records *records, struct error *error)
{
    size_t rest = records->span.size - records->at, wanted = records->carried_size + rest;

    if (wanted > records->carried_room) {
        size_t room = wanted + wanted / 2;
        char *more = realloc(records->carried, room);

        if (more == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory for a record of more than %zu bytes", wanted);
        records->carried = more;
        records->carried_room = room;
    }
    if (rest > 0)
        memcpy(records->carried + records->carried_size, records->span.data + records->at, rest);
    records->carried_size = wanted;
    records->at = records->span.size;
    return STATUS_OK;
}

static enum status next_span(struct records *records, struct error *error)
{
    enum status status =
        piece_next(records->piece, &records->cursor, records->packer, records->stats, &records->span, error);

    records->source_failed = status != STATUS_OK;
    records->ended = status == STATUS_OK && records->span.size == 0;
    records->at = records->next_mark = 0;
    cutter_forget(&records->cutter);
    return status;
}

/* A stretch of the input begins with a record, or goes on in it where a block is full: only the first kind counts. */
static void heed_marks(struct records *records)
{
    while (records->next_mark < records->span.mark_count) {
        const struct block_mark *mark = span_mark(&records->span, records->next_mark);

        if (mark->at > records->at)
            return;
        if (mark->at == records->at) {
            records->offset = mark->offset;
            if (mark->line != LINE_GOES_ON)
                records->line = piece_spec(records->piece)->first_line + mark->line;
        }
        records->next_mark++;
    }
}

/* The record is cut: says where it is, and moves on. `before`: what of it was carried into this span. */
static void take(struct records *records, const char *text, size_t size, int64_t lines, struct record *record)
{
    *record = (struct record){.text = text, .size = size, .offset = records->offset, .line = records->line};
    records->offset += (int64_t)size;
    records->line += lines;
}

/* The record goes on in the spans that follow. */
static enum status cut_carried(struct records *records, struct record *record, struct error *error)
{
    enum cut cut = CUT_MORE;
    int64_t lines = 0;
    size_t size = 0;

    while (cut == CUT_MORE) {
        size_t before = records->carried_size;
        enum status status = next_span(records, error);

        if (status == STATUS_OK)
            status = carry(records, error);
        if (status != STATUS_OK)
            return status;
        cut = cutter_cut(&records->cutter, records->carried, records->carried_size, records->ended, &size, &lines);
        /* What lies behind the record is read from the span itself. */
        if (cut != CUT_MORE && size > 0)
            records->at = (uint32_t)(size - before);
    }
    cutter_forget(&records->cutter);
    if (size == 0)
        return error_set(error, STATUS_DATA, "a record cannot be cut: %s", records->cutter.problem);
    take(records, records->carried, size, lines, record);
    return STATUS_OK;
}

enum status records_next(struct records *records, struct record *record, struct error *error)
{
    const char *text;
    enum cut cut;
    int64_t lines = 0;
    size_t size = 0;
    enum status status = STATUS_OK;

    *record = (struct record){0};
    records->carried_size = 0;
    if (records->at == records->span.size && !records->ended)
        status = next_span(records, error);
    if (status != STATUS_OK || records->ended)
        return status;
    heed_marks(records);
    text = records->span.data + records->at;
    cut = cutter_cut(&records->cutter, text, records->span.size - records->at, false, &size, &lines);
    if (cut == CUT_MORE) {
        status = carry(records, error);
        return status == STATUS_OK ? cut_carried(records, record, error) : status;
    }
    if (size == 0)
        return error_set(error, STATUS_DATA, "a record cannot be cut: %s", records->cutter.problem);
    records->at += (uint32_t)size;
    take(records, text, size, lines, record);
    return STATUS_OK;
}

int64_t record_server_lines(const struct record *record, enum line_end line_end, bool first)
{
    const char counted = line_end == LINE_END_LF && !first ? '\n' : '\r';
    const char *at = record->text, *end = record->text + record_text_size(record->text, record->size);
    int64_t lines = 1;

    while ((at = memchr(at, counted, (size_t)(end - at))) != NULL) {
        at++;
        lines++;
    }
    return lines;
}
