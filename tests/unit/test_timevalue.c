/* Values of the time column. The expected values were taken from PostgreSQL 15, 17 and 18. */
#include "engine/timeform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define JAN_2024 INT64_C(1704067200000000)

struct sample {
    enum time_type type;
    int precision;
    const char *text;
    enum time_problem problem;
    int64_t value;
};

/* Parses from memory of exactly that size, so that reading past the end shows under the address sanitizer. */
static enum time_problem parse(const struct time_column *column, const char *text, size_t size, int64_t *value)
{
    char *exact = malloc(size > 0 ? size : 1);
    enum time_problem problem;

    assert_non_null(exact);
    memcpy(exact, text, size);
    problem = time_parse(column, exact, size, value);
    free(exact);
    return problem;
}

static void sample_check(const struct sample *sample)
{
    struct time_column column = {.type = sample->type, .precision = sample->precision};
    int64_t value = -1;
    enum time_problem problem = parse(&column, sample->text, strlen(sample->text), &value);

    if (problem != sample->problem || (problem == TIME_FINE && value != sample->value))
        fail_msg("%s(%d) \"%s\": problem %d value %lld, not %d %lld", time_type_sql(sample->type), sample->precision,
                 sample->text, (int)problem, (long long)value, (int)sample->problem, (long long)sample->value);
}

