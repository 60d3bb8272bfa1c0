/*
 * Continuous aggregates that are loaded beside their hypertable: --cascade. What they keep of raw rows that retention
 * has dropped cannot be made again by refreshing them; it is copied from where the source stores it to where the target
 * does. Both are found by the name of the view, as their own names are made up by each server.
 *
 *     source's buckets   ████████████████████████████████▒▒
 *                        ╰──────────── copied ──────────╯ ╰ refreshed from raw rows: the bucket that holds T, and
 *     raw rows                          ████████████████T   those that the source has not made yet
 *
 * T and --from of the hypertable become ends of buckets: copied are those that begin at or after the bucket that holds
 * --from, and end at or before T; so windows that follow each other leave no bucket out and copy none twice. They
 * end with the last bucket that the source has. What comes after is left to be refreshed, by the raw rows' own ranges;
 * what was copied is not refreshed (refresh.h).
 *
 *     hyperfill.cascade   one row an aggregate of a job: its window, fixed by the first run
 *
 * The server knows nothing of rows that were put into an aggregate: to it the whole of time has yet to be refreshed,
 * and a refresh policy that reaches back far enough would make empty what has no raw rows any more. So before the first
 * row the time before the source's raw rows is refreshed, where the target has none either: nothing is changed by that,
 * and it is done with for later refreshes.
 */
#pragma once

#include "engine/method/aggregates.h"
#include "writers/ledger.h"

struct cascade_table {
    char *name;            /* of the view, quoted and qualified, as are the others */
    char *source, *target; /* where its rows are stored; target NULL: see problem */
    uint32_t target_oid;
    char *problem; /* why it cannot be loaded; NULL: it can */
    enum time_type type;
    struct range window; /* where its buckets begin; empty: nothing to copy */
    int64_t raw_begins;  /* the first bucket that may have something to be made of; INT64_MIN: not known */
};

struct cascade {
    struct cascade_table *tables; /* each behind the one that it is built on */
    size_t count;
    bool kept; /* fixed by an earlier run */
};

struct cascade_spec {
    struct pg *source, *target; /* connected; all borrowed */
    const struct table *source_table, *target_table;
    const struct ledger *ledger; /* with the id of the hypertable's job */
    struct range window;         /* of that job; has an end */
};

/* All aggregates of the source's table; none where it is no hypertable of the community edition. Changes nothing. */
MUST_CHECK enum status cascade_find(const struct cascade_spec *spec, struct cascade *cascade, struct error *error);
void cascade_reset(struct cascade *cascade);

/* Before the first row: refreshes what is empty on purpose, and fixes the windows. Nothing if they are. */
MUST_CHECK enum status cascade_begin(const struct cascade_spec *spec, const struct cascade *cascade,
                                     struct error *error);

/* Where the target stores the aggregates on the table with this oid, names in a column; without an extension none. */
MUST_CHECK enum status cascade_stored(struct pg *pg, uint32_t oid, PGresult **names, struct error *error);
