/* Objects that pg_dump describes: compared on both sides, and made where they are missing. */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

static const char *const arguments_always[] = {"--schema-only",
                                               "--no-tablespaces",
                                               "--no-publications",
                                               "--no-subscriptions",
                                               "--no-security-labels",
                                               "--encoding=UTF8",
                                               "--lock-wait-timeout=60s",
                                               "--exclude-schema=_timescaledb_*",
                                               "--exclude-schema=hyperfill_bench_*"};

/* What pg_dump fails with has no SQLSTATE; when the server has gone, our own connection is lost as well. */
static enum status explain(const struct schema_side *side, const char *role, struct error *error)
{
    struct error second;

    error_reset(&second);
    if (error->status == STATUS_SERVER && pg_run(side->pg, "SELECT 1", NULL, &second) == STATUS_TRANSIENT) {
        error->status = STATUS_TRANSIENT;
        error_hint(error, ". The connection to the %s is lost as well: run this again when it is back", role);
    }
    return error->status;
}

enum status schema_dump_side(struct schema *schema, const struct schema_side *side, const struct pg_address *address,
                             const char *snapshot, struct schema_dump *dump, struct error *error)
{
    size_t always = sizeof arguments_always / sizeof *arguments_always, count = always;
    const char **arguments = calloc(always + schema->partition_count + 4, sizeof *arguments);
    struct schema_names names = {schema_is_hypertable, schema};
    struct sql own = {0}, at = {0}, text = {0};
    enum status status;

    if (arguments == NULL)
        abort();
    memcpy(arguments, arguments_always, sizeof arguments_always);
    sql_add(&own, "--exclude-schema=");
    sql_add_identifier(&own, schema->request->ledger_schema);
    arguments[count++] = own.text;
    if (snapshot != NULL) {
        sql_add(&at, "--snapshot=%s", snapshot);
        arguments[count++] = at.text;
    }
    /* In the target nothing of that name is looked for. */
    for (size_t i = 0; i < schema->partition_count; i++)
        arguments[count++] = schema->partitions[i];
    if (schema->request->dry_run) {
        fprintf(schema->request->output, "-- %s --dbname '%s'", schema->tool.path, address->display);
        for (size_t i = 0; i < count; i++)
            fprintf(schema->request->output, " %s", arguments[i]);
        fprintf(schema->request->output, "\n\n");
    }
    log_line(LOG_DEBUG, "dumping the schema of the %s (PostgreSQL %d)", address->role, side->major);
    status = schema_tool_run(&schema->tool, address, arguments, &text, schema->request->stop, error);
    if (status == STATUS_OK)
        schema_dump_parse(text.text != NULL ? text.text : "", &names, dump);
    else
        status = explain(side, address->role, error);
    sql_reset(&own);
    sql_reset(&at);
    sql_reset(&text);
    free(arguments);
    return status;
}

/* ---- Which section */

/* Continuous aggregates are first among the late ones. */
static bool is_late(const struct schema *schema, const struct schema_entry *entry, const char *name, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(entry->schema);

        if (strncmp(schema->late[i], entry->schema, size) == 0 && schema->late[i][size] == '.' &&
            strcmp(schema->late[i] + size + 1, name) == 0)
            return true;
    }
    return false;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What an entry is about: "VIEW v", "TABLE v" and "COLUMN v.c" are comments and grants, "v rule" hangs on v. */
static bool is_about_late(const struct schema *schema, const struct schema_entry *entry)
{
    static const char *const kinds[] = {"VIEW ", "MATERIALIZED VIEW ", "TABLE ", "COLUMN "};
    const char *name = entry->name;
    struct sql part = {0};
    bool found;

    if (strcmp(entry->type, "COMMENT") == 0 || strcmp(entry->type, "ACL") == 0)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (begins(name, kinds[i])) {
                name += strlen(kinds[i]);
                break;
            }
    found = is_late(schema, entry, name, schema->late_count);
    for (const char *at = name; !found && (at = strpbrk(at, " .")) != NULL; at++) {
        sql_add(&part, "%.*s", (int)(at - name), name);
        found = is_late(schema, entry, part.text, schema->late_count);
        sql_reset(&part);
    }
    return found;
}

/* An aggregate is a view to pg_dump; here it is made elsewhere. */
static bool is_aggregate(const struct schema *schema, const struct schema_entry *entry)
{
    return strcmp(entry->type, "VIEW") == 0 && is_late(schema, entry, entry->name, schema->aggregate_count);
}

static enum schema_section section_of(const struct schema *schema, const struct schema_entry *entry)
{
    if (schema->late_count > 0 && is_about_late(schema, entry))
        return SCHEMA_LATE;
    return entry->after_rows ? SCHEMA_AFTER_ROWS : SCHEMA_BEFORE_ROWS;
}

