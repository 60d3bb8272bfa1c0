/*
 * What the parts of the checkpoint file share: the look of a line, writing lines into memory, reading records from it.
 *
 *     checkpoint.c       ──► checkpoint_lines.c       lock, replace, append
 *     checkpoint_read.c  ──► checkpoint_record.c      load, check, merge
 *     checkpoint_set.c   ──► both                     the same for a file of several tables
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "engine/checkpoint.h"

#define CHECKPOINT_MAGIC "hyperfill checkpoint "
#define CHECKPOINT_FIRST CHECKPOINT_MAGIC "1"
#define CHECKPOINT_FIRST_SET CHECKPOINT_FIRST " tables"
#define CHECKPOINT_TIME_SIZE 32

/* A line is its record, a blank, and XXH3 of the record in this form. */
#define CHECKSUM_FORMAT "%016" PRIx64
#define CHECKSUM_SIZE 16

/* By enum checkpoint_end. */
#define CHECKPOINT_END_NAMES                                                                                           \
    {                                                                                                                  \
        "running", "complete", "stopped", "failed"                                                                     \
    }

static inline uint64_t checkpoint_checksum(const char *record, size_t size)
{
    return XXH3_64bits(record, size);
}

struct lines {
    FILE *stream; /* into text */
    char *text;
    size_t size;
    size_t line; /* where the current one begins */
};

/* After lines_close the text is the caller's to free, whatever it returned: out of memory shows there. */
MUST_CHECK enum status lines_open(struct lines *lines, struct error *error);
MUST_CHECK enum status lines_close(struct lines *lines, struct error *error);

/* Now, in UTC, as it is written into lines. */
const char *lines_now(char buffer[CHECKPOINT_TIME_SIZE]);

/* A line each; `at` is its time, empty where it is not known any more. */
void lines_start(struct lines *lines, const char *at);
void lines_plan(struct lines *lines, int64_t ranges, int64_t rows, int64_t bytes);
void lines_piece(struct lines *lines, const struct checkpoint_piece *piece, const char *at);
void lines_rejects(struct lines *lines, int64_t all, int64_t open, const char *at);
void lines_frame(struct lines *lines, const struct checkpoint_frame *frame);
void lines_failure(struct lines *lines, const struct checkpoint_failure *failure, const char *at);
void lines_stop(struct lines *lines, enum checkpoint_end end, const char *at);

/* The first line of a file; and the one that says whose lines follow. */
void lines_first(struct lines *lines, const char *first);
void lines_table(struct lines *lines, const char *name);

/* All lines but the first, saying what the state says. */
void lines_state(struct lines *lines, const struct checkpoint_state *state);

/* What became of a record. */
enum outcome { LINE_FINE, LINE_DAMAGED, LINE_NO_MEMORY };

struct entry {
    struct checkpoint_piece piece;
    size_t order; /* by line */
};

/* A file in the making of its state. */
struct reading {
    struct checkpoint_state *state;
    struct entry *entries; /* one a piece line, merged at the end */
    size_t entry_count;
    size_t run_first; /* the first entry of the last run */
    bool run_summed;  /* a `run` line says how long the last run took */
};

/* Takes in a record, without its checksum. */
enum outcome record_read(struct reading *reading, const char *record, size_t size);

/* The name in a line of lines_table; LINE_DAMAGED if it is none. */
enum outcome table_read(const char *record, size_t size, char **name);

/* --- checkpoint_read.c --- */

/* All of the file; *text is NULL where there is none. The caller frees it, also after a failure. */
MUST_CHECK enum status checkpoint_load(const char *path, char **text, size_t *size, struct error *error);

/*
 * The first line tells whether the file is ours, and of the kind that begins with `first`. `rest` is what follows it,
 * or NULL. Sets what the state says of the file.
 */
MUST_CHECK enum status checkpoint_first_line(const char *path, const char *first, const char *text, size_t size,
                                             struct checkpoint_state *state, const char **rest, struct error *error);

/* Takes the checksum off a line, without its newline. */
bool checkpoint_line_check(const char *line, size_t *size);

/* After the last record: merges pieces, and says how long the last run took. */
enum outcome checkpoint_reading_end(struct reading *reading);

void checkpoint_failures_free(struct checkpoint_state *state);
