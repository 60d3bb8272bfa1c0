/*
 * Where a PostgreSQL source has rows, and about how many.
 *
 *     cells:      |--------|--------|        |--------|      chunks or partitions; a plain table is one cell, its
 * extent survey:         [first ……………………………………………… last]           inside the window, by min and max stretches:
 * |----|--------|        |---|           cells that overlap it, with estimates tasks:        |--|--|--|--|--|--|
 * |--|--|           ranges of the target's layout that touch a stretch
 */
#include "readers/postgres.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CSV_SHARE_OF_HEAP 0.9
#define PROBE_AFTER 2000 /* ranges taken as they come before empty stretches are looked for */
#define LEAP_MAX 64      /* most ranges taken between two looks while none was empty */
#define TASKS_MAX 4000000

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

static bool text_is_true(const char *text)
{
    return text != NULL && text[0] == 't';
}

static double range_length(struct range range)
{
    return range.hi > range.lo ? (double)range.hi - (double)range.lo : 0;
}

static struct range range_overlap(struct range a, struct range b)
{
    return (struct range){a.lo > b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi};
}

/* The end of a range that holds the time as its last one. INT64_MAX as an end holds that value too. */
static int64_t time_after(const struct table *table, int64_t time)
{
    int64_t unit = time_type_unit(table->time.type);

    return time > INT64_MAX - unit ? INT64_MAX : time + unit;
}

static struct range survey_extent(const struct survey *survey, const struct table *table)
{
    return (struct range){survey->first, time_after(table, survey->last)};
}

/* ---- Asking for times ---- */

/* Rows of the range that have a finite time. */
static void add_from(struct sql *sql, const struct table *table, struct range range)
{
    sql_add(sql, " FROM %s WHERE ", table->sql);
    table_add_where(sql, table, range);
    if (!time_type_is_integer(table->time.type)) {
        sql_add(sql, " AND isfinite(");
        sql_add_identifier(sql, table->time_name);
        sql_add(sql, ")");
    }
}

/* "min" or "max" as text: the server's ISO form loses nothing in any version, which extract(epoch) does before 14. */
static void add_edge(struct sql *sql, const struct table *table, const char *function)
{
    sql_add(sql, "%s(", function);
    sql_add_identifier(sql, table->time_name);
    sql_add(sql, ")::text");
}

static enum status edge_read(const struct table *table, const char *text, int64_t *value, struct error *error)
{
    enum time_problem problem = time_parse(&table->time, text, strlen(text), value);

    if (problem == TIME_FINE)
        return STATUS_OK;
    return error_set(error, STATUS_DATA,
                     "the table %s has rows at \"%s\" in column \"%s\", which %s; a hypertable cannot hold them: "
                     "correct or delete them, or leave them out by --from and --until",
                     table->sql, text, table->time_name, time_problem_text(problem));
}

/* The oldest (min) or newest (max) time in the range. */
static enum status edge_ask(struct pg *pg, const struct table *table, const char *function, struct range range,
                            bool *any, int64_t *value, struct error *error)
{
    struct sql sql = {0};
    char *text = NULL;
    enum status status;

    sql_add(&sql, "SELECT ");
    add_edge(&sql, table, function);
    add_from(&sql, table, range);
    status = pg_value(pg, sql.text, &text, error);
    sql_reset(&sql);
    *any = text != NULL;
    if (status == STATUS_OK && text != NULL)
        status = edge_read(table, text, value, error);
    free(text);
    return status;
}

/* Both edges at once, and a count where rows have to be read anyway (rows not NULL). */
static enum status extent_ask(struct pg *pg, const struct table *table, struct range range, bool *any, int64_t *first,
                              int64_t *last, int64_t *rows, struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    *any = false;
    sql_add(&sql, "SELECT ");
    add_edge(&sql, table, "min");
    sql_add(&sql, ", ");
    add_edge(&sql, table, "max");
    sql_add(&sql, "%s", rows != NULL ? ", count(*)" : "");
    add_from(&sql, table, range);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status == STATUS_OK && !PQgetisnull(result, 0, 0)) {
        *any = true;
        status = edge_read(table, PQgetvalue(result, 0, 0), first, error);
        if (status == STATUS_OK)
            status = edge_read(table, PQgetvalue(result, 0, 1), last, error);
        if (rows != NULL)
            *rows = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    }
    PQclear(result);
    return status;
}

/* ---- Times that no range can hold ---- */

static enum status exists(struct pg *pg, const struct table *table, const char *condition, bool *found,
                          struct error *error)
{
    struct sql sql = {0};
    char *text = NULL;
    enum status status;

    sql_add(&sql, "SELECT EXISTS(SELECT 1 FROM %s WHERE ", table->sql);
    sql_add_identifier(&sql, table->time_name);
    sql_add(&sql, " %s)", condition);
    status = pg_value(pg, sql.text, &text, error);
    sql_reset(&sql);
    *found = text_is_true(text);
    free(text);
    return status;
}

