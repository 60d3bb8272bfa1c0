/*
 * What the files of the program share: the commands, and the table of options that the parser and the help come from.
 */
#pragma once

#include "engine/cli/options.h"

/* Each does one command. The error says why it did not; main reports it. */
MUST_CHECK enum status command_plan(const struct options *options, struct error *error);
MUST_CHECK enum status command_run(const struct options *options, struct error *error);
MUST_CHECK enum status command_status(const struct options *options, struct error *error);
MUST_CHECK enum status command_clean(const struct options *options, struct error *error);
MUST_CHECK enum status command_replay(const struct options *options, struct error *error);
MUST_CHECK enum status command_bench(const struct options *options, struct error *error);
MUST_CHECK enum status command_schema(const struct options *options, struct error *error);
MUST_CHECK enum status command_completion_point(const struct options *options, struct error *error);
MUST_CHECK enum status command_policies(const struct options *options, struct error *error);
MUST_CHECK enum status command_verify(const struct options *options, struct error *error);
MUST_CHECK enum status command_refresh(const struct options *options, struct error *error);
/* The same as the command; *until is the completion point that it shows, a new string. `until` may be NULL. */
MUST_CHECK enum status completion_point(const struct options *options, char **until, struct error *error);
MUST_CHECK enum status command_migrate(const struct options *options, struct error *error);

/* The same commands for several tables: options_several; status for the file of such a job. */
MUST_CHECK enum status plan_tables(const struct options *options, struct error *error);
MUST_CHECK enum status run_tables(const struct options *options, struct error *error);
MUST_CHECK enum status status_tables(const struct options *options, const char *path, bool locked, struct error *error);

/*
 * The checkpoint file of these options: --checkpoint, else hyperfill-<table>.checkpoint, where letters of the table's
 * name that a shell or a path would take amiss are underscores. STATUS_USAGE if the path is too long.
 */
#define CHECKPOINT_PATH_MAX 4096
MUST_CHECK enum status command_checkpoint_path(const struct options *options, char path[CHECKPOINT_PATH_MAX],
                                               struct error *error);

/* The same for another file: `given`, else hyperfill-<table>.ENDING. */
MUST_CHECK enum status command_default_path(const struct options *options, const char *given, const char *ending,
                                            char path[CHECKPOINT_PATH_MAX], struct error *error);

#define JOBS_MAX 256

/* The type of the field where an option's value goes, and what may be in it. */
enum option_kind {
    OPTION_TEXT,   /* const char *, not empty */
    OPTION_NULL,   /* const char *, may be empty */
    OPTION_LIST,   /* struct text_list: one more with each use */
    OPTION_NUMBER, /* int, min..max */
    OPTION_LONG,   /* int64_t, min..max */
    OPTION_SIZE,   /* int64_t bytes, min..max */
    OPTION_BYTE,   /* char, one byte */
    OPTION_CHOICE, /* enum, index into choices */
    OPTION_ON,     /* bool, true */
    OPTION_OFF,    /* bool, false */
    OPTION_HELP,
    OPTION_VERSION,
};

enum option_group {
    GROUP_JOB,
    GROUP_METHOD,
    GROUP_REJECTS,
    GROUP_RANGES,
    GROUP_SPEED,
    GROUP_CSV,
    GROUP_OUTPUT,
    GROUP_COUNT
};

#define OPTION_COMMAND(command) (1U << (command))

struct option_entry {
    const char *name;     /* without the dashes */
    const char *argument; /* placeholder in the help; NULL: takes none */
    unsigned commands;    /* OPTION_COMMAND bits */
    unsigned required;    /* the same, where the option must be given */
    enum option_group group;
    enum option_kind kind;
    size_t offset; /* of the field in struct options */
    int64_t min, max;
    const char *const *choices; /* NULL at the end */
    const char *help;
    const char *default_text; /* NULL: nothing to say */
};

extern const struct option_entry option_table[];
extern const size_t option_count; /* at most OPTIONS_MAX */
#define OPTIONS_MAX 128

/* The commands that migrate goes through: it takes their options, and hands them on. */
#define MIGRATE_STEPS                                                                                                  \
    (OPTION_COMMAND(COMMAND_RUN) | OPTION_COMMAND(COMMAND_SCHEMA) | OPTION_COMMAND(COMMAND_COMPLETION_POINT) |         \
     OPTION_COMMAND(COMMAND_POLICIES) | OPTION_COMMAND(COMMAND_VERIFY) | OPTION_COMMAND(COMMAND_REFRESH) |             \
     OPTION_COMMAND(COMMAND_CLEAN))

/* Whether the command takes the option: it is listed for it, or for a step of migrate. */
bool option_allowed(const struct option_entry *entry, enum command command);

/* The option of this name, NULL if there is none; and the nearest name of those that the command takes, or NULL. */
const struct option_entry *option_find(const char *name, size_t size);
const char *option_nearest(const char *name, size_t size, enum command command);

/* Keeps the nearer of two names; *distance is SIZE_MAX at first, and *nearest stays NULL where none is near. */
void nearest_keep(const char *name, size_t size, const char *candidate, const char **nearest, size_t *distance);

/* Whether the option could have this value; STATUS_USAGE with what would be right. */
MUST_CHECK enum status option_check(const struct option_entry *entry, const char *value, struct error *error);

/* What the help of a command says before and after its options. */
struct help_page {
    const char *text;
    const char *examples;
};
extern const char help_overview[];
extern const struct help_page help_pages[]; /* by command, COMMAND_PLAN to COMMAND_LAST */
