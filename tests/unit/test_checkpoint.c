/* The checkpoint file: what is written is read, and what is damaged is never believed. */
#include "engine/checkpoint.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 4
#define PIECES_PER_THREAD 200
#define RACERS 4
#define RACER_TURNS 100
#define NASTY " a=b %41 100%\tüber\n\x7f%"

static char folder[] = "/tmp/hyperfill-checkpoint-XXXXXX";
static char path[sizeof folder + 8];

/* Fails the test with the text of the error. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct error error;                                                                                            \
        error_reset(&error);                                                                                           \
        if ((call) != STATUS_OK)                                                                                       \
            fail_msg("%s", error.text);                                                                                \
    } while (0)

static void expect_refusal(enum status got, enum status expected, const struct error *error, const char *words)
{
    assert_int_equal(got, expected);
    if (strstr(error->text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error->text, words);
}

/* ---- Files ---- */

static char *file_get(size_t *size)
{
    FILE *file = fopen(path, "r");
    char *text = malloc(1 << 20);

    assert_non_null(file);
    assert_non_null(text);
    *size = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void file_put(const char *text, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
}

static int test_setup(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* ---- A job ---- */

static void state_make(struct checkpoint_state *state)
{
    static struct checkpoint_text texts[] = {{(char *)"source", (char *)"host=db1 dbname=iot"},
                                             {(char *)"nasty key=", (char *)NASTY},
                                             {(char *)"empty", (char *)""}};
    static struct checkpoint_text inputs[] = {{(char *)"a b.csv", (char *)"file size=1"},
                                              {(char *)NASTY, (char *)NASTY}};
    static struct checkpoint_piece pieces[] = {{0, -50, 0, 1, 500, 5000, 0}, {1, -50, 0, 777, 5, 50, 7}};

    *state = (struct checkpoint_state){.job = "5f0c",
                                       .created = "2026-01-31T10:00:00Z",
                                       .texts = texts,
                                       .text_count = 3,
                                       .inputs = inputs,
                                       .input_count = 2,
                                       .rejects = 9,
                                       .rejects_open = 8,
                                       .ranges_planned = 12,
                                       .rows_planned = -1,
                                       .bytes_planned = 1000,
                                       .pieces = pieces,
                                       .piece_count = 2};
}

static struct checkpoint *job_open(void)
{
    struct checkpoint *checkpoint;
    struct checkpoint_state state;

    state_make(&state);
    OK(checkpoint_open(path, &checkpoint, &error));
    OK(checkpoint_rewrite(checkpoint, &state, &error));
    return checkpoint;
}

static void piece_add(struct checkpoint *checkpoint, int32_t input, int64_t lo, int64_t mark, int64_t rows)
{
    struct checkpoint_piece piece = {input, lo, lo + 50, mark, rows, rows * 10, 0};

    OK(checkpoint_piece(checkpoint, &piece, &error));
}

/* A file with every kind of line. */
static void job_run(void)
{
    struct checkpoint *checkpoint = job_open();

    OK(checkpoint_start(checkpoint, &error));
    OK(checkpoint_plan(checkpoint, 13, 2000, 3000, &error));
    piece_add(checkpoint, 1, -50, 900, 25);
    piece_add(checkpoint, 0, 50, 1, 100);
    OK(checkpoint_failed(checkpoint, 1, 100, 150, "server: " NASTY, &error));
    OK(checkpoint_rejects(checkpoint, 12, 11, &error));
    piece_add(checkpoint, 1, -50, 950, 30);
    OK(checkpoint_stop(checkpoint, CHECKPOINT_FAILED, &error));
    checkpoint_close(checkpoint);
}

static void state_read(struct checkpoint_state *state)
{
    OK(checkpoint_read(path, state, &error));
}

static void piece_check(const struct checkpoint_state *state, size_t index, struct checkpoint_piece expected)
{
    assert_true(index < state->piece_count);
    assert_int_equal(state->pieces[index].input, expected.input);
    assert_int_equal(state->pieces[index].lo, expected.lo);
    assert_int_equal(state->pieces[index].hi, expected.hi);
    assert_int_equal(state->pieces[index].mark, expected.mark);
    assert_int_equal(state->pieces[index].rows, expected.rows);
    assert_int_equal(state->pieces[index].bytes, expected.bytes);
    assert_int_equal(state->pieces[index].conflicts, expected.conflicts);
}

/* ---- Tests ---- */

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

static void test_lock(void **unused)
{
    struct checkpoint *first = NULL, *second = NULL;
    struct error problem;

    (void)unused;
    assert_false(checkpoint_is_locked(path));
    OK(checkpoint_open(path, &first, &error));
    assert_true(checkpoint_is_locked(path));
    error_reset(&problem);
    expect_refusal(checkpoint_open(path, &second, &problem), STATUS_USAGE, &problem, "in use by another");
    assert_null(second);
    checkpoint_close(first);
    assert_false(checkpoint_is_locked(path));

    /* The lock goes over to the new file. */
    first = job_open();
    assert_true(checkpoint_is_locked(path));
    error_reset(&problem);
    expect_refusal(checkpoint_open(path, &second, &problem), STATUS_USAGE, &problem, "in use by another");
    checkpoint_close(first);
    OK(checkpoint_open(path, &second, &error));
    checkpoint_close(second);
    checkpoint_close(NULL);
}

/* A run that starts while `hyperfill status` looks at the lock is not refused for that. */
static void *lock_watch(void *stop)
{
    while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE))
        checkpoint_is_locked(path);
    return NULL;
}

