/* Records into what COPY gets. */
#include "writers/shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers/cutter.h"

/* So many fields are kept on the stack. */
#define FIELDS_ON_STACK 128
/* A time is never longer, quoted or not. */
#define TIME_FIELD_MAX 256
#define SHOWN_MAX 60
#define BAD_COPY_FILE_FORMAT "22P04"

struct shape_output {
    enum shape_kind kind;
    int field, last_field; /* fields that follow each other in the record go as one, with what is between them */
    char *constant;        /* quoted */
    size_t constant_size;
};

struct shape {
    struct shape_dialect from, to;
    struct cutter cutter;
    bool trim, requote;
    char *null_text;
    size_t null_size;
    char **field_names;
    int field_count;
    struct shape_output *outputs;
    int output_count;
    struct time_column time;
    char *pattern;
};

/* ---- The text ---- */

static enum status text_reserve(struct shape_text *text, size_t more, struct error *error)
{
    if (text->size + more > INT32_MAX)
        return error_set(error, STATUS_DATA, "a record of %zu bytes is more than COPY can take", more);
    if (text->room - text->size < more) {
        size_t room = (text->size + more) * 2;
        char *data = realloc(text->data, room);

        if (data == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory for a record of %zu bytes", more);
        text->data = data;
        text->room = room;
    }
    return STATUS_OK;
}

void shape_text_reset(struct shape_text *text)
{
    free(text->data);
    *text = (struct shape_text){0};
}

static char *put(char *at, const char *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

/* In quotes; needs room for twice the size and two. */
static char *put_quoted(const struct shape_dialect *dialect, char *at, const char *bytes, size_t size)
{
    *at++ = dialect->quote;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == dialect->quote || bytes[i] == dialect->escape)
            *at++ = dialect->escape;
        *at++ = bytes[i];
    }
    *at++ = dialect->quote;
    return at;
}

/* ---- Making one ---- */

static bool copy_names(struct shape *shape, const struct shape_spec *spec)
{
    shape->field_names = calloc((size_t)spec->field_count + 1, sizeof *shape->field_names);
    if (shape->field_names == NULL)
        return false;
    shape->field_count = spec->field_count;
    for (int i = 0; i < spec->field_count; i++)
        if ((shape->field_names[i] = strdup(spec->field_names[i])) == NULL)
            return false;
    return true;
}

static bool continues(const struct shape *shape, const struct shape_output *before, const struct shape_column *column)
{
    return before->kind == SHAPE_FIELD && column->kind == SHAPE_FIELD && column->field == before->last_field + 1 &&
           !shape->trim && !shape->requote;
}

static bool copy_outputs(struct shape *shape, const struct shape_spec *spec)
{
    shape->outputs = calloc((size_t)spec->column_count + 1, sizeof *shape->outputs);
    if (shape->outputs == NULL)
        return false;
    for (int i = 0; i < spec->column_count; i++) {
        struct shape_output *output = &shape->outputs[shape->output_count];
        const struct shape_column *column = &spec->columns[i];

        if (shape->output_count > 0 && continues(shape, &output[-1], column)) {
            output[-1].last_field++;
            continue;
        }
        shape->output_count++;
        output->kind = column->kind;
        output->field = output->last_field = column->field;
        if (column->kind != SHAPE_CONSTANT)
            continue;
        output->constant = malloc(strlen(column->text) * 2 + 2);
        if (output->constant == NULL)
            return false;
        output->constant_size =
            (size_t)(put_quoted(&shape->to, output->constant, column->text, strlen(column->text)) - output->constant);
    }
    return true;
}

enum status shape_create(const struct shape_spec *spec, struct shape **made, struct error *error)
{
    struct shape *shape = calloc(1, sizeof *shape);

