/* Which columns are loaded, and the window of time. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cli/job.h"
#include "engine/log.h"

static void column_add(struct job_columns *columns, const char *name, size_t size)
{
    char **more = realloc(columns->names, (size_t)(columns->count + 1) * sizeof *more);

    if (more == NULL)
        abort();
    columns->names = more;
    columns->names[columns->count++] = strndup(name, size);
}

/* Splits --columns at commas; a name in double quotes may hold commas, and "" for a quote. */
static enum status columns_from_option(struct job_columns *columns, const char *text, struct error *error)
{
    while (*text != '\0') {
        char name[256];
        size_t size = 0;
        bool quoted;

        while (isspace((unsigned char)*text))
            text++;
        quoted = *text == '"';
        if (quoted)
            text++;
        while (*text != '\0' && (quoted ? *text != '"' || text[1] == '"' : *text != ',')) {
            if (quoted && *text == '"')
                text++;
            if (size < sizeof name - 1)
                name[size++] = *text;
            text++;
        }
        if (quoted && *text++ != '"')
            return error_set(error, STATUS_USAGE, "--columns: a quoted name does not end");
        while (!quoted && size > 0 && isspace((unsigned char)name[size - 1]))
            size--;
        while (isspace((unsigned char)*text))
            text++;
        if (size == 0 || (*text != '\0' && *text != ','))
            return error_set(error, STATUS_USAGE, "--columns: write names separated by commas: a,b,\"C d\"");
        column_add(columns, name, size);
        if (*text == ',')
            text++;
    }
    return STATUS_OK;
}

static void columns_from_target(struct job_columns *columns, const struct table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (!table->columns[i].generated)
            column_add(columns, table->columns[i].name, strlen(table->columns[i].name));
}

static void hint_columns(const struct table *table, struct error *error)
{
    error_hint(error, "; its columns are ");
    for (size_t i = 0; i < table->column_count; i++)
        error_hint(error, "%s%s", i > 0 ? ", " : "", table->columns[i].name);
}

static enum status missing_in_target(const struct job *job, size_t input, const char *name, struct error *error)
{
    bool from_header = job_reads_csv(job) && job->options->columns == NULL;

    error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\"", job->table.sql, name);
    if (from_header)
        error_hint(error, " that the header of %s names", job->set.sources[input].name);
    hint_columns(&job->table, error);
    if (from_header)
        error_hint(error, ". If the first line is no header, say --no-header; else name them with --columns");
    return error->status;
}

static enum status missing_in_source(const struct job *job, const char *name, struct error *error)
{
    error_set(error, STATUS_USAGE, "the source's table %s has no column \"%s\"", job->source_table.sql, name);
    hint_columns(&job->source_table, error);
    error_hint(error, ". Name the ones to move with --columns");
    return error->status;
}

/* Each column exists in the target, is no generated one, comes once, and exists in the source. */
static enum status columns_check(const struct job *job, size_t input, struct error *error)
{
    const struct job_columns *columns = &job->columns[input];

    for (int i = 0; i < columns->count; i++) {
        const struct table_column *column = table_find_column(&job->table, columns->names[i]);

        if (column == NULL)
            return missing_in_target(job, input, columns->names[i], error);
        if (column->generated)
            return error_set(error, STATUS_USAGE, "column \"%s\" of %s is generated and cannot be loaded: leave it out",
                             column->name, job->table.sql);
        for (int j = 0; j < i; j++)
            if (strcmp(columns->names[j], columns->names[i]) == 0)
                return error_set(error, STATUS_USAGE, "column \"%s\" is named twice", columns->names[i]);
        if (!job_reads_csv(job) && table_find_column(&job->source_table, columns->names[i]) == NULL)
            return missing_in_source(job, columns->names[i], error);
    }
    return STATUS_OK;
}

static char *column_list(const struct job_columns *columns)
{
    struct sql list = {0};

    for (int i = 0; i < columns->count; i++) {
        if (i > 0)
            sql_add(&list, ", ");
        sql_add_identifier(&list, columns->names[i]);
    }
    return list.text;
}

