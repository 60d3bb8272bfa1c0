/* zstd's frames, as their headers tell (RFC 8878, section 3.1). */
#include "readers/bytes_private.h"

#include <string.h>

#define MAGIC UINT32_C(0xFD2FB528)
#define SKIPPABLE UINT32_C(0x184D2A50)
#define BLOCK_HEADER 3
#define CHECKSUM_SIZE 4

static uint64_t little(const unsigned char *text, size_t size)
{
    uint64_t value = 0;

    while (size-- > 0)
        value = value << 8 | text[size];
    return value;
}

static int64_t window_of(unsigned char byte)
{
    int64_t base = INT64_C(1) << (10 + (byte >> 3));

    return base + base / 8 * (byte & 7);
}

/* The sizes of the header's fields follow from its descriptor. */
static enum header data_header(const unsigned char *text, size_t size, struct frame *frame)
{
    static const size_t dictionary_sizes[] = {0, 1, 2, 4}, text_sizes[] = {0, 2, 4, 8};
    unsigned char descriptor = size > 4 ? text[4] : 0;
    bool single = (descriptor & 0x20) != 0;
    size_t at = 5, dictionary = dictionary_sizes[descriptor & 3], sizes = text_sizes[descriptor >> 6];
    uint64_t value;

    if (single && sizes == 0)
        sizes = 1;
    if (size < 5 || size < 5 + (size_t)!single + dictionary + sizes)
        return HEADER_SHORT;
    if (!single)
        frame->window = window_of(text[at++]);
    frame->dictionary = little(text + at, dictionary) != 0;
    frame->checked = (descriptor & 4) != 0;
    at += dictionary;
    value = little(text + at, sizes) + (sizes == 2 ? 256 : 0);
    frame->text = sizes > 0 && value <= INT64_MAX / 4 ? (int64_t)value : -1;
    if (single)
        frame->window = frame->text >= 0 ? frame->text : INT64_MAX / 8;
    else if (frame->text >= 0 && frame->text < frame->window)
        frame->window = frame->text;
    frame->header_size = (int64_t)(at + sizes);
    return HEADER_GOOD;
}

enum header frame_header(const unsigned char *text, size_t size, int64_t offset, struct frame *frame)
{
    *frame = (struct frame){.from = offset, .until = -1, .text = -1};
    if (size < 4)
        return HEADER_SHORT;
    if (little(text, 4) == MAGIC)
        return data_header(text, size, frame);
    if ((little(text, 4) & UINT32_C(0xFFFFFFF0)) != SKIPPABLE)
        return HEADER_FOREIGN;
    if (size < 8)
        return HEADER_SHORT;
    frame->skippable = true;
    frame->header_size = 8;
    frame->until = offset + 8 + (int64_t)little(text + 4, 4);
    return HEADER_GOOD;
}

/* Reads `size` bytes, or what the file has of them. */
static enum status read_at(struct raw *raw, struct stop *stop, int64_t offset, unsigned char *to, size_t size,
                           size_t *got, struct error *error)
{
    enum status status = STATUS_OK;
    size_t more = 1;

    for (*got = 0; status == STATUS_OK && *got < size && more > 0; *got += more)
        status = raw_read(raw, stop, offset + (int64_t)*got, to + *got, size - *got, &more, error);
    return status;
}

/* Walks from block to block. */
static enum status frame_walk(struct raw *raw, struct stop *stop, int64_t most, struct frame *frame,
                              struct error *error)
{
    int64_t at = frame->from + frame->header_size;
    unsigned char text[BLOCK_HEADER];
    bool last = false;

    while (!last && at - frame->from <= most) {
        enum status status;
        uint64_t header;
        size_t got;

        status = read_at(raw, stop, at, text, sizeof text, &got, error);
        if (status != STATUS_OK || got < sizeof text)
            return status;
        header = little(text, sizeof text);
        last = (header & 1) != 0;
        /* A block of one byte that is repeated has that byte only; type 3 is none. */
        if ((header >> 1 & 3) == 3)
            return STATUS_OK;
        at += BLOCK_HEADER + ((header >> 1 & 3) == 1 ? 1 : (int64_t)(header >> 3));
    }
    at += frame->checked ? CHECKSUM_SIZE : 0;
    if (last && at <= raw->file.size)
        frame->until = at;
    return STATUS_OK;
}

enum status frame_find(struct raw *raw, struct stop *stop, int64_t offset, int64_t most, struct frame *frame,
                       bool *none, struct error *error)
{
    unsigned char text[FRAME_HEADER_MAX];

    for (;;) {
        size_t got;
        enum status status = read_at(raw, stop, offset, text, sizeof text, &got, error);

        *none = got == 0;
        if (status != STATUS_OK || *none)
            return status;
        if (frame_header(text, got, offset, frame) != HEADER_GOOD)
            return STATUS_OK;
        if (!frame->skippable)
            return frame_walk(raw, stop, most, frame, error);
        if (frame->until > raw->file.size) {
            frame->until = -1;
            return STATUS_OK;
        }
        offset = frame->until;
    }
}

enum status frame_locate(struct raw *raw, struct stop *stop, int64_t offset, struct bytes_place *place,
                         struct error *error)
{
    struct frame frame;
    bool none;

    *place = raw->file.known.text <= offset ? raw->file.known : (struct bytes_place){0};
    for (;;) {
        /* The header alone tells whether it lies before; only then all of its blocks are walked. */
        enum status status = frame_find(raw, stop, place->file, 0, &frame, &none, error);

        if (status != STATUS_OK || none || frame.text < 0 || place->text + frame.text > offset)
            return status;
        status = frame_find(raw, stop, place->file, INT64_MAX / 4, &frame, &none, error);
        if (status != STATUS_OK || frame.until < 0)
            return status;
        *place = (struct bytes_place){frame.until, place->text + frame.text};
    }
}
