/* JSON: the writer, and the events of a run. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cli/progress_private.h"

/* Bytes of the UTF-8 character at `text`; 0: it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_size(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    size_t size = byte[0] < 0x80 ? 1 : byte[0] < 0xc2 ? 0 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;

    if (byte[0] > 0xf4)
        return 0;
    for (size_t index = 1; index < size; index++)
        if ((byte[index] & 0xc0) != 0x80)
            return 0;
    if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] > 0x9f) ||
        (byte[0] == 0xf0 && byte[1] < 0x90) || (byte[0] == 0xf4 && byte[1] > 0x8f))
        return 0;
    return size;
}

static void string_write(FILE *file, const char *text)
{
    putc('"', file);
    while (*text != '\0') {
        size_t size = utf8_size(text);

        if (size == 0)
            fputs("\\ufffd", file);
        else if (*text == '"' || *text == '\\')
            fprintf(file, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", file);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            fprintf(file, "\\u%04x", (unsigned)*text);
        else
            fwrite(text, 1, size, file);
        text += size > 0 ? size : 1;
    }
    putc('"', file);
}

static void key_write(struct json *json, const char *key)
{
    if (json->comma)
        putc(',', json->file);
    json->comma = true;
    if (key == NULL)
        return;
    string_write(json->file, key);
    putc(':', json->file);
}

void json_open(struct json *json, const char *key, char bracket)
{
    key_write(json, key);
    putc(bracket, json->file);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    putc(bracket, json->file);
    json->comma = true;
}

void json_text(struct json *json, const char *key, const char *text)
{
    key_write(json, key);
    if (text == NULL)
        fputs("null", json->file);
    else
        string_write(json->file, text);
}

void json_integer(struct json *json, const char *key, int64_t number)
{
    key_write(json, key);
    fprintf(json->file, "%" PRId64, number);
}

void json_known(struct json *json, const char *key, int64_t number)
{
    if (number < 0)
        json_text(json, key, NULL);
    else
        json_integer(json, key, number);
}

void json_real(struct json *json, const char *key, double number)
{
    if (number < 0) {
        json_text(json, key, NULL);
        return;
    }
    key_write(json, key);
    fprintf(json->file, "%.3f", number);
}

void json_bool(struct json *json, const char *key, bool value)
{
    key_write(json, key);
    fputs(value ? "true" : "false", json->file);
}

const char *moment_format(char buffer[MOMENT_TEXT_MAX])
{
    time_t now = time(NULL);
    struct tm broken;

    gmtime_r(&now, &broken);
    strftime(buffer, MOMENT_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &broken);
    return buffer;
}

/* An event is put together in memory and leaves by one write, so that those of other threads cannot tear it. */
struct event {
    struct json json;
    char *text;
    size_t size;
};

static bool event_open(struct event *event, const char *name)
{
    char moment[MOMENT_TEXT_MAX];

    *event = (struct event){.text = NULL};
    event->json.file = open_memstream(&event->text, &event->size);
    if (event->json.file == NULL)
        return false;
    json_open(&event->json, NULL, '{');
    json_text(&event->json, "event", name);
    json_text(&event->json, "time", moment_format(moment));
    return true;
}

static void event_close(struct event *event)
{
    json_close(&event->json, '}');
    putc('\n', event->json.file);
    if (fclose(event->json.file) == 0) {
        fwrite(event->text, 1, event->size, stdout);
        fflush(stdout);
    }
    free(event->text);
}

void event_start(const struct progress_job *job, const struct stats *stats)
{
    struct event event;

    if (!event_open(&event, "start"))
        return;
    json_text(&event.json, "job", job->job);
    json_text(&event.json, "table", job->table);
    json_text(&event.json, "source", job->source);
    json_text(&event.json, "target", job->target);
    json_text(&event.json, "checkpoint", job->checkpoint);
    json_bool(&event.json, "resumed", job->resumed);
    json_known(&event.json, "rows_total", stats_get(&stats->rows_total));
    json_known(&event.json, "bytes_total", stats_get(&stats->bytes_total));
    json_known(&event.json, "ranges_total", stats_get(&stats->ranges_total));
    json_integer(&event.json, "rows_before", stats_get(&stats->rows_before));
    json_integer(&event.json, "bytes_before", stats_get(&stats->bytes_before));
    json_integer(&event.json, "ranges_before", stats_get(&stats->ranges_before));
    event_close(&event);
}

