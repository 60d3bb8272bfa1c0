/* The pipeline over a stream that fails at random. */
#include "tests/unit/fixture_engine.h"

/* ---- Stream: lines of all ranges in disorder, gathered in buckets, in pieces that move a mark ---- */

static void line_make(const struct line *line, char *text)
{
    for (uint32_t i = 0; i < line->size; i++)
        text[i] = (char)('a' + (line->offset + i) % 26);
}

static void lines_make(struct world *world, size_t count)
{
    int64_t offset = 0;

    CHECK(count <= LINES_MAX);
    world->line_count = count;
    for (size_t i = 0; i < count; i++) {
        world->lines[i] = (struct line){
            .offset = offset, .size = 1 + draw(LINE_SIZE_MAX), .range = draw((uint32_t)world->range_count)};
        offset += world->lines[i].size;
    }
}

struct bucket {
    struct chain chain;
    struct block *block; /* being filled */
    struct input_position first;
    int64_t begin, end, rows, bytes;
};

struct router {
    struct session *session;
    struct bucket buckets[RANGES_MAX];
    int64_t read_to; /* everything before it is in a bucket, a piece or the target */
};

static enum claim router_claim(void *context)
{
    struct world *world = context;

    return stop_level(world->stop) == STOP_RUN ? CLAIM_ACTIVE : CLAIM_GIVE_UP;
}

static int64_t router_open_from(const struct router *router, const struct bucket *except)
{
    int64_t lowest = router->read_to;

    for (size_t i = 0; i < router->session->world->range_count; i++) {
        const struct bucket *bucket = &router->buckets[i];

        if (bucket != except && bucket->rows > 0 && bucket->first.offset < lowest)
            lowest = bucket->first.offset;
    }
    return lowest;
}

static enum status router_seal(struct router *router, struct bucket *bucket, struct error *error)
{
    struct pipeline *pipeline = router->session->pipeline;
    int64_t lo = bucket - router->buckets;
    struct piece_spec spec = {.place = {.range = {lo, lo + 1}, .cell = {lo / 4 * 4, lo / 4 * 4 + 4}},
                              .replayable = true,
                              .begin = bucket->begin,
                              .end = bucket->end,
                              .first = bucket->first,
                              .open = {.offset = router_open_from(router, bucket)}};
    struct piece *piece;
    int64_t raw = 0, packed = 0;

    if (bucket->rows == 0)
        return STATUS_OK;
    if (piece_create(&spec, pipeline_pool(pipeline), &piece, error) != STATUS_OK)
        return error->status;
    chain_push(&bucket->chain, bucket->block);
    if (draw(3) == 0)
        chain_pack(&bucket->chain, pipeline_pool(pipeline), router->session->packer, -3, (int)draw(2), &raw, &packed);
    piece_set_first_record(piece, 1);
    piece_set_chain(piece, &bucket->chain);
    piece_complete(piece, bucket->rows, bucket->bytes);
    pipeline_submit(pipeline, piece);
    *bucket = (struct bucket){.begin = bucket->end};
    return STATUS_OK;
}

static struct bucket *router_fullest(struct router *router)
{
    struct bucket *fullest = router->buckets;

    for (size_t i = 1; i < router->session->world->range_count; i++)
        if (router->buckets[i].bytes > fullest->bytes)
            fullest = &router->buckets[i];
    return fullest;
}

/* A block for the bucket. When memory is short the fullest bucket is sealed, be it this one. */
static enum status router_block(struct router *router, struct bucket *bucket, struct error *error)
{
    struct pool *pool = pipeline_pool(router->session->pipeline);
    struct block *block = pool_try(pool);
    int64_t waited = 0;
    enum status status;

    if (block == NULL) {
        status = router_seal(router, router_fullest(router), error);
        if (status != STATUS_OK)
            return status;
        block = pool_take(pool, router_claim, router->session->world, &waited);
    }
    if (block == NULL)
        return error_set(error, STATUS_STOPPED, "stopped");
    if (bucket->block != NULL)
        chain_push(&bucket->chain, bucket->block);
    bucket->block = block;
    return STATUS_OK;
}

static enum status router_add(struct router *router, uint32_t number, struct error *error)
{
    const struct line *line = &router->session->world->lines[number];
    struct bucket *bucket = &router->buckets[line->range];
    uint32_t block_size = pool_block_size(pipeline_pool(router->session->pipeline));
    enum status status = STATUS_OK;

