/* Plain and partitioned tables that become hypertables: --hypertable 'table=time_column[,interval]'. */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const time_types[] = {"timestamp with time zone", "timestamp without time zone", "date"};
static const char *const number_types[] = {"bigint", "integer", "smallint"};

struct words {
    char *table, *column, *interval; /* interval NULL: none */
};

/* Outside of quoted names. */
static const char *find_outside(const char *text, char letter)
{
    bool quoted = false;

    for (; *text != '\0'; text++) {
        if (*text == '"')
            quoted = !quoted;
        else if (*text == letter && !quoted)
            return text;
    }
    return NULL;
}

static char *copy(const char *from, size_t size)
{
    struct sql text = {0};

    sql_add(&text, "%.*s", (int)size, from);
    return text.text;
}

/* The time column as it is stored: quotes may be there, as around the table's name. */
static char *unquoted(const char *from, size_t size)
{
    struct sql text = {0};

    if (size < 2 || from[0] != '"' || from[size - 1] != '"')
        return copy(from, size);
    sql_add(&text, "%s", "");
    for (size_t i = 1; i < size - 1; i++) {
        sql_add(&text, "%c", from[i]);
        i += from[i] == '"';
    }
    return text.text;
}

static enum status split(const char *text, struct words *words, struct error *error)
{
    const char *equals = find_outside(text, '=');
    const char *comma = equals != NULL ? find_outside(equals + 1, ',') : NULL;
    size_t size = equals == NULL ? 0 : comma != NULL ? (size_t)(comma - equals - 1) : strlen(equals + 1);

    *words = (struct words){0};
    if (equals == NULL || equals == text || size == 0 || (comma != NULL && comma[1] == '\0'))
        return error_set(error, STATUS_USAGE,
                         "--hypertable %s: write TABLE=TIME_COLUMN or TABLE=TIME_COLUMN,INTERVAL, such as"
                         " 'metrics=time,1 day'",
                         text);
    words->table = copy(text, (size_t)(equals - text));
    words->column = unquoted(equals + 1, size);
    words->interval = comma != NULL ? copy(comma + 1, strlen(comma + 1)) : NULL;
    return STATUS_OK;
}

