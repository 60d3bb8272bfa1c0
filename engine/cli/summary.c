/* Lines of text: the one that moves, and those that close a run. */
#include <inttypes.h>
#include <string.h>

#include "engine/cli/progress_private.h"
#include "engine/cli/text.h"

#define BAR_CELLS 14
#define FIELD_MAX 96
#define NAME_COLUMNS_MIN 8
#define SHARE_SMALL 0.1

/* A line in the making; `full` once a field did not fit, so that none of the later ones gets into its place. */
struct line {
    char *text;
    size_t size, columns, width;
    bool full;
};

/* Columns that the character at `text` takes, and its bytes. From Hangul on all may be wide: better short than torn. */
static size_t character_columns(const char *text, size_t *size)
{
    unsigned char lead = (unsigned char)*text;

    *size = 1;
    while (((unsigned char)text[*size] & 0xc0) == 0x80 && *size < 4)
        (*size)++;
    return lead >= 0xe1 ? 2 : 1;
}

/* Cuts what is too wide, and takes control characters away. */
static void name_append(struct line *line, const char *name, size_t columns_max)
{
    size_t limit = columns_max < line->width ? columns_max : line->width;
    size_t size;

    for (; *name != '\0'; name += size) {
        size_t columns = character_columns(name, &size);
        bool control = (unsigned char)*name < 0x20 || *name == 0x7f;

        if (line->columns + columns > limit || line->size + size >= PROGRESS_LINE_MAX)
            return;
        memcpy(line->text + line->size, control ? "?" : name, size);
        line->size += size;
        line->columns += columns;
    }
}

/* Fields are ASCII. */
static void field_append(struct line *line, const char *field)
{
    const char *separator = line->columns > 0 ? "  " : "";
    size_t size = strlen(separator) + strlen(field);

    line->full = line->full || line->columns + size > line->width || line->size + size >= PROGRESS_LINE_MAX;
    if (line->full)
        return;
    snprintf(line->text + line->size, size + 1, "%s%s", separator, field);
    line->size += size;
    line->columns += size;
}

/* The share done: as a bar with its number, or where that is too wide as the number. */
static void share_append(struct line *line, double fraction, bool bar)
{
    char cells[BAR_CELLS + 1], percent[NUMBER_TEXT_MAX] = "--%", field[FIELD_MAX];
    int filled = fraction > 0 ? (int)(fraction * BAR_CELLS) : 0;

    if (fraction >= 0)
        snprintf(percent, sizeof percent, "%2d%%", (int)(fraction * 100));
    for (int cell = 0; cell < BAR_CELLS; cell++)
        cells[cell] = cell < filled ? '#' : '-';
    cells[BAR_CELLS] = '\0';
    snprintf(field, sizeof field, "[%s] %s", cells, percent);
    field_append(line, bar && line->columns + 2 + strlen(field) <= line->width ? field : percent);
}

static void rows_append(struct line *line, const struct progress_view *view)
{
    char field[FIELD_MAX], done[NUMBER_TEXT_MAX], total[NUMBER_TEXT_MAX];

    if (view->rows_total >= view->rows)
        snprintf(field, sizeof field, "%s/%s rows", short_format(view->rows, done),
                 short_format(view->rows_total, total));
    else
        snprintf(field, sizeof field, "%s rows", short_format(view->rows, done));
    field_append(line, field);
}

static void rates_append(struct line *line, const struct progress_view *view)
{
    char field[FIELD_MAX], number[NUMBER_TEXT_MAX];

    field_append(line, size_format(view->bytes, number));
    snprintf(field, sizeof field, "%s/s", size_format(view->bytes_per_second, number));
    field_append(line, field);
    snprintf(field, sizeof field, "%s rows/s", short_format(view->rows_per_second, number));
    field_append(line, field);
    snprintf(field, sizeof field, "ETA %s", duration_format(view->eta_seconds, number));
    field_append(line, field);
}

