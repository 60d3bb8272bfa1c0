/* Rows of a table aside that cannot become part of the table: they are inserted, as append would have done, only
 * slower. */
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

/* By the columns that both have: the table may have been altered. */
static enum status move_columns(struct append_session *session, const struct build *build, char **columns,
                                struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT string_agg(quote_ident(h.attname), ', ' ORDER BY h.attnum) FROM pg_catalog.pg_attribute h"
            " JOIN pg_catalog.pg_attribute s USING (attname) WHERE h.attrelid = %u AND h.attnum > 0"
            " AND NOT h.attisdropped AND h.attgenerated = '' AND NOT s.attisdropped AND s.attrelid = ",
            session->target->table->oid);
    sql_add_literal(&sql, build->relation);
    sql_add(&sql, "::pg_catalog.regclass");
    status = pg_value(session->pg, sql.text, columns, error);
    sql_reset(&sql);
    return status;
}

enum status build_move_rows(struct append_session *session, const struct build *build, struct error *error)
{
    const struct table *table = session->target->table;
    char *columns = NULL, *held = NULL;
    PGresult *result = NULL;
    struct sql sql = {0};
    enum status status = move_columns(session, build, &columns, error);

    if (status == STATUS_OK) {
        sql_add(&sql, "SELECT count(*) FROM ONLY %s", build->relation);
        status = pg_value(session->pg, sql.text, &held, error);
        sql_reset(&sql);
    }
    if (status == STATUS_OK) {
        sql_add(&sql, "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM ONLY %s", table->sql, columns,
                columns, build->relation);
        status = pg_run(session->pg, sql.text, &result, error);
        sql_reset(&sql);
    }
    if (status == STATUS_OK && strcmp(PQcmdTuples(result), held) != 0)
        status = error_set(error, STATUS_DATA, "%s rows became %s on their way into the table; all were rolled back",
                           held, PQcmdTuples(result));
    if (status == STATUS_OK)
        status = pg_runf(session->pg, NULL, error, "DROP TABLE %s", build->relation);
    PQclear(result);
    free(columns);
    free(held);
    return status;
}
