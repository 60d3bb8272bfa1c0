/*
 * What the operator sees while a run goes on: a bar on a terminal, plain lines otherwise, JSON events when asked, and
 * the closing summary. A thread of its own reads the counters; the pipeline does not know it.
 */
#pragma once

#include "engine/cli/options.h"
#include "engine/stats.h"
#include "engine/throttle.h"

struct progress;

/* What is known of the job when the display starts; texts are borrowed until progress_finish. */
struct progress_job {
    const char *table;
    const char *job;
    const char *source; /* without secrets */
    const char *target;
    const char *checkpoint;
    bool resumed;
    /* Of several tables: which are under way, for the line that moves; NULL: `table`. */
    const char *(*under_way)(const void *context, char *text, size_t size);
    const void *context;
    struct throttle *throttle; /* whose gate may be shut; NULL: none */
};

/*
 * AUTO is a bar where standard error is a terminal, plain lines elsewhere. A bar is redrawn about 5 times a second and
 * fits the terminal's width (COLUMNS, TIOCGWINSZ; follows a resize); plain lines come every 10 seconds; JSON events,
 * one object a line on standard output, every second: {"event":"progress", ...}. NONE shows nothing.
 */
MUST_CHECK enum status progress_start(enum progress_mode mode, const struct stats *stats,
                                      const struct progress_job *job, struct progress **progress, struct error *error);

/*
 * Ends the thread, clears the bar and prints the summary: rows, bytes, time, rate, compression ratio of the queue,
 * seconds that readers and writers waited, which side was the limit; retries, ranges failed. `result` is how the run
 * ended. Frees it; NULL is fine.
 */
void progress_finish(struct progress *progress, enum status result);

/*
 * Which side limited: compares the share of their time that writers waited for rows with the share that readers
 * waited for room. "the source" or "the target"; "neither" when nothing was done.
 */
const char *progress_limit(const struct stats *stats, int64_t elapsed_ns);
