/* What was done is in a table of the ledger's schema, written in the transaction that does it. */
#include "engine/method/schema_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/log.h"
#include "writers/ledger.h"

#define SAVED "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "

void schema_hash(const char *text, char hash[33])
{
    XXH128_hash_t value = XXH3_128bits(text, strlen(text));

    snprintf(hash, 33, "%016" PRIx64 "%016" PRIx64, value.high64, value.low64);
}

enum status schema_ledger_prepare(struct schema *schema, struct error *error)
{
    struct ledger ledger;
    char *found = NULL, *literal = pg_literal(schema->step_table);
    struct sql query = {0};
    enum status status;

    sql_add(&query, "SELECT 1 WHERE pg_catalog.to_regclass(%s) IS NOT NULL", literal);
    free(literal);
    ledger_init(&ledger, schema->request->ledger_schema, "");
    status = ledger_prepare(schema->target.pg, &ledger, error);
    ledger_reset(&ledger);
    if (status == STATUS_OK)
        status = pg_value(schema->target.pg, query.text, &found, error);
    if (status == STATUS_OK && found == NULL)
        status = pg_runf(schema->target.pg, NULL, error,
                         "CREATE TABLE IF NOT EXISTS %s (source text NOT NULL, kind text NOT NULL, name text NOT NULL,"
                         " source_hash text NOT NULL, target_hash text, rows bigint,"
                         " done timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (source, kind, name));"
                         " COMMENT ON TABLE %s IS 'hyperfill: what hyperfill schema has made; never edit'",
                         schema->step_table, schema->step_table);
    free(found);
    sql_reset(&query);
    return status;
}

static int compare_steps(const void *a, const void *b)
{
    const struct schema_step *left = a, *right = b;
    int order = strcmp(left->kind, right->kind);

    return order != 0 ? order : strcmp(left->name, right->name);
}

void schema_ledger_free(struct schema *schema)
{
    for (size_t i = 0; i < schema->step_count; i++) {
        free(schema->steps[i].kind);
        free(schema->steps[i].name);
        free(schema->steps[i].source_hash);
        free(schema->steps[i].target_hash);
    }
    free(schema->steps);
    schema->steps = NULL;
    schema->step_count = 0;
}

enum status schema_ledger_read(struct schema *schema, struct error *error)
{
    char *table = pg_literal(schema->step_table), *source = pg_literal(schema->source_key), *found = NULL;
    struct sql query = {0};
    PGresult *result = NULL;
    enum status status;

    schema_ledger_free(schema);
    sql_add(&query, "SELECT 1 WHERE pg_catalog.to_regclass(%s) IS NOT NULL", table);
    status = pg_value(schema->target.pg, query.text, &found, error);
    if (status == STATUS_OK && found != NULL)
        status = pg_runf(schema->target.pg, &result, error,
                         "SELECT kind, name, source_hash, target_hash FROM %s WHERE source = %s", schema->step_table,
                         source);
    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        schema->steps = schema_grown(schema->steps, schema->step_count, sizeof *schema->steps);
        schema->steps[schema->step_count++] = (struct schema_step){
            .kind = schema_field(result, row, "kind"),
            .name = schema_field(result, row, "name"),
            .source_hash = schema_field(result, row, "source_hash"),
            .target_hash = schema_field(result, row, "target_hash"),
        };
    }
    if (schema->step_count > 0)
        qsort(schema->steps, schema->step_count, sizeof *schema->steps, compare_steps);
    PQclear(result);
    sql_reset(&query);
    free(found);
    free(table);
    free(source);
    return status;
}

const struct schema_step *schema_ledger_find(const struct schema *schema, const char *kind, const char *name)
{
    struct schema_step like = {.kind = (char *)kind, .name = (char *)name};

    if (schema->step_count == 0)
        return NULL;
    return bsearch(&like, schema->steps, schema->step_count, sizeof *schema->steps, compare_steps);
}

void schema_ledger_add(struct sql *sql, const struct schema *schema, const char *kind, const char *name,
                       const char *source_text, int64_t rows)
{
    char hash[33];

    schema_hash(source_text, hash);
    sql_add(sql, "INSERT INTO %s (source, kind, name, source_hash, rows) VALUES (", schema->step_table);
    sql_add_literal(sql, schema->source_key);
    sql_add(sql, ", ");
    sql_add_literal(sql, kind);
    sql_add(sql, ", ");
    sql_add_literal(sql, name);
    sql_add(sql, ", '%s', nullif('%" PRId64 "', '-1')::bigint) ON CONFLICT (source, kind, name) DO UPDATE SET", hash,
            rows);
    sql_add(sql, " source_hash = excluded.source_hash, target_hash = NULL, rows = excluded.rows, done = now()");
}

/* What another role, another server or an administrator could mend, and nothing else hangs on. */
static bool is_refusal(const char *sqlstate)
{
    static const char *const refusals[] = {"42501", "42704", "0A000", "58P01", "55000", "0LP01", "22023"};

    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (strcmp(sqlstate, refusals[i]) == 0)
            return true;
    return false;
}

enum status schema_do(struct schema *schema, const char *kind, const char *name, const char *statements,
                      const char *source_text, bool optional, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    if (schema->request->dry_run) {
        size_t size = strlen(statements);

        fprintf(schema->request->output, "%s%s\n\n", statements, size > 0 && statements[size - 1] == ';' ? "" : ";");
        schema->result->made++;
        return STATUS_OK;
    }
    if (stop_level(schema->request->stop) >= STOP_DRAIN)
        return error_set(error, STATUS_STOPPED, "stopped before %s was made; run it again to go on", name);
    sql_add(&sql, SAVED "%s;\n", statements);
    if (kind != NULL)
        schema_ledger_add(&sql, schema, kind, name, source_text, -1);
    sql_add(&sql, ";\nCOMMIT");
    status = pg_run(schema->target.pg, sql.text, NULL, error);
    sql_reset(&sql);
    if (status == STATUS_OK) {
        log_line(LOG_DEBUG, "made %s", name);
        schema->result->made++;
        return STATUS_OK;
    }
    pg_rollback(schema->target.pg);
    if (!optional || !is_refusal(error->sqlstate) || !pg_connected(schema->target.pg)) {
        error_prefix(error, "%s", name);
        return status;
    }
    schema_leave_out(schema, "%s: %s", name, error->text);
    error_reset(error);
    return STATUS_OK;
}
