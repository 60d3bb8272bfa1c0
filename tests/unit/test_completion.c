/* The zones of engine/method/completion.h, from buckets that are written as strips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/method/completion.h"

#define SECOND INT64_C(1000000)
#define STEP (10 * SECOND)
/* A whole day, so that round numbers are round. */
#define LO (TIME_DAY * 20000)

/*
 * '<' only in the source, '!' other rows, '=' equal, '.' empty; 'a' a row came to both, 's' to the source alone, 't'
 * the target got its row between the looks. The last bucket is the one of the first look's now.
 */
static struct completion_bucket bucket_of(char character)
{
    struct completion_bucket bucket = {0};
    struct completion_side one = {.rows = 5, .hash = 11}, more = {.rows = 6, .hash = 12}, none = {0};

    bucket.source[0] = bucket.source[1] = bucket.target[0] = bucket.target[1] = one;
    switch (character) {
    case '<': bucket.target[0] = bucket.target[1] = none; break;
    case '!': bucket.target[0].hash = bucket.target[1].hash = 99; break;
    case '.': bucket = (struct completion_bucket){0}; break;
    case 'a': bucket.source[1] = bucket.target[1] = more; break;
    case 's': bucket.source[1] = more; break;
    case 't': bucket.target[0] = none; break;
    default: assert_int_equal(character, '=');
    }
    return bucket;
}

static struct completion_bucket buckets[1000];

static struct completion judge(const char *strip)
{
    struct completion completion = {
        .time = {.type = TIME_TIMESTAMPTZ, .precision = -1},
        .per_second = SECOND,
        .by_clock = true,
        .lo = LO,
        .step = STEP,
        .count = strlen(strip),
        .buckets = buckets,
        .newest = LO,
    };

    for (size_t i = 0; i < completion.count; i++)
        buckets[i] = bucket_of(strip[i]);
    completion.now[0] = LO + (int64_t)completion.count * STEP - STEP / 2;
    completion.now[1] = completion.now[0] + STEP / 4;
    completion_judge(&completion);
    return completion;
}

static void assert_found(const char *strip, const char *shown, int64_t until_seconds)
{
    struct completion completion = judge(strip);
    char text[1000] = "";

    for (size_t i = 0; i < completion.count; i++)
        text[i] = completion_character(&completion, i);
    assert_string_equal(text, shown);
    assert_int_equal(completion.verdict, COMPLETION_FOUND);
    assert_int_equal(completion.until, LO + until_seconds * SECOND);
    assert_true(completion.until > completion.zone_lo && completion.until < completion.zone_hi);
}

static void assert_verdict(const char *strip, enum completion_verdict verdict)
{
    struct completion completion = judge(strip);
    struct error error;

    error_reset(&error);
    assert_int_equal(completion.verdict, verdict);
    assert_int_equal(completion_status(&completion, &error), verdict == COMPLETION_FOUND ? STATUS_OK : STATUS_DATA);
    if (verdict == COMPLETION_TOO_SOON)
        assert_true(completion.look_again > completion.now[1]);
}

static void assert_says(const char *strip, const char *words)
{
    struct completion completion = judge(strip);
    struct error error;

    error_reset(&error);
    assert_int_equal(completion_status(&completion, &error), STATUS_DATA);
    assert_non_null(strstr(error.text, words));
}

static void test_found(void **state)
{
    (void)state;
    /* The bucket that fills and the one before it are late, whatever they look like. */
    assert_found("<<<========", "<<<===T==~~", 60);
    /* Empty buckets within are no reason against it; at the ends they are no part of it. */
    assert_found("<<.==..==...==", "<<.==.T==...~~", 60);
    /* Nothing is missing: the window shows no beginning. */
    assert_found("==========", "======T=~~", 60);
    assert_false(judge("==========").begin_seen);
    assert_true(judge("<=========").begin_seen);
}

/* A stretch that differs for good ends the zone, however equal it is before: rows after the point must be there. */
static void test_outage(void **state)
{
    (void)state;
    assert_found("====<<========",
                 "====<<=="
                 "=T==~~",
                 90);
    assert_found("====!=======", "====!===T=~~", 80);
    assert_verdict("===========<==", COMPLETION_TOO_SOON);
    assert_verdict("===========!==", COMPLETION_TOO_SOON);
}

