/* What is said of a word that is no option and no command, or not here. */
#include <ctype.h>
#include <string.h>

#include "engine/cli/options_private.h"

#define COMMANDS_TEXT                                                                                                  \
    "commands are plan, run, status, clean, replay, bench, schema, completion-point, policies, verify, refresh, "      \
    "migrate, help"

/* Whether a word may be shown: a stray argument can be a connection string with a password in it. */
static bool word_is_plain(const char *word, size_t size)
{
    if (size > DISTANCE_NAME_MAX)
        return false;
    for (size_t index = 0; index < size; index++)
        if (!isalpha((unsigned char)word[index]) && word[index] != '-')
            return false;
    return true;
}

enum status parser_unknown_option(const struct parser *parser, const char *argument, size_t size)
{
    enum command command = parser->options->command;
    const char *nearest = option_nearest(argument + 2, size - 2, command);

    if (!word_is_plain(argument, size))
        return error_set(parser->error, STATUS_USAGE, "argument %d is no option; see hyperfill help",
                         parser->index - 1);
    if (nearest != NULL)
        return error_set(parser->error, STATUS_USAGE, "unknown option %.*s; did you mean --%s?", (int)size, argument,
                         nearest);
    return error_set(parser->error, STATUS_USAGE, "unknown option %.*s; see hyperfill help%s%s", (int)size, argument,
                     command != COMMAND_NONE ? " " : "", command_name(command));
}

enum status parser_unknown_command(const struct parser *parser, const char *name)
{
    const char *nearest = NULL;
    size_t distance = SIZE_MAX, size = strlen(name);

    if (!word_is_plain(name, size))
        return error_set(parser->error, STATUS_USAGE, "argument %d is no command; " COMMANDS_TEXT, parser->index - 1);
    for (size_t index = COMMAND_PLAN; index < command_count; index++)
        nearest_keep(name, size, command_names[index], &nearest, &distance);
    if (nearest != NULL)
        return error_set(parser->error, STATUS_USAGE, "unknown command %s; did you mean %s?", name, nearest);
    return error_set(parser->error, STATUS_USAGE, "unknown command %s; " COMMANDS_TEXT, name);
}

enum status parser_misplaced_option(const struct parser *parser, const struct option_entry *entry)
{
    enum command command = parser->options->command;
    const char *separator = "";

    if (command == COMMAND_NONE)
        return error_set(parser->error, STATUS_USAGE,
                         "--%s comes before the command; write hyperfill COMMAND --%s, such as hyperfill run",
                         entry->name, entry->name);
    error_set(parser->error, STATUS_USAGE, "--%s is no option of %s; it belongs to ", entry->name,
              command_name(command));
    for (size_t other = 0; other < command_count; other++) {
        if ((entry->commands & OPTION_COMMAND(other)) == 0)
            continue;
        error_hint(parser->error, "%s%s", separator, command_names[other]);
        separator = ", ";
    }
    return STATUS_USAGE;
}

enum status parser_stray_argument(const struct parser *parser, const char *argument)
{
    const char *hint = "values follow their option, as in --table NAME";

    if (strcmp(argument, "-h") == 0 || strcmp(argument, "-?") == 0)
        hint = "did you mean --help?";
    else if (strcmp(argument, "-v") == 0 || strcmp(argument, "-V") == 0)
        hint = "did you mean --verbose or --version?";
    else if (argument[0] == '-' && argument[1] != '\0')
        hint = "options are written out, as in --table NAME";
    if (parser->index > 2 && strncmp(parser->argv[parser->index - 2], "--", 2) == 0)
        return error_set(parser->error, STATUS_USAGE, "argument %d, after %.*s, is no option; %s", parser->index - 1,
                         (int)strcspn(parser->argv[parser->index - 2], "="), parser->argv[parser->index - 2], hint);
    return error_set(parser->error, STATUS_USAGE, "argument %d is no option; %s", parser->index - 1, hint);
}
