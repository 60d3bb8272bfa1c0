/* The command line: every option, every refusal, and what the refusals must not say. */
#include "engine/cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/cli/commands.h"

#define ARGUMENTS_MAX 32
#define JOB "--source", "old.csv", "--target", "dbname=ts", "--table", "cpu"

static struct options options;
static struct error error;

static enum status parse(const char *const arguments[])
{
    char *argv[ARGUMENTS_MAX] = {(char[]){"hyperfill"}};
    int argc = 1;

    for (; arguments[argc - 1] != NULL; argc++) {
        assert_true(argc < ARGUMENTS_MAX - 1);
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    }
    error_reset(&error);
    return options_parse(argc, argv, &options, &error);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

#define assert_fine(...)                                                                                               \
    do {                                                                                                               \
        if (PARSE(__VA_ARGS__) != STATUS_OK)                                                                           \
            fail_msg("refused: %s", error.text);                                                                       \
    } while (0)

#define assert_refused(expected, ...)                                                                                  \
    do {                                                                                                               \
        assert_int_equal(PARSE(__VA_ARGS__), STATUS_USAGE);                                                            \
        assert_string_equal(error.text, expected);                                                                     \
    } while (0)

static void test_create_partitions(void **state)
{
    (void)state;
    assert_fine("run", JOB);
    assert_false(options.create_partitions);
    assert_fine("plan", JOB, "--create-partitions");
    assert_true(options.create_partitions);
    assert_refused("--create-partitions is no option of clean; it belongs to plan, run", "clean", "--target",
                   "dbname=ts", "--table", "cpu", "--create-partitions");
}

static void test_several_tables(void **state)
{
    (void)state;
    assert_fine("run", JOB);
    assert_false(options_several(&options));
    assert_string_equal(options.table, "cpu");
    assert_fine("run", JOB, "--table", "\"a=b\"", "--until", "2024-01-01", "--until=cpu=5", "--from", "cpu=1");
    assert_true(options_several(&options));
    assert_int_equal(options.tables.count, 2);
    assert_string_equal(options.table, "cpu");
    assert_int_equal(options.untils.count, 2);
    assert_string_equal(options.untils.items[1], "cpu=5");
    assert_null(options_table_sign(options.tables.items[1]));
    assert_string_equal(options_table_sign("\"a=b\"=c"), "=c");
    assert_fine("plan", "--source=dbname=a", "--target=dbname=b", "--filter", "^m");
    assert_true(options_several(&options));
    assert_null(options.table);
    assert_fine("run", "--source=dbname=a", "--target=dbname=b", "--table", "a=b");
    assert_true(options_several(&options));
    assert_refused("--table is given twice", "replay", JOB, "--table", "mem");
    assert_refused("--table is given twice", "clean", "--target=b", "--table=a", "--table=b");
    assert_refused("--until is given twice", "replay", JOB, "--until=1", "--until=2");
    assert_refused("--source-table is for a job of one table; of several, write --table SOURCE=TARGET", "run", JOB,
                   "--table=mem", "--source-table=x");
    assert_refused("--columns is for a job of one table", "plan", JOB, "--table=mem", "--columns=x");
    assert_refused("run needs --table; see hyperfill help run", "run", "--source=a", "--target=b");
    assert_refused("--filter is no option of status; it belongs to plan, run", "status", "--filter=x");
}

static void test_cascade(void **state)
{
    (void)state;
    assert_fine("run", JOB);
    assert_false(options.cascade);
    assert_fine("run", JOB, "--cascade");
    assert_true(options.cascade);
    assert_true(options_several(&options));
    assert_false(options_name_several(&options));
    assert_fine("plan", JOB, "--cascade", "--source-table", "x", "--columns=a,b", "--reject-file", "r");
    assert_string_equal(options.source_table, "x");
    assert_fine("run", JOB, "--table", "mem", "--cascade");
    assert_true(options_name_several(&options));
    assert_refused("--columns is for a job of one table", "run", JOB, "--table=mem", "--cascade", "--columns=x");
    assert_fine("verify", JOB, "--cascade");
    assert_fine("clean", "--target", "b", "--table", "a", "--cascade");
    assert_fine("migrate", "--file", "app.ini", "--cascade");
    assert_refused("--cascade is given twice", "run", JOB, "--cascade", "--cascade");
    assert_refused("--cascade is no option of refresh; it belongs to plan, run, clean, verify", "refresh", "--cascade");
}

static void test_defaults(void **state)
{
    (void)state;
    assert_fine("run", JOB);
    assert_int_equal(options.command, COMMAND_RUN);
    assert_string_equal(options.source, "old.csv");
    assert_string_equal(options.target, "dbname=ts");
    assert_string_equal(options.table, "cpu");
    assert_string_equal(options.ledger_schema, "hyperfill");
    assert_null(options.checkpoint);
    assert_null(options.until);
    assert_in_range(options.jobs, 2, 256);
    assert_int_equal(options.readers, 0);
    assert_int_equal(options.memory_bytes, 256 << 20);
    assert_int_equal(options.retry_seconds, 300);
    assert_int_equal(options.order, ORDER_NEWEST);
    assert_int_equal(options.overlap, OVERLAP_ERROR);
    assert_int_equal(options.on_bad_row, BAD_ROW_STOP);
    assert_int_equal(options.max_rejects, 1000);
    assert_null(options.reject_file);
    assert_int_equal(options.on_conflict, ON_CONFLICT_ERROR);
    assert_int_equal(options.progress, PROGRESS_AUTO);
    assert_true(options.header);
    assert_false(options.header_given);
    assert_false(options.dialect_given);
    assert_int_equal(options.delimiter, ',');
    assert_int_equal(options.quote, '"');
    assert_int_equal(options.escape, '"');
    assert_string_equal(options.null_text, "");
}

static void test_rejects(void **state)
{
    static const char *const wrong[] = {"x", "-1", "1k", "101%", "%", "1%%", "1.5", "99999999999999999999", "1.2.3%"};

    (void)state;
    assert_fine("run", JOB, "--on-bad-row", "reject", "--max-rejects", "0", "--reject-file", "bad.csv");
    assert_int_equal(options.on_bad_row, BAD_ROW_REJECT);
    assert_int_equal(options.max_rejects, 0);
    assert_string_equal(options.reject_file, "bad.csv");
    assert_fine("replay", JOB, "--max-rejects", "0.5%");
    assert_int_equal(options.command, COMMAND_REPLAY);
    assert_int_equal(options.max_rejects, -1);
    assert_true(options.max_rejects_percent > 0.499 && options.max_rejects_percent < 0.501);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(PARSE("run", JOB, "--max-rejects", wrong[i]), STATUS_USAGE);
        assert_non_null(strstr(error.text, "--max-rejects takes a number of rows, or a share"));
    }
}

