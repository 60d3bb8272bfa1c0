/* A checkpoint file that is cut off, changed, or none: what is damaged is never believed. */
#include "fixture_checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Whether all that `state` says was also said by the whole lines of `text` up to `size`. */
static void pieces_known(const struct checkpoint_state *state, const char *text, size_t size)
{
    for (size_t i = 0; i < state->piece_count; i++) {
        const struct checkpoint_piece *piece = &state->pieces[i];
        char line[240];
        const char *found;
        char conflicts[40] = "";

        if (piece->conflicts > 0)
            snprintf(conflicts, sizeof conflicts, "conflicts=%lld ", (long long)piece->conflicts);
        snprintf(line, sizeof line,
                 "\npiece input=%d lo=%lld hi=%lld mark=%lld rows=%lld bytes=%lld %sat=", (int)piece->input,
                 (long long)piece->lo, (long long)piece->hi, (long long)piece->mark, (long long)piece->rows,
                 (long long)piece->bytes, conflicts);
        found = memmem(text, size, line, strlen(line));
        if (found == NULL)
            fail_msg("piece %s was never written", line + 1);
    }
}

static size_t pieces_in(const char *text, size_t size)
{
    size_t count = 0;

    for (const char *at = text; (at = memmem(at, (size_t)(text + size - at), "\npiece ", 7)) != NULL; at++)
        count += memchr(at + 1, '\n', (size_t)(text + size - at - 1)) != NULL;
    return count;
}

static void test_truncation(void **unused)
{
    size_t size, first;
    char *text;

    (void)unused;
    job_run();
    text = file_get(&size);
    first = (size_t)(strchr(text, '\n') - text) + 1;
    for (size_t cut = 0; cut <= size; cut++) {
        struct checkpoint_state state;
        bool whole = cut == 0 || text[cut - 1] == '\n';
        size_t written = pieces_in(text, cut);

        file_put(text, cut);
        state_read(&state);
        assert_int_equal(state.exists, cut >= first);
        assert_int_equal(state.torn, !whole);
        assert_false(state.damaged);
        pieces_known(&state, text, cut);
        /* The third and fifth piece lines are of the range of the second. */
        assert_int_equal(state.piece_count, written <= 2 ? written : written == 3 ? 2 : 3);
        checkpoint_state_free(&state);
    }
    free(text);
}

static void flip_check(const char *text, size_t size, size_t at)
{
    struct checkpoint_state state;
    struct error problem;
    enum status status;

    error_reset(&problem);
    status = checkpoint_read(path, &state, &problem);
    if (status == STATUS_OK && state.exists && !state.torn && !state.damaged)
        fail_msg("a changed byte at %zu was not seen", at);
    if (status == STATUS_OK && state.damaged)
        assert_true(state.damaged_line > 0);
    if (status != STATUS_OK)
        assert_int_equal(status, STATUS_USAGE);
    pieces_known(&state, text, size);
    checkpoint_state_free(&state);
}

static void test_bit_flips(void **unused)
{
    size_t size;
    char *text, *changed;
    int fd;

    (void)unused;
    job_run();
    text = file_get(&size);
    changed = malloc(size);
    assert_non_null(changed);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t bit = 0; bit < size * 8; bit++) {
        char byte = (char)(text[bit / 8] ^ (1 << bit % 8));

        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
        flip_check(text, size, bit / 8);
        assert_int_equal(pwrite(fd, &text[bit / 8], 1, (off_t)(bit / 8)), 1);
    }
    close(fd);
    free(changed);
    free(text);
}

/* Damage inside: what is before it counts, what is behind it does not. */
static void test_damaged_line(void **unused)
{
    struct checkpoint_state state;
    size_t size;
    char *text, *piece;

    (void)unused;
    job_run();
    text = file_get(&size);
    piece = memmem(text, size, "piece input=1 lo=-50 hi=0 mark=900", 34);
    assert_non_null(piece);
    piece[30] ^= 1;
    file_put(text, size);
    state_read(&state);
    assert_true(state.exists && state.damaged && !state.torn);
    assert_int_equal(state.damaged_line, 15);
    assert_int_equal(state.piece_count, 2);
    piece_check(&state, 1, (struct checkpoint_piece){1, -50, 0, 777, 5, 50, 7});
    checkpoint_state_free(&state);
    free(text);
}

static void test_torn_tail(void **unused)
{
    struct checkpoint_state state;
    size_t size;
    char *text;

    (void)unused;
    job_run();
    text = file_get(&size);
    text[size - 5] ^= 1;
    file_put(text, size);
    state_read(&state);
    assert_true(state.torn && !state.damaged);
    assert_int_equal(state.end, CHECKPOINT_RUNNING);
    assert_int_equal(state.piece_count, 3);
    checkpoint_state_free(&state);
    free(text);
}

static void refused_read(const char *text, const char *words)
{
    struct checkpoint_state state;
    struct error problem;

    if (text != NULL)
        file_put(text, strlen(text));
    error_reset(&problem);
    expect_refusal(checkpoint_read(path, &state, &problem), STATUS_USAGE, &problem, words);
    checkpoint_state_free(&state);
}

static void test_not_ours(void **unused)
{
    static const char *const texts[] = {"time,value\n1,2\n",       "x",          "\n", "hyperfill",
                                        "hyperfill checkpoint 12", "hyperfill\n"};
    struct checkpoint_state state;

    (void)unused;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (i != 3)
            refused_read(texts[i], "is not a hyperfill checkpoint file");
    file_put(texts[3], strlen(texts[3]));
    state_read(&state);
    assert_true(state.torn && !state.exists);
    checkpoint_state_free(&state);
    /* XXH3_64bits("hyperfill checkpoint 2"), as the next version would write it. */
    refused_read("hyperfill checkpoint 2 f43fe349f5971c48\n", "another version");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused_read(NULL, "no regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_truncation, file_remove),   cmocka_unit_test_setup(test_bit_flips, file_remove),
        cmocka_unit_test_setup(test_damaged_line, file_remove), cmocka_unit_test_setup(test_torn_tail, file_remove),
        cmocka_unit_test_setup(test_not_ours, file_remove),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
