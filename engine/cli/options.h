/*
 * The command line: one table says every option's name, argument, commands, default and help, and the parser, the
 * help and the README's copy of it all come from that table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/error.h"

enum command {
    COMMAND_NONE,
    COMMAND_PLAN,
    COMMAND_RUN,
    COMMAND_STATUS,
    COMMAND_CLEAN,
    COMMAND_REPLAY,
    COMMAND_BENCH,
    COMMAND_SCHEMA,
    COMMAND_COMPLETION_POINT,
    COMMAND_POLICIES,
    COMMAND_VERIFY,
    COMMAND_REFRESH,
    COMMAND_MIGRATE,
    COMMAND_LAST = COMMAND_MIGRATE, /* that has a page of help */
    COMMAND_HELP,
    COMMAND_VERSION
};
enum strategy { STRATEGY_AUTO, STRATEGY_APPEND, STRATEGY_BUILD, STRATEGY_COMPRESS };
enum policies_mode { POLICIES_PAUSE, POLICIES_LEAVE };
enum ledger_mode { LEDGER_KEEP, LEDGER_NONE };
enum order { ORDER_NEWEST, ORDER_OLDEST };
enum overlap { OVERLAP_ERROR, OVERLAP_REPLACE, OVERLAP_KEEP };
enum bad_row { BAD_ROW_STOP, BAD_ROW_REJECT };
enum dialect_mode { DIALECT_SERVER, DIALECT_SNIFF };
enum verify_input { VERIFY_INPUT_BEFORE, VERIFY_INPUT_AFTER };
enum on_conflict { ON_CONFLICT_ERROR, ON_CONFLICT_SKIP };
enum wire_mode { WIRE_AUTO, WIRE_CSV, WIRE_BINARY };
enum progress_mode { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_NONE };

/* Values of an option that may be given several times. */
#define TEXT_LIST_MAX 256
struct text_list {
    const char *items[TEXT_LIST_MAX];
    int count;
};

/* Numbers of one option, ascending. */
#define NUMBER_LIST_MAX 16
struct number_list {
    int items[NUMBER_LIST_MAX];
    int count;
};

/* An option as it was given; the value is NULL where it takes none. */
struct option_given {
    int index; /* into option_table */
    const char *value;
};
#define OPTIONS_GIVEN_MAX 256

