/* What the steps around the backfill have left is forgotten. */
#include "engine/method/forget.h"

#include <stdlib.h>
#include <string.h>

#include "writers/ledger_private.h"
#include "writers/ledger_state.h"

/* Held by whoever clones a schema, or makes the table of migrations. */
#define SCHEMA_LOCK "pg_catalog.pg_try_advisory_xact_lock(4929304721850033)"

/* Of a migration m: its last step was begun, which is the one that forgets; and was it ended? */
#define CLEANS "EXISTS (SELECT FROM %s l WHERE l.migration = m.migration AND l.step = 'clean' AND l.state"
#define AT_ITS_END CLEANS " <> 'open')"
#define ENDED CLEANS " IN ('done', 'skipped'))"

struct forgetting {
    struct pg *pg;
    const struct ledger *ledger;
    const struct table *table;
    struct forgotten *forgotten;
    char *verify, *verified, *migration, *schema_step, *policy; /* NULL: not there, or not ours to change */
};

static enum status find(struct forgetting *forgetting, const char *name, char **table, struct error *error)
{
    struct sql sql = {0};
    char *may = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " WHERE c.relkind = 'r' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
                  " AND pg_catalog.has_table_privilege(c.oid, 'SELECT')"
                  " AND pg_catalog.has_table_privilege(c.oid, 'DELETE') AND n.nspname = ");
    sql_add_literal(&sql, forgetting->ledger->schema);
    sql_add(&sql, " AND c.relname = '%s'", name);
    status = pg_value(forgetting->pg, sql.text, &may, error);
    sql_reset(&sql);
    *table = may != NULL ? ledger_state_table(forgetting->ledger, name) : NULL;
    free(may);
    return status;
}

static enum status find_all(struct forgetting *forgetting, struct error *error)
{
    const struct {
        const char *name;
        char **table;
    } all[] = {{"verify", &forgetting->verify},
               {"verified", &forgetting->verified},
               {"migration", &forgetting->migration},
               {"schema_step", &forgetting->schema_step},
               {"policy", &forgetting->policy}};
    enum status status = STATUS_OK;

    for (size_t i = 0; i < sizeof all / sizeof *all && status == STATUS_OK; i++)
        status = find(forgetting, all[i].name, all[i].table, error);
    return status;
}

static enum status count(struct pg *pg, struct sql *sql, int64_t *number, struct error *error)
{
    char *text = NULL;
    enum status status = pg_value(pg, sql->text, &text, error);

    if (status == STATUS_OK && text != NULL)
        *number = strtoll(text, NULL, 10);
    free(text);
    sql_reset(sql);
    return status;
}

/* One that is under way notices that its row is gone, and goes on without. */
static enum status forget_comparisons(const struct forgetting *forgetting, struct error *error)
{
    struct sql sql = {0};

    if (forgetting->verify == NULL || forgetting->verified == NULL)
        return STATUS_OK;
    sql_add(&sql, "WITH gone AS (DELETE FROM %s WHERE table_name = ", forgetting->verify);
    sql_add_literal(&sql, forgetting->table->sql);
    sql_add(&sql,
            " RETURNING id), ranges AS (DELETE FROM %s WHERE id IN (SELECT id FROM gone)) SELECT count(*) FROM gone",
            forgetting->verified);
    return count(forgetting->pg, &sql, &forgetting->forgotten->comparisons, error);
}

/* Of a migration m: whether the table is one of its. Earlier versions did not write which they are. */
static void add_is_its(struct sql *sql, const struct forgetting *forgetting)
{
    sql_add(sql,
            "EXISTS (SELECT FROM %s k WHERE k.migration = m.migration AND k.step = 'check' AND (k.result->'names' IS"
            " NULL OR EXISTS (SELECT FROM pg_catalog.jsonb_array_elements_text(k.result->'names') t(name)"
            " WHERE pg_catalog.to_regclass(t.name) = %u)))",
            forgetting->migration, forgetting->table->oid);
}

static enum status forget_migrations(const struct forgetting *forgetting, struct error *error)
{
    const char *name = forgetting->migration;
    struct sql sql = {0};
    enum status status;

    if (name == NULL)
        return STATUS_OK;
    sql_add(&sql, "WITH gone AS (DELETE FROM %s m WHERE " ENDED " AND ", name, name);
    add_is_its(&sql, forgetting);
    sql_add(&sql, " RETURNING migration) SELECT count(DISTINCT migration) FROM gone");
    status = count(forgetting->pg, &sql, &forgetting->forgotten->migrations, error);
    if (status != STATUS_OK)
        return status;
    sql_add(&sql, "SELECT pg_catalog.string_agg(DISTINCT m.migration, ', ') FROM %s m WHERE NOT " AT_ITS_END " AND ",
            name, name);
    add_is_its(&sql, forgetting);
    status = pg_value(forgetting->pg, sql.text, &forgetting->forgotten->unfinished, error);
    sql_reset(&sql);
    return status;
}

