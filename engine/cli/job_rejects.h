/* A job's rejects: between its options, its ledger and its files. */
#pragma once

#include "engine/cli/job.h"
#include "engine/cli/reject_files.h"

struct job_rejects {
    struct reject_files files;
    int64_t all, open; /* in the ledger; open: not replayed */
};

/* Counts what the ledger has, and refuses files of others where ours may have to be written. */
MUST_CHECK enum status job_rejects_prepare(struct job *job, struct job_rejects *rejects, struct error *error);

/* What writers need to know of bad rows, also in job->inputs. The job lives longer. */
void job_rejects_target(struct job *job, const struct job_rejects *rejects, struct append_target *target);

/* Counts again and renders the files; connects if needed. */
MUST_CHECK enum status job_rejects_render(struct job *job, struct job_rejects *rejects, struct error *error);

/* Sets STATUS_REJECTS, and says where they are, if some are open. */
enum status job_rejects_tell(const struct job_rejects *rejects, struct error *error);
