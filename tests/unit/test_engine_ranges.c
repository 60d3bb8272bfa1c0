/* The pipeline over an addressable source that fails at random. */
#include "tests/unit/fixture_engine.h"

/* ---- Addressable source: the content of a range follows from its number ---- */

static int64_t range_rows(uint64_t range)
{
    uint64_t number = mix(range);

    return number % 4 == 0 ? 0 : (int64_t)(number % 90);
}

/* Most rows are small, some are larger than several blocks, some do not compress. */
static size_t row_make(uint64_t range, int64_t row, char *text)
{
    uint64_t number = mix(range * 1000 + (uint64_t)row);
    size_t size = number % 25 == 0 ? 20000 + number % 60000 : 1 + number % 400;

    for (size_t i = 0; i < size; i++)
        text[i] = (char)(number % 3 == 0 ? mix(number + i) : 'a' + i % 20);
    return size;
}

#define ROW_SIZE_MAX 80000

static uint64_t hash_add(uint64_t hash, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)data[i]) * UINT64_C(1099511628211);
    return hash;
}

/* Rows split over blocks wherever these end, as the PostgreSQL reader does it. */
static bool row_append(struct session *session, struct piece *piece, struct block **block, const char *row, size_t size)
{
    uint32_t block_size = pool_block_size(pipeline_pool(session->pipeline));

    while (size > 0) {
        size_t part;

        if (*block == NULL)
            *block = piece_take_block(piece, session->world->stop, session->packer, &session->world->stats);
        if (*block == NULL)
            return false;
        part = block_size - (*block)->used < size ? block_size - (*block)->used : size;
        memcpy((*block)->data + (*block)->used, row, part);
        (*block)->used += (uint32_t)part;
        row += part;
        size -= part;
        if ((*block)->used == block_size) {
            world_step(session->world);
            piece_append(piece, *block);
            *block = NULL;
            if (piece_given_up(piece))
                return false;
        }
    }
    return true;
}

static enum status range_read(struct session *session, struct piece *piece, struct block **block, int64_t *bytes,
                              struct error *error)
{
    uint64_t range = (uint64_t)piece_spec(piece)->place.range.lo;
    enum mood mood = session->world->books[range].mood;
    char *row = malloc(ROW_SIZE_MAX);
    enum status status = STATUS_OK;

    for (int64_t i = 0; i < range_rows(range) && status == STATUS_OK; i++) {
        size_t size = row_make(range, i, row);

        if (i == 0)
            piece_set_first_record(piece, (uint32_t)size);
        if (mood == MOOD_BAD_READ && i == 5)
            status = fail_with(error, STATUS_SERVER, "42501", "may not be read");
        else if (world_fails(session->world, 100))
            status = fail_transient(error);
        else if (!row_append(session, piece, block, row, size))
            status = error_set(error, STATUS_STOPPED, "given up");
        *bytes += (int64_t)size;
    }
    free(row);
    return status;
}

static void source_read(void *argument, struct piece *piece)
{
    struct session *session = argument;
    struct block *block = NULL;
    struct error error;
    int64_t bytes = 0;

    error_reset(&error);
    world_step(session->world);
    if (range_read(session, piece, &block, &bytes, &error) != STATUS_OK) {
        if (block != NULL)
            pool_give(pipeline_pool(session->pipeline), block);
        piece_fail(piece, &error);
        return;
    }
    if (block != NULL)
        piece_append(piece, block);
    piece_complete(piece, range_rows((uint64_t)piece_spec(piece)->place.range.lo), bytes);
}

static const struct reader_ops source = {
    .name = "fake source", .open = session_open, .read = source_read, .close = session_close};

/* ---- Addressable target ---- */

/* Reads the piece to its end; the hash is that of its text. */
static enum status target_copy(struct session *session, struct piece *piece, uint64_t *hash, int64_t *bytes,
                               struct error *error)
{
    struct cursor cursor = {0};
    struct span span;
    uint32_t first;
    enum status status = STATUS_OK;

    if (draw(2) == 0)
        status = piece_first_record(piece, &session->world->stats, &first, error);
    while (status == STATUS_OK) {
        status = piece_next(piece, &cursor, session->packer, &session->world->stats, &span, error);
        if (status != STATUS_OK || span.size == 0)
            return status;
        *hash = hash_add(*hash, span.data, span.size);
        *bytes += span.size;
        world_step(session->world);
        if (world_fails(session->world, 60))
            return fail_transient(error);
        if (stop_level(session->world->stop) == STOP_ABORT)
            return error_set(error, STATUS_STOPPED, "aborted");
    }
    return status;
}

static void range_verify(uint64_t range, int64_t rows, int64_t bytes, uint64_t hash)
{
    char *row = malloc(ROW_SIZE_MAX);
    uint64_t wanted = 0;
    int64_t total = 0;

    for (int64_t i = 0; i < range_rows(range); i++) {
        size_t size = row_make(range, i, row);

        wanted = hash_add(wanted, row, size);
        total += (int64_t)size;
    }
    free(row);
    CHECK(rows == range_rows(range) && bytes == total && hash == wanted);
}

