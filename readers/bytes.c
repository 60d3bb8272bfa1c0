/* The bytes of an input: what it is decides how they are had. */
#include "readers/bytes_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Half of --memory is for blocks and a quarter for a long record, so this much is left. */
#define MEMORY_SHARE 4
/* Of that, rings have one part, windows three. */
#define RING_SHARE 4
#define MEMORY_DEFAULT ((int64_t)64 << 20)
/* gzip's window is small: more than a good ring is of no use. */
#define GZIP_MEMORY_MAX ((int64_t)8 << 20)
#define DROP_SIZE ((size_t)64 << 10)

/* ---- Memory ---- */

int64_t bytes_memory(enum bytes_kind kind, int64_t memory_bytes)
{
    int64_t memory = (memory_bytes > 0 ? memory_bytes : MEMORY_DEFAULT) / MEMORY_SHARE;

    if (kind == BYTES_PLAIN)
        return 0;
    return kind == BYTES_GZIP && memory > GZIP_MEMORY_MAX ? GZIP_MEMORY_MAX : memory;
}

int64_t memory_rings(const struct raw *raw, enum bytes_kind kind)
{
    return bytes_memory(kind, raw->file.memory_bytes) / RING_SHARE;
}

int64_t memory_decoders(const struct raw *raw, enum bytes_kind kind)
{
    return bytes_memory(kind, raw->file.memory_bytes) - memory_rings(raw, kind);
}

int64_t memory_for_window(int64_t window)
{
    return (window + DECODER_MEMORY) / (RING_SHARE - 1) * RING_SHARE * MEMORY_SHARE + RING_SHARE * MEMORY_SHARE;
}

/* ---- Reading ---- */

static size_t kept_read(struct bytes *bytes, char *to, size_t room)
{
    size_t left = bytes->kept_size - bytes->kept_at, size = left < room ? left : room;

    memcpy(to, bytes->kept + bytes->kept_at, size);
    bytes->kept_at += size;
    return size;
}

/* Gives all but the last byte of a unit that goes on. */
static enum status serial_read(struct bytes *bytes, struct stop *stop, char *to, size_t room, size_t *got,
                               struct error *error)
{
    enum decoded decoded = DECODED_SOME;
    enum status status;
    size_t had, more;

    do {
        had = bytes->held;
        if (bytes->held)
            to[0] = bytes->held_byte;
        status = decoder_step(&bytes->decoder, stop, to + had, room - had, &more, &decoded, error);
        if (status != STATUS_OK)
            return status;
        *got = had + more;
        bytes->held = decoded == DECODED_SOME;
        if (bytes->held)
            bytes->held_byte = to[--*got];
    } while (*got == 0 && decoded != DECODED_END);
    return STATUS_OK;
}

static enum status spare_read(struct bytes *bytes, struct stop *stop, char *to, size_t *got, struct error *error)
{
    enum status status = STATUS_OK;

    if (bytes->spare_at == bytes->spare_size) {
        bytes->spare_at = 0;
        status = serial_read(bytes, stop, bytes->spare, sizeof bytes->spare, &bytes->spare_size, error);
    }
    *got = status == STATUS_OK && bytes->spare_size > 0;
    if (*got > 0)
        *to = bytes->spare[bytes->spare_at++];
    return status;
}

static enum status stopped(const struct bytes *bytes, const struct stop *stop, struct error *error)
{
    if (stop == NULL || stop_level(stop) == STOP_RUN)
        return STATUS_OK;
    return error_set(error, STATUS_STOPPED, "stopped while reading %s", bytes->raw.file.name);
}

enum status bytes_read(struct bytes *bytes, struct stop *stop, char *to, size_t room, size_t *got, struct error *error)
{
    enum status status;

    *got = 0;
    if (bytes->kind == BYTES_PLAIN) {
        status = raw_read(&bytes->raw, stop, bytes->offset, to, room, got, error);
        bytes->offset += (int64_t)*got;
        return status;
    }
    status = stopped(bytes, stop, error);
    if (status != STATUS_OK)
        return status;
    if (bytes->kept != NULL) {
        *got = kept_read(bytes, to, room);
        return STATUS_OK;
    }
    if (bytes->parallel != NULL)
        return parallel_read(bytes->parallel, to, room, got, error);
    if (room == 1 || bytes->spare_at < bytes->spare_size)
        return spare_read(bytes, stop, to, got, error);
    return serial_read(bytes, stop, to, room, got, error);
}