static void ranges_append(struct line *line, const struct progress_view *view)
{
    char field[FIELD_MAX];

    if (view->ranges_total >= 0)
        snprintf(field, sizeof field, "ranges %" PRId64 "/%" PRId64, view->ranges, view->ranges_total);
    else
        snprintf(field, sizeof field, "ranges %" PRId64, view->ranges);
    field_append(line, field);
    if (view->ranges_failed == 0)
        return;
    snprintf(field, sizeof field, "failed %" PRId64, view->ranges_failed);
    field_append(line, field);
}

const char *progress_line(const struct progress_view *view, const char *table, bool bar, size_t width,
                          char text[PROGRESS_LINE_MAX])
{
    struct line line = {.text = text, .width = width};
    char field[FIELD_MAX];

    name_append(&line, table, width / 3 > NAME_COLUMNS_MIN ? width / 3 : NAME_COLUMNS_MIN);
    share_append(&line, view->fraction, bar);
    if (view->paused[0] != '\0') {
        char paused[THROTTLE_REASON_MAX + FIELD_MAX];

        snprintf(paused, sizeof paused, "paused: %s", view->paused);
        field_append(&line, paused);
    }
    rows_append(&line, view);
    rates_append(&line, view);
    ranges_append(&line, view);
    snprintf(field, sizeof field, "queue %d%%", view->queue_percent);
    field_append(&line, field);
    if (view->rejects > 0) {
        snprintf(field, sizeof field, "rejects %" PRId64, view->rejects);
        field_append(&line, field);
    }
    if (view->builds_open > 0) {
        snprintf(field, sizeof field, "building %" PRId64, view->builds_open);
        field_append(&line, field);
    }
    snprintf(field, sizeof field, "retries %" PRId64, view->retries);
    field_append(&line, field);
    text[line.size] = '\0';
    return text;
}

const char *progress_limit(const struct stats *stats, int64_t elapsed_ns)
{
    int32_t readers = atomic_load(&((struct stats *)stats)->readers);
    int32_t writers = atomic_load(&((struct stats *)stats)->writers);
    double reader_share, writer_share;

    if (elapsed_ns <= 0 || stats_get(&stats->rows_done) == 0)
        return "neither";
    reader_share = (double)stats_get(&stats->reader_wait_ns) / (double)elapsed_ns / (readers > 0 ? readers : 1);
    writer_share = (double)stats_get(&stats->writer_wait_ns) / (double)elapsed_ns / (writers > 0 ? writers : 1);
    /* Writers that never want for rows are busy with the target all the time, whether or not readers had to wait. */
    if (writer_share < SHARE_SMALL)
        return "the target";
    return writer_share >= reader_share ? "the source" : "the target";
}

static void rows_print(const struct stats *stats)
{
    char number[NUMBER_TEXT_MAX], before[NUMBER_TEXT_MAX];

    fprintf(stderr, "  rows     %s", count_format(stats_get(&stats->rows_done), number));
    if (stats_get(&stats->rows_before) > 0)
        fprintf(stderr, ", after %s in earlier runs", count_format(stats_get(&stats->rows_before), number));
    if (stats_get(&stats->rows_skipped) > 0)
        fprintf(stderr, "; %s outside --from and --until left out",
                count_format(stats_get(&stats->rows_skipped), number));
    if (stats_get(&stats->rejects_done) + stats_get(&stats->rejects_before) > 0)
        fprintf(stderr, "\n  rejects  %s", count_format(stats_get(&stats->rejects_done), number));
    if (stats_get(&stats->rejects_before) > 0)
        fprintf(stderr, ", after %s in earlier runs", count_format(stats_get(&stats->rejects_before), number));
    if (stats_get(&stats->conflicts_before) + stats_get(&stats->conflicts_done) > 0)
        fprintf(stderr, "\n  skipped  %s rows, in earlier runs %s: the target had their keys",
                count_format(stats_get(&stats->conflicts_done), number),
                count_format(stats_get(&stats->conflicts_before), before));
    fprintf(stderr, "\n  bytes    %s\n", size_format(stats_get(&stats->bytes_done), number));
}

