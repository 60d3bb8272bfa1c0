/* Checks of what the roles may do, and of who else is at the tables: privileges, publications, background jobs. */
#include "engine/method/preflight_private.h"

#include <string.h>

/* Reading. Row-level security would leave rows out without a word. */
static enum status check_source_rights(const struct preflight *preflight, struct finding *finding, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql,
            "SELECT 2, CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN"
            " pg_catalog.format('GRANT USAGE ON SCHEMA %%I TO %%I in the source', n.nspname, current_user)"
            " WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN"
            " pg_catalog.format('GRANT SELECT ON %%s TO %%I in the source', c.oid::regclass, current_user)"
            " ELSE pg_catalog.format('row-level security of %%s hides rows from %%I: read as its owner, or as a role"
            " with BYPASSRLS', c.oid::regclass, current_user) END FROM pg_catalog.pg_class c JOIN"
            " pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE (NOT pg_catalog.has_schema_privilege(n.oid,"
            " 'USAGE') OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') OR"
            " pg_catalog.row_security_active(c.oid)) AND c.oid = ANY (");
    preflight_add_oids(&sql, preflight, false);
    sql_add(&sql, ")");
    status = finding_ask(finding, preflight->source, sql.text, error);
    sql_reset(&sql);
    if (status == STATUS_OK && preflight->clones_schema)
        status =
            finding_ask(finding, preflight->source,
                        "SELECT 2, pg_catalog.format('pg_dump may not read %s tables of the source, %s among them: "
                        "GRANT SELECT on them,"
                        " or GRANT pg_read_all_data, TO %I', count(*), min(c.oid::regclass::text), current_user) FROM"
                        " pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
                        "c.relkind IN ('r', 'p', 'S')"
                        " AND n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_|_?timescaledb)' AND NOT (CASE "
                        "c.relkind WHEN 'S'"
                        " THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') ELSE "
                        "pg_catalog.has_table_privilege(c.oid, 'SELECT')"
                        " END) HAVING count(*) > 0",
                        error);
    return status;
}

/* The ledger, the schema, and the tables where they are there already. */
static enum status check_target_rights(const struct preflight *preflight, struct finding *finding, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(
        &sql,
        "SELECT 2, pg_catalog.format('GRANT CREATE ON DATABASE %%I TO %%I in the target, for %%s', current_database(),"
        " current_user, '%s') WHERE NOT pg_catalog.has_database_privilege(current_database(), 'CREATE')",
        preflight->clones_schema ? "the schemas and the ledger" : "the ledger''s schema");
    if (!preflight->clones_schema) {
        sql_add(&sql, " AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = ");
        sql_add_literal(&sql, preflight->ledger_schema);
        sql_add(&sql, ")");
    }
    sql_add(&sql,
            " UNION ALL SELECT 2, pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA %%I TO %%I in the target, for the"
            " ledger', nspname, current_user) FROM pg_catalog.pg_namespace WHERE NOT"
            " (pg_catalog.has_schema_privilege(oid, 'USAGE') AND pg_catalog.has_schema_privilege(oid, 'CREATE')) AND"
            " nspname = ");
    sql_add_literal(&sql, preflight->ledger_schema);
    sql_add(
        &sql,
        " UNION ALL SELECT CASE WHEN may THEN 1 ELSE 2 END, CASE WHEN may THEN pg_catalog.format('%%s of the target"
        " belongs to %%s: its background jobs cannot be paused, nor its chunks built; GRANT %%2$I TO %%I', t, owner,"
        " current_user) ELSE pg_catalog.format('GRANT SELECT, INSERT%s ON %%s TO %%I in the target', t, current_user) "
        "END"
        " FROM (SELECT c.oid::regclass AS t, pg_catalog.pg_get_userbyid(c.relowner) AS owner,"
        " pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND"
        " (pg_catalog.has_table_privilege(c.oid, 'DELETE') OR NOT %s) AS may FROM pg_catalog.pg_class c WHERE NOT"
        " pg_catalog.pg_has_role(c.relowner, 'USAGE') AND c.oid = ANY (",
        preflight->deletes ? ", DELETE" : "", preflight->deletes ? "true" : "false");
    preflight_add_oids(&sql, preflight, true);
    sql_add(&sql, ")) f");
    status = finding_ask(finding, preflight->target, sql.text, error);
    sql_reset(&sql);
    return status;
}

enum status check_privileges(struct preflight *preflight, struct finding *finding, struct error *error)
{
    enum status status = check_source_rights(preflight, finding, error);

    if (status == STATUS_OK)
        status = check_target_rights(preflight, finding, error);
    finding_say(finding, FINDING_OK, "as %s in the source, %s in the target", PQuser(pg_conn(preflight->source)),
                PQuser(pg_conn(preflight->target)));
    return status;
}

