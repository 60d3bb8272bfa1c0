/* Policies of a run's table: paused before its first row, restored however it ended. */
#include <string.h>

#include "engine/cli/run.h"
#include "engine/log.h"

enum status run_check_policies(struct run *run, struct error *error)
{
    const struct job *job = &run->job;

    if (job->ledger.none && job->options->policies == POLICIES_PAUSE && strcmp(job->policy_jobs, "{}") != 0)
        return error_set(error, STATUS_USAGE,
                         "%s has policies to be paused, which are remembered in the ledger: with --ledger none pause"
                         " them yourself (SELECT alter_job(…, scheduled => false)), or take --policies leave",
                         job->table.sql);
    return job->options->policies == POLICIES_PAUSE ? policies_check_rights(&job->policies, &job->table, error)
                                                    : STATUS_OK;
}

enum status run_guard(const struct options *options, const struct pg_address *target, struct stop *stop,
                      struct policies_guard **guard, struct error *error)
{
    const struct policies_guard_spec spec = {
        .target = target,
        .stop = stop,
        .retry_ms = options->retry_seconds * 1000,
        .allow_drop = options->allow_drop,
    };

    return policies_guard_create(&spec, guard, error);
}

enum status run_pause_policies(struct run *run, struct error *error)
{
    struct job *job = &run->job;
    enum status status = STATUS_OK;
    char text[POLICY_TEXT_MAX];

    if (strcmp(job->policy_jobs, "{}") == 0)
        return STATUS_OK;
    if (job->options->policies == POLICIES_PAUSE) {
        if (run->guard == NULL)
            status = run_guard(job->options, &job->target_address, run->stop, &run->guard, error);
        return status == STATUS_OK ? policies_guard_add(run->guard, &job->ledger, &job->table, error) : status;
    }
    for (size_t i = 0; i < job->policies.count; i++)
        if (job->policies.items[i].scheduled)
            log_line(LOG_WARNING, "the %s may run while the table is loaded: --policies leave",
                     policy_text(&job->policies.items[i], text));
    return STATUS_OK;
}

enum status run_restore_policies(struct run *run, enum status status, struct error *error)
{
    struct error second;

    error_reset(&second);
    if (policies_guard_release(run->guard, &run->job.table, &second) != STATUS_OK) {
        if (status == STATUS_OK) {
            *error = second;
            status = second.status;
        } else {
            log_line(LOG_WARNING, "%s", second.text);
        }
    }
    if (!run->guard_shared)
        policies_guard_free(run->guard);
    run->guard = NULL;
    return status;
}

enum status run_take_over_policies(struct run *run, struct error *error)
{
    struct job *job = &run->job;

    if (job->ledger.none)
        return STATUS_OK;
    return policies_take_over(job->target, &job->ledger, &job->table, job->options->allow_drop, error);
}
