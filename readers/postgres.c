/* Reads ranges from PostgreSQL by COPY TO. */
#include "readers/postgres.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "readers/filling.h"

struct session {
    const struct postgres_tables *tables; /* NULL: one */
    const struct postgres_source *source; /* of the piece that is read */
    struct pipeline *pipeline;
    struct pg *pg;
    struct packer *packer;
    uint32_t block_size;
};

/* One range being read. */
struct reading {
    struct session *session;
    struct piece *piece;
    struct filling filling;
    int64_t rows, bytes;
};

static void session_close(void *argument)
{
    struct session *session = argument;

    if (session == NULL)
        return;
    pg_free(session->pg);
    packer_free(session->packer);
    free(session);
}

static size_t row_bytes_max(const struct postgres_source *source, struct pipeline *pipeline)
{
    return (size_t)(source->memory_bytes / 4 / pipeline_readers(pipeline));
}

static enum status session_open(void *argument, struct pipeline *pipeline, void **result, struct error *error)
{
    const struct postgres_source *source = argument;
    struct session *session = calloc(1, sizeof *session);
    enum status status;

    *result = NULL;
    if (session == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    session->source = source;
    session->pipeline = pipeline;
    session->block_size = pool_block_size(pipeline_pool(pipeline));
    status = pg_create(source->address, source->settings, pipeline_stop(pipeline), &session->pg, error);
    if (status == STATUS_OK)
        pg_copy_out_limit(session->pg, row_bytes_max(source, pipeline));
    if (status == STATUS_OK)
        status = packer_create(session->block_size, &session->packer, error);
    if (status != STATUS_OK) {
        session_close(session);
        return status;
    }
    *result = session;
    return STATUS_OK;
}

static enum status tables_open(void *argument, struct pipeline *pipeline, void **result, struct error *error)
{
    const struct postgres_tables *tables = argument;
    enum status status = session_open((void *)tables->sources[0], pipeline, result, error);

    if (status == STATUS_OK)
        ((struct session *)*result)->tables = tables;
    return status;
}

/* ---- One range ---- */

/* What is written carefully is taken apart into records. */
static bool is_binary(const struct reading *reading)
{
    return reading->session->source->binary && !piece_spec(reading->piece)->careful;
}

static enum status copy_begin(struct reading *reading, struct error *error)
{
    const struct postgres_source *source = reading->session->source;
    struct pg *pg = reading->session->pg;
    bool binary = is_binary(reading);
    struct sql sql = {0};
    enum status status = pg_run(pg, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", NULL, error);

    if (status != STATUS_OK)
        return status;
    sql_add(&sql, "COPY (SELECT %s FROM %s WHERE ", source->select_list, source->table->sql);
    table_add_where(&sql, source->table, piece_spec(reading->piece)->place.range);
    if (source->order != NULL)
        sql_add(&sql, " ORDER BY %s", source->order);
    sql_add(&sql, ") TO STDOUT (FORMAT %s)", binary ? "binary" : "csv");
    status = pg_copy_out_begin(pg, sql.text, error);
    sql_reset(&sql);
    return status;
}

/* A binary stream without rows: signature, flags, extension length, trailer, in one message. */
#define BINARY_EMPTY_SIZE 21

/*
 * The rows to their end, counted on both sides. A binary stream has its header before the first row, in the same
 * message (DoCopyTo), and its trailer in a message of its own, which is no row; one without rows is a single message
 * and is dropped.
 */
static enum status copy_rows(struct reading *reading, struct error *error)
{
    bool binary = is_binary(reading);
    struct pg *pg = reading->session->pg;
    int64_t server_rows = -1;
    const char *row;
    enum status status;
    int size;

    while ((status = pg_copy_out_next(pg, &row, &size, &server_rows, error)) == STATUS_OK && size > 0) {
        if (binary && reading->rows == 0 && size <= BINARY_EMPTY_SIZE) {
            reading->rows++;
            continue;
        }
        if (reading->rows++ == 0)
            piece_set_first_record(reading->piece, (uint32_t)size);
        reading->bytes += size;
        status = filling_add(&reading->filling, row, (size_t)size, reading->session->block_size, error);
        if (status != STATUS_OK)
            return status;
    }
    if (status == STATUS_DATA && error->sqlstate[0] == '\0')
        error_hint(error, ": raise --memory to %" PRId64 "MB or more, or read by fewer --readers",
                   (reading->session->source->memory_bytes >> 20) * 2);
    if (status == STATUS_OK && binary)
        reading->rows--;
    if (status == STATUS_OK && server_rows != reading->rows)
        return error_set(error, STATUS_TRANSIENT,
                         "the source says it sent %" PRId64 " rows, but %" PRId64
                         " arrived; nothing of the range is kept",
                         server_rows, reading->rows);
    return status;
}

static enum status reading_run(struct reading *reading, struct error *error)
{
    struct pg *pg = reading->session->pg;
    enum status status = pg_connect(pg, error);

    if (status == STATUS_OK)
        status = copy_begin(reading, error);
    if (status == STATUS_OK)
        status = copy_rows(reading, error);
    if (status == STATUS_OK)
        status = pg_run(pg, "COMMIT", NULL, error);
    return status;
}

static void error_place(struct error *error, const struct table *table, struct range range)
{
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];

    error_prefix(error, "reading %s from %s until before %s", table->sql, time_format(table->time.type, range.lo, from),
                 time_format(table->time.type, range.hi, until));
}

static void reading_fail(struct reading *reading, struct error *error)
{
    struct session *session = reading->session;

    /* In the middle of rows: cancelled and closed, since draining a large range could take as long as reading it. */
    if (error->status == STATUS_STOPPED) {
        pg_disconnect(session->pg);
    } else {
        pg_rollback(session->pg);
        error_place(error, session->source->table, piece_spec(reading->piece)->place.range);
    }
    filling_drop(&reading->filling);
    piece_fail(reading->piece, error);
}

static void session_read(void *argument, struct piece *piece)
{
    struct session *session = argument;
    struct stats *stats = pipeline_stats(session->pipeline);
    struct reading reading = {
        .session = session,
        .piece = piece,
        .filling = {session->pipeline, session->packer, piece, &stats->bytes_read, NULL},
    };
    struct error error;

    if (session->tables != NULL)
        session->source = session->tables->sources[piece_spec(piece)->table];
    error_reset(&error);
    atomic_fetch_add_explicit(&stats->readers_active, 1, memory_order_relaxed);
    if (reading_run(&reading, &error) != STATUS_OK) {
        assert(error.status != STATUS_OK);
        reading_fail(&reading, &error);
    } else {
        filling_end(&reading.filling);
        piece_complete(piece, reading.rows, reading.bytes);
    }
    atomic_fetch_sub_explicit(&stats->readers_active, 1, memory_order_relaxed);
}

const struct reader_ops postgres_reader = {
    .name = "postgres",
    .open = session_open,
    .read = session_read,
    .close = session_close,
};

const struct reader_ops postgres_tables_reader = {
    .name = "postgres",
    .open = tables_open,
    .read = session_read,
    .close = session_close,
};
