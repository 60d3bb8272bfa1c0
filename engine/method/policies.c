/* Which background jobs there are, and what they would do. */
#include "engine/method/policies_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writers/ledger_state.h"

static const struct {
    const char *name, *words;
    enum policy_kind kind;
} kinds[] = {
    {"policy_retention", "retention policy", POLICY_RETENTION},
    {"policy_compression", "compression policy", POLICY_COMPRESSION},
    {"policy_recompression", "recompression policy", POLICY_COMPRESSION},
    {"policy_compaction", "compaction policy", POLICY_COMPRESSION},
    {"policy_reorder", "reorder policy", POLICY_REORDER},
    {"policy_refresh_continuous_aggregate", "refresh policy", POLICY_REFRESH},
};

/* Names of a continuous aggregate's jobs are those of its view or, in some versions, of what it is stored in; the table
 * itself may be such a store. */
static const char jobs_head[] =
    "WITH RECURSIVE tree AS (SELECT h.id, true AS own, coalesce(v.user_view_schema, h.schema_name) AS s,"
    " coalesce(v.user_view_name, h.table_name) AS t FROM _timescaledb_catalog.hypertable h"
    " LEFT JOIN _timescaledb_catalog.continuous_agg v ON v.mat_hypertable_id = h.id"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = h.table_name WHERE c.oid = %u"
    " UNION SELECT a.mat_hypertable_id, false, a.user_view_schema, a.user_view_name"
    " FROM tree JOIN _timescaledb_catalog.continuous_agg a ON a.raw_hypertable_id = tree.id)"
    " SELECT j.job_id AS id, j.proc_name AS kind, pg_catalog.format('%%I.%%I', tree.s, tree.t) AS relation, tree.own,"
    " pg_catalog.format('%%I.%%I', h.schema_name, h.table_name) AS stored,"
    " j.owner::text AS owner, j.scheduled, (pg_catalog.pg_has_role(j.owner, 'USAGE')%s) AS may_alter,"
    /* The scheduler marks a job as begun before its process is there; its process holds a lock of its own kind. */
    " (s.job_status = 'Running' OR (s.last_run_status IS NULL AND s.last_run_started_at > now() - interval '10 s')"
    " OR EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 29749 AND l.granted"
    " AND l.classid::bigint = j.job_id AND l.database ="
    " (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))) AS running,"
    " j.config->>'drop_after' AS drop_after";

static const char jobs_tail[] =
    " FROM tree JOIN _timescaledb_catalog.hypertable h ON h.id = tree.id JOIN timescaledb_information.jobs j"
    " ON (j.hypertable_schema, j.hypertable_name) IN ((tree.s, tree.t), (h.schema_name, h.table_name))"
    " LEFT JOIN LATERAL (SELECT * FROM timescaledb_information.job_stats s WHERE s.job_id = j.job_id LIMIT 1) s ON true"
    " WHERE j.proc_schema IN ('_timescaledb_functions', '_timescaledb_internal') AND j.proc_name IN (";

enum status policies_exist(struct pg *pg, const struct ledger *ledger, bool *exist, struct error *error)
{
    enum status status = ledger_state_exists(pg, ledger, "policy", exist, error);

    return status == STATUS_OK && *exist ? ledger_state_exists(pg, ledger, "policy_hold", exist, error) : status;
}

static char *text_of(const PGresult *result, int row, const char *name)
{
    int column = PQfnumber(result, name);
    struct sql text = {0};

    if (column < 0 || PQgetisnull(result, row, column))
        return NULL;
    sql_add(&text, "%s", PQgetvalue(result, row, column));
    return text.text;
}

static bool is_true(const PGresult *result, int row, const char *name)
{
    return PQgetvalue(result, row, PQfnumber(result, name))[0] == 't';
}

static int number_of(const PGresult *result, int row, const char *name)
{
    return (int)strtol(PQgetvalue(result, row, PQfnumber(result, name)), NULL, 10);
}

static enum policy_kind kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].kind;
    return POLICY_COMPRESSION;
}

