/* Checks of the tables: there, alike, fit to be loaded by ranges of time; and of the room that they need. */
#include "engine/method/preflight_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static enum status exists(struct pg *pg, const char *name, bool *found, struct error *error)
{
    char *literal = pg_literal(name), *oid = NULL;
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT pg_catalog.to_regclass(%s)::oid", literal);
    free(literal);
    status = pg_value(pg, sql.text, &oid, error);
    sql_reset(&sql);
    *found = oid != NULL;
    free(oid);
    return status;
}

/* What table_describe does not like is a problem, not the end. */
static enum status describe(struct finding *finding, struct pg *pg, const char *name, const char *time_column,
                            bool is_target, struct table *table, bool *found, struct error *error)
{
    enum status status = exists(pg, name, found, error);

    if (status == STATUS_OK && *found)
        status = table_describe(pg, name, time_column, is_target, table, error);
    if (status == STATUS_SERVER || status == STATUS_USAGE) {
        finding_say(finding, FINDING_PROBLEM, "%s: %s%s", is_target ? "target" : "source", error->text,
                    status == STATUS_USAGE && time_column == NULL ? "; in the job file: time_column = NAME" : "");
        error_reset(error);
        table_reset(table);
        *found = false;
        status = STATUS_OK;
    }
    return status;
}

static void compare_columns(struct finding *finding, const struct preflight_table *table)
{
    if (table->source.time.type != table->target.time.type)
        finding_say(finding, FINDING_PROBLEM,
                    "%s: the time column is %s in the source and %s in the target: make them one type", table->name,
                    time_type_sql(table->source.time.type), time_type_sql(table->target.time.type));
    for (size_t i = 0; i < table->source.column_count; i++)
        if (!table->source.columns[i].generated &&
            table_find_column(&table->target, table->source.columns[i].name) == NULL)
            finding_say(finding, FINDING_PROBLEM,
                        "%s: the target has no column \"%s\": add it, or name the columns to load", table->name,
                        table->source.columns[i].name);
}

static void judge_source(struct finding *finding, const struct preflight_table *table)
{
    if (!table->source.time_not_null)
        finding_say(finding, FINDING_WARNING, "%s: rows without a time in \"%s\" belong to no range and are not loaded",
                    table->source_name, table->source.time_name);
    if (!table->source.time_indexed)
        finding_say(
            finding, FINDING_WARNING,
            "%s: no index leads with \"%s\", so that each range reads the whole table: CREATE INDEX CONCURRENTLY ON "
            "%s (\"%s\") in the source",
            table->source_name, table->source.time_name, table->source_name, table->source.time_name);
}

/* Other tables of the source that are as large as these are wont to be: their rows would be copied with the schema. */
static enum status find_forgotten(const struct preflight *preflight, struct finding *finding, bool timescaledb,
                                  struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT 1, string_agg(t.name, ', ' ORDER BY t.name) || ' %s' FROM (",
            preflight->clones_schema ? "divided by time, but no part of the job: copied with the schema, in one piece"
                                     : "divided by time, but no part of the job: not copied");
    if (timescaledb)
        sql_add(&sql, "SELECT pg_catalog.format('%%I.%%I', hypertable_schema, hypertable_name) AS name FROM"
                      " timescaledb_information.hypertables WHERE pg_catalog.format('%%I.%%I', hypertable_schema,"
                      " hypertable_name)::regclass <> ALL (");
    else
        sql_add(&sql,
                "SELECT p.partrelid::regclass::text AS name FROM pg_catalog.pg_partitioned_table p JOIN"
                " pg_catalog.pg_class c ON c.oid = p.partrelid WHERE p.partstrat = 'r' AND NOT c.relispartition AND"
                " p.partrelid <> ALL (");
    preflight_add_oids(&sql, preflight, false);
    sql_add(&sql, ")) t HAVING count(*) > 0");
    status = finding_ask(finding, preflight->source, sql.text, error);
    sql_reset(&sql);
    return status;
}

/* A hypertable of the target knows its time column, which a plain source does not. */
static enum status describe_target(const struct preflight *preflight, struct preflight_table *table,
                                   struct finding *finding, struct error *error)
{
    const char *time = table->time_column != NULL ? table->time_column : table->source.time_name;

    return describe(finding, preflight->target, table->name, time, true, &table->target, &table->in_target, error);
}

static enum status describe_both(const struct preflight *preflight, struct preflight_table *table,
                                 struct finding *finding, bool *target_exists, struct error *error)
{
    const char *time = table->time_column;
    enum status status = exists(preflight->target, table->name, target_exists, error);

    if (status == STATUS_OK && *target_exists && time == NULL) {
        struct finding quiet = {0};

        status = describe_target(preflight, table, &quiet, error);
        sql_reset(&quiet.texts[FINDING_PROBLEM]);
        time = table->in_target ? table->target.time_name : NULL;
    }
    if (status == STATUS_OK)
        status = describe(finding, preflight->source, table->source_name, time, false, &table->source,
                          &table->in_source, error);
    if (status == STATUS_OK && *target_exists && table->in_source && !table->in_target)
        status = describe_target(preflight, table, finding, error);
    return status;
}

static enum status check_table(const struct preflight *preflight, struct preflight_table *table,
                               struct finding *finding, struct error *error)
{
    size_t before = finding->texts[FINDING_PROBLEM].size;
    bool target_exists = false;
    enum status status = describe_both(preflight, table, finding, &target_exists, error);

