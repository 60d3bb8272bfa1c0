/*
 * Rows of the source that are kept in memory, so that writing can be measured without it. They are taken by a pipeline
 * of one reader and one writer, piece by piece, until the memory is full or the time is up; and come back as the ranges
 * of an addressable source, whatever they were before.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/bench.h"
#include "readers/filling.h"

/* Pieces that each writer is to have at the least. */
#define PIECES_PER_WRITER 4

/* ---- Taking ---- */

struct taking {
    struct sample *sample;
    struct stop *stop;
    struct pipeline *pipeline;
    struct packer *packer;
};

static void taking_close(void *opened)
{
    struct taking *taking = opened;

    packer_free(taking != NULL ? taking->packer : NULL);
    if (taking != NULL)
        taking->packer = NULL;
}

static enum status taking_open(void *target, struct pipeline *pipeline, void **opened, struct error *error)
{
    struct taking *taking = target;

    taking->pipeline = pipeline;
    *opened = taking;
    return packer_create(pool_block_size(pipeline_pool(pipeline)), &taking->packer, error);
}

/* Where the text of a piece goes: a piece of its own, or the end of an earlier one of the same range. NULL: nowhere. */
static struct sample_piece *place_for(struct sample *sample, const struct piece_spec *spec, struct error *error)
{
    struct sample_piece *more;

    if (range_is_rejects(spec->place.range))
        return NULL;
    for (size_t i = 0; i < sample->count; i++)
        if (sample->pieces[i].place.range.lo == spec->place.range.lo)
            return sample->pieces[i].input == spec->input ? &sample->pieces[i] : NULL;
    if (sample->count == sample->room) {
        sample->room = sample->room * 2 + 64;
        more = realloc(sample->pieces, sample->room * sizeof *more);
        if (more == NULL) {
            sample->room = sample->count;
            error_set(error, STATUS_SYSTEM, "out of memory");
            return NULL;
        }
        sample->pieces = more;
    }
    sample->pieces[sample->count] = (struct sample_piece){.place = spec->place, .input = spec->input};
    return &sample->pieces[sample->count++];
}

/* False when the sample is full. */
static bool piece_add(struct sample *sample, struct sample_piece *piece, const struct span *span)
{
    if (piece->size + span->size > piece->room) {
        size_t room = (piece->size + span->size) * 5 / 4;
        char *text;

        if (sample->size + span->size > sample->size_max || (text = realloc(piece->text, room)) == NULL)
            return false;
        piece->text = text;
        piece->room = room;
    }
    memcpy(piece->text + piece->size, span->data, span->size);
    piece->size += span->size;
    sample->size += span->size;
    return sample->size <= sample->size_max;
}

/* What came of the piece in this call is taken back. */
static void piece_shorten(struct sample *sample, struct sample_piece *piece, size_t size)
{
    sample->size -= piece->size - size;
    piece->size = size;
    if (size == 0) {
        free(piece->text);
        *piece = sample->pieces[--sample->count];
    }
}

static enum status taking_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    struct taking *taking = opened;
    struct sample *sample = taking->sample;
    struct stats *stats = pipeline_stats(taking->pipeline);
    struct sample_piece *kept = place_for(sample, piece_spec(piece), error);
    size_t before = kept != NULL ? kept->size : 0;
    struct cursor cursor = {0};
    struct span span;
    uint32_t first = 0;
    enum status status = error->status;

    if (status == STATUS_OK && kept != NULL)
        status = piece_first_record(piece, stats, &first, error);
    while (status == STATUS_OK &&
           (status = piece_next(piece, &cursor, taking->packer, stats, &span, error)) == STATUS_OK && span.size > 0)
        if (kept != NULL && !sample->full && !piece_add(sample, kept, &span)) {
            sample->full = true;
            stop_request(taking->stop, STOP_ABORT);
        }
    if (kept != NULL && (status != STATUS_OK || sample->full || kept->size == before)) {
        piece_shorten(sample, kept, before);
    } else if (kept != NULL) {
        kept->rows += piece_rows(piece);
        kept->first_record = before == 0 ? first : kept->first_record;
        sample->rows += piece_rows(piece);
    }
    if (status == STATUS_OK && sample->count > 0 && stats_now_ns() >= sample->until_ns)
        stop_request(taking->stop, STOP_ABORT);
    *result = (struct write_result){.piece_rows = status == STATUS_OK ? piece_rows(piece) : 0};
    return status;
}

static const struct writer_ops taking_writer = {
    .name = "take",
    .open = taking_open,
    .write = taking_write,
    .close = taking_close,
};

/* Ranges that would each take much of the sample, in equal parts of their time. */
static enum status cut_tasks(struct job *job, int64_t size, struct error *error)
{
    struct task *tasks;
    size_t count = 0, all = 0;

