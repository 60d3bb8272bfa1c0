/* Who builds which cell when. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "writers/build_private.h"

struct builds {
    const struct build_plan *plan;
    int64_t rows_min;
    struct stop *stop;
    pthread_mutex_t mutex; /* guards all below, and states */
    pthread_cond_t cond;   /* a state has changed */
    struct build **items;  /* sorted by lo */
    size_t count, room;
};

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

enum status builds_create(const struct build_plan *plan, int64_t rows_min, struct stop *stop, struct builds **result,
                          struct error *error)
{
    struct builds *builds = calloc(1, sizeof *builds);

    if (builds == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    builds->plan = plan;
    builds->rows_min = rows_min;
    builds->stop = stop;
    pthread_mutex_init(&builds->mutex, NULL);
    pthread_cond_init(&builds->cond, NULL);
    stop_watch(stop, &builds->mutex, &builds->cond);
    *result = builds;
    return STATUS_OK;
}

void builds_free(struct builds *builds)
{
    if (builds == NULL)
        return;
    for (size_t i = 0; i < builds->count; i++) {
        build_reset(builds->items[i]);
        free(builds->items[i]);
    }
    stop_unwatch(builds->stop, &builds->cond);
    pthread_cond_destroy(&builds->cond);
    pthread_mutex_destroy(&builds->mutex);
    free(builds->items);
    free(builds);
}

/* With the lock held: where the cell is, or would be. */
static size_t builds_at(const struct builds *builds, int64_t lo)
{
    size_t low = 0, high = builds->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (builds->items[middle]->cell.lo < lo)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* With the lock held: a new item; NULL: out of memory. */
static struct build *builds_insert(struct builds *builds, size_t at, struct range cell)
{
    struct build *build;

    if (builds->count == builds->room) {
        size_t room = builds->room * 2 + 64;
        struct build **items = realloc(builds->items, room * sizeof *items);

        if (items == NULL)
            return NULL;
        builds->items = items;
        builds->room = room;
    }
    build = calloc(1, sizeof *build);
    if (build == NULL)
        return NULL;
    build->cell = cell;
    memmove(&builds->items[at + 1], &builds->items[at], (builds->count - at) * sizeof *builds->items);
    builds->items[at] = build;
    builds->count++;
    return build;
}

enum status builds_load(struct builds *builds, struct pg *pg, const struct ledger *ledger, size_t *count,
                        struct error *error)
{
    struct sql where = {0};
    struct build *items;
    size_t found;
    enum status status;

    sql_add(&where, "job = '%s'", ledger->job);
    status = build_ledger_read(pg, ledger, where.text, &items, &found, error);
    sql_reset(&where);
    *count = found;
    for (size_t i = 0; i < found; i++) {
        struct build *build = status == STATUS_OK ? builds_insert(builds, builds->count, items[i].cell) : NULL;

        if (build != NULL) {
            *build = items[i];
            build->state = BUILD_OPEN;
            continue;
        }
        build_reset(&items[i]);
        if (status == STATUS_OK)
            status = error_set(error, STATUS_SYSTEM, "out of memory");
    }
    free(items);
    return status;
}

const struct build_order *builds_order(const struct builds *builds)
{
    return &builds->plan->order;
}

size_t builds_open(struct builds *builds)
{
    size_t open = 0;

    pthread_mutex_lock(&builds->mutex);
    for (size_t i = 0; i < builds->count; i++)
        open += builds->items[i]->state == BUILD_OPEN || builds->items[i]->state == BUILD_PUBLISHING;
    pthread_mutex_unlock(&builds->mutex);
    return open;
}

bool builds_aside(struct builds *builds)
{
    bool aside = false;

    pthread_mutex_lock(&builds->mutex);
    for (size_t i = 0; i < builds->count; i++)
        aside = aside || (builds->items[i]->state == BUILD_OPEN && builds->items[i]->way->aside);
    pthread_mutex_unlock(&builds->mutex);
    return aside;
}

static void set_state(struct builds *builds, struct build *build, enum build_state state)
{
    pthread_mutex_lock(&builds->mutex);
    build->state = state;
    pthread_cond_broadcast(&builds->cond);
    pthread_mutex_unlock(&builds->mutex);
}

/* The cell once nobody else decides about it. *mine: the caller has to. NULL: out of memory, or the run is aborted. */
static struct build *claim(struct builds *builds, struct range cell, bool *mine)
{
    struct build *build;
    size_t at;

    *mine = false;
    pthread_mutex_lock(&builds->mutex);
    at = builds_at(builds, cell.lo);
    if (at < builds->count && builds->items[at]->cell.lo == cell.lo)
        build = builds->items[at];
    else
        build = builds_insert(builds, at, cell);
    while (build != NULL && (build->state == BUILD_DECIDING || build->state == BUILD_WHOLE)) {
        if (stop_level(builds->stop) == STOP_ABORT)
            build = NULL;
        else
            pthread_cond_wait(&builds->cond, &builds->mutex);
    }
    if (build != NULL && build->state == BUILD_UNDECIDED) {
        build->state = BUILD_DECIDING;
        *mine = true;
    }
    pthread_mutex_unlock(&builds->mutex);
    return build;
}

/* Building pays for its own statements from some size on. What is not known to be small is not. */
static bool is_small(const struct append_session *session, const struct piece *piece, bool busy)
{
    int64_t rows = piece_spec(piece)->rows_estimate;

    return !busy && rows >= 0 && rows < session->target->builds->rows_min;
}

/* Finds a way that suits the cell; NULL in it if there is none. */
static enum status choose(struct append_session *session, struct piece *piece, const struct span *first,
                          struct build *build, struct error *error)
{
    const struct build_plan *plan = session->target->builds->plan;
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

static enum status begin_transaction(struct append_session *session, struct error *error)
{
    return pg_run(session->pg, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", NULL, error);
}

static enum status begin_build(struct append_session *session, struct build *build, bool *worth, struct error *error)
{
    bool there = false;
    enum status status = begin_transaction(session, error);

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

/* A cell that cannot be built is appended, unless the piece itself would fail, too. */
static bool is_fatal(struct append_session *session, const struct error *error)
{
    bool locked = strcmp(error->sqlstate, "55P03") == 0 || strcmp(error->sqlstate, "40P01") == 0;

    return (error->status == STATUS_TRANSIENT && !locked) || error->status == STATUS_STOPPED ||
           error->status == STATUS_SYSTEM || !pg_connected(session->pg);
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

enum status build_join(struct append_session *session, struct piece *piece, const struct span *first,
                       struct error *error)
{
    struct builds *builds = session->target->builds;
    enum build_state state;
    enum status status = STATUS_OK;
    struct build *build;
    bool mine;

    assert(session->build == NULL && !session->entered);
    if (builds == NULL)
        return STATUS_OK;
    build = claim(builds, piece_spec(piece)->place.cell, &mine);
    if (build == NULL)
        return stop_level(builds->stop) == STOP_ABORT ? error_set(error, STATUS_STOPPED, "stopped by request")
                                                      : error_set(error, STATUS_SYSTEM, "out of memory");
    if (mine) {
        status = decide(session, piece, first, build, &state, error);
        if (status != STATUS_OK && is_fatal(session, error)) {
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
        set_state(builds, build, state);
    }
    pthread_mutex_lock(&builds->mutex);
    if (build->state != BUILD_NONE && build->state != BUILD_UNDECIDED)
        session->build = build;
    pthread_mutex_unlock(&builds->mutex);
    return status;
}

/* A state that only the caller can change. */
bool build_is_whole(const struct append_session *session)
{
    struct builds *builds = session->target->builds;
    const struct build *build = session->build;
    bool whole;

    if (build == NULL)
        return false;

    pthread_mutex_lock(&builds->mutex);
    whole = build->state == BUILD_WHOLE;
    pthread_mutex_unlock(&builds->mutex);
    return whole;
}

/* A whole cell that cannot be built after all is appended by the next attempt, which also finds what is wrong with a
 * row. */
static enum status heed_failure(struct append_session *session, enum status status, const struct error *error)
{
    if (status != STATUS_OK && build_is_whole(session) && !is_fatal(session, error)) {
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
        status = begin_transaction(session, error);
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

/* Publishes a cell that the caller has set to BUILD_PUBLISHING. */
static enum status publish_claimed(struct append_session *session, struct build *build, struct error *error)
{
    const struct table *table = session->target->table;
    enum status status = publish(session, build, error);
    char range[TABLE_RANGE_TEXT_MAX];

    set_state(session->target->builds, build, status == STATUS_OK ? BUILD_NONE : BUILD_OPEN);
    if (status == STATUS_OK) {
        stats_add(&pipeline_stats(session->pipeline)->builds_open, -1);
        stats_add(&pipeline_stats(session->pipeline)->builds_done, 1);
    }
    if (status != STATUS_OK)
        error_prefix(error, "%s %s, all its rows are in, but not yet %s", table->sql,
                     range_is_rejects(build->cell) ? "as a whole" : table_range_text(table, build->cell, range),
                     build->way->aside        ? "part of the table"
                     : build->way->compresses ? "compressed"
                                              : "its indexes");
    return status;
}

static bool claim_open(struct builds *builds, struct build *build)
{
    bool open;

    pthread_mutex_lock(&builds->mutex);
    open = build->state == BUILD_OPEN;
    if (open)
        build->state = BUILD_PUBLISHING;
    pthread_mutex_unlock(&builds->mutex);
    return open;
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
        set_state(builds, build, committed || unbuilt ? BUILD_NONE : BUILD_UNDECIDED);
        return;
    }
    if (!committed || pipeline_cell_busy(session->pipeline, piece) || !claim_open(builds, build))
        return;
    error_reset(&error);
    if (publish_claimed(session, build, &error) != STATUS_OK)
        log_line(LOG_DEBUG, "%s; once more at the end", error.text);
}

static struct build *next_open(struct builds *builds)
{
    struct build *found = NULL;

    pthread_mutex_lock(&builds->mutex);
    for (size_t i = 0; i < builds->count && found == NULL; i++)
        if (builds->items[i]->state == BUILD_OPEN)
            found = builds->items[i];
    if (found != NULL)
        found->state = BUILD_PUBLISHING;
    pthread_mutex_unlock(&builds->mutex);
    return found;
}

enum status build_finish(struct append_session *session, struct error *error)
{
    struct builds *builds = session->target->builds;
    enum status status = STATUS_OK;
    struct build *build;

    while (builds != NULL && status == STATUS_OK && stop_level(builds->stop) == STOP_RUN &&
           (build = next_open(builds)) != NULL)
        status = publish_claimed(session, build, error);
    return status;
}
