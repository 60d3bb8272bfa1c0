/*
 * Stretches before T in which the source has no rows: no range of the job is there, and rows of the target are others'.
 * What other jobs have loaded into the same table, as far as the ledger knows them, is not in the way and stays: one
 * file after the other, say, each with the same T.
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

/* Takes `others` out of the gaps; both are sorted. `rest` has room for as many as both together. */
static size_t spare_others(const struct range *gaps, size_t count, const struct range *others, size_t other_count,
                           struct range *rest)
{
    size_t left = 0, from = 0;

    for (size_t i = 0; i < count; i++) {
        struct range gap = gaps[i];

        while (from < other_count && others[from].hi <= gap.lo)
            from++;
        for (size_t j = from; j < other_count && others[j].lo < gap.hi; j++) {
            if (gap.lo < others[j].lo)
                rest[left++] = (struct range){gap.lo, others[j].lo};
            if (gap.lo < others[j].hi)
                gap.lo = others[j].hi;
        }
        if (gap.lo < gap.hi)
            rest[left++] = gap;
    }
    return left;
}

/* Of the ranges of the job: what is in none of them, nor in one of another job. The caller frees *gaps. */
static enum status gaps_of(struct job *job, struct range *ranges, size_t range_count, struct range **gaps,
                           size_t *count, struct error *error)
{
    struct range *others = NULL, *found = NULL;
    size_t other_count = 0, found_count;
    enum status status;

    *gaps = NULL;
    *count = 0;
    if (range_count > 0)
        qsort(ranges, range_count, sizeof *ranges, compare_ranges);
    status = ledger_read_others(job->target, &job->ledger, job->table.oid, &others, &other_count, error);
    if (status != STATUS_OK)
        return status;
    found = calloc(range_count + 2, sizeof *found);
    *gaps = calloc(range_count + 2 + other_count, sizeof **gaps);
    if (found == NULL || *gaps == NULL) {
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    } else {
        found_count = find_gaps(job, ranges, range_count, found);
        *count = spare_others(found, found_count, others, other_count, *gaps);
    }
    free(found);
    free(others);
    return status;
}

/* The ranges of the job: those that are committed, and those that are given beside them. The caller frees them. */
static enum status ranges_of(const struct job *job, const struct range *more, size_t more_count, struct range **ranges,
                             size_t *count, struct error *error)
{
    *count = 0;
    *ranges = calloc(job->row_count + more_count + 1, sizeof **ranges);
    if (*ranges == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < job->row_count; i++)
        (*ranges)[(*count)++] = job->rows[i].range;
    for (size_t i = 0; i < more_count; i++)
        (*ranges)[(*count)++] = more[i];
    return STATUS_OK;
}

/* Both are taken: *ranges becomes the two together. */
static enum status join(struct range **ranges, size_t *count, struct range *gaps, size_t gap_count, struct error *error)
{
    struct range *all = realloc(*ranges, (*count + gap_count + 1) * sizeof *all);

    if (all == NULL) {
        free(gaps);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    if (gap_count > 0)
        memcpy(all + *count, gaps, gap_count * sizeof *all);
    free(gaps);
    *ranges = all;
    *count += gap_count;
    qsort(all, *count, sizeof *all, compare_ranges);
    return STATUS_OK;
}

enum status job_add_gaps(struct job *job, struct range **ranges, size_t *count, struct error *error)
{
    struct range *all = NULL, *gaps = NULL;
    size_t all_count = 0, gap_count = 0;
    enum status status;

    if (!gaps_count(job))
        return STATUS_OK;
    /* What is committed is ours. */
    status = ranges_of(job, *ranges, *count, &all, &all_count, error);
    if (status == STATUS_OK)
        status = gaps_of(job, all, all_count, &gaps, &gap_count, error);
    free(all);
    if (status != STATUS_OK) {
        free(gaps);
        return status;
    }
    return join(ranges, count, gaps, gap_count, error);
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

/* Without a ledger: what this run was to load, and has loaded, stands beside what earlier runs had. */
static enum status loaded_ranges(struct job *job, struct range **ranges, size_t *count, struct error *error)
{
    struct range *tasks = calloc(job->task_count + 1, sizeof *tasks);
    enum status status = job_read_ledger(job, error);

    if (status == STATUS_OK && tasks == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; status == STATUS_OK && i < job->task_count; i++)
        tasks[i] = job->tasks[i].place.range;
    if (status == STATUS_OK)
        status = ranges_of(job, tasks, job->ledger.none ? job->task_count : 0, ranges, count, error);
    free(tasks);
    return status;
}

enum status job_empty_gaps(struct job *job, struct error *error)
{
    struct range *ranges = NULL, *gaps = NULL;
    size_t count = 0, gap_count = 0;
    enum status status = loaded_ranges(job, &ranges, &count, error);

    if (status == STATUS_OK)
        status = gaps_of(job, ranges, count, &gaps, &gap_count, error);
    for (size_t i = 0; status == STATUS_OK && i < gap_count; i++)
        status = empty_gap(job, gaps[i], error);
    free(ranges);
    free(gaps);
    return status;
}
