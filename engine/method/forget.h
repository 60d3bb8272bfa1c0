/*
 * What the steps around the backfill have left in the ledger's schema about a table, once its jobs are forgotten:
 *
 *     verify, verified     comparisons that were interrupted
 *     migration            of migrations that have come to their end; another one goes on by its rows
 *     schema_step          what schema has made: for all tables, so it goes when the ledger has no job any more
 *     refresh, completion  by writers/ledger_state.h
 *
 * Tables that are empty then go too, and the schema with the last of them, if it is ours. Policies that are paused stay
 * so: without their rows nobody would know that they were on.
 */
#pragma once

#include "writers/ledger.h"

struct forgotten {
    int64_t comparisons, migrations;
    char *unfinished; /* names of migrations of the table that stay; NULL: none. The caller frees it */
    int64_t paused;   /* policies of the table */
};

/* In a transaction of its own, on a connection that is idle. What another role has made is left as it is. */
MUST_CHECK enum status forget_table(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                    struct forgotten *forgotten, struct error *error);
