/* The rate by a clock of our own, and the gate with threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/stats.h"
#include "engine/throttle.h"

#define SECOND INT64_C(1000000000)

/* Amounts of any size: what has gone by any time is not more than the rate allows, and in the end not less. */
static void test_exact(void **state)
{
    static const int64_t rates[] = {1, 7, 1000, 999983, 20 << 20, INT64_C(7) << 30};

    (void)state;
    srand(42);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct schedule schedule;
        int64_t now = 5 * SECOND, start = now, sum = 0;

        schedule_init(&schedule, rates[i], now);
        for (int turn = 0; turn < 100000; turn++) {
            int64_t amount =
                rand() % (rates[i] < 1000 ? 3 : (int)(rates[i] / 100 < 1 << 20 ? rates[i] / 100 : 1 << 20));
            int64_t at = schedule_take(&schedule, amount, now);

            /* Its place is when all before it has had its time: rounded by less than a nanosecond. */
            assert_int_equal(at - start, (int64_t)((__int128)sum * SECOND / rates[i]));
            if (at > now)
                now = at;
            sum += amount;
        }
    }
}

/* After a pause there is no burst of all that was not sent. */
static void test_pause(void **state)
{
    struct schedule schedule;
    int64_t now = 1000 * SECOND, at;

    (void)state;
    schedule_init(&schedule, 100, now);
    assert_int_equal(schedule_take(&schedule, 100, now), now);
    now += 3600 * SECOND;
    at = schedule_take(&schedule, 100, now);
    assert_true(at <= now && at >= now - SECOND / 4);
    assert_int_equal(schedule_take(&schedule, 100, now), at + SECOND);
    assert_int_equal(schedule_take(&schedule, 100, now), at + 2 * SECOND);
    /* What was taken too much comes back. */
    assert_int_equal(schedule_take(&schedule, -100, now), at + 3 * SECOND);
    assert_int_equal(schedule_take(&schedule, 0, now), at + 2 * SECOND);
}

static struct stop *new_stop(void)
{
    struct stop *stop;
    struct error error;

    error_reset(&error);
    assert_int_equal(stop_create(&stop, &error), STATUS_OK);
    return stop;
}

static struct throttle *new_throttle(int64_t rate, enum throttle_unit unit, struct stop *stop)
{
    struct throttle *throttle;
    struct error error;

    error_reset(&error);
    assert_int_equal(throttle_create(rate, unit, stop, &throttle, &error), STATUS_OK);
    return throttle;
}

struct sending {
    struct throttle *throttle;
    int sends, bytes, rows;
};

static void *send_rows(void *argument)
{
    const struct sending *sending = argument;
    struct throttle_writer writer;

    throttle_begin(&writer, 0);
    for (int i = 0; i < sending->sends; i++)
        throttle_send(sending->throttle, &writer, sending->bytes);
    throttle_count(sending->throttle, &writer, sending->rows);
    return NULL;
}

/* Seconds that four writers took; whoever guesses rows wrongly pays before it may commit. */
static double four_send(int64_t rate, enum throttle_unit unit, int sends, int bytes, int rows)
{
    struct stop *stop = new_stop();
    struct throttle *throttle = new_throttle(rate, unit, stop);
    struct sending sending = {throttle, sends, bytes, rows};
    int64_t since = stats_now_ns(), taken;
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_rows, &sending), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    taken = stats_now_ns() - since;
    throttle_free(throttle);
    stop_free(stop);
    return (double)taken / 1e9;
}

/* Never faster than the rate allows; no more is asked of the clock of a machine that is busy. */
static void test_shared(void **state)
{
    (void)state;
    assert_true(four_send(4000000, THROTTLE_BYTES, 20, 50000, 1) >= 0.95);
    assert_true(four_send(40000, THROTTLE_ROWS, 20, 50000, 10000) >= 0.95);
    /* A row has fewer bytes than was thought: more rows than were paid for are paid for at the end. */
    assert_true(four_send(40000, THROTTLE_ROWS, 2, 1000, 10000) >= 0.95);
    /* No rate. */
    assert_true(four_send(0, THROTTLE_BYTES, 20, 1 << 30, 1 << 30) < 100);
}

static void *send_much(void *argument)
{
    throttle_take(argument, 1 << 30, 1 << 30);
    throttle_take(argument, 1 << 30, 1 << 30);
    return NULL;
}

/* A wait of years ends with the second stop, not with the first. */
static void test_stop(void **state)
{
    struct stop *stop = new_stop();
    struct throttle *throttle = new_throttle(1, THROTTLE_BYTES, stop);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, send_much, throttle), 0);
    stop_request(stop, STOP_DRAIN);
    stop_wait(stop, 50, STOP_ABORT);
    assert_int_not_equal(pthread_tryjoin_np(thread, NULL), 0);
    stop_request(stop, STOP_ABORT);
    assert_int_equal(pthread_join(thread, NULL), 0);
    throttle_free(throttle);
    stop_free(stop);
}

