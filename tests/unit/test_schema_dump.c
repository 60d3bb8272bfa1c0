/* Cutting what pg_dump prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/method/schema_dump.h"

#define HEAD(name, type, schema, owner)                                                                                \
    "--\n-- Name: " name "; Type: " type "; Schema: " schema "; Owner: " owner "\n--\n\n"
#define TAIL "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n"

static bool is_hypertable(const void *context, const char *schema, const char *name)
{
    (void)context;
    return strcmp(schema, "public") == 0 && (strcmp(name, "h") == 0 || strcmp(name, "H \"x") == 0);
}

static const struct schema_names names = {is_hypertable, NULL};

static void assert_sql(const char *text, const char *expected)
{
    struct schema_dump dump;

    schema_dump_parse(text, &names, &dump);
    assert_int_equal(dump.count, 1);
    assert_string_equal(dump.entries[0].sql, expected);
    schema_dump_reset(&dump);
}

static void test_entries(void **state)
{
    static const char text[] =
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET row_security = off;\n\n" HEAD(
            "s", "SCHEMA", "-",
            "app") "CREATE SCHEMA s;\n\n\nALTER SCHEMA s OWNER TO app;\n\nSET default_tablespace = '';\n\n"
                   "SET default_table_access_method = heap;\n\n" HEAD(
                       "a; Type: b", "TABLE", "s",
                       "The Owner") "CREATE TABLE s.\"a; Type: b\" (\n    t text DEFAULT ';\n--\n-- Name: x; "
                                    "Type: TABLE; Schema: y; Owner: "
                                    "z\n--\n'\n);\n\n\nALTER TABLE s.\"a; Type: b\" OWNER TO \"The "
                                    "Owner\";\n\n" HEAD("i", "INDEX", "s",
                                                        "app") "CREATE INDEX i ON s.a USING btree "
                                                               "(t);\n\n\n" HEAD("v", "VIEW", "s",
                                                                                 "app") "CREATE VIEW s.v AS\n "
                                                                                        "SELECT 1;\n\n\n" TAIL;
    struct schema_dump dump;

    (void)state;
    schema_dump_parse(text, &names, &dump);
    assert_int_equal(dump.count, 4);
    assert_string_equal(dump.entries[0].sql, "CREATE SCHEMA s;");
    assert_string_equal(dump.entries[0].owner_sql, "ALTER SCHEMA s OWNER TO app;");
    assert_string_equal(dump.entries[1].name, "a; Type: b");
    assert_string_equal(dump.entries[1].owner, "The Owner");
    assert_non_null(strstr(dump.entries[1].sql, "Owner: z\n--\n'\n);"));
    assert_false(dump.entries[1].after_rows);
    assert_true(dump.entries[2].after_rows);
    /* Whatever it is, it stands behind what needs the rows. */
    assert_true(dump.entries[3].after_rows);
    assert_string_equal(dump.entries[3].sql, "CREATE VIEW s.v AS\n SELECT 1;");
    for (size_t i = 0; i < dump.count; i++)
        assert_ptr_equal(schema_dump_find(&dump, &dump.entries[i]), &dump.entries[i]);
    schema_dump_reset(&dump);
}

/* A head inside of what is no statement is a text. */
static void test_literals(void **state)
{
    static const char *const bodies[] = {
        "AS $_$\n" HEAD("x", "TABLE", "y", "z") "$_$;",           "AS 'it''s\n" HEAD("x", "TABLE", "y", "z") "';",
        "AS E'a\\'\n" HEAD("x", "TABLE", "y", "z") "';",          "AS \"q\n" HEAD("x", "TABLE", "y", "z") "\";",
        "AS $1 $a$ $b$ ' \n" HEAD("x", "TABLE", "y", "z") "$a$;",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char text[1024];

        snprintf(text, sizeof text, HEAD("f()", "FUNCTION", "s", "o") "%s\n\n\n" TAIL, bodies[i]);
        assert_sql(text, bodies[i]);
    }
}

