/*
 * --dialect sniff: what the heads of the inputs say is told, and is true of all inputs. The first one decides; the last
 * and some between are looked at as well, since files that people have gathered may differ.
 */
#include <stdio.h>
#include <string.h>

#include "engine/cli/job.h"
#include "engine/log.h"

/* Looked at of many. */
#define INPUTS_MAX 5

/* What a look has found takes the place of what was not given. */
static void complete_options(struct job *job, const struct sniff_given *given)
{
    const struct sniff *sniff = &job->sniff;

    job->completed = *job->options;
    job->completed.delimiter = sniff->dialect.delimiter;
    job->completed.quote = sniff->dialect.quote;
    job->completed.escape = sniff->dialect.escape;
    job->completed.null_text = sniff->dialect.null_text;
    job->completed.header = sniff->dialect.header;
    if (!given->encoding)
        job->completed.encoding = sniff->encoding;
    if (!given->time_format)
        job->completed.time_format = sniff->time_format;
    job->options = &job->completed;
}

static bool same_text(const char *one, const char *other)
{
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

/* Whether there is a dialect in which both can be read. */
static bool agree(const struct sniff *one, const struct sniff *other)
{
    const struct sniff_seen *seen = &one->seen, *also = &other->seen;

    if (one->dialect.header != other->dialect.header)
        return false;
    if (seen->delimiter && also->delimiter && one->dialect.delimiter != other->dialect.delimiter)
        return false;
    if (seen->quote && also->quote && one->dialect.quote != other->dialect.quote)
        return false;
    if (seen->null_text && also->null_text && strcmp(one->dialect.null_text, other->dialect.null_text) != 0)
        return false;
    if ((seen->null_text && also->empty) || (seen->empty && also->null_text))
        return false;
    return !seen->times || !also->times || same_text(one->time_format, other->time_format);
}

static void add_found(struct sniff *all, const char *what, const char *value, const char *name)
{
    size_t used = strlen(all->found);

    snprintf(all->found + used, sizeof all->found - used, "%s%s %s in %.200s", used > 0 ? ", " : "", what, value, name);
}

/* What the inputs before had no trace of. */
static void take_over(struct sniff *all, const struct sniff *other, const char *name)
{
    char byte[2] = {other->dialect.quote, '\0'};

    if (!all->seen.quote && other->seen.quote && all->dialect.quote != other->dialect.quote) {
        all->dialect.quote = other->dialect.quote;
        all->dialect.escape = other->dialect.escape;
        add_found(all, "but quote", byte, name);
    }
    if (!all->seen.null_text && other->seen.null_text) {
        all->dialect.null_text = other->dialect.null_text;
        add_found(all, "NULL is", other->dialect.null_text, name);
    }
    if (!all->seen.times && other->seen.times && other->time_format != NULL) {
        all->time_format = other->time_format;
        add_found(all, "times", other->time_format, name);
    }
    if (all->encoding == NULL && other->encoding != NULL) {
        all->encoding = other->encoding;
        add_found(all, "encoding", other->encoding, name);
    }
    all->seen.quote = all->seen.quote || other->seen.quote;
    all->seen.null_text = all->seen.null_text || other->seen.null_text;
    all->seen.empty = all->seen.empty || other->seen.empty;
    all->seen.times = all->seen.times || other->seen.times;
}

/* With the name of the input before it. */
static enum status look(const struct stream_source *source, const struct sniff_given *given, struct sniff *sniff,
                        struct error *error)
{
    enum status status = sniff_look(source->head, source->head_size, source->head_last, given, sniff, error);

    if (status != STATUS_OK && error->input[0] == '\0')
        snprintf(error->input, sizeof error->input, "%s", source->name);
    return status;
}

/*
 * Looks at another input by itself. What cannot be told from it alone, as from a header without rows, is taken to be as
 * in the first, and must be possible then.
 */
static enum status look_at_other(struct job *job, struct stream_source *source, const struct sniff_given *given,
                                 struct error *error)
{
    const struct sniff_given all = {true, true, true, true, true, given->encoding, true};
    struct sniff other = {.dialect = job_dialect(job->options)};
    struct error alone;
    enum status status = stream_peek(source, SNIFF_SIZE, error);

    if (status != STATUS_OK || source->head_size == 0)
        return status;
    error_reset(&alone);
    status = look(source, given, &other, &alone);
    if (status == STATUS_OK && !agree(&job->sniff, &other))
        return error_set(error, STATUS_USAGE,
                         "--dialect sniff: the inputs differ, and have one dialect in a job:\n%s: %s\n%s: %s\nSay what "
                         "is true of all of them, or load them in jobs of their own",
                         job->set.sources[0].name, job->sniff.found, source->name, other.found);
    if (status == STATUS_USAGE) {
        other.dialect = job->sniff.dialect;
        status = look(source, &all, &other, error);
        other.seen = (struct sniff_seen){0};
    } else if (status != STATUS_OK) {
        *error = alone;
    }
    if (status == STATUS_OK)
        take_over(&job->sniff, &other, source->name);
    return status;
}

/* Standard input is waited for only where nothing else is to be looked at. */
static enum status look_at_others(struct job *job, const struct sniff_given *given, struct error *error)
{
    size_t count = job->input_count < INPUTS_MAX ? job->input_count : INPUTS_MAX;
    enum status status = STATUS_OK;

    for (size_t i = 1; i < count && status == STATUS_OK; i++) {
        struct stream_source *source = &job->set.sources[i * (job->input_count - 1) / (count - 1)];

        if (strcmp(source->path, "-") != 0)
            status = look_at_other(job, source, given, error);
    }
    return status;
}

enum status job_sniff(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    struct stream_source *source = &job->set.sources[0];
    struct sniff_given given = {
        .delimiter = options->delimiter_given,
        .quote = options->quote_given,
        .escape = options->escape_given,
        .header = options->header_given,
        .null_text = options->null_given,
        .encoding = options->encoding != NULL,
        .time_format = options->time_format != NULL,
    };
    enum status status;

    if (job_command_given(options))
        return error_set(error, STATUS_USAGE, "--dialect sniff looks at files and standard input, not at commands");
    status = stream_peek(source, SNIFF_SIZE, error);
    job->sniff.dialect = job_dialect(options);
    if (status == STATUS_OK)
        status = look(source, &given, &job->sniff, error);
    if (status == STATUS_OK)
        status = look_at_others(job, &given, error);
    if (status != STATUS_OK)
        return status;
    complete_options(job, &given);
    for (size_t i = 0; i < job->input_count; i++)
        job->set.sources[i].dialect = job_dialect(job->options);
    log_line(LOG_NOTICE, "%s: %s", source->name,
             job->sniff.found[0] != '\0' ? job->sniff.found : "nothing left to find");
    if (job->sniff.unsure[0] != '\0')
        log_line(LOG_WARNING, "%s: %s", source->name, job->sniff.unsure);
    return STATUS_OK;
}
