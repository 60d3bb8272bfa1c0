/*
 * PostgreSQL and TimescaleDB as a source: one COPY (SELECT …) TO STDOUT a range, in a read-only transaction; works on a
 * hot standby.
 *
 * Rows travel in the binary format where the types of both tables are the same built-in ones, else as CSV: neither
 * server then turns numbers and times into text and back, which costs more than all of our own work.
 */
#pragma once

#include "engine/pipeline.h"
#include "writers/target.h"

struct postgres_source {
    const struct pg_address *address;
    const struct pg_setting *settings;
    const struct table *table; /* the source's */
    bool binary; /* the piece's text is a binary COPY stream: header, rows, trailer; else CSV; careful pieces always are
                  */
    const char *select_list; /* quoted columns in the order of the target's column list */
    const char *order;       /* ORDER BY what the rows of a range come; NULL: as they come */
    int64_t memory_bytes;    /* all of --memory: a row may have its share of a quarter, as a record of a file */
};

extern const struct reader_ops postgres_reader;

/*
 * Several tables of one server, with the same settings: a session reads each piece from the source that its table
 * (piece_spec.table) has here. `source` of the pipeline is this.
 */
struct postgres_tables {
    const struct postgres_source **sources;
};
extern const struct reader_ops postgres_tables_reader;

/*
 * Where the source has rows inside the window, as tasks cut by the layout, oldest first, with estimates: from the
 * source's chunks or partitions, else from its extent (min and max of time; skipping empty stretches by the index where
 * there are many ranges). Refuses rows that no range can hold: NULL and ±infinity times. Caller frees *tasks. *last
 * receives the newest time seen (INT64_MIN if empty).
 */
MUST_CHECK enum status postgres_plan(struct pg *pg, const struct table *table, const struct layout *layout,
                                     struct task **tasks, size_t *count, int64_t *last, struct error *error);

/* Extent of the source's rows inside the window [lo, last + 1 unit) and estimates; false through *any if there are
 * none. */
MUST_CHECK enum status postgres_extent(struct pg *pg, const struct table *table, struct range window, bool *any,
                                       struct range *extent, int64_t *rows, int64_t *bytes, struct error *error);
