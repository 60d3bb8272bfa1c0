/* The table of options. */
#include "engine/cli/commands.h"

#include <stdio.h>
#include <string.h>

#define MEBIBYTE (INT64_C(1) << 20)

#define PLAN OPTION_COMMAND(COMMAND_PLAN)
#define RUN OPTION_COMMAND(COMMAND_RUN)
#define STATUS OPTION_COMMAND(COMMAND_STATUS)
#define CLEAN OPTION_COMMAND(COMMAND_CLEAN)
#define REPLAY OPTION_COMMAND(COMMAND_REPLAY)
#define BENCH OPTION_COMMAND(COMMAND_BENCH)
#define SCHEMA OPTION_COMMAND(COMMAND_SCHEMA)
#define POINT OPTION_COMMAND(COMMAND_COMPLETION_POINT)
#define POLICIES OPTION_COMMAND(COMMAND_POLICIES)
#define VERIFY OPTION_COMMAND(COMMAND_VERIFY)
#define REFRESH OPTION_COMMAND(COMMAND_REFRESH)
#define MIGRATE OPTION_COMMAND(COMMAND_MIGRATE)
#define BEFORE OPTION_COMMAND(COMMAND_NONE) /* before the command is named */
#define JOB (PLAN | RUN | REPLAY | BENCH)
#define METHOD (SCHEMA | POINT | POLICIES | VERIFY | REFRESH | MIGRATE)
#define ALL (JOB | STATUS | CLEAN | METHOD | OPTION_COMMAND(COMMAND_HELP) | OPTION_COMMAND(COMMAND_VERSION) | BEFORE)

#define AT(field) .offset = offsetof(struct options, field)

static const char *const order_choices[] = {"newest", "oldest", NULL};
static const char *const overlap_choices[] = {"error", "replace", "keep", NULL};
static const char *const bad_row_choices[] = {"stop", "reject", NULL};
static const char *const on_conflict_choices[] = {"error", "skip", NULL};
static const char *const strategy_choices[] = {"auto", "append", "build", "compress", NULL};
static const char *const dialect_choices[] = {"server", "sniff", NULL};
static const char *const wire_choices[] = {"auto", "csv", "binary", NULL};
static const char *const verify_choices[] = {"before", "after", NULL};
static const char *const ledger_choices[] = {"keep", "none", NULL};
static const char *const policies_choices[] = {"pause", "leave", NULL};
static const char *const progress_choices[] = {"auto", "bar", "plain", "json", "none", NULL};

_Static_assert(sizeof(enum order) == sizeof(unsigned) && sizeof(enum overlap) == sizeof(unsigned) &&
                   sizeof(enum bad_row) == sizeof(unsigned) && sizeof(enum progress_mode) == sizeof(unsigned) &&
                   sizeof(enum dialect_mode) == sizeof(unsigned) && sizeof(enum wire_mode) == sizeof(unsigned) &&
                   sizeof(enum on_conflict) == sizeof(unsigned) && sizeof(enum strategy) == sizeof(unsigned) &&
                   sizeof(enum policies_mode) == sizeof(unsigned),
               "choices are stored as unsigned");

