/* What a table allows: which ways to build its chunks, and why not the others. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_private.h"

/* Own triggers of TimescaleDB do not count. */
static const char facts_sql[] =
    "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owner, c.relrowsecurity AS row_security,"
    " (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND NOT i.indisunique AND NOT "
    "i.indisexclusion"
    /* Constraints are found by their table alone: by their index each one in the database would be looked at. */
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint r WHERE r.conrelid = c.oid AND r.conindid = i.indexrelid))"
    " AS indexes,"
    " (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion))"
    " AS unique_indexes,"
    " (SELECT count(*) FROM pg_catalog.pg_constraint r WHERE r.conrelid = c.oid AND r.contype = 'f') AS foreign_keys,"
    " (SELECT count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
    " JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace WHERE t.tgrelid = c.oid AND NOT t.tgisinternal"
    " AND s.nspname NOT IN ('_timescaledb_internal', '_timescaledb_functions')) AS triggers,"
    " (SELECT count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
    " JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace WHERE t.tgrelid = c.oid AND NOT t.tgisinternal"
    " AND t.tgtype & 4 <> 0 AND s.nspname NOT IN ('_timescaledb_internal', '_timescaledb_functions'))"
    " AS insert_triggers"
    " FROM pg_catalog.pg_class c WHERE c.oid = %u";

static enum status may_create_chunks(struct pg *pg, const struct table *table, bool *may, struct error *error)
{
    struct sql sql = {0};
    char *answer = NULL;
    enum status status;

    sql_add(&sql, "SELECT pg_catalog.has_schema_privilege(to_jsonb(h)->>'associated_schema_name', 'CREATE')"
                  " FROM _timescaledb_catalog.hypertable h WHERE (schema_name, table_name) = (");
    sql_add_literal(&sql, table->schema);
    sql_add(&sql, ", ");
    sql_add_literal(&sql, table->name);
    sql_add(&sql, ")");
    status = pg_value(pg, sql.text, &answer, error);
    sql_reset(&sql);
    *may = answer != NULL && answer[0] == 't';
    free(answer);
    return status;
}

/* The catalog of chunk skipping came with 2.16. */
static const char hypertable_sql[] =
    "SELECT c.relowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)"
    " OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS own, m.amname = 'heap' AS heap,"
    " EXISTS (SELECT FROM _timescaledb_catalog.continuous_agg a WHERE a.raw_hypertable_id = h.id) AS aggregates,"
    " EXISTS (SELECT FROM _timescaledb_catalog.tablespace s WHERE s.hypertable_id = h.id) AS tablespaces, %s AS "
    "skipping"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am m ON m.oid = c.relam"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN _timescaledb_catalog.hypertable h ON (h.schema_name, h.table_name) = (n.nspname, c.relname) WHERE c.oid = "
    "%u";
static const char skipping_sql[] =
    "EXISTS (SELECT FROM _timescaledb_catalog.chunk_column_stats s WHERE s.hypertable_id = h.id)";

static enum status read_hypertable(struct pg *pg, const struct table *table, const struct build_wish *wish,
                                   struct build_facts *facts, struct error *error)
{
    char *skipping = NULL;
    PGresult *result = NULL;
    enum status status =
        pg_value(pg, "SELECT pg_catalog.to_regclass('_timescaledb_catalog.chunk_column_stats')", &skipping, error);

    if (status == STATUS_OK)
        status = pg_runf(pg, &result, error, hypertable_sql, skipping != NULL ? skipping_sql : "false", table->oid);
    free(skipping);
    if (status == STATUS_OK) {
        facts->own = target_flag(result, 0, "own");
        facts->heap = target_flag(result, 0, "heap");
        facts->continuous_aggregates = target_flag(result, 0, "aggregates");
        facts->tablespaces = target_flag(result, 0, "tablespaces");
        facts->chunk_skipping = target_flag(result, 0, "skipping");
    }
    PQclear(result);
    if (status == STATUS_OK && table->community)
        status = build_read_columnstore(pg, table, wish, facts, error);
    return status;
}

static enum status read_facts(struct pg *pg, const struct table *table, const struct build_wish *wish,
                              struct build_facts *facts, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_runf(pg, &result, error, facts_sql, table->oid);

    if (status != STATUS_OK)
        return status;
    *facts = (struct build_facts){
        .table = table,
        .owner = target_flag(result, 0, "owner"),
        .row_security = target_flag(result, 0, "row_security"),
        .indexes = target_number(result, 0, "indexes"),
        .unique_indexes = target_number(result, 0, "unique_indexes"),
        .foreign_keys = target_number(result, 0, "foreign_keys"),
        .triggers = target_number(result, 0, "triggers"),
        .insert_triggers = target_number(result, 0, "insert_triggers"),
    };
    PQclear(result);
    if (table->kind == TABLE_HYPERTABLE)
        status = may_create_chunks(pg, table, &facts->chunk_schema, error);
    if (status == STATUS_OK && table->kind == TABLE_HYPERTABLE)
        status = read_hypertable(pg, table, wish, facts, error);
    else if (table->kind == TABLE_PARTITIONED)
        status = partition_survey(pg, table, &facts->partitions, error);
    if (table->timescaledb != NULL)
        sscanf(table->timescaledb, "%d.%d", &facts->timescaledb_major, &facts->timescaledb_minor);
    return status;
}

