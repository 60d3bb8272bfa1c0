/* Cells that readers gather rows of: counted, whatever the order. */
#include "engine/cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define CELLS 500

static void test_counts(void **state)
{
    struct cells *cells;
    struct error error;

    (void)state;
    error_reset(&error);
    assert_int_equal(cells_create(&cells, &error), STATUS_OK);
    assert_false(cells_has(cells, 7));
    assert_int_equal(cells_add(cells, 7, &error), STATUS_OK);
    assert_int_equal(cells_add(cells, 7, &error), STATUS_OK);
    cells_remove(cells, 7);
    assert_true(cells_has(cells, 7));
    cells_remove(cells, 7);
    assert_false(cells_has(cells, 7));
    cells_free(cells);
}

static void test_many_in_any_order(void **state)
{
    struct cells *cells;
    struct error error;

    (void)state;
    error_reset(&error);
    assert_int_equal(cells_create(&cells, &error), STATUS_OK);
    /* 77 and CELLS have no common divisor: each cell comes once, in no order. */
    for (int64_t i = 0; i < CELLS; i++)
        assert_int_equal(cells_add(cells, i * 77 % CELLS - CELLS / 2, &error), STATUS_OK);
    for (int64_t i = 0; i < CELLS; i++)
        assert_true(cells_has(cells, i - CELLS / 2));
    assert_false(cells_has(cells, CELLS));
    for (int64_t i = 0; i < CELLS; i += 2)
        cells_remove(cells, i - CELLS / 2);
    for (int64_t i = 0; i < CELLS; i++)
        assert_int_equal(cells_has(cells, i - CELLS / 2), i % 2 == 1);
    cells_free(cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_many_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