/* A DELETE on a published table fails where rows have no identity. */
static enum status check_identity(const struct preflight *preflight, struct finding *finding, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(
        &sql,
        "SELECT %d, pg_catalog.format('the target publishes deletes of %%s (publication %%I), which has no replica"
        " identity, so that none can be made there, as by --overlap replace or a repair: ALTER TABLE %%s REPLICA"
        " IDENTITY FULL', c.oid::regclass, p.pubname, c.oid::regclass) FROM pg_catalog.pg_class c,"
        " pg_catalog.pg_publication p WHERE p.pubdelete AND (p.puballtables OR EXISTS (SELECT FROM"
        " pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)) AND (c.relreplident = 'n' OR"
        " c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND"
        " i.indisprimary)) AND c.oid = ANY (",
        preflight->deletes ? FINDING_PROBLEM : FINDING_WARNING);
    preflight_add_oids(&sql, preflight, true);
    sql_add(&sql, ")");
    status = finding_ask(finding, preflight->target, sql.text, error);
    sql_reset(&sql);
    return status;
}

enum status check_replication(struct preflight *preflight, struct finding *finding, struct error *error)
{
    struct sql sql = {0};
    enum status status = check_identity(preflight, finding, error);

    sql_add(
        &sql,
        "SELECT DISTINCT 1, pg_catalog.format('the source publishes %%s (publication %%I): its subscribers have to be"
        " led to the target when you switch over', c.oid::regclass, p.pubname) FROM pg_catalog.pg_class c,"
        " pg_catalog.pg_publication p WHERE (p.puballtables OR EXISTS (SELECT FROM"
        " pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)) AND c.oid = ANY (");
    preflight_add_oids(&sql, preflight, false);
    sql_add(
        &sql,
        ") UNION ALL SELECT 1, pg_catalog.format('%%s of the source gets its rows by a subscription: what it is sent"
        " after the switch does not reach the target', s.srrelid::regclass) FROM pg_catalog.pg_subscription_rel s"
        " WHERE s.srrelid = ANY (");
    preflight_add_oids(&sql, preflight, false);
    sql_add(&sql, ")");
    if (status == STATUS_OK)
        status = finding_ask(finding, preflight->source, sql.text, error);
    sql_reset(&sql);
    finding_say(finding, FINDING_OK, "neither publications nor subscriptions are in the way");
    return status;
}

static bool has_jobs(const struct preflight *preflight, bool target)
{
    bool has = false;

    for (size_t i = 0; i < preflight->table_count; i++) {
        const struct preflight_table *table = &preflight->tables[i];

        has = has || (target ? table->in_target && table->target.timescaledb != NULL
                             : table->in_source && table->source.timescaledb != NULL);
    }
    return has;
}

/* Jobs of tables of the job; %s stands for the level and the sentence. */
static enum status ask_jobs(const struct preflight *preflight, bool target, const char *what, const char *condition,
                            struct finding *finding, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    if (!has_jobs(preflight, target))
        return STATUS_OK;
    sql_add(&sql,
            "SELECT %s FROM timescaledb_information.jobs j WHERE hypertable_name IS NOT NULL AND %s AND"
            " pg_catalog.format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = ANY (",
            what, condition);
    preflight_add_oids(&sql, preflight, target);
    sql_add(&sql, ") ORDER BY 2");
    status = finding_ask(finding, target ? preflight->target : preflight->source, sql.text, error);
    sql_reset(&sql);
    return status;
}

enum status check_policies(struct preflight *preflight, struct finding *finding, struct error *error)
{
    enum status status = ask_jobs(preflight, true,
                                  "2, pg_catalog.format('job %s (%s on %I) of the target belongs to %s and cannot be "
                                  "paused by %I: GRANT %4$I TO %5$I,"
                                  " or pause it by hand', job_id, proc_name, hypertable_name, owner, current_user)",
                                  "scheduled AND NOT pg_catalog.pg_has_role(owner, 'USAGE')", finding, error);

    if (status == STATUS_OK)
        status =
            ask_jobs(preflight, true,
                     "0, pg_catalog.format('job %s (%s on %I) of the target is paused while rows are loaded', job_id,"
                     " proc_name, hypertable_name)",
                     "scheduled AND pg_catalog.pg_has_role(owner, 'USAGE')", finding, error);
    if (status == STATUS_OK)
        status = ask_jobs(preflight, false,
                          "1, pg_catalog.format('retention (job %s) drops rows of %I in the source, also while they are"
                          " copied: what it drops stays in the target', job_id, hypertable_name)",
                          "scheduled AND proc_name = 'policy_retention'", finding, error);
    if (finding->texts[FINDING_OK].size == 0)
        finding_say(finding, FINDING_OK, "no background job is in the way");
    return status;
}
