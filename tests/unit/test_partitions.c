/* What a partition that --create-partitions makes is called. */
#include "writers/partitions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HOUR INT64_C(3600000000)
#define DAY_2024 INT64_C(1704067200000000)

static void check(enum time_type type, const char *table_name, int64_t lo, const char *expected)
{
    struct table table = {.name = (char *)(uintptr_t)table_name, .time = {.type = type}};
    char name[PARTITION_NAME_MAX];

    partition_name(&table, (struct range){lo, lo + 1}, name);
    assert_string_equal(name, expected);
}

static void test_times(void **state)
{
    (void)state;
    check(TIME_TIMESTAMPTZ, "cpu", DAY_2024, "cpu_p20240101");
    check(TIME_DATE, "cpu", DAY_2024, "cpu_p20240101");
    check(TIME_TIMESTAMP, "cpu", DAY_2024 + 6 * HOUR, "cpu_p20240101_0600");
    check(TIME_TIMESTAMPTZ, "cpu", DAY_2024 + HOUR / 2, "cpu_p20240101_0030");
    check(TIME_TIMESTAMPTZ, "cpu", DAY_2024 + 1000000, "cpu_p20240101_000001");
    check(TIME_TIMESTAMPTZ, "cpu", DAY_2024 + 250000, "cpu_p20240101_000000_25");
    check(TIME_TIMESTAMPTZ, "cpu", INT64_MIN, "cpu_pmin");
}

static void test_integers(void **state)
{
    (void)state;
    check(TIME_INT8, "t", 5000, "t_p5000");
    check(TIME_INT4, "t", 0, "t_p0");
    check(TIME_INT2, "t", -5, "t_pm5");
}

/* 63 bytes are what the server keeps of a name; a letter of two bytes is not cut in its middle. */
static void test_long_names(void **state)
{
    char table[64], expected[64];

    (void)state;
    memset(table, 'a', 63);
    table[63] = '\0';
    memset(expected, 'a', 53);
    memcpy(expected + 53, "_p20240101", sizeof "_p20240101");
    check(TIME_TIMESTAMPTZ, table, DAY_2024, expected);
    memcpy(table + 52, "\xc3\xa4", 2);
    memcpy(expected + 52, "_p20240101", sizeof "_p20240101");
    check(TIME_TIMESTAMPTZ, table, DAY_2024, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_long_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
