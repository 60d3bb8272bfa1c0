/* Statuses and errors. */
#include "engine/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void error_reset(struct error *error)
{
    *error = (struct error){.line = -1, .offset = -1};
}

/* Formats behind what is already in `text`, cutting what does not fit. */
static void text_append(char *text, const char *format, va_list args)
{
    size_t used = strlen(text);

    vsnprintf(text + used, ERROR_TEXT_MAX - used, format, args);
}

enum status error_set_args(struct error *error, enum status status, const char *format, va_list args)
{
    if (error->status != STATUS_OK)
        return error->status;
    error->status = status;
    error->text[0] = '\0';
    text_append(error->text, format, args);
    return status;
}

enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    status = error_set_args(error, status, format, args);
    va_end(args);
    return status;
}

enum status error_set_errno(struct error *error, enum status status, const char *format, ...)
{
    char reason[128];
    int code = errno;
    va_list args;

    if (error->status != STATUS_OK)
        return error->status;
    va_start(args, format);
    error_set_args(error, status, format, args);
    va_end(args);
    error_hint(error, ": %s", strerror_r(code, reason, sizeof reason));
    return status;
}

void error_prefix(struct error *error, const char *format, ...)
{
    char before[2 * ERROR_TEXT_MAX];
    va_list args;
    size_t used;

    va_start(args, format);
    vsnprintf(before, sizeof before, format, args);
    va_end(args);
    used = strlen(before);
    snprintf(before + used, sizeof before - used, ": %s", error->text);
    memcpy(error->text, before, ERROR_TEXT_MAX - 1);
    error->text[ERROR_TEXT_MAX - 1] = '\0';
}

void error_hint(struct error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    text_append(error->text, format, args);
    va_end(args);
}

const char *status_name(enum status status)
{
    switch (status) {
    case STATUS_OK: return "ok";
    case STATUS_USAGE: return "usage";
    case STATUS_DATA: return "data";
    case STATUS_SERVER: return "server";
    case STATUS_TRANSIENT: return "transient";
    case STATUS_SYSTEM: return "system";
    case STATUS_STOPPED: return "stopped";
    case STATUS_REJECTS: return "rejects";
    }
    return "unknown";
}
