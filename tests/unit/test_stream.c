/* Opening inputs, knowing them again, and the looks at them before a run. */
#include "readers/stream.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

static char path[] = "/tmp/test_stream_XXXXXX";

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text, size_t size)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static struct stream_source source_of(bool header)
{
    return (struct stream_source){
        .path = path,
        .name = "input.csv",
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .header = header},
        .time = {.type = TIME_INT8},
        .memory_bytes = 1 << 20,
        .fd = -1,
    };
}

/* ---- The header ---- */

struct header_case {
    const char *text;
    const char *names[4];
    int64_t end, lines;
    enum line_end line_end;
    const char *problem;
    int skip_lines;
    bool trim;
};

static const struct header_case headers[] = {
    {"time,a\n1,2\n", {"time", "a"}, 7, 1, LINE_END_LF, NULL, 0, false},
    {"time,a", {"time", "a"}, 6, 1, LINE_END_UNKNOWN, NULL, 0, false},
    {"time,a\r\n1,2\r\n", {"time", "a"}, 8, 1, LINE_END_CRLF, NULL, 0, false},
    {"time,a\r1,2\r", {"time", "a"}, 7, 1, LINE_END_CR, NULL, 0, false},
    {"\xef\xbb\xbftime,a\n1,2\n", {"time", "a"}, 10, 1, LINE_END_LF, NULL, 0, false},
    {"\xef\xbb\xbf\"time\",a\n", {"time", "a"}, 12, 1, LINE_END_LF, NULL, 0, false},
    {"\"the \"\"time\"\"\",\"a,b\"\n", {"the \"time\"", "a,b"}, 21, 1, LINE_END_LF, NULL, 0, false},
    {"\"ti\nme\",a\n1,2\n", {"ti\nme", "a"}, 10, 2, LINE_END_LF, NULL, 0, false},
    {" time , a\n", {" time ", " a"}, 10, 1, LINE_END_LF, NULL, 0, false},
    {"time\n", {"time"}, 5, 1, LINE_END_LF, NULL, 0, false},
    {"", {NULL}, 0, 0, LINE_END_UNKNOWN, "empty", 0, false},
    {"\xef\xbb\xbf", {NULL}, 0, 0, LINE_END_UNKNOWN, "empty", 0, false},
    {"time,\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "field 2 has no name", 0, false},
    {"\n1,2\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "field 1 has no name", 0, false},
    {"time,a,time\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "fields 1 and 3 have the same name \"time\"", 0, false},
    {"ti\"m\"e,a\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "a quote stands inside", 0, false},
    {"\"time,a\n1,2\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "never closed", 0, false},
    /* Comments and lines to be skipped. */
    {"#\"\n#\ntime,a\n1,2\n", {"time", "a"}, 12, 3, LINE_END_LF, NULL, 0, false},
    {"a \"b\n\ntime\n1\n", {"time"}, 11, 3, LINE_END_LF, NULL, 2, false},
    {"a\r\nb\rtime\r\n", {"time"}, 11, 3, LINE_END_CRLF, NULL, 2, false},
    {"\xef\xbb\xbfx\n#y\ntime\n", {"time"}, 13, 3, LINE_END_LF, NULL, 1, false},
    {"a\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "empty", 1, false},
    {"a", {NULL}, 0, 0, LINE_END_UNKNOWN, "empty", 1, false},
    {"a\n", {NULL}, 0, 0, LINE_END_UNKNOWN, "empty", 7, false},
    {"#a\n#b", {NULL}, 0, 0, LINE_END_UNKNOWN, "empty", 0, false},
    {" time ,\t\"a b\" \n", {"time", "a b"}, 15, 1, LINE_END_LF, NULL, 0, true},
};

static void check_header(const struct header_case *item, bool piped, bool peeked)
{
    struct stream_source source = source_of(true);
    char pipe_path[32];
    struct error error;
    int pipes[2];
    enum status status;

    error_reset(&error);
    write_file(item->text, strlen(item->text));
    if (piped) {
        assert_int_equal(pipe(pipes), 0);
        assert_int_equal(write(pipes[1], item->text, strlen(item->text)), strlen(item->text));
        close(pipes[1]);
        snprintf(pipe_path, sizeof pipe_path, "/dev/fd/%d", pipes[0]);
        source.path = pipe_path;
    }
    source.dialect.comment = '#';
    source.dialect.skip_lines = item->skip_lines;
    source.dialect.trim = item->trim;
    status = peeked ? stream_peek(&source, 4, &error) : STATUS_OK;
    assert_int_equal(status, STATUS_OK);
    status = stream_open(&source, &error);
    if (item->problem != NULL) {
        assert_int_equal(status, STATUS_DATA);
        if (strstr(error.text, item->problem) == NULL)
            fail_msg("\"%s\" is not in: %s", item->problem, error.text);
    } else {
        if (status != STATUS_OK)
            fail_msg("%s", error.text);
        for (int i = 0; i < source.header_count; i++)
            assert_string_equal(source.header[i], item->names[i]);
        assert_null(item->names[source.header_count]);
        assert_int_equal(source.header_end, item->end);
        assert_int_equal(source.header_lines, item->lines);
        assert_int_equal(source.line_end, item->line_end);
        assert_int_equal(source.seekable, !piped);
    }
    stream_reset(&source);
    if (piped)
        close(pipes[0]);
}

static void test_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        for (int way = 0; way < 4; way++)
            check_header(&headers[i], (way & 1) != 0, (way & 2) != 0);
    }
}

static void test_cannot_open(void **state)
{
    struct stream_source source = source_of(true);
    struct error error;

    (void)state;
    error_reset(&error);
    source.path = "/nonexistent/input.csv";
    assert_int_equal(stream_open(&source, &error), STATUS_USAGE);
    assert_non_null(strstr(error.text, "No such file"));
    stream_reset(&source);
    error_reset(&error);
    source.path = "/tmp";
    assert_int_equal(stream_open(&source, &error), STATUS_USAGE);
    assert_non_null(strstr(error.text, "is a folder"));
    stream_reset(&source);
}

/* A header longer than one read of it, and one that is longer than the memory. */
static void test_long_header(void **state)
{
    struct stream_source source = source_of(true);
    size_t size = 400000;
    char *text = malloc(size);
    struct error error;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, "time,", 5);
    memcpy(text + 200000, "\n1,2\n", 5);
    write_file(text, 200005);
    error_reset(&error);
    assert_int_equal(stream_open(&source, &error), STATUS_OK);
    assert_int_equal(source.header_count, 2);
    assert_int_equal(source.header_end, 200001);
    stream_reset(&source);
    memset(text + 200000, 'x', 5);
    write_file(text, size);
    assert_int_equal(stream_open(&source, &error), STATUS_DATA);
    assert_non_null(strstr(error.text, "does not end"));
    stream_reset(&source);
    free(text);
}

/* ---- Identity ---- */

static void identity(char text[256])
{
    struct stream_source source = source_of(false);
    struct error error;

    error_reset(&error);
    assert_int_equal(stream_open(&source, &error), STATUS_OK);
    assert_int_equal(stream_identity(&source, text, 256, &error), STATUS_OK);
    stream_reset(&source);
}

static void set_time(void)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_identity(void **state)
{
    static char text[300000];
    char one[256], other[256];

    (void)state;
    memset(text, 'x', sizeof text);
    write_file(text, sizeof text);
    set_time();
    identity(one);
    write_file(text, sizeof text);
    set_time();
    identity(other);
    assert_string_equal(one, other);
    /* The head, the tail, the size, the time. */
    for (int change = 0; change < 4; change++) {
        text[5] = change == 0 ? 'y' : 'x';
        text[sizeof text - 5] = change == 1 ? 'y' : 'x';
        write_file(text, sizeof text - (change == 2));
        if (change != 3)
            set_time();
        identity(other);
        assert_string_not_equal(one, other);
    }
}

/* ---- Looks ---- */

#define ROWS 20000
#define TEXT_MAX ((size_t)4 << 20)

enum order { ORDERED, REVERSED, SHUFFLED, BY_HOST, ORDER_COUNT };

static int64_t time_of(enum order order, int row)
{
    switch (order) {
    case ORDERED: return row;
    case REVERSED: return ROWS - 1 - row;
    case SHUFFLED: return (int64_t)row * 7919 % ROWS;
    default: return (int64_t)(row % (ROWS / 50)) * 50 + row / (ROWS / 50);
    }
}

/* Rows of which some have lines in quotes that look like rows. */
static void write_rows(enum order order, int rows, bool hard)
{
    char *text = malloc(TEXT_MAX);
    size_t used;

    assert_non_null(text);
    used = (size_t)sprintf(text, "time,a,note\n");
    for (int row = 0; row < rows; row++) {
        used += (size_t)sprintf(text + used, "%d,%d,", (int)time_of(order, row), row);
        if (hard && row % 4 == 0)
            used += (size_t)sprintf(text + used, "\"some text\n5,x\n\n7,\"\"y\"\"\n%060d\n\"", row);
        used += (size_t)sprintf(text + used, "\n");
    }
    write_file(text, used);
    free(text);
}

static void sample_of(struct stream_sample *sample)
{
    struct stream_source source = source_of(true);
    struct error error;

    source.memory_bytes = 16 << 20;
    error_reset(&error);
    assert_int_equal(stream_open(&source, &error), STATUS_OK);
    assert_int_equal(stream_sample(&source, sample, &error), STATUS_OK);
    stream_reset(&source);
}

static void test_sample(void **state)
{
    struct stream_sample sample;
    struct stat facts;

    (void)state;
    for (int hard = 0; hard < 2; hard++)
        for (enum order order = ORDERED; order < ORDER_COUNT; order++) {
            write_rows(order, ROWS, hard == 1);
            sample_of(&sample);
            assert_int_equal(sample.ordered, order == ORDERED || order == REVERSED);
            assert_int_equal(stat(path, &facts), 0);
            assert_int_equal(sample.input_bytes, facts.st_size);
            assert_true(sample.records > 100);
            assert_true(sample.min_time >= 0 && sample.min_time < ROWS / 50);
            assert_true(sample.max_time < ROWS && sample.max_time > ROWS - ROWS / 50);
            assert_int_equal(sample.first_time, time_of(order, 0));
            assert_int_equal(sample.last_time, time_of(order, ROWS - 1));
            assert_true(sample.bytes_per_record > (double)facts.st_size / ROWS * 0.9);
            assert_true(sample.bytes_per_record < (double)facts.st_size / ROWS * 1.1);
        }
    write_rows(ORDERED, 0, false);
    sample_of(&sample);
    assert_int_equal(sample.records, 0);
    write_rows(ORDERED, 1, false);
    sample_of(&sample);
    assert_int_equal(sample.records, 1);
    assert_true(sample.ordered);
    write_file("time,a\nx,1\n\"", 12);
    sample_of(&sample);
    assert_int_equal(sample.records, 0);
}

static void pack_file(void)
{
    size_t room = ZSTD_compressBound(TEXT_MAX);
    char *text = malloc(TEXT_MAX), *packed = malloc(room);
    FILE *file = fopen(path, "re");
    size_t size;

    assert_non_null(text);
    assert_non_null(packed);
    assert_non_null(file);
    size = fread(text, 1, TEXT_MAX, file);
    fclose(file);
    size = ZSTD_compress(packed, room, text, size, 3);
    assert_false(ZSTD_isError(size));
    write_file(packed, size);
    free(text);
    free(packed);
}

/* Of a compressed file the head is looked at, and the size of its text is an estimate. */
static void test_sample_compressed(void **state)
{
    struct stream_sample sample;
    struct stat facts;

    (void)state;
    for (enum order order = ORDERED; order < ORDER_COUNT; order++) {
        write_rows(order, ROWS, true);
        assert_int_equal(stat(path, &facts), 0);
        pack_file();
        sample_of(&sample);
        assert_true(sample.head_only);
        assert_int_equal(sample.ordered, order == ORDERED || order == REVERSED);
        assert_int_equal(sample.first_time, time_of(order, 0));
        assert_true(sample.bytes_looked_at < facts.st_size);
        assert_true((double)sample.input_bytes > (double)facts.st_size * 0.7);
        assert_true((double)sample.input_bytes < (double)facts.st_size * 1.4);
    }
    write_rows(ORDERED, 3, false);
    assert_int_equal(stat(path, &facts), 0);
    pack_file();
    sample_of(&sample);
    assert_int_equal(sample.records, 3);
    assert_int_equal(sample.input_bytes, facts.st_size);
}

/* ---- A file that is not what it was ---- */

static void check_changed(struct stream_source *source, bool by_path, const char *problem)
{
    struct error error;

    error_reset(&error);
    assert_int_equal(stream_unchanged(source, by_path, &error), problem != NULL ? STATUS_DATA : STATUS_OK);
    assert_int_equal(error.input[0] != '\0', problem != NULL);
    if (problem != NULL)
        assert_non_null(strstr(error.text, problem));
}

static void test_unchanged(void **state)
{
    struct stream_source source = source_of(true);
    char other[sizeof path + 8];
    struct error error;
    int fd;

    (void)state;
    error_reset(&error);
    write_file("time,a\n1,2\n", 11);
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(stream_open(&source, &error), STATUS_DATA);
    assert_non_null(strstr(error.text, "being written"));
    stream_reset(&source);
    close(fd);
    error_reset(&error);
    assert_int_equal(stream_open(&source, &error), STATUS_OK);
    check_changed(&source, true, NULL);
    /* Another file of this name; the one that is open is as it was. */
    snprintf(other, sizeof other, "%s.other", path);
    assert_int_equal(rename(path, other), 0);
    check_changed(&source, true, NULL);
    write_file("time,a\n1,2\n", 11);
    check_changed(&source, false, NULL);
    check_changed(&source, true, "replaced");
    assert_int_equal(rename(other, path), 0);
    check_changed(&source, true, NULL);
    set_time();
    check_changed(&source, false, "changed");
    write_file("time,a\n1,2\n3,4\n", 15);
    check_changed(&source, false, "grown");
    stream_reset(&source);
}

static void test_ranges(void **state)
{
    struct layout_spec spec = {.interval = 100, .window = {1000, 15050}};
    struct stop *stop;
    struct error error;

    (void)state;
    error_reset(&error);
    assert_int_equal(stop_create(&stop, &error), STATUS_OK);
    for (enum order order = ORDERED; order < ORDER_COUNT; order++) {
        struct stream_source source = source_of(true);
        struct range *ranges;
        size_t count;

        write_rows(order, ROWS, true);
        assert_int_equal(layout_create(&spec, &source.layout, &error), STATUS_OK);
        assert_int_equal(stream_open(&source, &error), STATUS_OK);
        source.memory_bytes = 64 << 10;
        assert_int_equal(stream_ranges(&source, &ranges, &count, stop, &error), STATUS_OK);
        assert_int_equal(count, 141);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(ranges[i].lo, 1000 + 100 * (int64_t)i);
            assert_int_equal(ranges[i].hi, i < 140 ? 1100 + 100 * (int64_t)i : 15050);
        }
        free(ranges);
        layout_free(source.layout);
        stream_reset(&source);
    }
    stop_free(stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),      cmocka_unit_test(test_cannot_open),
        cmocka_unit_test(test_long_header), cmocka_unit_test(test_identity),
        cmocka_unit_test(test_sample),      cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_unchanged),   cmocka_unit_test(test_sample_compressed),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
