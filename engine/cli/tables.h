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
#include "engine/method/cascade.h"

struct table_run {
    struct run run;
    struct options options; /* of this table alone */
    char *source, *target;  /* names as given */
    char *part;             /* in the checkpoint file: the name in the target once it is known, else as given */
    struct error failure;   /* the first thing that went wrong */
    int64_t ranges_failed;
    _Atomic int64_t left, ended; /* tasks; only the pipeline's hooks change them */
    bool opened, planned, loading;
    struct cascade cascade; /* with --cascade: the aggregates on it */
    char *aggregate;        /* of --cascade: the view; NULL: a table that was named */
    char *from, *until;     /* of --cascade: what the options of this table alone point to */
};

struct tables {
    const struct options *options;
    struct stop *stop;
    struct job_sides sides;
    struct table_run *items;
    int32_t count, room; /* items do not move */
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

/* --- tables.c, for tables_cascade.c --- */

/* The next of the items, which have room for it. Takes the names, also in a failure. */
MUST_CHECK enum status tables_add(struct tables *tables, char *source, char *target, struct table_run **table,
                                  struct error *error);

/* Opens the items from `first` on. */
MUST_CHECK enum status tables_open_items(struct tables *tables, int32_t first, struct error *error);

/* --- tables_cascade.c --- */

/* How many there may be; tells when there are none. */
MUST_CHECK enum status tables_cascade_room(struct tables *tables, int32_t *room, struct error *error);

/* Adds the aggregates on tables that are open, and opens them. */
MUST_CHECK enum status tables_cascade(struct tables *tables, struct error *error);

/* Before anything is registered: what the first run of a job fixes. */
MUST_CHECK enum status tables_cascade_begin(struct tables *tables, struct error *error);

/* What cascade_find wants of an open job. */
void cascade_spec_fill(const struct job *job, struct cascade_spec *spec);

/* The options for the rows of an aggregate; *from and *until are new strings that they point to. */
void cascade_options(const struct options *options, const struct cascade_table *table, char **from, char **until,
                     struct options *own);

/* --- tables_find.c --- */

/* One table to load: names as table_describe takes them. */
struct table_names {
    char *source, *target;
};

/* What --table and --filter name, --table first; connects the sides. The caller frees names and list. */
MUST_CHECK enum status tables_find(struct job_sides *sides, const struct options *options, struct table_names **names,
                                   int32_t *count, struct error *error);
