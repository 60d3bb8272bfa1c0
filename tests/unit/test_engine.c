/*
 * The engine without a server: pool, chain, piece and pipeline, with a source and a target that fail at random.
 *
 * The seed is printed; HYPERFILL_TEST_SEED=… repeats a run as far as threads allow.
 */
#include "engine/pipeline.h"

#include <assert.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log.h"

#define BLOCK 16384
#define LIMIT_S 280

/* cmocka's asserts jump out of the test and cannot be used in other threads. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold (seed %" PRIu64 ")\n", __FILE__, __LINE__, #condition, seed);     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t seed;
static _Atomic uint64_t draws;

/* splitmix64's mixing: the same number for the same one. */
static uint64_t mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(mix(seed ^ mix(atomic_fetch_add(&draws, 1))) % below);
}

static struct stop *stop_make(void)
{
    struct stop *stop;
    struct error error;

    error_reset(&error);
    CHECK(stop_create(&stop, &error) == STATUS_OK);
    return stop;
}

static struct pool *pool_make(int64_t blocks, int reserve, struct stop *stop)
{
    struct pool *pool;
    struct error error;

    error_reset(&error);
    CHECK(pool_create(blocks * BLOCK, BLOCK, reserve, stop, &pool, &error) == STATUS_OK);
    return pool;
}

static struct packer *packer_make(uint32_t block_size)
{
    struct packer *packer;
    struct error error;

    error_reset(&error);
    CHECK(packer_create(block_size, &packer, &error) == STATUS_OK);
    return packer;
}

static int limit(void **state)
{
    (void)state;
    alarm(LIMIT_S);
    return 0;
}

/* ---- Pool ---- */

struct taker {
    struct pool *pool;
    struct stop *stop;
    _Atomic int claim;
    _Atomic int asked; /* how often the claim was asked for */
    struct block *block;
    int64_t waited_ns;
    pthread_t thread;
};

static enum claim taker_claim(void *context)
{
    struct taker *taker = context;

    taker->asked++;
    return stop_level(taker->stop) == STOP_ABORT ? CLAIM_GIVE_UP : (enum claim)taker->claim;
}

static void *taker_main(void *argument)
{
    struct taker *taker = argument;

    taker->block = pool_take(taker->pool, taker_claim, taker, &taker->waited_ns);
    return NULL;
}

/* Starts one that finds no block and waits: it has asked, and holds the pool's lock from then until it sleeps. */
static void taker_start(struct taker *taker, struct pool *pool, struct stop *stop, enum claim claim)
{
    *taker = (struct taker){.pool = pool, .stop = stop, .claim = claim};
    CHECK(pthread_create(&taker->thread, NULL, taker_main, taker) == 0);
    while (taker->asked == 0)
        sched_yield();
    (void)pool_free_count(pool);
}

static struct block *taker_finish(struct taker *taker)
{
    CHECK(pthread_join(taker->thread, NULL) == 0);
    return taker->block;
}

static void pool_drain(struct pool *pool, struct block *blocks[8], int leave)
{
    struct taker taker = {.claim = CLAIM_ACTIVE, .stop = stop_make()};

    for (int i = 0; i < 8 - leave; i++)
        assert_non_null(blocks[i] = pool_take(pool, taker_claim, &taker, &taker.waited_ns));
    assert_int_equal(taker.waited_ns, 0);
    stop_free(taker.stop);
}

static void test_pool_reserve(void **state)
{
    struct stop *stop = stop_make();
    struct pool *pool = pool_make(1, 2, stop);
    struct block *blocks[8];
    struct taker ahead, active;

    (void)state;
    assert_int_equal(pool_block_count(pool), 8);
    for (int i = 0; i < 6; i++)
        assert_non_null(blocks[i] = pool_try(pool));
    assert_null(pool_try(pool));
    taker_start(&ahead, pool, stop, CLAIM_AHEAD);
    taker_start(&active, pool, stop, CLAIM_ACTIVE);
    assert_non_null(taker_finish(&active));
    assert_int_equal(active.waited_ns, 0);
    /* Two are free again, which is the reserve; the third one is for whoever waits. */
    pool_give(pool, active.block);
    assert_null(ahead.block);
    pool_give(pool, blocks[0]);
    assert_non_null(taker_finish(&ahead));
    assert_true(ahead.waited_ns > 0);
    pool_give(pool, ahead.block);
    for (int i = 1; i < 6; i++)
        pool_give(pool, blocks[i]);
    pool_free(pool);
    stop_free(stop);
}

