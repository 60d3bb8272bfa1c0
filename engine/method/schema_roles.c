/* Roles: made without passwords, which are never read, and without what only a superuser may give. */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

/* SUPERUSER, REPLICATION and BYPASSRLS are left behind. */
static const char roles_query[] =
    "SELECT rolname AS name, pg_catalog.format('CREATE ROLE %I WITH %s %s %s %s%s%s', rolname,"
    " CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,"
    " CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,"
    " CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,"
    " CASE WHEN rolconnlimit >= 0 THEN ' CONNECTION LIMIT ' || rolconnlimit ELSE '' END,"
    " CASE WHEN rolvaliduntil IS NOT NULL THEN ' VALID UNTIL ' || pg_catalog.quote_literal(rolvaliduntil) ELSE '' END)"
    " AS statement, rolcanlogin AS can_login, pg_catalog.concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END,"
    " CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END) AS lost"
    " FROM pg_catalog.pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY rolname COLLATE \"C\"";

static const char memberships_query[] =
    "SELECT DISTINCT pg_catalog.format('%s in %s', m.rolname, g.rolname) AS name,"
    " pg_catalog.format('GRANT %I TO %I%s', g.rolname, m.rolname,"
    " CASE WHEN a.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END) AS statement,"
    " g.rolname AS role, m.rolname AS member FROM pg_catalog.pg_auth_members a"
    " JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member"
    " WHERE m.rolname NOT LIKE 'pg\\_%' ORDER BY 1";

/* Lists such as search_path are stored as they are to be written, all else as a text. */
static const char settings_query[] =
    "SELECT pg_catalog.format('%s of %s', s.name, r.rolname) AS name,"
    " pg_catalog.format('ALTER ROLE %I SET %I = %s', r.rolname, s.name, CASE WHEN s.name IN ('search_path',"
    " 'DateStyle', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')"
    " THEN coalesce(nullif(s.value, ''), '''''') ELSE pg_catalog.quote_literal(s.value) END) AS statement, r.rolname "
    "AS role"
    " FROM pg_catalog.pg_db_role_setting d JOIN pg_catalog.pg_roles r ON r.oid = d.setrole,"
    " LATERAL (SELECT pg_catalog.split_part(c, '=', 1) AS name, pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) AS"
    " value FROM pg_catalog.unnest(d.setconfig) c) s WHERE d.setdatabase = 0 AND r.rolname NOT LIKE 'pg\\_%' ORDER BY "
    "1";

/* Whether the query about the target gives a row. */
static enum status ask(struct schema *schema, const char *query, const char *first, const char *second, bool *yes,
                       struct error *error)
{
    char *a = pg_literal(first), *b = pg_literal(second);
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "WITH given(a, b) AS (SELECT %s::name, %s::text) %s", a, b, query);
    status = pg_value(schema->target.pg, sql.text, &found, error);
    *yes = found != NULL;
    free(found);
    free(a);
    free(b);
    sql_reset(&sql);
    return status;
}

static enum status make_role(struct schema *schema, const PGresult *result, int row, struct sql *logins,
                             struct error *error)
{
    char *name = schema_field(result, row, "name"), *statement = schema_field(result, row, "statement");
    char *lost = schema_field(result, row, "lost");
    struct sql title = {0};
    bool there;
    enum status status =
        ask(schema, "SELECT 1 FROM given, pg_catalog.pg_roles WHERE rolname = a", name, "", &there, error);

    sql_add(&title, "role %s", name);
    if (status == STATUS_OK && !there) {
        status = schema_do(schema, "role", title.text, statement, statement, false, error);
        if (status == STATUS_OK && lost[0] != '\0')
            schema_leave_out(schema, "%s of role %s: only a superuser may give it", lost, name);
        if (status == STATUS_OK && PQgetvalue(result, row, PQfnumber(result, "can_login"))[0] == 't')
            sql_add(logins, "%s%s", logins->size > 0 ? ", " : "", name);
    } else if (status == STATUS_OK) {
        schema->result->equal++;
    }
    sql_reset(&title);
    free(name);
    free(statement);
    free(lost);
    return status;
}

/* What makes a role what it is but may be refused. Only of roles that this clone, or an earlier one, has made. */
static enum status complete_roles(struct schema *schema, const char *query, const char *kind, const char *role_column,
                                  struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_run(schema->source.pg, query, &result, error);

    for (int row = 0; status == STATUS_OK && row < PQntuples(result); row++) {
        const char *statement = PQgetvalue(result, row, PQfnumber(result, "statement"));
        struct sql role = {0}, title = {0};

        sql_add(&role, "role %s", PQgetvalue(result, row, PQfnumber(result, role_column)));
        sql_add(&title, "%s %s", kind, PQgetvalue(result, row, PQfnumber(result, "name")));
        if (schema->request->dry_run || schema_ledger_find(schema, "role", role.text) != NULL) {
            if (schema_ledger_find(schema, kind, title.text) == NULL)
                status = schema_do(schema, kind, title.text, statement, statement, true, error);
            else
                schema->result->equal++;
        }
        sql_reset(&role);
        sql_reset(&title);
    }
    PQclear(result);
    return status;
}

enum status schema_make_roles(struct schema *schema, struct error *error)
{
    PGresult *result = NULL;
    struct sql logins = {0};
    enum status status = pg_run(schema->source.pg, roles_query, &result, error);

    for (int row = 0; status == STATUS_OK && row < PQntuples(result); row++)
        status = make_role(schema, result, row, &logins, error);
    PQclear(result);
    if (status == STATUS_OK)
        status = schema_ledger_read(schema, error);
    if (status == STATUS_OK)
        status = complete_roles(schema, memberships_query, "membership", "member", error);
    if (status == STATUS_OK)
        status = complete_roles(schema, settings_query, "setting", "role", error);
    if (status == STATUS_OK && logins.size > 0)
        schema_leave_out(schema, "the passwords of %s: set them in the target (\\password in psql)", logins.text);
    sql_reset(&logins);
    return status;
}
