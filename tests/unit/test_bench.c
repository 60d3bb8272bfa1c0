/* What bench makes of its measurements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/cli/bench.h"

#define MEBIBYTE (INT64_C(1) << 20)

static const struct bench_facts quiet = {.processors = 4, .memory_bytes = 256 * MEBIBYTE, .ordered = true};

/* A measurement of one second, on a machine of which `machine` processors were busy. */
static struct bench_level level_of(int jobs, double read, double write, double both, double machine)
{
    struct bench_level level = {.jobs = jobs, .readers = jobs};

    level.results[BENCH_READ] = (struct bench_result){.rows = read, .seconds = 1};
    level.results[BENCH_WRITE] = (struct bench_result){.rows = write, .seconds = 1};
    level.results[BENCH_BOTH] = (struct bench_result){.rows = both, .seconds = 1, .machine = machine};
    return level;
}

static void test_target(void **state)
{
    const struct bench_level levels[] = {
        level_of(1, 900, 100, 100, 1),
        level_of(2, 1000, 190, 185, 1),
        level_of(4, 1000, 200, 195, 1),
        level_of(8, 1000, 180, 175, 1),
    };
    struct bench_advice advice;

    (void)state;
    bench_advise(levels, 4, &quiet, &advice);
    assert_int_equal(advice.knee, 1);
    assert_int_equal(advice.limit, LIMIT_TARGET);
    assert_int_equal(advice.jobs, 2);
    /* One reader is fast enough for two writers. */
    assert_int_equal(advice.readers, 1);
    assert_int_equal(advice.memory_bytes, 64 * MEBIBYTE);
}

static void test_source(void **state)
{
    const struct bench_level levels[] = {
        level_of(1, 50, 100, 48, 1),
        level_of(2, 60, 200, 58, 1),
        level_of(4, 90, 400, 59, 1),
    };
    struct bench_advice advice;

    (void)state;
    bench_advise(levels, 3, &quiet, &advice);
    assert_int_equal(advice.limit, LIMIT_SOURCE);
    assert_int_equal(advice.jobs, 2);
    /* More readers than writers read faster. */
    assert_int_equal(advice.readers, 4);
}

static void test_processors(void **state)
{
    const struct bench_level levels[] = {level_of(1, 100, 100, 50, 2), level_of(2, 100, 100, 80, 3.9)};
    struct bench_advice advice;

    (void)state;
    bench_advise(levels, 2, &quiet, &advice);
    assert_int_equal(advice.knee, 1);
    assert_int_equal(advice.limit, LIMIT_PROCESSORS);
}

/* No readers are fast enough: as many as were measured with. */
static void test_no_reader_ahead(void **state)
{
    const struct bench_level levels[] = {level_of(1, 100, 99, 95, 1)};
    struct bench_advice advice;

    (void)state;
    bench_advise(levels, 1, &quiet, &advice);
    assert_int_equal(advice.limit, LIMIT_TARGET);
    assert_int_equal(advice.readers, 1);
}

/* A measurement in which nothing came through says nothing, and divides by nothing. */
static void test_nothing(void **state)
{
    const struct bench_level levels[] = {{.jobs = 1, .readers = 1}, {.jobs = 2, .readers = 1}};
    struct bench_advice advice;

    (void)state;
    bench_advise(levels, 2, &quiet, &advice);
    assert_int_equal(advice.jobs, 1);
}

static void test_memory(void **state)
{
    const struct bench_level levels[] = {level_of(6, 100, 90, 80, 1)};
    struct bench_facts facts = quiet;
    struct bench_advice advice;

    (void)state;
    bench_advise(levels, 1, &facts, &advice);
    assert_int_equal(advice.memory_bytes, 128 * MEBIBYTE); /* 12 ranges of 8 MiB */
    facts.stream = true;
    bench_advise(levels, 1, &facts, &advice);
    assert_int_equal(advice.memory_bytes, 256 * MEBIBYTE); /* 6 writers, 32 MiB each */
    facts.compressed = true;
    bench_advise(levels, 1, &facts, &advice);
    assert_int_equal(advice.memory_bytes, 512 * MEBIBYTE);
    facts = (struct bench_facts){.processors = 4, .memory_bytes = 1024 * MEBIBYTE, .stream = true, .ordered = false};
    bench_advise(levels, 1, &facts, &advice);
    assert_int_equal(advice.memory_bytes, 1024 * MEBIBYTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target),          cmocka_unit_test(test_source),  cmocka_unit_test(test_processors),
        cmocka_unit_test(test_no_reader_ahead), cmocka_unit_test(test_nothing), cmocka_unit_test(test_memory),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
