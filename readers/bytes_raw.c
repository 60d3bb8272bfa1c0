/* The input as it is: reading it, and telling what it is. */
#include "readers/bytes_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum status raw_error(const struct raw *raw, int64_t offset, struct error *error, const char *format, ...)
{
    char text[512];
    va_list arguments;

    if (error->status != STATUS_OK)
        return error->status;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(error->input, sizeof error->input, "%s", raw->file.name);
    error->line = -1;
    error->offset = -1;
    return error_set(error, STATUS_DATA, "at byte %" PRId64 " of the compressed input: %s", offset, text);
}

/* ---- Reading ---- */

static enum status stopped(const struct raw *raw, const struct stop *stop, struct error *error)
{
    if (stop == NULL || stop_level(stop) == STOP_RUN)
        return STATUS_OK;
    return error_set(error, STATUS_STOPPED, "stopped while reading %s", raw->file.name);
}

/* Waits until the pipe has something to say, or a stop is asked for. */
static enum status wait_readable(const struct raw *raw, struct stop *stop, struct error *error)
{
    struct pollfd fds[2] = {
        {.fd = raw->file.fd, .events = POLLIN},
        {.fd = stop != NULL ? stop_drain_fd(stop) : -1, .events = POLLIN},
    };
    int ready = 0;

    while (ready == 0) {
        enum status status = stopped(raw, stop, error);

        if (status != STATUS_OK)
            return status;
        ready = poll(fds, 2, -1);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(error, STATUS_SYSTEM, "cannot wait for %s", raw->file.name);
        if (ready < 0 || fds[0].revents == 0)
            ready = 0;
    }
    return STATUS_OK;
}

bool raw_ready(const struct raw *raw)
{
    struct pollfd fd = {.fd = raw->file.fd, .events = POLLIN};

    return raw->head_at < raw->head_size || poll(&fd, 1, 0) == 1;
}

static enum status shrunk(const struct raw *raw, int64_t offset, struct error *error)
{
    snprintf(error->input, sizeof error->input, "%s", raw->file.name);
    error->line = error->offset = -1;
    return error_set(error, STATUS_DATA,
                     "the file was changed while it was being read: it ends at byte %" PRId64 ", but had %" PRId64
                     " bytes at the opening; rows that are committed came from it as it was. Begin "
                     "a new job with a file that stays as it is",
                     offset, raw->file.size);
}

/* What was read from the pipe before. */
static size_t give_head(struct raw *raw, void *to, size_t room)
{
    size_t left = raw->head_size - raw->head_at, size = left < room ? left : room;

    memcpy(to, raw->head + raw->head_at, size);
    raw->head_at += size;
    return size;
}

enum status raw_read(struct raw *raw, struct stop *stop, int64_t offset, void *to, size_t room, size_t *got,
                     struct error *error)
{
    const struct bytes_file *file = &raw->file;
    ssize_t size;

    *got = 0;
    /* Threads that share a file must not write here: it has no such head. */
    if (raw->head_at < raw->head_size) {
        *got = give_head(raw, to, room);
        return STATUS_OK;
    }
    /* Bytes that were added since the opening are another file's: whoever finishes with this one looks for them. */
    if (file->seekable && (int64_t)room > file->size - offset)
        room = offset < file->size ? (size_t)(file->size - offset) : 0;
    if (room == 0)
        return STATUS_OK;
    do {
        enum status status = file->seekable ? stopped(raw, stop, error) : wait_readable(raw, stop, error);

        if (status != STATUS_OK)
            return status;
        size = file->seekable ? pread(file->fd, to, room, offset) : read(file->fd, to, room);
    } while (size < 0 && (errno == EINTR || errno == EAGAIN));
    if (size < 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot read %s at byte %" PRId64, file->name, offset);
    if (size == 0 && file->seekable)
        return shrunk(raw, offset, error);
    *got = (size_t)size;
    atomic_fetch_add_explicit(&raw->taken, size, memory_order_relaxed);
    return STATUS_OK;
}

/* ---- Telling what it is ---- */

struct magic {
    const char *bytes;
    size_t size;
    size_t enough; /* of it, where the input ends: cut off so early, it is still no text */
    enum bytes_kind kind;
    const char *refused; /* its name, if it cannot be read */
};

static const struct magic magics[] = {
    {"\x1f\x8b", 2, 1, BYTES_GZIP, NULL},
    {"\x28\xb5\x2f\xfd", 4, 2, BYTES_ZSTD, NULL},
    {"\xfd"
     "7zXZ",
     6, 6, BYTES_PLAIN, "xz"},
    {"BZh91AY&SY", 10, 10, BYTES_PLAIN, "bzip2"},
    {"PK\x03\x04", 4, 4, BYTES_PLAIN, "a zip archive"},
    {"\x04\x22\x4d\x18", 4, 4, BYTES_PLAIN, "lz4"},
};
#define SKIPPABLE "*M\x18" /* behind a byte of 0x50 to 0x5f */

/* zstd may begin with a frame that is to be skipped, as pzstd's files do. */
static bool is_skippable(const char *head, size_t size)
{
    return size > 0 && (head[0] & 0xf0) == 0x50 && memcmp(head + 1, SKIPPABLE, size < 4 ? size - 1 : 3) == 0;
}

/* True: no more bytes are needed. */
static bool tell(const char *head, size_t size, bool last, enum bytes_kind *kind, const char **refused)
{
    bool open = false;

    *kind = BYTES_PLAIN;
    *refused = NULL;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const struct magic *magic = &magics[i];
        size_t same = size < magic->size ? size : magic->size;

        if (memcmp(head, magic->bytes, same) != 0)
            continue;
        if (size >= magic->size || (last && size >= magic->enough)) {
            *kind = magic->kind;
            *refused = magic->refused;
            return true;
        }
        open = true;
    }
    if (size >= 4 && is_skippable(head, size))
        *kind = BYTES_ZSTD;
    return last || size >= RAW_HEAD_MAX || !(open || (size < 4 && is_skippable(head, size)));
}

enum status raw_recognise(struct raw *raw, struct stop *stop, enum bytes_kind *kind, struct error *error)
{
    char head[RAW_HEAD_MAX];
    const char *refused;
    size_t size = 0, got;
    bool last = false;

    while (!tell(head, size, last, kind, &refused)) {
        enum status status = raw_read(raw, stop, (int64_t)size, head + size, sizeof head - size, &got, error);

        if (status != STATUS_OK)
            return status;
        size += got;
        last = got == 0;
    }
    if (!raw->file.seekable) {
        memcpy(raw->head, head, size);
        raw->head_size = size;
    } else {
        atomic_store(&raw->taken, 0);
    }
    if (refused == NULL)
        return STATUS_OK;
    snprintf(error->input, sizeof error->input, "%s", raw->file.name);
    return error_set(
        error, STATUS_USAGE,
        "this is compressed as %s, which cannot be read: give it decompressed through a pipe (--source -), "
        "or as .zst or .gz",
        refused);
}