static void test_pool_claim_changes(void **state)
{
    struct stop *stop = stop_make();
    struct pool *pool = pool_make(8, 2, stop);
    struct block *blocks[8];
    struct taker promoted, given_up, stopped;

    (void)state;
    pool_drain(pool, blocks, 1);
    taker_start(&promoted, pool, stop, CLAIM_AHEAD);
    promoted.claim = CLAIM_ACTIVE;
    pool_wake(pool);
    assert_non_null(blocks[7] = taker_finish(&promoted));
    taker_start(&given_up, pool, stop, CLAIM_ACTIVE);
    given_up.claim = CLAIM_GIVE_UP;
    pool_wake(pool);
    assert_null(taker_finish(&given_up));
    taker_start(&stopped, pool, stop, CLAIM_ACTIVE);
    stop_request(stop, STOP_ABORT);
    assert_null(taker_finish(&stopped));
    for (int i = 0; i < 8; i++)
        pool_give(pool, blocks[i]);
    assert_int_equal(pool_free_count(pool), 8);
    pool_free(pool);
    stop_free(stop);
}

/* ---- Chain ---- */

/* Text and marks of a chain one after the other, as written or as read back. */
struct record {
    char *text;
    size_t size;
    struct block_mark marks[4096]; /* `at` counts from the start of the text here */
    size_t mark_count;
};

static void record_add(struct record *record, const char *data, uint32_t size)
{
    record->text = realloc(record->text, record->size + size + 1);
    CHECK(record->text != NULL);
    memcpy(record->text + record->size, data, size);
    record->size += size;
}

static struct block *block_fill(struct pool *pool, struct record *record)
{
    struct block *block = pool_try(pool);
    bool noise = draw(4) == 0;

    CHECK(block != NULL);
    while (draw(60) != 0 && record->mark_count < 4000) {
        uint32_t room = block_room(block, BLOCK), size = draw(1200);
        struct block_mark mark = {.offset = (int64_t)mix(draw(1000)), .at = block->used, .line = draw(1000000)};

        if (room < size)
            break;
        *block_mark(block, BLOCK, block->mark_count++) = mark;
        for (uint32_t i = 0; i < size; i++)
            block->data[block->used + i] = (char)(noise ? draw(256) : 'a' + i % 16);
        block->used += size;
        mark.at += (uint32_t)record->size;
        record->marks[record->mark_count++] = mark;
    }
    record_add(record, block->data, block->used);
    return block;
}

static void chain_compare(const struct chain *chain, struct packer *packer, const struct record *record)
{
    struct cursor cursor = {0};
    struct span span;
    size_t size = 0, mark_count = 0;
    struct error error;

    error_reset(&error);
    for (;;) {
        CHECK(chain_next(chain, &cursor, packer, &span, &error) == STATUS_OK);
        if (span.data == NULL)
            break;
        CHECK(size + span.size <= record->size);
        CHECK(memcmp(span.data, record->text + size, span.size) == 0);
        for (uint32_t i = 0; i < span.mark_count; i++, mark_count++) {
            const struct block_mark *one = span_mark(&span, i), *other = &record->marks[mark_count];

            CHECK(mark_count < record->mark_count);
            CHECK(one->offset == other->offset && one->line == other->line && one->at + size == other->at);
        }
        size += span.size;
    }
    CHECK(size == record->size && mark_count == record->mark_count);
    CHECK((int64_t)size == chain->bytes);
}

static void test_chain_round_trip(void **state)
{
    static const int levels[] = {-7, -3, 1, 3};
    struct stop *stop = stop_make();
    struct pool *pool = pool_make(64, 0, stop);
    struct packer *packer = packer_make(BLOCK);
    struct record *record = calloc(1, sizeof *record);

    (void)state;
    for (int round = 0; round < 60; round++) {
        struct chain chain = {0};
        int64_t raw = 0, packed = 0;

        record->size = record->mark_count = 0;
        for (int turn = 0; turn < 4; turn++) {
            int64_t before, freed;

            for (uint32_t i = draw(12); i > 0; i--)
                chain_push(&chain, block_fill(pool, record));
            chain_compare(&chain, packer, record);
            before = chain.blocks;
            freed = chain_pack(&chain, pool, packer, levels[draw(4)], (int)draw(4), &raw, &packed);
            assert_int_equal(before - chain.blocks, freed);
            assert_int_equal(pool_free_count(pool), 64 - chain.blocks);
            chain_compare(&chain, packer, record);
        }
        assert_true(raw <= (int64_t)record->size);
        chain_clear(&chain, pool);
        assert_null(chain.head);
    }
    free(record->text);
    free(record);
    packer_free(packer);
    pool_free(pool);
    stop_free(stop);
}

