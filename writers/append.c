/* COPY through the table itself, one piece a transaction. */
#include "writers/careful.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "writers/partitions.h"
#include "writers/staging.h"
#include "writers/wire.h"

/* Shaped records are sent so many bytes at a time. */
#define SHAPED_SIZE ((size_t)64 << 10)

/* One attempt at a piece. */
struct attempt {
    struct append_session *session;
    struct piece *piece;
    const struct piece_spec *spec;
    struct cursor cursor;
    struct span span;   /* the text that is sent next; size 0 at the end */
    bool reader_failed; /* the error is the reader's and says all */
    bool copying;       /* the error is about a row */
    bool plain;         /* else bad rows are looked for and rejected, or all are rejects */
    bool wired;         /* plain, and by the transcoder: the span is one record */
    struct careful_count count;
    /* Where the input has a shape, or wired: its records. The span is what was made of them then. */
    struct records records;
    struct shape_text text;
    struct record record; /* the last one taken */
    bool misshapen;       /* the error is about that one */
};

static int compare_ranges(const void *left, const void *right)
{
    const struct range *a = left, *b = right;

    return (a->lo > b->lo) - (a->lo < b->lo);
}

enum status append_target_init(struct append_target *target, struct error *error)
{
    const struct table *table = target->table;
    bool by_row = !(table->community && table->dimensions == 1);

    pthread_mutex_init(&target->mutex, NULL);
    /* A real row would fire its triggers twice. */
    target->ahead = (table->kind == TABLE_HYPERTABLE && !(by_row && table->row_triggers)) ||
                    (table->kind == TABLE_PARTITIONED && target->create_partitions);
    target->staging = target->skip_conflicts ? staging_name(target) : NULL;
    target->made_count = 0;
    target->made_room = table->cell_count + 64;
    target->made = calloc(target->made_room, sizeof *target->made);
    if (target->made == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for %zu chunks of %s", table->cell_count, table->sql);
    if (table->cell_count > 0)
        memcpy(target->made, table->cells, table->cell_count * sizeof *target->made);
    target->made_count = table->cell_count;
    qsort(target->made, target->made_count, sizeof *target->made, compare_ranges);
    return STATUS_OK;
}

void append_target_reset(struct append_target *target)
{
    if (target->made == NULL)
        return;
    pthread_mutex_destroy(&target->mutex);
    free(target->made);
    free(target->staging);
    target->made = NULL;
    target->made_count = target->made_room = 0;
}

static void append_close(void *opened)
{
    struct append_session *session = opened;

    if (session == NULL)
        return;
    pg_free(session->pg);
    packer_free(session->packer);
    sorter_free(session->sorter);
    free(session);
}

static enum status append_open(void *target, struct pipeline *pipeline, void **opened, struct error *error)
{
    struct append_session *session = calloc(1, sizeof *session);
    enum status status;

    if (session == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for a writer");
    session->target = target;
    session->pipeline = pipeline;
    status = packer_create(pool_block_size(pipeline_pool(pipeline)), &session->packer, error);
    if (status == STATUS_OK)
        status = pg_create(session->target->address, session->target->settings, pipeline_stop(pipeline), &session->pg,
                           error);
    if (status != STATUS_OK) {
        append_close(session);
        return status;
    }
    *opened = session;
    return STATUS_OK;
}

const struct append_input *append_input_of(const struct append_session *session, const struct piece *piece)
{
    size_t index = (size_t)piece_spec(piece)->input;

    assert(index < session->target->input_count);
    return &session->target->inputs[index];
}

/* The next record as the span; of shaped ones many once COPY runs. Empty at the end. */
static enum status next_record(struct attempt *attempt, const struct shape *shape, struct error *error)
{
    struct shape_text *text = &attempt->text;
    enum status status;

