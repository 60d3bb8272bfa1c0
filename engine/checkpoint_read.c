/* Reading the checkpoint file: what is whole is believed, what is not is told. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint_private.h"
#include "engine/timevalue.h"

/* ---- Lines ---- */

bool checkpoint_line_check(const char *line, size_t *size)
{
    char checksum[CHECKSUM_SIZE + 1];

    if (*size <= CHECKSUM_SIZE + 1)
        return false;
    *size -= CHECKSUM_SIZE + 1;
    snprintf(checksum, sizeof checksum, CHECKSUM_FORMAT, checkpoint_checksum(line, *size));
    return line[*size] == ' ' && memcmp(line + *size + 1, checksum, CHECKSUM_SIZE) == 0;
}

/* Reads one line; `next` becomes NULL when nothing after it is to be read. */
static enum outcome line_read(struct reading *reading, const char *line, const char *end, const char **next)
{
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    size_t size = newline != NULL ? (size_t)(newline - line) : 0;

    *next = NULL;
    if (newline == NULL || !checkpoint_line_check(line, &size)) {
        reading->state->torn = newline == NULL || newline + 1 == end;
        return reading->state->torn ? LINE_FINE : LINE_DAMAGED;
    }
    if (newline + 1 < end)
        *next = newline + 1;
    return record_read(reading, line, size);
}

static enum outcome lines_read(struct reading *reading, const char *text, const char *end)
{
    enum outcome outcome = LINE_FINE;
    int64_t number = 2;

    for (const char *line = text; line != NULL && line < end; number++) {
        outcome = line_read(reading, line, end, &line);
        if (outcome == LINE_FINE)
            continue;
        if (outcome == LINE_DAMAGED) {
            reading->state->damaged = true;
            reading->state->damaged_line = number;
        }
        break;
    }
    return outcome;
}

/* ---- Merging ---- */

static int entry_compare(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;

    if (left->piece.lo != right->piece.lo)
        return left->piece.lo < right->piece.lo ? -1 : 1;
    if (left->piece.input != right->piece.input)
        return left->piece.input < right->piece.input ? -1 : 1;
    return left->order < right->order ? -1 : 1;
}

/* Sums of a file that somebody made up must not be undefined. */
static void sum_add(int64_t *sum, int64_t after, int64_t before)
{
    *sum = (int64_t)((uint64_t)*sum + (uint64_t)after - (uint64_t)before);
}

/* Keeps the last entry of each (lo, input) and counts what the last run added to it. */
static enum outcome entries_merge(struct reading *reading)
{
    struct checkpoint_state *state = reading->state;
    struct checkpoint_piece before = {0};

    if (reading->entry_count == 0)
        return LINE_FINE;
    state->pieces = calloc(reading->entry_count, sizeof *state->pieces);
    if (state->pieces == NULL)
        return LINE_NO_MEMORY;
    qsort(reading->entries, reading->entry_count, sizeof *reading->entries, entry_compare);
    for (size_t i = 0; i < reading->entry_count; i++) {
        const struct entry *entry = &reading->entries[i];
        const struct entry *next = i + 1 < reading->entry_count ? entry + 1 : NULL;

        if (entry->order < reading->run_first)
            before = entry->piece;
        if (next != NULL && next->piece.lo == entry->piece.lo && next->piece.input == entry->piece.input)
            continue;
        sum_add(&state->run_rows, entry->piece.rows, before.rows);
        sum_add(&state->run_bytes, entry->piece.bytes, before.bytes);
        state->pieces[state->piece_count++] = entry->piece;
        before = (struct checkpoint_piece){0};
    }
    return LINE_FINE;
}

/* Zero where the clock was set back, or where there is no time. */
static int64_t milliseconds_between(const char *from, const char *to)
{
    static const struct time_column column = {.type = TIME_TIMESTAMPTZ, .precision = -1};
    int64_t start, end;

    if (time_parse(&column, from, strlen(from), &start) != TIME_FINE ||
        time_parse(&column, to, strlen(to), &end) != TIME_FINE || end < start)
        return 0;
    return (end - start) / 1000;
}

/* ---- The file ---- */

enum status checkpoint_first_line(const char *path, const char *kind, const char *text, size_t size,
                                  struct checkpoint_state *state, const char **rest, struct error *error)
{
    bool single = strcmp(kind, CHECKPOINT_FIRST) == 0;
    const char *other = single ? CHECKPOINT_FIRST_SET : CHECKPOINT_FIRST;
    char first[sizeof CHECKPOINT_FIRST_SET + CHECKSUM_SIZE + 2];
    size_t first_size = (size_t)snprintf(first, sizeof first, "%s " CHECKSUM_FORMAT "\n", kind,
                                         checkpoint_checksum(kind, strlen(kind)));
    const char *newline = memchr(text, '\n', size);
    size_t line_size = newline != NULL ? (size_t)(newline - text) : 0;
    bool ours = size >= strlen(CHECKPOINT_MAGIC) && memcmp(text, CHECKPOINT_MAGIC, strlen(CHECKPOINT_MAGIC)) == 0;
    bool whole = checkpoint_line_check(text, &line_size);

