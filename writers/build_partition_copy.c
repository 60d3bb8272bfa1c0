/*
 * What a partition is, as statements that make another table the same, and as a text to compare.
 *
 * Columns with their defaults, storage, compression and comments, generated columns and CHECK constraints come by LIKE.
 * Indexes and the constraints that are indexes are made with the definitions that the server prints, which is what
 * ATTACH PARTITION compares, under names that are free as long as the partition is there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writers/build_partition.h"

/* `c`: the partition; st: the other table, quoted; tail: what its new names begin with. %u: oid, %s: a literal. */
static const char partition_sql[] =
    "WITH c AS (SELECT c.*, format('%%I.%%I', n.nspname, c.relname) AS name, n.nspname,"
    " format('%%I.%%I', n.nspname, s.s) AS st, s.s AS tail, s.bounds, format('%%I.%%I', m.nspname, o.relname) AS "
    "parent,"
    " pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound, coalesce(t.spcname, '') AS space,"
    " pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) AS owner"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid JOIN pg_catalog.pg_class o ON o.oid = h.inhparent"
    " JOIN pg_catalog.pg_namespace m ON m.oid = o.relnamespace LEFT JOIN pg_catalog.pg_tablespace t"
    " ON t.oid = c.reltablespace, (SELECT %2$s::text AS s, %3$s::text AS bounds) s"
    " WHERE c.oid = %1$u),";

/* `columns`: those that are inserted. `options`: of the table and of what it keeps aside (TOAST). */
static const char table_sql[] =
    " a AS (SELECT a.*, to_jsonb(a)->>'attstattarget' AS target FROM c JOIN pg_catalog.pg_attribute a"
    " ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped),"
    " columns AS (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS list FROM a"
    " WHERE attgenerated = ''),"
    " options AS (SELECT string_agg(format('%%s%%I = %%L', p, x.option_name, x.option_value), ', ') AS list FROM"
    " (SELECT '' AS p, reloptions FROM c UNION ALL SELECT 'toast.', k.reloptions FROM c JOIN pg_catalog.pg_class k"
    " ON k.oid = c.reltoastrelid) o, LATERAL pg_catalog.pg_options_to_table(o.reloptions) x),"
    " create_ AS (SELECT format('SET LOCAL default_tablespace = %%L; SET LOCAL default_table_access_method = heap;"
    " CREATE %%sTABLE %%s (LIKE %%s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING STATISTICS);"
    " ALTER TABLE %%s ADD CONSTRAINT hyperfill_bounds CHECK (%%s)', space, CASE WHEN relpersistence = 'u' THEN"
    " 'UNLOGGED ' ELSE '' END, st, name, st, bounds)"
    " || coalesce((SELECT format('; ALTER TABLE %%s SET (%%s)', st, list) FROM options WHERE list IS NOT NULL), '') AS "
    "text FROM c),";

