/* Which partition a cell is, and what speaks against building it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_partition.h"

/*
 * `w`: what is against building any partition of the table. Rows that are loaded aside are seen neither by its triggers
 * nor by a subscriber, and what refers to them cannot while they are moved.
 */
static const char whole_sql[] =
    "WITH w AS (SELECT c.oid, CASE"
    " WHEN c.relispartition THEN 'the table is itself a partition of another'"
    " WHEN c.relrowsecurity THEN 'the table has row security'"
    " WHEN c.relhasrules THEN 'the table has rules'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)"
    " THEN 'the table has triggers, which would not see rows that are loaded aside'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint r WHERE r.confrelid = c.oid)"
    " THEN 'foreign keys of other tables refer to the table'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_partitioned_table t JOIN pg_catalog.pg_class k ON k.oid = t.partdefid"
    " WHERE t.partrelid = c.oid AND (k.relkind <> 'r' OR pg_catalog.pg_relation_size(k.oid) > 0))"
    " THEN 'the default partition may have rows: the server would look through it under a lock that stops everybody'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_publication_tables u JOIN pg_catalog.pg_namespace n"
    " ON n.nspname = u.schemaname WHERE n.oid = c.relnamespace AND u.tablename = c.relname)"
    " THEN 'the table is published: subscribers would not get rows that are loaded aside' END AS refusal"
    " FROM pg_catalog.pg_class c WHERE c.oid = %u),";

/* `p`: the partitions, their bounds as text; `v`: as numbers. */
static const char partitions_sql[] =
    " p AS (SELECT c.*, n.nspname, format('%%I.%%I', n.nspname, c.relname) AS name,"
    " regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \\((.*)\\) TO \\((.*)\\)$') AS m"
    " FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE i.inhparent = %3$u),"
    " b AS (SELECT p.*, trim(BOTH '''' FROM m[1]) AS lo_text, trim(BOTH '''' FROM m[2]) AS hi_text FROM p"
    " WHERE m IS NOT NULL),"
    " v AS (SELECT b.*, %1$s AS lo, %2$s AS hi FROM b)";

/*
 * What is against building one: it could not be made again as it is, or somebody would notice. Of what the server keeps
 * on a table, all else is copied, and compared in the end.
 */
static const char refusal_sql[] =
    "coalesce(w.refusal, CASE"
    " WHEN v.relkind <> 'r' THEN 'it is divided further, or a foreign table'"
    " WHEN v.relpersistence = 't' THEN 'it is temporary'"
    " WHEN NOT pg_catalog.pg_has_role(v.relowner, 'USAGE') THEN 'it belongs to another role'"
    " WHEN NOT pg_catalog.has_schema_privilege(v.relnamespace, 'CREATE')"
    " OR NOT pg_catalog.has_schema_privilege(v.relowner, v.relnamespace, 'CREATE')"
    " THEN format('its owner may not create tables in schema %%I', v.nspname)"
    " WHEN v.reloftype <> 0 OR (SELECT amname FROM pg_catalog.pg_am WHERE oid = v.relam) <> 'heap'"
    " THEN 'it is no ordinary table'"
    " WHEN v.relrowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy y WHERE y.polrelid = v.oid)"
    " THEN 'it has row security'"
    " WHEN v.relhasrules OR EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = v.oid AND NOT g.tgisinternal)"
    " THEN 'it has triggers or rules of its own'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_publication_tables u WHERE (u.schemaname, u.tablename) = (v.nspname,"
    " v.relname)) THEN 'it is published: subscribers would not get rows that are loaded aside'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint r WHERE r.conrelid = v.oid AND NOT r.convalidated)"
    " THEN 'it has a constraint that is not valid'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = v.oid)"
    " THEN 'it has extended statistics'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_seclabel s WHERE s.objoid = v.oid) THEN 'it has security labels'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid AND a.attacl IS NOT NULL)"
    " OR EXISTS (SELECT FROM pg_catalog.aclexplode(v.relacl) x WHERE x.grantor <> v.relowner)"
    " THEN 'it has privileges on columns, or that others than its owner have granted'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attribute o ON o.attrelid = w.oid"
    " AND o.attname = a.attname LEFT JOIN pg_catalog.pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)"
    " LEFT JOIN pg_catalog.pg_attrdef e ON (e.adrelid, e.adnum) = (o.attrelid, o.attnum)"
    " WHERE a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
    " AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM pg_catalog.pg_get_expr(e.adbin, e.adrelid))"
    " THEN 'a column has another default than that of the table'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE (d.refclassid = 'pg_catalog.pg_class'::regclass"
    " AND d.refobjid = v.oid OR d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (v.reltype,"
    " (SELECT typarray FROM pg_catalog.pg_type WHERE oid = v.reltype)))"
    " AND (d.deptype = 'n' OR d.classid = 'pg_catalog.pg_class'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_class q"
    " WHERE q.oid = d.objid AND q.relkind = 'S'))"
    " AND NOT (d.classid = 'pg_catalog.pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_attrdef x"
    " WHERE x.oid = d.objid AND x.adrelid = v.oid))"
    " AND NOT (d.classid = 'pg_catalog.pg_constraint'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_constraint x"
    " WHERE x.oid = d.objid AND x.conrelid = v.oid))"
    " AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_index x"
    " WHERE x.indexrelid = d.objid AND x.indrelid = v.oid)))"
    " OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass"
    " AND d.objid = v.oid AND d.deptype IN ('e', 'x'))"
    " THEN 'a view, a sequence or something else depends on it' END)";

