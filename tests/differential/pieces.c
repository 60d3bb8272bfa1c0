/*
 * The reader of CSV as a filter, for differential tests: takes files from standard input, one after the other, and says
 * what pieces the real cutter and router make of each, at reads of random sizes and with little memory. What a server
 * thinks of the same bytes is the test's part (tests/integration/test_differential.py).
 *
 *     file DELIMITER QUOTE ESCAPE NULL TYPE INDEX STREAM BLOCKS MEMORY SEED SIZE
 *     <SIZE bytes>
 *       ─► piece LO HI ROWS SIZE, <SIZE bytes>, offset and size of each record; for each piece
 *          end STATUS OFFSET LINE SIZE, <SIZE bytes of message>
 *     locate PIECE LINE                           of the last file: the record that is at this line of a COPY
 *       ─► at OFFSET LINE                         -1: not known
 *
 * All are numbers but NULL, which is hex between x and a point; TYPE is an enum time_type, INDEX the time's field.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "readers/stream.h"
#include "writers/append_private.h"

#define BLOCK_SIZE 4096
#define INTERVAL 1000
#define PIECES_MAX 4096
/* A pool of so many blocks holds all pieces of a small file, which can then be asked about. */
#define BLOCKS_TO_KEEP 1024

struct pipeline {
    struct pool *pool;
    struct stop *stop;
    struct stats stats;
    struct packer *packer;
    struct cutter cutter; /* of the dialect; finds the records of a piece */
    struct piece *kept[PIECES_MAX];
    int piece_count;
    unsigned seed;
};

static unsigned read_seed;
static bool read_whole;

/* ---- Reads that give less than was asked for ---- */

ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __real_pread(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t offset);

static size_t some_of(size_t size)
{
    static const size_t most[] = {1, 3, 17, 200, 5000, 100000};
    /* Half of the files are read in one go, so that the quick ways of the cutter are taken. */
    size_t limit = read_whole ? size : most[(unsigned)rand_r(&read_seed) % (sizeof most / sizeof *most)];
    size_t some = 1 + (unsigned)rand_r(&read_seed) % limit;

    return some < size ? some : size;
}

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    return __real_read(fd, buffer, fd == STDIN_FILENO ? size : some_of(size));
}

ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t offset)
{
    return __real_pread(fd, buffer, some_of(size), offset);
}

/* ---- A pipeline that writes its pieces to standard output ---- */

struct stop *pipeline_stop(struct pipeline *pipeline)
{
    return pipeline->stop;
}

struct stats *pipeline_stats(struct pipeline *pipeline)
{
    return &pipeline->stats;
}

struct pool *pipeline_pool(struct pipeline *pipeline)
{
    return pipeline->pool;
}

struct throttle *pipeline_throttle(struct pipeline *pipeline)
{
    (void)pipeline;
    return NULL;
}

int pipeline_writers(const struct pipeline *pipeline)
{
    (void)pipeline;
    return 2;
}

int pipeline_readers(const struct pipeline *pipeline)
{
    (void)pipeline;
    return 1;
}

struct spill *pipeline_spill(struct pipeline *pipeline)
{
    (void)pipeline;
    return NULL;
}

int pipeline_hungry(struct pipeline *pipeline)
{
    return rand_r(&pipeline->seed) % 3;
}

int64_t pipeline_queued_blocks(struct pipeline *pipeline)
{
    (void)pipeline;
    return 0;
}

enum status pipeline_cell_opened(struct pipeline *pipeline, int64_t cell_lo, struct error *error)
{
    (void)pipeline, (void)cell_lo, (void)error;
    return STATUS_OK;
}

void pipeline_cell_closed(struct pipeline *pipeline, int64_t cell_lo)
{
    (void)pipeline, (void)cell_lo;
}

bool pipeline_cell_busy(struct pipeline *pipeline, const struct piece *piece)
{
    (void)pipeline, (void)piece;
    return false;
}

bool pipeline_range_busy(struct pipeline *pipeline, int64_t lo)
{
    (void)lo;
    return rand_r(&pipeline->seed) % 2 == 0;
}

