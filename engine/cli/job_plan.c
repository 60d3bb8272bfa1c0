/* What is left to do, and whose rows are in the way. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"

/* Whether the ledger has the range; its rows are sorted by lo. */
static bool is_committed(const struct job *job, int64_t lo)
{
    size_t low = 0, high = job->row_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (job->rows[middle].range.lo < lo)
            low = middle + 1;
        else
            high = middle;
    }
    return low < job->row_count && job->rows[low].range.lo == lo;
}

static enum status all_tasks(struct job *job, struct error *error)
{
    if (job->kind == SOURCE_COMMAND)
        return job_command_ranges(job, &job->tasks, &job->task_count, error);
    return postgres_plan(job->source, &job->source_table, job->layout, &job->tasks, &job->task_count, &job->source_last,
                         error);
}

/* Drops what is done and puts the rest in the order of work. */
static enum status plan_tasks(struct job *job, struct error *error)
{
    size_t left = 0;
    enum status status;

    free(job->tasks);
    job->tasks = NULL;
    status = all_tasks(job, error);
    if (status != STATUS_OK)
        return status;
    job->ranges_total = (int64_t)job->task_count;
    job->rows_total = job->bytes_total = 0;
    for (size_t i = 0; i < job->task_count; i++) {
        bool committed = is_committed(job, job->tasks[i].place.range.lo);

        if (job->tasks[i].rows_estimate < 0)
            job->rows_total = job->bytes_total = -1;
        if (job->rows_total >= 0 && !committed) {
            job->rows_total += job->tasks[i].rows_estimate;
            job->bytes_total += job->tasks[i].bytes_estimate;
        }
        if (!committed)
            job->tasks[left++] = job->tasks[i];
    }
    if (job->rows_total >= 0) {
        job->rows_total += job->rows_before;
        job->bytes_total += job->bytes_before;
    }
    job->task_count = left;
    if (job->options->order == ORDER_NEWEST)
        for (size_t i = 0; i < left / 2; i++) {
            struct task task = job->tasks[i];

            job->tasks[i] = job->tasks[left - 1 - i];
            job->tasks[left - 1 - i] = task;
        }
    return STATUS_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *one = a, *other = b;

    return (one->lo > other->lo) - (one->lo < other->lo);
}

/* The ranges that any input has rows in, sorted. */
static enum status ranges_of_inputs(struct job *job, struct range **ranges, size_t *count, struct error *error)
{
    enum status status = STATUS_OK;
    size_t kept = 0;

    *ranges = NULL;
    *count = 0;
    for (size_t i = 0; i < job->input_count && status == STATUS_OK; i++) {
        struct range *more = NULL, *all;
        size_t more_count = 0;

        status = stream_ranges(&job->set.sources[i], &more, &more_count, job->stop, error);
        if (status != STATUS_OK)
            break;
        all = realloc(*ranges, (*count + more_count + 1) * sizeof *all);
        if (all == NULL) {
            free(more);
            return error_set(error, STATUS_SYSTEM, "out of memory");
        }
        if (more_count > 0)
            memcpy(all + *count, more, more_count * sizeof *all);
        free(more);
        *ranges = all;
        *count += more_count;
    }
    if (*count > 0)
        qsort(*ranges, *count, sizeof **ranges, compare_ranges);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || (*ranges)[kept - 1].lo != (*ranges)[i].lo)
            (*ranges)[kept++] = (*ranges)[i];
    *count = kept;
    return status;
}

/* The ranges that are not committed yet, sorted; of a stream only if it can be read twice. */
static enum status uncommitted_ranges(struct job *job, struct range **ranges, size_t *count, struct error *error)
{
    size_t left = 0;
    enum status status;

    if (job->kind == SOURCE_STREAM) {
        status = ranges_of_inputs(job, ranges, count, error);
        for (size_t i = 0; status == STATUS_OK && i < *count; i++)
            if (!is_committed(job, (*ranges)[i].lo))
                (*ranges)[left++] = (*ranges)[i];
        *count = left;
        return status;
    }
    *count = job->task_count;
    *ranges = calloc(*count + 1, sizeof **ranges);
    if (*ranges == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < *count; i++)
        (*ranges)[i] = job->tasks[i].place.range;
    qsort(*ranges, *count, sizeof **ranges, compare_ranges);
    return STATUS_OK;
}

/* Rows of the target by its own chunks or partitions, for want of knowing the input's ranges; else all of the window.
 */
static enum status count_in_cells(struct job *job, struct error *error)
{
    struct range *ranges = calloc(job->table.cell_count + 1, sizeof *ranges);
    enum status status;
    size_t count = 0;