static void test_job_values(void **state)
{
    (void)state;
    assert_fine("plan", "--source=-", "--target=postgres://u@h/d?a=b", "--table=s.t", "--from", "-5", "--until=10",
                "--source-table", "old", "--columns", "a,b", "--time-column", "ts", "--checkpoint", "f", "--yes");
    assert_int_equal(options.command, COMMAND_PLAN);
    assert_string_equal(options.source, "-");
    assert_string_equal(options.target, "postgres://u@h/d?a=b");
    assert_string_equal(options.from, "-5");
    assert_string_equal(options.until, "10");
    assert_string_equal(options.source_table, "old");
    assert_string_equal(options.columns, "a,b");
    assert_string_equal(options.time_column, "ts");
    assert_string_equal(options.checkpoint, "f");
    assert_true(options.yes);
    assert_fine("run", "--source", "-", "--target", "x", "--table", "t");
    assert_string_equal(options.source, "-");
}

static void test_other_values(void **state)
{
    (void)state;
    assert_fine("run", JOB, "--jobs", "256", "--readers=1", "--memory", "16MB", "--retry-seconds", "0", "--order",
                "oldest", "--overlap=replace", "--progress", "json", "--range-interval", "6h", "--timezone", "+01:00");
    assert_int_equal(options.jobs, 256);
    assert_int_equal(options.readers, 1);
    assert_int_equal(options.memory_bytes, 16 << 20);
    assert_int_equal(options.retry_seconds, 0);
    assert_int_equal(options.order, ORDER_OLDEST);
    assert_int_equal(options.overlap, OVERLAP_REPLACE);
    assert_int_equal(options.progress, PROGRESS_JSON);
    assert_string_equal(options.range_interval, "6h");
    assert_string_equal(options.timezone, "+01:00");
    assert_fine("run", JOB, "--ledger-schema", "ops", "--verbose", "--overlap", "keep", "--progress", "none");
    assert_string_equal(options.ledger_schema, "ops");
    assert_true(options.verbose);
    assert_int_equal(options.overlap, OVERLAP_KEEP);
    assert_int_equal(options.progress, PROGRESS_NONE);
    /* Skip means keep, unless something else is said. */
    assert_fine("run", JOB, "--on-conflict", "skip");
    assert_int_equal(options.on_conflict, ON_CONFLICT_SKIP);
    assert_int_equal(options.overlap, OVERLAP_KEEP);
    assert_fine("run", JOB, "--on-conflict", "skip", "--overlap", "error");
    assert_int_equal(options.overlap, OVERLAP_ERROR);
    assert_fine("plan", JOB, "--overlap", "replace", "--on-conflict=skip");
    assert_int_equal(options.overlap, OVERLAP_REPLACE);
    assert_fine("run", JOB, "--strategy", "compress");
    assert_int_equal(options.strategy, STRATEGY_COMPRESS);
    assert_false(options.compress_after);
    assert_fine("run", JOB, "--compress-after", "--strategy", "build");
    assert_true(options.compress_after);
    assert_refused("--compress-after does not go with --strategy append", "run", JOB, "--compress-after", "--strategy",
                   "append");
}

