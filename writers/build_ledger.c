/* The ledger's table of cells that are begun and not published. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

void build_reset(struct build *build)
{
    free(build->relation);
    free(build->name);
    free(build->data);
    build->relation = build->name = build->data = NULL;
    build->empty = false;
}

static void add_where(struct sql *sql, const struct ledger *ledger, const struct build *build)
{
    sql_add(sql, " WHERE job = '%s' AND lo = '%" PRId64 "'", ledger->job, build->cell.lo);
}

static char *field(const PGresult *result, int row, int column)
{
    struct sql text = {0};

    if (PQgetisnull(result, row, column))
        return NULL;
    sql_add(&text, "%s", PQgetvalue(result, row, column));
    return text.text;
}

static enum status take(const PGresult *result, int row, struct build *build, struct error *error)
{
    const char *way = PQgetvalue(result, row, 2);

    build_reset(build);
    build->cell.lo = strtoll(PQgetvalue(result, row, 0), NULL, 10);
    build->cell.hi = strtoll(PQgetvalue(result, row, 1), NULL, 10);
    build->way = build_way_named(way);
    build->relation = field(result, row, 3);
    build->name = field(result, row, 4);
    build->data = field(result, row, 5);
    if (build->way == NULL)
        return error_set(error, STATUS_SERVER,
                         "the ledger has a chunk that is being built in the way \"%s\", which this version does not"
                         " know: use the version that began it",
                         way);
    return STATUS_OK;
}

enum status build_ledger_read(struct pg *pg, const struct ledger *ledger, const char *where, struct build **items,
                              size_t *count, struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        pg_runf(pg, &result, error, "SELECT lo, hi, way, relation, name, data FROM %s WHERE %s ORDER BY lo",
                ledger->build_table, where);

    *items = NULL;
    *count = 0;
    if (status != STATUS_OK)
        return status;
    *items = calloc((size_t)PQntuples(result) + 1, sizeof **items);
    if (*items == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++) {
        status = take(result, i, &(*items)[i], error);
        *count += status == STATUS_OK;
    }
    PQclear(result);
    return status;
}

enum status build_ledger_add(struct append_session *session, struct build *build, bool *there, struct error *error)
{
    const struct ledger *ledger = session->target->ledger;
    PGresult *result = NULL;
    struct sql sql = {0};
    enum status status;

    /* Waits for whoever is about to make the same row. */
    sql_add(&sql, "INSERT INTO %s (job, lo, hi, way) VALUES ('%s', '%" PRId64 "', '%" PRId64 "', '%s')",
            ledger->build_table, ledger->job, build->cell.lo, build->cell.hi, build->way->name);
    sql_add(&sql, " ON CONFLICT (job, lo) DO NOTHING RETURNING 1");
    status = pg_run(session->pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    *there = PQntuples(result) == 0;
    PQclear(result);
    if (!*there)
        return STATUS_OK;
    sql_add(&sql, "SELECT lo, hi, way, relation, name, data FROM %s", ledger->build_table);
    add_where(&sql, ledger, build);
    status = pg_run(session->pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    /* It may be gone by now: whoever enters it finds that out. */
    if (PQntuples(result) == 1)
        status = take(result, 0, build, error);
    PQclear(result);
    return status;
}

static void add_text(struct sql *sql, const char *column, const char *text)
{
    sql_add(sql, "%s = ", column);
    if (text == NULL)
        sql_add(sql, "NULL");
    else
        sql_add_literal(sql, text);
}

enum status build_ledger_set(struct append_session *session, const struct build *build, struct error *error)
{
    const struct ledger *ledger = session->target->ledger;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "UPDATE %s SET ", ledger->build_table);
    add_text(&sql, "relation", build->relation);
    add_text(&sql, ", name", build->name);
    add_text(&sql, ", data", build->data);
    add_where(&sql, ledger, build);
    status = pg_run(session->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

/* Whether the statement found the row. */
static enum status touch(struct append_session *session, const char *verb, const char *tail, const struct build *build,
                         bool *there, struct error *error)
{
    const struct ledger *ledger = session->target->ledger;
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "%s FROM %s", verb, ledger->build_table);
    add_where(&sql, ledger, build);
    sql_add(&sql, "%s", tail);
    status = pg_value(session->pg, sql.text, &found, error);
    sql_reset(&sql);
    *there = found != NULL;
    free(found);
    return status;
}

enum status build_ledger_hold(struct append_session *session, const struct build *build, bool *there,
                              struct error *error)
{
    return touch(session, "SELECT 1", " FOR KEY SHARE", build, there, error);
}

enum status build_ledger_remove(struct append_session *session, const struct build *build, bool *there,
                                struct error *error)
{
    return touch(session, "DELETE", " RETURNING 1", build, there, error);
}

enum status build_abandon_all(struct pg *pg, const struct ledger *ledger, const char *jobs_sql, int64_t *count,
                              int64_t *aside, struct error *error)
{
    struct build *items;
    size_t item_count;
    enum status status = build_ledger_read(pg, ledger, jobs_sql, &items, &item_count, error);

    for (size_t i = 0; i < item_count && status == STATUS_OK; i++)
        status = items[i].way->abandon(pg, &items[i], error);
    if (status == STATUS_OK)
        status = pg_runf(pg, NULL, error, "DELETE FROM %s WHERE %s", ledger->build_table, jobs_sql);
    if (status == STATUS_OK)
        *count = (int64_t)item_count;
    *aside = 0;
    for (size_t i = 0; i < item_count; i++)
        *aside += items[i].way->aside;
    for (size_t i = 0; i < item_count; i++)
        build_reset(&items[i]);
    free(items);
    return status;
}
