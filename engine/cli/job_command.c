/*
 * `exec:COMMAND` as the source. Without {from} and {until} the command is a stream, and what is said of standard input
 * holds for its output. With them it is asked for each range.
 *
 * The text of a command may hold a password: nothing but its program's name is ever shown or kept, and a hash of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/cli/job.h"
#include "engine/log.h"
#include "engine/retry.h"

static const char prefix[] = "exec:";

/* More runs than these are no backfill, but a mistake in --from or --range-interval. */
#define RANGES_MAX 4000000
/* Ranges that are asked for a header, if the first ones have no rows and the command prints none without. */
#define RANGES_LEARNT 16

bool job_command_is(const char *source)
{
    return strncmp(source, prefix, strlen(prefix)) == 0;
}

bool job_command_given(const struct options *options)
{
    return job_command_is(options->source);
}

/* A pipe of the shell outside of quotes, whose first parts may fail unseen. */
static bool has_pipe(const char *text)
{
    char quote = 0;

    if (strstr(text, "pipefail") != NULL)
        return false;
    for (; *text != '\0'; text++) {
        if (*text == '\\' && quote != '\'' && text[1] != '\0')
            text++;
        else if (quote != 0 ? *text == quote : *text == '\'' || *text == '"')
            quote = quote != 0 ? 0 : *text;
        else if (quote == 0 && *text == '|' && text[1] == '|')
            text++;
        else if (quote == 0 && *text == '|')
            return true;
    }
    return false;
}

static enum status open_stream(struct job *job, struct error *error)
{
    enum status status = command_output_start(&job->command.output, job->command.text, &job->set.sources[0], error);

    if (status == STATUS_OK)
        status = stream_open(&job->set.sources[0], error);
    /* A command that fails at once would most likely do so for as long as it is tried again. */
    if (status == STATUS_TRANSIENT)
        status = error->status = STATUS_SERVER;
    return status;
}

static enum status open_ranges(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    struct job_command *command = &job->command;
    enum status status = template_parse(command->text, &command->template, error);

    if (status != STATUS_OK)
        return status;
    if (options->from == NULL || options->until == NULL)
        return error_set(error, STATUS_USAGE,
                         "--source is a command that is run for each range: it needs --from and --until, since a "
                         "command cannot be asked how far its rows reach");
    if (options->comment != '\0' || options->skip_lines > 0)
        return error_set(error, STATUS_USAGE,
                         "--comment and --skip-lines are for files and streams: let the command that is run for each "
                         "range leave such lines out itself");
    if ((!command->template.from || !command->template.until) && options->range_interval == NULL)
        return error_set(error, STATUS_USAGE,
                         "--source has only one of {from} and {until}, so the command itself must know how long a "
                         "range is: say the same length with --range-interval");
    command_source_init(&command->ranges, &command->template, &job->set.sources[0]);
    return STATUS_OK;
}

enum status job_command_open(struct job *job, struct error *error)
{
    struct job_command *command = &job->command;

    command->text = job->options->source + strlen(prefix);
    process_name(command->text, command->name);
    job->set.sources[0].name = job->set.sources[0].path = command->name;
    if (command->text[strspn(command->text, " \t\n")] == '\0')
        return error_set(error, STATUS_USAGE, "--source exec: has no command: write exec:COMMAND");
    if (has_pipe(command->text))
        log_line(
            LOG_WARNING,
            "%s: the command has a pipe, of which /bin/sh tells only how the last part ended: the failure of another "
            "part goes unseen. Write exec:bash -o pipefail -c '…'",
            command->name);
    return job->kind == SOURCE_COMMAND ? open_ranges(job, error) : open_stream(job, error);
}

void job_command_close(struct job *job)
{
    struct job_command *command = &job->command;

    if (job->set.sources == NULL)
        return;
    if (command->output.process != NULL)
        command_output_end(&command->output, &job->set.sources[0]);
    command_source_reset(&command->ranges);
    template_reset(&command->template);
}

/* ---- Its ranges ---- */

enum status job_command_ranges(const struct job *job, struct task **tasks, size_t *count, struct error *error)
{
    struct range window = layout_window(job->layout);
    enum time_type type = job->table.time.type;
    enum status status = STATUS_OK;
    size_t room = 0;
    struct place place;

