/* The router's loop. */
#include "readers/router.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece is one transaction: large enough for its cost not to matter, small enough that a failure loses little. */
#define PIECE_MAX ((int64_t)64 << 20)
#define PIECE_MAX_LEAST ((int64_t)1 << 20)
/* A bucket of an eighth of a full piece is worth a transaction of its own. */
#define PIECE_MIN_SHARE 8
/* All blocks of a run are reserved together, so it may only be a small part of a small pool. */
#define RUN_MAX ((int64_t)256 << 10)
#define RUN_SHARE 8
#define RECORD_MAX_LEAST 4096
/* Turns are forgotten by half at this many: order may change within an input. */
#define TURNS_MAX 1024

/* ---- Runs ---- */

static enum status run_flush(struct router *router, struct error *error)
{
    struct run *run = &router->run;
    enum status status;

    if (run->bucket == NULL)
        return STATUS_OK;
    /* Reserved before anything is taken: so a bucket has whole records whenever it may be sealed. */
    status = router_reserve(router, error);
    if (status != STATUS_OK)
        return status;
    if (run->bucket->rows == 0)
        status = pipeline_cell_opened(router->pipeline, run->bucket->place.cell.lo, error);
    if (status != STATUS_OK)
        return status;
    bucket_take(&router->buckets, run, &router->input.window, router->block_size, &router->spare);
    assert(router->spare == NULL);
    if (router_full(router, run->bucket)) {
        struct bucket *bucket = run->bucket;

        run->bucket = NULL;
        /* All up to the end of the run is appended, and no more than that was looked at. */
        return router_seal(router, bucket, error);
    }
    run->bucket = NULL;
    return STATUS_OK;
}

static enum status run_add(struct router *router, const char *record, size_t size, int64_t lines, struct error *error)
{
    struct run *run = &router->run;

    if (run->bucket == router->bucket && run->text + run->size == record && run->size + size <= router->run_max) {
        run->size += size;
        run->rows++;
    } else {
        enum status status = run_flush(router, error);

        if (status != STATUS_OK)
            return status;
        *run = (struct run){
            .bucket = router->bucket,
            .text = record,
            .size = size,
            .offset = router->input.window.offset + (record - router->input.buffer),
            .line = router->line,
            .rows = 1,
            .first_record_size = size,
        };
    }
    router->at += size;
    router->line += lines;
    return STATUS_OK;
}

/* ---- Records ---- */

/* Notes how the input jumps between ranges: neighbours that take turns at an edge are still order. */
static void note_turn(struct router *router, struct bucket *bucket)
{
    int i = 0;

    while (i < RECENT_COUNT - 1 && router->recent[i] != bucket)
        i++;
    if (router->recent[i] != bucket) {
        router->turns++;
        router->returns += bucket->touched >= 0;
    }
    memmove(router->recent + 1, router->recent, (size_t)i * sizeof(struct bucket *));
    router->recent[0] = bucket;
    if (router->turns >= TURNS_MAX) {
        router->turns /= 2;
        router->returns /= 2;
    }
}

/* Finds the bucket of a time that is not in the last record's. False: outside of the window of time. */
static enum status turn_to(struct router *router, int64_t value, bool *inside, struct error *error)
{
    struct place place;
    struct bucket *bucket;

    *inside = layout_find(router->source->layout, value, &place);
    if (!*inside)
        return STATUS_OK;
    bucket = buckets_find(&router->buckets, &place);
    if (bucket == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (bucket != router->bucket)
        note_turn(router, bucket);
    router->bucket = bucket;
    return STATUS_OK;
}

static void skip_record(struct router *router, size_t size, int64_t lines)
{
    router->at += size;
    router->line += lines;
}

/* A record that belongs to no range, for the `problem` of the cutter (NULL: its time cannot be read). */
static enum status route_bad(struct router *router, const char *record, size_t size, int64_t lines, const char *problem,
                             struct error *error)
{
    static const struct place place = {{INT64_MAX, INT64_MIN}, {INT64_MAX, INT64_MIN}};
    int64_t offset = router->input.window.offset + (int64_t)router->at;
    struct bucket *rejects = buckets_find(&router->buckets, &place), *before = router->bucket;
    enum status status;

