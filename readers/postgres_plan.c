/* The ranges that a PostgreSQL source is asked for. */
#include <stdlib.h>

#include "readers/postgres_private.h"

#define PROBE_AFTER 2000 /* ranges taken as they come before empty stretches are looked for */
#define LEAP_MAX 64      /* most ranges taken between two looks while none was empty */
#define TASKS_MAX 4000000

struct walk {
    struct pg *pg;
    const struct table *table;
    const struct layout *layout;
    struct task *tasks;
    size_t count, room;
    int64_t next; /* times before it are in a task, or have no rows */
    int unprobed; /* ranges taken since the last look for rows */
    int leap;     /* ranges to take between two looks */
    double empty; /* length of what was found empty in this stretch */
};

static enum status walk_add(struct walk *walk, const struct place *place, struct error *error)
{
    if (walk->count == TASKS_MAX)
        return error_set(error, STATUS_USAGE,
                         "source table %s would be cut into more than %d ranges; are there times far off in \"%s\"? "
                         "Bound them by --from and --until, or make the chunk interval of the target longer",
                         walk->table->sql, TASKS_MAX, walk->table->time_name);
    if (walk->count == walk->room) {
        size_t room = walk->room == 0 ? 256 : 2 * walk->room;
        struct task *tasks = realloc(walk->tasks, room * sizeof *tasks);

        if (tasks == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory for %zu ranges", room);
        walk->tasks = tasks;
        walk->room = room;
    }
    walk->tasks[walk->count++] = (struct task){.place = *place, .rows_estimate = -1, .bytes_estimate = -1};
    walk->unprobed++;
    return STATUS_OK;
}

/* A look costs a round trip: only where there are very many ranges, by an index, and where no chunks tell what is
 * empty. */
static bool walk_should_probe(const struct walk *walk)
{
    return walk->count >= PROBE_AFTER && walk->unprobed >= walk->leap && walk->table->time_indexed &&
           walk->table->kind != TABLE_HYPERTABLE;
}

/* Moves on to the next row at or after `next`, behind `last` if there is none. Looks seldom while nothing is empty. */
static enum status walk_probe(struct walk *walk, int64_t last, bool *more, struct error *error)
{
    struct place place;
    struct range rest = {walk->next, postgres_time_after(walk->table, last)};
    int64_t found = rest.hi;
    enum status status = postgres_ask_edge(walk->pg, walk->table, "min", rest, more, &found, error);

    if (status != STATUS_OK)
        return status;
    walk->empty += range_length((struct range){walk->next, found});
    if (!*more)
        return STATUS_OK;
    if (layout_find(walk->layout, walk->next, &place) && found < place.range.hi)
        walk->leap = walk->leap < LEAP_MAX ? 2 * walk->leap : LEAP_MAX;
    else
        walk->leap = 1;
    walk->unprobed = 0;
    walk->next = found;
    return STATUS_OK;
}

/* Adds the ranges that hold times from `first` to `last`, both included. */
static enum status walk_stretch(struct walk *walk, int64_t first, int64_t last, struct error *error)
{
    enum status status = STATUS_OK;
    struct place place;
    bool more = true;

    if (walk->next < first)
        walk->next = first;
    while (walk->next <= last) {
        if (walk_should_probe(walk))
            status = walk_probe(walk, last, &more, error);
        if (status != STATUS_OK || !more || !layout_find(walk->layout, walk->next, &place))
            return status;
        status = walk_add(walk, &place, error);
        if (status != STATUS_OK)
            return status;
        /* The last range of an unbounded window: its end is taken, too. */
        if (place.range.hi == INT64_MAX)
            return STATUS_OK;
        walk->next = place.range.hi;
    }
    return STATUS_OK;
}

/* Stretches are sorted by lo; those of space partitions are equal and give their ranges once. */
static enum status walk_survey(struct walk *walk, struct survey *survey, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < survey->count && status == STATUS_OK; i++) {
        struct range range = survey->stretches[i].range;
        int64_t first = range.lo > survey->first ? range.lo : survey->first;
        int64_t last = range.hi > survey->last ? survey->last : range.hi - 1;

        if (walk->count > 0 && walk->tasks[walk->count - 1].place.range.hi == INT64_MAX)
            break;
        walk->empty = 0;
        status = walk_stretch(walk, first, last, error);
        survey->stretches[i].length -= walk->empty;
    }
    return status;
}

static void tasks_estimate(struct task *tasks, size_t count, const struct survey *survey, struct range extent)
{
    size_t from = 0;

    for (size_t i = 0; i < count; i++) {
        struct range range = range_overlap(tasks[i].place.range, extent);

        while (from < survey->count && survey->stretches[from].range.hi <= range.lo)
            from++;
        survey_estimate(survey, from, range, &tasks[i].rows_estimate, &tasks[i].bytes_estimate);
    }
}

static enum status refuse_times(struct pg *pg, const struct table *table, struct range window, struct error *error)
{
    enum status status = postgres_refuse_null(pg, table, error);

    if (status == STATUS_OK)
        status = postgres_refuse_infinite(pg, table, window, error);
    return status;
}

enum status postgres_plan(struct pg *pg, const struct table *table, const struct layout *layout, struct task **tasks,
                          size_t *count, int64_t *last, struct error *error)
{
    struct range window = layout_window(layout);
    struct walk walk = {.pg = pg, .table = table, .layout = layout, .next = INT64_MIN, .leap = 1};
    struct survey survey = {0};
    enum status status;

    *tasks = NULL;
    *count = 0;
    *last = INT64_MIN;
    status = refuse_times(pg, table, window, error);
    if (status == STATUS_OK)
        status = survey_take(pg, table, window, &survey, error);
    if (status == STATUS_OK && !survey_empty(&survey))
        status = walk_survey(&walk, &survey, error);
    if (status == STATUS_OK && !survey_empty(&survey)) {
        tasks_estimate(walk.tasks, walk.count, &survey, survey_extent(&survey, table));
        *last = survey.last;
        *tasks = walk.tasks;
        *count = walk.count;
        walk.tasks = NULL;
    }
    free(walk.tasks);
    free(survey.stretches);
    return status;
}
