/*
 * Between the files that open a stream input: stream.c (all of it, in order), stream_file.c (the file, and whether it
 * stays as it is), stream_head.c (as much text as holds its first record), stream_header.c (names of columns).
 */
#pragma once

#include "readers/stream.h"

/* --- stream_file.c --- */

/* Opens it and says what it is; refuses one that somebody writes. */
MUST_CHECK enum status stream_open_file(struct stream_source *source, struct error *error);

/* --- stream_head.c --- */

/* Where the first record begins in the head: behind a BOM, lines to be skipped, comments. */
struct head_place {
    size_t at;
    int64_t lines;
    int skipped;
};

/* Reads once more behind the head. */
MUST_CHECK enum status stream_head_read(struct stream_source *source, struct error *error);

/* Reads until the first record is whole. *size is 0 if there is none. */
MUST_CHECK enum status stream_head_fill(struct stream_source *source, struct head_place *place, size_t *size,
                                        int64_t *lines, struct error *error);

/* --- stream_header.c --- */

/* The record as the header; it is not empty. */
MUST_CHECK enum status stream_header_read(struct stream_source *source, const char *text, size_t size,
                                          struct error *error);

/* STATUS_DATA, about the header or what stands in its place. */
enum status stream_header_error(const struct stream_source *source, struct error *error, const char *text);