static void test_wire(void **state)
{
    (void)state;
    assert_fine("run", JOB);
    assert_int_equal(options.wire, WIRE_AUTO);
    assert_fine("plan", JOB, "--wire", "csv");
    assert_int_equal(options.wire, WIRE_CSV);
    assert_fine("run", JOB, "--wire=binary");
    assert_int_equal(options.wire, WIRE_BINARY);
    assert_refused("--wire is one of auto, csv, binary; not \"text\"", "run", JOB, "--wire", "text");
}

static void test_spill(void **state)
{
    (void)state;
    assert_fine("run", JOB);
    assert_null(options.spill_dir);
    assert_int_equal(options.spill_max, 0);
    assert_fine("plan", JOB, "--spill-dir", "/var/tmp", "--spill-max=10GB");
    assert_string_equal(options.spill_dir, "/var/tmp");
    assert_int_equal(options.spill_max, INT64_C(10) << 30);
    assert_refused("--spill-max needs --spill-dir", "run", JOB, "--spill-max", "1GB");
    assert_refused("--spill-max takes a size from 1.0 MB to 16 TB, not \"0\"", "run", JOB, "--spill-dir=x",
                   "--spill-max=0");
}

static void test_dialect(void **state)
{
    (void)state;
    assert_fine("run", JOB, "--no-header", "--delimiter", "\\t", "--quote", "'", "--null=NULL");
    assert_false(options.header);
    assert_true(options.header_given);
    assert_true(options.dialect_given);
    assert_int_equal(options.delimiter, '\t');
    assert_int_equal(options.quote, '\'');
    assert_int_equal(options.escape, '\'');
    assert_string_equal(options.null_text, "NULL");
    assert_fine("run", JOB, "--delimiter=\t", "--escape", "\\", "--header", "--null=");
    assert_int_equal(options.delimiter, '\t');
    assert_int_equal(options.escape, '\\');
    assert_true(options.header);
    assert_true(options.header_given);
    assert_fine("run", JOB, "--null", "");
    assert_true(options.dialect_given);
}

