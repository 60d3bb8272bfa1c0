/* The router with a spill. */
#include "engine/log.h"
#include "tests/unit/fixture_router.h"

/* All pieces of a run are committed; they hold what the input has. */
static void check_complete(const struct plan *plan, const struct data *data, const struct outcome *outcome)
{
    struct ledger ledger = {0};
    unsigned seed = plan->seed;

    if (outcome->status != STATUS_OK)
        fail_msg("%s", outcome->error.text);
    ledger_commit_some(&ledger, outcome, outcome->count, &seed);
    ledger_check(&ledger, data);
    ledger_free(&ledger);
}

/* A disordered input of fifteen times the memory: with a spill a piece a range, without it trickles. */
static void test_spill(void **state)
{
    static const enum order orders[] = {SHUFFLED, BY_HOST};
    struct plan plan = {
        .seed = base_seed(),
        .rows = 80000,
        .payload = 300,
        .quotes = true,
        .block_size = 4096,
        .pool_bytes = 256 << 10,
        .memory_bytes = 256 << 10,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    for (int i = 0; i < 2; i++) {
        plan.order = orders[i];
        plan.spill_bytes = 64 << 20;
        data_make(&data, &plan);
        assert_true((int64_t)data.input.size > 15 * plan.pool_bytes);
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        check_complete(&plan, &data, &outcome);
        /* The first host's rows are in order, and the others' cannot be foreseen. */
        assert_in_range(outcome.count, UNTIL_RANGES, plan.order == SHUFFLED ? UNTIL_RANGES : 2 * UNTIL_RANGES);
        assert_true(outcome.spilled > 0);
        outcome_free(&outcome);
        plan.spill_bytes = 0;
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        check_complete(&plan, &data, &outcome);
        assert_true(outcome.count > 5 * UNTIL_RANGES);
        outcome_free(&outcome);
        data_free(&data);
    }
}

/* Order needs no spill, and is not made to wait for one. */
static void test_spill_ordered(void **state)
{
    struct plan plan = {
        .seed = base_seed(),
        .order = ORDERED,
        .rows = 40000,
        .payload = 300,
        .block_size = 4096,
        .pool_bytes = 256 << 10,
        .memory_bytes = 256 << 10,
        .spill_bytes = 64 << 20,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    data_make(&data, &plan);
    run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
    check_complete(&plan, &data, &outcome);
    assert_int_equal(outcome.spilled, 0);
    outcome_free(&outcome);
    data_free(&data);
}

/* A spill that is full is like none, but for what it could take. */
static void test_spill_full(void **state)
{
    struct plan plan = {
        .seed = base_seed(),
        .order = SHUFFLED,
        .rows = 40000,
        .payload = 300,
        .block_size = 4096,
        .pool_bytes = 256 << 10,
        .memory_bytes = 256 << 10,
        .spill_bytes = 512 << 10,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    data_make(&data, &plan);
    for (plan.slow = false;; plan.slow = true) {
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        check_complete(&plan, &data, &outcome);
        assert_true(outcome.spilled > 0);
        assert_true(outcome.count > UNTIL_RANGES);
        outcome_free(&outcome);
        if (plan.slow)
            break;
    }
    data_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_spill_ordered),
        cmocka_unit_test(test_spill_full),
    };

    /* That a spill is full is what many plans are for. */
    log_level_set(LOG_WARNING);
    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
