/*
 * Spilled blocks: chains of which any part is on disk read as those that are all in memory, at block sizes from small
 * to large; limits, a full disk and a damaged file.
 */
#include "engine/chain.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCKS 40

/* cmocka's asserts jump out of the test and cannot be used in other threads. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static char folder[] = "/tmp/test_spill_XXXXXX";

struct bench {
    struct stop *stop;
    struct pool *pool;
    struct spill *spill;
    struct packer *packer;
    struct stats stats;
    struct error error;
    uint32_t block_size;
    unsigned seed;
};

static void bench_open(struct bench *bench, uint32_t block_size, int64_t bytes_max, int64_t slots_max)
{
    struct error *error = &bench->error;

    *bench = (struct bench){.block_size = block_size, .seed = (unsigned)getpid()};
    error_reset(error);
    assert_int_equal(stop_create(&bench->stop, error), STATUS_OK);
    assert_int_equal(pool_create((int64_t)block_size * BLOCKS, block_size, 0, bench->stop, &bench->pool, error), 0);
    assert_int_equal(spill_create(folder, bytes_max, slots_max, block_size, &bench->stats, &bench->spill, error), 0);
    assert_int_equal(packer_create(block_size, &bench->packer, error), STATUS_OK);
}

/* The pool and the spill assert that all is home. */
static void bench_close(struct bench *bench)
{
    packer_free(bench->packer);
    spill_free(bench->spill);
    pool_free(bench->pool);
    stop_free(bench->stop);
}

/* A block of text that tells its place, some of it hard to compress, with a mark or more. */
static struct block *block_make(struct bench *bench, int number)
{
    struct block *block = pool_try(bench->pool);
    uint32_t marks = 1 + (uint32_t)rand_r(&bench->seed) % 5;
    uint32_t room = bench->block_size - marks * (uint32_t)sizeof(struct block_mark);
    bool noise = rand_r(&bench->seed) % 4 == 0;

    CHECK(block != NULL);
    block->used = number % 7 == 0 ? room : 1 + (uint32_t)rand_r(&bench->seed) % room;
    for (uint32_t i = 0; i < block->used; i++)
        block->data[i] = (char)(noise ? rand_r(&bench->seed) : number + (int)(i % 10));
    block->mark_count = marks;
    for (uint32_t i = 0; i < marks; i++)
        *block_mark(block, bench->block_size, i) = (struct block_mark){.offset = number, .at = i, .line = i * 3};
    return block;
}

/* What a chain says, marks included. */
static size_t chain_read(struct bench *bench, const struct chain *chain, char *text)
{
    struct cursor cursor = {0};
    struct span span;
    size_t used = 0;

    for (;;) {
        assert_int_equal(chain_next(chain, &cursor, bench->packer, &span, &bench->error), STATUS_OK);
        if (span.data == NULL)
            return used;
        memcpy(text + used, span.data, span.size);
        used += span.size;
        for (uint32_t i = 0; i < span.mark_count; i++) {
            memcpy(text + used, span_mark(&span, i), sizeof(struct block_mark));
            used += sizeof(struct block_mark);
        }
    }
}

static bool folder_is_empty(void)
{
    DIR *opened = opendir(folder);
    int count = 0;

    assert_non_null(opened);
    while (readdir(opened) != NULL)
        count++;
    closedir(opened);
    return count == 2;
}

/* Adds `count` blocks to the chain, packs or spills at times, and compares it with what it said before. */
static void check_chain(struct bench *bench, bool packs)
{
    size_t room = (size_t)bench->block_size * BLOCKS * 2, size = 0;
    char *expected = malloc(room), *found = malloc(room);
    int64_t freed = 0, raw = 0, packed = 0;
    struct chain chain = {0}, plain = {0};

    assert_true(expected != NULL && found != NULL);
    for (int number = 0; number < BLOCKS; number++) {
        struct block *block = block_make(bench, number);

        plain = (struct chain){0};
        chain_push(&plain, block);
        size += chain_read(bench, &plain, expected + size);
        chain_push(&chain, block);
        if (packs && rand_r(&bench->seed) % 3 == 0)
            chain_pack(&chain, bench->pool, bench->packer, 1, rand_r(&bench->seed) % 3, &raw, &packed);
        if (rand_r(&bench->seed) % 4 == 0)
            assert_int_equal(chain_spill(&chain, bench->pool, bench->spill, &freed, &bench->error), STATUS_OK);
    }
    /* Twice, as after a failed attempt. */
    for (int i = 0; i < 2; i++) {
        memset(found, 0, room);
        assert_int_equal(chain_read(bench, &chain, found), size);
        assert_memory_equal(found, expected, size);
    }
    assert_true(chain.spilled.count > 0);
    assert_int_equal(chain.blocks + pool_free_count(bench->pool), BLOCKS);
    chain_clear(&chain, bench->pool);
    free(expected);
    free(found);
}

