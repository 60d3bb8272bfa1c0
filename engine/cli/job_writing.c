/* What writers are told of a job, and what is told of the chunks that they build. */
#include "engine/cli/job.h"
#include "engine/cli/text.h"
#include "engine/log.h"

void job_append_target(struct job *job, struct append_target *target)
{
    const struct options *options = job->options;

    *target = (struct append_target){
        .address = &job->target_address,
        .settings = job->target_settings,
        .ledger = &job->ledger,
        .table = &job->table,
        .overlap = options->overlap == OVERLAP_REPLACE ? OVERLAP_RULE_REPLACE
                   : options->overlap == OVERLAP_KEEP  ? OVERLAP_RULE_KEEP
                                                       : OVERLAP_RULE_ERROR,
        .create_partitions = options->create_partitions && job->table.kind == TABLE_PARTITIONED,
        .skip_conflicts = options->on_conflict == ON_CONFLICT_SKIP,
        .inputs = job->inputs,
        .input_count = job->input_count,
        .compress_by_policy = options->strategy == STRATEGY_AUTO,
        .policy_jobs = job->policy_jobs,
        .sort_bytes_max = job->sort_memory,
    };
}

/* What earlier runs have begun is finished, however this one is to load. */
enum status job_builds(struct job *job, struct append_target *target, struct stats *stats, struct error *error)
{
    bool exists = job->ledger.builds, readable = exists, begun = false;
    size_t open = 0;
    enum status status = STATUS_OK;

    if (job->options->defer_indexes)
        status = build_defer(job->target, &job->ledger, &job->table, &begun, error);
    if (status == STATUS_OK && begun)
        log_line(LOG_WARNING,
                 "the indexes of %s are dropped, but unique ones, until the job is complete: queries go without. The "
                 "job's last step makes them again; should it never get there, so does hyperfill clean --yes",
                 job->table.sql);
    if (status == STATUS_OK && !exists)
        status = ledger_has_builds(job->target, &job->ledger, &exists, &readable, error);
    /* What another role's run has loaded may still be in tables aside: the job is not complete without them. */
    if (status == STATUS_OK && exists && !readable && job->row_count > 0)
        return error_set(
            error, STATUS_SERVER,
            "target: this role may not read %s, where the job's earlier runs have written down which chunks"
            " are not complete: GRANT SELECT, INSERT, UPDATE, DELETE ON it, or resume as the role that"
            " began the job",
            job->ledger.build_table);
    if (status != STATUS_OK || !readable)
        return status;
    status = builds_create(&job->build, job_build_rows_min(job), job->stop, &target->builds, error);
    if (status == STATUS_OK)
        status = builds_load(target->builds, job->target, &job->ledger, &open, error);
    stats->builds_open = (int64_t)open;
    if (status == STATUS_OK && open > (size_t)begun)
        log_line(LOG_NOTICE, "%zu chunk%s of %s that an earlier run has begun to build will be completed", open,
                 open == 1 ? "" : "s", job->table.sql);
    return status;
}

void job_tell_builds(const struct job *job, struct builds *builds, enum status status)
{
    size_t open = builds != NULL ? builds_open(builds) : 0;

    if (open > 0 && status != STATUS_OK && builds_aside(builds))
        log_line(LOG_WARNING,
                 "rows of %zu partition%s of %s stay in tables of their own beside %s until the job is resumed (or"
                 " forgotten, and these rows with it, by hyperfill clean)",
                 open, open == 1 ? "" : "s", job->table.sql, open == 1 ? "it" : "them");
    else if (open > 0 && status != STATUS_OK)
        log_line(LOG_WARNING,
                 "%zu chunk%s of %s %s without %s, not attached or not compressed, until the job is resumed (or"
                 " forgotten by hyperfill clean)",
                 open, open == 1 ? "" : "s", job->table.sql, open == 1 ? "stays" : "stay",
                 open == 1 ? "its indexes" : "their indexes");
}

/* What stays out of the columnstore where all was to get into it: rows of chunks that had some, or that came late. */
enum status job_tell_uncompressed(struct job *job, struct error *error)
{
    int64_t chunks = 0, rows = 0;
    char count[NUMBER_TEXT_MAX];
    enum status status;

    if (job->build.count == 0 || !job->build.ways[0]->compresses || job->options->strategy == STRATEGY_AUTO)
        return STATUS_OK;
    status = build_uncompressed(job->target, &job->table, job->window, &chunks, &rows, error);
    if (status == STATUS_OK && rows > 0)
        log_line(LOG_WARNING, "%s rows in %lld chunk%s of %s are not compressed", count_format(rows, count),
                 (long long)chunks, chunks == 1 ? "" : "s", job->table.sql);
    else if (status == STATUS_OK)
        log_line(LOG_NOTICE, "all chunks of %s in the window are compressed", job->table.sql);
    return status;
}
