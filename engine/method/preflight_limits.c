/* Checks of what servers have room for: connections, locks. */
#include <stdlib.h>

#include "engine/method/preflight_private.h"

/* Sessions of others that this role may not see have no type. */
static const char connections_sql[] =
    "WITH s AS (SELECT datid, usesysid FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL AND pid <> "
    "pg_backend_pid()"
    " AND coalesce(backend_type, 'client backend') = 'client backend')"
    " SELECT least(current_setting('max_connections')::int - (SELECT count(*) FROM s) - CASE WHEN r.rolsuper THEN 0 "
    "ELSE"
    " current_setting('superuser_reserved_connections')::int +"
    " coalesce(current_setting('reserved_connections', true)::int, 0) END,"
    " CASE WHEN rolconnlimit >= 0 AND NOT r.rolsuper THEN rolconnlimit - (SELECT count(*) FROM s WHERE usesysid = "
    "r.oid)"
    " END, CASE WHEN datconnlimit >= 0 AND NOT r.rolsuper THEN datconnlimit - (SELECT count(*) FROM s WHERE datid = "
    "d.oid)"
    " END) FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE rolname = current_user AND datname ="
    " current_database()";

/* Beside those that load: for planning, the guard of policies, and this one. */
#define CONNECTIONS_BESIDE 3

static enum status count_connections(struct finding *finding, struct pg *pg, const char *side, int needed,
                                     const char *option, struct error *error)
{
    char *text = NULL;
    enum status status = pg_value(pg, connections_sql, &text, error);
    /* Ours is one of those that are needed. */
    long room = text != NULL ? strtol(text, NULL, 10) : 0;

    if (status == STATUS_OK && text == NULL)
        finding_say(finding, FINDING_WARNING, "the limits of the %s are hidden", side);
    else if (status == STATUS_OK && room < needed)
        finding_say(finding, FINDING_PROBLEM,
                    "the %s has room for %ld connections, and %d are needed: fewer by %s, or raise max_connections",
                    side, room, needed, option);
    else if (status == STATUS_OK)
        finding_say(finding, FINDING_OK, "%s: %d of %ld free ones", side, needed, room);
    free(text);
    return status;
}

enum status check_connections(struct preflight *preflight, struct finding *finding, struct error *error)
{
    enum status status = count_connections(finding, preflight->source, "source",
                                           preflight->readers + CONNECTIONS_BESIDE, "--readers", error);

    if (status == STATUS_OK)
        status = count_connections(finding, preflight->target, "target", preflight->writers + CONNECTIONS_BESIDE,
                                   "--jobs", error);
    return status;
}

/* How many locks there is room for, at least; and relations, which pg_dump locks all at once. */
static const char locks_sql[] =
    "SELECT current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::int +"
    " current_setting('max_prepared_transactions')::int), (SELECT count(*) FROM pg_catalog.pg_class c JOIN"
    " pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname <>"
    " 'information_schema' AND n.nspname !~ '^pg_')";

static enum status count_locks(struct pg *pg, long long counts[2], struct error *error)
{
    PGresult *result = NULL;
    enum status status = preflight_ask(pg, locks_sql, &result, error);

    for (int i = 0; status == STATUS_OK && i < 2; i++)
        counts[i] = strtoll(PQgetvalue(result, 0, i), NULL, 10);
    PQclear(result);
    return status;
}

/* The largest number of chunks that a table of the source has. */
static long long most_chunks(const struct preflight *preflight)
{
    long long chunks = 0;

    for (size_t i = 0; i < preflight->table_count; i++)
        if (preflight->tables[i].in_source && (long long)preflight->tables[i].source.cell_count > chunks)
            chunks = (long long)preflight->tables[i].source.cell_count;
    return chunks;
}

enum status check_locks(struct preflight *preflight, struct finding *finding, struct error *error)
{
    long long source[2] = {0}, target[2] = {0}, chunks = most_chunks(preflight);
    enum status status = count_locks(preflight->source, source, error);

    if (status == STATUS_OK)
        status = count_locks(preflight->target, target, error);
    if (status != STATUS_OK)
        return status;
    if (preflight->clones_schema && source[1] > source[0])
        finding_say(
            finding, FINDING_PROBLEM,
            "pg_dump locks all %lld tables and chunks of the source at once, and there is room for about %lld locks: "
            "make max_locks_per_transaction there %lld times as large, and restart it",
            source[1], source[0], 2 + source[1] / (source[0] > 0 ? source[0] : 1));
    /* A chunk and an index or two of it. */
    if (chunks * 3 > target[0])
        finding_say(finding, FINDING_WARNING,
                    "a query over all of about %lld chunks needs more locks than the target has room for (%lld): raise "
                    "max_locks_per_transaction there",
                    chunks, target[0]);
    finding_say(finding, FINDING_OK, "room for about %lld in the source, %lld in the target", source[0], target[0]);
    return STATUS_OK;
}
