/* Chunks and partitions as cells on the time axis; conditions on the time column. */
#include "writers/target_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Of a relation k: rows by the last ANALYZE or VACUUM, scaled to today's size as the planner does (estimate_rel_size);
 * -1 where neither ever ran.
 */
#define ESTIMATES                                                                                                      \
    " CASE WHEN k.reltuples < 0 OR (k.reltuples = 0 AND k.relpages = 0) THEN -1"                                       \
    " ELSE (k.reltuples * greatest(1, size.bytes::float8"                                                              \
    " / greatest(1, k.relpages::bigint * current_setting('block_size')::int)))::bigint END AS rows, size.bytes"

#define SIZE " CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.pg_relation_size(k.oid), 0) AS bytes) size"

/* One cell of several relations: unknown if one of them is. */
#define SUMS                                                                                                           \
    " CASE WHEN bool_or(rows < 0) THEN -1 ELSE coalesce(sum(rows), 0)::bigint END AS rows,"                            \
    " coalesce(sum(bytes), 0)::bigint AS bytes"

/*
 * Chunks by the primary dimension's slice, whatever the version (2.11 to 2.31): columns that come and go are read by
 * to_jsonb, for which the chunks of other tables are left out first: there may be thousands. Chunks of one slice (space
 * partitions) are one cell. %1$s: the table's literals, %2$s: how slices join.
 */
static const char chunks_sql[] =
    "WITH d AS (SELECT d.id, d.hypertable_id FROM _timescaledb_catalog.hypertable h"
    " JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id"
    " WHERE (h.schema_name, h.table_name) = (%1$s) AND d.interval_length IS NOT NULL ORDER BY d.id LIMIT 1),"
    " c AS MATERIALIZED (SELECT c.id, to_jsonb(c) AS j FROM _timescaledb_catalog.chunk c"
    " WHERE c.hypertable_id = (SELECT hypertable_id FROM d)),"
    " x AS (SELECT id, coalesce(pg_catalog.to_regclass(j->>'relid')::oid,"
    " pg_catalog.to_regclass(format('%%I.%%I', j->>'schema_name', j->>'table_name'))::oid) AS relid FROM c"
    " WHERE NOT coalesce((j->>'osm_chunk')::bool, false) AND NOT coalesce((j->>'dropped')::bool, false)),"
    " e AS (SELECT s.range_start AS lo, s.range_end AS hi," ESTIMATES " FROM d"
    " JOIN _timescaledb_catalog.dimension_slice s ON s.dimension_id = d.id %2$s"
    " JOIN pg_catalog.pg_class k ON k.oid = x.relid" SIZE ")"
    " SELECT lo, hi, false AS is_default," SUMS " FROM e GROUP BY lo, hi ORDER BY lo, hi";

/*
 * Direct partitions with the sums of everything below them. Bounds are read from their text, which the session's
 * DateStyle makes ISO. %1$s, %2$s: lo and hi as a number from `lo_text`, `hi_text`; %3$u: the table.
 */
static const char partitions_sql[] =
    "WITH RECURSIVE tree AS (SELECT inhrelid AS top, inhrelid AS oid FROM pg_catalog.pg_inherits WHERE inhparent = %3$u"
    " UNION ALL SELECT t.top, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid),"
    " e AS (SELECT t.top," ESTIMATES " FROM tree t JOIN pg_catalog.pg_class k ON k.oid = t.oid" SIZE
    " WHERE k.relkind IN ('r', 'f')),"
    " b AS (SELECT i.inhrelid AS top, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound"
    " FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %3$u),"
    " m AS (SELECT top, bound = 'DEFAULT' AS is_default,"
    " regexp_match(bound, '^FOR VALUES FROM \\((.*)\\) TO \\((.*)\\)$') AS m FROM b),"
    " v AS (SELECT top, is_default, trim(BOTH '''' FROM m[1]) AS lo_text, trim(BOTH '''' FROM m[2]) AS hi_text FROM m)"
    " SELECT %1$s AS lo, %2$s AS hi, is_default," SUMS " FROM v LEFT JOIN e USING (top)"
    " GROUP BY lo_text, hi_text, is_default ORDER BY 1, 2";

