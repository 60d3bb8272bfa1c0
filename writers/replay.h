/*
 * Loads corrected rejects, in transactions of some hundred: marked as replayed first, so that whatever happens to a
 * transaction, a reject is loaded once.
 */
#pragma once

#include "writers/append.h"
#include "writers/rejects.h"

struct replay_count {
    int64_t loaded, dropped, before; /* before: were replayed already */
};

/*
 * `pg` is connected with the settings of the job. Transient failures are retried for `retry_ms`. A record that the
 * table does not take ends it with STATUS_DATA; those before it are loaded. *failed is its index.
 */
MUST_CHECK enum status replay_load(struct pg *pg, const struct append_target *target, struct replay *replays,
                                   size_t count, int64_t retry_ms, struct stop *stop, struct replay_count *done,
                                   size_t *failed, struct error *error);
