/*
 * Several tables in one job.
 *
 * Each table stays a job of its own in the ledger, with its fingerprint, its layout and its pieces, as if it had been
 * run alone; it can be resumed alone, and tables may be added to the others or left out at any time. What they share
 * is above that: two connections a side for planning, one checkpoint file with a part for each, one pipeline with its
 * threads, connections and memory (engine/interleave.h), one view of the progress.
 *
 *     --table, --filter ─► tables_find ─► tables_open ─► tables_plan ─► plan: shown    run: loaded
 *
 * What is wrong with one table is kept with it and stops no other; what is wrong with a server or with how the tables
 * were named stops all.
 */
#pragma once

#include "engine/cli/run.h"

struct table_run {
    struct run run;
    struct options options; /* of this table alone */
    char *source, *target;  /* names as given */
    char *part;             /* in the checkpoint file: the name in the target once it is known, else as given */
    struct error failure;   /* the first thing that went wrong */
    int64_t ranges_failed;
    _Atomic int64_t left, ended; /* tasks; only the pipeline's hooks change them */
    bool opened, planned, loading;
};

struct tables {
    const struct options *options;
    struct stop *stop;
    struct job_sides sides;
    struct table_run *items;
    int32_t count;
};

/*
 * Opens and plans all of them. `before` is what the checkpoint file said; NULL: nothing is to be begun, and no file is
 * looked at. A failure of one is in its `failure`. tables_reset takes them in any state.
 */
MUST_CHECK enum status tables_open(struct tables *tables, const struct options *options,
                                   const struct checkpoint_set *before, const char *path, struct stop *stop,
                                   struct error *error);
void tables_reset(struct tables *tables);

/* Keeps what is wrong with a table; a status that concerns them all is given back, and STATUS_OK otherwise. */
MUST_CHECK enum status table_failed(struct table_run *table, struct error *error);

/* The status of several, and in the error which tables failed and why. STATUS_OK: none. */
MUST_CHECK enum status tables_result(const struct tables *tables, struct error *error);

/* The more has to be done about it, the worse. */
enum status status_worse(enum status one, enum status other);

/* --- tables_find.c --- */

/* One table to load: names as table_describe takes them. */
struct table_names {
    char *source, *target;
};

/* What --table and --filter name, --table first; connects the sides. The caller frees names and list. */
MUST_CHECK enum status tables_find(struct job_sides *sides, const struct options *options, struct table_names **names,
                                   int32_t *count, struct error *error);