static void test_chain_packs(void **state)
{
    struct stop *stop = stop_make();
    struct pool *pool = pool_make(16, 0, stop);
    struct packer *packer = packer_make(BLOCK);
    struct chain chain = {0};
    int64_t raw = 0, packed = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        struct block *block = pool_try(pool);

        /* The last two do not shrink. */
        for (block->used = 0; block->used < BLOCK; block->used++)
            block->data[block->used] = (char)(i < 8 ? 'x' : (int)draw(256));
        chain_push(&chain, block);
    }
    assert_int_equal(chain_pack(&chain, pool, packer, 1, 4, &raw, &packed), 5);
    assert_int_equal(chain.blocks, 5);
    assert_int_equal(raw, 6 * BLOCK);
    assert_true(packed < BLOCK);
    assert_int_equal(chain_pack(&chain, pool, packer, 1, 0, &raw, &packed), 2);
    assert_int_equal(chain.blocks, 3);
    assert_int_equal(raw, 8 * BLOCK);
    assert_int_equal(chain.bytes, 10 * BLOCK);
    chain_clear(&chain, pool);
    packer_free(packer);
    pool_free(pool);
    stop_free(stop);
}

/* ---- Piece ---- */

struct feeder {
    struct piece *piece;
    struct pool *pool;
    struct stop *stop;
    struct stats stats;
    int64_t size; /* of the one record */
};

static void *feeder_main(void *argument)
{
    struct feeder *feeder = argument;
    struct packer *packer = packer_make(BLOCK);

    piece_set_first_record(feeder->piece, (uint32_t)feeder->size);
    for (int64_t left = feeder->size; left > 0;) {
        struct block *block = piece_take_block(feeder->piece, feeder->stop, packer, &feeder->stats);

        CHECK(block != NULL);
        block->used = left < BLOCK ? (uint32_t)left : BLOCK;
        memset(block->data, 'x', block->used);
        left -= block->used;
        piece_append(feeder->piece, block);
    }
    piece_complete(feeder->piece, 1, feeder->size);
    piece_release(feeder->piece);
    packer_free(packer);
    return NULL;
}

