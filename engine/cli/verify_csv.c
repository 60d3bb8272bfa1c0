/* Verification of what came from CSV. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/commands.h"
#include "engine/cli/job_throttle.h"
#include "engine/cli/verify_job.h"
#include "engine/log.h"
#include "writers/rejects.h"
#include "writers/scratch.h"

/* ---- By the ledger */

static enum status sum_ranges(const struct job *job, struct verify_sent **sent, size_t *count, struct error *error)
{
    *sent = calloc(job->row_count + 1, sizeof **sent);
    *count = 0;
    if (*sent == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    /* Sorted by lo; several inputs may have rows of one range. */
    for (size_t i = 0; i < job->row_count; i++) {
        if (*count == 0 || (*sent)[*count - 1].range.lo != job->rows[i].range.lo)
            (*sent)[(*count)++].range = job->rows[i].range;
        (*sent)[*count - 1].rows += job->rows[i].rows;
    }
    return STATUS_OK;
}

static enum status check_job(const struct job *job, struct error *error)
{
    if (job->options->repair)
        return error_set(error, STATUS_USAGE,
                         "--repair needs to know which rows differ: with a CSV source that is told by --aside");
    if (!job->resumed)
        return error_set(error, STATUS_USAGE,
                         "the ledger in schema \"%s\" knows no job that has loaded this source into %s with these "
                         "options: has the file changed, or was the job forgotten (hyperfill clean)? With --aside it "
                         "is loaded once more, beside the table, and compared",
                         job->options->ledger_schema, job->table.sql);
    if (!job->finished)
        log_line(LOG_WARNING, "the job has not finished: what it has not loaded is not looked at");
    return STATUS_OK;
}

/* Rows that came later than those of their ranges. */
static enum status tell_replayed(struct job *job, struct error *error)
{
    int64_t all = 0, open = 0;
    enum status status = STATUS_OK;

    if (job->resumed)
        status = reject_count(job->target, &job->ledger, &all, &open, error);
    if (status == STATUS_OK && all > open)
        log_line(LOG_NOTICE, "%lld rejected rows were replayed or dropped since: those replayed show as extra",
                 (long long)(all - open));
    return status;
}

enum status verify_ledger(struct job *job, struct error *error)
{
    struct verify_spec spec = {.tables = {NULL, &job->table}};
    struct verify_report report = {0};
    struct verify_shown shown = {
        .spec = &spec,
        .report = &report,
        .source = job->name,
        .target = job->target_address.display,
        .how = "numbers of rows, with those in the ledger: does not see rows that were changed, nor those in stretches "
               "for which nothing was loaded; --aside does",
    };
    struct job_throttle throttle = {0};
    struct verify_sent *sent = NULL;
    size_t count = 0;
    enum status status = check_job(job, error);

    if (status == STATUS_OK)
        status = tell_replayed(job, error);
    if (status == STATUS_OK)
        status = sum_ranges(job, &sent, &count, error);
    if (status == STATUS_OK)
        status = job_throttle_start(&throttle, job, job->stop, error);
    if (status == STATUS_OK)
        status = verify_sent_rows(job->target, &job->table, sent, count, throttle.throttle, &report, error);
    job_throttle_finish(&throttle);
    if (status == STATUS_OK)
        verify_show(job->options, &shown);
    if (status == STATUS_OK && report.open > 0)
        status = error_set(error, STATUS_DATA,
                           "%zu of %zu ranges of %s do not have as many rows as were loaded; --aside shows which "
                           "differ, --aside --repair loads them again",
                           report.open, report.ranges, job->options->table);
    verify_report_reset(&report);
    free(sent);
    return status;
}

/* ---- Aside */

struct aside {
    struct job *job;
    struct scratch scratch;
    struct table copy;
    char folder[64]; /* of files that the job aside writes; "": none */
    char checkpoint[96], rejects[96], reasons[128];
    struct names columns;
    int time_index;
};

/* Columns that every input has: the others have defaults, which may be other ones each time. */
static enum status choose_columns(struct aside *aside, struct error *error)
{
    const struct job *job = aside->job;

