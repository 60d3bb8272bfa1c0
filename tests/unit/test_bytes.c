/* Decompressing inputs: every kind, every chunk size, every offset. */
#include "fixture_bytes.h"

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_chunk_sizes(void **state)
{
    static const size_t sizes[] = {100, 127, 128, 1000, 4095, 65536, 131072, 1 << 20};
    struct sort sort;

    (void)state;
    for (int number = 0; number < INPUT_COUNT; number++) {
        make_sort(&sort, number, 700);
        for (size_t chunk = 1; chunk < 70; chunk++)
            check_all_ways(&sort.file, &sort.text, sort.kind, chunk);
        free_sort(&sort);
        make_sort(&sort, number, 900000);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            check_all_ways(&sort.file, &sort.text, sort.kind, sizes[i]);
        free_sort(&sort);
    }
}

static void test_recognised(void **state)
{
    static const struct {
        const char *text;
        enum status status;
    } items[] = {
        {"", STATUS_OK},
        {"(", STATUS_OK},
        {"(a\n", STATUS_OK},
        {"P", STATUS_OK},
        {"P*M\n", STATUS_OK},
        {"BZh91AY", STATUS_OK},
        {"BZhello\n", STATUS_OK},
        {"PK\n1", STATUS_OK},
        {"\xef\xbb\xbf", STATUS_OK},
        {"time,a\n1,2\n", STATUS_OK},
        {"\x1f", STATUS_DATA},
        {"\x1f\x8b", STATUS_DATA},
        {"\x28\xb5", STATUS_DATA},
        {"BZh91AY&SY\1\2", STATUS_USAGE},
        {"PK\3\4xxxx", STATUS_USAGE},
        {"\x04\x22\x4d\x18xx", STATUS_USAGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        struct buffer input = {(char *)(uintptr_t)items[i].text, strlen(items[i].text), 0};

        for (enum how how = SERIAL; how < HOW_COUNT; how++) {
            struct reading reading = {.how = how, .chunk = 3};

            read_input(&reading, &input);
            assert_int_equal(reading.status, items[i].status);
            if (reading.status == STATUS_OK)
                check_text(&reading, &input, 0);
            empty(&reading.out);
        }
    }
}

static void test_offsets(void **state)
{
    struct sort sort;

    (void)state;
    for (int number = 0; number < INPUT_COUNT; number++) {
        make_sort(&sort, number, 150);
        for (size_t offset = 0; offset <= sort.text.size + 1; offset++)
            for (enum how how = SERIAL; how < HOW_COUNT; how++) {
                struct reading reading = {.how = how, .chunk = 64, .offset = (int64_t)offset};

                read_input(&reading, &sort.file);
                if (offset <= sort.text.size)
                    check_text(&reading, &sort.text, offset);
                else if (sort.kind != BYTES_PLAIN)
                    assert_int_equal(reading.status, STATUS_DATA);
                empty(&reading.out);
            }
        free_sort(&sort);
    }
}

/* What lies before the frame is not read, and not decompressed. */
static void test_begins_at_frame(void **state)
{
    struct buffer text = {0}, file = {0};

    (void)state;
    for (int i = 0; i < 8; i++) {
        put_text(&text, 300000);
        put_zstd(&file, text.text + text.size - 300000, 300000, SIZED | CHECKED);
        if (i == 0)
            memset(file.text + 1000, 'x', 1000);
    }
    for (enum how how = SERIAL; how < PIPE; how++)
        for (size_t offset = 1500000; offset < 2400000; offset += 299999) {
            struct reading reading = {.how = how, .chunk = 100000, .offset = (int64_t)offset};

            read_input(&reading, &file);
            check_text(&reading, &text, offset);
            assert_true(reading.taken < (int64_t)file.size / 2);
            empty(&reading.out);
        }
    check_refused(&file, "corrupt");
    empty(&text);
    empty(&file);
}

/* Frames of all sizes in little memory; and a stream too long to be looked through among them. */
static void test_many_frames(void **state)
{
    struct buffer text = {0}, file = {0};
    size_t noise = (size_t)70 << 20;

    (void)state;
    for (int i = 0; i < 300; i++) {
        size_t size = i % 50 == 49 ? 3000000 : chance() % (i % 7 == 0 ? 200000 : 2000);

        put_text(&text, size);
        put_zstd(&file, text.text + text.size - size, size, (int)(chance() & (SIZED | CHECKED)));
        if (i == 150) {
            char *random = malloc(noise);

            for (size_t at = 0; at < noise; at += 4)
                memcpy(random + at, &(uint32_t){chance() * 2654435761u}, 4);
            put(&text, random, noise);
            put_zstd(&file, random, noise, SIZED | CHECKED | FAST);
            free(random);
        }
    }
    check_all_ways(&file, &text, BYTES_ZSTD, 1 << 20);
    empty(&text);
    empty(&file);
}

/* Reads all of it, and from each frame that it tells of once more from somewhere behind. */
static void check_frames(const struct buffer *input, const struct buffer *text, size_t *told)
{
    struct bytes_file file = {.name = "input", .seekable = true, .memory_bytes = MEMORY, .threads = 3};
    struct bytes_place before = {0}, place;
    struct bytes *bytes;
    struct error error;
    size_t got = 1, at = 0;
    char chunk[5000];

    error_reset(&error);
    file.fd = memfd_create("input", 0);
    file.size = (int64_t)input->size;
    assert_int_equal(write(file.fd, input->text, input->size), input->size);
    assert_int_equal(bytes_open(&file, 0, NULL, &bytes, &error), STATUS_OK);
    for (*told = 0; got > 0; at += got) {
        assert_int_equal(bytes_read(bytes, NULL, chunk, 1 + chance() % sizeof chunk, &got, &error), STATUS_OK);
        if (!bytes_frame(bytes, &place) || place.file == before.file)
            continue;
        assert_true(place.file > before.file && place.text >= before.text && place.text <= (int64_t)(at + got));
        before = file.known = place;
        ++*told;
        for (int i = 0; i < 2; i++) {
            struct reading reading = {.chunk = 30000};

            reading.offset = place.text + chance() % ((int64_t)text->size - place.text + 1);
            read_bytes(&reading, &file);
            check_text(&reading, text, (size_t)reading.offset);
            /* And the headers that are looked at. */
            assert_true(reading.taken <= file.size - place.file + 8192);
            empty(&reading.out);
        }
        /* What lies before it is found all the same. */
        if (place.text > 0) {
            struct reading reading = {.chunk = 30000, .offset = chance() % place.text};

            read_bytes(&reading, &file);
            check_text(&reading, text, (size_t)reading.offset);
            empty(&reading.out);
        }
        file.known = (struct bytes_place){0};
    }
    assert_int_equal(at, text->size);
    bytes_close(bytes);
    close(file.fd);
}

/* Of frames that do not tell their size, where they begin is told when they were read. */
static void test_known_frames(void **state)
{
    static const unsigned char skippable[] = {0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3};
    size_t told;

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct buffer text = {0}, file = {0};

        for (int i = 0; i < 40; i++) {
            size_t size = chance() % (i % 5 == 0 ? 60000 : 900);

            put_text(&text, size);
            put_zstd(&file, text.text + text.size - size, size,
                     round == 0 ? SIZED : (int)(chance() & (SIZED | CHECKED)));
            if (round > 2 && i % 3 == 0)
                put(&file, skippable, sizeof skippable);
        }
        check_frames(&file, &text, &told);
        assert_true(round == 0 ? told == 0 : told > 3);
        empty(&text);
        empty(&file);
    }
}

