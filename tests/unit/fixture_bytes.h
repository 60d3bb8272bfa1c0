/*
 * What tests of readers/bytes.h share: compressed inputs that are made in memory (fixture_bytes_inputs.c), and the ways
 * to read them (fixture_bytes.c).
 *
 * The seed is printed; HYPERFILL_TEST_SEED=… repeats a run.
 */
#pragma once

#include "readers/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY ((int64_t)16 << 20)
#define LARGE_MEMORY ((int64_t)256 << 20)

/* --- Making inputs --- */

struct buffer {
    char *text;
    size_t size, room;
};

void put(struct buffer *buffer, const void *text, size_t size);
void empty(struct buffer *buffer);

uint32_t chance(void);

/* Rows with some disorder in them, so that all parts of the formats are met. */
void put_text(struct buffer *text, size_t size);

enum flags { SIZED = 1, CHECKED = 2, LONG = 4, FAST = 8 };

void put_zstd(struct buffer *file, const char *text, size_t size, int flags);
void put_gzip(struct buffer *file, const char *text, size_t size);

#define INPUT_COUNT 12

/* One input of each sort; `units` gets where each frame or member ends in the file, and in the text. */
struct sort {
    struct buffer file, text;
    enum bytes_kind kind;
    size_t unit_count;
    size_t file_ends[8], text_ends[8];
};

/* number is below INPUT_COUNT; the text has about `size` bytes, or none where it is the empty input. */
void make_sort(struct sort *sort, int number, size_t size);
void free_sort(struct sort *sort);

/* --- Reading them --- */

enum how { SERIAL, THREADS, PIPE, HOW_COUNT };

struct reading {
    enum how how;
    size_t chunk;
    int64_t offset;
    int64_t memory;
    bool verified; /* opened at 0 and verified, it goes to the offset */
    /* What came of it. */
    enum status status;
    enum bytes_kind kind;
    struct buffer out;
    int64_t taken, position;
    struct error error;
};

/* Reads a file that is opened; leaves what was read in reading->out, also where it fails. */
void read_bytes(struct reading *reading, const struct bytes_file *file);
/* The same of bytes in memory, in the way that the reading names. */
void read_input(struct reading *reading, const struct buffer *input);

/* All of the text from the offset on was read. */
void check_text(const struct reading *reading, const struct buffer *text, size_t offset);
void check_all_ways(const struct buffer *input, const struct buffer *text, enum bytes_kind kind, size_t chunk);
/* In all ways, and the error says `problem`. */
void check_refused(const struct buffer *input, const char *problem);

/* Draws the seed, or takes it as given, and says it; the tests may not take for ever. */
int bytes_setup(void **state);
