/*
 * hyperfill-bench-parts: how fast a file goes through the first parts of the way, without a server.
 *
 *     hyperfill-bench-parts cut FILE       the cutter alone, over the file in memory
 *     hyperfill-bench-parts route FILE     input, cutter, time of the first field (timestamptz), router and buckets,
 * with writers that drop what they get; ranges of one hour
 *     hyperfill-bench-parts transcode:TYPE,TYPE,… FILE     cutter and transcoder, by the types of the columns; a type
 * that is given last as TYPE… is that of all others. Says what was converted, and the time for a million rows
 *
 * Prints megabytes (10^6 bytes) for each second of processor time, of all threads. For bench/inputs.sh.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "readers/stream.h"
#include "writers/transcode.h"

#define MEMORY_BYTES (INT64_C(256) << 20)
#define HOUR INT64_C(3600000000)
#define COLUMNS_MAX 256
#define SEND_SIZE ((size_t)64 << 10)

static double processor_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- The cutter ---- */

static enum status cut_all(const char *text, size_t size, int64_t *records, struct error *error)
{
    struct cutter cutter;
    int64_t lines;
    size_t record;

    cutter_init(&cutter, '"', '"');
    for (*records = 0; size > 0; ++*records) {
        if (cutter_cut(&cutter, text, size, true, &record, &lines) != CUT_RECORD)
            return error_set(error, STATUS_DATA, "%s", cutter.problem);
        text += record;
        size -= record;
    }
    return STATUS_OK;
}

/* What it takes to have the file in memory does not count. */
static enum status bench_text(const char *path,
                              enum status (*run)(const char *text, size_t size, int64_t *records, struct error *error),
                              int64_t *size, double *seconds, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    enum status status;
    int64_t records;
    char *text;

    if (fd < 0 || fstat(fd, &facts) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "%s", path);
    *size = facts.st_size;
    text = mmap(NULL, (size_t)*size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (text == MAP_FAILED)
        return error_set_errno(error, STATUS_SYSTEM, "%s", path);
    *seconds = processor_seconds();
    status = run(text, (size_t)*size, &records, error);
    *seconds = processor_seconds() - *seconds;
    munmap(text, (size_t)*size);
    close(fd);
    return status;
}

/* ---- The transcoder ---- */

static const char *transcode_types;

/* Columns for the header's names, by the list of types. */
static int transcode_columns(const char *header, struct transcoder_column *columns)
{
    char *types = strdup(transcode_types), *rest = types, *type = strsep(&rest, ",");
    int count = 1;

    for (; *header != '\n' && *header != '\0'; header++)
        count += *header == ',';
    for (int i = 0; type != NULL && i < count && i < COLUMNS_MAX; i++) {
        columns[i] = (struct transcoder_column){.name = type, .type = type, .base = type};
        if (rest != NULL)
            type = strsep(&rest, ",");
    }
    return count < COLUMNS_MAX ? count : COLUMNS_MAX;
}

static enum status transcode_all(const char *text, size_t size, int64_t *records, struct error *error)
{
    static struct transcoder_column columns[COLUMNS_MAX];
    struct transcoder_spec spec = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .columns = columns};
    struct transcoder *transcoder;
    struct transcoder_rows rows = {0};
    int64_t lines, converted_count = 0;
    struct cutter cutter;
    double begin = processor_seconds();
    size_t record;
    enum status status;

    spec.column_count = transcode_columns(text, columns);
    status = transcoder_create(&spec, &transcoder, error);
    cutter_init(&cutter, '"', '"');
    for (*records = 0; status == STATUS_OK && size > 0; ++*records) {
        bool converted;

        if (cutter_cut(&cutter, text, size, true, &record, &lines) != CUT_RECORD)
            return error_set(error, STATUS_DATA, "%s", cutter.problem);
        rows.size = rows.size < SEND_SIZE ? rows.size : 0;
        status = transcoder_add(transcoder, text, record, &rows, &converted, error);
        converted_count += converted;
        text += record;
        size -= record;
    }
    fprintf(stderr, "%lld of %lld records converted, %.3f s for a million\n", (long long)converted_count,
            (long long)*records, (processor_seconds() - begin) / (double)*records * 1e6);
    transcoder_rows_reset(&rows);
    transcoder_free(transcoder);
    return status;
}

/* ---- The router ---- */

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

static enum status bench_route(const char *path, int64_t *size, double *seconds, struct error *error)
{
    const struct layout_spec layout = {.interval = HOUR, .window = {INT64_MIN, INT64_MAX}};
    struct stream_source source = {
        .path = path,
        .name = path,
        .fd = -1,
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .header = true},
        .time = {.type = TIME_TIMESTAMPTZ, .precision = -1},
        .memory_bytes = MEMORY_BYTES,
    };
    struct stream_set set = {.sources = &source, .count = 1};
    struct stats stats = {0};
    struct stop *stop = NULL;
    struct pipeline_spec spec = {
        .stream = true,
        .inputs = 1,
        .reader = &stream_reader,
        .source = &set,
        .readers = 1,
        .writer = &drop_writer,
        .writers = 1,
        .memory_bytes = MEMORY_BYTES,
        .stats = &stats,
        .committed = committed,
        .failed = failed,
    };
    enum status status = stop_create(&stop, error);

    spec.stop = stop;
    if (status == STATUS_OK)
        status = layout_create(&layout, &source.layout, error);
    if (status == STATUS_OK)
        status = stream_open(&source, error);
    *size = source.size;
    *seconds = processor_seconds();
    if (status == STATUS_OK)
        status = pipeline_run(&spec, error);
    *seconds = processor_seconds() - *seconds;
    stream_reset(&source);
    layout_free(source.layout);
    stop_free(stop);
    return status;
}

int main(int argc, char **argv)
{
    struct error error;
    enum status status = STATUS_USAGE;
    int64_t size = 0;
    double seconds = 0;

    error_reset(&error);
    if (argc != 3) {
        fprintf(stderr, "usage: hyperfill-bench-parts cut|route|transcode:TYPE,… FILE\n");
        return STATUS_USAGE;
    }
    if (strcmp(argv[1], "cut") == 0)
        status = bench_text(argv[2], cut_all, &size, &seconds, &error);
    else if (strcmp(argv[1], "route") == 0)
        status = bench_route(argv[2], &size, &seconds, &error);
    else if (strncmp(argv[1], "transcode:", 10) == 0) {
        transcode_types = argv[1] + 10;
        status = bench_text(argv[2], transcode_all, &size, &seconds, &error);
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        return (int)status;
    }
    printf("%.0f\n", (double)size / 1e6 / seconds);
    return 0;
}