static void time_print(const struct stats *stats, int64_t elapsed_ns)
{
    char number[NUMBER_TEXT_MAX];
    double seconds = (double)elapsed_ns / 1e9;
    double bytes = (double)stats_get(&stats->bytes_done), rows = (double)stats_get(&stats->rows_done);

    if (seconds < 60)
        fprintf(stderr, "  time     %.1f s\n", seconds);
    else
        fprintf(stderr, "  time     %s\n", duration_format((int64_t)seconds, number));
    fprintf(stderr, "  rate     %s/s", size_format(seconds > 0 ? (int64_t)(bytes / seconds) : 0, number));
    fprintf(stderr, ", %s rows/s\n", short_format(seconds > 0 ? (int64_t)(rows / seconds) : 0, number));
}

static void ranges_print(const struct stats *stats)
{
    int64_t before = stats_get(&stats->ranges_before), total = stats_get(&stats->ranges_total);

    fprintf(stderr, "  ranges   %" PRId64 " done", stats_get(&stats->ranges_done) + before);
    if (total >= 0)
        fprintf(stderr, " of %" PRId64, total);
    if (before > 0)
        fprintf(stderr, " (%" PRId64 " in earlier runs)", before);
    fprintf(stderr, ", %" PRId64 " failed\n", stats_get(&stats->ranges_failed));
    if (stats_get(&stats->builds_done) + stats_get(&stats->builds_open) > 0)
        fprintf(stderr, "  built    %" PRId64 " chunks, their indexes last", stats_get(&stats->builds_done));
    if (stats_get(&stats->builds_open) > 0)
        fprintf(stderr, "; %" PRId64 " still without", stats_get(&stats->builds_open));
    if (stats_get(&stats->builds_done) + stats_get(&stats->builds_open) > 0)
        fprintf(stderr, "\n");
    fprintf(stderr, "  retries  %" PRId64 "\n", stats_get(&stats->retries));
}

static void queue_print(const struct stats *stats)
{
    char before[NUMBER_TEXT_MAX], after[NUMBER_TEXT_MAX];
    int64_t raw = stats_get(&stats->packed_raw_bytes), packed = stats_get(&stats->packed_bytes);

    if (raw > 0 && packed > 0)
        fprintf(stderr, "  queue    %s compressed to %s, ratio %.1f\n", size_format(raw, before),
                size_format(packed, after), (double)raw / (double)packed);
    else
        fprintf(stderr, "  queue    nothing had to be compressed\n");
    if (stats_get(&stats->spilled_bytes) > 0)
        fprintf(stderr, "  spilled  %s to disk, at most %s at a time\n",
                size_format(stats_get(&stats->spilled_bytes), before),
                size_format(stats_get(&stats->spill_peak_bytes), after));
    fprintf(stderr, "  waited   readers %.1f s for room, writers %.1f s for rows\n",
            (double)stats_get(&stats->reader_wait_ns) / 1e9, (double)stats_get(&stats->writer_wait_ns) / 1e9);
}

void summary_print(const struct progress_job *job, const struct stats *stats, int64_t elapsed_ns, enum status result)
{
    flockfile(stderr);
    if (result == STATUS_OK)
        fprintf(stderr, "%s: complete\n", job->table);
    else if (result == STATUS_REJECTS)
        fprintf(stderr, "%s: complete but for rejected rows\n", job->table);
    else if (result == STATUS_STOPPED)
        fprintf(stderr, "%s: stopped before its end\n", job->table);
    else
        fprintf(stderr, "%s: failed (%s)\n", job->table, status_name(result));
    rows_print(stats);
    time_print(stats, elapsed_ns);
    ranges_print(stats);
    queue_print(stats);
    fprintf(stderr, "  limit    %s\n", progress_limit(stats, elapsed_ns));
    funlockfile(stderr);
}