static void test_columns_and_dialect(void **state)
{
    (void)state;
    assert_fine("run", JOB, "--map", "a=b", "--set=site=berlin", "--map", "c=d", "--set", "x=");
    assert_int_equal(options.map.count, 2);
    assert_string_equal(options.map.items[0], "a=b");
    assert_string_equal(options.map.items[1], "c=d");
    assert_int_equal(options.set.count, 2);
    assert_string_equal(options.set.items[0], "site=berlin");
    assert_string_equal(options.set.items[1], "x=");
    assert_true(options.dialect_given);
    assert_fine("run", JOB, "--delimiter", "\\x1f", "--quote", "\\xFE", "--comment", "#", "--skip-lines", "3",
                "--trim");
    assert_int_equal(options.delimiter, '\x1f');
    assert_int_equal(options.quote, (char)0xfe);
    assert_int_equal(options.escape, (char)0xfe);
    assert_int_equal(options.comment, '#');
    assert_int_equal(options.skip_lines, 3);
    assert_true(options.trim);
    assert_fine("plan", JOB, "--dialect", "sniff", "--delimiter", ";", "--time-format", "epoch-ms");
    assert_int_equal(options.dialect, DIALECT_SNIFF);
    assert_true(options.delimiter_given && !options.quote_given && !options.null_given);
    assert_string_equal(options.time_format, "epoch-ms");
    assert_refused("--delimiter cannot be a zero byte", "run", JOB, "--delimiter", "\\x00");
    assert_refused("--comment cannot be the delimiter or the quote character", "run", JOB, "--comment", ",");
    assert_refused("--skip-lines takes a number from 0 to 1000000, not \"-1\"", "run", JOB, "--skip-lines", "-1");
    assert_int_equal(options.verify_input, VERIFY_INPUT_BEFORE);
    assert_fine("run", JOB, "--verify-input=after");
    assert_int_equal(options.verify_input, VERIFY_INPUT_AFTER);
}

static void test_verify(void **state)
{
    (void)state;
    assert_fine("verify", JOB, "--until", "2024-01-01", "--jobs", "3", "--delimiter", ";");
    assert_true(!options.repair && !options.afresh && !options.json && options.examples == 10);
    assert_fine("verify", JOB, "--repair", "--afresh", "--json", "--examples", "0", "--aside");
    assert_true(options.aside && options.repair && options.afresh && options.json && options.examples == 0);
    assert_refused("--repair is no option of run; it belongs to verify", "run", JOB, "--repair");
    assert_refused("--overlap is no option of verify; it belongs to plan, run, replay, bench", "verify", JOB,
                   "--overlap", "keep");
    assert_refused("verify needs --target and --table; see hyperfill help verify", "verify", "--source", "x.csv");
}

static void test_dialect_refused(void **state)
{
    (void)state;
    assert_refused("--delimiter and --quote must be different characters", "run", JOB, "--delimiter", "\"");
    assert_refused("--delimiter cannot be a newline or a carriage return", "run", JOB, "--delimiter", "\n");
    assert_refused("--quote cannot be a newline or a carriage return", "run", JOB, "--quote", "\r");
    assert_refused("--delimiter takes one ASCII character, \\t for a tab, or any byte as \\x1f, not \"||\"", "run", JOB,
                   "--delimiter", "||");
    assert_refused("--quote takes one ASCII character, \\t for a tab, or any byte as \\x1f, not \"\u00ab\"", "run", JOB,
                   "--quote", "\u00ab");
    assert_refused("--quote takes one ASCII character, \\t for a tab, or any byte as \\x1f, not \"\xff\"", "run", JOB,
                   "--quote", "\xff");
    assert_refused("--escape needs a value: --escape C", "run", JOB, "--escape=");
    assert_refused("--null cannot hold a newline or a carriage return", "run", JOB, "--null", "a\nb");
    assert_refused("--null cannot hold the delimiter", "run", JOB, "--null", "a,b");
    assert_refused("--null cannot hold the quote character", "run", JOB, "--null", "\"\"");
    assert_refused("--header and --no-header contradict each other", "run", JOB, "--header", "--no-header");
}

