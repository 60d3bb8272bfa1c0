/* Rows one by one, where a piece has bad ones. */
#include "writers/careful_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_MIN 64
#define SEGMENT_FIRST 256
#define SEGMENT_SIZE_MAX ((size_t)256 << 10)

static enum status reject_held(struct careful *careful, int index, struct error *error)
{
    const struct held *held = &careful->held[index];

    return careful_reject_record(careful, careful->text + held->at, held->size, held->offset, held->line, error);
}

/* ---- Segments ---- */

static const char *sent_text(const struct careful *careful)
{
    return careful->input->shape != NULL ? careful->shaped.data : careful->text;
}

/* Memory for a record that is larger than all segments stays until the piece is written. */
static enum status hold(struct careful *careful, const struct record *record, size_t sent_at, struct error *error)
{
    size_t wanted = careful->size + record->size;
    bool shaped = careful->input->shape != NULL;

    if (wanted > careful->room) {
        char *more = realloc(careful->text, wanted + SEGMENT_SIZE_MAX);

        if (more == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory for a record of %zu bytes", record->size);
        careful->text = more;
        careful->room = wanted + SEGMENT_SIZE_MAX;
    }
    memcpy(careful->text + careful->size, record->text, record->size);
    careful->held[careful->held_count++] = (struct held){
        .at = careful->size,
        .size = record->size,
        .sent_at = shaped ? sent_at : careful->size,
        .sent_size = shaped ? careful->shaped.size - sent_at : record->size,
        .offset = record->offset,
        .line = record->line,
    };
    careful->size = wanted;
    return STATUS_OK;
}

/* One that cannot be brought into shape is bad for that. */
static enum status take(struct careful *careful, const struct record *record, struct error *error)
{
    size_t sent_at = careful->shaped.size;
    enum status status = STATUS_OK;

    error_reset(&careful->reason);
    if (careful->input->refuses != NULL &&
        careful->input->refuses(careful->input->context, record->text, record->size, &careful->reason))
        return careful_reject_unrouted(careful, record, error);
    if (careful->input->shape != NULL)
        status = shape_apply(careful->input->shape, record->text, record->size, &careful->shaped, &careful->reason);
    if (status == STATUS_OK)
        return hold(careful, record, sent_at, error);
    if (!append_is_row_error(&careful->reason)) {
        *error = careful->reason;
        return status;
    }
    careful->column[0] = '\0';
    return careful_reject_record(careful, record->text, record->size, record->offset, record->line, error);
}

/* Takes records until there are enough of them, or enough rejects; none at the end. */
static enum status fill(struct careful *careful, struct error *error)
{
    careful->held_count = 0;
    careful->size = careful->shaped.size = 0;
    while (careful->held_count < careful->limit && careful->size < SEGMENT_SIZE_MAX &&
           !reject_is_full(&careful->batch)) {
        struct record record;
        enum status status = records_next(&careful->records, &record, error);

        careful->ended = status == STATUS_OK && record.size == 0;
        if (status == STATUS_OK && record.size > 0)
            status = take(careful, &record, error);
        if (status != STATUS_OK || record.size == 0)
            return status;
    }
    return STATUS_OK;
}

static enum status copy_held(struct careful *careful, int first, int count, struct error *error)
{
    struct append_session *session = careful->session;
    const struct held *begin = &careful->held[first], *last = &careful->held[first + count - 1];
    enum status status = append_copy_begin(session, careful->input, careful->input->csv_options, error);
    int64_t rows = 0;

    if (status == STATUS_OK)
        status = append_copy_send(session, sent_text(careful) + begin->sent_at,
                                  last->sent_at + last->sent_size - begin->sent_at, error);
    if (status == STATUS_OK)
        status = append_copy_end(session, careful->input, &rows, error);
    if (status == STATUS_OK && rows != count)
        status = error_set(error, STATUS_DATA,
                           "%d rows were sent and the server counted %" PRId64
                           "; the piece was rolled back. Does a trigger or rule on the table drop rows?",
                           count, rows);
    return status;
}

/* The table that the context of COPY names. */
static const char *copied_name(const struct careful *careful)
{
    return careful->target->staging != NULL ? careful->target->staging : careful->target->table->name;
}

/* Which record of the COPY the server has named; -1: none. */
static int named_record(const struct careful *careful, int first, int count)
{
    int64_t line = locate_context_line(pg_last_context(careful->session->pg), copied_name(careful)), at = 0;

    for (int i = 0; line > 0 && i < count; i++) {
        const struct held *held = &careful->held[first + i];
        struct record record = {.text = sent_text(careful) + held->sent_at, .size = held->sent_size};

        at += record_server_lines(&record, careful->records.cutter.line_end, i == 0);
        if (at >= line)
            return i;
    }
    return -1;
}

/*
 * Keeps what the server has said of the COPY that failed. With a column in the context it is that value which could not
 * be read; else the line may be that of another row: rows are inserted, and indexes written, many at a time.
 */
static void keep_reason(struct careful *careful, int first, int count)
{
    const struct pg *pg = careful->session->pg;
    const char *column = locate_context_column(pg_last_context(pg), copied_name(careful), careful->target->table);

    careful->named = named_record(careful, first, count);
    careful->certain = count == 1 || (careful->named >= 0 && column[0] != '\0');
    if (count == 1)
        careful->named = 0;
    if (column[0] == '\0')
        column = pg_last_column(pg);
    snprintf(careful->column, sizeof careful->column, "%s", column);
}

/* One try, in the savepoint that stands. STATUS_OK with *taken false: a row of it is bad. */
static enum status try_rows(struct careful *careful, int first, int count, bool *taken, struct error *error)
{
    struct pg *pg = careful->session->pg;
    enum status status;

