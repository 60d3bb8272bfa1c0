/*
 * Between the files of the pipeline: pipeline.c (its parts and its threads), pipeline_read.c and pipeline_write.c (what
 * a thread does), pipeline_failure.c (what becomes of a piece, a range, a table or the run that fails).
 *
 * Who decides what becomes of a piece is always the writer that took it: it sees its own failure and, through
 * piece_next, the reader's. An addressable source is then asked for the range again as a new piece; a stream's piece is
 * kept and written again by the same writer, since later pieces of its range must wait for it anyway.
 *
 * A piece that leaves the books without being committed lowers the floor first: no frontier that is written after it
 * may lie beyond its rows.
 */
#pragma once

#include "engine/pipeline.h"
#include "engine/queue.h"
#include "engine/tasks.h"

struct failed_range {
    int32_t table, input;
    int64_t lo;
};

struct table_state {
    int64_t failures_in_row;
    bool failed; /* nothing more of it is begun */
};

struct pipeline {
    const struct pipeline_spec *spec;
    struct pool *pool;
    struct spill *spill; /* NULL: none */
    struct queue *queue;
    struct task_list *tasks; /* addressable sources */
    struct cells *cells;     /* streams: what readers gather */
    pthread_mutex_t mutex;   /* guards all below, and calls of the hooks */
    struct error error;      /* what ended the run, the first one */
    struct error failure;    /* the first quarantined range's */
    struct table_state *tables;
    struct failed_range *failed;
    size_t failed_count, failed_room;
    int64_t streaming;             /* readers of a stream that are not at their end */
    struct input_position *floors; /* by input: no frontier beyond it */
};

/* Threads; the argument is the pipeline. */
void *pipeline_reader_main(void *argument);
void *pipeline_writer_main(void *argument);

/* --- pipeline_failure.c --- */

/* Ends the run: what is in flight is finished, nothing new is begun. A stop by request is not an error of its own. */
void pipeline_fail(struct pipeline *pipeline, const struct error *error);

/* The piece's last attempt has failed; `ends`: for a reason that is not about the range. */
void pipeline_give_up(struct pipeline *pipeline, const struct piece *piece, bool ends, const struct error *error);

/* Whether the range, from this input, is quarantined. */
bool pipeline_range_failed(struct pipeline *pipeline, const struct piece_spec *spec);

/* The piece will not be committed by this run. */
void pipeline_lower_floor(struct pipeline *pipeline, const struct piece *piece);

/* A server that cannot even be reached within the budget is not about the range. */
bool pipeline_is_outage(const struct error *error);
