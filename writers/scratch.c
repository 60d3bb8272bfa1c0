/* The schema of a scratch copy: made, emptied, and removed, whoever made it. */
#include "writers/scratch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The schema's comment: by name and comment together it is known as ours. */
#define MARK "scratch of hyperfill bench, may be dropped"

/* A transaction that drops all chunks at once could need more locks than the server has. */
#define DROPPED_AT_ONCE 50

static const struct pg_setting no_settings[1] = {{NULL, NULL}};

/* Tries to lock the schema's name by a transaction that stays open. */
static enum status lock(struct pg *guard, const char *schema, bool *locked, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_connect(guard, error);

    if (status == STATUS_OK)
        status = pg_runf(guard, &result, error,
                         "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT "
                         "pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('%s', 0))",
                         schema);
    *locked = status == STATUS_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return status;
}

/* Chunks and partitions of what matches, some at a time. */
static enum status drop_children(struct pg *pg, const char *parents, struct error *error)
{
    char *drops = NULL;
    enum status status;

    do {
        struct sql sql = {0};

        free(drops);
        drops = NULL;
        sql_add(&sql,
                "SELECT pg_catalog.string_agg(pg_catalog.format('DROP TABLE IF EXISTS %%I.%%I CASCADE', n.nspname, "
                "c.relname), '; ') FROM (SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON "
                "p.oid = i.inhparent WHERE p.relkind IN ('r', 'p') AND %s LIMIT %d) i JOIN pg_catalog.pg_class c ON "
                "c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
                parents, DROPPED_AT_ONCE);
        status = pg_value(pg, sql.text, &drops, error);
        sql_reset(&sql);
        if (status == STATUS_OK && drops != NULL)
            status = pg_runf(pg, NULL, error, "SET client_min_messages = warning; %s", drops);
    } while (status == STATUS_OK && drops != NULL);
    free(drops);
    return status;
}

/* The schema's name is made of letters, digits and underscores: it needs no quotes. */
static enum status drop_schema(struct pg *pg, const char *schema, struct error *error)
{
    struct sql parents = {0};
    enum status status;

    sql_add(&parents, "p.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = '%s')", schema);
    status = drop_children(pg, parents.text, error);
    sql_reset(&parents);
    if (status == STATUS_OK)
        status = pg_runf(pg, NULL, error,
                         "SET client_min_messages = warning; DROP SCHEMA IF EXISTS %s CASCADE; "
                         "RESET client_min_messages",
                         schema);
    return status;
}

static enum status remove_one(struct pg *guard, struct pg *pg, const char *schema, int *removed, struct error *error)
{
    bool locked;
    enum status status = lock(guard, schema, &locked, error);

    if (status == STATUS_OK && locked) {
        status = drop_schema(pg, schema, error);
        *removed += status == STATUS_OK;
    }
    pg_rollback(guard);
    return status;
}

static enum status remove_left(struct pg *guard, struct pg *pg, int *removed, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_connect(pg, error);

    if (status == STATUS_OK)
        status = pg_run(pg,
                        "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname ~ '^hyperfill_bench_[0-9a-f]{16}$' "
                        "AND pg_catalog.obj_description(oid, 'pg_namespace') = '" MARK "' AND "
                        "pg_catalog.pg_has_role(nspowner, 'USAGE')",
                        &result, error);
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status = remove_one(guard, pg, PQgetvalue(result, i, 0), removed, error);
    PQclear(result);
    return status;
}

static enum status connections_create(const struct pg_address *address, struct stop *stop, struct pg **guard,
                                      struct pg **pg, struct error *error)
{
    enum status status = pg_create(address, no_settings, stop, guard, error);

    return status == STATUS_OK ? pg_create(address, no_settings, stop, pg, error) : status;
}

enum status scratch_remove_left(const struct pg_address *address, struct stop *stop, int *removed, struct error *error)
{
    struct pg *guard = NULL, *pg = NULL;
    enum status status = connections_create(address, stop, &guard, &pg, error);

