/* Opening and closing connections, and what is set on each. */
#include "engine/pg/private.h"

#include <assert.h>
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/log.h"

#define CONNECT_TIMEOUT_S 30
#define PARAMETERS_MAX 8

/* Applied at each connect; a setting of the caller replaces ours of the same name. What a server does not know is
 * skipped. */
static const struct pg_setting settings_ours[] = {
    {"statement_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
    {"idle_session_timeout", "0"},
    {"transaction_timeout", "0"},
    {"lock_timeout", "60s"},
    {"DateStyle", "ISO"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "3"},
    {"lc_monetary", "C"},
    {"bytea_output", "hex"},
    {"xmloption", "content"},
    {"client_connection_check_interval", "10s"},
    {NULL, NULL},
};

enum status pg_create(const struct pg_address *address, const struct pg_setting *settings, struct stop *stop,
                      struct pg **result, struct error *error)
{
    struct pg *pg = calloc(1, sizeof *pg);

    assert(address != NULL && stop != NULL);
    *result = pg;
    if (pg == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    pg->address = address;
    pg->settings = settings;
    pg->stop = stop;
    return STATUS_OK;
}

void pg_free(struct pg *pg)
{
    if (pg == NULL)
        return;
    pg_disconnect(pg);
    free(pg->context);
    free(pg);
}

bool pg_connected(const struct pg *pg)
{
    return pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_OK;
}

PGconn *pg_conn(struct pg *pg)
{
    return pg->conn;
}

void pg_close(struct pg *pg)
{
    PQfreemem(pg->row);
    pg->row = NULL;
    PQfinish(pg->conn);
    pg->conn = NULL;
}

void pg_disconnect(struct pg *pg)
{
    if (pg == NULL)
        return;
    if (pg_connected(pg) && PQtransactionStatus(pg->conn) == PQTRANS_ACTIVE)
        (void)pg_cancel(pg);
    pg_close(pg);
}

static void receive_notice(void *context, const PGresult *notice)
{
    const struct pg *pg = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    bool warns = severity != NULL && strcmp(severity, "WARNING") == 0;

    if (message != NULL)
        log_line(warns ? LOG_WARNING : LOG_DEBUG, "%s: %s", pg->address->role, message);
}

/* ---- Settings */

static bool is_among(const char *name, const struct pg_setting *settings)
{
    for (; settings != NULL && settings->name != NULL; settings++)
        if (strcasecmp(settings->name, name) == 0)
            return true;
    return false;
}

static void add_settings(struct sql *sql, const struct pg_setting *settings, const struct pg_setting *stronger)
{
    for (; settings != NULL && settings->name != NULL; settings++) {
        if (is_among(settings->name, stronger))
            continue;
        sql_add(sql, "%s(", sql->size == 0 ? "" : ", ");
        sql_add_literal(sql, settings->name);
        sql_add(sql, ", ");
        sql_add_literal(sql, settings->value);
        sql_add(sql, ")");
    }
}

/* What the server does not know or the role may not set is left out, since a refusal would refuse all. */
static enum status apply_settings(struct pg *pg, struct error *error)
{
    /* A role may have been granted SET on a superuser's parameter from 15 on. */
    const char *may_set = PQserverVersion(pg->conn) >= 150000 ? "pg_catalog.has_parameter_privilege(s.name, 'SET')"
                                                              : "pg_catalog.current_setting('is_superuser') = 'on'";
    struct sql values = {0};
    enum status status;

    add_settings(&values, settings_ours, pg->settings);
    add_settings(&values, pg->settings, NULL);
    status = pg_runf(pg, NULL, error,
                     "SELECT pg_catalog.set_config(s.name, v.value, false) FROM (VALUES %s) v(name, value)"
                     " JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) = pg_catalog.lower(v.name)"
                     " WHERE s.context = 'user' OR (s.context = 'superuser' AND %s)",
                     values.text, may_set);
    sql_reset(&values);
    /* A value that the server cannot take is no row. */
    if (status == STATUS_DATA && error->status == STATUS_DATA)
        status = error->status = STATUS_USAGE;
    return status;
}

/* ---- Connecting */

struct parameters {
    const char *names[PARAMETERS_MAX];
    const char *values[PARAMETERS_MAX];
    int count;
    int64_t timeout_ms;
};

static void parameters_add(struct parameters *parameters, const char *name, const char *value)
{
    assert(parameters->count < PARAMETERS_MAX - 1);
    parameters->names[parameters->count] = name;
    parameters->values[parameters->count++] = value;
}

static const char *option_value(const PQconninfoOption *options, const char *name)
{
    for (; options != NULL && options->keyword != NULL; options++)
        if (strcmp(options->keyword, name) == 0)
            return options->val;
    return NULL;
}

/* PQconnectPoll leaves connect_timeout to its caller. libpq takes less than two seconds for two, and zero for no limit.
 */
static int64_t timeout_ms_of(const PQconninfoOption *options)
{
    const char *text = option_value(options, "connect_timeout");
    long seconds;

    if (text == NULL)
        text = getenv("PGCONNECT_TIMEOUT");
    if (text == NULL || text[0] == '\0')
        return CONNECT_TIMEOUT_S * 1000;
    seconds = strtol(text, NULL, 10);
    if (seconds <= 0)
        return -1;
    return (seconds < 2 ? 2 : seconds > 86400 ? 86400 : (int64_t)seconds) * 1000;
}

static void parameters_init(struct parameters *parameters, const struct pg_address *address)
{
    static const struct pg_setting liveness[] = {{"keepalives_idle", "30"},
                                                 {"keepalives_interval", "10"},
                                                 {"keepalives_count", "3"},
                                                 {"tcp_user_timeout", "60000"}};
    PQconninfoOption *options = PQconninfoParse(address->conninfo, NULL);

    *parameters = (struct parameters){.timeout_ms = timeout_ms_of(options)};
    parameters_add(parameters, "dbname", address->conninfo);
    parameters_add(parameters, "fallback_application_name", "hyperfill");
    for (size_t i = 0; i < sizeof liveness / sizeof liveness[0]; i++)
        if (option_value(options, liveness[i].name) == NULL)
            parameters_add(parameters, liveness[i].name, liveness[i].value);
    PQconninfoFree(options);
}

/* Whether libpq takes the values of the options: known only by connecting, here to a port where nobody listens. */
static bool values_are_valid(const struct parameters *parameters)
{
    struct parameters probe = *parameters;
    static const char *const nowhere[] = {"127.0.0.1", "127.0.0.1", "1", "2", NULL};
    static const char *const names[] = {"host", "hostaddr", "port", "connect_timeout", NULL};
    const char *all_names[PARAMETERS_MAX + 4];
    const char *all_values[PARAMETERS_MAX + 4];

    memcpy(all_names, probe.names, (size_t)probe.count * sizeof *all_names);
    memcpy(all_values, probe.values, (size_t)probe.count * sizeof *all_values);
    memcpy(all_names + probe.count, names, sizeof names);
    memcpy(all_values + probe.count, nowhere, sizeof nowhere);
    return PQpingParams(all_names, all_values, 1) != PQPING_NO_ATTEMPT;
}

/*
 * The SQLSTATE in a message of a failed connect, which libpq gives in no other way: with PQERRORS_VERBOSE the server's
 * words begin with "SEVERITY:  28P01: ", where only the severity is in the server's language. The last counts: with
 * several hosts each one's words are there. Returns where the code stands, or NULL.
 */
static char *find_code(char *message)
{
    char *found = NULL;

    for (char *at = message; (at = strstr(at, ":  ")) != NULL; at += 3) {
        size_t size = strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (size == 5 && at[8] == ':' && at[9] == ' ')
            found = at + 3;
    }
    return found;
}

/* Takes out the line that says where in the server's source it was, "LOCATION:  auth_failed, auth.c:326", in any
 * language. */
static void drop_location(char *message)
{
    for (char *line = message; line != NULL && *line != '\0';) {
        char *end = strchrnul(line, '\n');
        char *digits = end;

        while (digits > line && isdigit((unsigned char)digits[-1]))
            digits--;
        if (digits < end && digits - line > 3 && strncmp(digits - 3, ".c:", 3) == 0)
            memmove(line, *end == '\n' ? end + 1 : end, strlen(*end == '\n' ? end + 1 : end) + 1);
        else
            line = *end == '\n' ? end + 1 : NULL;
    }
    for (size_t size = strlen(message); size > 0 && message[size - 1] == '\n';)
        message[--size] = '\0';
}

static enum status connect_failed(struct pg *pg, const struct parameters *parameters, bool started, struct error *error)
{
    char *message = pg_text(PQerrorMessage(pg->conn));
    char *at = find_code(message);
    char code[6] = "08001";
    enum status status = STATUS_TRANSIENT;

    if (at != NULL) {
        memcpy(code, at, 5);
        status = pg_status_of(code);
        memmove(at, at + 7, strlen(at + 7) + 1);
    } else if (PQconnectionNeedsPassword(pg->conn)) {
        memcpy(code, "28P01", 5);
        status = STATUS_SERVER;
    } else if (!started && !values_are_valid(parameters)) {
        memset(code, 0, sizeof code);
        status = STATUS_USAGE;
    }
    drop_location(message);
    status =
        pg_fail(error, status, code, "%s: cannot connect to %s: %s", pg->address->role, pg->address->display, message);
    free(message);
    pg_close(pg);
    return status;
}

static enum status await_connection(struct pg *pg, const struct parameters *parameters, struct error *error)
{
    struct pg_patience patience = {.until_ms = parameters->timeout_ms < 0 ? -1 : pg_now_ms() + parameters->timeout_ms,
                                   .heeds_stop = true};
    PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;
    enum status status;

    while (wanted != PGRES_POLLING_OK && wanted != PGRES_POLLING_FAILED) {
        switch (pg_wait(pg, wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, patience, NULL)) {
        case PG_READY: break;
        case PG_STOP: status = pg_fail_stopped(pg, error); goto close;
        case PG_TIMEOUT:
            status = pg_fail(error, STATUS_TRANSIENT, "08001", "%s: cannot connect to %s: no answer within %d s",
                             pg->address->role, pg->address->display, (int)(parameters->timeout_ms / 1000));
            goto close;
        }
        wanted = PQconnectPoll(pg->conn);
    }
    if (wanted == PGRES_POLLING_FAILED)
        return connect_failed(pg, parameters, true, error);
    return STATUS_OK;

close:
    pg_close(pg);
    return status;
}

enum status pg_connect(struct pg *pg, struct error *error)
{
    struct parameters parameters;
    enum status status;

    if (pg_connected(pg))
        return STATUS_OK;
    pg_close(pg);
    pg_context_set(pg, NULL);
    parameters_init(&parameters, pg->address);
    pg->conn = PQconnectStartParams(parameters.names, parameters.values, 1);
    if (pg->conn == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(pg->conn, receive_notice, pg);
    if (PQstatus(pg->conn) == CONNECTION_BAD)
        return connect_failed(pg, &parameters, false, error);
    status = await_connection(pg, &parameters, error);
    if (status != STATUS_OK)
        return status;
    PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
    PQsetnonblocking(pg->conn, 1);
    status = apply_settings(pg, error);
    if (status != STATUS_OK)
        pg_disconnect(pg);
    return status;
}
