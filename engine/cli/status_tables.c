/* `hyperfill status` of a job of several tables: each in a line, and all together. */
#include "engine/cli/status_report.h"

#include <inttypes.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "engine/cli/text.h"

/* All tables together; -1: not known of each. */
struct total {
    const char *result;
    int64_t ranges, ranges_planned, rows, rows_planned, bytes, failed, complete;
    char updated[sizeof((struct checkpoint_state *)0)->updated];
};

static int64_t sum_known(int64_t sum, int64_t number)
{
    return sum < 0 || number < 0 ? -1 : sum + number;
}

/* The word of a table while the run goes on: one that has its last line is not running any more. */
static void part_report(const char *path, bool locked, const struct checkpoint_part *part, struct report *report)
{
    report_make(path, locked && part->state.end == CHECKPOINT_RUNNING, &part->state, report);
}

static void total_make(const char *path, bool locked, const struct checkpoint_set *set, struct total *total)
{
    *total = (struct total){.result = "complete"};
    for (size_t i = 0; i < set->count; i++) {
        struct report report;

        part_report(path, locked, &set->parts[i], &report);
        total->ranges += report.ranges;
        total->rows += report.rows;
        total->bytes += report.bytes;
        total->ranges_planned = sum_known(total->ranges_planned, set->parts[i].state.ranges_planned);
        total->rows_planned = sum_known(total->rows_planned, set->parts[i].state.rows_planned);
        total->complete += strcmp(report.result, "complete") == 0;
        total->failed += strcmp(report.result, "failed") == 0;
        /* What has failed is told before what was only left. */
        if (strcmp(report.result, "complete") != 0 && strcmp(total->result, "failed") != 0)
            total->result = report.result;
        if (strcmp(total->updated, set->parts[i].state.updated) < 0)
            memcpy(total->updated, set->parts[i].state.updated, sizeof total->updated);
    }
    if (locked)
        total->result = "running";
}

static void part_print(const struct report *report, const char *name)
{
    const struct checkpoint_state *state = report->state;
    char rows[NUMBER_TEXT_MAX], of[NUMBER_TEXT_MAX];

    printf("%-12s", report->result);
    plain_print(name);
    printf(": %s", count_format(report->rows, rows));
    if (state->rows_planned > 0)
        printf(" of %s", count_format(state->rows_planned, of));
    printf(" rows, ranges %" PRId64, report->ranges);
    if (state->ranges_planned >= 0)
        printf(" of %" PRId64, state->ranges_planned);
    if (state->rejects_open > 0)
        printf(", %s rejected", count_format(state->rejects_open, rows));
    printf("\n");
    for (size_t i = 0; i < state->failure_count; i++) {
        printf("            ");
        plain_print(state->failures[i].text);
        putchar('\n');
    }
}

static void set_print(const char *path, bool locked, const struct checkpoint_set *set, const struct total *total)
{
    char number[NUMBER_TEXT_MAX], of[NUMBER_TEXT_MAX];

    for (size_t i = 0; i < set->count; i++) {
        struct report report;

        part_report(path, locked, &set->parts[i], &report);
        part_print(&report, set->parts[i].name);
    }
    printf("tables      %zu: %" PRId64 " complete, %" PRId64 " failed\n", set->count, total->complete, total->failed);
    printf("state       %s\n", total->result);
    printf("rows        %s", count_format(total->rows, number));
    if (total->rows_planned > 0)
        printf(" of %s (%d%%)", count_format(total->rows_planned, of),
               total->rows >= total->rows_planned ? 100
                                                  : (int)((double)total->rows * 100 / (double)total->rows_planned));
    printf("\nbytes       %s\n", size_format(total->bytes, number));
    if (set->damaged)
        printf("damaged     line %" PRId64 " is unreadable, and what follows it is not counted here;\n"
               "            the next run rebuilds the file from the target's ledger\n",
               set->damaged_line);
    if (total->updated[0] != '\0')
        printf("updated     %s\n", total->updated);
    if (strcmp(total->result, "complete") == 0)
        printf("next        nothing to resume; \"hyperfill clean\" forgets the ledger, a table at a time\n");
    else if (!locked)
        printf("resume      hyperfill run, with the same options as before and --checkpoint\n            %s\n", path);
}

static void set_json(const char *path, bool locked, const struct checkpoint_set *set, const struct total *total)
{
    struct json json = {.file = stdout};

    json_open(&json, NULL, '{');
    json_text(&json, "checkpoint", path);
    json_text(&json, "state", total->result);
    json_integer(&json, "ranges", total->ranges);
    json_known(&json, "ranges_total", total->ranges_planned);
    json_integer(&json, "rows", total->rows);
    json_known(&json, "rows_total", total->rows_planned);
    json_integer(&json, "bytes", total->bytes);
    json_integer(&json, "complete", total->complete);
    json_integer(&json, "failed", total->failed);
    json_text(&json, "updated", total->updated);
    json_bool(&json, "damaged", set->damaged);
    json_open(&json, "tables", '[');
    for (size_t i = 0; i < set->count; i++) {
        struct report report;

        part_report(path, locked, &set->parts[i], &report);
        json_open(&json, NULL, '{');
        json_text(&json, "table", set->parts[i].name);
        report_members(&json, &report);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    putchar('\n');
}

enum status status_tables(const struct options *options, const char *path, bool locked, struct error *error)
{
    struct checkpoint_set set;
    struct total total;
    enum status status = checkpoint_read_set(path, &set, error);

    if (status != STATUS_OK)
        return status;
    total_make(path, locked, &set, &total);
    if (options->json)
        set_json(path, locked, &set, &total);
    else
        set_print(path, locked, &set, &total);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = error_set_errno(error, STATUS_SYSTEM, "cannot write to standard output");
    checkpoint_set_free(&set);
    return status;
}
