/* Inputs that are cut off, corrupt, or changed meanwhile: refused, and nothing is given that was not verified. */
#include "fixture_bytes.h"

#include <sys/mman.h>
#include <unistd.h>

/* So many bytes of text belong to units that end within `size` bytes of the file. */
static size_t whole_text(const struct sort *sort, size_t size, bool *edge)
{
    size_t whole = 0;

    *edge = size == 0;
    for (size_t i = 0; i < sort->unit_count; i++)
        if (sort->file_ends[i] <= size) {
            whole = sort->text_ends[i];
            *edge = sort->file_ends[i] == size;
        }
    return whole;
}

/* A file that is cut off is refused, and the end of the unit that is cut off is never given. */
static void check_cut(const struct sort *sort, size_t size, enum how how)
{
    struct buffer cut = {sort->file.text, size, size};
    struct reading reading = {.how = how, .chunk = 5000};
    bool edge;
    size_t whole = whole_text(sort, size, &edge);

    read_input(&reading, &cut);
    if (reading.status == STATUS_OK) {
        /* Between two frames it looks whole; behind a skippable one of them, too. */
        assert_true(edge || (sort->file_ends[0] > size && sort->file.text[0] == 0x5a && size == 12) ||
                    sort->file.text[size - 1] == '(' || sort->file.text[size - 1] == 0);
        assert_int_equal(reading.out.size, whole);
    } else {
        assert_int_equal(reading.status, STATUS_DATA);
        assert_false(edge);
        assert_non_null(strstr(reading.error.text, "cut off"));
        for (size_t i = 0; i < sort->unit_count; i++)
            if (sort->file_ends[i] > size) {
                assert_true(reading.out.size < sort->text_ends[i] || reading.out.size == whole);
                break;
            }
    }
    assert_memory_equal(sort->text.text, reading.out.size > 0 ? reading.out.text : sort->text.text, reading.out.size);
    empty(&reading.out);
}

static void test_cuts(void **state)
{
    struct sort sort;

    (void)state;
    for (int number = 1; number < INPUT_COUNT; number++) {
        make_sort(&sort, number, 300);
        if (sort.text.size == 0)
            put(&sort.text, "", 0), sort.text.text = malloc(1);
        /* Of a skippable frame in front, the first bytes might be text. */
        for (size_t size = number == 10 ? 4 : 2; size < sort.file.size; size++)
            for (enum how how = SERIAL; how < HOW_COUNT; how++)
                check_cut(&sort, size, how);
        free_sort(&sort);
    }
}

/* Whatever bit is wrong: refused, or it did not matter. */
static void test_bits(void **state)
{
    static const int numbers[] = {1, 2, 6, 7, 8};
    struct sort sort;

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        make_sort(&sort, numbers[i], 300);
        for (size_t bit = 32; bit < sort.file.size * 8; bit++) {
            /* The third frame of sort 8 has no checksum. */
            bool checked = numbers[i] != 8 || bit / 8 < sort.file_ends[1] || bit / 8 >= sort.file_ends[2];

            sort.file.text[bit / 8] ^= (char)(1 << bit % 8);
            for (enum how how = SERIAL; how < PIPE; how++) {
                struct reading reading = {.how = how, .chunk = 1000};

                read_input(&reading, &sort.file);
                if (reading.status == STATUS_OK && checked)
                    check_text(&reading, &sort.text, 0);
                else if (reading.status != STATUS_OK)
                    assert_int_equal(reading.status, STATUS_DATA);
                /* A frame that is said to have no checksum is right, but then the checksum follows it. */
                if (reading.status != STATUS_OK && reading.out.size == sort.text.size)
                    assert_non_null(strstr(reading.error.text, "should be a zstd frame"));
                empty(&reading.out);
            }
            sort.file.text[bit / 8] ^= (char)(1 << bit % 8);
        }
        free_sort(&sort);
    }
}

static void test_window(void **state)
{
    struct buffer text = {0}, file = {0};
    long more = 0;

    (void)state;
    put_text(&text, 500000);
    put_zstd(&file, text.text, 1000, SIZED | CHECKED);
    put_zstd(&file, text.text + 1000, text.size - 1000, LONG | CHECKED);
    put_zstd(&file, text.text, 1000, SIZED | CHECKED);
    put(&text, text.text, 1000);
    check_refused(&file, "--memory");
    for (enum how how = SERIAL; how < HOW_COUNT; how++) {
        struct reading reading = {.how = how, .chunk = 5000};

        read_input(&reading, &file);
        more = strtol(strstr(reading.error.text, "--memory") + 9, NULL, 10);
        assert_true(more > 128 && more < 1024);
        empty(&reading.out);
        reading = (struct reading){.how = how, .chunk = 5000, .memory = (int64_t)more << 20};
        read_input(&reading, &file);
        check_text(&reading, &text, 0);
        empty(&reading.out);
        reading = (struct reading){.how = how, .chunk = 5000, .memory = (int64_t)(more - 2) << 20};
        read_input(&reading, &file);
        assert_int_equal(reading.status, STATUS_DATA);
        empty(&reading.out);
    }
    empty(&text);
    empty(&file);
}

