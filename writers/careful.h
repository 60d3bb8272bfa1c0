/*
 * Careful writing: a piece with bad rows is loaded without them, and they become rejects, in one transaction.
 *
 *     segment of 64 to 4096 records ──► SAVEPOINT; COPY ──► taken
 *                                                      └──► ROLLBACK TO; the record that COPY names, else a half:
 *                                                           before it, it alone, behind it, each in the same way
 *
 * A record is rejected when it fails alone, or when the server says which of its values it could not read. Segments
 * grow while they succeed and shrink when they fail, so that some bad rows in a hundred cost little and a clean stretch
 * next to nothing. COPY's own ON_ERROR is never used: it corrupts hypertables.
 */
#pragma once

#include "writers/append_private.h"

/* What a transaction has done so far. It is counted in the target as it happens, for --max-rejects. */
struct careful_count {
    int64_t rows, rejects;
    bool too_many; /* why it failed */
};

/* Between ledger_begin and ledger_commit. Constraints that could wait for the commit speak at once. */
MUST_CHECK enum status careful_write(struct append_session *session, struct piece *piece, struct careful_count *count,
                                     bool *source_failed, struct error *error);

/* The same for a piece of RANGE_REJECTS: all its records become rejects. */
MUST_CHECK enum status careful_reject(struct append_session *session, struct piece *piece, struct careful_count *count,
                                      bool *source_failed, struct error *error);

/* The transaction was rolled back: what it has done no longer counts. */
void careful_undo(struct append_target *target, struct careful_count *count);
