/* gzip, by ISA-L. */
#include "readers/bytes_private.h"

#include <stdlib.h>

#include <isa-l/igzip_lib.h>

static enum status gzip_create(struct decoder *decoder, struct error *error)
{
    decoder->state = malloc(sizeof(struct inflate_state));
    return decoder->state != NULL ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory");
}

static void gzip_free(struct decoder *decoder)
{
    free(decoder->state);
}

/* Zeros fill up the last block of a tape; nothing else may follow them. */
static enum status gzip_padding(struct decoder *decoder, struct stop *stop, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && decoder->at < decoder->size && decoder->in[decoder->at] == 0) {
        decoder->at++;
        status = decoder_want(decoder, stop, 1, error);
    }
    return status;
}

static enum status gzip_begin(struct decoder *decoder, struct stop *stop, bool *end, struct error *error)
{
    struct inflate_state *state = decoder->state;
    bool first = decoder_position(decoder) == 0, padded = false;
    enum status status = decoder_want(decoder, stop, 2, error);

    if (status == STATUS_OK && !first && decoder->at < decoder->size && decoder->in[decoder->at] == 0) {
        padded = true;
        status = gzip_padding(decoder, stop, error);
    }
    if (status != STATUS_OK)
        return status;
    *end = decoder->at == decoder->size;
    if (*end)
        return STATUS_OK;
    /* Half a magic number is a member that is cut off: the decompressor finds that out. */
    if (padded || decoder->in[decoder->at] != 0x1f ||
        (decoder->size - decoder->at > 1 && decoder->in[decoder->at + 1] != 0x8b))
        return raw_error(
            decoder->raw, decoder_position(decoder), error,
            "what follows the end of the gzip data is no gzip. Is it part of the input? Cut it off, or get "
            "the whole of it anew");
    isal_inflate_init(state);
    state->crc_flag = ISAL_GZIP;
    return STATUS_OK;
}

static const char *problem_text(int code)
{
    switch (code) {
    case ISAL_INCORRECT_CHECKSUM: return "the checksum or the length at the end of the gzip data is wrong";
    case ISAL_INVALID_WRAPPER: return "the header of the gzip data is corrupt";
    case ISAL_UNSUPPORTED_METHOD: return "the gzip data is compressed by an unknown method";
    default: return "the gzip data is corrupt";
    }
}

static enum status gzip_step(struct decoder *decoder, char *to, size_t room, size_t *got, bool *unit_end,
                             struct error *error)
{
    struct inflate_state *state = decoder->state;
    uint32_t most = room < UINT32_MAX / 2 ? (uint32_t)room : UINT32_MAX / 2;
    int code;

    state->next_in = decoder->in + decoder->at;
    state->avail_in = (uint32_t)(decoder->size - decoder->at);
    state->next_out = (uint8_t *)to;
    state->avail_out = most;
    code = isal_inflate(state);
    if (code < 0 || code == ISAL_NEED_DICT)
        return raw_error(decoder->raw, decoder_position(decoder), error, "%s: get the input anew", problem_text(code));
    decoder->at = decoder->size - state->avail_in;
    *got = most - state->avail_out;
    *unit_end = state->block_state == ISAL_BLOCK_FINISH;
    return STATUS_OK;
}

const struct codec gzip_codec = {
    .create = gzip_create,
    .free = gzip_free,
    .begin = gzip_begin,
    .step = gzip_step,
};
