/*
 * CSV records into rows of a binary COPY: exactly, or not at all.
 *
 *     record   2024-01-01T00:00:00Z,7,"a ""b""",\n
 *     row      4 fields | 8, microseconds | 4, 00000007 | 5, a "b" | -1
 *
 * A record is converted only if the server would store the same bytes for its text; spellings of values that are not
 * known to be read exactly are refused, which is no error: the record goes as CSV then, and the server itself judges
 * it. What the server does to a value in both formats is left to it: the type modifier (numeric(5,2), varchar(10),
 * timestamp(3)), constraints of domains, labels of enums, JSON, encodings. So the text must be in the encoding of the
 * session, and that must be the server's own, or the texts of COPY would be converted otherwise than its values.
 *
 * A transcoder is never changed and is shared by threads.
 */
#pragma once

#include "engine/error.h"

#include <stddef.h>

struct transcoder_column {
    const char *name, *type; /* for messages; type as format_type writes it */
    const char *base;        /* pg_type's name of the built-in type under all domains, "enum", or "": any other */
    bool force_null, force_not_null;
};

/* All borrowed; the dialect is the one that COPY is told. */
struct transcoder_spec {
    char delimiter, quote, escape;
    const char *null_text;
    const struct transcoder_column *columns; /* in the order of the fields */
    int column_count;
    bool zone_given; /* the session's zone is so far east of Greenwich, always: for times without one */
    int32_t zone_seconds;
};

struct transcoder;

/* STATUS_USAGE names the first column that has no exact conversion. */
MUST_CHECK enum status transcoder_create(const struct transcoder_spec *spec, struct transcoder **transcoder,
                                         struct error *error);
void transcoder_free(struct transcoder *transcoder);

/* Of one thread: what goes to COPY next. Starts as zeros; `size` may be set back to 0. */
struct transcoder_rows {
    char *data;
    size_t size, room;
};
void transcoder_rows_reset(struct transcoder_rows *rows);

/* Makes room for so many bytes more. */
MUST_CHECK enum status transcoder_rows_reserve(struct transcoder_rows *rows, size_t more, struct error *error);

/* A record as the cutter cuts it. Appends its row, or sets *converted to false and appends nothing. */
MUST_CHECK enum status transcoder_add(const struct transcoder *transcoder, const char *record, size_t size,
                                      struct transcoder_rows *rows, bool *converted, struct error *error);

/* What stands before the first row and behind the last one. */
#define TRANSCODER_HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
#define TRANSCODER_HEADER_SIZE 19
#define TRANSCODER_TRAILER "\377\377"
#define TRANSCODER_TRAILER_SIZE 2
