/* A reader thread. */
#include "engine/pipeline_private.h"

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

/* The piece of a task, in the queue, with the reader's hold; NULL: the run ends. */
static struct piece *begin_piece(struct pipeline *pipeline, const struct task *task, bool careful)
{
    struct piece_spec spec = {
        .place = task->place,
        .table = task->table,
        .input = task->input,
        .end = 1,
        .rows_estimate = task->rows_estimate,
        .careful = careful,
    };
    struct piece *piece;
    struct error error;

    error_reset(&error);
    if (piece_create(&spec, pipeline->pool, &piece, &error) != STATUS_OK) {
        pipeline_fail(pipeline, &error);
        return NULL;
    }
    if (queue_push(pipeline->queue, piece, 0, &error) != STATUS_OK) {
        pipeline_fail(pipeline, &error);
        piece_release(piece);
        piece_release(piece);
        return NULL;
    }
    return piece;
}

/* Reads ranges until none is left. */
static void read_tasks(struct pipeline *pipeline, void *session)
{
    const struct task *task;
    bool careful;

    while ((task = tasks_next(pipeline->tasks, &careful)) != NULL) {
        struct piece *piece = begin_piece(pipeline, task, careful);

        if (piece == NULL)
            return;
        pipeline->spec->reader->read(session, piece);
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

void *pipeline_reader_main(void *argument)
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
