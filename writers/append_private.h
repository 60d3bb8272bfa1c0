/*
 * Between the files of strategy `append`: append.c (targets and sessions), append_tables.c (several targets),
 * append_attempt.c, append_transaction.c and append_text.c (attempts at a piece: append_attempt_private.h),
 * append_copy.c (where its COPY goes), append_overlap.c (rows of others), ahead.c and partitions.c (its chunk or
 * partition before it), build.c (a cell without its indexes until it is full), wire.c (rows in binary), staging.c (a
 * way around conflicts), careful.c (rows one by one where needed), locate.c (the record that the server disliked).
 */
#pragma once

#include "writers/append.h"
#include "writers/records.h"

/* Of one writer thread. */
struct append_session {
    const struct append_tables *tables; /* NULL: one */
    struct append_target *target;       /* of the piece that is written */
    struct pipeline *pipeline;
    struct pg *pg;
    struct packer *packer;
    struct throttle_writer sent; /* of the COPY under way */
    int64_t conflicts;           /* of the piece that is being written: rows that were left out */
    struct build *build;         /* how its cell is built; NULL: it is not. Between build_join and build_leave */
    bool entered;                /* its rows go where the build wants them */
    bool freeze;                 /* into a table that this very transaction has made */
    bool unbuilt;                /* that its cell could not be built is why it has failed */
    /* For ways that want rows in order: */
    struct piece *piece;
    bool first; /* nothing of its range is in yet, and it goes in by one COPY */
    bool as_is; /* it failed when it was sorted: once more, so that its bad record can be named */
    bool sorted;
    struct sorter *sorter; /* has the piece's rows if it is sorted here */
};

/* The input of a piece. */
const struct append_input *append_input_of(const struct append_session *session, const struct piece *piece);

/*
 * COPY of rows of this input, with these of its options, to the target or by way of the staging table: the only places
 * where text goes to it. The end gives COPY's count of rows; those of them that were left out are added to
 * session->conflicts.
 */
MUST_CHECK enum status append_copy_begin(struct append_session *session, const struct append_input *input,
                                         const char *options, struct error *error);
MUST_CHECK enum status append_copy_send(struct append_session *session, const char *text, size_t size,
                                        struct error *error);
MUST_CHECK enum status append_copy_end(struct append_session *session, const struct append_input *input, int64_t *rows,
                                       struct error *error);

/* Where the rows of the piece go: quoted, and as contexts of errors call it. */
const char *append_relation(const struct append_session *session);
const char *append_relation_name(const struct append_session *session);

/* In the transaction of the first piece of a range, by the target's rule. */
MUST_CHECK enum status append_heed_overlap(struct append_session *session, struct range range, struct error *error);

/* Whether the error is about a row: the server itself has refused it. */
static inline bool append_is_row_error(const struct error *error)
{
    return error->status == STATUS_DATA && error->sqlstate[0] != '\0';
}

/* Whether some cell that exists holds all of the range. */
bool ahead_known(struct append_target *target, struct range range);

/* That the cell is there. */
void ahead_remember(struct append_target *target, struct range cell);

/*
 * Makes the chunk of a piece whose first text, as COPY gets it, is `first`: one record where the input has a shape. Not
 * being able to is no failure: COPY makes it then. Fails only if the connection is lost or the run stops. No
 * transaction is open before and after.
 */
MUST_CHECK enum status ahead_make(struct append_session *session, struct piece *piece, const struct span *first,
                                  struct error *error);

/*
 * The line that COPY's context names ("COPY t, line 7, column v: …"), counted from the COPY's first record; 0 if it
 * names none. Texts are translated by the server: the number is the first one behind the table's name.
 */
int64_t locate_context_line(const char *context, const char *table_name);

/* The column that the context of a COPY to `table_name` names behind the line, one of the table's; "" if none. */
const char *locate_context_column(const char *context, const char *table_name, const struct table *table);

/* Adds the record to the error's text, shortened. */
void locate_show(struct error *error, const char *text, size_t size);

/*
 * After COPY has failed on a replayable piece: puts input, offset and line of the record that was at `line` of the COPY
 * into the error, and the record itself, shortened, into its text.
 */
void locate_record(struct append_session *session, struct piece *piece, int64_t line, struct error *error);

/* Puts the place of a record into the error, and the record itself, shortened, into its text. */
void locate_describe(const struct record *record, struct error *error);

/* By how much the server's line number grows at a record, in the shape in which it was sent. `text` is room for that.
 */
int64_t locate_lines_sent(const struct append_input *input, const struct record *record, enum line_end line_end,
                          bool first, struct shape_text *text);
