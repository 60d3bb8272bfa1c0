/* What jobs have loaded into a table, by the ledger. */
#pragma once

#include "writers/ledger.h"

/*
 * The ranges that hold rows of jobs of the table, merged where they touch, in the order of time; none where there is no
 * ledger. `condition` is SQL about the piece p and its job j ("" for all: also of jobs that are not finished), as in
 * "j.finished IS NOT NULL". The caller frees *ranges.
 */
MUST_CHECK enum status loaded_ranges(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                     const char *condition, struct range **ranges, size_t *count, struct error *error);

/* The windows of all jobs of a table, in the order of their beginnings, also of those that are not finished; the caller
 * frees *ranges. */
MUST_CHECK enum status loaded_windows(struct pg *pg, const struct ledger *ledger, uint32_t table_oid,
                                      struct range **ranges, size_t *count, bool *unfinished, struct error *error);
