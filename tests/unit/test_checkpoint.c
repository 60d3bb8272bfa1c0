/* The checkpoint file: what is written is read, by whatever path, from many threads and on a full disk. */
#include "fixture_checkpoint.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define THREADS 4
#define PIECES_PER_THREAD 200

static void test_round_trip(void **unused)
{
    struct checkpoint_state state;

    (void)unused;
    job_run();
    state_read(&state);
    assert_true(state.exists && !state.damaged && !state.torn);
    assert_string_equal(state.job, "5f0c");
    assert_string_equal(state.created, "2026-01-31T10:00:00Z");
    assert_int_equal(state.text_count, 3);
    assert_string_equal(checkpoint_state_text(&state, "nasty key="), NASTY);
    assert_string_equal(checkpoint_state_text(&state, "empty"), "");
    assert_null(checkpoint_state_text(&state, "target"));
    assert_int_equal(state.input_count, 2);
    assert_string_equal(state.inputs[0].key, "a b.csv");
    assert_string_equal(state.inputs[0].value, "file size=1");
    assert_string_equal(state.inputs[1].key, NASTY);
    assert_int_equal(state.rejects, 12);
    assert_int_equal(state.rejects_open, 11);
    assert_int_equal(state.ranges_planned, 13);
    assert_int_equal(state.rows_planned, 2000);
    assert_int_equal(state.piece_count, 3);
    piece_check(&state, 0, (struct checkpoint_piece){0, -50, 0, 1, 500, 5000, 0});
    piece_check(&state, 1, (struct checkpoint_piece){1, -50, 0, 950, 30, 300, 0});
    piece_check(&state, 2, (struct checkpoint_piece){0, 50, 100, 1, 100, 1000, 0});
    assert_int_equal(state.failure_count, 1);
    assert_string_equal(state.failures[0].text, "server: " NASTY);
    assert_int_equal(state.failures[0].lo, 100);
    assert_int_equal(state.end, CHECKPOINT_FAILED);
    assert_int_equal(state.runs, 1);
    /* 5 rows of input 1 were there before. */
    assert_int_equal(state.run_rows, 25 + 100);
    assert_int_equal(state.run_bytes, 250 + 1000);
    assert_int_equal(strlen(state.started), strlen("2026-01-31T10:00:00.000Z"));
    assert_true(strcmp(state.started, state.updated) <= 0);
    checkpoint_state_free(&state);
}

/* Reading, rewriting and reading again says the same, and the next run counts from there. */
static void test_compaction(void **unused)
{
    struct checkpoint_state before, after;
    struct checkpoint *checkpoint;
    size_t size, size_again;
    char *text, *again;

    (void)unused;
    job_run();
    OK(checkpoint_open(path, &checkpoint, &error));
    state_read(&before);
    OK(checkpoint_rewrite(checkpoint, &before, &error));
    text = file_get(&size);
    state_read(&after);
    OK(checkpoint_rewrite(checkpoint, &after, &error));
    again = file_get(&size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(text, again, size);
    assert_int_equal(after.piece_count, 3);
    assert_int_equal(after.input_count, 2);
    assert_int_equal(after.rejects, 12);
    assert_int_equal(after.rejects_open, 11);
    assert_int_equal(after.failure_count, 1);
    assert_int_equal(after.end, CHECKPOINT_FAILED);
    assert_int_equal(after.runs, 1);
    assert_int_equal(after.run_rows, before.run_rows);
    assert_int_equal(after.run_bytes, before.run_bytes);
    assert_int_equal(after.run_ms, before.run_ms);
    assert_string_equal(after.started, before.started);
    assert_string_equal(after.updated, before.updated);
    checkpoint_state_free(&after);

    OK(checkpoint_start(checkpoint, &error));
    piece_add(checkpoint, 1, -50, 1000, 37);
    state_read(&after);
    assert_int_equal(after.runs, 2);
    assert_int_equal(after.failure_count, 0);
    assert_int_equal(after.end, CHECKPOINT_RUNNING);
    assert_int_equal(after.run_rows, 7);
    assert_int_equal(after.run_bytes, 70);
    checkpoint_state_free(&after);
    checkpoint_state_free(&before);
    checkpoint_close(checkpoint);
    free(text);
    free(again);
}

static void test_run_time(void **unused)
{
    struct checkpoint *checkpoint = job_open();
    struct checkpoint_state state;

    (void)unused;
    OK(checkpoint_start(checkpoint, &error));
    poll(NULL, 0, 30);
    OK(checkpoint_stop(checkpoint, CHECKPOINT_COMPLETE, &error));
    checkpoint_close(checkpoint);
    state_read(&state);
    assert_int_equal(state.end, CHECKPOINT_COMPLETE);
    assert_in_range(state.run_ms, 29, 20000);
    assert_int_equal(state.run_rows, 0);
    checkpoint_state_free(&state);
}

static void test_missing_and_empty(void **unused)
{
    struct checkpoint_state state;

    (void)unused;
    state_read(&state);
    assert_false(state.exists || state.torn || state.damaged);
    assert_int_equal(state.rows_planned, -1);
    checkpoint_state_free(&state);
    file_put("", 0);
    state_read(&state);
    assert_false(state.exists || state.torn || state.damaged);
    checkpoint_state_free(&state);
}

/* Through a symbolic link the file behind it is replaced, with its rights, not the link. */
static void test_link(void **unused)
{
    char link_path[sizeof path + 8];
    struct checkpoint *checkpoint;
    struct checkpoint_state state;
    struct stat file;

    (void)unused;
    snprintf(link_path, sizeof link_path, "%s.link", path);
    file_put("", 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink(path, link_path), 0);
    state_make(&state);
    OK(checkpoint_open(link_path, &checkpoint, &error));
    OK(checkpoint_rewrite(checkpoint, &state, &error));
    checkpoint_close(checkpoint);
    assert_int_equal(lstat(link_path, &file), 0);
    assert_true(S_ISLNK(file.st_mode));
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0640);
    state_read(&state);
    assert_true(state.exists);
    checkpoint_state_free(&state);
    unlink(link_path);
}