/* From 2.28 on the owner of the database may switch all jobs. */
static const char *more_rights(const struct table *table)
{
    int major = 0, minor = 0;

    sscanf(table->timescaledb, "%d.%d", &major, &minor);
    return major > 2 || (major == 2 && minor >= 28)
               ? " OR pg_catalog.pg_has_role((SELECT datdba FROM pg_catalog.pg_database"
                 " WHERE datname = pg_catalog.current_database()), 'USAGE')"
               : "";
}

static void add_jobs(struct sql *sql, const struct ledger *ledger, const struct table *table, bool ours)
{
    char *policy = ledger_state_table(ledger, "policy"), *hold = ledger_state_table(ledger, "policy_hold");

    sql_add(sql, jobs_head, table->oid, more_rights(table));
    if (ours)
        sql_add(sql,
                ", (SELECT to_char(p.paused, 'YYYY-MM-DD HH24:MI:SSOF') FROM %s p WHERE p.job_id = j.job_id) AS since,"
                " (SELECT count(*) FROM %s h WHERE h.job_id = j.job_id AND h.key <> 0 AND " POLICIES_ALIVE ") AS runs,"
                " (SELECT count(*) FROM %s h WHERE h.job_id = j.job_id AND h.key = 0) AS hands",
                policy, hold, hold);
    else
        sql_add(sql, ", NULL AS since, 0 AS runs, 0 AS hands");
    sql_add(sql, jobs_tail);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        sql_add(sql, "%s'%s'", i == 0 ? "" : ", ", kinds[i].name);
    sql_add(sql, ") ORDER BY 1");
    free(policy);
    free(hold);
}

/* now() less drop_after, by the server's own arithmetic for the column's type (policy_retention_read_and_validate). */
enum status policies_read_horizon(struct pg *pg, const struct table *table, struct policy_job *job, struct error *error)
{
    char *literal = pg_literal(job->drop_after), *value = NULL, *now = NULL;
    struct sql sql = {0}, bound = {0};
    enum status status = STATUS_OK;

    if (time_type_is_integer(table->time.type)) {
        /* An aggregate has that of the hypertable that it is built on. */
        sql_add(&sql,
                "WITH RECURSIVE up AS (SELECT h.id FROM _timescaledb_catalog.hypertable h WHERE h.schema_name = ");
        sql_add_literal(&sql, table->schema);
        sql_add(&sql, " AND h.table_name = ");
        sql_add_literal(&sql, table->name);
        sql_add(&sql, " UNION SELECT a.raw_hypertable_id FROM up JOIN _timescaledb_catalog.continuous_agg a"
                      " ON a.mat_hypertable_id = up.id)"
                      " SELECT pg_catalog.format('%%I.%%I', d.integer_now_func_schema, d.integer_now_func)"
                      " FROM _timescaledb_catalog.dimension d JOIN up ON up.id = d.hypertable_id"
                      " WHERE d.integer_now_func IS NOT NULL ORDER BY d.id LIMIT 1");
        status = pg_value(pg, sql.text, &now, error);
        sql_reset(&sql);
        if (now != NULL)
            sql_add(&sql, "SELECT %s()::bigint - %s::bigint", now, literal);
    } else {
        sql_add(&bound, "(now()%s - %s::interval)", table->time.type == TIME_TIMESTAMPTZ ? "" : "::timestamp", literal);
        if (table->time.type == TIME_DATE)
            sql_add(&sql, "SELECT (%s::date - date '1970-01-01')::bigint * 86400000000", bound.text);
        else
            sql_add(&sql, "SELECT pg_catalog.floor(extract(epoch from %s) * 1000000)::bigint", bound.text);
    }
    if (status == STATUS_OK && sql.text != NULL)
        status = pg_value(pg, sql.text, &value, error);
    job->has_horizon = value != NULL;
    if (value != NULL)
        job->horizon = strtoll(value, NULL, 10);
    sql_reset(&sql);
    sql_reset(&bound);
    free(literal);
    free(now);
    free(value);
    return status;
}

