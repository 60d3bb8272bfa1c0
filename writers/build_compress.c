/*
 * The way `compress`: direct compress, for hypertables of the community edition that have a columnstore. The empty
 * chunk is compressed first, which fixes its settings, keeps others from taking it for empty, and spares the writers of
 * its pieces waiting for each other. Then each COPY makes batches of its rows.
 *
 *     begin: lock, compress_chunk (empty)     pieces: SET LOCAL …direct_compress…; COPY     publish: see below
 *
 * The server believes a client that says it sends rows in order, and queries rely on it: batches of one segment must
 * not overlap in the whole chunk. That holds if each range is written by one COPY in order, since ranges share no
 * moment. So it is said of the first piece of a range alone. Any other is sorted by the server, which then marks the
 * chunk as unordered; publishing compresses such a chunk, or one with rows outside of the columnstore, once more, and
 * has nothing to do for others. So whatever the server makes of the settings, which it may ignore with a mere warning,
 * chunks end up the same.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

enum status build_ask_chunks(struct append_session *session, struct range cell, const char *what, bool *answer,
                             struct error *error)
{
    PGresult *result = NULL;
    enum status status = build_query_chunks(session, cell, what, &result, error);

    *answer = status == STATUS_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return status;
}

static enum status all_empty(struct append_session *session, struct range cell, bool *empty, struct error *error)
{
    return build_ask_chunks(
        session, cell,
        " SELECT coalesce(bool_and(chunk.status = 0 AND pg_catalog.pg_relation_size(relid) = 0), false)"
        " FROM chunk",
        empty, error);
}

/* Whether the table's policy would compress the cell now. */
static enum status old_enough(struct append_session *session, struct range cell, bool *old, struct error *error)
{
    const struct table *table = session->target->table;
    char *found = NULL, hi[TIME_TEXT_MAX];
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT 1 FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'"
            " AND job_id = ANY ('%s') AND (hypertable_schema, hypertable_name) = (",
            session->target->policy_jobs != NULL ? session->target->policy_jobs : "{}");
    sql_add_literal(&sql, table->schema);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, table->name);
    sql_add(&sql, ") AND '%s'::%s <= now() - (config->>'compress_after')::interval LIMIT 1",
            time_format(table->time.type, cell.hi, hi), time_type_sql(table->time.type));
    status = pg_value(session->pg, sql.text, &found, error);
    sql_reset(&sql);
    *old = found != NULL;
    free(found);
    return status;
}

static enum status compress_suits(struct append_session *session, struct range cell, bool *suits, struct error *error)
{
    enum status status = all_empty(session, cell, suits, error);

    if (status == STATUS_OK && *suits && session->target->compress_by_policy)
        status = old_enough(session, cell, suits, error);
    return status;
}

/* Whether the server has settled for the order that we give rows in. */
static enum status check_order(struct append_session *session, struct range cell, bool *same, struct error *error)
{
    const struct build_order *order = builds_order(session->target->builds);
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, " SELECT coalesce(bool_and(s.segmentby = ARRAY[");
    for (int i = 0; i < order->count; i++) {
        sql_add(&sql, "%s", i > 0 ? ", " : "");
        sql_add_literal(&sql, order->columns[i]);
    }
    sql_add(&sql, "]::text[] AND s.orderby = ARRAY[");
    sql_add_literal(&sql, session->target->table->time_name);
    sql_add(&sql,
            "]::text[] AND s.orderby_desc = ARRAY[%s]), false) FROM chunk"
            " LEFT JOIN _timescaledb_catalog.compression_settings s ON s.relid = chunk.relid",
            order->descending ? "true" : "false");
    status = build_ask_chunks(session, cell, sql.text, same, error);
    sql_reset(&sql);
    return status;
}

static enum status compress_chunks(struct append_session *session, struct range cell, const char *which,
                                   struct error *error)
{
    PGresult *result = NULL;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, " SELECT relid::regclass::text FROM chunk WHERE %s ORDER BY relid", which);
    status = build_query_chunks(session, cell, sql.text, &result, error);
    sql_reset(&sql);
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++) {
        sql_add(&sql, "SELECT compress_chunk(");
        sql_add_literal(&sql, PQgetvalue(result, i, 0));
        sql_add(&sql, "::regclass, recompress => true)");
        status = pg_run(session->pg, sql.text, NULL, error);
        sql_reset(&sql);
    }
    PQclear(result);
    return status;
}

static enum status compress_begin(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    enum status status = pg_run(session->pg, "SET LOCAL lock_timeout = '1s'", NULL, error);

    *worth = false;
    if (status == STATUS_OK)
        status = build_lock_chunks(session, build->cell, error);
    if (status == STATUS_OK)
        status = all_empty(session, build->cell, worth, error);
    if (status == STATUS_OK && *worth)
        status = compress_chunks(session, build->cell, "true", error);
    if (status == STATUS_OK && *worth)
        status = check_order(session, build->cell, worth, error);
    return status;
}

/* Its rows in order, here; session->sorted says whether they are. */
static enum status sort_piece(struct append_session *session, const struct append_input *input, struct error *error)
{
    struct piece *piece = session->piece;
    struct records records;
    enum status status = STATUS_OK;

    if (session->sorter == NULL)
        status = sorter_create(session->target->sort_bytes_max, &session->sorter, error);
    if (status != STATUS_OK)
        return status;
    records_init(&records, piece, input->quote, input->escape, session->packer, pipeline_stats(session->pipeline));
    status = sorter_fill(session->sorter, input->sort, &records, piece_rows(piece), piece_bytes(piece),
                         &session->sorted, error);
    records_reset(&records);
    return status;
}

