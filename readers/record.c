/* The time of a record. */
#include "readers/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of a quoted time field, after which it cannot be a time anyway. */
#define FIELD_MAX 256
/* Of a wrong value, in a message. */
#define SHOWN_MAX 60

void record_times_init(struct record_times *times, const struct stream_source *source)
{
    *times = (struct record_times){.source = source, .null_size = strlen(source->dialect.null_text)};
}

/* The field of a record that has no quote. */
static bool plain_field(char delimiter, const char *record, size_t size, int index, struct csv_field *field)
{
    const char *at = record, *end = record + size, *stop;

    while (stop = memchr(at, delimiter, (size_t)(end - at)), index > 0) {
        if (stop == NULL)
            return false;
        at = stop + 1;
        index--;
    }
    *field = (struct csv_field){.text = at, .size = (size_t)((stop != NULL ? stop : end) - at)};
    return true;
}

static bool time_field(const struct record_times *times, const struct cutter *cutter, const char *record, size_t size,
                       char buffer[FIELD_MAX], struct csv_field *field)
{
    const struct stream_source *source = times->source;
    size_t text_size = record_text_size(record, size);

    if (cutter_plain(cutter, record + size))
        return plain_field(source->dialect.delimiter, record, text_size, source->time_index, field);
    return cutter_field(cutter, source->dialect.delimiter, record, text_size, source->time_index, buffer, FIELD_MAX,
                        field);
}

static bool field_is_null(const struct record_times *times, const struct csv_field *field)
{
    return !field->quoted && field->size == times->null_size &&
           memcmp(field->text, times->source->dialect.null_text, field->size) == 0;
}

/* Whether a record without a quote begins with the text that was read last: then there is nothing to find. */
static inline bool begins_the_same(const struct record_times *times, const char *record, size_t size)
{
    return times->text_size > 0 && times->text_size < size && memcmp(record, times->text, times->text_size + 1) == 0;
}

/* NULL is never kept: it is the same text only where it is not quoted. */
static void keep(struct record_times *times, const struct csv_field *field, int64_t value)
{
    if (field->size >= sizeof times->text || field->size == times->null_size)
        return;
    memcpy(times->text, field->text, field->size);
    times->text[field->size] = times->source->dialect.delimiter;
    times->text_size = field->size;
    times->value = value;
}

/* Kept out of record_time, which would save registers for it on each record. */
static __attribute__((noinline)) bool find_time(struct record_times *times, const struct cutter *cutter,
                                                const char *record, size_t size, int64_t *value)
{
    char buffer[FIELD_MAX];
    struct csv_field field;

    if (!time_field(times, cutter, record, size, buffer, &field))
        return false;
    if (field.size > 0 && field.size == times->text_size && memcmp(field.text, times->text, field.size) == 0) {
        *value = times->value;
        return true;
    }
    if (field_is_null(times, &field) || time_parse(&times->source->time, field.text, field.size, value) != TIME_FINE)
        return false;
    keep(times, &field, *value);
    return true;
}

bool record_time(struct record_times *times, const struct cutter *cutter, const char *record, size_t size,
                 int64_t *value)
{
    if (times->source->time_index != 0 || !cutter_plain(cutter, record + size) || !begins_the_same(times, record, size))
        return find_time(times, cutter, record, size, value);
    *value = times->value;
    return true;
}

enum status record_error(const struct stream_source *source, int64_t offset, int64_t line, struct error *error,
                         const char *format, ...)
{
    va_list args;

    if (error->status != STATUS_OK)
        return error->status;
    snprintf(error->input, sizeof error->input, "%s", source->name);
    error->line = line;
    error->offset = offset;
    va_start(args, format);
    error_set_args(error, STATUS_DATA, format, args);
    va_end(args);
    return STATUS_DATA;
}

/* The value as it can stand in a message: short, and without what a terminal would obey. */
static const char *shown(const struct csv_field *field, char text[SHOWN_MAX + 8])
{
    size_t size = field->size < SHOWN_MAX ? field->size : SHOWN_MAX;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)field->text[i];

        text[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    snprintf(text + size, 8, "%s", field->size > SHOWN_MAX ? " …" : "");
    return text;
}

enum status record_time_error(const struct record_times *times, const struct cutter *cutter, const char *record,
                              size_t size, int64_t offset, int64_t line, struct error *error)
{
    const struct stream_source *source = times->source;
    const char *name = source->time_index < source->header_count ? source->header[source->time_index] : "";
    char buffer[FIELD_MAX], text[SHOWN_MAX + 8], column[192];
    struct csv_field field;
    enum time_problem problem;
    int64_t value;

    snprintf(error->sqlstate, sizeof error->sqlstate, "22007");
    if (name[0] != '\0')
        snprintf(column, sizeof column, "time column \"%s\" (field %d)", name, source->time_index + 1);
    else
        snprintf(column, sizeof column, "time column (field %d)", source->time_index + 1);
    if (!time_field(times, cutter, record, size, buffer, &field))
        return record_error(source, offset, line, error, "the %s is missing, or far too long", column);
    if (field_is_null(times, &field))
        return record_error(source, offset, line, error, "the %s is NULL: every row needs a time", column);
    problem = time_parse(&source->time, field.text, field.size, &value);
    return record_error(source, offset, line, error, "the value \"%s\" of the %s %s", shown(&field, text), column,
                        time_problem_text(problem));
}