static enum status take_jobs(struct pg *pg, const struct table *table, const PGresult *result, struct policy_list *list,
                             struct error *error)
{
    list->items = calloc((size_t)PQntuples(result) + 1, sizeof *list->items);
    if (list->items == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < PQntuples(result); i++) {
        struct policy_job *job = &list->items[list->count++];
        enum status status = STATUS_OK;

        *job = (struct policy_job){
            .id = number_of(result, i, "id"),
            .kind = kind_of(PQgetvalue(result, i, PQfnumber(result, "kind"))),
            .relation = text_of(result, i, "relation"),
            .owner = text_of(result, i, "owner"),
            .since = text_of(result, i, "since"),
            .own = is_true(result, i, "own"),
            .scheduled = is_true(result, i, "scheduled"),
            .may_alter = is_true(result, i, "may_alter"),
            .running = is_true(result, i, "running"),
            .runs = number_of(result, i, "runs"),
            .hands = number_of(result, i, "hands"),
            .drop_after = text_of(result, i, "drop_after"),
            .stored = text_of(result, i, "stored"),
        };
        if (job->own && job->kind == POLICY_RETENTION && job->drop_after != NULL)
            status = policies_read_horizon(pg, table, job, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status policies_read(struct pg *pg, const struct ledger *ledger, const struct table *table,
                          struct policy_list *list, struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    bool ours;
    enum status status;

    *list = (struct policy_list){0};
    if (table->kind != TABLE_HYPERTABLE || !table->community)
        return STATUS_OK;
    status = policies_exist(pg, ledger, &ours, error);
    if (status != STATUS_OK)
        return status;
    add_jobs(&sql, ledger, table, ours);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        status = take_jobs(pg, table, result, list, error);
    PQclear(result);
    if (status == STATUS_OK && list->count > 0)
        status = pg_value(pg,
                          "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN"
                          " pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'",
                          &list->schema, error);
    if (status != STATUS_OK) {
        error_prefix(error, "policies");
        policies_reset(list);
    }
    return status;
}

void policies_reset(struct policy_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].relation);
        free(list->items[i].owner);
        free(list->items[i].since);
        free(list->items[i].drop_after);
        free(list->items[i].stored);
    }
    free(list->items);
    free(list->schema);
    *list = (struct policy_list){0};
}

const char *policy_text(const struct policy_job *job, char text[POLICY_TEXT_MAX])
{
    const char *words = "policy";

    for (size_t i = sizeof kinds / sizeof kinds[0]; i-- > 0;)
        if (kinds[i].kind == job->kind)
            words = kinds[i].words;
    snprintf(text, POLICY_TEXT_MAX, "%s %d of %s", words, job->id, job->relation);
    return text;
}

char *policies_active(const struct policy_list *list)
{
    struct sql text = {0};

    sql_add(&text, "{");
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].scheduled || list->items[i].since != NULL)
            sql_add(&text, "%s%d", text.size > 1 ? "," : "", list->items[i].id);
    sql_add(&text, "}");
    return text.text;
}

enum status policies_check_rights(const struct policy_list *list, const struct table *table, struct error *error)
{
    const char *separator = "";
    char text[POLICY_TEXT_MAX];

    for (size_t i = 0; i < list->count; i++) {
        const struct policy_job *job = &list->items[i];

        if (!job->scheduled || job->may_alter)
            continue;
        if (error->status == STATUS_OK)
            error_set(error, STATUS_SERVER,
                      "target: this role may not pause policies that would do harm while %s is loaded, so nothing was"
                      " touched: ",
                      table->sql);
        error_hint(error, "%s%s (owner %s)", separator, policy_text(job, text), job->owner);
        separator = ", ";
    }
    if (error->status != STATUS_OK)
        error_hint(error, ". Run as a role that has the owner's rights, have the owner pause them (SELECT"
                          " alter_job(…, scheduled => false)), or say --policies leave to load beside them");
    return error->status;
}

bool policies_horizon(const struct policy_list *list, int64_t *horizon)
{
    bool found = false;

    for (size_t i = 0; i < list->count; i++) {
        const struct policy_job *job = &list->items[i];

        if (!job->has_horizon || (!job->scheduled && job->since == NULL))
            continue;
        if (!found || job->horizon > *horizon)
            *horizon = job->horizon;
        found = true;
    }
    return found;
}