    for (size_t i = 0; i < job->task_count; i++)
        all += (size_t)(job->tasks[i].bytes_estimate / size) + 1;
    tasks = calloc(all + 1, sizeof *tasks);
    if (tasks == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < job->task_count; i++) {
        struct task task = job->tasks[i];
        int64_t parts = task.bytes_estimate / size + 1;
        struct range range = task.place.range;
        int64_t length;

        if (range.lo == INT64_MIN || __builtin_sub_overflow(range.hi, range.lo, &length) || length / parts == 0)
            parts = 1;
        for (int64_t part = 0; part < parts; part++) {
            if (parts > 1)
                task.place.range = (struct range){range.lo + length / parts * part,
                                                  part + 1 < parts ? range.lo + length / parts * (part + 1) : range.hi};
            tasks[count++] = task;
        }
    }
    free(job->tasks);
    job->tasks = tasks;
    job->task_count = count;
    return STATUS_OK;
}

static enum status nothing_committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                                     struct error *error)
{
    (void)context;
    (void)piece;
    (void)result;
    (void)error;
    return STATUS_OK;
}

static enum status range_failed(void *context, const struct piece_spec *piece, const struct error *reason,
                                struct error *error)
{
    (void)context;
    (void)piece;
    *error = *reason;
    return error->status;
}

static enum status make_tasks(struct sample *sample, struct error *error)
{
    sample->tasks = calloc(sample->count + 1, sizeof *sample->tasks);
    if (sample->tasks == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < sample->count; i++)
        sample->tasks[i] = (struct task){
            .place = sample->pieces[i].place,
            .input = sample->pieces[i].input,
            .rows_estimate = sample->pieces[i].rows,
            .bytes_estimate = (int64_t)sample->pieces[i].size,
        };
    return STATUS_OK;
}

enum status sample_take(struct sample *sample, struct job *job, struct stop *stop, int64_t limit_ms,
                        struct error *error)
{
    const int64_t room = job->options->memory_bytes / 2;
    struct stats stats = {0};
    struct taking taking = {.sample = sample, .stop = stop};
    struct pipeline_spec spec;
    enum status status = STATUS_OK;

    *sample = (struct sample){.size_max = (size_t)room, .until_ns = stats_now_ns() + limit_ms * 1000000};
    if (job->kind == SOURCE_POSTGRES)
        status = cut_tasks(job, room / ((int64_t)job->options->jobs * PIECES_PER_WRITER), error);
    spec = job_pipeline(job);
    spec.readers = spec.writers = 1;
    spec.writer = &taking_writer;
    spec.target = &taking;
    spec.memory_bytes = room / 2; /* the rest is what decompressing takes */
    spec.spill_dir = NULL;
    spec.stop = stop;
    spec.stats = &stats;
    spec.committed = nothing_committed;
    spec.failed = range_failed;
    if (status == STATUS_OK)
        status = pipeline_run(&spec, error);
    /* Our own wish, unless the user stops. */
    if (status == STATUS_STOPPED && (sample->full || sample->count > 0)) {
        status = STATUS_OK;
        error_reset(error);
    }
    if (status == STATUS_OK && sample->count == 0)
        status = sample->full ? error_set(error, STATUS_USAGE,
                                          "the first range of the source is larger than half of --memory: give more, "
                                          "or a shorter --range-interval")
                              : error_set(error, STATUS_USAGE, "the source has no rows to measure with");
    return status == STATUS_OK ? make_tasks(sample, error) : status;
}

void sample_free(struct sample *sample)
{
    for (size_t i = 0; i < sample->count; i++)
        free(sample->pieces[i].text);
    free(sample->pieces);
    free(sample->tasks);
    *sample = (struct sample){0};
}

/* ---- Reading it again ---- */

struct session {
    const struct sample *sample;
    struct pipeline *pipeline;
    struct packer *packer;
};

static void session_close(void *opened)
{
    struct session *session = opened;

    if (session != NULL)
        packer_free(session->packer);
    free(session);
}

static enum status session_open(void *source, struct pipeline *pipeline, void **opened, struct error *error)
{
    struct session *session = calloc(1, sizeof *session);
    enum status status;

    if (session == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    session->sample = source;
    session->pipeline = pipeline;
    status = packer_create(pool_block_size(pipeline_pool(pipeline)), &session->packer, error);
    if (status == STATUS_OK)
        *opened = session;
    else
        session_close(session);
    return status;
}

static const struct sample_piece *find_piece(const struct sample *sample, int64_t lo)
{
    for (size_t i = 0; i < sample->count; i++)
        if (sample->pieces[i].place.range.lo == lo)
            return &sample->pieces[i];
    return NULL;
}

static void session_read(void *opened, struct piece *piece)
{
    struct session *session = opened;
    const struct sample_piece *kept = find_piece(session->sample, piece_spec(piece)->place.range.lo);
    struct filling filling = {
        .pipeline = session->pipeline,
        .packer = session->packer,
        .piece = piece,
        .handed_over = &pipeline_stats(session->pipeline)->bytes_read,
    };
    struct error error;

    error_reset(&error);
    piece_set_first_record(piece, kept->first_record);
    if (filling_split(&filling, kept->text, kept->size, &error) == STATUS_OK) {
        filling_end(&filling);
        piece_complete(piece, kept->rows, (int64_t)kept->size);
    } else {
        filling_drop(&filling);
        piece_fail(piece, &error);
    }
}

const struct reader_ops sample_reader = {
    .name = "sample",
    .open = session_open,
    .read = session_read,
    .close = session_close,
};