    if (shape == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    shape->from = spec->from;
    shape->to = spec->to;
    shape->requote = memcmp(&spec->from, &spec->to, sizeof spec->from) != 0;
    shape->trim = spec->trim;
    shape->time = spec->time;
    cutter_init(&shape->cutter, spec->from.quote, spec->from.escape);
    shape->null_text = strdup(spec->null_text);
    if (spec->time.pattern != NULL)
        shape->time.pattern = shape->pattern = strdup(spec->time.pattern);
    if (shape->null_text == NULL || (spec->time.pattern != NULL && shape->pattern == NULL) ||
        !copy_names(shape, spec) || !copy_outputs(shape, spec)) {
        shape_free(shape);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    shape->null_size = strlen(shape->null_text);
    *made = shape;
    return STATUS_OK;
}

void shape_free(struct shape *shape)
{
    if (shape == NULL)
        return;
    for (int i = 0; i < shape->output_count; i++)
        free(shape->outputs[i].constant);
    for (int i = 0; i < shape->field_count; i++)
        free(shape->field_names[i]);
    free(shape->outputs);
    free(shape->field_names);
    free(shape->null_text);
    free(shape->pattern);
    free(shape);
}

/* ---- Records ---- */

static enum status with_sqlstate(struct error *error, const char *sqlstate)
{
    snprintf(error->sqlstate, sizeof error->sqlstate, "%s", sqlstate);
    return error->status;
}

/* The server's words (NextCopyFrom, CopyReadAttributesCSV). */
static enum status check_count(const struct shape *shape, int count, struct error *error)
{
    if (count == shape->field_count)
        return STATUS_OK;
    if (count < 0)
        error_set(error, STATUS_DATA, "unterminated CSV quoted field");
    else if (count < shape->field_count)
        error_set(error, STATUS_DATA, "missing data for column \"%s\"", shape->field_names[count]);
    else
        error_set(error, STATUS_DATA, "extra data after last expected column");
    return with_sqlstate(error, BAD_COPY_FILE_FORMAT);
}

static bool is_outer_blank(const struct shape *shape, char c)
{
    return (c == ' ' || c == '\t') && c != shape->from.delimiter && c != shape->from.quote;
}

/* Ends of a field are outside of quotes: so blanks there are not inside of them. */
static void field_trim(const struct shape *shape, struct csv_raw_field *field)
{
    while (field->size > 0 && is_outer_blank(shape, field->text[0])) {
        field->text++;
        field->size--;
    }
    while (field->size > 0 && is_outer_blank(shape, field->text[field->size - 1]))
        field->size--;
}

/* In the dialect that the server is told of. */
static char *put_anew(const struct shape *shape, char *at, const struct csv_raw_field *field)
{
    char *text = at + field->size + 2; /* resolved behind where it goes, which is never overtaken */
    size_t size = cutter_field_text(&shape->cutter, field, text);

    if (!field->quoted && memchr(text, shape->to.delimiter, size) == NULL &&
        memchr(text, shape->to.quote, size) == NULL) {
        memmove(at, text, size);
        return at + size;
    }
    return put_quoted(&shape->to, at, text, size);
}

static enum status time_fail(const struct csv_raw_field *field, int index, enum time_problem problem,
                             struct error *error)
{
    char shown[SHOWN_MAX + 1];
    size_t size = field->size < SHOWN_MAX ? field->size : SHOWN_MAX;

    for (size_t i = 0; i < size; i++)
        shown[i] = (unsigned char)field->text[i] < ' ' ? '?' : field->text[i];
    shown[size] = '\0';
    error_set(error, STATUS_DATA, "the time \"%s\" in field %d %s", shown, index + 1, time_problem_text(problem));
    return with_sqlstate(error, problem == TIME_OUT_OF_RANGE ? "22008" : "22007");
}

static enum status put_time(const struct shape *shape, char **at, const struct csv_raw_field *field, int index,
                            struct error *error)
{
    char buffer[TIME_FIELD_MAX], text[TIME_TEXT_MAX];
    enum time_problem problem = TIME_UNREADABLE;
    int64_t value;

    if (!field->quoted && field->size == shape->null_size && memcmp(field->text, shape->null_text, field->size) == 0)
        problem = TIME_EMPTY;
    else if (field->size <= sizeof buffer)
        problem = time_parse(&shape->time, buffer, cutter_field_text(&shape->cutter, field, buffer), &value);
    if (problem != TIME_FINE)
        return time_fail(field, index, problem, error);
    time_format(shape->time.type, value, text);
    *at = put_quoted(&shape->to, *at, text, strlen(text));
    return STATUS_OK;
}

static size_t stretch_size(const struct shape_output *output, const struct csv_raw_field *fields)
{
    const struct csv_raw_field *last = &fields[output->last_field];

    return (size_t)(last->text + last->size - fields[output->field].text);
}

/* Room that is enough for each output, whatever is in it. */
static size_t room_for(const struct shape *shape, const struct csv_raw_field *fields, size_t record_size)
{
    size_t room = record_size + 8;

    for (int i = 0; i < shape->output_count; i++) {
        const struct shape_output *output = &shape->outputs[i];

        room += output->kind == SHAPE_CONSTANT ? output->constant_size
                : output->kind == SHAPE_TIME   ? 2 * TIME_TEXT_MAX + 2
                : shape->requote               ? 3 * fields[output->field].size + 4
                                               : stretch_size(output, fields);
        room++;
    }
    return room;
}

static enum status put_outputs(const struct shape *shape, struct csv_raw_field *fields, char **at, struct error *error)
{
    enum status status = STATUS_OK;

    for (int i = 0; status == STATUS_OK && i < shape->output_count; i++) {
        const struct shape_output *output = &shape->outputs[i];

        if (i > 0)
            *(*at)++ = shape->to.delimiter;
        if (output->kind == SHAPE_CONSTANT)
            *at = put(*at, output->constant, output->constant_size);
        else if (output->kind == SHAPE_TIME)
            status = put_time(shape, at, &fields[output->field], output->field, error);
        else if (shape->requote)
            *at = put_anew(shape, *at, &fields[output->field]);
        else
            *at = put(*at, fields[output->field].text, stretch_size(output, fields));
    }
    return status;
}

static enum status apply(const struct shape *shape, const char *record, size_t size, struct csv_raw_field *fields,
                         struct shape_text *text, struct error *error)
{
    size_t text_size = record_text_size(record, size);
    int count = cutter_fields(&shape->cutter, shape->from.delimiter, record, text_size, fields, shape->field_count);
    enum status status = check_count(shape, count, error);
    char *at, *begin;

    if (status == STATUS_OK && shape->trim)
        for (int i = 0; i < count; i++)
            field_trim(shape, &fields[i]);
    if (status == STATUS_OK)
        status = text_reserve(text, room_for(shape, fields, size), error);
    if (status != STATUS_OK)
        return status;
    begin = at = text->data + text->size;
    status = put_outputs(shape, fields, &at, error);
    /* Servers up to 17 would take it for the end of the data. */
    if (status == STATUS_OK && at - begin == 2 && memcmp(begin, "\\.", 2) == 0) {
        error_set(error, STATUS_DATA, "what is left of the record is \\. alone");
        status = with_sqlstate(error, BAD_COPY_FILE_FORMAT);
    }
    if (status != STATUS_OK)
        return status;
    at = put(at, record + text_size, size - text_size);
    text->size += (size_t)(at - begin);
    return STATUS_OK;
}

enum status shape_apply(const struct shape *shape, const char *record, size_t size, struct shape_text *text,
                        struct error *error)
{
    struct csv_raw_field on_stack[FIELDS_ON_STACK], *fields = on_stack;
    enum status status;

    if (shape->field_count > FIELDS_ON_STACK)
        fields = calloc((size_t)shape->field_count, sizeof *fields);
    if (fields == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for %d fields", shape->field_count);
    status = apply(shape, record, size, fields, text, error);
    if (fields != on_stack)
        free(fields);
    return status;
}