/* Closed while the threads are at work. */
static void test_closed_early(void **state)
{
    struct sort sort;
    char text[10];

    (void)state;
    for (int number = 1; number < INPUT_COUNT; number++) {
        struct bytes_file file = {.name = "input", .seekable = true, .memory_bytes = MEMORY, .threads = 3};
        struct bytes *bytes;
        struct error error;
        size_t got;

        error_reset(&error);
        make_sort(&sort, number, 9000000);
        file.fd = memfd_create("input", 0);
        file.size = (int64_t)sort.file.size;
        assert_int_equal(write(file.fd, sort.file.text, sort.file.size), sort.file.size);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(bytes_open(&file, 0, NULL, &bytes, &error), STATUS_OK);
            if (i > 0)
                assert_int_equal(bytes_read(bytes, NULL, text, sizeof text, &got, &error), STATUS_OK);
            bytes_close(bytes);
        }
        close(file.fd);
        free_sort(&sort);
    }
}

static void *stop_soon(void *context)
{
    poll(NULL, 0, 50);
    stop_request(context, STOP_DRAIN);
    return NULL;
}

/* A silent pipe, from the beginning or in the middle of a frame. */
static void test_stop(void **state)
{
    (void)state;
    for (int number = 0; number < INPUT_COUNT; number++) {
        struct bytes_file file = {.name = "input", .size = -1, .memory_bytes = MEMORY};
        struct bytes *bytes = NULL;
        enum status status;
        struct sort sort;
        struct stop *stop;
        struct error error;
        pthread_t thread;
        size_t got = 1;
        char text[100];
        int pipes[2];

        error_reset(&error);
        assert_int_equal(stop_create(&stop, &error), STATUS_OK);
        assert_int_equal(pipe(pipes), 0);
        make_sort(&sort, number, 1000);
        if (number > 0)
            assert_int_equal(write(pipes[1], sort.file.text, sort.file.size - 5), sort.file.size - 5);
        file.fd = pipes[0];
        assert_int_equal(pthread_create(&thread, NULL, stop_soon, stop), 0);
        status = bytes_open(&file, 0, stop, &bytes, &error);
        while (status == STATUS_OK && got > 0)
            status = bytes_read(bytes, stop, text, sizeof text, &got, &error);
        assert_int_equal(status, STATUS_STOPPED);
        pthread_join(thread, NULL);
        bytes_close(bytes);
        close(pipes[0]);
        close(pipes[1]);
        stop_free(stop);
        free_sort(&sort);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk_sizes), cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_many_frames), cmocka_unit_test(test_begins_at_frame),
        cmocka_unit_test(test_recognised),  cmocka_unit_test(test_closed_early),
        cmocka_unit_test(test_stop),        cmocka_unit_test(test_known_frames),
    };

    return cmocka_run_group_tests(tests, bytes_setup, NULL);
}
