/* The tables of the steps around the backfill: made, found, dropped with the ledger. */
#include "writers/ledger_state.h"

#include <stdlib.h>
#include <string.h>

#include "writers/ledger_private.h"

/* `keyed`: has a column table_oid, and its rows are of use only as long as the table's jobs are known. */
static const struct {
    const char *name;
    bool keyed;
} states[] = {
    {"policy", false}, {"policy_hold", false}, {"refresh", true}, {"completion", true}, {"cascade", true},
};

#define STATE_COUNT (sizeof states / sizeof states[0])

char *ledger_state_table(const struct ledger *ledger, const char *name)
{
    return pg_qualified(ledger->schema, name);
}

/* By the catalog, because to_regclass fails where the schema may not be used. `condition` is about the class c. */
static enum status ask(struct pg *pg, const struct ledger *ledger, const char *name, const char *condition,
                       bool *answer, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " WHERE c.relkind IN ('r', 'p') AND n.nspname = ");
    sql_add_literal(&sql, ledger->schema);
    sql_add(&sql, " AND c.relname = ");
    sql_add_literal(&sql, name);
    sql_add(&sql, "%s", condition);
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    *answer = found != NULL;
    free(found);
    return status;
}

enum status ledger_state_exists(struct pg *pg, const struct ledger *ledger, const char *name, bool *exists,
                                struct error *error)
{
    return ask(pg, ledger, name, "", exists, error);
}

enum status ledger_state_any(struct pg *pg, const struct ledger *ledger, bool *any, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " WHERE c.relkind IN ('r', 'p') AND c.relname IN ('job', 'piece', 'reject', 'build', 'verify',"
                  " 'verified', 'migration', 'schema_step'");
    for (size_t i = 0; i < STATE_COUNT; i++)
        sql_add(&sql, ", '%s'", states[i].name);
    sql_add(&sql, ") AND n.nspname = ");
    sql_add_literal(&sql, ledger->schema);
    sql_add(&sql, " LIMIT 1");
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    *any = found != NULL;
    free(found);
    return status;
}

enum status ledger_state_prepare(struct pg *pg, const struct ledger *ledger, const char *name, const char *columns,
                                 const char *comment, struct error *error)
{
    char *table, *text;
    bool exists;
    enum status status = ledger_state_exists(pg, ledger, name, &exists, error);

    if (status != STATUS_OK || exists)
        return status;
    status = ledger_prepare(pg, ledger, error);
    if (status != STATUS_OK)
        return status;
    table = ledger_state_table(ledger, name);
    text = pg_literal(comment);
    /* Whoever was faster has made it by the time that the lock is ours. */
    status = pg_runf(pg, NULL, error,
                     LEDGER_BEGIN LEDGER_LOCK "; CREATE TABLE IF NOT EXISTS %s (%s); COMMENT ON TABLE %s IS %s; COMMIT",
                     table, columns, table, text);
    if (status != STATUS_OK) {
        pg_rollback(pg);
        error_prefix(error, "ledger");
    }
    free(table);
    free(text);
    return status;
}

enum status ledger_state_forget(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < STATE_COUNT && status == STATUS_OK; i++) {
        bool exists = false;
        char *name = ledger_state_table(ledger, states[i].name);

        if (states[i].keyed)
            status =
                ask(pg, ledger, states[i].name, " AND pg_catalog.has_table_privilege(c.oid, 'DELETE')", &exists, error);
        if (status == STATUS_OK && exists)
            status =
                pg_runf(pg, NULL, error,
                        "DELETE FROM %s WHERE table_oid = %u OR table_oid NOT IN (SELECT oid FROM pg_catalog.pg_class)",
                        name, table->oid);
        free(name);
    }
    return status;
}

static enum status drop_one(struct pg *pg, const char *name, bool *kept, struct error *error)
{
    struct sql sql = {0};
    char *used = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM %s LIMIT 1", name);
    status = pg_value(pg, sql.text, &used, error);
    sql_reset(&sql);
    if (status == STATUS_OK && used == NULL)
        status = pg_runf(pg, NULL, error, "DROP TABLE %s", name);
    *kept = used != NULL;
    free(used);
    return status;
}

enum status ledger_state_drop(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    enum status status = STATUS_OK;
    bool kept = false;

    for (size_t i = 0; i < STATE_COUNT && status == STATUS_OK; i++) {
        char *name = ledger_state_table(ledger, states[i].name);
        bool ours = false;

        status = ask(pg, ledger, states[i].name, " AND pg_catalog.pg_has_role(c.relowner, 'USAGE')", &ours, error);
        /* Policies that nobody holds may still be of use, and both tables are there or none. */
        if (status == STATUS_OK && ours && !(kept && strcmp(states[i].name, "policy_hold") == 0))
            status = drop_one(pg, name, &kept, error);
        free(name);
    }
    return status;
}
