/* The ledger's own tables: made and found. Jobs: registered and finished. ledger.c has the pieces. */
#include "writers/ledger_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEDGER_VERSION 1

void ledger_init(struct ledger *ledger, const char *schema, const char *job)
{
    struct sql name = {0};

    sql_add(&name, "%s", schema);
    *ledger = (struct ledger){
        .schema = name.text,
        .job_table = pg_qualified(schema, "job"),
        .piece_table = pg_qualified(schema, "piece"),
        .reject_table = pg_qualified(schema, "reject"),
        .build_table = pg_qualified(schema, "build"),
    };
    snprintf(ledger->job, sizeof ledger->job, "%s", job);
}

void ledger_reset(struct ledger *ledger)
{
    free(ledger->schema);
    free(ledger->job_table);
    free(ledger->piece_table);
    free(ledger->reject_table);
    free(ledger->build_table);
    *ledger = (struct ledger){0};
}

/* By the catalog, because to_regclass fails where the schema may not be used. */
enum status ledger_look(struct pg *pg, const struct ledger *ledger, struct ledger_look *found, struct error *error)
{
    char *name;
    PGresult *result;
    enum status status;

    *found = (struct ledger_look){0};
    if (ledger->none)
        return STATUS_OK;
    name = pg_literal(ledger->schema);
    status = pg_runf(
        pg, &result, error,
        "SELECT count(*) > 0, count(c.oid) FILTER (WHERE c.relname IN ('job', 'piece')) = 2,"
        " count(c.oid) FILTER (WHERE c.relname = 'reject') = 1,"
        " count(c.oid) FILTER (WHERE c.relname = 'build') = 1,"
        " count(c.oid) FILTER (WHERE c.relname = 'build' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
        " AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) = 1 FROM pg_catalog.pg_namespace n"
        " LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid"
        " AND c.relname IN ('job', 'piece', 'reject', 'build') AND c.relkind IN ('r', 'p') WHERE n.nspname = %s",
        name);

    free(name);
    if (status != STATUS_OK)
        return status;
    found->schema = PQgetvalue(result, 0, 0)[0] == 't';
    found->tables = PQgetvalue(result, 0, 1)[0] == 't';
    found->rejects = PQgetvalue(result, 0, 2)[0] == 't';
    found->builds = PQgetvalue(result, 0, 3)[0] == 't';
    found->may_build = PQgetvalue(result, 0, 4)[0] == 't';
    PQclear(result);
    return STATUS_OK;
}

enum status ledger_exists(struct pg *pg, const struct ledger *ledger, bool *exists, struct error *error)
{
    struct ledger_look found = {0};
    enum status status = ledger_look(pg, ledger, &found, error);

    *exists = found.tables;
    return status;
}

enum status ledger_has_rejects(struct pg *pg, const struct ledger *ledger, bool *exists, struct error *error)
{
    struct ledger_look found = {0};
    enum status status = ledger_look(pg, ledger, &found, error);

    *exists = found.tables && found.rejects;
    return status;
}

enum status ledger_has_builds(struct pg *pg, const struct ledger *ledger, bool *exists, bool *readable,
                              struct error *error)
{
    struct ledger_look found = {0};
    enum status status = ledger_look(pg, ledger, &found, error);

    *exists = found.tables && found.builds;
    *readable = *exists && found.may_build;
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

static enum status make_tables(struct pg *pg, const struct ledger *ledger, const struct ledger_look *found,
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
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: records that could not be loaded; see hyperfill replay'; ",
            ledger->reject_table);
    sql_add(&sql,
            "CREATE TABLE IF NOT EXISTS %s (job text NOT NULL, lo bigint NOT NULL, hi bigint NOT NULL,"
            " way text NOT NULL, relation text, name text, data text, begun timestamptz NOT NULL DEFAULT now(),"
            " PRIMARY KEY (job, lo)); ",
            ledger->build_table);
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: chunks that are being built; never edit'", ledger->build_table);
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
            " WHERE n.nspname = %s AND c.relname IN ('job', 'piece'%s%s)",
            schema, ledger->rejects ? ", 'reject'" : "", ledger->builds ? ", 'build'" : "");
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
        " INSERT, UPDATE, DELETE ON %s, %s, %s, %s TO \"%s\"",
        database, user, ledger->schema, ledger->job_table, ledger->piece_table, ledger->reject_table,
        ledger->build_table, user);
}

/* A run that rejects nothing does with a ledger of an earlier version, where it may not be allowed to make a table. */
static bool is_whole(const struct ledger *ledger, const struct ledger_look *found)
{
    return found->tables && (found->rejects || !ledger->rejects) && (found->builds || !ledger->builds);
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
    struct ledger_look found = {0};
    enum status status;

    if (ledger->none)
        return ledger_wait(pg, ledger, error);
    status = ledger_look(pg, ledger, &found, error);
    if (status == STATUS_OK && !is_whole(ledger, &found)) {
        status = pg_runf(pg, NULL, error, LEDGER_BEGIN LEDGER_LOCK);
        if (status == STATUS_OK)
            status = ledger_look(pg, ledger, &found, error);
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
    if (ledger->none)
        return STATUS_OK;
    for (int i = 0; i < 4; i++)
        literals[i] = pg_literal(texts[i]);
    /* READ COMMITTED: the SELECT sees what a faster process has committed while the INSERT waited for it. */
    sql_add(&sql, "%sINSERT INTO %s (job, table_oid, table_name, source, lo, hi, fingerprint, layout, version)",
            LEDGER_BEGIN, ledger->job_table);
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
    enum status status;

    if (ledger->none)
        return STATUS_OK;
    status = pg_runf(pg, NULL, error, "%sUPDATE %s SET finished = now() WHERE job = '%s' AND finished IS NULL; COMMIT",
                     LEDGER_BEGIN, ledger->job_table, ledger->job);

    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}
