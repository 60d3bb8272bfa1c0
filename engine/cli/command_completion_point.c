/* `hyperfill completion-point`: finds the time up to which to load. */
#include "engine/cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/names.h"
#include "engine/cli/progress_private.h"
#include "engine/cli/text.h"
#include "engine/method/completion.h"

/* Buckets in a line of the strip, behind its time: ten minutes of the usual ones, 80 columns. */
#define STRIP_BUCKETS 60
#define STRIP_LINE_MAX (STRIP_BUCKETS + 1)

static void notice_signal(enum stop_level level)
{
    (void)level;
    log_line(LOG_NOTICE, "stopping");
}

static const char *moment(const struct completion *completion, int64_t value, char buffer[TIME_TEXT_MAX])
{
    return time_format(completion->time.type, value, buffer);
}

/* ---- The strip ---- */

static void strip_line(const struct completion *completion, size_t first, char line[STRIP_LINE_MAX])
{
    size_t size = completion->count - first < STRIP_BUCKETS ? completion->count - first : STRIP_BUCKETS;

    for (size_t i = 0; i < size; i++)
        line[i] = completion_character(completion, first + i);
    line[size] = '\0';
}

/* Whether the line consists of one character, and the next one of the same. */
static bool line_repeats(const struct completion *completion, size_t first)
{
    char line[STRIP_LINE_MAX], next[STRIP_LINE_MAX], one[2] = "";

    if (first + 2 * STRIP_BUCKETS > completion->count)
        return false;
    strip_line(completion, first, line);
    strip_line(completion, first + STRIP_BUCKETS, next);
    one[0] = line[0];
    return strcmp(line, next) == 0 && strspn(line, one) == STRIP_BUCKETS;
}

static void print_strip(const struct completion *completion)
{
    char line[STRIP_LINE_MAX], text[TIME_TEXT_MAX];

    for (size_t first = 0; first < completion->count; first += STRIP_BUCKETS) {
        size_t same = 0;

        strip_line(completion, first, line);
        moment(completion, completion->lo + (int64_t)first * completion->step, text);
        /* Seconds and a zone that is always the same would take the room of buckets. */
        printf("%-19.19s %s\n", text, line);
        while (line_repeats(completion, first + same * STRIP_BUCKETS))
            same++;
        if (same > 1) {
            printf("%19s and so on, %zu lines more\n", "", same);
            first += same * STRIP_BUCKETS;
        }
    }
    printf("%s\n", completion_legend);
}

/* ---- The table ---- */

struct zone_count {
    size_t buckets, empty, unlike;
    int64_t source, target;
};

static struct zone_count zone_count(const struct completion *completion, int64_t lo, int64_t hi)
{
    struct zone_count count = {0};

    for (size_t i = 0; i < completion->count; i++) {
        const struct completion_bucket *bucket = &completion->buckets[i];
        int64_t at = completion->lo + (int64_t)i * completion->step;

        if (at < lo || at >= hi)
            continue;
        count.buckets++;
        count.empty += bucket->source[1].rows == 0 && bucket->target[1].rows == 0;
        count.unlike +=
            bucket->source[1].rows != bucket->target[1].rows || bucket->source[1].hash != bucket->target[1].hash;
        count.source += bucket->source[1].rows;
        count.target += bucket->target[1].rows;
    }
    return count;
}

static int64_t end_of(const struct completion *completion)
{
    return completion->lo + (int64_t)completion->count * completion->step;
}

static void print_zone(const struct completion *completion, const char *name, int64_t lo, int64_t hi)
{
    struct zone_count count = zone_count(completion, lo, hi);
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX], source[NUMBER_TEXT_MAX], target[NUMBER_TEXT_MAX];

    if (count.buckets == 0) {
        printf("%-15s none\n", name);
        return;
    }
    printf("%-15s %-22.22s  %-22.22s  %7zu  %6zu  %7zu  %12s  %12s\n", name, moment(completion, lo, from),
           moment(completion, hi, until), count.buckets, count.empty, count.unlike, count_format(count.source, source),
           count_format(count.target, target));
}

static void print_lateness(const struct completion *completion)
{
    char length[TIME_TEXT_MAX], count[NUMBER_TEXT_MAX], stable[TIME_TEXT_MAX];

    if (completion->lateness > 0)
        printf("lateness  rows came up to %s after their time while it was watched (%s of them into past buckets)\n",
               completion_length(completion, completion->lateness, length), count_format(completion->late_rows, count));
    else
        printf("lateness  no row came late while it was watched; --watch looks for longer\n");
    if (completion->zone_hi > completion->zone_lo)
        printf("          the youngest bucket that is equal and stays so is %s old\n",
               completion_length(completion, completion->now[1] - completion->zone_hi, stable));
}

static void print_result(const struct completion *completion)
{
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX], step[TIME_TEXT_MAX];

    if (completion->count == 0)
        return;
    printf("window    from %s until %s, in buckets of %s, looked at twice\n\n",
           moment(completion, completion->lo, from), moment(completion, end_of(completion), until),
           time_interval_format(completion->time.type, completion->step, step));
    printf("%-15s %-22s  %-22s  %7s  %6s  %7s  %12s  %12s\n", "zone", "from", "until", "buckets", "empty", "differ",
           "source rows", "target rows");
    print_zone(completion, "missing writes", completion->lo, completion->zone_lo);
    print_zone(completion, "consistent", completion->zone_lo, completion->zone_hi);
    print_zone(completion, "late data", completion->zone_hi, end_of(completion));
    printf("\n");
    print_strip(completion);
    printf("\n");
    print_lateness(completion);
    if (completion->verdict != COMPLETION_FOUND)
        return;
    if (!completion->begin_seen)
        printf("begin     not within the window: dual writing began before it, or this is all that there is\n");
    else
        printf("begin     dual writing is complete from %s on\n", moment(completion, completion->zone_lo, from));
    printf("\nThe completion point, away from both ends of the consistent zone:\n  --until '%s'\n",
           moment(completion, completion->until, until));
}