/* In parts, because extract was a double before PostgreSQL 14. */
void target_add_bound(struct sql *sql, enum time_type type, const char *text)
{
    const char *name = time_type_sql(type);

    sql_add(sql,
            "CASE WHEN %s IN ('MINVALUE', '-infinity') THEN '-9223372036854775808'::bigint"
            " WHEN %s IN ('MAXVALUE', 'infinity') THEN '9223372036854775807'::bigint ELSE ",
            text, text);
    if (time_type_is_integer(type))
        sql_add(sql, "%s::bigint", text);
    else if (type == TIME_DATE)
        sql_add(sql, "(%s::date - date '1970-01-01')::bigint * 86400000000", text);
    else
        sql_add(sql,
                "extract(epoch from date_trunc('second', %s::%s))::bigint * 1000000"
                " + extract(microseconds from %s::%s)::bigint %% 1000000",
                text, name, text, name);
    sql_add(sql, " END");
}

void target_add_names(struct sql *sql, const struct table *table)
{
    sql_add_literal(sql, table->schema);
    sql_add(sql, ", ");
    sql_add_literal(sql, table->name);
}

/* A view for compatibility may go away, the column came in 2.28. */
enum status target_chunk_join(struct pg *pg, const char **join, struct error *error)
{
    char *old = NULL;
    enum status status =
        pg_value(pg, "SELECT pg_catalog.to_regclass('_timescaledb_catalog.chunk_constraint')", &old, error);

    *join = old == NULL ? "JOIN x ON x.id = s.chunk_id"
                        : "JOIN _timescaledb_catalog.chunk_constraint r ON r.dimension_slice_id = s.id"
                          " JOIN x ON x.id = r.chunk_id";
    free(old);
    return status;
}

static enum status query_chunks(struct pg *pg, const struct table *table, PGresult **result, struct error *error)
{
    struct sql names = {0};
    const char *join;
    enum status status = target_chunk_join(pg, &join, error);

    if (status != STATUS_OK)
        return status;
    target_add_names(&names, table);
    status = pg_runf(pg, result, error, chunks_sql, names.text, join);
    sql_reset(&names);
    return status;
}

static enum status query_partitions(struct pg *pg, const struct table *table, PGresult **result, struct error *error)
{
    struct sql lo = {0}, hi = {0};
    enum status status;

    target_add_bound(&lo, table->time.type, "lo_text");
    target_add_bound(&hi, table->time.type, "hi_text");
    status = pg_runf(pg, result, error, partitions_sql, lo.text, hi.text, table->oid);
    sql_reset(&lo);
    sql_reset(&hi);
    return status;
}

static void forget_cells(struct table *table)
{
    free(table->cells);
    free(table->cell_rows);
    free(table->cell_bytes);
    table->cells = NULL;
    table->cell_rows = table->cell_bytes = NULL;
    table->cell_count = 0;
    table->default_partition = false;
}

/*
 * What cells say about the whole; a cell without an estimate is taken to be as dense as the others. That an empty heap
 * has no rows is known where there is no columnstore only.
 */
static void sum_cells(struct table *table, int64_t rows, int64_t bytes, int64_t unknown_bytes)
{
    bool known = rows > 0 || (unknown_bytes == 0 && !table->community) || table->cell_count == 0;
    int64_t known_bytes = bytes - unknown_bytes;

    table->bytes_estimate = bytes;
    table->rows_estimate = known ? rows : -1;
    if (unknown_bytes > 0 && rows > 0 && known_bytes > 0)
        table->rows_estimate += (int64_t)((double)unknown_bytes * (double)rows / (double)known_bytes);
}

static enum status read_cells(const PGresult *result, struct table *table, struct error *error)
{
    size_t count = (size_t)PQntuples(result);
    int64_t rows_sum = 0, bytes_sum = 0, unknown_bytes = 0;

