/* How far a migration is: the table and its rows. */
#include "engine/method/migration.h"

#include <stdlib.h>
#include <string.h>

#include "engine/retry.h"

#define BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "

/* How long the server process of one that was killed just now may take to notice, and to give up its lock. */
#define DYING "5s"

static const char *const state_names[] = {
    [STEP_OPEN] = "open",     [STEP_RUNNING] = "running", [STEP_WAITING] = "waiting",
    [STEP_FAILED] = "failed", [STEP_SKIPPED] = "skipped", [STEP_DONE] = "done",
};

const char *step_state_name(enum step_state state)
{
    return state_names[state];
}

static char *copy(const char *text)
{
    struct sql sql = {0};

    sql_add(&sql, "%s", text);
    return sql.text;
}

void migration_init(struct migration *migration, const char *schema, const char *name)
{
    struct sql table = {0};

    sql_add_identifier(&table, schema);
    sql_add(&table, ".migration");
    *migration = (struct migration){.name = copy(name), .schema = copy(schema), .table = table.text};
}

static void rows_reset(struct migration *migration)
{
    for (size_t i = 0; i < migration->count; i++) {
        free(migration->rows[i].step);
        free(migration->rows[i].begun);
        free(migration->rows[i].ended);
        free(migration->rows[i].result);
    }
    free(migration->rows);
    migration->rows = NULL;
    migration->count = 0;
}

void migration_reset(struct migration *migration)
{
    rows_reset(migration);
    free(migration->name);
    free(migration->schema);
    free(migration->table);
    *migration = (struct migration){0};
}

/* By the catalog, because to_regclass fails where the schema may not be used. */
static enum status look(struct pg *pg, struct migration *migration, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " WHERE c.relname = 'migration' AND c.relkind = 'r' AND n.nspname = ");
    sql_add_literal(&sql, migration->schema);
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    migration->exists = found != NULL;
    free(found);
    return status;
}

static enum status make(struct pg *pg, struct migration *migration, struct error *error)
{
    struct ledger ledger;
    enum status status;

    ledger_init(&ledger, migration->schema, "");
    status = ledger_prepare(pg, &ledger, error);
    ledger_reset(&ledger);
    if (status != STATUS_OK)
        return status;
    /* Its own key: ledger_prepare has let go of the ledger's. IF NOT EXISTS alone is not safe among several. */
    status = pg_runf(pg, NULL, error,
                     BEGIN "SELECT pg_catalog.pg_advisory_xact_lock(4929304721850033);"
                           " CREATE TABLE IF NOT EXISTS %s (migration text NOT NULL, step text NOT NULL,"
                           " position int NOT NULL, state text NOT NULL, begun timestamptz, ended timestamptz,"
                           " attempts int NOT NULL DEFAULT 0, result jsonb, PRIMARY KEY (migration, step));"
                           " COMMENT ON TABLE %s IS 'hyperfill: steps of migrations, see hyperfill migrate status';"
                           " COMMIT",
                     migration->table, migration->table);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}

enum status migration_prepare(struct pg *pg, struct migration *migration, struct error *error)
{
    enum status status = look(pg, migration, error);

    if (status == STATUS_OK && !migration->exists) {
        status = make(pg, migration, error);
        migration->exists = status == STATUS_OK;
    }
    return status;
}

static enum step_state state_named(const char *name)
{
    enum step_state state = STEP_DONE;

    while (state > STEP_OPEN && strcmp(state_names[state], name) != 0)
        state--;
    return state;
}

static char *field(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : copy(PQgetvalue(result, row, column));
}

#define MOMENT "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'"

static enum status read_rows(struct pg *pg, struct migration *migration, struct error *error)
{
    char *name = pg_literal(migration->name);
    PGresult *result = NULL;
    enum status status = pg_runf(pg, &result, error,
                                 "SELECT step, state, to_char(begun AT TIME ZONE 'UTC', " MOMENT
                                 "), to_char(ended AT TIME ZONE 'UTC', " MOMENT "), attempts, result"
                                 " FROM %s WHERE migration = %s ORDER BY position, step",
                                 migration->table, name);

