/* What the files of engine/pg share: the connection, waiting, and turning results into errors. */
#pragma once

#include "engine/pg/pg.h"

/* A server that should answer at once (cancel, drain, rollback) is given up after this. */
#define PG_DRAIN_MS 5000

struct pg {
    const struct pg_address *address;
    const struct pg_setting *settings;
    struct stop *stop;
    PGconn *conn;    /* NULL: not connected */
    char *row;       /* what pg_copy_out_next gave last; libpq's memory */
    char *context;   /* PG_DIAG_CONTEXT of the last error, or NULL */
    char column[64]; /* PG_DIAG_COLUMN_NAME of the same */
    size_t unread;   /* bytes put since the socket was last read */
    /* Of COPY TO: */
    size_t row_max; /* 0: none */
    size_t row_got; /* bytes read for the row that is not whole yet, about */
    int row_reads;  /* and how often something was read for it */
};

/* How long a wait may take and whether a stop ends it. */
struct pg_patience {
    int64_t until_ms; /* on the clock of pg_now_ms; -1: for ever */
    bool heeds_stop;  /* ABORT ends the wait */
};

enum pg_event { PG_READY, PG_STOP, PG_TIMEOUT };

int64_t pg_now_ms(void);
struct pg_patience pg_until_stop(void);
struct pg_patience pg_for_ms(int64_t ms); /* whatever the stop says */

/* Waits until the socket allows one of `events` (POLLIN, POLLOUT), or is broken. `happened` may be NULL. */
enum pg_event pg_wait(const struct pg *pg, short events, struct pg_patience patience, short *happened);

/* The next result, or NULL after the last. A broken connection gives an error result, so OK means only "no stop". */
MUST_CHECK enum status pg_result_next(struct pg *pg, struct pg_patience patience, PGresult **result,
                                      struct error *error);

/*
 * Reads to the end of what runs. The first error decides; the last good result goes to `last` (NULL: not wanted). After
 * a stop or a timeout what runs is cancelled; if it does not end soon, or if the connection is lost, it is closed.
 */
MUST_CHECK enum status pg_collect(struct pg *pg, struct pg_patience patience, PGresult **last, struct error *error);

/* Sends one statement. A lost connection is closed. */
MUST_CHECK enum status pg_send(struct pg *pg, const char *sql, struct error *error);

/* Describe what the server said, what libpq says of a lost connection, or that there is none. */
enum status pg_fail_result(struct pg *pg, const PGresult *result, struct error *error);
enum status pg_fail_lost(struct pg *pg, struct error *error);
enum status pg_fail_stopped(struct pg *pg, struct error *error);

/* Sets an error with its SQLSTATE, unless one is set. */
enum status pg_fail(struct error *error, enum status status, const char *sqlstate, const char *format, ...)
    PRINTF_LIKE(4, 5);

void pg_context_set(struct pg *pg, const char *context);

/* Asks the server to cancel; false if that could not be done soon. */
bool pg_cancel(struct pg *pg);

/* Closes without asking anybody. */
void pg_close(struct pg *pg);

/* Memory for texts; ends the program when there is none. */
void *pg_memory(void *memory);
char *pg_text(const char *text);
