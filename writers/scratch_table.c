/* The copy of a table for benchmarks. Each query here makes statements out of what the catalogs say of the table. */
#include "writers/scratch.h"

#include <stdlib.h>

/* A column's default that counts a sequence up would count up the table's own. */
static const char sequences_sql[] =
    "SELECT pg_catalog.format('CREATE SEQUENCE %%1$s.sequence_%%2$s; ALTER TABLE %%1$s.copy ALTER COLUMN %%3$I SET "
    "DEFAULT pg_catalog.nextval(''%%1$s.sequence_%%2$s'')', '%s', a.attnum, a.attname) FROM pg_catalog.pg_attribute a "
    "JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = %u AND NOT "
    "a.attisdropped AND a.attgenerated = '' AND (pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ 'nextval' OR EXISTS "
    "(SELECT FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_class s ON s.oid = p.refobjid WHERE p.classid = "
    "'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid AND p.refclassid = "
    "'pg_catalog.pg_class'::pg_catalog.regclass AND s.relkind = 'S'))";

/* %s: schema, name of the copy, how much of LIKE; %u: what is copied. Partitions cannot have identity columns. */
static const char create_sql[] =
    "SELECT pg_catalog.format('CREATE %%s TABLE %s.%s (LIKE %%s INCLUDING ALL EXCLUDING STATISTICS EXCLUDING COMMENTS "
    "%s) %%s %%s %%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END, c.oid::pg_catalog.regclass, 'PARTITION BY ' "
    "|| pg_catalog.pg_get_partkeydef(c.oid), 'WITH (' || pg_catalog.array_to_string(c.reloptions, ', ') || ')', "
    "'TABLESPACE ' || pg_catalog.quote_ident(t.spcname)) FROM pg_catalog.pg_class c LEFT JOIN "
    "pg_catalog.pg_tablespace t ON t.oid = c.reltablespace WHERE c.oid = %u";

/* Each row is a partition, those above before those below. */
static const char partitions_sql[] =
    "SELECT p.relid::pg_catalog.oid, CASE WHEN p.level = 1 THEN 'copy' ELSE 'part_' || p.parentrelid::pg_catalog.oid "
    "END, pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM pg_catalog.pg_partition_tree(%u) p JOIN "
    "pg_catalog.pg_class c ON c.oid = p.relid WHERE p.level > 0 AND c.relkind IN ('r', 'p') ORDER BY p.level, p.relid";

/* The time dimension first, by which the hypertable is made. */
static const char dimensions_sql[] =
    "SELECT CASE WHEN pg_catalog.row_number() OVER (ORDER BY d.interval_length IS NULL, d.id) = 1 THEN "
    "pg_catalog.format('SELECT %%1$I.create_hypertable(''%s.copy'', %%2$L::name, chunk_time_interval => "
    "%%3$s::bigint, create_default_indexes => false)', e.nspname, d.column_name, d.interval_length) WHEN "
    "d.interval_length IS NOT NULL THEN pg_catalog.format('SELECT %%1$I.add_dimension(''%s.copy'', %%2$L::name, "
    "chunk_time_interval => %%3$s::bigint)', e.nspname, d.column_name, d.interval_length) ELSE "
    "pg_catalog.format('SELECT %%1$I.add_dimension(''%s.copy'', %%2$L::name, number_partitions => %%3$s, "
    "partitioning_func => %%4$L::pg_catalog.regproc)', e.nspname, d.column_name, d.num_slices, "
    "pg_catalog.format('%%I.%%I', d.partitioning_func_schema, d.partitioning_func)) END FROM "
    "_timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id, (SELECT "
    "n.nspname FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE x.extname "
    "= 'timescaledb') e WHERE h.schema_name = %s AND h.table_name = %s ORDER BY d.interval_length IS NULL, d.id";

/* A columnstore as the table's is; none where it has none. */
static const char columnstore_sql[] =
    "SELECT pg_catalog.format('ALTER TABLE %s.copy SET (timescaledb.compress, timescaledb.compress_segmentby = %%L, "
    "timescaledb.compress_orderby = %%L)', coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' ORDER "
    "BY segmentby_column_index) FILTER (WHERE segmentby_column_index IS NOT NULL), ''), "
    "coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(attname) || CASE WHEN orderby_asc THEN ' ASC' ELSE ' DESC' "
    "END || CASE WHEN orderby_nullsfirst THEN ' NULLS FIRST' ELSE ' NULLS LAST' END, ', ' ORDER BY "
    "orderby_column_index) FILTER (WHERE orderby_column_index IS NOT NULL), '')) FROM "
    "timescaledb_information.compression_settings WHERE hypertable_schema = %s AND hypertable_name = %s HAVING "
    "pg_catalog.count(*) > 0";