static bool range_is_stored(struct world *world, size_t range)
{
    bool stored;

    pthread_mutex_lock(&world->mutex);
    stored = world->books[range].stored;
    pthread_mutex_unlock(&world->mutex);
    return stored;
}

static enum status target_write(void *argument, struct piece *piece, struct write_result *result, struct error *error)
{
    struct session *session = argument;
    struct world *world = session->world;
    size_t range = (size_t)piece_spec(piece)->place.range.lo;
    uint64_t hash = 0;
    int64_t bytes = 0;
    enum status status;

    *result = (struct write_result){0};
    world_step(world);
    result->already = range_is_stored(world, range);
    if (result->already)
        return STATUS_OK;
    if (world_fails(world, 20))
        return fail_transient(error);
    status = target_refuses(world->books[range].mood, error);
    if (status == STATUS_OK)
        status = target_copy(session, piece, &hash, &bytes, error);
    if (status != STATUS_OK)
        return status;
    CHECK(piece_bytes(piece) == bytes);
    range_verify(range, piece_rows(piece), bytes, hash);
    pthread_mutex_lock(&world->mutex);
    CHECK(!world->books[range].stored);
    world->books[range].stored = true;
    pthread_mutex_unlock(&world->mutex);
    result->piece_rows = result->rows = piece_rows(piece);
    result->piece_bytes = result->bytes = bytes;
    /* The commit whose answer is lost. */
    return world_fails(world, 10) ? fail_transient(error) : STATUS_OK;
}

static const struct writer_ops target = {
    .name = "fake target", .open = session_open, .write = target_write, .close = session_close};

/* ---- Addressable runs ---- */

static void test_pipeline_empty(void **state)
{
    struct world *world = world_make(0);
    struct pipeline_spec spec = spec_make(world, &source, &target);
    struct error error;

    (void)state;
    assert_int_equal(world_run(world, &spec, &error), STATUS_OK);
    world_free(world);
}

static void test_pipeline_exactly_once(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        struct world *world = world_make(150);
        struct pipeline_spec spec = spec_make(world, &source, &target);
        struct error error;

        world->failures_left = 30;
        world->slow = round % 2 == 1;
        assert_int_equal(world_run(world, &spec, &error), STATUS_OK);
        assert_int_equal(count_stored(world), 150);
        for (size_t i = 0; i < world->range_count; i++) {
            assert_int_equal(world->books[i].told, 1);
            assert_int_equal(world->books[i].quarantined, 0);
        }
        assert_int_equal(world->stats.ranges_done, 150);
        assert_true(world->stats.retries > 0);
        assert_true(world->failures_left <= 0);
        world_free(world);
    }
}

static void test_pipeline_stop_resumes(void **state)
{
    int stopped = 0;

    (void)state;
    for (int round = 0; round < 40; round++) {
        struct world *world = world_make(80);
        struct pipeline_spec spec = spec_make(world, &source, &target);
        struct error error;
        enum status status;

        world->failures_left = round % 3 == 0 ? 10 : 0;
        world->slow = round % 4 == 0;
        world->drain_at = round % 3 == 1 ? 0 : 1 + draw(600);
        world->abort_at = round % 3 == 2 ? 0 : world->drain_at + 1 + draw(100);
        status = world_run(world, &spec, &error);
        assert_true(status == STATUS_OK || status == STATUS_STOPPED);
        assert_true(status == STATUS_STOPPED || count_stored(world) == 80);
        stopped += status == STATUS_STOPPED;
        world_rearm(world);
        spec = spec_make(world, &source, &target);
        assert_int_equal(world_run(world, &spec, &error), STATUS_OK);
        assert_int_equal(count_stored(world), 80);
        world_free(world);
    }
    assert_true(stopped > 0);
}

struct stopper {
    struct world *world;
    uint32_t drain_us, abort_us;
};

static void stopper_request(struct world *world, enum stop_level level)
{
    /* While a session is open the pipeline is there, whose conditions the stop wakes. */
    pthread_mutex_lock(&world->mutex);
    if (!world->over)
        stop_request(world->stop, level);
    pthread_mutex_unlock(&world->mutex);
}

static void *stopper_main(void *argument)
{
    struct stopper *stopper = argument;

    nanosleep(&(struct timespec){.tv_nsec = stopper->drain_us * 1000L}, NULL);
    stopper_request(stopper->world, STOP_DRAIN);
    nanosleep(&(struct timespec){.tv_nsec = stopper->abort_us * 1000L}, NULL);
    stopper_request(stopper->world, STOP_ABORT);
    return NULL;
}

