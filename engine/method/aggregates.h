/*
 * The continuous aggregates of a hypertable, also those that are built on others, and where their buckets begin and
 * end: by the server's own time_bucket with the aggregate's own arguments, so months and time zones are right.
 */
#pragma once

#include "writers/target.h"

struct aggregate {
    int id, parent; /* of what it is stored in, and of what it is built on */
    char *name;     /* of the view; quoted and qualified, as is `stored` */
    char *stored;   /* its materialization hypertable */
    uint32_t stored_oid;
    char *column; /* the time column of that: where a bucket begins; unquoted */
    enum time_type type;
    char *function;                       /* time_bucket, quoted */
    char *width_type;                     /* interval, or an integer */
    char *width, *origin, *offset, *zone; /* as texts; NULL: not given */
    bool fixed;                           /* as long as each other */
    bool pairs;                           /* the server refreshes windows of two buckets at least only */
};

struct aggregates {
    struct aggregate *items; /* each behind the one that it is built on */
    size_t count;
    bool force;       /* the server takes it */
    bool force_ends;  /* and ends where the window does */
    bool knows_moved; /* aligns windows to buckets with an origin or offset, too */
    char *schema;     /* of the extension's functions, quoted */
};

/* None where the table is no hypertable of the community edition. */
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

/* Where the first bucket begins, or the last one before `before`; *any: there is one. */
MUST_CHECK enum status aggregate_end(struct pg *pg, const struct aggregate *aggregate, bool last, int64_t before,
                                     bool *any, int64_t *begin, struct error *error);

/* Whether neither it nor what it is built on (`parent`; NULL: `table`) has rows before `end`. */
MUST_CHECK enum status aggregate_is_empty_before(struct pg *pg, const struct aggregate *aggregate,
                                                 const struct aggregate *parent, const struct table *table, int64_t end,
                                                 bool *empty, struct error *error);

/* A plain refresh of all that begins before `end`, which is the beginning of a bucket. */
MUST_CHECK enum status aggregate_refresh_before(struct pg *pg, const struct aggregates *list,
                                                const struct aggregate *aggregate, int64_t end, struct error *error);
