/* Inputs that end badly. */
#include "engine/log.h"
#include "tests/unit/fixture_router.h"

static void check_failure(char *text, bool header, const char *words, int64_t line, int64_t offset)
{
    for (int stream = 0; stream < 2; stream++) {
        struct plan plan = small_plan(stream == 1);
        struct outcome outcome;
        struct input input;

        plan.header = header;
        input_from(&input, text);
        run_router(&plan, &input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_DATA);
        if (strstr(outcome.error.text, words) == NULL)
            fail_msg("\"%s\" is not in: %s", words, outcome.error.text);
        assert_int_equal(outcome.error.line, line);
        assert_int_equal(outcome.error.offset, offset);
        assert_string_equal(outcome.error.input, "input.csv");
        outcome_free(&outcome);
        free(input.lines);
    }
}

static void test_bad_records(void **state)
{
    static char large[40000];

    (void)state;
    check_failure("time,x\n1,a\n,b\n", true, "\"time\" (field 1) is NULL", 3, 11);
    check_failure("1,a\n,b\n", false, "(field 1) is NULL", 2, 4);
    check_failure("1,a\n\n2,b\n", false, "is NULL", 2, 4);
    check_failure("1,a\n\"\",b\n", false, "is empty", 2, 4);
    check_failure("1,\"a\n\n\"\nyesterday,b\n", false, "\"yesterday\"", 4, 8);
    check_failure("1,a\n2,b\r\n", false, "carriage return", 2, 4);
    check_failure("1,a\n\\.\n2,b\n", false, "put quotes around it", 2, 4);
    check_failure("1,a\n2,x\n3,\"b\n\n", false, "the quote opens in line 3", 3, 8);
    memset(large, 'x', sizeof large - 1);
    memcpy(large, "1,a\n2,", 6);
    check_failure(large, false, "raise --memory", 2, 4);
    large[7] = '"';
    check_failure(large, false, "opens in line 2", 2, 4);
}

static void test_empty(void **state)
{
    static char *const texts[] = {"time,x\n", "time,x", "", "\xef\xbb\xbf", "\xef\xbb\xbftime,x\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts * 2; i++) {
        struct plan plan = small_plan(i % 2 == 1);
        struct outcome outcome;
        struct input input;

        plan.header = strlen(texts[i / 2]) > 3;
        input_from(&input, texts[i / 2]);
        run_router(&plan, &input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_OK);
        assert_int_equal(outcome.count, 0);
        outcome_free(&outcome);
        free(input.lines);
    }
}

/* Standard input that is not the one of the first run: other bytes, or fewer. */
static void test_other_stream(void **state)
{
    struct plan plan = plan_make(1);
    struct ledger ledger = {0};
    struct outcome outcome;
    struct data data;
    int64_t most = 0;
    char *byte;

    (void)state;
    plan =
        (struct plan){.seed = 5, .order = SHUFFLED, .rows = 2000, .payload = 100, .stream = true, .block_size = 4096};
    plan.pool_bytes = plan.memory_bytes = 1 << 16;
    data_make(&data, &plan);
    run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
    assert_int_equal(outcome.status, STATUS_OK);
    assert_true(outcome.count > 60);
    ledger_commit_some(&ledger, &outcome, outcome.count / 2, &plan.seed);
    outcome_free(&outcome);
    for (size_t i = 0; i < ledger.marks.count; i++)
        most = ledger.marks.list[i].mark > most ? ledger.marks.list[i].mark : most;
    byte = memchr(data.input.text + most - 200, 'a', 200);
    assert_non_null(byte);
    *byte = 'b';
    run_router(&plan, &data.input, ledger.frontier, &ledger.marks, &outcome);
    assert_int_equal(outcome.status, STATUS_DATA);
    assert_non_null(strstr(outcome.error.text, "it differs before byte"));
    outcome_free(&outcome);
    *byte = 'a';
    data.input.size = (size_t)most - 1;
    run_router(&plan, &data.input, ledger.frontier, &ledger.marks, &outcome);
    assert_int_equal(outcome.status, STATUS_DATA);
    assert_non_null(strstr(outcome.error.text, "it ends at byte"));
    outcome_free(&outcome);
    ledger_free(&ledger);
    data_free(&data);
}

/* A stop wakes the reader from a silent pipe and from its wait for a block; what it had is given back (pool_free
 * asserts). */
static void test_stop(void **state)
{
    struct plan plan = {
        .seed = 11,
        .order = SHUFFLED,
        .rows = 3000,
        .payload = 100,
        .stream = true,
        .block_size = 4096,
        .pool_bytes = 1 << 16,
        .memory_bytes = 1 << 16,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    data_make(&data, &plan);
    for (int i = 0; i < 2; i++) {
        plan.idle = i == 0;
        plan.stuck = i == 1;
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_STOPPED);
        outcome_free(&outcome);
    }
    data_free(&data);
}

static void test_grown_file(void **state)
{
    struct plan plan = small_plan(false);
    char grown[] = "1,a\n2,b\n1,x\n";
    struct outcome outcome;
    struct input input;

    (void)state;
    plan.grows = true;
    input_from(&input, grown);
    input.size -= 4;
    run_router(&plan, &input, (struct input_position){0}, NULL, &outcome);
    assert_int_equal(outcome.status, STATUS_DATA);
    assert_non_null(strstr(outcome.error.text, "changed while it was being read"));
    outcome_free(&outcome);
    free(input.lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_records), cmocka_unit_test(test_empty),      cmocka_unit_test(test_other_stream),
        cmocka_unit_test(test_stop),        cmocka_unit_test(test_grown_file),
    };

    /* That a spill is full is what many plans are for. */
    log_level_set(LOG_WARNING);
    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
