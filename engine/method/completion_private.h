/*
 * Between the files of the completion point: completion.c (what is looked at), completion_look.c (one look, by both
 * servers at the same time), completion_zone.c (what it means).
 */
#pragma once

#include "engine/method/bucket_hash.h"
#include "engine/method/completion.h"

/* Both sides, connected and described. */
struct completion_sides {
    struct pg *source, *target;
    struct table source_table, target_table;
    struct bucket_columns columns;
};

/* What both sides say of one moment. */
struct completion_moment {
    int64_t clock;  /* the source's, as a timestamptz */
    int64_t newest; /* row of both sides, of the source alone; INT64_MIN: none */
    int64_t newest_source;
};

/*
 * Begins a read-only transaction on each side, with snapshots of about the same moment: both are asked at once. All
 * looks until completion_look_end see that moment. After a failure the transactions are rolled back by the end as well.
 */
MUST_CHECK enum status completion_look_begin(struct completion_sides *sides, struct completion_moment *moment,
                                             struct error *error);

/* Fills `look` (0 or 1) of the buckets with rows in [lo, hi); both at the same time. */
MUST_CHECK enum status completion_look(struct completion_sides *sides, struct completion *completion, int look,
                                       int64_t lo, int64_t hi, struct error *error);
void completion_look_end(struct completion_sides *sides);
