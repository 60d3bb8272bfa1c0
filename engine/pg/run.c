/* Waiting for the server, running statements, cancelling them. */
#include "engine/pg/private.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long OpenSSL may sit on bytes that the socket no longer shows. */
#define ENCRYPTED_LOOK_MS 200

int64_t pg_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct pg_patience pg_until_stop(void)
{
    return (struct pg_patience){.until_ms = -1, .heeds_stop = true};
}

struct pg_patience pg_for_ms(int64_t ms)
{
    return (struct pg_patience){.until_ms = pg_now_ms() + ms, .heeds_stop = false};
}

static int remaining_ms(struct pg_patience patience)
{
    int64_t ms = patience.until_ms - pg_now_ms();

    if (patience.until_ms < 0)
        return -1;
    return ms < 0 ? 0 : (int)ms;
}

/*
 * libpq may leave a part of a TLS record unread when its buffer was full; poll does not see it and libpq does not tell.
 * So a wait to read on an encrypted connection looks again after a moment.
 */
static bool hides_input(const struct pg *pg, short events)
{
    return (events & POLLIN) && (PQsslInUse(pg->conn) || PQgssEncInUse(pg->conn));
}

enum pg_event pg_wait(const struct pg *pg, short events, struct pg_patience patience, short *happened)
{
    struct pollfd waits[2] = {{.fd = PQsocket(pg->conn), .events = events},
                              {.fd = patience.heeds_stop ? stop_fd(pg->stop) : -1, .events = POLLIN}};
    int ms = remaining_ms(patience);
    bool looks_again = hides_input(pg, events) && (ms < 0 || ms > ENCRYPTED_LOOK_MS);
    int ready;

    /* libpq has closed it and says so when it is asked. */
    if (happened != NULL)
        *happened = POLLIN;
    if (waits[0].fd < 0)
        return PG_READY;
    do
        ready = poll(waits, 2, looks_again ? ENCRYPTED_LOOK_MS : ms);
    while (ready < 0 && errno == EINTR);
    if (waits[1].revents != 0)
        return PG_STOP;
    if (ready == 0 && !looks_again)
        return PG_TIMEOUT;
    if (happened != NULL && ready > 0)
        *happened = waits[0].revents;
    return PG_READY;
}

enum status pg_result_next(struct pg *pg, struct pg_patience patience, PGresult **result, struct error *error)
{
    *result = NULL;
    while (PQisBusy(pg->conn)) {
        short events = PQflush(pg->conn) == 1 ? POLLIN | POLLOUT : POLLIN;

        if (PQsocket(pg->conn) < 0)
            break;
        switch (pg_wait(pg, events, patience, NULL)) {
        case PG_READY: break;
        case PG_STOP: return pg_fail_stopped(pg, error);
        case PG_TIMEOUT:
            pg_context_set(pg, NULL);
            return pg_fail(error, STATUS_TRANSIENT, "08006", "%s: the server does not answer", pg->address->role);
        }
        if (!PQconsumeInput(pg->conn))
            break;
    }
    *result = PQgetResult(pg->conn);
    return STATUS_OK;
}

static void *cancel_main(void *argument)
{
    PGcancel *cancel = argument;
    char reason[256];

    (void)PQcancel(cancel, reason, sizeof reason);
    PQfreeCancel(cancel);
    return NULL;
}

/* PQcancel blocks on a connection of its own, for minutes where the host is gone: a thread waits for it, and we not for
 * long. */
bool pg_cancel(struct pg *pg)
{
    PGcancel *cancel = PQgetCancel(pg->conn);
    struct timespec until;
    pthread_t thread;

    if (cancel == NULL)
        return false;
    if (pthread_create(&thread, NULL, cancel_main, cancel) != 0) {
        PQfreeCancel(cancel);
        return false;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PG_DRAIN_MS / 1000;
    if (pthread_timedjoin_np(thread, NULL, &until) == 0)
        return true;
    pthread_detach(thread);
    return false;
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);

    return kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH;
}

static bool is_error(const PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);

    return kind == PGRES_FATAL_ERROR || kind == PGRES_BAD_RESPONSE;
}

/* Reads results until NULL; OK if that was reached, whatever they are: `*failure` is the first that is an error. */
static enum status read_results(struct pg *pg, struct pg_patience patience, PGresult **last, PGresult **failure,
                                struct error *error)
{
    PGresult *result;
    enum status status;