/* The owner comes before privileges: who grants them belongs to them. */
static const char dress_sql[] =
    " dress AS (SELECT 1 AS part, attnum AS nth, format('ALTER TABLE %%s ALTER COLUMN %%I SET STATISTICS %%s', st,"
    " attname, target) AS text FROM a, c WHERE target::int >= 0"
    " UNION ALL SELECT 1, attnum, format('ALTER TABLE %%s ALTER COLUMN %%I SET (%%I = %%L)', st, attname, option_name,"
    " option_value) FROM a, c, LATERAL pg_catalog.pg_options_to_table(attoptions) WHERE option_name <> "
    "'" BUILD_COLUMN_VERSION "'"
    " UNION ALL SELECT 1, 0, format('COMMENT ON TABLE %%s IS %%L', st, d) FROM c,"
    " LATERAL pg_catalog.obj_description(c.oid, 'pg_class') d WHERE d IS NOT NULL"
    " UNION ALL SELECT 1, 0, format('ALTER TABLE %%s REPLICA IDENTITY %%s', st, CASE relreplident WHEN 'f' THEN 'FULL'"
    " ELSE 'NOTHING' END) FROM c WHERE relreplident IN ('f', 'n')"
    " UNION ALL SELECT 4, 0, format('REVOKE ALL ON %%s FROM %%s', st, CASE x.grantee WHEN 0 THEN 'PUBLIC'"
    " ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END) FROM c JOIN pg_catalog.pg_class k"
    " ON k.oid = pg_catalog.to_regclass(st), LATERAL pg_catalog.aclexplode(k.relacl) x GROUP BY st, x.grantee"
    " UNION ALL SELECT 5, 0, format('ALTER TABLE %%s OWNER TO %%s', st, owner) FROM c"
    " WHERE owner <> quote_ident(current_user)"
    " UNION ALL SELECT 6, 0, format('REVOKE ALL ON %%s FROM %%s', st, owner) FROM c WHERE relacl IS NOT NULL"
    " UNION ALL SELECT 7, 0, format('GRANT %%s ON %%s TO %%s%%s', string_agg(x.privilege_type, ', '), st,"
    " CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END,"
    " CASE WHEN x.is_grantable AND x.grantee <> c.relowner THEN ' WITH GRANT OPTION' ELSE '' END) FROM c LEFT JOIN"
    " pg_catalog.pg_class k ON k.oid = pg_catalog.to_regclass(st),"
    " LATERAL pg_catalog.aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x"
    " WHERE c.relacl IS NOT NULL OR k.relacl IS NOT NULL"
    " GROUP BY st, x.grantee, x.is_grantable AND x.grantee <> c.relowner, x.is_grantable, c.relowner";

/* `i`: indexes; `made` is the name for the time being. An exclusion constraint makes its index itself. */
static const char indexes_sql[] =
    "), i AS (SELECT i.*, k.relname AS index, c.nspname, c.st, c.relname, c.tail || '_' || row_number()"
    " OVER (ORDER BY NOT i.indisprimary, k.relname) AS made, coalesce(t.spcname, '') AS space, r.oid AS constraint,"
    " r.conname, r.contype, r.condeferrable, r.condeferred, CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END AS kind,"
    " row_number() OVER (ORDER BY NOT i.indisprimary, k.relname) AS nth FROM c JOIN pg_catalog.pg_index i"
    " ON i.indrelid = c.oid JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid LEFT JOIN pg_catalog.pg_tablespace t"
    " ON t.oid = k.reltablespace LEFT JOIN pg_catalog.pg_constraint r ON r.conindid = i.indexrelid"
    " AND r.conrelid = c.oid AND r.contype IN ('p', 'u', 'x')),"
    " complete AS (SELECT * FROM dress"
    " UNION ALL SELECT 2, nth, format('SET LOCAL default_tablespace = %%L; ', space) || CASE WHEN indisexclusion THEN"
    " format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', st, made, pg_catalog.pg_get_constraintdef(i.constraint))"
    " ELSE format('CREATE %%sINDEX %%I ON %%s', kind, made, st) || substr(pg_catalog.pg_get_indexdef(indexrelid),"
    " length(format('CREATE %%sINDEX %%I ON %%I.%%I', kind, index, nspname, relname)) + 1) END FROM i"
    " UNION ALL SELECT 3, nth, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s USING INDEX %%I%%s%%s', st, made,"
    " CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, made, CASE WHEN condeferrable THEN ' DEFERRABLE'"
    " ELSE '' END, CASE WHEN condeferred THEN ' INITIALLY DEFERRED' ELSE '' END) FROM i"
    " WHERE contype IN ('p', 'u') AND NOT indisexclusion"
    " UNION ALL SELECT 3, 1000 + nth, format('COMMENT ON INDEX %%I.%%I IS %%L', nspname, made, d) FROM i,"
    " LATERAL pg_catalog.obj_description(indexrelid, 'pg_class') d WHERE d IS NOT NULL"
    " UNION ALL SELECT 3, 1000 + nth, format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', made, st, d) FROM i,"
    " LATERAL pg_catalog.obj_description(i.constraint, 'pg_constraint') d WHERE d IS NOT NULL"
    " UNION ALL SELECT 3, 1000 + nth, format('ALTER INDEX %%I.%%I ALTER COLUMN %%s SET STATISTICS %%s', nspname, made,"
    " x.attnum, to_jsonb(x)->>'attstattarget') FROM i JOIN pg_catalog.pg_attribute x ON x.attrelid = indexrelid"
    " WHERE (to_jsonb(x)->>'attstattarget')::int >= 0"
    " UNION ALL SELECT 3, 1000 + nth, format('ALTER TABLE %%s CLUSTER ON %%I', st, made) FROM i WHERE indisclustered"
    " UNION ALL SELECT 3, 1000 + nth, format('ALTER TABLE %%s REPLICA IDENTITY USING INDEX %%I', st, made) FROM i"
    " WHERE indisreplident"
    " UNION ALL SELECT 8, 0, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', st, r.conname,"
    " pg_catalog.pg_get_constraintdef(r.oid)) || coalesce((SELECT format('; COMMENT ON CONSTRAINT %%I ON %%s IS %%L',"
    " r.conname, st, d) FROM pg_catalog.obj_description(r.oid, 'pg_constraint') d WHERE d IS NOT NULL), '')"
    " FROM c JOIN pg_catalog.pg_constraint r ON r.conrelid = c.oid AND r.contype = 'f')";

