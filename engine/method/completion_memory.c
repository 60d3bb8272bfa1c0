/* What a look has found stands in the target's ledger: who loads up to a time knows then whether it was measured. */
#include "engine/method/completion.h"

#include <inttypes.h>
#include <stdlib.h>

#include "writers/ledger_private.h"
#include "writers/ledger_state.h"

#define TABLE "completion"

/* Which table of which database, also when that was moved to another host. */
static void add_source(struct sql *sql, const struct table *source)
{
    struct sql text = {0};

    sql_add(&text, "system %s database %s table %s.%s", source->system_identifier, source->database, source->schema,
            source->name);
    sql_add_literal(sql, text.text);
    sql_reset(&text);
}

static enum status keep(struct pg *pg, const char *table, const struct table *source, const struct table *target,
                        const struct completion *completion, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, LEDGER_BEGIN "INSERT INTO %s (table_oid, source, zone_lo, zone_hi, until) VALUES (%u, ", table,
            target->oid);
    add_source(&sql, source);
    sql_add(&sql, ", '%" PRId64 "', '%" PRId64 "', '%" PRId64 "')", completion->zone_lo, completion->zone_hi,
            completion->until);
    sql_add(&sql, " ON CONFLICT (table_oid, source) DO UPDATE SET zone_lo = excluded.zone_lo, zone_hi ="
                  " excluded.zone_hi, until = excluded.until, looked = now(); COMMIT");
    status = pg_run(pg, sql.text, NULL, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    sql_reset(&sql);
    return status;
}

enum status completion_keep(struct pg *pg, const char *ledger_schema, const struct table *source,
                            const struct table *target, const struct completion *completion, struct error *error)
{
    struct ledger ledger;
    enum status status;
    char *table;

    ledger_init(&ledger, ledger_schema, "");
    table = ledger_state_table(&ledger, TABLE);
    status =
        ledger_state_prepare(pg, &ledger, TABLE,
                             "table_oid oid NOT NULL, source text NOT NULL, zone_lo bigint NOT NULL, zone_hi bigint"
                             " NOT NULL, until bigint NOT NULL, looked timestamptz NOT NULL DEFAULT now(),"
                             " PRIMARY KEY (table_oid, source)",
                             "hyperfill: where both sides were seen to be equal by hyperfill completion-point", error);
    if (status == STATUS_OK)
        status = keep(pg, table, source, target, completion, error);
    free(table);
    ledger_reset(&ledger);
    return status;
}

enum status completion_covers(struct pg *pg, const char *ledger_schema, const struct table *source,
                              const struct table *target, int64_t until, bool *covers, struct error *error)
{
    struct sql sql = {0};
    struct ledger ledger;
    char *table, *found = NULL;
    enum status status;
    bool exists = false;

    ledger_init(&ledger, ledger_schema, "");
    table = ledger_state_table(&ledger, TABLE);
    status = ledger_state_exists(pg, &ledger, TABLE, &exists, error);
    if (status == STATUS_OK && exists) {
        sql_add(&sql,
                "SELECT 1 FROM %s WHERE table_oid = %u AND '%" PRId64 "' BETWEEN zone_lo AND zone_hi AND source = ",
                table, target->oid, until);
        add_source(&sql, source);
        status = pg_value(pg, sql.text, &found, error);
    }
    *covers = found != NULL;
    free(found);
    free(table);
    sql_reset(&sql);
    ledger_reset(&ledger);
    return status;
}
