/* The program: parses the command line, does the command, reports the error, exits with its status. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "engine/log.h"
#include "engine/pg/pg.h"

/*
 * --source and --target may hold passwords, and a command line is there for all to see: their texts are copied, then
 * overwritten where the kernel shows them.
 */
static void hide_text(int argc, char **argv, const char **kept)
{
    const char *text = *kept;

    if (text == NULL)
        return;
    *kept = strdup(text);
    if (*kept == NULL)
        abort();
    for (int i = 1; i < argc; i++)
        if (text >= argv[i] && text <= argv[i] + strlen(argv[i]))
            pg_scrub_argument(argv[i] + (text - argv[i]));
}

static void hide_secrets(int argc, char **argv, struct options *options)
{
    hide_text(argc, argv, &options->target);
    for (int i = 0; i < options->sources.count; i++)
        hide_text(argc, argv, &options->sources.items[i]);
    options->source = options->sources.items[0];
}

static enum status run_command(const struct options *options, struct error *error)
{
    switch (options->command) {
    case COMMAND_PLAN: return command_plan(options, error);
    case COMMAND_RUN: return command_run(options, error);
    case COMMAND_STATUS: return command_status(options, error);
    case COMMAND_CLEAN: return command_clean(options, error);
    case COMMAND_REPLAY: return command_replay(options, error);
    case COMMAND_BENCH: return command_bench(options, error);
    case COMMAND_SCHEMA: return command_schema(options, error);
    case COMMAND_COMPLETION_POINT: return command_completion_point(options, error);
    case COMMAND_POLICIES: return command_policies(options, error);
    case COMMAND_VERIFY: return command_verify(options, error);
    case COMMAND_REFRESH: return command_refresh(options, error);
    case COMMAND_MIGRATE: return command_migrate(options, error);
    case COMMAND_VERSION: printf("hyperfill %s\n", HYPERFILL_VERSION); return STATUS_OK;
    case COMMAND_NONE:
    case COMMAND_HELP: break;
    }
    options_help(options->help_about);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct options options;
    struct error error;
    enum status status;
    bool hidden = false;

    /* A reader of our output that went away, and a server that did, are seen as errors of write. */
    signal(SIGPIPE, SIG_IGN);
    /* So is a limit on the size of files (ulimit -f). */
    signal(SIGXFSZ, SIG_IGN);
    /* Threads that each keep an arena of their own would hold memory that --memory does not know. */
    mallopt(M_ARENA_MAX, 2);
    error_reset(&error);
    status = options_parse(argc, argv, &options, &error);
    if (status == STATUS_OK) {
        hide_secrets(argc, argv, &options);
        hidden = true;
        if (options.verbose)
            log_level_set(LOG_DEBUG);
        status = run_command(&options, &error);
    }
    if (status != STATUS_OK)
        log_error(&error);
    if (hidden) {
        free((char *)options.target);
        for (int i = 0; i < options.sources.count; i++)
            free((char *)options.sources.items[i]);
    }
    return (int)status;
}
