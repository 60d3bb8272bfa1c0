/* Which continuous aggregates there are, and where their buckets begin and end. */
#include "engine/method/aggregates.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Names of the columns of the bucket function's table were others before 2.15. */
static const char aggregates_sql[] =
    "WITH RECURSIVE tree AS (SELECT h.id, 0 AS depth FROM _timescaledb_catalog.hypertable h"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = h.table_name WHERE c.oid = %u"
    " UNION SELECT a.mat_hypertable_id, depth + 1"
    " FROM tree JOIN _timescaledb_catalog.continuous_agg a ON a.raw_hypertable_id = tree.id)"
    " SELECT a.mat_hypertable_id AS id, pg_catalog.format('%%I.%%I', a.user_view_schema, a.user_view_name) AS name,"
    " pg_catalog.format('%%I.%%I', h.schema_name, h.table_name) AS stored, s.oid AS stored_oid, d.column_name,"
    " a.raw_hypertable_id AS parent, t.typname AS type, b.j->>'bucket_width' AS width,"
    " nullif(coalesce(b.j->>'bucket_origin', b.j->>'origin'), '') AS origin,"
    " nullif(b.j->>'bucket_offset', '') AS shift, b.j->>'bucket_fixed_width' AS fixed, "
    "nullif(coalesce(b.j->>'bucket_timezone', b.j->>'timezone'), '') AS zone,"
    " (SELECT pg_catalog.format('%%I.%%I', pn.nspname, p.proname) FROM pg_catalog.pg_proc p JOIN "
    "pg_catalog.pg_namespace"
    " pn ON pn.oid = p.pronamespace WHERE p.oid = pg_catalog.to_regprocedure(b.j->>'bucket_func')) AS function,"
    " (SELECT pg_catalog.format_type(p.proargtypes[0], NULL) FROM pg_catalog.pg_proc p"
    " WHERE p.oid = pg_catalog.to_regprocedure(b.j->>'bucket_func')) AS width_type"
    " FROM tree JOIN _timescaledb_catalog.continuous_agg a ON a.mat_hypertable_id = tree.id"
    " JOIN _timescaledb_catalog.hypertable h ON h.id = tree.id"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name"
    " JOIN pg_catalog.pg_class s ON s.relnamespace = n.oid AND s.relname = h.table_name"
    " JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = tree.id AND d.interval_length IS NOT NULL"
    " JOIN pg_catalog.pg_type t ON t.oid = d.column_type"
    " LEFT JOIN (SELECT mat_hypertable_id, to_jsonb(f) AS j FROM _timescaledb_catalog.continuous_aggs_bucket_function "
    "f) b"
    " ON b.mat_hypertable_id = a.mat_hypertable_id WHERE tree.depth > 0 ORDER BY tree.depth, a.mat_hypertable_id";

static char *text_of(const PGresult *result, int row, const char *name)
{
    int column = PQfnumber(result, name);
    struct sql text = {0};

    if (PQgetisnull(result, row, column))
        return NULL;
    sql_add(&text, "%s", PQgetvalue(result, row, column));
    return text.text;
}

static enum status take(const PGresult *result, int row, struct aggregate *aggregate, struct error *error)
{
    const char *type = PQgetvalue(result, row, PQfnumber(result, "type"));

