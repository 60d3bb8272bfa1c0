#include "bench/generate.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const order_names[] = {"ordered", "shuffled", "reverse", NULL};
static const char *const shape_names[] = {"cpu", "wide", "multiline", "fat", "tiny", "text", "jsonb", NULL};
static const char *const time_format_names[] = {"iso", "postgres", "naive", "epoch", "epoch-ms", NULL};

static const char help[] =
    "Usage: " PROGRAM " [OPTION]...\n"
    "Prints a deterministic time series as CSV. Each order of one seed has the same rows.\n"
    "\n"
    "  --rows N              rows to print (default 1000000)\n"
    "  --skip N              leave out the first N of them (default 0)\n"
    "  --seed S              all values follow from it (default 1)\n"
    "  --hosts N             rows of one time (default 400)\n"
    "  --step-seconds N      from one time to the next (default 10)\n"
    "  --start TIME          first time, as 2024-01-01T00:00:00Z (default)\n"
    "  --order ORDER         ordered (default), shuffled, reverse\n"
    "  --shape SHAPE         cpu: time,tags_id,hostname and ten numbers (default)\n"
    "                        wide: the same three and metric_00 to metric_99, some empty\n"
    "                        multiline: cpu and a text column, note, with line ends and quotes in it\n"
    "                        fat: time,tags_id and a text column, payload\n"
    "                        tiny: time,tags_id and a number\n"
    "                        text: time,tags_id,hostname and four text columns with quotes and commas\n"
    "                        jsonb: time,tags_id and an object, payload\n"
    "  --fat-bytes N         size of a payload, give or take a tenth (default 1000000)\n"
    "  --time-format FORMAT  iso (default), postgres (2024-01-01 00:00:00+00), naive (no zone),\n"
    "                        epoch (seconds), epoch-ms\n"
    "  --no-header           no line of column names\n"
    "  --help                this text\n";

_Noreturn __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...)
{
    va_list arguments;

    fputs(PROGRAM ": ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;

    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);

    /* strtoull would take blanks and a sign too. */
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < least || number > most)
        die(EXIT_USAGE, "--%s: \"%s\" is not a whole number from %" PRIu64 " to %" PRIu64, option, text, least, most);
    return number;
}

static unsigned parse_name(const char *option, const char *text, const char *const *names)
{
    char known[128] = "";
    unsigned index = 0;

    for (; names[index] != NULL; index++) {
        if (strcmp(text, names[index]) == 0)
            return index;
        strncat(known, index > 0 ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, names[index], sizeof known - strlen(known) - 1);
    }
    die(EXIT_USAGE, "--%s: \"%s\" is none of %s", option, text, known);
}

static int64_t parse_start(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    bool sane = strlen(text) == sizeof form - 1;

    for (size_t index = 0; sane && index < sizeof form - 1; index++)
        sane = form[index] == 'd' ? text[index] >= '0' && text[index] <= '9' : text[index] == form[index];
    if (sane) {
        const long year = strtol(text, NULL, 10), month = strtol(text + 5, NULL, 10), day = strtol(text + 8, NULL, 10);
        const long hour = strtol(text + 11, NULL, 10), minute = strtol(text + 14, NULL, 10);
        const long second = strtol(text + 17, NULL, 10);

        if (year >= 1970 && month >= 1 && month <= 12 && day >= 1 && hour < 24 && minute < 60 && second < 60) {
            const int64_t days = days_from_civil(year, month, day);
            unsigned same_year, same_month, same_day;

            /* The 30th of February comes back as another day. */
            civil_from_days(days, &same_year, &same_month, &same_day);
            if (same_month == (unsigned)month && same_day == (unsigned)day)
                return days * 86400 + hour * 3600 + minute * 60 + second;
        }
    }
    die(EXIT_USAGE, "--start: \"%s\" is not a time from 1970 on, written as 2024-01-01T00:00:00Z", text);
}

static void check_last_time(const struct options *options)
{
    const int64_t end = days_from_civil(9999, 12, 31) * 86400 + 86399;
    const uint64_t last_step = options->rows == 0 ? 0 : (options->rows - 1) / options->hosts;

    if (last_step > (uint64_t)(end - options->start) / options->step_seconds)
        die(EXIT_USAGE,
            "the last of %" PRIu64 " rows would be after the year 9999: "
            "give fewer --rows, more --hosts or shorter --step-seconds",
            options->rows);
}

void parse_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {{"rows", required_argument, NULL, 'r'},
                                          {"skip", required_argument, NULL, 'k'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"hosts", required_argument, NULL, 'h'},
                                          {"step-seconds", required_argument, NULL, 'p'},
                                          {"start", required_argument, NULL, 't'},
                                          {"order", required_argument, NULL, 'o'},
                                          {"shape", required_argument, NULL, 'a'},
                                          {"fat-bytes", required_argument, NULL, 'b'},
                                          {"no-header", no_argument, NULL, 'n'},
                                          {"time-format", required_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'H'},
                                          {NULL, 0, NULL, 0}};
    int letter, index = 0;

    while ((letter = getopt_long(argc, argv, "", known, &index)) != -1) {
        const char *name = known[index].name;

        switch (letter) {
        case 'r': options->rows = parse_number(name, optarg, 0, UINT64_C(1000000000000)); break;
        case 'k': options->skip = parse_number(name, optarg, 0, UINT64_C(1000000000000)); break;
        case 's': options->seed = parse_number(name, optarg, 0, UINT64_MAX); break;
        case 'h': options->hosts = parse_number(name, optarg, 1, 1000000000); break;
        case 'p': options->step_seconds = parse_number(name, optarg, 1, 1000000000); break;
        case 't': options->start = parse_start(optarg); break;
        case 'o': options->order = (enum order)parse_name(name, optarg, order_names); break;
        case 'a': options->shape = (enum shape)parse_name(name, optarg, shape_names); break;
        case 'b': options->fat_bytes = parse_number(name, optarg, 1, 1000000000); break;
        case 'f': options->time_format = (enum time_format)parse_name(name, optarg, time_format_names); break;
        case 'n': options->header = false; break;
        case 'H': fputs(help, stdout); exit(EXIT_SUCCESS);
        default: die(EXIT_USAGE, "see --help");
        }
    }
    if (optind < argc)
        die(EXIT_USAGE, "\"%s\" is not an option; see --help", argv[optind]);
    check_last_time(options);
}
