/* Loads a stretch of time again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/method/verify_private.h"
#include "writers/ledger.h"

/* The first key of advisory locks on tables that are repaired; the second is the table. */
#define REPAIR_LOCK 20732905

struct repair {
    const struct verify_repair *how;
    struct range range;
    struct ledger ledger;
    struct pg_setting settings[3];
    struct pg *pg[2];
    char *select_list;
};

static enum status refuse_unfinished(struct repair *repair, struct error *error)
{
    const struct table *table = repair->how->spec->tables[TARGET];
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "SELECT job FROM %s WHERE finished IS NULL AND table_oid = %u AND lo < '%" PRId64 "'",
            repair->ledger.job_table, table->oid, repair->range.hi);
    sql_add(&sql, " AND hi > '%" PRId64 "' AND job <> ", repair->range.lo);
    sql_add_literal(&sql, repair->how->job != NULL ? repair->how->job : "");
    sql_add(&sql, " LIMIT 1");
    status = pg_value(repair->pg[TARGET], sql.text, &found, error);
    sql_reset(&sql);
    if (status == STATUS_OK && found != NULL)
        status = error_set(error, STATUS_USAGE,
                           "the ledger has a job (%s) that has not finished loading %s there: let it finish first with "
                           "hyperfill run, or forget it: hyperfill clean --target … --table %s --yes",
                           found, table->sql, table->name);
    free(found);
    return status;
}

/*
 * Locks come in statements of their own: what deletes must see all that those who had them before have committed. While
 * the ledger's jobs are locked none can begin, and so none can load rows here that the DELETE does not see.
 */
static enum status empty_target(struct repair *repair, struct error *error)
{
    const struct table *table = repair->how->spec->tables[TARGET];
    struct sql sql = {0};
    enum status status =
        pg_runf(repair->pg[TARGET], NULL, error,
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_catalog.pg_advisory_xact_lock(%d, %d);"
                " LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE",
                REPAIR_LOCK, (int32_t)table->oid, repair->ledger.job_table);

    if (status == STATUS_OK)
        status = refuse_unfinished(repair, error);
    sql_add(&sql,
            "SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings"
            " WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'; DELETE FROM %s WHERE ",
            table->sql);
    table_add_where(&sql, table, repair->range);
    /* Through the hypertable, and without RETURNING, which is known to be wrong there. */
    if (status == STATUS_OK)
        status = pg_run(repair->pg[TARGET], sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

static enum status copy_begin(struct repair *repair, struct error *error)
{
    const struct verify_spec *spec = repair->how->spec;
    struct rowhash_table source = {spec->tables[SOURCE], repair->select_list, spec->time_index};
    struct sql sql = {0};
    enum status status;

    rowhash_add_copy(&sql, &source, repair->range, false);
    status = pg_copy_out_begin(repair->pg[SOURCE], sql.text, error);
    sql_reset(&sql);
    sql_add(&sql, "COPY %s (%s) FROM STDIN (FORMAT text)", spec->tables[TARGET]->sql, repair->select_list);
    if (status == STATUS_OK)
        status = pg_copy_in_begin(repair->pg[TARGET], sql.text, error);
    sql_reset(&sql);
    return status;
}

static enum status copy_rows(struct repair *repair, struct error *error)
{
    struct throttle *throttle = repair->how->spec->throttle;
    int64_t rows = 0, sent = -1, stored = -1;
    enum status status = copy_begin(repair, error);
    struct throttle_writer writer;
    const char *row;
    int size;

    if (status != STATUS_OK)
        return status;
    throttle_begin(&writer, 0);
    while ((status = pg_copy_out_next(repair->pg[SOURCE], &row, &size, &sent, error)) == STATUS_OK && size > 0) {
        status = pg_copy_in_put(repair->pg[TARGET], row, (size_t)size, error);
        if (status != STATUS_OK)
            return status;
        throttle_send(throttle, &writer, size);
        rows++;
    }
    if (status != STATUS_OK) {
        pg_copy_in_fail(repair->pg[TARGET], "the source failed");
        return status;
    }
    throttle_count(throttle, &writer, rows);
    status = pg_copy_in_end(repair->pg[TARGET], &stored, error);
    if (status == STATUS_OK && (sent != rows || stored != rows))
        status = error_set(error, STATUS_DATA,
                           "the source says it sent %" PRId64 " rows, %" PRId64 " came, and the target stored %" PRId64
                           ": nothing was changed; has the table triggers?",
                           sent, rows, stored);
    return status;
}

static enum status repair_run(struct repair *repair, struct error *error)
{
    enum status status = pg_connect(repair->pg[SOURCE], error);

    if (status == STATUS_OK)
        status = pg_connect(repair->pg[TARGET], error);
    if (status == STATUS_OK)
        status = ledger_prepare(repair->pg[TARGET], &repair->ledger, error);
    if (status == STATUS_OK)
        status = empty_target(repair, error);
    if (status == STATUS_OK)
        status = copy_rows(repair, error);
    if (status == STATUS_OK)
        status = ledger_commit_plain(repair->pg[TARGET], error);
    if (status != STATUS_OK)
        pg_rollback(repair->pg[TARGET]);
    return status;
}

/* Rows are made anew: what is not copied would be lost. */
static enum status check_columns(const struct verify_spec *spec, struct error *error)
{
    const struct table *table = spec->tables[TARGET];

    for (size_t i = 0; i < table->column_count; i++) {
        bool copied = table->columns[i].generated;

        for (int j = 0; j < spec->column_count && !copied; j++)
            copied = strcmp(spec->columns[j], table->columns[i].name) == 0;
        if (!copied)
            return error_set(error, STATUS_USAGE,
                             "rows of %s cannot be repaired without its column \"%s\", which would be lost: name all "
                             "columns, or load the stretch with hyperfill run --overlap replace",
                             table->sql, table->columns[i].name);
    }
    return STATUS_OK;
}

enum status verify_repair_postgres(void *context, struct range range, struct error *error)
{
    const struct verify_repair *how = context;
    const struct verify_spec *spec = how->spec;
    /* The target alone converts, as when it was loaded. */
    struct repair repair = {
        .how = how,
        .range = range,
        .settings = {{"client_encoding", spec->tables[SOURCE]->server_encoding}, {"timezone", "UTC"}, {NULL, NULL}},
        .select_list = pg_identifiers(spec->columns, spec->column_count),
    };
    char text[TABLE_RANGE_TEXT_MAX];
    enum status status = check_columns(spec, error);

    ledger_init(&repair.ledger, spec->ledger_schema, "");
    for (int side = 0; side < 2 && status == STATUS_OK; side++)
        status = pg_create(spec->addresses[side], repair.settings, spec->stop, &repair.pg[side], error);
    if (status == STATUS_OK)
        status = repair_run(&repair, error);
    if (status != STATUS_OK)
        error_prefix(error, "repairing %s %s", spec->tables[TARGET]->sql,
                     table_range_text(spec->tables[TARGET], range, text));
    pg_free(repair.pg[SOURCE]);
    pg_free(repair.pg[TARGET]);
    ledger_reset(&repair.ledger);
    free(repair.select_list);
    return status;
}
