/* Hypertables: what the source's are, and making them again. */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

/*
 * By views and columns that versions 2.11 to 2.31 have. The materialisations of continuous aggregates are not among
 * them. An interval is what the view says where it has a word for it, since months are not days there.
 */
static const char dimensions_query[] =
    "SELECT v.hypertable_schema AS schema, v.hypertable_name AS name, v.column_name AS column,"
    " v.dimension_type = 'Space' AS is_space, CASE WHEN v.time_interval IS NOT NULL"
    " THEN 'INTERVAL ' || pg_catalog.quote_literal(v.time_interval::text) ELSE v.integer_interval::text END AS "
    "interval,"
    " v.num_partitions AS slices,"
    " CASE WHEN d.partitioning_func IS NOT NULL AND d.partitioning_func_schema NOT LIKE '\\_timescaledb\\_%'"
    " THEN pg_catalog.quote_literal(pg_catalog.format('%I.%I', d.partitioning_func_schema, d.partitioning_func)) END"
    " AS function, CASE WHEN d.integer_now_func <> '' THEN"
    " pg_catalog.quote_literal(pg_catalog.format('%I.%I', d.integer_now_func_schema, d.integer_now_func)) END AS now"
    " FROM timescaledb_information.dimensions v"
    " JOIN timescaledb_information.hypertables i USING (hypertable_schema, hypertable_name)"
    " JOIN _timescaledb_catalog.hypertable h ON h.schema_name = v.hypertable_schema"
    " AND h.table_name = v.hypertable_name"
    " JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id AND d.column_name = v.column_name"
    " ORDER BY 1, 2, v.dimension_number";

/* The rows of one table stand together. */
static void add_dimension(struct schema_hypertable **tables, size_t *count, const PGresult *result, int row)
{
    char *schema = schema_field(result, row, "schema"), *name = schema_field(result, row, "name");
    struct schema_hypertable *table = *count > 0 ? &(*tables)[*count - 1] : NULL;

    if (table == NULL || strcmp(table->schema, schema) != 0 || strcmp(table->name, name) != 0) {
        *tables = schema_grown(*tables, *count, sizeof **tables);
        table = &(*tables)[(*count)++];
        *table = (struct schema_hypertable){.schema = schema, .name = name, .sql = pg_qualified(schema, name)};
    } else {
        free(schema);
        free(name);
    }
    table->dimensions = schema_grown(table->dimensions, table->dimension_count, sizeof *table->dimensions);
    table->dimensions[table->dimension_count++] = (struct schema_dimension){
        .column = schema_field(result, row, "column"),
        .is_space = PQgetvalue(result, row, PQfnumber(result, "is_space"))[0] == 't',
        .interval = schema_field(result, row, "interval"),
        .slices = schema_field(result, row, "slices"),
        .function = schema_field(result, row, "function"),
        .now = schema_field(result, row, "now"),
    };
}

static void hypertables_free(struct schema_hypertable *tables, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < tables[i].dimension_count; k++) {
            free(tables[i].dimensions[k].column);
            free(tables[i].dimensions[k].interval);
            free(tables[i].dimensions[k].slices);
            free(tables[i].dimensions[k].function);
            free(tables[i].dimensions[k].now);
        }
        free(tables[i].dimensions);
        free(tables[i].schema);
        free(tables[i].name);
        free(tables[i].sql);
    }
    free(tables);
}

void schema_hypertables_free(struct schema *schema)
{
    hypertables_free(schema->hypertables, schema->hypertable_count);
}

static enum status read_hypertables(const struct schema_side *side, struct schema_hypertable **tables, size_t *count,
                                    struct error *error)
{
    PGresult *result;
    enum status status;

    if (side->timescaledb == NULL)
        return STATUS_OK;
    status = pg_run(side->pg, dimensions_query, &result, error);
    if (status != STATUS_OK)
        return status;
    for (int row = 0; row < PQntuples(result); row++)
        add_dimension(tables, count, result, row);
    PQclear(result);
    return STATUS_OK;
}

enum status schema_find_hypertables(struct schema *schema, struct error *error)
{
    return read_hypertables(&schema->source, &schema->hypertables, &schema->hypertable_count, error);
}

