/*
 * Parts of the way of a row, each with a fixed amount of work over text that is made in memory: for counting
 * instructions (bench/instructions.sh). To add a part, write a function, put it into its file's table, and a new table
 * into that of parts.c; then record its figure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/chain.h"

struct part {
    const char *name;
    const char *unit; /* what `units` counts: "byte", "row" */
    /* Prepares, does the work within parts_measure, cleans up. Gives how many units the work was for. */
    enum status (*run)(const struct part *part, int64_t *units, struct error *error);
    int variant; /* for `run`, of its own file */
};

/* Tables end with a part that has no name. */
extern const struct part parts_read[], parts_route[], parts_blocks[], parts_write[], parts_transcode[];

/* Calls `work`. Instructions are counted in here and nowhere else: by this function's name. */
MUST_CHECK enum status parts_measure(enum status (*work)(void *context, struct error *error), void *context,
                                     struct error *error);

/* --- parts_text.c --- */

enum text_kind {
    TEXT_PLAIN,    /* a time (of one day, in order), a number, a name, ten numbers */
    TEXT_QUOTED,   /* the same with quotes around each field, in some a quote or a line end */
    TEXT_SHUFFLED, /* the same rows as PLAIN, each elsewhere */
};

#define TEXT_FIELDS 13
#define TEXT_ROWS 8640

struct text {
    char *data;
    size_t size;
    int64_t rows;
};

/* The same text at each call. The caller frees text->data. */
MUST_CHECK enum status text_make(enum text_kind kind, struct text *text, struct error *error);

/* The same as an open file without a name, which the caller closes. */
MUST_CHECK enum status text_file(const struct text *text, int *fd, struct error *error);

/* --- parts_chain.c: such a text in blocks --- */

#define TEXT_BLOCK_SIZE (UINT32_C(256) << 10)
#define TEXT_BLOCK_COUNT 16

struct text_blocks {
    struct text text;
    struct stop *stop;
    struct pool *pool;
    struct packer *packer;
    struct chain chain; /* of raw blocks, each a stretch of its own */
};

/* Whatever the status is, text_blocks_close takes it apart. */
MUST_CHECK enum status text_blocks_open(enum text_kind kind, struct text_blocks *blocks, struct error *error);
void text_blocks_close(struct text_blocks *blocks);

/* --- Speed, of a file in megabytes (10^6 bytes) for each second of processor time --- */

MUST_CHECK enum status speed_cut(const char *path, double *speed, struct error *error);
MUST_CHECK enum status speed_route(const char *path, double *speed, struct error *error);

double processor_seconds(void);
