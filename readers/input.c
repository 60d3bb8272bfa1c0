/* Reading stream inputs. */
#include "readers/input.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "readers/record.h"

/* Large enough for cheap system calls, small enough to stay in the cache until it is routed. */
#define BUFFER_SIZE ((size_t)1 << 20)
#define BUFFER_MIN ((size_t)4096)
/* The stop has no descriptor that tells of a drain, so a wait for a silent pipe looks at it so often. */
#define LOOK_MS 200

/* ---- The hash of what was read, and what it must be ---- */

static int check_compare(const void *one, const void *other)
{
    int64_t a = ((const struct input_check *)one)->offset, b = ((const struct input_check *)other)->offset;

    return (a > b) - (a < b);
}

static enum status checks_make(struct input *input, struct input_position start, bool marks, struct error *error)
{
    const struct stream_source *source = input->source;
    size_t mark_count = marks ? source->mark_count : 0;

    input->hash = XXH3_createState();
    input->checks = calloc(mark_count + 1, sizeof *input->checks);
    if (input->hash == NULL || input->checks == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    XXH3_128bits_reset(input->hash);
    if (start.offset > 0)
        input->checks[input->check_count++] = (struct input_check){start.offset, {start.hash[0], start.hash[1]}};
    for (size_t i = 0; i < mark_count; i++)
        if (source->marks[i].mark > 0)
            input->checks[input->check_count++] =
                (struct input_check){source->marks[i].mark, {source->marks[i].hash[0], source->marks[i].hash[1]}};
    qsort(input->checks, input->check_count, sizeof *input->checks, check_compare);
    return STATUS_OK;
}

static void hash_to(struct input *input, size_t at)
{
    XXH3_128bits_update(input->hash, input->buffer + input->hashed, at - input->hashed);
    input->hashed = at;
}

enum status input_hash(struct input *input, size_t at, uint64_t hash[2], struct error *error)
{
    XXH128_hash_t digest;

    hash[0] = hash[1] = 0;
    if (input->hash == NULL)
        return STATUS_OK;
    while (input->check_next < input->check_count) {
        const struct input_check *check = &input->checks[input->check_next];

        if (check->offset > input->window.offset + (int64_t)at)
            break;
        hash_to(input, (size_t)(check->offset - input->window.offset));
        digest = XXH3_128bits_digest(input->hash);
        if (digest.low64 != check->hash[0] || digest.high64 != check->hash[1])
            return record_error(
                input->source, -1, -1, error,
                "this is not the input that the job began with: it differs before byte %" PRId64
                ", up to which rows are committed already. Give the same bytes again, or begin a new job",
                check->offset);
        input->check_next++;
    }
    hash_to(input, at);
    digest = XXH3_128bits_digest(input->hash);
    hash[0] = digest.low64;
    hash[1] = digest.high64;
    return STATUS_OK;
}

/* ---- Reading ---- */

static enum status stopped(const struct input *input, struct error *error)
{
    if (input->stop == NULL || stop_level(input->stop) == STOP_RUN)
        return STATUS_OK;
    return error_set(error, STATUS_STOPPED, "stopped while reading %s", input->source->name);
}

/* Waits until the pipe has something to say, or a stop is asked for. */
static enum status wait_readable(const struct input *input, struct error *error)
{
    struct pollfd fds[2] = {
        {.fd = input->source->fd, .events = POLLIN},
        {.fd = input->stop != NULL ? stop_fd(input->stop) : -1, .events = POLLIN},
    };
    int ready = 0;

