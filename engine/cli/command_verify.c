/* `hyperfill verify`: compares what is there with what should be, and repairs it. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/cli/commands.h"
#include "engine/cli/job_throttle.h"
#include "engine/cli/tables.h"
#include "engine/cli/text.h"
#include "engine/cli/verify_job.h"
#include "engine/log.h"
#include "engine/stats.h"

#define TELL_EVERY_NS INT64_C(10000000000)

/* How far it is, now and then. */
struct telling {
    int64_t last_ns;
    bool quiet;
};

void verify_notice_signal(enum stop_level level)
{
    log_line(LOG_NOTICE, level == STOP_DRAIN
                             ? "stopping: ranges that are being compared will be finished; once more to "
                               "abort them"
                             : "aborting");
}

static void tell(void *context, const struct verify_report *report)
{
    struct telling *telling = context;
    char rows[NUMBER_TEXT_MAX];

    if (telling->quiet || stats_now_ns() - telling->last_ns < TELL_EVERY_NS)
        return;
    telling->last_ns = stats_now_ns();
    log_line(LOG_NOTICE, "%zu of %zu ranges compared, %s rows; %zu stretches differ at the first look",
             report->ranges_done, report->ranges, count_format(report->rows[0], rows), report->difference_count);
}

enum status verify_judge(const struct options *options, const struct verify_report *report, struct error *error)
{
    if (report->open == 0)
        return STATUS_OK;
    return error_set(error, STATUS_DATA, "%zu stretch%s of %s %s%s", report->open, report->open == 1 ? "" : "es",
                     options->table, report->open == 1 ? "differs" : "differ",
                     options->repair ? " after repairs: do rows change in the source?"
                                     : "; --repair loads exactly what differs again");
}

void verify_show(const struct options *options, const struct verify_shown *shown)
{
    if (options->json)
        verify_print_json(shown);
    else
        verify_print(shown);
    /* Before the error that goes elsewhere. */
    fflush(stdout);
}

void verify_spec_fill(const struct job *job, struct verify_spec *spec)
{
    const struct options *options = job->options;

    *spec = (struct verify_spec){
        .addresses = {&job->source_address, &job->target_address},
        .tables = {&job->source_table, &job->table},
        .layout = job->layout,
        .ledger_schema = options->ledger_schema,
        .afresh = options->afresh,
        .jobs = options->jobs,
        .retry_ms = options->retry_seconds * 1000,
        .examples_max = (size_t)options->examples,
    };
}

enum status verify_compare(const struct job *job, struct verify_spec *spec, struct verify_shown *shown,
                           struct error *error)
{
    const struct options *options = job->options;
    struct telling telling = {stats_now_ns(), options->progress == PROGRESS_NONE};
    struct verify_repair repair = {spec, NULL};
    struct job_throttle throttle = {0};
    struct verify_report report = {0};
    enum status status;

    spec->progress = tell;
    spec->progress_context = &telling;
    if (options->repair) {
        spec->repair = verify_repair_postgres;
        spec->repair_context = &repair;
    }
    shown->spec = spec;
    shown->report = &report;
    status = job_throttle_start(&throttle, job, spec->stop, error);
    spec->throttle = throttle.throttle;
    if (status == STATUS_OK)
        status = verify_window(spec, job->window, &report, error);
    job_throttle_finish(&throttle);
    if (status == STATUS_OK) {
        verify_show(options, shown);
        status = verify_judge(options, &report, error);
    } else if ((status == STATUS_STOPPED || status == STATUS_TRANSIENT) && spec->identity != NULL) {
        log_line(LOG_NOTICE,
                 "what was found equal is remembered; run the same command again to go on, with --afresh to "
                 "begin anew");
    }
    verify_report_reset(&report);
    return status;
}

static enum status verify_postgres(struct job *job, const char *aggregate, struct error *error)
{
    struct verify_shown shown = {
        .source = job->source_address.display, .target = job->target_address.display, .aggregate = aggregate};
    struct verify_spec spec;

