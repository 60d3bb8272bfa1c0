/* How the time axis is cut. */
#include "engine/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CELLS_MAX 40
#define BOTH_ENDS                                                                                                      \
    {                                                                                                                  \
        INT64_MIN, INT64_MAX                                                                                           \
    }

static struct layout *create(const struct layout_spec *spec)
{
    struct layout *layout;
    struct error error;

    error_reset(&error);
    if (layout_create(spec, &layout, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return layout;
}

static void place_check(const struct layout *layout, int64_t value, struct range range, struct range cell)
{
    struct place place;

    assert_true(layout_find(layout, value, &place));
    if (place.range.lo != range.lo || place.range.hi != range.hi || place.cell.lo != cell.lo ||
        place.cell.hi != cell.hi)
        fail_msg("%lld is in range [%lld, %lld) of cell [%lld, %lld)", (long long)value, (long long)place.range.lo,
                 (long long)place.range.hi, (long long)place.cell.lo, (long long)place.cell.hi);
}

static void test_grid(void **state)
{
    struct layout *layout = create(&(struct layout_spec){.interval = 10, .window = {-25, 25}});
    struct place place;

    (void)state;
    place_check(layout, 0, (struct range){0, 10}, (struct range){0, 10});
    place_check(layout, -1, (struct range){-10, 0}, (struct range){-10, 0});
    place_check(layout, -10, (struct range){-10, 0}, (struct range){-10, 0});
    place_check(layout, -11, (struct range){-20, -10}, (struct range){-20, -10});
    place_check(layout, -25, (struct range){-25, -20}, (struct range){-30, -20});
    place_check(layout, 24, (struct range){20, 25}, (struct range){20, 30});
    assert_false(layout_find(layout, -26, &place));
    assert_false(layout_find(layout, 25, &place));
    assert_int_equal(layout_interval(layout), 10);
    assert_int_equal(layout_step(layout), 0);
    assert_int_equal(layout_window(layout).lo, -25);
    layout_free(layout);
}

/* Irregular chunks: the grid is clipped to them, and the step begins at the cell's own low end. */
static void test_neighbours(void **state)
{
    static const struct range cells[] = {{33, 47}, {3, 7}, {10, 20}, {33, 47}};
    struct layout *layout =
        create(&(struct layout_spec){.interval = 10, .step = 3, .window = {0, 60}, .cells = cells, .cell_count = 4});
    char *text = layout_to_text(layout);

    (void)state;
    place_check(layout, 2, (struct range){0, 3}, (struct range){0, 3});
    place_check(layout, 3, (struct range){3, 6}, (struct range){3, 7});
    place_check(layout, 6, (struct range){6, 7}, (struct range){3, 7});
    place_check(layout, 7, (struct range){7, 10}, (struct range){7, 10});
    place_check(layout, 19, (struct range){19, 20}, (struct range){10, 20});
    place_check(layout, 31, (struct range){30, 33}, (struct range){30, 33});
    place_check(layout, 46, (struct range){45, 47}, (struct range){33, 47});
    place_check(layout, 47, (struct range){47, 50}, (struct range){47, 50});
    /* The regular cell and the second of two equal cells are not kept. */
    assert_string_equal(text, "1 interval=10 step=3 from=0 until=60 cells=3:7,33:47");
    free(text);
    layout_free(layout);
}

/* A chunk outside of the window still clips the grid cell that reaches into it; others are dropped. */
static void test_cells_outside(void **state)
{
    static const struct range cells[] = {{-55, -45}, {1, 4}, {95, 99}, {105, 300}};
    struct layout *layout =
        create(&(struct layout_spec){.interval = 10, .window = {5, 92}, .cells = cells, .cell_count = 4});
    char *text = layout_to_text(layout);

    (void)state;
    place_check(layout, 5, (struct range){5, 10}, (struct range){4, 10});
    place_check(layout, 91, (struct range){90, 92}, (struct range){90, 95});
    assert_string_equal(text, "1 interval=10 step=0 from=5 until=92 cells=1:4,95:99");
    free(text);
    layout_free(layout);
}

static void test_ends(void **state)
{
    const struct range window = BOTH_ENDS;
    static const struct range cells[] = {{INT64_MIN, -7}};
    struct layout *layout = create(&(struct layout_spec){.interval = 1000, .window = window});
    struct place place;

    (void)state;
    place_check(layout, INT64_MAX - 1, (struct range){INT64_MAX - 807, INT64_MAX},
                (struct range){INT64_MAX - 807, INT64_MAX});
    place_check(layout, INT64_MAX, (struct range){INT64_MAX - 807, INT64_MAX},
                (struct range){INT64_MAX - 807, INT64_MAX});
    place_check(layout, INT64_MIN, (struct range){INT64_MIN, INT64_MIN + 808},
                (struct range){INT64_MIN, INT64_MIN + 808});
    layout_free(layout);

    layout = create(&(struct layout_spec){.interval = INT64_MAX, .step = INT64_MAX, .window = window});
    place_check(layout, -1, (struct range){-INT64_MAX, 0}, (struct range){-INT64_MAX, 0});
    place_check(layout, INT64_MIN, (struct range){INT64_MIN, -INT64_MAX}, (struct range){INT64_MIN, -INT64_MAX});
    place_check(layout, INT64_MAX, (struct range){0, INT64_MAX}, (struct range){0, INT64_MAX});
    layout_free(layout);

    layout = create(
        &(struct layout_spec){.interval = 10, .step = 1 << 20, .window = window, .cells = cells, .cell_count = 1});
    place_check(layout, -8, (struct range){-(1 << 20), -7}, (struct range){INT64_MIN, -7});
    place_check(layout, -7, (struct range){-7, 0}, (struct range){-7, 0});
    layout_free(layout);

    layout = create(&(struct layout_spec){.interval = 10, .window = {INT64_MAX - 5, INT64_MAX - 1}});
    assert_true(layout_find(layout, INT64_MAX - 2, &place));
    assert_false(layout_find(layout, INT64_MAX - 1, &place));
    assert_false(layout_find(layout, INT64_MAX, &place));
    layout_free(layout);
    layout_free(NULL);
}

static void refusal_check(const struct layout_spec *spec, enum status status)
{
    struct layout *layout;
    struct error error;

    error_reset(&error);
    assert_int_equal(layout_create(spec, &layout, &error), status);
    assert_null(layout);
    assert_true(error.text[0] != '\0');
}

static void test_refusals(void **state)
{
    static const struct range overlap[] = {{0, 10}, {20, 31}, {30, 40}};
    static const struct range nested[] = {{0, 10}, {0, 5}};
    static const struct range empty[] = {{5, 5}};
    const struct range window = {0, 100};

    (void)state;
    refusal_check(&(struct layout_spec){.interval = 0, .window = window}, STATUS_USAGE);
    refusal_check(&(struct layout_spec){.interval = 1, .step = -1, .window = window}, STATUS_USAGE);
    refusal_check(&(struct layout_spec){.interval = 1, .window = {5, 5}}, STATUS_USAGE);
    refusal_check(&(struct layout_spec){.interval = 10, .window = window, .cells = overlap, .cell_count = 3},
                  STATUS_SERVER);
    refusal_check(&(struct layout_spec){.interval = 10, .window = window, .cells = nested, .cell_count = 2},
                  STATUS_SERVER);
    refusal_check(&(struct layout_spec){.interval = 10, .window = window, .cells = empty, .cell_count = 1},
                  STATUS_SERVER);
}

static void test_bad_text(void **state)
{
    static const char *const texts[] = {
        "",
        "2 interval=10 step=0 from=0 until=60 cells=",
        "1 interval=10 step=0 from=0 until=60",
        "1 interval=10 step=0 from=0 until= cells=",
        "1 interval=10 step=0 from=0 until=60 cells=1",
        "1 interval=10 step=0 from=0 until=60 cells=1:2,",
        "1 interval=10 step=0 from=0 until=60 cells=,1:2",
        "1 interval=10 step=0 from=0 until=60 cells=1:2 ",
        "1 interval=10 step=0 from=+0 until=60 cells=",
        "1 interval=99999999999999999999 step=0 from=0 until=60 cells=",
        "1 interval=- step=0 from=0 until=60 cells=",
        "1 interval=0 step=0 from=0 until=60 cells=",
    };
    struct layout *layout;
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        error_reset(&error);
        if (layout_from_text(texts[i], &layout, &error) != STATUS_USAGE || layout != NULL)
            fail_msg("\"%s\" was taken", texts[i]);
    }
}

/* ---- Properties of random layouts ---- */

static int64_t between(int64_t lo, int64_t hi)
{
    return lo + (int64_t)((uint64_t)random() % (uint64_t)(hi - lo));
}

/* Cells with and without gaps, some of them on the grid, in random order. */
static size_t random_cells(struct range *cells, int64_t interval)
{
    size_t count = (size_t)random() % CELLS_MAX;
    int64_t at = between(-500, 0);

    for (size_t i = 0; i < count; i++) {
        if (random() % 3 == 0)
            at += between(0, 60);
        cells[i] = (struct range){at, at + between(1, 40)};
        if (random() % 3 == 0) {
            cells[i].lo = (at + 500 + interval - 1) / interval * interval - 500 / interval * interval;
            cells[i].lo = cells[i].lo < at ? at : cells[i].lo;
            cells[i].hi = cells[i].lo + interval;
        }
        at = cells[i].hi;
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)random() % i;
        struct range cell = cells[other];

        cells[other] = cells[i - 1];
        cells[i - 1] = cell;
    }
    return count;
}