    *tasks = NULL;
    *count = 0;
    for (int64_t next = window.lo; status == STATUS_OK && next < window.hi; next = place.range.hi) {
        if (!layout_find(job->layout, next, &place))
            break;
        if (*count == RANGES_MAX)
            return error_set(
                error, STATUS_USAGE,
                "the command would be run for more than %d ranges: bring --from nearer, or choose a longer "
                "--range-interval",
                RANGES_MAX);
        if (*count == room) {
            struct task *more;

            room = room * 2 + 256;
            more = realloc(*tasks, room * sizeof *more);
            if (more == NULL)
                return error_set(error, STATUS_SYSTEM, "out of memory for %zu ranges", room);
            *tasks = more;
        }
        status = template_check_range(&job->command.template, type, place.range, error);
        (*tasks)[(*count)++] = (struct task){.place = place, .rows_estimate = -1, .bytes_estimate = -1};
    }
    return status;
}

/* ---- Its header ---- */

/* A run that fails is tried again, as one of a range is. */
static enum status learn_from(struct job *job, struct range range, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, job->options->retry_seconds * 1000, 1);
    while ((status = command_learn(&job->command.ranges, range, error)) == STATUS_TRANSIENT) {
        int64_t pause_ms = retry_next(&retry);

        if (retry.attempts >= COMMAND_ATTEMPTS || pause_ms < 0)
            return error->status = STATUS_SERVER;
        log_line(LOG_WARNING, "%s: trying again", error->text);
        error_reset(error);
        if (stop_wait(job->stop, pause_ms, STOP_DRAIN))
            return error_set(error, STATUS_STOPPED, "stopped while asking %s for its columns",
                             job->set.sources[0].name);
    }
    return status;
}

static bool is_learnt(const struct job *job)
{
    return !job->set.sources[0].dialect.header || job->options->columns != NULL || job->set.sources[0].header != NULL;
}

/* Asked for nothing first, which costs the source nothing; where that has no header, for ranges all over the window. */
static enum status learn(struct job *job, const struct task *tasks, size_t count, struct error *error)
{
    bool newest = job->options->order == ORDER_NEWEST;
    int64_t first = count > 0 && newest ? tasks[count - 1].place.range.lo : job->window.lo;
    size_t looks = count < RANGES_LEARNT ? count : RANGES_LEARNT;
    enum status status =
        template_check_range(&job->command.template, job->table.time.type, (struct range){first, first}, error);

    if (status == STATUS_OK)
        status = learn_from(job, (struct range){first, first}, error);
    for (size_t i = 0; status == STATUS_OK && !is_learnt(job) && i < looks; i++) {
        size_t at = looks > 1 ? i * (count - 1) / (looks - 1) : 0;

        status = learn_from(job, tasks[newest ? count - 1 - at : at].place.range, error);
    }
    return status;
}

enum status job_command_learn(struct job *job, struct error *error)
{
    struct job_command *command = &job->command;
    struct task *tasks = NULL;
    struct error unsaid; /* why not all ranges can be asked for */
    size_t count = 0;
    enum status status = template_check_type(&command->template, job->table.time.type, error);

    error_reset(&unsaid);
    job->set.sources[0].time.type = job->table.time.type;
    job->set.sources[0].time.precision = job->table.time.precision;
    if (status == STATUS_OK)
        status = job_layout(job, error);
    if (status != STATUS_OK)
        return status;
    /* A job that is resumed keeps the ranges of its first run, and those could be asked for: job_plan checks them. */
    if (job_command_ranges(job, &tasks, &count, &unsaid) != STATUS_OK)
        count = 0;
    status = learn(job, tasks, count, error);
    free(tasks);
    if (status != STATUS_OK || is_learnt(job))
        return status;
    if (unsaid.status != STATUS_OK) {
        *error = unsaid;
        return error->status;
    }
    return error_set(error, STATUS_USAGE,
                     "%s printed nothing for %zu ranges, not even a header, so its columns are not known: name them "
                     "with --columns, or choose --from and --until where it has rows",
                     job->set.sources[0].name, count < RANGES_LEARNT ? count : (size_t)RANGES_LEARNT);
}

/* ---- What it is known by ---- */

void job_command_key(const struct job *job, char *text, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits(job->command.text, strlen(job->command.text));

    snprintf(text, size, "%s %016llx%016llx", job->command.name, (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}
