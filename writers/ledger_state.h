/*
 * Further tables in the ledger's schema, in which the steps around the backfill keep what must outlive a kill. Each is
 * made when it is first needed and goes with the ledger when hyperfill clean forgets the last job, unless it has rows
 * that are still of use.
 */
#pragma once

#include "writers/ledger.h"

/* Its name, quoted and qualified; a new string. */
char *ledger_state_table(const struct ledger *ledger, const char *name);

/* Whether it is there; changes nothing. */
MUST_CHECK enum status ledger_state_exists(struct pg *pg, const struct ledger *ledger, const char *name, bool *exists,
                                           struct error *error);

/* Whether the schema has any table of the ledger, or of a step around the backfill. */
MUST_CHECK enum status ledger_state_any(struct pg *pg, const struct ledger *ledger, bool *any, struct error *error);

/*
 * Makes it, and the ledger itself, where they are missing; safe when several do so at once. `columns` is what stands
 * between the parentheses of CREATE TABLE, `comment` what people read about it. Errors as those of ledger_prepare.
 */
MUST_CHECK enum status ledger_state_prepare(struct pg *pg, const struct ledger *ledger, const char *name,
                                            const char *columns, const char *comment, struct error *error);

/* --- for ledger_clean --- */

/* In its transaction: forgets what is there about the table and is of no further use. */
MUST_CHECK enum status ledger_state_forget(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                           struct error *error);

/* In its transaction: drops those that are empty and ours to drop, for a schema that can go then. */
MUST_CHECK enum status ledger_state_drop(struct pg *pg, const struct ledger *ledger, struct error *error);
