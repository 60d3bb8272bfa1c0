/*
 * The tasks of several tables in one list, so that one pipeline works on all of them: its writers, readers, connections
 * and memory are nobody's own, go wherever the next task is, and none is idle before the last task is out.
 *
 *     tables (smallest first)   a: 1 2      b: 1 2 3      c: 1 2 3 4 5 6          width 2
 *     list                      a1 b1 a2 b2 | c1 b3 | c2 c3 c4 c5 c6
 *
 * `width` tables are under way at a time and take turns, a task each; when one has no more the next one begins.
 * Smallest first: a small table waits for no large one, the large one that is last is one whose ranges keep all writers
 * busy, and until then these work in different tables, where they are not in each other's way. Dividing the threads
 * among tables instead would have them wait where a table ends, and divide again whenever one does.
 */
#pragma once

#include "engine/pipeline.h"

/* One table's tasks, in its own order; borrowed. */
struct task_row {
    const struct task *tasks;
    size_t count;
};

/* All tasks, with the number of their table in .table. The caller frees *tasks. */
MUST_CHECK enum status tasks_interleave(const struct task_row *rows, int32_t tables, int32_t width, struct task **tasks,
                                        size_t *count, struct error *error);
