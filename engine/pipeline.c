/*
 * The pipeline's threads and its decisions.
 *
 * Who decides what becomes of a piece is always the writer that took it: it sees its own failure and, through
 * piece_next, the reader's. An addressable source is then asked for the range again as a new piece; a stream's piece is
 * kept and written again by the same writer, since later pieces of its range must wait for it anyway.
 *
 * A piece that leaves the books without being committed lowers the floor first: no frontier that is written after it
 * may lie beyond its rows.
 */
#include "engine/pipeline.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cells.h"
#include "engine/log.h"
#include "engine/queue.h"
#include "engine/retry.h"
#include "engine/tasks.h"

/* A block is 1/1024 of the memory, within these bounds: many for small buckets, large enough for cheap puts. */
#define BLOCK_MIN 16384
#define BLOCK_MAX 262144
#define BLOCKS_WANTED 1024
/* Blocks that reading ahead leaves for each piece that is being written. */
#define RESERVE_PER_WRITER 2
/* The index of what is spilled may take this part of the memory: a file of about a hundred times --memory. */
#define SPILL_INDEX_SHARE 16
/* So many quarantined ranges in a row, without a commit between them, are not about the ranges. */
#define FAILURES_IN_ROW_MAX 8
/* While a server is away each writer tries some range this often at the least. */
#define OUTAGE_PAUSE_MAX_MS 2000

struct failed_range {
    int32_t table, input;
    int64_t lo;
};

struct table_state {
    int64_t failures_in_row;
    bool failed; /* nothing more of it is begun */
};

struct pipeline {
    const struct pipeline_spec *spec;
    struct pool *pool;
    struct spill *spill; /* NULL: none */
    struct queue *queue;
    struct task_list *tasks; /* addressable sources */
    struct cells *cells;     /* streams: what readers gather */
    pthread_mutex_t mutex;   /* guards all below, and calls of the hooks */
    struct error error;      /* what ended the run, the first one */
    struct error failure;    /* the first quarantined range's */
    struct table_state *tables;
    struct failed_range *failed;
    size_t failed_count, failed_room;
    int64_t streaming;             /* readers of a stream that are not at their end */
    struct input_position *floors; /* by input: no frontier beyond it */
};

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

/* Ends the run: what is in flight is finished, nothing new is begun. A stop by request is not an error of its own. */
static void pipeline_fail(struct pipeline *pipeline, const struct error *error)
{
    assert(error->status != STATUS_OK);
    pthread_mutex_lock(&pipeline->mutex);
    if (error->status != STATUS_STOPPED && pipeline->error.status == STATUS_OK)
        pipeline->error = *error;
    pthread_mutex_unlock(&pipeline->mutex);
    stop_request(pipeline->spec->stop, STOP_DRAIN);
}

/* Ends one of several tables: the others go on. */
static void pipeline_fail_table(struct pipeline *pipeline, int32_t table, const struct error *error)
{
    bool first;

    pthread_mutex_lock(&pipeline->mutex);
    first = !pipeline->tables[table].failed;
    pipeline->tables[table].failed = true;
    if (first)
        pipeline->spec->table_failed(pipeline->spec->context, table, error);
    pthread_mutex_unlock(&pipeline->mutex);
    tasks_drop_table(pipeline->tasks, table);
}

static bool pipeline_range_failed(struct pipeline *pipeline, const struct piece_spec *spec)
{
    int64_t lo = spec->place.range.lo;
    bool failed = false;

    pthread_mutex_lock(&pipeline->mutex);
    for (size_t i = 0; i < pipeline->failed_count && !failed; i++)
        failed = pipeline->failed[i].table == spec->table && pipeline->failed[i].input == spec->input &&
                 pipeline->failed[i].lo == lo;
    pthread_mutex_unlock(&pipeline->mutex);
    return failed;
}

/* The piece will not be committed by this run. */
static void pipeline_lower_floor(struct pipeline *pipeline, const struct piece *piece)
{
    const struct piece_spec *spec = piece_spec(piece);
    struct input_position *floor = &pipeline->floors[spec->input];

    pthread_mutex_lock(&pipeline->mutex);
    if (spec->first.offset < floor->offset)
        *floor = spec->first;
    pthread_mutex_unlock(&pipeline->mutex);
}

