/* The order of the steps, and what they share. */
#include "engine/method/schema_private.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

/* As pg_dump sets them, since it is its statements that are run. */
static const struct pg_setting settings[] = {{"search_path", ""},
                                             {"check_function_bodies", "off"},
                                             {"row_security", "off"},
                                             {"standard_conforming_strings", "on"},
                                             {"client_encoding", "UTF8"},
                                             {"TimeZone", "UTC"},
                                             {"default_transaction_read_only", "off"},
                                             {NULL, NULL}};

void schema_leave_out(struct schema *schema, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    schema->result->left_out++;
    log_line(LOG_WARNING, "left out: %s", text);
}

void *schema_grown(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    array = realloc(array, (count == 0 ? 1 : 2 * count) * size);
    if (array == NULL)
        abort();
    return array;
}

char *schema_field(const PGresult *result, int row, const char *column)
{
    int number = PQfnumber(result, column);
    struct sql text = {0};

    if (PQgetisnull(result, row, number))
        return NULL;
    sql_add(&text, "%s", PQgetvalue(result, row, number));
    return text.text;
}

enum status schema_texts(struct pg *pg, const char *query, char ***texts, size_t *count, struct error *error)
{
    PGresult *result;
    enum status status = pg_run(pg, query, &result, error);

    if (status != STATUS_OK)
        return status;
    for (int row = 0; row < PQntuples(result); row++) {
        *texts = schema_grown(*texts, *count, sizeof **texts);
        (*texts)[(*count)++] = schema_field(result, row, PQfname(result, 0));
    }
    PQclear(result);
    return STATUS_OK;
}

void schema_texts_free(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

int schema_find_row(const PGresult *result, const char *first)
{
    for (int row = 0; result != NULL && row < PQntuples(result); row++)
        if (strcmp(PQgetvalue(result, row, 0), first) == 0)
            return row;
    return -1;
}

/* ---- Sides */

static enum status look_at_extension(struct schema_side *side, struct error *error)
{
    PGresult *result;
    enum status status =
        pg_run(side->pg,
               "SELECT extversion, nspname, pg_catalog.current_setting('timescaledb.license', true) = 'timescale'"
               " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
               " WHERE extname = 'timescaledb'",
               &result, error);

    free(side->timescaledb);
    free(side->namespace);
    side->timescaledb = side->namespace = NULL;
    side->community = false;
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1) {
        side->timescaledb = schema_field(result, 0, "extversion");
        side->namespace = schema_field(result, 0, "nspname");
        side->community = PQgetvalue(result, 0, 2)[0] == 't';
    }
    PQclear(result);
    return STATUS_OK;
}

static enum status side_open(struct schema_side *side, const struct pg_address *address, struct stop *stop,
                             struct error *error)
{
    enum status status = pg_create(address, settings, stop, &side->pg, error);

    if (status != STATUS_OK || (status = pg_connect(side->pg, error)) != STATUS_OK)
        return status;
    side->major = PQserverVersion(pg_conn(side->pg)) / 10000;
    return look_at_extension(side, error);
}

static void side_close(struct schema_side *side)
{
    pg_free(side->pg);
    free(side->timescaledb);
    free(side->namespace);
}

/* Managed servers hide which one they are. */
static enum status identify_source(struct schema *schema, struct error *error)
{
    char *may = NULL;
    enum status status = pg_value(schema->source.pg,
                                  "SELECT 1 WHERE pg_catalog.has_function_privilege('pg_catalog.pg_control_system()',"
                                  " 'execute')",
                                  &may, error);

    if (status == STATUS_OK && may != NULL)
        status = pg_value(schema->source.pg,
                          "SELECT system_identifier || '/' || pg_catalog.current_database()"
                          " FROM pg_catalog.pg_control_system()",
                          &schema->source_key, error);
    else if (status == STATUS_OK)
        status = pg_value(schema->source.pg, "SELECT '/' || pg_catalog.current_database()", &schema->source_key, error);
    free(may);
    return status;
}

/*
 * One clone at a time works on a target. That may be one that was killed, whose server process has not noticed yet and
 * still makes what it was told to: before it has ended nobody can say what is there.
 */
static enum status lock_target(struct schema *schema, struct error *error)
{
    enum status status = STATUS_OK;

    if (schema->request->dry_run)
        return STATUS_OK;
    status = pg_run(schema->target.pg, "SELECT pg_catalog.pg_advisory_lock(4929304721850033)", NULL, error);
    if (status != STATUS_OK && strcmp(error->sqlstate, "55P03") == 0)
        error_prefix(error, "another hyperfill schema is at work on this target");
    return status;
}

static enum status open_both(struct schema *schema, const struct schema_request *request, struct schema_result *result,
                             struct error *error)
{
    struct sql table = {0};
    enum status status;

