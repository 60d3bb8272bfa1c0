/* Stream inputs, from being opened to being closed. */
#include "readers/stream.h"

#include <stdlib.h>
#include <unistd.h>

#include "readers/record.h"
#include "readers/stream_private.h"

/* Only the text that the head needs is decompressed here. */
static enum status source_open_bytes(struct stream_source *source, struct error *error)
{
    struct bytes_file file = {
        .fd = source->fd,
        .name = source->name,
        .seekable = source->seekable,
        .size = source->size,
        .memory_bytes = source->memory_bytes,
    };
    enum status status = bytes_open(&file, 0, source->stop, &source->bytes, error);

    if (status == STATUS_OK)
        source->kind = bytes_kind(source->bytes);
    return status;
}

enum status stream_peek(struct stream_source *source, size_t size, struct error *error)
{
    enum status status = stream_open_file(source, error);

    if (status == STATUS_OK)
        status = source_open_bytes(source, error);
    while (status == STATUS_OK && source->head_size < size && !source->head_last)
        status = stream_head_read(source, error);
    return status;
}

/* The file, if that was not peeked at, and its head. What can be read again is closed. */
static enum status open_head(struct stream_source *source, struct head_place *place, size_t *size, int64_t *lines,
                             struct error *error)
{
    enum status status = STATUS_OK;

    if (source->bytes == NULL)
        status = stream_open_file(source, error);
    if (status == STATUS_OK && source->bytes == NULL)
        status = source_open_bytes(source, error);
    if (status == STATUS_OK)
        status = stream_head_fill(source, place, size, lines, error);
    if (source->bytes != NULL) {
        source->head_position = bytes_position(source->bytes);
        source->head_text = (int64_t)source->head_size;
    }
    if (source->seekable) {
        bytes_close(source->bytes);
        source->bytes = NULL;
    }
    return status;
}

enum status stream_open(struct stream_source *source, struct error *error)
{
    struct head_place place = {0};
    size_t size = 0;
    int64_t lines = 0;
    enum status status = open_head(source, &place, &size, &lines, error);

    if (status != STATUS_OK)
        return status;
    source->header_end = (int64_t)place.at;
    source->header_lines = place.lines;
    if (source->dialect.header) {
        const char *text = source->head + place.at;

        if (size == 0)
            return stream_header_error(source, error, "there is none: the input is empty");
        status = stream_header_read(source, text, record_text_size(text, size), error);
        source->header_end = (int64_t)(place.at + size);
        source->header_lines = place.lines + lines;
    }
    /* A file can be read again; of many files the heads would be a lot. */
    if (source->seekable)
        stream_drop_head(source);
    return status;
}

void stream_drop_head(struct stream_source *source)
{
    bytes_close(source->bytes);
    source->bytes = NULL;
    free(source->head);
    source->head = NULL;
    source->head_size = source->head_room = 0;
    source->head_last = false;
}

void stream_reset(struct stream_source *source)
{
    for (int i = 0; i < source->header_count; i++)
        free(source->header[i]);
    free(source->header);
    source->header = NULL;
    source->header_count = 0;
    stream_drop_head(source);
    if (source->fd > STDIN_FILENO && source->at_end == NULL)
        close(source->fd);
    source->fd = -1;
}

int64_t stream_memory(const struct stream_source *source)
{
    return bytes_memory(source->kind, source->memory_bytes / (source->readers > 1 ? source->readers : 1));
}
