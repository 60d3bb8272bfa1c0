/* The ledger's own tables: made, found, dropped. Jobs: registered, finished, forgotten. ledger.c has the pieces. */
#include "writers/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEDGER_VERSION 1
#define OWN_SCHEMA "hyperfill"

/* Whoever makes or drops the tables holds this to the end of its transaction. */
#define LEDGER_LOCK "SELECT pg_catalog.pg_advisory_xact_lock(4929304721850032)"

static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ";

static char *qualified(const char *schema, const char *name)
{
    struct sql sql = {0};

    sql_add_identifier(&sql, schema);
    sql_add(&sql, ".");
    sql_add_identifier(&sql, name);
    return sql.text;
}

void ledger_init(struct ledger *ledger, const char *schema, const char *job)
{
    struct sql name = {0};

    sql_add(&name, "%s", schema);
    *ledger = (struct ledger){
        .schema = name.text,
        .job_table = qualified(schema, "job"),
        .piece_table = qualified(schema, "piece"),
    };
    snprintf(ledger->job, sizeof ledger->job, "%s", job);
}

void ledger_reset(struct ledger *ledger)
{
    free(ledger->schema);
    free(ledger->job_table);
    free(ledger->piece_table);
    *ledger = (struct ledger){0};
}

/* By the catalog, because to_regclass fails where the schema may not be used. */
static enum status look(struct pg *pg, const struct ledger *ledger, bool *schema, bool *tables, struct error *error)
{
    char *name = pg_literal(ledger->schema);
    PGresult *result;
    enum status status = pg_runf(pg, &result, error,
                                 "SELECT count(*) > 0, count(c.oid) = 2 FROM pg_catalog.pg_namespace n"
                                 " LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid"
                                 " AND c.relname IN ('job', 'piece') AND c.relkind IN ('r', 'p') WHERE n.nspname = %s",
                                 name);

    free(name);
    if (status != STATUS_OK)
        return status;
    *schema = PQgetvalue(result, 0, 0)[0] == 't';
    *tables = PQgetvalue(result, 0, 1)[0] == 't';
    PQclear(result);
    return STATUS_OK;
}

enum status ledger_exists(struct pg *pg, const struct ledger *ledger, bool *exists, struct error *error)
{
    bool schema;

    *exists = false;
    return look(pg, ledger, &schema, exists, error);
}

static enum status make_tables(struct pg *pg, const struct ledger *ledger, bool schema_there, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    if (!schema_there) {
        sql_add(&sql, "CREATE SCHEMA ");
        sql_add_identifier(&sql, ledger->schema);
        sql_add(&sql, "; ");
    }
    sql_add(&sql,
            "CREATE TABLE IF NOT EXISTS %s (job text PRIMARY KEY, table_oid oid NOT NULL, table_name text NOT NULL,"
            " source text NOT NULL, lo bigint NOT NULL, hi bigint NOT NULL, fingerprint text NOT NULL,"
            " layout text NOT NULL, version int NOT NULL, created timestamptz NOT NULL DEFAULT now(),"
            " finished timestamptz); ",
            ledger->job_table);
    sql_add(
        &sql,
        "CREATE TABLE IF NOT EXISTS %s (job text NOT NULL, lo bigint NOT NULL, input int NOT NULL, hi bigint NOT NULL,"
        " mark bigint NOT NULL, mark_hash text NOT NULL, frontier bigint NOT NULL, frontier_line bigint NOT NULL,"
        " frontier_hash text NOT NULL, rows bigint NOT NULL, bytes bigint NOT NULL,"
        " committed timestamptz NOT NULL DEFAULT now(), conflicts bigint NOT NULL DEFAULT 0,"
        " PRIMARY KEY (job, lo, input)); ",
        ledger->piece_table);
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: backfill jobs; hyperfill clean forgets finished ones'; ",
            ledger->job_table);
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: what is committed, written with the rows; never edit'",
            ledger->piece_table);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

/* A ledger that somebody else made must let us write. */
static enum status check_privileges(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    char *schema = pg_literal(ledger->schema);
    char *may = NULL;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
            " AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')), false)"
            " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname IN ('job', 'piece')",
            schema);
    free(schema);
    status = pg_value(pg, sql.text, &may, error);
    sql_reset(&sql);
    if (status == STATUS_OK && (may == NULL || may[0] != 't')) {
        snprintf(error->sqlstate, sizeof error->sqlstate, "42501");
        status = error_set(error, STATUS_SERVER, "this role may not use the ledger in schema \"%s\"", ledger->schema);
    }
    free(may);
    return status;
}

