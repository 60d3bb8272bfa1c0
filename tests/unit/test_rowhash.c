/* A range in parts, and lines of COPY text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "engine/method/rowhash.h"

/* The parts follow each other without a gap, from the first end to the last, and none is empty. */
static void assert_parts(struct range range, int wanted, int64_t unit, int count)
{
    struct rowhash_parts parts = rowhash_cut(range, wanted, unit);
    int64_t next = range.lo;

    assert_int_equal(parts.count, count);
    for (int i = 0; i < parts.count; i++) {
        struct range part = rowhash_part(&parts, i);

        assert_true(part.lo == next && part.lo < part.hi);
        assert_true(((uint64_t)part.lo - (uint64_t)range.lo) % (uint64_t)unit == 0);
        next = part.hi;
    }
    assert_true(next == range.hi);
}

static void test_cut(void **state)
{
    const int64_t day = INT64_C(86400000000);

    (void)state;
    assert_parts((struct range){0, 1}, 64, 1, 1);
    assert_parts((struct range){5, 7}, 64, 1, 2);
    assert_parts((struct range){0, 64}, 64, 1, 64);
    assert_parts((struct range){0, 65}, 64, 1, 33);
    assert_parts((struct range){-10 * day, 3 * day}, 64, day, 13);
    assert_parts((struct range){0, 129 * day}, 64, day, 43);
    assert_parts((struct range){0, 1000}, 1, 1, 1);
    assert_parts((struct range){INT64_MIN + 1, INT64_MAX - 1}, 64, 1, 64);
    for (int length = 1; length < 1000; length++) {
        struct rowhash_parts parts = rowhash_cut((struct range){-7, length - 7}, 64, 1);

        assert_true(parts.count <= ROWHASH_PARTS_MAX);
        assert_parts((struct range){-7, length - 7}, 64, 1, parts.count);
    }
}

static void assert_field(const char *line, int index, const char *text)
{
    size_t size;
    const char *field = rowhash_field(line, strlen(line), index, &size);

    assert_int_equal(size, strlen(text));
    assert_memory_equal(field, text, size);
}

static void test_field(void **state)
{
    (void)state;
    assert_field("one", 0, "one");
    assert_field("one\t\\N\t\tlast", 0, "one");
    assert_field("one\t\\N\t\tlast", 1, "\\N");
    assert_field("one\t\\N\t\tlast", 2, "");
    assert_field("one\t\\N\t\tlast", 3, "last");
    assert_field("", 0, "");
    assert_field("one", 1, "");
}

static void test_way(void **state)
{
    char utf8[] = "UTF8", latin1[] = "LATIN1", ascii[] = "SQL_ASCII";
    struct table a = {.server_encoding = utf8}, b = {.server_encoding = utf8};

    (void)state;
    assert_false(rowhash_choose(&a, &b).streamed);
    assert_string_equal(rowhash_choose(&a, &b).encoding, "UTF8");
    a.server_encoding = latin1;
    assert_true(rowhash_choose(&a, &b).streamed);
    assert_string_equal(rowhash_choose(&a, &b).encoding, "UTF8");
    a.server_encoding = ascii;
    assert_string_equal(rowhash_choose(&a, &b).encoding, "SQL_ASCII");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_way),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
