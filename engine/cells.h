/*
 * Which cells (chunks or partitions) still have rows under way in a reader of a stream: how many of their ranges have
 * an open bucket. Safe for any number of threads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/error.h"

struct cells;

MUST_CHECK enum status cells_create(struct cells **cells, struct error *error);
void cells_free(struct cells *cells);

/* One more, or one less, of the cell that begins at `lo`. */
MUST_CHECK enum status cells_add(struct cells *cells, int64_t lo, struct error *error);
void cells_remove(struct cells *cells, int64_t lo);

bool cells_has(struct cells *cells, int64_t lo);