/* Texts are borrowed from argv, NULL where not given, except where a default is named. */
struct options {
    enum command command;
    enum command help_about; /* help COMMAND; COMMAND_NONE: the overview */
    const char *action;      /* the word after the command, one of those that it knows; NULL: none */
    const char *source;      /* the first one */
    struct text_list sources;
    const char *target;
    const char *table; /* the first one; NULL with --filter alone */
    struct text_list tables;
    const char *filter; /* a regular expression */
    bool cascade;       /* and the continuous aggregates of these */
    const char *source_table;
    const char *time_column;
    const char *columns;            /* comma separated, as given */
    const char *from, *until;       /* the first one of each */
    struct text_list froms, untils; /* TIME or TABLE=TIME */
    const char *checkpoint;         /* NULL: hyperfill-<table>.checkpoint, see options_checkpoint_path */
    const char *range_interval;
    const char *timezone;      /* for CSV times without a zone: UTC or +HH:MM */
    const char *ledger_schema; /* default "hyperfill" */
    int jobs;                  /* writers; default half the processors, at least 2; 1..256 */
    int readers;               /* default 0: as many as writers for PostgreSQL, one for a stream */
    int64_t memory_bytes;      /* default 256 MiB; at least 16 MiB */
    int64_t retry_seconds;     /* default 300: how long a transient failure is retried */
    const char *spill_dir;     /* for what --memory has no room for */
    int64_t spill_max;         /* default 0: half of the room in spill_dir */
    enum order order;
    enum overlap overlap; /* keep, if not given, with ON_CONFLICT_SKIP */
    enum on_conflict on_conflict;
    enum strategy strategy;
    bool defer_indexes;
    enum wire_mode wire;
    bool create_partitions;
    bool compress_after;
    enum bad_row on_bad_row;
    const char *max_rejects_text; /* as given */
    int64_t max_rejects;          /* default 1000; -1: the percentage counts */
    double max_rejects_percent;   /* of the rows seen */
    const char *reject_file;      /* NULL: hyperfill-<table>.rejects */
    enum progress_mode progress;
    enum policies_mode policies;
    enum ledger_mode ledger;
    bool allow_drop; /* retention is restored also where it drops what was loaded */
    bool yes;
    bool json;    /* status --json, policies show --json */
    bool verbose; /* debug lines */
    /* CSV */
    bool header;           /* default true */
    bool header_given;     /* --header or --no-header was said */
    char delimiter;        /* ',' ; "\t" is taken as a tab */
    char quote;            /* '"' */
    char escape;           /* the quote character, unless given */
    const char *null_text; /* "" */
    bool dialect_given;    /* any of the CSV options was said */
    bool delimiter_given, quote_given, escape_given, null_given;
    enum dialect_mode dialect;
    char comment; /* '\0': none */
    int skip_lines;
    bool trim;
    enum verify_input verify_input;
    const char *encoding;
    const char *force_null, *force_not_null; /* comma separated, or * */
    const char *time_format;                 /* see engine/timeform.h */
    /* Which CSV column goes where */
    struct text_list map, set;  /* CSV=COLUMN, COLUMN=VALUE */
    const char *ignore_columns; /* comma separated, or * */
    /* verify */
    bool repair;
    bool afresh;
    bool aside;
    int examples; /* default 10 */
    /* bench */
    const char *bench_jobs_text; /* as given */
    struct number_list bench_jobs;
    int64_t limit_rows; /* of one measurement; default 10 million */
    int64_t limit_time; /* seconds of one measurement; default 0: about 90 for all together */
    const char *output_dir;
    /* How fast, and within which limits; texts as given, 0: none */
    const char *max_rate_text, *source_lag_text, *disk_free_text;
    int64_t max_rate; /* a second */
    bool max_rate_rows;
    int64_t source_lag_ms, source_lag_bytes, disk_free_bytes, max_wal, max_target_size;
    double disk_free_percent;
    /* completion-point */
    const char *window, *bucket; /* lengths in the time column's type; NULL: chosen */
    int64_t watch_seconds;       /* default 5 */
    /* schema */
    struct text_list hypertables; /* TABLE=COLUMN[,INTERVAL] */
    const char *pg_bin;
    bool schema_only, sequences, roles, dry_run;
    /* migrate */
    const char *job_file, *migration; /* its name */
    struct text_list skip;            /* names of steps */
    bool go_on;                       /* --continue: what the person had to do is done */
    const char *late;                 /* how late rows may come, as the server reads a length */
    int64_t target_free;              /* room on the target's disk as the user says it; 0: unknown */
    /* Of migrate, in the order of the command line: it hands options on to the commands of its steps. */
    struct option_given given[OPTIONS_GIVEN_MAX];
    int given_count;
};

/*
 * Fills options from argv. STATUS_USAGE with a text that names the option, what is wrong and what would be right
 * ("unknown option --tabel; did you mean --table?"). Options of another command are refused by name. `--name value`
 * and `--name=value` both work; an option given twice is
 * refused unless it takes a list.
 */
MUST_CHECK enum status options_parse(int argc, char **argv, struct options *options, struct error *error);

/* Whether it is a job of several tables, even if it comes down to one: more than one, --filter, SOURCE=TARGET, or
 * --cascade. */
bool options_several(const struct options *options);

/* The same, but for --cascade: whether one table alone is named. */
bool options_name_several(const struct options *options);

/* The sign between two names, which may be quoted; NULL: there is none. */
const char *options_table_sign(const char *table);

/* Prints help: the overview or one command. To standard output by the caller's wish. */
void options_help(enum command about);

const char *command_name(enum command command);
