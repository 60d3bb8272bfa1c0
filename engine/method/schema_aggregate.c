/* Columnstore settings and continuous aggregates, which the community edition has. */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

#define APACHE "the target's TimescaleDB is of the Apache edition"

/* Aggregates, then what selects from them, directly or through others. */
static const char late_query[] =
    "WITH RECURSIVE aggregate AS (SELECT c.oid FROM timescaledb_information.continuous_aggregates a"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = a.view_schema"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = a.view_name),"
    " late(oid) AS (SELECT oid FROM aggregate UNION SELECT r.ev_class FROM late l"
    " JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = l.oid"
    " AND d.classid = 'pg_catalog.pg_rewrite'::regclass JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid)"
    " SELECT n.nspname || '.' || c.relname FROM late l JOIN pg_catalog.pg_class c ON c.oid = l.oid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE '\\_timescaledb\\_%'"
    " ORDER BY l.oid NOT IN (SELECT oid FROM aggregate), 1";

/* An aggregate on another one is made after it. */
static const char aggregates_query[] =
    "SELECT pg_catalog.format('%I.%I', v.view_schema, v.view_name) AS sql, pg_catalog.rtrim(pg_catalog.btrim("
    "v.view_definition), ';') AS definition, v.materialized_only, v.view_schema AS schema, v.view_name AS name,"
    " pg_catalog.format('%I.%I', v.materialization_hypertable_schema, v.materialization_hypertable_name) AS rows,"
    " d.interval_length AS interval FROM timescaledb_information.continuous_aggregates v"
    " JOIN _timescaledb_catalog.continuous_agg a ON a.user_view_schema = v.view_schema"
    " AND a.user_view_name = v.view_name JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = a.mat_hypertable_id"
    " AND d.num_slices IS NULL ORDER BY a.mat_hypertable_id";

/* By the hypertable that holds an aggregate's rows, since settings are kept there. */
static const char columnstore_query[] =
    "SELECT pg_catalog.format('%I.%I', coalesce(a.user_view_schema, h.schema_name), coalesce(a.user_view_name,"
    " h.table_name)) AS sql, a.user_view_name IS NOT NULL AS is_aggregate, pg_catalog.concat_ws(', ',"
    " 'timescaledb.compress = true', 'timescaledb.compress_segmentby = ' || pg_catalog.quote_literal("
    "pg_catalog.string_agg(pg_catalog.quote_ident(s.attname), ',' ORDER BY s.segmentby_column_index)"
    " FILTER (WHERE s.segmentby_column_index IS NOT NULL)), 'timescaledb.compress_orderby = ' ||"
    " pg_catalog.quote_literal(pg_catalog.string_agg(pg_catalog.quote_ident(s.attname) || CASE WHEN s.orderby_asc"
    " THEN ' ASC' ELSE ' DESC' END || CASE WHEN s.orderby_nullsfirst THEN ' NULLS FIRST' ELSE ' NULLS LAST' END, ','"
    " ORDER BY s.orderby_column_index) FILTER (WHERE s.orderby_column_index IS NOT NULL)),"
    " 'timescaledb.compress_chunk_time_interval = ' || pg_catalog.quote_literal((SELECT pg_catalog.max("
    "(pg_catalog.to_jsonb(d)->>'compress_interval_length')::bigint) * interval '1 microsecond'"
    " FROM _timescaledb_catalog.dimension d WHERE d.hypertable_id = h.id))) AS settings"
    " FROM _timescaledb_catalog.hypertable h LEFT JOIN _timescaledb_catalog.continuous_agg a"
    " ON a.mat_hypertable_id = h.id LEFT JOIN timescaledb_information.compression_settings s ON"
    " (s.hypertable_schema, s.hypertable_name) IN ((h.schema_name, h.table_name), (a.user_view_schema, "
    "a.user_view_name))"
    " WHERE " PG_HAS_COLUMNSTORE
    " GROUP BY h.id, h.schema_name, h.table_name, a.user_view_schema, a.user_view_name ORDER BY 1";

enum status schema_find_late(struct schema *schema, struct error *error)
{
    char **aggregates = NULL;
    enum status status;

    if (schema->source.timescaledb == NULL)
        return STATUS_OK;
    status = schema_texts(schema->source.pg, late_query, &schema->late, &schema->late_count, error);
    if (status == STATUS_OK)
        status = schema_texts(schema->source.pg, "SELECT 1 FROM timescaledb_information.continuous_aggregates",
                              &aggregates, &schema->aggregate_count, error);
    schema_texts_free(aggregates, schema->aggregate_count);
    return status;
}