static const char absent_sql[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = %u AND contype = 'f'), EXISTS (SELECT FROM "
    "pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = "
    "p.pronamespace WHERE t.tgrelid = %u AND NOT t.tgisinternal AND n.nspname NOT IN ('_timescaledb_internal', "
    "'_timescaledb_functions'))";

/* Runs each row's first field as a statement of its own. */
static enum status run_each(struct pg *pg, const char *query, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_run(pg, query, &result, error);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        if (!PQgetisnull(result, i, 0))
            status = pg_run(pg, PQgetvalue(result, i, 0), NULL, error);
    PQclear(result);
    return status;
}

static enum status copy_like(struct scratch *scratch, const char *name, const char *but, uint32_t oid,
                             struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, create_sql, scratch->schema, name, but, oid);
    status = run_each(scratch->pg, sql.text, error);
    sql_reset(&sql);
    return status;
}

static enum status copy_partition(struct scratch *scratch, const PGresult *result, int row, struct error *error)
{
    uint32_t oid = (uint32_t)strtoul(PQgetvalue(result, row, 0), NULL, 10);
    struct sql name = {0};
    enum status status;

    sql_add(&name, "part_%u", oid);
    status = copy_like(scratch, name.text, "EXCLUDING IDENTITY", oid, error);
    if (status == STATUS_OK)
        status = pg_runf(scratch->pg, NULL, error, "ALTER TABLE %s.%s ATTACH PARTITION %s.%s %s", scratch->schema,
                         PQgetvalue(result, row, 1), scratch->schema, name.text, PQgetvalue(result, row, 2));
    sql_reset(&name);
    return status;
}

static enum status copy_partitions(struct scratch *scratch, const struct table *table, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_runf(scratch->pg, &result, error, partitions_sql, table->oid);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status = copy_partition(scratch, result, i, error);
    PQclear(result);
    return status;
}

static enum status copy_hypertable(struct scratch *scratch, const struct table *table, struct error *error)
{
    char *schema = pg_literal(table->schema), *name = pg_literal(table->name);
    const char *own = scratch->schema;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, dimensions_sql, own, own, own, schema, name);
    status = run_each(scratch->pg, sql.text, error);
    sql_reset(&sql);
    if (status == STATUS_OK && table->community) {
        sql_add(&sql, columnstore_sql, own, schema, name);
        status = run_each(scratch->pg, sql.text, error);
        sql_reset(&sql);
    }
    free(schema);
    free(name);
    return status;
}

static enum status find_absent(struct scratch *scratch, const struct table *table, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_runf(scratch->pg, &result, error, absent_sql, table->oid, table->oid);

    if (status == STATUS_OK) {
        bool keys = PQgetvalue(result, 0, 0)[0] == 't', triggers = PQgetvalue(result, 0, 1)[0] == 't';

        scratch->absent = keys && triggers ? "foreign keys and triggers"
                          : keys           ? "foreign keys"
                          : triggers       ? "triggers"
                                           : NULL;
    }
    PQclear(result);
    return status;
}

enum status scratch_table_create(struct scratch *scratch, const struct table *table, struct error *error)
{
    struct sql sql = {0};
    enum status status = copy_like(scratch, "copy", "", table->oid, error);

    sql_add(&sql, sequences_sql, scratch->schema, table->oid);
    if (status == STATUS_OK)
        status = run_each(scratch->pg, sql.text, error);
    sql_reset(&sql);
    if (status == STATUS_OK && table->kind == TABLE_PARTITIONED)
        status = copy_partitions(scratch, table, error);
    if (status == STATUS_OK && table->kind == TABLE_HYPERTABLE)
        status = copy_hypertable(scratch, table, error);
    if (status == STATUS_OK)
        status = find_absent(scratch, table, error);
    if (status != STATUS_OK)
        error_prefix(error, "making a scratch copy of %s", table->sql);
    return status;
}
