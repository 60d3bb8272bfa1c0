/*
 * Partitions that are missing. One is made as a table of its own and attached, which lets readers and writers of the
 * table go on, where CREATE TABLE … PARTITION OF would stop them all for a moment.
 */
#include "writers/partitions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "writers/build_partition.h"

#define NAME_SIZE_MAX 63 /* NAMEDATALEN - 1 */

/* "20240101", "20240101_0600", "20240101_060000_25": digits of the time as far as they say something. */
static void time_suffix(int64_t lo, char *suffix, size_t size)
{
    char text[TIME_TEXT_MAX], digits[TIME_TEXT_MAX];
    size_t count = 0, kept;

    time_format(TIME_TIMESTAMP, lo, text);
    for (const char *at = text; *at != '\0'; at++)
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at;
    digits[count] = '\0';
    /* The year may have more than four digits; behind it come ten of the date and the time, and those of a fraction. */
    kept = strcspn(text, "-") + 4;
    snprintf(suffix, size, "%.*s", (int)kept, digits);
    if (strspn(digits + kept, "0") == count - kept)
        return;
    snprintf(suffix + strlen(suffix), size - strlen(suffix), "_%.*s",
             strncmp(digits + kept + 4, "00", 2) == 0 && count == kept + 6 ? 4 : 6, digits + kept);
    if (count > kept + 6)
        snprintf(suffix + strlen(suffix), size - strlen(suffix), "_%s", digits + kept + 6);
}

void partition_name(const struct table *table, struct range cell, char name[PARTITION_NAME_MAX])
{
    size_t size = strlen(table->name), room;
    struct sql text = {0};
    char suffix[40] = "";

    if (cell.lo == INT64_MIN)
        snprintf(suffix, sizeof suffix, "min");
    else if (time_type_is_integer(table->time.type))
        snprintf(suffix, sizeof suffix, "%s%" PRIu64, cell.lo < 0 ? "m" : "",
                 cell.lo < 0 ? -(uint64_t)cell.lo : (uint64_t)cell.lo);
    else
        time_suffix(cell.lo, suffix, sizeof suffix);
    room = NAME_SIZE_MAX - strlen(suffix) - 2;
    /* Not in the middle of a character. */
    if (size > room)
        for (size = room; size > 0 && ((unsigned char)table->name[size] & 0xc0) == 0x80; size--)
            ;
    sql_add(&text, "%.*s_p%s", (int)size, table->name, suffix);
    snprintf(name, PARTITION_NAME_MAX, "%s", text.text);
    sql_reset(&text);
}

static void add_bound(struct sql *sql, const struct table *table, int64_t value, bool is_lo)
{
    struct range limits = table_time_limits(table->time.type);
    char text[TIME_TEXT_MAX];

    if (is_lo ? value <= limits.lo : value > limits.hi || value == INT64_MAX)
        sql_add(sql, "%s", is_lo ? "MINVALUE" : "MAXVALUE");
    else
        sql_add(sql, "'%s'", time_format(table->time.type, value, text));
}

/* The owner and the tablespace that a partition has from its table. */
static enum status make(struct pg *pg, const struct table *table, struct range cell, const char *name,
                        struct error *error)
{
    struct sql sql = {0}, made = {0};
    char *space = NULL, *owner = NULL;
    enum status status;

    sql_add(&sql,
            "SELECT quote_literal(coalesce(t.spcname, '')) FROM pg_catalog.pg_class c LEFT JOIN"
            " pg_catalog.pg_tablespace t ON t.oid = c.reltablespace WHERE c.oid = %u",
            table->oid);
    status = pg_value(pg, sql.text, &space, error);
    sql_reset(&sql);
    sql_add(&sql,
            "SELECT quote_ident(pg_catalog.pg_get_userbyid(relowner)) FROM pg_catalog.pg_class WHERE oid = %u"
            " AND pg_catalog.pg_get_userbyid(relowner) <> current_user",
            table->oid);
    if (status == STATUS_OK)
        status = pg_value(pg, sql.text, &owner, error);
    sql_reset(&sql);
    if (status == STATUS_OK && space != NULL) {
        sql_add_identifier(&made, table->schema);
        sql_add(&made, ".");
        sql_add_identifier(&made, name);
        sql_add(&sql,
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL default_tablespace = %s; CREATE TABLE %s"
                " (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING STATISTICS EXCLUDING COMMENTS)",
                space, made.text, table->sql);
        if (owner != NULL)
            sql_add(&sql, "; ALTER TABLE %s OWNER TO %s", made.text, owner);
        sql_add(&sql, "; ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (", table->sql, made.text);
        add_bound(&sql, table, cell.lo, true);
        sql_add(&sql, ") TO (");
        add_bound(&sql, table, cell.hi, false);
        sql_add(&sql, "); COMMIT");
        status = pg_run(pg, sql.text, NULL, error);
        if (status != STATUS_OK)
            pg_rollback(pg);
    }
    sql_reset(&sql);
    sql_reset(&made);
    free(space);
    free(owner);
    return status;
}

static bool has_state(const struct error *error, const char *states)
{
    return error->sqlstate[0] != '\0' && strstr(states, error->sqlstate) != NULL;
}

/* Another writer, another process or a person may have been faster, or may have put another one there. */
static enum status judge(struct pg *pg, const struct table *table, struct range cell, const char *name,
                         const struct error *reason, struct error *error)
{
    struct partition partition = {0};
    enum status status = STATUS_OK;

    /* Overlaps another; or rows of the default partition are in its range, where ours will be, too. */
    if (has_state(reason, "42P17 23514")) {
        log_line(LOG_DEBUG, "no partition %s is made: %s", name, reason->text);
        return STATUS_OK;
    }
    if (has_state(reason, "42P07 23505 42710"))
        status = partition_find(pg, table, cell, &partition, error);
    if (status == STATUS_OK && !partition.found) {
        *error = *reason;
        error_prefix(error, "the missing partition %s of %s cannot be made", name, table->sql);
        status = reason->status;
    }
    partition_reset(&partition);
    return status;
}

enum status partitions_make(struct append_session *session, struct range cell, struct error *error)
{
    const struct table *table = session->target->table;
    char name[PARTITION_NAME_MAX], range[TABLE_RANGE_TEXT_MAX];
    struct error reason;
    enum status status;

    error_reset(&reason);
    partition_name(table, cell, name);
    status = make(session->pg, table, cell, name, &reason);
    if (status == STATUS_OK)
        log_line(LOG_DEBUG, "made the partition %s of %s for %s", name, table->sql,
                 table_range_text(table, cell, range));
    else
        status = judge(session->pg, table, cell, name, &reason, error);
    if (status == STATUS_OK)
        ahead_remember(session->target, cell);
    return status;
}