/* Where a value must be, found by looking at everything. */
static struct place place_expected(const struct layout_spec *spec, int64_t value)
{
    int64_t lo = value >= 0 ? value / spec->interval * spec->interval
                            : -((-value + spec->interval - 1) / spec->interval) * spec->interval;
    struct range cell = {lo, lo + spec->interval};
    struct range range;

    for (size_t i = 0; i < spec->cell_count; i++) {
        const struct range *other = &spec->cells[i];

        if (other->lo <= value && value < other->hi) {
            cell = *other;
            break;
        }
        if (other->hi <= value && other->hi > cell.lo)
            cell.lo = other->hi;
        if (other->lo > value && other->lo < cell.hi)
            cell.hi = other->lo;
    }
    range = cell;
    if (spec->step > 0) {
        range.lo = cell.lo + (value - cell.lo) / spec->step * spec->step;
        range.hi = range.lo + spec->step < cell.hi ? range.lo + spec->step : cell.hi;
    }
    range.lo = range.lo < spec->window.lo ? spec->window.lo : range.lo;
    range.hi = range.hi > spec->window.hi ? spec->window.hi : range.hi;
    return (struct place){range, cell};
}

/* Walks from range to range: they must tile the window. Then asks for every value in random order. */
static void layout_check(const struct layout *layout, const struct layout_spec *spec)
{
    struct place place, expected;

    for (int64_t at = spec->window.lo; at < spec->window.hi; at = place.range.hi) {
        assert_true(layout_find(layout, at, &place));
        assert_true(place.range.lo == at);
        assert_true(place.range.hi > at && place.range.hi <= spec->window.hi);
    }
    for (int i = 0; i < 200; i++) {
        int64_t value = between(spec->window.lo, spec->window.hi);

        assert_true(layout_find(layout, value, &place));
        expected = place_expected(spec, value);
        assert_memory_equal(&place, &expected, sizeof place);
        assert_true(place.range.lo <= value && value < place.range.hi);
        assert_true(place.cell.lo <= place.range.lo && place.range.hi <= place.cell.hi);
    }
    assert_false(layout_find(layout, spec->window.lo - 1, &place));
    assert_false(layout_find(layout, spec->window.hi, &place));
}

