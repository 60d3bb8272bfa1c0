/*
 * Threads that decompress ahead of the reader, each its own frames into its own ring; between bytes_parallel.c (the
 * reader's side, starting and ending) and bytes_worker.c (a thread).
 *
 *     units:     [ frame 7, thread 1 ][ frame 8, thread 2 ][ frame 9, thread 1 ] …     in the order of the file
 *     ring of 1: ── 7 7 7 7 9 9 ──►    the reader takes 7 from it, then 8 from thread 2, then 9
 *
 * One thread at a time has the claim: it finds the next frame, has the memory for it, puts it in line. Of a frame whose
 * end is not found soon, and of gzip, it keeps the claim until it has decompressed it: so one long frame is one stream.
 *
 * Nobody waits for ever: the first unit in line always can go on, since what lies before it in its ring was taken, and
 * threads that wait for the claim give back memory when another one wants it. Waits of the reader last as long as a
 * read of the file, so they need not hear a stop; waits of threads end when the reader closes.
 */
#pragma once

#include <pthread.h>

#include "readers/bytes_private.h"

#define THREADS_MAX 16
#define UNITS_MAX 64
/* A frame is looked through for its end so far, before it is taken for a stream. */
#define WALK_MAX ((int64_t)64 << 20)

struct worker {
    struct parallel *parallel;
    pthread_t thread;
    struct decoder decoder; /* opened while `memory` is not 0 */
    int64_t memory;         /* that it holds */
    char *ring;
    /* Positions since the start, in the ring modulo its size. `decoded` is the thread's own, the others guarded. */
    int64_t decoded, given, taken;
    struct error error; /* why its last unit failed; set before the unit is marked */
};

/* A frame, or all of a gzip file, in the line of those that were begun and not all taken. */
struct unit {
    struct worker *worker;
    int64_t position; /* how far into the file it is decompressed */
    int64_t end;      /* in the ring; -1: not yet known */
    int64_t held_to;  /* in the ring, where it must end: so far nothing of it is given, until it is verified; -1: any */
    bool failed;      /* there */
    bool sized;       /* the frame tells the size of its text */
};

struct parallel {
    struct raw *raw;
    enum bytes_kind kind;
    int64_t ring_size;
    int64_t memory_max;
    int worker_count;
    pthread_mutex_t mutex; /* guards all below, and given and taken of the workers */
    pthread_cond_t work;   /* for threads: room, the claim, memory, the end */
    pthread_cond_t filled; /* for the reader */
    struct unit units[UNITS_MAX];
    uint64_t unit_first, unit_next;
    int64_t text;             /* position in it that was taken so far */
    struct bytes_place frame; /* the first that was not taken to its end */
    bool unsized;             /* there was one that was not `sized` */
    int64_t next;             /* where the next frame is looked for */
    bool claimed;             /* by a thread */
    bool ended;               /* no more frames */
    bool closing;             /* the reader wants no more */
    bool memory_wanted;       /* by who has the claim */
    int64_t memory_used;
    struct worker workers[THREADS_MAX];
};

/* A thread; the argument is its worker. */
void *parallel_worker_main(void *argument);
