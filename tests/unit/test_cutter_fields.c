/* Fields of a record: one by one and all at once, as the server has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "readers/cutter.h"

#define RECORD_MAX 80

static void check_field(const char *record, int index, char escape, const char *expected, bool quoted)
{
    char buffer[32];
    struct csv_field field;
    struct cutter cutter;

    cutter_init(&cutter, '"', escape);
    assert_true(cutter_field(&cutter, ',', record, strlen(record), index, buffer, sizeof buffer, &field));
    assert_int_equal(field.size, strlen(expected));
    assert_memory_equal(field.text, expected, field.size);
    assert_int_equal(field.quoted, quoted);
}

static void test_field(void **state)
{
    char buffer[4];
    struct csv_field field;
    struct cutter cutter;

    (void)state;
    check_field("", 0, '"', "", false);
    check_field("a,b,c", 0, '"', "a", false);
    check_field("a,b,c", 1, '"', "b", false);
    check_field("a,b,c", 2, '"', "c", false);
    check_field("a,", 1, '"', "", false);
    check_field("\"\",b", 0, '"', "", true);
    check_field("\"a,b\",c", 1, '"', "c", false);
    check_field("\"a,b\",c", 0, '"', "a,b", true);
    check_field("\"a\"\"b\",c", 0, '"', "a\"b", true);
    check_field("a\"b,c\"d,e", 0, '"', "ab,cd", true);
    check_field("a\"b,c\"d,e", 1, '"', "e", false);
    check_field(" a , \"b\" ", 1, '"', " b ", true);
    check_field("\"a\\\"b\",c", 0, '\\', "a\"b", true);
    check_field("\"a\\\\\",c", 0, '\\', "a\\", true);
    check_field("\"a\\x\",c", 0, '\\', "a\\x", true);
    check_field("a\\,c", 0, '\\', "a\\", false);
    check_field("\"x\ny\",\"2024-01-01\"", 1, '"', "2024-01-01", true);
    cutter_init(&cutter, '"', '"');
    assert_false(cutter_field(&cutter, ',', "a,b", 3, 2, buffer, sizeof buffer, &field));
    assert_false(cutter_field(&cutter, ',', "\"abcde\"", 7, 0, buffer, sizeof buffer, &field));
    assert_true(cutter_field(&cutter, ',', "\"abcd\"", 6, 0, buffer, sizeof buffer, &field));
}

/* All fields at once are what they are one by one. */
static void test_fields(void **state)
{
    static const char *const records[] = {
        "", ",", "a,b,c", "\"a,b\",c", "a\"b,c\"d,,e", "\"\",\"x\ny\"", " a , \"b\" ", "\"a\\\"b\",c\\,d"};

    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct csv_raw_field fields[8];
        size_t size = strlen(records[i]);
        struct cutter cutter;
        int count;

        cutter_init(&cutter, '"', strchr(records[i], '\\') != NULL ? '\\' : '"');
        count = cutter_fields(&cutter, ',', records[i], size, fields, 8);
        assert_int_equal(count, cutter_field_count(&cutter, ',', records[i], size));
        assert_int_equal(cutter_fields(&cutter, ',', records[i], size, fields, 1), count);
        count = cutter_fields(&cutter, ',', records[i], size, fields, 8);
        for (int j = 0; j < count; j++) {
            char buffer[32], text[32];
            struct csv_field field;

            assert_true(cutter_field(&cutter, ',', records[i], size, j, buffer, sizeof buffer, &field));
            assert_int_equal(field.quoted, fields[j].quoted);
            assert_int_equal(cutter_field_text(&cutter, &fields[j], text), field.size);
            assert_memory_equal(text, field.text, field.size);
        }
    }
    for (int room = 0; room < 3; room++) {
        struct csv_raw_field fields[2];
        struct cutter cutter;

        cutter_init(&cutter, '"', '"');
        assert_int_equal(cutter_fields(&cutter, ',', "a,\"b,c", 6, fields, room < 2 ? room : 2), -1);
    }
}

/* CopyReadAttributesCSV, one byte after the other: the text of the field that begins at *at, which is moved behind it.
 */
static size_t server_field(const char **at, const char *end, char escape, char *text, bool *quoted, bool *open)
{
    bool inside = false;
    size_t size = 0;

    for (*quoted = false; *at < end && (inside || **at != ','); ++*at) {
        if (inside && **at == escape && *at + 1 < end && ((*at)[1] == escape || (*at)[1] == '"')) {
            text[size++] = *++*at;
        } else if (**at == '"') {
            inside = !inside;
            *quoted = true;
        } else {
            text[size++] = **at;
        }
    }
    *open = inside;
    return size;
}

static void check_fields(const char *record, size_t size, char escape)
{
    struct csv_raw_field fields[RECORD_MAX];
    char text[RECORD_MAX], expected[RECORD_MAX];
    const char *at = record, *end = record + size;
    struct cutter cutter;
    bool quoted, open = false;
    int count, index = 0;

    cutter_init(&cutter, '"', escape);
    count = cutter_fields(&cutter, ',', record, size, fields, RECORD_MAX);
    for (;; at++, index++) {
        const char *begin = at;
        size_t expected_size = server_field(&at, end, escape, expected, &quoted, &open);

        if (open)
            break;
        assert_ptr_equal(fields[index].text, begin);
        assert_int_equal(fields[index].size, at - begin);
        assert_int_equal(fields[index].quoted, quoted);
        assert_int_equal(cutter_field_text(&cutter, &fields[index], text), expected_size);
        assert_memory_equal(text, expected, expected_size);
        if (at == end)
            break;
    }
    assert_int_equal(count, open ? -1 : index + 1);
}

/* Fields of all lengths, wherever they begin in a word. */
static void test_random_fields(void **state)
{
    static const char letters[] = "abcdefg,,\"\"\\";

    const char *given = getenv("HYPERFILL_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 200000; i++) {
        size_t size = (size_t)rand_r(&seed) % RECORD_MAX;
        /* Without quotes, or with many. */
        size_t kinds = rand_r(&seed) % 4 == 0 ? 9 : sizeof letters - 1;
        char *record = malloc(size + 1);

        for (size_t j = 0; j < size; j++)
            record[j] = letters[(size_t)rand_r(&seed) % kinds];
        check_fields(record, size, rand_r(&seed) % 3 == 0 ? '\\' : '"');
        free(record);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_random_fields),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
