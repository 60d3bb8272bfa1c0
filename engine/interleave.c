/* Turns of tables. */
#include "engine/interleave.h"

#include <stdlib.h>

struct turn {
    const struct task_row *row;
    int32_t table;
    size_t next;
};

/* As given, where they are of the same size. */
static int compare_turns(const void *a, const void *b)
{
    const struct turn *one = a, *other = b;

    if (one->row->count != other->row->count)
        return one->row->count < other->row->count ? -1 : 1;
    return (one->table > other->table) - (one->table < other->table);
}

/* The tables that take turns are those at [first, first + width) of `turns`; one that is through gives its place to
 * the next one of all. */
static void turns_take(struct turn *turns, int32_t tables, int32_t width, struct task *tasks, size_t count)
{
    int32_t waiting = width, turn = 0;

    for (size_t i = 0; i < count; i++) {
        struct turn *now;

        while (turns[turn].next == turns[turn].row->count) {
            if (waiting < tables)
                turns[turn] = turns[waiting++];
            else
                turn = (turn + 1) % width;
        }
        now = &turns[turn];
        tasks[i] = now->row->tasks[now->next++];
        tasks[i].table = now->table;
        turn = (turn + 1) % width;
    }
}

enum status tasks_interleave(const struct task_row *rows, int32_t tables, int32_t width, struct task **tasks,
                             size_t *count, struct error *error)
{
    struct turn *turns = calloc((size_t)tables + 1, sizeof *turns);

    *count = 0;
    for (int32_t i = 0; i < tables; i++)
        *count += rows[i].count;
    *tasks = calloc(*count + 1, sizeof **tasks);
    if (turns == NULL || *tasks == NULL) {
        free(turns);
        return error_set(error, STATUS_SYSTEM, "out of memory for %zu ranges", *count);
    }
    for (int32_t i = 0; i < tables; i++)
        turns[i] = (struct turn){.row = &rows[i], .table = i};
    qsort(turns, (size_t)tables, sizeof *turns, compare_turns);
    turns_take(turns, tables, width < tables ? width : tables, *tasks, *count);
    free(turns);
    return STATUS_OK;
}