/* Whether a list of quoted columns has the name. */
static bool list_has(const char *list, const char *name)
{
    char *quoted = pg_identifier(name);
    size_t size = strlen(quoted);
    bool found = false;

    for (const char *at = list; !found && (at = strstr(at, quoted)) != NULL; at++)
        found = (at == list || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0');
    free(quoted);
    return found;
}

/* COPY into the table itself gives values to an identity column; into another, it cannot. */
static enum status find_identity(struct pg *pg, const struct table *table, const struct build_wish *wish,
                                 struct build_facts *facts, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_runf(pg, &result, error,
                                 "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %u AND attnum > 0"
                                 " AND NOT attisdropped AND attidentity <> ''",
                                 table->oid);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        for (size_t j = 0; j < wish->input_count; j++)
            if (!list_has(wish->inputs[j].column_list, PQgetvalue(result, i, 0)))
                facts->identity_missing = true;
    PQclear(result);
    return status;
}

bool build_since(const struct build_facts *facts, int major, int minor)
{
    return facts->timescaledb_major > major || (facts->timescaledb_major == major && facts->timescaledb_minor >= minor);
}

bool build_since_patch(const struct build_facts *facts, int major, int minor, int patch)
{
    return build_table_since(facts->table, major, minor, patch);
}

bool build_table_since(const struct table *table, int major, int minor, int patch)
{
    int parts[3] = {0};

    if (table->timescaledb != NULL)
        sscanf(table->timescaledb, "%d.%d.%d", &parts[0], &parts[1], &parts[2]);
    if (parts[0] != major)
        return parts[0] > major;
    return parts[1] != minor ? parts[1] > minor : parts[2] >= patch;
}

/* What is in the way of every way. */
static const char *refuse_all(const struct build_facts *facts, const struct build_wish *wish)
{
    if (wish->skip_conflicts)
        return "--on-conflict skip needs the table's own indexes for each row";
    if (!facts->owner)
        return "only the owner of the table may make and drop what its chunks consist of";
    if (facts->table->kind == TABLE_PLAIN)
        return "a plain table has no chunks";
    return NULL;
}

static void offer(struct build_plan *plan, const struct build_way *way, const char *refusal, struct sql *why)
{
    if (refusal == NULL)
        plan->ways[plan->count++] = way;
    else
        sql_add(why, "%s%s: %s", why->size > 0 ? "; " : "", way->name, refusal);
}

/* Who asks for compressed chunks gets these, whatever else is faster. */
static bool is_wanted(const struct build_way *way, const struct build_facts *facts, const struct build_wish *wish)
{
    switch (wish->compress) {
    case BUILD_COMPRESS_AUTO: return !way->compresses || (facts->columnstore && way == &build_compress_way);
    case BUILD_COMPRESS_NEVER: return !way->compresses;
    case BUILD_COMPRESS_ALWAYS: return way->compresses;
    case BUILD_COMPRESS_AFTER: return way == &build_compress_after_way;
    }
    return false;
}

static const char *wished(const struct build_wish *wish)
{
    if (wish->compress == BUILD_COMPRESS_AFTER)
        return "--compress-after";
    return wish->compress == BUILD_COMPRESS_ALWAYS ? "--strategy compress" : "--strategy build";
}

enum status build_probe(struct pg *pg, const struct table *table, const struct build_wish *wish,
                        struct build_plan *plan, struct error *error)
{
    struct build_facts facts = {0};
    struct sql why = {0};
    const char *refusal;
    enum status status;

    *plan = (struct build_plan){0};
    if (wish->rule == BUILD_RULE_NEVER)
        return STATUS_OK;
    status = read_facts(pg, table, wish, &facts, error);
    if (status == STATUS_OK)
        status = find_identity(pg, table, wish, &facts, error);
    if (status != STATUS_OK)
        goto out;
    refusal = refuse_all(&facts, wish);
    if (refusal != NULL)
        sql_add(&why, "%s", refusal);
    for (size_t i = 0; refusal == NULL && build_ways[i] != NULL; i++)
        if (build_ways[i]->concerns(&facts) && is_wanted(build_ways[i], &facts, wish))
            offer(plan, build_ways[i], build_ways[i]->refuses(&facts, wish), &why);
    if (plan->count > 0 && facts.partitions.refused > 0)
        sql_add(&why, "%s%" PRId64 " of %" PRId64 " partitions: %s: %s", why.size > 0 ? "; " : "",
                facts.partitions.refused, facts.partitions.count, facts.partitions.name, facts.partitions.refusal);
    plan->why = why.text;
    if (plan->count == 0 && wish->rule == BUILD_RULE_ALWAYS) {
        status = error_set(error, STATUS_USAGE, "%s is not possible for %s: %s", wished(wish), table->sql, plan->why);
        build_plan_reset(plan);
    } else {
        plan->order = facts.order;
        return STATUS_OK;
    }
out:
    build_order_reset(&facts.order);
    return status;
}

void build_plan_reset(struct build_plan *plan)
{
    free(plan->why);
    build_order_reset(&plan->order);
    *plan = (struct build_plan){0};
}
