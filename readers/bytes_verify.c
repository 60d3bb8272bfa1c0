/* Verifying a compressed file before anything of it is given. */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/log.h"
#include "readers/bytes_private.h"

/* Text is read, and kept, so much at a time: what is only verified stays in the cache. */
#define STEP ((size_t)256 << 10)
#define GZIP_LENGTH_SIZE 4

/* What a look at the headers says. */
struct outlook {
    bool enough;        /* nothing would be learnt by decompressing it first */
    bool held;          /* each frame is verified before any of it is given */
    int64_t text_least; /* as far as it is told */
};

/* Frames up to the first that must be decompressed first; with a checksum its blocks are not even walked through. */
static enum status look_at_frames(struct bytes *bytes, struct stop *stop, struct outlook *outlook, struct error *error)
{
    const int64_t ring = bytes->parallel != NULL ? parallel_ring_size(bytes->parallel) : -1;
    int64_t offset = 0;
    enum status status;
    struct frame frame;
    bool none;

    outlook->held = true;
    while ((status = frame_find(&bytes->raw, stop, offset, 0, &frame, &none, error)) == STATUS_OK && !none) {
        bool held = frame.text >= 0 && frame.text <= ring;

        outlook->text_least += frame.text > 0 ? frame.text : 0;
        if (frame.checked && !held)
            return STATUS_OK;
        status = frame_find(&bytes->raw, stop, offset, INT64_MAX, &frame, &none, error);
        if (status != STATUS_OK || frame.until < 0)
            return status;
        outlook->held &= held;
        offset = frame.until;
    }
    outlook->enough = status == STATUS_OK;
    return status;
}

/* The last member tells its length at its end, modulo 2^32. A wrong one does not matter: it is verified. */
static enum status look_at_end(struct bytes *bytes, struct stop *stop, struct outlook *outlook, struct error *error)
{
    int64_t offset = bytes->raw.file.size - GZIP_LENGTH_SIZE;
    unsigned char text[GZIP_LENGTH_SIZE];
    size_t got = 0;
    enum status status = STATUS_OK;

    if (offset >= 0)
        status = raw_read(&bytes->raw, stop, offset, text, sizeof text, &got, error);
    if (status == STATUS_OK && got == sizeof text)
        outlook->text_least = text[0] | text[1] << 8 | text[2] << 16 | (int64_t)text[3] << 24;
    return status;
}

static enum status look(struct bytes *bytes, struct stop *stop, struct outlook *outlook, struct error *error)
{
    enum status status = STATUS_OK;

    *outlook = (struct outlook){.enough = bytes->kind == BYTES_PLAIN};
    if (bytes->kind == BYTES_ZSTD)
        status = look_at_frames(bytes, stop, outlook, error);
    else if (bytes->kind == BYTES_GZIP)
        status = look_at_end(bytes, stop, outlook, error);
    /* What has no sense in it is not compressed. */
    if (outlook->text_least < bytes->raw.file.size)
        outlook->text_least = bytes->raw.file.size;
    return status;
}

/* ---- Decompressing all of it ---- */

static void close_decoders(struct bytes *bytes)
{
    parallel_close(bytes->parallel);
    bytes->parallel = NULL;
    decoder_close(&bytes->decoder);
    bytes->held = false;
    bytes->spare_at = bytes->spare_size = 0;
}

/* One thread that decompresses for another one that drops it costs more than this one alone. */
static enum status go_alone(struct bytes *bytes, struct error *error)
{
    int64_t window_max = memory_decoders(&bytes->raw, bytes->kind) - DECODER_MEMORY;
    enum status status;

    if (bytes->parallel == NULL || parallel_threads(bytes->parallel) > 1)
        return STATUS_OK;
    close_decoders(bytes);
    status = decoder_open(&bytes->decoder, &bytes->raw, bytes->kind, window_max, error);
    if (status == STATUS_OK)
        decoder_seek(&bytes->decoder, 0, -1);
    return status;
}

/* Reads on to the end; `buffer` is of use only to be written into. */
static enum status read_through(struct bytes *bytes, struct stop *stop, char *buffer, struct error *error)
{
    enum status status = STATUS_OK;
    size_t got = 1;

    log_line(LOG_NOTICE, "%s: verifying its checksums before its rows are used", bytes->raw.file.name);
    while (status == STATUS_OK && got > 0)
        status = bytes_read(bytes, stop, buffer, STEP, &got, error);
    return status;
}

/* Whether another step of text can be kept beside what decompressing takes. */
static bool has_room(struct bytes *bytes, size_t used)
{
    const struct raw *raw = &bytes->raw;
    int64_t taken = bytes->parallel != NULL ? parallel_memory(bytes->parallel) : memory_decoders(raw, bytes->kind);

    return (int64_t)(used + STEP) + taken <= bytes_memory(bytes->kind, raw->file.memory_bytes);
}

/* Reads into `kept`, to the end or as far as there is room; memory that has no text yet is only an address. */
static enum status read_kept(struct bytes *bytes, struct stop *stop, char *kept, size_t *used, bool *end,
                             struct error *error)
{
    enum status status = STATUS_OK;
    size_t got = 1;

    for (*used = 0; status == STATUS_OK && got > 0 && has_room(bytes, *used); *used += got)
        status = bytes_read(bytes, stop, kept + *used, STEP, &got, error);
    *end = got == 0;
    return status;
}

/* All was read: it is given from memory, or decompressed again. */
static enum status begin_again(struct bytes *bytes, int64_t offset, struct stop *stop, char *kept, size_t kept_size,
                               struct error *error)
{
    close_decoders(bytes);
    bytes->verified = true;
    bytes->kept = kept;
    bytes->kept_size = kept_size;
    if (kept != NULL)
        return bytes_drop(bytes, stop, offset, error);
    atomic_store(&bytes->raw.taken, 0);
    return bytes_open_compressed(bytes, offset, stop, error);
}

static enum status decompress_first(struct bytes *bytes, int64_t offset, bool keeps, struct stop *stop,
                                    struct error *error)
{
    const size_t memory = keeps ? (size_t)bytes_memory(bytes->kind, bytes->raw.file.memory_bytes) : STEP;
    char *kept = malloc(memory > STEP ? memory : STEP);
    enum status status = STATUS_OK;
    bool end = false;
    size_t used = 0;

    if (kept == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = keeps ? read_kept(bytes, stop, kept, &used, &end, error) : go_alone(bytes, error);
    if (status == STATUS_OK && !end)
        status = read_through(bytes, stop, kept, error);
    if (status != STATUS_OK || !end) {
        free(kept);
        kept = NULL;
    }
    return status == STATUS_OK ? begin_again(bytes, offset, stop, kept, used, error) : status;
}

enum status bytes_verify(struct bytes *bytes, int64_t offset, struct stop *stop, struct error *error)
{
    struct outlook outlook;
    enum status status = look(bytes, stop, &outlook, error);

    if (status != STATUS_OK)
        return status;
    bytes->verified = outlook.enough && outlook.held;
    if (outlook.enough)
        return bytes_drop(bytes, stop, offset, error);
    return decompress_first(bytes, offset,
                            outlook.text_least <= bytes_memory(bytes->kind, bytes->raw.file.memory_bytes), stop, error);
}
