/* What is to be seen at and after a completion point. */
#include "engine/method/until_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT "3s"
/* So many rows of the source are compared. */
#define SAMPLE_ROWS 1000
/* Younger than this, rows may still be on their way. */
#define LATE_SECONDS 60

/* What one side has from the completion point on; times are INT64_MIN where there is no row. */
struct after {
    int64_t now;         /* the server's clock */
    int64_t first, last; /* of the sample */
};

static enum status begin(struct pg *pg, struct error *error)
{
    enum status status = pg_connect(pg, error);

    if (status != STATUS_OK)
        return status;
    return pg_run(pg, "BEGIN READ ONLY; SET LOCAL statement_timeout = '" TIMEOUT "'", NULL, error);
}

static int64_t read_time(const PGresult *result, int field, const struct time_column *time)
{
    int64_t value;

    if (PQgetisnull(result, 0, field) ||
        time_parse(time, PQgetvalue(result, 0, field), (size_t)PQgetlength(result, 0, field), &value) != TIME_FINE)
        return INT64_MIN;
    return value;
}

/* The first rows from `until` on, by the index. */
static enum status look_after(struct pg *pg, const struct table *table, int64_t until, struct after *after,
                              struct error *error)
{
    static const struct time_column clock = {.type = TIME_TIMESTAMPTZ, .precision = -1};
    struct time_column time = table->time;
    struct sql sql = {0}, name = {0};
    PGresult *result;
    enum status status;

    sql_add_identifier(&name, table->time_name);
    sql_add(&sql,
            "SELECT pg_catalog.clock_timestamp()::text, pg_catalog.min(t)::text, pg_catalog.max(t)::text FROM"
            " (SELECT %s AS t FROM %s WHERE ",
            name.text, table->sql);
    table_add_where(&sql, table, (struct range){until, INT64_MAX});
    sql_add(&sql, " ORDER BY %s LIMIT %d) s", name.text, SAMPLE_ROWS);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    sql_reset(&name);
    if (status != STATUS_OK)
        return status;
    after->now = read_time(result, 0, &clock);
    after->first = read_time(result, 1, &time);
    after->last = read_time(result, 2, &time);
    PQclear(result);
    return STATUS_OK;
}

/* How many rows a side has in the range, and their hash, a text that the caller frees. */
static enum status count(struct pg *pg, const struct table *table, const struct bucket_columns *columns, bool of_source,
                         struct range range, char **text, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT pg_catalog.count(*) || ' ' || coalesce(");
    bucket_hash_add(&sql, columns, of_source);
    sql_add(&sql, ", '') FROM %s WHERE ", table->sql);
    table_add_where(&sql, table, range);
    status = pg_value(pg, sql.text, text, error);
    sql_reset(&sql);
    return status;
}

struct looking {
    struct pg *source, *target;
    const struct table *source_table, *target_table;
    const struct bucket_columns *columns;
    int64_t until;
    bool measured;
    char *text;
};

/* Local times are ahead of UTC by 14 hours at most. */
static bool is_future(const struct looking *looking, int64_t now)
{
    enum time_type type = looking->target_table->time.type;
    int64_t ahead = type == TIME_TIMESTAMPTZ ? 0 : 14 * TIME_DAY / 24;

    return !time_type_is_integer(type) && now != INT64_MIN && looking->until > now + ahead;
}

/* Rows of earlier times are not on their way any more, whatever zone local times are in; of integers nothing is known.
 */
static int64_t settled_before(enum time_type type, int64_t now)
{
    int64_t late = LATE_SECONDS * INT64_C(1000000);

    if (time_type_is_integer(type) || now == INT64_MIN)
        return INT64_MIN;
    return now - late - (type == TIME_TIMESTAMPTZ ? 0 : type == TIME_DATE ? 2 * TIME_DAY : TIME_DAY / 2);
}

static enum status compare(const struct looking *looking, const struct after *source, struct error *error)
{
    /* Several rows of the last moment may be behind the sample; what is being written now differs from one moment to
     * the next. */
    struct range range = {looking->until, source->last};
    int64_t settled = settled_before(looking->target_table->time.type, source->now);
    char *of_source = NULL, *of_target = NULL;
    enum status status = STATUS_OK;
    char last[TIME_TEXT_MAX];

    if (range.hi > settled)
        range.hi = settled;
    if (range.hi <= range.lo)
        return STATUS_OK;
    status = count(looking->source, looking->source_table, looking->columns, true, range, &of_source, error);
    if (status == STATUS_OK)
        status = count(looking->target, looking->target_table, looking->columns, false, range, &of_target, error);
    if (status == STATUS_OK && of_source != NULL && of_target != NULL && strcmp(of_source, of_target) != 0) {
        int64_t source_rows = strtoll(of_source, NULL, 10), target_rows = strtoll(of_target, NULL, 10);

        time_format(looking->target_table->time.type, range.hi, last);
        if (source_rows != target_rows)
            snprintf(looking->text, UNTIL_CHECK_MAX,
                     "right after --until, up to %s, the source has %" PRId64 " rows and the target %" PRId64
                     ": dual writes are not complete there",
                     last, source_rows, target_rows);
        else
            snprintf(looking->text, UNTIL_CHECK_MAX,
                     "right after --until, up to %s, both sides have %" PRId64
                     " rows, but not the same ones: dual writes differ",
                     last, source_rows);
    }
    free(of_source);
    free(of_target);
    return status;
}

static enum status look(const struct looking *looking, struct error *error)
{
    struct after source = {0}, target = {0};
    char first[TIME_TEXT_MAX];
    enum status status = look_after(looking->source, looking->source_table, looking->until, &source, error);

    if (status == STATUS_OK)
        status = look_after(looking->target, looking->target_table, looking->until, &target, error);
    if (status != STATUS_OK)
        return status;
    if (is_future(looking, source.now))
        snprintf(looking->text, UNTIL_CHECK_MAX,
                 "--until lies in the future: rows that come before it, and after they would be read, are missed");
    else if (!looking->measured && looking->target_table->time.type == TIME_TIMESTAMPTZ && source.now != INT64_MIN &&
             looking->until > source.now - LATE_SECONDS * 1000000)
        snprintf(looking->text, UNTIL_CHECK_MAX,
                 "--until is less than %d s ago: rows before it that come late may be missed", LATE_SECONDS);
    else if (source.first != INT64_MIN && target.first == INT64_MIN)
        snprintf(looking->text, UNTIL_CHECK_MAX,
                 "dual writes are not seen at or after --until: the source has rows from %s on, the target has none of"
                 " them",
                 time_format(looking->source_table->time.type, source.first, first));
    else if (source.first != INT64_MIN)
        return compare(looking, &source, error);
    return STATUS_OK;
}

void until_check(struct pg *source, const struct table *source_table, struct pg *target,
                 const struct table *target_table, const struct bucket_columns *columns, int64_t until, bool measured,
                 char text[UNTIL_CHECK_MAX])
{
    struct looking looking = {source, target, source_table, target_table, columns, until, measured, text};
    struct error error;

    text[0] = '\0';
    error_reset(&error);
    if (!source_table->time_indexed || !target_table->time_indexed)
        return;
    if (begin(source, &error) == STATUS_OK && begin(target, &error) == STATUS_OK && look(&looking, &error) != STATUS_OK)
        text[0] = '\0';
    pg_rollback(source);
    pg_rollback(target);
}
