#include "fixture_bytes.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static uint32_t seed;

int bytes_setup(void **state)
{
    const char *given = getenv("HYPERFILL_TEST_SEED");

    (void)state;
    seed = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)getpid();
    printf("HYPERFILL_TEST_SEED=%u\n", seed);
    /* A reader that fails leaves the feeding thread alone with the pipe. */
    signal(SIGPIPE, SIG_IGN);
    alarm(1700);
    return 0;
}

uint32_t chance(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

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

void read_bytes(struct reading *reading, const struct bytes_file *file)
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

void read_input(struct reading *reading, const struct buffer *input)
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

void check_text(const struct reading *reading, const struct buffer *text, size_t offset)
{
    if (reading->status != STATUS_OK)
        fail_msg("%s", reading->error.text);
    assert_int_equal(reading->out.size, text->size - offset);
    if (reading->out.size > 0)
        assert_memory_equal(reading->out.text, text->text + offset, reading->out.size);
}

void check_all_ways(const struct buffer *input, const struct buffer *text, enum bytes_kind kind, size_t chunk)
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

void check_refused(const struct buffer *input, const char *problem)
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