    error_reset(&careful->reason);
    status = copy_held(careful, first, count, &careful->reason);
    *taken = status == STATUS_OK;
    if (*taken) {
        careful_add(careful->session->target, careful->count, count, 0);
        return pg_run(pg, "RELEASE SAVEPOINT hyperfill; SAVEPOINT hyperfill", NULL, error);
    }
    if (!append_is_row_error(&careful->reason)) {
        *error = careful->reason;
        return status;
    }
    keep_reason(careful, first, count);
    return pg_run(pg, "ROLLBACK TO SAVEPOINT hyperfill", NULL, error);
}

/*
 * Takes or rejects each of the records. Unless it is certain, what the server has named is only where to divide: it is
 * tried alone too.
 */
static enum status settle(struct careful *careful, int first, int count, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && count > 0) {
        bool taken, certain;
        int named, part;

        status = try_rows(careful, first, count, &taken, error);
        if (status != STATUS_OK || taken)
            return status;
        named = careful->named;
        certain = careful->certain;
        part = named >= 0 ? named : count / 2;
        if (certain)
            status = reject_held(careful, first + named, error);
        if (status == STATUS_OK && part > 0)
            status = settle(careful, first, part, error);
        if (status == STATUS_OK && named >= 0 && !certain)
            status = settle(careful, first + named, 1, error);
        part += named >= 0;
        first += part;
        count -= part;
    }
    return status;
}

/* Between segments, and in no savepoint: with one that is rolled back the rejects would be gone. */
static enum status flush_rejects(struct careful *careful, struct error *error)
{
    struct pg *pg = careful->session->pg;
    enum status status;

    if (!reject_is_full(&careful->batch))
        return STATUS_OK;
    status = pg_run(pg, "RELEASE SAVEPOINT hyperfill", NULL, error);
    if (status == STATUS_OK)
        status = reject_flush(pg, &careful->batch, error);
    return status == STATUS_OK ? pg_run(pg, "SAVEPOINT hyperfill", NULL, error) : status;
}

static enum status write_segments(struct careful *careful, struct error *error)
{
    enum status status =
        pg_run(careful->session->pg, "SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT hyperfill", NULL, error);

    while (status == STATUS_OK) {
        int64_t rejects = careful->count->rejects;

        status = fill(careful, error);
        if (status != STATUS_OK || (careful->ended && careful->held_count == 0))
            break;
        status = settle(careful, 0, careful->held_count, error);
        if (careful->count->rejects == rejects && careful->limit < SEGMENT_MAX)
            careful->limit *= 2;
        else if (careful->count->rejects > rejects && careful->limit > SEGMENT_MIN)
            careful->limit /= 2;
        if (status == STATUS_OK)
            status = flush_rejects(careful, error);
    }
    if (status == STATUS_OK)
        status = pg_run(careful->session->pg, "RELEASE SAVEPOINT hyperfill", NULL, error);
    return status;
}

/* ---- The piece ---- */

static enum status careful_run(struct append_session *session, struct piece *piece, struct careful_count *count,
                               enum status (*run)(struct careful *careful, struct error *error), bool *source_failed,
                               struct error *error)
{
    struct careful *careful = calloc(1, sizeof *careful);
    enum status status;

    if (careful == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    careful->session = session;
    careful->target = session->target;
    careful->input = append_input_of(session, piece);
    careful->spec = piece_spec(piece);
    careful->piece = piece;
    careful->count = count;
    careful->limit = SEGMENT_FIRST;
    records_init(&careful->records, piece, careful->input->quote, careful->input->escape, session->packer,
                 pipeline_stats(session->pipeline));
    status = run(careful, error);
    if (status == STATUS_OK)
        status = reject_flush(session->pg, &careful->batch, error);
    if (status == STATUS_OK)
        status = reject_verify(session->pg, session->target->ledger, careful->spec, count->rejects, error);
    *source_failed = careful->records.source_failed;
    reject_batch_reset(&careful->batch);
    records_reset(&careful->records);
    shape_text_reset(&careful->shaped);
    free(careful->text);
    free(careful);
    return status;
}

enum status careful_write(struct append_session *session, struct piece *piece, struct careful_count *count,
                          bool *source_failed, struct error *error)
{
    return careful_run(session, piece, count, write_segments, source_failed, error);
}

enum status careful_reject(struct append_session *session, struct piece *piece, struct careful_count *count,
                           bool *source_failed, struct error *error)
{
    return careful_run(session, piece, count, careful_reject_all, source_failed, error);
}
