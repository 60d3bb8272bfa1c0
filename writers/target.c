/* What a table is: found by name, told by the server's catalogs. */
#include "writers/target_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *target_text(const PGresult *result, int row, const char *field)
{
    int column = PQfnumber(result, field);
    struct sql text = {0};

    assert(column >= 0);
    if (PQgetisnull(result, row, column))
        return NULL;
    sql_add(&text, "%s", PQgetvalue(result, row, column));
    return text.text;
}

int64_t target_number(const PGresult *result, int row, const char *field)
{
    int column = PQfnumber(result, field);

    assert(column >= 0);
    return PQgetisnull(result, row, column) ? -1 : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

bool target_flag(const PGresult *result, int row, const char *field)
{
    int column = PQfnumber(result, field);

    assert(column >= 0);
    return PQgetvalue(result, row, column)[0] == 't';
}

/* The server and its database. The license is a setting of the extension: unknown means that it is not loaded. */
static const char server_sql[] =
    "SELECT current_setting('server_encoding') AS encoding, current_database() AS database,"
    " pg_catalog.pg_is_in_recovery() AS in_recovery, pg_catalog.pg_backend_pid() AS pid,"
    " (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb') AS timescaledb,"
    " coalesce(current_setting('timescaledb.license', true), '') = 'timescale' AS community,"
    " pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute') AS may_identify";

static enum status describe_server(struct pg *pg, struct table *table, struct error *error)
{
    PGresult *result;
    enum status status = pg_run(pg, server_sql, &result, error);
    bool may_identify;

    if (status != STATUS_OK)
        return status;
    table->server_version = PQserverVersion(pg_conn(pg));
    table->server_encoding = target_text(result, 0, "encoding");
    table->database = target_text(result, 0, "database");
    table->in_recovery = target_flag(result, 0, "in_recovery");
    table->pooled = target_number(result, 0, "pid") != PQbackendPID(pg_conn(pg));
    table->timescaledb = target_text(result, 0, "timescaledb");
    table->community = table->timescaledb != NULL && target_flag(result, 0, "community");
    may_identify = target_flag(result, 0, "may_identify");
    PQclear(result);
    if (may_identify)
        status = pg_value(pg, "SELECT system_identifier FROM pg_catalog.pg_control_system()", &table->system_identifier,
                          error);
    if (table->system_identifier == NULL)
        table->system_identifier = strdup("");
    return status;
}

/*
 * Triggers that see inserted rows, whether one by one or as a transition table. TimescaleDB's own do not count.
 * Estimates are of this relation alone; those of chunks and partitions are added by target_chunks.c.
 */
static const char relation_sql[] =
    "SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reltuples AS rows,"
    " CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) END AS bytes,"
    " EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
    " JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace WHERE t.tgrelid = c.oid AND NOT t.tgisinternal"
    " AND t.tgtype & 4 <> 0 AND (t.tgtype & 1 <> 0 OR t.tgnewtable IS NOT NULL) AND t.tgenabled IN ('O', 'A')"
    " AND s.nspname NOT IN ('_timescaledb_internal', '_timescaledb_functions')) AS triggers"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = pg_catalog.to_regclass(%s)";

static void read_relation(const PGresult *result, struct table *table, struct relation *relation)
{
    table->oid = (uint32_t)target_number(result, 0, "oid");
    table->schema = target_text(result, 0, "schema");
    table->name = target_text(result, 0, "name");
    table->row_triggers = target_flag(result, 0, "triggers");
    table->sql = pg_qualified(table->schema, table->name);
    relation->kind = PQgetvalue(result, 0, PQfnumber(result, "kind"))[0];
    relation->rows = strtod(PQgetvalue(result, 0, PQfnumber(result, "rows")), NULL);
    relation->bytes = target_number(result, 0, "bytes");
    /* Servers before 14 say 0 where nothing was counted. */
    if (relation->rows <= 0 && relation->bytes != 0)
        relation->rows = -1;
}

static enum status find_relation(struct pg *pg, const char *name, struct table *table, struct relation *relation,
                                 struct error *error)
{
    char *literal = pg_literal(name);
    PGresult *result;
    enum status status = pg_runf(pg, &result, error, relation_sql, literal);

    free(literal);
    if (status == STATUS_SERVER && strncmp(error->sqlstate, "42501", 5) != 0) {
        /* The only thing the server can dislike here is how the name is written. */
        error->status = STATUS_USAGE;
        error_prefix(error, "%s is no table name", name);
        return STATUS_USAGE;
    }
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1)
        read_relation(result, table, relation);
    else
        status = target_not_found(pg, name, error);
    PQclear(result);
    return status;
}

static enum status check_kind(const struct table *table, const struct relation *relation, bool is_target,
                              struct error *error)
{
    if (strchr("rp", relation->kind) != NULL)
        return STATUS_OK;
    if (strchr("vmf", relation->kind) == NULL)
        return error_set(error, STATUS_USAGE, "%s is an index, a sequence or the like: name a table", table->sql);
    if (!is_target)
        return STATUS_OK;
    return error_set(error, STATUS_USAGE, "%s is a %s: rows can only be loaded into a table; name the table under it",
                     table->sql,
                     relation->kind == 'v'   ? "view"
                     : relation->kind == 'm' ? "materialized view"
                                             : "foreign table");
}

/* The time dimension. A function over it makes what chunks hold differ from the column's values. */
static enum status describe_hypertable(struct pg *pg, struct table *table, struct relation *relation,
                                       struct error *error)
{
    struct sql sql = {0};
    PGresult *result;
    enum status status;

