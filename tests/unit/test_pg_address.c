/* Addresses: recognised, shown, hidden; connecting where nobody answers. */
#include "engine/pg/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_is_conninfo(void **state)
{
    static const char *const addresses[] = {"postgres://h/d",        "postgresql://", "host=h",      "dbname = d",
                                            "host=h password='a b'", "service=x",     "postgres://["};
    static const char *const others[] = {"",         "-",           "file.csv",  "my=file.csv", "/data/year=2024/x.csv",
                                         "host",     "dir/host=h",  "http://h/", "postgres:/",  "host=h nonsense=1",
                                         "host='h=", "Postgres://h"};

    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        if (!pg_is_conninfo(addresses[i]))
            fail_msg("not an address: %s", addresses[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (pg_is_conninfo(others[i]))
            fail_msg("an address: %s", others[i]);
}

static void display_check(const char *conninfo, const char *const words[])
{
    struct pg_address address;
    struct error error;

    error_reset(&error);
    assert_int_equal(pg_address_init(&address, conninfo, "target", &error), STATUS_OK);
    assert_string_equal(address.conninfo, conninfo);
    assert_string_equal(address.role, "target");
    assert_null(strstr(address.display, "SECRET"));
    for (; *words != NULL; words++)
        if (strstr(address.display, *words) == NULL)
            fail_msg("\"%s\" lacks %s", address.display, *words);
    pg_address_reset(&address);
    assert_null(address.conninfo);
}

static void test_display(void **state)
{
    (void)state;
    display_check("postgres://u:SECRET@h:5433/d?sslpassword=SECRET",
                  (const char *const[]){"user=u", "host=h", "port=5433", "dbname=d", NULL});
    display_check("host=a,b port=1,2 password=SECRET", (const char *const[]){"host=a,b", "port=1,2", NULL});
    display_check("postgres://h/d?user=u&password=SECRET", (const char *const[]){"host=h", "user=u", NULL});
    display_check("host=h dbname=postgres://u:SECRET@h/d", (const char *const[]){"host=h", NULL});
    display_check("dbname='password=SECRET'", (const char *const[]){"default", NULL});
    display_check("postgres://u:SECRET?@h/d?application_name=a@b", (const char *const[]){"host=h", "user=u", NULL});
    display_check("postgres://u%40x:SECRET@h/d", (const char *const[]){"host=h", "user=u@x", NULL});
    display_check("postgres://", (const char *const[]){"default", NULL});
}

static void test_refusals(void **state)
{
    static const char *const texts[] = {"postgres://u:SECRET@h:port[/",
                                        "postgres://u:x@SECRET@h/d",
                                        "postgres://u:SECRET/SECRET@h/d",
                                        "host=h port=SECRET",
                                        "host=h connect_timeout=SECRET",
                                        "postgres://[SECRET",
                                        "SECRET",
                                        "host=h pasword=SECRET",
                                        "password='SECRET",
                                        "postgres://h/d?SECRET=x"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct pg_address address;
        struct error error;

        error_reset(&error);
        assert_int_equal(pg_address_init(&address, texts[i], "source", &error), STATUS_USAGE);
        assert_null(strstr(error.text, "SECRET"));
        assert_non_null(strstr(error.text, "source"));
        pg_address_reset(&address);
    }
}

static void scrub_check(const char *argument, bool changed)
{
    size_t size = strlen(argument);
    char *copy = malloc(size + 2);

    memcpy(copy, argument, size + 1);
    copy[size + 1] = '#'; /* the next argument */
    pg_scrub_argument(copy);
    assert_int_equal(memcmp(copy, argument, size + 1) != 0, changed);
    assert_int_equal(copy[size], '\0');
    assert_int_equal(copy[size + 1], '#');
    assert_null(memmem(copy, size, "SECRET", 6));
    free(copy);
}

static void test_scrub(void **state)
{
    (void)state;
    scrub_check("postgres://u:SECRET@host:5432/database", true);
    scrub_check("postgres://u:SECRET@", true);
    scrub_check("postgres://h/d?password=SECRET", true);
    scrub_check("postgres://h/d?sslpassword=SECRET", true);
    scrub_check("password=SECRET", true);
    scrub_check("host=h password='SE CRETSECRET' user=u", true);
    scrub_check("dbname=postgres://u:SECRET@h/d", true);
    scrub_check("postgres://u:SECRET@h:port[/d", true);
    scrub_check("postgres://[SECRET", true);
    scrub_check("postgres://u:x@SECRET@h/d", true);
    scrub_check("postgres://u:a?b@h/d?application_name=a@b", true);
    scrub_check("postgres://u@h/d", false);
    scrub_check("host=h user=u", false);
    scrub_check("password", false);
    scrub_check("file=x.csv", false);
    scrub_check("", false);
}

/* The status and the SQLSTATE of a connect that cannot succeed. */
static void connect_check(const char *conninfo, enum status status, const char *sqlstate)
{
    struct pg_address address;
    struct stop *stop;
    struct pg *pg;
    struct error error;

    error_reset(&error);
    assert_int_equal(pg_address_init(&address, conninfo, "target", &error), STATUS_OK);
    assert_int_equal(stop_create(&stop, &error), STATUS_OK);
    assert_int_equal(pg_create(&address, NULL, stop, &pg, &error), STATUS_OK);
    if (pg_connect(pg, &error) != status)
        fail_msg("%s: %s: %s", conninfo, status_name(error.status), error.text);
    assert_int_equal(error.status, status);
    assert_string_equal(error.sqlstate, sqlstate);
    assert_null(strstr(error.text, "SECRET"));
    assert_false(pg_connected(pg));

    /* Without a connection everything else fails, or does nothing. */
    error_reset(&error);
    assert_int_equal(pg_run(pg, "SELECT 1", NULL, &error), STATUS_TRANSIENT);
    assert_string_equal(error.sqlstate, "08003");
    error_reset(&error);
    assert_int_equal(pg_copy_in_put(pg, "x\n", 2, &error), STATUS_TRANSIENT);
    pg_copy_in_fail(pg, "nothing");
    pg_rollback(pg);
    pg_disconnect(pg);
    assert_string_equal(pg_last_context(pg), "");
    pg_free(pg);
    stop_free(stop);
    pg_address_reset(&address);
}

static void test_nobody(void **state)
{
    (void)state;
    connect_check("host=/nonexistent dbname=d password=SECRET", STATUS_TRANSIENT, "08001");
    connect_check("host=127.0.0.1 port=1 password=SECRET", STATUS_TRANSIENT, "08001");
    connect_check("host=/nonexistent sslmode=loud", STATUS_USAGE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_conninfo), cmocka_unit_test(test_display), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_scrub),       cmocka_unit_test(test_nobody),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
