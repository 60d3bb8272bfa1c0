/*
 * The way `compress-after`, for what cannot be compressed as it comes: the chunk is loaded in the way `indexes` if it
 * is empty, else as it is, and is compressed when its rows are in. Indexes are made again behind that, when there is
 * nothing left to index.
 */
#include "writers/build_private.h"

static enum status after_suits(struct append_session *session, struct range cell, bool *suits, struct error *error)
{
    return build_ask_chunks(session, cell, " SELECT count(*) > 0 FROM chunk", suits, error);
}

static enum status after_begin(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    bool bare = build_table_since(session->target->table, 2, 22, 0);
    enum status status = STATUS_OK;

    if (bare)
        status = build_indexes_way.suits(session, build->cell, &bare, error);
    if (status == STATUS_OK && bare)
        status = build_indexes_way.begin(session, build, worth, error);
    *worth = status == STATUS_OK;
    return status;
}

static enum status after_publish(struct append_session *session, struct build *build, struct error *error)
{
    enum status status = build_compress_rest(session, build->cell, error);

    return status == STATUS_OK ? build_indexes_way.publish(session, build, error) : status;
}

static enum status after_abandon(struct pg *pg, const struct build *build, struct error *error)
{
    return build_indexes_way.abandon(pg, build, error);
}

static bool after_concerns(const struct build_facts *facts)
{
    return facts->table->kind == TABLE_HYPERTABLE;
}

static const char *after_refuses(const struct build_facts *facts, const struct build_wish *wish)
{
    (void)wish;
    return build_refuse_columnstore(facts);
}

const struct build_way build_compress_after_way = {
    .name = "compress-after",
    .text = "chunks are compressed once their rows are in",
    .compresses = true,
    .concerns = after_concerns,
    .refuses = after_refuses,
    .suits = after_suits,
    .begin = after_begin,
    .publish = after_publish,
    .abandon = after_abandon,
};
