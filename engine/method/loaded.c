/* Pieces of the ledger, merged. */
#include "engine/method/loaded.h"

#include <stdlib.h>

/* Islands: a range begins one where it touches none before it. Rejects have a piece that is no range of time. */
static void add_islands(struct sql *sql, const struct ledger *ledger, const struct table *table, const char *condition)
{
    sql_add(sql, "SELECT min(lo), max(hi) FROM (SELECT lo, hi, sum(fresh) OVER (ORDER BY lo, hi) AS island FROM"
                 " (SELECT lo, hi, CASE WHEN lo <= max(hi) OVER (ORDER BY lo, hi ROWS BETWEEN UNBOUNDED PRECEDING AND 1"
                 " PRECEDING) THEN 0 ELSE 1 END AS fresh FROM (SELECT p.lo, p.hi");
    sql_add(sql, " FROM %s p JOIN %s j USING (job) WHERE p.lo < p.hi AND p.rows > 0 AND j.table_oid = %u",
            ledger->piece_table, ledger->job_table, table->oid);
    if (condition[0] != '\0')
        sql_add(sql, " AND %s", condition);
    sql_add(sql, ") r) f) i GROUP BY island ORDER BY 1");
}

/* Rows of two numbers. */
static enum status read_ranges(struct pg *pg, const char *query, struct range **ranges, size_t *count,
                               struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_run(pg, query, &result, error);

    if (status != STATUS_OK)
        return status;
    *ranges = calloc((size_t)PQntuples(result) + 1, sizeof **ranges);
    if (*ranges == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++, ++*count)
        (*ranges)[i] =
            (struct range){strtoll(PQgetvalue(result, i, 0), NULL, 10), strtoll(PQgetvalue(result, i, 1), NULL, 10)};
    PQclear(result);
    return status;
}

enum status loaded_ranges(struct pg *pg, const struct ledger *ledger, const struct table *table, const char *condition,
                          struct range **ranges, size_t *count, struct error *error)
{
    struct sql sql = {0};
    bool exists;
    enum status status = ledger_exists(pg, ledger, &exists, error);

    *ranges = NULL;
    *count = 0;
    if (status != STATUS_OK || !exists)
        return status;
    add_islands(&sql, ledger, table, condition);
    status = read_ranges(pg, sql.text, ranges, count, error);
    sql_reset(&sql);
    return status;
}

enum status loaded_windows(struct pg *pg, const struct ledger *ledger, uint32_t table_oid, struct range **ranges,
                           size_t *count, bool *unfinished, struct error *error)
{
    struct sql sql = {0};
    char *found = NULL;
    bool exists;
    enum status status = ledger_exists(pg, ledger, &exists, error);

    *ranges = NULL;
    *count = 0;
    *unfinished = false;
    if (status != STATUS_OK || !exists)
        return status;
    sql_add(&sql, "SELECT 1 FROM %s WHERE table_oid = %u AND finished IS NULL LIMIT 1", ledger->job_table, table_oid);
    status = pg_value(pg, sql.text, &found, error);
    *unfinished = found != NULL;
    free(found);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    sql_add(&sql, "SELECT lo, hi FROM %s WHERE table_oid = %u ORDER BY lo, hi", ledger->job_table, table_oid);
    status = read_ranges(pg, sql.text, ranges, count, error);
    sql_reset(&sql);
    return status;
}