static const struct sample instants[] = {
    {TIME_TIMESTAMPTZ, -1, "1970-01-01 00:00:00+00", TIME_FINE, 0},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 00:00:10+00", TIME_FINE, JAN_2024 + 10 * SECOND},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01T00:00:10Z", TIME_FINE, JAN_2024 + 10 * SECOND},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01t00:00:10z", TIME_FINE, JAN_2024 + 10 * SECOND},
    {TIME_TIMESTAMPTZ, -1, " \t2024-01-01 \r\n 00:00:10 \v +00 \f", TIME_FINE, JAN_2024 + 10 * SECOND},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 05:30+05:30", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 05:30+0530", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMPTZ, -1, "2023-12-31 16:00:00-08", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 00:19:32.13+00:19:32", TIME_FINE, JAN_2024 + 130000},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01+01", TIME_FINE, JAN_2024 - 3600 * SECOND},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 -01", TIME_FINE, JAN_2024 + 3600 * SECOND},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01Z", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 15:59:59+15:59:59", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 00:00+16", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 00:00+05:60", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 00:00:00", TIME_NO_ZONE, 0},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01", TIME_NO_ZONE, 0},
    /* Behind the point: six digits, more (rounded by way of a double), ties, ends. */
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.1", TIME_FINE, JAN_2024 + 100000},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.123456", TIME_FINE, JAN_2024 + 123456},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.123456499", TIME_FINE, JAN_2024 + 123456},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.123456789", TIME_FINE, JAN_2024 + 123457},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.0000005", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.0000015", TIME_FINE, JAN_2024 + 2},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.0000025", TIME_FINE, JAN_2024 + 2},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.1000005000000000000001", TIME_FINE, JAN_2024 + 100000},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:59.9999995", TIME_FINE, JAN_2024 + 60 * SECOND},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00.", TIME_UNREADABLE, 0},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00.5", TIME_UNREADABLE, 0},
    /* Ends of the clock. */
    {TIME_TIMESTAMP, -1, "2024-01-01 24:00:00", TIME_FINE, JAN_2024 + TIME_DAY},
    {TIME_TIMESTAMP, -1, "2024-01-01 24:00:00.0000001", TIME_FINE, JAN_2024 + TIME_DAY},
    {TIME_TIMESTAMP, -1, "2024-01-01 24:00:00.000001", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "2024-01-01 24:01", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:60.5", TIME_FINE, JAN_2024 + 60 * SECOND + 500000},
    {TIME_TIMESTAMP, -1, "2024-01-01 23:59:60", TIME_FINE, JAN_2024 + TIME_DAY},
    {TIME_TIMESTAMP, -1, "2024-01-01 23:59:60.5", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:61", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:60:00", TIME_OUT_OF_RANGE, 0},
    /* Half away from zero, and zero is the year 2000. */
    {TIME_TIMESTAMP, 0, "2024-01-01 00:00:00.5", TIME_FINE, JAN_2024 + SECOND},
    {TIME_TIMESTAMP, 0, "2024-01-01 00:00:00.499999", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMP, 0, "1999-12-31 23:59:58.5", TIME_FINE, INT64_C(946684798000000)},
    {TIME_TIMESTAMP, 3, "2024-01-01 00:00:00.0005", TIME_FINE, JAN_2024 + 1000},
    {TIME_TIMESTAMP, 3, "1969-12-31 23:59:59.9995", TIME_FINE, -1000},
    {TIME_TIMESTAMP, 6, "1969-12-31 23:59:59.999999", TIME_FINE, -1},
    /* Zones of types without one are read and ignored. */
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00+05", TIME_FINE, JAN_2024},
    {TIME_TIMESTAMP, -1, "2024-01-01 00:00:00+16", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2024-01-01", TIME_FINE, JAN_2024},
    {TIME_DATE, -1, "2024-01-01 24:00:00", TIME_FINE, JAN_2024},
    {TIME_DATE, -1, "2024-01-01T23:59:59.9999999-15", TIME_FINE, JAN_2024},
    {TIME_DATE, -1, "2024-01-01 25:00", TIME_OUT_OF_RANGE, 0},
    /* Days and years. */
    {TIME_DATE, -1, "2000-02-29", TIME_FINE, INT64_C(951782400000000)},
    {TIME_DATE, -1, "1900-02-29", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2023-02-29", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2023-04-31", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2023-00-01", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2023-13-01", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2023-01-00", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "0000-01-01", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "0001-01-01", TIME_FINE, INT64_C(-62135596800000000)},
    {TIME_DATE, -1, "0001-02-29 BC", TIME_FINE, INT64_C(-62162121600000000)},
    {TIME_DATE, -1, "0000-01-01 BC", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "012345-06-07", TIME_FINE, INT64_C(327416947200000000)},
    {TIME_TIMESTAMP, -1, "4714-11-24 00:00:00 BC", TIME_FINE, TIME_MIN},
    {TIME_TIMESTAMP, -1, "4714-11-23 23:59:59.999999 BC", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMPTZ, -1, "4714-11-23 23:59:59-01 bc", TIME_FINE, TIME_MIN + 3599 * SECOND},
    {TIME_TIMESTAMPTZ, -1, "4714-11-24 00:00:00+01 BC", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "294247-01-01 23:59:59.999999", TIME_FINE, TIME_END - 1},
    {TIME_TIMESTAMP, -1, "294247-01-02 00:00:00", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMPTZ, -1, "294247-01-02 00:59:59+01", TIME_FINE, TIME_END - SECOND},
    {TIME_TIMESTAMP, 0, "294247-01-01 23:59:59.5", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "999999-12-31", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "999999-12-31 BC", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "infinity", TIME_INFINITE, 0},
    {TIME_TIMESTAMPTZ, -1, " -Infinity ", TIME_INFINITE, 0},
    {TIME_DATE, -1, "+INFINITY", TIME_INFINITE, 0},
    {TIME_DATE, -1, "inf", TIME_UNREADABLE, 0},
    {TIME_DATE, -1, "", TIME_EMPTY, 0},
    {TIME_DATE, -1, " \t\r\n", TIME_EMPTY, 0},
};

/* Texts that the server reads as something, often as something else than one would think, or not at all. */
static const char *const unreadable[] = {
    "now",
    "today",
    "epoch",
    "24-01-01",
    "2024-01",
    "2024-01-01T",
    "2024-01-01 T10:00",
    "2024-01-01-05",
    "2024-01-01_10:00",
    "2024-01-01 10",
    "2024-01-01 10:0",
    "2024-01-01 10:00:0",
    "2024-01-01 10:00:00+5",
    "2024-01-01 10:00:00+053",
    "2024-01-01 10:00:00+05:3",
    "2024-01-01 10:00:00+053015",
    "2024-01-01 10:00:00+",
    "2024-01-01 10:00:00BC",
    "2024-01-01 10:00:00 AD",
    "2024-01-01 10:00:00 BC x",
    "2024-01-01BC",
    "2024-01-01 10:00:00,5",
    "2024-01-01 10:00:00Z+01",
    "2024-01-0110:00",
    "1234567-01-01",
    "2024-01-01x",
    "x",
    "2024-01-01 10:00:00.00000000000000000000000000000000000000001",
    "2024-01-01 10:00:00 BCE",
    "2024-01-01 10:00:00 B",
    "-2024-01-01",
};

/* Spellings off the fast path; tests/integration/test_times.py has all of them, with the server as the judge. */
static const struct sample rarer[] = {
    {TIME_TIMESTAMP, -1, "2024-1-1", TIME_FINE, INT64_C(1704067200000000)},
    {TIME_TIMESTAMP, -1, "2024/01/01", TIME_FINE, INT64_C(1704067200000000)},
    {TIME_TIMESTAMP, -1, "20240101", TIME_FINE, INT64_C(1704067200000000)},
    {TIME_TIMESTAMP, -1, "2024-01-01 1:00", TIME_FINE, INT64_C(1704070800000000)},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01 10:00:00 UTC", TIME_FINE, INT64_C(1704103200000000)},
    {TIME_TIMESTAMPTZ, -1, "20240101T100000.5Z", TIME_FINE, INT64_C(1704103200500000)},
    {TIME_TIMESTAMPTZ, -1, "20240101T1000+01", TIME_FINE, INT64_C(1704099600000000)},
    {TIME_TIMESTAMPTZ, -1, "20240101T1000", TIME_NO_ZONE, 0},
    /* The server takes the minus for that of a date. */
    {TIME_TIMESTAMPTZ, -1, "20240101T1000-01:00", TIME_UNREADABLE, 0},
    {TIME_TIMESTAMPTZ, -1, "2024-01-01T100000-01:00", TIME_UNREADABLE, 0},
    {TIME_TIMESTAMPTZ, -1, "20240101T1000-0100", TIME_FINE, INT64_C(1704106800000000)},
    {TIME_TIMESTAMPTZ, -1, "20240101T1000 -01:00", TIME_FINE, INT64_C(1704106800000000)},
    {TIME_TIMESTAMPTZ, -1, "20240101T100000.0-01:00", TIME_FINE, INT64_C(1704106800000000)},
    {TIME_TIMESTAMPTZ, -1, "20240101T1000+01:00", TIME_FINE, INT64_C(1704099600000000)},
    {TIME_TIMESTAMPTZ, -1, "20240230T100000Z", TIME_OUT_OF_RANGE, 0},
    {TIME_DATE, -1, "2024/13/01", TIME_OUT_OF_RANGE, 0},
    {TIME_TIMESTAMP, -1, "2024/1-1", TIME_UNREADABLE, 0},
    {TIME_TIMESTAMP, -1, "20240101T10000", TIME_UNREADABLE, 0},
    {TIME_TIMESTAMP, -1, "2024-01-01 UTCx", TIME_UNREADABLE, 0},
};

static const struct sample integers[] = {
    {TIME_INT2, -1, "32767", TIME_FINE, 32767},
    {TIME_INT2, -1, "32768", TIME_OUT_OF_RANGE, 0},
    {TIME_INT2, -1, "-32768", TIME_FINE, -32768},
    {TIME_INT4, -1, "2147483647", TIME_FINE, INT32_MAX},
    {TIME_INT4, -1, "-2147483649", TIME_OUT_OF_RANGE, 0},
    {TIME_INT8, -1, "9223372036854775807", TIME_FINE, INT64_MAX},
    {TIME_INT8, -1, "9223372036854775808", TIME_OUT_OF_RANGE, 0},
    {TIME_INT8, -1, "-9223372036854775808", TIME_FINE, INT64_MIN},
    {TIME_INT8, -1, "-9223372036854775809", TIME_OUT_OF_RANGE, 0},
    {TIME_INT8, -1, "99999999999999999999999999", TIME_OUT_OF_RANGE, 0},
    {TIME_INT8, -1, " +0000000000000000000000000000042\n", TIME_FINE, 42},
    {TIME_INT8, -1, "-0", TIME_FINE, 0},
    {TIME_INT8, -1, "", TIME_EMPTY, 0},
    {TIME_INT8, -1, "-", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "- 5", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "+-5", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "-+5", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "5.0", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "0x10", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "1_000", TIME_UNREADABLE, 0},
    {TIME_INT8, -1, "infinity", TIME_UNREADABLE, 0},
};

static void test_instants(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof instants / sizeof *instants; i++)
        sample_check(&instants[i]);
}

static void test_rarer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rarer / sizeof *rarer; i++)
        sample_check(&rarer[i]);
}

