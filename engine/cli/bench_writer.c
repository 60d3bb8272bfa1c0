/* Writers to measure with. */
#include <stdlib.h>

#include "engine/cli/bench.h"

/* ---- One that drops the rows ---- */

struct counting {
    struct pipeline *pipeline;
    struct packer *packer;
};

static void counting_close(void *opened)
{
    struct counting *counting = opened;

    if (counting != NULL)
        packer_free(counting->packer);
    free(counting);
}

static enum status counting_open(void *target, struct pipeline *pipeline, void **opened, struct error *error)
{
    struct counting *counting = calloc(1, sizeof *counting);
    enum status status;

    (void)target;
    if (counting == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    counting->pipeline = pipeline;
    status = packer_create(pool_block_size(pipeline_pool(pipeline)), &counting->packer, error);
    if (status == STATUS_OK)
        *opened = counting;
    else
        counting_close(counting);
    return status;
}

static enum status counting_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    struct counting *counting = opened;
    struct cursor cursor = {0};
    struct span span;
    enum status status;

    do {
        status = piece_next(piece, &cursor, counting->packer, pipeline_stats(counting->pipeline), &span, error);
    } while (status == STATUS_OK && span.size > 0);
    if (status != STATUS_OK)
        return status;
    *result = (struct write_result){.piece_rows = piece_rows(piece), .piece_bytes = piece_bytes(piece)};
    return STATUS_OK;
}

const struct writer_ops counting_writer = {
    .name = "count",
    .open = counting_open,
    .write = counting_write,
    .close = counting_close,
};

/* ---- One that looks at the clock ---- */

struct timed {
    struct timed_writer *writer;
    void *inner;
    int64_t last_ns; /* 0: wrote nothing */
};

static enum status timed_open(void *target, struct pipeline *pipeline, void **opened, struct error *error)
{
    struct timed_writer *writer = target;
    struct timed *timed = calloc(1, sizeof *timed);
    enum status status;

    if (timed == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    timed->writer = writer;
    status = writer->inner->open(writer->target, pipeline, &timed->inner, error);
    if (status == STATUS_OK)
        *opened = timed;
    else
        free(timed);
    return status;
}

static enum status timed_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    struct timed *timed = opened;
    enum status status = timed->writer->inner->write(timed->inner, piece, result, error);

    if (status == STATUS_OK)
        timed->last_ns = stats_now_ns();
    return status;
}

static void timed_close(void *opened)
{
    struct timed *timed = opened;
    struct timed_writer *writer;
    struct error error;

    if (timed == NULL)
        return;
    writer = timed->writer;
    error_reset(&error);
    if (timed->last_ns != 0 && writer->inner->finish != NULL &&
        writer->inner->finish(timed->inner, &error) == STATUS_OK)
        timed->last_ns = stats_now_ns();
    pthread_mutex_lock(&writer->mutex);
    if (timed->last_ns != 0 && writer->count < writer->room)
        writer->last_ns[writer->count++] = timed->last_ns;
    pthread_mutex_unlock(&writer->mutex);
    writer->inner->close(timed->inner);
    free(timed);
}

/* It has no `finish`: that is not called once a run is stopped, as most of these are. */
const struct writer_ops timed_writer = {
    .name = "timed",
    .open = timed_open,
    .write = timed_write,
    .close = timed_close,
};