    sql_add(&sql, "SELECT d.column_name, d.interval_length, d.partitioning_func,"
                  " (SELECT count(*) FROM _timescaledb_catalog.dimension o WHERE o.hypertable_id = h.id) AS dimensions"
                  " FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d"
                  " ON d.hypertable_id = h.id WHERE d.interval_length IS NOT NULL AND h.schema_name = ");
    sql_add_literal(&sql, table->schema);
    sql_add(&sql, " AND h.table_name = ");
    sql_add_literal(&sql, table->name);
    sql_add(&sql, " ORDER BY d.id LIMIT 1");
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1) {
        table->kind = TABLE_HYPERTABLE;
        table->interval = target_number(result, 0, "interval_length");
        table->dimensions = (int)target_number(result, 0, "dimensions");
        relation->time_name = target_text(result, 0, "column_name");
        if (!PQgetisnull(result, 0, PQfnumber(result, "partitioning_func")))
            status =
                error_set(error, STATUS_USAGE,
                          "hypertable %s is divided by a function over \"%s\" (partitioning function), which is not"
                          " supported",
                          table->sql, relation->time_name);
    }
    PQclear(result);
    return status;
}

static enum status describe_partitioned(struct pg *pg, struct table *table, struct relation *relation,
                                        struct error *error)
{
    PGresult *result;
    enum status status =
        pg_runf(pg, &result, error,
                "SELECT a.attname AS name FROM pg_catalog.pg_partitioned_table p"
                " JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]"
                " WHERE p.partrelid = %u AND p.partstrat = 'r' AND p.partnatts = 1 AND a.attnum > 0",
                table->oid);

    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1) {
        table->kind = TABLE_PARTITIONED;
        relation->time_name = target_text(result, 0, "name");
    }
    PQclear(result);
    return status;
}

/*
 * The user's column, or the one by which the table is divided. Chunks and partitions along another column than the time
 * mean nothing to us: a partitioned table is then taken as a plain one; a hypertable as a target is refused.
 */
static enum status choose_time(const struct table *table, struct relation *relation, const char *wanted, bool is_target,
                               struct error *error)
{
    struct sql candidates = {0};

    if (wanted == NULL && relation->time_name != NULL)
        return STATUS_OK;
    if (wanted == NULL) {
        target_add_time_candidates(&candidates, table);
        error_set(error, STATUS_USAGE, "which column of %s holds the time? Name it with --time-column%s", table->sql,
                  candidates.size > 0 ? candidates.text : "");
        sql_reset(&candidates);
        return STATUS_USAGE;
    }
    if (relation->time_name != NULL && strcmp(relation->time_name, wanted) == 0)
        return STATUS_OK;
    if (table->kind == TABLE_HYPERTABLE && is_target && table_find_column(table, wanted) != NULL)
        return error_set(error, STATUS_USAGE,
                         "hypertable %s is divided by \"%s\", not by \"%s\": leave --time-column out", table->sql,
                         relation->time_name, wanted);
    free(relation->time_name);
    relation->time_name = strdup(wanted);
    return STATUS_OK;
}

static enum status describe(struct pg *pg, const char *name, const char *time_name, bool is_target, struct table *table,
                            struct relation *relation, struct error *error)
{
    enum status status = pg_connect(pg, error);
    char *divided_by = NULL;

    if (status == STATUS_OK)
        status = describe_server(pg, table, error);
    if (status == STATUS_OK)
        status = find_relation(pg, name, table, relation, error);
    if (status == STATUS_OK)
        status = check_kind(table, relation, is_target, error);
    if (status == STATUS_OK)
        status = target_columns(pg, table, error);
    if (status == STATUS_OK && relation->kind == 'p')
        status = describe_partitioned(pg, table, relation, error);
    if (status == STATUS_OK && relation->kind == 'r' && table->timescaledb != NULL)
        status = describe_hypertable(pg, table, relation, error);
    if (status != STATUS_OK)
        return status;
    divided_by = relation->time_name != NULL ? strdup(relation->time_name) : NULL;
    status = choose_time(table, relation, time_name, is_target, error);
    if (status == STATUS_OK && (divided_by == NULL || strcmp(divided_by, relation->time_name) != 0)) {
        table->kind = TABLE_PLAIN;
        table->interval = 0;
        table->dimensions = 0;
    }
    /* A table that is divided in another way has its rows in places that are not looked at. */
    if (divided_by == NULL || table->kind != TABLE_PLAIN) {
        table->rows_estimate = relation->rows < 0 ? -1 : (int64_t)relation->rows;
        table->bytes_estimate = relation->bytes;
    }
    free(divided_by);
    if (status == STATUS_OK)
        status = target_time_column(pg, table, relation->time_name, error);
    return status == STATUS_OK ? table_refresh_cells(pg, table, error) : status;
}

enum status table_describe(struct pg *pg, const char *name, const char *time_name, bool is_target, struct table *table,
                           struct error *error)
{
    struct relation relation = {0};
    enum status status;

    *table = (struct table){.rows_estimate = -1, .bytes_estimate = -1};
    status = describe(pg, name, time_name, is_target, table, &relation, error);
    free(relation.time_name);
    if (status != STATUS_OK)
        table_reset(table);
    return status;
}

void table_reset(struct table *table)
{
    for (size_t i = 0; i < table->column_count; i++) {
        free(table->columns[i].name);
        free(table->columns[i].type);
        free(table->columns[i].base);
    }
    free(table->columns);
    free(table->schema);
    free(table->name);
    free(table->sql);
    free(table->time_name);
    free(table->cells);
    free(table->cell_rows);
    free(table->cell_bytes);
    free(table->server_encoding);
    free(table->database);
    free(table->system_identifier);
    free(table->timescaledb);
    *table = (struct table){0};
}
