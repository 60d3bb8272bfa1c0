/* Records of a piece: cut right, in one stretch, with their places in the input, at every size of a block. */
#include "writers/records.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK 4096
#define RECORDS_MAX 400

/* An input of which every third record goes into the piece: stretches that do not follow each other. */
struct sample {
    char text[65536];
    size_t size;
    struct record records[RECORDS_MAX]; /* of the piece, pointing into the text */
    int count;
};

static uint32_t state = 1;

static uint32_t draw(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static void sample_add(struct sample *sample, const char *text, size_t size)
{
    memcpy(sample->text + sample->size, text, size);
    sample->size += size;
}

/* Fields with quotes, and with line ends and doubled quotes in them. */
static void sample_make(struct sample *sample, const char *end, int count, bool ended)
{
    int64_t line = 1;

    *sample = (struct sample){0};
    for (int i = 0; i < count; i++) {
        size_t begin = sample->size;
        int64_t lines = 1;
        char text[64];
        int size = snprintf(text, sizeof text, "%d,", i);

        sample_add(sample, text, (size_t)size);
        for (uint32_t part = draw(4); part > 0; part--) {
            sample_add(sample, "\"a,", 3);
            if (draw(2) == 0) {
                sample_add(sample, end, strlen(end));
                lines++;
            }
            sample_add(sample, "\"\"b\"", 4);
        }
        if (ended || i < count - 1)
            sample_add(sample, end, strlen(end));
        if (i % 3 != 1)
            sample->records[sample->count++] =
                (struct record){sample->text + begin, sample->size - begin, (int64_t)begin, line};
        line += lines;
    }
}

static struct pool *pool_make(struct stop *stop, uint32_t block_size)
{
    struct pool *pool;
    struct error error;

    error_reset(&error);
    assert_int_equal(pool_create((int64_t)block_size * RECORDS_MAX * 40, block_size, 0, stop, &pool, &error),
                     STATUS_OK);
    return pool;
}

static enum claim claim_block(void *context)
{
    (void)context;
    return CLAIM_ACTIVE;
}

/* A piece of the sample, in blocks that each take `fill` bytes of text. */
static struct piece *piece_make(const struct sample *sample, struct pool *pool, size_t fill, bool marked)
{
    struct piece_spec spec = {.replayable = true, .first_line = marked ? 1 : 0};
    struct chain chain = {0};
    struct block *block = NULL;
    struct piece *piece;
    struct error error;
    int64_t waited = 0, next_offset = -1, bytes = 0;

    error_reset(&error);
    assert_int_equal(piece_create(&spec, pool, &piece, &error), STATUS_OK);
    for (int i = 0; i < sample->count; i++) {
        const struct record *record = &sample->records[i];

        for (size_t done = 0; done < record->size; done++) {
            int64_t offset = record->offset + (int64_t)done;

            if (block == NULL || block->used == fill) {
                if (block != NULL)
                    chain_push(&chain, block);
                block = pool_take(pool, claim_block, NULL, &waited);
                block->used = block->mark_count = 0;
            }
            if (marked && (block->used == 0 || offset != next_offset)) {
                /* In the middle of a record its line is of no use to anybody; and what goes on need not say it. */
                uint32_t line = done == 0 ? (uint32_t)(record->line - 1) : 999999;

                if (offset == next_offset && draw(2) == 0)
                    line = LINE_GOES_ON;

                *block_mark(block, BLOCK, block->mark_count++) =
                    (struct block_mark){.offset = offset, .at = block->used, .line = line};
            }
            block->data[block->used++] = record->text[done];
            next_offset = offset + 1;
        }
        bytes += (int64_t)record->size;
    }
    if (block != NULL)
        chain_push(&chain, block);
    piece_set_chain(piece, &chain);
    piece_complete(piece, sample->count, bytes);
    return piece;
}

static void check_piece(const struct sample *sample, struct piece *piece, struct packer *packer, bool marked)
{
    struct stats stats = {0};
    struct records records;
    struct record record;
    struct error error;
    int64_t offset = 0;

    error_reset(&error);
    records_init(&records, piece, '"', '"', packer, &stats);
    for (int i = 0; i < sample->count; i++) {
        const struct record *expected = &sample->records[i];

        assert_int_equal(records_next(&records, &record, &error), STATUS_OK);
        assert_int_equal(record.size, expected->size);
        assert_memory_equal(record.text, expected->text, record.size);
        assert_int_equal(record.offset, marked ? expected->offset : offset);
        if (marked)
            assert_int_equal(record.line, expected->line);
        offset += (int64_t)record.size;
    }
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(records_next(&records, &record, &error), STATUS_OK);
        assert_int_equal(record.size, 0);
    }
    records_reset(&records);
}