struct appender {
    struct checkpoint *checkpoint;
    int32_t input;
};

static void *append_run(void *argument)
{
    const struct appender *appender = argument;
    struct error problem;

    error_reset(&problem);
    for (int64_t i = 0; i < PIECES_PER_THREAD; i++) {
        struct checkpoint_piece piece = {appender->input, i, i + 1, i, i * 3, i * 30, 0};

        if (checkpoint_piece(appender->checkpoint, &piece, &problem) != STATUS_OK)
            return argument;
    }
    return NULL;
}

static void test_threads(void **unused)
{
    struct checkpoint *checkpoint = job_open();
    struct appender appenders[THREADS];
    pthread_t threads[THREADS];
    struct checkpoint_state state;

    (void)unused;
    for (int i = 0; i < THREADS; i++) {
        appenders[i] = (struct appender){checkpoint, i};
        assert_int_equal(pthread_create(&threads[i], NULL, append_run, &appenders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    checkpoint_close(checkpoint);
    state_read(&state);
    assert_true(state.exists && !state.damaged && !state.torn);
    assert_int_equal(state.piece_count, THREADS * PIECES_PER_THREAD + 2);
    for (int i = 0; i < THREADS * PIECES_PER_THREAD; i++) {
        int64_t lo = i / THREADS;

        piece_check(&state, (size_t)i + 2, (struct checkpoint_piece){i % THREADS, lo, lo + 1, lo, lo * 3, lo * 30, 0});
    }
    checkpoint_state_free(&state);
}

/* A full disk: the line is refused, the file stays whole, and when there is room again it goes on. */
static void test_disk_full(void **unused)
{
    struct checkpoint *checkpoint = job_open();
    struct rlimit unlimited, limit;
    struct checkpoint_state state;
    struct error problem;
    struct stat file;

    (void)unused;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(stat(path, &file), 0);
    getrlimit(RLIMIT_FSIZE, &unlimited);
    limit = unlimited;
    for (rlim_t room = 0; room < 49; room += 7) {
        limit.rlim_cur = (rlim_t)file.st_size + room;
        setrlimit(RLIMIT_FSIZE, &limit);
        error_reset(&problem);
        expect_refusal(checkpoint_start(checkpoint, &problem), STATUS_SYSTEM, &problem, path);
        setrlimit(RLIMIT_FSIZE, &unlimited);
        state_read(&state);
        assert_true(state.exists && !state.torn && !state.damaged && state.runs == 0);
        checkpoint_state_free(&state);
    }
    OK(checkpoint_start(checkpoint, &error));
    limit.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &limit);
    state_make(&state);
    error_reset(&problem);
    expect_refusal(checkpoint_rewrite(checkpoint, &state, &problem), STATUS_SYSTEM, &problem, path);
    setrlimit(RLIMIT_FSIZE, &unlimited);
    piece_add(checkpoint, 7, 0, 1, 1);
    checkpoint_close(checkpoint);
    state_read(&state);
    assert_int_equal(state.runs, 1);
    assert_int_equal(state.piece_count, 3);
    checkpoint_state_free(&state);
}

static void test_bad_paths(void **unused)
{
    struct checkpoint_state state;
    struct checkpoint *checkpoint;
    struct error problem;

    (void)unused;
    error_reset(&problem);
    expect_refusal(checkpoint_open("/nonexistent/x", &checkpoint, &problem), STATUS_SYSTEM, &problem, "/nonexistent/x");
    error_reset(&problem);
    expect_refusal(checkpoint_open(folder, &checkpoint, &problem), STATUS_SYSTEM, &problem, folder);
    error_reset(&problem);
    expect_refusal(checkpoint_open("/dev/null", &checkpoint, &problem), STATUS_USAGE, &problem, "no regular file");
    error_reset(&problem);
    expect_refusal(checkpoint_read(folder, &state, &problem), STATUS_USAGE, &problem, "no regular file");
    checkpoint_state_free(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_round_trip, file_remove),
        cmocka_unit_test_setup(test_compaction, file_remove),
        cmocka_unit_test_setup(test_run_time, file_remove),
        cmocka_unit_test_setup(test_missing_and_empty, file_remove),
        cmocka_unit_test_setup(test_link, file_remove),
        cmocka_unit_test_setup(test_threads, file_remove),
        cmocka_unit_test_setup(test_disk_full, file_remove),
        cmocka_unit_test_setup(test_bad_paths, file_remove),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
