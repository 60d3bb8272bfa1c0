/* Numbers for people, and back. */
#include "engine/cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void check_size(const char *text, int64_t expected)
{
    int64_t bytes = -1;

    assert_true(size_parse(text, &bytes));
    assert_int_equal(bytes, expected);
}

static void test_size_parse(void **state)
{
    (void)state;
    check_size("0", 0);
    check_size("100000", 100000);
    check_size("512B", 512);
    check_size("64k", 65536);
    check_size("256MB", 256 << 20);
    check_size("64 MiB", 64 << 20);
    check_size("1G", 1 << 30);
    check_size("1gib", 1 << 30);
    check_size("2TB", INT64_C(2) << 40);
    check_size("9223372036854775807", INT64_MAX);
}

static void test_size_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "MB",
        "-1",
        "+1",
        "1.5G",
        "1X",
        "1MBB",
        "1BB",
        "1iB",
        "1 M B",
        "1M ",
        "9223372036854775808",
        "8388608T",
        "99999999999999999999",
        "1Mi",
        "0x10",
    };
    int64_t bytes;

    (void)state;
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++)
        if (size_parse(wrong[index], &bytes))
            fail_msg("\"%s\" was read as %lld", wrong[index], (long long)bytes);
}

static void test_size_format(void **state)
{
    char buffer[NUMBER_TEXT_MAX];

    (void)state;
    assert_string_equal(size_format(0, buffer), "0 B");
    assert_string_equal(size_format(1023, buffer), "1023 B");
    assert_string_equal(size_format(1024, buffer), "1.0 KB");
    assert_string_equal(size_format(10188, buffer), "9.9 KB");
    assert_string_equal(size_format(10189, buffer), "10 KB");
    assert_string_equal(size_format((1 << 20) - 1, buffer), "1.0 MB");
    assert_string_equal(size_format(312 << 20, buffer), "312 MB");
    assert_string_equal(size_format(INT64_C(1500) << 20, buffer), "1.5 GB");
    assert_string_equal(size_format(INT64_MAX, buffer), "8192 PB");
    assert_string_equal(size_format(-1, buffer), "?");
}

static void test_short_format(void **state)
{
    char buffer[NUMBER_TEXT_MAX];

    (void)state;
    assert_string_equal(short_format(0, buffer), "0");
    assert_string_equal(short_format(999, buffer), "999");
    assert_string_equal(short_format(1000, buffer), "1.0k");
    assert_string_equal(short_format(320000, buffer), "320k");
    assert_string_equal(short_format(999499, buffer), "999k");
    assert_string_equal(short_format(999500, buffer), "1.0M");
    assert_string_equal(short_format(5000000, buffer), "5.0M");
    assert_string_equal(short_format(INT64_C(12000000000), buffer), "12G");
    assert_string_equal(short_format(-1, buffer), "?");
}

static void test_count_format(void **state)
{
    char buffer[NUMBER_TEXT_MAX];

    (void)state;
    assert_string_equal(count_format(0, buffer), "0");
    assert_string_equal(count_format(999, buffer), "999");
    assert_string_equal(count_format(1000, buffer), "1,000");
    assert_string_equal(count_format(5000000, buffer), "5,000,000");
    assert_string_equal(count_format(-1234567, buffer), "-1,234,567");
    assert_string_equal(count_format(INT64_MAX, buffer), "9,223,372,036,854,775,807");
    assert_string_equal(count_format(INT64_MIN, buffer), "-9,223,372,036,854,775,808");
}

static void test_duration_format(void **state)
{
    char buffer[NUMBER_TEXT_MAX];

    (void)state;
    assert_string_equal(duration_format(0, buffer), "0:00");
    assert_string_equal(duration_format(42, buffer), "0:42");
    assert_string_equal(duration_format(3599, buffer), "59:59");
    assert_string_equal(duration_format(3723, buffer), "1:02:03");
    assert_string_equal(duration_format(86399, buffer), "23:59:59");
    assert_string_equal(duration_format(3 * 86400 + 4 * 3600 + 5 * 60 + 6, buffer), "3d 04:05");
    assert_string_equal(duration_format(INT64_MAX, buffer), "106751991167300d 15:30");
    assert_string_equal(duration_format(-1, buffer), "--:--");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_parse),   cmocka_unit_test(test_size_refused),
        cmocka_unit_test(test_size_format),  cmocka_unit_test(test_short_format),
        cmocka_unit_test(test_count_format), cmocka_unit_test(test_duration_format),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