    aggregate->id = (int)strtol(PQgetvalue(result, row, PQfnumber(result, "id")), NULL, 10);
    aggregate->parent = (int)strtol(PQgetvalue(result, row, PQfnumber(result, "parent")), NULL, 10);
    aggregate->stored_oid = (uint32_t)strtoul(PQgetvalue(result, row, PQfnumber(result, "stored_oid")), NULL, 10);
    aggregate->stored = text_of(result, row, "stored");
    aggregate->column = text_of(result, row, "column_name");
    aggregate->name = text_of(result, row, "name");
    aggregate->function = text_of(result, row, "function");
    aggregate->width_type = text_of(result, row, "width_type");
    aggregate->width = text_of(result, row, "width");
    aggregate->origin = text_of(result, row, "origin");
    aggregate->offset = text_of(result, row, "shift");
    aggregate->zone = text_of(result, row, "zone");
    aggregate->fixed = PQgetvalue(result, row, PQfnumber(result, "fixed"))[0] == 't';
    if (!time_type_from_name(type, &aggregate->type))
        return error_set(error, STATUS_USAGE, "the continuous aggregate %s has buckets of type %s, which are not known",
                         aggregate->name, type);
    if (aggregate->function == NULL || aggregate->width == NULL)
        return error_set(
            error, STATUS_USAGE,
            "this version of TimescaleDB does not tell the buckets of the continuous aggregate %s: refresh it by hand,"
            " CALL refresh_continuous_aggregate('%s', …, …); instead of --cascade name what it is stored in, --table"
            " SOURCE=TARGET --until TARGET=…",
            aggregate->name, aggregate->name);
    return STATUS_OK;
}

static enum status read_server(struct pg *pg, struct aggregates *list, struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        pg_run(pg,
               "SELECT pg_catalog.quote_ident(n.nspname) AS schema, v.version >= '{2,21}' AS force_ends,"
               " v.version >= '{2,25,2}' AS knows_moved, EXISTS (SELECT FROM pg_catalog.pg_proc p"
               " WHERE p.pronamespace = n.oid AND p.proname = 'refresh_continuous_aggregate'"
               " AND 'force' = ANY (p.proargnames)) AS force FROM pg_catalog.pg_extension e"
               " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace CROSS JOIN LATERAL (SELECT"
               " pg_catalog.string_to_array(pg_catalog.split_part(e.extversion, '-', 1), '.')::int[] AS version) v"
               " WHERE e.extname = 'timescaledb'",
               &result, error);

    if (status == STATUS_OK) {
        list->schema = text_of(result, 0, "schema");
        list->force = PQgetvalue(result, 0, PQfnumber(result, "force"))[0] == 't';
        list->force_ends = PQgetvalue(result, 0, PQfnumber(result, "force_ends"))[0] == 't';
        list->knows_moved = PQgetvalue(result, 0, PQfnumber(result, "knows_moved"))[0] == 't';
    }
    PQclear(result);
    return status;
}

/* time_bucket as the aggregate itself calls it, of the expression `time`; unless moved, without origin and offset. */
static void add_moved_bucket(struct sql *sql, const struct aggregate *aggregate, const char *time, bool moved)
{
    sql_add(sql, "%s(bucket_width => ", aggregate->function);
    sql_add_literal(sql, aggregate->width);
    sql_add(sql, "::%s, ts => (%s)::%s", aggregate->width_type, time, time_type_sql(aggregate->type));
    if (aggregate->zone != NULL) {
        sql_add(sql, ", timezone => ");
        sql_add_literal(sql, aggregate->zone);
    }
    if (moved && aggregate->origin != NULL) {
        sql_add(sql, ", origin => ");
        sql_add_literal(sql, aggregate->origin);
        sql_add(sql, "::%s", time_type_sql(aggregate->type));
    }
    if (moved && aggregate->offset != NULL) {
        sql_add(sql, ", \"offset\" => ");
        sql_add_literal(sql, aggregate->offset);
        sql_add(sql, "::%s", aggregate->width_type);
    }
    sql_add(sql, ")");
}

static void add_bucket(struct sql *sql, const struct aggregate *aggregate, const char *time)
{
    add_moved_bucket(sql, aggregate, time, true);
}

/* Any time will do: buckets of fixed length are all moved alike. */
static enum status find_pairs(struct pg *pg, const struct aggregates *list, struct aggregate *aggregate,
                              struct error *error)
{
    const char *time = time_type_is_integer(aggregate->type) ? "0" : "'2000-01-01'";
    struct sql sql = {0};
    char *moved = NULL;
    enum status status;

