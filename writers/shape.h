/*
 * What is between the records of an input and the columns that COPY gets, where the two are not the same.
 *
 *     record   17 , "a ""b""" ,  1706745600 , skipped         fields, as they stand in the input
 *     columns  "device"  = field 1, "time" = field 2 rewritten, "value" = field 0, "site" = 'berlin'
 *     text     "a ""b""","2024-02-01 00:00:00+00",17,"berlin"
 *
 * Fields go through as they stand, quotes and all, in the input's own dialect: so the server's options for NULL mean
 * what they mean without a shape. libcsv would do less: it does not say whether a field was quoted, which is what tells
 * NULL from an empty text. Only where the server cannot have the input's delimiter or quote (bytes beyond ASCII) are
 * fields quoted anew. A shape is never changed and is shared by threads.
 */
#pragma once

#include "engine/error.h"
#include "engine/timevalue.h"

#include <stddef.h>

struct shape_dialect {
    char delimiter, quote, escape;
};

enum shape_kind { SHAPE_FIELD, SHAPE_TIME, SHAPE_CONSTANT };

struct shape_column {
    enum shape_kind kind;
    int field;        /* which field of the record, from 0 */
    const char *text; /* SHAPE_CONSTANT, in the encoding of the input: comes out quoted, never NULL */
};

struct shape_spec {
    struct shape_dialect from, to;
    const char *null_text;
    bool trim;                      /* blanks around fields, and around their quotes, are no part of them */
    const char *const *field_names; /* for messages */
    int field_count;                /* that each record must have */
    const struct shape_column *columns;
    int column_count;
    struct time_column time; /* how SHAPE_TIME is read */
};

struct shape;

/* The spec is copied. */
MUST_CHECK enum status shape_create(const struct shape_spec *spec, struct shape **shape, struct error *error);
void shape_free(struct shape *shape);

/* Of one thread: what was made so far. Starts as zeros; `size` may be set back to 0. */
struct shape_text {
    char *data;
    size_t size, room;
};
void shape_text_reset(struct shape_text *text);

/*
 * Appends what COPY gets for a record, with the record's own line end. STATUS_DATA with the server's SQLSTATE and words
 * if the record has too few or too many fields, or no time where one is read; then nothing is appended.
 */
MUST_CHECK enum status shape_apply(const struct shape *shape, const char *record, size_t size, struct shape_text *text,
                                   struct error *error);