static void hint_grants(struct error *error, const struct ledger *ledger, const char *user, const char *database)
{
    if (strcmp(error->sqlstate, "42501") != 0)
        return;
    error_hint(
        error,
        ". The ledger needs GRANT CREATE ON DATABASE \"%s\" TO \"%s\", or a schema where that role may create tables"
        " (named with --ledger-schema), or on an existing one GRANT USAGE ON SCHEMA \"%s\" and GRANT SELECT,"
        " INSERT, UPDATE, DELETE ON %s, %s TO \"%s\"",
        database, user, ledger->schema, ledger->job_table, ledger->piece_table, user);
}

/* Ledgers of earlier versions have no count of conflicts. */
static enum status add_conflicts_column(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    char *table = pg_literal(ledger->piece_table), *found = NULL;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attname = 'conflicts'"
            " AND NOT attisdropped",
            table);
    free(table);
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    if (status == STATUS_OK && found == NULL)
        status = pg_runf(pg, NULL, error, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS conflicts bigint NOT NULL DEFAULT 0",
                         ledger->piece_table);
    free(found);
    return status;
}

enum status ledger_prepare(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    bool schema = false, tables = false;
    enum status status = look(pg, ledger, &schema, &tables, error);

    if (status == STATUS_OK && !tables) {
        status = pg_runf(pg, NULL, error, "%s%s", begin_sql, LEDGER_LOCK);
        if (status == STATUS_OK)
            status = look(pg, ledger, &schema, &tables, error);
        if (status == STATUS_OK && !tables)
            status = make_tables(pg, ledger, schema, error);
        if (status == STATUS_OK)
            status = pg_run(pg, "COMMIT", NULL, error);
        if (status != STATUS_OK)
            pg_rollback(pg);
    }
    if (status == STATUS_OK)
        status = check_privileges(pg, ledger, error);
    if (status == STATUS_OK && ledger->conflicts)
        status = add_conflicts_column(pg, ledger, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    error_prefix(error, "ledger");
    if (pg_connected(pg))
        hint_grants(error, ledger, PQuser(pg_conn(pg)), PQdb(pg_conn(pg)));
    return status;
}

static char *field(const PGresult *result, int row, int column)
{
    struct sql text = {0};

    sql_add(&text, "%s", PQgetvalue(result, row, column));
    return text.text;
}

enum status ledger_find_job(struct pg *pg, const struct ledger *ledger, struct ledger_job *job, struct error *error)
{
    PGresult *result;
    enum status status =
        pg_runf(pg, &result, error,
                "SELECT finished IS NOT NULL, fingerprint, layout, to_char(created, 'YYYY-MM-DD HH24:MI:SSOF')"
                " FROM %s WHERE job = '%s'",
                ledger->job_table, ledger->job);

    *job = (struct ledger_job){0};
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1)
        *job = (struct ledger_job){
            .found = true,
            .finished = PQgetvalue(result, 0, 0)[0] == 't',
            .fingerprint = field(result, 0, 1),
            .layout = field(result, 0, 2),
            .created = field(result, 0, 3),
        };
    PQclear(result);
    return STATUS_OK;
}

void ledger_job_reset(struct ledger_job *job)
{
    free(job->fingerprint);
    free(job->layout);
    free(job->created);
    *job = (struct ledger_job){0};
}

enum status ledger_register(struct pg *pg, const struct ledger *ledger, uint32_t table_oid, const char *table_name,
                            const char *source_key, struct range window, const char *fingerprint, const char *layout,
                            char **layout_kept, struct error *error)
{
    const char *texts[] = {table_name, source_key, fingerprint, layout};
    char *literals[4];
    struct sql sql = {0};
    enum status status;

    *layout_kept = NULL;
    for (int i = 0; i < 4; i++)
        literals[i] = pg_literal(texts[i]);
    /* READ COMMITTED: the SELECT sees what a faster process has committed while the INSERT waited for it. */
    sql_add(&sql, "%sINSERT INTO %s (job, table_oid, table_name, source, lo, hi, fingerprint, layout, version)",
            begin_sql, ledger->job_table);
    sql_add(&sql,
            " VALUES ('%s', %u, %s, %s, '%" PRId64 "', '%" PRId64 "', %s, %s, %d) ON CONFLICT (job) DO NOTHING; COMMIT",
            ledger->job, table_oid, literals[0], literals[1], window.lo, window.hi, literals[2], literals[3],
            LEDGER_VERSION);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    for (int i = 0; i < 4; i++)
        free(literals[i]);
    if (status != STATUS_OK) {
        pg_rollback(pg);
        return status;
    }
    sql_add(&sql, "SELECT layout FROM %s WHERE job = '%s'", ledger->job_table, ledger->job);
    status = pg_value(pg, sql.text, layout_kept, error);
    sql_reset(&sql);
    if (status == STATUS_OK && *layout_kept == NULL)
        status = error_set(error, STATUS_SERVER, "ledger %s: the job %s has vanished while it was registered",
                           ledger->job_table, ledger->job);
    return status;
}