static const char result_sql[] =
    " SELECT create_.text AS create_, (SELECT string_agg(x.text, '; ' ORDER BY part, nth) FROM complete x) AS complete,"
    " format('INSERT INTO %%s (%%s) SELECT %%s FROM ONLY %%s; DROP TABLE %%s; ALTER TABLE %%s RENAME TO %%I;', st, "
    "list,"
    " list, name, name, st, relname) || coalesce((SELECT string_agg(format(' ALTER INDEX %%I.%%I RENAME TO %%I;',"
    " nspname, made, index), '' ORDER BY nth) FROM i), '') || format(' ALTER TABLE %%s ATTACH PARTITION %%s %%s;"
    " ALTER TABLE %%s DROP CONSTRAINT hyperfill_bounds', parent, name, bound, name) AS exchange FROM c, create_, "
    "columns";

/* Numbers are of things that stay as they are; what depends on the table is named. */
static const char portrait_sql[] =
    "SELECT jsonb_build_object('table', (SELECT to_jsonb(x) FROM (SELECT c.relname, c.relnamespace, c.relowner,"
    " c.relpersistence, c.relkind, c.relam, c.reltablespace, c.reloptions, t.reloptions AS toast, c.relreplident,"
    " c.relispartition, c.relrowsecurity, c.relhasrules, c.reloftype, pg_catalog.pg_get_expr(c.relpartbound, c.oid),"
    " pg_catalog.obj_description(c.oid, 'pg_class') AS comment, (SELECT array_agg(concat_ws(' ', grantor, grantee,"
    " privilege_type, is_grantable) ORDER BY grantor, grantee, privilege_type)"
    " FROM pg_catalog.aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))) AS acl,"
    " (SELECT array_agg(inhparent) FROM pg_catalog.pg_inherits WHERE inhrelid = c.oid) AS parents,"
    " (SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) AS triggers,"
    " (SELECT array_agg(prpubid ORDER BY prpubid) FROM pg_catalog.pg_publication_rel WHERE prrelid = c.oid) AS"
    " publications) x), 'columns', (SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod),"
    " a.attcollation, a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, to_jsonb(a)->'attcompression',"
    " a.attstattarget, (SELECT array_agg(o ORDER BY o) FROM unnest(a.attoptions) o WHERE o NOT LIKE "
    "'" BUILD_COLUMN_VERSION "=%%'), a.attislocal, a.attinhcount, a.attacl, pg_catalog.pg_get_expr(d.adbin,"
    " d.adrelid), pg_catalog.col_description(c.oid, a.attnum)) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a"
    " LEFT JOIN pg_catalog.pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum) WHERE a.attrelid = c.oid"
    " AND a.attnum > 0 AND NOT a.attisdropped), 'constraints', (SELECT jsonb_agg(jsonb_build_array(r.conname,"
    " r.contype, pg_catalog.pg_get_constraintdef(r.oid), r.convalidated, r.conislocal, r.coninhcount,"
    " r.contype IN ('c', 'n') AND r.connoinherit, r.conparentid, pg_catalog.obj_description(r.oid, 'pg_constraint'))"
    " ORDER BY r.conname) FROM pg_catalog.pg_constraint r WHERE r.conrelid = c.oid), 'indexes', (SELECT"
    " jsonb_agg(jsonb_build_array(k.relname, k.relowner, k.reltablespace, pg_catalog.pg_get_indexdef(i.indexrelid),"
    " i.indisprimary, i.indimmediate, i.indisclustered, i.indisvalid, i.indisreplident,"
    " pg_catalog.obj_description(k.oid, 'pg_class'), (SELECT array_agg(inhparent) FROM pg_catalog.pg_inherits"
    " WHERE inhrelid = k.oid), (SELECT jsonb_agg(a.attstattarget ORDER BY attnum) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = k.oid), (SELECT r.conname FROM pg_catalog.pg_constraint r WHERE r.conindid = k.oid"
    " AND r.conrelid = c.oid AND r.contype IN ('p', 'u', 'x'))) ORDER BY k.relname) FROM pg_catalog.pg_index i"
    " JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid WHERE i.indrelid = c.oid))::text"
    " FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = %s";