static void test_what_follows(void **state)
{
    struct sort sort;

    (void)state;
    for (int number = 1; number < INPUT_COUNT; number++) {
        make_sort(&sort, number, 1000);
        if (sort.kind == BYTES_GZIP) {
            put(&sort.file, "\0\0\0\0\0", 5);
            check_all_ways(&sort.file, &sort.text, BYTES_GZIP, 100);
            put(&sort.file, "\x1f", 1);
            check_refused(&sort.file, "what follows the end of the gzip data is no gzip");
            sort.file.size -= 6;
        }
        put(&sort.file, "1,2,3\n", 6);
        check_refused(&sort.file, sort.kind == BYTES_GZIP ? "is no gzip" : "should be a zstd frame");
        free_sort(&sort);
    }
}

/* A file that becomes shorter is no end; one that grows is read to the size it had. */
static void test_changed(void **state)
{
    struct sort sort;

    (void)state;
    for (int number = 0; number < INPUT_COUNT; number++)
        for (enum how how = SERIAL; how < PIPE; how++) {
            struct reading reading = {.how = how, .chunk = 1000};
            struct bytes_file file = {
                .name = "input", .seekable = true, .memory_bytes = MEMORY, .threads = how == THREADS ? 3 : 0};

            make_sort(&sort, number, 5000);
            file.size = (int64_t)sort.file.size;
            file.fd = memfd_create("input", 0);
            assert_int_equal(write(file.fd, sort.file.text, sort.file.size), sort.file.size);
            assert_int_equal(write(file.fd, sort.file.text, sort.file.size), sort.file.size);
            error_reset(&reading.error);
            read_bytes(&reading, &file);
            check_text(&reading, &sort.text, 0);
            empty(&reading.out);
            assert_int_equal(ftruncate(file.fd, file.size - 1), 0);
            read_bytes(&reading, &file);
            /* Of a skippable frame at the end, threads read the header only. */
            if (number != 10 || how != THREADS) {
                assert_int_equal(reading.status, STATUS_DATA);
                assert_non_null(strstr(reading.error.text, "changed"));
            }
            empty(&reading.out);
            close(file.fd);
            free_sort(&sort);
        }
}

/* ---- Verified before anything is given ---- */

static void check_verified(const struct sort *sort, int64_t memory, enum how how, size_t offset)
{
    struct reading reading = {
        .how = how, .chunk = 100000, .memory = memory, .verified = true, .offset = (int64_t)offset};

    read_input(&reading, &sort->file);
    check_text(&reading, &sort->text, offset);
    /* Once through the file, however often it was decompressed; of text from memory the position is a share. */
    assert_in_range(reading.taken, 1, sort->file.size * 3 / 2 + 100);
    assert_in_range(reading.position, sort->file.size / 2, sort->file.size);
    empty(&reading.out);
}

/* Kept in memory, decompressed twice, or frame by frame: all give the text. */
static void test_verified(void **state)
{
    struct sort sort;

    (void)state;
    for (int number = 1; number < INPUT_COUNT; number++)
        for (enum how how = SERIAL; how < PIPE; how++) {
            make_sort(&sort, number, 3000000);
            check_verified(&sort, LARGE_MEMORY, how, 0);
            check_verified(&sort, LARGE_MEMORY, how, sort.text.size / 2);
            check_verified(&sort, MEMORY, how, 0);
            check_verified(&sort, MEMORY, how, sort.text.size / 2);
            free_sort(&sort);
        }
}

/* A wrong checksum at the end of a unit: not one byte of the text of that unit is given. */
static void test_wrong_checksum_gives_nothing(void **state)
{
    struct buffer text = {0}, file = {0};

    (void)state;
    for (int number = 0; number < 12; number++) {
        struct reading reading = {.chunk = 65536, .verified = true};
        bool gzip = number >= 8;
        size_t right = 0;

        put_text(&text, 5000000);
        /* A frame that is right before it may be given, where frames are verified one by one. */
        if (!gzip && number % 4 >= 2) {
            put_zstd(&file, text.text, 1000000, CHECKED | SIZED);
            right = 1000000;
        }
        if (gzip)
            put_gzip(&file, text.text, text.size);
        else
            put_zstd(&file, text.text + right, text.size - right, number % 2 == 0 ? CHECKED | SIZED : CHECKED);
        file.text[file.size - (gzip ? 6 : 2)] ^= 1;
        reading.how = number < 4 || number >= 10 ? THREADS : SERIAL;
        reading.memory = number % 2 == 0 ? MEMORY : LARGE_MEMORY;
        read_input(&reading, &file);
        assert_int_equal(reading.status, STATUS_DATA);
        if (strstr(reading.error.text, "checksum") == NULL)
            fail_msg("%d: %s", number, reading.error.text);
        assert_true(reading.out.size == 0 || reading.out.size == right);
        empty(&reading.out);
        empty(&text);
        empty(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),     cmocka_unit_test(test_bits),
        cmocka_unit_test(test_window),   cmocka_unit_test(test_what_follows),
        cmocka_unit_test(test_verified), cmocka_unit_test(test_wrong_checksum_gives_nothing),
        cmocka_unit_test(test_changed),
    };

    return cmocka_run_group_tests(tests, bytes_setup, NULL);
}
