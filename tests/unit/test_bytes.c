/* Decompressing inputs: every kind, every chunk size, every cut, every bit. */
#include "readers/bytes.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <cmocka.h>

#define MEMORY ((int64_t)16 << 20)
#define LARGE_MEMORY ((int64_t)256 << 20)

/* ---- Making inputs ---- */

struct buffer {
    char *text;
    size_t size, room;
};

static void put(struct buffer *buffer, const void *text, size_t size)
{
    if (buffer->size + size > buffer->room) {
        buffer->room = (buffer->size + size) * 2;
        buffer->text = realloc(buffer->text, buffer->room);
        assert_non_null(buffer->text);
    }
    if (size > 0)
        memcpy(buffer->text + buffer->size, text, size);
    buffer->size += size;
}

static void empty(struct buffer *buffer)
{
    free(buffer->text);
    *buffer = (struct buffer){0};
}

static uint32_t seed;

static uint32_t chance(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* Rows with some disorder in them, so that all parts of the formats are met. */
static void put_text(struct buffer *text, size_t size)
{
    char row[64];
    size_t from = text->size;

    while (text->size - from < size) {
        int row_size = snprintf(row, sizeof row, "2024-03-01 %02u:%02u:00,%u,host_%u\n", chance() % 24, chance() % 60,
                                chance(), chance() % 10);
        size_t left = size - (text->size - from);

        put(text, row, (size_t)row_size < left ? (size_t)row_size : left);
    }
}

enum flags { SIZED = 1, CHECKED = 2, LONG = 4, FAST = 8 };

static void put_zstd(struct buffer *file, const char *text, size_t size, int flags)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(size);
    char *to = malloc(room);
    ZSTD_inBuffer in = {text, size, 0};
    ZSTD_outBuffer out = {to, room, 0};

    assert_non_null(to);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, (flags & CHECKED) != 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, (flags & SIZED) != 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, (flags & FAST) != 0 ? -5 : 3);
    if ((flags & LONG) != 0)
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
    if ((flags & SIZED) != 0)
        ZSTD_CCtx_setPledgedSrcSize(context, size);
    else
        ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
    assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    put(file, to, out.pos);
    free(to);
    ZSTD_freeCCtx(context);
}

static void put_skippable(struct buffer *file, uint32_t size)
{
    char header[8] = {0x5a, 0x2a, 0x4d, 0x18, (char)size, (char)(size >> 8), (char)(size >> 16), 0};

    put(file, header, sizeof header);
    for (uint32_t i = 0; i < size; i++)
        put(file, "(", 1);
}

static void put_gzip(struct buffer *file, const char *text, size_t size)
{
    struct isal_zstream *stream = malloc(sizeof *stream);
    size_t room = size + size / 8 + 1000;
    char *to = malloc(room);

    assert_non_null(stream);
    isal_deflate_init(stream);
    stream->gzip_flag = IGZIP_GZIP;
    stream->end_of_stream = 1;
    stream->next_in = (uint8_t *)(uintptr_t)text;
    stream->avail_in = (uint32_t)size;
    stream->next_out = (uint8_t *)to;
    stream->avail_out = (uint32_t)room;
    assert_int_equal(isal_deflate(stream), COMP_OK);
    assert_int_equal(stream->avail_in, 0);
    put(file, to, room - stream->avail_out);
    free(to);
    free(stream);
}

/* ---- Reading them ---- */

enum how { SERIAL, THREADS, PIPE, HOW_COUNT };

struct reading {
    enum how how;
    size_t chunk;
    int64_t offset;
    int64_t memory;
    bool verified; /* opened at 0 and verified, it goes to the offset */
    /* What came of it. */
    enum status status;
    enum bytes_kind kind;
    struct buffer out;
    int64_t taken, position;
    struct error error;
};

struct feeding {
    int fd;
    const struct buffer *file;
};

static void *feed(void *context)
{
    struct feeding *feeding = context;
    size_t done = 0;

    while (done < feeding->file->size) {
        size_t left = feeding->file->size - done;
        ssize_t size = write(feeding->fd, feeding->file->text + done, left < 7001 ? left : 7001);

        if (size < 0)
            break;
        done += (size_t)size;
    }
    close(feeding->fd);
    return NULL;
}

static void read_bytes(struct reading *reading, const struct bytes_file *file)
{
    char *chunk = malloc(reading->chunk);
    struct bytes *bytes = NULL;
    size_t got = 1;

    assert_non_null(chunk);
    reading->status = bytes_open(file, reading->verified ? 0 : reading->offset, NULL, &bytes, &reading->error);
    if (reading->status == STATUS_OK && reading->verified)
        reading->status = bytes_verify(bytes, reading->offset, NULL, &reading->error);
    while (reading->status == STATUS_OK && got > 0) {
        reading->status = bytes_read(bytes, NULL, chunk, reading->chunk, &got, &reading->error);
        if (reading->status == STATUS_OK) {
            assert_true(got <= reading->chunk);
            put(&reading->out, chunk, got);
        }
    }
    if (bytes != NULL) {
        reading->kind = bytes_kind(bytes);
        reading->taken = bytes_taken(bytes);
        reading->position = bytes_position(bytes);
    }
    bytes_close(bytes);
    free(chunk);
}