    *result = (struct schema_result){0};
    schema->request = request;
    schema->result = result;
    sql_add_identifier(&table, request->ledger_schema);
    sql_add(&table, ".schema_step");
    schema->step_table = table.text;
    status = side_open(&schema->source, request->source, request->stop, error);
    if (status == STATUS_OK)
        status = side_open(&schema->target, request->target, request->stop, error);
    if (status == STATUS_OK)
        status = lock_target(schema, error);
    /* All is read as of one moment, by pg_dump as well. */
    if (status == STATUS_OK)
        status = pg_run(schema->source.pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, error);
    if (status == STATUS_OK)
        status = identify_source(schema, error);
    return status;
}

static void close_both(struct schema *schema)
{
    pg_rollback(schema->source.pg);
    side_close(&schema->source);
    side_close(&schema->target);
    schema_dump_reset(&schema->source_dump);
    schema_dump_reset(&schema->target_dump);
    schema_hypertables_free(schema);
    schema_texts_free(schema->partitions, schema->partition_count);
    schema_texts_free(schema->late, schema->late_count);
    schema_texts_free(schema->roles, schema->role_count);
    schema_ledger_free(schema);
    free(schema->source_key);
    free(schema->snapshot);
    free(schema->step_table);
}

/* ---- Steps */

/* On a connection of its own: the extension wants to be made before anything else was asked of it. */
static enum status make_extension(struct schema *schema, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    if (schema->target.timescaledb != NULL || (schema->source.timescaledb == NULL && schema->hypertable_count == 0))
        return STATUS_OK;
    sql_add(&sql, "CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA ");
    sql_add_identifier(&sql, schema->source.namespace != NULL ? schema->source.namespace : "public");
    if (schema->request->dry_run) {
        fprintf(schema->request->output, "%s;\n\n", sql.text);
        schema->result->made++;
        schema->target.namespace = strdup(schema->source.namespace != NULL ? schema->source.namespace : "public");
        sql_reset(&sql);
        return STATUS_OK;
    }
    pg_disconnect(schema->target.pg);
    status = pg_connect(schema->target.pg, error);
    /* Should this process be killed, its server process still has the lock while it makes the extension. */
    if (status == STATUS_OK)
        status = lock_target(schema, error);
    if (status == STATUS_OK)
        status = pg_run(schema->target.pg, sql.text, NULL, error);
    if (status != STATUS_OK)
        error_hint(error, ". The target needs the extension timescaledb: have it installed, preloaded and made by an"
                          " administrator (CREATE EXTENSION timescaledb), then run this again");
    else
        schema->result->made++;
    sql_reset(&sql);
    pg_disconnect(schema->target.pg);
    if (status == STATUS_OK)
        status = pg_connect(schema->target.pg, error);
    if (status == STATUS_OK)
        status = lock_target(schema, error);
    return status == STATUS_OK ? look_at_extension(&schema->target, error) : status;
}

static enum status find_tool(struct schema *schema, struct error *error)
{
    int source = schema->source.major, target = schema->target.major;
    enum status status = schema_tool_find(schema->request->pg_bin, source, target > source ? target : source,
                                          &schema->tool, schema->request->stop, error);

    if (status != STATUS_OK)
        return status;
    schema->target_dumped = schema->tool.major >= target;
    if (!schema->target_dumped)
        log_line(LOG_WARNING,
                 "%s of version %d cannot read the target, which is PostgreSQL %d: what is there already is known only"
                 " as far as this command has made it. With postgresql-client-%d, or --pg-bin, it is compared",
                 schema->tool.path, schema->tool.major, target, target);
    return STATUS_OK;
}

/* What both sides consist of. */
static enum status look_at_both(struct schema *schema, struct error *error)
{
    enum status status = schema_find_hypertables(schema, error);

    if (status == STATUS_OK)
        status = schema_find_named(schema, error);
    if (status == STATUS_OK)
        status = schema_find_late(schema, error);
    if (status == STATUS_OK)
        status = find_tool(schema, error);
    if (status == STATUS_OK)
        status = pg_value(schema->source.pg, "SELECT pg_catalog.pg_export_snapshot()", &schema->snapshot, error);
    if (status == STATUS_OK)
        status = schema_dump_side(schema, &schema->source, schema->request->source, schema->snapshot,
                                  &schema->source_dump, error);
    if (status == STATUS_OK && schema->target_dumped)
        status = schema_dump_side(schema, &schema->target, schema->request->target, NULL, &schema->target_dump, error);
    return status;
}

static enum status find_roles(struct schema *schema, struct error *error)
{
    return schema_texts(schema->target.pg,
                        "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')"
                        " ORDER BY rolname COLLATE \"C\"",
                        &schema->roles, &schema->role_count, error);
}

