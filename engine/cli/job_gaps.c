/* Stretches before T in which the source has no rows: no range of the job is there, and rows of the target are others'.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"
#include "engine/log.h"

/*
 * What is in none of the ranges, which are sorted: between them, behind them until T, and before them from --from on.
 * Without --from it is not said where the source's history begins, and without any range not that it has one.
 */
static size_t find_gaps(const struct job *job, const struct range *ranges, size_t count, struct range *gaps)
{
    size_t found = 0;
    int64_t at;

    if (count == 0 || job->window.hi == INT64_MAX)
        return 0;
    at = job->window.lo != INT64_MIN ? job->window.lo : ranges[0].lo;
    for (size_t i = 0; i < count; i++) {
        if (at < ranges[i].lo)
            gaps[found++] = (struct range){at, ranges[i].lo};
        if (at < ranges[i].hi)
            at = ranges[i].hi;
    }
    if (at < job->window.hi)
        gaps[found++] = (struct range){at, job->window.hi};
    return found;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *one = a, *other = b;

    return (one->lo > other->lo) - (one->lo < other->lo);
}

/*
 * A database is all of history, so that rows beside it are in the way. A file may be a part of it. Of a job that is
 * resumed the first run was refused for such rows.
 */
static bool gaps_count(const struct job *job)
{
    return job->options->overlap == OVERLAP_REPLACE || (job->kind == SOURCE_POSTGRES && !job->resumed);
}

enum status job_add_gaps(const struct job *job, struct range **ranges, size_t *count, struct error *error)
{
    size_t known = *count + job->row_count, gaps;
    struct range *all;

    if (!gaps_count(job))
        return STATUS_OK;
    all = calloc(known * 2 + 2, sizeof *all);
    if (all == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (*count > 0)
        memcpy(all, *ranges, *count * sizeof *all);
    for (size_t i = 0; i < job->row_count; i++)
        all[*count + i] = job->rows[i].range;
    qsort(all, known, sizeof *all, compare_ranges);
    gaps = find_gaps(job, all, known, all + known);
    /* What is committed is ours. */
    if (*count > 0)
        memcpy(all, *ranges, *count * sizeof *all);
    memmove(all + *count, all + known, gaps * sizeof *all);
    free(*ranges);
    *ranges = all;
    *count += gaps;
    qsort(all, *count, sizeof *all, compare_ranges);
    return STATUS_OK;
}

/* Whether the source has got rows there since its ranges were planned. A stream was read to its end. */
static enum status source_has_rows(struct job *job, struct range gap, bool *has, struct error *error)
{
    enum status status = STATUS_OK;

    *has = false;
    if (job->kind == SOURCE_POSTGRES)
        status = pg_connect(job->source, error);
    if (job->kind == SOURCE_POSTGRES && status == STATUS_OK)
        status = overlap_any(job->source, &job->source_table, gap, has, error);
    return status;
}

static enum status empty_gap(struct job *job, struct range gap, struct error *error)
{
    bool late = false;
    enum status status = source_has_rows(job, gap, &late, error);
    char text[TABLE_RANGE_TEXT_MAX];

    if (status == STATUS_OK && late) {
        log_line(LOG_WARNING,
                 "rows came to the source in %s while it was read: not loaded, and nothing is deleted there. Compare "
                 "both sides with hyperfill verify",
                 table_range_text(&job->table, gap, text));
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = pg_run(job->target, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", NULL, error);
    if (status == STATUS_OK)
        status = overlap_delete(job->target, &job->table, job->table.sql, gap, error);
    if (status == STATUS_OK)
        status = ledger_commit_plain(job->target, error);
    if (status != STATUS_OK)
        pg_rollback(job->target);
    return status;
}

enum status job_empty_gaps(struct job *job, struct error *error)
{
    enum status status = job_read_ledger(job, error);
    struct range *ranges = NULL;
    size_t count = 0;

    if (status != STATUS_OK)
        return status;
    ranges = calloc(job->row_count * 2 + 2, sizeof *ranges);
    if (ranges == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    /* Sorted by lo; several inputs may have rows of one range. */
    for (size_t i = 0; i < job->row_count; i++)
        ranges[i] = job->rows[i].range;
    count = find_gaps(job, ranges, job->row_count, ranges + job->row_count);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = empty_gap(job, ranges[job->row_count + i], error);
    free(ranges);
    return status;
}
