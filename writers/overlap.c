/* Counting rows that are in the target already. */
#include "writers/overlap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLES_MAX (sizeof((struct overlap_report *)0)->examples / sizeof(*((struct overlap_report *)0)->examples))

/* Ranges whose edges are listed in one query. */
#define RANGES_A_QUERY 2000

enum status overlap_any(struct pg *pg, const struct table *table, struct range window, bool *any, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    *any = false;
    sql_add(&sql, "SELECT 1 FROM %s WHERE ", table->sql);
    table_add_where(&sql, table, window);
    sql_add(&sql, " LIMIT 1");
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    *any = found != NULL;
    free(found);
    return status;
}

/*
 * Ranges that touch each other, counted in one pass over the rows of their span: width_bucket says which range a row is
 * in. With few rows in the span it is quick, and it needs no index where there are many.
 */
static enum status count_touching(struct pg *pg, const struct table *table, const struct range *ranges, size_t count,
                                  PGresult **result, struct error *error)
{
    const char *type = time_type_is_integer(table->time.type) ? "bigint" : time_type_sql(table->time.type);
    struct range span = {ranges[0].lo, ranges[count - 1].hi};
    char text[TIME_TEXT_MAX];
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT pg_catalog.width_bucket(");
    sql_add_identifier(&sql, table->time_name);
    sql_add(&sql, "::%s, '{", type);
    for (size_t i = 0; i < count; i++)
        sql_add(&sql, "%s\"%s\"", i == 0 ? "" : ",", time_format(table->time.type, ranges[i].lo, text));
    sql_add(&sql, "}'::%s[]) - 1, count(*) FROM %s WHERE ", type, table->sql);
    table_add_where(&sql, table, span);
    sql_add(&sql, " GROUP BY 1 ORDER BY 1");
    status = pg_run(pg, sql.text, result, error);
    sql_reset(&sql);
    return status;
}

static void report_add(struct overlap_report *report, struct range range, int64_t rows)
{
    report->ranges++;
    report->rows += rows;
    if (report->example_count == (int)EXAMPLES_MAX)
        return;
    report->examples[report->example_count].range = range;
    report->examples[report->example_count].rows = rows;
    report->example_count++;
}

static enum status count_run(struct pg *pg, const struct table *table, const struct range *ranges, size_t count,
                             struct overlap_report *report, struct error *error)
{
    struct range span = {ranges[0].lo, ranges[count - 1].hi};
    PGresult *result;
    bool any;
    enum status status = overlap_any(pg, table, span, &any, error);

    if (status != STATUS_OK || !any)
        return status;
    status = count_touching(pg, table, ranges, count, &result, error);
    if (status != STATUS_OK)
        return status;
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t at = strtoll(PQgetvalue(result, i, 0), NULL, 10);

        if (at >= 0 && at < (int64_t)count)
            report_add(report, ranges[at], strtoll(PQgetvalue(result, i, 1), NULL, 10));
    }
    PQclear(result);
    return STATUS_OK;
}

enum status overlap_count(struct pg *pg, const struct table *table, const struct range *ranges, size_t count,
                          struct overlap_report *report, struct error *error)
{
    enum status status;
    bool any = false;

    *report = (struct overlap_report){0};
    if (count == 0)
        return STATUS_OK;
    status = overlap_any(pg, table, (struct range){ranges[0].lo, ranges[count - 1].hi}, &any, error);
    if (!any)
        return status;
    for (size_t i = 0, end; status == STATUS_OK && i < count; i = end) {
        end = i + 1;
        while (end < count && end - i < RANGES_A_QUERY && ranges[end].lo == ranges[end - 1].hi)
            end++;
        status = count_run(pg, table, ranges + i, end - i, report, error);
    }
    return status;
}

/* How often rows may turn up again before it is given up. */
#define ROUNDS_MAX 20

/* RETURNING is known to be wrong on hypertables. */
static enum status delete_once(struct pg *pg, const struct table *table, const char *name, struct range range,
                               struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings"
            " WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction';"
            " DELETE FROM %s WHERE ",
            name);
    table_add_where(&sql, table, range);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

/*
 * A batch at the edge of the range is unpacked into rows before those are deleted. Where another transaction (a range
 * beside this one, the application) unpacks it first, the DELETE waits for that, and then neither has a batch nor sees
 * the rows, which are younger than its snapshot: it deletes nothing and says nothing (seen with 2.28). The next
 * statement sees them.
 */
static enum status look_again(struct pg *pg, const struct table *table, const char *name, struct range range,
                              bool *left, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    *left = false;
    if (table->kind != TABLE_HYPERTABLE || !table->community)
        return STATUS_OK;
    sql_add(&sql, "SELECT 1 FROM %s WHERE ", name);
    table_add_where(&sql, table, range);
    sql_add(&sql, " AND EXISTS (SELECT FROM _timescaledb_catalog.hypertable h WHERE " PG_HAS_COLUMNSTORE
                  " AND (h.schema_name, h.table_name) = (");
    sql_add_literal(&sql, table->schema);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, table->name);
    sql_add(&sql, ")) LIMIT 1");
    status = pg_value(pg, sql.text, &found, error);
    sql_reset(&sql);
    *left = found != NULL;
    free(found);
    return status;
}

enum status overlap_delete(struct pg *pg, const struct table *table, const char *name, struct range range,
                           struct error *error)
{
    char text[TABLE_RANGE_TEXT_MAX];

    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool left = false;
        enum status status = delete_once(pg, table, name, range, error);

        if (status == STATUS_OK)
            status = look_again(pg, table, name, range, &left, error);
        if (status != STATUS_OK || !left)
            return status;
    }
    return error_set(error, STATUS_TRANSIENT, "others write into %s of %s all the time, so that it cannot be emptied",
                     table_range_text(table, range, text), table->sql);
}

void overlap_report_text(const struct overlap_report *report, const struct table *table, struct sql *text)
{
    char range[TABLE_RANGE_TEXT_MAX];

    sql_add(text, "%s already has %" PRId64 " row%s in %" PRId64 " range%s of this job", table->sql, report->rows,
            report->rows == 1 ? "" : "s", report->ranges, report->ranges == 1 ? "" : "s");
    for (int i = 0; i < report->example_count; i++)
        sql_add(text, "\n  %s: %" PRId64, table_range_text(table, report->examples[i].range, range),
                report->examples[i].rows);
    if (report->ranges > report->example_count)
        sql_add(text, "\n  … and %" PRId64 " more ranges", report->ranges - report->example_count);
}
