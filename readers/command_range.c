/*
 * A range read from the output of a command of its own.
 *
 *     output ─► buffer: [ records that are whole | the begin of one ] ─► time in range? ─► blocks of the piece
 *
 * Rows go on to the writer while the command still runs, but the piece is complete only after its exit status; what is
 * left in the buffer then, a record without a line end, is cut after it, too.
 */
#include "readers/command.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers/filling.h"
#include "readers/record.h"

#define BUFFER_SIZE ((size_t)256 << 10)
/* Of all memory, for the buffers of all readers together. */
#define BUFFERS_SHARE 4
#define BUFFER_MAX_LEAST (INT64_C(1) << 20)
#define BOM "\xef\xbb\xbf"

struct session {
    struct command_source *source;
    struct pipeline *pipeline;
    struct packer *packer;
    char *buffer;
    size_t buffer_size, buffer_max;
};

/* One run. */
struct reading {
    struct session *session;
    struct piece *piece;
    struct process *process;
    struct range range;
    struct cutter cutter;
    struct record_times times;
    size_t size;    /* in the buffer */
    int64_t offset; /* of the buffer's first byte in the output */
    int64_t line;   /* of the next record */
    bool begun;     /* a mark of the byte order is behind us */
    bool headed;    /* and the header, where there is one */
    char *header;   /* its text */
    size_t header_size;
    struct filling filling;
    int64_t rows, bytes;
    bool careful; /* the writer rejects rows whose time cannot be read */
};

/* ---- Sessions ---- */

static void session_close(void *opaque)
{
    struct session *session = opaque;

    if (session == NULL)
        return;
    packer_free(session->packer);
    free(session->buffer);
    free(session);
}

static enum status session_open(void *opaque, struct pipeline *pipeline, void **result, struct error *error)
{
    struct command_source *source = opaque;
    struct session *session = calloc(1, sizeof *session);
    int64_t most = source->csv->memory_bytes / BUFFERS_SHARE / (source->readers > 0 ? source->readers : 1);
    enum status status;

    *result = NULL;
    if (session == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    session->source = source;
    session->pipeline = pipeline;
    session->buffer_size = BUFFER_SIZE;
    session->buffer_max = (size_t)(most > BUFFER_MAX_LEAST ? most : BUFFER_MAX_LEAST);
    session->buffer = malloc(session->buffer_size);
    status = session->buffer == NULL ? error_set(error, STATUS_SYSTEM, "out of memory")
                                     : packer_create(pool_block_size(pipeline_pool(pipeline)), &session->packer, error);
    if (status != STATUS_OK) {
        session_close(session);
        return status;
    }
    *result = session;
    return STATUS_OK;
}

/* ---- Records ---- */

/* With the lock held. */
static enum status header_compare(const struct command_source *source, const char *text, size_t size,
                                  struct error *error)
{
    if (source->header == NULL || (source->header_size == size && memcmp(source->header, text, size) == 0))
        return STATUS_OK;
    return record_error(source->csv, 0, 1, error,
                        "the header is not the one of the first run: a command must print the same columns for each "
                        "range. If it prints none, say --no-header");
}

static enum status header_take(struct reading *reading, const char *record, size_t size, struct error *error)
{
    struct command_source *source = reading->session->source;
    size_t text_size = record_text_size(record, size);
    int fields = cutter_field_count(&reading->cutter, source->csv->dialect.delimiter, record, text_size);
    enum status status;

    pthread_mutex_lock(&source->mutex);
    status = header_compare(source, record, text_size, error);
    pthread_mutex_unlock(&source->mutex);
    if (status == STATUS_OK && fields != source->column_count)
        status = record_error(source->csv, 0, 1, error, "the header has %d fields, but %d columns are loaded", fields,
                              source->column_count);
    if (status != STATUS_OK)
        return status;
    reading->header_size = text_size;
    reading->header = strndup(record, text_size);
    return reading->header != NULL ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory");
}

/* What a run that ended well has printed is what the others are held to, where nothing was known before. */
static enum status header_keep(struct reading *reading, struct error *error)
{
    struct command_source *source = reading->session->source;
    enum status status;

