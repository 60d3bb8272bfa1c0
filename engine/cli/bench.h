/*
 * Between the files of `bench`: command_bench.c (the order of things), bench_measure.c (one measurement), bench_watch.c
 * (its limits), bench_sample.c (rows kept in memory, to be written without the source), bench_writer.c (the writers it
 * measures with), bench_advice.c (what the numbers mean), bench_report.c (table, CSV, plot).
 *
 *     read alone     source ─► reader ─► pieces ─► counted and dropped
 *     write alone    rows in memory    ─► pieces ─► writer ─► scratch copy of the table
 *     both           source ─► reader ─► pieces ─► writer ─► scratch copy
 */
#pragma once

#include <stdio.h>

#include "engine/cli/commands.h"
#include "engine/cli/job.h"
#include "writers/scratch.h"

enum bench_kind { BENCH_READ, BENCH_WRITE, BENCH_BOTH, BENCH_KINDS };

struct bench_result {
    double rows, bytes; /* CSV, or binary where the rows travel so */
    double seconds;
    double own;     /* processor seconds of this process and its children */
    double machine; /* processor seconds of all that ran on this machine */
};

/* All that was measured with one number of writers. */
struct bench_level {
    int jobs, readers;
    struct bench_result results[BENCH_KINDS];
};

static inline double bench_rate(const struct bench_level *level, enum bench_kind kind)
{
    const struct bench_result *result = &level->results[kind];

    return result->seconds > 0 ? result->rows / result->seconds : 0;
}

/* ---- bench_sample.c ---- */

struct sample_piece {
    struct place place;
    int32_t input;
    char *text;
    size_t size, room;
    uint32_t first_record;
    int64_t rows;
};

/* Rows of the source, as many as memory allows; no two pieces of one range. */
struct sample {
    struct sample_piece *pieces;
    size_t count, room;
    size_t size, size_max;
    int64_t rows;
    int64_t until_ns; /* no new piece is begun after it */
    bool full;        /* the next piece had no room */
    struct task *tasks;
};

/* Reads the first ranges of the job, or the beginning of its files, into half of --memory. The job is opened and
 * planned, its ranges are cut where they are large. */
MUST_CHECK enum status sample_take(struct sample *sample, struct job *job, struct stop *stop, int64_t limit_ms,
                                   struct error *error);
void sample_free(struct sample *sample);

/* A source that has the sample's ranges. */
extern const struct reader_ops sample_reader;

/* ---- bench_writer.c ---- */

/* Drops the rows. */
extern const struct writer_ops counting_writer;

/* Hands on to another writer and notes when each session had its last piece committed. */
struct timed_writer {
    const struct writer_ops *inner;
    void *target;
    pthread_mutex_t mutex; /* guards what follows */
    int64_t *last_ns;      /* of sessions that are closed, in no order */
    int count, room;
};
extern const struct writer_ops timed_writer;

/* ---- bench_watch.c ---- */

/*
 * Ends a measurement by stopping `inner`: when its limits are reached, or when the user stops the program (`outer`).
 */
struct watch {
    struct stop *outer, *inner;
    struct stats *stats;
    bool reads;                   /* and does not write */
    bool stream;                  /* of the source */
    _Atomic int64_t bytes_before; /* that were read when the source was opened */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t cond;
    int64_t deadline_ns; /* 0: none yet */
    int64_t rows_max;
    bool end;
    int64_t limit_ns;   /* when a limit was reached; 0: not */
    int64_t bytes_read; /* until then */
};

MUST_CHECK enum status watch_start(struct watch *watch, struct error *error);
void watch_begin(struct watch *watch, int64_t limit_ms, int64_t limit_rows); /* time counts from here */
void watch_committed(struct watch *watch);
void watch_finish(struct watch *watch);

/* ---- bench_measure.c ---- */

struct bench {
    const struct options *options;
    struct options own; /* of jobs that write to the scratch copy */
    struct stop *stop;
    struct signals *signals;
    struct stop *scratch_stop; /* never asked to stop: the scratch is removed in any case */
    struct pg_address address;
    struct table table;
    struct scratch scratch;
    struct sample sample;
    double bytes_per_row; /* in the sample */
    struct bench_level *levels;
    int level_count;
    int64_t limit_ms;
    bool stream, ordered, compressed; /* of the source */
    FILE *csv;                        /* in --output-dir; NULL: there is none */
};

MUST_CHECK enum status bench_sample(struct bench *bench, struct error *error);
MUST_CHECK enum status bench_measure(struct bench *bench, enum bench_kind kind, struct bench_level *level,
                                     struct error *error);

/* ---- bench_advice.c ---- */

enum bench_limit { LIMIT_SOURCE, LIMIT_TARGET, LIMIT_PROCESSORS };

struct bench_advice {
    int knee; /* index of the level after which more writers gain less than a tenth */
    enum bench_limit limit;
    int jobs, readers;
    int64_t memory_bytes;
};

/* What a run needs besides the rates to be advised. */
struct bench_facts {
    int processors;
    int64_t memory_bytes; /* --memory as it was measured with */
    bool stream, ordered, compressed;
};

void bench_advise(const struct bench_level *levels, int count, const struct bench_facts *facts,
                  struct bench_advice *advice);

/* ---- bench_report.c ---- */

/* Opens the files of --output-dir, which it makes, so that it is known early whether that can be done. */
MUST_CHECK enum status bench_open_files(struct bench *bench, struct error *error);
void bench_print(const struct bench *bench, const struct bench_advice *advice, int processors);
MUST_CHECK enum status bench_write_files(struct bench *bench, struct error *error);
void bench_close_files(struct bench *bench);

/* ---- bench_plot.c ---- */

/* gnuplot's picture of the levels, and the end of the line that names the files. STATUS_OK without a picture if there
 * is no gnuplot, which is said. */
MUST_CHECK enum status bench_plot(const struct bench *bench, const char *path, struct error *error);
