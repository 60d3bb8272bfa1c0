/*
 * A job: what `plan` shows and `run` does. Opens and describes both sides, settles columns, window and layout, finds
 * what earlier runs have committed, and makes the list of what is left.
 */
#pragma once

#include "engine/checkpoint.h"
#include "engine/cli/mapping.h"
#include "engine/cli/options.h"
#include "engine/method/policies.h"
#include "readers/command.h"
#include "readers/postgres.h"
#include "readers/sniff.h"
#include "readers/stream.h"
#include "writers/append.h"
#include "writers/overlap.h"

#define JOB_SETTINGS_MAX 8

/* A line of the fingerprint: what must be the same for a job to be resumed. */
struct job_text {
    const char *key;
    char *value;
};
#define JOB_TEXTS_MAX 12

enum source_kind {
    SOURCE_POSTGRES, /* addressable, rows as COPY has them */
    SOURCE_STREAM,   /* CSV, read once: a file, standard input, a command's output */
    SOURCE_COMMAND,  /* CSV, addressable: a command is run for each range */
};

/* `exec:COMMAND`; in use if `text` is not NULL. */
struct job_command {
    const char *text; /* never shown: it may hold a password */
    char name[PROCESS_NAME_MAX];
    struct command_output output; /* SOURCE_STREAM */
    struct template template;     /* SOURCE_COMMAND, as is what follows */
    struct command_source ranges;
};

/*
 * What the jobs of several tables share: their connections for planning, two a side, as those that look tables up by
 * name have the settings of the user and the others those of the job.
 */
struct job_sides {
    struct pg_address source_address, target_address;
    struct pg_setting source_settings[JOB_SETTINGS_MAX], target_settings[JOB_SETTINGS_MAX];
    char *encoding;
    struct pg *source_names, *target_names;
    struct pg *source, *target; /* NULL until the first table was found */
};

struct job {
    const struct options *options; /* as given, or completed by a look at the input */
    struct options completed;
    struct sniff sniff; /* found is "" if nobody looked */
    struct stop *stop;
    enum source_kind kind;
    struct pg_address source_address, target_address;
    char *name; /* of the source, for people */
    struct pg_setting source_settings[JOB_SETTINGS_MAX], target_settings[JOB_SETTINGS_MAX];
    char *timezone_setting;
    bool zone_given; /* --timezone, for times of a stream that have none */
    int32_t zone_seconds;
    struct job_sides *sides;    /* NULL: none are shared */
    struct pg *source, *target; /* for planning; sessions have their own */
    struct table source_table, table;
    struct postgres_source postgres;
    int postgres_time_index;     /* which column is the time */
    struct stream_set set;       /* the inputs of a stream; of SOURCE_COMMAND what each run prints */
    char **paths;                /* of them; "-" is standard input */
    struct stream_mark **marks;  /* of each of them */
    struct append_input *inputs; /* how writers see them; a PostgreSQL source is one input */
    struct mapping *mappings;    /* of each of them; of a PostgreSQL source only its lists */
    size_t input_count;
    char *wire;        /* how rows go to the target, and why, for people */
    char **identities; /* what each of them is, as stream_identity says; NULL where they are no files */
    bool rereadable;   /* all inputs can be read twice */
    struct job_command command;
    struct range window;
    char *source_key; /* which source it is, however far: finds rival jobs */
    struct job_text texts[JOB_TEXTS_MAX];
    int text_count;
    char *fingerprint; /* the texts as lines */
    struct ledger ledger;
    bool resumed;  /* the ledger knows the job */
    bool finished; /* and that it is complete */
    char *created;
    struct layout *layout;
    char *layout_text;
    struct ledger_row *rows; /* committed by earlier runs */
    size_t row_count;
    struct task *tasks; /* addressable: left to do, in the order of work */
    size_t task_count;
    int64_t ranges_total, rows_total, bytes_total; /* -1: unknown; estimates */
    int64_t rows_before, bytes_before, conflicts_before;
    int64_t source_last;           /* newest time seen in the source; INT64_MIN: unknown */
    struct stream_sample sample;   /* of all inputs together */
    double depth;                  /* how many inputs have rows of the same time, on the average; 0: unknown */
    struct build_plan build;       /* how chunks may be built */
    struct sorter_spec *sorts;     /* of each input that is sorted by the writers */
    char *order;                   /* of a PostgreSQL source that sorts */
    int64_t sort_memory;           /* what a writer may hold for that */
    struct policy_list policies;   /* background jobs that would meddle, as they were at the start */
    char *policy_jobs;             /* ids of those that are on but for us, as an array */
    struct overlap_report overlap; /* rows of others inside ranges that are not committed yet */
};