static enum status refuse_null(struct pg *pg, const struct table *table, struct error *error)
{
    bool found = false;
    enum status status;

    if (table->time_not_null || table->kind == TABLE_HYPERTABLE)
        return STATUS_OK;
    status = exists(pg, table, "IS NULL", &found, error);
    if (status == STATUS_OK && found)
        return error_set(error, STATUS_DATA,
                         "the table %s has rows whose \"%s\" is NULL: they are in no range and would be left "
                         "behind; give them a time, delete them, or name a view without them as --source-table",
                         table->sql, table->time_name);
    return status;
}

static enum status refuse_infinite(struct pg *pg, const struct table *table, struct range window, struct error *error)
{
    bool past = window.lo < TIME_MIN, future = window.hi == INT64_MAX, found = false;
    const char *which = past && future ? "IN ('infinity', '-infinity')" : past ? "= '-infinity'" : "= 'infinity'";
    enum status status;

    if (time_type_is_integer(table->time.type) || (!past && !future))
        return STATUS_OK;
    status = exists(pg, table, which, &found, error);
    if (status == STATUS_OK && found)
        return error_set(error, STATUS_DATA,
                         "the table %s has rows whose \"%s\" is infinity or -infinity: no chunk can hold them; "
                         "correct or delete them, leave them out by --from and --until, or name a view without them as "
                         "--source-table",
                         table->sql, table->time_name);
    return status;
}

/* ---- Survey ---- */

static bool table_has_cells(const struct table *table)
{
    /* Rows of a default partition may be anywhere. */
    return table->cell_count > 0 && !table->default_partition;
}

static bool cell_repeats(const struct table *table, size_t i, size_t before)
{
    return table->cells[i].lo == table->cells[before].lo && table->cells[i].hi == table->cells[before].hi;
}

/*
 * The oldest and newest row, each asked of one cell after another from its end: the planner excludes all others, so
 * that without an index one chunk is read and not the table. first > last when no cell has rows.
 */
static enum status survey_cells(struct pg *pg, const struct table *table, struct range window, struct survey *survey,
                                struct error *error)
{
    enum status status = STATUS_OK;
    bool any = false;

    survey->first = INT64_MAX;
    survey->last = INT64_MIN;
    for (size_t i = 0; i < table->cell_count && !any && status == STATUS_OK; i++) {
        struct range part = range_overlap(table->cells[i], window);

        if (part.lo < part.hi && !(i > 0 && cell_repeats(table, i, i - 1)))
            status = edge_ask(pg, table, "min", part, &any, &survey->first, error);
    }
    if (!any || status != STATUS_OK)
        return status;
    any = false;
    for (size_t i = table->cell_count; i-- > 0 && !any && status == STATUS_OK;) {
        struct range part = range_overlap(table->cells[i], window);

        if (part.lo < part.hi && !(i + 1 < table->cell_count && cell_repeats(table, i, i + 1)))
            status = edge_ask(pg, table, "max", part, &any, &survey->last, error);
    }
    return status;
}

/* Bytes that a row takes in the cells that were analyzed; 0: none was. */
static double row_bytes_known(const struct table *table)
{
    double rows = 0, bytes = 0;

    for (size_t i = 0; i < table->cell_count; i++)
        if (table->cell_rows[i] > 0 && table->cell_bytes[i] > 0) {
            rows += (double)table->cell_rows[i];
            bytes += (double)table->cell_bytes[i];
        }
    return rows > 0 ? bytes / rows : 0;
}

/* Where in the cell rows are: an end that the window does not cut ends with the rows. */
static struct range cell_filled(struct range cell, struct range extent, struct range window)
{
    if (window.lo <= cell.lo || cell.lo == INT64_MIN)
        cell.lo = cell.lo > extent.lo ? cell.lo : extent.lo;
    if (window.hi >= cell.hi || cell.hi == INT64_MAX)
        cell.hi = cell.hi < extent.hi ? cell.hi : extent.hi;
    return cell;
}

static void stretches_from_cells(const struct table *table, struct range window, struct survey *survey)
{
    struct range extent = survey_extent(survey, table);
    double row_bytes = row_bytes_known(table);

    for (size_t i = 0; i < table->cell_count; i++) {
        struct stretch *stretch = &survey->stretches[survey->count];
        double rows = (double)table->cell_rows[i], bytes = (double)table->cell_bytes[i];

        if (table->cells[i].hi <= survey->first || table->cells[i].lo > survey->last)
            continue;
        stretch->range = cell_filled(table->cells[i], extent, window);
        stretch->length = range_length(stretch->range);
        stretch->rows = rows >= 0 ? rows : bytes >= 0 && row_bytes > 0 ? bytes / row_bytes : -1;
        stretch->bytes = bytes >= 0 ? bytes * CSV_SHARE_OF_HEAP : -1;
        survey->count++;
    }
}

