/*
 * A hash of many rows that does not depend on their order, computed by the server: for telling whether two tables have
 * the same rows of a stretch of time, not for finding which differ.
 *
 * Rows are taken as the text of a record, so that both servers see the same bytes whatever the order of the columns in
 * their tables; equal over versions as long as the session's settings are those of engine/pg, with TimeZone UTC.
 */
#pragma once

#include "writers/target.h"

/* Which columns are compared, and what each side makes of them. */
struct bucket_columns {
    struct sql source, target; /* ROW(…) of the columns, in the target's order and types */
    bool portable;             /* the servers keep text in different encodings */
};

/* `count` columns by name; 0: all of the target's that are not generated. STATUS_USAGE when one side lacks a column. */
MUST_CHECK enum status bucket_columns_choose(const struct table *source, const struct table *target, char *const *names,
                                             size_t count, struct bucket_columns *chosen, struct error *error);
void bucket_columns_reset(struct bucket_columns *chosen);

/* Adds an aggregate over the rows of a SELECT from that side: a text, equal where the rows are. */
void bucket_hash_add(struct sql *sql, const struct bucket_columns *columns, bool of_source);
