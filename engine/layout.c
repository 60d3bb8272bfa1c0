/* Cuts the time axis into cells and ranges. */
#include "engine/layout.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_VERSION "1 "
#define TEXT_HEAD_MAX 160 /* version, keys and four numbers */
#define TEXT_CELL_MAX 42  /* two numbers of 20, ':' and ',' */

struct layout {
    int64_t interval;
    int64_t step;
    struct range window;
    size_t cell_count;
    struct range cells[]; /* ascending, disjoint; only those that the grid does not give */
};

static bool range_holds(struct range range, int64_t value)
{
    return value >= range.lo && value < range.hi;
}

static bool range_same(struct range a, struct range b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The cell of the undisturbed grid (calculate_open_range_default in TimescaleDB's dimension.c). */
static struct range grid_cell(int64_t interval, int64_t value)
{
    int64_t before = value % interval;
    int64_t after;
    struct range cell;

    if (before < 0)
        before += interval;
    after = interval - before;
    cell.lo = value < INT64_MIN + before ? INT64_MIN : value - before;
    cell.hi = value > INT64_MAX - after ? INT64_MAX : value + after;
    return cell;
}

/* ---- Making ---- */

static int range_compare(const void *a, const void *b)
{
    const struct range *left = a;
    const struct range *right = b;

    if (left->lo != right->lo)
        return left->lo < right->lo ? -1 : 1;
    return (left->hi > right->hi) - (left->hi < right->hi);
}

static enum status spec_check(const struct layout_spec *spec, struct error *error)
{
    if (spec->interval <= 0)
        return error_set(error, STATUS_USAGE, "the chunk interval must be positive, not %" PRId64, spec->interval);
    if (spec->step < 0)
        return error_set(error, STATUS_USAGE, "the length of a range must not be negative: %" PRId64, spec->step);
    if (spec->window.lo >= spec->window.hi)
        return error_set(error, STATUS_USAGE, "no time lies from %" PRId64 " until before %" PRId64, spec->window.lo,
                         spec->window.hi);
    return STATUS_OK;
}

/* Chunks of a space-partitioned hypertable share their range of time, so that equal cells are one. */
static enum status cells_check(const struct range *cells, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (cells[i].lo >= cells[i].hi)
            return error_set(error, STATUS_SERVER, "the target has a chunk without time: %" PRId64 " to %" PRId64,
                             cells[i].lo, cells[i].hi);
    for (size_t i = 1; i < count; i++)
        if (!range_same(cells[i - 1], cells[i]) && cells[i - 1].hi > cells[i].lo)
            return error_set(error, STATUS_SERVER,
                             "chunks of the target overlap in time: %" PRId64 " to %" PRId64 " and %" PRId64
                             " to %" PRId64 "; no row could be given to exactly one range",
                             cells[i - 1].lo, cells[i - 1].hi, cells[i].lo, cells[i].hi);
    return STATUS_OK;
}

/* Leaves out what is not needed: equal cells, cells of the grid, and cells that touch no grid cell of the window. */
static void cells_keep(struct layout *layout, size_t count)
{
    int64_t lo = grid_cell(layout->interval, layout->window.lo).lo;
    int64_t hi = grid_cell(layout->interval, layout->window.hi - 1).hi;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct range cell = layout->cells[i];

        if (kept > 0 && range_same(layout->cells[kept - 1], cell))
            continue;
        if (range_same(grid_cell(layout->interval, cell.lo), cell) || cell.hi <= lo || cell.lo >= hi)
            continue;
        layout->cells[kept++] = cell;
    }
    layout->cell_count = kept;
}

enum status layout_create(const struct layout_spec *spec, struct layout **layout, struct error *error)
{
    struct layout *made;
    enum status status = spec_check(spec, error);

    *layout = NULL;
    if (status != STATUS_OK)
        return status;
    made = calloc(1, sizeof *made + spec->cell_count * sizeof *spec->cells);
    if (made == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for the ranges of %zu chunks", spec->cell_count);
    made->interval = spec->interval;
    made->step = spec->step;
    made->window = spec->window;
    if (spec->cell_count > 0) {
        memcpy(made->cells, spec->cells, spec->cell_count * sizeof *spec->cells);
        qsort(made->cells, spec->cell_count, sizeof *made->cells, range_compare);
    }
    status = cells_check(made->cells, spec->cell_count, error);
    if (status != STATUS_OK) {
        layout_free(made);
        return status;
    }
    cells_keep(made, spec->cell_count);
    *layout = made;
    return STATUS_OK;
}

void layout_free(struct layout *layout)
{
    free(layout);
}

/* ---- Finding ---- */

/* The first kept cell that ends behind the value: the one that holds it, or else its right neighbour. */
static size_t cell_after(const struct layout *layout, int64_t value)
{
    size_t low = 0;
    size_t high = layout->cell_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (layout->cells[middle].hi > value)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct range cell_of(const struct layout *layout, int64_t value)
{
    size_t next = cell_after(layout, value);
    struct range cell = grid_cell(layout->interval, value);

    if (next < layout->cell_count && layout->cells[next].lo <= value)
        return layout->cells[next];
    /* The server cuts a new chunk so that it overlaps no other (ts_dimension_slice_cut). */
    if (next > 0)
        cell.lo = max_of(cell.lo, layout->cells[next - 1].hi);
    if (next < layout->cell_count)
        cell.hi = min_of(cell.hi, layout->cells[next].lo);
    return cell;
}

/* Distances are unsigned: a cell may be longer than INT64_MAX. */
static struct range cell_cut(struct range cell, int64_t step, int64_t value)
{
    uint64_t before, after;
    struct range range = cell;

    if (step == 0)
        return cell;
    before = ((uint64_t)value - (uint64_t)cell.lo) % (uint64_t)step;
    range.lo = (int64_t)((uint64_t)value - before);
    after = (uint64_t)cell.hi - (uint64_t)range.lo;
    if (after > (uint64_t)step)
        range.hi = range.lo + step;
    return range;
}

bool layout_find(const struct layout *layout, int64_t value, struct place *place)
{
    /* An unbounded end holds the last value too, and so does the server's last chunk. */
    if (value == INT64_MAX && layout->window.hi == INT64_MAX)
        value--;
    if (!range_holds(layout->window, value))
        return false;
    place->cell = cell_of(layout, value);
    place->range = cell_cut(place->cell, layout->step, value);
    place->range.lo = max_of(place->range.lo, layout->window.lo);
    place->range.hi = min_of(place->range.hi, layout->window.hi);
    return true;
}

struct range layout_window(const struct layout *layout)
{
    return layout->window;
}

int64_t layout_interval(const struct layout *layout)
{
    return layout->interval;
}

int64_t layout_step(const struct layout *layout)
{
    return layout->step;
}

/* ---- Text: "1 interval=604800000000 step=0 from=0 until=100 cells=5:7,20:30" ---- */

char *layout_to_text(const struct layout *layout)
{
    size_t room = TEXT_HEAD_MAX + layout->cell_count * TEXT_CELL_MAX;
    char *text = malloc(room);
    size_t used;

    if (text == NULL)
        return NULL;
    used = (size_t)snprintf(
        text, room, TEXT_VERSION "interval=%" PRId64 " step=%" PRId64 " from=%" PRId64 " until=%" PRId64 " cells=",
        layout->interval, layout->step, layout->window.lo, layout->window.hi);
    for (size_t i = 0; i < layout->cell_count; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%" PRId64 ":%" PRId64, i > 0 ? "," : "",
                                 layout->cells[i].lo, layout->cells[i].hi);
    assert(used < room);
    return text;
}

static bool prefix_skip(const char **at, const char *prefix)
{
    size_t size = strlen(prefix);

    if (strncmp(*at, prefix, size) != 0)
        return false;
    *at += size;
    return true;
}

static bool number_read(const char **at, const char *prefix, int64_t *value)
{
    char *end;

    /* strtoll alone would take blanks and a plus. */
    if (!prefix_skip(at, prefix) || strchr("-0123456789", **at) == NULL)
        return false;
    errno = 0;
    *value = strtoll(*at, &end, 10);
    if (errno != 0 || end == *at)
        return false;
    *at = end;
    return true;
}

/* `cells` has room for one more than there are commas. */
static bool cells_read(const char *at, struct range *cells, size_t *count)
{
    *count = 0;
    if (*at == '\0')
        return true;
    for (const char *before = "";; before = ",") {
        struct range *cell = &cells[*count];

        if (!number_read(&at, before, &cell->lo) || !number_read(&at, ":", &cell->hi))
            return false;
        ++*count;
        if (*at == '\0')
            return true;
    }
}

static size_t commas_count(const char *text)
{
    size_t count = 0;

    for (; (text = strchr(text, ',')) != NULL; text++)
        count++;
    return count;
}

static bool spec_read(const char *text, struct layout_spec *spec, struct range *cells)
{
    spec->cells = cells;
    return prefix_skip(&text, TEXT_VERSION) && number_read(&text, "interval=", &spec->interval) &&
           number_read(&text, " step=", &spec->step) && number_read(&text, " from=", &spec->window.lo) &&
           number_read(&text, " until=", &spec->window.hi) && prefix_skip(&text, " cells=") &&
           cells_read(text, cells, &spec->cell_count);
}

enum status layout_from_text(const char *text, struct layout **layout, struct error *error)
{
    struct range *cells = calloc(commas_count(text) + 1, sizeof *cells);
    struct layout_spec spec;
    enum status status;

    *layout = NULL;
    if (cells == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for the ranges of the job");
    if (spec_read(text, &spec, cells))
        status = layout_create(&spec, layout, error);
    else
        status = error_set(error, STATUS_USAGE,
                           "the ranges of the job cannot be read: \"%.60s\"; they are damaged, or were written by "
                           "another version of hyperfill",
                           text);
    free(cells);
    return status;
}
