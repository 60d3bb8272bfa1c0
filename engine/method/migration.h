/*
 * How far a migration is: a table in the ledger's schema of the target, one row a step, written in a transaction of its
 * own when a step begins and when it ends. A step that was killed is found as one that began and did not end, and is
 * done again: each of them may be.
 *
 *     hyperfill.migration    migration, step, position, state, begun, ended, attempts, result
 *
 * The rows stay when the last step has forgotten the ledger's jobs: they are the record of what was done. After that
 * `hyperfill clean` of one of its tables forgets them too.
 */
#pragma once

#include "engine/pg/pg.h"
#include "writers/ledger.h"

enum step_state {
    STEP_OPEN,    /* not begun: there is no row */
    STEP_RUNNING, /* or killed */
    STEP_WAITING, /* for a person */
    STEP_FAILED,
    STEP_SKIPPED,
    STEP_DONE,
};
const char *step_state_name(enum step_state state);

struct migration_row {
    char *step;
    enum step_state state;
    char *begun, *ended; /* NULL: not yet */
    int attempts;
    char *result; /* JSON, or NULL */
};

struct migration {
    char *name;
    char *table; /* quoted and qualified */
    char *schema;
    bool exists; /* the table, as of migration_read */
    struct migration_row *rows;
    size_t count;
};

void migration_init(struct migration *migration, const char *schema, const char *name);
void migration_reset(struct migration *migration);

/* Makes the ledger and the table where they are missing; safe when several do so at once. */
MUST_CHECK enum status migration_prepare(struct pg *pg, struct migration *migration, struct error *error);

/* Reads the rows; none where there is no table. Changes nothing there. */
MUST_CHECK enum status migration_read(struct pg *pg, struct migration *migration, struct error *error);

/* NULL: the step has no row. */
const struct migration_row *migration_find(const struct migration *migration, const char *step);
enum step_state migration_state(const struct migration *migration, const char *step);

/*
 * Takes the migration for this connection as long as that lives. STATUS_USAGE if another process is at it, after a few
 * seconds, in which one that was killed is gone. The lock is an advisory one and bars only other migrates; what steps
 * do is safe beside each other by the ledger.
 */
MUST_CHECK enum status migration_lock(struct pg *pg, const struct migration *migration, struct error *error);

/*
 * Writes that the step is in the state now, and reads all rows again. RUNNING counts an attempt; a `result` (JSON) of
 * NULL leaves the one that stands. Tries again for `retry_ms` when the connection is lost.
 */
MUST_CHECK enum status migration_write(struct pg *pg, struct migration *migration, const char *step, int position,
                                       enum step_state state, const char *result, int64_t retry_ms, struct stop *stop,
                                       struct error *error);

/* A value in the result of a step, by one or two keys (the second may be NULL): a new string, NULL if there is none. */
MUST_CHECK enum status migration_value(struct pg *pg, const struct migration *migration, const char *step,
                                       const char *key, const char *subkey, char **value, struct error *error);