enum status ledger_find_rival(struct pg *pg, const struct ledger *ledger, uint32_t table_oid, const char *source_key,
                              struct range window, char **fingerprint, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    *fingerprint = NULL;
    sql_add(&sql, "SELECT fingerprint FROM %s WHERE finished IS NULL AND job <> '%s' AND table_oid = %u",
            ledger->job_table, ledger->job, table_oid);
    sql_add(&sql, " AND lo < '%" PRId64 "' AND hi > '%" PRId64 "' AND source = ", window.hi, window.lo);
    sql_add_literal(&sql, source_key);
    sql_add(&sql, " ORDER BY created DESC LIMIT 1");
    status = pg_value(pg, sql.text, fingerprint, error);
    sql_reset(&sql);
    return status;
}

enum status ledger_finish(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    enum status status =
        pg_runf(pg, NULL, error, "%sUPDATE %s SET finished = now() WHERE job = '%s' AND finished IS NULL; COMMIT",
                begin_sql, ledger->job_table, ledger->job);

    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}

/* Tables without jobs go, if they are ours; so does the schema, if it is the one that we make and nobody put anything
 * else there. */
static enum status drop_empty(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    struct sql sql = {0};
    char *empty = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 WHERE NOT EXISTS (SELECT FROM %s) AND NOT EXISTS (SELECT FROM %s)", ledger->job_table,
            ledger->piece_table);
    sql_add(&sql, " AND (SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_catalog.pg_class c"
                  " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname IN ('job', 'piece') AND "
                  "n.nspname = ");
    sql_add_literal(&sql, ledger->schema);
    sql_add(&sql, ")");
    status = pg_value(pg, sql.text, &empty, error);
    sql_reset(&sql);
    if (status != STATUS_OK || empty == NULL)
        return status;
    free(empty);
    sql_add(&sql, "DROP TABLE %s, %s", ledger->job_table, ledger->piece_table);
    if (strcmp(ledger->schema, OWN_SCHEMA) == 0)
        sql_add(&sql,
                "; DO $$ BEGIN DROP SCHEMA %s;"
                " EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN NULL; END $$",
                OWN_SCHEMA);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

/* By name too: a table that was dropped and made again has another oid, and its old jobs are of no use. */
static enum status forget(struct pg *pg, const struct ledger *ledger, const struct table *table, bool unfinished,
                          int64_t *forgotten, int64_t *kept, struct error *error)
{
    char *name = pg_literal(table->sql);
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    sql_add(&sql,
            "WITH mine AS (SELECT job, finished IS NOT NULL OR %s AS goes FROM %s WHERE table_oid = %u OR table_name = "
            "%s),",
            unfinished ? "true" : "false", ledger->job_table, table->oid, name);
    sql_add(&sql, " p AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes)),", ledger->piece_table);
    sql_add(&sql, " j AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes))", ledger->job_table);
    sql_add(&sql, " SELECT count(*) FILTER (WHERE goes), count(*) FILTER (WHERE NOT goes) FROM mine");
    free(name);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    *forgotten = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    *kept = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    PQclear(result);
    return STATUS_OK;
}

enum status ledger_clean(struct pg *pg, const struct ledger *ledger, const struct table *table, bool unfinished,
                         int64_t *forgotten, int64_t *kept, struct error *error)
{
    bool exists;
    enum status status = ledger_exists(pg, ledger, &exists, error);

    *forgotten = *kept = 0;
    if (status != STATUS_OK || !exists)
        return status;
    /* The lock on the tables keeps others from registering between the look and the drop. */
    status = pg_runf(pg, NULL, error, "%s%s; LOCK TABLE %s, %s IN SHARE ROW EXCLUSIVE MODE", begin_sql, LEDGER_LOCK,
                     ledger->job_table, ledger->piece_table);
    if (status == STATUS_OK)
        status = forget(pg, ledger, table, unfinished, forgotten, kept, error);
    if (status == STATUS_OK)
        status = drop_empty(pg, ledger, error);
    if (status == STATUS_OK)
        status = pg_run(pg, "COMMIT", NULL, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}