void pipeline_submit(struct pipeline *pipeline, struct piece *piece)
{
    const struct piece_spec *spec = piece_spec(piece);
    struct error error;

    error_reset(&error);
    if (pipeline_range_failed(pipeline, spec)) {
        pipeline_lower_floor(pipeline, piece);
        piece_release(piece);
    } else if (queue_push(pipeline->queue, piece, piece_blocks(piece), &error) != STATUS_OK) {
        pipeline_lower_floor(pipeline, piece);
        pipeline_fail(pipeline, &error);
        piece_release(piece);
    }
    piece_release(piece);
}

/* A range is given up: written down, counted, its other pieces dropped. */
static void pipeline_quarantine(struct pipeline *pipeline, const struct piece *piece, const struct error *reason)
{
    const struct piece_spec *spec = piece_spec(piece);
    struct error error, many;
    bool end;

    error_reset(&error);
    error_reset(&many);
    pipeline_lower_floor(pipeline, piece);
    pthread_mutex_lock(&pipeline->mutex);
    if (pipeline->failure.status == STATUS_OK)
        pipeline->failure = *reason;
    if (pipeline->failed_count == pipeline->failed_room) {
        size_t room = pipeline->failed_room * 2 + 16;
        struct failed_range *more = realloc(pipeline->failed, room * sizeof *more);

        if (more != NULL) {
            pipeline->failed = more;
            pipeline->failed_room = room;
        } else {
            error_set(&error, STATUS_SYSTEM, "out of memory");
        }
    }
    if (error.status == STATUS_OK)
        pipeline->failed[pipeline->failed_count++] =
            (struct failed_range){spec->table, spec->input, spec->place.range.lo};
    stats_add(&pipeline->spec->stats->ranges_failed, 1);
    end = ++pipeline->tables[spec->table].failures_in_row >= FAILURES_IN_ROW_MAX;
    if (error.status == STATUS_OK &&
        pipeline->spec->failed(pipeline->spec->context, spec, reason, &error) == STATUS_OK && end) {
        error_set(&many, reason->status, "%d ranges failed one after the other without a success between them: stopped",
                  FAILURES_IN_ROW_MAX);
    }
    pthread_mutex_unlock(&pipeline->mutex);
    queue_drop_range(pipeline->queue, spec);
    if (error.status != STATUS_OK)
        pipeline_fail(pipeline, &error);
    else if (many.status != STATUS_OK && pipeline->spec->tables > 1)
        pipeline_fail_table(pipeline, spec->table, &many);
    else if (many.status != STATUS_OK)
        pipeline_fail(pipeline, &many);
}

/* After a commit. */
static void pipeline_committed(struct pipeline *pipeline, struct piece *piece, const struct write_result *result)
{
    struct stats *stats = pipeline->spec->stats;
    struct error error;
    enum status status;

    error_reset(&error);
    if (result->already) {
        /* A commit in doubt that had succeeded, or another process: its rows are there and count as done. */
        log_line(LOG_DEBUG, "a piece was committed before: not loaded again");
        if (!range_is_rejects(piece_spec(piece)->place.range))
            stats_add(&stats->rows_done, pipeline->spec->stream ? piece_rows(piece) : result->rows);
        stats_add(&stats->bytes_done, pipeline->spec->stream ? piece_bytes(piece) : result->bytes);
    } else {
        stats_add(&stats->rows_done, result->piece_rows);
        stats_add(&stats->bytes_done, result->piece_bytes);
        stats_add(&stats->rejects_done, result->piece_rejects);
        stats_add(&stats->conflicts_done, result->piece_conflicts);
        stats_add(&stats->pieces_done, 1);
    }
    /* A range of a stream is counted when it is begun: only the end of all inputs tells that it is whole. */
    if ((!pipeline->spec->stream || result->first_of_range) && !range_is_rejects(piece_spec(piece)->place.range))
        stats_add(&stats->ranges_done, 1);
    pthread_mutex_lock(&pipeline->mutex);
    pipeline->tables[piece_spec(piece)->table].failures_in_row = 0;
    status = pipeline->spec->committed(pipeline->spec->context, piece_spec(piece), result, &error);
    pthread_mutex_unlock(&pipeline->mutex);
    if (status != STATUS_OK)
        pipeline_fail(pipeline, &error);
}

/* A server that cannot even be reached within the budget is not about the range. */
static bool is_outage(const struct error *error)
{
    return error->status == STATUS_TRANSIENT &&
           (strncmp(error->sqlstate, "08", 2) == 0 || strcmp(error->sqlstate, "57P03") == 0);
}