    if (reading->header == NULL)
        return STATUS_OK;
    pthread_mutex_lock(&source->mutex);
    status = header_compare(source, reading->header, reading->header_size, error);
    if (status == STATUS_OK && source->header == NULL) {
        source->header = reading->header;
        source->header_size = reading->header_size;
        reading->header = NULL;
    }
    pthread_mutex_unlock(&source->mutex);
    return status;
}

/*
 * A row whose time cannot be read is the writer's to reject, where it does so. It learns of the first one by the
 * SQLSTATE of the error, has the range read again, and is careful then.
 */
static enum status row_check(struct reading *reading, const char *record, size_t size, int64_t offset,
                             struct error *error)
{
    const struct stream_source *csv = reading->session->source->csv;
    char text[TIME_TEXT_MAX];
    int64_t value;

    if (!record_time(&reading->times, &reading->cutter, record, size, &value))
        return reading->careful
                   ? STATUS_OK
                   : record_time_error(&reading->times, &reading->cutter, record, size, offset, reading->line, error);
    if (value >= reading->range.lo && value < reading->range.hi)
        return STATUS_OK;
    return record_error(csv, offset, reading->line, error,
                        "the row's time %s is outside of the range that the command was asked for: it must select "
                        "times at or after {from} and before {until}, or rows would be loaded twice",
                        time_format(csv->time.type, value, text));
}

/* `size` is 0 where it is in doubt where the record ends. */
static enum status cut_error(struct reading *reading, int64_t offset, size_t size, struct error *error)
{
    record_error(reading->session->source->csv, offset, reading->line, error, "%s", reading->cutter.problem);
    if (reading->cutter.in_quote)
        error_hint(error, " (the quote opens in line %" PRId64 ")", reading->line + reading->cutter.quote_newlines);
    if (size > 0)
        snprintf(error->sqlstate, sizeof error->sqlstate, "22P04");
    return error->status;
}

/* One record at `at`: the header, or a row. */
static enum status record_take(struct reading *reading, size_t at, size_t size, struct error *error)
{
    const char *record = reading->session->buffer + at;
    enum status status;

    if (!reading->headed) {
        reading->headed = true;
        return header_take(reading, record, size, error);
    }
    status = row_check(reading, record, size, reading->offset + (int64_t)at, error);
    if (status == STATUS_OK && reading->rows++ == 0)
        piece_set_first_record(reading->piece, (uint32_t)size);
    return status;
}

/* All whole records of the buffer; *used is how far they reach. */
static enum status records_take(struct reading *reading, bool last, size_t *used, struct error *error)
{
    const char *buffer = reading->session->buffer;
    size_t at = 0, rows_at, size = 0;
    enum status status = STATUS_OK;
    int64_t lines = 0;

    *used = 0;
    if (!reading->begun) {
        if (reading->size < sizeof BOM - 1 && !last)
            return STATUS_OK;
        reading->begun = true;
        at = reading->size >= sizeof BOM - 1 && memcmp(buffer, BOM, sizeof BOM - 1) == 0 ? sizeof BOM - 1 : 0;
    }
    rows_at = at;
    while (status == STATUS_OK && at < reading->size) {
        enum cut cut = cutter_cut(&reading->cutter, buffer + at, reading->size - at, last, &size, &lines);
        bool header = !reading->headed;

        if (cut == CUT_MORE)
            break;
        if (cut == CUT_BAD && (size == 0 || header || !reading->careful))
            status = cut_error(reading, reading->offset + (int64_t)at, header ? 0 : size, error);
        else
            status = record_take(reading, at, size, error);
        at += size;
        rows_at = header ? at : rows_at;
        reading->line += lines;
    }
    if (status != STATUS_OK)
        return status;
    *used = at;
    reading->bytes += (int64_t)(at - rows_at);
    return filling_split(&reading->filling, buffer + rows_at, at - rows_at, error);
}

/* ---- The output ---- */

/* Drops what is used up, and makes room behind the rest. */
static enum status buffer_slide(struct reading *reading, size_t used, struct error *error)
{
    struct session *session = reading->session;
    size_t larger = session->buffer_size * 2 < session->buffer_max ? session->buffer_size * 2 : session->buffer_max;
    char *buffer;

    memmove(session->buffer, session->buffer + used, reading->size - used);
    reading->size -= used;
    reading->offset += (int64_t)used;
    cutter_forget(&reading->cutter);
    if (reading->size < session->buffer_size)
        return STATUS_OK;
    if (session->buffer_size >= session->buffer_max) {
        record_error(session->source->csv, reading->offset, reading->line, error,
                     "the record of %zu bytes or more that begins here does not fit: raise --memory", reading->size);
        if (reading->cutter.in_quote)
            error_hint(error, " (or is a quote not closed that opens in line %" PRId64 "?)",
                       reading->line + reading->cutter.quote_newlines);
        return error->status;
    }
    buffer = realloc(session->buffer, larger);
    if (buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    session->buffer = buffer;
    session->buffer_size = larger;
    return STATUS_OK;
}

/* All of the output; its end is believed once the command has ended well. */
static enum status output_read(struct reading *reading, struct error *error)
{
    struct session *session = reading->session;
    struct stop *stop = pipeline_stop(session->pipeline);
    enum status status = STATUS_OK;
    size_t used = 0, got = 1;

