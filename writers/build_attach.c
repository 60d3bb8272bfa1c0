/*
 * The way `attach`, for hypertables of the community edition whose chunk is missing: its rows go into a table of its
 * own, which gets its indexes and constraints sorted, when the rows are there, and becomes the chunk.
 *
 *     CREATE TABLE (LIKE hypertable) ─► COPY ─► constraints, indexes ─► create_chunk(…, chunk_table)
 *
 * create_chunk moves the table where chunks are and names it like one; attach_chunk, which is the same within the
 * server, would leave it where it is. From 2.22.1 on it finds that the indexes and constraints are there already and
 * looks through the rows for such as do not belong to the range. Before 2.21 it does neither: the bare table is handed
 * over, and the rows are looked through here. In between it looks at wrong columns where some were dropped.
 *
 * Where somebody made a chunk of the range meanwhile, or the table was altered, the rows are moved into the hypertable
 * in the same transaction instead.
 *
 * Until 2.29.1 columns of a chunk made so count as its own: when they are dropped from the hypertable later they stay
 * in the chunk, which then takes no row any more ("could not convert row type"). So this is not done unasked there.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "writers/build_attach.h"

/* Whether the version finds what is there already. */
static bool matches(const struct table *table)
{
    return build_table_since(table, 2, 22, 1);
}

/* Nobody but us puts anything into the ledger's schema; where we may not, the table's may do. */
static enum status find_schema(struct append_session *session, char **schema, struct error *error)
{
    const struct append_target *target = session->target;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname IN (");
    sql_add_literal(&sql, target->ledger->schema);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, target->table->schema);
    sql_add(&sql, ") AND pg_catalog.has_schema_privilege(oid, 'CREATE') ORDER BY nspname <> ");
    sql_add_literal(&sql, target->ledger->schema);
    sql_add(&sql, " LIMIT 1");
    status = pg_value(session->pg, sql.text, schema, error);
    sql_reset(&sql);
    return status;
}

/* The cell is new if no chunk has any of its range. */
static enum status attach_suits(struct append_session *session, struct range cell, bool *suits, struct error *error)
{
    const struct table *table = session->target->table;
    char *schema = NULL, *taken = NULL;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT 1 FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d"
                  " ON d.hypertable_id = h.id JOIN _timescaledb_catalog.dimension_slice s ON s.dimension_id = d.id"
                  " WHERE (h.schema_name, h.table_name) = (");
    sql_add_literal(&sql, table->schema);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, table->name);
    sql_add(&sql, ") AND s.range_start < '%" PRId64 "' AND s.range_end > '%" PRId64 "' LIMIT 1", cell.hi, cell.lo);
    status = pg_value(session->pg, sql.text, &taken, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        status = find_schema(session, &schema, error);
    *suits = status == STATUS_OK && taken == NULL && schema != NULL;
    free(schema);
    free(taken);
    return status;
}

/*
 * One transaction for all of the cell: the rows can be frozen as they come, unless some may have to be taken back one
 * by one. Several: what is not unique must be found out with the piece that brings it, not when all are committed.
 */
static enum status attach_begin(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    const struct append_target *target = session->target;
    struct sql name = {0};
    bool whole = build->state == BUILD_WHOLE;
    char *schema = NULL;
    enum status status = find_schema(session, &schema, error);

    *worth = status == STATUS_OK && schema != NULL;
    if (!*worth)
        return status;
    sql_add(&name, "hyperfill_%.8s_%" PRId64, target->ledger->job, build->cell.lo);
    build_reset(build);
    build->relation = pg_qualified(schema, name.text);
    free(schema);
    build->name = name.text;
    status = attach_make_table(session, build, error);
    if (status == STATUS_OK && !whole && matches(target->table))
        status = attach_make_indexes(session, build, true, error);
    session->freeze = status == STATUS_OK && whole && !target->reject;
    return status;
}

