/*
 * Lines for the operator on standard error. One line a call, whole under threads. A progress bar may own the last
 * line of the terminal: it registers how to clear and redraw itself, so that lines never tear it.
 */
#pragma once

#include "engine/error.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_DEBUG };

/* Lines above this level are dropped; LOG_NOTICE at start. */
void log_level_set(enum log_level level);

void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* Reports an error with its status: the one place where errors are printed. */
void log_error(const struct error *error);

/* Called around each line with the log's lock held; either may be NULL. They write to standard error only. */
void log_bar_set(void (*clear)(void *context), void (*draw)(void *context), void *context);

/* When set, lines are given to this function instead of being printed (JSON events). */
void log_sink_set(void (*sink)(void *context, enum log_level level, const char *text), void *context);