struct input_position pipeline_frontier(struct pipeline *pipeline, const struct piece *piece)
{
    (void)pipeline;
    (void)piece;
    abort();
}

/* A piece's text in one, and where it came from. */
struct text {
    char *data;
    size_t size;
    struct block_mark *marks; /* `at` counts from the text's start */
    size_t mark_count;
};

static void text_read(struct pipeline *pipeline, struct piece *piece, struct text *text)
{
    struct cursor cursor = {0};
    struct error error;
    struct span span;

    error_reset(&error);
    for (;;) {
        if (piece_next(piece, &cursor, pipeline->packer, &pipeline->stats, &span, &error) != STATUS_OK)
            abort();
        if (span.size == 0)
            break;
        text->data = realloc(text->data, text->size + span.size);
        text->marks = realloc(text->marks, (text->mark_count + span.mark_count) * sizeof *text->marks);
        assert(text->data != NULL && text->marks != NULL);
        memcpy(text->data + text->size, span.data, span.size);
        for (uint32_t i = 0; i < span.mark_count; i++) {
            struct block_mark *mark = &text->marks[text->mark_count++];

            *mark = *span_mark(&span, i);
            mark->at += (uint32_t)text->size;
        }
        text->size += span.size;
    }
}

static void text_print(const struct text *text, struct cutter cutter)
{
    size_t at = 0, mark = 0, size;
    int64_t lines;

    while (at < text->size) {
        if (cutter_cut(&cutter, text->data + at, text->size - at, true, &size, &lines) != CUT_RECORD)
            abort();
        while (mark + 1 < text->mark_count && text->marks[mark + 1].at <= at)
            mark++;
        printf("%" PRId64 " %zu ", text->marks[mark].offset + (int64_t)(at - text->marks[mark].at), size);
        at += size;
    }
    putchar('\n');
}

void pipeline_submit(struct pipeline *pipeline, struct piece *piece)
{
    const struct range range = piece_spec(piece)->place.range;
    struct text text = {0};

    text_read(pipeline, piece, &text);
    printf("piece %" PRId64 " %" PRId64 " %" PRId64 " %zu\n", range.lo, range.hi, piece_rows(piece), text.size);
    fwrite(text.data, 1, text.size, stdout);
    text_print(&text, pipeline->cutter);
    free(text.data);
    free(text.marks);
    piece_release(piece);
    if (pool_block_count(pipeline->pool) < BLOCKS_TO_KEEP)
        piece_release(piece);
    else
        pipeline->kept[pipeline->piece_count] = piece;
    pipeline->piece_count++;
    assert(pipeline->piece_count < PIECES_MAX);
}

/* ---- One file ---- */

struct file {
    struct stream_source source;
    struct pipeline pipeline;
    struct append_input input;
    struct append_target target;
    struct append_session session;
    char null_text[64];
    char path[32];
    int64_t size;
};

static void must(enum status status, const struct error *error)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "pieces: %s\n", error->text);
    exit(1);
}

static void null_from_hex(char *text, const char *hex)
{
    size_t used = 0;
    unsigned byte;

    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        text[used++] = (char)byte;
    text[used] = '\0';
}

/* The bytes that follow in standard input, as a file or as a pipe. */
static int file_take(int64_t size, bool stream)
{
    char *text = malloc((size_t)size + 1);
    int fd = memfd_create("file", 0), ends[2];

    assert(text != NULL && fd >= 0);
    if (fread(text, 1, (size_t)size, stdin) != (size_t)size)
        exit(1);
    if (stream) {
        close(fd);
        /* A pipe holds 64 KiB; larger ones are not asked for. */
        if (pipe(ends) != 0 || write(ends[1], text, (size_t)size) != size)
            abort();
        close(ends[1]);
        fd = ends[0];
    } else if (write(fd, text, (size_t)size) != size) {
        abort();
    }
    free(text);
    return fd;
}

