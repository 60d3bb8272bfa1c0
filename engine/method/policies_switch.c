/* Policies paused and restored, each time in one transaction that nobody else runs beside. */
#include "engine/method/policies_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/log.h"
#include "engine/method/loaded.h"
#include "writers/ledger_state.h"

/* Whoever decides about policies of this database holds it to the end of its transaction. */
#define BEGIN_LOCKED                                                                                                   \
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_catalog.pg_advisory_xact_lock(1212566608, 0)"

/* The server tells nobody when a job ends; so it is asked again, less and less often. */
#define LOOK_FIRST_MS 100
#define LOOK_MAX_MS 2000

#define DYING "5s"

enum status policies_hold(struct pg *pg, int *key, struct error *error)
{
    struct sql sql = {0};
    char *got = NULL;
    enum status status;

    do {
        uint32_t random;

        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return error_set_errno(error, STATUS_SYSTEM, "no random numbers");
        *key = (int)(random & INT32_MAX) | 1;
        sql_reset(&sql);
        sql_add(&sql, "SELECT 1 WHERE pg_catalog.pg_try_advisory_lock(%d, %d)", POLICIES_LOCK_CLASS, *key);
        status = pg_value(pg, sql.text, &got, error);
    } while (status == STATUS_OK && got == NULL);
    sql_reset(&sql);
    free(got);
    return status;
}

static enum status prepare_tables(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    enum status status = ledger_state_prepare(
        pg, ledger, "policy",
        "job_id int PRIMARY KEY, table_oid oid NOT NULL, relation text NOT NULL, kind text NOT NULL,"
        " paused timestamptz NOT NULL DEFAULT now(), keep_lo bigint, keep_hi bigint",
        "hyperfill: background jobs that are paused while history is loaded; hyperfill policies restore", error);

    if (status == STATUS_OK)
        status = ledger_state_prepare(pg, ledger, "policy_hold",
                                      "job_id int NOT NULL, holder text NOT NULL, key int NOT NULL,"
                                      " since timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (job_id, key)",
                                      "hyperfill: who wants them paused", error);
    if (status != STATUS_OK)
        error_hint(error, ". The ledger keeps which policies are paused; --policies leave does without");
    return status;
}

static enum status commit(struct pg *pg, enum status status, struct error *error)
{
    if (status == STATUS_OK)
        status = ledger_commit_plain(pg, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}

static enum status switch_job(struct pg *pg, const struct policy_list *list, const struct policy_job *job, bool on,
                              struct error *error)
{
    char text[POLICY_TEXT_MAX];
    enum status status = pg_runf(pg, NULL, error, "SELECT %s.alter_job(%d, scheduled => %s, if_exists => true)",
                                 list->schema, job->id, on ? "true" : "false");

    if (status != STATUS_OK)
        error_prefix(error, "%s could not be switched %s", policy_text(job, text), on ? "on" : "off");
    return status;
}

/* In the transaction that switches it off. A row that is there is of somebody whom a person has overruled since. */
static enum status record(struct pg *pg, const struct policies_switch *how, const struct policy_job *job,
                          struct error *error)
{
    char *policy = ledger_state_table(how->ledger, "policy"), *relation = pg_literal(job->relation);
    static const char *const words[] = {
        [POLICY_RETENTION] = "retention",
        [POLICY_COMPRESSION] = "compression",
        [POLICY_REORDER] = "reorder",
        [POLICY_REFRESH] = "refresh",
    };
    enum status status = pg_runf(pg, NULL, error,
                                 "INSERT INTO %s (job_id, table_oid, relation, kind) VALUES (%d, %u, %s, '%s')"
                                 " ON CONFLICT (job_id) DO UPDATE SET paused = now(), table_oid = EXCLUDED.table_oid",
                                 policy, job->id, how->table->oid, relation, words[job->kind]);

    free(policy);
    free(relation);
    return status;
}

static enum status join_in(struct pg *pg, const struct policies_switch *how, const struct policy_job *job,
                           struct error *error)
{
    char *hold = ledger_state_table(how->ledger, "policy_hold");
    char *holder = pg_literal(how->holder != NULL ? how->holder : "by hand");
    enum status status =
        pg_runf(pg, NULL, error, "INSERT INTO %s (job_id, holder, key) VALUES (%d, %s, %d) ON CONFLICT DO NOTHING",
                hold, job->id, holder, how->key);