/* Leaves what was read in reading->out, also where it fails. */
static void read_input(struct reading *reading, const struct buffer *input)
{
    struct bytes_file file = {
        .name = "input",
        .seekable = reading->how != PIPE,
        .size = reading->how != PIPE ? (int64_t)input->size : -1,
        .memory_bytes = reading->memory > 0 ? reading->memory : MEMORY,
        .threads = reading->how == THREADS ? 3 : 0,
    };
    struct feeding feeding = {.file = input};
    pthread_t thread;
    int pipes[2];

    error_reset(&reading->error);
    if (reading->how == PIPE) {
        assert_int_equal(pipe(pipes), 0);
        file.fd = pipes[0];
        feeding.fd = pipes[1];
        assert_int_equal(pthread_create(&thread, NULL, feed, &feeding), 0);
    } else {
        file.fd = memfd_create("input", 0);
        assert_int_equal(write(file.fd, input->text, input->size), input->size);
    }
    read_bytes(reading, &file);
    close(file.fd);
    if (reading->how == PIPE)
        pthread_join(thread, NULL);
}

static void check_text(const struct reading *reading, const struct buffer *text, size_t offset)
{
    if (reading->status != STATUS_OK)
        fail_msg("%s", reading->error.text);
    assert_int_equal(reading->out.size, text->size - offset);
    if (reading->out.size > 0)
        assert_memory_equal(reading->out.text, text->text + offset, reading->out.size);
}

static void check_all_ways(const struct buffer *input, const struct buffer *text, enum bytes_kind kind, size_t chunk)
{
    for (enum how how = SERIAL; how < HOW_COUNT; how++) {
        struct reading reading = {.how = how, .chunk = chunk};

        read_input(&reading, input);
        check_text(&reading, text, 0);
        assert_int_equal(reading.kind, kind);
        assert_int_equal(reading.position, input->size);
        empty(&reading.out);
    }
}

static void check_refused(const struct buffer *input, const char *problem)
{
    for (enum how how = SERIAL; how < HOW_COUNT; how++) {
        struct reading reading = {.how = how, .chunk = 4096};

        read_input(&reading, input);
        assert_int_equal(reading.status, STATUS_DATA);
        if (strstr(reading.error.text, problem) == NULL)
            fail_msg("\"%s\" is not in: %s", problem, reading.error.text);
        assert_string_equal(reading.error.input, "input");
        empty(&reading.out);
    }
}

/* ---- Kinds ---- */

#define INPUT_COUNT 12

/* One input of each sort; `units` gets where each frame or member ends in the file, and in the text. */
struct sort {
    struct buffer file, text;
    enum bytes_kind kind;
    size_t unit_count;
    size_t file_ends[8], text_ends[8];
};

static void end_unit(struct sort *sort)
{
    sort->file_ends[sort->unit_count] = sort->file.size;
    sort->text_ends[sort->unit_count++] = sort->text.size;
}

static void add_unit(struct sort *sort, size_t size, int flags)
{
    size_t from = sort->text.size;

    put_text(&sort->text, size);
    if (sort->kind == BYTES_GZIP)
        put_gzip(&sort->file, sort->text.text + from, size);
    else if (sort->kind == BYTES_ZSTD)
        put_zstd(&sort->file, sort->text.text + from, size, flags);
    else
        put(&sort->file, sort->text.text + from, size);
    end_unit(sort);
}

static void make_sort(struct sort *sort, int number, size_t size)
{
    static const int flags[] = {0, SIZED, CHECKED, SIZED | CHECKED};

    *sort = (struct sort){.kind = number < 1 ? BYTES_PLAIN : number < 4 ? BYTES_GZIP : BYTES_ZSTD};
    switch (number) {
    case 0: /* plain */
    case 1: /* one member */ add_unit(sort, size, 0); break;
    case 2: /* members, of which one is empty */
        add_unit(sort, size / 2, 0);
        add_unit(sort, 0, 0);
        add_unit(sort, size / 2, 0);
        break;
    case 3: /* an empty one */ add_unit(sort, 0, 0); break;
    case 4:
    case 5:
    case 6:
    case 7: /* one frame */ add_unit(sort, size, flags[number - 4]); break;
    case 8: /* many frames with their sizes, one empty, one of a byte */
        add_unit(sort, size / 2, SIZED | CHECKED);
        add_unit(sort, 0, SIZED | CHECKED);
        add_unit(sort, size / 4, SIZED);
        add_unit(sort, 1, SIZED | CHECKED);
        add_unit(sort, size / 4, SIZED | CHECKED);
        break;
    case 9: /* frames with and without */
        add_unit(sort, size / 3, SIZED);
        add_unit(sort, size / 3, CHECKED);
        add_unit(sort, size / 3, SIZED | CHECKED);
        break;
    case 10: /* skippable ones before, between and behind, as pzstd makes them */
        put_skippable(&sort->file, 4);
        add_unit(sort, size / 2, SIZED | CHECKED);
        put_skippable(&sort->file, 0);
        put_skippable(&sort->file, 300);
        end_unit(sort);
        add_unit(sort, size / 2, CHECKED);
        put_skippable(&sort->file, 17);
        end_unit(sort);
        break;
    default: /* an empty frame */ add_unit(sort, 0, SIZED | CHECKED); break;
    }
}

static void free_sort(struct sort *sort)
{
    empty(&sort->file);
    empty(&sort->text);
}

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

/* ---- Places ---- */

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

/* ---- What is refused ---- */

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

/* ---- Stopping ---- */

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
        cmocka_unit_test(test_chunk_sizes),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_many_frames),
        cmocka_unit_test(test_begins_at_frame),
        cmocka_unit_test(test_closed_early),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_what_follows),
        cmocka_unit_test(test_verified),
        cmocka_unit_test(test_wrong_checksum_gives_nothing),
        cmocka_unit_test(test_recognised),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_stop),
    };
    const char *given = getenv("HYPERFILL_TEST_SEED");

    seed = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)getpid();
    printf("HYPERFILL_TEST_SEED=%u\n", seed);
    /* A reader that fails leaves the feeding thread alone with the pipe. */
    signal(SIGPIPE, SIG_IGN);
    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
