/* Between the files of refresh: refresh.c (what is to do, done and remembered), refresh_buckets.c (aggregates). */
#pragma once

#include "engine/method/refresh.h"

struct aggregate {
    int id;     /* of what it is stored in */
    char *name; /* quoted */
    enum time_type type;
    char *function;                       /* time_bucket, quoted */
    char *width_type;                     /* interval, or an integer */
    char *width, *origin, *offset, *zone; /* as texts; NULL: not given */
};

struct aggregates {
    struct aggregate *items; /* each behind the one that it is built on */
    size_t count;
    bool force;   /* the server takes it */
    char *schema; /* of the extension's functions, quoted */
};

MUST_CHECK enum status aggregates_read(struct pg *pg, const struct table *table, struct aggregates *list,
                                       struct error *error);
void aggregates_reset(struct aggregates *list);

/* The range widened to whole buckets. */
MUST_CHECK enum status aggregate_widen(struct pg *pg, const struct aggregate *aggregate, struct range range,
                                       struct range *wide, struct error *error);