static void test_values_refused(void **state)
{
    (void)state;
    assert_refused("--jobs takes a number from 1 to 256, not \"0\"", "run", JOB, "--jobs", "0");
    assert_refused("--jobs takes a number from 1 to 256, not \"257\"", "run", JOB, "--jobs", "257");
    assert_refused("--jobs takes a number from 1 to 256, not \"4x\"", "run", JOB, "--jobs=4x");
    assert_refused("--readers takes a number from 1 to 256, not \"99999999999999999999\"", "run", JOB, "--readers",
                   "99999999999999999999");
    assert_refused("--retry-seconds takes a number from 0 to 604800, not \"-1\"", "run", JOB, "--retry-seconds", "-1");
    assert_refused("--memory takes a size from 16 MB to 16 TB, not \"16383K\"", "run", JOB, "--memory", "16383K");
    assert_refused("--memory takes a size such as 256MB or 1GB, not \"much\"", "run", JOB, "--memory", "much");
    assert_refused("--order is one of newest, oldest; not \"up\"", "run", JOB, "--order", "up");
    assert_refused("--progress is one of auto, bar, plain, json, none; not \"\u00e9\"", "run", JOB, "--progress",
                   "\u00e9");
    assert_refused("--until needs a value: --until TIME", "run", JOB, "--until");
    assert_refused("--until needs a value: --until TIME", "run", JOB, "--until", "--yes");
    assert_refused("--until needs a value: --until TIME", "run", JOB, "--until=");
    assert_refused("--yes takes no value", "run", JOB, "--yes=1");
    assert_refused("--table is given twice", "run", JOB, "--table=cpu");
}

static void test_names_refused(void **state)
{
    (void)state;
    assert_refused("unknown option --tabel; did you mean --table?", "run", "--tabel", "x");
    assert_refused("unknown option --untl; did you mean --until?", "run", "--untl=2024");
    assert_refused("unknown option --frobnicate; see hyperfill help run", "run", "--frobnicate");
    assert_refused("unknown option --; see hyperfill help run", "run", "--");
    assert_refused("unknown command rum; did you mean run?", "rum");
    assert_refused("unknown command statsu; did you mean status?", "help", "statsu");
    assert_refused("unknown command frobnicate; commands are plan, run, status, clean, replay, bench, schema, "
                   "completion-point, policies, verify, refresh, migrate, help",
                   "frobnicate");
    assert_refused("--bench-jobs is no option of run; it belongs to bench", "run", JOB, "--bench-jobs", "2");
    assert_refused("--jobs is no option of status; it belongs to plan, run, replay, bench, verify", "status", "--jobs",
                   "2");
    assert_refused("--jobs comes before the command; write hyperfill COMMAND --jobs, such as hyperfill run", "--jobs",
                   "2", "run");
    assert_refused("argument 2 is no option; did you mean --help?", "run", "-h");
    assert_refused("argument 1 is no option; did you mean --verbose or --version?", "-v");
    assert_refused("argument 2 is no option; options are written out, as in --table NAME", "run", "-j4");
    assert_refused("argument 3, after --yes, is no option; values follow their option, as in --table NAME", "run",
                   "--yes", "cpu");
}

static void test_required(void **state)
{
    (void)state;
    assert_refused("run needs --source and --target and --table; see hyperfill help run", "run");
    assert_refused("plan needs --target; see hyperfill help plan", "plan", "--source=-", "--table=t");
    assert_refused("clean needs --table; see hyperfill help clean", "clean", "--target=d");
    assert_refused("status needs --checkpoint FILE, or --table NAME for a file of the default name", "status");
    assert_fine("status", "--table", "t", "--json");
    assert_true(options.json);
    assert_fine("status", "--checkpoint", "f");
    assert_fine("clean", "--target=d", "--table=t", "--ledger-schema=x", "--yes");
    assert_int_equal(options.command, COMMAND_CLEAN);
}

static void test_schema(void **state)
{
    (void)state;
    assert_refused("schema needs --source and --target; see hyperfill help schema", "schema");
    assert_fine("schema", "--source=s", "--target=d");
    assert_false(options.roles || options.dry_run || options.schema_only);
    assert_string_equal(options.ledger_schema, "hyperfill");
    assert_fine("schema", "--source=s", "--target=d", "--hypertable=a=t", "--hypertable", "b=t,1 day", "--roles",
                "--dry-run", "--schema-only", "--pg-bin", "/x");
    assert_int_equal(options.hypertables.count, 2);
    assert_string_equal(options.hypertables.items[1], "b=t,1 day");
    assert_true(options.roles && options.dry_run && options.schema_only);
    assert_string_equal(options.pg_bin, "/x");
    assert_false(options.sequences);
    assert_fine("schema", "--source=s", "--target=d", "--sequences");
    assert_true(options.sequences);
}

