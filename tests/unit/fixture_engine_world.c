/* A world: a source of known content, a target with a ledger, and their moods. */
#include "tests/unit/fixture_engine.h"

struct world *world_make(size_t ranges)
{
    struct world *world = calloc(1, sizeof *world);

    CHECK(world != NULL && ranges <= RANGES_MAX);
    world->range_count = ranges;
    world->stop = stop_make();
    pthread_mutex_init(&world->mutex, NULL);
    return world;
}

void world_free(struct world *world)
{
    pthread_mutex_destroy(&world->mutex);
    stop_free(world->stop);
    free(world);
}

/* Called at every step of readers and writers: time for something to happen. */
void world_step(struct world *world)
{
    int64_t step = atomic_fetch_add(&world->steps, 1) + 1;

    if (step == world->drain_at)
        stop_request(world->stop, STOP_DRAIN);
    if (step == world->abort_at)
        stop_request(world->stop, STOP_ABORT);
    if (world->slow && draw(8) == 0)
        stop_wait(world->stop, 1, STOP_ABORT);
}

bool world_fails(struct world *world, uint32_t one_of)
{
    if (draw(one_of) != 0 || atomic_load(&world->failures_left) <= 0)
        return false;
    return atomic_fetch_sub(&world->failures_left, 1) > 0;
}

enum status fail_with(struct error *error, enum status status, const char *sqlstate, const char *text)
{
    error_set(error, status, "%s", text);
    memcpy(error->sqlstate, sqlstate, sizeof error->sqlstate);
    return status;
}

enum status fail_transient(struct error *error)
{
    return fail_with(error, STATUS_TRANSIENT, draw(2) ? "40001" : "08006", "a failure for now");
}

enum status target_refuses(enum mood mood, struct error *error)
{
    switch (mood) {
    case MOOD_BAD_WRITE: return fail_with(error, STATUS_DATA, "22P02", "a bad row");
    case MOOD_NEVER: return fail_with(error, STATUS_TRANSIENT, "40P01", "always a deadlock");
    case MOOD_OUTAGE: return fail_with(error, STATUS_TRANSIENT, "08001", "nobody there");
    case MOOD_FINE:
    case MOOD_BAD_READ: break;
    }
    return STATUS_OK;
}

/* ---- Sessions of both sides ---- */

enum status session_open(void *context, struct pipeline *pipeline, void **result, struct error *error)
{
    struct session *session = calloc(1, sizeof *session);

    (void)error;
    CHECK(session != NULL);
    session->world = context;
    session->pipeline = pipeline;
    session->packer = packer_make(pool_block_size(pipeline_pool(pipeline)));
    pthread_mutex_lock(&session->world->mutex);
    session->world->sessions++;
    pthread_mutex_unlock(&session->world->mutex);
    *result = session;
    return STATUS_OK;
}

void session_close(void *argument)
{
    struct session *session = argument;

    if (session == NULL)
        return;
    pthread_mutex_lock(&session->world->mutex);
    if (--session->world->sessions == 0)
        session->world->over = true;
    pthread_mutex_unlock(&session->world->mutex);
    packer_free(session->packer);
    free(session->lines);
    free(session);
}

enum status session_refuse(void *context, struct pipeline *pipeline, void **result, struct error *error)
{
    (void)context;
    (void)pipeline;
    *result = NULL;
    return error_set(error, STATUS_SERVER, "no session today");
}

/* ---- Running ---- */

static enum status tell_committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                                  struct error *error)
{
    struct world *world = context;

    (void)result;
    (void)error;
    pthread_mutex_lock(&world->mutex);
    world->books[piece->place.range.lo].told++;
    pthread_mutex_unlock(&world->mutex);
    return STATUS_OK;
}

static enum status tell_failed(void *context, const struct piece_spec *piece, const struct error *reason,
                               struct error *error)
{
    struct world *world = context;

    (void)error;
    CHECK(reason->status != STATUS_OK);
    pthread_mutex_lock(&world->mutex);
    world->books[piece->place.range.lo].quarantined++;
    pthread_mutex_unlock(&world->mutex);
    return STATUS_OK;
}

/* Ranges of one unit, four to a chunk; those that are stored are left out, as on resume. */
static size_t tasks_make(struct world *world, struct task *tasks)
{
    size_t count = 0;

    for (size_t i = 0; i < world->range_count; i++) {
        int64_t lo = (int64_t)i;

        if (!world->books[i].stored)
            tasks[count++] = (struct task){.place = {.range = {lo, lo + 1}, .cell = {lo / 4 * 4, lo / 4 * 4 + 4}},
                                           .rows_estimate = -1,
                                           .bytes_estimate = -1};
    }
    return count;
}

enum status world_run(struct world *world, const struct pipeline_spec *base, struct error *error)
{
    struct task tasks[RANGES_MAX];
    struct pipeline_spec spec = *base;
    enum status status;

    error_reset(error);
    if (!spec.stream) {
        spec.tasks = tasks;
        spec.task_count = tasks_make(world, tasks);
    }
    status = pipeline_run(&spec, error);
    CHECK(status == error->status);
    CHECK(world->sessions == 0);
    CHECK(world->stats.readers_active == 0 && world->stats.writers_active == 0);
    return status;
}

void world_rearm(struct world *world)
{
    stop_free(world->stop);
    world->stop = stop_make();
    world->drain_at = world->abort_at = 0;
    world->over = false;
}

size_t count_stored(const struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->range_count; i++)
        count += world->books[i].stored;
    return count;
}

struct pipeline_spec spec_make(struct world *world, const struct reader_ops *reader, const struct writer_ops *writer)
{
    return (struct pipeline_spec){.reader = reader,
                                  .source = world,
                                  .readers = 1 + (int)draw(4),
                                  .writer = writer,
                                  .target = world,
                                  .writers = 1 + (int)draw(4),
                                  .memory_bytes = (8 + (int64_t)draw(40)) * BLOCK,
                                  .retry_ms = 30000,
                                  .stop = world->stop,
                                  .stats = &world->stats,
                                  .committed = tell_committed,
                                  .failed = tell_failed,
                                  .context = world};
}