    text->size = 0;
    do {
        status = records_next(&attempt->records, &attempt->record, error);
        attempt->reader_failed = status != STATUS_OK && attempt->records.source_failed;
        if (status != STATUS_OK || attempt->record.size == 0)
            break;
        if (shape == NULL) {
            attempt->span = (struct span){.data = attempt->record.text, .size = (uint32_t)attempt->record.size};
            return STATUS_OK;
        }
        status = shape_apply(shape, attempt->record.text, attempt->record.size, text, error);
        attempt->misshapen = status == STATUS_DATA;
    } while (status == STATUS_OK && attempt->copying && !attempt->wired && text->size < SHAPED_SIZE);
    attempt->span = (struct span){.data = text->data, .size = (uint32_t)text->size};
    return status;
}

static enum status next_text(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct shape *shape = append_input_of(session, attempt->piece)->shape;
    enum status status;

    if (session->sorted && session->sorter != NULL) {
        attempt->span = sorter_next(session->sorter, attempt->wired);
        return STATUS_OK;
    }
    if (shape != NULL || attempt->wired)
        return next_record(attempt, shape, error);
    status = piece_next(attempt->piece, &attempt->cursor, session->packer, pipeline_stats(session->pipeline),
                        &attempt->span, error);

    attempt->reader_failed = status != STATUS_OK;
    return status;
}

/* Sends the text to its end. When the reader fails, COPY is made undone first: the connection stays of use. */
static enum status send_text(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;

    while (attempt->span.size > 0) {
        enum status status = append_copy_send(session, attempt->span.data, attempt->span.size, error);

        if (status != STATUS_OK)
            return status;
        status = next_text(attempt, error);
        if (status != STATUS_OK) {
            pg_copy_in_fail(session->pg, attempt->misshapen ? "a record is wrong" : "the source failed");
            return status;
        }
    }
    return STATUS_OK;
}

static enum status next_wired(void *context, struct span *record, struct error *error)
{
    struct attempt *attempt = context;
    enum status status = next_text(attempt, error);

    *record = attempt->span;
    return status;
}

static enum status copy_wired(struct attempt *attempt, const struct append_input *input, int64_t *rows,
                              struct error *error)
{
    const struct wire_records records = {next_wired, attempt};

    attempt->copying = true;
    return wire_copy(attempt->session, input, &attempt->span, &records, rows, error);
}

static enum status copy_piece(struct attempt *attempt, int64_t *rows, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct append_input *input = append_input_of(session, attempt->piece);
    enum status status;

    if (attempt->wired)
        return copy_wired(attempt, input, rows, error);
    status = append_copy_begin(session, input, input->copy_options, error);
    if (status != STATUS_OK)
        return status;
    attempt->copying = true;
    status = send_text(attempt, error);
    if (status == STATUS_OK)
        status = append_copy_end(session, input, rows, error);
    return status;
}

/* Rows that neither side has reported as wrong may still be missing: a trigger, a rule, `\\.` in the text. */
static enum status compare_counts(const struct attempt *attempt, int64_t stored, struct error *error)
{
    int64_t sent = piece_rows(attempt->piece);

    if (stored == sent)
        return STATUS_OK;
    return error_set(
        error, STATUS_DATA,
        "%" PRId64 " rows were sent and the server counted %" PRId64
        "; all were rolled back. Does a trigger or rule on the table drop rows, or has the input a line with"
        " \\. alone?",
        sent, stored);
}

/* All rows by one COPY. */
static enum status write_plain(struct attempt *attempt, struct error *error)
{
    int64_t stored = 0;
    enum status status = STATUS_OK;

