/*
 * Limits of what a load may do to both servers: while one of them is passed, the throttle's gate is shut and no piece
 * is begun; it opens when the value is well on the right side again. A thread of its own measures every few seconds, on
 * connections of its own, at most a tenth of its time.
 */
#pragma once

#include "engine/pg/pg.h"
#include "engine/throttle.h"

/* 0: no such limit. Addresses are borrowed. */
struct limits_spec {
    const struct pg_address *source; /* NULL: it is no PostgreSQL */
    const struct pg_address *target;
    const char *table;        /* of the target, quoted: whose tablespace is meant */
    int64_t source_lag_ms;    /* how far the source's standbys are behind, or itself if it is one */
    int64_t source_lag_bytes; /* the same, in WAL */
    int64_t disk_free_bytes;  /* at the target, for which we have to be on its host */
    double disk_free_percent;
    int64_t wal_bytes;    /* of the target: kept for replication slots, or not archived yet */
    int64_t target_bytes; /* size of the target's database */
    struct stop *stop;
    struct throttle *throttle;
};

bool limits_given(const struct limits_spec *spec);

struct limits;

/*
 * Measures all once, so that what cannot be measured is told before anything is loaded (STATUS_USAGE with what to do),
 * shuts the gate if need be, and starts the thread. Later failures to measure are logged and change nothing.
 */
MUST_CHECK enum status limits_start(const struct limits_spec *spec, struct limits **limits, struct error *error);
void limits_finish(struct limits *limits); /* NULL is fine */
