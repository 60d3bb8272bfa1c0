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

enum status build_find_chunks(struct pg *pg, const struct table *table, const char *which, const char *what,
                              PGresult **result, struct error *error)
{
    struct sql names = {0}, sql = {0};
    const char *join;
    enum status status = target_chunk_join(pg, &join, error);

    if (status != STATUS_OK)
        return status;
    target_add_names(&names, table);
    sql_add(&sql, chunks_sql, names.text, which, join);
    sql_add(&sql, "%s", what);
    status = pg_run(pg, sql.text, result, error);
    sql_reset(&sql);
    sql_reset(&names);
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

/* Under the lock that dropping them has taken. */
static enum status find_empty(struct append_session *session, const char *oids, struct build *build,
                              struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        pg_runf(session->pg, &result, error,
                "SELECT bool_and(pg_catalog.pg_relation_size(o) = 0) FROM unnest('%s'::oid[]) o", oids);

    build->empty = status == STATUS_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return status;
}

static enum status indexes_begin(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    PGresult *result = NULL;
    enum status status = build_query_chunks(session, build->cell,
                                            " SELECT array_agg(relid ORDER BY relid)::text FROM chunk", &result, error);

    if (status == STATUS_OK && !PQgetisnull(result, 0, 0))
        status = build_drop_indexes(session->pg, PQgetvalue(result, 0, 0), &build->data, error);
    *worth = build->data != NULL;
    if (status == STATUS_OK && *worth)
        status = find_empty(session, PQgetvalue(result, 0, 0), build, error);
    PQclear(result);
    return status;
}

/*
 * Making an index counts the rows of its chunk, exactly as long as a float can (pg_class.reltuples). More than ours in
 * a cell that the job has for itself alone: somebody has written there since it was begun, beside the same row of the
 * source perhaps.
 */
static enum status tell_others(struct append_session *session, const struct build *build, struct error *error)
{
    const struct ledger *ledger = session->target->ledger;
    char range[TABLE_RANGE_TEXT_MAX], *value = NULL;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT c.rows - p.rows FROM (SELECT sum(reltuples::float8)::bigint AS rows FROM pg_catalog.pg_class"
                  " WHERE oid IN (SELECT pg_catalog.to_regclass(e->>0)::oid FROM json_array_elements(");
    sql_add_literal(&sql, build->data);
    sql_add(&sql,
            "::json) e)) c CROSS JOIN (SELECT coalesce(sum(rows), 0)::bigint AS rows FROM %s WHERE job = '%s' AND lo >="
            " %" PRId64 " AND lo < %" PRId64 ") p JOIN %s j ON j.job = '%s' AND j.lo <= %" PRId64
            " AND j.hi >= %" PRId64 " WHERE c.rows > p.rows AND c.rows < 16777216",
            ledger->piece_table, ledger->job, build->cell.lo, build->cell.hi, ledger->job_table, ledger->job,
            build->cell.lo, build->cell.hi);
    status = pg_value(session->pg, sql.text, &value, error);
    if (value != NULL)
        log_line(LOG_WARNING,
                 "%s %s: %s row%s that this job did not load came while it was loaded. They are there beside its own:"
                 " run --late or verify compares them with the source",
                 session->target->table->sql, table_range_text(session->target->table, build->cell, range), value,
                 strcmp(value, "1") == 0 ? "" : "s");
    free(value);
    sql_reset(&sql);
    return status;
}

static enum status indexes_publish(struct append_session *session, struct build *build, struct error *error)
{
    enum status status = build_make_indexes(session->pg, build, error);

    if (status == STATUS_OK && build->data != NULL && session->target->overlap != OVERLAP_RULE_KEEP)
        status = tell_others(session, build, error);
    return status;
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
    if (!facts->chunk_schema)
        return "to make a chunk's index this role needs CREATE on the schema of the chunks, _timescaledb_internal as a"
               " rule";
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
    .abandon = build_make_indexes,
};
