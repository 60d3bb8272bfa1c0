/*
 * A run of one table: what `hyperfill run` does alone for one, and beside others for several. The order of calls:
 *
 *     job_open ─► run_plan ─► run_register ─► (job_plan again) ─► run_state into the file ─► pipeline ─► run_end
 */
#pragma once

#include "engine/cli/commands.h"
#include "engine/cli/job_rejects.h"
#include "engine/cli/job_throttle.h"
#include "engine/method/policies.h"

struct run {
    struct job job;
    struct stats stats;
    struct checkpoint *checkpoint;
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint_state before; /* what the file said */
    struct append_target append;
    struct stop *stop;
    struct signals *signals;
    struct policies_guard *guard; /* of policies that are paused; NULL: none */
    bool guard_shared;            /* by several tables: it is not ours to free */
    struct job_rejects rejects;
    struct job_throttle throttle;      /* of a run of one table */
    int64_t rejects_all, rejects_open; /* as the checkpoint file has them */
    bool bad_rows;                     /* a range has failed for its rows */
    bool known;                        /* the ledger had the job before this run */
};

/*
 * An open job, against what the checkpoint file said of it before: refuses a file of another job and rivals, finds the
 * tasks left and rows that are in the way. Of a job that is finished only the first.
 */
MUST_CHECK enum status run_plan(struct run *run, const struct checkpoint_state *before, struct error *error);

/* Registers the job; where another process was faster, its layout is ours. */
MUST_CHECK enum status run_register(struct run *run, struct error *error);

/* Warns of a completion point that cannot be right, as far as a quick look at both sides shows it. */
void run_tell_until(struct run *run);

/* What the file is to say of the job as the ledger has it. The state borrows from the run; reset it, also after a
 * failure. */
MUST_CHECK enum status run_state(struct run *run, struct checkpoint_state *state, struct error *error);
void run_state_reset(struct checkpoint_state *state);

/* Frames of compressed inputs that readers come by are written into the file. */
void run_note_frames(struct run *run);

/* What the job has to do and has done, into its counters. */
void run_set_stats(struct run *run);

/* The pipeline's hooks. */
MUST_CHECK enum status run_committed(struct run *run, const struct piece_spec *piece, const struct write_result *result,
                                     struct error *error);
MUST_CHECK enum status run_failed(struct run *run, const struct piece_spec *piece, const struct error *reason,
                                  struct error *error);

/*
 * How it ended, into the file; `status` is how the loading did, with its error. A job whose rows are all in is written
 * into the ledger as complete, through restarts of the server.
 */
MUST_CHECK enum status run_end(struct run *run, enum status status, struct error *error);

/* --- run_policies.c --- */

/* For one table, or for several; the address and the stop live longer. */
MUST_CHECK enum status run_guard(const struct options *options, const struct pg_address *target, struct stop *stop,
                                 struct policies_guard **guard, struct error *error);

/* STATUS_SERVER if policies are to be paused that this role may not alter. */
MUST_CHECK enum status run_check_policies(struct run *run, struct error *error);

/* Before the first row, and after all that could refuse the job; run_restore_policies belongs to it, also if it fails.
 */
MUST_CHECK enum status run_pause_policies(struct run *run, struct error *error);

/* However the run has ended with `status`: gives that, or why policies could not be restored where all else went well.
 */
MUST_CHECK enum status run_restore_policies(struct run *run, enum status status, struct error *error);

/* Of a job that is complete: restores what killed runs have left paused. */
MUST_CHECK enum status run_take_over_policies(struct run *run, struct error *error);

/* --- run_late.c --- */

/* Where --late wants both sides to be compared; STATUS_USAGE if it cannot be read, or the source is no database. */
MUST_CHECK enum status run_check_late(const struct run *run, struct range *window, struct error *error);

/*
 * Of a job that is complete: loads again what came late, as often as it is asked. Nothing without --late. STATUS_DATA
 * if both sides still differ afterwards. Connections are its own.
 */
MUST_CHECK enum status run_catch_up(struct run *run, struct error *error);
