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
        .reject_table = qualified(schema, "reject"),
    };
    snprintf(ledger->job, sizeof ledger->job, "%s", job);
}

void ledger_reset(struct ledger *ledger)
{
    free(ledger->schema);
    free(ledger->job_table);
    free(ledger->piece_table);
    free(ledger->reject_table);
    *ledger = (struct ledger){0};
}

/* What there is of a ledger. */
struct look {
    bool schema;
    bool tables; /* of jobs and pieces */
    bool rejects;
};

/* By the catalog, because to_regclass fails where the schema may not be used. */
static enum status look(struct pg *pg, const struct ledger *ledger, struct look *look, struct error *error)
{
    char *name = pg_literal(ledger->schema);
    PGresult *result;
    enum status status =
        pg_runf(pg, &result, error,
                "SELECT count(*) > 0, count(c.oid) FILTER (WHERE c.relname <> 'reject') = 2,"
                " count(c.oid) FILTER (WHERE c.relname = 'reject') = 1 FROM pg_catalog.pg_namespace n"
                " LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid"
                " AND c.relname IN ('job', 'piece', 'reject') AND c.relkind IN ('r', 'p') WHERE n.nspname = %s",
                name);

    free(name);
    if (status != STATUS_OK)
        return status;
    look->schema = PQgetvalue(result, 0, 0)[0] == 't';
    look->tables = PQgetvalue(result, 0, 1)[0] == 't';
    look->rejects = PQgetvalue(result, 0, 2)[0] == 't';
    PQclear(result);
    return STATUS_OK;
}

enum status ledger_exists(struct pg *pg, const struct ledger *ledger, bool *exists, struct error *error)
{
    struct look found = {0};
    enum status status = look(pg, ledger, &found, error);

    *exists = found.tables;
    return status;
}

enum status ledger_has_rejects(struct pg *pg, const struct ledger *ledger, bool *exists, struct error *error)
{
    struct look found = {0};
    enum status status = look(pg, ledger, &found, error);

    *exists = found.tables && found.rejects;
    return status;
}

/* Those that are there may be another role's, of whom even IF NOT EXISTS would be refused. */
static void add_first_tables(struct sql *sql, const struct ledger *ledger)
{
    sql_add(sql,
            "CREATE TABLE IF NOT EXISTS %s (job text PRIMARY KEY, table_oid oid NOT NULL, table_name text NOT NULL,"
            " source text NOT NULL, lo bigint NOT NULL, hi bigint NOT NULL, fingerprint text NOT NULL,"
            " layout text NOT NULL, version int NOT NULL, created timestamptz NOT NULL DEFAULT now(),"
            " finished timestamptz); ",
            ledger->job_table);
    sql_add(
        sql,
        "CREATE TABLE IF NOT EXISTS %s (job text NOT NULL, lo bigint NOT NULL, input int NOT NULL, hi bigint NOT NULL,"
        " mark bigint NOT NULL, mark_hash text NOT NULL, frontier bigint NOT NULL, frontier_line bigint NOT NULL,"
        " frontier_hash text NOT NULL, rows bigint NOT NULL, bytes bigint NOT NULL,"
        " committed timestamptz NOT NULL DEFAULT now(), conflicts bigint NOT NULL DEFAULT 0,"
        " PRIMARY KEY (job, lo, input)); ",
        ledger->piece_table);
    sql_add(sql, "COMMENT ON TABLE %s IS 'hyperfill: backfill jobs; hyperfill clean forgets finished ones'; ",
            ledger->job_table);
    sql_add(sql, "COMMENT ON TABLE %s IS 'hyperfill: what is committed, written with the rows; never edit'; ",
            ledger->piece_table);
}

static enum status make_tables(struct pg *pg, const struct ledger *ledger, const struct look *found,
                               struct error *error)
{
    struct sql sql = {0};
    enum status status;

    if (!found->schema) {
        sql_add(&sql, "CREATE SCHEMA ");
        sql_add_identifier(&sql, ledger->schema);
        sql_add(&sql, "; ");
    }
    if (!found->tables)
        add_first_tables(&sql, ledger);
    /* Never without: what a run may do is not fixed when the first one of all makes the ledger. */
    sql_add(&sql,
            "CREATE TABLE IF NOT EXISTS %s (job text NOT NULL, input int NOT NULL, lo bigint NOT NULL,"
            " \"offset\" bigint NOT NULL, line bigint NOT NULL, column_name text NOT NULL, sqlstate text NOT NULL,"
            " reason text NOT NULL, record bytea NOT NULL, rejected timestamptz NOT NULL DEFAULT now(),"
            " replayed timestamptz, PRIMARY KEY (job, input, lo, \"offset\")); ",
            ledger->reject_table);
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: records that could not be loaded; see hyperfill replay'",
            ledger->reject_table);
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
            " WHERE n.nspname = %s AND c.relname IN ('job', 'piece'%s)",
            schema, ledger->rejects ? ", 'reject'" : "");
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
        " INSERT, UPDATE, DELETE ON %s, %s, %s TO \"%s\"",
        database, user, ledger->schema, ledger->job_table, ledger->piece_table, ledger->reject_table, user);
}

