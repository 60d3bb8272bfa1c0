/*
 * What was found equal, in the ledger's schema:
 *
 *     hyperfill.verify     one row a comparison that has not come to its end
 *     hyperfill.verified   its ranges that were found equal, and when
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/log.h"
#include "engine/method/verify_private.h"
#include "engine/stats.h"
#include "writers/ledger_private.h"

/* Another way to hash would be another comparison. */
#define METHOD "rowhash 1"
#define WRITE_EVERY_NS INT64_C(1000000000)

struct known {
    struct range range;
    int64_t rows;
};

struct verify_memory {
    const struct verify_spec *spec;
    struct ledger ledger;
    char *comparisons, *ranges; /* tables, quoted and qualified */
    char id[33];
    struct pg *pg;
    struct known *known; /* sorted by lo */
    size_t known_count;
    struct sql noted; /* rows to be written, as VALUES */
    int64_t written_ns;
    bool lame; /* nothing more can be written */
};

static const struct pg_setting no_settings[] = {{NULL, NULL}};

static char *qualified(const char *schema, const char *name)
{
    struct sql sql = {0};

    sql_add_identifier(&sql, schema);
    sql_add(&sql, ".%s", name);
    return sql.text;
}

static void make_id(struct verify_memory *memory, struct range window)
{
    struct sql text = {0};
    XXH128_hash_t hash;

    sql_add(&text, "%s\n%s\n%" PRId64 " %" PRId64, METHOD, memory->spec->identity, window.lo, window.hi);
    hash = XXH3_128bits(text.text, text.size);
    snprintf(memory->id, sizeof memory->id, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
    sql_reset(&text);
}

void verify_memory_close(struct verify_memory *memory)
{
    if (memory == NULL)
        return;
    sql_reset(&memory->noted);
    ledger_reset(&memory->ledger);
    pg_free(memory->pg);
    free(memory->comparisons);
    free(memory->ranges);
    free(memory->known);
    free(memory);
}

static enum status memory_create(const struct verify_spec *spec, struct range window, struct verify_memory **result,
                                 struct error *error)
{
    struct verify_memory *memory = calloc(1, sizeof *memory);

    *result = memory;
    if (memory == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    memory->spec = spec;
    ledger_init(&memory->ledger, spec->ledger_schema, "");
    memory->comparisons = qualified(spec->ledger_schema, "verify");
    memory->ranges = qualified(spec->ledger_schema, "verified");
    make_id(memory, window);
    return pg_create(spec->addresses[TARGET], no_settings, spec->stop, &memory->pg, error);
}

/* Those that are there may be another role's, of whom even IF NOT EXISTS would be refused. */
static enum status make_tables(struct verify_memory *memory, struct error *error)
{
    char *schema = pg_literal(memory->ledger.schema), *found = NULL;
    struct ledger_look look = {0};
    struct sql sql = {0};
    enum status status = ledger_look(memory->pg, &memory->ledger, &look, error);

    sql_add(&sql,
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname IN ('verify', 'verified') HAVING count(*) = 2",
            schema);
    free(schema);
    if (status == STATUS_OK)
        status = pg_value(memory->pg, sql.text, &found, error);
    sql_reset(&sql);
    if (status != STATUS_OK || found != NULL) {
        free(found);
        return status;
    }
    if (!look.schema) {
        sql_add(&sql, "CREATE SCHEMA ");
        sql_add_identifier(&sql, memory->ledger.schema);
        sql_add(&sql, "; ");
    }
    sql_add(&sql,
            "CREATE TABLE IF NOT EXISTS %s (id text PRIMARY KEY, table_name text NOT NULL, what text NOT NULL,"
            " begun timestamptz NOT NULL DEFAULT now()); CREATE TABLE IF NOT EXISTS %s (id text NOT NULL,"
            " lo bigint NOT NULL, hi bigint NOT NULL, rows bigint NOT NULL, found timestamptz NOT NULL DEFAULT now(),"
            " PRIMARY KEY (id, lo));",
            memory->comparisons, memory->ranges);
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: comparisons under way; see hyperfill verify';",
            memory->comparisons);
    sql_add(&sql, "COMMENT ON TABLE %s IS 'hyperfill: what these found equal'", memory->ranges);
    status = pg_run(memory->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

static enum status begin(struct verify_memory *memory, struct error *error)
{
    struct sql sql = {0};
    enum status status = pg_connect(memory->pg, error);

    if (status == STATUS_OK)
        status = pg_run(memory->pg, LEDGER_BEGIN LEDGER_LOCK, NULL, error);
    if (status == STATUS_OK)
        status = make_tables(memory, error);
    if (memory->spec->afresh)
        sql_add(&sql, "DELETE FROM %s WHERE id = '%s'; DELETE FROM %s WHERE id = '%s'; ", memory->ranges, memory->id,
                memory->comparisons, memory->id);
    sql_add(&sql, "INSERT INTO %s (id, table_name, what) VALUES ('%s', ", memory->comparisons, memory->id);
    sql_add_literal(&sql, memory->spec->tables[TARGET]->sql);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, memory->spec->identity);
    sql_add(&sql, ") ON CONFLICT (id) DO NOTHING");
    if (status == STATUS_OK)
        status = pg_run(memory->pg, sql.text, NULL, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        status = ledger_commit_plain(memory->pg, error);
    if (status != STATUS_OK)
        pg_rollback(memory->pg);
    return status;
}

static enum status read_known(struct verify_memory *memory, char **begun, struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        pg_runf(memory->pg, &result, error,
                "SELECT r.lo, r.hi, r.rows, to_char(c.begun AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"') FROM %s c"
                " JOIN %s r ON r.id = c.id WHERE c.id = '%s' ORDER BY r.lo",
                memory->comparisons, memory->ranges, memory->id);

    if (status != STATUS_OK)
        return status;
    memory->known = calloc((size_t)PQntuples(result) + 1, sizeof *memory->known);
    if (memory->known == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        memory->known[memory->known_count++] =
            (struct known){{strtoll(PQgetvalue(result, i, 0), NULL, 10), strtoll(PQgetvalue(result, i, 1), NULL, 10)},
                           strtoll(PQgetvalue(result, i, 2), NULL, 10)};
    if (memory->known_count > 0)
        *begun = strdup(PQgetvalue(result, 0, 3));
    PQclear(result);
    return status;
}

/* Refused for good: the comparison is done without. */
static bool may_do_without(const struct error *error)
{
    return strcmp(error->sqlstate, "42501") == 0 || strcmp(error->sqlstate, "25006") == 0;
}

enum status verify_memory_open(const struct verify_spec *spec, struct range window, struct verify_memory **result,
                               char **begun, struct error *error)
{
    struct verify_memory *memory = NULL;
    enum status status = memory_create(spec, window, &memory, error);

    *result = NULL;
    *begun = NULL;
    if (status == STATUS_OK)
        status = begin(memory, error);
    if (status == STATUS_OK)
        status = read_known(memory, begun, error);
    if (status == STATUS_OK) {
        *result = memory;
        return STATUS_OK;
    }
    verify_memory_close(memory);
    if (!may_do_without(error))
        return status;
    log_line(LOG_NOTICE,
             "what is found equal will not be remembered, should this be interrupted: the role may not make tables in "
             "schema \"%s\" of the target (%s)",
             spec->ledger_schema, error->text);
    error_reset(error);
    return STATUS_OK;
}

bool verify_memory_knows(const struct verify_memory *memory, struct range range, int64_t *rows)
{
    size_t low = 0, high = memory->known_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (memory->known[middle].range.lo < range.lo)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == memory->known_count || memory->known[low].range.lo != range.lo ||
        memory->known[low].range.hi != range.hi)
        return false;
    *rows = memory->known[low].rows;
    return true;
}

/* Only while the comparison is there: another process may have ended it. */
static enum status write_noted(struct verify_memory *memory, struct error *error)
{
    struct sql sql = {0};
    enum status status = pg_connect(memory->pg, error);

    sql_add(&sql,
            "INSERT INTO %s (id, lo, hi, rows) SELECT c.id, v.lo, v.hi, v.rows FROM %s c, (VALUES %s) v (lo, hi, rows)"
            " WHERE c.id = '%s' ON CONFLICT DO NOTHING",
            memory->ranges, memory->comparisons, memory->noted.text, memory->id);
    if (status == STATUS_OK)
        status = pg_run(memory->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

static bool is_gone(const struct error *error)
{
    return strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0;
}

void verify_memory_flush(struct verify_memory *memory)
{
    struct error error;
    enum status status;

    error_reset(&error);
    memory->written_ns = stats_now_ns();
    if (memory->lame || memory->noted.size == 0)
        return;
    status = write_noted(memory, &error);
    if (status == STATUS_TRANSIENT)
        return;
    if (status != STATUS_OK && status != STATUS_STOPPED && !is_gone(&error))
        log_line(LOG_WARNING, "what is found equal is not remembered any more: %s", error.text);
    memory->lame = status != STATUS_OK;
    sql_reset(&memory->noted);
}

void verify_memory_add(struct verify_memory *memory, struct range range, int64_t rows)
{
    sql_add(&memory->noted, "%s(bigint '%" PRId64 "', bigint '%" PRId64 "', %" PRId64 ")",
            memory->noted.size > 0 ? ", " : "", range.lo, range.hi, rows);
    if (stats_now_ns() - memory->written_ns >= WRITE_EVERY_NS)
        verify_memory_flush(memory);
}

enum status verify_memory_finish(struct verify_memory *memory, struct error *error)
{
    struct sql sql = {0};
    enum status status = pg_connect(memory->pg, error);

    sql_add(&sql, LEDGER_BEGIN LEDGER_LOCK "; DELETE FROM %s WHERE id = '%s'; DELETE FROM %s WHERE id = '%s'; ",
            memory->ranges, memory->id, memory->comparisons, memory->id);
    sql_add(&sql,
            "DO $hyperfill$ BEGIN IF NOT EXISTS (SELECT FROM %s) THEN DROP TABLE %s, %s; END IF;"
            " EXCEPTION WHEN insufficient_privilege OR lock_not_available THEN NULL; END $hyperfill$; ",
            memory->comparisons, memory->ranges, memory->comparisons);
    if (strcmp(memory->ledger.schema, OWN_SCHEMA) == 0)
        sql_add(&sql,
                "DO $$ BEGIN DROP SCHEMA %s; EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege"
                " THEN NULL; END $$",
                OWN_SCHEMA);
    if (status == STATUS_OK)
        status = pg_run(memory->pg, sql.text, NULL, error);
    if (status == STATUS_OK)
        status = ledger_commit_plain(memory->pg, error);
    if (status != STATUS_OK)
        pg_rollback(memory->pg);
    sql_reset(&sql);
    /* Another process has compared the same, and was faster. */
    if (is_gone(error)) {
        error_reset(error);
        return STATUS_OK;
    }
    return status;
}
