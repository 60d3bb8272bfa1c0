/* Columns of a table, and the one that holds the time. */
#include "writers/target_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Columns of catalogs that only newer servers have are asked for by to_jsonb: NULL where they are missing. */
static const char columns_sql[] =
    "WITH RECURSIVE base AS (SELECT t.oid AS of, t.* FROM pg_catalog.pg_type t WHERE t.oid IN"
    " (SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = %u AND attnum > 0)"
    " UNION ALL SELECT b.of, t.* FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd')"
    " SELECT a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,"
    " coalesce((SELECT CASE WHEN b.typtype = 'e' THEN 'enum' WHEN b.typnamespace = 'pg_catalog'::regnamespace"
    " THEN b.typname::text END FROM base b WHERE b.of = a.atttypid AND b.typtype <> 'd'), '') AS base,"
    " coalesce(to_jsonb(a)->>'attgenerated', '') <> '' AS generated,"
    " coalesce(to_jsonb(a)->>'attidentity', '') = 'a' AS identity_always"
    " FROM pg_catalog.pg_attribute a WHERE a.attrelid = %u AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

enum status target_columns(struct pg *pg, struct table *table, struct error *error)
{
    PGresult *result;
    enum status status = pg_runf(pg, &result, error, columns_sql, table->oid, table->oid);

    if (status != STATUS_OK)
        return status;
    table->column_count = (size_t)PQntuples(result);
    table->columns = calloc(table->column_count + 1, sizeof *table->columns);
    if (table->columns == NULL) {
        table->column_count = 0;
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    }
    for (size_t i = 0; i < table->column_count; i++) {
        int row = (int)i;

        table->columns[i] = (struct table_column){
            .name = target_text(result, row, "name"),
            .type = target_text(result, row, "type"),
            .base = target_text(result, row, "base"),
            .not_null = target_flag(result, row, "not_null"),
            .generated = target_flag(result, row, "generated"),
            .identity_always = target_flag(result, row, "identity_always"),
        };
    }
    PQclear(result);
    return status;
}

const struct table_column *table_find_column(const struct table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i].name, name) == 0)
            return &table->columns[i];
    return NULL;
}

void target_add_time_candidates(struct sql *text, const struct table *table)
{
    const char *before = ": ";

    for (size_t i = 0; i < table->column_count; i++)
        if (strncmp(table->columns[i].type, "timestamp", 9) == 0 || strcmp(table->columns[i].type, "date") == 0) {
            sql_add(text, "%s%s", before, table->columns[i].name);
            before = ", ";
        }
}

static enum status no_such_column(const struct table *table, const char *name, struct error *error)
{
    struct sql names = {0};
    enum status status;

    for (size_t i = 0; i < table->column_count; i++)
        sql_add(&names, "%s%s", i == 0 ? "" : ", ", table->columns[i].name);
    status = error_set(error, STATUS_USAGE, "table %s has no column \"%s\"; it has %s", table->sql, name,
                       names.size > 0 ? names.text : "none");
    sql_reset(&names);
    return status;
}

/*
 * The type under all domains; the innermost type modifier that is given counts. An index serves if it is complete, can
 * be used and leads with the column: a hypertable's or partitioned table's own stands for those of its chunks.
 */
static const char time_sql[] =
    "WITH RECURSIVE a AS (SELECT * FROM pg_catalog.pg_attribute WHERE attrelid = %u AND attname = %s AND attnum > 0),"
    " base AS (SELECT t.oid, t.typname, t.typnamespace, t.typtype, t.typbasetype, t.typtypmod, a.atttypmod AS modifier"
    " FROM a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " UNION ALL SELECT t.oid, t.typname, t.typnamespace, t.typtype, t.typbasetype, t.typtypmod, b.typtypmod"
    " FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd')"
    " SELECT b.typname AS type, b.typnamespace = 'pg_catalog'::regnamespace AS known, b.modifier,"
    " EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_catalog.pg_am m ON m.oid = c.relam JOIN a ON a.attnum = i.indkey[0]"
    " WHERE i.indrelid = %u AND m.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL) AS indexed"
    " FROM base b WHERE b.typtype <> 'd'";

static enum status read_time_column(const PGresult *result, struct table *table, const struct table_column *column,
                                    struct error *error)
{
    char *type = PQntuples(result) == 1 ? target_text(result, 0, "type") : NULL;
    enum status status = STATUS_OK;
    int64_t modifier;

    if (type == NULL || !target_flag(result, 0, "known") || !time_type_from_name(type, &table->time.type)) {
        free(type);
        return error_set(error, STATUS_USAGE,
                         "column \"%s\" of table %s is of type %s, which cannot be the time column: use one of type"
                         " timestamptz, timestamp, date, bigint, integer or smallint",
                         column->name, table->sql, column->type);
    }
    modifier = target_number(result, 0, "modifier");
    table->time.precision = time_type_is_integer(table->time.type) || modifier < 0 ? -1 : (int)modifier;
    table->time_indexed = target_flag(result, 0, "indexed");
    free(type);
    return status;
}

enum status target_time_column(struct pg *pg, struct table *table, const char *time_name, struct error *error)
{
    const struct table_column *column = table_find_column(table, time_name);
    PGresult *result;
    enum status status;
    char *literal;

    if (column == NULL)
        return no_such_column(table, time_name, error);
    if (column->generated)
        return error_set(error, STATUS_USAGE, "column \"%s\" of table %s is generated: it cannot be the time column",
                         time_name, table->sql);
    table->time_name = strdup(time_name);
    table->time_not_null = column->not_null;
    literal = pg_literal(time_name);
    status = pg_runf(pg, &result, error, time_sql, table->oid, literal, table->oid);
    free(literal);
    if (status != STATUS_OK)
        return status;
    status = read_time_column(result, table, column, error);
    PQclear(result);
    return status;
}
