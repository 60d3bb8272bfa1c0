/* Usual numbers: the quick ways, by parts and by sixteen bytes, take what they take exactly as the slow one does. */
#include "writers/transcode_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* Room in front of a text and behind it, full of what would be read wrongly. */
#define TEXT_MAX 64

static const struct {
    const char *name;
    TRANSCODE_VALUE((*value));
    TRANSCODE_USUAL((*usual[2]));
} ways[] = {
#ifdef __x86_64__
#define WAY(type)                                                                                                      \
    {                                                                                                                  \
#type, transcode_##type,                                                                                       \
        {                                                                                                              \
            transcode_usual_##type, transcode_sse_##type                                                               \
        }                                                                                                              \
    }
#else
#define WAY(type)                                                                                                      \
    {                                                                                                                  \
#type, transcode_##type,                                                                                       \
        {                                                                                                              \
            transcode_usual_##type, transcode_usual_##type                                                             \
        }                                                                                                              \
    }
#endif
    WAY(int2),
    WAY(int4),
    WAY(int8),
    WAY(float8),
};
#define WAYS (sizeof ways / sizeof *ways)

static bool processor_can(int which)
{
#ifdef __x86_64__
    return which == 0 || __builtin_cpu_supports("sse4.1");
#else
    return which == 0;
#endif
}

/* Gives whether the quick way took the whole field. */
static bool check_way(size_t way, int which, const char *field, char behind)
{
    const struct transcode_zone zone = {0};
    char text[TEXT_MAX + TEXT_PADDING], quick[VALUE_ROOM], slow[VALUE_ROOM + TEXT_MAX];
    size_t size = strlen(field);
    const char *stop = NULL;
    char *end, *slow_end;

    memset(text, '7', sizeof text);
    memcpy(text, field, size);
    text[size] = behind;
    end = ways[way].usual[which](quick, text, &stop);
    if (end == NULL || stop != text + size)
        return false;
    slow_end = ways[way].value(&zone, slow, text, size);
    if (slow_end == NULL || slow_end - slow != end - quick || memcmp(slow, quick, (size_t)(end - quick)) != 0)
        fail_msg("%s: way %d takes %s otherwise than the slow one", ways[way].name, which, field);
    return true;
}

static void check_all(const char *field, bool expected_integer, bool expected_float)
{
    for (size_t way = 0; way < WAYS; way++)
        for (int which = 0; which < 2 && processor_can(which); which++) {
            bool is_float = strcmp(ways[way].name, "float8") == 0, narrow = strcmp(ways[way].name, "int8") != 0;
            bool taken = check_way(way, which, field, ',');

            /* Those that are too large for a type are nothing for it. */
            if (taken != (is_float ? expected_float : expected_integer) && (is_float || !narrow || taken))
                fail_msg("%s: way %d %s %s", ways[way].name, which, taken ? "takes" : "leaves", field);
            check_way(way, which, field, '\0');
            check_way(way, which, field, '\t');
        }
}

static void test_taken(void **state)
{
    static const char *const integers[] = {"0",     "7",      "-7",         "00012",       "32767",          "-32768",
                                           "32768", "-32769", "2147483647", "-2147483648", "12345678901234", "-0"};
    static const char *const floats[] = {"0.0",           "-0.0",           "3.25",         "-3.25",
                                         "0.1",           "99999.5",        "1.10",         "00.1",
                                         "123456789.125", "1234567890.123", "-12345.67890", "0.3000000000"};

    (void)state;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        check_all(integers[i], true, true);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        check_all(floats[i], false, true);
}

static void test_left(void **state)
{
    static const char *const others[] = {"",
                                         "-",
                                         ".",
                                         "-.",
                                         "+1",
                                         " 1",
                                         "1 ",
                                         "1e5",
                                         "1.5e5",
                                         "--1",
                                         "1-",
                                         "1..2",
                                         "1.2.",
                                         "1.2.3",
                                         "nan",
                                         "-inf",
                                         "0x10",
                                         "1_0",
                                         "5.",
                                         ".5",
                                         "-.5",
                                         "1/2",
                                         "1:2",
                                         "a",
                                         "1a",
                                         "1.a",
                                         "\xb1",
                                         "1\xb1",
                                         "1.\xb1",
                                         "1234567890123456",
                                         "-1234567890123456",
                                         "12345678901234567890",
                                         "0.1234567890123456",
                                         "123456789012345.6",
                                         "1.234567890123456789"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        check_all(others[i], false, false);
}

/* Of 1 to 12 digits, with a point or without: all are taken as floats. */
static void test_random(void **state)
{
    const char *given = getenv("HYPERFILL_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);

    (void)state;
    print_message("repeat with HYPERFILL_TEST_SEED=%u\n", seed);
    srandom(seed);
    for (int round = 0; round < 200000; round++) {
        int digits = (int)(random() % 12) + 1, point = (int)(random() % 14);
        char field[TEXT_MAX], *at = field;

        if (random() % 3 == 0)
            *at++ = '-';
        for (int i = 0; i < digits; i++) {
            if (i > 0 && i == point)
                *at++ = '.';
            *at++ = (char)('0' + (random() % 4 == 0 ? 0 : random() % 10));
        }
        *at = '\0';
        check_all(field, point == 0 || point >= digits, true);
    }
}

/* Any bytes: what is taken is what the slow way makes of it. */
static void test_noise(void **state)
{
    static const char letters[] = "0123456789.-+e ,xE_";

    (void)state;
    for (int round = 0; round < 200000; round++) {
        char field[TEXT_MAX];
        int size = (int)(random() % 20);

        for (int i = 0; i < size; i++)
            field[i] = letters[random() % 3 == 0 ? random() % (long)(sizeof letters - 1) : random() % 12];
        field[size] = '\0';
        for (size_t way = 0; way < WAYS; way++)
            for (int which = 0; which < 2 && processor_can(which); which++)
                check_way(way, which, field, ',');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
