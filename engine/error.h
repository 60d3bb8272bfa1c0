/*
 * What went wrong, in a form that callers can act on.
 *
 * A status says what the caller can do about a failure; it is also the exit code of the program. An error carries
 * the rest: where, what the server said, what to do next. Whoever fails describes it once with error_set; whoever
 * decides what happens reports it once. The first error wins: setting an error that is already set changes nothing.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

enum status {
    STATUS_OK = 0,
    STATUS_USAGE = 2,     /* the command line or the settings are wrong: change them */
    STATUS_DATA = 3,      /* rows that the target cannot take, or that are not where they should be */
    STATUS_SERVER = 4,    /* a server refuses for good: missing table, privilege, feature */
    STATUS_TRANSIENT = 5, /* would succeed later: lost connection, deadlock, restart; retried until the budget ends */
    STATUS_SYSTEM = 6,    /* this machine: file, memory, thread */
    STATUS_STOPPED = 7,   /* asked to stop; the job can be resumed */
    STATUS_REJECTS = 8,   /* done, but for rows that were rejected and wait to be corrected */
};

#define ERROR_TEXT_MAX 3072

/* Unknown numbers are -1, unknown texts are empty. */
struct error {
    enum status status;
    char sqlstate[6];
    char input[256]; /* which source or file */
    int64_t line;    /* physical line of the input, from 1 */
    int64_t offset;  /* byte of the input, from 0 */
    char text[ERROR_TEXT_MAX];
};

void error_reset(struct error *error);

/* Returns `status`, so that failing is one line. Keeps the first error. */
enum status error_set(struct error *error, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same for functions that take a format themselves. */
enum status error_set_args(struct error *error, enum status status, const char *format, va_list args) PRINTF_LIKE(3, 0);

/* error_set with errno's description appended: "cannot open x: No such file or directory". */
enum status error_set_errno(struct error *error, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the text of an error that is set. */
void error_prefix(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* Adds a sentence after the text: what to do. */
void error_hint(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* One word for a status: "data", "transient". */
const char *status_name(enum status status);
