/* What a head says of its dialect, and where it says nothing for sure. */
#include "readers/sniff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sniff sniff;
static struct error error;

static enum status look(const char *head, struct sniff_given given)
{
    error_reset(&error);
    return sniff_look(head, strlen(head), true, &given, &sniff, &error);
}

static void finds(const char *head, char delimiter, char quote, bool header, const char *null_text,
                  const char *time_format)
{
    sniff = (struct sniff){.dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = ""}};
    if (look(head, (struct sniff_given){0}) != STATUS_OK)
        fail_msg("%s: %s", head, error.text);
    if (sniff.dialect.delimiter != delimiter || sniff.dialect.quote != quote || sniff.dialect.header != header ||
        strcmp(sniff.dialect.null_text, null_text) != 0)
        fail_msg("%s: %s", head, sniff.found);
    assert_int_equal(sniff.dialect.escape, quote);
    if (time_format == NULL)
        assert_null(sniff.time_format);
    else
        assert_string_equal(sniff.time_format, time_format);
}

static void asks(const char *head, const char *for_what)
{
    sniff = (struct sniff){.dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = ""}};
    assert_int_equal(look(head, (struct sniff_given){0}), STATUS_USAGE);
    if (strstr(error.text, for_what) == NULL)
        fail_msg("%s: %s", head, error.text);
}

static void test_found(void **state)
{
    (void)state;
    finds("time,v\n2024-01-01,1\n2024-01-02,2\n", ',', '"', true, "", NULL);
    finds("time;v\r\n2024-01-01;1,5\r\n2024-01-02;2\r\n", ';', '"', true, "", NULL);
    assert_non_null(strstr(sniff.unsure, "\"v\" has decimal commas"));
    finds("2024-01-01\t1\n2024-01-02\t\n", '\t', '"', false, "", NULL);
    finds("time|v\n2024-01-01|'a|b'\n2024-01-02|'c'\n", '|', '\'', true, "", NULL);
    finds("time,v\n2024-01-01,it's\n2024-01-02,x\n", ',', '"', true, "", NULL);
    finds("time,v\n2024-01-01,\"a\nb\"\n2024-01-02,\"c\"\n", ',', '"', true, "", NULL);
    finds("t,v\n1706745600,NULL\n1706745601,1\n", ',', '"', true, "NULL", "epoch");
    finds("t,v\n1706745600000,\\N\n1706745601000,x\n", ',', '"', true, "\\N", "epoch-ms");
    finds("t,v\n31.01.2024 10:00:00,1\n01.02.2024 10:00:00,2\n", ',', '"', true, "", "%d.%m.%Y %H:%M:%S");
    finds("t,v\n31/01/2024,1\n01/02/2024,2\n", ',', '"', true, "", "%d/%m/%Y");
    finds("time\n2024-01-01\n2024-01-02\n", ',', '"', true, "", NULL);
    finds("\xef\xbb\xbftime,v\n2024-01-01,1\n", ',', '"', true, "", NULL);
    assert_string_equal(sniff.encoding, "UTF8");
    /* A text that looks like NULL among texts is one of them. */
    finds("time,v\n2024-01-01,NA\n2024-01-02,DE\n", ',', '"', true, "", NULL);
}

static void test_asked(void **state)
{
    (void)state;
    asks("", "empty");
    asks("a,b\nc,d\n", "--header");
    asks("a,b\n1,2,3\n", "--delimiter");
    asks("time,value\n2024-03-01\n", "--delimiter");
    asks("t,v\n1/2/2024,1\n3/4/2024,2\n", "--time-format");
    asks("time,v\n2024-01-01,NULL\n2024-01-02,NA\n2024-01-03,1\n", "--null");
    asks("time,v\n2024-01-01,NULL\n2024-01-02,\n2024-01-03,1\n", "--null");
    asks("time,v\n2024-01-01,\xf6\n2024-01-02,x\n", "--encoding");
    asks("2024-01-01,a;2024-01-01\n2024-01-01,b;2024-01-01\n", "--delimiter");
    asks("when,2024\n2024-01-01,1\n2024-01-02,2\n", "--header");
}

static void test_given(void **state)
{
    struct sniff_given given = {.delimiter = true, .header = true, .null_text = true, .time_format = true};

    (void)state;
    sniff =
        (struct sniff){.dialect = {.delimiter = ';', .quote = '"', .null_text = "NA", .comment = '#', .skip_lines = 1}};
    assert_int_equal(look("made \"today\nx;y\n# no \" record\n1/2/2024,1;NULL\n", given), STATUS_OK);
    assert_int_equal(sniff.dialect.delimiter, ';');
    assert_false(sniff.dialect.header);
    assert_string_equal(sniff.dialect.null_text, "NA");
    assert_null(sniff.time_format);
    error_reset(&error);
    assert_int_equal(sniff_look("\xff\xfe"
                                "a\0",
                                4, true, &given, &sniff, &error),
                     STATUS_DATA);
}

/* Whatever the head is cut to, nothing is read behind it, and nothing else than before is found once it has rows. */
static void test_cut_anywhere(void **state)
{
    static const char text[] = "time;name\n2024-01-01;\"a;\nb\"\n2024-01-02;\xc3\xb6\n2024-01-03;'c'\n";

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        struct sniff_given given = {0};
        char exact[sizeof text];

        memcpy(exact, text, size);
        sniff = (struct sniff){.dialect = {.null_text = ""}};
        error_reset(&error);
        if (sniff_look(exact, size, false, &given, &sniff, &error) == STATUS_OK && size > 30) {
            assert_int_equal(sniff.dialect.delimiter, ';');
            assert_true(sniff.dialect.header);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_given),
        cmocka_unit_test(test_cut_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
