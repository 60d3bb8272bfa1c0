/* Indexes that are dropped for a while: the statements that make them again, kept as JSON: [[table, statement], …]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

/* The statements that make each index again, with all that belongs to it and that pg_get_indexdef leaves out. %s: the
 * tables. */
static const char collect_sql[] =
    "WITH i AS (SELECT c.oid::regclass::text AS chunk, i.indexrelid, format('%%I.%%I', n.nspname, k.relname) AS name,"
    " CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE') THEN n.nspname END AS closed,"
    " format('SET LOCAL default_tablespace = %%L; ', coalesce(t.spcname, ''))"
    " || regexp_replace(pg_catalog.pg_get_indexdef(i.indexrelid), '^CREATE INDEX', 'CREATE INDEX IF NOT EXISTS')"
    " || coalesce(format('; COMMENT ON INDEX %%I.%%I IS %%L', n.nspname, k.relname,"
    " pg_catalog.obj_description(i.indexrelid, 'pg_class')), '')"
    " || CASE WHEN i.indisclustered THEN format('; ALTER TABLE %%s CLUSTER ON %%I', c.oid::regclass, k.relname) ELSE ''"
    " END || coalesce((SELECT string_agg(format('; ALTER INDEX %%I.%%I ALTER COLUMN %%s SET STATISTICS %%s', n.nspname,"
    " k.relname, a.attnum, a.attstattarget), '' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0), '') AS statement"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indrelid = c.oid"
    " JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace"
    " LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = k.reltablespace"
    " WHERE c.oid = ANY (%s::oid[]) AND NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT "
    "i.indisreplident AND i.indisvalid"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint r WHERE r.conrelid = i.indrelid"
    " AND r.conindid = i.indexrelid))"
    /* A hypertable's indexes are dropped one by one, or not at all. */
    " SELECT json_agg(json_build_array(chunk, statement) ORDER BY name)::text,"
    " string_agg('DROP INDEX ' || name, '; ' ORDER BY name), min(closed) FROM i";

/* Nobody may make or drop an index between the look and the drop. Writers and readers wait until the commit. */
static enum status lock_tables(struct pg *pg, const char *oids, struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        pg_runf(pg, &result, error, "SELECT o::regclass::text FROM unnest(%s::oid[]) o ORDER BY o", oids);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status = pg_runf(pg, NULL, error, "LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE", PQgetvalue(result, i, 0));
    PQclear(result);
    return status;
}

/* What cannot be made again is not dropped. */
static enum status refuse_schema(const char *schema, struct error *error)
{
    snprintf(error->sqlstate, sizeof error->sqlstate, "42501");
    return error_set(error, STATUS_SERVER,
                     "to make indexes again once they are dropped this role needs CREATE on schema \"%s\"", schema);
}

enum status build_drop_indexes(struct pg *pg, const char *oids, char **statements, struct error *error)
{
    char *literal = pg_literal(oids);
    PGresult *result = NULL;
    /* Whoever waits for these locks holds up all who come after: not for long, then. */
    enum status status = pg_run(pg, "SET LOCAL lock_timeout = '1s'", NULL, error);

    if (status == STATUS_OK)
        status = lock_tables(pg, literal, error);
    if (status == STATUS_OK)
        status = pg_runf(pg, &result, error, collect_sql, literal);
    if (status == STATUS_OK && !PQgetisnull(result, 0, 2))
        status = refuse_schema(PQgetvalue(result, 0, 2), error);
    if (status == STATUS_OK && !PQgetisnull(result, 0, 0)) {
        *statements = strdup(PQgetvalue(result, 0, 0));
        status = *statements == NULL ? error_set(error, STATUS_SYSTEM, "out of memory")
                                     : pg_run(pg, PQgetvalue(result, 0, 1), NULL, error);
    }
    PQclear(result);
    free(literal);
    return status;
}

enum status build_make_indexes(struct pg *pg, const struct build *build, struct error *error)
{
    PGresult *result = NULL;
    struct sql sql = {0};
    enum status status;

    if (build->data == NULL)
        return STATUS_OK;
    sql_add(&sql, "SELECT e->>1 FROM json_array_elements(");
    sql_add_literal(&sql, build->data);
    sql_add(&sql, "::json) e WHERE pg_catalog.to_regclass(e->>0) IS NOT NULL");
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status = pg_run(pg, PQgetvalue(result, i, 0), NULL, error);
    PQclear(result);
    return status;
}