    /* What was taken before is the first of its records. */
    if (attempt->session->sorted && attempt->session->sorter != NULL)
        status = next_text(attempt, error);
    if (status == STATUS_OK && attempt->span.size > 0)
        status = copy_piece(attempt, &stored, error);
    if (status == STATUS_OK)
        status = compare_counts(attempt, stored, error);
    attempt->copying = attempt->copying && status != STATUS_OK && error->sqlstate[0] != '\0';
    attempt->count.rows = stored;
    return status;
}

static enum status write_rows(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;
    enum status status;

    if (range_is_rejects(attempt->spec->place.range))
        return careful_reject(session, attempt->piece, &attempt->count, &attempt->reader_failed, error);
    if (attempt->plain)
        return write_plain(attempt, error);
    status = careful_write(session, attempt->piece, &attempt->count, &attempt->reader_failed, error);
    if (status == STATUS_OK)
        status = compare_counts(attempt, attempt->count.rows + attempt->count.rejects, error);
    return status;
}

/* All between BEGIN and COMMIT. */
static enum status load(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct append_target *target = session->target;
    struct input_position frontier = {0};
    enum status status;

    if (attempt->spec->replayable)
        frontier = pipeline_frontier(session->pipeline, attempt->piece);
    status = ledger_begin(session->pg, target->ledger, attempt->spec, &frontier, &result->already,
                          &result->first_of_range, &result->rows, &result->bytes, error);
    session->conflicts = 0;
    if (status == STATUS_OK && result->already)
        return ledger_add_conflicts(session->pg, target->ledger, attempt->spec, 0, &result->conflicts, error);
    if (status != STATUS_OK)
        return status;
    session->piece = attempt->piece;
    session->first = result->first_of_range && attempt->plain;
    if (session->build != NULL)
        status = build_enter(session, error);
    /* Rows that are told apart go by savepoints, which FREEZE does not allow. */
    session->freeze = session->freeze && attempt->plain;
    if (status == STATUS_OK && result->first_of_range && !range_is_rejects(attempt->spec->place.range))
        status = append_heed_overlap(session, attempt->spec->place.range, error);
    if (status == STATUS_OK)
        status = write_rows(attempt, error);
    if (status == STATUS_OK && session->entered)
        status = build_exit(session, error);
    if (status != STATUS_OK)
        return status;
    result->piece_conflicts = session->conflicts;
    result->piece_rows = attempt->count.rows - session->conflicts;
    result->piece_bytes = piece_bytes(attempt->piece);
    result->piece_rejects = attempt->count.rejects;
    status =
        ledger_add_conflicts(session->pg, target->ledger, attempt->spec, session->conflicts, &result->conflicts, error);
    if (status != STATUS_OK)
        return status;
    return ledger_commit(session->pg, target->ledger, attempt->spec, result->piece_rows, result->piece_bytes,
                         &result->rows, &result->bytes, error);
}

/* Where it happened. The record is looked for once nothing is open on the server any more. */
static void describe_failure(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct append_target *target = session->target;
    const char *input_name = append_input_of(session, attempt->piece)->name;
    char range[TABLE_RANGE_TEXT_MAX];
    int64_t line;

    if (attempt->reader_failed)
        return;
    if (attempt->misshapen) {
        snprintf(error->input, sizeof error->input, "%s", input_name);
        locate_describe(&attempt->record, error);
    } else if (attempt->copying && error->status == STATUS_DATA) {
        snprintf(error->input, sizeof error->input, "%s", input_name);
        line = locate_context_line(pg_last_context(session->pg), append_relation_name(session));
        if (attempt->spec->replayable && line > 0)
            locate_record(session, attempt->piece, line, error);
    }
    if (strcmp(error->sqlstate, "23505") == 0 && target->staging == NULL)
        error_hint(error, "\n--on-conflict skip leaves out rows whose key the target has already");
    if (range_is_rejects(attempt->spec->place.range))
        error_prefix(error, "%s, rows without a time, from %s", target->table->sql, input_name);
    else
        error_prefix(error, "%s %s from %s", target->table->sql,
                     table_range_text(target->table, attempt->spec->place.range, range), input_name);
}

/* One transaction; nothing is open after it. */
static enum status attempt_piece(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    struct append_target *target = session->target;
    uint32_t first_size = 0;
    enum status status = pg_connect(session->pg, error);

    *result = (struct write_result){0};
    /* No transaction waits for the source's first row. */
    if (status == STATUS_OK && attempt->plain)
        status = next_text(attempt, error);
    else if (status == STATUS_OK)
        status = piece_first_record(attempt->piece, pipeline_stats(session->pipeline), &first_size, error);
    if (status == STATUS_OK && !range_is_rejects(attempt->spec->place.range) && target->create_partitions &&
        (attempt->span.size > 0 || first_size > 0) && !ahead_known(target, attempt->spec->place.range))
        status = partitions_make(session, attempt->spec->place.cell, error);
    if (status == STATUS_OK && !range_is_rejects(attempt->spec->place.range))
        status = build_join(session, attempt->piece, &attempt->span, error);
    if (status == STATUS_OK && attempt->span.size > 0 && (session->build == NULL || !session->build->way->aside) &&
        !ahead_known(target, attempt->spec->place.range))
        status = ahead_make(session, attempt->piece, &attempt->span, error);
    if (status == STATUS_OK)
        status = load(attempt, result, error);
    if (status == STATUS_OK && !result->already) {
        if (attempt->plain)
            atomic_fetch_add(&target->rows_seen, attempt->count.rows);
        return STATUS_OK;
    }
    pg_rollback(session->pg);
    if (!attempt->plain)
        careful_undo(target, &attempt->count);
    result->ends = attempt->count.too_many;
    return status;
}

static void attempt_init(struct attempt *attempt, struct append_session *session, struct piece *piece)
{
    const struct append_input *input = append_input_of(session, piece);

    *attempt = (struct attempt){.session = session, .piece = piece, .spec = piece_spec(piece)};
    records_init(&attempt->records, piece, input->quote, input->escape, session->packer,
                 pipeline_stats(session->pipeline));
}

static void attempt_reset(struct attempt *attempt)
{
    records_reset(&attempt->records);
    shape_text_reset(&attempt->text);
}

/* Once more from the beginning, after the transaction was rolled back. */
static enum status attempt_again(struct attempt *attempt, bool plain, bool wired, struct write_result *result,
                                 struct error *error)
{
    struct append_session *session = attempt->session;
    struct piece *piece = attempt->piece;

