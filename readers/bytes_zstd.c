/* zstd, frame by frame. */
#include "readers/bytes_private.h"

#include <inttypes.h>

#include <zstd.h>

/* What a window may be is decided by the memory, not by zstd's own limit of 128 MiB. */
#define WINDOW_LOG_MAX 31

static enum status zstd_create(struct decoder *decoder, struct error *error)
{
    decoder->state = ZSTD_createDCtx();
    if (decoder->state == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(decoder->state, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        return error_set(error, STATUS_SYSTEM, "out of memory");
    return STATUS_OK;
}

static void zstd_free(struct decoder *decoder)
{
    ZSTD_freeDCtx(decoder->state);
}

static enum status frame_check(const struct decoder *decoder, const struct frame *frame, struct error *error)
{
    const int64_t sharers = decoder->raw->file.sharers > 1 ? decoder->raw->file.sharers : 1;

    if (frame->dictionary)
        return raw_error(decoder->raw, frame->from, error,
                         "the zstd frame was compressed with a dictionary: decompress it with zstd -D DICTIONARY -dc "
                         "and give it through a pipe (--source -)");
    if (frame->window > decoder->window_max)
        return raw_error(
            decoder->raw, frame->from, error,
            "the zstd frame needs %" PRId64 " MB of memory to be decompressed: give --memory %" PRId64 "MB or more%s",
            (frame->window + (1 << 20) - 1) >> 20, sharers * ((memory_for_window(frame->window) + (1 << 20) - 1) >> 20),
            sharers > 1 ? ", or fewer --readers" : "");
    return STATUS_OK;
}

static enum status frame_skip(struct decoder *decoder, struct stop *stop, const struct frame *frame,
                              struct error *error)
{
    int64_t left = frame->until - frame->from;
    enum status status = decoder_skip(decoder, stop, &left, error);

    if (status != STATUS_OK || left == 0)
        return status;
    return raw_error(decoder->raw, decoder_position(decoder), error,
                     "it ends here, in the middle of a skippable zstd frame. It was cut off: get the whole of it");
}

static enum status zstd_begin(struct decoder *decoder, struct stop *stop, bool *end, struct error *error)
{
    struct frame frame;
    enum header header;
    enum status status;

    while ((status = decoder_want(decoder, stop, FRAME_HEADER_MAX, error)) == STATUS_OK) {
        *end = decoder->at == decoder->size;
        if (*end)
            break;
        header =
            frame_header(decoder->in + decoder->at, decoder->size - decoder->at, decoder_position(decoder), &frame);
        if (header == HEADER_FOREIGN)
            return raw_error(decoder->raw, decoder_position(decoder), error,
                             "here should be a zstd frame, and is something else. Is it part of the input? Cut it off, "
                             "or get the whole of it anew");
        /* A header that is cut off is left to the decompressor. */
        if (header == HEADER_SHORT || !frame.skippable) {
            if (ZSTD_isError(ZSTD_DCtx_reset(decoder->state, ZSTD_reset_session_only)))
                return error_set(error, STATUS_SYSTEM, "cannot reset zstd");
            return header == HEADER_SHORT ? STATUS_OK : frame_check(decoder, &frame, error);
        }
        status = frame_skip(decoder, stop, &frame, error);
        if (status != STATUS_OK)
            break;
    }
    return status;
}

static enum status zstd_step(struct decoder *decoder, char *to, size_t room, size_t *got, bool *unit_end,
                             struct error *error)
{
    ZSTD_inBuffer in = {decoder->in, decoder->size, decoder->at};
    ZSTD_outBuffer out = {to, room, 0};
    size_t left = ZSTD_decompressStream(decoder->state, &out, &in);

    if (ZSTD_isError(left))
        return raw_error(decoder->raw, decoder_position(decoder), error,
                         "the zstd frame is corrupt (%s): get the input anew", ZSTD_getErrorName(left));
    decoder->at = in.pos;
    *got = out.pos;
    *unit_end = left == 0;
    return STATUS_OK;
}

const struct codec zstd_codec = {
    .create = zstd_create,
    .free = zstd_free,
    .begin = zstd_begin,
    .step = zstd_step,
};
