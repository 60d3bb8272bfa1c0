/* Shapes: what COPY gets of a record, at every kind of field; and records that are refused. */
#include "writers/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct shape_dialect plain = {',', '"', '"'};

struct fixture {
    struct shape_spec spec;
    struct shape_column columns[8];
    const char *names[8];
};

/* Columns by letters: a..h are fields as they stand, A..H the same as times; what is behind '=' is a constant. */
static struct shape *make(struct fixture *fixture, int fields, const char *columns, const char *constant)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct shape *shape;
    struct error error;
    int count = 0;

    for (; *columns != '\0'; columns++)
        fixture->columns[count++] = *columns == '=' ? (struct shape_column){SHAPE_CONSTANT, 0, constant}
                                    : *columns >= 'A' && *columns <= 'H'
                                        ? (struct shape_column){SHAPE_TIME, *columns - 'A', NULL}
                                        : (struct shape_column){SHAPE_FIELD, *columns - 'a', NULL};
    memcpy(fixture->names, names, sizeof names);
    if (fixture->spec.from.delimiter == '\0')
        fixture->spec.from = fixture->spec.to = plain;
    if (fixture->spec.null_text == NULL)
        fixture->spec.null_text = "";
    fixture->spec.field_names = fixture->names;
    fixture->spec.field_count = fields;
    fixture->spec.columns = fixture->columns;
    fixture->spec.column_count = count;
    fixture->spec.time.precision = -1;
    error_reset(&error);
    assert_int_equal(shape_create(&fixture->spec, &shape, &error), STATUS_OK);
    return shape;
}

static void check(const struct shape *shape, const char *record, const char *expected)
{
    struct shape_text text = {0};
    struct error error;

    error_reset(&error);
    /* Behind what is there already. */
    for (int i = 0; i < 2; i++)
        if (shape_apply(shape, record, strlen(record), &text, &error) != STATUS_OK)
            fail_msg("%s: %s", record, error.text);
    if (text.size != 2 * strlen(expected) || memcmp(text.data, expected, strlen(expected)) != 0 ||
        memcmp(text.data + strlen(expected), expected, strlen(expected)) != 0)
        fail_msg("%s: %.*s, not twice %s", record, (int)text.size, text.data, expected);
    shape_text_reset(&text);
}

static void refuse(const struct shape *shape, const char *record, const char *sqlstate, const char *says)
{
    struct shape_text text = {0};
    struct error error;

    error_reset(&error);
    assert_int_equal(shape_apply(shape, record, strlen(record), &text, &error), STATUS_DATA);
    assert_string_equal(error.sqlstate, sqlstate);
    if (strstr(error.text, says) == NULL)
        fail_msg("%s: %s, not %s", record, error.text, says);
    assert_int_equal(text.size, 0);
    shape_text_reset(&text);
}

static void test_fields(void **state)
{
    struct fixture fixture = {0};
    struct shape *shape = make(&fixture, 3, "ca", NULL);

    (void)state;
    check(shape, "1,2,3\n", "3,1\n");
    check(shape, "1,2,3\r\n", "3,1\r\n");
    check(shape, "1,2,3\r", "3,1\r");
    check(shape, "1,2,3", "3,1");
    check(shape, ",,\n", ",\n");
    check(shape, "\"\",x,\"a,\"\"b\n\"\n", "\"a,\"\"b\n\",\"\"\n");
    check(shape, "a\"b,c\"d,x, y \n", " y ,a\"b,c\"d\n");
    shape_free(shape);
}

static void test_constants(void **state)
{
    struct fixture fixture = {0};
    struct shape *shape = make(&fixture, 1, "a=", "say \"x\",\n");

    (void)state;
    check(shape, "1\n", "1,\"say \"\"x\"\",\n\"\n");
    shape_free(shape);
    fixture = (struct fixture){.spec = {.from = {';', '\'', '\\'}, .to = {';', '\'', '\\'}}};
    shape = make(&fixture, 1, "=a", "it's \\ ;");
    check(shape, "1\n", "'it\\'s \\\\ ;';1\n");
    shape_free(shape);
    fixture = (struct fixture){0};
    shape = make(&fixture, 1, "a=", "");
    check(shape, "\n", ",\"\"\n");
    shape_free(shape);
}

