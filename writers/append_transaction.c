/* The transaction of a piece. */
#include <inttypes.h>

#include "writers/append_attempt_private.h"

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
        status = attempt_next(attempt, error);
    if (status == STATUS_OK && attempt->span.size > 0)
        status = attempt_copy(attempt, &stored, error);
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

/* Whether the piece was committed before: then nothing of it is written. */
static enum status begin(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct ledger *ledger = session->target->ledger;
    struct input_position frontier = {0};
    enum status status;

    if (attempt->spec->replayable)
        frontier = pipeline_frontier(session->pipeline, attempt->piece);
    session->conflicts = 0;
    status = ledger_begin(session->pg, ledger, attempt->spec, &frontier, &result->already, &result->first_of_range,
                          &result->rows, &result->bytes, error);
    if (status == STATUS_OK && result->already)
        status = ledger_add_conflicts(session->pg, ledger, attempt->spec, 0, &result->conflicts, error);
    return status;
}

/* Without its indexes a cell is searched from end to end: not once more for each range, where all were found empty. */
static bool is_heeded(const struct append_session *session)
{
    return session->entered && session->build->empty;
}

/* What has to be so before the first row. */
static enum status prepare(struct attempt *attempt, bool first_of_range, struct error *error)
{
    struct append_session *session = attempt->session;
    struct range range = attempt->spec->place.range;
    enum status status = STATUS_OK;

    session->piece = attempt->piece;
    session->first = first_of_range && attempt->plain;
    if (session->build != NULL)
        status = build_enter(session, error);
    /* Rows that are told apart go by savepoints, which FREEZE does not allow. */
    session->freeze = session->freeze && attempt->plain;
    if (status == STATUS_OK && first_of_range && !range_is_rejects(range) && !is_heeded(session))
        status = append_heed_overlap(session, range, error);
    return status;
}

static enum status commit(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct ledger *ledger = session->target->ledger;
    enum status status;

    result->piece_conflicts = session->conflicts;
    result->piece_rows = attempt->count.rows - session->conflicts;
    result->piece_bytes = piece_bytes(attempt->piece);
    result->piece_rejects = attempt->count.rejects;
    status = ledger_add_conflicts(session->pg, ledger, attempt->spec, session->conflicts, &result->conflicts, error);
    if (status != STATUS_OK)
        return status;
    return ledger_commit(session->pg, ledger, attempt->spec, result->piece_rows, result->piece_bytes, &result->rows,
                         &result->bytes, error);
}

enum status attempt_load(struct attempt *attempt, struct write_result *result, struct error *error)
{
    struct append_session *session = attempt->session;
    enum status status = begin(attempt, result, error);

    if (status != STATUS_OK || result->already)
        return status;
    status = prepare(attempt, result->first_of_range, error);
    if (status == STATUS_OK)
        status = write_rows(attempt, error);
    if (status == STATUS_OK && session->entered)
        status = build_exit(session, error);
    if (status != STATUS_OK)
        return status;
    return commit(attempt, result, error);
}