/* All of the above but the tasks and the overlap. Changes nothing anywhere. job_close takes a job in any state. */
MUST_CHECK enum status job_open(struct job *job, const struct options *options, struct stop *stop, struct error *error);
void job_close(struct job *job);

/* The same beside other jobs; `sides` lives longer. Both must be databases. */
MUST_CHECK enum status job_open_beside(struct job *job, const struct options *options, struct job_sides *sides,
                                       struct stop *stop, struct error *error);
MUST_CHECK enum status job_sides_open(struct job_sides *sides, const struct options *options, struct stop *stop,
                                      struct error *error);
void job_sides_close(struct job_sides *sides);

/* Reads what the ledger has of the job; the layout that stands there replaces ours. */
MUST_CHECK enum status job_read_ledger(struct job *job, struct error *error);

/* The tasks left, and rows of others in their ranges (counted unless the rule is `keep`). */
MUST_CHECK enum status job_plan(struct job *job, struct error *error);

/* STATUS_DATA when the rule is `error` and rows of others are in the way. */
MUST_CHECK enum status job_check_overlap(const struct job *job, struct error *error);

/*
 * `replace`: what lies before T and in no range of the job belongs to times for which the source has no rows, and which
 * no piece has emptied. Done after the last piece and before the job counts as finished; doing it again changes
 * nothing. Where the source has got rows meanwhile nothing is deleted, and that is told.
 */
MUST_CHECK enum status job_empty_gaps(struct job *job, struct error *error);

/* Adds them to the ranges that are not committed yet, where rows in them are in the way. Both are sorted. */
MUST_CHECK enum status job_add_gaps(struct job *job, struct range **ranges, size_t *count, struct error *error);

/* What a quick look finds wrong with --until of a PostgreSQL source: see engine/method/until_check.h. */
#define JOB_UNTIL_MAX 512
void job_check_until(struct job *job, char text[JOB_UNTIL_MAX]);

/* STATUS_SERVER with the GRANT that is missing. */
MUST_CHECK enum status job_check_privileges(struct job *job, struct error *error);

/* Hints which inputs were added, removed or changed since the checkpoint file was written; some of many. */
void job_tell_inputs(const struct job *job, const struct checkpoint_state *state, struct error *error);

/* STATUS_USAGE with the differences when the checkpoint file is of another job. */
MUST_CHECK enum status job_check_checkpoint(const struct job *job, const struct checkpoint_state *state,
                                            const char *path, struct error *error);

/* --- parts, each in its own file --- */
/* The table's server, and the source's if it is a database; --timezone is a setting of the former. */
MUST_CHECK enum status job_timezone(struct job *job, struct error *error);
MUST_CHECK enum status job_open_target(struct job *job, struct error *error);
MUST_CHECK enum status job_open_postgres(struct job *job, struct error *error);

/* Finds the inputs of a stream, in an order that does not depend on how they were found, and opens them. */
MUST_CHECK enum status job_inputs(struct job *job, struct error *error);
void job_inputs_reset(struct job *job);
struct dialect job_dialect(const struct options *options);