static void test_times(void **state)
{
    struct fixture fixture = {.spec = {.null_text = "nil", .time = {.form = TIME_FORM_EPOCH}}};
    struct shape *shape = make(&fixture, 2, "Ab", NULL);

    (void)state;
    check(shape, "1706745600,nil\n", "\"2024-02-01 00:00:00+00\",nil\n");
    check(shape, "\"1706745600.5\",\"nil\"\n", "\"2024-02-01 00:00:00.5+00\",\"nil\"\n");
    refuse(shape, "nil,1\n", "22007", "is empty");
    refuse(shape, "2024-02-01,1\n", "22007", "the time \"2024-02-01\" in field 1");
    refuse(shape, "99999999999999,1\n", "22008", "does not exist");
    shape_free(shape);
    fixture = (struct fixture){.spec = {.time = {.type = TIME_DATE, .form = TIME_FORM_PATTERN, .pattern = "%d.%m.%Y"}}};
    shape = make(&fixture, 1, "A", NULL);
    check(shape, "29.02.2024\n", "\"2024-02-29\"\n");
    refuse(shape, "30.02.2024\n", "22008", "30.02.2024");
    shape_free(shape);
}

static void test_trim(void **state)
{
    struct fixture fixture = {.spec = {.trim = true}};
    struct shape *shape = make(&fixture, 3, "abc", NULL);

    (void)state;
    check(shape, " a ,\t\"b, c\" ,d\n", "a,\"b, c\",d\n");
    check(shape, "  ,\" \", x y \r\n", ",\" \",x y\r\n");
    shape_free(shape);
    fixture = (struct fixture){.spec = {.trim = true, .from = {'\t', '"', '"'}, .to = {'\t', '"', '"'}}};
    shape = make(&fixture, 2, "ba", NULL);
    check(shape, " a \t b \n", "b\ta\n");
    refuse(shape, " a \t\t\n", "22P04", "extra data");
    shape_free(shape);
}

static void test_quoted_anew(void **state)
{
    struct fixture fixture = {.spec = {.from = {'\x14', '\xfe', '\xfe'}, .to = {',', '"', '"'}, .null_text = "nil"}};
    struct shape *shape = make(&fixture, 2, "ba", NULL);

    (void)state;
    check(shape, "nil\x14\xfenil\xfe\n", "\"nil\",nil\n");
    check(shape, "a,b\x14\"\n", "\"\"\"\",\"a,b\"\n");
    check(shape,
          "\xfe"
          "a\xfe\xfe"
          "b\n\x14\xfe\x14plain\n",
          "plain,\"a\xfe"
          "b\n\x14\"\n");
    check(shape, "\x14\xfe\xfe\n", "\"\",\n");
    shape_free(shape);
}

static void test_wrong_records(void **state)
{
    struct fixture fixture = {0};
    struct shape *shape = make(&fixture, 3, "ac", NULL);

    (void)state;
    refuse(shape, "1,2\n", "22P04", "missing data for column \"c\"");
    refuse(shape, "\n", "22P04", "missing data for column \"b\"");
    refuse(shape, "1,2,3,\n", "22P04", "extra data after last expected column");
    refuse(shape, "1,\"2,3\n", "22P04", "unterminated CSV quoted field");
    shape_free(shape);
    fixture = (struct fixture){0};
    shape = make(&fixture, 2, "b", NULL);
    refuse(shape, "x,\\.\n", "22P04", "\\.");
    check(shape, "x,\"\\.\"\n", "\"\\.\"\n");
    shape_free(shape);
}

static void test_many_fields(void **state)
{
    enum { COUNT = 1600 };
    static struct shape_column columns[COUNT];
    static const char *names[COUNT];
    char record[2 * COUNT + 1], expected[2 * COUNT + 1];
    struct shape_spec spec = {.from = plain, .to = plain, .null_text = "", .field_names = names, .field_count = COUNT};
    struct shape *shape;
    struct error error;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        names[i] = "x";
        columns[i] = (struct shape_column){SHAPE_FIELD, COUNT - 1 - i, NULL};
        record[2 * i] = expected[2 * (COUNT - 1 - i)] = (char)('a' + i % 26);
        record[2 * i + 1] = expected[2 * i + 1] = ',';
    }
    record[2 * COUNT - 1] = expected[2 * COUNT - 1] = '\n';
    record[2 * COUNT] = expected[2 * COUNT] = '\0';
    spec.columns = columns;
    spec.column_count = COUNT;
    error_reset(&error);
    assert_int_equal(shape_create(&spec, &shape, &error), STATUS_OK);
    check(shape, record, expected);
    shape_free(shape);
    shape_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),      cmocka_unit_test(test_constants),   cmocka_unit_test(test_times),
        cmocka_unit_test(test_trim),        cmocka_unit_test(test_quoted_anew), cmocka_unit_test(test_wrong_records),
        cmocka_unit_test(test_many_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
