/*
 * Rows that are already in the target inside the ranges of a job: what dual writes put before the completion point.
 */
#pragma once

#include "writers/ledger.h"

struct overlap_report {
    int64_t ranges; /* with rows */
    int64_t rows;
    struct {
        struct range range;
        int64_t rows;
    } examples[10]; /* the first in time */
    int example_count;
};

/*
 * Counts rows of the target in each of the ranges (sorted by lo). Ranges that the job has committed before are not
 * given. One query for many ranges; cheap when nothing is there.
 */
MUST_CHECK enum status overlap_count(struct pg *pg, const struct table *table, const struct range *ranges, size_t count,
                                     struct overlap_report *report, struct error *error);

/* Whether any row of the target lies in the window: stops at the first. */
MUST_CHECK enum status overlap_any(struct pg *pg, const struct table *table, struct range window, bool *any,
                                   struct error *error);

/*
 * In a transaction (READ COMMITTED): deletes the rows of the range, those of compressed chunks too, through the table
 * itself; `name` names it or the part of it that has the range's rows. Rows that another transaction was unpacking from
 * the columnstore meanwhile as well. STATUS_TRANSIENT if others write into the range of such a table all the time.
 */
MUST_CHECK enum status overlap_delete(struct pg *pg, const struct table *table, const char *name, struct range range,
                                      struct error *error);

/* Several lines: where and how many. */
void overlap_report_text(const struct overlap_report *report, const struct table *table, struct sql *text);