static void form_check(enum time_type type, const char *form, int zone, const char *text, enum time_problem problem,
                       int64_t expected)
{
    struct time_column column = {.type = type, .precision = -1, .zone_given = zone != 0, .zone_seconds = zone};
    struct error error;
    int64_t value = 0;

    error_reset(&error);
    assert_int_equal(time_form_read(form, &column, &error), STATUS_OK);
    assert_int_equal(time_parse(&column, text, strlen(text), &value), problem);
    if (problem == TIME_FINE)
        assert_int_equal(value, expected);
}

static void test_forms(void **state)
{
    (void)state;
    form_check(TIME_TIMESTAMPTZ, "epoch", 0, "1700000000.123456", TIME_FINE, INT64_C(1700000000123456));
    form_check(TIME_TIMESTAMPTZ, "epoch", 0, "1700000000.1234567", TIME_FINE, INT64_C(1700000000123456));
    form_check(TIME_TIMESTAMPTZ, "epoch", 0, "-1.0000001", TIME_FINE, -1000001);
    form_check(TIME_TIMESTAMPTZ, "epoch-ms", 0, "1700000000123.5", TIME_FINE, INT64_C(1700000000123500));
    form_check(TIME_TIMESTAMPTZ, "epoch-ns", 0, "1700000000123456789", TIME_FINE, INT64_C(1700000000123456));
    form_check(TIME_TIMESTAMPTZ, "epoch-ns", 0, "-1", TIME_FINE, -1);
    form_check(TIME_TIMESTAMPTZ, "epoch-ns", 0, "-1000", TIME_FINE, -1);
    form_check(TIME_TIMESTAMP, "epoch", 3600, "0", TIME_FINE, INT64_C(3600000000));
    form_check(TIME_DATE, "epoch", 0, "-1", TIME_FINE, -TIME_DAY);
    form_check(TIME_TIMESTAMPTZ, "epoch", 0, "99999999999999", TIME_OUT_OF_RANGE, 0);
    form_check(TIME_TIMESTAMPTZ, "epoch", 0, "", TIME_EMPTY, 0);
    form_check(TIME_TIMESTAMPTZ, "epoch-us", 0, "1.5", TIME_UNREADABLE, 0);
    form_check(TIME_TIMESTAMP, "%d.%m.%Y %H:%M:%S.%f", 0, "31.01.2024 12:00:00.25", TIME_FINE,
               INT64_C(1706702400250000));
    form_check(TIME_TIMESTAMPTZ, "%d/%b/%Y:%T %z", 0, "31/jan/2024:12:00:00 +0100", TIME_FINE,
               INT64_C(1706698800000000));
    form_check(TIME_TIMESTAMPTZ, "%F %T", 0, "2024-01-31 12:00:00", TIME_NO_ZONE, 0);
    form_check(TIME_TIMESTAMPTZ, "%F %T", 3600, "2024-01-31 12:00:00", TIME_FINE, INT64_C(1706698800000000));
    form_check(TIME_TIMESTAMPTZ, "%s.%f", 0, "1700000000.5", TIME_FINE, INT64_C(1700000000500000));
    form_check(TIME_TIMESTAMP, "%m/%d/%y %I:%M %p", 0, "1/31/24 12:05 AM", TIME_FINE, INT64_C(1706659500000000));
    form_check(TIME_TIMESTAMP, "%F", 0, "2024-01-31x", TIME_UNREADABLE, 0);
    form_check(TIME_TIMESTAMP, "%F", 0, "2023-02-29", TIME_OUT_OF_RANGE, 0);
}

