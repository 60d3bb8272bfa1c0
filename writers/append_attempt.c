/* Attempts at a piece: each a transaction and what is made before it; what failed is tried in a safer way. */
#include <stdio.h>
#include <string.h>

#include "writers/append_attempt_private.h"
#include "writers/partitions.h"

/* The record that is wrong. It is looked for once nothing is open on the server any more. */
static void describe_record(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;
    bool refused = attempt->copying && error->status == STATUS_DATA;
    int64_t line;

    if (!attempt->misshapen && !refused)
        return;
    snprintf(error->input, sizeof error->input, "%s", append_input_of(session, attempt->piece)->name);
    if (attempt->misshapen) {
        locate_describe(&attempt->record, error);
        return;
    }
    line = locate_context_line(pg_last_context(session->pg), append_relation_name(session));
    if (attempt->spec->replayable && line > 0)
        locate_record(session, attempt->piece, line, error);
}

/* Where it happened, and what to do. */
static void describe_failure(struct attempt *attempt, struct error *error)
{
    const struct append_target *target = attempt->session->target;
    const char *input_name = append_input_of(attempt->session, attempt->piece)->name;
    char range[TABLE_RANGE_TEXT_MAX];

    if (attempt->reader_failed)
        return;
    describe_record(attempt, error);
    if (strcmp(error->sqlstate, "23505") == 0 && target->staging == NULL)
        error_hint(error, "\n--on-conflict skip leaves out rows whose key the target has already");
    if (range_is_rejects(attempt->spec->place.range))
        error_prefix(error, "%s, rows without a time, from %s", target->table->sql, input_name);
    else
        error_prefix(error, "%s %s from %s", target->table->sql,
                     table_range_text(target->table, attempt->spec->place.range, range), input_name);
}

/* No transaction waits for the source's first row. *any: there is one. */
static enum status take_first(struct attempt *attempt, bool *any, struct error *error)
{
    uint32_t size = 0;
    enum status status;

    if (attempt->plain) {
        status = attempt_next(attempt, error);
        *any = attempt->span.size > 0;
    } else {
        status = piece_first_record(attempt->piece, pipeline_stats(attempt->session->pipeline), &size, error);
        *any = size > 0;
    }
    return status;
}

/* Makes what the rows go into, in transactions of its own. Rejects go into no cell. */
static enum status make_place(struct attempt *attempt, bool any, struct error *error)
{
    struct append_session *session = attempt->session;
    struct append_target *target = session->target;
    const struct place *place = &attempt->spec->place;
    enum status status = STATUS_OK;

    if (range_is_rejects(place->range))
        return STATUS_OK;
    if (target->create_partitions && any && !ahead_known(target, place->range))
        status = partitions_make(session, place->cell, error);
    if (status == STATUS_OK)
        status = build_join(session, attempt->piece, &attempt->span, error);
    if (status == STATUS_OK && attempt->span.size > 0 && (session->build == NULL || !session->build->way->aside) &&
        !ahead_known(target, place->range))
        status = ahead_make(session, attempt->piece, &attempt->span, error);
    return status;
}

/* One transaction; nothing is open after it. */
static enum status attempt_once(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    struct append_target *target = session->target;
    enum status status = pg_connect(session->pg, error);
    bool any = false;

    *result = (struct write_result){0};
    if (status == STATUS_OK)
        status = take_first(attempt, &any, error);
    if (status == STATUS_OK)
        status = make_place(attempt, any, error);
    if (status == STATUS_OK)
        status = attempt_load(attempt, result, error);
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
    return attempt_once(attempt, result, error);
}

/* Once more in the same way but for the build or the order that it has failed by. */
static enum status attempt_simpler(struct attempt *attempt, enum status status, struct write_result *result,
                                   struct error *error)
{
    struct append_session *session = attempt->session;

    if (status != STATUS_OK && session->unbuilt)
        status = attempt_again(attempt, attempt->plain, attempt->wired, result, error);
    if (status != STATUS_OK && session->sorted && session->sorter != NULL && append_is_row_error(error)) {
        session->as_is = true;
        status = attempt_again(attempt, true, false, result, error);
    }
    return status;
}

/*
 * First the fast way. What failed because of that is written once more: into the table itself where its cell could not
 * be built, as it came where it was sorted, carefully where bad rows are rejected, and as CSV, whose error names line
 * and column. A piece that cannot be replayed is asked for again.
 */
static enum status attempt_all(struct attempt *attempt, struct write_result *result, struct error *error)
{
    bool reject = attempt->session->target->reject, replayable = attempt->spec->replayable;
    enum status status = attempt_once(attempt, result, error);

    if (status != STATUS_OK && attempt->session->unbuilt && !replayable)
        return error->status = STATUS_TRANSIENT;
    status = attempt_simpler(attempt, status, result, error);
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

enum status attempt_piece(struct append_session *session, struct piece *piece, struct write_result *result,
                          struct error *error)
{
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