static enum status compress_enter(struct append_session *session, struct build *build, struct error *error)
{
    const struct append_input *input = append_input_of(session, session->piece);
    enum status status = STATUS_OK;

    (void)build;
    session->sorted = session->first && input->sorted;
    if (session->first && input->sort != NULL && !session->as_is && piece_spec(session->piece)->replayable)
        status = sort_piece(session, input, error);
    if (status != STATUS_OK)
        return status;
    /* The server's sort is bounded by its work_mem, not by a count of rows that would make small batches. */
    return pg_runf(session->pg, NULL, error,
                   "SELECT set_config(s.name, v, true) FROM (VALUES ('timescaledb.enable_direct_compress_copy', 'on'),"
                   " ('timescaledb.enable_direct_compress_copy_sort_batches', 'on'),"
                   " ('timescaledb.enable_direct_compress_copy_client_sorted', '%s'),"
                   " ('timescaledb.direct_compress_copy_tuple_sort_limit', '0')) x (n, v)"
                   " JOIN pg_catalog.pg_settings s ON s.name = n",
                   session->sorted ? "on" : "off");
}

#define IN_ORDER_LEFT "status & 2 <> 0 AND status & 8 = 0"

/*
 * From 2.29 on the server renames what a chunk is compressed in before it puts it in order, and locks the chunk last:
 * whoever reads meanwhile has locked the chunk and waits for the other, and one of both is ended for the deadlock. So
 * the chunk is locked first, for which readers wait no longer than they would.
 */
static enum status lock_for_order(struct append_session *session, struct range cell, struct error *error)
{
    PGresult *result = NULL;
    enum status status;

    if (!build_table_since(session->target->table, 2, 29, 0))
        return STATUS_OK;
    status = build_query_chunks(session, cell,
                                " SELECT relid::regclass::text FROM chunk WHERE " IN_ORDER_LEFT " ORDER BY relid",
                                &result, error);
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status =
            pg_runf(session->pg, NULL, error, "LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE", PQgetvalue(result, i, 0));
    PQclear(result);
    return status;
}

/* A chunk that is unordered and has rows outside first gets these in, and only then in order (status 11, 3, 1). */
enum status build_compress_rest(struct append_session *session, struct range cell, struct error *error)
{
    enum status status = compress_chunks(session, cell, "status <> 1 AND NOT (" IN_ORDER_LEFT ")", error);

    if (status == STATUS_OK)
        status = lock_for_order(session, cell, error);
    return status == STATUS_OK ? compress_chunks(session, cell, IN_ORDER_LEFT, error) : status;
}

static enum status compress_publish(struct append_session *session, struct build *build, struct error *error)
{
    return build_compress_rest(session, build->cell, error);
}

/* It has its indexes, and what is in it can be read. */
static enum status compress_abandon(struct pg *pg, const struct build *build, struct error *error)
{
    (void)pg;
    (void)build;
    (void)error;
    return STATUS_OK;
}

static bool compress_concerns(const struct build_facts *facts)
{
    return facts->table->kind == TABLE_HYPERTABLE;
}

const char *build_refuse_columnstore(const struct build_facts *facts)
{
    if (!facts->table->community)
        return "only TimescaleDB's community edition has a columnstore";
    if (!build_since(facts, 2, 14))
        return "it needs TimescaleDB 2.14";
    return facts->columnstore ? NULL : "the table has no columnstore: ALTER TABLE … SET (timescaledb.compress, …)";
}

/* What makes the server fall back to rows without an error, or makes compressed rows wrong. */
static const char *refuse_direct(const struct build_facts *facts)
{
    if (!facts->direct_compress || !build_since(facts, 2, 24))
        return "it needs TimescaleDB 2.24";
    if (facts->unique_indexes > 0)
        return "unique indexes and keys keep the server from compressing rows as they come";
    if (facts->triggers > 0 || facts->foreign_keys > 0)
        return "triggers and foreign keys keep the server from compressing rows as they come";
    if (facts->checks > 0 && !build_since_patch(facts, 2, 28, 1))
        return "before TimescaleDB 2.28.1 constraints are not checked then";
    if (facts->generated > 0 && !build_since_patch(facts, 2, 25, 2))
        return "before TimescaleDB 2.25.2 generated columns stay empty then";
    return NULL;
}

static const char *compress_refuses(const struct build_facts *facts, const struct build_wish *wish)
{
    const char *refusal = build_refuse_columnstore(facts);

    if (refusal == NULL)
        refusal = refuse_direct(facts);
    if (refusal == NULL && !facts->order.known)
        refusal = "rows can only be sent in order where compress_segmentby is set, to integers and texts, and rows are"
                  " ordered by time alone";
    if (refusal == NULL && wish->unsorted != NULL)
        refusal = wish->unsorted;
    if (refusal == NULL && wish->compress == BUILD_COMPRESS_AUTO &&
        (!facts->compress_policy || time_type_is_integer(facts->table->time.type)))
        refusal = "no policy compresses chunks by their age: done only if asked for by --strategy compress";
    return refusal;
}

const struct build_way build_compress_way = {
    .name = "compress",
    .text = "rows are compressed as they come, in order",
    .compresses = true,
    .concerns = compress_concerns,
    .refuses = compress_refuses,
    .suits = compress_suits,
    .begin = compress_begin,
    .enter = compress_enter,
    .publish = compress_publish,
    .abandon = compress_abandon,
};
