/* Policies and jobs, which the community edition has. */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

#define INTERVAL_OF(key)                                                                                               \
    "CASE pg_catalog.jsonb_typeof(j.config->'" key "') WHEN 'number' THEN j.config->>'" key "' WHEN 'string' THEN"     \
    " 'INTERVAL ' || pg_catalog.quote_literal(j.config->>'" key "') ELSE 'NULL' END"

/*
 * Jobs of tables and of aggregates, told apart by what their configuration points at, since the view's columns name
 * the one or the other by version; and jobs of users. `call` makes one and gives its number.
 */
static const char policies_query[] =
    "SELECT CASE WHEN j.proc_name LIKE 'policy\\_%' AND j.proc_schema LIKE '\\_timescaledb\\_%' THEN"
    " pg_catalog.format('%s of %I.%I', j.proc_name, r.schema, r.name) ELSE pg_catalog.format('job %I.%I %s',"
    " j.proc_schema, j.proc_name, j.config) END AS what,"
    " CASE j.proc_name WHEN 'policy_retention' THEN 'add_retention_policy(' || r.literal || CASE WHEN j.config ?"
    " 'drop_created_before' THEN ', drop_created_before => ' || " INTERVAL_OF(
        "drop_created_before") " ELSE"
                               " ', drop_after => ' || " INTERVAL_OF(
                                   "drop_after") " END || ')'"
                                                 " WHEN 'policy_compression' THEN 'add_compression_policy(' || "
                                                 "r.literal || CASE WHEN j.config ?"
                                                 " 'compress_created_before' THEN ', compress_created_before => ' "
                                                 "|| " INTERVAL_OF(
                                                     "compress_created_before") " ELSE"
                                                                                " ', compress_after => ' "
                                                                                "|| " INTERVAL_OF(
                                                                                    "compress_after") " END || ')'"
                                                                                                      " WHEN "
                                                                                                      "'policy_refresh_"
                                                                                                      "continuous_"
                                                                                                      "aggregate' THEN "
                                                                                                      "'add_continuous_"
                                                                                                      "aggregate_"
                                                                                                      "policy(' || "
                                                                                                      "r.literal ||"
                                                                                                      " ', "
                                                                                                      "start_offset => "
                                                                                                      "' "
                                                                                                      "|| " INTERVAL_OF("start_offset") " || ', end_offset => ' || " INTERVAL_OF(
                                                                                                          "end_offset") " ||"
                                                                                                                        " ', schedule_interval => ' || s.schedule || ')'"
                                                                                                                        " WHEN 'policy_reorder' THEN 'add_reorder_policy(' || r.literal || ', ' || pg_catalog.quote_literal("
                                                                                                                        "j.config->>'index_name') || ')'"
                                                                                                                        " ELSE CASE WHEN j.proc_schema NOT LIKE '\\_timescaledb\\_%' THEN 'add_job(' || pg_catalog.quote_literal("
                                                                                                                        "pg_catalog.format('%I.%I', j.proc_schema, j.proc_name)) || '::regproc, ' || s.schedule || coalesce(', config => '"
                                                                                                                        " || pg_catalog.quote_literal(j.config) || '::jsonb', '') || ')' END END AS call,"
                                                                                                                        " ', schedule_interval => ' || s.schedule || ', max_runtime => INTERVAL ' || pg_catalog.quote_literal("
                                                                                                                        "j.max_runtime) || ', max_retries => ' || j.max_retries || ', retry_period => INTERVAL ' ||"
                                                                                                                        " pg_catalog.quote_literal(j.retry_period) || ', scheduled => ' || j.scheduled AS settings,"
                                                                                                                        " (j.config - 'hypertable_id' - 'mat_hypertable_id')::text AS config, j.scheduled,"
                                                                                                                        " s.schedule || ' ' || coalesce((j.config - 'hypertable_id' - 'mat_hypertable_id')::text, '') AS compared"
                                                                                                                        " FROM timescaledb_information.jobs j LEFT JOIN LATERAL (SELECT coalesce(a.user_view_schema, h.schema_name) AS"
                                                                                                                        " schema, coalesce(a.user_view_name, h.table_name) AS name, pg_catalog.quote_literal(pg_catalog.format('%I.%I',"
                                                                                                                        " coalesce(a.user_view_schema, h.schema_name), coalesce(a.user_view_name, h.table_name))) || '::regclass' AS literal"
                                                                                                                        " FROM _timescaledb_catalog.hypertable h LEFT JOIN _timescaledb_catalog.continuous_agg a ON a.mat_hypertable_id ="
                                                                                                                        " h.id WHERE h.id = coalesce(j.config->>'mat_hypertable_id', j.config->>'hypertable_id')::int) r ON true,"
                                                                                                                        " LATERAL (SELECT 'INTERVAL ' || pg_catalog.quote_literal(j.schedule_interval) AS schedule) s"
                                                                                                                        " WHERE r.name IS NOT NULL OR j.proc_schema NOT LIKE '\\_timescaledb\\_%' ORDER BY j.job_id";