struct gate {
    struct throttle *throttle;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool waiting, through;
};

static void *pass_gate(void *argument)
{
    struct gate *gate = argument;

    pthread_mutex_lock(&gate->mutex);
    while (throttle_is_paused(gate->throttle)) {
        gate->waiting = true;
        pthread_cond_wait(&gate->cond, &gate->mutex);
    }
    gate->through = true;
    pthread_mutex_unlock(&gate->mutex);
    return NULL;
}

static void test_gate(void **state)
{
    struct stop *stop = new_stop();
    struct throttle *throttle = new_throttle(0, THROTTLE_BYTES, stop);
    struct gate gate = {.throttle = throttle, .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    char reason[THROTTLE_REASON_MAX];
    pthread_t thread;
    bool waiting = false;

    (void)state;
    assert_false(throttle_is_paused(NULL));
    assert_string_equal(throttle_reason(NULL, reason), "");
    throttle_watch(throttle, &gate.mutex, &gate.cond);
    throttle_pause(throttle, "source lag 41 s > 30 s");
    assert_string_equal(throttle_reason(throttle, reason), "source lag 41 s > 30 s");
    assert_int_equal(pthread_create(&thread, NULL, pass_gate, &gate), 0);
    while (!waiting) {
        pthread_mutex_lock(&gate.mutex);
        waiting = gate.waiting;
        assert_false(gate.through);
        pthread_mutex_unlock(&gate.mutex);
    }
    throttle_resume(throttle);
    pthread_join(thread, NULL);
    assert_true(gate.through);
    assert_string_equal(throttle_reason(throttle, reason), "");
    throttle_unwatch(throttle, &gate.cond);
    throttle_free(throttle);
    stop_free(stop);
}

struct entering {
    struct throttle *throttle;
    pthread_mutex_t mutex;
    int times, entered; /* entered: the mutex */
};

static void *enter(void *argument)
{
    struct entering *entering = argument;

    for (int i = 0; i < entering->times && throttle_enter(entering->throttle); i++) {
        throttle_book(entering->throttle, 1000, 0);
        pthread_mutex_lock(&entering->mutex);
        entering->entered++;
        pthread_mutex_unlock(&entering->mutex);
    }
    return NULL;
}

static int entered(struct entering *entering)
{
    int count;

    pthread_mutex_lock(&entering->mutex);
    count = entering->entered;
    pthread_mutex_unlock(&entering->mutex);
    return count;
}

/* What was booked is waited for by who comes next, not by who booked it. */
static void test_booked(void **state)
{
    struct stop *stop = new_stop();
    struct throttle *throttle = new_throttle(10000, THROTTLE_ROWS, stop);
    struct entering entering = {throttle, PTHREAD_MUTEX_INITIALIZER, 11, 0};
    int64_t since = stats_now_ns();

    (void)state;
    assert_true(throttle_enter(NULL));
    throttle_book(NULL, 1, 1);
    enter(&entering);
    assert_int_equal(entering.entered, 11);
    /* Ten times a tenth of a second. */
    assert_true(stats_now_ns() - since >= SECOND - SECOND / 100);
    throttle_free(throttle);
    stop_free(stop);
}

/* Nobody enters while the gate is shut; that it opens, and the first stop, end the wait. */
static void test_enter_gate(void **state)
{
    struct stop *stop = new_stop();
    struct throttle *throttle = new_throttle(0, THROTTLE_ROWS, stop);
    struct entering entering = {throttle, PTHREAD_MUTEX_INITIALIZER, 1, 0};
    pthread_t thread;

    (void)state;
    throttle_pause(throttle, "waiting WAL");
    assert_int_equal(pthread_create(&thread, NULL, enter, &entering), 0);
    stop_wait(stop, 50, STOP_DRAIN);
    assert_int_equal(entered(&entering), 0);
    throttle_resume(throttle);
    pthread_join(thread, NULL);
    assert_int_equal(entering.entered, 1);
    throttle_pause(throttle, "waiting WAL");
    assert_int_equal(pthread_create(&thread, NULL, enter, &entering), 0);
    stop_request(stop, STOP_DRAIN);
    pthread_join(thread, NULL);
    assert_int_equal(entering.entered, 1);
    throttle_free(throttle);
    stop_free(stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),      cmocka_unit_test(test_pause), cmocka_unit_test(test_shared),
        cmocka_unit_test(test_stop),       cmocka_unit_test(test_gate),  cmocka_unit_test(test_booked),
        cmocka_unit_test(test_enter_gate),
    };

    alarm(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
