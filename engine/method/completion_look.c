/* One look at both sides. */
#include "engine/method/completion_private.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* A statement of one side. */
struct asking {
    struct pg *pg;
    const char *sql;
    PGresult *result;
    struct error error;
};

static void *ask(void *argument)
{
    struct asking *asking = argument;

    error_reset(&asking->error);
    (void)!pg_run(asking->pg, asking->sql, &asking->result, &asking->error);
    return NULL;
}

/* Both at the same time. The caller clears the results, of a failure too. */
static enum status ask_both(struct asking *source, struct asking *target, struct error *error)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, ask, source) != 0)
        return error_set(error, STATUS_SYSTEM, "cannot start a thread");
    ask(target);
    pthread_join(thread, NULL);
    if (source->error.status != STATUS_OK)
        *error = source->error;
    else if (target->error.status != STATUS_OK)
        *error = target->error;
    return error->status;
}

static void moment_sql(struct sql *sql, const struct table *table)
{
    sql_add(sql, "SELECT pg_catalog.clock_timestamp()::text, (SELECT pg_catalog.max(");
    sql_add_identifier(sql, table->time_name);
    sql_add(sql, ")::text FROM %s", table->sql);
    if (!time_type_is_integer(table->time.type)) {
        sql_add(sql, " WHERE ");
        sql_add_identifier(sql, table->time_name);
        sql_add(sql, " < 'infinity'");
    }
    sql_add(sql, ")");
}

static bool value_read(const PGresult *result, int field, const struct time_column *time, int64_t *value)
{
    *value = INT64_MIN;
    if (PQgetisnull(result, 0, field))
        return true;
    return time_parse(time, PQgetvalue(result, 0, field), (size_t)PQgetlength(result, 0, field), value) == TIME_FINE;
}

static enum status moment_read(const PGresult *source, const PGresult *target, const struct completion_sides *sides,
                               struct completion_moment *moment, struct error *error)
{
    static const struct time_column clock = {.type = TIME_TIMESTAMPTZ, .precision = -1};
    struct time_column of_source = sides->source_table.time, of_target = sides->target_table.time;
    int64_t newest_target;

    if (!value_read(source, 0, &clock, &moment->clock) || !value_read(source, 1, &of_source, &moment->newest_source) ||
        !value_read(target, 1, &of_target, &newest_target))
        return error_set(error, STATUS_DATA, "the newest time of %s cannot be read: it is beyond what can be compared",
                         sides->target_table.sql);
    moment->newest = newest_target > moment->newest_source ? newest_target : moment->newest_source;
    return STATUS_OK;
}

enum status completion_look_begin(struct completion_sides *sides, struct completion_moment *moment, struct error *error)
{
    static const char begin[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    struct asking source = {.pg = sides->source, .sql = begin}, target = {.pg = sides->target, .sql = begin};
    struct sql source_sql = {0}, target_sql = {0};
    enum status status = pg_connect(sides->source, error);

    if (status == STATUS_OK)
        status = pg_connect(sides->target, error);
    if (status == STATUS_OK)
        status = ask_both(&source, &target, error);
    PQclear(source.result);
    PQclear(target.result);
    if (status != STATUS_OK)
        return status;
    moment_sql(&source_sql, &sides->source_table);
    moment_sql(&target_sql, &sides->target_table);
    source = (struct asking){.pg = sides->source, .sql = source_sql.text};
    target = (struct asking){.pg = sides->target, .sql = target_sql.text};
    status = ask_both(&source, &target, error);
    if (status == STATUS_OK)
        status = moment_read(source.result, target.result, sides, moment, error);
    PQclear(source.result);
    PQclear(target.result);
    sql_reset(&source_sql);
    sql_reset(&target_sql);
    return status;
}

/* The number of a row's bucket, from the first one. */
static void bucket_add(struct sql *sql, const struct table *table, const struct completion *completion)
{
    char origin[TIME_TEXT_MAX];
    enum time_type type = table->time.type;

    time_format(type, completion->lo, origin);
    /* The epoch of a difference as a double is exact to the microsecond; the cast rounds. */
    sql_add(sql, "(%s", time_type_is_integer(type) || type == TIME_DATE ? "" : "pg_catalog.date_part('epoch', ");
    sql_add_identifier(sql, table->time_name);
    if (time_type_is_integer(type))
        sql_add(sql, "::int8 - '%s'::int8) / %" PRId64, origin, completion->step);
    else if (type == TIME_DATE)
        sql_add(sql, " - '%s'::date)::int8 / %" PRId64, origin, completion->step / TIME_DAY);
    else
        sql_add(sql, " - '%s'::%s) * 1000000)::int8 / %" PRId64, origin, time_type_sql(type), completion->step);
}

static void look_sql(struct sql *sql, const struct completion_sides *sides, const struct completion *completion,
                     bool of_source, struct range range)
{
    const struct table *table = of_source ? &sides->source_table : &sides->target_table;

    sql_add(sql, "SELECT ");
    bucket_add(sql, table, completion);
    sql_add(sql, " AS bucket, pg_catalog.count(*), ");
    bucket_hash_add(sql, &sides->columns, of_source);
    sql_add(sql, " FROM %s WHERE ", table->sql);
    table_add_where(sql, table, range);
    sql_add(sql, " GROUP BY 1");
}

static void look_read(const PGresult *result, struct completion *completion, int look, bool of_source)
{
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t index = strtoll(PQgetvalue(result, row, 0), NULL, 10);
        struct completion_bucket *bucket;
        struct completion_side *side;

        if (index < 0 || (size_t)index >= completion->count)
            continue;
        bucket = &completion->buckets[index];
        side = of_source ? &bucket->source[look] : &bucket->target[look];
        side->rows = strtoll(PQgetvalue(result, row, 1), NULL, 10);
        side->hash = XXH3_64bits(PQgetvalue(result, row, 2), (size_t)PQgetlength(result, row, 2));
    }
}

enum status completion_look(struct completion_sides *sides, struct completion *completion, int look, int64_t lo,
                            int64_t hi, struct error *error)
{
    struct sql source_sql = {0}, target_sql = {0};
    struct asking source = {.pg = sides->source}, target = {.pg = sides->target};
    enum status status;

    look_sql(&source_sql, sides, completion, true, (struct range){lo, hi});
    look_sql(&target_sql, sides, completion, false, (struct range){lo, hi});
    source.sql = source_sql.text;
    target.sql = target_sql.text;
    status = ask_both(&source, &target, error);
    if (status == STATUS_OK) {
        look_read(source.result, completion, look, true);
        look_read(target.result, completion, look, false);
    }
    PQclear(source.result);
    PQclear(target.result);
    sql_reset(&source_sql);
    sql_reset(&target_sql);
    return status;
}

void completion_look_end(struct completion_sides *sides)
{
    pg_rollback(sides->source);
    pg_rollback(sides->target);
}