/* Whoever asks for the first record's size must not wait for all of it: it may be larger than the memory. */
static void test_piece_huge_record(void **state)
{
    struct feeder feeder = {.stop = stop_make(), .size = 100 * BLOCK + 7};
    const struct piece_spec spec = {.end = 1};
    struct packer *packer = packer_make(BLOCK);
    struct cursor cursor = {0};
    struct span span;
    struct error error;
    pthread_t thread;
    int64_t size = 0;
    uint32_t first;

    (void)state;
    error_reset(&error);
    feeder.pool = pool_make(8, 2, feeder.stop);
    CHECK(piece_create(&spec, feeder.pool, &feeder.piece, &error) == STATUS_OK);
    CHECK(pthread_create(&thread, NULL, feeder_main, &feeder) == 0);
    piece_taken(feeder.piece);
    CHECK(piece_next(feeder.piece, &cursor, packer, &feeder.stats, &span, &error) == STATUS_OK);
    CHECK(piece_first_record(feeder.piece, &feeder.stats, &first, &error) == STATUS_OK);
    CHECK(first == feeder.size);
    while (span.size > 0) {
        size += span.size;
        CHECK(piece_next(feeder.piece, &cursor, packer, &feeder.stats, &span, &error) == STATUS_OK);
    }
    CHECK(size == feeder.size && piece_rows(feeder.piece) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
    piece_release(feeder.piece);
    packer_free(packer);
    pool_free(feeder.pool);
    stop_free(feeder.stop);
}

/* ---- A world: a source of known content, a target with a ledger, and their moods ---- */

enum mood { MOOD_FINE, MOOD_BAD_WRITE, MOOD_BAD_READ, MOOD_NEVER, MOOD_OUTAGE };

struct range_book {
    enum mood mood;
    bool stored;     /* addressable: its rows are in the target */
    int64_t mark;    /* stream: records before it are in the target */
    int told;        /* calls of the committed hook */
    int quarantined; /* calls of the failed hook */
};

/* A record of the stream. */
struct line {
    int64_t offset;
    uint32_t size;
    uint32_t range;
    bool stored;
};

#define RANGES_MAX 400
#define LINES_MAX 6000
#define LINE_SIZE_MAX 3000

struct world {
    struct stop *stop;
    struct stats stats;
    _Atomic int failures_left;  /* transient ones still to come, on both sides */
    _Atomic int64_t steps;      /* of readers and writers */
    int64_t drain_at, abort_at; /* steps at which to stop; 0: never */
    bool slow;
    pthread_mutex_t mutex; /* guards the books, the lines and what follows */
    struct range_book books[RANGES_MAX];
    size_t range_count;
    struct line lines[LINES_MAX];
    size_t line_count;
    struct input_position frontier; /* the ledger's, of the last commit */
    int sessions;
    bool over; /* the last session is closing: nobody may request a stop any more */
};

static struct world *world_make(size_t ranges)
{
    struct world *world = calloc(1, sizeof *world);

    CHECK(world != NULL && ranges <= RANGES_MAX);
    world->range_count = ranges;
    world->stop = stop_make();
    pthread_mutex_init(&world->mutex, NULL);
    return world;
}

static void world_free(struct world *world)
{
    pthread_mutex_destroy(&world->mutex);
    stop_free(world->stop);
    free(world);
}

/* Called at every step of readers and writers: time for something to happen. */
static void world_step(struct world *world)
{
    int64_t step = atomic_fetch_add(&world->steps, 1) + 1;

    if (step == world->drain_at)
        stop_request(world->stop, STOP_DRAIN);
    if (step == world->abort_at)
        stop_request(world->stop, STOP_ABORT);
    if (world->slow && draw(8) == 0)
        stop_wait(world->stop, 1, STOP_ABORT);
}

static bool world_fails(struct world *world, uint32_t one_of)
{
    if (draw(one_of) != 0 || atomic_load(&world->failures_left) <= 0)
        return false;
    return atomic_fetch_sub(&world->failures_left, 1) > 0;
}

static enum status fail_with(struct error *error, enum status status, const char *sqlstate, const char *text)
{
    error_set(error, status, "%s", text);
    memcpy(error->sqlstate, sqlstate, sizeof error->sqlstate);
    return status;
}

static enum status fail_transient(struct error *error)
{
    return fail_with(error, STATUS_TRANSIENT, draw(2) ? "40001" : "08006", "a failure for now");
}

/* ---- Sessions of both sides ---- */

struct session {
    struct world *world;
    struct pipeline *pipeline;
    struct packer *packer;
    struct line **lines; /* writer: of the piece */
    size_t line_count, line_room;
};

static enum status session_open(void *context, struct pipeline *pipeline, void **result, struct error *error)
{
    struct session *session = calloc(1, sizeof *session);

    (void)error;
    CHECK(session != NULL);
    session->world = context;
    session->pipeline = pipeline;
    session->packer = packer_make(pool_block_size(pipeline_pool(pipeline)));
    pthread_mutex_lock(&session->world->mutex);
    session->world->sessions++;
    pthread_mutex_unlock(&session->world->mutex);
    *result = session;
    return STATUS_OK;
}

static void session_close(void *argument)
{
    struct session *session = argument;

    if (session == NULL)
        return;
    pthread_mutex_lock(&session->world->mutex);
    if (--session->world->sessions == 0)
        session->world->over = true;
    pthread_mutex_unlock(&session->world->mutex);
    packer_free(session->packer);
    free(session->lines);
    free(session);
}

static enum status session_refuse(void *context, struct pipeline *pipeline, void **result, struct error *error)
{
    (void)context;
    (void)pipeline;
    *result = NULL;
    return error_set(error, STATUS_SERVER, "no session today");
}

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

static enum status target_refuses(enum mood mood, struct error *error)
{
    switch (mood) {
    case MOOD_BAD_WRITE: return fail_with(error, STATUS_DATA, "22P02", "a bad row");
    case MOOD_NEVER: return fail_with(error, STATUS_TRANSIENT, "40P01", "always a deadlock");
    case MOOD_OUTAGE: return fail_with(error, STATUS_TRANSIENT, "08001", "nobody there");
    case MOOD_FINE:
    case MOOD_BAD_READ: break;
    }
    return STATUS_OK;
}

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

/* ---- Running ---- */

static enum status tell_committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                                  struct error *error)
{
    struct world *world = context;

    (void)result;
    (void)error;
    pthread_mutex_lock(&world->mutex);
    world->books[piece->place.range.lo].told++;
    pthread_mutex_unlock(&world->mutex);
    return STATUS_OK;
}

static enum status tell_failed(void *context, const struct piece_spec *piece, const struct error *reason,
                               struct error *error)
{
    struct world *world = context;