bool schema_is_hypertable(const void *context, const char *schema_name, const char *name)
{
    const struct schema *schema = context;

    for (size_t i = 0; i < schema->hypertable_count; i++)
        if (strcmp(schema->hypertables[i].name, name) == 0 && strcmp(schema->hypertables[i].schema, schema_name) == 0)
            return true;
    return false;
}

/* ---- Making */

static void add_call(struct sql *sql, const struct schema *schema, const char *function,
                     const struct schema_hypertable *table, const struct schema_dimension *dimension)
{
    char *prefix = pg_identifier(schema->target.namespace != NULL ? schema->target.namespace : "public");

    sql_add(sql, "SELECT %s.%s(", prefix, function);
    sql_add_literal(sql, table->sql);
    sql_add(sql, "::regclass, ");
    sql_add_literal(sql, dimension->column);
    free(prefix);
}

static char *statements_of(const struct schema *schema, const struct schema_hypertable *table)
{
    struct sql sql = {0};

    for (size_t i = 0; i < table->dimension_count; i++) {
        const struct schema_dimension *dimension = &table->dimensions[i];

        add_call(&sql, schema, i == 0 ? "create_hypertable" : "add_dimension", table, dimension);
        if (dimension->is_space)
            sql_add(&sql, ", number_partitions => %s", dimension->slices);
        else if (dimension->interval != NULL)
            sql_add(&sql, ", chunk_time_interval => %s", dimension->interval);
        if (dimension->function != NULL)
            sql_add(&sql, ", %s => %s::regproc", i == 0 ? "time_partitioning_func" : "partitioning_func",
                    dimension->function);
        /* Indexes come with those of the source. */
        sql_add(&sql, "%s);\n", i == 0 ? ", create_default_indexes => false" : "");
        if (dimension->now != NULL) {
            char *prefix = pg_identifier(schema->target.namespace != NULL ? schema->target.namespace : "public");

            sql_add(&sql, "SELECT %s.set_integer_now_func(", prefix);
            sql_add_literal(&sql, table->sql);
            sql_add(&sql, "::regclass, %s::regproc);\n", dimension->now);
            free(prefix);
        }
    }
    sql.text[sql.size - 1] = '\0';
    return sql.text;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* An interval that nobody asked for is the target's own affair. */
static enum status compare_hypertables(const struct schema_hypertable *ours, const struct schema_hypertable *theirs,
                                       struct error *error)
{
    bool equal = ours->dimension_count == theirs->dimension_count;

    for (size_t i = 0; equal && i < ours->dimension_count; i++) {
        const struct schema_dimension *a = &ours->dimensions[i], *b = &theirs->dimensions[i];

        equal = strcmp(a->column, b->column) == 0 && a->is_space == b->is_space;
        if (equal &&
            (a->interval != NULL ? !same(a->interval, b->interval) : a->is_space && !same(a->slices, b->slices)))
            return error_set(error, STATUS_SERVER,
                             "hypertable %s is in the target already, but \"%s\" is cut by %s there, in the source by"
                             " %s: change it there (set_chunk_time_interval), or drop the table",
                             ours->sql, a->column, b->is_space ? b->slices : b->interval,
                             a->is_space ? a->slices : a->interval);
    }
    if (equal)
        return STATUS_OK;
    return error_set(error, STATUS_SERVER,
                     "hypertable %s is in the target already, with other dimensions than the source's: drop it there,"
                     " and run this again",
                     ours->sql);
}

enum status schema_make_hypertables(struct schema *schema, struct error *error)
{
    struct schema_hypertable *there = NULL;
    size_t count = 0;
    enum status status = read_hypertables(&schema->target, &there, &count, error);

    for (size_t i = 0; i < schema->hypertable_count && status == STATUS_OK; i++) {
        const struct schema_hypertable *table = &schema->hypertables[i];
        const struct schema_hypertable *found = NULL;
        struct sql name = {0};
        char *statements;

        for (size_t k = 0; k < count && found == NULL; k++)
            if (strcmp(there[k].sql, table->sql) == 0)
                found = &there[k];
        if (found != NULL) {
            status = compare_hypertables(table, found, error);
            schema->result->equal++;
            continue;
        }
        sql_add(&name, "hypertable %s", table->sql);
        statements = statements_of(schema, table);
        status = schema_do(schema, "hypertable", name.text, statements, statements, false, error);
        schema->result->hypertables += status == STATUS_OK;
        free(statements);
        sql_reset(&name);
    }
    hypertables_free(there, count);
    return status;
}
