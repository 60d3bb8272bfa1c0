/* The head: as much of the input as holds its first record. */
#include <stdlib.h>
#include <string.h>

#include "readers/stream_private.h"

#define HEAD_STEP ((size_t)64 << 10)
/* The first record must end within this, if there is no --memory yet to tell more. */
#define HEAD_MAX ((size_t)16 << 20)
#define BOM "\xef\xbb\xbf"

enum status stream_head_read(struct stream_source *source, struct error *error)
{
    size_t *room = &source->head_room;
    enum status status;
    size_t got;

    if (*room - source->head_size < HEAD_STEP) {
        size_t larger = *room > 0 ? *room * 2 : HEAD_STEP;
        char *head = realloc(source->head, larger);

        if (head == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory");
        source->head = head;
        *room = larger;
    }
    status = bytes_read(source->bytes, source->stop, source->head + source->head_size, *room - source->head_size, &got,
                        error);
    if (status == STATUS_OK && got == 0 && source->at_end != NULL)
        status = source->at_end(source->command, error);
    if (status != STATUS_OK)
        return status;
    source->head_size += got;
    source->head_last = got == 0;
    return STATUS_OK;
}

/* Whether so much was read that there is no sense in reading more. */
static enum status head_check(const struct stream_source *source, bool *enough, struct error *error)
{
    size_t most = source->memory_bytes > 0 ? (size_t)source->memory_bytes / 4 : HEAD_MAX;

    *enough = source->head_size > most;
    if (!*enough || !source->dialect.header)
        return STATUS_OK;
    return stream_header_error(source, error, "it does not end within the memory for it; is a quote not closed?");
}

/* Behind a line of --skip-lines; 0: it does not end in what there is. Its line end is any. */
static size_t line_size(const struct stream_source *source, size_t at)
{
    const char *text = source->head + at;
    size_t rest = source->head_size - at, size = 0;

    while (size < rest && text[size] != '\n' && text[size] != '\r')
        size++;
    if (size == rest || (text[size] == '\r' && size + 1 == rest && !source->head_last))
        return source->head_last ? rest : 0;
    return size + 1 + (text[size] == '\r' && size + 1 < rest && text[size + 1] == '\n');
}

/* Goes on to the first record; false if that begins behind what there is. */
static bool head_advance(const struct stream_source *source, struct cutter *cutter, struct head_place *place)
{
    size_t size;
    int64_t lines;

    for (; place->skipped < source->dialect.skip_lines && place->at < source->head_size; place->skipped++) {
        size = line_size(source, place->at);
        if (size == 0)
            return false;
        place->at += size;
        place->lines++;
    }
    while (place->at < source->head_size && cutter_is_comment(cutter, source->head + place->at)) {
        cutter_forget(cutter);
        if (cutter_cut(cutter, source->head + place->at, source->head_size - place->at, source->head_last, &size,
                       &lines) != CUT_RECORD)
            return false;
        place->at += size;
        place->lines += lines;
    }
    return place->at < source->head_size;
}

enum status stream_head_fill(struct stream_source *source, struct head_place *place, size_t *size, int64_t *lines,
                             struct error *error)
{
    enum cut cut = CUT_MORE;
    enum status status;
    struct cutter cutter;
    bool bom_seen = false, enough = false, peeked = source->head_size > 0 || source->head_last;

    *size = 0;
    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    cutter.comment = source->dialect.comment;
    while (cut == CUT_MORE && !enough) {
        status = peeked ? STATUS_OK : stream_head_read(source, error);
        if (status != STATUS_OK)
            return status;
        peeked = false;
        if (source->head_size < sizeof BOM - 1 && !source->head_last)
            continue;
        if (!bom_seen && source->head_size >= sizeof BOM - 1 && memcmp(source->head, BOM, sizeof BOM - 1) == 0)
            place->at = sizeof BOM - 1;
        bom_seen = true;
        if (head_advance(source, &cutter, place))
            cut = cutter_cut(&cutter, source->head + place->at, source->head_size - place->at, source->head_last, size,
                             lines);
        else if (source->head_last)
            return STATUS_OK;
        source->header_end = (int64_t)place->at;
        source->header_lines = place->lines;
        cutter_forget(&cutter);
        /* A record of rows is the run's to judge. */
        if (cut == CUT_MORE && (status = head_check(source, &enough, error)) != STATUS_OK)
            return status;
    }
    if (enough)
        return STATUS_OK;
    source->line_end = cutter.line_end;
    /* A bad record that has an end is the run's to judge, which may reject it. */
    if (cut == CUT_RECORD || (cut == CUT_BAD && *size > 0 && !source->dialect.header))
        return STATUS_OK;
    return stream_header_error(source, error, cutter.problem);
}