    verify_spec_fill(job, &spec);
    spec.columns = (const char *const *)job->mappings[0].columns.items;
    spec.column_count = job->mappings[0].columns.count;
    spec.time_index = job->postgres_time_index;
    spec.identity = job->fingerprint;
    spec.stop = job->stop;
    if (job->resumed && !job->finished)
        log_line(LOG_WARNING, "the job that loads these rows has not finished: what it has not loaded is missing");
    pg_disconnect(job->source);
    pg_disconnect(job->target);
    return verify_compare(job, &spec, &shown, error);
}

/* What is to be compared beside the table. */
static enum status find_aggregates(struct job *job, struct cascade *cascade, struct error *error)
{
    struct cascade_spec spec;

    if (job->kind != SOURCE_POSTGRES)
        return error_set(error, STATUS_USAGE, "--cascade is for a PostgreSQL source: CSV has no continuous aggregates");
    cascade_spec_fill(job, &spec);
    return cascade_find(&spec, cascade, error);
}

/* One table. `cascade`: filled if it is asked for; `aggregate`: of which the table is the rows, NULL: of none. */
static enum status verify_table(const struct options *options, const char *aggregate, struct stop *stop,
                                struct signals **signals, struct cascade *cascade, struct error *error)
{
    /* How rows would be written is of no interest here. */
    struct options as_append = *options;
    struct job *job = calloc(1, sizeof *job);
    enum status status;

    if (job == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    as_append.strategy = STRATEGY_APPEND;
    status = job_open(job, &as_append, stop, error);
    if (status == STATUS_OK && options->cascade)
        status = find_aggregates(job, cascade, error);
    if (status == STATUS_OK && job->kind == SOURCE_POSTGRES && options->aside)
        status =
            error_set(error, STATUS_USAGE, "--aside is for a CSV source: all rows of a database are compared anyhow");
    else if (status == STATUS_OK && job->kind == SOURCE_POSTGRES)
        status = verify_postgres(job, aggregate, error);
    else if (status == STATUS_OK && options->aside)
        status = verify_aside(job, signals, error);
    else if (status == STATUS_OK)
        status = verify_ledger(job, error);
    job_close(job);
    free(job);
    return status;
}

static enum status verify_aggregate(const struct options *options, const struct cascade_table *table, struct stop *stop,
                                    struct signals **signals, struct error *error)
{
    struct options own;
    char *from, *until;
    enum status status;

    if (table->problem != NULL)
        return error_set(error, STATUS_SERVER, "%s", table->problem);
    cascade_options(options, table, &from, &until, &own);
    status = verify_table(&own, table->name, stop, signals, NULL, error);
    if (status != STATUS_OK)
        error_prefix(error, "continuous aggregate %s", table->name);
    free(from);
    free(until);
    return status;
}

/* Each of them, also where others differ. The worst is the result; of the others the log tells. */
static enum status verify_aggregates(const struct options *options, const struct cascade *cascade, struct stop *stop,
                                     struct signals **signals, struct error *error)
{
    for (size_t i = 0; i < cascade->count && error->status != STATUS_STOPPED; i++) {
        const struct cascade_table *table = &cascade->tables[i];
        struct error one;

        if (table->window.lo >= table->window.hi)
            continue;
        error_reset(&one);
        if (verify_aggregate(options, table, stop, signals, &one) == STATUS_OK)
            continue;
        if (error->status != STATUS_OK)
            log_error(one.status == status_worse(one.status, error->status) ? error : &one);
        if (one.status == status_worse(one.status, error->status))
            *error = one;
    }
    return error->status;
}

enum status command_verify(const struct options *options, struct error *error)
{
    struct signals *signals = NULL;
    struct cascade cascade = {0};
    struct stop *stop = NULL;
    enum status status = stop_create(&stop, error);

    if (status == STATUS_OK)
        status = signals_start(stop, verify_notice_signal, &signals, error);
    if (status == STATUS_OK) {
        status = verify_table(options, NULL, stop, &signals, &cascade, error);
        if (options->cascade && cascade.count == 0 && (status == STATUS_OK || status == STATUS_DATA))
            log_line(LOG_NOTICE, "the source has no continuous aggregates on %s: --cascade adds nothing",
                     options->table);
        if (status == STATUS_OK || status == STATUS_DATA)
            status = verify_aggregates(options, &cascade, stop, &signals, error);
    }
    signals_finish(signals);
    cascade_reset(&cascade);
    stop_free(stop);
    return status;
}
