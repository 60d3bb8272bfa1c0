/* A job from its options to what both sides and the ledger say of it. */
#include "engine/cli/job.h"

#include <stdlib.h>

static enum source_kind source_kind(const struct options *options)
{
    if (job_command_given(options))
        return template_wanted(options->source) ? SOURCE_COMMAND : SOURCE_STREAM;
    return pg_is_conninfo(options->source) && options->sources.count == 1 ? SOURCE_POSTGRES : SOURCE_STREAM;
}

enum status job_open(struct job *job, const struct options *options, struct stop *stop, struct error *error)
{
    return job_open_beside(job, options, NULL, stop, error);
}

static enum status refuse_options(const struct job *job, const struct options *options, struct error *error)
{
    if (job_reads_csv(job) && options->source_table != NULL)
        return error_set(error, STATUS_USAGE, "--source-table is for a PostgreSQL source; --source names a CSV %s",
                         job_command_given(options) ? "command" : "file");
    if (!job_reads_csv(job) && options->dialect_given)
        return error_set(error, STATUS_USAGE, "CSV options are for a CSV source; --source names a database");
    if (job->kind != SOURCE_STREAM && options->spill_dir != NULL)
        return error_set(error, STATUS_USAGE,
                         "--spill-dir is for a CSV source that is read front to back; this one is asked for one "
                         "range after the other");
    return job_unledgered_check(job, error);
}

/* Files first: it costs nothing to find out that they are not there. */
static enum status open_sides(struct job *job, struct error *error)
{
    const char *spill_dir = job->options->spill_dir;
    enum status status = spill_dir != NULL ? spill_check(spill_dir, error) : STATUS_OK;

    if (status == STATUS_OK && job_reads_csv(job))
        status = job_inputs(job, error);
    if (status == STATUS_OK)
        status = job_timezone(job, error);
    if (status == STATUS_OK)
        status = job_open_target(job, error);
    if (status == STATUS_OK && job->kind == SOURCE_POSTGRES)
        status = job_open_postgres(job, error);
    return status;
}

/* How rows go from one side to the other. */
static enum status settle_rows(struct job *job, struct error *error)
{
    enum status status = job_window(job, error);

    if (status == STATUS_OK && job->kind == SOURCE_COMMAND)
        status = job_command_learn(job, error);
    if (status == STATUS_OK)
        status = job_columns(job, error);
    if (status == STATUS_OK)
        status = job_build(job, error);
    if (status == STATUS_OK)
        status = job_wire(job, error);
    return status;
}

enum status job_open_beside(struct job *job, const struct options *options, struct job_sides *sides, struct stop *stop,
                            struct error *error)
{
    enum status status;

    *job = (struct job){.options = options, .sides = sides, .stop = stop, .source_last = INT64_MIN};
    job->ranges_total = job->rows_total = job->bytes_total = -1;
    job->kind = source_kind(options);
    status = refuse_options(job, options, error);
    if (status == STATUS_OK)
        status = open_sides(job, error);
    if (status == STATUS_OK)
        status = settle_rows(job, error);
    if (status == STATUS_OK)
        status = job_fingerprint(job, error);
    if (status == STATUS_OK)
        status = job_read_ledger(job, error);
    if (status == STATUS_OK && job->layout == NULL)
        status = job_layout(job, error);
    return status;
}

void job_close(struct job *job)
{
    for (int i = 0; i < job->text_count; i++)
        free(job->texts[i].value);
    job_command_close(job);
    job_inputs_reset(job);
    free(job->source_key);
    free(job->wire);
    free(job->fingerprint);
    free(job->created);
    free(job->layout_text);
    free(job->rows);
    free(job->tasks);
    free(job->timezone_setting);
    layout_free(job->layout);
    build_plan_reset(&job->build);
    policies_reset(&job->policies);
    free(job->policy_jobs);
    free(job->sorts);
    free(job->order);
    ledger_reset(&job->ledger);
    table_reset(&job->table);
    table_reset(&job->source_table);
    if (job->sides == NULL) {
        pg_free(job->source);
        pg_free(job->target);
    }
    pg_address_reset(&job->source_address);
    pg_address_reset(&job->target_address);
}
