/* A writer thread. */
#include "engine/log.h"
#include "engine/pipeline_private.h"
#include "engine/retry.h"

/* While a server is away each writer tries some range this often at the least. */
#define OUTAGE_PAUSE_MAX_MS 2000

/* A range of a stream is counted when it is begun: only the end of all inputs tells that it is whole. */
static void count_committed(struct pipeline *pipeline, struct piece *piece, const struct write_result *result)
{
    struct stats *stats = pipeline->spec->stats;
    bool stream = pipeline->spec->stream, rejects = range_is_rejects(piece_spec(piece)->place.range);

    if (result->already) {
        /* A commit in doubt that had succeeded, or another process: its rows are there and count as done. */
        if (!rejects)
            stats_add(&stats->rows_done, stream ? piece_rows(piece) : result->rows);
        stats_add(&stats->bytes_done, stream ? piece_bytes(piece) : result->bytes);
    } else {
        stats_add(&stats->rows_done, result->piece_rows);
        stats_add(&stats->bytes_done, result->piece_bytes);
        stats_add(&stats->rejects_done, result->piece_rejects);
        stats_add(&stats->conflicts_done, result->piece_conflicts);
        stats_add(&stats->pieces_done, 1);
    }
    if ((!stream || result->first_of_range) && !rejects)
        stats_add(&stats->ranges_done, 1);
}

/* After a commit. */
static void pipeline_committed(struct pipeline *pipeline, struct piece *piece, const struct write_result *result)
{
    struct error error;
    enum status status;

    if (result->already)
        log_line(LOG_DEBUG, "a piece was committed before: not loaded again");
    count_committed(pipeline, piece, result);
    error_reset(&error);
    pthread_mutex_lock(&pipeline->mutex);
    pipeline->tables[piece_spec(piece)->table].failures_in_row = 0;
    status = pipeline->spec->committed(pipeline->spec->context, piece_spec(piece), result, &error);
    pthread_mutex_unlock(&pipeline->mutex);
    if (status != STATUS_OK)
        pipeline_fail(pipeline, &error);
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

/* Whether the range is read again: now, later, or by a later run. */
static bool comes_again(struct pipeline *pipeline, const struct piece_spec *piece, bool careful,
                        const struct error *error, struct retry *outage)
{
    struct stop *stop = pipeline->spec->stop;

    if (error->status == STATUS_TRANSIENT) {
        if (stop_level(stop) != STOP_RUN)
            return true;
        log_retry(pipeline, error);
        if (tasks_again(pipeline->tasks, piece->table, piece->place.range.lo)) {
            /* With a server away every range fails at once: one after the other, slower and slower. */
            if (pipeline_is_outage(error))
                stop_wait(stop, outage_pause(outage), STOP_DRAIN);
            return true;
        }
    }
    return careful &&
           (stop_level(stop) != STOP_RUN || tasks_careful(pipeline->tasks, piece->table, piece->place.range.lo));
}

static void task_done(struct pipeline *pipeline, void *session, const struct piece_spec *piece)
{
    const struct pipeline_spec *spec = pipeline->spec;
    bool table_ended = false;

    if (tasks_done(pipeline->tasks, piece->table, piece->place.range.lo, &table_ended))
        queue_close(pipeline->queue);
    if (table_ended && spec->writer->table_ended != NULL && stop_level(spec->stop) == STOP_RUN)
        spec->writer->table_ended(session, piece->table);
}

/* An addressable source's piece: one attempt; if it fails the range goes back to the list. */
static void write_once(struct pipeline *pipeline, void *session, struct piece *piece, struct retry *outage)
{
    struct write_result result = {0};
    struct error error;

    error_reset(&error);
    if (pipeline->spec->writer->write(session, piece, &result, &error) == STATUS_OK) {
        outage->pause_ms = 0;
        if (result.already)
            piece_give_up(piece);
        pipeline_committed(pipeline, piece, &result);
    } else {
        piece_give_up(piece);
        if (comes_again(pipeline, piece_spec(piece), result.careful, &error, outage))
            return;
        pipeline_give_up(pipeline, piece, result.ends, &error);
    }
    task_done(pipeline, session, piece_spec(piece));
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

static void write_piece(struct pipeline *pipeline, void *session, struct piece *piece, struct retry *outage)
{
    const struct pipeline_spec *spec = pipeline->spec;

    piece_taken(piece);
    atomic_fetch_add(&spec->stats->writers_active, 1);
    /* The range may have been quarantined while this piece was on its way into the queue. */
    if (spec->stream && pipeline_range_failed(pipeline, piece_spec(piece)))
        pipeline_lower_floor(pipeline, piece);
    else if (spec->stream)
        write_until_done(pipeline, session, piece);
    else
        write_once(pipeline, session, piece, outage);
    atomic_fetch_sub(&spec->stats->writers_active, 1);
    queue_done(pipeline->queue, piece);
}

static void write_pieces(struct pipeline *pipeline, void *session)
{
    struct stats *stats = pipeline->spec->stats;
    struct piece *piece;
    struct retry outage;
    int64_t waited = 0;

    retry_init(&outage, INT64_MAX / 2, (uint64_t)stats_now_ns());
    while ((piece = queue_pop(pipeline->queue, &waited)) != NULL) {
        stats_add(&stats->writer_wait_ns, waited);
        waited = 0;
        write_piece(pipeline, session, piece, &outage);
    }
    stats_add(&stats->writer_wait_ns, waited);
}

void *pipeline_writer_main(void *argument)
{
    struct pipeline *pipeline = argument;
    const struct pipeline_spec *spec = pipeline->spec;
    void *session = NULL;
    struct error error;

    error_reset(&error);
    if (spec->writer->open(spec->target, pipeline, &session, &error) != STATUS_OK)
        pipeline_fail(pipeline, &error);
    if (session != NULL)
        write_pieces(pipeline, session);
    if (session != NULL && spec->writer->finish != NULL)
        finish_writer(pipeline, session);
    spec->writer->close(session);
    return NULL;
}
