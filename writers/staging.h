/*
 * Rows whose key the target has already are left out: --on-conflict skip.
 *
 *     COPY ─► pg_temp table of the session ─► INSERT … SELECT … ON CONFLICT DO NOTHING ─► target
 *
 * All in the transaction of the piece. The temporary table has the target's columns with their types, without
 * constraints, defaults and generated columns; it is made once a session, emptied by each commit, and gone with the
 * session. Of rows of one piece with the same key the first one of the input counts, as a rule: the server promises no
 * order. Unique and exclusion constraints of the target decide what a conflict is; rows that a trigger of the target
 * drops count as conflicts too.
 */
#pragma once

#include "writers/append_private.h"

/* What the temporary table is called, unquoted; as contexts of errors have it. Caller frees. */
char *staging_name(const struct append_target *target);

/* Begins the COPY into the temporary table, which it makes where it is missing. In a transaction. */
MUST_CHECK enum status staging_begin(struct append_session *session, const struct append_input *input,
                                     const char *options, struct error *error);

/* Ends the COPY and moves what came to the target. `rows` is COPY's count, of which `conflicts` were left out. */
MUST_CHECK enum status staging_end(struct append_session *session, const struct append_input *input, int64_t *rows,
                                   int64_t *conflicts, struct error *error);
