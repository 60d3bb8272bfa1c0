/*
 * Continuous aggregates of a hypertable, refreshed where its history was loaded: refresh policies never look that far
 * back.
 *
 * By the ledger: ranges of finished jobs that were not refreshed since, where the table still has chunks (a range whose
 * rows retention has dropped would be made empty in the aggregates, too). Or a window that is given. Each aggregate
 * after the one that it is built on; in batches of some buckets, each a transaction of the server's, with what is done
 * kept behind each of them, so that a run that was stopped or killed goes on from there.
 *
 *     hyperfill.refresh    one row a range of an aggregate: done up to where, begun when
 *
 * A window is widened to whole buckets by the server's own time_bucket with the aggregate's own arguments, so months
 * and time zones are right; it never reaches further beyond the completion point than to the end of that bucket (but
 * see the last case below).
 *
 * What jobs have loaded into an aggregate itself (cascade.h, or by hand) is left as it is, also in a window: its raw
 * rows may be gone. What is left to do then is the bucket that holds the completion point, and what the source had not
 * made.
 *
 * With force from TimescaleDB 2.21 on: attach_chunk and chunks made of binary tables leave no trace in the log of
 * invalidations, without which a refresh would find nothing to do. Before that version force takes one bucket too many,
 * and tables with aggregates are loaded in no way that leaves none: there a plain refresh does, which passes over
 * buckets of which the server knows that nothing has changed.
 *
 * Buckets of fixed length that an origin or offset has moved are refreshed two at a time at least before 2.25.2, with
 * force (2.18): the server finds its windows too small otherwise. If there is one alone its neighbour is taken along:
 * the one before it if the table still has all its chunks, so that it is never made empty, and no job has loaded it;
 * otherwise the one behind.
 */
#pragma once

#include "writers/ledger.h"

struct refresh_spec {
    struct pg *pg; /* connected; all borrowed */
    const struct ledger *ledger;
    const struct table *table;
    struct stop *stop;
    int64_t retry_ms;
    bool window_given;
    struct range window; /* half-open; used if given */
};

struct refresh_done {
    size_t aggregates; /* of the table */
    size_t ranges, batches;
    bool unfinished; /* some job of the table is not finished: its ranges are not refreshed yet */
};

/*
 * Tells of progress by log lines. STATUS_STOPPED between two batches from DRAIN on. No aggregates, nothing to do, and a
 * table that is no hypertable of the community edition are no errors: `done` says.
 */
MUST_CHECK enum status refresh_run(const struct refresh_spec *spec, struct refresh_done *done, struct error *error);
