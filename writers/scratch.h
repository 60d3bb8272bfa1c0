/*
 * A scratch copy of a table, empty, in a schema of its own: what `bench` writes into instead of the table.
 *
 *     hyperfill_bench_<16 hex digits>
 *         copy          columns, defaults, checks, unique keys and indexes as the table has them; a hypertable with the
 *                       same dimensions, or partitions with the same bounds, if the table is one
 *         job, piece …  the ledger of what is measured
 *
 * Not copied: foreign keys, which would lock rows of other tables; triggers, which may do anything; and a default that
 * counts a sequence up gets a sequence of its own. So nothing outside of the schema is ever written.
 *
 * A transaction that stays open holds an advisory lock on the schema's name for as long as it is in use. A schema whose
 * lock is free was left by a process that was killed: whoever comes next removes it.
 */
#pragma once

#include "writers/target.h"

struct scratch {
    const struct pg_address *address;
    struct stop *stop;
    struct pg *guard; /* holds the lock */
    struct pg *pg;
    char *schema;       /* unquoted; NULL: there is none */
    char *table;        /* quoted and qualified, as --table takes it */
    const char *absent; /* what the table has and its copy has not, for people; NULL: nothing */
};

/* Removes what others have left, then makes schema and copy. The address and the stop are borrowed until scratch_drop.
 */
MUST_CHECK enum status scratch_create(struct scratch *scratch, const struct pg_address *address, struct stop *stop,
                                      const struct table *table, struct error *error);

/* No rows, no chunks. Partitions stay. */
MUST_CHECK enum status scratch_empty(struct scratch *scratch, struct error *error);

/* Removes all of it; takes a scratch in any state. The schema's name is in the error where that was not possible. */
MUST_CHECK enum status scratch_drop(struct scratch *scratch, struct error *error);

/* Removes what processes that were killed have left in this database, as far as the role may; counts it. */
MUST_CHECK enum status scratch_remove_left(const struct pg_address *address, struct stop *stop, int *removed,
                                           struct error *error);

/* --- scratch_table.c --- */

/* Makes scratch->table in the schema, which exists. */
MUST_CHECK enum status scratch_table_create(struct scratch *scratch, const struct table *table, struct error *error);
