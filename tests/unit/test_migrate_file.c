/* The job file: what stands in it becomes the command lines of the steps; each refusal names file and line. */
#include "engine/cli/migrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log.h"

#define HEAD "[migration]\nsource = host=old dbname=app\ntarget = host=new dbname=ts\n"

static char path[] = "migrate-XXXXXX.ini";
static struct options options;
static struct migrate_job job;
static struct error error;
static char logged[1024];

static void keep_log(void *context, enum log_level level, const char *text)
{
    (void)context;
    (void)level;
    snprintf(logged, sizeof logged, "%s", text);
}

/* A file with this text, and a command line that names it and has more. */
static enum status make_with(const char *text, int argc, char **more)
{
    char *argv[16] = {(char[]){"hyperfill"}, (char[]){"migrate"}, (char[]){"--file"}, path};
    FILE *file = fopen(path, "w");
    enum status status;

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    for (int i = 0; i < argc; i++)
        argv[4 + i] = more[i];
    migrate_job_reset(&job);
    error_reset(&error);
    logged[0] = '\0';
    status = options_parse(4 + argc, argv, &options, &error);
    return status == STATUS_OK ? migrate_job_make(&options, &job, &error) : status;
}

static enum status make(const char *text)
{
    return make_with(text, 0, NULL);
}

#define assert_made(content)                                                                                           \
    do {                                                                                                               \
        if (make(content) != STATUS_OK)                                                                                \
            fail_msg("refused: %s", error.text);                                                                       \
    } while (0)

/* The message without the file's name. */
#define assert_refused(expected, content)                                                                              \
    do {                                                                                                               \
        assert_int_equal(make(content), STATUS_USAGE);                                                                 \
        assert_memory_equal(error.text, path, strlen(path));                                                           \
        assert_string_equal(error.text + strlen(path), expected);                                                      \
    } while (0)

static void test_values(void **state)
{
    (void)state;
    assert_made("; comment\n" HEAD
                "jobs = 3\nmemory: 64MB\n\n[table metrics]\nsource_table = app.m\nuntil = 2026-01-31 00:00+00\n"
                "[table b]\n[steps]\nschema = skip\nrefresh = do\n");
    assert_string_equal(job.source, "host=old dbname=app");
    assert_int_equal(job.table_count, 2);
    assert_string_equal(job.tables[0].name, "metrics");
    assert_string_equal(job.tables[1].name, "b");
    assert_int_equal(job.skipped, 1U << migrate_step_find("schema"));
    assert_string_equal(migrate_job_value(&job, "source-table", 0), "app.m");
    assert_null(migrate_job_value(&job, "source-table", 1));
    assert_string_equal(migrate_job_value(&job, "jobs", 1), "3");
    /* The file's name without .ini. */
    assert_int_equal(strlen(job.name), strlen(path) - 4);
}

static void call_free(struct migrate_call *call)
{
    migrate_call_reset(call);
}

/* The options of run are those that its own parser makes. */
static void test_call(void **state)
{
    struct migrate_call call = {0};

    (void)state;
    assert_made(
        HEAD
        "jobs = 3\norder = oldest\nheader = no\nnull =\nverbose = yes\n[table metrics]\njobs = 5\nmap = a=b\n c=d\n"
        "columns = x,\n\ty\n");
    migrate_call_add(&call, "until", "--odd");
    assert_int_equal(migrate_call_make(&call, &job, COMMAND_RUN, 0, &error), STATUS_OK);
    assert_int_equal(call.options.command, COMMAND_RUN);
    assert_string_equal(call.options.table, "metrics");
    assert_string_equal(call.options.source, "host=old dbname=app");
    assert_int_equal(call.options.jobs, 5);
    assert_int_equal(call.options.order, ORDER_OLDEST);
    assert_false(call.options.header);
    assert_true(call.options.header_given);
    assert_true(call.options.verbose);
    assert_string_equal(call.options.until, "--odd");
    assert_string_equal(call.options.columns, "x, y");
    assert_int_equal(call.options.map.count, 2);
    assert_string_equal(call.options.map.items[1], "c=d");
    call_free(&call);
    /* Of them clean takes few. */
    assert_int_equal(migrate_call_make(&call, &job, COMMAND_CLEAN, 0, &error), STATUS_OK);
    assert_string_equal(call.options.target, "host=new dbname=ts");
    call_free(&call);
}