    if (bucket->block == NULL || block_room(bucket->block, block_size) < line->size)
        status = router_block(router, bucket, error);
    if (status != STATUS_OK)
        return status;
    if (bucket->rows++ == 0)
        bucket->first.offset = line->offset;
    *block_mark(bucket->block, block_size, bucket->block->mark_count++) =
        (struct block_mark){.offset = line->offset, .at = bucket->block->used, .line = number};
    line_make(line, bucket->block->data + bucket->block->used);
    bucket->block->used += line->size;
    bucket->bytes += line->size;
    bucket->end = router->read_to = line->offset + line->size;
    return draw(30) == 0 ? router_seal(router, bucket, error) : STATUS_OK;
}

/* From the ledger's frontier on, without what is below a range's mark; then all buckets are sealed. */
static enum status router_run(struct router *router, struct error *error)
{
    struct world *world = router->session->world;
    enum status status = STATUS_OK;
    int64_t start;

    pthread_mutex_lock(&world->mutex);
    router->read_to = start = world->frontier.offset;
    for (size_t i = 0; i < world->range_count; i++)
        router->buckets[i].begin = world->books[i].mark;
    pthread_mutex_unlock(&world->mutex);
    for (uint32_t i = 0; i < world->line_count && status == STATUS_OK; i++) {
        const struct line *line = &world->lines[i];

        if (line->offset < start)
            continue;
        world_step(world);
        if (stop_level(world->stop) != STOP_RUN)
            status = error_set(error, STATUS_STOPPED, "stopped");
        else if (line->offset >= router->buckets[line->range].begin)
            status = router_add(router, i, error);
        else
            router->read_to = line->offset + line->size;
    }
    for (size_t i = 0; i < world->range_count && status == STATUS_OK; i++)
        status = router_seal(router, &router->buckets[i], error);
    return status;
}

static enum status stream_read(void *argument, struct error *error)
{
    struct session *session = argument;
    struct pool *pool = pipeline_pool(session->pipeline);
    struct router *router = calloc(1, sizeof *router);
    enum status status;

    CHECK(router != NULL);
    router->session = session;
    status = router_run(router, error);
    for (size_t i = 0; i < session->world->range_count; i++) {
        chain_clear(&router->buckets[i].chain, pool);
        if (router->buckets[i].block != NULL)
            pool_give(pool, router->buckets[i].block);
    }
    free(router);
    return status;
}

static const struct reader_ops stream_source = {
    .name = "fake stream", .open = session_open, .stream = stream_read, .close = session_close};

static void lines_take(struct session *session, const struct piece_spec *spec, const struct span *span)
{
    struct world *world = session->world;
    char text[LINE_SIZE_MAX + 1];

    for (uint32_t i = 0; i < span->mark_count; i++) {
        const struct block_mark *mark = span_mark(span, i);
        struct line *line = &world->lines[mark->line];
        uint32_t end = i + 1 < span->mark_count ? span_mark(span, i + 1)->at : span->size;

        CHECK(mark->offset == line->offset && end - mark->at == line->size);
        CHECK(line->range == (uint32_t)spec->place.range.lo);
        CHECK(line->offset >= spec->begin && line->offset < spec->end && line->offset >= spec->first.offset);
        line_make(line, text);
        CHECK(memcmp(text, span->data + mark->at, line->size) == 0);
        if (session->line_count == session->line_room) {
            session->line_room = session->line_room * 2 + 64;
            session->lines = realloc(session->lines, session->line_room * sizeof *session->lines);
            CHECK(session->lines != NULL);
        }
        session->lines[session->line_count++] = line;
    }
}

/* Commits: the mark moves from exactly begin to end, and the frontier must not lie beyond a line that is not stored. */
static void lines_commit(struct session *session, const struct piece_spec *spec, struct input_position frontier)
{
    struct world *world = session->world;
    struct range_book *book = &world->books[spec->place.range.lo];

    pthread_mutex_lock(&world->mutex);
    CHECK(book->mark == spec->begin);
    book->mark = spec->end;
    for (size_t i = 0; i < session->line_count; i++) {
        CHECK(!session->lines[i]->stored);
        session->lines[i]->stored = true;
    }
    for (size_t i = 0; i < world->line_count && world->lines[i].offset < frontier.offset; i++)
        CHECK(world->lines[i].stored);
    if (frontier.offset > world->frontier.offset)
        world->frontier = frontier;
    pthread_mutex_unlock(&world->mutex);
}

static enum status stream_copy(struct session *session, struct piece *piece, struct error *error)
{
    struct cursor cursor = {0};
    struct span span;
    enum status status;

