/* The transcoder: the edges of every type, fields by the server's rule, and what is refused. */
#include "writers/transcode.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REFUSED NULL

static struct transcoder *make(struct transcoder_spec spec, const char *const *bases, int count)
{
    struct transcoder_column columns[8] = {0};
    struct transcoder *transcoder;
    struct error error;

    error_reset(&error);
    for (int i = 0; i < count; i++) {
        columns[i] = (struct transcoder_column){.name = "c", .type = bases[i], .base = bases[i]};
        columns[i].force_null = strcmp(bases[i], "varchar") == 0;
        columns[i].force_not_null = strcmp(bases[i], "bpchar") == 0;
    }
    spec.columns = columns;
    spec.column_count = count;
    if (spec.delimiter == '\0')
        spec.delimiter = ',';
    if (spec.quote == '\0')
        spec.quote = spec.escape = '"';
    if (spec.null_text == NULL)
        spec.null_text = "";
    assert_int_equal(transcoder_create(&spec, &transcoder, &error), STATUS_OK);
    return transcoder;
}

static void hex(const char *data, size_t size, char *text)
{
    *text = '\0';
    for (size_t i = 0; i < size; i++)
        text += snprintf(text, 3, "%02x", (unsigned char)data[i]);
}

/* The record in memory of its own, so that reading past its end is seen; behind another row, which must stay. */
static void check_record(const struct transcoder *transcoder, const char *record, size_t size, const char *expected)
{
    struct transcoder_rows rows = {0};
    struct error error;
    char *copy = malloc(size + 1), *text;
    bool converted = false;

    assert_non_null(copy);
    memcpy(copy, record, size);
    error_reset(&error);
    assert_int_equal(transcoder_rows_reserve(&rows, 2, &error), STATUS_OK);
    memcpy(rows.data, "!!", 2);
    rows.size = 2;
    copy = realloc(copy, size > 0 ? size : 1);
    assert_non_null(copy);
    assert_int_equal(transcoder_add(transcoder, copy, size, &rows, &converted, &error), STATUS_OK);
    assert_memory_equal(rows.data, "!!", 2);
    text = malloc(rows.size * 2 + 1);
    assert_non_null(text);
    hex(rows.data + 2, rows.size - 2, text);
    if (converted != (expected != REFUSED) || strcmp(text, expected == REFUSED ? "" : expected) != 0)
        fail_msg("%.*s: %s, not %s", (int)size, record, converted ? text : "refused",
                 expected == REFUSED ? "refused" : expected);
    free(text);
    free(copy);
    transcoder_rows_reset(&rows);
}

/* One value, bare and in quotes; `expected` is the value without its length. */
static void check_in(struct transcoder_spec spec, const char *base, const char *value, const char *expected)
{
    struct transcoder *transcoder = make(spec, &base, 1);
    char record[1024], row[1024];

    snprintf(row, sizeof row, "0001%08zx%s", expected != REFUSED ? strlen(expected) / 2 : 0,
             expected != REFUSED ? expected : "");
    for (int quoted = 0; quoted < 2; quoted++) {
        int size = snprintf(record, sizeof record, quoted ? "\"%s\"\n" : "%s\r\n", value);

        check_record(transcoder, record, (size_t)size, expected == REFUSED ? REFUSED : row);
    }
    transcoder_free(transcoder);
}

static void check(const char *base, const char *value, const char *expected)
{
    check_in((struct transcoder_spec){.null_text = "NULL"}, base, value, expected);
}

static void test_bool(void **state)
{
    static const char *const yes[] = {"t",   "T",  "tr", "true", "TRUE",   "y",
                                      "yes", "on", "On", "1",    " true ", "\ttrue\v"};
    static const char *const no[] = {"f", "false", "n", "no", "of", "off", "0"};
    static const char *const bad[] = {"", " ", "o", "truee", "2", "01", "ja", "-1"};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        check("bool", yes[i], "01");
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        check("bool", no[i], "00");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check("bool", bad[i], REFUSED);
}

static void test_integers(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "1.0",
                                      "1e3",
                                      "0x10",
                                      "1_000",
                                      "--1",
                                      "1 2",
                                      "\xc2\xa0"
                                      "1",
                                      "00000000000000000000",
                                      "a"};

    (void)state;
    check("int2", "32767", "7fff");
    check("int2", "-32768", "8000");
    check("int2", "32768", REFUSED);
    check("int2", "-32769", REFUSED);
    check("int4", "2147483647", "7fffffff");
    check("int4", "-2147483648", "80000000");
    check("int4", "2147483648", REFUSED);
    check("int4", "-2147483649", REFUSED);
    check("int4", " +007 ", "00000007");
    check("int4", "-0", "00000000");
    check("int8", "9223372036854775807", "7fffffffffffffff");
    check("int8", "-9223372036854775808", "8000000000000000");
    check("int8", "9223372036854775808", REFUSED);
    check("int8", "-9223372036854775809", REFUSED);
    check("int8", "9999999999999999999", REFUSED);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check("int8", bad[i], REFUSED);
}

static void check_double(const char *text, double value)
{
    char expected[17];
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)bits);
    check("float8", text, expected);
}

