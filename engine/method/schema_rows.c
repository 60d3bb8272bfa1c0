/* Relational rows, a table a transaction. */
#include "engine/method/schema_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

#define HASH "pg_catalog.count(*) || ' ' || coalesce(pg_catalog.sum(pg_catalog.hashtextextended(r::text, 0)), 0)"

/* One table of the source. */
struct relation {
    char *sql, *columns, *name; /* the name is that of its entry in a dump */
};

/*
 * All but time-series: neither hypertables nor the partitions of what becomes one. What others refer to comes first, as
 * far as that goes: foreign keys may be there already.
 */
static enum status find_tables(const struct schema *schema, PGresult **tables, struct error *error)
{
    char *ledger = pg_literal(schema->request->ledger_schema);
    struct sql query = {0};
    enum status status;

    sql_add(
        &query,
        "WITH RECURSIVE reference AS (SELECT DISTINCT conrelid, confrelid FROM pg_catalog.pg_constraint"
        " WHERE contype = 'f' AND conrelid <> confrelid), level(oid, depth) AS (SELECT conrelid, 1 FROM reference"
        " UNION SELECT r.conrelid, l.depth + 1 FROM level l JOIN reference r ON r.confrelid = l.oid"
        " WHERE l.depth < 50) "
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS sql, 'TABLE ' || n.nspname || '.' || c.relname "
        "AS name, pg_catalog.string_agg("
        "pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " AND a.attgenerated = '' WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> %s "
        "AND" SCHEMA_NOT_OURS,
        ledger);
    for (size_t i = 0; i < schema->hypertable_count; i++) {
        sql_add(&query, "%s", i == 0 ? " AND NOT EXISTS (SELECT FROM (VALUES " : ", ");
        sql_add(&query, "(");
        sql_add_literal(&query, schema->hypertables[i].sql);
        sql_add(&query, "::regclass)");
        if (i + 1 == schema->hypertable_count)
            sql_add(&query, ") h(oid) WHERE h.oid = c.oid OR (c.relispartition AND h.oid IN"
                            " (SELECT relid FROM pg_catalog.pg_partition_ancestors(c.oid))))");
    }
    sql_add(&query,
            " GROUP BY n.nspname, c.relname, c.oid ORDER BY (SELECT coalesce(pg_catalog.max(depth), 0) FROM level"
            " WHERE level.oid = c.oid), n.nspname, c.relname");
    status = pg_run(schema->source.pg, query.text, tables, error);
    sql_reset(&query);
    free(ledger);
    return status;
}

static enum status hash_rows(struct pg *pg, const struct relation *table, char **hash, struct error *error)
{
    struct sql query = {0};
    enum status status;

    sql_add(&query, "SELECT " HASH " FROM (SELECT ROW(%s) AS r FROM ONLY %s) s", table->columns, table->sql);
    status = pg_value(pg, query.text, hash, error);
    sql_reset(&query);
    return status;
}

/* Rows that are there without a word of ours in the ledger: fine if they are the same. */
static enum status compare_rows(struct schema *schema, const struct relation *table, struct error *error)
{
    char *source = NULL, *target = NULL;
    enum status status = hash_rows(schema->source.pg, table, &source, error);

    if (status == STATUS_OK)
        status = hash_rows(schema->target.pg, table, &target, error);
    if (status == STATUS_OK && (source == NULL || target == NULL || strcmp(source, target) != 0))
        status = error_set(error, STATUS_SERVER,
                           "table %s of the target has rows already, and not those of the source: empty it there"
                           " (TRUNCATE), and run this again",
                           table->sql);
    free(source);
    free(target);
    return status;
}

static enum status pump(struct schema *schema, const struct relation *table, int64_t *rows, struct error *error)
{
    struct sql from = {0}, to = {0};
    int64_t sent = 0;
    enum status status;
    const char *row;
    int size = 0;

    sql_add(&from, "COPY (SELECT %s FROM ONLY %s) TO STDOUT", table->columns, table->sql);
    sql_add(&to, "COPY %s (%s) FROM STDIN", table->sql, table->columns);
    status = pg_copy_out_begin(schema->source.pg, from.text, error);
    if (status == STATUS_OK)
        status = pg_copy_in_begin(schema->target.pg, to.text, error);
    while (status == STATUS_OK) {
        if (stop_level(schema->request->stop) >= STOP_DRAIN)
            status = error_set(error, STATUS_STOPPED, "stopped while %s was copied; run it again to go on", table->sql);
        else
            status = pg_copy_out_next(schema->source.pg, &row, &size, &sent, error);
        if (status != STATUS_OK || size == 0)
            break;
        status = pg_copy_in_put(schema->target.pg, row, (size_t)size, error);
    }
    if (status == STATUS_OK)
        status = pg_copy_in_end(schema->target.pg, rows, error);
    else
        pg_copy_in_fail(schema->target.pg, "the copy was given up");
    if (status == STATUS_OK && *rows != sent)
        status = error_set(error, STATUS_DATA, "%s: the source sent %" PRId64 " rows, the target took %" PRId64,
                           table->sql, sent, *rows);
    sql_reset(&from);
    sql_reset(&to);
    return status;
}

/* The lock keeps another clone, and writers, out until it is decided whose rows are there. */
static enum status copy_table(struct schema *schema, const struct relation *table, int64_t *rows, struct error *error)
{
    struct sql query = {0};
    char *any = NULL;
    enum status status = pg_runf(
        schema->target.pg, NULL, error,
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE", table->sql);

    *rows = 0;
    sql_add(&query, "SELECT 1 FROM ONLY %s LIMIT 1", table->sql);
    if (status == STATUS_OK)
        status = pg_value(schema->target.pg, query.text, &any, error);
    if (status == STATUS_OK)
        status = any != NULL ? compare_rows(schema, table, error) : pump(schema, table, rows, error);
    sql_reset(&query);
    free(any);
    if (status == STATUS_OK) {
        schema_ledger_add(&query, schema, "rows", table->name, table->columns, *rows);
        sql_add(&query, "; COMMIT");
        status = pg_run(schema->target.pg, query.text, NULL, error);
        sql_reset(&query);
    }
    if (status != STATUS_OK)
        pg_rollback(schema->target.pg);
    return status;
}

enum status schema_copy_rows(struct schema *schema, struct error *error)
{
    PGresult *tables = NULL;
    enum status status = find_tables(schema, &tables, error);

    for (int row = 0; status == STATUS_OK && row < PQntuples(tables); row++) {
        struct relation table = {PQgetvalue(tables, row, 0), PQgetvalue(tables, row, 2), PQgetvalue(tables, row, 1)};
        int64_t rows;

        if (schema_ledger_find(schema, "rows", table.name) != NULL) {
            schema->result->equal++;
            continue;
        }
        if (schema->request->dry_run) {
            fprintf(schema->request->output,
                    "-- rows of %s: COPY (SELECT %s FROM ONLY %s) TO STDOUT, into the target\n\n", table.sql,
                    table.columns, table.sql);
            continue;
        }
        status = copy_table(schema, &table, &rows, error);
        if (status == STATUS_OK) {
            schema->result->tables++;
            schema->result->rows += rows;
            schema->result->made++;
            log_line(LOG_DEBUG, "copied %" PRId64 " rows of %s", rows, table.sql);
        }
    }
    PQclear(tables);
    return status;
}