static void test_hypertables(void **state)
{
    (void)state;
    assert_sql(HEAD("h", "TABLE", "public", "o") "CREATE TABLE public.h (\n    t date\n)\nPARTITION BY RANGE (t);\n\n\n"
                                                 "ALTER TABLE public.h OWNER TO o;\n\n" TAIL,
               "CREATE TABLE public.h (\n    t date\n);");
    assert_sql(
        HEAD("h", "TABLE", "other", "o") "CREATE TABLE other.h (\n    t date\n)\nPARTITION BY RANGE (t);\n\n\n" TAIL,
        "CREATE TABLE other.h (\n    t date\n)\nPARTITION BY RANGE (t);");
    assert_sql(HEAD("h h_pkey", "CONSTRAINT", "public", "o") "ALTER TABLE ONLY public.h\n    ADD CONSTRAINT h_pkey"
                                                             " PRIMARY KEY (t);\n\n\n" TAIL,
               "ALTER TABLE public.h\n    ADD CONSTRAINT h_pkey PRIMARY KEY (t);");
    assert_sql(
        HEAD("H \"x a b", "DEFAULT", "public", "o") "ALTER TABLE ONLY public.\"H \"\"x\" ALTER COLUMN \"a b\" SET"
                                                    " DEFAULT 1;\n\n\n" TAIL,
        "ALTER TABLE public.\"H \"\"x\" ALTER COLUMN \"a b\" SET DEFAULT 1;");
    assert_sql(HEAD("i", "INDEX", "public", "o") "CREATE INDEX i ON ONLY public.h USING btree (t);\n\n\n" TAIL,
               "CREATE INDEX i ON public.h USING btree (t);");
    assert_sql(HEAD("i", "INDEX", "public", "o") "CREATE UNIQUE INDEX \"ON \" ON ONLY public.\"H \"\"x\" USING btree"
                                                 " (t);\n\n\n" TAIL,
               "CREATE UNIQUE INDEX \"ON \" ON public.\"H \"\"x\" USING btree (t);");
    assert_sql(HEAD("i", "INDEX", "public", "o") "CREATE INDEX i ON ONLY public.p USING btree (t);\n\n\n" TAIL,
               "CREATE INDEX i ON ONLY public.p USING btree (t);");
}

static void test_column_counts(void **state)
{
    (void)state;
    assert_sql(
        HEAD("p", "TABLE", "public", "o") "CREATE TABLE public.p (\n    t date\n);\nALTER TABLE ONLY public.p ALTER"
                                          " COLUMN t SET (pg_attver=12);\nALTER TABLE ONLY public.p ALTER COLUMN u"
                                          " SET (n_distinct=5, pg_attver=12);\nALTER TABLE ONLY public.p ALTER"
                                          " COLUMN v SET (pg_attver=12, n_distinct=5);\n\n\n" TAIL,
        "CREATE TABLE public.p (\n    t date\n);\nALTER TABLE ONLY public.p ALTER COLUMN u SET (n_distinct=5);\n"
        "ALTER TABLE ONLY public.p ALTER COLUMN v SET (n_distinct=5);");
}

static void test_foreign(void **state)
{
    struct schema_dump dump;

    (void)state;
    schema_dump_parse(
        HEAD("timescaledb", "EXTENSION", "-", "-") "CREATE EXTENSION timescaledb;\n\n\n" HEAD(
            "EXTENSION hstore", "COMMENT", "-",
            "") "COMMENT ON EXTENSION hstore IS 'x';\n\n\n" HEAD("h ts_insert_blocker", "TRIGGER", "public",
                                                                 "o") "CREATE TRIGGER ts_insert_blocker BEFORE INSERT "
                                                                      "ON public.h FOR EACH ROW EXECUTE FUNCTION"
                                                                      " _timescaledb_functions.insert_blocker();"
                                                                      "\n\n\n" HEAD(
                                                                          "+", "OPERATOR", "s",
                                                                          "o") "CREATE OPERATOR s.+ (LEFTARG = "
                                                                               "a);\n\n\n" HEAD("+", "OPERATOR", "s",
                                                                                                "o") "CREATE OPERATOR "
                                                                                                     "s.+ (LEFTARG = "
                                                                                                     "b);\n\n\n" TAIL,
        &names, &dump);
    assert_int_equal(dump.count, 2);
    assert_ptr_equal(schema_dump_find(&dump, &dump.entries[0]), &dump.entries[0]);
    assert_ptr_equal(schema_dump_find(&dump, &dump.entries[1]), &dump.entries[1]);
    schema_dump_reset(&dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),       cmocka_unit_test(test_literals), cmocka_unit_test(test_hypertables),
        cmocka_unit_test(test_column_counts), cmocka_unit_test(test_foreign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