static void check_float(const char *text, float value)
{
    char expected[9];
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    snprintf(expected, sizeof expected, "%08x", bits);
    check("float4", text, expected);
}

/* The library is the judge, at every count of digits and every place of the point. */
static void test_random_floats(void **state)
{
    uint64_t seed = 88172645463325252;
    char text[64];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        int digits, exponent;

        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        digits = 1 + (int)(seed % 20);
        exponent = (int)(seed >> 32 & 63) - 32;
        if (seed >> 62 == 0)
            snprintf(text, sizeof text, "%.*fe%d", (int)(seed >> 40 & 15), (double)(seed >> 20) / 4096.0, exponent / 2);
        else if (seed >> 62 == 1)
            snprintf(text, sizeof text, "%s%.*f", seed & 1 ? "-" : "", digits, (double)(seed >> 30) / 3e7);
        else
            snprintf(text, sizeof text, "%.*s%se%d", digits, "18446744073709551615" + seed % 3, seed & 1 ? ".5" : "",
                     exponent);
        check_double(text, strtod(text, NULL));
        if (strtof(text, NULL) < HUGE_VALF)
            check_float(text, strtof(text, NULL));
        else
            check("float4", text, REFUSED);
    }
}

static void test_floats(void **state)
{
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "0.0",
                                          "1",
                                          "-1.5",
                                          ".5",
                                          "5.",
                                          "+3e2",
                                          "1E-7",
                                          "123456789012345",
                                          "9007199254740993",
                                          "9007199254740992.5",
                                          "9007199254740993.0000000000001",
                                          "1.7976931348623157e308",
                                          "4.9e-324",
                                          "2.2250738585072011e-308",
                                          "16777217",
                                          "16777219",
                                          "8388608.5",
                                          "1e22",
                                          "1e23",
                                          "18446744073709551615",
                                          "99999999999999999999",
                                          "0.000000000000000000000000000000000001",
                                          "0e9999",
                                          " 1 ",
                                          "00000000000000000001.5",
                                          "12345678.1234567",
                                          "12345678.12345678",
                                          "123456789.5",
                                          "0.30000000000000004"};
    static const char *const bad[] = {"",       " ",      ".",       "-",     "e5",      "1e",  "1e+",
                                      "1e400",  "-1e400", "1e-400",  "0x10",  "1_0",     "1,5", "1 2",
                                      "nan(1)", "-nan",   "infinit", "1.5.5", "1e99999", "++1", "1f"};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        check_double(numbers[i], strtod(numbers[i], NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check("float8", bad[i], REFUSED);
    for (int i = 0; i < 4; i++)
        check_float((const char *[]){"16777217", "16777219", "1e-45", "3.4028235e38"}[i],
                    (const float[]){16777216.0F, 16777220.0F, 1e-45F, 3.4028235e38F}[i]);
    check("float4", "3.4028236e38", REFUSED);
    check("float4", "7e-46", REFUSED);
    check("float8", "NaN", "7ff8000000000000");
    check("float4", "nan", "7fc00000");
    check("float8", "Infinity", "7ff0000000000000");
    check("float8", "-inf", "fff0000000000000");
    check("float4", "+INFINITY", "7f800000");
}

static void test_numeric(void **state)
{
    static const char *const bad[] = {"", ".", "-", "1e", "1e1001", "1e-1001", "Infinity", "0x1", "1_0", "1 2", "e"};

    (void)state;
    /* groups, weight, sign, scale, groups of four digits */
    check("numeric", "0", "0000000000000000");
    check("numeric", "-0.00", "0000000000000002");
    check("numeric", "1", "00010000000000000001");
    check("numeric", "-12345.678", "0003000140000003000109291a7c");
    check("numeric", "0001.50", "000200000000000200011388");
    check("numeric", "0.0001", "0001ffff000000040001");
    check("numeric", ".00001", "0001fffe0000000503e8");
    check("numeric", "10000", "000200010000000000010000");
    check("numeric", "5.", "00010000000000000005");
    check("numeric", "1.5e3", "000100000000000005dc");
    check("numeric", "1.50e1", "0002000000000001000f0000");
    check("numeric", "1e-3", "0001ffff00000003000a");
    check("numeric", "1E+4", "00010001000000000001");
    check("numeric", " NaN ", "00000000c0000000");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check("numeric", bad[i], REFUSED);
}

static void test_texts(void **state)
{
    (void)state;
    check("text", "abc", "616263");
    check("varchar", " a ", "206120");
    check("bpchar", "\xc3\xa9", "c3a9");
    check("enum", "ok", "6f6b");
    check("json", "{}", "7b7d");
    check("jsonb", "{}", "017b7d");
    check("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11");
    check("uuid", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11");
    check("uuid", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", REFUSED);
    check("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", REFUSED);
    check("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", REFUSED);
    check("uuid", "a0ee-bc999c0b-4ef8-bb6d-6bb9bd380a11", REFUSED);
    check("uuid", " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", REFUSED);
}

static void test_times(void **state)
{
    const struct transcoder_spec zoned = {.null_text = "NULL", .zone_given = true, .zone_seconds = 3600};

    (void)state;
    check("timestamptz", "2000-01-01T00:00:00Z", "0000000000000000");
    check("timestamptz", "2000-01-01 00:00:01.5+00", "000000000016e360");
    check("timestamptz", "2000-01-01 00:00:00", REFUSED);
    check_in(zoned, "timestamptz", "2000-01-01 01:00:00", "0000000000000000");
    check_in(zoned, "timestamptz", "2000-01-01 00:00:00Z", "0000000000000000");
    check_in(zoned, "timestamp", "2000-01-01 00:00:00", "0000000000000000");
    check("timestamp", "1999-12-31 23:59:59.999999", "ffffffffffffffff");
    check("timestamp", "infinity", "7fffffffffffffff");
    check("timestamptz", " -Infinity ", "8000000000000000");
    check("timestamptz", "+infinity", REFUSED);
    check("timestamptz", "now", REFUSED);
    check("timestamptz", "2023-02-29 00:00Z", REFUSED);
    check("timestamptz", "01/02/2024 00:00Z", REFUSED);
    check("date", "2000-01-02", "00000001");
    check("date", "1999-12-31", "ffffffff");
    check("date", "1999-12-31 23:59:59", "ffffffff");
    check("date", "-infinity", "80000000");
    check("date", "today", REFUSED);
}

static void check_row(struct transcoder_spec spec, const char *bases, const char *record, const char *expected)
{
    static const char *const names[] = {"text", "int4", "varchar", "bpchar"};
    const char *of[8];
    struct transcoder *transcoder;
    int count = 0;

    for (; bases[count] != '\0'; count++)
        of[count] = names[strchr("tinN", bases[count]) - "tinN"];
    transcoder = make(spec, of, count);
    check_record(transcoder, record, strlen(record), expected);
    transcoder_free(transcoder);
}

/* t: text, i: int4, n: text with FORCE_NULL, N: text with FORCE_NOT_NULL */
static void test_fields(void **state)
{
    const struct transcoder_spec usual = {0}, named = {.null_text = "NULL"};
    const struct transcoder_spec escaped = {.delimiter = ';', .quote = '\'', .escape = '\\', .null_text = "\\N"};

    (void)state;
    check_row(usual, "ti", "ab,7\n",
              "0002"
              "000000026162"
              "0000000400000007");
    check_row(usual, "ti", "ab,7",
              "0002"
              "000000026162"
              "0000000400000007");
    check_row(usual, "tt", ",\"\"\n",
              "0002"
              "ffffffff"
              "00000000");
    check_row(usual, "tt", "\"a,\"\"b\"\"\n\",x\r\n",
              "0002"
              "00000006612c2262220a"
              "0000000178");
    check_row(usual, "tt", "a\"b,\"c,d\n",
              "0002"
              "0000000461622c63"
              "0000000164");
    check_row(usual, "t", "a\"b,\"c\n",
              "0001"
              "00000004"
              "61622c63");
    check_row(usual, "t", "\n",
              "0001"
              "ffffffff");
    check_row(usual, "t", "\\.\n", REFUSED);
    check_row(usual, "tt", "\\.,\n",
              "0002"
              "000000025c2e"
              "ffffffff");
    check_row(usual, "tt", "a\n", REFUSED);
    check_row(usual, "tt", "a,b,c\n", REFUSED);
    check_row(usual, "tt", "a,b,\n", REFUSED);
    check_row(usual, "t", "\"a\n", REFUSED);
    check_row(usual, "i", "\"\"\n", REFUSED);
    check_row(named, "tt", "NULL,\"NULL\"\n",
              "0002"
              "ffffffff"
              "000000044e554c4c");
    check_row(named, "nn", "NULL,\"NULL\"\n",
              "0002"
              "ffffffff"
              "ffffffff");
    check_row(named, "NN", "NULL,\"NULL\"\n",
              "0002"
              "000000044e554c4c"
              "000000044e554c4c");
    check_row(named, "tt", ",NULLx\n",
              "0002"
              "00000000"
              "000000054e554c4c78");
    check_row(escaped, "tt", "'a\\'b\\\\c\\d';\\N\n",
              "0002"
              "0000000761"
              "27625c635c64"
              "ffffffff");
    check_row(escaped, "tt", "a\\'b;x';1\n",
              "0002"
              "00000005615c623b78"
              "0000000131");
}

static void test_types_that_have_none(void **state)
{
    const struct transcoder_column columns[] = {{.name = "a", .type = "integer", .base = "int4"},
                                                {.name = "b", .type = "integer[]", .base = "_int4"},
                                                {.name = "c", .type = "bytea", .base = "bytea"}};
    const struct transcoder_spec spec = {
        .delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .columns = columns, .column_count = 3};
    struct transcoder *transcoder;
    struct error error;

    (void)state;
    error_reset(&error);
    assert_int_equal(transcoder_create(&spec, &transcoder, &error), STATUS_USAGE);
    assert_string_equal(error.text, "column \"b\" of type integer[] has no exact conversion");
    assert_null(transcoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_random_floats),
        cmocka_unit_test(test_types_that_have_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
