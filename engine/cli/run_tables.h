/*
 * Between the files of a run of several tables: run_tables.c (the order of things), run_tables_file.c (the checkpoint
 * file), run_tables_load.c (the pipeline, its hooks, and what is shown of it).
 */
#pragma once

#include "engine/cli/commands.h"
#include "engine/cli/tables.h"

struct set_run {
    const struct options *options;
    struct tables tables;
    struct checkpoint *checkpoint;
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint_set before;
    struct stop *stop;
    struct policies_guard *guard; /* of all tables that have policies to pause */
    struct signals *signals;
    struct job_throttle throttle;
    struct stats stats; /* of all tables */
    char title[64];
};

/* --- run_tables_file.c --- */

/* Tells what is in the file and not in the job any more, and the other way round. */
void run_tables_changes(const struct set_run *set);

/* Writes the file anew: a part for each table named now, and those of earlier runs as they were. */
MUST_CHECK enum status run_tables_rewrite(struct set_run *set, struct error *error);

/* --- run_tables_load.c --- */

/* What there is to do and has been done, of each and of all. */
void run_tables_stats(struct set_run *set);

/* Any one that is loaded, as they share what sessions need; NULL: none is. */
struct table_run *run_tables_any(struct set_run *set);

/* Loads all that are to be. The status is of what concerns them all; what is a table's own is in its `failure`. */
MUST_CHECK enum status run_tables_pipeline(struct set_run *set, struct error *error);

/* Tells how each one ended. Many tables that went well need no lines. */
void run_tables_tell(const struct set_run *set);