enum status partition_portrait(struct pg *pg, const char *regclass, char **portrait, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, portrait_sql, regclass);
    status = pg_value(pg, sql.text, portrait, error);
    sql_reset(&sql);
    return status;
}

/* As the server has it, so that it sees that one implies the other. Its own function for that would hold a lock on the
 * table to the end of the transaction. */
static char *bounds_literal(const struct table *table, struct range cell)
{
    struct sql sql = {0};
    char *literal;

    sql_add_identifier(&sql, table->time_name);
    sql_add(&sql, " IS NOT NULL AND ");
    table_add_where(&sql, table, cell);
    literal = pg_literal(sql.text);
    sql_reset(&sql);
    return literal;
}

enum status partition_copy(struct pg *pg, const struct table *table, struct range cell,
                           const struct partition *partition, const char *name, struct partition_copy *copy,
                           struct error *error)
{
    char *literal = pg_literal(name), *bounds = bounds_literal(table, cell), oid[16];
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    *copy = (struct partition_copy){0};
    snprintf(oid, sizeof oid, "%u", partition->oid);
    status = partition_portrait(pg, oid, &copy->portrait, error);
    sql_add(&sql, partition_sql, partition->oid, literal, bounds);
    sql_add(&sql, table_sql);
    sql_add(&sql, dress_sql);
    sql_add(&sql, indexes_sql);
    sql_add(&sql, result_sql);
    free(literal);
    free(bounds);
    if (status == STATUS_OK)
        status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status == STATUS_OK && PQntuples(result) != 1)
        status = error_set(error, STATUS_SERVER, "the partition %s is no longer there", partition->sql);
    if (status == STATUS_OK) {
        copy->create = target_text(result, 0, "create_");
        copy->complete = target_text(result, 0, "complete");
        copy->exchange = target_text(result, 0, "exchange");
    }
    PQclear(result);
    return status;
}

void partition_copy_reset(struct partition_copy *copy)
{
    free(copy->create);
    free(copy->complete);
    free(copy->exchange);
    free(copy->portrait);
    *copy = (struct partition_copy){0};
}