static void file_open(struct file *file, const char *line, int *fd)
{
    struct layout_spec layout = {.interval = INTERVAL, .window = {INT64_MIN, INT64_MAX}};
    int delimiter, quote, escape, type, index, stream;
    struct error error;
    int64_t blocks;
    char hex[128];

    *file = (struct file){0};
    if (sscanf(line, "file %d %d %d x%127s %d %d %d %" SCNd64 " %" SCNd64 " %u %" SCNd64, &delimiter, &quote, &escape,
               hex, &type, &index, &stream, &blocks, &file->source.memory_bytes, &file->pipeline.seed,
               &file->size) != 11)
        exit(1);
    null_from_hex(file->null_text, hex);
    *fd = file_take(file->size, stream != 0);
    snprintf(file->path, sizeof file->path, "/dev/fd/%d", *fd);
    file->source.path = file->path;
    file->source.name = "file";
    file->source.fd = -1;
    file->source.dialect = (struct dialect){
        .delimiter = (char)delimiter, .quote = (char)quote, .escape = (char)escape, .null_text = file->null_text};
    file->source.time_index = index;
    file->source.time = (struct time_column){.type = (enum time_type)type, .precision = -1};
    layout.interval = time_type_is_integer((enum time_type)type) ? INTERVAL : TIME_DAY;
    read_seed = file->pipeline.seed;
    read_whole = rand_r(&read_seed) % 2 == 0;
    error_reset(&error);
    must(stop_create(&file->pipeline.stop, &error), &error);
    must(pool_create(blocks * BLOCK_SIZE, BLOCK_SIZE, 0, file->pipeline.stop, &file->pipeline.pool, &error), &error);
    must(packer_create(BLOCK_SIZE, &file->pipeline.packer, &error), &error);
    must(layout_create(&layout, &file->source.layout, &error), &error);
    file->input = (struct append_input){.name = "file", .quote = (char)quote, .escape = (char)escape};
    file->target = (struct append_target){.inputs = &file->input, .input_count = 1};
    file->session =
        (struct append_session){.target = &file->target, .pipeline = &file->pipeline, .packer = file->pipeline.packer};
}

static void file_route(struct file *file)
{
    struct stream_set set = {.sources = &file->source, .count = 1};
    void *session = NULL;
    struct error error;
    enum status status;

    error_reset(&error);
    status = stream_open(&file->source, &error);
    cutter_init(&file->pipeline.cutter, file->source.dialect.quote, file->source.dialect.escape);
    file->pipeline.cutter.line_end = file->source.line_end;
    if (status == STATUS_OK)
        status = stream_reader.open(&set, &file->pipeline, &session, &error);
    if (status == STATUS_OK)
        status = stream_reader.stream(session, &error);
    stream_reader.close(session);
    printf("end %d %" PRId64 " %" PRId64 " %zu\n%s", status, error.offset, error.line, strlen(error.text), error.text);
}

static void file_close(struct file *file, int fd)
{
    for (int i = 0; i < file->pipeline.piece_count; i++)
        piece_release(file->pipeline.kept[i]);
    stream_reset(&file->source);
    close(fd);
    layout_free(file->source.layout);
    packer_free(file->pipeline.packer);
    pool_free(file->pipeline.pool);
    stop_free(file->pipeline.stop);
}

static void locate(struct file *file, const char *line)
{
    struct error error;
    int64_t wanted;
    int piece;

    error_reset(&error);
    if (sscanf(line, "locate %d %" SCNd64, &piece, &wanted) != 2)
        exit(1);
    if (file->pipeline.kept[piece] != NULL)
        locate_record(&file->session, file->pipeline.kept[piece], wanted, &error);
    printf("at %" PRId64 " %" PRId64 "\n", error.offset, error.line);
}

int main(void)
{
    static struct file file;
    char line[512];
    int fd = -1;

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "locate", 6) == 0) {
            locate(&file, line);
        } else {
            if (fd >= 0)
                file_close(&file, fd);
            file_open(&file, line, &fd);
            file_route(&file);
        }
        fflush(stdout);
    }
    if (fd >= 0)
        file_close(&file, fd);
    return 0;
}