/* clang-format off */
const struct option_entry option_table[] = {
    {"source", "SPEC", JOB | VERIFY | POINT | SCHEMA, JOB | VERIFY | POINT | SCHEMA, GROUP_JOB, OPTION_LIST, AT(sources),
     .help = "where history is: a libpq URI or key=value conninfo, the path of a CSV file, - for CSV on standard "
             "input, or exec:COMMAND for the CSV that a shell command prints; one with {from} and {until} in it is run "
             "for each range. Several CSV files: give it again, or name a folder or a pattern such as 'data/*.csv'"},
    {"target", "CONNINFO", JOB | CLEAN | VERIFY | POLICIES | REFRESH | POINT | SCHEMA, JOB | CLEAN | VERIFY | POLICIES | REFRESH | POINT | SCHEMA, GROUP_JOB, OPTION_TEXT, AT(target),
     .help = "the database with the hypertable: a libpq URI or conninfo; PG* variables, .pgpass and services work"},
    {"table", "NAME", JOB | CLEAN | STATUS | VERIFY | POLICIES | REFRESH | POINT, JOB | CLEAN | VERIFY | POLICIES | REFRESH | POINT, GROUP_JOB, OPTION_LIST, AT(tables),
     .help = "the table to fill in the target, [schema.]name. plan and run take several in one job: give it again, "
             "as SOURCE=TARGET where a table has another name in the source"},
    {"filter", "REGEX", PLAN | RUN, 0, GROUP_JOB, OPTION_TEXT, AT(filter),
     .help = "of a PostgreSQL source: all hypertables, tables partitioned by range, and tables that are one of these "
             "in the target, whose schema.name matches; with or without --table"},
    {"cascade", NULL, PLAN | RUN | VERIFY | CLEAN, 0, GROUP_JOB, OPTION_ON, AT(cascade),
     .help = "and the continuous aggregates on these tables, also those on aggregates, which are found by their names on "
             "both sides: their buckets that end at or before the completion point, of which the raw rows may be gone"},
    {"source-table", "NAME", JOB | VERIFY | POINT, 0, GROUP_JOB, OPTION_TEXT, AT(source_table),
     .help = "the table to read in a PostgreSQL source", .default_text = "the name in --table"},
    {"columns", "A,B,C", JOB | VERIFY | POINT, 0, GROUP_JOB, OPTION_TEXT, AT(columns), .help = "the columns to load",
     .default_text = "those in the CSV header, else all of the table's that are not generated"},
    {"time-column", "NAME", JOB | VERIFY | POLICIES | POINT, 0, GROUP_JOB, OPTION_TEXT, AT(time_column),
     .help = "the column that ranges are cut by",
     .default_text = "the hypertable's time dimension, or the range key of a partitioned table"},
    {"overlap", "WHAT", JOB, 0, GROUP_JOB, OPTION_CHOICE, AT(overlap), .choices = overlap_choices,
     .help = "what to do where the target has rows already: error lists them and touches nothing, replace deletes "
             "those of a range as it is loaded, keep adds to them", .default_text = "error"},
    {"on-conflict", "WHAT", JOB, 0, GROUP_JOB, OPTION_CHOICE, AT(on_conflict), .choices = on_conflict_choices,
     .help = "what to do with a row whose unique key the target has already: error, or skip, which leaves it out and "
             "counts it, and without --overlap means --overlap keep", .default_text = "error"},
    {"strategy", "HOW", JOB, 0, GROUP_JOB, OPTION_CHOICE, AT(strategy), .choices = strategy_choices,
     .help = "how rows get into chunks: append copies them into the table as it is; build loads chunks that are new or "
             "empty without their indexes and makes these when the rows are in; compress compresses rows of such chunks "
             "as they come, where the table has a columnstore and nothing is against it, and chunks afterwards "
             "otherwise; auto builds where that is possible, and compresses what the table's own policy would compress "
             "(plan says where, and why not)", .default_text = "auto"},
    {"defer-indexes", NULL, JOB, 0, GROUP_JOB, OPTION_ON, AT(defer_indexes),
     .help = "where no chunk can be built alone (a plain table, TimescaleDB before 2.22): drop the indexes of the whole "
             "table, but unique ones, and make them again when all rows are in; until then queries go without"},
    {"compress-after", NULL, JOB, 0, GROUP_JOB, OPTION_ON, AT(compress_after),
     .help = "compress each chunk once its rows are in, never as they come"},
    {"checkpoint", "FILE", JOB | STATUS, 0, GROUP_JOB, OPTION_TEXT, AT(checkpoint),
     .help = "the journal of the job, from which it resumes", .default_text = "hyperfill-NAME.checkpoint, of several tables hyperfill-tables.checkpoint"},
    {"ledger", "HOW", PLAN | RUN, 0, GROUP_JOB, OPTION_CHOICE, AT(ledger), .choices = ledger_choices,
     .help = "keep it in the target; or none, where no table of ours may be there: of a source that is asked for ranges, "
             "with --overlap replace; what is done then stands in the checkpoint file alone, and a range that was under "
             "way is emptied and loaded again", .default_text = "keep"},
    {"ledger-schema", "NAME", JOB | CLEAN | VERIFY | POLICIES | REFRESH | POINT | SCHEMA, 0, GROUP_JOB, OPTION_TEXT, AT(ledger_schema),
     .help = "the schema of the target that keeps the ledger: which rows are in", .default_text = "hyperfill"},

    {"file", "FILE", MIGRATE, 0, GROUP_METHOD, OPTION_TEXT, AT(job_file),
     .help = "the job: sections [migration], [table NAME] for each table, and [steps]"},
    {"name", "NAME", MIGRATE, 0, GROUP_METHOD, OPTION_TEXT, AT(migration),
     .help = "the migration's name in the ledger, under which it goes on", .default_text = "the file's, without .ini"},
    {"skip", "STEP", MIGRATE, 0, GROUP_METHOD, OPTION_LIST, AT(skip),
     .help = "a step that is done by other means; may be given again"},
    {"continue", NULL, MIGRATE, 0, GROUP_METHOD, OPTION_ON, AT(go_on),
     .help = "what you had to do is done: go on, and do not ask"},
    {"late", "LENGTH", RUN | MIGRATE, 0, GROUP_METHOD, OPTION_TEXT, AT(late),
     .help = "how late rows may come, such as 1h: so long before the completion point both databases are compared after "
             "the load, also when the job is run again, and loaded again where they differ",
     .default_text = "nothing is compared"},
    {"target-free", "SIZE", MIGRATE, 0, GROUP_METHOD, OPTION_SIZE, AT(target_free), .min = 1, .max = MEBIBYTE << 34,
     .help = "the room on the target's disk, where hyperfill cannot see it",
     .default_text = "seen where the target is on this machine"},

    {"policies", "WHAT", PLAN | RUN, 0, GROUP_METHOD, OPTION_CHOICE, AT(policies), .choices = policies_choices,
     .help = "the target's retention, compression, reorder and refresh policies of the table and of continuous aggregates "
             "on it: pause them while it is loaded, or leave them as they are", .default_text = "pause"},
    {"allow-drop", NULL, PLAN | RUN | POLICIES, 0, GROUP_METHOD, OPTION_ON, AT(allow_drop),
     .help = "restore a retention policy also where it then drops rows that were loaded",
     .default_text = "such a policy stays off, with a warning"},

    {"repair", NULL, VERIFY, 0, GROUP_METHOD, OPTION_ON, AT(repair),
     .help = "load what differs again from the source, in place of what the target has there, and compare it once more"},
    {"afresh", NULL, VERIFY, 0, GROUP_METHOD, OPTION_ON, AT(afresh),
     .help = "compare everything, though an earlier verify was interrupted", .default_text = "it goes on where that one was"},
    {"aside", NULL, VERIFY, 0, GROUP_METHOD, OPTION_ON, AT(aside),
     .help = "of a CSV source: load it once more, into a scratch copy of the table in the target, and compare all rows; "
             "needs as much room there as the rows take", .default_text = "numbers of rows are compared with the ledger"},
    {"examples", "N", VERIFY, 0, GROUP_METHOD, OPTION_NUMBER, AT(examples), .min = 0, .max = 10000,
     .help = "rows to show of each stretch that differs", .default_text = "10"},

    {"on-bad-row", "WHAT", JOB, 0, GROUP_REJECTS, OPTION_CHOICE, AT(on_bad_row), .choices = bad_row_choices,
     .help = "what to do with a row that the table cannot take: stop, or reject it into the reject file and go on",
     .default_text = "stop"},
    {"max-rejects", "N|P%", JOB, 0, GROUP_REJECTS, OPTION_TEXT, AT(max_rejects_text),
     .help = "stop when the job has more rejected rows than this, or than this share of the rows seen",
     .default_text = "1000"},
    {"reject-file", "FILE", JOB, 0, GROUP_REJECTS, OPTION_TEXT, AT(reject_file),
     .help = "the rejected rows as they came; FILE.reasons says where each stood and what is wrong with it",
     .default_text = "hyperfill-NAME.rejects"},

    {"from", "TIME", JOB | VERIFY | REFRESH, 0, GROUP_RANGES, OPTION_LIST, AT(froms),
     .help = "load rows at or after this time, in the type of the time column; several as --until"},
    {"until", "TIME", JOB | VERIFY | REFRESH, 0, GROUP_RANGES, OPTION_LIST, AT(untils),
     .help = "load rows before this time, the completion point; a PostgreSQL source needs it, a command for each "
             "range needs --from, too. Of several tables: give it again for each type of time, a table takes the one "
             "that its own type can be; TABLE=TIME is for that table alone"},
    {"order", "WHICH", JOB, 0, GROUP_RANGES, OPTION_CHOICE, AT(order), .choices = order_choices,
     .help = "newest or oldest ranges first", .default_text = "newest"},
    {"range-interval", "LENGTH", JOB | VERIFY, 0, GROUP_RANGES, OPTION_TEXT, AT(range_interval),
     .help = "length of a range, such as 6h or 1d, where the target has no chunks to align with"},
    {"create-partitions", NULL, PLAN | RUN, 0, GROUP_RANGES, OPTION_ON, AT(create_partitions),
     .help = "make partitions that are missing in a natively partitioned target: as long as most others are (or "
             "--range-interval, where there is none yet), and named after where they begin, such as metrics_p20240101",
     .default_text = "rows without a partition are refused"},

    {"jobs", "N", JOB | VERIFY, 0, GROUP_SPEED, OPTION_NUMBER, AT(jobs), .min = 1, .max = JOBS_MAX,
     .help = "connections that write to the target; of verify, ranges that are compared at a time", .default_text = "half the processors, at least 2"},
    {"readers", "N", JOB | VERIFY, 0, GROUP_SPEED, OPTION_NUMBER, AT(readers), .min = 1, .max = JOBS_MAX,
     .help = "connections that read from a PostgreSQL source; files or commands that are read at a time", .default_text = "as many as --jobs"},
    {"memory", "SIZE", JOB | VERIFY, 0, GROUP_SPEED, OPTION_SIZE, AT(memory_bytes), .min = 16 * MEBIBYTE, .max = MEBIBYTE << 24,
     .help = "all that may be held in memory, 16MB or more", .default_text = "256MB"},
    {"spill-dir", "DIR", JOB, 0, GROUP_SPEED, OPTION_TEXT, AT(spill_dir),
     .help = "for a CSV source in no order of time that is larger than --memory: rows wait in a nameless file here, on "
             "a disk with room, until there are enough of a range", .default_text = "such ranges are written in many "
             "small pieces"},
    {"spill-max", "SIZE", JOB, 0, GROUP_SPEED, OPTION_SIZE, AT(spill_max), .min = MEBIBYTE, .max = MEBIBYTE << 24,
     .help = "how large that file may grow", .default_text = "half of the room that is free there"},
    {"wire", "HOW", JOB, 0, GROUP_SPEED, OPTION_CHOICE, AT(wire), .choices = wire_choices,
     .help = "how rows go to the target: binary spares the server the reading of text, as values are converted exactly "
             "as it would, and rows in unusual spellings go as CSV; csv is CSV for all; auto is binary where every column "
             "has a conversion (plan says which has none), else csv", .default_text = "auto"},
    {"retry-seconds", "N", JOB | VERIFY | REFRESH, 0, GROUP_SPEED, OPTION_LONG, AT(retry_seconds), .min = 0, .max = 604800,
     .help = "how long to retry when a server or the network fails", .default_text = "300"},

    {"max-rate", "SIZE|ROWS", RUN | REPLAY | VERIFY, 0, GROUP_SPEED, OPTION_TEXT, AT(max_rate_text),
     .help = "how much all writers together may send in a second, such as 20MB or 50000rows; of verify, how much may "
             "be compared",
     .default_text = "as much as goes"},
    {"max-source-lag", "LAG", RUN | VERIFY, 0, GROUP_SPEED, OPTION_TEXT, AT(source_lag_text),
     .help = "begin nothing new while a standby of the source (or the source itself, where it is one) is further behind, "
             "such as 30s or 200MB of WAL; the role needs pg_monitor there"},
    {"max-wal", "SIZE", RUN | VERIFY, 0, GROUP_SPEED, OPTION_SIZE, AT(max_wal), .min = MEBIBYTE, .max = MEBIBYTE << 24,
     .help = "the same while more WAL of the target waits for its replication slots or for being archived"},
    {"max-target-size", "SIZE", RUN | VERIFY, 0, GROUP_SPEED, OPTION_SIZE, AT(max_target_size), .min = 1, .max = MEBIBYTE << 30,
     .help = "the same while the target's database is larger"},
    {"min-disk-free", "SIZE|P%", RUN | VERIFY, 0, GROUP_SPEED, OPTION_TEXT, AT(disk_free_text),
     .help = "the same while less is free on the target's disk; only where hyperfill runs on the target's host and the "
             "role may read data_directory (pg_read_all_settings)"},

    {"header", NULL, JOB | VERIFY, 0, GROUP_CSV, OPTION_ON, AT(header), .help = "the first line names the columns",
     .default_text = "yes"},
    {"no-header", NULL, JOB | VERIFY, 0, GROUP_CSV, OPTION_OFF, AT(header), .help = "the first line is a row"},
    {"delimiter", "C", JOB | VERIFY, 0, GROUP_CSV, OPTION_BYTE, AT(delimiter),
     .help = "what separates fields; \\t is a tab, \\x1f any byte", .default_text = "a comma"},
    {"quote", "C", JOB | VERIFY, 0, GROUP_CSV, OPTION_BYTE, AT(quote), .help = "what encloses a field",
     .default_text = "a double quote"},
    {"escape", "C", JOB | VERIFY, 0, GROUP_CSV, OPTION_BYTE, AT(escape), .help = "what goes before a quote inside a field",
     .default_text = "the quote"},
    {"null", "TEXT", JOB | VERIFY, 0, GROUP_CSV, OPTION_NULL, AT(null_text), .help = "what an unquoted NULL looks like",
     .default_text = "nothing between two delimiters"},
    {"force-null", "A,B", JOB | VERIFY, 0, GROUP_CSV, OPTION_TEXT, AT(force_null),
     .help = "columns of the table, or *, where that text in quotes is NULL too"},
    {"force-not-null", "A,B", JOB | VERIFY, 0, GROUP_CSV, OPTION_TEXT, AT(force_not_null),
     .help = "columns of the table, or *, where that text is never NULL"},
    {"trim", NULL, JOB | VERIFY, 0, GROUP_CSV, OPTION_ON, AT(trim),
     .help = "blanks and tabs around fields, and around their quotes, are no part of them"},
    {"comment", "C", JOB | VERIFY, 0, GROUP_CSV, OPTION_BYTE, AT(comment), .help = "lines that begin with this byte are left out"},
    {"skip-lines", "N", JOB | VERIFY, 0, GROUP_CSV, OPTION_NUMBER, AT(skip_lines), .min = 0, .max = 1000000,
     .help = "lines to leave out at the beginning, before the header"},
    {"encoding", "NAME", JOB | VERIFY, 0, GROUP_CSV, OPTION_TEXT, AT(encoding),
     .help = "the encoding of the input, by the server's name for it", .default_text = "the session's: PGCLIENTENCODING"},
    {"dialect", "HOW", JOB | VERIFY, 0, GROUP_CSV, OPTION_CHOICE, AT(dialect), .choices = dialect_choices,
     .help = "server: as COPY reads CSV, with these options; sniff: look at the heads of some inputs for those that "
             "are not given, and say what was found", .default_text = "server"},
    {"verify-input", "WHEN", JOB | VERIFY, 0, GROUP_CSV, OPTION_CHOICE, AT(verify_input), .choices = verify_choices,
     .help = "checksums of a compressed file: before any row of it is used, for which a large one is decompressed twice; or "
             "after, where they stand, which costs nothing: a file that proves to be corrupt then fails the job when "
             "rows of it may be loaded", .default_text = "before"},
    {"map", "CSV=COLUMN", JOB | VERIFY, 0, GROUP_CSV, OPTION_LIST, AT(map),
     .help = "the table's column for a name in the header; may be given again"},
    {"ignore-columns", "A,B", JOB | VERIFY, 0, GROUP_CSV, OPTION_TEXT, AT(ignore_columns),
     .help = "names in the header not to load; * for all that the table has not"},
    {"set", "COLUMN=TEXT", JOB | VERIFY, 0, GROUP_CSV, OPTION_LIST, AT(set),
     .help = "a column with the same text in each row; may be given again; {stem}, {name}, {path} and {dir} are from "
             "the input's path, {{ is a brace"},
    {"time-format", "FORMAT", JOB | VERIFY, 0, GROUP_CSV, OPTION_TEXT, AT(time_format),
     .help = "iso, epoch, epoch-ms, epoch-us, epoch-ns (finer than a microsecond is cut off), or as for strptime, with "
             "%f for a fraction: '%d.%m.%Y %H:%M:%S.%f'", .default_text = "iso"},
    {"timezone", "ZONE", JOB | VERIFY, 0, GROUP_CSV, OPTION_TEXT, AT(timezone),
     .help = "the zone of times that have none: UTC or +HH:MM", .default_text = "such times are refused"},

    {"bench-jobs", "LIST", BENCH, 0, GROUP_SPEED, OPTION_TEXT, AT(bench_jobs_text),
     .help = "numbers of writers to measure with, such as 1,2,4,8",
     .default_text = "powers of two up to --jobs, or to the processors of this machine"},
    {"limit-time", "SECONDS", BENCH, 0, GROUP_SPEED, OPTION_LONG, AT(limit_time), .min = 1, .max = 3600,
     .help = "how long one measurement takes; there are three for each number of writers",
     .default_text = "so that all take a minute or two"},
    {"limit-rows", "N", BENCH, 0, GROUP_SPEED, OPTION_LONG, AT(limit_rows), .min = 1000, .max = INT64_C(1) << 40,
     .help = "how many rows one measurement takes", .default_text = "10000000"},
    {"output-dir", "DIR", BENCH, 0, GROUP_OUTPUT, OPTION_TEXT, AT(output_dir),
     .help = "write bench.csv there, and bench.svg if gnuplot is installed"},

    {"hypertable", "SPEC", SCHEMA, 0, GROUP_METHOD, OPTION_LIST, AT(hypertables),
     .help = "TABLE=COLUMN or TABLE=COLUMN,INTERVAL: a plain or partitioned table of the source that becomes a "
             "hypertable, cut by this column into chunks of this interval; may be given again"},
    {"schema-only", NULL, SCHEMA, 0, GROUP_METHOD, OPTION_ON, AT(schema_only),
     .help = "copy no rows of relational tables, and leave sequences where they are"},
    {"sequences", NULL, SCHEMA, 0, GROUP_METHOD, OPTION_ON, AT(sequences),
     .help = "only move the target's sequences to where the source's stand, and none back"},
    {"roles", NULL, SCHEMA, 0, GROUP_METHOD, OPTION_ON, AT(roles),
     .help = "make the source's roles first, without passwords and what only a superuser may give"},
    {"pg-bin", "DIR", SCHEMA, 0, GROUP_METHOD, OPTION_TEXT, AT(pg_bin),
     .help = "the folder of pg_dump, of the servers' version or a later one",
     .default_text = "the one in PATH, else in /usr/lib/postgresql/*/bin"},
    {"dry-run", NULL, SCHEMA, 0, GROUP_METHOD, OPTION_ON, AT(dry_run),
     .help = "print the statements and commands, change nothing"},

    {"window", "LENGTH", POINT, 0, GROUP_METHOD, OPTION_TEXT, AT(window),
     .help = "how far back to compare, such as 2h; in the column's own unit where it is an integer",
     .default_text = "15m (30d of dates), and longer, up to some days, until it shows where dual writing began"},
    {"bucket", "LENGTH", POINT, 0, GROUP_METHOD, OPTION_TEXT, AT(bucket),
     .help = "length of a bucket, whose rows are compared as a whole", .default_text = "10s, 1d of dates"},
    {"watch", "SECONDS", POINT, 0, GROUP_METHOD, OPTION_LONG, AT(watch_seconds), .min = 1, .max = 86400,
     .help = "how long to wait between the two looks; longer sees rows that come late more seldom",
     .default_text = "5"},

    {"progress", "HOW", JOB | VERIFY, 0, GROUP_OUTPUT, OPTION_CHOICE, AT(progress), .choices = progress_choices,
     .help = "bar, plain lines, json events on standard output, none, or auto: a bar on a terminal, else plain",
     .default_text = "auto"},
    {"json", NULL, STATUS | VERIFY | POLICIES | POINT | MIGRATE, 0, GROUP_OUTPUT, OPTION_ON, AT(json), .help = "print one JSON object"},
    {"yes", NULL, JOB | CLEAN | MIGRATE, 0, GROUP_OUTPUT, OPTION_ON, AT(yes), .help = "do not ask before what cannot be undone"},
    {"verbose", NULL, ALL, 0, GROUP_OUTPUT, OPTION_ON, AT(verbose), .help = "say more about what is done"},
    {"help", NULL, ALL, 0, GROUP_OUTPUT, OPTION_HELP, .help = "print this"},
    {"version", NULL, ALL, 0, GROUP_OUTPUT, OPTION_VERSION, .help = "print the version"},
};
/* clang-format on */

const size_t option_count = sizeof option_table / sizeof option_table[0];

_Static_assert(sizeof option_table / sizeof option_table[0] <= OPTIONS_MAX, "the parser keeps a flag for each");