    free(hold);
    free(holder);
    return status;
}

static enum status pause_all(struct pg *pg, const struct policies_switch *how, size_t *paused, struct error *error)
{
    struct policy_list list = {0};
    enum status status = policies_read(pg, how->ledger, how->table, &list, error);

    if (status == STATUS_OK)
        status = policies_check_rights(&list, how->table, error);
    for (size_t i = 0; i < list.count && status == STATUS_OK; i++) {
        const struct policy_job *job = &list.items[i];

        if (!job->scheduled && job->since == NULL)
            continue;
        if (job->scheduled)
            status = record(pg, how, job, error);
        if (status == STATUS_OK && job->scheduled)
            status = switch_job(pg, &list, job, false, error);
        if (status == STATUS_OK)
            status = join_in(pg, how, job, error);
        ++*paused;
    }
    policies_reset(&list);
    return status;
}

enum status policies_pause(struct pg *pg, const struct policies_switch *how, size_t *paused, struct error *error)
{
    enum status status = prepare_tables(pg, how->ledger, error);

    *paused = 0;
    if (status == STATUS_OK)
        status = pg_run(pg, BEGIN_LOCKED, NULL, error);
    if (status == STATUS_OK)
        status = pause_all(pg, how, paused, error);
    return commit(pg, status, error);
}

enum status policies_wait(struct pg *pg, const struct ledger *ledger, const struct table *table, struct stop *stop,
                          struct error *error)
{
    int64_t pause_ms = LOOK_FIRST_MS;
    int told = 0;

    for (;;) {
        struct policy_list list;
        char text[POLICY_TEXT_MAX] = "";
        int running = 0;
        enum status status = policies_read(pg, ledger, table, &list, error);

        for (size_t i = 0; i < list.count && running == 0; i++)
            if (list.items[i].running && list.items[i].since != NULL) {
                running = list.items[i].id;
                policy_text(&list.items[i], text);
            }
        policies_reset(&list);
        if (status != STATUS_OK || running == 0)
            return status;
        if (running != told)
            log_line(LOG_NOTICE, "waiting for the %s, which is running", text);
        told = running;
        if (stop_wait(stop, pause_ms, STOP_DRAIN))
            return error_set(error, STATUS_STOPPED, "stopped while waiting for the %s", text);
        pause_ms = pause_ms * 2 < LOOK_MAX_MS ? pause_ms * 2 : LOOK_MAX_MS;
    }
}

/* Ours, those of the dead, and on demand of people. */
static enum status let_go(struct pg *pg, const struct policies_switch *how, bool hands, struct error *error)
{
    char *policy = ledger_state_table(how->ledger, "policy"), *hold = ledger_state_table(how->ledger, "policy_hold");
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "DELETE FROM %s h WHERE (NOT " POLICIES_ALIVE, hold);
    if (hands)
        sql_add(&sql, " OR h.key = 0");
    sql_add(&sql, ") AND h.job_id IN (SELECT p.job_id FROM %s p WHERE p.table_oid = %u)", policy, how->table->oid);
    /* Jobs of an aggregate may have been paused by the run of its hypertable, and be held by its own, too. */
    if (how->key != 0)
        sql_add(&sql, " OR h.key = %d", how->key);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    free(policy);
    free(hold);
    return status;
}

/* Rows of jobs that are gone, with what holds them. */
static enum status forget(struct pg *pg, const struct policies_switch *how, int id, struct error *error)
{
    char *policy = ledger_state_table(how->ledger, "policy"), *hold = ledger_state_table(how->ledger, "policy_hold");
    struct sql where = {0};
    enum status status;

    if (id != 0)
        sql_add(&where, "job_id = %d", id);
    else
        sql_add(&where, "job_id NOT IN (SELECT j.job_id FROM timescaledb_information.jobs j)");
    status = pg_runf(pg, NULL, error, "DELETE FROM %s WHERE %s; DELETE FROM %s WHERE %s", policy, where.text, hold,
                     where.text);
    sql_reset(&where);
    free(policy);
    free(hold);
    return status;
}

/* Whether a chunk that retention would drop has rows that were loaded, and all that it would drop of these. */
static bool would_drop(const struct table *table, const struct range *ranges, size_t count, int64_t horizon,
                       struct range *dropped)
{
    bool any = false;

