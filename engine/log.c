/* Lines on standard error: composed whole, written by one call, around the bar if there is one. */
#include "engine/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_TEXT_MAX (ERROR_TEXT_MAX + 1024)
#define LOG_HEAD_MAX 64
#define LOG_PRINTED_MAX (2 * LOG_TEXT_MAX)

static struct {
    pthread_mutex_t mutex;
    _Atomic int level; /* not guarded */
    void (*bar_clear)(void *context);
    void (*bar_draw)(void *context);
    void *bar_context;
    void (*sink)(void *context, enum log_level level, const char *text);
    void *sink_context;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .level = LOG_NOTICE};

void log_level_set(enum log_level level)
{
    atomic_store(&state.level, (int)level);
}

void log_bar_set(void (*clear)(void *context), void (*draw)(void *context), void *context)
{
    pthread_mutex_lock(&state.mutex);
    state.bar_clear = clear;
    state.bar_draw = draw;
    state.bar_context = context;
    pthread_mutex_unlock(&state.mutex);
}

void log_sink_set(void (*sink)(void *context, enum log_level level, const char *text), void *context)
{
    pthread_mutex_lock(&state.mutex);
    state.sink = sink;
    state.sink_context = context;
    pthread_mutex_unlock(&state.mutex);
}

/*
 * Adds `text` to the line: further lines of it are indented, and control characters, which a server quotes from the
 * data, do not reach the terminal. Leaves room for the newline. Returns the size.
 */
static size_t line_append(char line[LOG_PRINTED_MAX], size_t size, const char *text)
{
    static const char indent[] = "\n    ";

    for (; *text != '\0' && size + sizeof indent < LOG_PRINTED_MAX; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte == '\n' && text[1] != '\0') {
            memcpy(line + size, indent, sizeof indent - 1);
            size += sizeof indent - 1;
        } else if (byte != '\n' && byte != '\r')
            line[size++] = byte == '\t' || (byte >= 0x20 && byte != 0x7f) ? *text : '?';
    }
    return size;
}

/* What cannot be written to standard error has nowhere else to go. */
static void line_write(const char *line, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, line, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line += written;
        size -= (size_t)written;
    }
}

static void line_print(const char *head, const char *text)
{
    char line[LOG_PRINTED_MAX];
    size_t size = line_append(line, 0, "hyperfill: ");

    size = line_append(line, size, head);
    size = line_append(line, size, text);
    line[size++] = '\n';
    if (state.bar_clear != NULL)
        state.bar_clear(state.bar_context);
    line_write(line, size);
    if (state.bar_draw != NULL)
        state.bar_draw(state.bar_context);
}

/* A sink has the level apart, but of an error the head says more. */
static void sink_give(enum log_level level, const char *head, const char *text)
{
    char whole[LOG_TEXT_MAX + LOG_HEAD_MAX];

    snprintf(whole, sizeof whole, "%s%s", level == LOG_ERROR ? head : "", text);
    state.sink(state.sink_context, level, whole);
}

/* Errors are printed even where a sink takes the lines: nobody may miss them. */
static void line_emit(enum log_level level, const char *head, const char *text)
{
    pthread_mutex_lock(&state.mutex);
    if (state.sink != NULL)
        sink_give(level, head, text);
    if (state.sink == NULL || level == LOG_ERROR)
        line_print(head, text);
    pthread_mutex_unlock(&state.mutex);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const heads[] = {"error: ", "warning: ", "", "debug: "};
    char text[LOG_TEXT_MAX];
    va_list args;

    if ((int)level > atomic_load(&state.level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    line_emit(level, heads[level], text);
}

/* Where the input was wrong, unless the text says so already. */
static void place_append(const struct error *error, char *text, size_t text_max)
{
    bool input_named = error->input[0] == '\0' || strstr(error->text, error->input) != NULL;
    size_t used = strlen(text);
    const char *separator = "\nat ";

    if (!input_named) {
        used += (size_t)snprintf(text + used, text_max - used, "%s%s", separator, error->input);
        separator = ", ";
    }
    if (error->line >= 0 && used < text_max) {
        used += (size_t)snprintf(text + used, text_max - used, "%sline %lld", separator, (long long)error->line);
        separator = ", ";
    }
    if (error->offset >= 0 && used < text_max)
        snprintf(text + used, text_max - used, "%sbyte %lld", separator, (long long)error->offset);
}

void log_error(const struct error *error)
{
    char head[LOG_HEAD_MAX], text[LOG_TEXT_MAX];
    size_t size;
    const char *separator = error->sqlstate[0] != '\0' ? ", " : "";

    if (error->status == STATUS_STOPPED)
        snprintf(head, sizeof head, "stopped: ");
    else
        snprintf(head, sizeof head, "error (%s%s%s): ", status_name(error->status), separator, error->sqlstate);
    snprintf(text, sizeof text, "%s", error->text);
    for (size = strlen(text); size > 0 && text[size - 1] == '\n'; size--)
        text[size - 1] = '\0'; /* the server's messages end with one */
    place_append(error, text, sizeof text);
    line_emit(LOG_ERROR, head, text);
}
