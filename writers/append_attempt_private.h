/*
 * One attempt at a piece, between the files that make it:
 *
 *     append_attempt.c  ──► append_transaction.c  ──► append_text.c
 *     what is done before   BEGIN, rows, ledger,      the texts of a piece, one COPY of them
 *     it, and once more     COMMIT                    (careful.h: several)
 */
#pragma once

#include "writers/careful.h"

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

/*
 * Takes the next text of the piece as COPY gets it into the span: of a piece in shape or wired one record before COPY
 * runs. Size 0 at the end.
 */
MUST_CHECK enum status attempt_next(struct attempt *attempt, struct error *error);

/* One COPY of the span and all that follows it; its count of rows. */
MUST_CHECK enum status attempt_copy(struct attempt *attempt, int64_t *rows, struct error *error);

/*
 * All between BEGIN and COMMIT, both included. After a failure the transaction is left to be rolled back, as it is
 * where the piece turns out to be committed already.
 */
MUST_CHECK enum status attempt_load(struct attempt *attempt, struct write_result *result, struct error *error);

/* Writes a piece of the session's target: first the fast way, then as its failure asks for. */
MUST_CHECK enum status attempt_piece(struct append_session *session, struct piece *piece, struct write_result *result,
                                     struct error *error);
