/* Checks of the servers: versions, extensions, encodings, clocks, limits. */
#include "engine/method/preflight_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A first row of texts; the caller clears *result. */
static enum status ask(struct pg *pg, const char *sql, PGresult **result, struct error *error)
{
    enum status status = pg_run(pg, sql, result, error);

    if (status == STATUS_OK && PQntuples(*result) == 0) {
        PQclear(*result);
        *result = NULL;
        status = error_set(error, STATUS_SERVER, "no answer to a question about the server");
    }
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
    PGresult *source = NULL, *target = NULL;
    enum status status = ask(preflight->source, server_sql, &source, error);
    int versions[2];

    if (status == STATUS_OK)
        status = ask(preflight->target, server_sql, &target, error);
    if (status == STATUS_OK) {
        versions[0] = PQserverVersion(pg_conn(preflight->source));
        versions[1] = PQserverVersion(pg_conn(preflight->target));
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
    PGresult *source = NULL, *target = NULL;
    enum status status = ask(preflight->source, timescaledb_sql, &source, error);

    if (status == STATUS_OK)
        status = ask(preflight->target, timescaledb_sql, &target, error);
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

enum status check_encodings(struct preflight *preflight, struct finding *finding, struct error *error)
{
    static const char sql[] = "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype FROM"
                              " pg_catalog.pg_database WHERE datname = current_database()";
    PGresult *source = NULL, *target = NULL;
    enum status status = ask(preflight->source, sql, &source, error);

    if (status == STATUS_OK)
        status = ask(preflight->target, sql, &target, error);
    if (status == STATUS_OK) {
        const char *from = PQgetvalue(source, 0, 0), *to = PQgetvalue(target, 0, 0);

        finding_say(finding, FINDING_OK, "%s to %s", from, to);
        if (strcmp(from, "SQL_ASCII") == 0 && strcmp(to, "SQL_ASCII") != 0)
            finding_say(finding, FINDING_WARNING,
                        "the source (SQL_ASCII) holds bytes of any encoding: those that are not %s will be refused",
                        to);
        else if (strcmp(from, to) != 0 && strcmp(to, "UTF8") != 0)
            finding_say(
                finding, FINDING_PROBLEM,
                "the target is %s and cannot hold all that the source (%s) may have: CREATE DATABASE … ENCODING "
                "'UTF8' TEMPLATE template0",
                to, from);
        if (strcmp(PQgetvalue(source, 0, 1), PQgetvalue(target, 0, 1)) != 0 ||
            strcmp(PQgetvalue(source, 0, 2), PQgetvalue(target, 0, 2)) != 0)
            finding_say(finding, FINDING_WARNING, "text sorts by %s in the source and by %s in the target",
                        PQgetvalue(source, 0, 1), PQgetvalue(target, 0, 1));
    }
    PQclear(source);
    PQclear(target);
    return status;
}

/* Names of one zone that servers are set to. */
static const char *zone_plain(const char *zone)
{
    static const char *const names[] = {"UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Universal"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(zone, names[i]) == 0)
            return "UTC";
    return zone;
}

enum status check_timezones(struct preflight *preflight, struct finding *finding, struct error *error)
{
    static const char sql[] = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'";
    char *source = NULL, *target = NULL;
    enum status status = pg_value(preflight->source, sql, &source, error);
    bool local = false;

    if (status == STATUS_OK)
        status = pg_value(preflight->target, sql, &target, error);
    for (size_t i = 0; i < preflight->table_count; i++)
        local = local || (preflight->tables[i].in_source && (preflight->tables[i].source.time.type == TIME_TIMESTAMP ||
                                                             preflight->tables[i].source.time.type == TIME_DATE));
    if (status == STATUS_OK && source != NULL && target != NULL) {
        if (strcmp(zone_plain(source), zone_plain(target)) == 0)
            finding_say(finding, FINDING_OK, "%s on both sides", source);
        else
            finding_say(finding, FINDING_WARNING,
                        "%s in the source, %s in the target: %s; ALTER DATABASE … SET timezone = '%s' in the target",
                        source, target,
                        local ? "the time column has no zone, and dual writes by now() would differ by it"
                              : "columns without a zone that default to now(), or queries by day, would differ",
                        source);
    }
    free(source);
    free(target);
    return status;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* How far the server's clock is ahead of ours, and half of the time that asking took; the best of three. */
static enum status clock_read(struct pg *pg, double *ahead, double *uncertain, struct error *error)
{
    *uncertain = INFINITY;
    for (int i = 0; i < 3; i++) {
        double before = seconds_now(), after;
        char *text = NULL;
        enum status status = pg_value(pg, "SELECT extract(epoch FROM pg_catalog.clock_timestamp())", &text, error);

        after = seconds_now();
        if (status != STATUS_OK)
            return status;
        if ((after - before) / 2 < *uncertain) {
            *uncertain = (after - before) / 2;
            *ahead = strtod(text != NULL ? text : "0", NULL) - (before + after) / 2;
        }
        free(text);
    }
    return STATUS_OK;
}

enum finding_level preflight_judge_clock(double seconds, double uncertain)
{
    double sure = fabs(seconds) - uncertain;

    return sure > 60 ? FINDING_PROBLEM : sure > 1 ? FINDING_WARNING : FINDING_OK;
}

enum status check_clocks(struct preflight *preflight, struct finding *finding, struct error *error)
{
    double source = 0, target = 0, uncertain[2];
    enum status status = clock_read(preflight->source, &source, &uncertain[0], error);
    enum finding_level level;

    if (status == STATUS_OK)
        status = clock_read(preflight->target, &target, &uncertain[1], error);
    if (status != STATUS_OK)
        return status;
    level = preflight_judge_clock(target - source, uncertain[0] + uncertain[1]);
    if (level == FINDING_OK)
        finding_say(finding, level, "the same up to a second");
    else
        finding_say(
            finding, level,
            "the target's clock is %.1f s %s the source's: set it right, rows that get their time from now() would "
            "differ on both sides",
            fabs(target - source), target > source ? "ahead of" : "behind");
    return STATUS_OK;
}

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

/* How many locks there is room for, at least; relations that pg_dump locks, all at once; the largest number that one
 * query without a condition on time would. */
static const char locks_sql[] =
    "SELECT current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::int +"
    " current_setting('max_prepared_transactions')::int), (SELECT count(*) FROM pg_catalog.pg_class c JOIN"
    " pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname <>"
    " 'information_schema' AND n.nspname !~ '^pg_')";

static enum status count_locks(struct pg *pg, long long counts[2], struct error *error)
{
    PGresult *result = NULL;
    enum status status = ask(pg, locks_sql, &result, error);

    for (int i = 0; status == STATUS_OK && i < 2; i++)
        counts[i] = strtoll(PQgetvalue(result, 0, i), NULL, 10);
    PQclear(result);
    return status;
}

enum status check_locks(struct preflight *preflight, struct finding *finding, struct error *error)
{
    long long source[2] = {0}, target[2] = {0}, chunks = 0;
    enum status status = count_locks(preflight->source, source, error);

    if (status == STATUS_OK)
        status = count_locks(preflight->target, target, error);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < preflight->table_count; i++)
        if (preflight->tables[i].in_source && (long long)preflight->tables[i].source.cell_count > chunks)
            chunks = (long long)preflight->tables[i].source.cell_count;
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