    (void)error;
    CHECK(reason->status != STATUS_OK);
    pthread_mutex_lock(&world->mutex);
    world->books[piece->place.range.lo].quarantined++;
    pthread_mutex_unlock(&world->mutex);
    return STATUS_OK;
}

/* Ranges of one unit, four to a chunk; those that are stored are left out, as on resume. */
static size_t tasks_make(struct world *world, struct task *tasks)
{
    size_t count = 0;

    for (size_t i = 0; i < world->range_count; i++) {
        int64_t lo = (int64_t)i;

        if (!world->books[i].stored)
            tasks[count++] = (struct task){.place = {.range = {lo, lo + 1}, .cell = {lo / 4 * 4, lo / 4 * 4 + 4}},
                                           .rows_estimate = -1,
                                           .bytes_estimate = -1};
    }
    return count;
}

static struct pipeline_spec spec_make(struct world *world)
{
    return (struct pipeline_spec){.reader = &source,
                                  .source = world,
                                  .readers = 1 + (int)draw(4),
                                  .writer = &target,
                                  .target = world,
                                  .writers = 1 + (int)draw(4),
                                  .memory_bytes = (8 + (int64_t)draw(40)) * BLOCK,
                                  .retry_ms = 30000,
                                  .stop = world->stop,
                                  .stats = &world->stats,
                                  .committed = tell_committed,
                                  .failed = tell_failed,
                                  .context = world};
}

static enum status world_run(struct world *world, const struct pipeline_spec *base, struct error *error)
{
    struct task tasks[RANGES_MAX];
    struct pipeline_spec spec = *base;
    enum status status;

    error_reset(error);
    if (!spec.stream) {
        spec.tasks = tasks;
        spec.task_count = tasks_make(world, tasks);
    }
    status = pipeline_run(&spec, error);
    CHECK(status == error->status);
    CHECK(world->sessions == 0);
    CHECK(world->stats.readers_active == 0 && world->stats.writers_active == 0);
    return status;
}

static void world_rearm(struct world *world)
{
    stop_free(world->stop);
    world->stop = stop_make();
    world->drain_at = world->abort_at = 0;
    world->over = false;
}

static size_t count_stored(const struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->range_count; i++)
        count += world->books[i].stored;
    return count;
}

/* ---- Addressable runs ---- */

static void test_pipeline_empty(void **state)
{
    struct world *world = world_make(0);
    struct pipeline_spec spec = spec_make(world);
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
        struct pipeline_spec spec = spec_make(world);
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
        struct pipeline_spec spec = spec_make(world);
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
        spec = spec_make(world);
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
        struct pipeline_spec spec = spec_make(world);
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
    struct pipeline_spec spec = spec_make(world);
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
    struct pipeline_spec spec = spec_make(world);
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
    struct pipeline_spec spec = spec_make(world);
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
        struct pipeline_spec spec = spec_make(world);
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
    struct pipeline_spec spec = spec_make(world);

    spec.stream = true;
    spec.reader = &stream_source;
    spec.readers = 1;
    spec.writer = &stream_target;
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
        cmocka_unit_test_setup(test_pool_reserve, limit),
        cmocka_unit_test_setup(test_pool_claim_changes, limit),
        cmocka_unit_test_setup(test_chain_round_trip, limit),
        cmocka_unit_test_setup(test_chain_packs, limit),
        cmocka_unit_test_setup(test_piece_huge_record, limit),
        cmocka_unit_test_setup(test_pipeline_empty, limit),
        cmocka_unit_test_setup(test_pipeline_exactly_once, limit),
        cmocka_unit_test_setup(test_pipeline_stop_resumes, limit),
        cmocka_unit_test_setup(test_pipeline_stop_from_outside, limit),
        cmocka_unit_test_setup(test_pipeline_quarantine, limit),
        cmocka_unit_test_setup(test_pipeline_all_bad, limit),
        cmocka_unit_test_setup(test_pipeline_outage, limit),
        cmocka_unit_test_setup(test_pipeline_no_session, limit),
        cmocka_unit_test_setup(test_stream_exactly_once, limit),
        cmocka_unit_test_setup(test_stream_stop_resumes, limit),
        cmocka_unit_test_setup(test_stream_quarantine, limit),
    };
    const char *given = getenv("HYPERFILL_TEST_SEED");

    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
    /* Failures are the rule here: no line for each. */
    log_level_set(LOG_ERROR);
    print_message("seed %" PRIu64 "\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
