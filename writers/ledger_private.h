/* Between the files of the ledger: ledger.c (pieces), ledger_sql.c (tables and jobs), ledger_clean.c (jobs forgotten).
 */
#pragma once

#include "writers/ledger.h"

/* The schema that is ours to make and to drop. */
#define OWN_SCHEMA "hyperfill"

#define LEDGER_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "

/* Whoever makes or drops the tables holds this to the end of its transaction. */
#define LEDGER_LOCK "SELECT pg_catalog.pg_advisory_xact_lock(4929304721850032)"

/* What there is of a ledger; versions that were before made some of it only. */
struct ledger_look {
    bool schema;
    bool tables; /* of jobs and pieces */
    bool rejects, builds;
    bool may_build; /* this role may read the table of builds */
};

/* Without a ledger: returns when no piece of the job is under way any more, whoever has begun it. */
MUST_CHECK enum status ledger_wait(struct pg *pg, const struct ledger *ledger, struct error *error);

MUST_CHECK enum status ledger_look(struct pg *pg, const struct ledger *ledger, struct ledger_look *found,
                                   struct error *error);