    while (ready == 0) {
        enum status status = stopped(input, error);

        if (status != STATUS_OK)
            return status;
        ready = poll(fds, 2, input->stop != NULL ? LOOK_MS : -1);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(error, STATUS_SYSTEM, "cannot wait for %s", input->source->name);
        if (ready < 0 || fds[0].revents == 0)
            ready = 0;
    }
    return STATUS_OK;
}

static bool more_is_ready(const struct input *input)
{
    struct pollfd fd = {.fd = input->source->fd, .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

/* One read behind the text. */
static enum status read_some(struct input *input, struct error *error)
{
    const struct stream_source *source = input->source;
    char *to = input->buffer + input->size;
    size_t room = input->buffer_size - input->size;
    enum status status;
    ssize_t got;

    do {
        status = source->seekable ? stopped(input, error) : wait_readable(input, error);
        if (status != STATUS_OK)
            return status;
        got = source->seekable ? pread(source->fd, to, room, input->window.offset + (int64_t)input->size)
                               : read(source->fd, to, room);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    if (got < 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot read %s at byte %" PRId64, source->name,
                               input->window.offset + (int64_t)input->size);
    input->size += (size_t)got;
    input->last = got == 0;
    if (input->stats != NULL)
        stats_add(&input->stats->bytes_read, got);
    return STATUS_OK;
}

enum status input_too_large(const struct input *input, size_t at, int64_t line, size_t size, struct error *error)
{
    const int64_t memory = input->source->memory_bytes;
    /* A quarter of it is for one record. Whether that is enough is not known before its end was seen. */
    int64_t wanted = (int64_t)size * 4 > memory ? (int64_t)size * 4 : memory * 2;

    return record_error(input->source, input->window.offset + (int64_t)at, line, error,
                        "the record of %zu bytes or more that begins here does not fit: raise --memory to %" PRId64
                        "MB or more",
                        size, (wanted >> 20) + 1);
}

/* Makes room for a record that does not fit. */
static enum status buffer_grow(struct input *input, struct error *error)
{
    size_t size = input->buffer_size * 2 < input->buffer_max ? input->buffer_size * 2 : input->buffer_max;
    char *buffer;

    if (input->buffer_size >= input->buffer_max)
        return input_too_large(input, 0, input->window.line, input->buffer_size, error);
    buffer = realloc(input->buffer, size);
    if (buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    input->buffer = buffer;
    input->buffer_size = size;
    return STATUS_OK;
}

/* Drops what is used up. */
static enum status input_drop(struct input *input, size_t used, int64_t line, struct error *error)
{
    enum status status = input_hash(input, used, input->window.hash, error);

    if (status != STATUS_OK)
        return status;
    memmove(input->buffer, input->buffer + used, input->size - used);
    input->size -= used;
    input->hashed = 0;
    input->window.offset += (int64_t)used;
    input->window.line = line;
    return STATUS_OK;
}

enum status input_refill(struct input *input, size_t used, int64_t line, struct error *error)
{
    enum status status = input_drop(input, used, line, error);
    size_t before;

    if (status != STATUS_OK)
        return status;
    if (input->size == input->buffer_size)
        status = buffer_grow(input, error);
    before = input->size;
    /* A pipe gives little at a time: what is there is taken, what is not yet there is not waited for. */
    while (status == STATUS_OK && !input->last && input->size < input->buffer_size &&
           (input->size == before || (!input->source->seekable && more_is_ready(input))))
        status = read_some(input, error);
    return status;
}

/* What was read ahead from an input that cannot seek. */
static enum status take_head(struct input *input, struct error *error)
{
    const struct stream_source *source = input->source;

    while (input->buffer_size < source->head_size) {
        enum status status = buffer_grow(input, error);

        if (status != STATUS_OK)
            return status;
    }
    if (source->head_size > 0)
        memcpy(input->buffer, source->head, source->head_size);
    input->size = source->head_size;
    input->last = source->head_last;
    if (input->stats != NULL)
        stats_add(&input->stats->bytes_read, (int64_t)source->head_size);
    return STATUS_OK;
}

/* Reads and drops what lies before `start`. */
static enum status skip_to(struct input *input, struct input_position start, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && input->window.offset + (int64_t)input->size < start.offset && !input->last)
        status = input_refill(input, input->size, 1, error);
    if (status != STATUS_OK)
        return status;
    if (input->window.offset + (int64_t)input->size < start.offset)
        return input_finish(input, error);
    return input_drop(input, (size_t)(start.offset - input->window.offset), start.line, error);
}

enum status input_open(struct input *input, const struct stream_source *source, struct input_position start, bool marks,
                       int64_t record_max, struct stop *stop, struct stats *stats, struct error *error)
{
    size_t most = record_max > (int64_t)BUFFER_MIN ? (size_t)record_max : BUFFER_MIN;
    enum status status = STATUS_OK;
    bool resumed = start.offset > 0;

    *input = (struct input){.source = source, .stop = stop, .stats = stats};
    if (most < source->head_size)
        most = source->head_size;
    input->buffer_max = most;
    input->buffer_size = most < BUFFER_SIZE ? most : BUFFER_SIZE;
    input->buffer = malloc(input->buffer_size);
    if (input->buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (!source->seekable)
        status = checks_make(input, start, marks, error);
    if (!resumed)
        start = (struct input_position){.offset = source->header_end, .line = 1 + source->header_lines};
    if (status == STATUS_OK && source->seekable) {
        input->window = start;
        return input_refill(input, 0, start.line, error);
    }
    if (status == STATUS_OK)
        status = take_head(input, error);
    return status == STATUS_OK ? skip_to(input, start, error) : status;
}

void input_close(struct input *input)
{
    free(input->buffer);
    free(input->checks);
    XXH3_freeState(input->hash);
    *input = (struct input){0};
}

enum status input_finish(const struct input *input, struct error *error)
{
    const struct stream_source *source = input->source;
    struct stat now;

    if (input->check_next < input->check_count)
        return record_error(source, -1, -1, error,
                            "this is not the input that the job began with: it ends at byte %" PRId64
                            ", but rows before byte %" PRId64
                            " are committed already. Give the same bytes again, or begin "
                            "a new job",
                            input->window.offset + (int64_t)input->size, input->checks[input->check_count - 1].offset);
    if (!source->seekable)
        return STATUS_OK;
    if (fstat(source->fd, &now) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot look at %s", source->name);
    if (now.st_size != source->size ||
        now.st_mtim.tv_sec * INT64_C(1000000000) + now.st_mtim.tv_nsec != source->mtime_ns ||
        input->window.offset + (int64_t)input->size != source->size)
        return record_error(source, -1, -1, error,
                            "the file was changed while it was being read; rows that are committed came from it as it "
                            "was. Begin a new job with a file that stays as it is");
    return STATUS_OK;
}