/* ---- JSON ---- */

static const char *const verdict_names[] = {
    [COMPLETION_FOUND] = "found",   [COMPLETION_EMPTY] = "no rows",     [COMPLETION_NOT_BEGUN] = "not begun",
    [COMPLETION_UNLIKE] = "unlike", [COMPLETION_TOO_SOON] = "too soon",
};

static void json_moment(struct json *json, const char *key, const struct completion *completion, bool known,
                        int64_t value)
{
    char text[TIME_TEXT_MAX];

    json_text(json, key, known ? moment(completion, value, text) : NULL);
}

static void json_zone(struct json *json, const char *key, const struct completion *completion, int64_t lo, int64_t hi)
{
    struct zone_count count = zone_count(completion, lo, hi);

    json_open(json, key, '{');
    json_moment(json, "from", completion, count.buckets > 0, lo);
    json_moment(json, "until", completion, count.buckets > 0, hi);
    json_integer(json, "buckets", (int64_t)count.buckets);
    json_integer(json, "empty", (int64_t)count.empty);
    json_integer(json, "differ", (int64_t)count.unlike);
    json_integer(json, "source_rows", count.source);
    json_integer(json, "target_rows", count.target);
    json_close(json, '}');
}

static void print_json(const struct completion *completion)
{
    struct json json = {.file = stdout};
    bool found = completion->verdict == COMPLETION_FOUND;
    char *strip = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&strip, &size);

    for (size_t i = 0; file != NULL && i < completion->count; i++)
        putc(completion_character(completion, i), file);
    if (file == NULL || fclose(file) != 0)
        return;
    json_open(&json, NULL, '{');
    json_text(&json, "result", verdict_names[completion->verdict]);
    json_text(&json, "type", time_type_sql(completion->time.type));
    json_moment(&json, "until", completion, found, completion->until);
    json_moment(&json, "look_again", completion, completion->verdict == COMPLETION_TOO_SOON, completion->look_again);
    json_moment(&json, "now", completion, completion->count > 0, completion->now[1]);
    json_zone(&json, "missing", completion, completion->lo, completion->zone_lo);
    json_zone(&json, "consistent", completion, completion->zone_lo, completion->zone_hi);
    json_zone(&json, "late", completion, completion->zone_hi, end_of(completion));
    json_bool(&json, "begin_seen", completion->begin_seen);
    json_real(&json, "lateness_s",
              completion->per_second > 0 ? (double)completion->lateness / (double)completion->per_second : -1);
    json_integer(&json, "lateness", completion->lateness);
    json_integer(&json, "late_rows", completion->late_rows);
    json_integer(&json, "bucket", completion->step);
    json_text(&json, "strip", strip);
    json_close(&json, '}');
    putchar('\n');
    free(strip);
}

/* ---- The command ---- */

static enum status find_and_show(const struct options *options, struct completion_spec *spec, char **until,
                                 struct error *error)
{
    struct completion completion = {0};
    enum status status = completion_find(spec, &completion, error);

    if (status == STATUS_OK) {
        if (options->json)
            print_json(&completion);
        else
            print_result(&completion);
        fflush(stdout);
        status = completion_status(&completion, error);
    }
    if (until != NULL)
        *until = NULL;
    if (status == STATUS_OK && until != NULL) {
        char text[TIME_TEXT_MAX];

        *until = strdup(moment(&completion, completion.until, text));
        if (*until == NULL)
            abort();
    }
    completion_reset(&completion);
    return status;
}

enum status command_completion_point(const struct options *options, struct error *error)
{
    return completion_point(options, NULL, error);
}

enum status completion_point(const struct options *options, char **until, struct error *error)
{
    struct pg_address source = {0}, target = {0};
    struct signals *signals = NULL;
    struct stop *stop = NULL;
    struct names names = {0};
    struct completion_spec spec = {
        .source = &source,
        .target = &target,
        .table = options->table,
        .source_table = options->source_table,
        .time_column = options->time_column,
        .window = options->window,
        .bucket = options->bucket,
        .ledger_schema = options->ledger_schema,
        .watch_ms = options->watch_seconds * 1000,
    };
    enum status status;

    if (options->sources.count != 1 || !pg_is_conninfo(options->source))
        return error_set(error, STATUS_USAGE,
                         "completion-point compares two databases: --source must be one PostgreSQL"
                         " address");
    status = stop_create(&stop, error);
    if (status == STATUS_OK)
        status = signals_start(stop, notice_signal, &signals, error);
    if (status == STATUS_OK && options->columns != NULL)
        status = names_split(&names, options->columns, "columns", error);
    if (status == STATUS_OK)
        status = pg_address_init(&source, options->source, "source", error);
    if (status == STATUS_OK)
        status = pg_address_init(&target, options->target, "target", error);
    spec.stop = stop;
    spec.columns = names.items;
    spec.column_count = (size_t)names.count;
    if (status == STATUS_OK)
        status = find_and_show(options, &spec, until, error);
    signals_finish(signals);
    pg_address_reset(&source);
    pg_address_reset(&target);
    names_reset(&names);
    stop_free(stop);
    return status;
}