/* What a table becomes a hypertable by is its time, unless another one is named. */
static void test_time_column(void **state)
{
    struct migrate_call call = {0};

    (void)state;
    assert_made(HEAD "hypertable = public.b=at,1 day\n[table a]\nhypertable = time, 1 day\n[table b]\n[table c]\n"
                     "hypertable = time,7 days\ntime_column = other\n[table d]\nsource_table = \"o=d\"\n"
                     "hypertable = \"o=d\"=\"a,\"\"b\",1 day\n[table e]\n[table f]\nhypertable = t\n");
    assert_string_equal(migrate_job_value(&job, "time-column", 0), "time");
    assert_string_equal(migrate_job_value(&job, "time-column", 1), "at");
    assert_string_equal(migrate_job_value(&job, "time-column", 2), "other");
    assert_string_equal(migrate_job_value(&job, "time-column", 3), "a,\"b");
    assert_null(migrate_job_value(&job, "time-column", 4));
    assert_string_equal(migrate_job_value(&job, "time-column", 5), "t");
    assert_int_equal(migrate_call_make(&call, &job, COMMAND_VERIFY, 0, &error), STATUS_OK);
    assert_string_equal(call.options.time_column, "time");
    call_free(&call);
    /* For all tables is more than what follows from one. */
    assert_made(HEAD "time_column = all\n[table a]\nhypertable = time\n");
    assert_string_equal(migrate_job_value(&job, "time-column", 0), "all");
}

static void test_command_line(void **state)
{
    struct migrate_call call = {0};
    char *more[] = {(char[]){"--jobs"}, (char[]){"7"},      (char[]){"--target=dbname=other"},
                    (char[]){"--skip"}, (char[]){"verify"}, (char[]){"--yes"}};

    (void)state;
    assert_int_equal(make_with(HEAD "jobs = 3\n[table m]\njobs = 5\n", 6, more), STATUS_OK);
    assert_string_equal(job.target, "dbname=other");
    assert_int_equal(job.skipped, 1U << migrate_step_find("verify"));
    assert_int_equal(migrate_call_make(&call, &job, COMMAND_RUN, 0, &error), STATUS_OK);
    assert_int_equal(call.options.jobs, 7);
    assert_string_equal(call.options.target, "dbname=other");
    /* That the plan is agreed to is no yes to whatever a step asks. */
    assert_false(call.options.yes);
    call_free(&call);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("MIGRATE_TEST_DSN", "host=secret", 1);
    assert_made("[migration]\nsource = env:MIGRATE_TEST_DSN\ntarget = service=new\n[table m]\n");
    assert_string_equal(job.source, "host=secret");
    assert_int_equal(make("[migration]\nsource = env:MIGRATE_TEST_NONE\ntarget = service=new\n[table m]\n"),
                     STATUS_USAGE);
    assert_string_equal(error.text, "source is env:MIGRATE_TEST_NONE, but the environment has no such variable");
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused(":4: unknown key time-colum; did you mean time-column?", HEAD "time_colum = t\n");
    assert_refused(
        ":4: unknown key frobnicate; keys are options of migrate, schema, completion-point, run, verify and refresh",
        HEAD "frobnicate = 1\n");
    assert_refused(":4: unknown section [tabel m]; did you mean [table NAME]?", HEAD "[tabel m]\n");
    assert_refused(":4: unknown section [frobnicate]; sections are [migration], [table NAME], [steps]",
                   HEAD "[frobnicate]\n");
    assert_refused(":5: unknown step schem; did you mean schema?", HEAD "[steps]\nschem = skip\n");
    assert_refused(":5: a step is skip or do, not \"no\"", HEAD "[steps]\nschema = no\n");
    assert_refused(":4: --jobs takes a number from 1 to 256, not \"many\"", HEAD "jobs = many\n");
    assert_refused(":4: defer-indexes is yes or no, not \"maybe\"", HEAD "defer-indexes = maybe\n");
    assert_refused(":5: jobs stands there twice", HEAD "jobs = 1\njobs = 2\n");
    assert_refused(":4: columns belongs into [table NAME]", HEAD "columns = a,b\n");
    assert_refused(":5: target belongs into [migration]", HEAD "[table m]\ntarget = x\n");
    assert_refused(":4: yes is for the command line", HEAD "yes = yes\n");
    assert_refused(":1: jobs stands before the first section; begin with [migration]", "jobs = 1\n");
    assert_refused(":5: table m has a section in line 4 already", HEAD "[table m]\n[table m]\n");
    assert_refused(":4: [table NAME] needs the table's name", HEAD "[table ]\n");
    assert_refused(":4: the section's heading has no ]", HEAD "[table m\n");
    assert_refused(":4: a section begins in the first column", HEAD " [table m]\n");
    assert_refused(":4: this is neither a [section] nor KEY = VALUE", HEAD "jobs\n");
    assert_refused(":4: jobs has no value: jobs = N", HEAD "jobs =\n");
    assert_refused(":5: this line is indented, but the value before it cannot go on", HEAD "jobs = 1\n 2\n");
}

