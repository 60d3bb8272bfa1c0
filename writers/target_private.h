/*
 * Between the files that describe a table: target.c (what it is), target_columns.c (columns, the time column),
 * target_chunks.c (chunks and partitions), target_names.c (a name that is not there).
 */
#pragma once

#include "writers/target.h"

/* What is known of the relation while it is being described. */
struct relation {
    char kind;       /* pg_class.relkind */
    char *time_name; /* the dimension or partition key, NULL: none that is usable */
    double rows;     /* pg_class.reltuples, -1 unknown */
    int64_t bytes;
};

/* A field of a result as a new string; NULL for NULL. */
char *target_text(const PGresult *result, int row, const char *field);
int64_t target_number(const PGresult *result, int row, const char *field);
bool target_flag(const PGresult *result, int row, const char *field);

/* Sets `error` for a name that names nothing: with the tables that are written nearly so. */
enum status target_not_found(struct pg *pg, const char *name, struct error *error);

/* Columns of table->oid. */
MUST_CHECK enum status target_columns(struct pg *pg, struct table *table, struct error *error);

/* The time column by name: its type, precision, whether it is indexed. */
MUST_CHECK enum status target_time_column(struct pg *pg, struct table *table, const char *time_name,
                                          struct error *error);

/* ": a, b, c" of those columns that could be the time column; for messages. */
void target_add_time_candidates(struct sql *text, const struct table *table);

/* Adds an expression: `text`, a column with the text of a partition's bound, as a time value. */
void target_add_bound(struct sql *sql, enum time_type type, const char *text);

/*
 * For questions to the catalog: 'schema', 'name' of the table; and how a slice `s` joins a query's `x` by the id of its
 * chunk, in the TimescaleDB that the server has.
 */
void target_add_names(struct sql *sql, const struct table *table);
MUST_CHECK enum status target_chunk_join(struct pg *pg, const char **join, struct error *error);