/* A share of the table's estimates; from rows that were counted where they were. */
static void stretch_from_share(const struct table *table, double share, int64_t rows, struct survey *survey)
{
    double rows_all = (double)table->rows_estimate, bytes_all = (double)table->bytes_estimate;

    if (rows >= 0 && rows_all > 0)
        share = (double)rows < rows_all ? (double)rows / rows_all : 1;
    survey->stretches[0] = (struct stretch){
        .range = survey_extent(survey, table),
        .rows = rows >= 0       ? (double)rows
                : rows_all >= 0 ? rows_all * share
                                : -1,
        .bytes = bytes_all >= 0 ? bytes_all * share * CSV_SHARE_OF_HEAP : -1,
    };
    survey->stretches[0].length = range_length(survey->stretches[0].range);
    survey->count = 1;
}

/* With an index two look-ups, and two more for the window's share of the table; without, one scan that counts as well.
 */
static enum status survey_whole(struct pg *pg, const struct table *table, struct range window, struct survey *survey,
                                struct error *error)
{
    struct survey all = {0};
    int64_t rows = -1;
    double share = 1;
    bool any = false;
    enum status status =
        extent_ask(pg, table, window, &any, &survey->first, &survey->last, table->time_indexed ? NULL : &rows, error);

    if (status != STATUS_OK)
        return status;
    if (!any) {
        survey->first = INT64_MAX;
        survey->last = INT64_MIN;
        return STATUS_OK;
    }
    if (table->time_indexed && (window.lo != INT64_MIN || window.hi != INT64_MAX)) {
        /* Times outside the window may be anything: what cannot be read leaves the estimate too high, no more. */
        struct error ignored;

        error_reset(&ignored);
        if (extent_ask(pg, table, (struct range){INT64_MIN, INT64_MAX}, &any, &all.first, &all.last, NULL, &ignored) ==
                STATUS_OK &&
            any)
            share = range_length(survey_extent(survey, table)) / range_length(survey_extent(&all, table));
        else if (ignored.status != STATUS_DATA && ignored.status != STATUS_OK)
            return error_set(error, ignored.status, "%s", ignored.text);
    }
    stretch_from_share(table, share, rows, survey);
    return STATUS_OK;
}

static bool survey_empty(const struct survey *survey)
{
    return survey->first > survey->last;
}

/* The caller frees survey->stretches, also after a failure. */
static enum status survey_take(struct pg *pg, const struct table *table, struct range window, struct survey *survey,
                               struct error *error)
{
    enum status status;

    *survey = (struct survey){.stretches = calloc(table->cell_count + 1, sizeof *survey->stretches)};
    if (survey->stretches == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for %zu chunks", table->cell_count);
    if (!table_has_cells(table))
        return survey_whole(pg, table, window, survey, error);
    status = survey_cells(pg, table, window, survey, error);
    if (status == STATUS_OK && !survey_empty(survey))
        stretches_from_cells(table, window, survey);
    return status;
}

/* Rows and bytes in the range, from stretch `from` on; unknown as soon as one stretch is. */
static void survey_estimate(const struct survey *survey, size_t from, struct range range, int64_t *rows, int64_t *bytes)
{
    double row_sum = 0, byte_sum = 0;

    for (size_t i = from; i < survey->count && survey->stretches[i].range.lo < range.hi; i++) {
        const struct stretch *stretch = &survey->stretches[i];
        double overlap = range_length(range_overlap(stretch->range, range));
        double share = overlap < stretch->length ? overlap / stretch->length : 1;

        if (overlap <= 0)
            continue;
        row_sum = row_sum < 0 || stretch->rows < 0 ? -1 : row_sum + stretch->rows * share;
        byte_sum = byte_sum < 0 || stretch->bytes < 0 ? -1 : byte_sum + stretch->bytes * share;
    }
    *rows = llround(row_sum);
    *bytes = llround(byte_sum);
}

enum status postgres_extent(struct pg *pg, const struct table *table, struct range window, bool *any,
                            struct range *extent, int64_t *rows, int64_t *bytes, struct error *error)
{
    struct survey survey;
    enum status status = survey_take(pg, table, window, &survey, error);

    *any = status == STATUS_OK && !survey_empty(&survey);
    *rows = *bytes = 0;
    if (*any) {
        *extent = survey_extent(&survey, table);
        survey_estimate(&survey, 0, *extent, rows, bytes);
    }
    free(survey.stretches);
    return status;
}

/* ---- Tasks ---- */

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
    struct range rest = {walk->next, time_after(walk->table, last)};
    int64_t found = rest.hi;
    enum status status = edge_ask(walk->pg, walk->table, "min", rest, more, &found, error);

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
    status = refuse_null(pg, table, error);
    if (status == STATUS_OK)
        status = refuse_infinite(pg, table, window, error);
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
