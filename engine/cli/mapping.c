/* Fields of an input to columns of the table. */
#include "engine/cli/mapping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/cli/names.h"
#include "engine/timeform.h"

/* Bytes that stand for themselves in no encoding that the server has as its own: two-byte characters may hold them. */
static const char *const client_only_encodings[] = {"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"};

struct work {
    const struct mapping_spec *spec;
    const struct options *options;
    struct mapping *mapping;
    char *encoding;         /* the server's own name; NULL */
    struct names table;     /* columns of the table */
    struct names header;    /* names of fields, in the encoding of the session; empty without a header */
    struct names targets;   /* for each field, its column; NULL: it is ignored */
    struct names shown;     /* texts of --set in the encoding of the session */
    struct names constants; /* columns of --set, and their texts in the encoding of the input */
    struct names texts;
    bool ignore_rest;
};

/* ---- Names and encodings ---- */

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static enum status find_encoding(struct work *work, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT nullif(pg_catalog.pg_encoding_to_char(pg_catalog.pg_char_to_encoding(");
    sql_add_literal(&sql, work->options->encoding);
    sql_add(&sql, ")), '')");
    status = pg_value(work->spec->target, sql.text, &work->encoding, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    if (work->encoding == NULL)
        return error_set(error, STATUS_USAGE,
                         "--encoding %s: the server knows no such encoding; it knows UTF8, LATIN1, WIN1252 "
                         "and others",
                         work->options->encoding);
    for (size_t i = 0; i < sizeof client_only_encodings / sizeof *client_only_encodings; i++)
        if (strcmp(work->encoding, client_only_encodings[i]) == 0)
            return error_set(
                error, STATUS_USAGE,
                "--encoding %s: in this encoding a part of a character can look like a delimiter or a quote: "
                "convert the input first, as with iconv -f %s -t UTF-8",
                work->encoding, work->encoding);
    return STATUS_OK;
}

/* The text between the session's encoding and the input's; hexadecimal on the way. */
static enum status convert(const struct work *work, const char *text, bool to_input, char **converted,
                           struct error *error)
{
    struct sql sql = {0};
    char *hex = NULL;
    enum status status;

    if (work->encoding == NULL || is_ascii(text)) {
        *converted = strdup(text);
        return *converted != NULL ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory");
    }
    if (!to_input) {
        sql_add(&sql, "SELECT pg_catalog.convert_from('\\x");
        for (const char *at = text; *at != '\0'; at++)
            sql_add(&sql, "%02x", (unsigned char)*at);
        sql_add(&sql, "', '%s')", work->encoding);
        status = pg_value(work->spec->target, sql.text, converted, error);
        sql_reset(&sql);
        return status;
    }
    sql_add(&sql, "SELECT pg_catalog.encode(pg_catalog.convert_to(");
    sql_add_literal(&sql, text);
    sql_add(&sql, ", '%s'), 'hex')", work->encoding);
    status = pg_value(work->spec->target, sql.text, &hex, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    for (const char *at = hex; *at != '\0'; at += 2)
        sql_add(&sql, "%c", (int)strtol((char[]){at[0], at[1], '\0'}, NULL, 16));
    free(hex);
    *converted = sql.text;
    return STATUS_OK;
}

static enum status read_header(struct work *work, struct error *error)
{
    const struct stream_source *source = work->spec->source;

    for (int i = 0; i < source->header_count; i++) {
        char *name = NULL;
        enum status status = convert(work, source->header[i], false, &name, error);

        if (status != STATUS_OK) {
            error_prefix(error, "the header of %s is not in %s", source->name, work->encoding);
            return status;
        }
        names_add(&work->header, name);
        free(name);
    }
    return STATUS_OK;
}

static void hint_columns(const struct work *work, struct error *error)
{
    error_hint(error, "; its columns are ");
    for (int i = 0; i < work->table.count; i++)
        error_hint(error, "%s%s", i > 0 ? ", " : "", work->table.items[i]);
}

/* A name of a column of the table that an option gives. */
static enum status find_column(const struct work *work, const char *name, const char *option, const char **column,
                               struct error *error)
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

static enum status find_in_header(const struct work *work, const char *name, const char *option, int *index,
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

static void set_target(struct work *work, int field, const char *column)
{
    free(work->targets.items[field]);
    work->targets.items[field] = strdup(column);
    if (work->targets.items[field] == NULL)
        abort();
}

/* --map CSV=COLUMN: the last equals sign, as those in names of the table are the rarer ones. */
static enum status apply_maps(struct work *work, bool *settled, struct error *error)
{
    for (size_t i = 0; i < work->options->map.count; i++) {
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
            status = find_column(work, equals + 1, "map", &column, error);
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

static enum status apply_ignored(struct work *work, bool *settled, struct error *error)
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

static enum status extra_column(const struct work *work, const char *name, int found, struct error *error)
{
    error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\" that the header of %s names%s",
              work->spec->table->sql, name, work->spec->source->name,
              found == NAME_AMBIGUOUS ? ", only several that differ in upper and lower case" : "");
    hint_columns(work, error);
    error_hint(
        error,
        ". Say which it is with --map '%s=COLUMN', or leave it out with --ignore-columns '%s'; if the first line is no "
        "header, say --no-header",
        name, name);
    return error->status;
}

/* By the names of the header. */
static enum status apply_names(struct work *work, const bool *settled, struct error *error)
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
        else if (!work->ignore_rest)
            return extra_column(work, name, column, error);
    }
    return STATUS_OK;
}

/* --columns: the names of the fields in their order, but for those that are ignored. */
static enum status apply_columns(struct work *work, const bool *settled, struct error *error)
{
    struct names given = {0};
    enum status status = names_split(&given, work->options->columns, "columns", error);
    int used = 0, fields = 0;

    if (status == STATUS_OK && (work->options->map.count > 0 || work->ignore_rest))
        status =
            error_set(error, STATUS_USAGE, "--columns names all fields in their order: with it, --%s has no meaning",
                      work->ignore_rest ? "ignore-columns *" : "map");
    if (status == STATUS_OK && work->header.count == 0)
        for (int i = 0; i < given.count; i++)
            names_add(&work->targets, NULL);
    for (int i = 0; i < work->targets.count; i++)
        fields += work->header.count == 0 || !settled[i];
    if (status == STATUS_OK && fields != given.count)
        status = error_set(error, STATUS_USAGE, "--columns names %d columns, the header of %s has %d", given.count,
                           work->spec->source->name, fields);
    for (int i = 0; status == STATUS_OK && i < work->targets.count; i++) {
        const struct table_column *column;

        if (work->header.count > 0 && settled[i])
            continue;
        column = table_find_column(work->spec->table, given.items[used++]);
        if (column == NULL) {
            status = error_set(error, STATUS_USAGE, "the target's table %s has no column \"%s\"",
                               work->spec->table->sql, given.items[used - 1]);
            hint_columns(work, error);
        } else {
            set_target(work, i, column->name);
        }
    }
    names_reset(&given);
    return status;
}

static enum status apply_fields(struct work *work, struct error *error)
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

static enum status apply_constants(struct work *work, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < work->options->set.count; i++) {
        const char *text = work->options->set.items[i], *equals = strchr(text, '='), *column;
        char *name, *expanded = NULL, *converted = NULL;

        if (equals == NULL || equals == text)
            return error_set(error, STATUS_USAGE, "--set %s: write COLUMN=TEXT", text);
        name = strndup(text, (size_t)(equals - text));
        status = name != NULL ? find_column(work, name, "set", &column, error)
                              : error_set(error, STATUS_SYSTEM, "out of memory");
        free(name);
        if (status == STATUS_OK && strcmp(column, work->spec->table->time_name) == 0)
            status = error_set(error, STATUS_USAGE, "--set %s: the time column is read from each row", column);
        if (status == STATUS_OK)
            status = mapping_expand(equals + 1, work->spec->source->path, &expanded, error);
        if (status == STATUS_OK)
            status = convert(work, expanded, true, &converted, error);
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
static void all_columns(const struct work *work, struct names *columns)
{
    for (int i = 0; i < work->targets.count; i++)
        if (work->targets.items[i] != NULL)
            names_add(columns, work->targets.items[i]);
    for (int i = 0; i < work->constants.count; i++)
        names_add(columns, work->constants.items[i]);
}

static enum status check_columns(const struct work *work, const struct names *columns, struct error *error)
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

static enum status find_time(struct work *work, struct error *error)
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

/* ---- What COPY is told ---- */

static char *list_of(const struct names *names)
{
    struct sql list = {0};

    for (int i = 0; i < names->count; i++) {
        if (i > 0)
            sql_add(&list, ", ");
        sql_add_identifier(&list, names->items[i]);
    }
    return list.text;
}

/* FORCE_NULL, FORCE_NOT_NULL: never of constants, which are what they are. */
static enum status add_forced(const struct work *work, const char *option, const char *given, const char *name,
                              struct sql *text, struct error *error)
{
    struct names wanted = {0}, forced = {0};
    enum status status = STATUS_OK;
    bool all = given != NULL && strcmp(given, "*") == 0;

    if (given == NULL)
        return STATUS_OK;
    if (!all)
        status = names_split(&wanted, given, option, error);
    for (int i = 0; status == STATUS_OK && i < wanted.count; i++) {
        const char *column;

        status = find_column(work, wanted.items[i], option, &column, error);
        if (status == STATUS_OK && !names_have_exactly(&work->targets, column))
            status = error_set(error, STATUS_USAGE, "--%s names column \"%s\", which no field of %s goes to", option,
                               column, work->spec->source->name);
        if (status == STATUS_OK && !names_have_exactly(&forced, column))
            names_add(&forced, column);
    }
    for (int i = 0; all && i < work->targets.count; i++)
        if (work->targets.items[i] != NULL)
            names_add(&forced, work->targets.items[i]);
    if (status == STATUS_OK) {
        char *list = list_of(&forced);

        sql_add(text, ", %s (%s)", name, list);
        free(list);
    }
    names_reset(&wanted);
    names_reset(&forced);
    return status;
}

static void add_byte(struct sql *text, const char *name, char byte)
{
    sql_add(text, ", %s ", name);
    sql_add_literal(text, (char[]){byte, '\0'});
}

static enum status make_copy_options(struct work *work, const struct shape_dialect *dialect, struct error *error)
{
    struct sql text = {0};
    enum status status;

    sql_add(&text, "FORMAT csv");
    add_byte(&text, "DELIMITER", dialect->delimiter);
    add_byte(&text, "QUOTE", dialect->quote);
    add_byte(&text, "ESCAPE", dialect->escape);
    sql_add(&text, ", NULL ");
    sql_add_literal(&text, work->spec->source->dialect.null_text);
    status = add_forced(work, "force-null", work->options->force_null, "FORCE_NULL", &text, error);
    if (status == STATUS_OK)
        status = add_forced(work, "force-not-null", work->options->force_not_null, "FORCE_NOT_NULL", &text, error);
    if (work->encoding != NULL)
        sql_add(&text, ", ENCODING '%s'", work->encoding);
    work->mapping->copy_options = text.text;
    return status;
}

/* The server takes only single bytes of its own encoding for these: ASCII. Others are replaced by bytes that NULL has
 * not. */
static struct shape_dialect dialect_for_server(const struct dialect *dialect)
{
    static const char delimiters[] = ",;|\t", quotes[] = "\"'~";
    struct shape_dialect to = {dialect->delimiter, dialect->quote, dialect->escape};
    const char *delimiter = delimiters, *quote = quotes;

    if ((unsigned char)to.delimiter < 0x80 && (unsigned char)to.quote < 0x80 && (unsigned char)to.escape < 0x80)
        return to;
    while (delimiter[1] != '\0' && strchr(dialect->null_text, *delimiter) != NULL)
        delimiter++;
    while (quote[1] != '\0' && strchr(dialect->null_text, *quote) != NULL)
        quote++;
    return (struct shape_dialect){*delimiter, *quote, *quote};
}

/* ---- The shape ---- */

static void describe_shape(const struct work *work, const struct shape_spec *shape, struct sql *text)
{
    sql_add(text, "%d fields:", shape->field_count);
    for (int i = 0; i < shape->column_count; i++)
        if (shape->columns[i].kind != SHAPE_CONSTANT)
            sql_add(text, " %d", shape->columns[i].field + 1);
    for (int i = 0; i < work->shown.count; i++) {
        sql_add(text, " ");
        sql_add_literal(text, work->shown.items[i]);
    }
    if (shape->trim)
        sql_add(text, " trim");
    if (shape->time.form != TIME_FORM_ISO)
        sql_add(text, " time %s", work->options->time_format);
    if (memcmp(&shape->from, &shape->to, sizeof shape->from) != 0)
        sql_add(text, " delimiter %02x quote %02x escape %02x", (unsigned char)shape->from.delimiter,
                (unsigned char)shape->from.quote, (unsigned char)shape->from.escape);
}

static enum status make_shape(struct work *work, const struct shape_dialect *to, struct error *error)
{
    const struct dialect *dialect = &work->spec->source->dialect;
    struct mapping *mapping = work->mapping;
    struct shape_column *columns = calloc((size_t)(work->targets.count + work->constants.count) + 1, sizeof *columns);
    struct shape_spec shape = {
        .from = {dialect->delimiter, dialect->quote, dialect->escape},
        .to = *to,
        .null_text = dialect->null_text,
        .trim = work->options->trim,
        .field_count = work->targets.count,
        .columns = columns,
        .time = mapping->time,
    };
    enum status status = STATUS_OK;
    struct sql text = {0};
    bool needed = shape.trim || work->constants.count > 0 || mapping->time.form != TIME_FORM_ISO ||
                  memcmp(&shape.from, &shape.to, sizeof shape.from) != 0;

    if (columns == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < work->targets.count; i++) {
        bool rewritten = i == mapping->time_index && mapping->time.form != TIME_FORM_ISO;

        needed = needed || work->targets.items[i] == NULL;
        if (work->targets.items[i] != NULL)
            columns[shape.column_count++] = (struct shape_column){rewritten ? SHAPE_TIME : SHAPE_FIELD, i, NULL};
    }
    for (int i = 0; i < work->constants.count; i++)
        columns[shape.column_count++] = (struct shape_column){SHAPE_CONSTANT, 0, work->texts.items[i]};
    sql_add(&text, "%s", "");
    if (needed) {
        struct names fields = {0};

        for (int i = 0; i < work->targets.count; i++)
            names_add(&fields, work->targets.items[i] != NULL ? work->targets.items[i] : work->header.items[i]);
        shape.field_names = (const char *const *)fields.items;
        status = shape_create(&shape, &mapping->shape, error);
        describe_shape(work, &shape, &text);
        names_reset(&fields);
    }
    mapping->text = text.text;
    free(columns);
    return status;
}

static enum status mapping_finish(struct work *work, struct error *error)
{
    struct shape_dialect to = dialect_for_server(&work->spec->source->dialect);
    struct names columns = {0};
    enum status status;

    all_columns(work, &columns);
    status = check_columns(work, &columns, error);
    if (status == STATUS_OK)
        status = find_time(work, error);
    work->mapping->column_list = list_of(&columns);
    names_reset(&columns);
    if (status == STATUS_OK)
        status = make_copy_options(work, &to, error);
    if (status == STATUS_OK)
        status = make_shape(work, &to, error);
    return status;
}

enum status mapping_make(const struct mapping_spec *spec, struct mapping *mapping, struct error *error)
{
    struct work work = {.spec = spec, .options = spec->options, .mapping = mapping};
    enum status status = STATUS_OK;

    *mapping = (struct mapping){0};
    for (size_t i = 0; i < spec->table->column_count; i++)
        names_add(&work.table, spec->table->columns[i].name);
    if (work.options->encoding != NULL)
        status = find_encoding(&work, error);
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
    names_reset(&work.targets);
    names_reset(&work.constants);
    names_reset(&work.texts);
    names_reset(&work.shown);
    free(work.encoding);
    return status;
}

void mapping_reset(struct mapping *mapping)
{
    free(mapping->column_list);
    free(mapping->copy_options);
    free(mapping->text);
    shape_free(mapping->shape);
    *mapping = (struct mapping){0};
}
