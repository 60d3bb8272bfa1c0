/*
 * A job: what `plan` shows and `run` does. Opens and describes both sides, settles columns, window and layout, finds
 * what earlier runs have committed, and makes the list of what is left.
 */
#pragma once

#include "engine/checkpoint.h"
#include "engine/cli/options.h"
#include "readers/postgres.h"
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

struct job {
    const struct options *options;
    struct stop *stop;
    bool stream; /* else PostgreSQL */
    struct pg_address source_address, target_address;
    struct pg_setting source_settings[JOB_SETTINGS_MAX], target_settings[JOB_SETTINGS_MAX];
    char *timezone_setting;
    struct pg *source, *target; /* for planning; sessions have their own */
    struct table source_table, table;
    struct postgres_source postgres;
    struct stream_source csv;
    struct stream_mark *marks;
    char **columns; /* of the target, in the order of the CSV fields */
    int column_count;
    char *column_list, *select_list; /* quoted */
    char *copy_options;
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
    int64_t source_last; /* newest time seen in the source; INT64_MIN: unknown */
    struct stream_sample sample;
    struct overlap_report overlap; /* rows of others inside ranges that are not committed yet */
};

/* All of the above but the tasks and the overlap. Changes nothing anywhere. job_close takes a job in any state. */
MUST_CHECK enum status job_open(struct job *job, const struct options *options, struct stop *stop, struct error *error);
void job_close(struct job *job);

/* Reads what the ledger has of the job; the layout that stands there replaces ours. */
MUST_CHECK enum status job_read_ledger(struct job *job, struct error *error);

/* The tasks left, and rows of others in their ranges (counted unless the rule is `keep`). */
MUST_CHECK enum status job_plan(struct job *job, struct error *error);

/* STATUS_DATA when the rule is `error` and rows of others are in the way. */
MUST_CHECK enum status job_check_overlap(const struct job *job, struct error *error);

/*
 * `replace` with a stream: what lies between the ranges of the input belongs to ranges for which it has no rows, and
 * which no piece has emptied. Done after the last piece and before the job counts as finished; doing it again changes
 * nothing.
 */
MUST_CHECK enum status job_empty_gaps(struct job *job, struct error *error);

/* STATUS_SERVER with the GRANT that is missing. */
MUST_CHECK enum status job_check_privileges(struct job *job, struct error *error);

/* STATUS_USAGE with the differences when the checkpoint file is of another job. */
MUST_CHECK enum status job_check_checkpoint(const struct job *job, const struct checkpoint_state *state,
                                            const char *path, struct error *error);

/* --- parts, each in its own file --- */
MUST_CHECK enum status job_columns(struct job *job, struct error *error);
MUST_CHECK enum status job_window(struct job *job, struct error *error);
MUST_CHECK enum status job_layout(struct job *job, struct error *error);
MUST_CHECK enum status job_fingerprint(struct job *job, struct error *error);

/* Blocks get what is left of --memory once buffers of the threads are counted. */
int64_t job_block_memory(const struct job *job);
int job_readers(const struct job *job);
