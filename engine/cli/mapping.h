/*
 * From an input's header, the table and the options: which column of the table each field goes to, and what COPY is to
 * be told. Made once for each input, as each may have its columns in an order of its own.
 *
 *     header     ts, Device, extra          --map ts=time --ignore-columns extra --set site=berlin
 *     columns    time, device, site         by name: exactly, else the only one but for upper and lower case
 */
#pragma once

#include "engine/cli/names.h"
#include "engine/cli/options.h"
#include "readers/stream.h"
#include "writers/shape.h"
#include "writers/target.h"
#include "writers/transcode.h"

/* All borrowed. */
struct mapping_spec {
    const struct options *options;
    const struct table *table;
    const struct stream_source *source; /* opened: its header, dialect, path and zone (time.zone_given) */
    struct pg *target;                  /* connected; asked only where --encoding is given */
};

struct mapping {
    struct names fields;                       /* for each field of a record, its column; NULL: it is left out */
    struct names columns;                      /* what COPY gets, in its order */
    char *column_list;                         /* the same, quoted */
    char *copy_options;                        /* "FORMAT csv, DELIMITER ';', …": of what COPY gets */
    struct shape_dialect dialect;              /* of the same */
    struct names forced_null, forced_not_null; /* of the same */
    char *encoding;                            /* of the input, the server's name for it; NULL: the session's */
    int time_index;                            /* which field of a record is the time */
    struct time_column time;
    struct shape *shape;           /* NULL: COPY gets the records as they are */
    struct transcoder *transcoder; /* NULL: they go as CSV; made by job_wire.c */
    char *text; /* for the fingerprint: what column_list and copy_options do not say; "" without a shape */
};

/*
 * STATUS_USAGE if a column is missing, named twice, generated, or the time is not among the fields; with the ways out.
 * `mapping` may be reset in any case.
 */
MUST_CHECK enum status mapping_make(const struct mapping_spec *spec, struct mapping *mapping, struct error *error);
void mapping_reset(struct mapping *mapping);

/*
 * The text of --set for an input: {stem} is the file's name without its folder and endings, {name} with endings, {path}
 * as given, {dir} the name of its folder; {{ and }} are braces. The caller frees it. STATUS_USAGE for other words in
 * braces, and for standard input ("-").
 */
MUST_CHECK enum status mapping_expand(const char *text, const char *path, char **expanded, struct error *error);