    *removed = 0;
    if (status == STATUS_OK)
        status = remove_left(guard, pg, removed, error);
    pg_free(guard);
    pg_free(pg);
    return status;
}

static enum status choose_name(struct scratch *scratch, struct error *error)
{
    struct sql schema = {0}, table = {0};
    uint64_t random;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return error_set_errno(error, STATUS_SYSTEM, "no random numbers");
    sql_add(&schema, "hyperfill_bench_%016" PRIx64, random);
    sql_add(&table, "%s.copy", schema.text);
    scratch->schema = schema.text;
    scratch->table = table.text;
    return STATUS_OK;
}

/* A subscriber of all tables fails at the first row of one that it has not. */
static enum status check_publications(struct scratch *scratch, struct error *error)
{
    char *names = NULL;
    enum status status = pg_value(
        scratch->pg, "SELECT pg_catalog.string_agg(pubname, ', ') FROM pg_catalog.pg_publication WHERE puballtables",
        &names, error);

    if (status == STATUS_OK && names != NULL)
        status = error_set(error, STATUS_USAGE,
                           "target: the publication %s sends all tables of the database to its subscribers, and a "
                           "scratch copy would be one of them: bench makes none here",
                           names);
    free(names);
    return status;
}

static enum status create_schema(struct scratch *scratch, struct error *error)
{
    bool locked;
    enum status status = choose_name(scratch, error);

    if (status == STATUS_OK)
        status = lock(scratch->guard, scratch->schema, &locked, error);
    if (status == STATUS_OK && !locked)
        status = error_set(error, STATUS_SERVER, "target: the name %s is in use", scratch->schema);
    if (status == STATUS_OK)
        status = pg_runf(scratch->pg, NULL, error, "CREATE SCHEMA %s; COMMENT ON SCHEMA %s IS '" MARK "'",
                         scratch->schema, scratch->schema);
    if (status != STATUS_OK && strcmp(error->sqlstate, "42501") == 0)
        error_hint(error, "\nbench needs a schema of its own: GRANT CREATE ON DATABASE … to the role");
    return status;
}

enum status scratch_create(struct scratch *scratch, const struct pg_address *address, struct stop *stop,
                           const struct table *table, struct error *error)
{
    int removed = 0;
    enum status status;

    *scratch = (struct scratch){.address = address, .stop = stop};
    status = connections_create(address, stop, &scratch->guard, &scratch->pg, error);
    if (status == STATUS_OK)
        status = remove_left(scratch->guard, scratch->pg, &removed, error);
    if (status == STATUS_OK)
        status = check_publications(scratch, error);
    if (status == STATUS_OK)
        status = create_schema(scratch, error);
    if (status == STATUS_OK)
        status = scratch_table_create(scratch, table, error);
    return status;
}

enum status scratch_empty(struct scratch *scratch, struct error *error)
{
    struct sql parents = {0};
    enum status status = pg_connect(scratch->pg, error);

    sql_add(&parents, "p.relkind = 'r' AND p.oid = '%s'::pg_catalog.regclass", scratch->table);
    if (status == STATUS_OK)
        status = drop_children(scratch->pg, parents.text, error);
    sql_reset(&parents);
    if (status == STATUS_OK)
        status = pg_runf(scratch->pg, NULL, error, "TRUNCATE %s", scratch->table);
    return status;
}

enum status scratch_drop(struct scratch *scratch, struct error *error)
{
    enum status status = STATUS_OK;

    if (scratch->schema != NULL) {
        status = pg_connect(scratch->pg, error);
        if (status == STATUS_OK)
            status = drop_schema(scratch->pg, scratch->schema, error);
        if (status != STATUS_OK)
            error_hint(error, "\nthe scratch schema %s is still there: the next bench or hyperfill clean removes it",
                       scratch->schema);
    }
    pg_free(scratch->pg);
    pg_free(scratch->guard);
    free(scratch->schema);
    free(scratch->table);
    *scratch = (struct scratch){0};
    return status;
}