/* ---- Comparing */

/* Not there, there and equal, there and not. */
enum presence { ABSENT, EQUAL, DIFFERENT };

/*
 * Servers of different versions write one view in different ways. So an object counts as equal, too, if it was made by
 * us from what the source has now, and has not been changed in the target since we last looked.
 */
static enum presence look(const struct schema *schema, const struct schema_entry *entry, const char *name)
{
    const struct schema_entry *there = schema_dump_find(&schema->target_dump, entry);
    const struct schema_step *step = schema_ledger_find(schema, "object", name);
    char source[33], target[33];

    if (schema->target_dumped && there == NULL)
        return ABSENT;
    if (there != NULL && strcmp(there->sql, entry->sql) == 0)
        return EQUAL;
    if (step == NULL)
        return there == NULL ? ABSENT : DIFFERENT;
    schema_hash(entry->sql, source);
    if (strcmp(step->source_hash, source) != 0)
        return DIFFERENT;
    if (there == NULL || step->target_hash == NULL)
        return EQUAL;
    schema_hash(there->sql, target);
    return strcmp(step->target_hash, target) == 0 ? EQUAL : DIFFERENT;
}

static enum status differs(const struct schema *schema, const struct schema_entry *entry, const char *name,
                           struct error *error)
{
    const struct schema_entry *there = schema_dump_find(&schema->target_dump, entry);

    error_set(error, STATUS_SERVER, "%s is in the target already, and differs from the source's", name);
    if (there == NULL)
        return error_hint(error, " since it was made; drop it in the target, and run this again"), error->status;
    error_hint(error, ": change or drop it there, and run this again\n  source: %.600s\n  target: %.600s", entry->sql,
               there->sql);
    return error->status;
}

/* ---- Making */

/* Objects that a superuser is needed for: a clone without them is one still. */
static bool is_optional(const struct schema_entry *entry)
{
    static const char *const types[] = {
        "ACL",       "DEFAULT ACL",   "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "SERVER", "PROCEDURAL LANGUAGE", "CAST",
        "TRANSFORM", "ACCESS METHOD", "EXTENSION"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(entry->type, types[i]) == 0)
            return true;
    return strcmp(entry->type, "COMMENT") == 0 && begins(entry->name, "SCHEMA ");
}