    build_leave(session, piece, false);
    attempt_reset(attempt);
    attempt_init(attempt, session, piece);
    attempt->plain = plain;
    attempt->wired = wired;
    error_reset(error);
    return attempt_piece(attempt, result, error);
}

/*
 * First the fast way. What failed because of that is written once more: into the table itself where its cell could not
 * be built, as it came where it was sorted, carefully where bad rows are rejected, and as CSV, whose error names line
 * and column. A piece that cannot be replayed is asked for again.
 */
static enum status attempt_all(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    bool reject = session->target->reject, replayable = attempt->spec->replayable;
    enum status status = attempt_piece(attempt, result, error);

    if (status != STATUS_OK && session->unbuilt && !replayable)
        return error->status = STATUS_TRANSIENT;
    if (status != STATUS_OK && session->unbuilt)
        status = attempt_again(attempt, attempt->plain, attempt->wired, result, error);
    if (status != STATUS_OK && session->sorted && session->sorter != NULL && append_is_row_error(error)) {
        session->as_is = true;
        status = attempt_again(attempt, true, false, result, error);
    }
    /* A constraint that waits for the commit speaks there; a reader that is asked for ranges, of times that it cannot
     * read. */
    if (status != STATUS_OK && (reject || attempt->wired) && attempt->plain &&
        (!attempt->reader_failed || (reject && !replayable)) && append_is_row_error(error)) {
        result->careful = !replayable;
        if (replayable)
            status = attempt_again(attempt, !reject, false, result, error);
    }
    return status;
}

static enum status append_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    struct append_session *session = opened;
    const struct piece_spec *spec = piece_spec(piece);
    bool rejects = range_is_rejects(spec->place.range);
    struct attempt attempt;
    enum status status;

    attempt_init(&attempt, session, piece);
    attempt.plain = !(spec->careful && session->target->reject) && !rejects;
    attempt.wired = !spec->careful && !rejects && append_input_of(session, piece)->transcoder != NULL;
    status = attempt_all(&attempt, result, error);
    if (status != STATUS_OK)
        describe_failure(&attempt, error);
    build_leave(session, piece, status == STATUS_OK);
    session->as_is = false;
    attempt_reset(&attempt);
    return status;
}

static enum status append_finish(void *opened, struct error *error)
{
    return build_finish(opened, error);
}

const struct writer_ops append_writer = {
    .name = "append",
    .open = append_open,
    .write = append_write,
    .finish = append_finish,
    .close = append_close,
};

/* ---- Several tables ---- */

static enum status tables_open(void *argument, struct pipeline *pipeline, void **opened, struct error *error)
{
    const struct append_tables *tables = argument;
    enum status status = append_open(tables->targets[0], pipeline, opened, error);

    if (status == STATUS_OK)
        ((struct append_session *)*opened)->tables = tables;
    return status;
}

/* Between pieces; what the session keeps of a table is that it sorts its rows. */
static void tables_turn(struct append_session *session, int32_t table)
{
    struct append_target *target = session->tables->targets[table];

    assert(table < session->tables->count && session->build == NULL);
    if (session->target == target)
        return;
    sorter_free(session->sorter);
    session->sorter = NULL;
    session->target = target;
}

static enum status tables_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    tables_turn(opened, piece_spec(piece)->table);
    return append_write(opened, piece, result, error);
}

static void tables_ended(void *opened, int32_t table)
{
    struct error error;

    error_reset(&error);
    tables_turn(opened, table);
    if (append_finish(opened, &error) != STATUS_OK)
        log_line(LOG_DEBUG, "%s; once more at the end", error.text);
}

/* A table that cannot be finished does not keep the others from it. It is told by what of it is still open; only what
 * may be over soon is tried again. */
static enum status tables_finish(void *opened, struct error *error)
{
    struct append_session *session = opened;
    struct error one;

    for (int32_t i = 0; i < session->tables->count; i++) {
        error_reset(&one);
        tables_turn(session, i);
        if (append_finish(session, &one) == STATUS_OK)
            continue;
        if (one.status != STATUS_TRANSIENT && one.status != STATUS_STOPPED && one.status != STATUS_SYSTEM)
            log_error(&one);
        else if (error->status == STATUS_OK)
            *error = one;
    }
    return error->status;
}

const struct writer_ops append_tables_writer = {
    .name = "append",
    .open = tables_open,
    .write = tables_write,
    .finish = tables_finish,
    .table_ended = tables_ended,
    .close = append_close,
};
