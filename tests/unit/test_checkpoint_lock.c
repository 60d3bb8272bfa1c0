/* One process at a time has a checkpoint file, also while it is replaced by a new one. */
#include "fixture_checkpoint.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#define RACERS 4
#define RACER_TURNS 100

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

/* A run that never began leaves no file; one that was there stays, though it is empty. */
static void test_unused(void **unused)
{
    struct checkpoint *checkpoint;
    int fd;

    (void)unused;
    unlink(path);
    OK(checkpoint_open(path, &checkpoint, &error));
    assert_int_equal(access(path, F_OK), 0);
    checkpoint_close(checkpoint);
    assert_int_not_equal(access(path, F_OK), 0);

    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    OK(checkpoint_open(path, &checkpoint, &error));
    checkpoint_close(checkpoint);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    checkpoint_close(job_open());
    assert_int_equal(access(path, F_OK), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_lock, file_remove),
        cmocka_unit_test_setup(test_unused, file_remove),
        cmocka_unit_test_setup(test_lock_watched, file_remove),
        cmocka_unit_test_setup(test_lock_race, file_remove),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
