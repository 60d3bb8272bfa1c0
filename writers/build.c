/* A cell that is built, from piece to piece until it is published. */
#include <string.h>

#include "engine/log.h"
#include "writers/build_private.h"

const struct build_way *const build_ways[] = {
    &build_compress_way,
    &build_compress_after_way,
    &build_attach_way,
    &build_indexes_way,
    &build_partition_way,
    &build_table_way,
    NULL,
};

const struct build_way *build_way_named(const char *name)
{
    for (size_t i = 0; build_ways[i] != NULL; i++)
        if (strcmp(build_ways[i]->name, name) == 0)
            return build_ways[i];
    return NULL;
}

enum status build_begin_transaction(struct append_session *session, struct error *error)
{
    return pg_run(session->pg, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", NULL, error);
}

bool build_is_fatal(const struct append_session *session, const struct error *error)
{
    bool locked = strcmp(error->sqlstate, "55P03") == 0 || strcmp(error->sqlstate, "40P01") == 0;

    return (error->status == STATUS_TRANSIENT && !locked) || error->status == STATUS_STOPPED ||
           error->status == STATUS_SYSTEM || !pg_connected(session->pg);
}

/* A state that only the caller can change. */
bool build_is_whole(const struct append_session *session)
{
    return session->build != NULL && builds_state(session->target->builds, session->build) == BUILD_WHOLE;
}

/* A whole cell that cannot be built after all is appended by the next attempt, which also finds what is wrong with a
 * row. */
static enum status heed_failure(struct append_session *session, enum status status, const struct error *error)
{
    if (status != STATUS_OK && build_is_whole(session) && !build_is_fatal(session, error)) {
        log_line(LOG_DEBUG, "a chunk of %s is not built: %s", session->target->table->sql, error->text);
        session->unbuilt = true;
    }
    return status;
}

enum status build_enter(struct append_session *session, struct error *error)
{
    struct build *build = session->build;
    bool there = true;
    enum status status;

    if (build_is_whole(session))
        status = heed_failure(session, build->way->begin(session, build, &there, error), error);
    else
        status = build_ledger_hold(session, build, &there, error);
    session->entered = status == STATUS_OK && there;
    if (session->entered && build->way->enter != NULL)
        status = build->way->enter(session, build, error);
    return status;
}

enum status build_exit(struct append_session *session, struct error *error)
{
    struct build *build = session->build;

    if (!build_is_whole(session))
        return STATUS_OK;
    return heed_failure(session, build->way->publish(session, build, error), error);
}

static enum status publish(struct append_session *session, struct build *build, struct error *error)
{
    bool there = false;
    enum status status = pg_connect(session->pg, error);

    if (status == STATUS_OK)
        status = build_begin_transaction(session, error);
    if (status == STATUS_OK)
        status = build_ledger_remove(session, build, &there, error);
    if (status == STATUS_OK && there)
        status = build->way->publish(session, build, error);
    if (status == STATUS_OK)
        status = ledger_commit_plain(session->pg, error);
    if (status != STATUS_OK)
        pg_rollback(session->pg);
    return status;
}

static void add_place(const struct table *table, const struct build *build, struct error *error)
{
    char range[TABLE_RANGE_TEXT_MAX];

    error_prefix(error, "%s %s, all its rows are in, but not yet %s", table->sql,
                 range_is_rejects(build->cell) ? "as a whole" : table_range_text(table, build->cell, range),
                 build->way->aside        ? "part of the table"
                 : build->way->compresses ? "compressed"
                                          : "its indexes");
}

/* Publishes a cell that the caller has set to BUILD_PUBLISHING. */
static enum status publish_claimed(struct append_session *session, struct build *build, struct error *error)
{
    struct stats *stats = pipeline_stats(session->pipeline);
    enum status status = publish(session, build, error);

    builds_set(session->target->builds, build, status == STATUS_OK ? BUILD_NONE : BUILD_OPEN);
    if (status == STATUS_OK) {
        stats_add(&stats->builds_open, -1);
        stats_add(&stats->builds_done, 1);
    } else {
        add_place(session->target->table, build, error);
    }
    return status;
}

void build_leave(struct append_session *session, struct piece *piece, bool committed)
{
    struct builds *builds = session->target->builds;
    struct build *build = session->build;
    bool whole = build_is_whole(session), unbuilt = session->unbuilt;
    struct error error;

    session->build = NULL;
    session->entered = session->freeze = session->unbuilt = session->sorted = false;
    if (build == NULL)
        return;
    if (whole) {
        build_reset(build);
        if (committed)
            stats_add(&pipeline_stats(session->pipeline)->builds_done, 1);
        builds_set(builds, build, committed || unbuilt ? BUILD_NONE : BUILD_UNDECIDED);
        return;
    }
    if (!committed || pipeline_cell_busy(session->pipeline, piece) || !builds_claim_open(builds, build))
        return;
    error_reset(&error);
    if (publish_claimed(session, build, &error) != STATUS_OK)
        log_line(LOG_DEBUG, "%s; once more at the end", error.text);
}

enum status build_finish(struct append_session *session, struct error *error)
{
    struct builds *builds = session->target->builds;
    enum status status = STATUS_OK;
    struct build *build;

    while (builds != NULL && status == STATUS_OK && stop_level(builds_stop(builds)) == STOP_RUN &&
           (build = builds_claim_next(builds)) != NULL)
        status = publish_claimed(session, build, error);
    return status;
}
