/*
 * Between the files of the display: what is shown at one moment, and the ways to show it.
 */
#pragma once

#include <stdio.h>

#include "engine/cli/progress.h"
#include "engine/log.h"

/* One moment of a run. Unknown numbers are -1. */
struct progress_view {
    double elapsed;  /* seconds */
    double fraction; /* 0..1 by the best known measure; below 1 as long as a range is missing */
    int64_t rows, rows_total;
    int64_t bytes, bytes_total;
    int64_t rows_per_second, bytes_per_second; /* over the last 10 seconds or so */
    int64_t eta_seconds;
    int64_t ranges, ranges_total, ranges_failed;
    int queue_percent;
    int64_t spilled_bytes;
    int64_t retries, rejects, builds_open;
    int32_t readers_active, writers_active;
    char paused[THROTTLE_REASON_MAX]; /* why nothing new is begun; "" while it is */
};

/*
 * Writes the line of facts, at most `width` columns of it: what does not fit is left away from the right. With `bar`
 * the share done is drawn as well. A name is cut to a third of the width. Returns `line`.
 */
#define PROGRESS_LINE_MAX 1024
const char *progress_line(const struct progress_view *view, const char *table, bool bar, size_t width,
                          char line[PROGRESS_LINE_MAX]);

/* The closing summary as aligned lines on standard error. */
void summary_print(const struct progress_job *job, const struct stats *stats, int64_t elapsed_ns, enum status result);

/* JSON objects on standard output, one a line, whole under threads. */
void event_start(const struct progress_job *job, const struct stats *stats);
void event_progress(const struct progress_view *view);
void event_log(void *context, enum log_level level, const char *text); /* a log sink; needs no context */
void event_table(const char *table, enum status result, const struct stats *stats, const char *text); /* "": no text */
void event_summary(const struct progress_job *job, const struct stats *stats, int64_t elapsed_ns, enum status result);

/* Members of a JSON object: `"key":value`, after a comma unless the object or array has just been opened. */
struct json {
    FILE *file;
    bool comma;
};

void json_open(struct json *json, const char *key, char bracket); /* '{' or '['; key NULL: none */
void json_close(struct json *json, char bracket);
void json_text(struct json *json, const char *key, const char *text); /* NULL: null; what is not UTF-8 is replaced */
void json_integer(struct json *json, const char *key, int64_t number);
void json_known(struct json *json, const char *key, int64_t number); /* below 0: null */
void json_real(struct json *json, const char *key, double number);   /* below 0: null */
void json_bool(struct json *json, const char *key, bool value);

/* The time of the day in UTC, as 2026-01-31T10:00:00Z. */
#define MOMENT_TEXT_MAX 32
const char *moment_format(char buffer[MOMENT_TEXT_MAX]);
