/* Between the files of policies: policies.c (reading), policies_switch.c (pause and restore), policies_guard.c. */
#pragma once

#include "engine/method/policies.h"

/* The first number of the advisory locks of holders; the second is their key. Seen in pg_locks as classid. */
#define POLICIES_LOCK_CLASS 1212566608

/* SQL: whether the hold `h` counts: of a person, or of a run that lives. pg_locks shows everybody's locks to all. */
#define POLICIES_ALIVE                                                                                                 \
    "(h.key = 0 OR EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted"              \
    " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"         \
    " AND l.classid = 1212566608 AND l.objid::bigint = h.key AND l.objsubid = 2))"

/* Whether the tables of ours are there. */
MUST_CHECK enum status policies_exist(struct pg *pg, const struct ledger *ledger, bool *exist, struct error *error);

/* now() less the job's drop_after, in the table's time; has_horizon is false where the server cannot say. */
MUST_CHECK enum status policies_read_horizon(struct pg *pg, const struct table *table, struct policy_job *job,
                                             struct error *error);