static bool pipeline_table_failed(struct pipeline *pipeline, int32_t table)
{
    bool result;

    pthread_mutex_lock(&pipeline->mutex);
    result = pipeline->tables[table].failed;
    pthread_mutex_unlock(&pipeline->mutex);
    return result;
}

/* The piece's last attempt has failed. */
static void pipeline_give_up(struct pipeline *pipeline, const struct piece *piece, bool ends, const struct error *error)
{
    if (error->status == STATUS_STOPPED || stop_level(pipeline->spec->stop) == STOP_ABORT) {
        pipeline_lower_floor(pipeline, piece);
        return;
    }
    if (pipeline->spec->tables > 1 && (ends || error->status == STATUS_USAGE)) {
        pipeline_fail_table(pipeline, piece_spec(piece)->table, error);
        return;
    }
    /* Its time was not used up: nothing of its table is tried again. */
    if (error->status == STATUS_TRANSIENT && pipeline_table_failed(pipeline, piece_spec(piece)->table))
        return;
    if (ends || error->status == STATUS_SYSTEM || error->status == STATUS_USAGE || is_outage(error)) {
        pipeline_lower_floor(pipeline, piece);
        pipeline_fail(pipeline, error);
        return;
    }
    pipeline_quarantine(pipeline, piece, error);
}

static void log_retry(struct pipeline *pipeline, const struct error *error)
{
    stats_add(&pipeline->spec->stats->retries, 1);
    log_line(LOG_WARNING, "%s (%s): trying again", error->text, error->sqlstate[0] ? error->sqlstate : "no code");
}

/* A stream's piece: the same piece, until it is committed or given up. */
static void write_until_done(struct pipeline *pipeline, void *session, struct piece *piece)
{
    const struct pipeline_spec *spec = pipeline->spec;
    struct write_result result = {0};
    struct retry retry;
    struct error error;

    retry_init(&retry, spec->retry_ms, (uint64_t)stats_now_ns());
    for (;;) {
        int64_t pause_ms = -1;

        error_reset(&error);
        if (spec->writer->write(session, piece, &result, &error) == STATUS_OK) {
            pipeline_committed(pipeline, piece, &result);
            return;
        }
        if (error.status == STATUS_TRANSIENT)
            pause_ms = retry_next(&retry);
        if (pause_ms < 0 || stop_level(spec->stop) != STOP_RUN)
            break;
        log_retry(pipeline, &error);
        if (stop_wait(spec->stop, pause_ms, STOP_DRAIN))
            break;
    }
    if (error.status == STATUS_TRANSIENT && stop_level(spec->stop) != STOP_RUN)
        error.status = STATUS_STOPPED;
    pipeline_give_up(pipeline, piece, result.ends, &error);
}

static int64_t outage_pause(struct retry *outage)
{
    int64_t pause_ms = retry_next(outage);

    return pause_ms < OUTAGE_PAUSE_MAX_MS ? pause_ms : OUTAGE_PAUSE_MAX_MS;
}

/* An addressable source's piece: one attempt; if it fails the range goes back to the list. */
static void write_once(struct pipeline *pipeline, void *session, struct piece *piece, struct retry *outage)
{
    const struct pipeline_spec *spec = pipeline->spec;
    int32_t table = piece_spec(piece)->table;
    int64_t lo = piece_spec(piece)->place.range.lo;
    struct write_result result = {0};
    bool table_ended = false;
    struct error error;

    error_reset(&error);
    if (spec->writer->write(session, piece, &result, &error) == STATUS_OK) {
        outage->pause_ms = 0;
        if (result.already)
            piece_give_up(piece);
        pipeline_committed(pipeline, piece, &result);
    } else {
        piece_give_up(piece);
        if (error.status == STATUS_TRANSIENT) {
            if (stop_level(spec->stop) != STOP_RUN)
                return;
            log_retry(pipeline, &error);
            if (tasks_again(pipeline->tasks, table, lo)) {
                /* With a server away every range fails at once: one after the other, slower and slower. */
                if (is_outage(&error))
                    stop_wait(spec->stop, outage_pause(outage), STOP_DRAIN);
                return;
            }
        }
        if (result.careful && (stop_level(spec->stop) != STOP_RUN || tasks_careful(pipeline->tasks, table, lo)))
            return;
        pipeline_give_up(pipeline, piece, result.ends, &error);
    }
    if (tasks_done(pipeline->tasks, table, lo, &table_ended))
        queue_close(pipeline->queue);
    if (table_ended && spec->writer->table_ended != NULL && stop_level(spec->stop) == STOP_RUN)
        spec->writer->table_ended(session, table);
}

