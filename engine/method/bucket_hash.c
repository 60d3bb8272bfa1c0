/* SQL of the hash of a bucket's rows. */
#include "engine/method/bucket_hash.h"

#include <string.h>

static void column_add(struct bucket_columns *chosen, const struct table_column *source,
                       const struct table_column *target)
{
    /* COPY would have turned the text into the target's type; a type of the user's may be unknown to the source. */
    bool same = strcmp(source->type, target->type) == 0;
    bool known = target->base[0] != '\0' && strcmp(target->base, "enum") != 0;
    const char *comma = chosen->source.size == 0 ? "ROW(" : ", ";

    sql_add(&chosen->source, "%s", comma);
    sql_add_identifier(&chosen->source, source->name);
    sql_add(&chosen->target, "%s", comma);
    sql_add_identifier(&chosen->target, target->name);
    if (!same)
        sql_add(&chosen->source, "::%s", known ? target->type : "text");
    if (!same && !known)
        sql_add(&chosen->target, "::text");
}

static enum status column_choose(struct bucket_columns *chosen, const struct table *source, const struct table *target,
                                 const char *name, struct error *error)
{
    const struct table_column *of_source = table_find_column(source, name);
    const struct table_column *of_target = table_find_column(target, name);

    if (of_source == NULL || of_target == NULL)
        return error_set(error, STATUS_USAGE,
                         "%s has no column \"%s\": name those that both sides have, and that are the same on both, with"
                         " --columns",
                         of_source == NULL ? source->sql : target->sql, name);
    column_add(chosen, of_source, of_target);
    return STATUS_OK;
}

enum status bucket_columns_choose(const struct table *source, const struct table *target, char *const *names,
                                  size_t count, struct bucket_columns *chosen, struct error *error)
{
    enum status status = STATUS_OK;

    *chosen = (struct bucket_columns){0};
    chosen->portable = strcmp(source->server_encoding, target->server_encoding) != 0;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = column_choose(chosen, source, target, names[i], error);
    for (size_t i = 0; count == 0 && i < target->column_count && status == STATUS_OK; i++)
        if (!target->columns[i].generated)
            status = column_choose(chosen, source, target, target->columns[i].name, error);
    sql_add(&chosen->source, ")");
    sql_add(&chosen->target, ")");
    return status;
}

void bucket_columns_reset(struct bucket_columns *chosen)
{
    sql_reset(&chosen->source);
    sql_reset(&chosen->target);
}

void bucket_hash_add(struct sql *sql, const struct bucket_columns *columns, bool of_source)
{
    const char *row = of_source ? columns->source.text : columns->target.text;

    /* A sum, which a pair of equal rows does not cancel out of, as an exclusive or would. */
    if (columns->portable)
        sql_add(sql,
                "pg_catalog.sum(('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.convert_to(%s::text, 'UTF8')), 1,"
                " 16))::pg_catalog.bit(64)::int8)::text",
                row);
    else
        sql_add(sql, "pg_catalog.sum(pg_catalog.hashtextextended(%s::text COLLATE \"C\", 0))::text", row);
}
