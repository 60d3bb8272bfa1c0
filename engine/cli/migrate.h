/*
 * Between the files of `hyperfill migrate`: the job (migrate_file.c reads it from a file, migrate_job.c puts it
 * together and makes the options of a command from it), the steps (migrate_steps.c), their way (command_migrate.c),
 * what people see of it (migrate_show.c).
 */
#pragma once

#include <stdio.h>

#include "engine/cli/commands.h"
#include "engine/method/migration.h"
#include "engine/method/preflight.h"

/* An option as the file or the command line has it. */
struct setting {
    const struct option_entry *entry;
    char *value; /* NULL: a switch */
    int table;   /* index; -1: for all */
    int line;    /* of the file; 0: the command line */
    bool off;    /* a switch that is said not to be wanted, and has no opposite */
};

struct migrate_table {
    char *name; /* as in --table */
    int line;
};

struct migrate_job {
    char *name, *path; /* path NULL: no file */
    char *resume;      /* the command that goes on, for people */
    struct setting *settings;
    size_t setting_count;
    struct migrate_table *tables;
    size_t table_count;
    uint32_t skipped; /* bits by index into migrate_steps */
    const char *source, *target, *ledger_schema;
};

/* --- migrate_file.c --- */

/*
 * Reads the file into the job. STATUS_USAGE with file and line: a section or key that nobody knows, a value that its
 * option does not take, a line that is too long for libinih. Warns of a password that others may read.
 */
MUST_CHECK enum status migrate_file_read(const char *path, struct migrate_job *job, struct error *error);

/* --- migrate_job.c --- */

/* The job of the command line, and of the file that it names. */
MUST_CHECK enum status migrate_job_make(const struct options *options, struct migrate_job *job, struct error *error);
void migrate_job_reset(struct migrate_job *job);

/* Takes the value; end the program when memory ends. */
void migrate_job_set(struct migrate_job *job, struct setting setting);
int migrate_job_add_table(struct migrate_job *job, const char *name, int line);

/* What is said about an option for the table (-1: for all); the command line goes before the table's section, that
 * before [migration]. NULL: nothing, or a switch. */
const char *migrate_job_value(const struct migrate_job *job, const char *option, int table);
bool migrate_job_has(const struct migrate_job *job, const char *option, int table);

/* What --hypertable is to say of the table, with its name or without; NULL: nothing. *own: in the table's section. */
const char *migrate_job_hypertable(const struct migrate_job *job, int table, bool *own);

/* A command line made from the job, and its options. */
struct migrate_call {
    char **argv;
    int argc;
    struct options options;
};

/* An option that the job does not say: added before migrate_call_make. Value NULL: a switch. */
void migrate_call_add(struct migrate_call *call, const char *option, const char *value);

/* All that the job says and the command takes, for one table (-1: for those that are about no table). */
MUST_CHECK enum status migrate_call_make(struct migrate_call *call, const struct migrate_job *job, enum command command,
                                         int table, struct error *error);
void migrate_call_reset(struct migrate_call *call);

/* --- migrate_steps.c --- */

struct migrate {
    const struct options *options;
    struct migrate_job job;
    struct pg_address source_address, target_address;
    struct pg *source, *target;
    struct migration migration; /* what stands in the ledger */
    struct preflight preflight;
    struct stop *stop;
    struct signals *signals; /* ours; not while a step runs, which takes them itself */
    int64_t retry_ms;
};

struct migrate_step {
    const char *name, *title;
    const char *ask;  /* a step of a person: the question whether it is done; NULL: one of ours */
    const char *todo; /* what the person does; of our steps what to do when it has failed */
    /* NULL: done before the others. *result: for the ledger, a JSON object (caller frees), NULL for none. */
    enum status (*run)(struct migrate *migrate, char **result, struct error *error);
};
extern const struct migrate_step migrate_steps[];
extern const int migrate_step_count; /* at most 32 */

/* -1: no such step. */
int migrate_step_find(const char *name);

/* Whether rows of the target are replaced: what dual writes have put before the completion point, as the job has it. */
bool migrate_replaces(const struct migrate_job *job, int table);

/* The table's name in the source. */
const char *migrate_source_table(const struct migrate_job *job, int table);

/* --- migrate_show.c --- */

void migrate_show_plan(const struct migrate *migrate);
void migrate_show_finding(void *context, enum finding_level level, const char *check, const char *text);
void migrate_show_status(const struct migrate *migrate, bool json);
void migrate_show_todo(const struct migrate *migrate, int step);

/* The first step that is neither done nor left out; migrate_step_count: there is none. */
int migrate_next(const struct migrate *migrate);
