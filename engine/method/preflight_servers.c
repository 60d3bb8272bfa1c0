/* Checks of the servers: versions, extensions, encodings. */
#include <stdlib.h>
#include <string.h>

#include "engine/method/preflight_private.h"

enum status preflight_ask(struct pg *pg, const char *sql, PGresult **result, struct error *error)
{
    enum status status = pg_run(pg, sql, result, error);

    if (status == STATUS_OK && PQntuples(*result) == 0) {
        PQclear(*result);
        *result = NULL;
        status = error_set(error, STATUS_SERVER, "no answer to a question about the server");
    }
    return status;
}

/* The same of both sides; the caller clears both, also after a failure. */
static enum status ask_both(const struct preflight *preflight, const char *sql, PGresult **source, PGresult **target,
                            struct error *error)
{
    enum status status;

    *source = *target = NULL;
    status = preflight_ask(preflight->source, sql, source, error);
    if (status == STATUS_OK)
        status = preflight_ask(preflight->target, sql, target, error);
    return status;
}

static const char server_sql[] =
    "SELECT current_setting('server_version'), pg_catalog.pg_is_in_recovery(),"
    " current_setting('default_transaction_read_only') = 'on', current_database(),"
    " (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())::text || ' ' ||"
    " extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text";

/* Clusters have no identity that every role may read; the start of the server and the database's oid are as good. */
static void compare_servers(struct finding *finding, const PGresult *source, const PGresult *target, int versions[2])
{
    if (strcmp(PQgetvalue(source, 0, 4), PQgetvalue(target, 0, 4)) == 0 &&
        strcmp(PQgetvalue(source, 0, 3), PQgetvalue(target, 0, 3)) == 0)
        finding_say(finding, FINDING_PROBLEM, "source and target are the same database: name two");
    if (PQgetvalue(target, 0, 1)[0] == 't')
        finding_say(finding, FINDING_PROBLEM, "the target is a standby and takes no rows: name the primary server");
    else if (PQgetvalue(target, 0, 2)[0] == 't')
        finding_say(
            finding, FINDING_PROBLEM,
            "the target is set to read only (default_transaction_read_only; some services do so when the disk is "
            "nearly full): find out why, and set it off");
    if (PQgetvalue(source, 0, 1)[0] == 't')
        finding_say(finding, FINDING_WARNING,
                    "the source is a standby: long reads there may be cancelled, see max_standby_streaming_delay");
    if (versions[1] / 10000 < versions[0] / 10000)
        finding_say(
            finding, FINDING_WARNING,
            "the target is older than the source: what it does not know in the schema has to be left out by hand");
    if (versions[1] < 130000)
        finding_say(finding, FINDING_WARNING, "PostgreSQL before 13 is not tried as a target");
}

enum status check_servers(struct preflight *preflight, struct finding *finding, struct error *error)
{
    PGresult *source, *target;
    enum status status = ask_both(preflight, server_sql, &source, &target, error);

    if (status == STATUS_OK) {
        int versions[2] = {PQserverVersion(pg_conn(preflight->source)), PQserverVersion(pg_conn(preflight->target))};

        finding_say(finding, FINDING_OK, "PostgreSQL %s to %s", PQgetvalue(source, 0, 0), PQgetvalue(target, 0, 0));
        compare_servers(finding, source, target, versions);
    }
    PQclear(source);
    PQclear(target);
    return status;
}

static const char timescaledb_sql[] =
    "SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'),"
    " coalesce(current_setting('timescaledb.license', true), ''),"
    " (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb')";

/* What only the community edition has. */
static const char features_sql[] =
    "SELECT concat_ws(', ', (SELECT nullif(count(*), 0) || ' hypertables with a columnstore' FROM"
    " timescaledb_information.hypertables WHERE compression_enabled),"
    " (SELECT nullif(count(*), 0) || ' continuous aggregates' FROM timescaledb_information.continuous_aggregates),"
    " (SELECT nullif(count(*), 0) || ' policies' FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL))";

static enum status compare_features(const struct preflight *preflight, struct finding *finding, struct error *error)
{
    char *features = NULL;
    enum status status = pg_value(preflight->source, features_sql, &features, error);

    if (status == STATUS_OK && features != NULL && features[0] != '\0')
        finding_say(finding, preflight->clones_schema ? FINDING_PROBLEM : FINDING_WARNING,
                    "the source has %s, which the target's edition (Apache) cannot have: take a community edition, or "
                    "make the schema by hand and skip the step schema",
                    features);
    free(features);
    return status;
}

static void judge_target(const struct preflight *preflight, struct finding *finding, const PGresult *target)
{
    enum finding_level level = preflight->clones_schema ? FINDING_PROBLEM : FINDING_WARNING;

    if (!PQgetisnull(target, 0, 0))
        return;
    if (!PQgetisnull(target, 0, 2))
        finding_say(finding, level, "the target's database has no TimescaleDB: CREATE EXTENSION timescaledb there");
    else
        finding_say(finding, level, "the target's server has no TimescaleDB: install it there, else tables stay plain");
}