    free(name);
    if (status != STATUS_OK)
        return status;
    rows_reset(migration);
    migration->rows = calloc((size_t)PQntuples(result) + 1, sizeof *migration->rows);
    if (migration->rows == NULL)
        abort();
    for (int i = 0; i < PQntuples(result); i++)
        migration->rows[migration->count++] = (struct migration_row){
            .step = field(result, i, 0),
            .state = state_named(PQgetvalue(result, i, 1)),
            .begun = field(result, i, 2),
            .ended = field(result, i, 3),
            .attempts = (int)strtol(PQgetvalue(result, i, 4), NULL, 10),
            .result = field(result, i, 5),
        };
    PQclear(result);
    return STATUS_OK;
}

enum status migration_read(struct pg *pg, struct migration *migration, struct error *error)
{
    enum status status = look(pg, migration, error);

    if (status == STATUS_OK && migration->exists)
        status = read_rows(pg, migration, error);
    return status;
}

const struct migration_row *migration_find(const struct migration *migration, const char *step)
{
    for (size_t i = 0; i < migration->count; i++)
        if (strcmp(migration->rows[i].step, step) == 0)
            return &migration->rows[i];
    return NULL;
}

enum step_state migration_state(const struct migration *migration, const char *step)
{
    const struct migration_row *row = migration_find(migration, step);

    return row != NULL ? row->state : STEP_OPEN;
}

enum status migration_lock(struct pg *pg, const struct migration *migration, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, BEGIN "SET LOCAL lock_timeout = '" DYING
                        "'; SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended(");
    sql_add_literal(&sql, migration->table);
    sql_add(&sql, " || ' ' || ");
    sql_add_literal(&sql, migration->name);
    sql_add(&sql, ", 0)); COMMIT");
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        return STATUS_OK;
    pg_rollback(pg);
    if (strcmp(error->sqlstate, "55P03") != 0)
        return status;
    error_reset(error);
    return error_set(error, STATUS_USAGE,
                     "another hyperfill migrate is at the migration %s: wait for its end; hyperfill migrate status"
                     " shows how far it is",
                     migration->name);
}

static void add_or_null(struct sql *sql, const char *text)
{
    if (text != NULL)
        sql_add_literal(sql, text);
    else
        sql_add(sql, "NULL");
}

static enum status write_row(struct pg *pg, const struct migration *migration, const char *step, int position,
                             enum step_state state, const char *result, struct error *error)
{
    bool ends = state >= STEP_FAILED;
    struct sql sql = {0};
    enum status status = pg_connect(pg, error);

    sql_add(&sql,
            BEGIN "INSERT INTO %s AS m (migration, step, position, state, begun, ended, attempts, result) VALUES (",
            migration->table);
    sql_add_literal(&sql, migration->name);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, step);
    sql_add(&sql, ", %d, '%s', now(), %s, %d, ", position, state_names[state], ends ? "now()" : "NULL",
            state == STEP_RUNNING);
    add_or_null(&sql, result);
    sql_add(&sql, ") ON CONFLICT (migration, step) DO UPDATE SET state = excluded.state, ended = excluded.ended,"
                  " position = excluded.position, attempts = m.attempts + excluded.attempts,"
                  " result = coalesce(excluded.result, m.result); COMMIT");
    if (status == STATUS_OK)
        status = pg_run(pg, sql.text, NULL, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    sql_reset(&sql);
    return status;
}

enum status migration_write(struct pg *pg, struct migration *migration, const char *step, int position,
                            enum step_state state, const char *result, int64_t retry_ms, struct stop *stop,
                            struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, retry_ms, 1);
    while ((status = write_row(pg, migration, step, position, state, result, error)) == STATUS_TRANSIENT) {
        int64_t pause_ms = retry_next(&retry);

        if (pause_ms < 0 || stop_wait(stop, pause_ms, STOP_DRAIN))
            break;
        error_reset(error);
    }
    if (status == STATUS_OK)
        status = read_rows(pg, migration, error);
    if (status != STATUS_OK)
        error_prefix(error, "the ledger's table %s", migration->table);
    return status;
}

enum status migration_value(struct pg *pg, const struct migration *migration, const char *step, const char *key,
                            const char *subkey, char **value, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT result #>> ARRAY[");
    sql_add_literal(&sql, key);
    if (subkey != NULL) {
        sql_add(&sql, ", ");
        sql_add_literal(&sql, subkey);
    }
    sql_add(&sql, "] FROM %s WHERE step = ", migration->table);
    sql_add_literal(&sql, step);
    sql_add(&sql, " AND migration = ");
    sql_add_literal(&sql, migration->name);
    status = pg_value(pg, sql.text, value, error);
    sql_reset(&sql);
    return status;
}
