/*
 * Between the files of refresh: refresh.c (what is done, batch by batch), refresh_ranges.c (what is to do),
 * refresh_kept.c (what is left alone), refresh_window.c (batches).
 */
#pragma once

#include "engine/method/aggregates.h"
#include "engine/method/refresh.h"

/* What jobs have put into an aggregate's own table: windows in whole buckets, in the order of time. */
struct refresh_kept {
    struct range *windows;
    size_t count;
    bool unfinished; /* one of the jobs is */
};

/* One range of one aggregate, as it was loaded. */
struct refresh_task {
    const struct refresh_spec *spec;
    const struct aggregate *aggregate;
    const struct aggregates *list;
    struct refresh_kept kept;
    struct range range;
    char *state; /* the ledger's table */
    int64_t told_ns;
};

/* --- refresh_ranges.c --- */

/* The ranges of the aggregate that are left to do; the caller frees *ranges, also after a failure. */
MUST_CHECK enum status refresh_find_ranges(const struct refresh_task *task, struct range **ranges, size_t *count,
                                           struct error *error);

/* Whether all that the bucket is made of was loaded, and is still there. */
MUST_CHECK enum status refresh_is_whole(const struct refresh_task *task, struct range bucket, bool *whole,
                                        struct error *error);

/* --- refresh_kept.c --- */

MUST_CHECK enum status refresh_kept_read(const struct refresh_spec *spec, const struct aggregate *aggregate,
                                         struct refresh_kept *kept, struct error *error);

/* Whether one of the windows has all of the range. */
bool refresh_kept_has(const struct refresh_kept *kept, struct range range);

/* The ranges without the windows, *count of them; a new array, NULL when memory ends. */
struct range *refresh_kept_cut(const struct refresh_kept *kept, const struct range *ranges, size_t *count);

/* Whether the view shows rows of its table only before its watermark, and that lies before `end`. */
MUST_CHECK enum status refresh_is_hidden(struct pg *pg, const struct aggregate *aggregate, int64_t end, bool *hidden,
                                         struct error *error);

/* --- refresh_window.c --- */

/* The first batch of what is left. */
MUST_CHECK enum status refresh_batch(struct pg *pg, const struct table *table, const struct aggregate *aggregate,
                                     struct range left, struct range *batch, struct error *error);

/* The window by which the server refreshes the batch. */
MUST_CHECK enum status refresh_window(const struct refresh_task *task, struct range batch, struct range *window,
                                      struct error *error);
