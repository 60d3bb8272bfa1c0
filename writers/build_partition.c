/*
 * The way `partition`, for natively partitioned tables, PostgreSQL 12 and later: rows of an empty partition are loaded
 * into a table beside it that has no index; when all are in, that table gets the partition's indexes and constraints,
 * sorted, and takes its place.
 *
 *     begin:    CREATE TABLE … (LIKE the partition), with a CHECK on its bounds that spares ATTACH the look at each row
 *     publish:  indexes, constraints, privileges                              (nobody is held up)
 *               LOCK table, partition; rows that others have put there come along; DROP; RENAME; ATTACH
 *
 * What the server keeps on the partition is read as one text before it is dropped and from what took its place: unless
 * both are the same, the exchange is undone. Whatever stands in the way of it (a lock that is not to be had, a trigger
 * that is there all of a sudden), the rows are inserted through the table instead, as append would have done.
 */
#include "writers/build_partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

/* Rows that come along do so under the lock. */
#define MOVED_BYTES_MAX (INT64_C(4) << 20)
/* Whoever waits for a lock holds up all who come after: for a second each time. */
#define LOCK_TIMEOUT "1s"
#define LOCK_ATTEMPTS 5
/* Tables that foreign keys refer to, which other writers of ours may be about to do, too. */
#define COMPLETE_LOCK_TIMEOUT "5s"

static enum status partition_suits(struct append_session *session, struct range cell, bool *suits, struct error *error)
{
    struct partition partition;
    enum status status = partition_find(session->pg, session->target->table, cell, &partition, error);

    *suits = status == STATUS_OK && partition.found && partition.refusal == NULL && partition.bytes == 0;
    if (status == STATUS_OK && partition.refusal != NULL)
        log_line(LOG_DEBUG, "%s is not built: %s", partition.sql, partition.refusal);
    partition_reset(&partition);
    return status;
}

/* One that is loaded in a single transaction is never in the way of one that another process has begun. */
static void name_table(const struct append_session *session, const struct build *build, char *name, size_t size)
{
    snprintf(name, size, "hyperfill_%.8s_%" PRId64 "%s", session->target->ledger->job, build->cell.lo,
             build_is_whole(session) ? "_whole" : "");
}

static enum status set_names(struct pg *pg, struct build *build, const struct partition *partition, const char *name,
                             struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class p JOIN pg_catalog.pg_class c"
            " ON c.relnamespace = p.relnamespace JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE p.oid = %u AND c.relname = ",
            partition->oid);
    sql_add_literal(&sql, name);
    status = pg_value(pg, sql.text, &build->relation, error);
    sql_reset(&sql);
    build->name = strdup(name);
    build->data = strdup(partition->sql);
    if (status == STATUS_OK && (build->name == NULL || build->data == NULL))
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    return status;
}

static enum status partition_begin(struct append_session *session, struct build *build, bool *worth,
                                   struct error *error)
{
    struct partition partition;
    struct partition_copy copy = {0};
    char name[64];
    enum status status = partition_find(session->pg, session->target->table, build->cell, &partition, error);

    *worth = status == STATUS_OK && partition.found && partition.refusal == NULL && partition.bytes == 0;
    if (*worth) {
        name_table(session, build, name, sizeof name);
        status = partition_copy(session->pg, session->target->table, build->cell, &partition, name, &copy, error);
        if (status == STATUS_OK)
            status = pg_run(session->pg, copy.create, NULL, error);
        if (status == STATUS_OK)
            status = set_names(session->pg, build, &partition, name, error);
        session->freeze = status == STATUS_OK && build_is_whole(session);
    }
    partition_copy_reset(&copy);
    partition_reset(&partition);
    return status;
}

/* ---- Publishing ---- */

static enum status check_portrait(struct append_session *session, const struct partition *partition,
                                  const struct partition_copy *copy, struct error *error)
{
    char *literal = pg_literal(partition->sql), *portrait = NULL;
    struct sql regclass = {0};
    enum status status;

    sql_add(&regclass, "pg_catalog.to_regclass(%s)", literal);
    status = partition_portrait(session->pg, regclass.text, &portrait, error);
    if (status == STATUS_OK && (portrait == NULL || strcmp(portrait, copy->portrait) != 0)) {
        log_line(LOG_DEBUG, "%s was %s", partition->sql, copy->portrait);
        log_line(LOG_DEBUG, "%s is %s", partition->sql, portrait != NULL ? portrait : "gone");
        status = error_set(error, STATUS_SERVER, "%s is not the same as before", partition->sql);
    }
    sql_reset(&regclass);
    free(literal);
    free(portrait);
    return status;
}

/* Somebody may have changed the partition until the lock was had. A check that waits for the commit would be in the
 * way. */
static enum status exchange(struct append_session *session, const char *relation, const struct partition *partition,
                            const struct partition_copy *copy, struct error *error)
{
    struct pg *pg = session->pg;
    enum status status =
        pg_runf(pg, NULL, error,
                "SET LOCAL lock_timeout = '" LOCK_TIMEOUT "'; LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE;"
                " LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE; LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE;"
                " SET CONSTRAINTS ALL IMMEDIATE",
                relation, session->target->table->sql, partition->sql);

    if (status == STATUS_OK)
        status = check_portrait(session, partition, copy, error);
    if (status == STATUS_OK)
        status = pg_run(pg, copy->exchange, NULL, error);
    return status == STATUS_OK ? check_portrait(session, partition, copy, error) : status;
}

