/* What a pipeline is made of, what is to be known of it, and its threads from start to end. */
#include "engine/pipeline.h"

#include <stdlib.h>

#include "engine/cells.h"
#include "engine/pipeline_private.h"

/* A block is 1/1024 of the memory, within these bounds: many for small buckets, large enough for cheap puts. */
#define BLOCK_MIN 16384
#define BLOCK_MAX 262144
#define BLOCKS_WANTED 1024
/* Blocks that reading ahead leaves for each piece that is being written. */
#define RESERVE_PER_WRITER 2
/* The index of what is spilled may take this part of the memory: a file of about a hundred times --memory. */
#define SPILL_INDEX_SHARE 16

struct stop *pipeline_stop(struct pipeline *pipeline)
{
    return pipeline->spec->stop;
}

struct stats *pipeline_stats(struct pipeline *pipeline)
{
    return pipeline->spec->stats;
}

struct throttle *pipeline_throttle(struct pipeline *pipeline)
{
    return pipeline->spec->throttle;
}

struct pool *pipeline_pool(struct pipeline *pipeline)
{
    return pipeline->pool;
}

struct spill *pipeline_spill(struct pipeline *pipeline)
{
    return pipeline->spill;
}

int pipeline_writers(const struct pipeline *pipeline)
{
    return pipeline->spec->writers;
}

int pipeline_readers(const struct pipeline *pipeline)
{
    return pipeline->spec->readers;
}

int pipeline_hungry(struct pipeline *pipeline)
{
    return queue_waiting(pipeline->queue);
}

int64_t pipeline_queued_blocks(struct pipeline *pipeline)
{
    return queue_blocks(pipeline->queue);
}

bool pipeline_range_busy(struct pipeline *pipeline, int64_t lo)
{
    return queue_has_range(pipeline->queue, lo);
}

enum status pipeline_cell_opened(struct pipeline *pipeline, int64_t cell_lo, struct error *error)
{
    return cells_add(pipeline->cells, cell_lo, error);
}

void pipeline_cell_closed(struct pipeline *pipeline, int64_t cell_lo)
{
    cells_remove(pipeline->cells, cell_lo);
}

bool pipeline_cell_busy(struct pipeline *pipeline, const struct piece *piece)
{
    const struct piece_spec *spec = piece_spec(piece);

    if (!pipeline->spec->stream)
        return tasks_has_cell(pipeline->tasks, spec->table, &spec->place);
    return !spec->last || cells_has(pipeline->cells, spec->place.cell.lo) || queue_has_cell(pipeline->queue, piece);
}

struct input_position pipeline_frontier(struct pipeline *pipeline, const struct piece *piece)
{
    const struct input_position *floor = &pipeline->floors[piece_spec(piece)->input];
    struct input_position position = piece_spec(piece)->open;

    position = queue_frontier(pipeline->queue, piece, position);
    pthread_mutex_lock(&pipeline->mutex);
    if (floor->offset < position.offset)
        position = *floor;
    pthread_mutex_unlock(&pipeline->mutex);
    return position;
}

static uint32_t block_size_of(int64_t memory_bytes)
{
    int64_t size = memory_bytes / BLOCKS_WANTED;

    if (size < BLOCK_MIN)
        size = BLOCK_MIN;
    if (size > BLOCK_MAX)
        size = BLOCK_MAX;
    return (uint32_t)(size & ~INT64_C(4095));
}

/* What is kept of each input and table. */
static enum status create_books(struct pipeline *pipeline, int32_t inputs, int32_t tables, struct error *error)
{
    pipeline->floors = calloc((size_t)inputs, sizeof *pipeline->floors);
    pipeline->tables = calloc((size_t)tables, sizeof *pipeline->tables);
    if (pipeline->floors == NULL || pipeline->tables == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int32_t i = 0; i < inputs; i++)
        pipeline->floors[i].offset = INT64_MAX;
    return STATUS_OK;
}

/* Room for rows, in memory and on the disk. */
static enum status create_room(struct pipeline *pipeline, struct error *error)
{
    const struct pipeline_spec *spec = pipeline->spec;
    int64_t index_bytes = spec->stream && spec->spill_dir != NULL ? spec->memory_bytes / SPILL_INDEX_SHARE : 0;
    uint32_t block_size = block_size_of(spec->memory_bytes);
    enum status status =
        pool_create(spec->memory_bytes - index_bytes, block_size, spec->stream ? 0 : spec->writers * RESERVE_PER_WRITER,
                    spec->stop, &pipeline->pool, error);