/*
 * The functions are the extension's, in whatever schema it is: they are called with that in the path. What they set by
 * themselves is then set as in the source, in the new job's configuration as well.
 */
static char *statements_of(const struct schema *schema, const PGresult *ours, int row)
{
    const char *config = PQgetvalue(ours, row, PQfnumber(ours, "config"));
    char *prefix = pg_identifier(schema->target.namespace);
    struct sql sql = {0};

    sql_add(&sql, "CREATE TEMP TABLE hyperfill_made ON COMMIT DROP AS SELECT %s.%s AS job;\n", prefix,
            PQgetvalue(ours, row, PQfnumber(ours, "call")));
    sql_add(&sql, "SELECT %s.alter_job(m.job%s", prefix, PQgetvalue(ours, row, PQfnumber(ours, "settings")));
    if (config[0] != '\0') {
        sql_add(&sql, ", config => j.config || ");
        sql_add_literal(&sql, config);
        sql_add(&sql, "::jsonb");
    }
    sql_add(&sql, ") FROM hyperfill_made m JOIN timescaledb_information.jobs j ON j.job_id = m.job");
    free(prefix);
    return sql.text;
}

/* Whether it is switched on is not compared: that is what a backfill changes. */
static enum status make_policy(struct schema *schema, const PGresult *ours, int row, const PGresult *theirs,
                               struct error *error)
{
    const char *what = PQgetvalue(ours, row, 0);
    int there = schema_find_row(theirs, what), compared = PQfnumber(ours, "compared");
    char *statements;
    enum status status;

    if (there >= 0 && strcmp(PQgetvalue(ours, row, compared), PQgetvalue(theirs, there, compared)) == 0) {
        schema->result->equal++;
        return STATUS_OK;
    }
    if (there >= 0)
        return error_set(
            error, STATUS_SERVER,
            "%s is in the target already, and differs; source: %s; target: %s. Remove it there, and run this"
            " again",
            what, PQgetvalue(ours, row, compared), PQgetvalue(theirs, there, compared));
    if (PQgetisnull(ours, row, PQfnumber(ours, "call"))) {
        schema_leave_out(schema, "%s: no policy that this version knows", what);
        return STATUS_OK;
    }
    statements = statements_of(schema, ours, row);
    status = schema_do(schema, "policy", what, statements, statements, false, error);
    free(statements);
    return status;
}

enum status schema_make_policies(struct schema *schema, struct error *error)
{
    PGresult *ours = NULL, *theirs = NULL;
    enum status status = STATUS_OK;

    if (schema->source.timescaledb == NULL)
        return STATUS_OK;
    status = pg_run(schema->source.pg, policies_query, &ours, error);
    if (status == STATUS_OK && schema->target.timescaledb != NULL)
        status = pg_run(schema->target.pg, policies_query, &theirs, error);
    for (int row = 0; status == STATUS_OK && row < PQntuples(ours); row++) {
        if (schema->target.community)
            status = make_policy(schema, ours, row, theirs, error);
        else
            schema_leave_out(schema, "%s: the target's TimescaleDB is of the Apache edition", PQgetvalue(ours, row, 0));
    }
    PQclear(ours);
    PQclear(theirs);
    return status;
}
