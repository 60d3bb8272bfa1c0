/*
 * The way `indexes`, for hypertables of TimescaleDB 2.22 and later, any edition: the chunk's own indexes that are
 * neither unique nor a constraint's are dropped while it is empty, and made again under the same names when its rows
 * are there. From 2.22 on the hypertable knows the indexes of its chunks by their structure: one that was made again
 * belongs to it as before. Before that a catalog has them by name, and what was made again would be left behind by a
 * DROP INDEX.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "writers/build_private.h"

/* Chunks of a cell; several where there are space partitions. %1$s: names of the table, %2$s: which, %3$s: join. */
static const char chunks_sql[] =
    "WITH d AS (SELECT d.id, d.hypertable_id FROM _timescaledb_catalog.hypertable h"
    " JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id"
    " WHERE (h.schema_name, h.table_name) = (%1$s) AND d.interval_length IS NOT NULL ORDER BY d.id LIMIT 1),"
    " c AS (SELECT c.id, c.status, to_jsonb(c) AS j FROM _timescaledb_catalog.chunk c"
    " JOIN d ON d.hypertable_id = c.hypertable_id),"
    " x AS (SELECT id, status, coalesce(pg_catalog.to_regclass(j->>'relid')::oid,"
    " pg_catalog.to_regclass(format('%%I.%%I', j->>'schema_name', j->>'table_name'))::oid) AS relid FROM c),"
    " chunk AS (SELECT x.status, x.relid FROM d JOIN _timescaledb_catalog.dimension_slice s ON s.dimension_id = d.id"
    " %3$s WHERE %2$s)";
static const char join_old[] = "JOIN _timescaledb_catalog.chunk_constraint r ON r.dimension_slice_id = s.id"
                               " JOIN x ON x.id = r.chunk_id";
static const char join_new[] = "JOIN x ON x.id = s.chunk_id";

/* The statements that make each index again, with all that belongs to it and that pg_get_indexdef leaves out. */
static const char collect_sql[] =
    ", i AS (SELECT c.oid::regclass::text AS chunk, i.indexrelid, format('%I.%I', n.nspname, k.relname) AS name,"
    " format('SET LOCAL default_tablespace = %L; ', coalesce(t.spcname, ''))"
    " || regexp_replace(pg_catalog.pg_get_indexdef(i.indexrelid), '^CREATE INDEX', 'CREATE INDEX IF NOT EXISTS')"
    " || coalesce(format('; COMMENT ON INDEX %I.%I IS %L', n.nspname, k.relname,"
    " pg_catalog.obj_description(i.indexrelid, 'pg_class')), '')"
    " || CASE WHEN i.indisclustered THEN format('; ALTER TABLE %s CLUSTER ON %I', c.oid::regclass, k.relname) ELSE ''"
    " END || coalesce((SELECT string_agg(format('; ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', n.nspname,"
    " k.relname, a.attnum, a.attstattarget), '' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0), '') AS statement"
    " FROM chunk JOIN pg_catalog.pg_class c ON c.oid = chunk.relid JOIN pg_catalog.pg_index i ON i.indrelid = c.oid"
    " JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace"
    " LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = k.reltablespace"
    " WHERE NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT i.indisreplident AND i.indisvalid"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint r WHERE r.conindid = i.indexrelid))"
    " SELECT json_agg(json_build_array(chunk, statement) ORDER BY name)::text, string_agg(name, ', ' ORDER BY name) "
    "FROM i";

enum status build_find_chunks(struct pg *pg, const struct table *table, const char *which, const char *what,
                              PGresult **result, struct error *error)
{
    struct sql names = {0}, sql = {0};
    char *old = NULL;
    enum status status =
        pg_value(pg, "SELECT pg_catalog.to_regclass('_timescaledb_catalog.chunk_constraint')", &old, error);

    if (status != STATUS_OK)
        return status;
    sql_add_literal(&names, table->schema);
    sql_add(&names, ", ");
    sql_add_literal(&names, table->name);
    sql_add(&sql, chunks_sql, names.text, which, old != NULL ? join_old : join_new);
    sql_add(&sql, "%s", what);
    status = pg_run(pg, sql.text, result, error);
    sql_reset(&sql);
    sql_reset(&names);
    free(old);
    return status;
}

enum status build_query_chunks(struct append_session *session, struct range cell, const char *what, PGresult **result,
                               struct error *error)
{
    struct sql which = {0};
    enum status status;

    sql_add(&which, "s.range_start = '%" PRId64 "' AND s.range_end = '%" PRId64 "'", cell.lo, cell.hi);
    status = build_find_chunks(session->pg, session->target->table, which.text, what, result, error);
    sql_reset(&which);
    return status;
}

/* Empty means without a block: what was deleted may still be seen by somebody. A chunk's index is made in its schema,
 * which takes a privilege there that a table's owner need not have. */
static enum status indexes_suits(struct append_session *session, struct range cell, bool *suits, struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        build_query_chunks(session, cell,
                           " SELECT coalesce(bool_and(chunk.status = 0 AND pg_catalog.pg_relation_size(relid) = 0"
                           " AND pg_catalog.has_schema_privilege(k.relnamespace, 'CREATE')), false) FROM chunk"
                           " JOIN pg_catalog.pg_class k ON k.oid = relid",
                           &result, error);

    if (status == STATUS_OK)
        *suits = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return status;
}

/* Nobody may make or drop an index between the look and the drop. Writers and readers wait until the commit. */
enum status build_lock_chunks(struct append_session *session, struct range cell, struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        build_query_chunks(session, cell, " SELECT relid::regclass::text FROM chunk ORDER BY relid", &result, error);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status =
            pg_runf(session->pg, NULL, error, "LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE", PQgetvalue(result, i, 0));
    PQclear(result);
    return status;
}

static enum status indexes_begin(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    PGresult *result = NULL;
    /* Whoever waits for this lock holds up all who come after: not for long, then. */
    enum status status = pg_run(session->pg, "SET LOCAL lock_timeout = '1s'", NULL, error);

    if (status == STATUS_OK)
        status = build_lock_chunks(session, build->cell, error);
    if (status == STATUS_OK)
        status = build_query_chunks(session, build->cell, collect_sql, &result, error);
    *worth = status == STATUS_OK && !PQgetisnull(result, 0, 0);
    if (*worth) {
        build->data = strdup(PQgetvalue(result, 0, 0));
        status = build->data == NULL ? error_set(error, STATUS_SYSTEM, "out of memory")
                                     : pg_runf(session->pg, NULL, error, "DROP INDEX %s", PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    return status;
}

/* A chunk that was dropped meanwhile needs none. */
static enum status make_again(struct pg *pg, const struct build *build, struct error *error)
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

static enum status indexes_publish(struct append_session *session, struct build *build, struct error *error)
{
    return make_again(session->pg, build, error);
}

static bool indexes_concerns(const struct build_facts *facts)
{
    return facts->table->kind == TABLE_HYPERTABLE;
}

static const char *indexes_refuses(const struct build_facts *facts, const struct build_wish *wish)
{
    (void)wish;
    if (!build_since(facts, 2, 22))
        return "the index of a single chunk can be dropped and made again from TimescaleDB 2.22 on";
    return facts->indexes > 0 ? NULL : "the table has no index but unique ones, which stay as they are";
}

const struct build_way build_indexes_way = {
    .name = "indexes",
    .text = "chunks get their indexes once their rows are in",
    .concerns = indexes_concerns,
    .refuses = indexes_refuses,
    .suits = indexes_suits,
    .begin = indexes_begin,
    .publish = indexes_publish,
    .abandon = make_again,
};