/* Said once for each owner: their objects belong to who made them. */
static void tell_owners(struct schema *schema)
{
    const char *user = PQuser(pg_conn(schema->target.pg));

    for (size_t i = 0; i < schema->source_dump.count; i++) {
        const char *owner = schema->source_dump.entries[i].owner;
        bool known = schema->source_dump.entries[i].owner_sql == NULL || strcmp(owner, user) == 0;

        for (size_t k = 0; k < i && !known; k++)
            known = schema->source_dump.entries[k].owner_sql != NULL &&
                    strcmp(schema->source_dump.entries[k].owner, owner) == 0;
        for (size_t k = 0; k < schema->role_count && !known; k++)
            known = strcmp(schema->roles[k], owner) == 0;
        if (!known)
            schema_leave_out(schema,
                             "the owner %s: that role is not in the target, or %s is no member of it; what it"
                             " owns in the source belongs to %s there",
                             owner, user, user);
    }
}

/* What is never cloned, and may be missed. */
static enum status tell_never(struct schema *schema, struct error *error)
{
    char **texts = NULL;
    size_t count = 0;
    enum status status = schema_texts(
        schema->source.pg,
        "SELECT 'publication ' || pubname || ': make it in the target if somebody is to replicate from there' FROM"
        " pg_catalog.pg_publication UNION ALL SELECT 'large objects: ' || pg_catalog.count(*) || ' of them' FROM"
        " pg_catalog.pg_largeobject_metadata HAVING pg_catalog.count(*) > 0 UNION ALL SELECT pg_catalog.format('rows of"
        " materialized view %I.%I: REFRESH MATERIALIZED VIEW when its tables are filled', schemaname, matviewname) FROM"
        " pg_catalog.pg_matviews WHERE ispopulated AND schemaname NOT LIKE '\\_timescaledb\\_%'",
        &texts, &count, error);

    for (size_t i = 0; i < count; i++)
        schema_leave_out(schema, "%s", texts[i]);
    schema_texts_free(texts, count);
    return status;
}

static enum status make_all(struct schema *schema, struct error *error)
{
    enum status status = schema_make_entries(schema, SCHEMA_BEFORE_ROWS, error);

    if (status == STATUS_OK)
        status = schema_make_hypertables(schema, error);
    /* Making a table has made it forget the rows of one that was there before. */
    if (status == STATUS_OK)
        status = schema_ledger_read(schema, error);
    if (status == STATUS_OK && !schema->request->schema_only)
        status = schema_copy_rows(schema, error);
    /* Indexes may take long: the source is not to keep old rows for them. */
    if (status == STATUS_OK)
        status = pg_run(schema->source.pg, "COMMIT", NULL, error);
    if (status == STATUS_OK)
        status = schema_make_entries(schema, SCHEMA_AFTER_ROWS, error);
    if (status == STATUS_OK)
        status = schema_set_columnstore(schema, error);
    if (status == STATUS_OK)
        status = schema_make_aggregates(schema, error);
    if (status == STATUS_OK)
        status = schema_make_entries(schema, SCHEMA_LATE, error);
    if (status == STATUS_OK)
        status = schema_make_policies(schema, error);
    if (status == STATUS_OK && !schema->request->schema_only)
        status = schema_move_sequences(schema, error);
    if (status == STATUS_OK)
        status = schema_record_entries(schema, error);
    return status;
}

enum status schema_clone(const struct schema_request *request, struct schema_result *result, struct error *error)
{
    struct schema schema = {0};
    enum status status = open_both(&schema, request, result, error);

    if (status == STATUS_OK)
        status = look_at_both(&schema, error);
    if (status == STATUS_OK && !request->dry_run)
        status = schema_ledger_prepare(&schema, error);
    if (status == STATUS_OK)
        status = schema_ledger_read(&schema, error);
    if (status == STATUS_OK && request->roles)
        status = schema_make_roles(&schema, error);
    if (status == STATUS_OK)
        status = find_roles(&schema, error);
    if (status == STATUS_OK)
        tell_owners(&schema);
    if (status == STATUS_OK)
        status = tell_never(&schema, error);
    if (status == STATUS_OK)
        status = make_extension(&schema, error);
    if (status == STATUS_OK)
        status = make_all(&schema, error);
    close_both(&schema);
    return status;
}

enum status schema_set_sequences(const struct schema_request *request, struct schema_result *result,
                                 struct error *error)
{
    struct schema schema = {0};
    enum status status = open_both(&schema, request, result, error);

    if (status == STATUS_OK)
        status = schema_move_sequences(&schema, error);
    close_both(&schema);
    return status;
}
