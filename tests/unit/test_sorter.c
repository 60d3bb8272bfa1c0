/* Records by segment and time: each once, segments together, in order within one; or not at all. */
#include "writers/sorter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK 4096

static const struct sorter_spec plain = {
    .delimiter = ',',
    .quote = '"',
    .escape = '"',
    .null_text = "",
    .keys = {{.field = 1, .kind = SORTER_TEXT}},
    .key_count = 1,
    .time_field = 0,
    .time = {.type = TIME_INT8, .precision = -1},
};

static uint32_t state = 1;

static uint32_t draw(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static enum claim claim_block(void *context)
{
    (void)context;
    return CLAIM_ACTIVE;
}

static struct piece *piece_make(struct pool *pool, const char *text, size_t size, int64_t rows)
{
    struct piece_spec spec = {.replayable = true};
    struct chain chain = {0};
    struct block *block = NULL;
    struct piece *piece;
    struct error error;
    int64_t waited = 0;

    error_reset(&error);
    assert_int_equal(piece_create(&spec, pool, &piece, &error), STATUS_OK);
    for (size_t done = 0; done < size; done++) {
        if (block == NULL || block->used == BLOCK / 2) {
            if (block != NULL)
                chain_push(&chain, block);
            block = pool_take(pool, claim_block, NULL, &waited);
            block->used = block->mark_count = 0;
        }
        block->data[block->used++] = text[done];
        chain.bytes++;
    }
    if (block != NULL)
        chain_push(&chain, block);
    piece_set_chain(piece, &chain);
    piece_complete(piece, rows, (int64_t)size);
    return piece;
}

/* What comes out, as a new string; NULL if it was not sorted. */
static char *sort(const struct sorter_spec *spec, const char *text, int64_t rows, int64_t room)
{
    struct error error;
    struct stop *stop;
    struct stats stats = {0};
    struct packer *packer;
    struct pool *pool;
    struct piece *piece;
    struct records records;
    struct sorter *sorter;
    struct sql {
        char *text;
        size_t size;
    } out = {calloc(1, strlen(text) + 3), 0};
    bool sorted;

    error_reset(&error);
    assert_int_equal(stop_create(&stop, &error), STATUS_OK);
    assert_int_equal(pool_create((int64_t)BLOCK * 4000, BLOCK, 0, stop, &pool, &error), STATUS_OK);
    assert_int_equal(packer_create(BLOCK, &packer, &error), STATUS_OK);
    piece = piece_make(pool, text, strlen(text), rows);
    records_init(&records, piece, spec->quote, spec->escape, packer, &stats);
    assert_int_equal(sorter_create(room, &sorter, &error), STATUS_OK);
    assert_int_equal(sorter_fill(sorter, spec, &records, rows, (int64_t)strlen(text), &sorted, &error), STATUS_OK);
    for (struct span span; sorted && (span = sorter_next(sorter, false)).size > 0; out.size += span.size)
        memcpy(out.text + out.size, span.data, span.size);
    if (!sorted) {
        free(out.text);
        out.text = NULL;
    }
    sorter_free(sorter);
    records_reset(&records);
    piece_release(piece);
    piece_release(piece);
    packer_free(packer);
    pool_free(pool);
    stop_free(stop);
    return out.text;
}

static void check(const struct sorter_spec *spec, const char *text, int64_t rows, const char *expected)
{
    char *sorted = sort(spec, text, rows, 1 << 24);

    if (expected == NULL)
        assert_null(sorted);
    else
        assert_string_equal(sorted, expected);
    free(sorted);
}

static void segments_come_together(void **unused)
{
    struct sorter_spec descending = plain;

    (void)unused;
    descending.descending = true;
    check(&plain, "2,b\n1,a\n1,b\n2,a\n", 4, "1,b\n2,b\n1,a\n2,a\n");
    check(&descending, "2,b\n1,a\n3,b\n2,a\n", 4, "3,b\n2,b\n2,a\n1,a\n");
    check(&plain, "", 0, "");
    /* The last line's end may be missing; it gets one like the others. */
    check(&plain, "2,b\r\n1,b", 2, "1,b\r\n2,b\r\n");
    check(&plain, "1,b", 1, "1,b\n");
    check(&plain, "2,\"b\nc\"\n1,\"b\nc\"\n", 2, "1,\"b\nc\"\n2,\"b\nc\"\n");
}

/* The same to the server, however it is written; and not the same. */
static void what_a_segment_is(void **unused)
{
    struct sorter_spec null = plain, integer = plain;

    (void)unused;
    null.null_text = "NA";
    integer.keys[0].kind = SORTER_INTEGER;
    check(&plain, "1,b\n2,a\n3,\"b\"\n", 3, "1,b\n3,\"b\"\n2,a\n");
    check(&plain, "1,\"b\"\"\"\n2,\n3,b\"\"\"\"\n4,\"\"\n5,\n", 5, "1,\"b\"\"\"\n3,b\"\"\"\"\n2,\n5,\n4,\"\"\n");
    check(&null, "1,NA\n2,\"NA\"\n3,NA\n4,NA \n", 4, "1,NA\n3,NA\n2,\"NA\"\n4,NA \n");
    check(&integer, "1,-7\n2,\n3,0\n4,-7\n5,\"0\"\n", 5, "1,-7\n4,-7\n2,\n3,0\n5,\"0\"\n");
    /* Other forms of a number, of which nobody knows what they are the same as. */
    check(&integer, "1,7\n2,07\n", 2, NULL);
    check(&integer, "1,7\n2, 7\n", 2, NULL);
    check(&integer, "1,7\n2,+7\n", 2, NULL);
    check(&integer, "1,0\n2,-0\n", 2, NULL);
    check(&integer, "1,7\n2,0x7\n", 2, NULL);
    /* No time, no field. */
    check(&plain, "1,b\nx,b\n", 2, NULL);
    check(&plain, "1,b\n,b\n", 2, NULL);
    check(&plain, "1,b\n2\n", 2, NULL);
}

static void what_has_no_room(void **unused)
{
    const char *text = "2,b\n1,a\n";
    char *sorted = sort(&plain, text, 2, 1 << 16);

    (void)unused;
    assert_null(sorted);
    free(sorted);
}

/* Two keys that would be one put together. */
static void several_keys(void **unused)
{
    struct sorter_spec spec = plain;

    (void)unused;
    spec.key_count = 2;
    spec.keys[1] = (struct sorter_key){.field = 2, .kind = SORTER_TEXT};
    check(&spec, "1,ab,c\n2,a,bc\n3,ab,c\n", 3, "1,ab,c\n3,ab,c\n2,a,bc\n");
}

#define ROWS 5000

static void many(void **unused)
{
    char *text = malloc((size_t)ROWS * 64), *sorted, *line, *save = NULL;
    bool *seen = calloc(ROWS, sizeof *seen), *closed = calloc(ROWS, sizeof *closed);
    size_t size = 0;
    int count = 0, last_segment = -1;
    long long last_time = 0;

    (void)unused;
    for (int i = 0; i < ROWS; i++)
        size += (size_t)snprintf(text + size, 64, "%u,s%u,%d\n", draw(100000), draw(ROWS / 2), i);
    sorted = sort(&plain, text, ROWS, 1 << 24);
    assert_non_null(sorted);
    assert_int_equal(strlen(sorted), size);
    for (line = strtok_r(sorted, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        long long moment;
        int segment, number;

        assert_int_equal(sscanf(line, "%lld,s%d,%d", &moment, &segment, &number), 3);
        assert_false(seen[number]);
        seen[number] = true;
        if (segment == last_segment)
            assert_true(moment >= last_time);
        else if (last_segment >= 0)
            closed[last_segment] = true;
        assert_false(closed[segment]);
        last_segment = segment;
        last_time = moment;
        count++;
    }
    assert_int_equal(count, ROWS);
    free(closed);
    free(seen);
    free(sorted);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_come_together),
        cmocka_unit_test(what_a_segment_is),
        cmocka_unit_test(what_has_no_room),
        cmocka_unit_test(several_keys),
        cmocka_unit_test(many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
