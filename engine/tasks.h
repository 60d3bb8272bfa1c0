/*
 * The list of ranges that addressable sources are asked for: what is to do, what is out with a reader and a writer,
 * what failed and is to be tried again later.
 */
#pragma once

#include "engine/pipeline.h"
#include "engine/retry.h"
#include "engine/throttle.h"

/* A task that is out: its number says which one it is when it comes back. */
struct task_list;

/*
 * At most `out_max` tasks are out at a time, and none is begun while the throttle's gate is shut. `tasks` is borrowed;
 * they are of `tables` tables.
 */
MUST_CHECK enum status tasks_create(const struct task *tasks, size_t count, int32_t tables, int out_max,
                                    int64_t retry_ms, struct stop *stop, struct throttle *throttle,
                                    struct task_list **list, struct error *error);
void tasks_free(struct task_list *list);

/* The next task to read, in order, failed ones when their pause is over. Waits; NULL when all are done or the run is to
 * stop. *careful as tasks_careful left it. */
const struct task *tasks_next(struct task_list *list, bool *careful);

/* Whether another task of the same cell is not done. */
bool tasks_has_cell(struct task_list *list, int32_t table, const struct place *place);

/* It is committed or quarantined. True when it was the last one; *table_ended when it was the last one of its table. */
bool tasks_done(struct task_list *list, int32_t table, int64_t lo, bool *table_ended);

/* Some of its rows are bad: it is read again at once, with *careful. False when that was so already. */
bool tasks_careful(struct task_list *list, int32_t table, int64_t lo);

/* It failed for now. False when its time budget is used up, or its table dropped: then it is still out, for tasks_done.
 */
bool tasks_again(struct task_list *list, int32_t table, int64_t lo);

/* What is not out of a table counts as done. The caller has a task of it out. */
void tasks_drop_table(struct task_list *list, int32_t table);
