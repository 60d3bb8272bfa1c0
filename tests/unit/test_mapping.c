/* Fields of an input to columns of a table: names, maps, constants, what COPY is told, when a shape is needed. */
#include "engine/cli/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cli/names.h"

static struct table_column columns[] = {
    {.name = (char *)"time", .type = (char *)"timestamp with time zone"},
    {.name = (char *)"Value", .type = (char *)"double precision"},
    {.name = (char *)"note", .type = (char *)"text"},
    {.name = (char *)"NOTE", .type = (char *)"text"},
    {.name = (char *)"twice", .type = (char *)"double precision", .generated = true},
};

static struct table table = {
    .sql = (char *)"\"public\".\"m\"",
    .columns = columns,
    .column_count = sizeof columns / sizeof *columns,
    .time_name = (char *)"time",
    .time = {.type = TIME_TIMESTAMPTZ, .precision = -1},
};

static struct options options;
static struct mapping mapping;
static struct error error;

/* Makes the mapping of a header of names separated by blanks; NULL: there is none. */
static enum status map(const char *header)
{
    struct stream_source source = {
        .path = "data/cpu.csv.gz",
        .name = "cpu.csv.gz",
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .header = header != NULL},
    };
    struct mapping_spec spec = {.options = &options, .table = &table, .source = &source};
    char text[256], *rest = text, *name, *names[16];
    enum status status;

    snprintf(text, sizeof text, "%s", header != NULL ? header : "");
    while (header != NULL && (name = strsep(&rest, " ")) != NULL)
        names[source.header_count++] = name;
    source.header = header != NULL ? names : NULL;
    error_reset(&error);
    status = mapping_make(&spec, &mapping, &error);
    if (status != STATUS_OK)
        mapping_reset(&mapping);
    return status;
}

static void maps(const char *header, const char *column_list, int time_index, bool shaped)
{
    if (map(header) != STATUS_OK)
        fail_msg("%s: %s", header, error.text);
    assert_string_equal(mapping.column_list, column_list);
    assert_int_equal(mapping.time_index, time_index);
    assert_string_equal(mapping.fields.items[time_index], "time");
    assert_int_equal(mapping.shape != NULL, shaped);
    assert_int_equal(mapping.text[0] != '\0', shaped);
    mapping_reset(&mapping);
}

static void refuses(const char *header, const char *says)
{
    assert_int_equal(map(header), STATUS_USAGE);
    if (strstr(error.text, says) == NULL)
        fail_msg("%s: %s, not %s", header, error.text, says);
}

static int reset(void **state)
{
    (void)state;
    options = (struct options){0};
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    maps("value time", "\"Value\", \"time\"", 1, false);
    maps("NOTE note TIME", "\"NOTE\", \"note\", \"time\"", 2, false);
    maps(NULL, "\"time\", \"Value\", \"note\", \"NOTE\"", 0, false);
    refuses("time Note", "differ in upper and lower case");
    refuses("time extra", "--ignore-columns 'extra'");
    refuses("value", "--map 'NAME=time'");
    refuses("time twice", "generated");
    /* "value" is not taken for "Value" where that stands itself. */
    refuses("time value Value", "no column \"value\"");
}

static void test_map(void **state)
{
    (void)state;
    options.map = (struct text_list){{"ts=time", "a=b=value"}, 2};
    maps("a=b ts", "\"Value\", \"time\"", 1, false);
    refuses("a=b tS x", "no column \"x\"");
    options.map = (struct text_list){{"value=note", "note=Value"}, 2};
    maps("time value note", "\"time\", \"note\", \"Value\"", 0, false);
    refuses(NULL, "--map needs a header");
    options.map = (struct text_list){{"value=time"}, 1};
    refuses("time value", "column \"time\" is named twice");
}

static void test_ignored(void **state)
{
    (void)state;
    options.ignore_columns = "x,\"Twice\"";
    maps("x time twice", "\"time\"", 1, true);
    refuses("time", "no column \"x\"");
    options.ignore_columns = "*";
    maps("x time y value", "\"time\", \"Value\"", 1, true);
    maps("time value", "\"time\", \"Value\"", 0, false);
    refuses("time Note", "differ in upper and lower case");
    refuses(NULL, "--ignore-columns needs a header");
}