/* What comes after the last piece; nothing of it is lost by a stop, which a later run makes good. */
static void finish_writer(struct pipeline *pipeline, void *session)
{
    const struct pipeline_spec *spec = pipeline->spec;
    struct retry retry;
    struct error error;

    retry_init(&retry, spec->retry_ms, (uint64_t)stats_now_ns());
    while (stop_level(spec->stop) == STOP_RUN) {
        int64_t pause_ms = -1;

        error_reset(&error);
        if (spec->writer->finish(session, &error) == STATUS_OK)
            return;
        if (error.status == STATUS_TRANSIENT)
            pause_ms = retry_next(&retry);
        if (pause_ms < 0) {
            pipeline_fail(pipeline, &error);
            return;
        }
        log_retry(pipeline, &error);
        stop_wait(spec->stop, pause_ms, STOP_DRAIN);
    }
}

static void *writer_main(void *argument)
{
    struct pipeline *pipeline = argument;
    const struct pipeline_spec *spec = pipeline->spec;
    void *session = NULL;
    struct piece *piece;
    struct error error;
    struct retry outage;
    int64_t waited = 0;

    retry_init(&outage, INT64_MAX / 2, (uint64_t)stats_now_ns());
    error_reset(&error);
    if (spec->writer->open(spec->target, pipeline, &session, &error) != STATUS_OK)
        pipeline_fail(pipeline, &error);
    while (session != NULL && (piece = queue_pop(pipeline->queue, &waited)) != NULL) {
        stats_add(&spec->stats->writer_wait_ns, waited);
        waited = 0;
        piece_taken(piece);
        atomic_fetch_add(&spec->stats->writers_active, 1);
        /* The range may have been quarantined while this piece was on its way into the queue. */
        if (spec->stream && pipeline_range_failed(pipeline, piece_spec(piece)))
            pipeline_lower_floor(pipeline, piece);
        else if (spec->stream)
            write_until_done(pipeline, session, piece);
        else
            write_once(pipeline, session, piece, &outage);
        atomic_fetch_sub(&spec->stats->writers_active, 1);
        queue_done(pipeline->queue, piece);
    }
    stats_add(&spec->stats->writer_wait_ns, waited);
    if (session != NULL && spec->writer->finish != NULL)
        finish_writer(pipeline, session);
    spec->writer->close(session);
    return NULL;
}

/* Reads ranges until none is left. */
static void read_tasks(struct pipeline *pipeline, void *session)
{
    const struct pipeline_spec *spec = pipeline->spec;
    const struct task *task;
    struct error error;
    bool careful;

    while ((task = tasks_next(pipeline->tasks, &careful)) != NULL) {
        struct piece_spec piece_spec = {
            .place = task->place,
            .table = task->table,
            .input = task->input,
            .end = 1,
            .rows_estimate = task->rows_estimate,
            .careful = careful,
        };
        struct piece *piece;

        error_reset(&error);
        if (piece_create(&piece_spec, pipeline->pool, &piece, &error) != STATUS_OK) {
            pipeline_fail(pipeline, &error);
            return;
        }
        if (queue_push(pipeline->queue, piece, 0, &error) != STATUS_OK) {
            pipeline_fail(pipeline, &error);
            piece_release(piece);
            piece_release(piece);
            return;
        }
        spec->reader->read(session, piece);
        piece_release(piece);
    }
}

/* The last one closes the queue. One that failed never comes here, so that nothing counts as complete. */
static void stream_ended(struct pipeline *pipeline)
{
    bool last;

    pthread_mutex_lock(&pipeline->mutex);
    last = --pipeline->streaming == 0;
    pthread_mutex_unlock(&pipeline->mutex);
    if (last)
        queue_close(pipeline->queue);
}