    if (list->knows_moved || !aggregate->fixed || (aggregate->origin == NULL && aggregate->offset == NULL))
        return STATUS_OK;
    sql_add(&sql, "SELECT ");
    add_moved_bucket(&sql, aggregate, time, true);
    sql_add(&sql, " <> ");
    add_moved_bucket(&sql, aggregate, time, false);
    status = pg_value(pg, sql.text, &moved, error);
    sql_reset(&sql);
    aggregate->pairs = moved != NULL && moved[0] == 't';
    free(moved);
    if (status == STATUS_OK && aggregate->pairs && !list->force)
        return error_set(
            error, STATUS_USAGE,
            "before TimescaleDB 2.18 the buckets of %s, which have an origin or offset, cannot be refreshed"
            " bucket by bucket: refresh it by hand, CALL refresh_continuous_aggregate('%s', …, …)",
            aggregate->name, aggregate->name);
    return status;
}

enum status aggregates_read(struct pg *pg, const struct table *table, struct aggregates *list, struct error *error)
{
    PGresult *result = NULL;
    enum status status;

    *list = (struct aggregates){0};
    if (table->kind != TABLE_HYPERTABLE || !table->community)
        return STATUS_OK;
    status = read_server(pg, list, error);
    if (status == STATUS_OK)
        status = pg_runf(pg, &result, error, aggregates_sql, table->oid);
    if (status == STATUS_OK)
        list->items = calloc((size_t)PQntuples(result) + 1, sizeof *list->items);
    if (status == STATUS_OK && list->items == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status = take(result, i, &list->items[list->count++], error);
    for (size_t i = 0; i < list->count && status == STATUS_OK; i++)
        status = find_pairs(pg, list, &list->items[i], error);
    PQclear(result);
    if (status != STATUS_OK)
        aggregates_reset(list);
    return status;
}

void aggregates_reset(struct aggregates *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct aggregate *each = &list->items[i];

        free(each->name);
        free(each->stored);
        free(each->column);
        free(each->function);
        free(each->width_type);
        free(each->width);
        free(each->origin);
        free(each->offset);
        free(each->zone);
    }
    free(list->items);
    free(list->schema);
    *list = (struct aggregates){0};
}

/* The column as our number. */
static void add_number(struct sql *sql, enum time_type type, const char *column)
{
    if (time_type_is_integer(type))
        sql_add(sql, "%s::bigint", column);
    else if (type == TIME_DATE)
        sql_add(sql, "(%s - date '1970-01-01')::bigint * 86400000000", column);
    else
        sql_add(sql,
                "extract(epoch from date_trunc('second', %s))::bigint * 1000000 + extract(microseconds from %s)::bigint"
                " %% 1000000",
                column, column);
}

/* Behind the bucket that begins at b: one and a half widths further is inside the next one, however long months and
 * days are. */
static void add_next(struct sql *sql, const struct aggregate *aggregate)
{
    struct sql time = {0};

    sql_add(&time, "b + ");
    sql_add_literal(&time, aggregate->width);
    sql_add(&time, "::%s", aggregate->width_type);
    if (!time_type_is_integer(aggregate->type)) {
        sql_add(&time, " + ");
        sql_add_literal(&time, aggregate->width);
        sql_add(&time, "::%s / 2", aggregate->width_type);
    }
    add_bucket(sql, aggregate, time.text);
    sql_reset(&time);
}

enum status aggregate_widen(struct pg *pg, const struct aggregate *aggregate, struct range range, struct range *wide,
                            struct error *error)
{
    char lo[TIME_TEXT_MAX], hi[TIME_TEXT_MAX];
    struct sql sql = {0}, literal = {0};
    PGresult *result = NULL;
    enum status status;