static void test_late(void **state)
{
    struct completion completion;

    (void)state;
    /* A row that came to both sides into a past bucket: from there on all is late. */
    assert_found("<<======a===", "<<====T=~~~~", 60);
    assert_found("<<======t===", "<<====T=~~~~", 60);
    assert_found("<<======s===", "<<====T=~~~~", 60);
    /* The oldest one counts. */
    assert_found("<<=====a=a==", "<<===T=~~~~~", 50);
    completion = judge("<<======a===");
    assert_int_equal(completion.late_rows, 1);
    assert_int_equal(completion.lateness, 3 * STEP + STEP * 3 / 4);
    completion = judge("<<========");
    assert_int_equal(completion.lateness, 0);
    /* A row that is later than dual writing is old leaves no zone. */
    assert_verdict("<a<=========", COMPLETION_TOO_SOON);
    /* What arrives in the bucket that is filling is not late. */
    assert_int_equal(judge("<<=======a").lateness, 0);
}

static void test_refused(void **state)
{
    struct completion completion;

    (void)state;
    assert_verdict("..........", COMPLETION_EMPTY);
    assert_verdict("<<<<<<<<<<", COMPLETION_NOT_BEGUN);
    assert_verdict("<<<<<<<<==", COMPLETION_TOO_SOON);
    assert_verdict("<<<<<==="
                   "==",
                   COMPLETION_TOO_SOON);
    assert_verdict("<<<<===="
                   "==",
                   COMPLETION_FOUND);
    assert_verdict("!!!!!!!!!!", COMPLETION_UNLIKE);
    assert_verdict("<<<!!!!!!!", COMPLETION_UNLIKE);
    /* Nearly all empty: two buckets tell nothing. */
    assert_verdict("<<<==.....", COMPLETION_TOO_SOON);
    /* What is there already is not denied. */
    assert_says("<<<<<<<<==", "there is no consistent zone yet");
    assert_says("<<<<<=====", "the consistent zone is too short yet (30 s; 40 s are needed)");
    /* The first bucket of both, four of the zone, and two for what may be late. */
    completion = judge("<<<<<<<<==");
    assert_int_equal(completion.look_again, LO + 8 * STEP + 4 * STEP + 2 * STEP);
}

/* When it says to look again there is a zone, if writing goes on as it does. */
static void test_look_again(void **state)
{
    char strip[64] = "<<<<<<<<==";
    struct completion completion = judge(strip);
    int64_t again = completion.look_again;

    (void)state;
    while (completion.now[1] < again) {
        strcat(strip, "=");
        completion = judge(strip);
    }
    assert_int_equal(completion.verdict, COMPLETION_FOUND);
}

/* Whatever comes, the point is within a zone in which nothing differs and after which all that differs is late. */
static void test_random(void **state)
{
    (void)state;
    srand(20240101);
    for (int turn = 0; turn < 20000; turn++) {
        static const char some[] = "<=====!..a<====t";
        char strip[128] = "";
        int size = 1 + rand() % 100;
        struct completion completion;

        for (int i = 0; i < size; i++)
            strip[i] = rand() % 4 > 0 && i > 0 ? strip[i - 1] : some[(size_t)rand() % (sizeof some - 1)];
        completion = judge(strip);
        if (completion.verdict != COMPLETION_FOUND)
            continue;
        assert_true(completion.until >= completion.zone_lo + STEP && completion.until <= completion.zone_hi - STEP);
        for (size_t i = 0; i < completion.count; i++) {
            int64_t lo = LO + (int64_t)i * STEP;

            if (lo >= completion.zone_lo && lo < completion.late_lo)
                assert_true(strip[i] == '=' || strip[i] == '.');
        }
    }
}

static void test_round(void **state)
{
    struct completion completion = {.time = {.type = TIME_TIMESTAMPTZ}, .per_second = SECOND, .step = STEP};
    int64_t noon = TIME_DAY * 20000 + TIME_DAY / 2;

    (void)state;
    assert_int_equal(completion_round(&completion, noon - 3 * SECOND, noon + 1300 * SECOND), noon);
    assert_int_equal(completion_round(&completion, noon + SECOND, noon + 1300 * SECOND), noon + 900 * SECOND);
    assert_int_equal(completion_round(&completion, noon + 61 * SECOND, noon + 65 * SECOND), noon + 65 * SECOND);
    completion.per_second = 1000;
    assert_int_equal(completion_round(&completion, 1700000000123, 1700001000123), 1700001000000);
    completion.per_second = 0;
    completion.time.type = TIME_INT8;
    assert_int_equal(completion_round(&completion, 123456, 129999), 129000);
    assert_int_equal(completion_round(&completion, -45, -41), -41);
    completion.time.type = TIME_DATE;
    completion.per_second = SECOND;
    assert_int_equal(completion_round(&completion, 3 * TIME_DAY, 5 * TIME_DAY) % TIME_DAY, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),      cmocka_unit_test(test_outage), cmocka_unit_test(test_late),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_random), cmocka_unit_test(test_round),
        cmocka_unit_test(test_look_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