static bool is_lock(const struct error *error)
{
    return strcmp(error->sqlstate, "55P03") == 0 || strcmp(error->sqlstate, "40P01") == 0;
}

/* *done false: it could not be, and nothing was done. */
static enum status try_exchange(struct append_session *session, const char *relation, const struct partition *partition,
                                const struct partition_copy *copy, bool *done, struct error *error)
{
    struct error reason;
    enum status status = STATUS_OK;

    *done = false;
    for (int i = 0; i < LOCK_ATTEMPTS && status == STATUS_OK && !*done; i++) {
        error_reset(&reason);
        status = pg_run(session->pg, "SAVEPOINT hyperfill_exchange", NULL, error);
        if (status != STATUS_OK)
            break;
        *done = exchange(session, relation, partition, copy, &reason) == STATUS_OK;
        if (*done)
            break;
        if (!pg_connected(session->pg) || reason.status == STATUS_STOPPED) {
            *error = reason;
            return reason.status;
        }
        status = pg_run(session->pg, "ROLLBACK TO SAVEPOINT hyperfill_exchange", NULL, error);
        if (!is_lock(&reason))
            break;
    }
    if (status == STATUS_OK && !*done)
        log_line(LOG_NOTICE, "%s cannot be exchanged, its rows are inserted: %s", partition->sql, reason.text);
    return status;
}

/* Its indexes and all else. *done false: it cannot be, and nothing was done. Rows that violate a constraint would do so
 * anywhere: that is an error. */
static enum status complete(struct append_session *session, const struct partition *partition,
                            const struct partition_copy *copy, bool *done, struct error *error)
{
    struct error reason;
    enum status status = pg_run(
        session->pg, "SAVEPOINT hyperfill_complete; SET LOCAL lock_timeout = '" COMPLETE_LOCK_TIMEOUT "'", NULL, error);

    *done = true;
    if (status != STATUS_OK || copy->complete == NULL)
        return status;
    error_reset(&reason);
    if (pg_run(session->pg, copy->complete, NULL, &reason) == STATUS_OK)
        return STATUS_OK;
    if (reason.status != STATUS_SERVER || !pg_connected(session->pg)) {
        *error = reason;
        return reason.status;
    }
    *done = false;
    log_line(LOG_NOTICE, "%s cannot be made again, its rows are inserted: %s", partition->sql, reason.text);
    return pg_run(session->pg, "ROLLBACK TO SAVEPOINT hyperfill_complete", NULL, error);
}

static enum status exchange_partition(struct append_session *session, struct build *build,
                                      const struct partition *partition, bool *done, struct error *error)
{
    struct partition_copy copy;
    enum status status =
        partition_copy(session->pg, session->target->table, build->cell, partition, build->name, &copy, error);

    *done = status == STATUS_OK;
    if (*done)
        status = complete(session, partition, &copy, done, error);
    if (status == STATUS_OK && *done)
        status = try_exchange(session, build->relation, partition, &copy, done, error);
    partition_copy_reset(&copy);
    return status;
}

static enum status partition_publish(struct append_session *session, struct build *build, struct error *error)
{
    struct partition partition;
    enum status status = partition_find(session->pg, session->target->table, build->cell, &partition, error);
    bool done = false;

    if (status == STATUS_OK && partition.found && partition.refusal == NULL && partition.bytes <= MOVED_BYTES_MAX)
        status = exchange_partition(session, build, &partition, &done, error);
    if (status == STATUS_OK && !done)
        status = pg_run(session->pg, "SET LOCAL lock_timeout = '60s'", NULL, error);
    if (status == STATUS_OK && !done)
        status = build_move_rows(session, build, error);
    if (status == STATUS_DATA && !build_is_whole(session))
        error_hint(error,
                   ". The rows are in the table %s: change there, or in %s, what is in the way and run the same command"
                   " again; or hyperfill clean forgets the job and these rows",
                   build->relation, session->target->table->sql);
    partition_reset(&partition);
    return status;
}

static enum status partition_abandon(struct pg *pg, const struct build *build, struct error *error)
{
    return pg_runf(pg, NULL, error, "DROP TABLE IF EXISTS %s", build->relation);
}

/* ---- Whether it is possible ---- */

static bool partition_concerns(const struct build_facts *facts)
{
    return facts->table->kind == TABLE_PARTITIONED;
}

static const char *partition_refuses(const struct build_facts *facts, const struct build_wish *wish)
{
    const struct partition_survey *survey = &facts->partitions;

    if (facts->table->server_version < 120000)
        return "it needs PostgreSQL 12 or later";
    if (survey->whole[0] != '\0')
        return survey->whole;
    if (wish->reject && (facts->unique_indexes > 0 || facts->foreign_keys > 0))
        return "--on-bad-row reject: which rows violate a unique constraint or a foreign key is known for each row only"
               " where these are there from the start";
    if (facts->identity_missing)
        return "the table gives the values of an identity column itself";
    if (survey->count == 0 && !wish->create_partitions)
        return "the table has no partition";
    return survey->count > 0 && survey->refused == survey->count ? survey->refusal : NULL;
}

/* Where rows of others in the cell are: the table's own locks are not for long. */
static const char *partition_place(const struct build *build)
{
    return build->data;
}

const struct build_way build_partition_way = {
    .name = "partition",
    .text = "rows of an empty partition go into a table that takes its place with all indexes once they are in",
    .aside = true,
    .concerns = partition_concerns,
    .refuses = partition_refuses,
    .suits = partition_suits,
    .begin = partition_begin,
    .publish = partition_publish,
    .abandon = partition_abandon,
    .place = partition_place,
};
