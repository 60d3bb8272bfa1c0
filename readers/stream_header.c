/* Names of the header, by libcsv. */
#include <csv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers/stream_private.h"

enum status stream_header_error(const struct stream_source *source, struct error *error, const char *text)
{
    snprintf(error->input, sizeof error->input, "%s", source->name);
    error->line = 1 + source->header_lines;
    error->offset = source->header_end;
    return error_set(error, STATUS_DATA, "the %s: %s", source->dialect.header ? "header" : "first record", text);
}

struct names {
    char **names;
    int count, room;
    bool failed; /* out of memory */
};

static void names_add(void *text, size_t size, void *opaque)
{
    struct names *names = opaque;
    char *name = strndup(text != NULL ? text : "", size);

    if (names->count == names->room) {
        int room = names->room > 0 ? names->room * 2 : 32;
        char **larger = realloc(names->names, (size_t)room * sizeof *larger);

        if (larger != NULL) {
            names->names = larger;
            names->room = room;
        }
    }
    if (name == NULL || names->count == names->room) {
        names->failed = true;
        free(name);
        return;
    }
    names->names[names->count++] = name;
}

/* COPY keeps blanks around fields, libcsv drops them. */
static int no_space(unsigned char c)
{
    (void)c;
    return 0;
}

static enum status header_parse(struct stream_source *source, const char *text, size_t size, struct error *error)
{
    struct names names = {0};
    struct csv_parser parser;
    size_t done;

    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    csv_set_delim(&parser, (unsigned char)source->dialect.delimiter);
    csv_set_quote(&parser, (unsigned char)source->dialect.quote);
    if (!source->dialect.trim)
        csv_set_space_func(&parser, no_space);
    done = csv_parse(&parser, text, size, names_add, NULL, &names);
    if (done == size && csv_fini(&parser, names_add, NULL, &names) != 0)
        done = 0;
    csv_free(&parser);
    source->header = names.names;
    source->header_count = names.count;
    if (names.failed)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (done != size)
        return stream_header_error(source, error,
                                   "a quote stands inside of a name: double it, and quote the whole name");
    return STATUS_OK;
}

static enum status header_check(const struct stream_source *source, struct error *error)
{
    char text[256];

    /* A blank line is nothing to libcsv, but a record to the server. */
    if (source->header_count == 0)
        return stream_header_error(source, error, "field 1 has no name");
    for (int i = 0; i < source->header_count; i++) {
        if (source->header[i][0] == '\0') {
            snprintf(text, sizeof text, "field %d has no name", i + 1);
            return stream_header_error(source, error, text);
        }
        for (int j = 0; j < i; j++)
            if (strcmp(source->header[i], source->header[j]) == 0) {
                snprintf(text, sizeof text, "fields %d and %d have the same name \"%.100s\"", j + 1, i + 1,
                         source->header[i]);
                return stream_header_error(source, error, text);
            }
    }
    return STATUS_OK;
}

enum status stream_header_read(struct stream_source *source, const char *text, size_t size, struct error *error)
{
    enum status status = header_parse(source, text, size, error);

    if (status == STATUS_OK)
        status = header_check(source, error);
    return status;
}