static int compare_roles(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The statement that gives it to its owner: NULL if it is theirs already, or cannot be. */
static const char *owner_of(struct schema *schema, const struct schema_entry *entry)
{
    const char *key = entry->owner;

    if (entry->owner_sql == NULL || strcmp(entry->owner, PQuser(pg_conn(schema->target.pg))) == 0)
        return NULL;
    if (schema->role_count > 0 &&
        bsearch(&key, schema->roles, schema->role_count, sizeof *schema->roles, compare_roles) != NULL)
        return entry->owner_sql;
    return NULL;
}

static bool is_grant(const struct schema_entry *entry)
{
    return strcmp(entry->type, "ACL") == 0 || strcmp(entry->type, "DEFAULT ACL") == 0;
}

/* One by one, since one role may be there and the other not; all by us, whoever has granted it in the source. */
static enum status make_grants(struct schema *schema, const struct schema_entry *entry, const char *name,
                               struct error *error)
{
    enum status status = STATUS_OK;

    for (const char *line = entry->sql; *line != '\0' && status == STATUS_OK;) {
        const char *end = strchrnul(line, '\n');
        struct sql grant = {0}, step = {0};

        sql_add(&grant, "%.*s", (int)(end - line), line);
        sql_add(&step, "%s: %s", name, grant.text);
        if (schema_ledger_find(schema, "grant", step.text) != NULL)
            schema->result->equal++;
        else if (grant.size > 0 && strstr(grant.text, " SESSION AUTHORIZATION") == NULL)
            status = schema_do(schema, "grant", step.text, grant.text, grant.text, true, error);
        sql_reset(&grant);
        sql_reset(&step);
        line = end + (*end == '\n');
    }
    return status;
}

/* What was made before had rows and grants, if it was: the new one has none. */
static void add_forgetting(struct sql *sql, const struct schema *schema, const struct schema_entry *entry,
                           const char *name)
{
    sql_add(sql, ";\nDELETE FROM %s WHERE source = ", schema->step_table);
    sql_add_literal(sql, schema->source_key);
    sql_add(sql, " AND ((kind = 'rows' AND name = ");
    sql_add_literal(sql, name);
    sql_add(sql, ") OR (kind = 'grant'");
    for (int i = 0; i < 3; i++) {
        const char *kinds[] = {"TABLE", "COLUMN", entry->type};
        struct sql text = {0};

        sql_add(&text, "ACL %s.%s %s%s", entry->schema, kinds[i], entry->name, i == 1 ? "." : ":");
        sql_add(sql, i == 0 ? " AND (pg_catalog.starts_with(name, " : " OR pg_catalog.starts_with(name, ");
        sql_add_literal(sql, text.text);
        sql_add(sql, ")");
        sql_reset(&text);
    }
    sql_add(sql, ")))");
}

static enum status make(struct schema *schema, const struct schema_entry *entry, const char *name, struct error *error)
{
    const char *owner = owner_of(schema, entry);
    struct sql sql = {0};
    enum status status;

    if (strcmp(entry->type, "USER MAPPING") == 0) {
        schema_leave_out(schema, "%s: it may hold a password", name);
        return STATUS_OK;
    }
    if (entry->sql[0] == '\0')
        return STATUS_OK;
    if (is_grant(entry))
        return make_grants(schema, entry, name, error);
    sql_add(&sql, "%s%s%s", entry->sql, owner != NULL ? "\n" : "", owner != NULL ? owner : "");
    if (!schema->request->dry_run && !entry->after_rows)
        add_forgetting(&sql, schema, entry, name);
    status = schema_do(schema, "object", name, sql.text, entry->sql, is_optional(entry), error);
    sql_reset(&sql);
    if (status == STATUS_DATA && strcmp(error->sqlstate, "23503") == 0)
        error_hint(error, ". Rows were added to the source between two runs: TRUNCATE the tables in the target, delete"
                          " their rows from the ledger's table schema_step, and run this again");
    return status;
}

enum status schema_make_entries(struct schema *schema, enum schema_section section, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < schema->source_dump.count && status == STATUS_OK; i++) {
        const struct schema_entry *entry = &schema->source_dump.entries[i];
        char *name;

        if (section_of(schema, entry) != section || is_aggregate(schema, entry))
            continue;
        if (section == SCHEMA_LATE && !schema->target.community) {
            if (!begins(entry->type, "COMMENT") && !begins(entry->type, "ACL"))
                schema_leave_out(schema, "%s %s.%s: it selects from a continuous aggregate", entry->type, entry->schema,
                                 entry->name);
            continue;
        }
        name = schema_entry_name(entry);
        switch (look(schema, entry, name)) {
        case ABSENT: status = make(schema, entry, name, error); break;
        case EQUAL: schema->result->equal++; break;
        case DIFFERENT:
            /* The target may have granted more. */
            status = is_grant(entry) ? make(schema, entry, name, error) : differs(schema, entry, name, error);
            break;
        }
        free(name);
    }
    return status;
}

/* ---- Afterwards */

static void add_record(struct sql *sql, const struct schema *schema, const struct schema_entry *entry)
{
    const struct schema_entry *there = schema_dump_find(&schema->target_dump, entry);
    const struct schema_step *step;
    char *name = schema_entry_name(entry);
    char hash[33];

    step = schema_ledger_find(schema, "object", name);
    if (there != NULL && step != NULL) {
        schema_hash(there->sql, hash);
        if (step->target_hash == NULL || strcmp(step->target_hash, hash) != 0) {
            sql_add(sql, "UPDATE %s SET target_hash = '%s' WHERE source = ", schema->step_table, hash);
            sql_add_literal(sql, schema->source_key);
            sql_add(sql, " AND kind = 'object' AND name = ");
            sql_add_literal(sql, name);
            sql_add(sql, ";\n");
        }
    }
    free(name);
}

/* An earlier clone was ended before it looked. */
static bool is_unrecorded(const struct schema *schema)
{
    for (size_t i = 0; i < schema->step_count; i++)
        if (strcmp(schema->steps[i].kind, "object") == 0 && schema->steps[i].target_hash == NULL)
            return true;
    return false;
}

enum status schema_record_entries(struct schema *schema, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    if (!schema->target_dumped || schema->request->dry_run || (schema->result->made == 0 && !is_unrecorded(schema)))
        return STATUS_OK;
    schema_dump_reset(&schema->target_dump);
    status = schema_dump_side(schema, &schema->target, schema->request->target, NULL, &schema->target_dump, error);
    if (status == STATUS_OK)
        status = schema_ledger_read(schema, error);
    for (size_t i = 0; i < schema->source_dump.count && status == STATUS_OK; i++)
        add_record(&sql, schema, &schema->source_dump.entries[i]);
    if (status == STATUS_OK && sql.size > 0)
        status = pg_run(schema->target.pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}