enum status check_timescaledb(struct preflight *preflight, struct finding *finding, struct error *error)
{
    PGresult *source, *target;
    enum status status = ask_both(preflight, timescaledb_sql, &source, &target, error);

    if (status == STATUS_OK) {
        judge_target(preflight, finding, target);
        finding_say(finding, FINDING_OK, "%s to %s, %s edition",
                    PQgetisnull(source, 0, 0) ? "plain PostgreSQL" : PQgetvalue(source, 0, 0),
                    PQgetisnull(target, 0, 0) ? "none" : PQgetvalue(target, 0, 0),
                    strcmp(PQgetvalue(target, 0, 1), "timescale") == 0 ? "community" : "Apache");
    }
    if (status == STATUS_OK && !PQgetisnull(source, 0, 0) && strcmp(PQgetvalue(target, 0, 1), "timescale") != 0)
        status = compare_features(preflight, finding, error);
    PQclear(source);
    PQclear(target);
    return status;
}

/* The source's extensions as rows for the target: (VALUES ('name', 'version'), …). */
static enum status list_extensions(struct pg *pg, char **values, struct error *error)
{
    return pg_value(pg,
                    "SELECT string_agg(format('(%L, %L)', extname, extversion), ', ' ORDER BY extname) FROM"
                    " pg_catalog.pg_extension WHERE extname NOT IN ('plpgsql', 'timescaledb')",
                    values, error);
}

enum status check_extensions(struct preflight *preflight, struct finding *finding, struct error *error)
{
    char *values = NULL;
    struct sql sql = {0};
    enum status status = list_extensions(preflight->source, &values, error);

    if (status == STATUS_OK && values == NULL)
        finding_say(finding, FINDING_OK, "the source has none but TimescaleDB");
    if (status == STATUS_OK && values != NULL) {
        sql_add(
            &sql,
            "SELECT CASE WHEN e.extname IS NULL AND a.name IS NULL THEN %d"
            " WHEN e.extname IS NULL THEN %d WHEN e.extversion <> s.version THEN 1 ELSE 0 END, CASE"
            " WHEN e.extname IS NULL AND a.name IS NULL THEN 'the target''s server does not have ' || s.name ||"
            " ': install it there, or drop what needs it from the source'"
            " WHEN e.extname IS NULL THEN s.name || ' has to be made in the target: CREATE EXTENSION \"' || s.name ||"
            " '\"' WHEN e.extversion <> s.version THEN s.name || ' is ' || s.version || ' in the source and ' ||"
            " e.extversion || ' in the target' ELSE s.name || ' ' || s.version END"
            " FROM (VALUES %s) s(name, version) LEFT JOIN pg_catalog.pg_extension e ON e.extname = s.name"
            " LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = s.name ORDER BY s.name",
            preflight->clones_schema ? FINDING_PROBLEM : FINDING_WARNING,
            preflight->clones_schema ? FINDING_OK : FINDING_WARNING, values);
        status = finding_ask(finding, preflight->target, sql.text, error);
    }
    free(values);
    sql_reset(&sql);
    return status;
}

static void compare_encodings(struct finding *finding, const char *from, const char *to)
{
    finding_say(finding, FINDING_OK, "%s to %s", from, to);
    if (strcmp(from, "SQL_ASCII") == 0 && strcmp(to, "SQL_ASCII") != 0)
        finding_say(finding, FINDING_WARNING,
                    "the source (SQL_ASCII) holds bytes of any encoding: those that are not %s will be refused", to);
    else if (strcmp(from, to) != 0 && strcmp(to, "UTF8") != 0)
        finding_say(finding, FINDING_PROBLEM,
                    "the target is %s and cannot hold all that the source (%s) may have: CREATE DATABASE … ENCODING "
                    "'UTF8' TEMPLATE template0",
                    to, from);
}

enum status check_encodings(struct preflight *preflight, struct finding *finding, struct error *error)
{
    static const char sql[] = "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype FROM"
                              " pg_catalog.pg_database WHERE datname = current_database()";
    PGresult *source, *target;
    enum status status = ask_both(preflight, sql, &source, &target, error);

    if (status == STATUS_OK) {
        compare_encodings(finding, PQgetvalue(source, 0, 0), PQgetvalue(target, 0, 0));
        if (strcmp(PQgetvalue(source, 0, 1), PQgetvalue(target, 0, 1)) != 0 ||
            strcmp(PQgetvalue(source, 0, 2), PQgetvalue(target, 0, 2)) != 0)
            finding_say(finding, FINDING_WARNING, "text sorts by %s in the source and by %s in the target",
                        PQgetvalue(source, 0, 1), PQgetvalue(target, 0, 1));
    }
    PQclear(source);
    PQclear(target);
    return status;
}
