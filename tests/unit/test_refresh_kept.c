/* Ranges without what is to be left alone, against a look at each single time. */
#include "engine/method/refresh_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMES 40
#define ROUNDS 20000

static bool has(const struct range *ranges, size_t count, int64_t time)
{
    for (size_t i = 0; i < count; i++)
        if (ranges[i].lo <= time && time < ranges[i].hi)
            return true;
    return false;
}

static void assert_cut(const struct range *ranges, size_t count, struct range *windows, size_t window_count)
{
    const struct refresh_kept kept = {.windows = windows, .count = window_count};
    size_t left = count;
    struct range *parts = refresh_kept_cut(&kept, ranges, &left);

    assert_non_null(parts);
    for (size_t i = 0; i < left; i++) {
        assert_true(parts[i].lo < parts[i].hi);
        assert_true(i == 0 || parts[i - 1].hi <= parts[i].lo);
    }
    for (int64_t time = 0; time < TIMES; time++)
        assert_int_equal(has(parts, left, time), has(ranges, count, time) && !has(windows, window_count, time));
    free(parts);
}

static void test_examples(void **state)
{
    struct range all[] = {{INT64_MIN, 10}, {20, 25}};

    (void)state;
    assert_cut((struct range[]){{0, 30}}, 1, NULL, 0);
    assert_cut((struct range[]){{0, 30}}, 1, all, 2);
    assert_cut((struct range[]){{0, 10}}, 1, all, 1);
    assert_cut((struct range[]){{5, 22}, {24, 30}}, 2, all, 2);
}

/* Windows of several jobs may lie over each other; they come in the order of their beginnings. */
static void test_at_random(void **state)
{
    unsigned seed = (unsigned)getpid();

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < ROUNDS; round++) {
        struct range ranges[4], windows[4];
        size_t count = 0, window_count = (size_t)random() % 5;
        int64_t at = 0;

        for (; count < 4 && at < TIMES - 2; count++) {
            ranges[count].lo = at + random() % 8;
            ranges[count].hi = at = ranges[count].lo + 1 + random() % 8;
        }
        at = random() % 3 == 0 ? INT64_MIN : 0;
        for (size_t i = 0; i < window_count; i++) {
            windows[i].lo = at;
            windows[i].hi = (at > 0 ? at : 0) + 1 + random() % 12;
            at = (at > 0 ? at : 0) + random() % 15;
        }
        assert_cut(ranges, count, windows, window_count);
    }
}

static void test_has(void **state)
{
    struct range windows[] = {{INT64_MIN, 10}, {20, 25}};
    const struct refresh_kept kept = {.windows = windows, .count = 2};

    (void)state;
    assert_true(refresh_kept_has(&kept, (struct range){-5, 10}));
    assert_true(refresh_kept_has(&kept, (struct range){20, 21}));
    assert_false(refresh_kept_has(&kept, (struct range){5, 11}));
    assert_false(refresh_kept_has(&kept, (struct range){5, 25}));
    assert_false(refresh_kept_has(&kept, (struct range){10, 20}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_has),
    };

    alarm(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
