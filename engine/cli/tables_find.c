/* Which tables are meant. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/tables.h"

/*
 * Of the source: hypertables, tables partitioned by one range, and ordinary tables, of which the target decides. Parts
 * of others, and what belongs to extensions or to us, are none. The rows of a continuous aggregate are no table of
 * this kind either: they come of refreshing it, or by --cascade. %1$s: the expression, %2$s: names that were given,
 * %3$s: more conditions for hypertables, %4$s: the ledger's schema.
 */
static const char candidates_sql[] =
    "SELECT format('%%I.%%I', n.nspname, c.relname), c.relkind = 'p' OR %3$s FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid"
    " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'"
    " AND (c.relkind = 'r' OR (p.partstrat = 'r' AND p.partnatts = 1))"
    " AND n.nspname !~ '^(pg_|information_schema$|_timescaledb_)' AND n.nspname <> %4$s"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass"
    " AND d.objid = c.oid AND d.deptype = 'e')"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)"
    " AND n.nspname || '.' || c.relname ~ %1$s"
    " AND c.oid <> ALL (ARRAY[%2$s]::oid[]) ORDER BY n.nspname, c.relname";

/* Hypertables and partitioned tables of the target. */
static const char divided_sql[] =
    "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
    " AND (c.relkind = 'p' OR %s) ORDER BY 1";

static const char is_hypertable[] = "(n.nspname, c.relname) IN (SELECT h.schema_name, h.table_name FROM"
                                    " _timescaledb_catalog.hypertable h)";

static enum status hypertable_condition(struct pg *pg, const char **condition, struct error *error)
{
    char *found = NULL;
    enum status status = pg_connect(pg, error);

    if (status == STATUS_OK)
        status = pg_value(pg, "SELECT pg_catalog.to_regclass('_timescaledb_catalog.hypertable')", &found, error);
    *condition = found != NULL ? is_hypertable : "false";
    free(found);
    return status;
}

static enum status names_add_pair(struct table_names **names, int32_t *count, const char *source, size_t source_size,
                                  const char *target, struct error *error)
{
    struct table_names *more = reallocarray(*names, (size_t)*count + 1, sizeof *more);

    if (more == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    *names = more;
    more[*count] = (struct table_names){strndup(source, source_size), strdup(target)};
    (*count)++;
    if (more[*count - 1].source == NULL || more[*count - 1].target == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    return STATUS_OK;
}

static enum status given(const struct options *options, struct table_names **names, int32_t *count, struct error *error)
{
    enum status status = STATUS_OK;

    for (int i = 0; i < options->tables.count && status == STATUS_OK; i++) {
        const char *text = options->tables.items[i], *sign = options_table_sign(text);

        if (sign != NULL && (sign == text || sign[1] == '\0'))
            return error_set(error, STATUS_USAGE, "--table %s: write SOURCE=TARGET, or one name for both", text);
        if (options->source_table != NULL)
            return names_add_pair(names, count, options->source_table, strlen(options->source_table), text, error);
        status = names_add_pair(names, count, text, sign != NULL ? (size_t)(sign - text) : strlen(text),
                                sign != NULL ? sign + 1 : text, error);
    }
    return status;
}

static bool is_divided(const PGresult *divided, const char *name)
{
    for (int i = 0; i < PQntuples(divided); i++)
        if (strcmp(PQgetvalue(divided, i, 0), name) == 0)
            return true;
    return false;
}

static enum status ask_candidates(struct pg *pg, const struct options *options, const struct table_names *names,
                                  int32_t count, PGresult **result, struct error *error)
{
    char *expression = pg_literal(options->filter), *schema = pg_literal(options->ledger_schema);
    struct sql without = {0};
    const char *condition;
    enum status status = hypertable_condition(pg, &condition, error);

    sql_add(&without, "0");
    for (int32_t i = 0; i < count; i++) {
        sql_add(&without, ", pg_catalog.to_regclass(");
        sql_add_literal(&without, names[i].source);
        sql_add(&without, ")");
    }
    if (status == STATUS_OK)
        status = pg_runf(pg, result, error, candidates_sql, expression, without.text, condition, schema);
    if (status != STATUS_OK && strcmp(error->sqlstate, "2201B") == 0) {
        error->status = status = STATUS_USAGE;
        error_prefix(error, "--filter %s", options->filter);
    }
    sql_reset(&without);
    free(expression);
    free(schema);
    return status;
}

static enum status filtered(struct job_sides *sides, const struct options *options, struct table_names **names,
                            int32_t *count, struct error *error)
{
    PGresult *found = NULL, *divided = NULL;
    int32_t before = *count;
    const char *condition;
    enum status status = ask_candidates(sides->source_names, options, *names, *count, &found, error);

    if (status == STATUS_OK)
        status = hypertable_condition(sides->target_names, &condition, error);
    if (status == STATUS_OK)
        status = pg_runf(sides->target_names, &divided, error, divided_sql, condition);
    for (int i = 0; status == STATUS_OK && i < PQntuples(found); i++) {
        const char *name = PQgetvalue(found, i, 0);

        if (PQgetvalue(found, i, 1)[0] == 't' || is_divided(divided, name))
            status = names_add_pair(names, count, name, strlen(name), name, error);
    }
    if (status == STATUS_OK && *count == before && before == 0)
        status = error_set(error, STATUS_USAGE,
                           "--filter %s matches no table: of the source these are hypertables, tables that are"
                           " partitioned by a range, and those that are one of these in the target; it is compared to"
                           " schema.name",
                           options->filter);
    PQclear(found);
    PQclear(divided);
    return status;
}

enum status tables_find(struct job_sides *sides, const struct options *options, struct table_names **names,
                        int32_t *count, struct error *error)
{
    enum status status;

    *names = NULL;
    *count = 0;
    status = given(options, names, count, error);
    if (status == STATUS_OK)
        status = pg_connect(sides->source_names, error);
    if (status == STATUS_OK)
        status = pg_connect(sides->target_names, error);
    if (status == STATUS_OK && options->filter != NULL)
        status = filtered(sides, options, names, count, error);
    return status;
}