    sql_add(&sql, "SELECT ");
    add_number(&sql, aggregate->type, "lo");
    sql_add(&sql, ", ");
    add_number(&sql, aggregate->type, "CASE WHEN b = hi THEN b ELSE n END");
    sql_add(&sql, " FROM (SELECT lo, hi, b, ");
    add_next(&sql, aggregate);
    sql_add(&literal, "'%s'", time_format(aggregate->type, range.lo, lo));
    sql_add(&sql, " AS n FROM (SELECT ");
    add_bucket(&sql, aggregate, literal.text);
    sql_reset(&literal);
    sql_add(&literal, "'%s'", time_format(aggregate->type, range.hi, hi));
    sql_add(&sql, " AS lo, %s::%s AS hi, ", literal.text, time_type_sql(aggregate->type));
    add_bucket(&sql, aggregate, literal.text);
    sql_add(&sql, " AS b) e) f");
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    sql_reset(&literal);
    if (status == STATUS_OK)
        *wide =
            (struct range){strtoll(PQgetvalue(result, 0, 0), NULL, 10), strtoll(PQgetvalue(result, 0, 1), NULL, 10)};
    PQclear(result);
    return status;
}

static void add_before(struct sql *sql, const char *table, const char *column, enum time_type type, int64_t end)
{
    char text[TIME_TEXT_MAX];

    sql_add(sql, " FROM %s", table);
    if (end == INT64_MAX)
        return;
    sql_add(sql, " WHERE ");
    sql_add_identifier(sql, column);
    sql_add(sql, " < '%s'::%s", time_format(type, end, text), time_type_sql(type));
}

enum status aggregate_end(struct pg *pg, const struct aggregate *aggregate, bool last, int64_t before, bool *any,
                          int64_t *begin, struct error *error)
{
    struct sql sql = {0};
    char *value = NULL;
    enum status status;

    sql_add(&sql, "SELECT ");
    add_number(&sql, aggregate->type, "t");
    sql_add(&sql, " FROM (SELECT %s(", last ? "max" : "min");
    sql_add_identifier(&sql, aggregate->column);
    sql_add(&sql, ") AS t");
    add_before(&sql, aggregate->stored, aggregate->column, aggregate->type, before);
    sql_add(&sql, ") e");
    status = pg_value(pg, sql.text, &value, error);
    sql_reset(&sql);
    *any = value != NULL;
    if (value != NULL)
        *begin = strtoll(value, NULL, 10);
    free(value);
    return status;
}

enum status aggregate_is_empty_before(struct pg *pg, const struct aggregate *aggregate, const struct aggregate *parent,
                                      const struct table *table, int64_t end, bool *empty, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 WHERE EXISTS (SELECT");
    add_before(&sql, aggregate->stored, aggregate->column, aggregate->type, end);
    sql_add(&sql, ") OR EXISTS (SELECT");
    if (parent != NULL)
        add_before(&sql, parent->stored, parent->column, parent->type, end);
    else
        add_before(&sql, table->sql, table->time_name, table->time.type, end);
    sql_add(&sql, ")");
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    *empty = found == NULL;
    free(found);
    return status;
}

enum status aggregate_refresh_before(struct pg *pg, const struct aggregates *list, const struct aggregate *aggregate,
                                     int64_t end, struct error *error)
{
    const char *type = time_type_sql(aggregate->type);
    char text[TIME_TEXT_MAX], *name = pg_literal(aggregate->name);
    enum status status = pg_runf(pg, NULL, error, "CALL %s.refresh_continuous_aggregate(%s, NULL, '%s'::%s)",
                                 list->schema, name, time_format(aggregate->type, end, text), type);

    free(name);
    return status;
}

/* A date knows nothing smaller than a day. */
static int64_t least(const struct aggregate *aggregate)
{
    return aggregate->type == TIME_DATE ? INT64_C(86400000000) : 1;
}

enum status aggregate_bucket_before(struct pg *pg, const struct aggregate *aggregate, int64_t time,
                                    struct range *bucket, struct error *error)
{
    return aggregate_widen(pg, aggregate, (struct range){time - least(aggregate), time}, bucket, error);
}

enum status aggregate_bucket_after(struct pg *pg, const struct aggregate *aggregate, int64_t time, struct range *bucket,
                                   struct error *error)
{
    return aggregate_widen(pg, aggregate, (struct range){time, time + least(aggregate)}, bucket, error);
}