static void test_chain(void **state)
{
    static const uint32_t sizes[] = {4096, 8192, 12288, 20480, 57344, 65536, 262144};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int packs = 0; packs < 2; packs++) {
            struct bench bench;

            bench_open(&bench, sizes[i], INT64_C(1) << 30, 1000);
            /* Slots are used again. */
            for (int turn = 0; turn < 5; turn++)
                check_chain(&bench, packs == 1);
            assert_true(bench.stats.spill_peak_bytes <= (int64_t)sizes[i] * BLOCKS);
            assert_true(bench.stats.spilled_bytes > 0);
            bench_close(&bench);
        }
    assert_true(folder_is_empty());
}

/* Two cursors may take turns with one packer, as when a bad record is looked for. */
static void test_two_cursors(void **state)
{
    struct cursor cursors[2] = {{0}, {0}};
    struct chain chain = {0};
    struct bench bench;
    int64_t freed = 0;

    (void)state;
    bench_open(&bench, 4096, 1 << 30, 1000);
    for (int number = 0; number < 9; number++)
        chain_push(&chain, block_make(&bench, number));
    assert_int_equal(chain_spill(&chain, bench.pool, bench.spill, &freed, &bench.error), STATUS_OK);
    for (int number = 9; number < 12; number++)
        chain_push(&chain, block_make(&bench, number));
    for (int step = 0; step < 2 * 12; step++) {
        struct span span;

        assert_int_equal(chain_next(&chain, &cursors[step % 2], bench.packer, &span, &bench.error), STATUS_OK);
        assert_int_equal(span_mark(&span, 0)->offset, step / 2);
    }
    chain_clear(&chain, bench.pool);
    bench_close(&bench);
}

/* Spills blocks one by one until it takes no more; returns how many it took. */
static int64_t fill(struct bench *bench, struct chain *chain)
{
    int64_t freed = 0, before = -1;

    for (int number = 1; freed > before; number++) {
        before = freed;
        if (chain->head == NULL)
            chain_push(chain, block_make(bench, 7));
        assert_int_equal(chain_spill(chain, bench->pool, bench->spill, &freed, &bench->error), STATUS_OK);
        assert_true(number < 1000);
    }
    return freed;
}

static void check_limit(int64_t bytes_max, int64_t slots_max, int64_t expected)
{
    struct chain chain = {0};
    struct bench bench;

    bench_open(&bench, 8192, bytes_max, slots_max);
    for (int turn = 0; turn < 3; turn++) {
        char *text = malloc(8192 * 1000);

        assert_non_null(text);
        assert_int_equal(fill(&bench, &chain), expected);
        assert_int_equal(chain.spilled.count, expected);
        /* What was not taken is in memory, in its place. */
        assert_int_equal(chain.blocks, 1);
        assert_int_equal(chain_read(&bench, &chain, text), (expected + 1) * 8192);
        chain_clear(&chain, bench.pool);
        free(text);
    }
    assert_true(bench.stats.spill_peak_bytes <= bytes_max);
    bench_close(&bench);
}

static void test_limit(void **state)
{
    (void)state;
    check_limit(10 * 8192, 1000, 10);
    check_limit(10 * 8192 + 8191, 1000, 10);
    check_limit(8191, 1000, 0);
    check_limit(1 << 20, 5, 5);
    /* A limit of its own: half of what is free, so surely more than this. */
    struct bench bench;
    struct chain chain = {0};

    bench_open(&bench, 8192, 0, 50);
    assert_int_equal(fill(&bench, &chain), 50);
    chain_clear(&chain, bench.pool);
    bench_close(&bench);
}