/* Nobody is to come back to it: the ledger has no job, no migration is on its way, no clone at work. */
static enum status forget_schema_steps(const struct forgetting *forgetting, struct error *error)
{
    const char *migration = forgetting->migration;
    struct sql sql = {0};
    bool jobs = false;
    enum status status = ledger_exists(forgetting->pg, forgetting->ledger, &jobs, error);

    if (status != STATUS_OK || forgetting->schema_step == NULL)
        return status;
    sql_add(&sql, "DELETE FROM %s WHERE " SCHEMA_LOCK, forgetting->schema_step);
    if (jobs)
        sql_add(&sql, " AND NOT EXISTS (SELECT FROM %s)", forgetting->ledger->job_table);
    if (migration != NULL)
        sql_add(&sql, " AND NOT EXISTS (SELECT FROM %s m WHERE NOT " AT_ITS_END ")", migration, migration);
    status = pg_run(forgetting->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

static enum status count_paused(const struct forgetting *forgetting, struct error *error)
{
    struct sql sql = {0};

    if (forgetting->policy == NULL)
        return STATUS_OK;
    sql_add(&sql, "SELECT count(*) FROM %s WHERE table_oid = %u", forgetting->policy, forgetting->table->oid);
    return count(forgetting->pg, &sql, &forgetting->forgotten->paused, error);
}

/* Only with the table's lock nobody writes into it between the look and the drop. */
static void add_drop(struct sql *sql, const char *table, const char *with)
{
    if (table == NULL)
        return;
    sql_add(sql,
            "DO $hyperfill$ BEGIN IF NOT EXISTS (SELECT FROM %s) THEN LOCK TABLE %s IN ACCESS EXCLUSIVE MODE; IF NOT"
            " EXISTS (SELECT FROM %s) THEN DROP TABLE %s%s%s; END IF; END IF;"
            " EXCEPTION WHEN insufficient_privilege OR lock_not_available THEN NULL; END $hyperfill$; ",
            table, table, table, table, with != NULL ? ", " : "", with != NULL ? with : "");
}

static enum status drop_empty(const struct forgetting *forgetting, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SET LOCAL lock_timeout = '5s'; ");
    add_drop(&sql, forgetting->verify, forgetting->verified);
    add_drop(&sql, forgetting->migration, NULL);
    add_drop(&sql, forgetting->schema_step, NULL);
    if (strcmp(forgetting->ledger->schema, OWN_SCHEMA) == 0)
        sql_add(&sql,
                "DO $hyperfill$ BEGIN DROP SCHEMA IF EXISTS %s; EXCEPTION WHEN dependent_objects_still_exist OR"
                " insufficient_privilege THEN NULL; END $hyperfill$; ",
                OWN_SCHEMA);
    status = pg_run(forgetting->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

/* Other tables of the steps go when the ledger does; where it went before, now. */
static enum status forget_states(const struct forgetting *forgetting, struct error *error)
{
    bool jobs = false;
    enum status status = ledger_state_forget(forgetting->pg, forgetting->ledger, forgetting->table, error);

    if (status == STATUS_OK)
        status = ledger_exists(forgetting->pg, forgetting->ledger, &jobs, error);
    return status == STATUS_OK && !jobs ? ledger_state_drop(forgetting->pg, forgetting->ledger, error) : status;
}

enum status forget_table(struct pg *pg, const struct ledger *ledger, const struct table *table,
                         struct forgotten *forgotten, struct error *error)
{
    struct forgetting forgetting = {.pg = pg, .ledger = ledger, .table = table, .forgotten = forgotten};
    enum status status = pg_run(pg, LEDGER_BEGIN LEDGER_LOCK, NULL, error);

    *forgotten = (struct forgotten){0};
    if (status == STATUS_OK)
        status = find_all(&forgetting, error);
    if (status == STATUS_OK)
        status = forget_comparisons(&forgetting, error);
    if (status == STATUS_OK)
        status = forget_migrations(&forgetting, error);
    if (status == STATUS_OK)
        status = forget_schema_steps(&forgetting, error);
    if (status == STATUS_OK)
        status = count_paused(&forgetting, error);
    if (status == STATUS_OK)
        status = forget_states(&forgetting, error);
    if (status == STATUS_OK)
        status = drop_empty(&forgetting, error);
    if (status == STATUS_OK)
        status = ledger_commit_plain(pg, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    free(forgetting.verify);
    free(forgetting.verified);
    free(forgetting.migration);
    free(forgetting.schema_step);
    free(forgetting.policy);
    return status;
}