    for (size_t i = 0; i < table->cell_count; i++) {
        struct range cell = table->cells[i];

        for (size_t j = 0; cell.hi <= horizon && j < count; j++) {
            struct range both = {cell.lo > ranges[j].lo ? cell.lo : ranges[j].lo,
                                 cell.hi < ranges[j].hi ? cell.hi : ranges[j].hi};

            if (both.lo >= both.hi)
                continue;
            if (!any || both.lo < dropped->lo)
                dropped->lo = both.lo;
            if (!any || both.hi > dropped->hi)
                dropped->hi = both.hi;
            any = true;
        }
    }
    return any;
}

/* What it was withheld for before is remembered with it: the ledger may have been cleaned since. */
static enum status add_kept(struct pg *pg, const struct policies_switch *how, const struct policy_job *job,
                            struct range **ranges, size_t *count, struct error *error)
{
    char *policy = ledger_state_table(how->ledger, "policy");
    struct range *all = realloc(*ranges, (*count + 1) * sizeof *all);
    PGresult *result = NULL;
    enum status status;

    if (all != NULL)
        *ranges = all;
    status = all == NULL ? error_set(error, STATUS_SYSTEM, "out of memory")
                         : pg_runf(pg, &result, error,
                                   "SELECT keep_lo, keep_hi FROM %s WHERE job_id = %d AND keep_lo IS NOT NULL", policy,
                                   job->id);
    if (status == STATUS_OK && PQntuples(result) == 1)
        all[(*count)++] =
            (struct range){strtoll(PQgetvalue(result, 0, 0), NULL, 10), strtoll(PQgetvalue(result, 0, 1), NULL, 10)};
    PQclear(result);
    free(policy);
    return status;
}

static enum status keep(struct pg *pg, const struct policies_switch *how, const struct policy_job *job,
                        struct range range, struct error *error)
{
    char *policy = ledger_state_table(how->ledger, "policy");
    enum status status =
        pg_runf(pg, NULL, error, "UPDATE %s SET keep_lo = '%" PRId64 "', keep_hi = '%" PRId64 "' WHERE job_id = %d",
                policy, range.lo, range.hi, job->id);

    free(policy);
    return status;
}

/* `table` is what the policy works on. */
static enum status find_dropped(struct pg *pg, const struct policies_switch *how, const struct policy_job *job,
                                struct table *table, bool *any, struct range *dropped, struct error *error)
{
    struct range *ranges = NULL;
    size_t count = 0;
    enum status status = table_refresh_cells(pg, table, error);

    if (status == STATUS_OK)
        status = loaded_ranges(pg, how->ledger, table, "", &ranges, &count, error);
    if (status == STATUS_OK)
        status = add_kept(pg, how, job, &ranges, &count, error);
    *any = status == STATUS_OK && would_drop(table, ranges, count, job->horizon, dropped);
    free(ranges);
    return status;
}

/* A continuous aggregate, of which the caller has no description. */
static enum status find_dropped_of(struct pg *pg, const struct policies_switch *how, struct policy_job *job,
                                   struct table *table, bool *any, struct range *dropped, struct error *error)
{
    enum status status = table_describe(pg, job->stored, NULL, true, table, error);

    if (status == STATUS_OK)
        status = policies_read_horizon(pg, table, job, error);
    return status == STATUS_OK && job->has_horizon ? find_dropped(pg, how, job, table, any, dropped, error) : status;
}

static enum status must_stay_off(struct pg *pg, const struct policies_switch *how, struct policy_job *job, bool *off,
                                 struct error *error)
{
    /* Its chunks as they are now; the caller's table is left as it was. */
    struct table table = *how->table, other = {0}, *which = job->own ? &table : &other;
    char text[POLICY_TEXT_MAX], range[TABLE_RANGE_TEXT_MAX];
    struct range dropped = {0};
    enum status status;