/* What libinih would cut off without a word. */
static void test_long_lines(void **state)
{
    char text[1024], value[512];

    (void)state;
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    snprintf(text, sizeof text, HEAD "[table m]\nuntil = %s\n", value);
    assert_refused(":5: a line may have 198 characters; a value goes on in the next line where that is indented", text);
    snprintf(text, sizeof text, HEAD "[table %.60s]\n", value);
    assert_refused(
        ":4: a heading may have 49 characters; give the section another name, and the table's in it: table = NAME",
        text);
    /* The longest line that fits, and the way round for the heading. */
    for (int size = 150; size < 198; size++) {
        snprintf(text, sizeof text, HEAD "[table 1]\ntable = long\nuntil = %.*s\n", size - 8, value);
        assert_made(text);
        assert_string_equal(job.tables[0].name, "long");
        assert_int_equal(strlen(migrate_job_value(&job, "until", 0)), size - 8);
    }
}

static void test_missing(void **state)
{
    (void)state;
    assert_int_equal(make("[migration]\ntarget = x\n[table m]\n"), STATUS_USAGE);
    assert_string_equal(error.text, "migrate needs the source: source = CONNINFO in [migration], or --source");
    assert_int_equal(make(HEAD), STATUS_USAGE);
    assert_string_equal(error.text,
                        "migrate needs the time-series tables: a section [table NAME] for each in the file, or "
                        "--table NAME");
}

static void test_passwords(void **state)
{
    (void)state;
    log_sink_set(keep_log, NULL);
    chmod(path, 0644);
    assert_made("[migration]\nsource = postgres://u:geheim@old/app\ntarget = x=y\n[table m]\n");
    assert_non_null(strstr(logged, ":2: there is a password in a file that others may read"));
    assert_null(strstr(logged, "geheim"));
    chmod(path, 0600);
    assert_made("[migration]\nsource = postgres://u:geheim@old/app\ntarget = x=y\n[table m]\n");
    assert_string_equal(logged, "");
    log_sink_set(NULL, NULL);
}

static int begin(void **state)
{
    int file = mkstemps(path, 4);

    (void)state;
    return file < 0 ? -1 : close(file);
}

static int end(void **state)
{
    (void)state;
    migrate_job_reset(&job);
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),       cmocka_unit_test(test_call),        cmocka_unit_test(test_time_column),
        cmocka_unit_test(test_command_line), cmocka_unit_test(test_environment), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_lines),   cmocka_unit_test(test_missing),     cmocka_unit_test(test_passwords),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
