/*
 * The pipeline: reader threads, the bounded queue, writer threads, and what happens when one of them fails.
 *
 *     addressable:  task list ─► reader ─┐                      ┌─► writer ─► commit hook
 *                       ▲                ├─► queue of pieces ───┤
 *     stream:       reader (router) ─────┘   (one writer a      └─► writer ─► commit hook
 *                       └── failed, again later ──range)──────────────┘
 *
 * Transient failures are tried again, with decorrelated jitter and within a time budget; a range that keeps failing, or
 * whose rows are bad, is quarantined and the others go on. When failures follow each other without a commit between
 * them, or a server cannot be reached within the budget, the run ends.
 */
#pragma once

#include "engine/piece.h"
#include "engine/throttle.h"

struct pipeline;

/* A range to read, for addressable sources. */
struct task {
    struct place place;
    int32_t table; /* of a job of several tables */
    int32_t input;
    int64_t rows_estimate; /* -1: unknown */
    int64_t bytes_estimate;
};

/* How rows are read. The source's own state is `source`; a session belongs to one reader thread. */
struct reader_ops {
    const char *name;
    /* May leave connecting to the first read. */
    enum status (*open)(void *source, struct pipeline *pipeline, void **session, struct error *error);
    /*
     * Addressable: reads one range into the piece: appends blocks, then piece_complete or piece_fail. Returns nothing:
     * the piece carries the outcome. Must reconnect by itself when its connection is gone; need not retry.
     */
    void (*read)(void *session, struct piece *piece);
    /* Stream: reads inputs until none is left and gives whole pieces to pipeline_submit. Its failure ends the run. */
    enum status (*stream)(void *session, struct error *error);
    void (*close)(void *session); /* NULL is fine */
};

struct write_result {
    bool already; /* was committed before: by an earlier run, another process, or a commit whose answer was lost */
    bool first_of_range; /* no piece of the range, of whichever input, was there before */
    int64_t rows; /* rows and CSV bytes that this range of this input has in the ledger now, all pieces together */
    int64_t bytes;
    int64_t piece_rows; /* of this piece alone; 0 if already */
    int64_t piece_bytes;
    int64_t conflicts, piece_conflicts; /* rows that were left out since the target had their keys: sum, this piece */
    int64_t piece_rejects;              /* rows that were not loaded but written down as rejects */
    /* Of a failure: */
    bool careful; /* rows are bad: once the source is asked again, with piece_spec.careful, they are told apart */
    bool ends;    /* it is not about the range: the run ends */
};

/* How rows are written; one attempt, one transaction of the target. */
struct writer_ops {
    const char *name;
    enum status (*open)(void *target, struct pipeline *pipeline, void **session, struct error *error);
    /* STATUS_TRANSIENT may mean that the commit is in doubt: the next attempt finds out by the ledger. Reconnects
     * itself. */
    enum status (*write)(void *session, struct piece *piece, struct write_result *result, struct error *error);
    /*
     * NULL, or called by each writer thread once no piece is left for it and the run is not to stop: what is to be done
     * when all is committed. Others may still write their last pieces. STATUS_TRANSIENT: it is called again.
     */
    enum status (*finish)(void *session, struct error *error);
    /*
     * NULL, or called by the writer that has ended the last task of one of several tables, so that what finish does
     * for it need not wait for the others. Not being able to is no failure: finish comes later.
     */
    void (*table_ended)(void *session, int32_t table);
    void (*close)(void *session);
};

struct pipeline_spec {
    bool stream;
    int32_t inputs; /* how many, 0 is 1; pieces have numbers below it */
    const struct reader_ops *reader;
    void *source;
    int readers;
    const struct writer_ops *writer;
    void *target;
    int writers;
    const struct task *tasks; /* in the order of work; borrowed until pipeline_run returns */
    size_t task_count;
    /*
     * Of an addressable source: how many tables there are, 0 is 1. With several a failure that is a table's own ends
     * that table and not the run; it is told by the hooks, and the result is of what concerns them all.
     */
    int32_t tables;
    int64_t memory_bytes; /* for blocks */
    /* Streams: a folder for what memory has no room for, or NULL; and how much it may take, 0: half of its room. */
    const char *spill_dir;
    int64_t spill_max;
    int64_t retry_ms;          /* budget of one piece, and of an outage */
    struct throttle *throttle; /* while its gate is shut no piece is begun; NULL: none */
    struct stop *stop;
    struct stats *stats;
    /* Called by writer threads, one at a time, after a commit / when a range is quarantined. A failing hook ends the
     * run. */
    enum status (*committed)(void *context, const struct piece_spec *piece, const struct write_result *result,
                             struct error *error);
    enum status (*failed)(void *context, const struct piece_spec *piece, const struct error *reason,
                          struct error *error);
    /* Of several tables: nothing more of this one is begun. NULL with one. Called as those are. */
    void (*table_failed)(void *context, int32_t table, const struct error *reason);
    void *context;
};

/*
 * Runs to the end. STATUS_OK: everything is committed. STATUS_STOPPED: asked to stop, the rest can be resumed.
 * Otherwise the first failure, in `error`; what was committed is committed.
 */
MUST_CHECK enum status pipeline_run(const struct pipeline_spec *spec, struct error *error);

/* --- for readers and writers --- */

struct stop *pipeline_stop(struct pipeline *pipeline);
struct stats *pipeline_stats(struct pipeline *pipeline);
struct throttle *pipeline_throttle(struct pipeline *pipeline); /* may be NULL */
struct pool *pipeline_pool(struct pipeline *pipeline);
struct spill *pipeline_spill(struct pipeline *pipeline); /* NULL: there is none */
int pipeline_writers(const struct pipeline *pipeline);
int pipeline_readers(const struct pipeline *pipeline);

/*
 * A stream's reader hands over a whole piece, its own hold included. Never waits: memory was counted when its blocks
 * were taken. A piece of a quarantined range is dropped.
 */
void pipeline_submit(struct pipeline *pipeline, struct piece *piece);

/* Writers that wait for a piece now and find none they may take. */
int pipeline_hungry(struct pipeline *pipeline);

/* Bytes of CSV text in pieces that are submitted and not yet committed or dropped; and pieces of one range among them.
 */
int64_t pipeline_queued_blocks(struct pipeline *pipeline);
bool pipeline_range_busy(struct pipeline *pipeline, int64_t lo);

/* A stream's reader begins to gather rows of a cell, and has given them away. */
MUST_CHECK enum status pipeline_cell_opened(struct pipeline *pipeline, int64_t cell_lo, struct error *error);
void pipeline_cell_closed(struct pipeline *pipeline, int64_t cell_lo);

/*
 * Whether more rows of the piece's cell are to come, as far as anybody knows: another piece or task of it, a reader
 * that gathers some, or a reader that has only given what it had so far. A stream may still bring some after a "no".
 */
bool pipeline_cell_busy(struct pipeline *pipeline, const struct piece *piece);

/*
 * Streams: the position in its input before which everything is committed, once `piece` itself is: what is written
 * into the ledger with it.
 */
struct input_position pipeline_frontier(struct pipeline *pipeline, const struct piece *piece);