/* Of the target only where there is something to compare. */
static enum status ask_both(const struct schema *schema, const char *query, PGresult **ours, PGresult **theirs,
                            struct error *error)
{
    enum status status = STATUS_OK;

    *ours = *theirs = NULL;
    if (schema->source.timescaledb != NULL)
        status = pg_run(schema->source.pg, query, ours, error);
    if (status == STATUS_OK && schema->target.timescaledb != NULL)
        status = pg_run(schema->target.pg, query, theirs, error);
    return status;
}

static enum status set_columnstore(struct schema *schema, const PGresult *ours, int row, const PGresult *theirs,
                                   bool aggregates, struct error *error)
{
    const char *sql = PQgetvalue(ours, row, 0), *settings = PQgetvalue(ours, row, PQfnumber(ours, "settings"));
    int there = schema_find_row(theirs, sql);
    struct sql statement = {0}, name = {0};
    enum status status;

    if (there >= 0 && strcmp(PQgetvalue(theirs, there, PQfnumber(theirs, "settings")), settings) == 0) {
        schema->result->equal++;
        return STATUS_OK;
    }
    if (there >= 0)
        return error_set(error, STATUS_SERVER,
                         "the columnstore of %s is set otherwise in the target; source: %s; target: %s. Set it there,"
                         " and run this again",
                         sql, settings, PQgetvalue(theirs, there, PQfnumber(theirs, "settings")));
    sql_add(&name, "columnstore of %s", sql);
    sql_add(&statement, "ALTER %s %s SET (%s)", aggregates ? "MATERIALIZED VIEW" : "TABLE", sql, settings);
    status = schema_do(schema, "columnstore", name.text, statement.text, settings, false, error);
    sql_reset(&statement);
    sql_reset(&name);
    return status;
}

/* Of tables, or of aggregates. */
static enum status set_columnstores(struct schema *schema, bool aggregates, struct error *error)
{
    PGresult *ours, *theirs;
    enum status status = ask_both(schema, columnstore_query, &ours, &theirs, error);

    for (int row = 0; status == STATUS_OK && ours != NULL && row < PQntuples(ours); row++) {
        if ((PQgetvalue(ours, row, PQfnumber(ours, "is_aggregate"))[0] == 't') != aggregates)
            continue;
        if (schema->target.community)
            status = set_columnstore(schema, ours, row, theirs, aggregates, error);
        else
            schema_leave_out(schema, "the columnstore (compression) of %s: " APACHE, PQgetvalue(ours, row, 0));
    }
    PQclear(ours);
    PQclear(theirs);
    return status;
}

enum status schema_set_columnstore(struct schema *schema, struct error *error)
{
    return set_columnstores(schema, false, error);
}

/* ---- Aggregates */

/* Its rows come later: they are refreshed over what was backfilled. */
static char *aggregate_statements(const struct schema *schema, const PGresult *ours, int row)
{
    struct sql sql = {0};
    char *prefix = pg_identifier(schema->target.namespace);

    sql_add(&sql,
            "CREATE MATERIALIZED VIEW %s WITH (timescaledb.continuous, timescaledb.materialized_only = %s) AS\n%s\nWITH"
            " NO DATA;\n",
            PQgetvalue(ours, row, 0), PQgetvalue(ours, row, 2)[0] == 't' ? "true" : "false", PQgetvalue(ours, row, 1));
    sql_add(&sql,
            "SELECT %s.set_chunk_time_interval(pg_catalog.format('%%I.%%I', materialization_hypertable_schema,"
            " materialization_hypertable_name)::regclass, %s::bigint) FROM"
            " timescaledb_information.continuous_aggregates WHERE view_schema = ",
            prefix, PQgetvalue(ours, row, PQfnumber(ours, "interval")));
    sql_add_literal(&sql, PQgetvalue(ours, row, PQfnumber(ours, "schema")));
    sql_add(&sql, " AND view_name = ");
    sql_add_literal(&sql, PQgetvalue(ours, row, PQfnumber(ours, "name")));
    free(prefix);
    return sql.text;
}