/* Built-in types whose binary form is the same in all versions of the server. */
static const char *const binary_types[] = {
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "text",
    "character varying",
    "character",
    "date",
    "timestamp with time zone",
    "timestamp without time zone",
    "time without time zone",
    "interval",
    "uuid",
    "bytea",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
};

/* `type` is as format_type writes it: digits in brackets may stand inside, as in "timestamp(3) with time zone". */
static bool has_binary_form(const char *type)
{
    char plain[128];
    size_t size = 0;
    bool inside = false;

    for (; *type != '\0' && size < sizeof plain - 1; type++) {
        inside = inside || *type == '(';
        if (!inside)
            plain[size++] = *type;
        inside = inside && *type != ')';
    }
    plain[size] = '\0';
    for (size_t i = 0; i < sizeof binary_types / sizeof *binary_types; i++)
        if (strcmp(plain, binary_types[i]) == 0)
            return true;
    return false;
}

/* Whether rows may travel in the binary format: the types of each column are the same on both sides, and known ones. */
static bool can_be_binary(const struct job *job)
{
    for (int i = 0; i < job->columns[0].count; i++) {
        const struct table_column *source = table_find_column(&job->source_table, job->columns[0].names[i]);
        const struct table_column *target = table_find_column(&job->table, job->columns[0].names[i]);

        if (strcmp(source->type, target->type) != 0 || !has_binary_form(target->type))
            return false;
    }
    return true;
}

static char *copy_options_text(const struct dialect *dialect)
{
    struct sql text = {0};
    char one[2] = {0};

    one[0] = dialect->delimiter;
    sql_add(&text, "FORMAT csv, DELIMITER ");
    sql_add_literal(&text, one);
    one[0] = dialect->quote;
    sql_add(&text, ", QUOTE ");
    sql_add_literal(&text, one);
    one[0] = dialect->escape;
    sql_add(&text, ", ESCAPE ");
    sql_add_literal(&text, one);
    sql_add(&text, ", NULL ");
    sql_add_literal(&text, dialect->null_text);
    return text.text;
}

/* The names, from where they are to be had, and whether they fit. */
static enum status columns_find(struct job *job, size_t input, struct error *error)
{
    struct job_columns *columns = &job->columns[input];
    const struct stream_source *source = job_reads_csv(job) ? &job->set.sources[input] : NULL;
    enum status status = STATUS_OK;

    if (job->options->columns != NULL)
        status = columns_from_option(columns, job->options->columns, error);
    else if (source != NULL && source->header != NULL)
        for (int i = 0; i < source->header_count; i++)
            column_add(columns, source->header[i], strlen(source->header[i]));
    else
        columns_from_target(columns, &job->table);
    if (status == STATUS_OK)
        status = columns_check(job, input, error);
    if (status == STATUS_OK && source != NULL && source->header != NULL && columns->count != source->header_count)
        return error_set(error, STATUS_USAGE, "--columns names %d columns, the header of %s has %d", columns->count,
                         source->name, source->header_count);
    columns->list = column_list(columns);
    return status;
}

/* Where the time stands among the fields. */
static enum status find_time(const struct job *job, size_t input, int *time_index, struct error *error)
{
    const struct job_columns *columns = &job->columns[input];

    for (int i = 0; i < columns->count; i++)
        if (strcmp(columns->names[i], job->table.time_name) == 0) {
            *time_index = i;
            return STATUS_OK;
        }
    return error_set(error, STATUS_USAGE, "the time column \"%s\" is not among the columns to load (%s)",
                     job->table.time_name,
                     job->options->columns != NULL ? "--columns"
                     : job_reads_csv(job)          ? job->set.sources[input].name
                                                   : job->source_table.sql);
}

static enum status stream_columns(struct job *job, size_t input, struct error *error)
{
    struct stream_source *source = &job->set.sources[input];
    struct job_columns *columns = &job->columns[input];
    enum status status = columns_find(job, input, error);

    if (status == STATUS_OK)
        status = find_time(job, input, &source->time_index, error);
    if (status != STATUS_OK)
        return status;
    source->time = (struct time_column){
        .type = job->table.time.type,
        .precision = job->table.time.precision,
        .zone_given = job->zone_given,
        .zone_seconds = job->zone_seconds,
    };
    columns->copy_options = copy_options_text(&source->dialect);
    job->inputs[input] = (struct append_input){
        .name = source->name,
        .column_list = columns->list,
        .copy_options = columns->copy_options,
        .csv_options = columns->copy_options,
        .quote = source->dialect.quote,
        .escape = source->dialect.escape,
    };
    return STATUS_OK;
}

