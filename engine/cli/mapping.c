/* Fields of an input to columns of the table. */
#include "engine/cli/mapping_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/timeform.h"

/* ---- Names ---- */

static enum status read_header(struct mapping_work *work, struct error *error)
{
    const struct stream_source *source = work->spec->source;

    for (int i = 0; i < source->header_count; i++) {
        char *name = NULL;
        enum status status = mapping_convert(work, source->header[i], false, &name, error);

        if (status != STATUS_OK) {
            error_prefix(error, "the header of %s is not in %s", source->name, work->encoding);
            return status;
        }
        names_add(&work->header, name);
        free(name);
    }
    return STATUS_OK;
}

static void hint_columns(const struct mapping_work *work, struct error *error)
{
    error_hint(error, "; its columns are ");
    for (int i = 0; i < work->table.count; i++)
        error_hint(error, "%s%s", i > 0 ? ", " : "", work->table.items[i]);
}

/* A name of a column of the table that an option gives. */
enum status mapping_find_column(const struct mapping_work *work, const char *name, const char *option,
                                const char **column, struct error *error)
{
    int index = names_find(&work->table, name);

    if (index < 0) {
        error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\" that --%s names%s",
                  work->spec->table->sql, name, option,
                  index == NAME_AMBIGUOUS ? ", only several that differ in upper and lower case" : "");
        hint_columns(work, error);
        return error->status;
    }
    *column = work->table.items[index];
    return STATUS_OK;
}

static enum status find_in_header(const struct mapping_work *work, const char *name, const char *option, int *index,
                                  struct error *error)
{
    if (work->header.count == 0)
        return error_set(error, STATUS_USAGE,
                         "--%s needs a header; without one name the fields in their order with --columns", option);
    *index = names_find(&work->header, name);
    if (*index >= 0)
        return STATUS_OK;
    error_set(error, STATUS_USAGE, "the header of %s has no column \"%s\" that --%s names%s", work->spec->source->name,
              name, option, *index == NAME_AMBIGUOUS ? ", only several that differ in upper and lower case" : "");
    error_hint(error, "; it has ");
    for (int i = 0; i < work->header.count; i++)
        error_hint(error, "%s%s", i > 0 ? ", " : "", work->header.items[i]);
    return error->status;
}

/* ---- Which field goes where ---- */

static void set_target(struct mapping_work *work, int field, const char *column)
{
    free(work->targets.items[field]);
    work->targets.items[field] = strdup(column);
    if (work->targets.items[field] == NULL)
        abort();
}

/* --map CSV=COLUMN: the last equals sign, as those in names of the table are the rarer ones. */
static enum status apply_maps(struct mapping_work *work, bool *settled, struct error *error)
{
    for (int i = 0; i < work->options->map.count; i++) {
        const char *text = work->options->map.items[i], *equals = strrchr(text, '=');
        const char *column;
        char *name;
        enum status status;
        int field = 0;

        if (equals == NULL || equals == text || equals[1] == '\0')
            return error_set(error, STATUS_USAGE, "--map %s: write CSV=COLUMN, the name in the header and the table's",
                             text);
        name = strndup(text, (size_t)(equals - text));
        status = name != NULL ? find_in_header(work, name, "map", &field, error)
                              : error_set(error, STATUS_SYSTEM, "out of memory");
        free(name);
        if (status == STATUS_OK)
            status = mapping_find_column(work, equals + 1, "map", &column, error);
        if (status != STATUS_OK)
            return status;
        if (settled[field])
            return error_set(error, STATUS_USAGE, "--map names the header's column \"%s\" twice",
                             work->header.items[field]);
        settled[field] = true;
        set_target(work, field, column);
    }
    return STATUS_OK;
}

static enum status apply_ignored(struct mapping_work *work, bool *settled, struct error *error)
{
    struct names ignored = {0};
    enum status status = STATUS_OK;

    if (work->options->ignore_columns == NULL)
        return STATUS_OK;
    work->ignore_rest = strcmp(work->options->ignore_columns, "*") == 0;
    if (work->ignore_rest && work->header.count == 0)
        return find_in_header(work, "", "ignore-columns", &(int){0}, error);
    if (!work->ignore_rest)
        status = names_split(&ignored, work->options->ignore_columns, "ignore-columns", error);
    for (int i = 0; status == STATUS_OK && i < ignored.count; i++) {
        int field = 0;

        status = find_in_header(work, ignored.items[i], "ignore-columns", &field, error);
        if (status == STATUS_OK && settled[field])
            status = error_set(error, STATUS_USAGE, "the header's column \"%s\" is both mapped and ignored",
                               work->header.items[field]);
        if (status == STATUS_OK)
            settled[field] = true;
    }
    names_reset(&ignored);
    return status;
}

