/* Pool, chain and piece. */
#include "tests/unit/fixture_engine.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pool_reserve, limit),      cmocka_unit_test_setup(test_pool_claim_changes, limit),
        cmocka_unit_test_setup(test_chain_round_trip, limit),  cmocka_unit_test_setup(test_chain_packs, limit),
        cmocka_unit_test_setup(test_piece_huge_record, limit),
    };

    seed_make();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