static void test_pipeline_stop_from_outside(void **state)
{
    (void)state;
    for (int round = 0; round < 25; round++) {
        struct world *world = world_make(80);
        struct pipeline_spec spec = spec_make(world, &source, &target);
        struct stopper stopper = {.world = world, .drain_us = draw(20000), .abort_us = draw(3000)};
        struct error error;
        enum status status;
        pthread_t thread;

        world->failures_left = round % 2 == 0 ? 20 : 0;
        world->slow = round % 3 != 0;
        assert_int_equal(pthread_create(&thread, NULL, stopper_main, &stopper), 0);
        status = world_run(world, &spec, &error);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(status == STATUS_OK || status == STATUS_STOPPED);
        world_free(world);
    }
}

static size_t range_largest(const struct world *world)
{
    char *row = malloc(ROW_SIZE_MAX);
    size_t largest = 0, largest_size = 0;

    for (size_t range = 0; range < world->range_count; range++) {
        size_t size = 0;

        for (int64_t i = 0; i < range_rows(range); i++)
            size += row_make(range, i, row);
        if (size > largest_size) {
            largest = range;
            largest_size = size;
        }
    }
    free(row);
    CHECK(largest_size > 10 * BLOCK && range_rows(largest) > 5);
    return largest;
}

static void quarantine_check(enum mood mood, enum status wanted, int64_t retry_ms)
{
    struct world *world = world_make(40);
    struct pipeline_spec spec = spec_make(world, &source, &target);
    struct error error;
    size_t bad = range_largest(world);

    world->books[bad].mood = mood;
    /* The range does not fit into the memory: its reader must hear that nobody wants the rest. */
    spec.memory_bytes = 8 * BLOCK;
    spec.retry_ms = retry_ms;
    assert_int_equal(world_run(world, &spec, &error), wanted);
    assert_int_equal(count_stored(world), 39);
    assert_false(world->books[bad].stored);
    assert_int_equal(world->stats.ranges_failed, 1);
    for (size_t i = 0; i < world->range_count; i++) {
        assert_int_equal(world->books[i].quarantined, i == bad);
        assert_int_equal(world->books[i].told, i != bad);
    }
    world_free(world);
}

static void test_pipeline_quarantine(void **state)
{
    (void)state;
    quarantine_check(MOOD_BAD_WRITE, STATUS_DATA, 30000);
    quarantine_check(MOOD_BAD_READ, STATUS_SERVER, 30000);
    quarantine_check(MOOD_NEVER, STATUS_TRANSIENT, 300);
}

/* Nothing but failures: the run ends long before it has tried everything. */
static void test_pipeline_all_bad(void **state)
{
    struct world *world = world_make(RANGES_MAX);
    struct pipeline_spec spec = spec_make(world, &source, &target);
    struct error error;

    (void)state;
    for (size_t i = 0; i < world->range_count; i++)
        world->books[i].mood = MOOD_BAD_WRITE;
    assert_int_equal(world_run(world, &spec, &error), STATUS_DATA);
    assert_true(world->stats.ranges_failed >= 8 && world->stats.ranges_failed < 40);
    world_free(world);
}

static void test_pipeline_outage(void **state)
{
    struct world *world = world_make(40);
    struct pipeline_spec spec = spec_make(world, &source, &target);
    struct error error;

    (void)state;
    for (size_t i = 0; i < world->range_count; i++)
        world->books[i].mood = MOOD_OUTAGE;
    spec.retry_ms = 300;
    assert_int_equal(world_run(world, &spec, &error), STATUS_TRANSIENT);
    assert_string_equal(error.sqlstate, "08001");
    assert_int_equal(world->stats.ranges_failed, 0);
    world_free(world);
}

static void test_pipeline_no_session(void **state)
{
    struct reader_ops no_reader = source;
    struct writer_ops no_writer = target;

    (void)state;
    no_reader.open = session_refuse;
    no_writer.open = session_refuse;
    for (int side = 0; side < 2; side++) {
        struct world *world = world_make(40);
        struct pipeline_spec spec = spec_make(world, &source, &target);
        struct error error;

        if (side == 0)
            spec.reader = &no_reader;
        else
            spec.writer = &no_writer;
        assert_int_equal(world_run(world, &spec, &error), STATUS_SERVER);
        assert_string_equal(error.text, "no session today");
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pipeline_empty, limit),
        cmocka_unit_test_setup(test_pipeline_exactly_once, limit),
        cmocka_unit_test_setup(test_pipeline_stop_resumes, limit),
        cmocka_unit_test_setup(test_pipeline_stop_from_outside, limit),
        cmocka_unit_test_setup(test_pipeline_quarantine, limit),
        cmocka_unit_test_setup(test_pipeline_all_bad, limit),
        cmocka_unit_test_setup(test_pipeline_outage, limit),
        cmocka_unit_test_setup(test_pipeline_no_session, limit),
    };

    seed_make();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