static enum status extra_column(const struct mapping_work *work, const char *name, int found, struct error *error)
{
    error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\" that the header of %s names%s",
              work->spec->table->sql, name, work->spec->source->name,
              found == NAME_AMBIGUOUS ? ", only several that differ in upper and lower case" : "");
    if (work->header.count == 1 && strpbrk(name, ",;\t|") != NULL) {
        error_hint(error, ". Are these several columns, with another delimiter between? Say which with --delimiter, or "
                          "let --dialect sniff find it");
        return error->status;
    }
    hint_columns(work, error);
    error_hint(
        error,
        ". Say which it is with --map '%s=COLUMN', or leave it out with --ignore-columns '%s'; if the first line is no "
        "header, say --no-header",
        name, name);
    return error->status;
}

/* By the names of the header. */
static enum status apply_names(struct mapping_work *work, const bool *settled, struct error *error)
{
    for (int i = 0; i < work->header.count; i++) {
        const char *name = work->header.items[i];
        int column = names_find(&work->table, name);

        if (settled[i])
            continue;
        /* The name that is written exactly so goes first. */
        if (column >= 0 && strcmp(work->table.items[column], name) != 0 &&
            names_have_exactly(&work->header, work->table.items[column]))
            column = NAME_NONE;
        if (column >= 0)
            set_target(work, i, work->table.items[column]);
        else if (!work->ignore_rest || column == NAME_AMBIGUOUS)
            return extra_column(work, name, column, error);
    }
    return STATUS_OK;
}

/* Each name that --columns gives, exactly as the table has it. */
static enum status check_given(const struct mapping_work *work, const struct names *given, struct error *error)
{
    if (work->options->map.count > 0 || work->ignore_rest)
        return error_set(error, STATUS_USAGE, "--columns names all fields in their order: with it, --%s has no meaning",
                         work->ignore_rest ? "ignore-columns *" : "map");
    for (int i = 0; i < given->count; i++)
        if (!names_have_exactly(&work->table, given->items[i])) {
            error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\"", work->spec->table->sql,
                      given->items[i]);
            hint_columns(work, error);
            return error->status;
        }
    return STATUS_OK;
}

/* --columns: the names of the fields in their order, but for those that are ignored. */
static enum status apply_columns(struct mapping_work *work, const bool *settled, struct error *error)
{
    struct names given = {0};
    enum status status = names_split(&given, work->options->columns, "columns", error);
    int used = 0, fields = 0;

    if (status == STATUS_OK)
        status = check_given(work, &given, error);
    if (status == STATUS_OK && work->header.count == 0)
        for (int i = 0; i < given.count; i++)
            names_add(&work->targets, NULL);
    for (int i = 0; i < work->targets.count; i++)
        fields += work->header.count == 0 || !settled[i];
    if (status == STATUS_OK && fields != given.count)
        status = error_set(error, STATUS_USAGE, "--columns names %d columns, the header of %s has %d", given.count,
                           work->spec->source->name, fields);
    for (int i = 0; status == STATUS_OK && i < work->targets.count; i++)
        if (work->header.count == 0 || !settled[i])
            set_target(work, i, given.items[used++]);
    names_reset(&given);
    return status;
}

static enum status apply_fields(struct mapping_work *work, struct error *error)
{
    bool *settled = calloc((size_t)work->header.count + 1, sizeof *settled);
    enum status status = STATUS_OK;

    if (settled == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < work->header.count; i++)
        names_add(&work->targets, NULL);
    if (work->options->columns == NULL)
        status = apply_maps(work, settled, error);
    if (status == STATUS_OK)
        status = apply_ignored(work, settled, error);
    if (status == STATUS_OK && work->options->columns != NULL) {
        status = apply_columns(work, settled, error);
    } else if (status == STATUS_OK && work->header.count > 0) {
        status = apply_names(work, settled, error);
    } else if (status == STATUS_OK) {
        for (size_t i = 0; i < work->spec->table->column_count; i++)
            if (!work->spec->table->columns[i].generated)
                names_add(&work->targets, work->spec->table->columns[i].name);
    }
    free(settled);
    return status;
}

static enum status apply_constants(struct mapping_work *work, struct error *error)
{
    enum status status = STATUS_OK;

    for (int i = 0; status == STATUS_OK && i < work->options->set.count; i++) {
        const char *text = work->options->set.items[i], *equals = strchr(text, '='), *column;
        char *name, *expanded = NULL, *converted = NULL;

        if (equals == NULL || equals == text)
            return error_set(error, STATUS_USAGE, "--set %s: write COLUMN=TEXT", text);
        name = strndup(text, (size_t)(equals - text));
        status = name != NULL ? mapping_find_column(work, name, "set", &column, error)
                              : error_set(error, STATUS_SYSTEM, "out of memory");
        free(name);
        if (status == STATUS_OK && strcmp(column, work->spec->table->time_name) == 0)
            status = error_set(error, STATUS_USAGE, "--set %s: the time column is read from each row", column);
        if (status == STATUS_OK)
            status = mapping_expand(equals + 1, work->spec->source->path, &expanded, error);
        if (status == STATUS_OK)
            status = mapping_convert(work, expanded, true, &converted, error);
        if (status == STATUS_OK) {
            names_add(&work->constants, column);
            names_add(&work->texts, converted);
            names_add(&work->shown, expanded);
        }
        free(expanded);
        free(converted);
    }
    return status;
}

