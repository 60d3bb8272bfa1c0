/* SQLSTATEs and results as statuses and errors. */
#include "engine/pg/private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * PostgreSQL's manual, Appendix A. A prefix stands for all codes that begin with it; the first that fits counts. What
 * is not here is refused for good.
 */
static const struct {
    const char *prefix;
    enum status status;
} statuses[] = {
    {"08", STATUS_TRANSIENT},    /* connection exception */
    {"22", STATUS_DATA},         /* data exception, with 22P02 and 22P04 of COPY */
    {"23", STATUS_DATA},         /* integrity constraint violation; 23514 is also "no partition for this row" */
    {"25006", STATUS_TRANSIENT}, /* read-only transaction: the server became a standby, a failover is under way */
    {"25P03", STATUS_TRANSIENT}, /* idle in transaction for too long: the session was ended */
    {"25P04", STATUS_TRANSIENT}, /* transaction timeout: the session was ended */
    {"40", STATUS_TRANSIENT},    /* transaction rollback: 40001 serialization, 40P01 deadlock */
    {"44", STATUS_DATA},         /* with check option violation */
    {"54000", STATUS_DATA},      /* program limit: a value too long for an index */
    {"P0001", STATUS_DATA},      /* RAISE EXCEPTION in a trigger */
    {"53", STATUS_TRANSIENT},    /* insufficient resources: disk, memory, connections */
    {"55006", STATUS_TRANSIENT}, /* object in use */
    {"55P03", STATUS_TRANSIENT}, /* lock not available: lock_timeout */
    {"57014", STATUS_TRANSIENT}, /* query cancelled, by others: our own cancels are not asked */
    {"57P01", STATUS_TRANSIENT}, /* admin shutdown */
    {"57P02", STATUS_TRANSIENT}, /* crash shutdown */
    {"57P03", STATUS_TRANSIENT}, /* cannot connect now: starting up, in recovery */
    {"57P04", STATUS_TRANSIENT}, /* database dropped; a retry then learns 3D000 */
    {"57P05", STATUS_TRANSIENT}, /* idle session timeout */
};

enum status pg_status_of(const char *sqlstate)
{
    for (size_t i = 0; sqlstate != NULL && i < sizeof statuses / sizeof statuses[0]; i++)
        if (strncmp(sqlstate, statuses[i].prefix, strlen(statuses[i].prefix)) == 0)
            return statuses[i].status;
    return STATUS_SERVER;
}

enum status pg_fail(struct error *error, enum status status, const char *sqlstate, const char *format, ...)
{
    va_list args;

    if (error->status != STATUS_OK)
        return error->status;
    snprintf(error->sqlstate, sizeof error->sqlstate, "%.5s", sqlstate);
    va_start(args, format);
    error_set_args(error, status, format, args);
    va_end(args);
    return status;
}

void pg_context_set(struct pg *pg, const char *context)
{
    free(pg->context);
    pg->context = context == NULL ? NULL : pg_text(context);
    pg->column[0] = '\0';
}

const char *pg_last_column(const struct pg *pg)
{
    return pg->column;
}

const char *pg_last_context(const struct pg *pg)
{
    return pg->context == NULL ? "" : pg->context;
}

/* libpq's messages go over several indented lines and end with a line end: here they are made one line. */
static enum status fail_lost(struct pg *pg, const char *message, struct error *error)
{
    char *reason = pg_text(message);
    size_t size = 0;

    for (const char *at = reason; *at != '\0'; at++)
        if (!isspace((unsigned char)*at))
            reason[size++] = *at;
        else if (size > 0 && reason[size - 1] != ' ')
            reason[size++] = ' ';
    reason[size > 0 && reason[size - 1] == ' ' ? size - 1 : size] = '\0';
    pg_context_set(pg, NULL);
    pg_fail(error, STATUS_TRANSIENT, "08006", "%s: the connection was lost: %s", pg->address->role, reason);
    free(reason);
    return error->status;
}

enum status pg_fail_lost(struct pg *pg, struct error *error)
{
    return fail_lost(pg, PQerrorMessage(pg->conn), error);
}

enum status pg_fail_stopped(struct pg *pg, struct error *error)
{
    pg_context_set(pg, NULL);
    return error_set(error, STATUS_STOPPED, "%s: stopped before the server had answered", pg->address->role);
}

/* Without an SQLSTATE it is libpq that speaks: of a lost connection, or of its own memory. */
static enum status fail_client(struct pg *pg, const PGresult *result, struct error *error)
{
    if (PQstatus(pg->conn) == CONNECTION_BAD)
        return fail_lost(pg, PQresultErrorMessage(result), error);
    pg_context_set(pg, NULL);
    return error_set(error, STATUS_SYSTEM, "%s: libpq: %s", pg->address->role, PQresultErrorMessage(result));
}

enum status pg_fail_result(struct pg *pg, const PGresult *result, struct error *error)
{
    static const struct {
        int field;
        const char *label;
    } lines[] = {{PG_DIAG_MESSAGE_DETAIL, "DETAIL"}, {PG_DIAG_MESSAGE_HINT, "HINT"}, {PG_DIAG_CONTEXT, "CONTEXT"}};
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *column = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
    enum status status;

    if (code == NULL)
        return fail_client(pg, result, error);
    if (error->status != STATUS_OK)
        return error->status;
    pg_context_set(pg, PQresultErrorField(result, PG_DIAG_CONTEXT));
    if (column != NULL)
        snprintf(pg->column, sizeof pg->column, "%s", column);
    status = pg_fail(error, pg_status_of(code), code, "%s: %s", pg->address->role, message == NULL ? code : message);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *text = PQresultErrorField(result, lines[i].field);

        if (text != NULL)
            error_hint(error, "\n%s: %s", lines[i].label, text);
    }
    return status;
}
