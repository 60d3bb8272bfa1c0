/* COPY, in and out. */
#include "engine/pg/private.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* A server that went away is noticed by reading only: libpq keeps silent about failed writes until then. */
#define LOOK_EVERY_BYTES (256 * 1024)

/* Rows of usual sizes are whole after a few reads, for which nothing is counted. */
#define UNCOUNTED_READS 4

/* A COPY that is given up in the middle ends with its connection: draining could take as long as the COPY. */
static enum status give_up(struct pg *pg, struct error *error)
{
    enum status status = pg_fail_stopped(pg, error);

    pg_disconnect(pg);
    return status;
}

static enum status copy_begin(struct pg *pg, const char *sql, ExecStatusType wanted, struct error *error)
{
    enum status status = pg_send(pg, sql, error);
    PGresult *result;
    ExecStatusType kind;

    if (status != STATUS_OK)
        return status;
    status = pg_result_next(pg, pg_until_stop(), &result, error);
    if (status != STATUS_OK) {
        pg_disconnect(pg);
        return status;
    }
    kind = PQresultStatus(result);
    assert((kind == wanted || kind == PGRES_FATAL_ERROR || kind == PGRES_BAD_RESPONSE) && "not the COPY it should be");
    pg->unread = 0;
    if (kind == wanted) {
        PQclear(result);
        return STATUS_OK;
    }
    status = pg_fail_result(pg, result, error);
    PQclear(result);
    (void)!pg_collect(pg, pg_for_ms(PG_DRAIN_MS), NULL, error);
    return status;
}

