/* The checkpoint file of several tables: each part is what a file of its own would be, whatever is lost of the file. */
#include "fixture_checkpoint.h"

#define ODD "\"od d\".\"a=b %41\""

static void table_piece_add(struct checkpoint *checkpoint, const char *table, int64_t lo, int64_t rows)
{
    const struct checkpoint_piece piece = {.lo = lo, .hi = lo + 10, .mark = 1, .rows = rows, .bytes = rows * 10};

    checkpoint_turn(checkpoint, table);
    OK(checkpoint_piece(checkpoint, &piece, &error));
}

/* Two tables, their lines in turns; one fails. */
static void set_run(void)
{
    static struct checkpoint_text texts[] = {{(char *)"source", (char *)"host=a"}};
    static struct checkpoint_piece before = {.lo = 100, .hi = 110, .mark = 1, .rows = 1000, .bytes = 5};
    struct checkpoint_part parts[] = {
        {.name = (char *)"a", .state = {.job = "1f", .texts = texts, .text_count = 1, .ranges_planned = 3}},
        {.name = (char *)ODD, .state = {.job = "2f", .pieces = &before, .piece_count = 1, .runs = 4}, .starts = true},
    };
    const struct checkpoint_set set = {.parts = parts, .count = 2};
    struct checkpoint *checkpoint;

    OK(checkpoint_open(path, &checkpoint, &error));
    OK(checkpoint_rewrite_set(checkpoint, &set, &error));
    for (int64_t i = 0; i < 3; i++) {
        table_piece_add(checkpoint, "a", i * 10, i + 1);
        table_piece_add(checkpoint, ODD, i * 10, 7);
    }
    table_piece_add(checkpoint, "a", 0, 5);
    checkpoint_turn(checkpoint, ODD);
    OK(checkpoint_failed(checkpoint, 0, 5, 6, "why", &error));
    OK(checkpoint_stop(checkpoint, CHECKPOINT_FAILED, &error));
    checkpoint_turn(checkpoint, "a");
    OK(checkpoint_stop(checkpoint, CHECKPOINT_COMPLETE, &error));
    checkpoint_close(checkpoint);
}

static int64_t rows_of(const struct checkpoint_set *set, const char *name)
{
    const struct checkpoint_part *part = checkpoint_set_part(set, name);
    int64_t rows = 0;

    for (size_t i = 0; part != NULL && i < part->state.piece_count; i++)
        rows += part->state.pieces[i].rows;
    return part == NULL ? -1 : rows;
}

static void test_round_trip(void **state)
{
    const struct checkpoint_part *nasty;
    struct checkpoint_set set;

    (void)state;
    set_run();
    assert_true(checkpoint_is_set(path));
    OK(checkpoint_read_set(path, &set, &error));
    assert_true(set.exists && !set.torn && !set.damaged);
    assert_int_equal(set.count, 2);
    assert_string_equal(set.parts[0].state.job, "1f");
    assert_string_equal(checkpoint_state_text(&set.parts[0].state, "source"), "host=a");
    assert_int_equal(set.parts[0].state.ranges_planned, 3);
    assert_int_equal(set.parts[0].state.end, CHECKPOINT_COMPLETE);
    assert_int_equal(rows_of(&set, "a"), 5 + 2 + 3);
    nasty = checkpoint_set_part(&set, ODD);
    assert_ptr_equal(nasty, &set.parts[1]);
    assert_int_equal(rows_of(&set, ODD), 1000 + 21);
    assert_int_equal(nasty->state.end, CHECKPOINT_FAILED);
    assert_int_equal(nasty->state.runs, 5);
    assert_int_equal(nasty->state.run_rows, 21);
    assert_int_equal(nasty->state.failure_count, 1);
    assert_string_equal(nasty->state.failures[0].text, "why");
    assert_null(checkpoint_set_part(&set, "b"));
    checkpoint_set_free(&set);
}

static void test_kinds_are_told_apart(void **state)
{
    const struct checkpoint_state alone = {.job = "3f"};
    struct checkpoint *checkpoint;
    struct checkpoint_state one;
    struct checkpoint_set set;
    struct error refusal;

    (void)state;
    set_run();
    error_reset(&refusal);
    assert_int_equal(checkpoint_read(path, &one, &refusal), STATUS_USAGE);
    assert_non_null(strstr(refusal.text, "is of a job of several tables"));
    OK(checkpoint_open(path, &checkpoint, &error));
    OK(checkpoint_rewrite(checkpoint, &alone, &error));
    checkpoint_close(checkpoint);
    assert_false(checkpoint_is_set(path));
    error_reset(&refusal);
    assert_int_equal(checkpoint_read_set(path, &set, &refusal), STATUS_USAGE);
    assert_non_null(strstr(refusal.text, "is of a job of one table"));
    unlink(path);
    assert_false(checkpoint_is_set(path));
    OK(checkpoint_read_set(path, &set, &error));
    assert_false(set.exists);
}

/* Cut anywhere: what is read is what was written by then, of each table. */
static void test_truncation(void **state)
{
    int64_t a_before = -1, nasty_before = -1;
    size_t size;
    char *text;

    (void)state;
    set_run();
    text = file_get(&size);
    for (size_t cut = 0; cut <= size; cut++) {
        struct checkpoint_set set;
        int64_t a, nasty;

        file_put(text, cut);
        OK(checkpoint_read_set(path, &set, &error));
        assert_false(set.damaged);
        a = rows_of(&set, "a");
        nasty = rows_of(&set, ODD);
        assert_true(a >= a_before && nasty >= nasty_before);
        a_before = a;
        nasty_before = nasty;
        checkpoint_set_free(&set);
    }
    assert_int_equal(a_before, 10);
    assert_int_equal(nasty_before, 1021);
    free(text);
}

/* A byte that was changed is seen, and nothing behind it is believed; no table gets lines of another. */
static void test_flips(void **state)
{
    size_t size;
    char *text;

    (void)state;
    set_run();
    text = file_get(&size);
    for (size_t at = 0; at < size; at++) {
        struct checkpoint_set set;
        struct error error;

        text[at] = (char)(text[at] ^ 4);
        file_put(text, size);
        text[at] = (char)(text[at] ^ 4);
        error_reset(&error);
        if (checkpoint_read_set(path, &set, &error) != STATUS_OK)
            continue;
        assert_true(set.damaged || set.torn);
        assert_true(rows_of(&set, "a") <= 10 && rows_of(&set, ODD) <= 1021);
        checkpoint_set_free(&set);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_round_trip, file_remove),
        cmocka_unit_test_setup(test_kinds_are_told_apart, file_remove),
        cmocka_unit_test_setup(test_truncation, file_remove),
        cmocka_unit_test_setup(test_flips, file_remove),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
