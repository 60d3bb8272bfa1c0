/* What an SQLSTATE means for the caller, and texts for SQL. */
#include "engine/pg/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_statuses(void **state)
{
    static const struct {
        const char *code;
        enum status status;
    } cases[] = {
        {"08006", STATUS_TRANSIENT}, {"08P01", STATUS_TRANSIENT}, {"40001", STATUS_TRANSIENT},
        {"40P01", STATUS_TRANSIENT}, {"53100", STATUS_TRANSIENT}, {"53300", STATUS_TRANSIENT},
        {"55006", STATUS_TRANSIENT}, {"55P03", STATUS_TRANSIENT}, {"57014", STATUS_TRANSIENT},
        {"57P01", STATUS_TRANSIENT}, {"57P02", STATUS_TRANSIENT}, {"57P03", STATUS_TRANSIENT},
        {"57P05", STATUS_TRANSIENT}, {"25006", STATUS_TRANSIENT}, {"22P02", STATUS_DATA},
        {"22001", STATUS_DATA},      {"23505", STATUS_DATA},      {"23514", STATUS_DATA},
        {"P0001", STATUS_DATA},      {"54000", STATUS_DATA},      {"54001", STATUS_SERVER},
        {"44000", STATUS_DATA},      {"25P02", STATUS_SERVER},    {"25001", STATUS_SERVER},
        {"55000", STATUS_SERVER},    {"42501", STATUS_SERVER},    {"42P01", STATUS_SERVER},
        {"28P01", STATUS_SERVER},    {"28000", STATUS_SERVER},    {"3D000", STATUS_SERVER},
        {"0A000", STATUS_SERVER},    {"XX000", STATUS_SERVER},    {"57000", STATUS_SERVER},
        {"", STATUS_SERVER},         {"5", STATUS_SERVER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (pg_status_of(cases[i].code) != cases[i].status)
            fail_msg("%s is %s", cases[i].code, status_name(pg_status_of(cases[i].code)));
    assert_int_equal(pg_status_of(NULL), STATUS_SERVER);
}

static void quoted_check(char *(*quote)(const char *), const char *text, const char *wanted)
{
    char *quoted = quote(text);

    assert_string_equal(quoted, wanted);
    free(quoted);
}

static void test_quoting(void **state)
{
    (void)state;
    quoted_check(pg_identifier, "plain", "\"plain\"");
    quoted_check(pg_identifier, "a\"b'\\", "\"a\"\"b'\\\"");
    quoted_check(pg_identifier, "", "\"\"");
    quoted_check(pg_literal, "it's", "'it''s'");
    quoted_check(pg_literal, "a\\'", " E'a\\\\'''");
    quoted_check(pg_literal, "", "''");
}

static void test_building(void **state)
{
    struct sql sql = {0};
    char wanted[8192] = "";

    (void)state;
    for (int i = 0; i < 1000; i++) {
        size_t used = strlen(wanted);

        sql_add(&sql, "%d,", i);
        snprintf(wanted + used, sizeof wanted - used, "%d,", i);
        assert_int_equal(sql.size, strlen(sql.text));
        assert_true(sql.room > sql.size);
    }
    assert_string_equal(sql.text, wanted);
    sql_reset(&sql);
    assert_null(sql.text);
    assert_int_equal(sql.size, 0);
}

/* Texts of each length about the steps of growth, so that the end never lands outside. */
static void test_growth(void **state)
{
    char text[1100];

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        struct sql sql = {0};

        memset(text, 'x', size);
        text[size] = '\0';
        sql_add(&sql, "%s", text);
        assert_string_equal(sql.text, text);
        sql_add_identifier(&sql, "i");
        assert_int_equal(sql.size, size + 3);
        assert_int_equal(strlen(sql.text), sql.size);
        sql_reset(&sql);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_building),
        cmocka_unit_test(test_growth),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