static void test_forms_refused(void **state)
{
    static const char *const wrong[] = {"yesterday", "%H:%M",    "%Y-%m", "%Y-%m-%d %Q", "%Y-%m-%d %",  "%F %Y",
                                        "%F %I:%M",  "%F %H %p", "%F %M", "%s %F",       "%Y-%m-%d %S", "%b %m %F"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct time_column column = {.type = TIME_TIMESTAMPTZ};
        struct error error;

        error_reset(&error);
        if (time_form_read(wrong[i], &column, &error) != STATUS_USAGE)
            fail_msg("%s is taken", wrong[i]);
    }
}

static void test_unreadable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++)
        for (enum time_type type = TIME_TIMESTAMPTZ; type <= TIME_DATE; type++)
            sample_check(&(struct sample){type, -1, unreadable[i], TIME_UNREADABLE, 0});
}

static void test_integers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        sample_check(&integers[i]);
}

static void test_zone_given(void **state)
{
    struct time_column column = {.type = TIME_TIMESTAMPTZ, .precision = -1, .zone_given = true, .zone_seconds = 19800};
    int64_t value;

    (void)state;
    assert_int_equal(parse(&column, "2024-01-01 05:30:00", 19, &value), TIME_FINE);
    assert_true(value == JAN_2024);
    assert_int_equal(parse(&column, "2024-01-01 00:00:00Z", 20, &value), TIME_FINE);
    assert_true(value == JAN_2024);
    column.type = TIME_TIMESTAMP;
    assert_int_equal(parse(&column, "2024-01-01 00:00:00", 19, &value), TIME_FINE);
    assert_true(value == JAN_2024);
}