static void *reader_main(void *argument)
{
    struct pipeline *pipeline = argument;
    const struct pipeline_spec *spec = pipeline->spec;
    void *session = NULL;
    struct error error;

    error_reset(&error);
    if (spec->reader->open(spec->source, pipeline, &session, &error) != STATUS_OK) {
        pipeline_fail(pipeline, &error);
    } else if (!spec->stream) {
        read_tasks(pipeline, session);
    } else if (spec->reader->stream(session, &error) != STATUS_OK) {
        pipeline_fail(pipeline, &error);
    } else {
        stream_ended(pipeline);
    }
    spec->reader->close(session);
    return NULL;
}

static enum status pipeline_init(struct pipeline *pipeline, const struct pipeline_spec *spec, struct error *error)
{
    int64_t block_size = spec->memory_bytes / BLOCKS_WANTED;
    int64_t index_bytes = spec->stream && spec->spill_dir != NULL ? spec->memory_bytes / SPILL_INDEX_SHARE : 0;
    enum status status;

    int32_t inputs = spec->inputs > 0 ? spec->inputs : 1, tables = spec->tables > 0 ? spec->tables : 1;

    *pipeline = (struct pipeline){.spec = spec, .streaming = spec->readers};
    error_reset(&pipeline->error);
    error_reset(&pipeline->failure);
    pthread_mutex_init(&pipeline->mutex, NULL);
    pipeline->floors = calloc((size_t)inputs, sizeof *pipeline->floors);
    pipeline->tables = calloc((size_t)tables, sizeof *pipeline->tables);
    if (pipeline->floors == NULL || pipeline->tables == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int32_t i = 0; i < inputs; i++)
        pipeline->floors[i].offset = INT64_MAX;
    if (block_size < BLOCK_MIN)
        block_size = BLOCK_MIN;
    if (block_size > BLOCK_MAX)
        block_size = BLOCK_MAX;
    block_size &= ~INT64_C(4095);
    status = pool_create(spec->memory_bytes - index_bytes, (uint32_t)block_size,
                         spec->stream ? 0 : spec->writers * RESERVE_PER_WRITER, spec->stop, &pipeline->pool, error);
    if (status == STATUS_OK && index_bytes > 0)
        status = spill_create(spec->spill_dir, spec->spill_max, index_bytes / SPILL_SLOT_BYTES, (uint32_t)block_size,
                              spec->stats, &pipeline->spill, error);
    if (status == STATUS_OK)
        status = queue_create(spec->stop, spec->throttle, &pipeline->queue, error);
    if (status == STATUS_OK)
        status = cells_create(&pipeline->cells, error);
    if (status == STATUS_OK && !spec->stream)
        status = tasks_create(spec->tasks, spec->task_count, tables, spec->writers + spec->readers, spec->retry_ms,
                              spec->stop, spec->throttle, &pipeline->tasks, error);
    if (status == STATUS_OK && !spec->stream && spec->task_count == 0)
        queue_close(pipeline->queue);
    if (status == STATUS_OK)
        pool_watch(pipeline->pool, &spec->stats->blocks_used);
    atomic_store(&spec->stats->blocks_total, status == STATUS_OK ? pool_block_count(pipeline->pool) : 0);
    return status;
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

enum status pipeline_run(const struct pipeline_spec *spec, struct error *error)
{
    int count = spec->readers + spec->writers, started = 0;
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    struct pipeline pipeline;
    enum status status;

    status = threads == NULL ? error_set(error, STATUS_SYSTEM, "out of memory") : pipeline_init(&pipeline, spec, error);
    if (threads == NULL)
        return status;
    if (status != STATUS_OK)
        goto out;
    atomic_store(&spec->stats->readers, spec->readers);
    atomic_store(&spec->stats->writers, spec->writers);
    while (started < count &&
           pthread_create(&threads[started], NULL, started < spec->writers ? writer_main : reader_main, &pipeline) == 0)
        started++;
    if (started < count) {
        error_set(&pipeline.error, STATUS_SYSTEM, "cannot start thread %d of %d", started + 1, count);
        stop_request(spec->stop, STOP_DRAIN);
    }
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    status = pipeline_result(&pipeline, error);
out:
    queue_free(pipeline.queue);
    tasks_free(pipeline.tasks);
    cells_free(pipeline.cells);
    spill_free(pipeline.spill);
    pool_free(pipeline.pool);
    pthread_mutex_destroy(&pipeline.mutex);
    free(pipeline.failed);
    free(pipeline.floors);
    free(pipeline.tables);
    free(threads);
    return status;
}
