/*
 * --late: rows that came into the source after their range was read. The stretch before the completion point where that
 * may be is compared once the job is complete, and loaded again where it differs.
 */
#include "engine/cli/run.h"
#include "engine/cli/text.h"
#include "engine/cli/verify_job.h"
#include "engine/log.h"

enum status run_check_late(const struct run *run, struct range *window, struct error *error)
{
    const struct job *job = &run->job;
    const char *late = job->options->late;
    int64_t length;

    *window = job->window;
    if (late == NULL)
        return STATUS_OK;
    if (job->kind != SOURCE_POSTGRES)
        return error_set(
            error, STATUS_USAGE,
            "--late compares two databases: rows that came late into CSV are loaded by a job of their own");
    if (!time_interval_parse(job->table.time.type, late, &length) || length <= 0)
        return error_set(error, STATUS_USAGE, "--late %s cannot be read: write %s", late,
                         time_type_is_integer(job->table.time.type) ? "a whole number, in the unit of the time column"
                                                                    : "a length such as 90s, 15 minutes or 1h");
    if (window->hi - length > window->lo)
        window->lo = window->hi - length;
    return STATUS_OK;
}

static int64_t rows_of(const struct verify_report *report, bool repaired)
{
    int64_t rows = 0;

    for (size_t i = 0; i < report->difference_count; i++)
        if (report->differences[i].repaired == repaired)
            rows += report->differences[i].missing + report->differences[i].extra + report->differences[i].different;
    return rows;
}

static enum status tell(const struct run *run, const struct verify_report *report, struct error *error)
{
    char count[NUMBER_TEXT_MAX];
    int64_t rows = rows_of(report, true);

    if (rows > 0)
        log_line(LOG_NOTICE, "%s: %s row%s had come late, or changed: now as in the source", run->job.table.sql,
                 count_format(rows, count), rows == 1 ? "" : "s");
    else if (report->open == 0)
        log_line(LOG_NOTICE, "%s: no row had come late in the last %s before the completion point", run->job.table.sql,
                 run->job.options->late);
    if (report->open == 0)
        return STATUS_OK;
    return error_set(
        error, STATUS_DATA,
        "%zu stretch%s of %s differ%s after repairs: rows still come late, or change in the source. Run the"
        " same command again later, or with a longer --late",
        report->open, report->open == 1 ? "" : "es", run->job.table.sql, report->open == 1 ? "s" : "");
}

enum status run_catch_up(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    struct verify_report report = {0};
    struct job_throttle own = {0};
    struct verify_spec spec;
    struct verify_repair repair = {&spec, job->ledger.job};
    struct range window;
    enum status status = run_check_late(run, &window, error);

    if (status != STATUS_OK || job->options->late == NULL)
        return status;
    verify_spec_fill(job, &spec);
    spec.columns = (const char *const *)job->mappings[0].columns.items;
    spec.column_count = job->mappings[0].columns.count;
    spec.time_index = job->postgres_time_index;
    spec.examples_max = 0;
    spec.stop = run->stop;
    spec.repair = verify_repair_postgres;
    spec.repair_context = &repair;
    /* The load's own has ended where there are several tables, and was none where the job was complete. */
    if (run->throttle.throttle == NULL)
        status = job_throttle_start(&own, job, run->stop, error);
    spec.throttle = own.throttle != NULL ? own.throttle : run->throttle.throttle;
    if (status == STATUS_OK)
        status = verify_window(&spec, window, &report, error);
    if (status == STATUS_OK)
        status = tell(run, &report, error);
    job_throttle_finish(&own);
    verify_report_reset(&report);
    return status;
}