void event_progress(const struct progress_view *view)
{
    struct event event;

    if (!event_open(&event, "progress"))
        return;
    json_real(&event.json, "elapsed_s", view->elapsed);
    json_real(&event.json, "fraction", view->fraction);
    json_integer(&event.json, "rows", view->rows);
    json_known(&event.json, "rows_total", view->rows_total);
    json_integer(&event.json, "bytes", view->bytes);
    json_known(&event.json, "bytes_total", view->bytes_total);
    json_known(&event.json, "rows_per_s", view->rows_per_second);
    json_known(&event.json, "bytes_per_s", view->bytes_per_second);
    json_known(&event.json, "eta_s", view->eta_seconds);
    json_integer(&event.json, "ranges", view->ranges);
    json_known(&event.json, "ranges_total", view->ranges_total);
    json_integer(&event.json, "ranges_failed", view->ranges_failed);
    json_integer(&event.json, "queue_percent", view->queue_percent);
    json_integer(&event.json, "spilled_bytes", view->spilled_bytes);
    json_integer(&event.json, "rejects", view->rejects);
    json_integer(&event.json, "builds_open", view->builds_open);
    json_integer(&event.json, "retries", view->retries);
    json_integer(&event.json, "readers_active", view->readers_active);
    json_integer(&event.json, "writers_active", view->writers_active);
    json_text(&event.json, "paused", view->paused[0] != '\0' ? view->paused : NULL);
    event_close(&event);
}

void event_log(void *context, enum log_level level, const char *text)
{
    static const char *const names[] = {"error", "warning", "notice", "debug"};
    struct event event;

    (void)context;
    if (!event_open(&event, "log"))
        return;
    json_text(&event.json, "level", names[level]);
    json_text(&event.json, "text", text);
    event_close(&event);
}

void event_table(const char *table, enum status result, const struct stats *stats, const char *text)
{
    struct event event;

    if (!event_open(&event, "table"))
        return;
    json_text(&event.json, "table", table);
    json_text(&event.json, "result", status_name(result));
    json_integer(&event.json, "rows", stats_get(&stats->rows_done));
    json_integer(&event.json, "bytes", stats_get(&stats->bytes_done));
    json_integer(&event.json, "rows_before", stats_get(&stats->rows_before));
    json_integer(&event.json, "ranges", stats_get(&stats->ranges_done));
    json_integer(&event.json, "ranges_before", stats_get(&stats->ranges_before));
    json_known(&event.json, "ranges_total", stats_get(&stats->ranges_total));
    json_integer(&event.json, "ranges_failed", stats_get(&stats->ranges_failed));
    json_text(&event.json, "text", text[0] != '\0' ? text : NULL);
    event_close(&event);
}

void event_summary(const struct progress_job *job, const struct stats *stats, int64_t elapsed_ns, enum status result)
{
    struct event event;

    if (!event_open(&event, "summary"))
        return;
    json_text(&event.json, "result", status_name(result));
    json_text(&event.json, "job", job->job);
    json_text(&event.json, "table", job->table);
    json_text(&event.json, "checkpoint", job->checkpoint);
    json_real(&event.json, "elapsed_s", (double)elapsed_ns / 1e9);
    json_integer(&event.json, "rows", stats_get(&stats->rows_done));
    json_integer(&event.json, "bytes", stats_get(&stats->bytes_done));
    json_integer(&event.json, "bytes_read", stats_get(&stats->bytes_read));
    json_integer(&event.json, "rows_before", stats_get(&stats->rows_before));
    json_integer(&event.json, "bytes_before", stats_get(&stats->bytes_before));
    json_integer(&event.json, "rows_skipped", stats_get(&stats->rows_skipped));
    json_integer(&event.json, "rejects", stats_get(&stats->rejects_done));
    json_integer(&event.json, "rejects_before", stats_get(&stats->rejects_before));
    json_integer(&event.json, "conflicts", stats_get(&stats->conflicts_done));
    json_integer(&event.json, "conflicts_before", stats_get(&stats->conflicts_before));
    json_integer(&event.json, "pieces", stats_get(&stats->pieces_done));
    json_integer(&event.json, "ranges", stats_get(&stats->ranges_done));
    json_integer(&event.json, "ranges_before", stats_get(&stats->ranges_before));
    json_known(&event.json, "ranges_total", stats_get(&stats->ranges_total));
    json_integer(&event.json, "ranges_failed", stats_get(&stats->ranges_failed));
    json_integer(&event.json, "builds", stats_get(&stats->builds_done));
    json_integer(&event.json, "builds_open", stats_get(&stats->builds_open));
    json_integer(&event.json, "retries", stats_get(&stats->retries));
    json_integer(&event.json, "packed_raw_bytes", stats_get(&stats->packed_raw_bytes));
    json_integer(&event.json, "packed_bytes", stats_get(&stats->packed_bytes));
    json_integer(&event.json, "spilled_bytes", stats_get(&stats->spilled_bytes));
    json_integer(&event.json, "spill_peak_bytes", stats_get(&stats->spill_peak_bytes));
    json_real(&event.json, "reader_wait_s", (double)stats_get(&stats->reader_wait_ns) / 1e9);
    json_real(&event.json, "writer_wait_s", (double)stats_get(&stats->writer_wait_ns) / 1e9);
    json_text(&event.json, "limit", progress_limit(stats, elapsed_ns));
    event_close(&event);
}