static void test_help_and_version(void **state)
{
    (void)state;
    assert_int_equal(parse((const char *const[]){NULL}), STATUS_OK);
    assert_int_equal(options.command, COMMAND_HELP);
    assert_int_equal(options.help_about, COMMAND_NONE);
    assert_fine("help", "run");
    assert_int_equal(options.command, COMMAND_HELP);
    assert_int_equal(options.help_about, COMMAND_RUN);
    assert_fine("run", "--help");
    assert_int_equal(options.command, COMMAND_HELP);
    assert_int_equal(options.help_about, COMMAND_RUN);
    assert_fine("--help");
    assert_int_equal(options.command, COMMAND_HELP);
    assert_int_equal(options.help_about, COMMAND_NONE);
    assert_fine("help", "clean", "--help");
    assert_int_equal(options.help_about, COMMAND_CLEAN);
    assert_fine("help", "version");
    assert_int_equal(options.help_about, COMMAND_NONE);
    assert_fine("--version");
    assert_int_equal(options.command, COMMAND_VERSION);
    assert_fine("run", "--version");
    assert_int_equal(options.command, COMMAND_VERSION);
    assert_fine("--verbose", "status", "--table", "t");
    assert_true(options.verbose);
    assert_int_equal(options.command, COMMAND_STATUS);
}

