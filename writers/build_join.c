/* Whether a cell is built, and how: decided when its first piece comes. */
#include <assert.h>
#include <string.h>

#include "engine/log.h"
#include "writers/build_private.h"

/* Building pays for its own statements from some size on. What is not known to be small is not. */
static bool is_small(const struct append_session *session, const struct piece *piece, bool busy)
{
    int64_t rows = piece_spec(piece)->rows_estimate;

    return !busy && rows >= 0 && rows < builds_rows_min(session->target->builds);
}

/* Finds a way that suits the cell; NULL in it if there is none. */
static enum status choose(struct append_session *session, struct piece *piece, const struct span *first,
                          struct build *build, struct error *error)
{
    const struct build_plan *plan = builds_plan(session->target->builds);
    enum status status = STATUS_OK;
    bool suits = false;

    for (int i = 0; i < plan->count && status == STATUS_OK && !suits; i++) {
        build->way = plan->ways[i];
        if (!build->way->aside && !ahead_known(session->target, piece_spec(piece)->place.range))
            status = ahead_make(session, piece, first, error);
        if (status == STATUS_OK)
            status = build->way->suits(session, build->cell, &suits, error);
    }
    if (!suits)
        build->way = NULL;
    return status;
}

static enum status begin_build(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    bool there = false;
    enum status status = build_begin_transaction(session, error);

    *worth = true;
    if (status == STATUS_OK)
        status = build_ledger_add(session, build, &there, error);
    if (status == STATUS_OK && !there) {
        status = build->way->begin(session, build, worth, error);
        if (status == STATUS_OK && *worth)
            status = build_ledger_set(session, build, error);
    }
    if (status == STATUS_OK && *worth)
        status = ledger_commit_plain(session->pg, error);
    if (status != STATUS_OK || !*worth)
        pg_rollback(session->pg);
    return status;
}

/* What becomes of the cell. */
static enum status decide(struct append_session *session, struct piece *piece, const struct span *first,
                          struct build *build, enum build_state *state, struct error *error)
{
    bool busy = pipeline_cell_busy(session->pipeline, piece), worth = false;
    enum status status;

    *state = first->size == 0 ? BUILD_UNDECIDED : BUILD_NONE;
    if (first->size == 0 || is_small(session, piece, busy))
        return STATUS_OK;
    status = choose(session, piece, first, build, error);
    if (status == STATUS_OK && build->way != NULL && build->way->aside && !busy) {
        *state = BUILD_WHOLE;
        return STATUS_OK;
    }
    if (status == STATUS_OK && build->way != NULL)
        status = begin_build(session, build, &worth, error);
    if (worth && status == STATUS_OK)
        *state = BUILD_OPEN;
    return status;
}

/* A cell that cannot be built is appended, unless the piece itself would fail, too. */
static enum status decide_and_tell(struct append_session *session, struct piece *piece, const struct span *first,
                                   struct build *build, struct error *error)
{
    enum build_state state;
    enum status status = decide(session, piece, first, build, &state, error);

    if (status != STATUS_OK && build_is_fatal(session, error)) {
        state = BUILD_UNDECIDED;
    } else if (status != STATUS_OK) {
        log_line(LOG_DEBUG, "a chunk of %s is not built: %s", session->target->table->sql, error->text);
        error_reset(error);
        status = STATUS_OK;
        state = BUILD_NONE;
    }
    if (state == BUILD_OPEN)
        stats_add(&pipeline_stats(session->pipeline)->builds_open, 1);
    if (state == BUILD_UNDECIDED || state == BUILD_NONE)
        build_reset(build);
    builds_set(session->target->builds, build, state);
    return status;
}

enum status build_join(struct append_session *session, struct piece *piece, const struct span *first,
                       struct error *error)
{
    struct builds *builds = session->target->builds;
    enum status status = STATUS_OK;
    enum build_state state;
    struct build *build;
    bool mine;

    assert(session->build == NULL && !session->entered);
    if (builds == NULL)
        return STATUS_OK;
    build = builds_claim(builds, piece_spec(piece)->place.cell, &mine);
    if (build == NULL)
        return stop_level(builds_stop(builds)) == STOP_ABORT ? error_set(error, STATUS_STOPPED, "stopped by request")
                                                             : error_set(error, STATUS_SYSTEM, "out of memory");
    if (mine)
        status = decide_and_tell(session, piece, first, build, error);
    state = builds_state(builds, build);
    if (state != BUILD_NONE && state != BUILD_UNDECIDED)
        session->build = build;
    return status;
}
