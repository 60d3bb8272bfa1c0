/*
 * For tests/integration/test_transcode.py: CSV records from standard input through the transcoder.
 *
 *     differential-transcode DELIMITER QUOTE ESCAPE xNULL ZONE COLUMN …
 *
 * The dialect's bytes are numbers, NULL is in hexadecimal, ZONE is seconds east of Greenwich or "none"; a column is the
 * name of its base type, with "+n" behind it for FORCE_NULL and "+N" for FORCE_NOT_NULL. Prints for each record its
 * size and that of its row, 0 if it was refused, as two native 32-bit numbers, and then the row. What cannot be cut
 * ends it with status 1.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers/cutter.h"
#include "writers/transcode.h"

#define COLUMNS_MAX 64

static struct transcoder_column columns[COLUMNS_MAX];

static char *read_all(size_t *size)
{
    size_t room = (size_t)1 << 20, got;
    char *text = malloc(room);

    for (*size = 0; text != NULL && (got = fread(text + *size, 1, room - *size, stdin)) > 0;) {
        *size += got;
        if (*size == room)
            text = realloc(text, room *= 2);
    }
    assert(text != NULL);
    return text;
}

static void read_columns(struct transcoder_spec *spec, char **names, int count)
{
    assert(count <= COLUMNS_MAX);
    for (int i = 0; i < count; i++) {
        char *flags = names[i], *base = strsep(&flags, "+");

        columns[i] = (struct transcoder_column){
            .name = base,
            .type = base,
            .base = base,
            .force_null = flags != NULL && strchr(flags, 'n') != NULL,
            .force_not_null = flags != NULL && strchr(flags, 'N') != NULL,
        };
    }
    spec->columns = columns;
    spec->column_count = count;
}

static void null_from_hex(char *text, const char *hex)
{
    unsigned byte;

    for (hex++; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        *text++ = (char)byte;
    *text = '\0';
}

static int convert(const struct transcoder_spec *spec, const struct transcoder *transcoder, const char *text,
                   size_t size)
{
    struct transcoder_rows rows = {0};
    struct cutter cutter;
    struct error error;
    int status = 0;

    error_reset(&error);
    cutter_init(&cutter, spec->quote, spec->escape);
    while (size > 0 && status == 0) {
        int64_t lines;
        size_t record = 0;
        uint32_t head[2];
        bool converted;

        rows.size = 0;
        if (cutter_cut(&cutter, text, size, true, &record, &lines) != CUT_RECORD && record == 0)
            status = 1;
        else if (transcoder_add(transcoder, text, record, &rows, &converted, &error) != STATUS_OK)
            status = 2;
        if (status != 0)
            break;
        assert(converted == (rows.size > 0));
        head[0] = (uint32_t)record;
        head[1] = (uint32_t)rows.size;
        fwrite(head, sizeof head, 1, stdout);
        fwrite(rows.data, 1, rows.size, stdout);
        text += record;
        size -= record;
    }
    transcoder_rows_reset(&rows);
    return status;
}

int main(int argc, char **argv)
{
    struct transcoder_spec spec = {0};
    struct transcoder *transcoder;
    struct error error;
    char null_text[64];
    size_t size;
    char *text;
    int status;

    if (argc < 7)
        return 2;
    spec.delimiter = (char)atol(argv[1]);
    spec.quote = (char)atol(argv[2]);
    spec.escape = (char)atol(argv[3]);
    null_from_hex(null_text, argv[4]);
    spec.null_text = null_text;
    spec.zone_given = strcmp(argv[5], "none") != 0;
    spec.zone_seconds = (int32_t)atol(argv[5]);
    read_columns(&spec, argv + 6, argc - 6);
    error_reset(&error);
    if (transcoder_create(&spec, &transcoder, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    text = read_all(&size);
    status = convert(&spec, transcoder, text, size);
    free(text);
    transcoder_free(transcoder);
    return status;
}
