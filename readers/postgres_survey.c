/* Where a PostgreSQL source has rows, and about how many. */
#include <math.h>
#include <stdlib.h>

#include "readers/postgres_private.h"

#define CSV_SHARE_OF_HEAP 0.9

struct range survey_extent(const struct survey *survey, const struct table *table)
{
    return (struct range){survey->first, postgres_time_after(table, survey->last)};
}

bool survey_empty(const struct survey *survey)
{
    return survey->first > survey->last;
}

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
            status = postgres_ask_edge(pg, table, "min", part, &any, &survey->first, error);
    }
    if (!any || status != STATUS_OK)
        return status;
    any = false;
    for (size_t i = table->cell_count; i-- > 0 && !any && status == STATUS_OK;) {
        struct range part = range_overlap(table->cells[i], window);

        if (part.lo < part.hi && !(i + 1 < table->cell_count && cell_repeats(table, i, i + 1)))
            status = postgres_ask_edge(pg, table, "max", part, &any, &survey->last, error);
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

/* The share of all rows' time that those of the survey have: 1 where that cannot be told. Times outside the window may
 * be anything: what cannot be read leaves the estimate too high, no more. */
static enum status share_of_all(struct pg *pg, const struct table *table, const struct survey *survey, double *share,
                                struct error *error)
{
    struct range everything = {INT64_MIN, INT64_MAX};
    struct survey all = {0};
    struct error ignored;
    bool any = false;
    enum status status;

    *share = 1;
    error_reset(&ignored);
    status = postgres_ask_extent(pg, table, everything, &any, &all.first, &all.last, NULL, &ignored);
    if (status == STATUS_OK && any)
        *share = range_length(survey_extent(survey, table)) / range_length(survey_extent(&all, table));
    else if (ignored.status != STATUS_DATA && ignored.status != STATUS_OK)
        return error_set(error, ignored.status, "%s", ignored.text);
    return STATUS_OK;
}

/* With an index two look-ups, and two more for the window's share of the table; without, one scan that counts as well.
 */
static enum status survey_whole(struct pg *pg, const struct table *table, struct range window, struct survey *survey,
                                struct error *error)
{
    int64_t rows = -1;
    double share = 1;
    bool any = false;
    enum status status = postgres_ask_extent(pg, table, window, &any, &survey->first, &survey->last,
                                             table->time_indexed ? NULL : &rows, error);

    if (status == STATUS_OK && !any) {
        survey->first = INT64_MAX;
        survey->last = INT64_MIN;
        return STATUS_OK;
    }
    if (status == STATUS_OK && table->time_indexed && (window.lo != INT64_MIN || window.hi != INT64_MAX))
        status = share_of_all(pg, table, survey, &share, error);
    if (status == STATUS_OK)
        stretch_from_share(table, share, rows, survey);
    return status;
}

enum status survey_take(struct pg *pg, const struct table *table, struct range window, struct survey *survey,
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

void survey_estimate(const struct survey *survey, size_t from, struct range range, int64_t *rows, int64_t *bytes)
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
