/*
 * How long to wait before trying again: decorrelated jitter (each pause is drawn between the base and three times the
 * last one, capped), so that writers that failed together do not come back together. Two bounds: the time budget, and
 * the stop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct retry {
    int64_t budget_ms;
    int64_t since_ns; /* of the first failure; 0: none yet */
    int64_t pause_ms; /* the last pause */
    uint64_t random;
    int attempts;
};

void retry_init(struct retry *retry, int64_t budget_ms, uint64_t seed);

/* The next pause in ms after a failure, or -1 when the budget is used up. */
int64_t retry_next(struct retry *retry);
