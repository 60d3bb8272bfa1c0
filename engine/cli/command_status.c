/* hyperfill status: what the checkpoint file says of a job. */
#include "engine/cli/commands.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/cli/status_report.h"
#include "engine/cli/text.h"
#include "engine/timevalue.h"

/* Quotes, slashes and blanks of a table's name are no good in the name of a file. */
static char path_letter(char letter)
{
    bool fine = isalnum((unsigned char)letter) || strchr("._-", letter) != NULL || !isascii((unsigned char)letter);

    return fine ? letter : '_';
}

enum status command_checkpoint_path(const struct options *options, char path[CHECKPOINT_PATH_MAX], struct error *error)
{
    return command_default_path(options, options->checkpoint, "checkpoint", path, error);
}

enum status command_default_path(const struct options *options, const char *given, const char *ending,
                                 char path[CHECKPOINT_PATH_MAX], struct error *error)
{
    size_t prefix = strlen("hyperfill-");
    int size;

    if (given != NULL)
        size = snprintf(path, CHECKPOINT_PATH_MAX, "%s", given);
    else
        size = snprintf(path, CHECKPOINT_PATH_MAX, "hyperfill-%s.%s",
                        options->command != COMMAND_STATUS && options_name_several(options) ? "tables" : options->table,
                        ending);
    if (size >= CHECKPOINT_PATH_MAX)
        return error_set(error, STATUS_USAGE, "the path of the %s file is too long", ending);
    if (given == NULL)
        for (char *letter = path + prefix; *letter != '\0'; letter++)
            *letter = path_letter(*letter);
    return STATUS_OK;
}

/* What became of the job. A run that left no last line and holds no lock was killed. */
static const char *result_word(const struct checkpoint_state *state, bool locked)
{
    if (locked)
        return "running";
    if (state->runs == 0)
        return "not started";
    switch (state->end) {
    case CHECKPOINT_COMPLETE: return "complete";
    case CHECKPOINT_STOPPED: return "stopped";
    case CHECKPOINT_FAILED: return "failed";
    case CHECKPOINT_RUNNING: break;
    }
    return "interrupted";
}

/* The text "time" is the column and its type: "time timestamptz". */
static bool type_find(const struct checkpoint_state *state, enum time_type *type)
{
    const char *time = checkpoint_state_text(state, "time");
    const char *name = time != NULL ? strrchr(time, ' ') : NULL;

    return name != NULL && time_type_from_name(name + 1, type);
}

void report_make(const char *path, bool locked, const struct checkpoint_state *state, struct report *report)
{
    *report = (struct report){.path = path, .state = state, .result = result_word(state, locked)};
    report->timed = type_find(state, &report->type);
    for (size_t index = 0; index < state->piece_count; index++) {
        const struct checkpoint_piece *piece = &state->pieces[index];

        report->ranges += index == 0 || piece->lo != state->pieces[index - 1].lo;
        report->rows += piece->rows;
        report->bytes += piece->bytes;
        report->conflicts += piece->conflicts;
    }
}

/* One end of a range, as the server would write it where the type is known. */
static const char *edge_format(const struct report *report, int64_t value, char buffer[TIME_TEXT_MAX])
{
    if (value == INT64_MIN)
        return "-infinity";
    if (value == INT64_MAX)
        return "infinity";
    if (report->timed)
        return time_format(report->type, value, buffer);
    snprintf(buffer, TIME_TEXT_MAX, "%" PRId64, value);
    return buffer;
}

