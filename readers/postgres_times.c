/* Questions about the times of a PostgreSQL source. */
#include <stdlib.h>
#include <string.h>

#include "readers/postgres_private.h"

static bool text_is_true(const char *text)
{
    return text != NULL && text[0] == 't';
}

int64_t postgres_time_after(const struct table *table, int64_t time)
{
    int64_t unit = time_type_unit(table->time.type);

    return time > INT64_MAX - unit ? INT64_MAX : time + unit;
}

/* Rows of the range that have a finite time. */
static void add_from(struct sql *sql, const struct table *table, struct range range)
{
    sql_add(sql, " FROM %s WHERE ", table->sql);
    table_add_where(sql, table, range);
    if (!time_type_is_integer(table->time.type)) {
        sql_add(sql, " AND isfinite(");
        sql_add_identifier(sql, table->time_name);
        sql_add(sql, ")");
    }
}

/* "min" or "max" as text: the server's ISO form loses nothing in any version, which extract(epoch) does before 14. */
static void add_edge(struct sql *sql, const struct table *table, const char *function)
{
    sql_add(sql, "%s(", function);
    sql_add_identifier(sql, table->time_name);
    sql_add(sql, ")::text");
}

static enum status edge_read(const struct table *table, const char *text, int64_t *value, struct error *error)
{
    enum time_problem problem = time_parse(&table->time, text, strlen(text), value);

    if (problem == TIME_FINE)
        return STATUS_OK;
    return error_set(error, STATUS_DATA,
                     "the table %s has rows at \"%s\" in column \"%s\", which %s; a hypertable cannot hold them: "
                     "correct or delete them, or leave them out by --from and --until",
                     table->sql, text, table->time_name, time_problem_text(problem));
}

enum status postgres_ask_edge(struct pg *pg, const struct table *table, const char *function, struct range range,
                              bool *any, int64_t *value, struct error *error)
{
    struct sql sql = {0};
    char *text = NULL;
    enum status status;

    sql_add(&sql, "SELECT ");
    add_edge(&sql, table, function);
    add_from(&sql, table, range);
    status = pg_value(pg, sql.text, &text, error);
    sql_reset(&sql);
    *any = text != NULL;
    if (status == STATUS_OK && text != NULL)
        status = edge_read(table, text, value, error);
    free(text);
    return status;
}

enum status postgres_ask_extent(struct pg *pg, const struct table *table, struct range range, bool *any, int64_t *first,
                                int64_t *last, int64_t *rows, struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    *any = false;
    sql_add(&sql, "SELECT ");
    add_edge(&sql, table, "min");
    sql_add(&sql, ", ");
    add_edge(&sql, table, "max");
    sql_add(&sql, "%s", rows != NULL ? ", count(*)" : "");
    add_from(&sql, table, range);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status == STATUS_OK && !PQgetisnull(result, 0, 0)) {
        *any = true;
        status = edge_read(table, PQgetvalue(result, 0, 0), first, error);
        if (status == STATUS_OK)
            status = edge_read(table, PQgetvalue(result, 0, 1), last, error);
        if (rows != NULL)
            *rows = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    }
    PQclear(result);
    return status;
}

static enum status exists(struct pg *pg, const struct table *table, const char *condition, bool *found,
                          struct error *error)
{
    struct sql sql = {0};
    char *text = NULL;
    enum status status;

    sql_add(&sql, "SELECT EXISTS(SELECT 1 FROM %s WHERE ", table->sql);
    sql_add_identifier(&sql, table->time_name);
    sql_add(&sql, " %s)", condition);
    status = pg_value(pg, sql.text, &text, error);
    sql_reset(&sql);
    *found = text_is_true(text);
    free(text);
    return status;
}

enum status postgres_refuse_null(struct pg *pg, const struct table *table, struct error *error)
{
    bool found = false;
    enum status status;

    if (table->time_not_null || table->kind == TABLE_HYPERTABLE)
        return STATUS_OK;
    status = exists(pg, table, "IS NULL", &found, error);
    if (status == STATUS_OK && found)
        return error_set(error, STATUS_DATA,
                         "the table %s has rows whose \"%s\" is NULL: they are in no range and would be left "
                         "behind; give them a time, delete them, or name a view without them as --source-table",
                         table->sql, table->time_name);
    return status;
}

enum status postgres_refuse_infinite(struct pg *pg, const struct table *table, struct range window, struct error *error)
{
    bool past = window.lo < TIME_MIN, future = window.hi == INT64_MAX, found = false;
    const char *which = past && future ? "IN ('infinity', '-infinity')" : past ? "= '-infinity'" : "= 'infinity'";
    enum status status;

    if (time_type_is_integer(table->time.type) || (!past && !future))
        return STATUS_OK;
    status = exists(pg, table, which, &found, error);
    if (status == STATUS_OK && found)
        return error_set(error, STATUS_DATA,
                         "the table %s has rows whose \"%s\" is infinity or -infinity: no chunk can hold them; "
                         "correct or delete them, leave them out by --from and --until, or name a view without them as "
                         "--source-table",
                         table->sql, table->time_name);
    return status;
}
