/*
 * --defer-indexes: where no chunk can be built alone (older TimescaleDB, plain tables), the whole table does without
 * its indexes until the job is complete. Asked for by hand, since queries of the application are slow meanwhile.
 *
 * It has a row in the table `build` like a cell, under a place that no cell has, and is published as they are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "writers/build_private.h"

static enum status drop_and_remember(struct pg *pg, const struct ledger *ledger, const struct table *table, bool *begun,
                                     struct error *error)
{
    struct build build = {.cell = RANGE_REJECTS, .way = &build_table_way};
    struct sql sql = {0};
    char oids[24], *added = NULL;
    enum status status;

    sql_add(&sql, "INSERT INTO %s (job, lo, hi, way) VALUES ('%s', '%" PRId64 "', '%" PRId64 "', '%s')",
            ledger->build_table, ledger->job, build.cell.lo, build.cell.hi, build.way->name);
    sql_add(&sql, " ON CONFLICT (job, lo) DO NOTHING RETURNING 1");
    status = pg_value(pg, sql.text, &added, error);
    sql_reset(&sql);
    snprintf(oids, sizeof oids, "{%u}", table->oid);
    if (status == STATUS_OK && added != NULL)
        status = build_drop_indexes(pg, oids, &build.data, error);
    *begun = build.data != NULL;
    if (status == STATUS_OK && *begun) {
        sql_add(&sql, "UPDATE %s SET data = ", ledger->build_table);
        sql_add_literal(&sql, build.data);
        sql_add(&sql, " WHERE job = '%s' AND lo = '%" PRId64 "'", ledger->job, build.cell.lo);
        status = pg_run(pg, sql.text, NULL, error);
        sql_reset(&sql);
    }
    free(added);
    build_reset(&build);
    return status;
}

enum status build_defer(struct pg *pg, const struct ledger *ledger, const struct table *table, bool *begun,
                        struct error *error)
{
    enum status status = pg_run(pg, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", NULL, error);

    *begun = false;
    if (status == STATUS_OK)
        status = drop_and_remember(pg, ledger, table, begun, error);
    if (status == STATUS_OK && *begun)
        status = ledger_commit_plain(pg, error);
    if (status != STATUS_OK || !*begun)
        pg_rollback(pg);
    return status;
}

static bool table_concerns(const struct build_facts *facts)
{
    (void)facts;
    return false;
}

static enum status table_publish(struct append_session *session, struct build *build, struct error *error)
{
    return build_make_indexes(session->pg, build, error);
}

const struct build_way build_table_way = {
    .name = "table",
    .text = "the table gets its indexes once the job is complete",
    .concerns = table_concerns,
    .publish = table_publish,
    .abandon = build_make_indexes,
};