    table->cells = calloc(count + 1, sizeof *table->cells);
    table->cell_rows = calloc(count + 1, sizeof *table->cell_rows);
    table->cell_bytes = calloc(count + 1, sizeof *table->cell_bytes);
    if (table->cells == NULL || table->cell_rows == NULL || table->cell_bytes == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for %zu chunks of %s", count, table->sql);
    for (size_t i = 0; i < count; i++) {
        int64_t rows = target_number(result, (int)i, "rows"), bytes = target_number(result, (int)i, "bytes");
        size_t at = table->cell_count;

        bytes_sum += bytes;
        rows_sum += rows < 0 ? 0 : rows;
        unknown_bytes += rows < 0 ? bytes : 0;
        if (target_flag(result, (int)i, "is_default")) {
            table->default_partition = true;
            continue;
        }
        table->cells[at].lo = target_number(result, (int)i, "lo");
        table->cells[at].hi = target_number(result, (int)i, "hi");
        table->cell_rows[at] = rows;
        table->cell_bytes[at] = bytes;
        table->cell_count++;
    }
    sum_cells(table, rows_sum, bytes_sum, unknown_bytes);
    return STATUS_OK;
}

enum status table_refresh_cells(struct pg *pg, struct table *table, struct error *error)
{
    PGresult *result;
    enum status status;

    if (table->kind == TABLE_PLAIN) {
        forget_cells(table);
        return STATUS_OK;
    }
    if (table->kind == TABLE_HYPERTABLE)
        status = query_chunks(pg, table, &result, error);
    else
        status = query_partitions(pg, table, &result, error);
    if (status != STATUS_OK) {
        error_prefix(error, "chunks of %s", table->sql);
        return status;
    }
    forget_cells(table);
    status = read_cells(result, table, error);
    PQclear(result);
    return status;
}

bool table_cell_is_empty(const struct table *table, struct range cell)
{
    size_t low = 0, high = table->cell_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (table->cells[middle].lo < cell.lo)
            low = middle + 1;
        else
            high = middle;
    }
    return low == table->cell_count || table->cells[low].lo != cell.lo || table->cell_bytes[low] == 0;
}

struct range table_time_limits(enum time_type type)
{
    switch (type) {
    case TIME_INT2: return (struct range){INT16_MIN, INT16_MAX};
    case TIME_INT4: return (struct range){INT32_MIN, INT32_MAX};
    default: return (struct range){INT64_MIN, INT64_MAX};
    }
}

void table_add_where(struct sql *sql, const struct table *table, struct range range)
{
    struct range limits = table_time_limits(table->time.type);
    bool low = range.lo > limits.lo;
    bool high = range.hi <= limits.hi && range.hi != INT64_MAX;
    char text[TIME_TEXT_MAX];

    if (range.lo > limits.hi || range.hi <= limits.lo) {
        sql_add(sql, "false");
        return;
    }
    if (low) {
        sql_add_identifier(sql, table->time_name);
        sql_add(sql, " >= '%s'", time_format(table->time.type, range.lo, text));
    }
    if (high) {
        sql_add(sql, "%s", low ? " AND " : "");
        sql_add_identifier(sql, table->time_name);
        sql_add(sql, " < '%s'", time_format(table->time.type, range.hi, text));
    }
    if (!low && !high)
        sql_add(sql, "true");
}

const char *table_range_text(const struct table *table, struct range range, char buffer[TABLE_RANGE_TEXT_MAX])
{
    char lo[TIME_TEXT_MAX], hi[TIME_TEXT_MAX];

    snprintf(buffer, TABLE_RANGE_TEXT_MAX, "[%s, %s)",
             range.lo == INT64_MIN ? "-infinity" : time_format(table->time.type, range.lo, lo),
             range.hi == INT64_MAX ? "infinity" : time_format(table->time.type, range.hi, hi));
    return buffer;
}
