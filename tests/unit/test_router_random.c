/*
 * The router against a pipeline that only collects: random inputs, orders and memories. What is checked is the promise
 * itself: the pieces of a range, one after the other, are its records in the order of the input, each once, also when a
 * run ends anywhere and another begins where the ledger says.
 */
#include "engine/log.h"
#include "tests/unit/fixture_router.h"

#include <inttypes.h>

/* What the random plans have come to: a test that never packs or resumes would prove little. */
static struct {
    int64_t packed, spilled, resumed, pieces, skipped, bad;
} seen;

static void check_plan(unsigned seed)
{
    struct plan plan = plan_make(seed);
    unsigned dice = seed ^ 0x5bd1e995u;
    struct ledger ledger = {0};
    struct outcome outcome;
    struct data data;

    data_make(&data, &plan);
    for (int attempt = 0; attempt < 4; attempt++) {
        bool last = attempt == 3 || random_below(&dice, 4) == 0;

        run_router(&plan, &data.input, ledger.frontier, &ledger.marks, &outcome);
        if (outcome.status != STATUS_OK)
            fail_msg("seed %u: %s", seed, outcome.error.text);
        seen.packed += outcome.packed;
        seen.spilled += outcome.spilled;
        seen.pieces += (int64_t)outcome.count;
        seen.skipped += outcome.skipped;
        seen.resumed += ledger.frontier.offset > 0;
        ledger_commit_some(&ledger, &outcome,
                           last ? outcome.count : (size_t)random_below(&dice, (int)outcome.count + 1), &dice);
        outcome_free(&outcome);
        if (last)
            break;
        /* Memory and writers may differ from run to run, the input may not. */
        plan.pool_bytes = (int64_t)plan.block_size * (8 + random_below(&dice, 100));
        plan.slow = random_below(&dice, 2) == 0;
        plan.spill_bytes = spill_make(&dice);
        plan.memory_bytes = random_below(&dice, 2) == 0 ? 64 << 10 : 8 << 20;
    }
    ledger_check(&ledger, &data);
    seen.bad += ledger.ranges[UNTIL_RANGES].rows;
    ledger_free(&ledger);
    data_free(&data);
}

static void test_random(void **state)
{
    unsigned seed = base_seed();
    const char *count = getenv("HYPERFILL_TEST_COUNT");
    unsigned limit = count != NULL ? (unsigned)strtoul(count, NULL, 10) : 150;

    (void)state;
    print_message("seed %u\n", seed);
    for (unsigned i = 0; i < limit; i++) {
        if (getenv("HYPERFILL_TEST_VERBOSE") != NULL)
            print_message("plan %u\n", seed + i);
        check_plan(seed + i);
    }
    print_message("%" PRId64 " pieces, %" PRId64 " resumed runs, %" PRId64 " rows skipped, %" PRId64
                  " bytes packed, %" PRId64 " spilled\n",
                  seen.pieces, seen.resumed, seen.skipped, seen.packed, seen.spilled);
    assert_true(limit < 100 ||
                (seen.packed > 0 && seen.spilled > 0 && seen.resumed > 0 && seen.skipped > 0 && seen.bad > 0));
}

/* Pieces are as large as the memory lets them be. */
static void test_large_memory(void **state)
{
    struct plan plan = {
        .seed = 7,
        .order = ORDERED,
        .rows = 60000,
        .payload = 800,
        .block_size = 65536,
        .pool_bytes = 16 << 20,
        .memory_bytes = 64 << 20,
        .slow = true,
    };
    struct ledger ledger = {0};
    struct outcome outcome;
    struct data data;

    (void)state;
    for (plan.order = ORDERED; plan.order < ORDER_COUNT; plan.order++) {
        data_make(&data, &plan);
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_OK);
        /* All fits: a piece a range, and no work for the packer. */
        assert_int_equal(outcome.count, UNTIL_RANGES);
        assert_int_equal(outcome.packed, 0);
        ledger = (struct ledger){0};
        ledger_commit_some(&ledger, &outcome, outcome.count, &plan.seed);
        ledger_check(&ledger, &data);
        ledger_free(&ledger);
        outcome_free(&outcome);
        data_free(&data);
    }
}

/* A record of several lines at each place around the edge of a block and of the input's buffer. */
static void check_edge(size_t pad, const char *line_end, bool stream)
{
    struct plan plan = {
        .rows = 3, .stream = stream, .block_size = 4096, .pool_bytes = 1 << 16, .memory_bytes = 1 << 15};
    size_t room = pad + 200;
    char *text = malloc(room);
    struct data data = {.input = {.text = text}, .count = 3, .records = calloc(3, sizeof *data.records)};
    struct ledger ledger = {0};
    struct outcome outcome;
    int64_t line = 1;
    size_t used = 0;

    assert_true(text != NULL && data.records != NULL);
    for (int i = 0; i < 3; i++) {
        data.records[i] = (struct record){.at = used, .time = 5 + i};
        used += (size_t)snprintf(text + used, room - used, "%d,", 5 + i);
        if (i == 0) {
            memset(text + used, 'x', pad);
            used += pad;
        }
        used += (size_t)snprintf(text + used, room - used, "\"a\nb\"\"\r\nc\n\n\"\"\"%s", line_end);
        data.records[i].size = used - data.records[i].at;
    }
    data.input.size = used;
    data.input.lines = calloc(used + 1, sizeof(int64_t));
    assert_non_null(data.input.lines);
    for (size_t i = 0; i < used; i++) {
        data.input.lines[i] = line;
        line += text[i] == '\n';
    }
    run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
    if (outcome.status != STATUS_OK)
        fail_msg("pad %zu: %s", pad, outcome.error.text);
    ledger_commit_some(&ledger, &outcome, outcome.count, &plan.seed);
    ledger_check(&ledger, &data);
    ledger_free(&ledger);
    outcome_free(&outcome);
    data_free(&data);
}

static void test_edges(void **state)
{
    /* A block keeps room for marks. The buffer has 8192 bytes here. */
    static const struct {
        size_t from, to;
    } pads[] = {{4096 - 140, 4096 + 10}, {8192 - 80, 8192 - 20}};

    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++)
        for (size_t pad = pads[i].from; pad < pads[i].to; pad++)
            for (int turn = 0; turn < 4; turn++)
                check_edge(pad, turn % 2 == 0 ? "\n" : "\r\n", turn < 2);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_large_memory),
        cmocka_unit_test(test_edges),
    };

    /* That a spill is full is what many plans are for. */
    log_level_set(LOG_WARNING);
    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
