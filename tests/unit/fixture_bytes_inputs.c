#include "fixture_bytes.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

void put(struct buffer *buffer, const void *text, size_t size)
{
    if (buffer->size + size > buffer->room) {
        buffer->room = (buffer->size + size) * 2;
        buffer->text = realloc(buffer->text, buffer->room);
        assert_non_null(buffer->text);
    }
    if (size > 0)
        memcpy(buffer->text + buffer->size, text, size);
    buffer->size += size;
}

void empty(struct buffer *buffer)
{
    free(buffer->text);
    *buffer = (struct buffer){0};
}

void put_text(struct buffer *text, size_t size)
{
    char row[64];
    size_t from = text->size;

    while (text->size - from < size) {
        int row_size = snprintf(row, sizeof row, "2024-03-01 %02u:%02u:00,%u,host_%u\n", chance() % 24, chance() % 60,
                                chance(), chance() % 10);
        size_t left = size - (text->size - from);

        put(text, row, (size_t)row_size < left ? (size_t)row_size : left);
    }
}

void put_zstd(struct buffer *file, const char *text, size_t size, int flags)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(size);
    char *to = malloc(room);
    ZSTD_inBuffer in = {text, size, 0};
    ZSTD_outBuffer out = {to, room, 0};

    assert_non_null(to);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, (flags & CHECKED) != 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, (flags & SIZED) != 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, (flags & FAST) != 0 ? -5 : 3);
    if ((flags & LONG) != 0)
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
    if ((flags & SIZED) != 0)
        ZSTD_CCtx_setPledgedSrcSize(context, size);
    else
        ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
    assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    put(file, to, out.pos);
    free(to);
    ZSTD_freeCCtx(context);
}

static void put_skippable(struct buffer *file, uint32_t size)
{
    char header[8] = {0x5a, 0x2a, 0x4d, 0x18, (char)size, (char)(size >> 8), (char)(size >> 16), 0};

    put(file, header, sizeof header);
    for (uint32_t i = 0; i < size; i++)
        put(file, "(", 1);
}

void put_gzip(struct buffer *file, const char *text, size_t size)
{
    struct isal_zstream *stream = malloc(sizeof *stream);
    size_t room = size + size / 8 + 1000;
    char *to = malloc(room);

    assert_non_null(stream);
    isal_deflate_init(stream);
    stream->gzip_flag = IGZIP_GZIP;
    stream->end_of_stream = 1;
    stream->next_in = (uint8_t *)(uintptr_t)text;
    stream->avail_in = (uint32_t)size;
    stream->next_out = (uint8_t *)to;
    stream->avail_out = (uint32_t)room;
    assert_int_equal(isal_deflate(stream), COMP_OK);
    assert_int_equal(stream->avail_in, 0);
    put(file, to, room - stream->avail_out);
    free(to);
    free(stream);
}

static void end_unit(struct sort *sort)
{
    sort->file_ends[sort->unit_count] = sort->file.size;
    sort->text_ends[sort->unit_count++] = sort->text.size;
}

static void add_unit(struct sort *sort, size_t size, int flags)
{
    size_t from = sort->text.size;

    put_text(&sort->text, size);
    if (sort->kind == BYTES_GZIP)
        put_gzip(&sort->file, sort->text.text + from, size);
    else if (sort->kind == BYTES_ZSTD)
        put_zstd(&sort->file, sort->text.text + from, size, flags);
    else
        put(&sort->file, sort->text.text + from, size);
    end_unit(sort);
}

void make_sort(struct sort *sort, int number, size_t size)
{
    static const int flags[] = {0, SIZED, CHECKED, SIZED | CHECKED};

    *sort = (struct sort){.kind = number < 1 ? BYTES_PLAIN : number < 4 ? BYTES_GZIP : BYTES_ZSTD};
    switch (number) {
    case 0: /* plain */
    case 1: /* one member */ add_unit(sort, size, 0); break;
    case 2: /* members, of which one is empty */
        add_unit(sort, size / 2, 0);
        add_unit(sort, 0, 0);
        add_unit(sort, size / 2, 0);
        break;
    case 3: /* an empty one */ add_unit(sort, 0, 0); break;
    case 4:
    case 5:
    case 6:
    case 7: /* one frame */ add_unit(sort, size, flags[number - 4]); break;
    case 8: /* many frames with their sizes, one empty, one of a byte */
        add_unit(sort, size / 2, SIZED | CHECKED);
        add_unit(sort, 0, SIZED | CHECKED);
        add_unit(sort, size / 4, SIZED);
        add_unit(sort, 1, SIZED | CHECKED);
        add_unit(sort, size / 4, SIZED | CHECKED);
        break;
    case 9: /* frames with and without */
        add_unit(sort, size / 3, SIZED);
        add_unit(sort, size / 3, CHECKED);
        add_unit(sort, size / 3, SIZED | CHECKED);
        break;
    case 10: /* skippable ones before, between and behind, as pzstd makes them */
        put_skippable(&sort->file, 4);
        add_unit(sort, size / 2, SIZED | CHECKED);
        put_skippable(&sort->file, 0);
        put_skippable(&sort->file, 300);
        end_unit(sort);
        add_unit(sort, size / 2, CHECKED);
        put_skippable(&sort->file, 17);
        end_unit(sort);
        break;
    default: /* an empty frame */ add_unit(sort, 0, SIZED | CHECKED); break;
    }
}

void free_sort(struct sort *sort)
{
    empty(&sort->file);
    empty(&sort->text);
}