/* --dialect sniff: looks at the heads of some inputs and completes the options, and the dialect of all inputs. */
MUST_CHECK enum status job_sniff(struct job *job, struct error *error);

/* After the layout was made or read: gives it to the inputs. */
void job_share_layout(struct job *job);
MUST_CHECK enum status job_columns(struct job *job, struct error *error);
/* After job_columns: which inputs are transcoded. STATUS_USAGE if --wire binary is impossible. */
MUST_CHECK enum status job_wire(struct job *job, struct error *error);

/* How chunks may be built; and rows brought into the order that this wants. */
MUST_CHECK enum status job_build(struct job *job, struct error *error);
MUST_CHECK enum status job_window(struct job *job, struct error *error);
/* Whether the text of --from or --until is "TABLE=TIME" with the name of this one. */
bool job_window_names(const struct job *job, const char *text);

/* --from, --until: one end of a window, in the type of the table's time; NULL leaves *value as it is. */
MUST_CHECK enum status job_time_option(const struct table *table, const char *option, const char *text, int64_t *value,
                                       struct error *error);
MUST_CHECK enum status job_layout(struct job *job, struct error *error);
MUST_CHECK enum status job_fingerprint(struct job *job, struct error *error);

/* Whether the source gives CSV: a stream, or a command for each range. */
static inline bool job_reads_csv(const struct job *job)
{
    return job->kind != SOURCE_POSTGRES;
}

/* --- job_command.c --- */

bool job_command_is(const char *source);
bool job_command_given(const struct options *options);

/* Starts the command of a stream and reads its header; of one that is run for each range, reads the places. */
MUST_CHECK enum status job_command_open(struct job *job, struct error *error);
void job_command_close(struct job *job);

/* SOURCE_COMMAND, once table and window are known: what the columns are. */
MUST_CHECK enum status job_command_learn(struct job *job, struct error *error);

/* All ranges of the layout, oldest first; STATUS_USAGE where the command cannot be asked for one of them; the caller
 * frees *tasks, also after a failure. */
MUST_CHECK enum status job_command_ranges(const struct job *job, struct task **tasks, size_t *count,
                                          struct error *error);

/* The command's name and the hash of its text. */
void job_command_key(const struct job *job, char *text, size_t size);

/* --- job_unledgered.c --- */

/* --ledger none: STATUS_USAGE for what is not to be had without a ledger. */
MUST_CHECK enum status job_unledgered_check(const struct job *job, struct error *error);

/* Takes from the checkpoint file, which is this job's, what else the ledger says; nothing where there is a ledger. */
MUST_CHECK enum status job_unledgered_resume(struct job *job, const struct checkpoint_state *state,
                                             struct error *error);

/* --- job_writing.c --- */

/* All that the job's options say; the rest is set by the caller. */
void job_append_target(struct job *job, struct append_target *target);

/* target->builds where chunks are or were to be built, NULL otherwise; freed by the caller. --defer-indexes begins
 * here, and what earlier runs have begun is taken over, however this one is to load. */
MUST_CHECK enum status job_builds(struct job *job, struct append_target *target, struct stats *stats,
                                  struct error *error);

/* Which chunks stay as they are when a run ends with `status`. `builds` may be NULL. */
void job_tell_builds(const struct job *job, struct builds *builds, enum status status);

/* Rows that --strategy compress has left outside of the columnstore, and says so. */
MUST_CHECK enum status job_tell_uncompressed(struct job *job, struct error *error);

/* --- job_pipeline.c --- */

/* A chunk that is known to get fewer rows is appended. */
int64_t job_build_rows_min(const struct job *job);

/* Blocks get what is left of --memory once buffers of the threads are counted. */
int64_t job_block_memory(const struct job *job);
int job_readers(const struct job *job);

/* All that follows from the job; writer, target, stop, stats and hooks are the caller's. It borrows from the job. */
struct pipeline_spec job_pipeline(struct job *job);