/* ---- Opening ---- */

enum status bytes_drop(struct bytes *bytes, struct stop *stop, int64_t size, struct error *error)
{
    char *buffer = size > 0 ? malloc(DROP_SIZE) : NULL;
    enum status status = STATUS_OK;
    int64_t left = size;

    if (size > 0 && buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    while (status == STATUS_OK && left > 0) {
        size_t got, room = left < (int64_t)DROP_SIZE ? (size_t)left : DROP_SIZE;

        status = bytes_read(bytes, stop, buffer, room, &got, error);
        left -= (int64_t)got;
        if (status == STATUS_OK && got == 0) {
            snprintf(error->input, sizeof error->input, "%s", bytes->raw.file.name);
            status = error_set(error, STATUS_DATA,
                               "this is not the input that the job began with: it ends %" PRId64
                               " bytes before a place up to which rows are committed already",
                               left);
        }
    }
    free(buffer);
    return status;
}

enum status bytes_open_compressed(struct bytes *bytes, int64_t offset, struct stop *stop, struct error *error)
{
    struct bytes_place begin = {0};
    enum status status = STATUS_OK;

    if (bytes->kind == BYTES_ZSTD && bytes->raw.file.seekable && offset > 0)
        status = frame_locate(&bytes->raw, stop, offset, &begin, error);
    if (status != STATUS_OK)
        return status;
    if (bytes->raw.file.seekable && bytes->raw.file.threads > 0) {
        status = parallel_open(&bytes->raw, bytes->kind, begin, &bytes->parallel, error);
    } else {
        status = decoder_open(&bytes->decoder, &bytes->raw, bytes->kind,
                              memory_decoders(&bytes->raw, bytes->kind) - DECODER_MEMORY, error);
        if (status == STATUS_OK)
            decoder_seek(&bytes->decoder, begin.file, -1);
    }
    return status == STATUS_OK ? bytes_drop(bytes, stop, offset - begin.text, error) : status;
}

enum status bytes_open(const struct bytes_file *file, int64_t offset, struct stop *stop, struct bytes **result,
                       struct error *error)
{
    struct bytes *bytes = calloc(1, sizeof *bytes);
    enum status status;

    if (bytes == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    bytes->raw.file = *file;
    status = raw_recognise(&bytes->raw, stop, &bytes->kind, error);
    if (status == STATUS_OK && bytes->kind != BYTES_PLAIN)
        status = bytes_open_compressed(bytes, offset, stop, error);
    else if (status == STATUS_OK && file->seekable)
        bytes->offset = offset;
    else if (status == STATUS_OK)
        status = bytes_drop(bytes, stop, offset, error);
    if (status != STATUS_OK) {
        bytes_close(bytes);
        return status;
    }
    *result = bytes;
    return STATUS_OK;
}

void bytes_close(struct bytes *bytes)
{
    if (bytes == NULL)
        return;
    parallel_close(bytes->parallel);
    decoder_close(&bytes->decoder);
    free(bytes->kept);
    free(bytes);
}

/* ---- What is known of it ---- */

bool bytes_ready(const struct bytes *bytes)
{
    return bytes->kind == BYTES_PLAIN && !bytes->raw.file.seekable && raw_ready(&bytes->raw);
}

bool bytes_frame(const struct bytes *bytes, struct bytes_place *place)
{
    return bytes->parallel != NULL && parallel_frame(bytes->parallel, place);
}

bool bytes_verified(const struct bytes *bytes)
{
    return bytes->verified;
}

enum bytes_kind bytes_kind(const struct bytes *bytes)
{
    return bytes->kind;
}

int64_t bytes_position(struct bytes *bytes)
{
    if (bytes->kind == BYTES_PLAIN)
        return bytes->offset;
    if (bytes->kept != NULL && bytes->kept_at < bytes->kept_size)
        return (int64_t)((double)bytes->raw.file.size * (double)bytes->kept_at / (double)bytes->kept_size);
    if (bytes->kept != NULL)
        return bytes->raw.file.size;
    return bytes->parallel != NULL ? parallel_position(bytes->parallel) : decoder_position(&bytes->decoder);
}

int64_t bytes_taken(const struct bytes *bytes)
{
    return atomic_load_explicit(&((struct bytes *)bytes)->raw.taken, memory_order_relaxed);
}