    while ((status = pg_result_next(pg, patience, &result, error)) == STATUS_OK && result != NULL) {
        assert(!is_copy(result) && "COPY is run by pg_copy_in_begin and pg_copy_out_begin");
        if (!is_error(result)) {
            PQclear(*last);
            *last = result;
        } else if (*failure == NULL) {
            *failure = result;
        } else {
            PQclear(result);
        }
    }
    return status;
}

/* Ends what runs after a stop or a timeout; what it answers is of no interest. */
static void abandon(struct pg *pg)
{
    PGresult *last = NULL;
    PGresult *failure = NULL;
    struct error ignored;

    error_reset(&ignored);
    if (!pg_cancel(pg) || read_results(pg, pg_for_ms(PG_DRAIN_MS), &last, &failure, &ignored) != STATUS_OK)
        pg_close(pg);
    PQclear(last);
    PQclear(failure);
}

enum status pg_collect(struct pg *pg, struct pg_patience patience, PGresult **last, struct error *error)
{
    PGresult *result = NULL;
    PGresult *failure = NULL;
    enum status status = read_results(pg, patience, &result, &failure, error);

    if (status != STATUS_OK)
        abandon(pg);
    else if (failure != NULL)
        status = pg_fail_result(pg, failure, error);
    PQclear(failure);
    if (pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_BAD)
        pg_close(pg);
    if (status != STATUS_OK || last == NULL) {
        PQclear(result);
        return status;
    }
    *last = result;
    return STATUS_OK;
}

enum status pg_send(struct pg *pg, const char *sql, struct error *error)
{
    enum status status;

    if (pg->conn == NULL)
        return pg_fail(error, STATUS_TRANSIENT, "08003", "%s: not connected", pg->address->role);
    /* PQsendQuery would only queue it, and the caller could not tell whether it ran. */
    if (stop_level(pg->stop) >= STOP_ABORT)
        return pg_fail_stopped(pg, error);
    if (PQsendQuery(pg->conn, sql))
        return STATUS_OK;
    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        status = pg_fail_lost(pg, error);
        pg_close(pg);
        return status;
    }
    return error_set(error, STATUS_SYSTEM, "%s: libpq: %s", pg->address->role, PQerrorMessage(pg->conn));
}

enum status pg_run(struct pg *pg, const char *sql, PGresult **result, struct error *error)
{
    enum status status;

    if (result != NULL)
        *result = NULL;
    status = pg_send(pg, sql, error);
    if (status != STATUS_OK)
        return status;
    return pg_collect(pg, pg_until_stop(), result, error);
}

enum status pg_start(struct pg *pg, const char *sql, struct error *error)
{
    return pg_send(pg, sql, error);
}

enum status pg_take(struct pg *pg, PGresult **result, struct error *error)
{
    *result = NULL;
    return pg_collect(pg, pg_until_stop(), result, error);
}

enum status pg_runf(struct pg *pg, PGresult **result, struct error *error, const char *format, ...)
{
    enum status status;
    char *sql;
    va_list args;

    va_start(args, format);
    if (vasprintf(&sql, format, args) < 0)
        sql = NULL;
    va_end(args);
    pg_memory(sql);
    status = pg_run(pg, sql, result, error);
    free(sql);
    return status;
}

enum status pg_value(struct pg *pg, const char *sql, char **value, struct error *error)
{
    PGresult *result;
    enum status status = pg_run(pg, sql, &result, error);

    *value = NULL;
    if (status == STATUS_OK && PQntuples(result) > 0 && PQnfields(result) > 0 && !PQgetisnull(result, 0, 0))
        *value = pg_text(PQgetvalue(result, 0, 0));
    PQclear(result);
    return status;
}

void pg_rollback(struct pg *pg)
{
    PGresult *last = NULL;
    struct error ignored;

    if (pg->conn == NULL || PQtransactionStatus(pg->conn) == PQTRANS_IDLE)
        return;
    if (PQtransactionStatus(pg->conn) == PQTRANS_ACTIVE || !PQsendQuery(pg->conn, "ROLLBACK")) {
        pg_disconnect(pg);
        return;
    }
    /* Also after ABORT: the server is to let go of its locks now. The error that the caller knows keeps its context. */
    char *context = pg->context;
    pg->context = NULL;
    error_reset(&ignored);
    if (pg_collect(pg, pg_for_ms(PG_DRAIN_MS), &last, &ignored) != STATUS_OK)
        pg_disconnect(pg);
    free(pg->context);
    pg->context = context;
    PQclear(last);
}
