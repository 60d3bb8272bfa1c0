/* The lines of the checkpoint file, written into memory. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/checkpoint_private.h"

static enum status memory_error(struct error *error)
{
    return error_set(error, STATUS_SYSTEM, "out of memory for a line of the checkpoint file");
}

enum status lines_open(struct lines *lines, struct error *error)
{
    *lines = (struct lines){0};
    lines->stream = open_memstream(&lines->text, &lines->size);
    return lines->stream == NULL ? memory_error(error) : STATUS_OK;
}

/* A word whose value may hold anything: what would break the line apart is written as %XX. */
static void line_text(struct lines *lines, const char *key, const char *value)
{
    fprintf(lines->stream, " %s=", key);
    for (const char *at = value; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;

        if (c <= ' ' || c == '%' || c == 0x7f)
            fprintf(lines->stream, "%%%02X", c);
        else
            fputc(c, lines->stream);
    }
}

static void line_number(struct lines *lines, const char *key, int64_t value)
{
    fprintf(lines->stream, " %s=%" PRId64, key, value);
}

static void line_end(struct lines *lines)
{
    /* A failure stays in the stream: lines_close tells. */
    if (fflush(lines->stream) != 0)
        return;
    fprintf(lines->stream, " " CHECKSUM_FORMAT "\n",
            checkpoint_checksum(lines->text + lines->line, lines->size - lines->line));
    if (fflush(lines->stream) == 0)
        lines->line = lines->size;
}

enum status lines_close(struct lines *lines, struct error *error)
{
    bool failed = ferror(lines->stream) != 0;

    failed |= fclose(lines->stream) != 0;
    return failed ? memory_error(error) : STATUS_OK;
}

const char *lines_now(char buffer[CHECKPOINT_TIME_SIZE])
{
    struct timespec now;
    struct tm parts;
    size_t used;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    used = strftime(buffer, CHECKPOINT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(buffer + used, CHECKPOINT_TIME_SIZE - used, ".%03dZ", (int)(now.tv_nsec / 1000000) % 1000);
    return buffer;
}

void lines_plan(struct lines *lines, int64_t ranges, int64_t rows, int64_t bytes)
{
    fputs("plan", lines->stream);
    line_number(lines, "ranges", ranges);
    line_number(lines, "rows", rows);
    line_number(lines, "bytes", bytes);
    line_end(lines);
}

void lines_piece(struct lines *lines, const struct checkpoint_piece *piece, const char *at)
{
    fputs("piece", lines->stream);
    line_number(lines, "input", piece->input);
    line_number(lines, "lo", piece->lo);
    line_number(lines, "hi", piece->hi);
    line_number(lines, "mark", piece->mark);
    line_number(lines, "rows", piece->rows);
    line_number(lines, "bytes", piece->bytes);
    if (piece->conflicts > 0)
        line_number(lines, "conflicts", piece->conflicts);
    line_text(lines, "at", at);
    line_end(lines);
}

void lines_rejects(struct lines *lines, int64_t all, int64_t open, const char *at)
{
    fputs("rejects", lines->stream);
    line_number(lines, "all", all);
    line_number(lines, "open", open);
    line_text(lines, "at", at);
    line_end(lines);
}

void lines_frame(struct lines *lines, const struct checkpoint_frame *frame)
{
    fputs("frame", lines->stream);
    line_number(lines, "input", frame->input);
    line_number(lines, "file", frame->file);
    line_number(lines, "text", frame->text);
    line_end(lines);
}

void lines_failure(struct lines *lines, const struct checkpoint_failure *failure, const char *at)
{
    fputs("failed", lines->stream);
    line_number(lines, "input", failure->input);
    line_number(lines, "lo", failure->lo);
    line_number(lines, "hi", failure->hi);
    line_text(lines, "text", failure->text);
    line_text(lines, "at", at);
    line_end(lines);
}

static void end_write(struct lines *lines, enum checkpoint_end end)
{
    static const char *const names[] = CHECKPOINT_END_NAMES;

    line_text(lines, "end", names[end]);
}

void lines_start(struct lines *lines, const char *at)
{
    fputs("start", lines->stream);
    line_text(lines, "at", at);
    line_end(lines);
}

void lines_stop(struct lines *lines, enum checkpoint_end end, const char *at)
{
    fputs("stop", lines->stream);
    end_write(lines, end);
    line_text(lines, "at", at);
    line_end(lines);
}

/* What the lines of the last run said, in one: the lines themselves are merged away. */
static void run_write(struct lines *lines, const struct checkpoint_state *state)
{
    fputs("run", lines->stream);
    line_number(lines, "number", state->runs);
    line_text(lines, "started", state->started);
    line_text(lines, "updated", state->updated);
    end_write(lines, state->end);
    line_number(lines, "rows", state->run_rows);
    line_number(lines, "bytes", state->run_bytes);
    line_number(lines, "ms", state->run_ms);
    line_end(lines);
}

void lines_first(struct lines *lines, const char *first)
{
    fputs(first, lines->stream);
    line_end(lines);
}

void lines_table(struct lines *lines, const char *name)
{
    fputs("table", lines->stream);
    line_text(lines, "name", name);
    line_end(lines);
}

void lines_state(struct lines *lines, const struct checkpoint_state *state)
{
    char now[CHECKPOINT_TIME_SIZE];

    fputs("job", lines->stream);
    line_text(lines, "id", state->job);
    line_text(lines, "created", state->created[0] != '\0' ? state->created : lines_now(now));
    line_end(lines);
    for (size_t i = 0; i < state->text_count; i++) {
        fputs("text", lines->stream);
        line_text(lines, "key", state->texts[i].key);
        line_text(lines, "value", state->texts[i].value);
        line_end(lines);
    }
    for (size_t i = 0; i < state->input_count; i++) {
        fputs("input", lines->stream);
        line_text(lines, "path", state->inputs[i].key);
        line_text(lines, "is", state->inputs[i].value);
        line_end(lines);
    }
    lines_plan(lines, state->ranges_planned, state->rows_planned, state->bytes_planned);
    for (size_t i = 0; i < state->piece_count; i++)
        lines_piece(lines, &state->pieces[i], "");
    for (size_t i = 0; i < state->frame_count; i++)
        lines_frame(lines, &state->frames[i]);
    if (state->rejects > 0)
        lines_rejects(lines, state->rejects, state->rejects_open, "");
    run_write(lines, state);
    for (size_t i = 0; i < state->failure_count; i++)
        lines_failure(lines, &state->failures[i], "");
}