/* A zero byte is no end of the text. */
static void test_zero_byte(void **state)
{
    struct time_column column = {.type = TIME_TIMESTAMP, .precision = -1};
    int64_t value;

    (void)state;
    assert_int_equal(parse(&column, "2024-01-01\0", 11, &value), TIME_UNREADABLE);
    assert_int_equal(parse(&column, "2024-01-01 00:00:00.5\0", 22, &value), TIME_UNREADABLE);
    column.type = TIME_INT8;
    assert_int_equal(parse(&column, "5\0", 2, &value), TIME_UNREADABLE);
}

/* Every cut of a long text is either refused or a text of its own. */
static void test_cuts(void **state)
{
    static const char text[] = " 2024-01-01 00:00:00.123456789 +05:30:15 BC ";
    struct time_column column = {.type = TIME_TIMESTAMPTZ, .precision = 3, .zone_given = true};
    int64_t value;

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        enum time_problem problem = parse(&column, text, size, &value);

        if (size < 11)
            assert_int_not_equal(problem, TIME_FINE);
        if (size >= 43)
            assert_int_equal(problem, size == 45 ? TIME_UNREADABLE : TIME_FINE);
    }
}

static void format_check(enum time_type type, int64_t value, const char *expected)
{
    char buffer[TIME_TEXT_MAX];

    assert_string_equal(time_format(type, value, buffer), expected);
}

static void test_format(void **state)
{
    (void)state;
    format_check(TIME_TIMESTAMPTZ, JAN_2024, "2024-01-01 00:00:00+00");
    format_check(TIME_TIMESTAMP, JAN_2024 + 3723 * SECOND + 120, "2024-01-01 01:02:03.00012");
    format_check(TIME_DATE, JAN_2024, "2024-01-01");
    format_check(TIME_TIMESTAMPTZ, -1, "1969-12-31 23:59:59.999999+00");
    format_check(TIME_TIMESTAMPTZ, TIME_MIN, "4714-11-24 00:00:00+00 BC");
    format_check(TIME_DATE, TIME_MIN, "4714-11-24 BC");
    format_check(TIME_TIMESTAMP, TIME_END, "294247-01-02 00:00:00");
    format_check(TIME_TIMESTAMP, TIME_MIN - 1, "-infinity");
    format_check(TIME_DATE, INT64_MIN, "-infinity");
    format_check(TIME_TIMESTAMPTZ, INT64_MAX, "infinity");
    format_check(TIME_INT2, -5, "-5");
    format_check(TIME_INT8, INT64_MIN, "-9223372036854775808");
}

