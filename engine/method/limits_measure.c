/* What the limits are about, as servers and disks tell. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "engine/method/limits_private.h"

static enum status number(struct limits_place *place, const char *sql, int64_t *value, struct error *error)
{
    char *text = NULL;
    enum status status = pg_connect(place->pg, error);

    if (status == STATUS_OK)
        status = pg_value(place->pg, sql, &text, error);
    *value = text != NULL ? strtoll(text, NULL, 10) : 0;
    free(text);
    return status;
}

/* ---- Lag of the source ---- */

/* The view shows others' rows without numbers to those who may not see them: that would look like no lag at all. */
static enum status lag_check(struct limits_place *place, struct error *error)
{
    int64_t blind;
    enum status status = number(place,
                                "SELECT (NOT pg_catalog.pg_is_in_recovery()"
                                " AND NOT pg_catalog.pg_has_role('pg_read_all_stats', 'usage'))::int",
                                &blind, error);

    if (status == STATUS_OK && blind)
        return error_set(error, STATUS_USAGE,
                         "--max-source-lag: the role may not see how far the source's standbys are; there: GRANT"
                         " pg_monitor TO the role, or leave the option out");
    return status;
}

enum status measure_lag_ms(struct limits_place *place, int64_t *value, struct error *error)
{
    enum status status = lag_check(place, error);

    if (status != STATUS_OK)
        return status;
    return number(place,
                  "SELECT pg_catalog.floor(1000 * CASE WHEN pg_catalog.pg_is_in_recovery() THEN"
                  " CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0 ELSE"
                  " pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() -"
                  " pg_catalog.pg_last_xact_replay_timestamp()) END"
                  " ELSE (SELECT pg_catalog.max(pg_catalog.date_part('epoch', replay_lag))"
                  " FROM pg_catalog.pg_stat_replication) END)::int8",
                  value, error);
}

enum status measure_lag_bytes(struct limits_place *place, int64_t *value, struct error *error)
{
    enum status status = lag_check(place, error);

    if (status != STATUS_OK)
        return status;
    return number(place,
                  "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_wal_lsn_diff("
                  "pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())"
                  " ELSE (SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),"
                  " replay_lsn)) FROM pg_catalog.pg_stat_replication) END::int8",
                  value, error);
}

/* ---- The target ---- */

/* What slots hold back; and whole segments that the archiver has not taken. */
enum status measure_wal(struct limits_place *place, int64_t *value, struct error *error)
{
    return number(
        place,
        "WITH s AS (SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS size,"
        " pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) AS now,"
        " coalesce(last_archived_wal, last_failed_wal) AS last FROM pg_catalog.pg_stat_archiver)"
        " SELECT greatest(coalesce((SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),"
        " restart_lsn)) FROM pg_catalog.pg_replication_slots), 0), CASE WHEN pg_catalog.current_setting('archive_mode')"
        " <> 'off' AND last ~ '^[0-9A-F]{24}$' THEN size * (((('x' || substr(now, 9, 8))::bit(32)::int8 -"
        " ('x' || substr(last, 9, 8))::bit(32)::int8) * (4294967296 / size)) + ('x' || substr(now, 17,"
        " 8))::bit(32)::int8 - ('x' || substr(last, 17, 8))::bit(32)::int8 - 1) ELSE 0 END)::int8 FROM s",
        value, error);
}

enum status measure_target_size(struct limits_place *place, int64_t *value, struct error *error)
{
    return number(place, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", value, error);
}

/* A socket file, or the loopback: the server is on this host. */
static bool is_local(struct pg *pg)
{
    const char *host = PQhost(pg_conn(pg)), *address = PQhostaddr(pg_conn(pg));

    return host == NULL || host[0] == '/' || host[0] == '@' || strncmp(address, "127.", 4) == 0 ||
           strcmp(address, "::1") == 0;
}

static enum status unseen(struct error *error, const char *why)
{
    return error_set(
        error, STATUS_USAGE,
        "--min-disk-free: the target's disk cannot be seen: %s. Run hyperfill on the target's host as a role"
        " with pg_read_all_settings, or give --max-target-size instead",
        why);
}

/* Where the table's tablespace is; the default one is where the data is, which not everybody is told. */
static enum status disk_find(struct limits_place *place, struct error *error)
{
    struct sql sql = {0};
    struct error denied;
    char *path = NULL;
    enum status status = pg_connect(place->pg, error);

    if (status != STATUS_OK)
        return status;
    if (!is_local(place->pg))
        return unseen(error, "its server is on another host");
    error_reset(&denied);
    sql_add(&sql, "SELECT coalesce(nullif(pg_catalog.pg_tablespace_location(coalesce(nullif(c.reltablespace, 0),"
                  " d.dattablespace)), ''), pg_catalog.current_setting('data_directory')) FROM pg_catalog.pg_class c,"
                  " pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database() AND c.oid = ");
    sql_add_literal(&sql, place->table);
    sql_add(&sql, "::regclass");
    status = pg_value(place->pg, sql.text, &path, &denied);
    sql_reset(&sql);
    if (strcmp(denied.sqlstate, "42501") == 0)
        return unseen(error, "the role may not read the setting data_directory");
    if (status == STATUS_OK && (path == NULL || strlen(path) >= sizeof place->path))
        return unseen(error, "where its data is cannot be told");
    if (status != STATUS_OK)
        *error = denied;
    else
        strcpy(place->path, path);
    free(path);
    return status;
}

static enum status disk_look(struct limits_place *place, struct statvfs *disk, struct error *error)
{
    enum status status = place->path[0] == '\0' ? disk_find(place, error) : STATUS_OK;

    if (status == STATUS_OK && statvfs(place->path, disk) != 0)
        status = unseen(error, "its data directory is not there, or not to be entered, on this machine");
    return status;
}

enum status measure_disk_bytes(struct limits_place *place, int64_t *value, struct error *error)
{
    struct statvfs disk = {0};
    enum status status = disk_look(place, &disk, error);

    *value = (int64_t)(disk.f_bavail * disk.f_frsize);
    return status;
}

enum status measure_disk_share(struct limits_place *place, int64_t *value, struct error *error)
{
    struct statvfs disk = {0};
    enum status status = disk_look(place, &disk, error);

    *value = disk.f_blocks > 0 ? (int64_t)((__int128)disk.f_bavail * DISK_SHARE_WHOLE / disk.f_blocks) : 0;
    return status;
}
