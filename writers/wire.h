/*
 * A piece by way of the transcoder: binary COPY for what it converts, CSV for what it refuses, in one transaction.
 *
 *     records   c c c c c r c c c … c c c c c       c: converted, r: refused
 *     COPYs     ├ binary ┤├── CSV ──┤├ binary ─     a stretch of CSV is longer each time, in the end all that is left
 *
 * The order of rows is that of the piece. When the server dislikes a row the piece is to be written again as CSV alone:
 * then its error names line and column.
 */
#pragma once

#include "writers/append_private.h"

/* Whoever has the records: the next one as COPY gets it as CSV. Empty at the end. Valid until the next call. */
struct wire_records {
    enum status (*next)(void *context, struct span *record, struct error *error);
    void *context;
};

/* Sends `first`, which is not empty, and all that follow; gives the count of rows that the server has stored. */
MUST_CHECK enum status wire_copy(struct append_session *session, const struct append_input *input,
                                 const struct span *first, const struct wire_records *records, int64_t *rows,
                                 struct error *error);