static void test_columns(void **state)
{
    (void)state;
    options.columns = "note,time";
    maps("a b", "\"note\", \"time\"", 1, false);
    maps(NULL, "\"note\", \"time\"", 1, false);
    refuses("a b c", "--columns names 2 columns, the header of cpu.csv.gz has 3");
    options.ignore_columns = "b";
    maps("a b c", "\"note\", \"time\"", 2, true);
    options.columns = "Note,time";
    options.ignore_columns = NULL;
    refuses("a b", "no column \"Note\"");
}

static void test_constants(void **state)
{
    (void)state;
    options.set = (struct text_list){{"note={stem} {name}", "value="}, 2};
    maps("time", "\"time\", \"note\", \"Value\"", 0, true);
    refuses("time note", "column \"note\" is named twice");
    options.set = (struct text_list){{"time=now"}, 1};
    refuses("time", "read from each row");
    options.set = (struct text_list){{"=x"}, 1};
    refuses("time", "write COLUMN=TEXT");
}

static void test_copy_options(void **state)
{
    (void)state;
    options.set = (struct text_list){{"note=x"}, 1};
    options.force_null = "*";
    options.force_not_null = "value";
    assert_int_equal(map("time value"), STATUS_OK);
    assert_string_equal(mapping.copy_options, "FORMAT csv, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULL '', FORCE_NULL "
                                              "(\"time\", \"Value\"), FORCE_NOT_NULL (\"Value\")");
    mapping_reset(&mapping);
    options.force_null = "note";
    refuses("time value", "which no field of");
}

static void test_time(void **state)
{
    (void)state;
    options.time_format = "epoch-ms";
    maps("time value", "\"time\", \"Value\"", 0, true);
    options.time_format = "%F %T";
    refuses("time value", "--timezone UTC");
    options.time_format = "%F %T%z";
    maps("time value", "\"time\", \"Value\"", 0, true);
    options.time_format = "iso";
    maps("time value", "\"time\", \"Value\"", 0, false);
    table.time.type = TIME_INT8;
    options.time_format = "epoch";
    refuses("time value", "loaded as they are");
    table.time.type = TIME_TIMESTAMPTZ;
}

static void expands(const char *text, const char *path, const char *expected)
{
    char *expanded = NULL;

    error_reset(&error);
    if (mapping_expand(text, path, &expanded, &error) != STATUS_OK)
        fail_msg("%s: %s", text, error.text);
    assert_string_equal(expanded, expected);
    free(expanded);
}

static void test_expand(void **state)
{
    char *expanded = NULL;

    (void)state;
    expands("", "a.csv", "");
    expands("{stem}", "a.b.csv", "a.b");
    expands("{stem}", "/x/a.csv.gz", "a");
    expands("{stem}", "x/a.gz", "a");
    expands("{stem}", "x/.csv", ".csv");
    expands("{stem}", "x.d/plain", "plain");
    expands("{name}|{path}", "x/a.csv.zst", "a.csv.zst|x/a.csv.zst");
    expands("{dir}", "/nowhere/there/a.csv", "there");
    expands("{dir}", "/a.csv", "/");
    expands("{{{stem}}}", "a.csv", "{a}");
    expands("{{stem}}", "-", "{stem}");
    error_reset(&error);
    assert_int_equal(mapping_expand("{stem}", "-", &expanded, &error), STATUS_USAGE);
    error_reset(&error);
    assert_int_equal(mapping_expand("{stem", "a", &expanded, &error), STATUS_USAGE);
    error_reset(&error);
    assert_int_equal(mapping_expand("{host}", "a", &expanded, &error), STATUS_USAGE);
}

static void test_lists(void **state)
{
    struct names names = {0};

    (void)state;
    error_reset(&error);
    assert_int_equal(names_split(&names, " a , \"b,\"\"c\" ,D", "columns", &error), STATUS_OK);
    assert_int_equal(names.count, 3);
    assert_string_equal(names.items[1], "b,\"c");
    assert_int_equal(names_find(&names, "d"), 2);
    assert_int_equal(names_find(&names, "x"), NAME_NONE);
    names_add(&names, "A");
    assert_int_equal(names_find(&names, "a"), 0);
    assert_int_equal(names_find(&names, "A"), 3);
    names_reset(&names);
    assert_int_equal(names_split(&names, "a,,b", "columns", &error), STATUS_USAGE);
    names_reset(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_names, reset),
        cmocka_unit_test_setup(test_map, reset),
        cmocka_unit_test_setup(test_ignored, reset),
        cmocka_unit_test_setup(test_columns, reset),
        cmocka_unit_test_setup(test_constants, reset),
        cmocka_unit_test_setup(test_copy_options, reset),
        cmocka_unit_test_setup(test_time, reset),
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