static void test_lock_watched(void **unused)
{
    struct checkpoint *checkpoint;
    bool stop = false;
    pthread_t watchers[2];

    (void)unused;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&watchers[i], NULL, lock_watch, &stop), 0);
    for (int i = 0; i < 300; i++) {
        OK(checkpoint_open(path, &checkpoint, &error));
        checkpoint_close(checkpoint);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        pthread_join(watchers[i], NULL);
}

/* Processes open, rewrite and close in turns: there is never more than one that has the file. */
static int racer_turn(const char *witness)
{
    struct checkpoint *checkpoint;
    struct checkpoint_state state;
    struct error problem;
    int fd;

    error_reset(&problem);
    if (checkpoint_open(path, &checkpoint, &problem) != STATUS_OK)
        return problem.status == STATUS_USAGE ? 0 : -1;
    fd = open(witness, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0)
        return -1;
    close(fd);
    state_make(&state);
    if (checkpoint_rewrite(checkpoint, &state, &problem) != STATUS_OK)
        return -1;
    unlink(witness);
    checkpoint_close(checkpoint);
    return 1;
}

static void test_lock_race(void **unused)
{
    char witness[sizeof path + 8];
    int failures = 0;

    (void)unused;
    snprintf(witness, sizeof witness, "%s.held", path);
    for (int i = 0; i < RACERS; i++)
        if (fork() == 0) {
            int turn = 0;

            for (int won = 0; won < RACER_TURNS && turn >= 0; won += turn)
                turn = racer_turn(witness);
            _exit(turn < 0);
        }
    for (int i = 0; i < RACERS; i++) {
        int result = -1;

        assert_true(wait(&result) > 0);
        failures += result != 0;
    }
    assert_int_equal(failures, 0);
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
        cmocka_unit_test_setup(test_round_trip, test_setup),
        cmocka_unit_test_setup(test_compaction, test_setup),
        cmocka_unit_test_setup(test_run_time, test_setup),
        cmocka_unit_test_setup(test_missing_and_empty, test_setup),
        cmocka_unit_test_setup(test_truncation, test_setup),
        cmocka_unit_test_setup(test_bit_flips, test_setup),
        cmocka_unit_test_setup(test_damaged_line, test_setup),
        cmocka_unit_test_setup(test_torn_tail, test_setup),
        cmocka_unit_test_setup(test_not_ours, test_setup),
        cmocka_unit_test_setup(test_lock, test_setup),
        cmocka_unit_test_setup(test_lock_watched, test_setup),
        cmocka_unit_test_setup(test_lock_race, test_setup),
        cmocka_unit_test_setup(test_link, test_setup),
        cmocka_unit_test_setup(test_threads, test_setup),
        cmocka_unit_test_setup(test_disk_full, test_setup),
        cmocka_unit_test_setup(test_bad_paths, test_setup),
    };
    int failed;

    alarm(1700);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/job", folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
