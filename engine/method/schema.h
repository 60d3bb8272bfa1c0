/*
 * Cloning a schema and its relational data: everything of the source but the rows of time-series tables.
 *
 * pg_dump says what the source consists of; each object is made in a transaction of its own, together with a row in
 * the target's ledger. Hypertables are not restored from the extension's catalog but made again from what they are, so
 * the versions of TimescaleDB may differ, and the source may have none.
 *
 *     objects (pre-data) ── hypertables ── relational rows ── objects (post-data) ── columnstore, continuous
 *     aggregates, what selects from them, policies ── sequences
 *
 * What is there already and equal is left alone, so a clone that ended anyhow is completed by another one.
 */
#pragma once

#include <stdio.h>

#include "engine/pg/pg.h"

struct schema_request {
    const struct pg_address *source, *target;
    const char *const *hypertables; /* "table=time_column[,interval]" */
    int hypertable_count;
    const char *ledger_schema;
    const char *pg_bin;  /* folder of pg_dump; NULL: PATH, then Debian's folders */
    bool roles;          /* make the source's roles, without passwords and what only a superuser may give */
    bool schema_only;    /* no rows, no sequence values */
    bool sequences_only; /* schema_set_sequences: nothing is to be made */
    bool dry_run;        /* print the statements to `output`, change nothing */
    FILE *output;
    struct stop *stop;
};

struct schema_result {
    int64_t made;  /* statements that changed the target */
    int64_t equal; /* objects that were there */
    int64_t hypertables;
    int64_t tables, rows; /* relational, copied by this call */
    int64_t sequences;    /* moved */
    int64_t left_out;     /* each was logged as a warning */
};

/*
 * STATUS_USAGE: pg_dump of the right version is not there, or a --hypertable cannot be one. STATUS_SERVER: an object of
 * the target differs from the source's, and is named. Stopped or failed, the target holds whole objects only.
 */
MUST_CHECK enum status schema_clone(const struct schema_request *request, struct schema_result *result,
                                    struct error *error);

/*
 * Only the last step: each sequence of the target, identity columns' too, is moved to where the source's stands, unless
 * it is beyond that. What a column of the source takes its values from is found in the target by that column, else by
 * its name; result->left_out counts those that are not there. Writers may be at work on both sides. Before writes are
 * switched over it has to be done again.
 */
MUST_CHECK enum status schema_set_sequences(const struct schema_request *request, struct schema_result *result,
                                            struct error *error);
