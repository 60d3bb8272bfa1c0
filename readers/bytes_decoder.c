/* One stretch of the input, decompressed in the calling thread. */
#include "readers/bytes_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IN_SIZE ((size_t)128 << 10)

enum status decoder_open(struct decoder *decoder, struct raw *raw, enum bytes_kind kind, int64_t most,
                         struct error *error)
{
    enum status status;

    *decoder = (struct decoder){
        .codec = kind == BYTES_GZIP ? &gzip_codec : &zstd_codec,
        .raw = raw,
        .window_max = most,
        .in = malloc(IN_SIZE),
    };
    status =
        decoder->in != NULL ? decoder->codec->create(decoder, error) : error_set(error, STATUS_SYSTEM, "out of memory");
    if (status != STATUS_OK)
        decoder_close(decoder);
    return status;
}

void decoder_close(struct decoder *decoder)
{
    if (decoder->codec != NULL)
        decoder->codec->free(decoder);
    free(decoder->in);
    *decoder = (struct decoder){0};
}

void decoder_seek(struct decoder *decoder, int64_t offset, int64_t until)
{
    decoder->until = until;
    decoder->at = decoder->size = 0;
    decoder->offset = offset;
    decoder->last = decoder->within = false;
}

int64_t decoder_position(const struct decoder *decoder)
{
    return decoder->offset - (int64_t)(decoder->size - decoder->at);
}

/* One read behind what is there. */
static enum status decoder_fill(struct decoder *decoder, struct stop *stop, struct error *error)
{
    size_t got, room = IN_SIZE;
    enum status status;

    if (decoder->at > 0) {
        memmove(decoder->in, decoder->in + decoder->at, decoder->size - decoder->at);
        decoder->size -= decoder->at;
        decoder->at = 0;
    }
    assert(decoder->size < IN_SIZE);
    room -= decoder->size;
    if (decoder->until >= 0 && (int64_t)room > decoder->until - decoder->offset)
        room = (size_t)(decoder->until - decoder->offset);
    status = raw_read(decoder->raw, stop, decoder->offset, decoder->in + decoder->size, room, &got, error);
    if (status != STATUS_OK)
        return status;
    decoder->size += got;
    decoder->offset += (int64_t)got;
    decoder->last = got == 0;
    return STATUS_OK;
}

enum status decoder_want(struct decoder *decoder, struct stop *stop, size_t want, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && decoder->size - decoder->at < want && !decoder->last)
        status = decoder_fill(decoder, stop, error);
    return status;
}

enum status decoder_skip(struct decoder *decoder, struct stop *stop, int64_t *size, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && *size > 0) {
        int64_t there = (int64_t)(decoder->size - decoder->at), step = there < *size ? there : *size;

        if (there == 0 && decoder->last)
            break;
        decoder->at += (size_t)step;
        *size -= step;
        if (*size > 0)
            status = decoder_fill(decoder, stop, error);
    }
    return status;
}

static enum status cut_off(const struct decoder *decoder, struct error *error)
{
    return raw_error(decoder->raw, decoder_position(decoder), error,
                     "it ends here, in the middle of compressed data. It was cut off: get the whole of it and begin a "
                     "new job, or if it is one that is still being written, wait for its end");
}

/* Steps until there is something. */
static enum status unit_step(struct decoder *decoder, struct stop *stop, char *to, size_t room, size_t *got,
                             bool *unit_end, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK) {
        size_t before = decoder->at;

        status = decoder->codec->step(decoder, to, room, got, unit_end, error);
        if (status != STATUS_OK || *got > 0 || *unit_end)
            return status;
        if (decoder->at == decoder->size && decoder->last)
            return cut_off(decoder, error);
        if (decoder->at == decoder->size)
            status = decoder_fill(decoder, stop, error);
        else if (decoder->at == before)
            return raw_error(decoder->raw, decoder_position(decoder), error, "the compressed data is corrupt");
    }
    return status;
}

enum status decoder_step(struct decoder *decoder, struct stop *stop, char *to, size_t room, size_t *got,
                         enum decoded *decoded, struct error *error)
{
    bool end = false, unit_end = false;
    enum status status = STATUS_OK;

    *got = 0;
    *decoded = DECODED_END;
    if (!decoder->within)
        status = decoder->codec->begin(decoder, stop, &end, error);
    if (status != STATUS_OK || end)
        return status;
    decoder->within = true;
    status = unit_step(decoder, stop, to, room, got, &unit_end, error);
    decoder->within = !unit_end;
    *decoded = unit_end ? DECODED_UNIT : DECODED_SOME;
    return status;
}
