/*
 * A quick look whether a completion point can be right: are rows from it on in the target, as they are in the source?
 * Not the proof that hyperfill completion-point gives; for a warning before a run.
 */
#pragma once

#include "engine/method/bucket_hash.h"
#include "engine/pg/pg.h"

#define UNTIL_CHECK_MAX 512

/*
 * `text` says what is wrong with `until`, or is "". It is "" as well wherever it cannot be known quickly: without an
 * index on the time, after some seconds, by an error. `measured`:
 * rows before `until` were seen not to come any more, however young they are. Both connections are left idle, and at
 * most closed.
 */
void until_check(struct pg *source, const struct table *source_table, struct pg *target,
                 const struct table *target_table, const struct bucket_columns *columns, int64_t until, bool measured,
                 char text[UNTIL_CHECK_MAX]);
