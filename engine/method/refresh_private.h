/* Between the files of refresh: refresh.c (what is to do, done and remembered), refresh_buckets.c (aggregates),
 * refresh_window.c (batches). */
#pragma once

#include "engine/method/refresh.h"

struct aggregate {
    int id;     /* of what it is stored in */
    char *name; /* quoted */
    enum time_type type;
    char *function;                       /* time_bucket, quoted */
    char *width_type;                     /* interval, or an integer */
    char *width, *origin, *offset, *zone; /* as texts; NULL: not given */
    bool fixed;                           /* as long as each other */
    bool pairs;                           /* the server knows windows of two buckets at least only */
};

struct aggregates {
    struct aggregate *items; /* each behind the one that it is built on */
    size_t count;
    bool force;       /* the server takes it */
    bool force_ends;  /* and ends where the window does */
    bool knows_moved; /* aligns windows to buckets with an origin or offset, too */
    char *schema;     /* of the extension's functions, quoted */
};

MUST_CHECK enum status aggregates_read(struct pg *pg, const struct table *table, struct aggregates *list,
                                       struct error *error);
void aggregates_reset(struct aggregates *list);

/* The range widened to whole buckets. */
MUST_CHECK enum status aggregate_widen(struct pg *pg, const struct aggregate *aggregate, struct range range,
                                       struct range *wide, struct error *error);

/* The bucket that ends, or begins, at the time, which is the end of a bucket. */
MUST_CHECK enum status aggregate_bucket_before(struct pg *pg, const struct aggregate *aggregate, int64_t time,
                                               struct range *bucket, struct error *error);
MUST_CHECK enum status aggregate_bucket_after(struct pg *pg, const struct aggregate *aggregate, int64_t time,
                                              struct range *bucket, struct error *error);

/* refresh_window.c: the first batch of what is left, and the window by which the server refreshes it. */
MUST_CHECK enum status refresh_batch(struct pg *pg, const struct table *table, const struct aggregate *aggregate,
                                     struct range left, struct range *batch, struct error *error);
MUST_CHECK enum status refresh_window(struct pg *pg, const struct table *table, const struct aggregate *aggregate,
                                      struct range batch, struct range *window, struct error *error);