static enum status postgres_columns(struct job *job, struct error *error)
{
    enum status status;
    int time_index;

    job->columns = calloc(1, sizeof *job->columns);
    job->inputs = calloc(1, sizeof *job->inputs);
    if (job->columns == NULL || job->inputs == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    job->input_count = 1;
    status = columns_find(job, 0, error);
    if (status == STATUS_OK)
        status = find_time(job, 0, &time_index, error);
    if (status != STATUS_OK)
        return status;
    job->postgres.select_list = job->columns[0].list;
    job->postgres.binary = can_be_binary(job);
    job->inputs[0] = (struct append_input){
        .name = job->source_table.sql,
        .column_list = job->columns[0].list,
        .copy_options = job->postgres.binary ? "FORMAT binary" : "FORMAT csv",
        .csv_options = "FORMAT csv",
        .quote = '"',
        .escape = '"',
    };
    return STATUS_OK;
}

enum status job_columns(struct job *job, struct error *error)
{
    enum status status = STATUS_OK;

    if (!job_reads_csv(job))
        return postgres_columns(job, error);
    for (size_t i = 0; i < job->input_count && status == STATUS_OK; i++)
        status = stream_columns(job, i, error);
    job->command.ranges.column_count = job->columns[0].count;
    job->command.ranges.readers = job_readers(job);
    return status;
}

/* One end of the window. */
static enum status window_end(const struct job *job, const char *option, const char *text, int64_t *value,
                              struct error *error)
{
    struct time_column column = {.type = job->table.time.type, .precision = -1};
    const char *type = time_type_sql(column.type);

    if (text == NULL)
        return STATUS_OK;
    switch (time_parse(&column, text, strlen(text), value)) {
    case TIME_FINE: break;
    case TIME_NO_ZONE:
        return error_set(error, STATUS_USAGE,
                         "%s %s has no time zone, and column \"%s\" is %s: write %s%s for UTC, or %s+02:00 with the "
                         "offset that is meant",
                         option, text, job->table.time_name, type, text, strchr(text, ':') != NULL ? "Z" : " 00:00Z",
                         text);
    case TIME_INFINITE:
        return error_set(error, STATUS_USAGE, "%s %s: leave the option out instead, or give a time", option, text);
    default:
        return error_set(error, STATUS_USAGE, "%s %s cannot be read as a %s: write %s", option, text, type,
                         time_type_is_integer(column.type) ? "a whole number such as 1706745600"
                         : column.type == TIME_DATE        ? "a date such as 2024-02-01"
                         : column.type == TIME_TIMESTAMP   ? "a time such as '2024-02-01 00:00:00'"
                                                           : "a time with its zone such as 2024-02-01T00:00:00Z");
    }
    return STATUS_OK;
}

/* A completion point that is still to come: what is written after its range was read is missed. */
static void warn_of_future(const struct job *job)
{
    if (job->kind == SOURCE_STREAM || time_type_is_integer(job->table.time.type) ||
        job->window.hi <= (int64_t)time(NULL) * 1000000)
        return;
    log_line(LOG_WARNING,
             "--until %s lies in the future: rows that the source gets after their range was read are not moved",
             job->options->until);
}

enum status job_window(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    enum status status;

    job->window = (struct range){INT64_MIN, INT64_MAX};
    if (job->kind != SOURCE_STREAM && options->until == NULL)
        return error_set(error, STATUS_USAGE,
                         "--until is missing: the completion point before which rows are moved. Writes to both "
                         "databases must have begun before it");
    status = window_end(job, "--from", options->from, &job->window.lo, error);
    if (status == STATUS_OK)
        status = window_end(job, "--until", options->until, &job->window.hi, error);
    if (status == STATUS_OK && job->window.lo >= job->window.hi)
        return error_set(error, STATUS_USAGE, "--from %s is not before --until %s: nothing lies between them",
                         options->from, options->until);
    if (status == STATUS_OK)
        warn_of_future(job);
    return status;
}