/* As a full disk: the file cannot grow. */
static void test_full_disk(void **state)
{
    struct rlimit before, tight;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = (struct rlimit){.rlim_cur = 6 * 8192 + 100, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    check_limit(INT64_C(1) << 30, 1000, 6);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

/* The descriptor of the file without a name. */
static int spill_fd(void)
{
    for (int fd = 3; fd < 256; fd++) {
        char link[64], path[PATH_MAX];
        ssize_t size;

        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        size = readlink(link, path, sizeof path - 1);
        if (size > 0 && strncmp(path, folder, strlen(folder)) == 0)
            return fd;
    }
    fail();
    return -1;
}

static void check_damage(bool truncates, off_t at)
{
    struct cursor cursor = {0};
    struct chain chain = {0};
    struct bench bench;
    struct span span;
    struct stat facts;
    int64_t freed = 0;
    int good = 0;
    char byte;

    bench_open(&bench, 8192, 1 << 30, 100);
    for (int i = 0; i < 4; i++)
        chain_push(&chain, block_make(&bench, 7));
    assert_int_equal(chain_spill(&chain, bench.pool, bench.spill, &freed, &bench.error), STATUS_OK);
    assert_int_equal(fstat(spill_fd(), &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_int_equal(facts.st_nlink, 0);
    if (truncates) {
        assert_int_equal(ftruncate(spill_fd(), at), 0);
    } else {
        assert_int_equal(pread(spill_fd(), &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(spill_fd(), &byte, 1, at), 1);
    }
    while (chain_next(&chain, &cursor, bench.packer, &span, &bench.error) == STATUS_OK) {
        assert_non_null(span.data);
        good++;
    }
    assert_int_equal(bench.error.status, STATUS_SYSTEM);
    assert_non_null(strstr(bench.error.text, "not kept"));
    assert_non_null(strstr(bench.error.text, folder));
    assert_int_equal(good, at / 8192);
    chain_clear(&chain, bench.pool);
    bench_close(&bench);
}

static void test_damage(void **state)
{
    (void)state;
    check_damage(false, 0);
    check_damage(false, 8192 + 100);
    /* A mark. */
    check_damage(false, 4 * 8192 - 1);
    check_damage(true, 2 * 8192 + 5);
    check_damage(true, 3 * 8192);
}

/* The disk answers with errors: a failure, unlike a full disk. */
static void test_broken_disk(void **state)
{
    struct cursor cursor = {0};
    struct chain chain = {0};
    struct bench bench;
    struct span span;
    int64_t freed = 0;
    int fd, only;

    (void)state;
    bench_open(&bench, 8192, 1 << 30, 100);
    fd = spill_fd();
    chain_push(&chain, block_make(&bench, 7));
    assert_int_equal(chain_spill(&chain, bench.pool, bench.spill, &freed, &bench.error), STATUS_OK);
    chain_push(&chain, block_make(&bench, 8));
    only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup2(only, fd), fd);
    close(only);
    assert_int_equal(chain_spill(&chain, bench.pool, bench.spill, &freed, &bench.error), STATUS_SYSTEM);
    assert_non_null(strstr(bench.error.text, "cannot write"));
    /* Nothing has moved. */
    assert_int_equal(chain.blocks, 1);
    assert_int_equal(chain.spilled.count, 1);
    only = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(dup2(only, fd), fd);
    close(only);
    error_reset(&bench.error);
    assert_int_equal(chain_next(&chain, &cursor, bench.packer, &span, &bench.error), STATUS_SYSTEM);
    assert_non_null(strstr(bench.error.text, "cannot read"));
    chain_clear(&chain, bench.pool);
    bench_close(&bench);
}

static void check_refused(const char *path, const char *words)
{
    struct error error;

    error_reset(&error);
    assert_int_equal(spill_check(path, &error), STATUS_USAGE);
    if (strstr(error.text, words) == NULL || strstr(error.text, path) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error.text);
}

static void test_folders(void **state)
{
    struct error error;
    char path[PATH_MAX];

    (void)state;
    error_reset(&error);
    assert_int_equal(spill_check(folder, &error), STATUS_OK);
    assert_true(folder_is_empty());
    check_refused("/tmp/test_spill_missing", "No such file");
    check_refused("/dev/null", "no folder");
    /* Also who may do anything cannot make files here. */
    check_refused("/proc", "cannot make a file");
    snprintf(path, sizeof path, "%s/file", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    check_refused(path, "no folder");
    unlink(path);
}

/* Threads with lists of their own share the file. */
static void *use_alone(void *opaque)
{
    struct bench *bench = opaque;
    struct bench own = {
        .pool = bench->pool,
        .spill = bench->spill,
        .block_size = bench->block_size,
        .seed = bench->seed + (unsigned)(size_t)pthread_self(),
    };
    struct block *block;

    error_reset(&own.error);
    CHECK(packer_create(own.block_size, &own.packer, &own.error) == STATUS_OK);
    for (int turn = 0; turn < 200; turn++) {
        struct chain chain = {0};
        struct cursor cursor = {0};
        struct span span;
        int64_t freed = 0;

        for (int i = 0; i < 4; i++) {
            block = block_make(&own, i);
            memset(block->data, turn, block->used);
            chain_push(&chain, block);
        }
        CHECK(chain_spill(&chain, own.pool, own.spill, &freed, &own.error) == STATUS_OK);
        CHECK(freed == 4);
        for (int i = 0; i < 4; i++) {
            CHECK(chain_next(&chain, &cursor, own.packer, &span, &own.error) == STATUS_OK);
            CHECK(span_mark(&span, 0)->offset == i);
            CHECK((unsigned char)span.data[span.size - 1] == turn);
        }
        chain_clear(&chain, own.pool);
    }
    packer_free(own.packer);
    return NULL;
}

static void test_threads(void **state)
{
    struct bench bench;
    pthread_t threads[4];

    (void)state;
    bench_open(&bench, 4096, 1 << 30, 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_alone, &bench), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(bench.stats.spill_peak_bytes <= 4 * 4 * 4096);
    bench_close(&bench);
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int folder_remove(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),     cmocka_unit_test(test_two_cursors), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_damage),      cmocka_unit_test(test_broken_disk),
        cmocka_unit_test(test_folders),   cmocka_unit_test(test_threads),
    };

    alarm(1700);
    print_message("seed %d\n", (int)getpid());
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
