/*
 * Between the files that map an input's fields: mapping.c (which field goes where), mapping_copy.c (what COPY is told
 * of it, and the shape).
 */
#pragma once

#include "engine/cli/mapping.h"

struct mapping_work {
    const struct mapping_spec *spec;
    const struct options *options;
    struct mapping *mapping;
    char *encoding;         /* the server's own name; NULL */
    struct names table;     /* columns of the table */
    struct names header;    /* names of fields, in the encoding of the session; empty without a header */
    struct names targets;   /* for each field, its column; NULL: it is ignored */
    struct names constants; /* columns of --set */
    struct names shown;     /* their texts in the encoding of the session */
    struct names texts;     /* and in that of the input */
    bool ignore_rest;
};

/* STATUS_USAGE with the names there are. `option` names the column. */
MUST_CHECK enum status mapping_find_column(const struct mapping_work *work, const char *name, const char *option,
                                           const char **column, struct error *error);

/* work->encoding from --encoding, which must be one that the server knows and that can be cut by bytes. */
MUST_CHECK enum status mapping_find_encoding(struct mapping_work *work, struct error *error);

/* A text from the session's encoding to the input's, or back; a copy where there is no --encoding. */
MUST_CHECK enum status mapping_convert(const struct mapping_work *work, const char *text, bool to_input,
                                       char **converted, struct error *error);

/* Once fields, constants and the time are settled: column_list, copy_options, dialect, shape, text. */
MUST_CHECK enum status mapping_make_copy(struct mapping_work *work, struct error *error);
