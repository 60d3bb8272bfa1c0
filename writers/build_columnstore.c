/* What there is to know of a hypertable's columnstore: settings, policy, what switches direct compress off. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

void build_order_reset(struct build_order *order)
{
    for (int i = 0; i < order->count; i++)
        free(order->columns[i]);
    *order = (struct build_order){0};
}

/* The order is known where segments are given, and rows of one are ordered by time alone: which is the default. */
static const char settings_sql[] =
    "SELECT " PG_HAS_COLUMNSTORE " AS columnstore, EXISTS (SELECT FROM pg_catalog.pg_settings"
    " WHERE name = 'timescaledb.enable_direct_compress_copy') AS direct,"
    " EXISTS (SELECT FROM timescaledb_information.jobs j WHERE j.proc_name = 'policy_compression'"
    " AND (j.hypertable_schema, j.hypertable_name) = (h.schema_name, h.table_name) AND j.job_id = ANY ('%3$s')"
    " AND j.config->>'compress_after' IS NOT NULL) AS policy,"
    " (SELECT count(*) FROM pg_catalog.pg_constraint r WHERE r.conrelid = c.oid AND r.contype = 'c')"
    " + (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnotnull"
    " AND NOT a.attisdropped AND a.attname <> %1$s) AS checks,"
    " (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attgenerated <> "
    "''"
    " AND NOT a.attisdropped) AS generated,"
    " s.segmentby IS NOT NULL AND (s.orderby IS NULL OR s.orderby = ARRAY[%1$s::text]) AS known,"
    " coalesce(s.orderby_desc[1], true) AS descending"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN _timescaledb_catalog.hypertable h ON (h.schema_name, h.table_name) = (n.nspname, c.relname)"
    " LEFT JOIN _timescaledb_catalog.compression_settings s ON s.relid = c.oid WHERE c.oid = %2$u";

/* Types of which equal values have equal texts; a collation that sees no difference has others. */
static const char columns_sql[] =
    "SELECT a.attname, a.atttypid IN (20, 21, 23) AS integer, (a.atttypid IN (20, 21, 23, 25)"
    " OR (a.atttypid = 1043 AND a.atttypmod = -1)) AND coalesce(l.collisdeterministic, true) AS comparable"
    " FROM _timescaledb_catalog.compression_settings s, unnest(s.segmentby) WITH ORDINALITY u (name, place)"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = %u AND a.attname = u.name"
    " LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation WHERE s.relid = %u ORDER BY u.place";

static enum status read_order(struct pg *pg, const struct table *table, struct build_order *order, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_runf(pg, &result, error, columns_sql, table->oid, table->oid);

    if (status != STATUS_OK)
        return status;
    order->known = PQntuples(result) <= SORTER_KEYS_MAX;
    for (int i = 0; i < PQntuples(result) && order->known; i++) {
        order->columns[i] = target_text(result, i, "attname");
        order->integer[i] = target_flag(result, i, "integer");
        order->known = target_flag(result, i, "comparable");
        order->count++;
    }
    PQclear(result);
    return STATUS_OK;
}

enum status build_read_columnstore(struct pg *pg, const struct table *table, const struct build_wish *wish,
                                   struct build_facts *facts, struct error *error)
{
    char *time_name;
    PGresult *result = NULL;
    bool known = false;
    enum status status;

    /* The catalog of settings came with 2.14. */
    if (!build_table_since(table, 2, 14, 0))
        return STATUS_OK;
    time_name = pg_literal(table->time_name);
    status = pg_runf(pg, &result, error, settings_sql, time_name, table->oid,
                     wish->policy_jobs != NULL ? wish->policy_jobs : "{}");
    free(time_name);
    if (status == STATUS_OK) {
        facts->columnstore = target_flag(result, 0, "columnstore");
        facts->direct_compress = target_flag(result, 0, "direct");
        facts->compress_policy = target_flag(result, 0, "policy");
        facts->checks = target_number(result, 0, "checks");
        facts->generated = target_number(result, 0, "generated");
        facts->order.descending = target_flag(result, 0, "descending");
        known = target_flag(result, 0, "known");
    }
    PQclear(result);
    return status == STATUS_OK && known ? read_order(pg, table, &facts->order, error) : status;
}

/* Rows outside: all of a chunk that is not compressed, those of its heap that came later of one that is. */
static enum status count_rows(struct pg *pg, const PGresult *list, int64_t *chunks, int64_t *rows, struct error *error)
{
    enum status status = STATUS_OK;

    for (int i = 0; i < PQntuples(list) && status == STATUS_OK; i++) {
        struct sql sql = {0};
        char *count = NULL;

        sql_add(&sql, "SELECT count(*) FROM ONLY %s", PQgetvalue(list, i, 0));
        status = pg_value(pg, sql.text, &count, error);
        sql_reset(&sql);
        if (status == STATUS_OK)
            *rows += strtoll(count, NULL, 10);
        if (status == STATUS_OK && strcmp(count, "0") != 0)
            ++*chunks;
        free(count);
    }
    return status;
}

enum status build_uncompressed(struct pg *pg, const struct table *table, struct range window, int64_t *chunks,
                               int64_t *rows, struct error *error)
{
    PGresult *result = NULL;
    struct sql which = {0};
    enum status status;

    *chunks = *rows = 0;
    sql_add(&which, "s.range_start < '%" PRId64 "' AND s.range_end > '%" PRId64 "'", window.hi, window.lo);
    status = build_find_chunks(pg, table, which.text,
                               " SELECT relid::regclass::text FROM chunk WHERE status <> 1"
                               " AND pg_catalog.pg_relation_size(relid) > 0",
                               &result, error);
    sql_reset(&which);
    if (status == STATUS_OK)
        status = count_rows(pg, result, chunks, rows, error);
    PQclear(result);
    return status;
}
