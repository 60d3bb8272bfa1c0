/*
 * Where the completion point may lie: both sides are compared over the recent past, bucket by bucket of time, twice, a
 * few seconds apart.
 *
 *     older                                                                   now
 *     ├── missing writes ──┼────── consistent ──────┼────── late data ────────┤
 *      dual writes had not  equal on both sides and  changed between the looks,
 *      begun everywhere     the same in both looks   or too young to be judged
 *
 * The completion point belongs into the consistent zone, away from both ends. A bucket that is empty on both sides says
 * nothing; one that differs and does not change ends the zone, since rows from the completion point on come by dual
 * writes only. All moments are in the numbers of engine/timevalue.h.
 */
#pragma once

#include "engine/pg/pg.h"
#include "engine/timevalue.h"
#include "writers/target.h"

/* What to compare. Texts are borrowed; NULL where not given. */
struct completion_spec {
    const struct pg_address *source, *target;
    const char *table, *source_table, *time_column;
    char *const *columns; /* that are compared; none: all of the target's that are not generated */
    size_t column_count;
    const char *window, *bucket; /* lengths as the user writes them; without a window it grows until it shows where dual
                                    writing began, up to some days */
    int64_t watch_ms;            /* between the two looks */
    const char *ledger_schema;   /* where what was found is kept, if that may be; NULL: nowhere */
    struct stop *stop;
};

struct completion_side {
    int64_t rows;
    uint64_t hash; /* of rows in any order; 0 without rows */
};

enum bucket_state {
    BUCKET_EMPTY,     /* no rows on both sides */
    BUCKET_MISSING,   /* the target has fewer rows */
    BUCKET_DIFFERENT, /* other rows, or more of them */
    BUCKET_EQUAL,
    BUCKET_LATE, /* in the zone of late data */
};

struct completion_bucket {
    struct completion_side source[2], target[2]; /* by look */
    enum bucket_state state;
};

enum completion_verdict {
    COMPLETION_FOUND,
    COMPLETION_EMPTY,     /* no rows at all in the window */
    COMPLETION_NOT_BEGUN, /* the target has none */
    COMPLETION_UNLIKE,    /* as many rows on both sides, but never the same */
    COMPLETION_TOO_SOON,  /* no consistent zone yet, or too short a one */
};

struct completion {
    struct time_column time;
    int64_t per_second; /* how many of the column's numbers a second has; 0: unknown */
    bool by_clock;      /* now is the source's clock; else the newest row of both sides */
    int64_t now[2];     /* by look */
    int64_t lo, step;   /* bucket i is [lo + i * step, lo + (i + 1) * step) */
    size_t count;
    struct completion_bucket *buckets; /* oldest first */
    int64_t newest;                    /* row of the source that is seen, INT64_MIN: none */
    /* Made by completion_judge: */
    enum completion_verdict verdict;
    int64_t zone_lo, zone_hi; /* consistent; equal where there is none */
    bool begin_seen;          /* before zone_lo there are rows that the target has not */
    int64_t late_lo;          /* from here on data is late */
    int64_t lateness;         /* how late a row was seen to come at most; 0: none was */
    int64_t late_rows;        /* rows of the source that came into buckets which the first look saw as past */
    int64_t until;            /* COMPLETION_FOUND: the completion point */
    int64_t look_again;       /* COMPLETION_TOO_SOON: the earliest now at which there may be a zone */
};

/*
 * Looks twice and judges. STATUS_OK whatever the verdict is; the caller resets *completion, after a failure as well.
 * Errors: a side that cannot be reached or described, a window that cannot be read, STATUS_STOPPED.
 */
MUST_CHECK enum status completion_find(const struct completion_spec *spec, struct completion *completion,
                                       struct error *error);
void completion_reset(struct completion *completion);

/* The verdict as a status: STATUS_DATA with what is missing and when to look again, unless it is COMPLETION_FOUND. */
MUST_CHECK enum status completion_status(const struct completion *completion, struct error *error);

/*
 * Keeps the consistent zone in the target's ledger, in place of an earlier one, for who loads from that table of the
 * source. And whether a time lies in the zone that is kept.
 */
MUST_CHECK enum status completion_keep(struct pg *pg, const char *ledger_schema, const struct table *source,
                                       const struct table *target, const struct completion *completion,
                                       struct error *error);
MUST_CHECK enum status completion_covers(struct pg *pg, const char *ledger_schema, const struct table *source,
                                         const struct table *target, int64_t until, bool *covers, struct error *error);

/* What follows from the buckets; knows no server. */
void completion_judge(struct completion *completion);

/* The roundest moment within [lo, hi], the latest of these; `step` is the length of buckets. */
int64_t completion_round(const struct completion *completion, int64_t lo, int64_t hi);

/* One character for a bucket, 'T' where the completion point is; and what they mean. */
char completion_character(const struct completion *completion, size_t index);
extern const char completion_legend[];

/* A length of time for people: "35 s", "2 min", of numbers whose unit is unknown the number. */
const char *completion_length(const struct completion *completion, int64_t length, char buffer[TIME_TEXT_MAX]);