    if (status != STATUS_OK)
        return status;
    if (!table->in_source && finding->texts[FINDING_PROBLEM].size == before)
        finding_say(finding, FINDING_PROBLEM,
                    "the source has no table %s: correct its name, source_table names another", table->source_name);
    if (table->in_source)
        judge_source(finding, table);
    if (table->in_source && table->in_target)
        compare_columns(finding, table);
    if (!target_exists && !preflight->clones_schema)
        finding_say(finding, FINDING_PROBLEM,
                    "the target has no table %s, and the step schema is skipped: make it, or do not skip the step",
                    table->name);
    return STATUS_OK;
}

enum status check_tables(struct preflight *preflight, struct finding *finding, struct error *error)
{
    enum status status = STATUS_OK;
    bool timescaledb = false;

    for (size_t i = 0; status == STATUS_OK && i < preflight->table_count; i++) {
        status = check_table(preflight, &preflight->tables[i], finding, error);
        timescaledb = timescaledb || preflight->tables[i].source.timescaledb != NULL;
    }
    if (status == STATUS_OK)
        status = find_forgotten(preflight, finding, timescaledb, error);
    finding_say(finding, FINDING_OK, "%zu, each with a time column", preflight->table_count);
    return status;
}

/* With indexes and TOAST. A columnstore counts as what its rows were before. */
static enum status measure(struct pg *pg, const struct table *table, int64_t *bytes, struct error *error)
{
    struct sql sql = {0};
    char *text = NULL;
    enum status status;

    if (table->kind == TABLE_HYPERTABLE)
        sql_add(&sql, "SELECT hypertable_size(%u::regclass)::bigint", table->oid);
    else
        sql_add(&sql,
                "WITH RECURSIVE t AS (SELECT %u::oid AS oid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i "
                "JOIN t"
                " ON t.oid = i.inhparent) SELECT sum(pg_catalog.pg_total_relation_size(oid))::bigint FROM t",
                table->oid);
    if (table->kind == TABLE_HYPERTABLE && table->community)
        sql_add(&sql,
                " + coalesce((SELECT sum(before_compression_total_bytes - after_compression_total_bytes)::bigint FROM"
                " hypertable_compression_stats(%u::regclass)), 0)",
                table->oid);
    status = pg_value(pg, sql.text, &text, error);
    sql_reset(&sql);
    *bytes = text != NULL ? strtoll(text, NULL, 10) : -1;
    free(text);
    return status;
}

enum finding_level preflight_judge_room(int64_t needed, int64_t room)
{
    if (room < 0 || needed < 0)
        return FINDING_WARNING;
    return room < needed ? FINDING_PROBLEM : room < needed + needed / 3 ? FINDING_WARNING : FINDING_OK;
}

/* Where the target is on this machine, and shows its folder: what is free there. -1: unknown. */
static enum status look_at_disk(struct pg *pg, int64_t *room, struct error *error)
{
    const char *host = PQhost(pg_conn(pg));
    struct statvfs disk;
    char *folder = NULL;
    enum status status;

    *room = -1;
    if (host == NULL || host[0] != '/')
        return STATUS_OK;
    status = pg_value(pg, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'", &folder, error);
    if (status == STATUS_OK && folder != NULL && statvfs(folder, &disk) == 0)
        *room = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    free(folder);
    return status;
}

static void say_room(struct finding *finding, int64_t needed, int64_t room)
{
    long long need_mb = (long long)(needed >> 20) + 1, room_mb = (long long)(room >> 20);
    enum finding_level level = preflight_judge_room(needed, room);

    if (room < 0 || needed < 0)
        finding_say(
            finding, FINDING_WARNING,
            "about %lld MB are needed, and what is free in the target cannot be seen from here: look there, and say "
            "--target-free SIZE",
            need_mb);
    else if (level == FINDING_PROBLEM)
        finding_say(finding, level, "about %lld MB are needed, and %lld MB are free in the target: make room there",
                    need_mb, room_mb);
    else
        finding_say(finding, level, "about %lld MB are needed, %lld MB are free%s", need_mb, room_mb,
                    level == FINDING_WARNING ? ": with WAL that may be too little" : "");
}

enum status check_disk(struct preflight *preflight, struct finding *finding, struct error *error)
{
    int64_t needed = 0, room = preflight->target_free;
    enum status status = STATUS_OK;
    char *all = NULL;

    for (size_t i = 0; status == STATUS_OK && i < preflight->table_count; i++) {
        struct preflight_table *table = &preflight->tables[i];

        table->bytes = -1;
        if (table->in_source)
            status = measure(preflight->source, &table->source, &table->bytes, error);
        needed += table->bytes > 0 ? table->bytes : 0;
    }
    /* The relational rest comes with the schema. */
    if (status == STATUS_OK && preflight->clones_schema)
        status = pg_value(preflight->source, "SELECT pg_catalog.pg_database_size(current_database())", &all, error);
    if (all != NULL && strtoll(all, NULL, 10) > needed)
        needed = strtoll(all, NULL, 10);
    free(all);
    if (status == STATUS_OK && room == 0)
        status = look_at_disk(preflight->target, &room, error);
    if (status == STATUS_OK)
        say_room(finding, needed, room);
    return status;
}