static void assert_bench_jobs(const int *jobs, int count)
{
    assert_int_equal(options.bench_jobs.count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(options.bench_jobs.items[i], jobs[i]);
}

/* bench takes the options of run, and those that only it has. */
static void test_bench(void **state)
{
#define BENCH_OF "bench", "--source", "a", "--target", "host=b", "--table", "t"
    static const char *const refused[] = {
        "", "0", "2,1", "1,1", "1,", ",1", "1;2", "257", "a", "1,2,-3", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    (void)state;
    assert_fine(BENCH_OF, "--until", "2024-01-01", "--yes", "--memory", "64MB");
    assert_int_equal(options.command, COMMAND_BENCH);
    assert_int_equal(options.bench_jobs.items[0], 1);
    assert_int_equal(options.bench_jobs.items[options.bench_jobs.count - 1], processors < 2 ? 2 : processors);
    assert_int_equal(options.limit_rows, 10000000);
    assert_int_equal(options.limit_time, 0);
    assert_null(options.output_dir);
    assert_fine(BENCH_OF, "--jobs", "1");
    assert_bench_jobs((const int[]){1}, 1);
    assert_fine(BENCH_OF, "--jobs", "6");
    assert_bench_jobs((const int[]){1, 2, 4, 6}, 4);
    assert_fine(BENCH_OF, "--jobs", "256");
    assert_int_equal(options.bench_jobs.count, 9);
    assert_fine(BENCH_OF, "--bench-jobs", "2,3,256", "--limit-time", "5", "--limit-rows=1000", "--output-dir", "d");
    assert_bench_jobs((const int[]){2, 3, 256}, 3);
    assert_int_equal(options.limit_time, 5);
    assert_int_equal(options.limit_rows, 1000);
    assert_string_equal(options.output_dir, "d");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(PARSE(BENCH_OF, "--bench-jobs", refused[i]), STATUS_USAGE);
    assert_int_equal(PARSE(BENCH_OF, "--bench-jobs", "1,2", "--jobs", "2"), STATUS_USAGE);
    assert_int_equal(PARSE("bench", "--source", "a"), STATUS_USAGE);
    assert_int_equal(PARSE("run", "--source", "a", "--target", "b", "--table", "t", "--limit-rows", "1000"),
                     STATUS_USAGE);
}

/* Wherever a connection string lands, the error does not repeat it. */
static void test_secrets(void **state)
{
    static const char secret[] = "postgres://u:secret@h/d";

    (void)state;
    assert_int_equal(PARSE(secret), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", secret), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", "--source", secret, "password=secret"), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", "--source=postgres://u:secret@h", "x"), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", "--sorce=postgres://u:secret@h"), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", "--source", secret, "--source", secret), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", "--source", secret), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("run", "--postgres://u:secret@h/d"), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(PARSE("help", secret), STATUS_USAGE);
    assert_null(strstr(error.text, "secret"));
}

/* Prints a page into `text` in place of standard output. */
static void help_capture(enum command about, char *text, size_t size)
{
    FILE *file = tmpfile();
    int output = dup(STDOUT_FILENO);
    size_t count;

    assert_non_null(file);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    options_help(about);
    fflush(stdout);
    dup2(output, STDOUT_FILENO);
    close(output);
    rewind(file);
    count = fread(text, 1, size - 1, file);
    text[count] = '\0';
    fclose(file);
}

/* It takes what its steps take, and keeps it in order. */
static void test_migrate(void **state)
{
    (void)state;
    assert_fine("migrate", "--file", "app.ini", "--time-column", "t", "--overlap=keep", "--skip", "schema", "--skip",
                "clean", "--continue");
    assert_string_equal(options.job_file, "app.ini");
    assert_int_equal(options.skip.count, 2);
    assert_true(options.go_on);
    assert_null(options.action);
    assert_int_equal(options.given_count, 6);
    assert_string_equal(option_table[options.given[1].index].name, "time-column");
    assert_string_equal(options.given[2].value, "keep");
    assert_null(options.given[5].value);
    assert_fine("migrate", "status", "--file", "app.ini", "--json", "--target-free", "2GB");
    assert_string_equal(options.action, "status");
    assert_int_equal(options.target_free, INT64_C(2) << 30);
    assert_refused("unknown option --fil; did you mean --file?", "migrate", "--fil", "x");
    assert_refused("--max-rejects takes a number of rows, or a share of them such as 0.5%, not \"x\"", "migrate",
                   "--max-rejects", "x");
    assert_refused("--bench-jobs is no option of migrate; it belongs to bench", "migrate", "--bench-jobs", "2");
}

/* Every option of a command is on its page, and no line is wider than a terminal. */
static void test_help_pages(void **state)
{
    static char text[32768];

    (void)state;
    for (int about = COMMAND_NONE; about <= COMMAND_LAST; about++) {
        help_capture((enum command)about, text, sizeof text);
        for (size_t index = 0; index < option_count && about != COMMAND_NONE; index++) {
            char entry[64];
            const char *at;
            bool named;

            snprintf(entry, sizeof entry, "\n  --%s", option_table[index].name);
            at = strstr(text, entry);
            while (at != NULL && strchr(" \n", at[strlen(entry)]) == NULL)
                at = strstr(at + 1, entry);
            named = (option_table[index].commands & OPTION_COMMAND(about)) != 0;
            if ((at != NULL) != named)
                fail_msg("help %s: --%s", command_name((enum command)about), option_table[index].name);
        }
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
            if (strlen(line) > 80 || line[strlen(line) - 1] == ' ')
                fail_msg("help %s: \"%s\"", command_name((enum command)about), line);
    }
}

static void test_completion_point(void **state)
{
    (void)state;
    assert_fine("completion-point", JOB);
    assert_null(options.window);
    assert_null(options.bucket);
    assert_int_equal(options.watch_seconds, 5);
    assert_fine("completion-point", JOB, "--window", "2h", "--bucket=10s", "--watch", "60", "--json", "--columns",
                "a,b", "--time-column", "t", "--source-table", "s");
    assert_string_equal(options.window, "2h");
    assert_string_equal(options.bucket, "10s");
    assert_int_equal(options.watch_seconds, 60);
    assert_refused("--watch takes a number from 1 to 86400, not \"0\"", "completion-point", JOB, "--watch", "0");
    assert_refused("--window is no option of run; it belongs to completion-point", "run", JOB, "--window", "1h");
    assert_refused("completion-point needs --source and --target and --table; see hyperfill help completion-point",
                   "completion-point");
}

static void test_throttle(void **state)
{
    static const char *const wrong[] = {"0",        "0rows", "x",       "-5MB",  "5 MB rows",
                                        "20k rows", "rows",  "1e3rows", "1.5MB", "99999999TB"};

    (void)state;
    assert_fine("run", JOB);
    assert_int_equal(options.max_rate, 0);
    assert_fine("run", JOB, "--max-rate", "20MB");
    assert_int_equal(options.max_rate, 20 << 20);
    assert_false(options.max_rate_rows);
    assert_fine("run", JOB, "--max-rate", "64KB/s");
    assert_int_equal(options.max_rate, 65536);
    assert_fine("run", JOB, "--max-rate", "50000rows");
    assert_int_equal(options.max_rate, 50000);
    assert_true(options.max_rate_rows);
    assert_fine("run", JOB, "--max-rate=500 rows/s");
    assert_true(options.max_rate_rows && options.max_rate == 500);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(PARSE("run", JOB, "--max-rate", wrong[i]), STATUS_USAGE);
    assert_fine("run", JOB, "--max-source-lag", "30s", "--max-wal", "2GB", "--max-target-size=1TB", "--min-disk-free",
                "7.5%");
    assert_true(options.source_lag_ms == 30000 && options.source_lag_bytes == 0 && options.max_wal == INT64_C(2) << 30);
    assert_true(options.max_target_size == INT64_C(1) << 40 && options.disk_free_percent == 7.5 &&
                options.disk_free_bytes == 0);
    assert_fine("run", JOB, "--max-source-lag", "5m", "--min-disk-free", "50GB");
    assert_true(options.source_lag_ms == 300000 && options.disk_free_bytes == INT64_C(50) << 30);
    assert_fine("run", JOB, "--max-source-lag", "5M");
    assert_true(options.source_lag_ms == 0 && options.source_lag_bytes == 5 << 20);
    assert_refused("--max-source-lag takes a time such as 30s or a size such as 200MB, not \"30\"", "run", JOB,
                   "--max-source-lag", "30");
    assert_refused("--min-disk-free takes a size such as 50GB or a share such as 10%, not \"101%\"", "run", JOB,
                   "--min-disk-free", "101%");
    assert_refused("--max-rate is no option of bench; it belongs to run, replay, verify", "bench", JOB, "--max-rate",
                   "1MB");
}

static void test_policies_and_refresh(void **state)
{
    (void)state;
    assert_int_equal(PARSE("run", JOB), STATUS_OK);
    assert_int_equal(options.policies, POLICIES_PAUSE);
    assert_false(options.allow_drop);
    assert_int_equal(PARSE("run", JOB, "--policies", "leave", "--allow-drop"), STATUS_OK);
    assert_int_equal(options.policies, POLICIES_LEAVE);
    assert_true(options.allow_drop);
    assert_refused("--policies is one of pause, leave; not \"stop\"", "run", JOB, "--policies", "stop");
    assert_int_equal(PARSE("policies", "show", "--target", "dbname=x", "--table", "t", "--json"), STATUS_OK);
    assert_string_equal(options.action, "show");
    assert_int_equal(PARSE("policies", "restore", "--target", "dbname=x", "--table", "t", "--allow-drop"), STATUS_OK);
    assert_int_not_equal(PARSE("policies", "--target", "dbname=x", "--table", "t"), STATUS_OK);
    assert_int_not_equal(PARSE("policies", "pause", "--table", "t"), STATUS_OK);
    assert_int_equal(PARSE("refresh", "--target", "dbname=x", "--table", "t", "--from", "1", "--until", "2"),
                     STATUS_OK);
    assert_string_equal(options.until, "2");
    assert_int_not_equal(PARSE("refresh", "--target", "dbname=x"), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rejects),
        cmocka_unit_test(test_job_values),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_create_partitions),
        cmocka_unit_test(test_several_tables),
        cmocka_unit_test(test_cascade),
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_dialect),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_dialect_refused),
        cmocka_unit_test(test_columns_and_dialect),
        cmocka_unit_test(test_values_refused),
        cmocka_unit_test(test_names_refused),
        cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_help_pages),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_completion_point),
        cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_policies_and_refresh),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