    if (rejects == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    assert(range_is_rejects(rejects->place.range));
    /* Rejected by an earlier run, whatever this one does with bad rows. */
    if (offset < rejects->mark) {
        skip_record(router, size, lines);
        return STATUS_OK;
    }
    if (!router->source->reject && problem != NULL) {
        snprintf(error->sqlstate, sizeof error->sqlstate, "22P04");
        return record_error(router->source, offset, router->line, error, "%s", problem);
    }
    if (!router->source->reject)
        return record_time_error(&router->times, &router->cutter, record, size, offset, router->line, error);
    /* The input's order is not judged by them. */
    router->bucket = rejects;
    status = run_add(router, record, size, lines, error);
    router->bucket = before;
    return status;
}

static enum status route_record(struct router *router, const char *record, size_t size, int64_t lines,
                                struct error *error)
{
    int64_t offset = router->input.window.offset + (int64_t)router->at, value;
    bool inside = true;

    /* What was read ahead to find the header may be more than the buffer would have held. */
    if ((int64_t)size > router->record_max)
        return input_too_large(&router->input, router->at, router->line, size, error);
    if (!record_time(&router->times, &router->cutter, record, size, &value))
        return route_bad(router, record, size, lines, NULL, error);
    if (router->bucket == NULL || value < router->bucket->place.range.lo || value >= router->bucket->place.range.hi) {
        enum status status = turn_to(router, value, &inside, error);

        if (status != STATUS_OK)
            return status;
    }
    if (inside && offset >= router->bucket->mark)
        return run_add(router, record, size, lines, error);
    router->skipped += !inside;
    skip_record(router, size, lines);
    return STATUS_OK;
}

static enum status cut_error(struct router *router, struct error *error)
{
    const struct cutter *cutter = &router->cutter;
    enum status status = record_error(router->source, router->input.window.offset + (int64_t)router->at, router->line,
                                      error, "%s", cutter->problem);

    if (cutter->in_quote)
        error_hint(error, " (the quote opens in line %" PRId64 ")", router->line + cutter->quote_newlines);
    return status;
}

/* Other inputs add to the same numbers. */
static void show_position(struct router *router)
{
    int64_t file = input_file_position(&router->input, router->at);
    int64_t text = router->input.window.offset + (int64_t)router->at;

    stats_add(&router->stats->input_offset, file - router->shown_file);
    stats_add(&router->stats->input_text, text - router->shown_text);
    router->shown_file = file;
    router->shown_text = text;
}

/* Routes all whole records of the window. */
static enum status route_window(struct router *router, struct error *error)
{
    const struct input *input = &router->input;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && router->at < input->size) {
        const char *record = input->buffer + router->at;
        size_t size;
        int64_t lines;
        enum cut cut = cutter_cut(&router->cutter, record, input->size - router->at, input->last, &size, &lines);

        if (cut == CUT_MORE)
            break;
        if (cut == CUT_RECORD && cutter_is_comment(&router->cutter, record))
            skip_record(router, size, lines);
        else if (cut == CUT_RECORD)
            status = route_record(router, record, size, lines, error);
        else if (size > 0)
            status = route_bad(router, record, size, lines, router->cutter.problem, error);
        else
            status = cut_error(router, error);
    }
    if (status == STATUS_OK)
        status = run_flush(router, error);
    stats_add(&router->stats->rows_skipped, router->skipped);
    router->skipped = 0;
    show_position(router);
    return status;
}

static enum status next_window(struct router *router, struct error *error)
{
    enum status status = input_refill(&router->input, router->at, router->line, error);

    /* The record does not fit: a quote too many is a likely reason. */
    if (status == STATUS_DATA && router->cutter.in_quote && router->input.size == router->input.buffer_size)
        error_hint(error, " (or is a quote not closed that opens in line %" PRId64 "?)",
                   router->line + router->cutter.quote_newlines);
    router->at = 0;
    cutter_forget(&router->cutter);
    return status;
}

static enum status router_run(struct router *router, struct error *error)
{
    const struct stream_source *source = router->source;
    enum status status =
        input_open(&router->input, source, source->start, true, router->record_max, router->stop, router->stats, error);

