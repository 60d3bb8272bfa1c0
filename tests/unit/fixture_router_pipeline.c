/* A pipeline that only collects. */
#include "tests/unit/fixture_router.h"

#include <xxhash.h>

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

struct spill *pipeline_spill(struct pipeline *pipeline)
{
    return pipeline->spill;
}

int pipeline_writers(const struct pipeline *pipeline)
{
    return pipeline->writers;
}

int pipeline_readers(const struct pipeline *pipeline)
{
    (void)pipeline;
    return 1;
}

void pipeline_submit(struct pipeline *pipeline, struct piece *piece)
{
    pthread_mutex_lock(&pipeline->mutex);
    assert_true(pipeline->submitted < PIECES_MAX);
    pipeline->queue[pipeline->submitted++] = piece;
    pipeline->queued_blocks += piece_blocks(piece);
    pthread_cond_broadcast(&pipeline->cond);
    pthread_mutex_unlock(&pipeline->mutex);
}

int pipeline_hungry(struct pipeline *pipeline)
{
    int hungry;

    pthread_mutex_lock(&pipeline->mutex);
    hungry = pipeline->submitted == pipeline->done && !pipeline->slow;
    pthread_mutex_unlock(&pipeline->mutex);
    return hungry;
}

int64_t pipeline_queued_blocks(struct pipeline *pipeline)
{
    int64_t blocks;

    pthread_mutex_lock(&pipeline->mutex);
    blocks = pipeline->queued_blocks;
    pthread_mutex_unlock(&pipeline->mutex);
    return blocks;
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

bool pipeline_range_busy(struct pipeline *pipeline, int64_t lo)
{
    bool busy = false;

    pthread_mutex_lock(&pipeline->mutex);
    for (size_t i = pipeline->done; i < pipeline->submitted; i++)
        busy |= piece_spec(pipeline->queue[i])->place.range.lo == lo;
    pthread_mutex_unlock(&pipeline->mutex);
    return busy;
}

/* Each stretch is where its mark says, in the right line; only where it goes on from the span before it need not say.
 */
static void check_span(const struct pipeline *pipeline, const struct piece_spec *spec, const struct span *span,
                       int64_t *next_offset)
{
    const struct input *input = pipeline->input;

    assert_true(span->mark_count > 0);
    assert_int_equal(span_mark(span, 0)->at, 0);
    for (uint32_t i = 0; i < span->mark_count; i++) {
        const struct block_mark *mark = span_mark(span, i);
        uint32_t end = i + 1 < span->mark_count ? span_mark(span, i + 1)->at : span->size;

        assert_true(end > mark->at);
        assert_true(mark->offset >= spec->begin && mark->offset < spec->end);
        assert_memory_equal(span->data + mark->at, input->text + mark->offset, end - mark->at);
        if (mark->line != LINE_GOES_ON)
            assert_int_equal(spec->first_line + mark->line, input->lines[mark->offset]);
        else
            assert_true(i == 0 && mark->offset == *next_offset);
        *next_offset = mark->offset + (end - mark->at);
    }
}

void check_position(const struct pipeline *pipeline, const struct input_position *position, bool hashed)
{
    XXH128_hash_t hash = XXH3_128bits(pipeline->input->text, (size_t)position->offset);

    if (position->offset < (int64_t)pipeline->input->size)
        assert_int_equal(position->line, pipeline->input->lines[position->offset]);
    if (hashed) {
        assert_true(position->hash[0] == hash.low64);
        assert_true(position->hash[1] == hash.high64);
    }
}

static void collect(struct pipeline *pipeline, struct packer *packer, size_t index)
{
    struct piece *piece = pipeline->queue[index];
    struct collected *out = &pipeline->collected[index];
    struct cursor cursor = {0};
    struct span span;
    struct error error;
    int64_t first = -1, next_offset = -1;

    error_reset(&error);
    out->spec = *piece_spec(piece);
    out->text = malloc((size_t)piece_bytes(piece) + 1);
    assert_non_null(out->text);
    for (;;) {
        assert_int_equal(piece_next(piece, &cursor, packer, &pipeline->stats, &span, &error), STATUS_OK);
        if (span.size == 0)
            break;
        check_span(pipeline, &out->spec, &span, &next_offset);
        if (first < 0)
            first = span_mark(&span, 0)->offset;
        assert_true(out->size + span.size <= (size_t)piece_bytes(piece));
        memcpy(out->text + out->size, span.data, span.size);
        out->size += span.size;
    }
    assert_int_equal(out->size, piece_bytes(piece));
    assert_true(out->size > 0);
    assert_true(out->spec.first.offset <= first);
    assert_int_equal(out->spec.first_line, pipeline->input->lines[first]);
    out->rows = piece_rows(piece);
}

void *collector(void *opaque)
{
    struct pipeline *pipeline = opaque;
    struct packer *packer;
    struct error error;
    unsigned turn = 0;

    error_reset(&error);
    assert_int_equal(packer_create(pool_block_size(pipeline->pool), &packer, &error), STATUS_OK);
    pthread_mutex_lock(&pipeline->mutex);
    for (;;) {
        size_t index = pipeline->done;
        int64_t blocks;

        /* A slow writer leaves pieces lying about until they press. */
        while (!pipeline->closed &&
               (pipeline->submitted == index || pipeline->stuck ||
                (pipeline->slow && pipeline->queued_blocks * 2 < pool_block_count(pipeline->pool))))
            pthread_cond_wait(&pipeline->cond, &pipeline->mutex);
        if (pipeline->submitted == index)
            break;
        pthread_mutex_unlock(&pipeline->mutex);
        collect(pipeline, packer, index);
        if (++turn % 7 == 0)
            sched_yield();
        pthread_mutex_lock(&pipeline->mutex);
        blocks = piece_blocks(pipeline->queue[index]);
        pipeline->done++;
        pipeline->queued_blocks -= blocks;
        piece_release(pipeline->queue[index]);
        piece_release(pipeline->queue[index]);
    }
    pthread_mutex_unlock(&pipeline->mutex);
    packer_free(packer);
    return NULL;
}