/* ---- What must hold ---- */

/* The columns of fields, then those of --set; without those that are left out. */
static void all_columns(const struct mapping_work *work, struct names *columns)
{
    for (int i = 0; i < work->targets.count; i++)
        if (work->targets.items[i] != NULL)
            names_add(columns, work->targets.items[i]);
    for (int i = 0; i < work->constants.count; i++)
        names_add(columns, work->constants.items[i]);
}

static enum status check_columns(const struct mapping_work *work, const struct names *columns, struct error *error)
{
    for (int i = 0; i < columns->count; i++) {
        const struct table_column *column = table_find_column(work->spec->table, columns->items[i]);

        if (column->generated)
            return error_set(error, STATUS_USAGE,
                             "column \"%s\" of %s is generated and cannot be loaded: leave it out%s", column->name,
                             work->spec->table->sql,
                             work->header.count > 0 ? ", with --ignore-columns and its name in the header" : "");
        for (int j = 0; j < i; j++)
            if (strcmp(columns->items[j], columns->items[i]) == 0)
                return error_set(error, STATUS_USAGE, "column \"%s\" is named twice", columns->items[i]);
    }
    return STATUS_OK;
}

static enum status find_time(struct mapping_work *work, struct error *error)
{
    const struct table *table = work->spec->table;
    struct mapping *mapping = work->mapping;
    struct time_column *time = &mapping->time;

    mapping->time_index = -1;
    for (int i = 0; i < work->targets.count; i++)
        if (work->targets.items[i] != NULL && strcmp(work->targets.items[i], table->time_name) == 0)
            mapping->time_index = i;
    if (mapping->time_index < 0) {
        error_set(error, STATUS_USAGE, "the time column \"%s\" is not among the columns to load (%s)", table->time_name,
                  work->options->columns != NULL ? "--columns" : work->spec->source->name);
        if (work->options->columns == NULL && work->header.count > 0)
            error_hint(error, "; say which it is with --map 'NAME=%s'", table->time_name);
        return error->status;
    }
    *time = work->spec->source->time;
    time->type = table->time.type;
    time->precision = table->time.precision;
    if (work->options->time_format != NULL && time_form_read(work->options->time_format, time, error) != STATUS_OK)
        return error->status;
    if (time->form != TIME_FORM_ISO && time_type_is_integer(time->type))
        return error_set(error, STATUS_USAGE,
                         "--time-format: column \"%s\" is %s, whose numbers are loaded as they are", table->time_name,
                         time_type_sql(time->type));
    if (time->form != TIME_FORM_ISO && time->type == TIME_TIMESTAMPTZ && !time->zone_given && !time_form_has_zone(time))
        return error_set(
            error, STATUS_USAGE,
            "--time-format %s has no zone (%%z), and column \"%s\" is timestamptz: say which zone is meant, with"
            " --timezone UTC or --timezone +02:00",
            time->pattern, table->time_name);
    return STATUS_OK;
}

static enum status mapping_finish(struct mapping_work *work, struct error *error)
{
    struct names *columns = &work->mapping->columns;
    enum status status;

    all_columns(work, columns);
    status = check_columns(work, columns, error);
    if (status == STATUS_OK)
        status = find_time(work, error);
    if (status == STATUS_OK)
        status = mapping_make_copy(work, error);
    return status;
}

enum status mapping_make(const struct mapping_spec *spec, struct mapping *mapping, struct error *error)
{
    struct mapping_work work = {.spec = spec, .options = spec->options, .mapping = mapping};
    enum status status = STATUS_OK;

    *mapping = (struct mapping){0};
    for (size_t i = 0; i < spec->table->column_count; i++)
        names_add(&work.table, spec->table->columns[i].name);
    if (work.options->encoding != NULL)
        status = mapping_find_encoding(&work, error);
    if (status == STATUS_OK)
        status = read_header(&work, error);
    if (status == STATUS_OK)
        status = apply_fields(&work, error);
    if (status == STATUS_OK)
        status = apply_constants(&work, error);
    if (status == STATUS_OK)
        status = mapping_finish(&work, error);
    names_reset(&work.table);
    names_reset(&work.header);
    mapping->fields = work.targets;
    names_reset(&work.constants);
    names_reset(&work.texts);
    names_reset(&work.shown);
    mapping->encoding = work.encoding;
    return status;
}

void mapping_reset(struct mapping *mapping)
{
    names_reset(&mapping->fields);
    names_reset(&mapping->columns);
    names_reset(&mapping->forced_null);
    names_reset(&mapping->forced_not_null);
    free(mapping->encoding);
    transcoder_free(mapping->transcoder);
    free(mapping->column_list);
    free(mapping->copy_options);
    free(mapping->text);
    shape_free(mapping->shape);
    *mapping = (struct mapping){0};
}