static enum status query(struct pg *pg, const struct table *table, const char *what, PGresult **result,
                         struct error *error)
{
    struct sql lo = {0}, hi = {0}, sql = {0};
    enum status status;

    target_add_bound(&lo, table->time.type, "lo_text");
    target_add_bound(&hi, table->time.type, "hi_text");
    sql_add(&sql, whole_sql, table->oid);
    sql_add(&sql, partitions_sql, lo.text, hi.text, table->oid);
    sql_add(&sql, "%s", what);
    status = pg_run(pg, sql.text, result, error);
    sql_reset(&lo);
    sql_reset(&hi);
    sql_reset(&sql);
    return status;
}

enum status partition_find(struct pg *pg, const struct table *table, struct range cell, struct partition *partition,
                           struct error *error)
{
    struct sql what = {0};
    PGresult *result = NULL;
    enum status status;

    *partition = (struct partition){0};
    sql_add(&what, " SELECT v.oid::bigint AS oid, v.name, pg_catalog.pg_relation_size(v.oid) AS bytes, ");
    sql_add(&what, refusal_sql);
    sql_add(&what, " AS refusal FROM v, w WHERE v.lo = '%" PRId64 "' AND v.hi = '%" PRId64 "'", cell.lo, cell.hi);
    status = query(pg, table, what.text, &result, error);
    sql_reset(&what);
    if (status != STATUS_OK)
        return status;
    partition->found = PQntuples(result) == 1;
    if (partition->found) {
        partition->oid = (uint32_t)target_number(result, 0, "oid");
        partition->sql = target_text(result, 0, "name");
        partition->bytes = target_number(result, 0, "bytes");
        partition->refusal = target_text(result, 0, "refusal");
    }
    PQclear(result);
    return STATUS_OK;
}

enum status partition_survey(struct pg *pg, const struct table *table, struct partition_survey *survey,
                             struct error *error)
{
    struct sql what = {0};
    PGresult *result = NULL;
    enum status status;

    sql_add(&what, ", x AS (SELECT v.name, ");
    sql_add(&what, refusal_sql);
    sql_add(&what, " AS refusal FROM v, w) SELECT count(*) AS count, count(refusal) AS refused,"
                   " min(name) FILTER (WHERE refusal IS NOT NULL) AS name, (SELECT refusal FROM x WHERE refusal IS NOT"
                   " NULL ORDER BY name LIMIT 1) AS refusal, (SELECT refusal FROM w) AS whole FROM x");
    status = query(pg, table, what.text, &result, error);
    sql_reset(&what);
    if (status != STATUS_OK)
        return status;
    survey->count = target_number(result, 0, "count");
    survey->refused = target_number(result, 0, "refused");
    snprintf(survey->whole, sizeof survey->whole, "%s", PQgetvalue(result, 0, PQfnumber(result, "whole")));
    snprintf(survey->refusal, sizeof survey->refusal, "%s", PQgetvalue(result, 0, PQfnumber(result, "refusal")));
    snprintf(survey->name, sizeof survey->name, "%s", PQgetvalue(result, 0, PQfnumber(result, "name")));
    PQclear(result);
    return STATUS_OK;
}

void partition_reset(struct partition *partition)
{
    free(partition->sql);
    free(partition->refusal);
    *partition = (struct partition){0};
}
