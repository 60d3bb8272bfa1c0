/* What COPY is told of an input, and what it gets of its records. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/mapping_private.h"

/* Bytes that stand for themselves in no encoding that the server has as its own: two-byte characters may hold them. */
static const char *const client_only_encodings[] = {"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"};

/* ---- Encodings ---- */

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

enum status mapping_find_encoding(struct mapping_work *work, struct error *error)
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
enum status mapping_convert(const struct mapping_work *work, const char *text, bool to_input, char **converted,
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

/* ---- What COPY is told ---- */

/* FORCE_NULL, FORCE_NOT_NULL: never of constants, which are what they are. */
static enum status add_forced(const struct mapping_work *work, const char *option, const char *given, const char *name,
                              struct names *forced, struct sql *text, struct error *error)
{
    struct names wanted = {0};
    enum status status = STATUS_OK;
    bool all = given != NULL && strcmp(given, "*") == 0;

    if (given == NULL)
        return STATUS_OK;
    if (!all)
        status = names_split(&wanted, given, option, error);
    for (int i = 0; status == STATUS_OK && i < wanted.count; i++) {
        const char *column;

        status = mapping_find_column(work, wanted.items[i], option, &column, error);
        if (status == STATUS_OK && !names_have_exactly(&work->targets, column))
            status = error_set(error, STATUS_USAGE, "--%s names column \"%s\", which no field of %s goes to", option,
                               column, work->spec->source->name);
        if (status == STATUS_OK && !names_have_exactly(forced, column))
            names_add(forced, column);
    }
    for (int i = 0; all && i < work->targets.count; i++)
        if (work->targets.items[i] != NULL)
            names_add(forced, work->targets.items[i]);
    if (status == STATUS_OK) {
        char *list = names_quoted(forced);

        sql_add(text, ", %s (%s)", name, list);
        free(list);
    }
    names_reset(&wanted);
    return status;
}

static void add_byte(struct sql *text, const char *name, char byte)
{
    sql_add(text, ", %s ", name);
    sql_add_literal(text, (char[]){byte, '\0'});
}

static enum status make_copy_options(struct mapping_work *work, const struct shape_dialect *dialect,
                                     struct error *error)
{
    struct sql text = {0};
    enum status status;

    sql_add(&text, "FORMAT csv");
    add_byte(&text, "DELIMITER", dialect->delimiter);
    add_byte(&text, "QUOTE", dialect->quote);
    add_byte(&text, "ESCAPE", dialect->escape);
    sql_add(&text, ", NULL ");
    sql_add_literal(&text, work->spec->source->dialect.null_text);
    status = add_forced(work, "force-null", work->options->force_null, "FORCE_NULL", &work->mapping->forced_null, &text,
                        error);
    if (status == STATUS_OK)
        status = add_forced(work, "force-not-null", work->options->force_not_null, "FORCE_NOT_NULL",
                            &work->mapping->forced_not_null, &text, error);
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

static void describe_shape(const struct mapping_work *work, const struct shape_spec *shape, struct sql *text)
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

static enum status make_shape(struct mapping_work *work, const struct shape_dialect *to, struct error *error)
{
    const struct dialect *dialect = &work->spec->source->dialect;
    struct mapping *mapping = work->mapping;
    struct shape_column *columns = calloc((size_t)(work->targets.count + work->constants.count) + 1, sizeof *columns);
    struct shape_spec shape = {
        .from = {dialect->delimiter, dialect->quote, dialect->escape},
        .to = *to,
        .null_text = dialect->null_text,
        .trim = dialect->trim,
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

enum status mapping_make_copy(struct mapping_work *work, struct error *error)
{
    struct shape_dialect to = dialect_for_server(&work->spec->source->dialect);
    enum status status = make_copy_options(work, &to, error);

    work->mapping->dialect = to;
    work->mapping->column_list = names_quoted(&work->mapping->columns);
    return status == STATUS_OK ? make_shape(work, &to, error) : status;
}
