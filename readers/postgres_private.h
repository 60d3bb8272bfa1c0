/*
 * Between the files that find out where a PostgreSQL source has rows: postgres_times.c (asks for times),
 * postgres_survey.c (the stretches that have rows), postgres_plan.c (the ranges to ask for).
 *
 *     cells:      |--------|--------|        |--------|    chunks or partitions; a plain table is one cell, its extent
 *     survey:         [first ……………………………………… last]        inside the window, by min and max
 *     stretches:      |----|--------|        |---|         cells that overlap it, with estimates
 *     tasks:        |--|--|--|--|--|--|      |--|--|       ranges of the target's layout that touch a stretch
 */
#pragma once

#include "readers/postgres.h"

struct stretch {
    struct range range;
    double length;      /* of the range, without what is known to be empty */
    double rows, bytes; /* -1: unknown */
};

struct survey {
    int64_t first, last; /* times of the oldest and newest row inside the window; first > last: there is none */
    struct stretch *stretches;
    size_t count;
};

static inline double range_length(struct range range)
{
    return range.hi > range.lo ? (double)range.hi - (double)range.lo : 0;
}

static inline struct range range_overlap(struct range a, struct range b)
{
    return (struct range){a.lo > b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi};
}

/* --- postgres_times.c --- */

/* The end of a range that holds the time as its last one. INT64_MAX as an end holds that value too. */
int64_t postgres_time_after(const struct table *table, int64_t time);

/* The oldest (min) or newest (max) time in the range. */
MUST_CHECK enum status postgres_ask_edge(struct pg *pg, const struct table *table, const char *function,
                                         struct range range, bool *any, int64_t *value, struct error *error);

/* Both edges at once, and a count where rows have to be read anyway (rows not NULL). */
MUST_CHECK enum status postgres_ask_extent(struct pg *pg, const struct table *table, struct range range, bool *any,
                                           int64_t *first, int64_t *last, int64_t *rows, struct error *error);

/* Times that no range can hold. */
MUST_CHECK enum status postgres_refuse_null(struct pg *pg, const struct table *table, struct error *error);
MUST_CHECK enum status postgres_refuse_infinite(struct pg *pg, const struct table *table, struct range window,
                                                struct error *error);

/* --- postgres_survey.c --- */

/* The caller frees survey->stretches, also after a failure. */
MUST_CHECK enum status survey_take(struct pg *pg, const struct table *table, struct range window, struct survey *survey,
                                   struct error *error);

bool survey_empty(const struct survey *survey);

/* From the oldest row to behind the newest. */
struct range survey_extent(const struct survey *survey, const struct table *table);

/* Rows and bytes in the range, from stretch `from` on; unknown as soon as one stretch is. */
void survey_estimate(const struct survey *survey, size_t from, struct range range, int64_t *rows, int64_t *bytes);
