/* How fast a job may go, and within which limits: --max-rate, --max-source-lag, --max-wal and the like. */
#pragma once

#include "engine/cli/job.h"
#include "engine/method/limits.h"

/* Both NULL where the options ask for nothing. */
struct job_throttle {
    struct throttle *throttle;
    struct limits *limits;
};

/* Once the job is open. Limits that cannot be measured are STATUS_USAGE. */
MUST_CHECK enum status job_throttle_start(struct job_throttle *started, const struct job *job, struct stop *stop,
                                          struct error *error);

/* After the pipeline. What never started is fine. */
void job_throttle_finish(struct job_throttle *started);