    router->line = router->input.window.line;
    while (status == STATUS_OK) {
        status = route_window(router, error);
        if (status != STATUS_OK || (router->input.last && router->at == router->input.size))
            break;
        status = router_tidy(router, error);
        if (status == STATUS_OK)
            status = next_window(router, error);
    }
    /* The window moves behind the last byte, so that the last pieces say that nothing before the end is missing. */
    if (status == STATUS_OK)
        status = next_window(router, error);
    if (status == STATUS_OK)
        status = input_finish(&router->input, error);
    router->ended = true;
    if (status == STATUS_OK)
        status = router_seal_all(router, error);
    return status;
}

/* ---- As a reader of the pipeline: one router for each input ---- */

static void router_free(struct router *router)
{
    if (router == NULL)
        return;
    while (router->spare != NULL) {
        struct block *block = router->spare;

        router->spare = block->next;
        pool_give(router->pool, block);
    }
    buckets_free(&router->buckets, router->pool);
    input_close(&router->input);
    packer_free(router->packer);
    free(router);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static enum status router_create(const struct stream_source *source, struct pipeline *pipeline, struct router **result,
                                 struct error *error)
{
    struct router *router = calloc(1, sizeof *router);
    int64_t pool_bytes, readers = pipeline_readers(pipeline);
    enum status status;

    if (router == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    router->source = source;
    router->pipeline = pipeline;
    router->pool = pipeline_pool(pipeline);
    router->spill = pipeline_spill(pipeline);
    router->stop = pipeline_stop(pipeline);
    router->stats = pipeline_stats(pipeline);
    router->block_size = pool_block_size(router->pool);
    pool_bytes = pool_block_count(router->pool) * router->block_size;
    router->piece_max = clamp(pool_bytes / (pipeline_writers(pipeline) + 1 + readers) / 2, PIECE_MAX_LEAST, PIECE_MAX);
    router->piece_min = router->piece_max / PIECE_MIN_SHARE;
    /* What all readers have in hand at once, without a piece that could be written, must leave blocks for others; and
     * their buffers, which grow to this, are all together a quarter of the memory. */
    router->record_max =
        clamp(source->memory_bytes / 4 / readers, RECORD_MAX_LEAST, clamp(pool_bytes / 2 / readers, 0, INT32_MAX));
    router->run_max = (size_t)clamp(pool_bytes / RUN_SHARE / readers, 1, RUN_MAX);
    cutter_init(&router->cutter, source->dialect.quote, source->dialect.escape);
    router->cutter.line_end = source->line_end;
    router->cutter.comment = source->dialect.comment;
    record_times_init(&router->times, source);
    status = buckets_init(&router->buckets, source, error);
    if (status == STATUS_OK)
        status = packer_create(router->block_size, &router->packer, error);
    if (status != STATUS_OK) {
        router_free(router);
        return status;
    }
    /* Until more is known, all is compressed as the head is. */
    router->shown_file = source->head_position;
    router->shown_text = source->head_text;
    stats_add(&router->stats->input_offset, router->shown_file);
    stats_add(&router->stats->input_text, router->shown_text);
    *result = router;
    return STATUS_OK;
}

static enum status route_input(const struct stream_source *source, struct pipeline *pipeline, struct error *error)
{
    struct router *router = NULL;
    enum status status = router_create(source, pipeline, &router, error);

    if (status == STATUS_OK)
        status = router_run(router, error);
    router_free(router);
    return status;
}

/* Of one reader thread. */
struct stream_session {
    struct stream_set *set;
    struct pipeline *pipeline;
};

static enum status stream_begin(void *opaque, struct pipeline *pipeline, void **result, struct error *error)
{
    struct stream_session *session = malloc(sizeof *session);

    if (session == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    *session = (struct stream_session){.set = opaque, .pipeline = pipeline};
    *result = session;
    return STATUS_OK;
}

static enum status stream_run(void *opaque, struct error *error)
{
    struct stream_session *session = opaque;
    struct stats *stats = pipeline_stats(session->pipeline);
    enum status status = STATUS_OK;

    atomic_fetch_add(&stats->readers_active, 1);
    while (status == STATUS_OK) {
        size_t index = atomic_fetch_add(&session->set->next, 1);

        if (index >= session->set->count)
            break;
        status = route_input(&session->set->sources[index], session->pipeline, error);
    }
    atomic_fetch_sub(&stats->readers_active, 1);
    return status;
}

const struct reader_ops stream_reader = {
    .name = "csv",
    .open = stream_begin,
    .stream = stream_run,
    .close = free,
};