/* What create_chunk finds out by itself from 2.21 on. */
static enum status check_range(struct append_session *session, const struct build *build, struct error *error)
{
    struct sql sql = {0};
    char *stray = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM %s WHERE NOT (", build->relation);
    table_add_where(&sql, session->target->table, build->cell);
    sql_add(&sql, ") LIMIT 1");
    status = pg_value(session->pg, sql.text, &stray, error);
    sql_reset(&sql);
    if (status == STATUS_OK && stray != NULL)
        status = error_set(error, STATUS_DATA, "rows do not belong to the chunk they were loaded for");
    free(stray);
    return status;
}

static enum status create_chunk(struct append_session *session, const struct build *build, struct error *error)
{
    const struct table *table = session->target->table;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT created FROM _timescaledb_functions.create_chunk(");
    sql_add_literal(&sql, table->sql);
    sql_add(&sql, "::pg_catalog.regclass, pg_catalog.jsonb_build_object(");
    sql_add_literal(&sql, table->time_name);
    sql_add(&sql,
            "::text, pg_catalog.jsonb_build_array('%" PRId64 "'::bigint, '%" PRId64 "'::bigint)), chunk_table => ",
            build->cell.lo, build->cell.hi);
    sql_add_literal(&sql, build->relation);
    sql_add(&sql, "::pg_catalog.regclass)");
    status = pg_run(session->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

static enum status attach_publish(struct append_session *session, struct build *build, struct error *error)
{
    bool knows = matches(session->target->table);
    struct error reason;
    enum status status = knows ? attach_make_indexes(session, build, false, error) : check_range(session, build, error);

    if (status == STATUS_OK)
        status = attach_drop_defaults(session, build, error);
    if (status == STATUS_OK)
        status = pg_run(session->pg, "SAVEPOINT hyperfill_attach", NULL, error);
    if (status != STATUS_OK)
        return status;
    error_reset(&reason);
    status = create_chunk(session, build, &reason);
    if (status == STATUS_OK)
        return status;
    if (status == STATUS_STOPPED || status == STATUS_TRANSIENT || status == STATUS_SYSTEM) {
        *error = reason;
        return status;
    }
    log_line(LOG_DEBUG, "a chunk of %s is there meanwhile, or cannot be attached (%s): its rows are moved",
             session->target->table->sql, reason.text);
    status = pg_run(session->pg, "ROLLBACK TO SAVEPOINT hyperfill_attach", NULL, error);
    return status == STATUS_OK ? build_move_rows(session, build, error) : status;
}

static enum status attach_abandon(struct pg *pg, const struct build *build, struct error *error)
{
    return pg_runf(pg, NULL, error, "DROP TABLE IF EXISTS %s", build->relation);
}

static bool attach_concerns(const struct build_facts *facts)
{
    return facts->table->kind == TABLE_HYPERTABLE;
}

static const char *attach_refuses(const struct build_facts *facts, const struct build_wish *wish)
{
    if (!facts->table->community)
        return "only TimescaleDB's community edition takes a table as a chunk";
    if (!build_since(facts, 2, 12) || (build_since(facts, 2, 21) && !build_since_patch(facts, 2, 22, 1)))
        return "it needs TimescaleDB 2.22.1, or one from 2.12 to 2.20";
    if (wish->rule != BUILD_RULE_ALWAYS && !build_since_patch(facts, 2, 29, 1))
        return "before TimescaleDB 2.29.1 a column that is dropped from the table stays in a chunk made so and makes "
               "it "
               "unusable: done only if asked for by --strategy build";
    if (facts->table->dimensions != 1)
        return "the table has space partitions";
    if (!facts->own)
        return "the table's owner is another role";
    if (facts->continuous_aggregates)
        return "the table's continuous aggregates would not hear of its rows";
    if (facts->insert_triggers > 0)
        return "the table's triggers would not see its rows";
    if (facts->row_security)
        return "the table has row security";
    if (facts->tablespaces || facts->chunk_skipping || !facts->heap)
        return "the table has tablespaces of its own for chunks, chunk skipping or another access method";
    if (wish->reject && (facts->unique_indexes > 0 || facts->foreign_keys > 0))
        return "bad rows are to be told apart, which takes the table's unique indexes and foreign keys for each row";
    return NULL;
}

const struct build_way build_attach_way = {
    .name = "attach",
    .text = "new chunks are tables of their own until their rows and indexes are in, then attached",
    .aside = true,
    .concerns = attach_concerns,
    .refuses = attach_refuses,
    .suits = attach_suits,
    .begin = attach_begin,
    .publish = attach_publish,
    .abandon = attach_abandon,
};