void plain_print(const char *text)
{
    for (; *text != '\0'; text++) {
        bool control = ((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f;

        putchar(control ? ' ' : *text);
    }
}

static void line_print(const char *label, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    printf("%-12s", label);
    plain_print(text);
    putchar('\n');
}

static void done_print(const char *label, int64_t done, int64_t planned)
{
    char number[NUMBER_TEXT_MAX];

    printf("%-12s%s", label, count_format(done, number));
    if (planned > 0)
        printf(" of %s (%d%%)", count_format(planned, number),
               done >= planned ? 100 : (int)((double)done * 100 / (double)planned));
    putchar('\n');
}

static void rate_print(const struct checkpoint_state *state)
{
    char bytes[NUMBER_TEXT_MAX], rows[NUMBER_TEXT_MAX], duration[NUMBER_TEXT_MAX];
    double seconds = (double)state->run_ms / 1000;

    if (state->run_ms <= 0)
        return;
    printf("last run    %s/s, %s rows/s over %s\n", size_format((int64_t)((double)state->run_bytes / seconds), bytes),
           short_format((int64_t)((double)state->run_rows / seconds), rows),
           duration_format(state->run_ms / 1000, duration));
}

static void rejects_print(const struct checkpoint_state *state)
{
    char all[NUMBER_TEXT_MAX], open[NUMBER_TEXT_MAX], replayed[NUMBER_TEXT_MAX];

    if (state->rejects > 0)
        printf("%-12s%s: %s open, %s replayed or dropped\n", "rejected", count_format(state->rejects, all),
               count_format(state->rejects_open, open), count_format(state->rejects - state->rejects_open, replayed));
}

static void failures_print(const struct report *report)
{
    const struct checkpoint_state *state = report->state;
    char lo[TIME_TEXT_MAX], hi[TIME_TEXT_MAX];

    if (state->failure_count == 0)
        return;
    printf("failed      %zu range%s in the last run\n", state->failure_count, state->failure_count == 1 ? "" : "s");
    for (size_t index = 0; index < state->failure_count; index++) {
        const struct checkpoint_failure *failure = &state->failures[index];

        printf("  [%s, %s)", edge_format(report, failure->lo, lo), edge_format(report, failure->hi, hi));
        if (failure->input > 0)
            printf(" of input %" PRId32, failure->input);
        printf("\n      ");
        plain_print(failure->text);
        putchar('\n');
    }
}

static void hint_print(const struct report *report)
{
    if (report->state->damaged)
        printf("damaged     line %" PRId64 " is unreadable, and what follows it is not counted here;\n"
               "            the next run rebuilds the file from the target's ledger\n",
               report->state->damaged_line);
    if (strcmp(report->result, "complete") == 0)
        printf("next        %s; \"hyperfill clean\" forgets the ledger\n",
               report->state->rejects_open > 0
                   ? "nothing to resume; correct the rejected rows, then \"hyperfill replay\" loads them"
                   : "nothing to resume");
    else if (strcmp(report->result, "running") != 0)
        printf("resume      hyperfill run, with the same options as before and --checkpoint\n            %s\n",
               report->path);
}

static void report_print(const struct report *report)
{
    static const char *const keys[] = {"reads", "writes", "source", "target", "time", "from", "until"};
    const struct checkpoint_state *state = report->state;
    char number[NUMBER_TEXT_MAX];

    line_print("job", state->job);
    for (size_t index = 0; index < sizeof keys / sizeof keys[0]; index++)
        line_print(keys[index], checkpoint_state_text(state, keys[index]));
    line_print("state", report->result);
    done_print("ranges", report->ranges, state->ranges_planned);
    /* Of a job that is complete the estimate says nothing any more. */
    done_print("rows", report->rows, strcmp(report->result, "complete") == 0 ? -1 : state->rows_planned);
    if (report->conflicts > 0)
        printf("%-12s%s rows: the target had their keys\n", "skipped", count_format(report->conflicts, number));
    rejects_print(state);
    printf("%-12s%s\n", "bytes", size_format(report->bytes, number));
    rate_print(state);
    line_print("started", state->started);
    line_print("updated", state->updated);
    printf("%-12s%" PRId64 "\n", "runs", state->runs);
    failures_print(report);
    hint_print(report);
}

static void failures_json(struct json *json, const struct report *report)
{
    const struct checkpoint_state *state = report->state;
    char edge[TIME_TEXT_MAX];

    json_open(json, "failures", '[');
    for (size_t index = 0; index < state->failure_count; index++) {
        const struct checkpoint_failure *failure = &state->failures[index];

        json_open(json, NULL, '{');
        json_integer(json, "input", failure->input);
        json_text(json, "lo", edge_format(report, failure->lo, edge));
        json_text(json, "hi", edge_format(report, failure->hi, edge));
        json_text(json, "text", failure->text);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void report_members(struct json *json, const struct report *report)
{
    static const char *const keys[] = {"reads", "writes", "source", "target", "columns",
                                       "time",  "from",   "until",  "dialect"};
    const struct checkpoint_state *state = report->state;
    double seconds = (double)state->run_ms / 1000;

    json_text(json, "checkpoint", report->path);
    json_text(json, "job", state->job);
    for (size_t index = 0; index < sizeof keys / sizeof keys[0]; index++)
        json_text(json, keys[index], checkpoint_state_text(state, keys[index]));
    json_text(json, "state", report->result);
    json_integer(json, "ranges", report->ranges);
    json_known(json, "ranges_total", state->ranges_planned);
    json_integer(json, "rows", report->rows);
    json_known(json, "rows_total", state->rows_planned);
    json_integer(json, "conflicts", report->conflicts);
    json_integer(json, "rejects", state->rejects);
    json_integer(json, "rejects_open", state->rejects_open);
    json_integer(json, "rejects_replayed", state->rejects - state->rejects_open);
    json_integer(json, "bytes", report->bytes);
    json_known(json, "bytes_total", state->bytes_planned);
    json_real(json, "rows_per_s", seconds > 0 ? (double)state->run_rows / seconds : -1);
    json_real(json, "bytes_per_s", seconds > 0 ? (double)state->run_bytes / seconds : -1);
    json_text(json, "created", state->created);
    json_text(json, "started", state->started);
    json_text(json, "updated", state->updated);
    json_integer(json, "runs", state->runs);
    json_bool(json, "damaged", state->damaged);
    failures_json(json, report);
}

static void status_json(const struct report *report)
{
    struct json json = {.file = stdout};

    json_open(&json, NULL, '{');
    report_members(&json, report);
    json_close(&json, '}');
    putchar('\n');
}

/* Missing and empty files look the same to the reader; only a run that has just begun has an empty one. */
static enum status missing_report(const char *path, bool locked, struct error *error)
{
    if (locked)
        return error_set(error, STATUS_USAGE, "%s is empty: a run has just begun, ask again in a moment", path);
    return error_set(error, STATUS_USAGE,
                     "there is no checkpoint file %s, or it is empty; name the job's with --checkpoint FILE", path);
}

enum status command_status(const struct options *options, struct error *error)
{
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint_state state = {.exists = false};
    struct report report;
    bool locked;

    if (command_checkpoint_path(options, path, error) != STATUS_OK)
        return error->status;
    locked = checkpoint_is_locked(path); /* before reading: a run that ends in between has written its last line */
    if (checkpoint_is_set(path))
        return status_tables(options, path, locked, error);
    if (checkpoint_read(path, &state, error) != STATUS_OK)
        goto out;
    if (!state.exists) {
        missing_report(path, locked, error);
        goto out;
    }
    report_make(path, locked, &state, &report);
    if (options->json)
        status_json(&report);
    else
        report_print(&report);
    if (fflush(stdout) != 0 || ferror(stdout))
        error_set_errno(error, STATUS_SYSTEM, "cannot write to standard output");
out:
    checkpoint_state_free(&state);
    return error->status;
}
