/*
 * libpq manners that readers and writers share: connect, settings, run, stream COPY both ways, classify, cancel, drain.
 *
 * Every wait is on the socket and on the stop's descriptor, with a deadline where the server could be silent. A
 * connection that is given up in the middle is cancelled and closed, never left talking. Passwords never reach a
 * message.
 */
#pragma once

#include <libpq-fe.h>

#include "engine/error.h"
#include "engine/stop.h"

/* A server's address as the user gave it, safe to print in its short form. */
struct pg_address {
    char *conninfo;   /* libpq URI or key=value, may hold a password: never printed */
    char *display;    /* "host=db port=5432 dbname=x user=y" without secrets */
    const char *role; /* "source" or "target": stands before messages */
};

/* STATUS_USAGE if libpq cannot read it; the message never repeats the text. conninfo is copied. */
MUST_CHECK enum status pg_address_init(struct pg_address *address, const char *conninfo, const char *role,
                                       struct error *error);
void pg_address_reset(struct pg_address *address);

/* Whether --source text is a PostgreSQL address: a postgres:// or postgresql:// URI, or key=value with a known key. */
bool pg_is_conninfo(const char *text);

/*
 * Overwrites a command-line argument in place (argv memory, seen by ps) by its display form, once it was copied. Texts
 * that hold no password are left alone.
 */
void pg_scrub_argument(char *argument);

/* A setting for the session; skipped where the server does not know it (asked from pg_settings, not by trying). */
struct pg_setting {
    const char *name;
    const char *value;
};

struct pg; /* a connection, and how to make it again */

/*
 * Prepares a connection; nothing is opened yet. `settings` (ended by a NULL name) are applied at each connect, after
 * ours: timeouts off (statement, idle), lock_timeout 60s, DateStyle ISO, IntervalStyle postgres, extra_float_digits 3,
 * lc_monetary C, bytea_output hex, xmloption content, client_connection_check_interval 10s. Address and settings are
 * borrowed.
 */
MUST_CHECK enum status pg_create(const struct pg_address *address, const struct pg_setting *settings, struct stop *stop,
                                 struct pg **pg, struct error *error);
void pg_free(struct pg *pg); /* cancels what runs, closes; NULL is fine */

/* Connects if not connected or if the connection was lost. Deadline: connect_timeout of the address, else 30 s. */
MUST_CHECK enum status pg_connect(struct pg *pg, struct error *error);
bool pg_connected(const struct pg *pg);
void pg_disconnect(struct pg *pg); /* cancels a running query first; takes NULL */
PGconn *pg_conn(struct pg *pg);    /* for PQescapeLiteral and PQserverVersion */

/*
 * Runs one or more statements and gives the result of the last (caller PQclears it; may be NULL as argument). An error
 * of the server becomes a status by its SQLSTATE, with its message, detail, hint and context in the text. Waits until
 * ABORT, then cancels. A lost connection is transient with 08006 or the server's last words (57P01), and closed:
 * pg_connect makes it again. COPY is a bug here.
 */
MUST_CHECK enum status pg_run(struct pg *pg, const char *sql, PGresult **result, struct error *error);
MUST_CHECK enum status pg_runf(struct pg *pg, PGresult **result, struct error *error, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* pg_run in two halves, so that statements of several connections run at the same time. What was started is taken, or
 * the connection is given up. */
MUST_CHECK enum status pg_start(struct pg *pg, const char *sql, struct error *error);
MUST_CHECK enum status pg_take(struct pg *pg, PGresult **result, struct error *error);

/* First column of the first row as a new string (caller frees), NULL if there is no row or it is NULL. */
MUST_CHECK enum status pg_value(struct pg *pg, const char *sql, char **value, struct error *error);

/* COPY … FROM STDIN: begin, put any number of times, end (gives the server's row count) or fail (makes it undone). */
MUST_CHECK enum status pg_copy_in_begin(struct pg *pg, const char *sql, struct error *error);
MUST_CHECK enum status pg_copy_in_put(struct pg *pg, const char *data, size_t size, struct error *error);
MUST_CHECK enum status pg_copy_in_end(struct pg *pg, int64_t *rows, struct error *error);
void pg_copy_in_fail(struct pg *pg, const char *reason); /* drains; the transaction is in error after it */

/*
 * COPY … TO STDOUT: *row is one row with its line end, valid until the next call (freed by it); *size = 0 at the end,
 * when the server has said that it sent all, and *rows is its count.
 */
MUST_CHECK enum status pg_copy_out_begin(struct pg *pg, const char *sql, struct error *error);
MUST_CHECK enum status pg_copy_out_next(struct pg *pg, const char **row, int *size, int64_t *rows, struct error *error);

/*
 * No row may have more bytes than this (0: any number may): libpq gathers a row before it gives it away, and holds it
 * twice then. A larger one is STATUS_DATA without an SQLSTATE, mostly before it was gathered, and ends the connection.
 */
void pg_copy_out_limit(struct pg *pg, size_t row_bytes_max);

/* Status for an SQLSTATE: 08, 40, 53, 55P03, 57P0x, 57014 (cancel by others), 25006 after failover: transient; 22, 23,
 * 2200x, 44, 54000, P0001: data; 42501, 42xxx and the rest: server. */
enum status pg_status_of(const char *sqlstate);

/* CONTEXT of the last error of the server ("COPY t, line 3, column x"), "" if it had none. Kept over pg_rollback. */
const char *pg_last_context(const struct pg *pg);

/* The column that the same error names as its own, "" if none: NOT NULL does. */
const char *pg_last_column(const struct pg *pg);

/* Rolls back if a transaction is open, also after ABORT; a lost connection is fine. */
void pg_rollback(struct pg *pg);

/* "a"."b" and 'text', each a new string that the caller frees; never NULL (out of memory aborts). */
char *pg_identifier(const char *name);
char *pg_literal(const char *text);

/* "schema"."name"; "a", "b", "c", of no names NULL. The caller frees them. */
char *pg_qualified(const char *schema, const char *name);
char *pg_identifiers(const char *const *names, int count);

/*
 * In SQL: whether the hypertable `h`, a row of TimescaleDB's catalog, has a columnstore. From 2.29 on a bit of its
 * status says so; compression_state, which did before, is 0 there and may be gone later.
 */
#define PG_HAS_COLUMNSTORE "(pg_catalog.to_jsonb(h)->>'compression_state' = '1' OR h.status & 4 <> 0)"

/* A growing text for building SQL; ends the program when memory ends. */
struct sql {
    char *text;
    size_t size, room;
};
void sql_add(struct sql *sql, const char *format, ...) PRINTF_LIKE(2, 3);
void sql_add_identifier(struct sql *sql, const char *name);
void sql_add_literal(struct sql *sql, const char *text);
void sql_reset(struct sql *sql); /* frees */
