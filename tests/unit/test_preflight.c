/* What differences of clocks and room on a disk mean. */
#include "engine/method/preflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_clock(void **state)
{
    (void)state;
    assert_int_equal(preflight_judge_clock(0.9, 0), FINDING_OK);
    assert_int_equal(preflight_judge_clock(-0.9, 0), FINDING_OK);
    assert_int_equal(preflight_judge_clock(1.5, 0.1), FINDING_WARNING);
    assert_int_equal(preflight_judge_clock(-1.5, 0.1), FINDING_WARNING);
    /* What a slow line cannot tell is nobody's fault. */
    assert_int_equal(preflight_judge_clock(1.5, 0.6), FINDING_OK);
    assert_int_equal(preflight_judge_clock(61, 0.5), FINDING_PROBLEM);
    assert_int_equal(preflight_judge_clock(-3600, 1), FINDING_PROBLEM);
}

static void test_room(void **state)
{
    (void)state;
    assert_int_equal(preflight_judge_room(100, -1), FINDING_WARNING);
    assert_int_equal(preflight_judge_room(-1, 100), FINDING_WARNING);
    assert_int_equal(preflight_judge_room(100, 99), FINDING_PROBLEM);
    assert_int_equal(preflight_judge_room(100, 100), FINDING_WARNING);
    assert_int_equal(preflight_judge_room(100, 133), FINDING_OK);
    assert_int_equal(preflight_judge_room(0, 0), FINDING_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clock), cmocka_unit_test(test_room)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
