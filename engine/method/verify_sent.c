/* The target's number of rows in each range, against the number that the ledger says was loaded. */
#include <stdlib.h>

#include "engine/method/verify_private.h"

/* Ranges that are counted by one query. */
#define RANGES_A_QUERY 1000

/*
 * One pass over the rows between the first range and the last. Edges are both ends of each range: how many of them a
 * time has reached is odd inside of a range, and even between two.
 */
static enum status count_rows(struct pg *pg, const struct table *table, const struct verify_sent *sent, size_t count,
                              PGresult **result, struct error *error)
{
    const char *type = time_type_is_integer(table->time.type) ? "bigint" : time_type_sql(table->time.type);
    char text[TIME_TEXT_MAX];
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT pg_catalog.width_bucket(");
    sql_add_identifier(&sql, table->time_name);
    sql_add(&sql, "::%s, '{", type);
    for (size_t i = 0; i < count; i++) {
        sql_add(&sql, "%s\"%s\"", i == 0 ? "" : ",", time_format(table->time.type, sent[i].range.lo, text));
        sql_add(&sql, ",\"%s\"", time_format(table->time.type, sent[i].range.hi, text));
    }
    sql_add(&sql, "}'::%s[]) AS edges, count(*) FROM %s WHERE ", type, table->sql);
    table_add_where(&sql, table, (struct range){sent[0].range.lo, sent[count - 1].range.hi});
    sql_add(&sql, " GROUP BY edges");
    status = pg_run(pg, sql.text, result, error);
    sql_reset(&sql);
    return status;
}

static enum status add_difference(struct verify_report *report, const struct verify_sent *sent, int64_t rows,
                                  struct error *error)
{
    struct verify_difference *all =
        realloc(report->differences, (report->difference_count + 1) * sizeof *report->differences);

    if (all == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    report->differences = all;
    all[report->difference_count++] = (struct verify_difference){
        .range = sent->range,
        .rows = {sent->rows, rows},
        .missing = rows < sent->rows ? sent->rows - rows : 0,
        .extra = rows > sent->rows ? rows - sent->rows : 0,
    };
    report->open++;
    return STATUS_OK;
}

static enum status compare_counts(struct pg *pg, const struct table *table, const struct verify_sent *sent,
                                  size_t count, struct verify_report *report, struct error *error)
{
    int64_t *rows = calloc(count, sizeof *rows);
    PGresult *result = NULL;
    enum status status = rows != NULL ? count_rows(pg, table, sent, count, &result, error)
                                      : error_set(error, STATUS_SYSTEM, "out of memory");

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++) {
        long edges = strtol(PQgetvalue(result, i, 0), NULL, 10);

        if (edges % 2 == 1 && (size_t)(edges / 2) < count)
            rows[edges / 2] = strtoll(PQgetvalue(result, i, 1), NULL, 10);
    }
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        report->ranges_done++;
        report->rows[SOURCE] += sent[i].rows;
        report->rows[TARGET] += rows[i];
        if (rows[i] != sent[i].rows)
            status = add_difference(report, &sent[i], rows[i], error);
    }
    PQclear(result);
    free(rows);
    return status;
}

enum status verify_sent_rows(struct pg *pg, const struct table *table, const struct verify_sent *sent, size_t count,
                             struct throttle *throttle, struct verify_report *report, struct error *error)
{
    enum status status = pg_connect(pg, error);

    *report = (struct verify_report){.ranges = count};
    for (size_t i = 0; status == STATUS_OK && i < count; i += RANGES_A_QUERY) {
        size_t part = count - i < RANGES_A_QUERY ? count - i : RANGES_A_QUERY;
        int64_t before = report->rows[TARGET];

        if (!throttle_enter(throttle))
            return error_set(error, STATUS_STOPPED, "stopped after %zu of %zu ranges", i, count);
        status = compare_counts(pg, table, sent + i, part, report, error);
        throttle_book(throttle, report->rows[TARGET] - before, 0);
    }
    return status;
}