/* Versions may write one definition in different ways: what we made from what the source has now is equal. */
static bool is_equal(const struct schema *schema, const PGresult *ours, int row, const PGresult *theirs, int there,
                     const char *name, const char *statements)
{
    const struct schema_step *step = schema_ledger_find(schema, "aggregate", name);
    char hash[33];

    if (strcmp(PQgetvalue(ours, row, 2), PQgetvalue(theirs, there, 2)) != 0)
        return false;
    schema_hash(statements, hash);
    return strcmp(PQgetvalue(ours, row, 1), PQgetvalue(theirs, there, 1)) == 0 ||
           (step != NULL && strcmp(step->source_hash, hash) == 0);
}

/* Indexes of the hypertable that holds its rows, by what follows their table's name. */
static enum status make_indexes(struct schema *schema, const PGresult *ours, int row, struct error *error)
{
    static const char query[] = "SELECT pg_catalog.substr(pg_catalog.pg_get_indexdef(indexrelid), pg_catalog.strpos("
                                "pg_catalog.pg_get_indexdef(indexrelid), ' USING ')), indisunique FROM"
                                " pg_catalog.pg_index WHERE indrelid = %s::regclass ORDER BY 1";
    char *rows = pg_literal(PQgetvalue(ours, row, PQfnumber(ours, "rows")));
    PGresult *wanted = NULL, *found = NULL;
    struct sql there = {0};
    enum status status;

    sql_add(&there,
            "(SELECT pg_catalog.format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE pg_catalog.format('%%I.%%I', view_schema,"
            " view_name) = ");
    sql_add_literal(&there, PQgetvalue(ours, row, 0));
    sql_add(&there, ")");
    status = pg_runf(schema->source.pg, &wanted, error, query, rows);
    if (status == STATUS_OK)
        status = pg_runf(schema->target.pg, &found, error, query, there.text);
    for (int i = 0; status == STATUS_OK && i < PQntuples(wanted); i++) {
        struct sql statement = {0}, name = {0};

        if (schema_find_row(found, PQgetvalue(wanted, i, 0)) < 0) {
            sql_add(&name, "index of %s%s", PQgetvalue(ours, row, 0), PQgetvalue(wanted, i, 0));
            sql_add(&statement, "CREATE %sINDEX ON %s%s", PQgetvalue(wanted, i, 1)[0] == 't' ? "UNIQUE " : "",
                    PQgetvalue(ours, row, 0), PQgetvalue(wanted, i, 0));
            status = schema_do(schema, "aggregate index", name.text, statement.text, statement.text, false, error);
        }
        sql_reset(&statement);
        sql_reset(&name);
    }
    free(rows);
    PQclear(wanted);
    PQclear(found);
    sql_reset(&there);
    return status;
}

static enum status make_aggregate(struct schema *schema, const PGresult *ours, int row, const PGresult *theirs,
                                  struct error *error)
{
    int there = schema_find_row(theirs, PQgetvalue(ours, row, 0));
    char *statements = aggregate_statements(schema, ours, row);
    struct sql name = {0};
    enum status status = STATUS_OK;

    sql_add(&name, "continuous aggregate %s", PQgetvalue(ours, row, 0));
    if (there < 0)
        status = schema_do(schema, "aggregate", name.text, statements, statements, false, error);
    else if (is_equal(schema, ours, row, theirs, there, name.text, statements))
        schema->result->equal++;
    else
        status = error_set(error, STATUS_SERVER,
                           "%s is in the target already, and differs from the source's: drop it there, and run this"
                           " again\n  source: %.600s\n  target: %.600s",
                           name.text, PQgetvalue(ours, row, 1), PQgetvalue(theirs, there, 1));
    if (status == STATUS_OK && !schema->request->dry_run)
        status = make_indexes(schema, ours, row, error);
    sql_reset(&name);
    free(statements);
    return status;
}

enum status schema_make_aggregates(struct schema *schema, struct error *error)
{
    PGresult *ours, *theirs;
    enum status status = ask_both(schema, aggregates_query, &ours, &theirs, error);

    for (int row = 0; status == STATUS_OK && ours != NULL && row < PQntuples(ours); row++) {
        if (schema->target.community)
            status = make_aggregate(schema, ours, row, theirs, error);
        else
            schema_leave_out(schema, "continuous aggregate %s: " APACHE, PQgetvalue(ours, row, 0));
    }
    PQclear(ours);
    PQclear(theirs);
    return status == STATUS_OK ? set_columnstores(schema, true, error) : status;
}