static int64_t random_value(void)
{
    uint64_t bits = ((uint64_t)random() << 42) ^ ((uint64_t)random() << 21) ^ (uint64_t)random();

    return (int64_t)((uint64_t)TIME_MIN + bits % ((uint64_t)TIME_END - (uint64_t)TIME_MIN));
}

static void test_round_trip(void **state)
{
    unsigned seed = (unsigned)getpid();

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 300000; i++) {
        enum time_type type = (enum time_type)(i % 3);
        struct time_column column = {.type = type, .precision = -1};
        char buffer[TIME_TEXT_MAX];
        int64_t value = random_value(), read;

        if (i % 5 == 0)
            value -= value % SECOND;
        if (type == TIME_DATE)
            value -= value % TIME_DAY;
        time_format(type, value, buffer);
        if (time_parse(&column, buffer, strlen(buffer), &read) != TIME_FINE || read != value)
            fail_msg("%lld became %s", (long long)value, buffer);
    }
}

static void test_types(void **state)
{
    enum time_type type;

    (void)state;
    for (enum time_type i = TIME_TIMESTAMPTZ; i <= TIME_INT8; i++) {
        assert_true(time_type_from_name(time_type_sql(i), &type));
        assert_int_equal(type, i);
        assert_int_equal(time_type_is_integer(i), i >= TIME_INT2);
    }
    assert_false(time_type_from_name("uuid", &type));
    assert_true(time_type_unit(TIME_DATE) == TIME_DAY);
    assert_true(time_type_unit(TIME_TIMESTAMP) == 1);
}

static void interval_check(enum time_type type, const char *text, int64_t expected, const char *written)
{
    char buffer[TIME_TEXT_MAX];
    int64_t interval = -1;

    if (!time_interval_parse(type, text, &interval) || interval != expected)
        fail_msg("\"%s\" became %lld", text, (long long)interval);
    assert_string_equal(time_interval_format(type, interval, buffer), written);
    assert_true(time_interval_parse(type, buffer, &interval));
    assert_true(interval == expected);
}

static void test_intervals(void **state)
{
    static const char *const wrong[] = {"",    "5",     "d",     "0d",  "-1d", "1.5h",         "1 month", "y",
                                        "1dd", "1d 1h", "1 d x", "+1d", "1ss", "99999999999d", "1 mss"};
    int64_t interval;

    (void)state;
    interval_check(TIME_TIMESTAMPTZ, "6h", 6 * 3600 * SECOND, "6h");
    interval_check(TIME_TIMESTAMPTZ, " 1 day ", TIME_DAY, "1d");
    interval_check(TIME_TIMESTAMP, "24 HOURS", TIME_DAY, "1d");
    interval_check(TIME_TIMESTAMP, "15 minutes", 900 * SECOND, "15m");
    interval_check(TIME_TIMESTAMP, "90min", 5400 * SECOND, "90m");
    interval_check(TIME_TIMESTAMP, "30s", 30 * SECOND, "30s");
    interval_check(TIME_TIMESTAMP, "1500 ms", 1500000, "1500ms");
    interval_check(TIME_TIMESTAMP, "1 microsecond", 1, "1us");
    interval_check(TIME_DATE, "1 week", 7 * TIME_DAY, "7d");
    interval_check(TIME_INT4, "1000000", 1000000, "1000000");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (time_interval_parse(TIME_TIMESTAMP, wrong[i], &interval))
            fail_msg("\"%s\" became %lld", wrong[i], (long long)interval);
    assert_false(time_interval_parse(TIME_DATE, "6h", &interval));
    assert_false(time_interval_parse(TIME_INT8, "6h", &interval));
    assert_false(time_interval_parse(TIME_INT8, "0", &interval));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instants),   cmocka_unit_test(test_unreadable),    cmocka_unit_test(test_rarer),
        cmocka_unit_test(test_forms),      cmocka_unit_test(test_forms_refused), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_zone_given), cmocka_unit_test(test_zero_byte),     cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_format),     cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_types),
        cmocka_unit_test(test_intervals),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
