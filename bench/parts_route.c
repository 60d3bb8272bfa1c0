/* The way from a file to pieces: input, cutter, time of the first field, router and buckets; writers drop what they
 * get. */
#include "bench/parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "readers/stream.h"

#define MEMORY_BYTES (INT64_C(256) << 20)
#define HOUR INT64_C(3600000000)

/* ---- A writer that drops ---- */

struct dropper {
    struct pipeline *pipeline;
    struct packer *packer;
};

static enum status drop_open(void *target, struct pipeline *pipeline, void **session, struct error *error)
{
    struct dropper *dropper = calloc(1, sizeof *dropper);

    (void)target;
    if (dropper == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    dropper->pipeline = pipeline;
    *session = dropper;
    return packer_create(pool_block_size(pipeline_pool(pipeline)), &dropper->packer, error);
}

static enum status drop_write(void *session, struct piece *piece, struct write_result *result, struct error *error)
{
    struct dropper *dropper = session;
    struct cursor cursor = {0};
    struct span span;
    enum status status;

    *result = (struct write_result){0};
    do
        status = piece_next(piece, &cursor, dropper->packer, pipeline_stats(dropper->pipeline), &span, error);
    while (status == STATUS_OK && span.size > 0);
    result->piece_rows = piece_rows(piece);
    return status;
}

static void drop_close(void *session)
{
    struct dropper *dropper = session;

    if (dropper != NULL)
        packer_free(dropper->packer);
    free(dropper);
}

static const struct writer_ops drop_writer = {
    .name = "drop", .open = drop_open, .write = drop_write, .close = drop_close};

static enum status committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                             struct error *error)
{
    (void)context, (void)piece, (void)result, (void)error;
    return STATUS_OK;
}

static enum status failed(void *context, const struct piece_spec *piece, const struct error *reason,
                          struct error *error)
{
    (void)context, (void)piece;
    *error = *reason;
    return reason->status;
}

/* ---- The run ---- */

/* The router runs in a thread of the pipeline: its instructions are counted there. */
static enum status counted_stream(void *session, struct error *error)
{
    return parts_measure(stream_reader.stream, session, error);
}

static enum status run_pipeline(struct stream_set *set, const struct reader_ops *reader, struct stop *stop,
                                struct error *error)
{
    struct stats stats = {0};
    const struct pipeline_spec spec = {
        .stream = true,
        .inputs = 1,
        .reader = reader,
        .source = set,
        .readers = 1,
        .writer = &drop_writer,
        .writers = 1,
        .memory_bytes = MEMORY_BYTES,
        .stop = stop,
        .stats = &stats,
        .committed = committed,
        .failed = failed,
    };

    return pipeline_run(&spec, error);
}

/* Ranges are hours. `seconds` of processor time are those of the pipeline alone. */
static enum status route(const char *path, bool header, double *seconds, int64_t *size, struct error *error)
{
    const struct layout_spec layout = {.interval = HOUR, .window = {INT64_MIN, INT64_MAX}};
    struct stream_source source = {
        .path = path,
        .name = path,
        .fd = -1,
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .header = header},
        .time = {.type = TIME_TIMESTAMPTZ, .precision = -1},
        .memory_bytes = MEMORY_BYTES,
    };
    struct reader_ops reader = stream_reader;
    struct stream_set set = {.sources = &source, .count = 1};
    struct stop *stop = NULL;
    enum status status = stop_create(&stop, error);

    reader.stream = counted_stream;
    if (status == STATUS_OK)
        status = layout_create(&layout, &source.layout, error);
    if (status == STATUS_OK)
        status = stream_open(&source, error);
    *size = source.size;
    *seconds = processor_seconds();
    if (status == STATUS_OK)
        status = run_pipeline(&set, &reader, stop, error);
    *seconds = processor_seconds() - *seconds;
    stream_reset(&source);
    layout_free(source.layout);
    stop_free(stop);
    return status;
}

static enum status run_route(const struct part *part, int64_t *units, struct error *error)
{
    struct text text = {0};
    enum status status = text_make((enum text_kind)part->variant, &text, error);
    char path[64];
    double seconds;
    int64_t size;
    int fd = -1;

    if (status == STATUS_OK)
        status = text_file(&text, &fd, error);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (status == STATUS_OK)
        status = route(path, false, &seconds, &size, error);
    *units = text.rows;
    if (fd >= 0)
        close(fd);
    free(text.data);
    return status;
}

const struct part parts_route[] = {
    {"route", "row", run_route, TEXT_PLAIN},
    {"route-quoted", "row", run_route, TEXT_QUOTED},
    {"route-shuffled", "row", run_route, TEXT_SHUFFLED},
    {0},
};

enum status speed_route(const char *path, double *speed, struct error *error)
{
    double seconds;
    int64_t size;
    enum status status = route(path, true, &seconds, &size, error);

    *speed = (double)size / 1e6 / seconds;
    return status;
}
