/* What follows from several options together: of CSV, and of bench. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/options_private.h"

/* The rules of the server's ProcessCopyOptions, with its reasons; and those of comments. */
static enum status dialect_check(const struct options *options, struct error *error)
{
    if (options->delimiter == options->quote)
        return error_set(error, STATUS_USAGE, "--delimiter and --quote must be different characters");
    if (strpbrk(options->null_text, "\r\n") != NULL)
        return error_set(error, STATUS_USAGE, "--null cannot hold a newline or a carriage return");
    if (strchr(options->null_text, options->delimiter) != NULL)
        return error_set(error, STATUS_USAGE, "--null cannot hold the delimiter");
    if (strchr(options->null_text, options->quote) != NULL)
        return error_set(error, STATUS_USAGE, "--null cannot hold the quote character");
    if (options->comment != '\0' && (options->comment == options->delimiter || options->comment == options->quote))
        return error_set(error, STATUS_USAGE, "--comment cannot be the delimiter or the quote character");
    return STATUS_OK;
}

/* Whether some option that only makes sense for CSV was given. */
static bool csv_given(const struct parser *parser)
{
    static const char *const names[] = {"delimiter", "quote",      "escape",         "null",        "dialect",
                                        "comment",   "skip-lines", "trim",           "map",         "encoding",
                                        "set",       "force-null", "force-not-null", "time-format", "ignore-columns"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (option_given(parser, names[i]))
            return true;
    return parser->options->header_given;
}

enum status options_finish_dialect(struct parser *parser)
{
    struct options *options = parser->options;

    if (option_given(parser, "header") && option_given(parser, "no-header"))
        return error_set(parser->error, STATUS_USAGE, "--header and --no-header contradict each other");
    options->header_given = option_given(parser, "header") || option_given(parser, "no-header");
    options->delimiter_given = option_given(parser, "delimiter");
    options->quote_given = option_given(parser, "quote");
    options->escape_given = option_given(parser, "escape");
    options->null_given = option_given(parser, "null");
    options->dialect_given = csv_given(parser);
    if (!options->escape_given)
        options->escape = options->quote;
    return dialect_check(options, parser->error);
}

/* Powers of two up to --jobs, or to the processors of this machine, and that number itself. */
static void bench_jobs_default(const struct parser *parser)
{
    struct number_list *list = &parser->options->bench_jobs;
    long most = option_given(parser, "jobs") ? parser->options->jobs : sysconf(_SC_NPROCESSORS_ONLN);

    if (!option_given(parser, "jobs"))
        most = most < 2 ? 2 : most > JOBS_MAX ? JOBS_MAX : most;
    for (int jobs = 1; jobs < most; jobs *= 2)
        list->items[list->count++] = jobs;
    list->items[list->count++] = (int)most;
}

/* 1,2,4 */
static enum status bench_jobs_read(const char *text, struct number_list *list, struct error *error)
{
    const char *at = text;
    int before = 0;

    do {
        char *end;
        long jobs = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : 0;

        if (jobs <= before || jobs > JOBS_MAX || (*end != ',' && *end != '\0') || list->count == NUMBER_LIST_MAX)
            return error_set(error, STATUS_USAGE,
                             "--bench-jobs takes at most %d numbers from 1 to %d, ascending, such as 1,2,4, not \"%s\"",
                             NUMBER_LIST_MAX, JOBS_MAX, text);
        list->items[list->count++] = before = (int)jobs;
        at = *end == ',' ? end + 1 : NULL;
    } while (at != NULL);
    return STATUS_OK;
}

enum status options_finish_bench(struct parser *parser)
{
    const char *text = parser->options->bench_jobs_text;

    if (parser->options->command != COMMAND_BENCH)
        return STATUS_OK;
    if (text != NULL && option_given(parser, "jobs"))
        return error_set(parser->error, STATUS_USAGE,
                         "--jobs is the highest number of writers that bench tries, --bench-jobs lists all: give one");
    if (text != NULL)
        return bench_jobs_read(text, &parser->options->bench_jobs, parser->error);
    bench_jobs_default(parser);
    return STATUS_OK;
}
