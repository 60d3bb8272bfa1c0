/*
 * What the target is: its table, columns, time column, chunks or partitions. Read once at the start of a command; uses
 * views and functions that every TimescaleDB version from 2.11 on has, catalogs only as the portable query allows.
 */
#pragma once

#include "engine/layout.h"
#include "engine/pg/pg.h"
#include "engine/timevalue.h"

enum table_kind { TABLE_PLAIN, TABLE_PARTITIONED, TABLE_HYPERTABLE };

struct table_column {
    char *name;
    char *type; /* format_type: "timestamp with time zone" */
    char *base; /* pg_type's name of the built-in type under all domains; "enum"; "": any other */
    bool not_null;
    bool generated; /* GENERATED … STORED: never loaded */
    bool identity_always;
};

struct table {
    char *schema, *name;
    char *sql; /* quoted and qualified */
    uint32_t oid;
    enum table_kind kind;
    struct table_column *columns;
    size_t column_count;
    char *time_name;         /* the time column */
    struct time_column time; /* zone_given is left false */
    bool time_not_null;
    bool time_indexed; /* a btree index leads with the time column, or the kind has one for each chunk */
    /* Chunks or partitions, primary dimension only, sorted by lo; empty for plain tables. */
    struct range *cells;
    int64_t *cell_rows;  /* estimates, -1 unknown; parallel to cells */
    int64_t *cell_bytes; /* of the heap */
    size_t cell_count;
    bool default_partition;
    int64_t interval;                      /* of new chunks; 0: not a hypertable */
    int dimensions;                        /* of a hypertable: 1, or more with space partitions */
    int64_t rows_estimate, bytes_estimate; /* whole table, -1 unknown */
    bool row_triggers; /* user triggers on INSERT that see rows: FOR EACH ROW, or with a transition table */
    char *server_encoding, *database, *system_identifier; /* system_identifier may be "" where the server hides it */
    int server_version;                                   /* 150018 */
    char *timescaledb;                                    /* version, NULL without the extension */
    bool community;                                       /* its license is timescale */
    bool in_recovery;
    bool pooled; /* who answers has another process id than who took the connection: a pooler is in between */
};

/*
 * Finds and describes `name` ("t" or "schema.t"; parts may be quoted as in SQL; without a schema the search_path
 * decides). `time_name` NULL: the hypertable's time dimension, a partitioned table's single range key, else
 * STATUS_USAGE asking for
 * --time-column. STATUS_SERVER / STATUS_USAGE errors name the table and what to do: no such table (with near names), a
 * view as target, no such column, a time column of a type that cannot be used. `is_target`: false allows views.
 */
MUST_CHECK enum status table_describe(struct pg *pg, const char *name, const char *time_name, bool is_target,
                                      struct table *table, struct error *error);
void table_reset(struct table *table);
const struct table_column *table_find_column(const struct table *table, const char *name);

/* Reads cells again (chunks that were made meanwhile). */
MUST_CHECK enum status table_refresh_cells(struct pg *pg, struct table *table, struct error *error);

/* Whether the cell has no chunk yet, or one without a block, as the cells were read. */
bool table_cell_is_empty(const struct table *table, struct range cell);

/* What an integer column can hold; a literal beyond it would be an error instead of a condition. */
struct range table_time_limits(enum time_type type);

/* Adds `"time" >= '…' AND "time" < '…'`, leaving unbounded sides out; "true" if both are. */
void table_add_where(struct sql *sql, const struct table *table, struct range range);

#define TABLE_RANGE_TEXT_MAX (2 * TIME_TEXT_MAX + 8)

/* The range for messages: "[2024-01-01 00:00:00+00, infinity)". */
const char *table_range_text(const struct table *table, struct range range, char buffer[TABLE_RANGE_TEXT_MAX]);
