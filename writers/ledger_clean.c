/* Jobs are forgotten, and with the last one the ledger itself. */
#include <stdlib.h>
#include <string.h>

#include "writers/build.h"
#include "writers/ledger_private.h"
#include "writers/ledger_state.h"

/* Those that are there, comma separated. */
static void add_tables(struct sql *sql, const struct ledger *ledger, const struct ledger_look *found)
{
    sql_add(sql, "%s, %s", ledger->job_table, ledger->piece_table);
    if (found->rejects)
        sql_add(sql, ", %s", ledger->reject_table);
    if (found->builds)
        sql_add(sql, ", %s", ledger->build_table);
}

/* Tables without jobs go, if they are ours; so does the schema, if it is the one that we make and nobody put anything
 * else there. */
static enum status drop_empty(struct pg *pg, const struct ledger *ledger, const struct ledger_look *found,
                              struct error *error)
{
    struct sql sql = {0};
    char *empty = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 WHERE NOT EXISTS (SELECT FROM %s) AND NOT EXISTS (SELECT FROM %s)", ledger->job_table,
            ledger->piece_table);
    if (found->rejects)
        sql_add(&sql, " AND NOT EXISTS (SELECT FROM %s)", ledger->reject_table);
    sql_add(&sql, " AND (SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_catalog.pg_class c"
                  " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " WHERE c.relname IN ('job', 'piece', 'reject', 'build') AND n.nspname = ");
    sql_add_literal(&sql, ledger->schema);
    sql_add(&sql, ")");
    status = pg_value(pg, sql.text, &empty, error);
    sql_reset(&sql);
    if (status != STATUS_OK || empty == NULL)
        return status;
    free(empty);
    status = ledger_state_drop(pg, ledger, error);
    if (status != STATUS_OK)
        return status;
    sql_add(&sql, "DROP TABLE ");
    add_tables(&sql, ledger, found);
    if (strcmp(ledger->schema, OWN_SCHEMA) == 0)
        sql_add(&sql,
                "; DO $$ BEGIN DROP SCHEMA %s;"
                " EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN NULL; END $$",
                OWN_SCHEMA);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

/*
 * (SELECT job, goes …): jobs of the table, and which are forgotten. By name too: a table that was dropped and made
 * again has another oid, and its old jobs are of no use.
 */
static void add_mine(struct sql *sql, const struct ledger *ledger, const struct table *table, bool all,
                     const struct ledger_look *found)
{
    sql_add(sql, "(SELECT job, %s OR (finished IS NOT NULL", all ? "true" : "false");
    if (found->rejects)
        sql_add(sql, " AND NOT EXISTS (SELECT FROM %s r WHERE r.job = j.job AND replayed IS NULL)",
                ledger->reject_table);
    sql_add(sql, ") AS goes FROM %s j WHERE table_oid = %u OR table_name = ", ledger->job_table, table->oid);
    sql_add_literal(sql, table->sql);
    sql_add(sql, ")");
}

/* What they have begun to build must not stay as it is. */
static enum status abandon(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all,
                           const struct ledger_look *found, struct ledger_cleaning *cleaning, struct error *error)
{
    struct sql where = {0};
    enum status status;

    sql_add(&where, "job IN (SELECT job FROM ");
    add_mine(&where, ledger, table, all, found);
    sql_add(&where, " mine WHERE goes)");
    status = build_abandon_all(pg, ledger, where.text, &cleaning->builds, &cleaning->builds_aside, error);
    sql_reset(&where);
    return status;
}

static enum status forget(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all,
                          const struct ledger_look *found, struct ledger_cleaning *cleaning, struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    sql_add(&sql, "WITH mine AS ");
    add_mine(&sql, ledger, table, all, found);
    if (found->rejects)
        sql_add(&sql,
                ", o AS (SELECT count(*) AS open FROM %s WHERE replayed IS NULL AND job IN (SELECT job FROM mine)),"
                " r AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes))",
                ledger->reject_table, ledger->reject_table);
    sql_add(&sql, ", p AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes)),", ledger->piece_table);
    sql_add(&sql, " j AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes))", ledger->job_table);
    sql_add(&sql, " SELECT count(*) FILTER (WHERE goes), count(*) FILTER (WHERE NOT goes), %s FROM mine",
            found->rejects ? "(SELECT open FROM o)" : "0");
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    cleaning->forgotten = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    cleaning->kept = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    cleaning->rejects = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    PQclear(result);
    return STATUS_OK;
}

/* The lock on the tables keeps others from registering between the look and the drop. */
static enum status lock_tables(struct pg *pg, const struct ledger *ledger, const struct ledger_look *found,
                               struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, LEDGER_BEGIN LEDGER_LOCK "; LOCK TABLE ");
    add_tables(&sql, ledger, found);
    sql_add(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

enum status ledger_clean(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all,
                         struct ledger_cleaning *cleaning, struct error *error)
{
    struct ledger_look found = {0};
    enum status status = ledger_look(pg, ledger, &found, error);

    *cleaning = (struct ledger_cleaning){0};
    if (status != STATUS_OK || !found.tables)
        return status;
    status = lock_tables(pg, ledger, &found, error);
    if (status == STATUS_OK && found.builds)
        status = abandon(pg, ledger, table, all, &found, cleaning, error);
    if (status == STATUS_OK)
        status = forget(pg, ledger, table, all, &found, cleaning, error);
    if (status == STATUS_OK && cleaning->kept == 0)
        status = ledger_state_forget(pg, ledger, table, error);
    if (status == STATUS_OK)
        status = drop_empty(pg, ledger, &found, error);
    if (status == STATUS_OK)
        status = pg_run(pg, "COMMIT", NULL, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}