    aside->time_index = -1;
    for (int i = 0; i < job->mappings[0].columns.count; i++) {
        const char *name = job->mappings[0].columns.items[i];
        bool everywhere = name != NULL;

        for (size_t input = 1; input < job->input_count && everywhere; input++)
            everywhere = names_have_exactly(&job->mappings[input].columns, name);
        if (!everywhere)
            continue;
        if (strcmp(name, job->table.time_name) == 0)
            aside->time_index = aside->columns.count;
        names_add(&aside->columns, name);
    }
    if (aside->time_index < 0)
        return error_set(error, STATUS_USAGE, "the time column \"%s\" is not among the columns of each input",
                         job->table.time_name);
    return STATUS_OK;
}

static enum status make_folder(struct aside *aside, struct error *error)
{
    snprintf(aside->folder, sizeof aside->folder, "/tmp/hyperfill-verify-XXXXXX");
    if (mkdtemp(aside->folder) == NULL) {
        error_set_errno(error, STATUS_SYSTEM, "cannot make the folder %s", aside->folder);
        aside->folder[0] = '\0';
        return error->status;
    }
    snprintf(aside->checkpoint, sizeof aside->checkpoint, "%s/checkpoint", aside->folder);
    snprintf(aside->rejects, sizeof aside->rejects, "%s/rejects", aside->folder);
    snprintf(aside->reasons, sizeof aside->reasons, "%s.reasons", aside->rejects);
    return STATUS_OK;
}

/* Loads the source into the copy as `run` would. Rows that the table does not take it has not taken either. */
static enum status load_aside(struct aside *aside, struct error *error)
{
    struct options own = *aside->job->options;
    enum status status;

    own.command = COMMAND_RUN;
    own.table = aside->scratch.table;
    own.ledger_schema = aside->scratch.schema;
    own.time_column = aside->job->table.time_name;
    own.checkpoint = aside->checkpoint;
    own.progress = PROGRESS_NONE;
    own.on_bad_row = BAD_ROW_REJECT;
    own.max_rejects = INT64_MAX;
    own.reject_file = aside->rejects;
    own.on_conflict = aside->job->conflicts_before > 0 ? ON_CONFLICT_SKIP : ON_CONFLICT_ERROR;
    own.overlap = aside->job->conflicts_before > 0 ? OVERLAP_KEEP : OVERLAP_ERROR;
    /* That it could be resumed is not for the user. */
    log_level_set(LOG_WARNING);
    status = command_run(&own, error);
    log_level_set(own.verbose ? LOG_DEBUG : LOG_NOTICE);
    if (status != STATUS_OK && status != STATUS_REJECTS) {
        error_prefix(error, "loading %s aside", aside->job->name);
        return status;
    }
    error_reset(error);
    return STATUS_OK;
}

static enum status compare_aside(struct aside *aside, struct stop *stop, struct error *error)
{
    struct job *job = aside->job;
    struct verify_shown shown = {
        .source = job->name,
        .target = job->target_address.display,
        .how = "all rows, with those of the source, loaded into a scratch copy of the table",
    };
    struct verify_spec spec;
    enum status status = pg_connect(job->target, error);

    if (status == STATUS_OK)
        status = table_describe(job->target, aside->scratch.table, job->table.time_name, false, &aside->copy, error);
    if (status == STATUS_OK)
        status = table_refresh_cells(job->target, &job->table, error);
    if (status != STATUS_OK)
        return status;
    verify_spec_fill(job, &spec);
    spec.addresses[0] = &job->target_address;
    spec.tables[0] = &aside->copy;
    spec.columns = (const char *const *)aside->columns.items;
    spec.column_count = aside->columns.count;
    spec.time_index = aside->time_index;
    spec.stop = stop;
    pg_disconnect(job->target);
    return verify_compare(job, &spec, &shown, error);
}

static enum status check_rereadable(const struct job *job, struct error *error)
{
    for (int i = 0; i < job->options->sources.count; i++)
        if (strcmp(job->options->sources.items[i], "-") == 0)
            return error_set(error, STATUS_USAGE, "--aside reads the source once more, which standard input cannot be");
    return STATUS_OK;
}

enum status verify_aside(struct job *job, struct signals **signals, struct error *error)
{
    struct aside aside = {.job = job};
    struct stop *scratch_stop = NULL;
    struct error second;
    enum status status = check_rereadable(job, error);

    error_reset(&second);
    if (status == STATUS_OK)
        status = tell_replayed(job, error);
    if (status == STATUS_OK)
        status = choose_columns(&aside, error);
    /* The copy is removed however this ends. */
    if (status == STATUS_OK)
        status = stop_create(&scratch_stop, error);
    if (status == STATUS_OK)
        status = make_folder(&aside, error);
    if (status == STATUS_OK)
        status = scratch_create(&aside.scratch, &job->target_address, scratch_stop, &job->table, error);
    if (status == STATUS_OK) {
        signals_finish(*signals);
        *signals = NULL;
        status = load_aside(&aside, error);
    }
    if (status == STATUS_OK)
        status = signals_start(job->stop, verify_notice_signal, signals, error);
    if (status == STATUS_OK)
        status = compare_aside(&aside, job->stop, error);
    if (scratch_stop != NULL && scratch_drop(&aside.scratch, &second) != STATUS_OK)
        log_line(LOG_WARNING, "%s", second.text);
    if (aside.folder[0] != '\0') {
        unlink(aside.checkpoint);
        unlink(aside.rejects);
        unlink(aside.reasons);
        rmdir(aside.folder);
    }
    table_reset(&aside.copy);
    names_reset(&aside.columns);
    stop_free(scratch_stop);
    return status;
}