    *rest = NULL;
    state->exists = size >= first_size;
    state->torn = size < first_size;
    if (memcmp(text, first, size < first_size ? size : first_size) == 0) {
        *rest = state->exists ? text + first_size : NULL;
        return STATUS_OK;
    }
    if (!ours || newline == NULL)
        return error_set(error, STATUS_USAGE,
                         "%s is not a hyperfill checkpoint file; name another file, this one is left as it is", path);
    if (whole && line_size == strlen(other) && memcmp(text, other, line_size) == 0)
        return error_set(error, STATUS_USAGE,
                         "checkpoint file %s is of a job of %s; give the options of that job, or name another"
                         " --checkpoint file",
                         path, single ? "several tables" : "one table");
    /* Whatever its checksum says: a file of another version is not for us to write over. */
    if (whole || memcmp(text, CHECKPOINT_FIRST " ", sizeof CHECKPOINT_FIRST) != 0)
        return error_set(error, STATUS_USAGE,
                         "checkpoint file %s was written by another version of hyperfill (\"%.*s\"); use that version",
                         path, (int)(line_size < 60 ? line_size : 60), text);
    state->exists = true;
    state->torn = false;
    state->damaged = true;
    state->damaged_line = 1;
    return STATUS_OK;
}

/* Opens without waiting: a named pipe would hold us. */
enum status checkpoint_load(const char *path, char **text, size_t *size, struct error *error)
{
    enum status status = STATUS_OK;
    ssize_t got = 0;
    struct stat file;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *text = NULL;
    *size = 0;
    if (fd < 0 && errno == ENOENT)
        return STATUS_OK;
    if (fd < 0 || fstat(fd, &file) != 0) {
        status = error_set_errno(error, STATUS_SYSTEM, "cannot open checkpoint file %s", path);
        goto out;
    }
    if (!S_ISREG(file.st_mode)) {
        status = error_set(error, STATUS_USAGE, "%s is no regular file and cannot be a checkpoint file", path);
        goto out;
    }
    /* What a run appends from here on is not of this moment. */
    *text = malloc((size_t)file.st_size + 1);
    if (*text == NULL) {
        status = error_set(error, STATUS_SYSTEM, "out of memory for checkpoint file %s", path);
        goto out;
    }
    while (*size < (size_t)file.st_size) {
        got = read(fd, *text + *size, (size_t)file.st_size - *size);
        if (got > 0)
            *size += (size_t)got;
        else if (got == 0 || errno != EINTR)
            break;
    }
    if (got < 0)
        status = error_set_errno(error, STATUS_SYSTEM, "cannot read checkpoint file %s", path);
out:
    if (fd >= 0)
        close(fd);
    return status;
}

enum outcome checkpoint_reading_end(struct reading *reading)
{
    struct checkpoint_state *state = reading->state;
    enum outcome outcome = entries_merge(reading);

    if (!reading->run_summed)
        state->run_ms = milliseconds_between(state->started, state->updated);
    return outcome;
}

static enum status text_parse(const char *path, const char *text, size_t size, struct reading *reading,
                              struct error *error)
{
    struct checkpoint_state *state = reading->state;
    enum outcome outcome, merged;
    const char *rest;
    enum status status = checkpoint_first_line(path, CHECKPOINT_FIRST, text, size, state, &rest, error);

    if (status != STATUS_OK || rest == NULL)
        return status;
    outcome = lines_read(reading, rest, text + size);
    merged = checkpoint_reading_end(reading);
    if (outcome == LINE_NO_MEMORY || merged == LINE_NO_MEMORY)
        return error_set(error, STATUS_SYSTEM, "out of memory for checkpoint file %s", path);
    return STATUS_OK;
}

enum status checkpoint_read(const char *path, struct checkpoint_state *state, struct error *error)
{
    struct reading reading = {.state = state};
    enum status status;
    size_t size;
    char *text;

    *state = (struct checkpoint_state){.ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1};
    status = checkpoint_load(path, &text, &size, error);
    if (status == STATUS_OK && size > 0)
        status = text_parse(path, text, size, &reading, error);
    free(reading.entries);
    free(text);
    if (status != STATUS_OK)
        checkpoint_state_free(state);
    return status;
}

void checkpoint_failures_free(struct checkpoint_state *state)
{
    for (size_t i = 0; i < state->failure_count; i++)
        free(state->failures[i].text);
    free(state->failures);
    state->failures = NULL;
    state->failure_count = 0;
}

static void texts_free(struct checkpoint_text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(texts[i].key);
        free(texts[i].value);
    }
    free(texts);
}

void checkpoint_state_free(struct checkpoint_state *state)
{
    texts_free(state->texts, state->text_count);
    texts_free(state->inputs, state->input_count);
    free(state->pieces);
    free(state->frames);
    checkpoint_failures_free(state);
    *state = (struct checkpoint_state){.ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1};
}

const char *checkpoint_state_text(const struct checkpoint_state *state, const char *key)
{
    for (size_t i = 0; i < state->text_count; i++)
        if (strcmp(state->texts[i].key, key) == 0)
            return state->texts[i].value;
    return NULL;
}