/* How a COPY ended: the server's count, or its error. Text results of libpq are decimal numbers. */
static enum status copy_end(struct pg *pg, int64_t *rows, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_collect(pg, pg_until_stop(), &result, error);

    if (status == STATUS_OK && result == NULL)
        status = error_set(error, STATUS_SYSTEM, "%s: libpq gave no result for COPY", pg->address->role);
    if (status == STATUS_OK)
        *rows = strtoll(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return status;
}

enum status pg_copy_in_begin(struct pg *pg, const char *sql, struct error *error)
{
    return copy_begin(pg, sql, PGRES_COPY_IN, error);
}

/* The connection broke, or libpq refused the data. The server's last words, if any came, are better than libpq's. */
static enum status put_failed(struct pg *pg, struct error *error)
{
    int64_t rows;
    enum status status = STATUS_OK;

    if (PQputCopyEnd(pg->conn, "the client failed") == 1)
        status = copy_end(pg, &rows, error);
    if (status != STATUS_OK)
        return status;
    status = pg_fail_lost(pg, error);
    pg_disconnect(pg);
    return status;
}

/* Sends all that libpq holds, so that its buffer never grows, and reads meanwhile, so that the server never waits for
 * us. */
static enum status flush(struct pg *pg, struct pg_patience patience, struct error *error)
{
    short happened;
    int left;

    while ((left = PQflush(pg->conn)) == 1) {
        enum pg_event event = pg_wait(pg, POLLIN | POLLOUT, patience, &happened);

        if (event != PG_READY)
            return give_up(pg, error);
        if ((happened & ~POLLOUT) && !PQconsumeInput(pg->conn))
            return put_failed(pg, error);
    }
    return left == 0 ? STATUS_OK : put_failed(pg, error);
}

enum status pg_copy_in_put(struct pg *pg, const char *data, size_t size, struct error *error)
{
    assert(size <= INT_MAX);
    if (pg->conn == NULL)
        return pg_fail(error, STATUS_TRANSIENT, "08003", "%s: not connected", pg->address->role);
    if (stop_level(pg->stop) >= STOP_ABORT)
        return give_up(pg, error);
    if (PQputCopyData(pg->conn, data, (int)size) != 1)
        return put_failed(pg, error);
    pg->unread += size;
    if (pg->unread >= LOOK_EVERY_BYTES) {
        pg->unread = 0;
        if (!PQconsumeInput(pg->conn))
            return put_failed(pg, error);
    }
    return flush(pg, pg_until_stop(), error);
}

enum status pg_copy_in_end(struct pg *pg, int64_t *rows, struct error *error)
{
    *rows = 0;
    if (pg->conn == NULL)
        return pg_fail(error, STATUS_TRANSIENT, "08003", "%s: not connected", pg->address->role);
    if (PQputCopyEnd(pg->conn, NULL) != 1)
        return put_failed(pg, error);
    return copy_end(pg, rows, error);
}

void pg_copy_in_fail(struct pg *pg, const char *reason)
{
    struct error ignored;

    error_reset(&ignored);
    if (pg->conn == NULL)
        return;
    if (PQputCopyEnd(pg->conn, reason) != 1) {
        pg_disconnect(pg);
        return;
    }
    (void)!pg_collect(pg, pg_for_ms(PG_DRAIN_MS), NULL, &ignored);
}

enum status pg_copy_out_begin(struct pg *pg, const char *sql, struct error *error)
{
    return copy_begin(pg, sql, PGRES_COPY_OUT, error);
}

void pg_copy_out_limit(struct pg *pg, size_t row_bytes_max)
{
    pg->row_max = row_bytes_max;
}

static enum status refuse_row(struct pg *pg, size_t size, struct error *error)
{
    pg_disconnect(pg);
    return error_set(error, STATUS_DATA, "%s: a row of %zu bytes or more does not fit", pg->address->role, size);
}

static size_t socket_holds(const struct pg *pg)
{
    int size = 0;

    return ioctl(PQsocket(pg->conn), FIONREAD, &size) == 0 && size > 0 ? (size_t)size : 0;
}

/*
 * Reads what the socket has, and counts for a row that comes in many parts: what the socket has less then. That is too
 * little where more has come meanwhile, and never too much.
 */
static void copy_out_read(struct pg *pg)
{
    bool counts = pg->row_max > 0 && pg->row_reads++ > UNCOUNTED_READS;
    size_t before = counts ? socket_holds(pg) : 0, after;

    /* A loss is described by the results: the server's last words may be among what was read before. */
    (void)PQconsumeInput(pg->conn);
    after = counts ? socket_holds(pg) : 0;
    pg->row_got += before > after ? before - after : 0;
}

/* Waits for the socket, so that a stop is seen, then reads what it has. Trying to read before waiting is no faster. */
static enum status copy_out_fill(struct pg *pg, struct error *error)
{
    if (pg_wait(pg, POLLIN, pg_until_stop(), NULL) != PG_READY)
        return give_up(pg, error);
    copy_out_read(pg);
    if (pg->row_max > 0 && pg->row_got > pg->row_max)
        return refuse_row(pg, pg->row_got, error);
    return STATUS_OK;
}

enum status pg_copy_out_next(struct pg *pg, const char **row, int *size, int64_t *rows, struct error *error)
{
    enum status status;
    int got;

    *row = NULL;
    *size = 0;
    if (pg->row != NULL) {
        PQfreemem(pg->row);
        pg->row = NULL;
    }
    if (pg->conn == NULL)
        return pg_fail(error, STATUS_TRANSIENT, "08003", "%s: not connected", pg->address->role);
    pg->row_got = 0;
    pg->row_reads = 0;
    while ((got = PQgetCopyData(pg->conn, &pg->row, 1)) == 0) {
        if (PQstatus(pg->conn) == CONNECTION_BAD)
            break;
        status = copy_out_fill(pg, error);
        if (status != STATUS_OK)
            return status;
    }
    if (got > 0 && pg->row_max > 0 && (size_t)got > pg->row_max)
        return refuse_row(pg, (size_t)got, error);
    if (got > 0) {
        *row = pg->row;
        *size = got;
        return STATUS_OK;
    }
    if (got < -1 || got == 0) {
        status = pg_fail_lost(pg, error);
        pg_disconnect(pg);
        return status;
    }
    return copy_end(pg, rows, error);
}
