/* The throttle of a job, from its options. */
#include "engine/cli/job_throttle.h"

enum status job_throttle_start(struct job_throttle *started, const struct job *job, struct stop *stop,
                               struct error *error)
{
    const struct options *options = job->options;
    struct limits_spec spec = {
        .source = job->kind == SOURCE_POSTGRES ? &job->source_address : NULL,
        .target = &job->target_address,
        .table = job->table.sql,
        .source_lag_ms = options->source_lag_ms,
        .source_lag_bytes = options->source_lag_bytes,
        .disk_free_bytes = options->disk_free_bytes,
        .disk_free_percent = options->disk_free_percent,
        .wal_bytes = options->max_wal,
        .target_bytes = options->max_target_size,
        .stop = stop,
    };
    enum status status;

    if (options->max_rate == 0 && !limits_given(&spec))
        return STATUS_OK;
    status = throttle_create(options->max_rate, options->max_rate_rows ? THROTTLE_ROWS : THROTTLE_BYTES, stop,
                             &started->throttle, error);
    spec.throttle = started->throttle;
    if (status == STATUS_OK && limits_given(&spec))
        status = limits_start(&spec, &started->limits, error);
    return status;
}

void job_throttle_finish(struct job_throttle *started)
{
    limits_finish(started->limits);
    throttle_free(started->throttle);
    *started = (struct job_throttle){0};
}
