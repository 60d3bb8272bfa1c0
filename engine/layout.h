/*
 * How the time axis is cut into ranges.
 *
 * Cells are the chunks (or partitions) of the target: those that exist, and where none exists the grid by which they
 * would be made, clipped to its neighbours as the server clips it. Cells may be cut further by a step, so that several
 * writers have work inside one chunk. The layout of a job is fixed at its first run and kept in the ledger as text:
 * every time value belongs to exactly one range, the same one in every later run.
 *
 *     cells:      |---- chunk ----|---- chunk ----|--- (grid) ---|
 *     ranges:     |--|--|--|--|--||--|--|--|--|--||--|--|--|--|--|      step
 *     window:              [from …………………………………………… until)             first and last range are clipped
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/error.h"

/* Half-open [lo, hi). INT64_MIN and INT64_MAX stand for "unbounded": a range with hi INT64_MAX holds that value too. */
struct range {
    int64_t lo;
    int64_t hi;
};

/*
 * The place of records whose time cannot be read: no range of time, but they too travel as pieces with a mark. Its lo
 * is no other range's: it is also the key by which the ledger knows it. The end before the start tells it from ranges.
 */
#define RANGE_REJECTS ((struct range){INT64_MAX, INT64_MIN})

static inline bool range_is_rejects(struct range range)
{
    return range.hi < range.lo;
}

struct layout_spec {
    int64_t interval;          /* length of a grid cell; the grid is aligned to 0 by floor */
    int64_t step;              /* cut cells from their low end by this length; 0: ranges are cells */
    struct range window;       /* from, until */
    const struct range *cells; /* cells that exist, in any order; borrowed during the call */
    size_t cell_count;
};

/* Where a value falls: its range (clipped to the window) and the whole cell around it. */
struct place {
    struct range range;
    struct range cell;
};

struct layout;

/*
 * Cells that are exactly a grid cell, or that touch no grid cell of the window, need no keeping and are dropped. Equal
 * cells are one (chunks of a space partition); cells that overlap otherwise are a server error.
 */
MUST_CHECK enum status layout_create(const struct layout_spec *spec, struct layout **layout, struct error *error);
void layout_free(struct layout *layout);

/* False when the value lies outside the window. A binary search among the cells; any number of threads at a time. */
bool layout_find(const struct layout *layout, int64_t value, struct place *place);

struct range layout_window(const struct layout *layout);
int64_t layout_interval(const struct layout *layout);
int64_t layout_step(const struct layout *layout);

/*
 * One line of text that layout_from_text turns back into the same layout: for the ledger and the checkpoint file.
 * The caller frees it; NULL when out of memory.
 */
char *layout_to_text(const struct layout *layout);
MUST_CHECK enum status layout_from_text(const char *text, struct layout **layout, struct error *error);