    if (status == STATUS_OK && index_bytes > 0)
        status = spill_create(spec->spill_dir, spec->spill_max, index_bytes / SPILL_SLOT_BYTES, block_size, spec->stats,
                              &pipeline->spill, error);
    return status;
}

/* What readers and writers take from and bring to. */
static enum status create_lists(struct pipeline *pipeline, int32_t tables, struct error *error)
{
    const struct pipeline_spec *spec = pipeline->spec;
    enum status status = queue_create(spec->stop, spec->throttle, &pipeline->queue, error);

    if (status == STATUS_OK)
        status = cells_create(&pipeline->cells, error);
    if (status == STATUS_OK && !spec->stream)
        status = tasks_create(spec->tasks, spec->task_count, tables, spec->writers + spec->readers, spec->retry_ms,
                              spec->stop, spec->throttle, &pipeline->tasks, error);
    if (status == STATUS_OK && !spec->stream && spec->task_count == 0)
        queue_close(pipeline->queue);
    return status;
}

/* After a failure pipeline_reset is due, too. */
static enum status pipeline_init(struct pipeline *pipeline, const struct pipeline_spec *spec, struct error *error)
{
    int32_t inputs = spec->inputs > 0 ? spec->inputs : 1, tables = spec->tables > 0 ? spec->tables : 1;
    enum status status;

    *pipeline = (struct pipeline){.spec = spec, .streaming = spec->readers};
    error_reset(&pipeline->error);
    error_reset(&pipeline->failure);
    pthread_mutex_init(&pipeline->mutex, NULL);
    status = create_books(pipeline, inputs, tables, error);
    if (status == STATUS_OK)
        status = create_room(pipeline, error);
    if (status == STATUS_OK)
        status = create_lists(pipeline, tables, error);
    if (status == STATUS_OK)
        pool_watch(pipeline->pool, &spec->stats->blocks_used);
    atomic_store(&spec->stats->blocks_total, status == STATUS_OK ? pool_block_count(pipeline->pool) : 0);
    return status;
}

static void pipeline_reset(struct pipeline *pipeline)
{
    queue_free(pipeline->queue);
    tasks_free(pipeline->tasks);
    cells_free(pipeline->cells);
    spill_free(pipeline->spill);
    pool_free(pipeline->pool);
    pthread_mutex_destroy(&pipeline->mutex);
    free(pipeline->failed);
    free(pipeline->floors);
    free(pipeline->tables);
}

/* How the run ended, once all threads are home. */
static enum status pipeline_result(const struct pipeline *pipeline, struct error *error)
{
    if (pipeline->error.status != STATUS_OK)
        *error = pipeline->error;
    else if (pipeline->failure.status != STATUS_OK && pipeline->spec->tables <= 1)
        error_set(error, pipeline->failure.status, "%lld range%s could not be loaded, for the reason%s above",
                  (long long)pipeline->failed_count, pipeline->failed_count == 1 ? "" : "s",
                  pipeline->failed_count == 1 ? "" : "s");
    else if (stop_level(pipeline->spec->stop) != STOP_RUN)
        return error_set(error, STATUS_STOPPED, "stopped by request");
    return error->status;
}

/* Runs writers and readers to their end. A thread that cannot be started ends the run. */
static void run_threads(struct pipeline *pipeline, pthread_t *threads, int count)
{
    const struct pipeline_spec *spec = pipeline->spec;
    int started = 0;

    while (started < count &&
           pthread_create(&threads[started], NULL,
                          started < spec->writers ? pipeline_writer_main : pipeline_reader_main, pipeline) == 0)
        started++;
    if (started < count) {
        error_set(&pipeline->error, STATUS_SYSTEM, "cannot start thread %d of %d", started + 1, count);
        stop_request(spec->stop, STOP_DRAIN);
    }
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

enum status pipeline_run(const struct pipeline_spec *spec, struct error *error)
{
    int count = spec->readers + spec->writers;
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    struct pipeline pipeline;
    enum status status;

    if (threads == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = pipeline_init(&pipeline, spec, error);
    if (status == STATUS_OK) {
        atomic_store(&spec->stats->readers, spec->readers);
        atomic_store(&spec->stats->writers, spec->writers);
        run_threads(&pipeline, threads, count);
        status = pipeline_result(&pipeline, error);
    }
    pipeline_reset(&pipeline);
    free(threads);
    return status;
}
