/*
 * Counters of a run, written by all threads and read by the progress line. Atomics without order: each number is
 * right by itself, a view of them is taken at about one moment.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct stats {
    /* Work, fixed when the run begins; -1: unknown. Rows and bytes are estimates unless the source can count. */
    _Atomic int64_t ranges_total, rows_total, bytes_total;
    /* Done in earlier runs of this job. */
    _Atomic int64_t ranges_before, rows_before, bytes_before;
    /* Done by this run: committed in the target. Bytes are CSV bytes. */
    _Atomic int64_t ranges_done, rows_done, bytes_done, pieces_done;
    _Atomic int64_t conflicts_before, conflicts_done; /* rows that were left out: the target had their keys */
    _Atomic int64_t ranges_failed;
    _Atomic int64_t builds_open,
        builds_done; /* chunks begun to be built and not complete, of all runs; built by this one */
    _Atomic int64_t rejects_before, rejects_done; /* rows that were rejected: by earlier runs, by this one */
    _Atomic int64_t bytes_read;   /* taken from the source by this run, including what is skipped on resume */
    _Atomic int64_t input_offset; /* stream sources: how far the input is read, in bytes of the file */
    _Atomic int64_t input_size;   /* stream sources: its size; -1: unknown */
    _Atomic int64_t input_text;   /* stream sources: how far, in CSV bytes: more, where the file is compressed */
    _Atomic int64_t bytes_sent;   /* given to COPY; more than bytes_done while pieces are in flight or retried */
    _Atomic int64_t rows_skipped; /* outside [from, until) */
    _Atomic int64_t retries;
    _Atomic int64_t reader_wait_ns;                  /* readers waited for room, summed over threads */
    _Atomic int64_t writer_wait_ns;                  /* writers waited for rows, summed over threads */
    _Atomic int64_t packed_raw_bytes, packed_bytes;  /* compressed while waiting: before and after */
    _Atomic int64_t spilled_bytes, spill_peak_bytes; /* written to --spill-dir, and its largest size */
    _Atomic int64_t blocks_used, blocks_total;       /* fill of the queue's memory */
    _Atomic int32_t readers_active, writers_active;
    _Atomic int32_t readers, writers;
};

static inline void stats_add(_Atomic int64_t *counter, int64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static inline int64_t stats_get(const _Atomic int64_t *counter)
{
    return atomic_load_explicit((_Atomic int64_t *)counter, memory_order_relaxed);
}

/* Monotonic nanoseconds. */
int64_t stats_now_ns(void);
