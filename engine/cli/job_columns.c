/* Which columns are loaded, and the window of time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cli/job.h"
#include "engine/cli/names.h"
#include "engine/log.h"

static void hint_columns(const struct table *table, struct error *error)
{
    error_hint(error, "; its columns are ");
    for (size_t i = 0; i < table->column_count; i++)
        error_hint(error, "%s%s", i > 0 ? ", " : "", table->columns[i].name);
}

/* Each column exists in the target, is no generated one, comes once, and exists in the source. */
static enum status columns_check(const struct job *job, const struct names *columns, struct error *error)
{
    for (int i = 0; i < columns->count; i++) {
        const struct table_column *column = table_find_column(&job->table, columns->items[i]);

        if (column == NULL) {
            error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\"", job->table.sql,
                      columns->items[i]);
            hint_columns(&job->table, error);
            return error->status;
        }
        if (column->generated)
            return error_set(error, STATUS_USAGE, "column \"%s\" of %s is generated and cannot be loaded: leave it out",
                             column->name, job->table.sql);
        for (int j = 0; j < i; j++)
            if (strcmp(columns->items[j], columns->items[i]) == 0)
                return error_set(error, STATUS_USAGE, "column \"%s\" is named twice", columns->items[i]);
        if (table_find_column(&job->source_table, columns->items[i]) == NULL) {
            error_set(error, STATUS_USAGE, "the source's table %s has no column \"%s\"", job->source_table.sql,
                      columns->items[i]);
            hint_columns(&job->source_table, error);
            error_hint(error, ". Name the ones to move with --columns");
            return error->status;
        }
    }
    return STATUS_OK;
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
static bool can_be_binary(const struct job *job, const struct names *columns)
{
    for (int i = 0; i < columns->count; i++) {
        const struct table_column *source = table_find_column(&job->source_table, columns->items[i]);
        const struct table_column *target = table_find_column(&job->table, columns->items[i]);

        if (strcmp(source->type, target->type) != 0 || !has_binary_form(target->type))
            return false;
    }
    return true;
}

/* The names, and which of them is the time. */
static enum status postgres_names(struct job *job, struct names *columns, struct error *error)
{
    enum status status = STATUS_OK;

    if (job->options->columns != NULL)
        status = names_split(columns, job->options->columns, "columns", error);
    else
        for (size_t i = 0; i < job->table.column_count; i++)
            if (!job->table.columns[i].generated)
                names_add(columns, job->table.columns[i].name);
    if (status == STATUS_OK)
        status = columns_check(job, columns, error);
    if (status != STATUS_OK)
        return status;
    for (int i = 0; i < columns->count; i++)
        if (strcmp(columns->items[i], job->table.time_name) == 0) {
            job->postgres_time_index = i;
            return STATUS_OK;
        }
    return error_set(error, STATUS_USAGE, "the time column \"%s\" is not among the columns to load (--columns)",
                     job->table.time_name);
}

static enum status postgres_columns(struct job *job, struct error *error)
{
    struct names columns = {0};
    enum status status;

    job->mappings = calloc(1, sizeof *job->mappings);
    job->inputs = calloc(1, sizeof *job->inputs);
    if (job->mappings == NULL || job->inputs == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    job->input_count = 1;
    status = postgres_names(job, &columns, error);
    if (status == STATUS_OK) {
        job->mappings[0].column_list = names_quoted(&columns);
        job->postgres.select_list = job->mappings[0].column_list;
        job->postgres.binary = job->options->wire != WIRE_CSV && can_be_binary(job, &columns);
        job->inputs[0] = (struct append_input){
            .name = job->source_table.sql,
            .column_list = job->mappings[0].column_list,
            .copy_options = job->postgres.binary ? "FORMAT binary" : "FORMAT csv",
            .csv_options = "FORMAT csv",
            .quote = '"',
            .escape = '"',
        };
    }
    job->mappings[0].columns = columns;
    return status;
}

static enum status input_columns(struct job *job, size_t input, struct error *error)
{
    struct stream_source *source = &job->set.sources[input];
    struct mapping *mapping = &job->mappings[input];
    struct mapping_spec spec = {.options = job->options, .table = &job->table, .source = source, .target = job->target};
    enum status status;

    source->time.zone_given = job->zone_given;
    source->time.zone_seconds = job->zone_seconds;
    status = mapping_make(&spec, mapping, error);
    if (status != STATUS_OK)
        return status;
    source->time_index = mapping->time_index;
    source->time = mapping->time;
    job->inputs[input] = (struct append_input){
        .name = source->name,
        .column_list = mapping->column_list,
        .copy_options = mapping->copy_options,
        .csv_options = mapping->copy_options,
        .quote = source->dialect.quote,
        .escape = source->dialect.escape,
        .shape = mapping->shape,
    };
    return STATUS_OK;
}

enum status job_columns(struct job *job, struct error *error)
{
    enum status status = STATUS_OK;