static void check_sample(const struct sample *sample, bool marked)
{
    struct packer *packer;
    struct stop *stop;
    struct pool *pool;
    struct error error;

    error_reset(&error);
    assert_int_equal(stop_create(&stop, &error), STATUS_OK);
    assert_int_equal(packer_create(BLOCK, &packer, &error), STATUS_OK);
    pool = pool_make(stop, BLOCK);
    for (size_t fill = 1; fill <= 200; fill++) {
        struct piece *piece = piece_make(sample, pool, fill, marked);

        check_piece(sample, piece, packer, marked);
        check_piece(sample, piece, packer, marked); /* a piece that is kept can be gone through again */
        piece_release(piece);
        piece_release(piece);
    }
    pool_free(pool);
    packer_free(packer);
    stop_free(stop);
}

static void every_block_size(void **unused)
{
    static struct sample sample;

    (void)unused;
    for (int ended = 0; ended < 2; ended++)
        for (int marked = 0; marked < 2; marked++) {
            const char *const ends[] = {"\n", "\r\n", "\r"};

            for (int i = 0; i < 3; i++) {
                sample_make(&sample, ends[i], 60, ended != 0);
                check_sample(&sample, marked != 0);
            }
        }
}

static void empty_piece(void **unused)
{
    static struct sample sample;

    (void)unused;
    check_sample(&sample, true);
}

static void sample_one(struct sample *sample, const char *text)
{
    sample->records[sample->count++] =
        (struct record){sample->text + sample->size, strlen(text), (int64_t)sample->size, sample->count};
    sample_add(sample, text, strlen(text));
}

/* \. alone is a record like others here: it stands among rows that are rejected. */
static void end_of_data_mark(void **unused)
{
    static struct sample sample;

    (void)unused;
    sample_one(&sample, "a,b\n");
    sample_one(&sample, "\\.\n");
    sample_one(&sample, "\n");
    sample_one(&sample, "\\.");
    check_sample(&sample, true);
}

static void open_quote(void **unused)
{
    static struct sample sample;
    struct records records;
    struct stats stats = {0};
    struct packer *packer;
    struct record record;
    struct piece *piece;
    struct stop *stop;
    struct pool *pool;
    struct error error;

    (void)unused;
    error_reset(&error);
    sample_one(&sample, "a,\"b\n");
    assert_int_equal(stop_create(&stop, &error), STATUS_OK);
    assert_int_equal(packer_create(BLOCK, &packer, &error), STATUS_OK);
    pool = pool_make(stop, BLOCK);
    piece = piece_make(&sample, pool, 2, true);
    records_init(&records, piece, '"', '"', packer, &stats);
    assert_int_equal(records_next(&records, &record, &error), STATUS_DATA);
    assert_false(records.source_failed);
    records_reset(&records);
    piece_release(piece);
    piece_release(piece);
    pool_free(pool);
    packer_free(packer);
    stop_free(stop);
}

static void server_lines(void **unused)
{
    static const struct {
        const char *text;
        enum line_end line_end;
        bool first;
        int64_t lines;
    } cases[] = {
        {"a\n", LINE_END_LF, false, 1},
        {"\"a\nb\n\"\n", LINE_END_LF, false, 3},
        {"\"a\nb\n\"\n", LINE_END_LF, true, 1},
        {"\"a\r\nb\"\n", LINE_END_LF, true, 2},
        {"\"a\nb\r\"\r\n", LINE_END_CRLF, false, 2},
        {"\"a\rb\n\"\r", LINE_END_CR, false, 2},
        {"\"a\rb\"", LINE_END_CR, true, 2},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct record record = {.text = cases[i].text, .size = strlen(cases[i].text)};

        assert_int_equal(record_server_lines(&record, cases[i].line_end, cases[i].first), cases[i].lines);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_size), cmocka_unit_test(empty_piece),  cmocka_unit_test(end_of_data_mark),
        cmocka_unit_test(open_quote),       cmocka_unit_test(server_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