static void test_random(void **state)
{
    unsigned seed = (unsigned)getpid();

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 3000; i++) {
        struct range cells[CELLS_MAX];
        struct layout_spec spec = {.interval = between(1, 50), .cells = cells};
        struct layout *layout, *copy;
        struct error error;
        char *text, *again;

        spec.step = random() % 2 == 0 ? 0 : between(1, 60);
        spec.window.lo = between(-700, 700);
        spec.window.hi = spec.window.lo + between(1, 1000);
        spec.cell_count = random_cells(cells, spec.interval);
        layout = create(&spec);
        layout_check(layout, &spec);
        text = layout_to_text(layout);
        assert_null(strchr(text, '\n'));
        error_reset(&error);
        assert_int_equal(layout_from_text(text, &copy, &error), STATUS_OK);
        layout_check(copy, &spec);
        again = layout_to_text(copy);
        assert_string_equal(text, again);
        free(text);
        free(again);
        layout_free(layout);
        layout_free(copy);
    }
}

static void test_many_cells(void **state)
{
    enum { COUNT = 10000 };
    struct range *cells = calloc(COUNT, sizeof *cells);
    struct layout_spec spec = {.interval = 100, .window = BOTH_ENDS, .cells = cells, .cell_count = COUNT};
    struct layout *layout, *copy;
    struct error error;
    char *text;

    (void)state;
    assert_non_null(cells);
    for (int64_t i = 0; i < COUNT; i++)
        cells[COUNT - 1 - i] = (struct range){i * 70 + 5, i * 70 + 70};
    layout = create(&spec);
    text = layout_to_text(layout);
    error_reset(&error);
    assert_int_equal(layout_from_text(text, &copy, &error), STATUS_OK);
    for (int64_t i = 0; i < COUNT; i++) {
        place_check(copy, i * 70 + 37, (struct range){i * 70 + 5, i * 70 + 70},
                    (struct range){i * 70 + 5, i * 70 + 70});
        place_check(copy, i * 70 + 71, place_expected(&spec, i * 70 + 71).range,
                    place_expected(&spec, i * 70 + 71).cell);
    }
    free(text);
    free(cells);
    layout_free(layout);
    layout_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),   cmocka_unit_test(test_neighbours), cmocka_unit_test(test_cells_outside),
        cmocka_unit_test(test_ends),   cmocka_unit_test(test_refusals),   cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_random), cmocka_unit_test(test_many_cells),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
