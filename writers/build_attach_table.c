/* What the table that becomes a chunk consists of: as much as the server would give one of its own. */
#include <inttypes.h>
#include <stdlib.h>

#include "writers/build_attach.h"

/* Runs each statement that the query gives. */
static enum status run_each(struct pg *pg, const struct sql *query, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_run(pg, query->text, &result, error);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        status = pg_run(pg, PQgetvalue(result, i, 0), NULL, error);
    PQclear(result);
    return status;
}

/* What a chunk that the server makes has, apart from indexes and constraints. An identity column has no default in a
 * chunk, either, but needs one while rows come past the hypertable. */
static const char create_sql[] =
    "WITH h AS (SELECT c.*, o.rolname AS owner, t.spcname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_roles o ON o.oid = c.relowner LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace"
    " WHERE c.oid = %1$u),"
    " a AS (SELECT a.* FROM pg_catalog.pg_attribute a, h WHERE a.attrelid = h.oid AND a.attnum > 0 AND NOT "
    "a.attisdropped),"
    " s(place, statement) AS ("
    " SELECT 1, 'CREATE TABLE ' || %2$s || format(' (LIKE %%s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY"
    " EXCLUDING STATISTICS EXCLUDING COMMENTS)', h.oid::pg_catalog.regclass)"
    " || coalesce((SELECT ' WITH (' || string_agg(format('%%I = %%L', option_name, option_value), ', ') || ')'"
    " FROM pg_catalog.pg_options_to_table(h.reloptions)), '')"
    " || coalesce(' TABLESPACE ' || quote_ident(h.spcname), '') FROM h"
    " UNION ALL SELECT 2, format('ALTER TABLE %%s ALTER %%I SET DEFAULT pg_catalog.nextval(%%L)', %2$s, attname,"
    " pg_catalog.pg_get_serial_sequence(attrelid::pg_catalog.regclass::text, attname)) FROM a WHERE attidentity <> ''"
    " UNION ALL SELECT 2, format('ALTER TABLE %%s ALTER %%I SET STATISTICS %%s', %2$s, attname, attstattarget) FROM a"
    " WHERE attstattarget >= 0"
    " UNION ALL SELECT 2, format('ALTER TABLE %%s ALTER %%I SET (%%I = %%L)', %2$s, attname, option_name, option_value)"
    " FROM a, LATERAL pg_catalog.pg_options_to_table(attoptions) WHERE option_name <> '" BUILD_COLUMN_VERSION "'"
    " UNION ALL SELECT 3, format('ALTER TABLE %%s OWNER TO %%I', %2$s, owner) FROM h WHERE owner <> current_user"
    " UNION ALL SELECT 4, format('GRANT %%s ON %%s TO %%s%%s', g.privilege_type, %2$s,"
    " CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,"
    " CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
    " FROM h, pg_catalog.aclexplode(h.relacl) g WHERE g.grantee <> h.relowner)"
    " SELECT statement FROM s ORDER BY place";

enum status attach_make_table(struct append_session *session, const struct build *build, struct error *error)
{
    struct sql sql = {0}, literal = {0};
    enum status status;

    sql_add_literal(&literal, build->relation);
    sql_add(&sql, create_sql, session->target->table->oid, literal.text);
    status = run_each(session->pg, &sql, error);
    sql_reset(&literal);
    sql_reset(&sql);
    return status;
}

/* Indexes and constraints with an index, as the hypertable has them now; those that the table has under the same names
 * are left out. A name is unique among all chunks: create_chunk takes it along. */
static const char indexes_sql[] =
    "WITH i AS (SELECT i.*, k.relname, t.spcname, r.oid AS conid, 'CREATE ' || CASE WHEN indisunique THEN 'UNIQUE '"
    " ELSE '' END || format('INDEX %%I ON %%I.%%I', k.relname, n.nspname, c.relname) AS prefix,"
    " CASE WHEN octet_length(k.relname) + octet_length(%3$s) < 64 THEN %3$s || k.relname ELSE %3$s || k.oid END AS name"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid"
    " JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = k.reltablespace"
    " LEFT JOIN pg_catalog.pg_constraint r ON r.conindid = i.indexrelid AND r.conrelid = i.indrelid"
    " AND r.contype IN ('p', 'u', 'x') WHERE i.indrelid = %1$u AND i.indisvalid %4$s)"
    " SELECT format('SET LOCAL default_tablespace = %%L; ', coalesce(spcname, ''))"
    " || CASE WHEN conid IS NULL THEN 'CREATE ' || CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END"
    " || format('INDEX %%I ON ', name) || %2$s || substr(pg_catalog.pg_get_indexdef(indexrelid), length(prefix) + 1)"
    " ELSE 'ALTER TABLE ' || %2$s || format(' ADD CONSTRAINT %%I %%s', name, pg_catalog.pg_get_constraintdef(conid)) "
    "END"
    " FROM i WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class k ON k.oid = x.indexrelid"
    " WHERE x.indrelid = %2$s::pg_catalog.regclass AND k.relname = i.name) ORDER BY indexrelid";

enum status attach_make_indexes(struct append_session *session, const struct build *build, bool unique_only,
                                struct error *error)
{
    const struct append_target *target = session->target;
    struct sql prefix = {0}, name = {0}, relation = {0}, sql = {0};
    enum status status;

    sql_add(&prefix, "_hyper_%.8s_%" PRId64 "_", target->ledger->job, build->cell.lo);
    sql_add_literal(&name, prefix.text);
    sql_add_literal(&relation, build->relation);
    sql_add(&sql, indexes_sql, target->table->oid, relation.text, name.text,
            unique_only ? "AND (i.indisunique OR i.indisexclusion)" : "");
    status = run_each(session->pg, &sql, error);
    sql_reset(&sql);
    sql_reset(&relation);
    sql_reset(&name);
    sql_reset(&prefix);
    return status;
}

/* A chunk has none for identity columns. */
enum status attach_drop_defaults(struct append_session *session, const struct build *build, struct error *error)
{
    struct sql sql = {0}, relation = {0};
    enum status status;

    sql_add_literal(&relation, build->relation);
    sql_add(&sql,
            "SELECT format('ALTER TABLE %%s ALTER %%I DROP DEFAULT', %s, attname) FROM pg_catalog.pg_attribute"
            " WHERE attrelid = %u AND attnum > 0 AND NOT attisdropped AND attidentity <> ''",
            relation.text, session->target->table->oid);
    status = run_each(session->pg, &sql, error);
    sql_reset(&sql);
    sql_reset(&relation);
    return status;
}