/* A run that rejects nothing does with a ledger of an earlier version, where it may not be allowed to make a table. */
static bool is_whole(const struct ledger *ledger, const struct look *found)
{
    return found->tables && (found->rejects || !ledger->rejects);
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
    struct look found = {0};
    enum status status = look(pg, ledger, &found, error);

    if (status == STATUS_OK && !is_whole(ledger, &found)) {
        status = pg_runf(pg, NULL, error, "%s%s", begin_sql, LEDGER_LOCK);
        if (status == STATUS_OK)
            status = look(pg, ledger, &found, error);
        if (status == STATUS_OK && !is_whole(ledger, &found))
            status = make_tables(pg, ledger, &found, error);
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
static enum status drop_empty(struct pg *pg, const struct ledger *ledger, bool rejects, struct error *error)
{
    struct sql sql = {0};
    char *empty = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 WHERE NOT EXISTS (SELECT FROM %s) AND NOT EXISTS (SELECT FROM %s)", ledger->job_table,
            ledger->piece_table);
    if (rejects)
        sql_add(&sql, " AND NOT EXISTS (SELECT FROM %s)", ledger->reject_table);
    sql_add(
        &sql,
        " AND (SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname IN ('job', 'piece', 'reject') AND "
        "n.nspname = ");
    sql_add_literal(&sql, ledger->schema);
    sql_add(&sql, ")");
    status = pg_value(pg, sql.text, &empty, error);
    sql_reset(&sql);
    if (status != STATUS_OK || empty == NULL)
        return status;
    free(empty);
    sql_add(&sql, "DROP TABLE %s, %s%s%s", ledger->job_table, ledger->piece_table, rejects ? ", " : "",
            rejects ? ledger->reject_table : "");
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
static void add_mine(struct sql *sql, const struct ledger *ledger, const struct table *table, bool all, bool rejects)
{
    sql_add(sql, "WITH mine AS (SELECT job, %s OR (finished IS NOT NULL", all ? "true" : "false");
    if (rejects)
        sql_add(sql, " AND NOT EXISTS (SELECT FROM %s r WHERE r.job = j.job AND replayed IS NULL)",
                ledger->reject_table);
    sql_add(sql, ") AS goes FROM %s j WHERE table_oid = %u OR table_name = ", ledger->job_table, table->oid);
    sql_add_literal(sql, table->sql);
    sql_add(sql, "),");
    if (rejects)
        sql_add(sql,
                " o AS (SELECT count(*) AS open FROM %s WHERE replayed IS NULL AND job IN (SELECT job FROM mine)),"
                " r AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes)),",
                ledger->reject_table, ledger->reject_table);
}

static enum status forget(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all, bool rejects,
                          struct ledger_cleaning *cleaning, struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    add_mine(&sql, ledger, table, all, rejects);
    sql_add(&sql, " p AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes)),", ledger->piece_table);
    sql_add(&sql, " j AS (DELETE FROM %s WHERE job IN (SELECT job FROM mine WHERE goes))", ledger->job_table);
    sql_add(&sql, " SELECT count(*) FILTER (WHERE goes), count(*) FILTER (WHERE NOT goes), %s FROM mine",
            rejects ? "(SELECT open FROM o)" : "0");
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

enum status ledger_clean(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all,
                         struct ledger_cleaning *cleaning, struct error *error)
{
    struct look found = {0};
    enum status status = look(pg, ledger, &found, error);

    *cleaning = (struct ledger_cleaning){0};
    if (status != STATUS_OK || !found.tables)
        return status;
    /* The lock on the tables keeps others from registering between the look and the drop. */
    status = pg_runf(pg, NULL, error, "%s%s; LOCK TABLE %s, %s%s%s IN SHARE ROW EXCLUSIVE MODE", begin_sql, LEDGER_LOCK,
                     ledger->job_table, ledger->piece_table, found.rejects ? ", " : "",
                     found.rejects ? ledger->reject_table : "");
    if (status == STATUS_OK)
        status = forget(pg, ledger, table, all, found.rejects, cleaning, error);
    if (status == STATUS_OK)
        status = drop_empty(pg, ledger, found.rejects, error);
    if (status == STATUS_OK)
        status = pg_run(pg, "COMMIT", NULL, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}