    *off = false;
    if (job->kind != POLICY_RETENTION || job->drop_after == NULL || (job->own && !job->has_horizon) || how->allow_drop)
        return STATUS_OK;
    table.cells = NULL;
    table.cell_rows = table.cell_bytes = NULL;
    table.cell_count = 0;
    status = job->own ? find_dropped(pg, how, job, &table, off, &dropped, error)
                      : find_dropped_of(pg, how, job, &other, off, &dropped, error);
    if (status == STATUS_OK && *off) {
        log_line(
            LOG_WARNING,
            "the %s stays off: it would drop rows that were loaded, in %s. Once they may go, or drop_after is longer:"
            " hyperfill policies restore --target … --table %s.%s [--allow-drop]",
            policy_text(job, text), table_range_text(which, dropped, range), how->table->schema, how->table->name);
        status = keep(pg, how, job, dropped, error);
    }
    table_reset(&other);
    free(table.cells);
    free(table.cell_rows);
    free(table.cell_bytes);
    return status;
}

static enum status restore_one(struct pg *pg, const struct policies_switch *how, const struct policy_list *list,
                               struct policy_job *job, struct policies_restored *restored, struct error *error)
{
    char text[POLICY_TEXT_MAX];
    bool off = false;
    enum status status = STATUS_OK;

    if (job->runs + job->hands > 0) {
        restored->held++;
        return STATUS_OK;
    }
    if (job->scheduled) {
        restored->overridden++;
        log_line(LOG_NOTICE, "the %s was switched on by somebody else meanwhile", policy_text(job, text));
        return forget(pg, how, job->id, error);
    }
    status = must_stay_off(pg, how, job, &off, error);
    restored->withheld += off;
    if (status != STATUS_OK || off)
        return status;
    status = switch_job(pg, list, job, true, error);
    restored->on++;
    return status == STATUS_OK ? forget(pg, how, job->id, error) : status;
}

static enum status restore_all(struct pg *pg, const struct policies_switch *how, bool hands,
                               struct policies_restored *restored, struct error *error)
{
    struct policy_list list = {0};
    enum status status = let_go(pg, how, hands, error);

    if (status == STATUS_OK)
        status = forget(pg, how, 0, error);
    if (status == STATUS_OK)
        status = policies_read(pg, how->ledger, how->table, &list, error);
    for (size_t i = 0; i < list.count && status == STATUS_OK; i++)
        if (list.items[i].since != NULL)
            status = restore_one(pg, how, &list, &list.items[i], restored, error);
    policies_reset(&list);
    return status;
}

/* The lock of a holder is had when its server process has noticed that its client is gone; or else it lives. */
static enum status outlast(struct pg *pg, const char *key, struct error *error)
{
    enum status status = pg_runf(pg, NULL, error,
                                 "BEGIN; SET LOCAL lock_timeout = '" DYING
                                 "'; SELECT pg_catalog.pg_advisory_xact_lock_shared(%d, %s); COMMIT",
                                 POLICIES_LOCK_CLASS, key);

    if (status == STATUS_OK)
        return STATUS_OK;
    pg_rollback(pg);
    if (strcmp(error->sqlstate, "55P03") != 0)
        return status;
    error_reset(error);
    return STATUS_OK;
}

static enum status wait_for_the_dying(struct pg *pg, const struct policies_switch *how, struct error *error)
{
    char *policy = ledger_state_table(how->ledger, "policy"), *hold = ledger_state_table(how->ledger, "policy_hold");
    PGresult *keys = NULL;
    enum status status = pg_runf(pg, &keys, error,
                                 "SELECT DISTINCT h.key FROM %s h JOIN %s p USING (job_id) WHERE p.table_oid = %u"
                                 " AND h.key NOT IN (0, %d) AND " POLICIES_ALIVE,
                                 hold, policy, how->table->oid, how->key);

    for (int i = 0; status == STATUS_OK && i < PQntuples(keys); i++)
        status = outlast(pg, PQgetvalue(keys, i, 0), error);
    PQclear(keys);
    free(policy);
    free(hold);
    return status;
}

enum status policies_restore(struct pg *pg, const struct policies_switch *how, bool hands,
                             struct policies_restored *restored, struct error *error)
{
    bool exist;
    enum status status = policies_exist(pg, how->ledger, &exist, error);

    *restored = (struct policies_restored){0};
    if (status != STATUS_OK || !exist)
        return status;
    if (how->waits)
        status = wait_for_the_dying(pg, how, error);
    if (status == STATUS_OK)
        status = pg_run(pg, BEGIN_LOCKED, NULL, error);
    if (status == STATUS_OK)
        status = restore_all(pg, how, hands, restored, error);
    return commit(pg, status, error);
}
