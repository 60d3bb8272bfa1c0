/* Turns of tables in one list of tasks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/interleave.h"

#define TABLES_MAX 8
#define TASKS_MAX 32

/* Rows of so many tasks each; a task's lo is its number in its table. */
static void interleave(const size_t *counts, int32_t tables, int32_t width, struct task **list, size_t *count)
{
    static struct task tasks[TABLES_MAX][TASKS_MAX];
    struct task_row rows[TABLES_MAX];
    struct error error;

    error_reset(&error);
    for (int32_t i = 0; i < tables; i++) {
        for (size_t j = 0; j < counts[i]; j++)
            tasks[i][j] = (struct task){.place.range.lo = (int64_t)j};
        rows[i] = (struct task_row){tasks[i], counts[i]};
    }
    assert_int_equal(tasks_interleave(rows, tables, width, list, count, &error), STATUS_OK);
}

/* The list as text: a letter a table. */
static void expect(const size_t *counts, int32_t tables, int32_t width, const char *expected)
{
    char text[TABLES_MAX * TASKS_MAX + 1] = "";
    int64_t next[TABLES_MAX] = {0};
    struct task *list;
    size_t count;

    interleave(counts, tables, width, &list, &count);
    for (size_t i = 0; i < count; i++) {
        text[i] = (char)('a' + list[i].table);
        /* Each table's own order stays. */
        assert_int_equal(list[i].place.range.lo, next[list[i].table]++);
    }
    assert_string_equal(text, expected);
    free(list);
}

static void test_turns(void **state)
{
    (void)state;
    expect((size_t[]){3}, 1, 2, "aaa");
    expect((size_t[]){2, 3, 6}, 3, 2, "ababcbccccc");
    expect((size_t[]){6, 3, 2}, 3, 2, "cbcbabaaaaa");
    expect((size_t[]){2, 2, 2}, 3, 3, "abcabc");
    expect((size_t[]){2, 2, 2}, 3, 1, "aabbcc");
    expect((size_t[]){2, 2, 2}, 3, 9, "abcabc");
}

static void test_tables_without_tasks(void **state)
{
    (void)state;
    expect((size_t[]){0, 2, 0, 1}, 4, 2, "dbb");
    expect((size_t[]){0, 0}, 2, 2, "");
    expect((size_t[]){0, 0, 3}, 3, 1, "ccc");
}

/* Whatever the sizes, each task is there once, and no table waits for more than the turns of the others. */
static void test_random(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int turn = 0; turn < 2000; turn++) {
        int32_t tables = 1 + (int32_t)(rand_r(&seed) % TABLES_MAX), width = 1 + (int32_t)(rand_r(&seed) % 4);
        size_t counts[TABLES_MAX], total = 0, count, seen[TABLES_MAX] = {0};
        struct task *list;

        for (int32_t i = 0; i < tables; i++)
            total += counts[i] = (size_t)rand_r(&seed) % TASKS_MAX;
        interleave(counts, tables, width, &list, &count);
        assert_int_equal(count, total);
        for (size_t i = 0; i < count; i++) {
            int under_way = 0;

            assert_int_equal(list[i].place.range.lo, (int64_t)seen[list[i].table]++);
            for (int32_t j = 0; j < tables; j++)
                under_way += seen[j] > 0 && seen[j] < counts[j];
            assert_true(under_way <= width);
        }
        free(list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_tables_without_tasks),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