    session->line_count = 0;
    for (;;) {
        status = piece_next(piece, &cursor, session->packer, &session->world->stats, &span, error);
        if (status != STATUS_OK || span.size == 0)
            return status;
        world_step(session->world);
        lines_take(session, piece_spec(piece), &span);
        if (world_fails(session->world, 40))
            return fail_transient(error);
        if (stop_level(session->world->stop) == STOP_ABORT)
            return error_set(error, STATUS_STOPPED, "aborted");
    }
}

static enum status stream_write(void *argument, struct piece *piece, struct write_result *result, struct error *error)
{
    struct session *session = argument;
    struct world *world = session->world;
    const struct piece_spec *spec = piece_spec(piece);
    enum mood mood = world->books[spec->place.range.lo].mood;
    struct input_position frontier;
    enum status status;

    *result = (struct write_result){0};
    pthread_mutex_lock(&world->mutex);
    result->already = world->books[spec->place.range.lo].mark == spec->end;
    pthread_mutex_unlock(&world->mutex);
    if (result->already)
        return STATUS_OK;
    if (spec->begin > 0)
        status = target_refuses(mood, error);
    else
        status = STATUS_OK;
    if (status == STATUS_OK)
        status = stream_copy(session, piece, error);
    if (status != STATUS_OK)
        return status;
    CHECK((int64_t)session->line_count == piece_rows(piece));
    frontier = pipeline_frontier(session->pipeline, piece);
    world_step(world);
    lines_commit(session, spec, frontier);
    result->piece_rows = result->rows = piece_rows(piece);
    return world_fails(world, 20) ? fail_transient(error) : STATUS_OK;
}

static const struct writer_ops stream_target = {
    .name = "fake target of streams", .open = session_open, .write = stream_write, .close = session_close};

static struct pipeline_spec stream_spec_make(struct world *world)
{
    struct pipeline_spec spec = spec_make(world, &stream_source, &stream_target);

    spec.stream = true;
    spec.readers = 1;
    return spec;
}

static size_t lines_missing(const struct world *world)
{
    size_t missing = 0;

    for (size_t i = 0; i < world->line_count; i++)
        missing += !world->lines[i].stored;
    return missing;
}

static void test_stream_exactly_once(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        struct world *world = world_make(1 + draw(60));
        struct pipeline_spec spec = stream_spec_make(world);
        struct error error;

        lines_make(world, 3000);
        world->failures_left = 8;
        assert_int_equal(world_run(world, &spec, &error), STATUS_OK);
        assert_int_equal(lines_missing(world), 0);
        world_free(world);
    }
}

static void test_stream_stop_resumes(void **state)
{
    int stopped = 0;

    (void)state;
    for (int round = 0; round < 25; round++) {
        struct world *world = world_make(1 + draw(60));
        struct pipeline_spec spec = stream_spec_make(world);
        struct error error;
        enum status status = STATUS_STOPPED;

        lines_make(world, 1500);
        for (int attempt = 0; status == STATUS_STOPPED; attempt++) {
            world->failures_left = attempt == 0 && round % 3 == 0 ? 5 : 0;
            world->slow = round % 4 == 0;
            if (attempt < 3) {
                world->drain_at = round % 3 == 1 ? 0 : world->steps + 1 + draw(1500);
                world->abort_at = round % 3 == 2 ? 0 : world->steps + 1 + draw(1600);
            }
            status = world_run(world, &spec, &error);
            stopped += status == STATUS_STOPPED;
            world_rearm(world);
            spec = stream_spec_make(world);
        }
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(lines_missing(world), 0);
        world_free(world);
    }
    assert_true(stopped > 0);
}

/* A range that turns bad with its second piece: all else is stored, and a later run loads the rest. */
static void test_stream_quarantine(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct world *world = world_make(20);
        struct pipeline_spec spec = stream_spec_make(world);
        struct error error;

        lines_make(world, 2000);
        world->books[7].mood = MOOD_BAD_WRITE;
        assert_int_equal(world_run(world, &spec, &error), STATUS_DATA);
        assert_true(lines_missing(world) > 0);
        for (size_t i = 0; i < world->line_count; i++)
            assert_true(world->lines[i].stored || world->lines[i].range == 7);
        assert_int_equal(world->books[7].quarantined, 1);
        world->books[7].mood = MOOD_FINE;
        world_rearm(world);
        spec = stream_spec_make(world);
        assert_int_equal(world_run(world, &spec, &error), STATUS_OK);
        assert_int_equal(lines_missing(world), 0);
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_stream_exactly_once, limit),
        cmocka_unit_test_setup(test_stream_stop_resumes, limit),
        cmocka_unit_test_setup(test_stream_quarantine, limit),
    };

    seed_make();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