    while (status == STATUS_OK && got > 0) {
        status = buffer_slide(reading, used, error);
        if (status == STATUS_OK)
            status = filling_given_up(&reading->filling, error);
        if (status == STATUS_OK)
            status = process_read(reading->process, session->buffer + reading->size,
                                  session->buffer_size - reading->size, stop, &got, error);
        if (status == STATUS_OK && got == 0)
            status = process_wait(reading->process, stop, error);
        if (status != STATUS_OK)
            return status;
        reading->size += got;
        stats_add(&pipeline_stats(session->pipeline)->bytes_read, (int64_t)got);
        status = records_take(reading, got == 0, &used, error);
    }
    return status;
}

/* A command that fails has so many attempts for each range; then its failure is the source's answer. */
static void count_failure(struct command_source *source, int64_t lo, struct error *error)
{
    struct command_failures *entry = NULL, *more;

    pthread_mutex_lock(&source->mutex);
    for (size_t i = 0; i < source->failure_count && entry == NULL; i++)
        if (source->failures[i].lo == lo)
            entry = &source->failures[i];
    if (entry == NULL && (more = realloc(source->failures, (source->failure_count + 1) * sizeof *more)) != NULL) {
        source->failures = more;
        entry = &more[source->failure_count++];
        *entry = (struct command_failures){.lo = lo};
    }
    if (entry == NULL || ++entry->count >= COMMAND_ATTEMPTS) {
        error->status = STATUS_SERVER;
        error_prefix(error, "after %d attempts", entry != NULL ? entry->count : 1);
    }
    pthread_mutex_unlock(&source->mutex);
}

static void reading_fail(struct reading *reading, struct error *error)
{
    struct command_source *source = reading->session->source;
    enum time_type type = source->csv->time.type;
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];

    if (error->status == STATUS_TRANSIENT)
        count_failure(source, reading->range.lo, error);
    if (error->status != STATUS_STOPPED)
        error_prefix(error, "reading %s from %s until before %s", source->csv->name,
                     time_format(type, reading->range.lo, from), time_format(type, reading->range.hi, until));
    filling_drop(&reading->filling);
    piece_fail(reading->piece, error);
}

static enum status reading_run(struct reading *reading, struct error *error)
{
    const struct command_source *source = reading->session->source;
    char *command = template_expand(source->template, source->csv->time.type, reading->range);
    enum status status = command == NULL ? error_set(error, STATUS_SYSTEM, "out of memory")
                                         : process_start(command, source->csv->name, &reading->process, error);

    free(command);
    if (status == STATUS_OK)
        status = output_read(reading, error);
    return status == STATUS_OK ? header_keep(reading, error) : status;
}

static void session_read(void *opaque, struct piece *piece)
{
    struct session *session = opaque;
    const struct stream_source *csv = session->source->csv;
    struct stats *stats = pipeline_stats(session->pipeline);
    struct reading reading = {.session = session,
                              .piece = piece,
                              .filling = {session->pipeline, session->packer, piece, NULL, NULL},
                              .range = piece_spec(piece)->place.range,
                              .line = 1,
                              .careful = piece_spec(piece)->careful,
                              .headed = !csv->dialect.header};
    struct error error;

    error_reset(&error);
    cutter_init(&reading.cutter, csv->dialect.quote, csv->dialect.escape);
    record_times_init(&reading.times, csv);
    atomic_fetch_add_explicit(&stats->readers_active, 1, memory_order_relaxed);
    if (reading_run(&reading, &error) != STATUS_OK) {
        assert(error.status != STATUS_OK);
        /* Before anybody waits for the writer: what is not read any more need not be computed any more. */
        process_free(reading.process);
        reading_fail(&reading, &error);
    } else {
        filling_end(&reading.filling);
        piece_complete(piece, reading.rows, reading.bytes);
        process_free(reading.process);
    }
    free(reading.header);
    atomic_fetch_sub_explicit(&stats->readers_active, 1, memory_order_relaxed);
}

const struct reader_ops command_reader = {
    .name = "command",
    .open = session_open,
    .read = session_read,
    .close = session_close,
};
