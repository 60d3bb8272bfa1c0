/* Rows go to a temporary table first, so that conflicts can be left out. */
#include "writers/staging.h"

#include <inttypes.h>
#include <stdlib.h>

char *staging_name(const struct append_target *target)
{
    struct sql name = {0};

    /* A pooler may hand on a session with another job's table in it. */
    sql_add(&name, "hyperfill_%s", target->ledger->job);
    return name.text;
}

static void add_table(struct sql *sql, const struct append_target *target)
{
    sql_add(sql, "pg_temp.");
    sql_add_identifier(sql, target->staging);
}

/* All columns that can be loaded: inputs may differ in which they have. */
static void add_columns(struct sql *sql, const struct table *table)
{
    const char *separator = "";

    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].generated)
            continue;
        sql_add(sql, "%s", separator);
        sql_add_identifier(sql, table->columns[i].name);
        sql_add(sql, " %s", table->columns[i].type);
        separator = ", ";
    }
}

enum status staging_begin(struct append_session *session, const struct append_input *input, const char *options,
                          struct error *error)
{
    const struct append_target *target = session->target;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "CREATE TEMP TABLE IF NOT EXISTS ");
    sql_add_identifier(&sql, target->staging);
    sql_add(&sql, " (");
    add_columns(&sql, target->table);
    sql_add(&sql, ") ON COMMIT DELETE ROWS; TRUNCATE ");
    add_table(&sql, target);
    status = pg_run(session->pg, sql.text, NULL, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    sql_add(&sql, "COPY ");
    add_table(&sql, target);
    sql_add(&sql, " (%s) FROM STDIN WITH (%s)", input->column_list, options);
    status = pg_copy_in_begin(session->pg, sql.text, error);
    sql_reset(&sql);
    return status;
}

static bool has_identity_always(const struct table *table)
{
    bool found = false;

    for (size_t i = 0; i < table->column_count; i++)
        found |= table->columns[i].identity_always;
    return found;
}

/* Gives the count of rows that were inserted. */
static enum status insert_rows(struct append_session *session, const struct append_input *input, int64_t *inserted,
                               struct error *error)
{
    const struct append_target *target = session->target;
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    /* Conflicts with compressed rows are found by decompressing some. */
    if (target->table->community)
        sql_add(&sql, "SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings"
                      " WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'; ");
    sql_add(&sql, "INSERT INTO %s (%s)", target->table->sql, input->column_list);
    /* As COPY, which takes the values of such columns where they are given. */
    if (has_identity_always(target->table))
        sql_add(&sql, " OVERRIDING SYSTEM VALUE");
    sql_add(&sql, " SELECT %s FROM ", input->column_list);
    add_table(&sql, target);
    sql_add(&sql, " ON CONFLICT DO NOTHING");
    status = pg_run(session->pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        *inserted = strtoll(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return status;
}

enum status staging_end(struct append_session *session, const struct append_input *input, int64_t *rows,
                        int64_t *conflicts, struct error *error)
{
    int64_t inserted = 0;
    enum status status = pg_copy_in_end(session->pg, rows, error);

    if (status == STATUS_OK)
        status = insert_rows(session, input, &inserted, error);
    *conflicts = *rows - inserted;
    if (status == STATUS_OK && *conflicts < 0)
        status = error_set(error, STATUS_DATA,
                           "%" PRId64 " rows became %" PRId64 " on their way into the table; all were rolled back",
                           *rows, inserted);
    return status;
}