    if (!job_reads_csv(job))
        return postgres_columns(job, error);
    /* Numbers that look like epochs are loaded as they are into a column of numbers. */
    if (job->sniff.time_format != NULL && job->options == &job->completed && time_type_is_integer(job->table.time.type))
        job->completed.time_format = NULL;
    for (size_t i = 0; i < job->input_count && status == STATUS_OK; i++)
        status = input_columns(job, i, error);
    job->command.ranges.column_count = job->mappings[0].fields.count;
    job->command.ranges.readers = job_readers(job);
    return status;
}

/* "TABLE=TIME" of this table: behind the sign; NULL: of another, or of all. */
static const char *text_for_table(const struct job *job, const char *text, bool *for_some)
{
    const char *sign = strrchr(text, '=');
    size_t size = sign != NULL ? (size_t)(sign - text) : 0;
    const char *names[] = {job->options->table, job->table.sql, job->table.name, job->source_table.sql};
    char *qualified = NULL;
    bool same = false;

    *for_some = sign != NULL;
    if (sign == NULL)
        return NULL;
    if (asprintf(&qualified, "%s.%s", job->table.schema, job->table.name) < 0)
        abort();
    for (size_t i = 0; i < sizeof names / sizeof *names && !same; i++)
        same = names[i] != NULL && strlen(names[i]) == size && memcmp(names[i], text, size) == 0;
    same = same || (strlen(qualified) == size && memcmp(qualified, text, size) == 0);
    free(qualified);
    return same ? sign + 1 : NULL;
}

bool job_window_names(const struct job *job, const char *text)
{
    bool for_some;

    return text_for_table(job, text, &for_some) != NULL;
}

/* How much the text looks like one for this type; 0: it cannot be read as one. A zone is for timestamptz alone, a time
 * of the day not for dates. */
static int text_fit(enum time_type type, const char *text)
{
    const struct time_column column = {.type = type, .precision = -1};
    const struct time_column zoned = {.type = TIME_TIMESTAMPTZ, .precision = -1};
    int64_t value;
    bool zone = time_parse(&zoned, text, strlen(text), &value) == TIME_FINE;
    bool hour = strchr(text, ':') != NULL;

    if (time_parse(&column, text, strlen(text), &value) != TIME_FINE)
        return 0;
    if (type == TIME_TIMESTAMP)
        return 1 + !zone + hour;
    return type == TIME_DATE ? 1 + !zone + !hour : 1;
}

/*
 * Which of several texts is this table's: the one with its name, else the one that its type of time can be best; the
 * first where none can, for its message. NULL: none is for it.
 */
static enum status window_text(const struct job *job, const char *option, const struct text_list *texts,
                               const char **text, struct error *error)
{
    const char *named = NULL, *fits = NULL, *any = NULL;
    bool twice = false, named_twice = false;
    int best = 0;

    for (int i = 0; i < texts->count; i++) {
        bool for_some;
        const char *mine = text_for_table(job, texts->items[i], &for_some);
        int fit = for_some ? 0 : text_fit(job->table.time.type, texts->items[i]);

        named_twice = named_twice || (mine != NULL && named != NULL);
        named = mine != NULL ? mine : named;
        twice = fit > best ? false : twice || (fit > 0 && fit == best);
        fits = fit > best ? texts->items[i] : fits;
        best = fit > best ? fit : best;
        any = any == NULL && !for_some ? texts->items[i] : any;
    }
    if (named_twice || (named == NULL && twice))
        return error_set(error, STATUS_USAGE, "%s is given twice for %s: say which, with %s %s=…", option,
                         job->table.sql, option, job->options->table);
    *text = named != NULL ? named : fits != NULL ? fits : any;
    return STATUS_OK;
}

enum status job_time_option(const struct table *table, const char *option, const char *text, int64_t *value,
                            struct error *error)
{
    struct time_column column = {.type = table->time.type, .precision = -1};
    const char *type = time_type_sql(column.type);

    if (text == NULL)
        return STATUS_OK;
    switch (time_parse(&column, text, strlen(text), value)) {
    case TIME_FINE: break;
    case TIME_NO_ZONE:
        return error_set(error, STATUS_USAGE,
                         "%s %s has no time zone, and column \"%s\" is %s: write %s%s for UTC, or %s+02:00 with the "
                         "offset that is meant",
                         option, text, table->time_name, type, text, strchr(text, ':') != NULL ? "Z" : " 00:00Z", text);
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
static void warn_of_future(const struct job *job, const char *until)
{
    if (job->kind == SOURCE_STREAM || time_type_is_integer(job->table.time.type) ||
        job->window.hi <= (int64_t)time(NULL) * 1000000)
        return;
    log_line(LOG_WARNING,
             "--until %s lies in the future: rows that the source gets after their range was read are not moved",
             until);
}

enum status job_window(struct job *job, struct error *error)
{
    const char *from = NULL, *until = NULL;
    enum status status;

    job->window = (struct range){INT64_MIN, INT64_MAX};
    status = window_text(job, "--from", &job->options->froms, &from, error);
    if (status == STATUS_OK)
        status = window_text(job, "--until", &job->options->untils, &until, error);
    if (status != STATUS_OK)
        return status;
    if (job->kind != SOURCE_STREAM && until == NULL)
        return error_set(error, STATUS_USAGE,
                         "--until is missing: the completion point before which rows are moved. Writes to both "
                         "databases must have begun before it");
    status = job_time_option(&job->table, "--from", from, &job->window.lo, error);
    if (status == STATUS_OK)
        status = job_time_option(&job->table, "--until", until, &job->window.hi, error);
    if (status == STATUS_OK && job->window.lo >= job->window.hi)
        return error_set(error, STATUS_USAGE, "--from %s is not before --until %s: nothing lies between them", from,
                         until);
    if (status == STATUS_OK)
        warn_of_future(job, until);
    return status;
}