    if (ranges == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < job->table.cell_count; i++) {
        struct range cell = job->table.cells[i];

        cell.lo = cell.lo > job->window.lo ? cell.lo : job->window.lo;
        cell.hi = cell.hi < job->window.hi ? cell.hi : job->window.hi;
        /* The chunks of a space partition share their time. */
        if (cell.lo < cell.hi && (count == 0 || cell.lo >= ranges[count - 1].hi))
            ranges[count++] = cell;
    }
    if (count == 0 || job->table.default_partition) {
        ranges[0] = job->window;
        count = 1;
    }
    status = overlap_count(job->target, &job->table, ranges, count, &job->overlap, error);
    free(ranges);
    return status;
}

static enum status plan_overlap(struct job *job, struct error *error)
{
    struct range *ranges = NULL;
    enum status status;
    size_t count = 0;
    bool any;

    status = overlap_any(job->target, &job->table, job->window, &any, error);
    if (status != STATUS_OK || !any)
        return status;
    if (job->kind == SOURCE_STREAM && !job->rereadable) {
        /* It cannot be known which ranges will come. A resumed job leaves it to the check before each range's first
         * piece. */
        if (job->resumed)
            return STATUS_OK;
        return count_in_cells(job, error);
    }
    status = uncommitted_ranges(job, &ranges, &count, error);
    if (status == STATUS_OK)
        status = job_add_gaps(job, &ranges, &count, error);
    if (status == STATUS_OK && count > 0)
        status = overlap_count(job->target, &job->table, ranges, count, &job->overlap, error);
    free(ranges);
    return status;
}

enum status job_plan(struct job *job, struct error *error)
{
    enum status status = job_check_privileges(job, error);

    if (status == STATUS_OK && job->kind != SOURCE_STREAM)
        status = plan_tasks(job, error);
    job->overlap = (struct overlap_report){0};
    if (status == STATUS_OK && job->options->overlap != OVERLAP_KEEP)
        status = plan_overlap(job, error);
    return status;
}

/* A way to the target through a temporary table. */
static enum status check_conflicts(struct job *job, struct error *error)
{
    char *missing = NULL;
    enum status status =
        pg_value(job->target,
                 "SELECT 'GRANT TEMPORARY ON DATABASE ' || quote_ident(current_database()) || ' TO ' ||"
                 " quote_ident(current_user) WHERE NOT has_database_privilege(current_database(), 'TEMP')",
                 &missing, error);

    if (status == STATUS_OK && missing != NULL)
        status =
            error_set(error, STATUS_SERVER,
                      "target: permission denied: --on-conflict skip works through a temporary table, for which the"
                      " role needs %s",
                      missing);
    free(missing);
    return status;
}

enum status job_check_privileges(struct job *job, struct error *error)
{
    bool replaces = job->options->overlap == OVERLAP_REPLACE;
    struct sql sql = {0};
    char *missing = NULL;
    enum status status;

    /* Rights on columns are enough to load them. */
    sql_add(&sql,
            "SELECT string_agg(p, ', ') FROM unnest(ARRAY['INSERT', 'SELECT'%s]) p WHERE NOT CASE p WHEN 'DELETE' THEN "
            "has_table_privilege(%u, p) ELSE has_any_column_privilege(%u, p) END",
            replaces ? ", 'DELETE'" : "", job->table.oid, job->table.oid);
    status = pg_value(job->target, sql.text, &missing, error);
    sql_reset(&sql);
    if (status == STATUS_OK && missing != NULL) {
        char *role = pg_identifier(PQuser(pg_conn(job->target)));

        error_set(error, STATUS_SERVER, "target: permission denied: the role needs GRANT %s ON %s TO %s", missing,
                  job->table.sql, role);
        free(role);
        status = error->status;
    }
    free(missing);
    if (status == STATUS_OK && job->options->on_conflict == ON_CONFLICT_SKIP)
        status = check_conflicts(job, error);
    return status;
}

enum status job_check_overlap(const struct job *job, struct error *error)
{
    struct sql text = {0};

    if (job->overlap.rows == 0 || job->options->overlap != OVERLAP_ERROR)
        return STATUS_OK;
    overlap_report_text(&job->overlap, &job->table, &text);
    error_set(
        error, STATUS_DATA,
        "the target %s already has rows where this job would load: nothing was touched.\n%s\n"
        "Choose: --overlap replace deletes the rows of each range as it is loaded, --overlap keep adds to them, or "
        "narrow the window with --from and --until",
        job->table.sql, text.text);
    sql_reset(&text);
    return error->status;
}