static bool is_any(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* What is asked of the source about the table; the unique indexes are those that a hypertable cannot have. */
static enum status ask(const struct schema *schema, const struct words *words, PGresult **result, struct error *error)
{
    char *table = pg_literal(words->table), *column = pg_literal(words->column);
    enum status status = pg_runf(
        schema->source.pg, result, error,
        "SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relispartition AS is_partition,"
        " pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS type,"
        " (SELECT pg_catalog.string_agg(i.relname, ', ') FROM pg_catalog.pg_index x"
        " JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid AND (x.indisunique OR"
        " x.indisexclusion) AND NOT a.attnum = ANY (x.indkey)) AS unique_without"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = %s AND NOT a.attisdropped"
        " AND a.attnum > 0 LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
        " WHERE c.oid = coalesce(pg_catalog.to_regclass(%s), pg_catalog.to_regclass('public.' || %s))",
        column, table, table);

    free(table);
    free(column);
    return status;
}

static enum status refuse(const PGresult *found, const struct words *words, const struct schema *schema,
                          struct error *error)
{
    const char *kind, *without;

    if (PQntuples(found) != 1)
        return error_set(error, STATUS_USAGE, "--hypertable: the source has no table %s", words->table);
    kind = PQgetvalue(found, 0, PQfnumber(found, "kind"));
    if (kind[0] != 'r' && kind[0] != 'p')
        return error_set(error, STATUS_USAGE, "--hypertable: %s is no table", words->table);
    if (PQgetvalue(found, 0, PQfnumber(found, "is_partition"))[0] == 't')
        return error_set(error, STATUS_USAGE, "--hypertable: %s is a partition; name the table it is a part of",
                         words->table);
    if (schema_is_hypertable(schema, PQgetvalue(found, 0, PQfnumber(found, "schema")),
                             PQgetvalue(found, 0, PQfnumber(found, "name"))))
        return error_set(error, STATUS_USAGE,
                         "--hypertable: %s is named twice, or is a hypertable in the source, and is made as one there",
                         words->table);
    if (PQgetisnull(found, 0, PQfnumber(found, "type")))
        return error_set(error, STATUS_USAGE, "--hypertable: %s has no column \"%s\"", words->table, words->column);
    without = PQgetvalue(found, 0, PQfnumber(found, "unique_without"));
    if (without[0] != '\0')
        return error_set(error, STATUS_USAGE,
                         "--hypertable: %s is unique by %s, without the column \"%s\", which TimescaleDB cannot have in"
                         " a hypertable: add the column to it in the source, or drop it there",
                         words->table, without, words->column);
    return STATUS_OK;
}

/* As the target's view will say it, so that both can be compared. */
static enum status read_interval(const struct schema *schema, const struct words *words, const char *type,
                                 char **interval, struct error *error)
{
    bool is_time = is_any(type, time_types, sizeof time_types / sizeof *time_types);
    char *literal, *rest;
    struct sql query = {0};
    enum status status;

    *interval = NULL;
    if (!is_time && !is_any(type, number_types, sizeof number_types / sizeof *number_types))
        return error_set(error, STATUS_USAGE, "--hypertable: \"%s\" of %s is a %s, by which no hypertable is cut",
                         words->column, words->table, type);
    if (!is_time) {
        if (words->interval == NULL || strtoll(words->interval, &rest, 10) <= 0 || *rest != '\0')
            return error_set(error, STATUS_USAGE,
                             "--hypertable: \"%s\" of %s is a number: how many of them a chunk is to hold comes behind"
                             " a comma, such as %s=%s,86400",
                             words->column, words->table, words->table, words->column);
        *interval = copy(words->interval, strlen(words->interval));
        return STATUS_OK;
    }
    if (words->interval == NULL)
        return STATUS_OK;
    literal = pg_literal(words->interval);
    /* A month has 30 days there, and 36 hours are a day and a half. */
    sql_add(&query,
            "SELECT 'INTERVAL ' || pg_catalog.quote_literal(pg_catalog.justify_hours(pg_catalog.make_interval(days =>"
            " ((extract(year FROM i) * 12 + extract(month FROM i)) * 30 + extract(day FROM i))::int, hours =>"
            " extract(hour FROM i)::int, mins => extract(minute FROM i)::int, secs => extract(second FROM i)::float8)))"
            " FROM (SELECT %s::interval) given(i)",
            literal);
    status = pg_value(schema->target.pg, query.text, interval, error);
    if (status == STATUS_DATA)
        status = error->status = STATUS_USAGE;
    if (status == STATUS_USAGE)
        error_prefix(error, "--hypertable %s", words->table);
    free(literal);
    sql_reset(&query);
    return status;
}

static void add(struct schema *schema, const PGresult *found, const struct words *words, char *interval)
{
    struct schema_hypertable *table;

    schema->hypertables = schema_grown(schema->hypertables, schema->hypertable_count, sizeof *schema->hypertables);
    table = &schema->hypertables[schema->hypertable_count++];
    *table = (struct schema_hypertable){
        .schema = schema_field(found, 0, "schema"),
        .name = schema_field(found, 0, "name"),
        .dimensions = schema_grown(NULL, 0, sizeof *table->dimensions),
        .dimension_count = 1,
    };
    table->dimensions[0] = (struct schema_dimension){
        .column = copy(words->column, strlen(words->column)),
        .interval = interval,
    };
    table->sql = pg_qualified(table->schema, table->name);
}

/* As an argument of pg_dump: a pattern in quotes is a name. */
static enum status find_partitions(struct schema *schema, const char *oid, struct error *error)
{
    struct sql query = {0};
    enum status status;

    sql_add(&query,
            "SELECT '--exclude-table=\"' || pg_catalog.replace(n.nspname, '\"', '\"\"') || '\".\"' ||"
            " pg_catalog.replace(c.relname, '\"', '\"\"') || '\"' FROM pg_catalog.pg_partition_tree(%s) p"
            " JOIN pg_catalog.pg_class c ON c.oid = p.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE p.level > 0",
            oid);
    status = schema_texts(schema->source.pg, query.text, &schema->partitions, &schema->partition_count, error);
    sql_reset(&query);
    return status;
}

static enum status find_one(struct schema *schema, const struct words *words, struct error *error)
{
    PGresult *found = NULL;
    char *interval = NULL;
    enum status status = ask(schema, words, &found, error);

    if (status == STATUS_OK)
        status = refuse(found, words, schema, error);
    if (status == STATUS_OK)
        status = read_interval(schema, words, PQgetvalue(found, 0, PQfnumber(found, "type")), &interval, error);
    if (status == STATUS_OK) {
        add(schema, found, words, interval);
        status = find_partitions(schema, PQgetvalue(found, 0, PQfnumber(found, "oid")), error);
    }
    PQclear(found);
    return status;
}

enum status schema_find_named(struct schema *schema, struct error *error)
{
    enum status status = STATUS_OK;

    for (int i = 0; i < schema->request->hypertable_count && status == STATUS_OK; i++) {
        struct words words;

        status = split(schema->request->hypertables[i], &words, error);
        if (status == STATUS_OK)
            status = find_one(schema, &words, error);
        free(words.table);
        free(words.column);
        free(words.interval);
    }
    return status;
}
