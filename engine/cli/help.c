/* The help, printed from the table of options: 80 columns, for eyes at 3 a.m. */
#include "engine/cli/commands.h"

#include <stdio.h>
#include <string.h>

#define HELP_WIDTH 79
#define HELP_COLUMN 27 /* where the sentences begin */

static const char *const group_titles[GROUP_COUNT] = {
    [GROUP_JOB] = "The job",          [GROUP_METHOD] = "Around the backfill", [GROUP_REJECTS] = "Bad rows",
    [GROUP_RANGES] = "Ranges",        [GROUP_SPEED] = "Speed and limits",     [GROUP_CSV] = "CSV input",
    [GROUP_OUTPUT] = "Output, other",
};

/* Prints words from `column` on, and wraps them to HELP_COLUMN. */
static void words_print(const char *words, int column)
{
    while (*words != '\0') {
        int size = (int)strcspn(words, " ");

        if (column > HELP_COLUMN && column + 1 + size > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += printf(column > HELP_COLUMN ? " %.*s" : "%.*s", size, words);
        words += size;
        words += strspn(words, " ");
    }
    putchar('\n');
}

static void option_print(const struct option_entry *entry, enum command command)
{
    char sentence[512];
    const char *separator = entry->argument != NULL ? " " : "";
    const char *argument = entry->argument != NULL ? entry->argument : "";
    int column = printf("  --%s%s%s", entry->name, separator, argument);

    if ((entry->required & OPTION_COMMAND(command)) != 0)
        snprintf(sentence, sizeof sentence, "%s (required)", entry->help);
    else if (entry->default_text != NULL)
        snprintf(sentence, sizeof sentence, "%s (default: %s)", entry->help, entry->default_text);
    else
        snprintf(sentence, sizeof sentence, "%s", entry->help);
    if (column >= HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    printf("%*s", HELP_COLUMN - column, "");
    words_print(sentence, HELP_COLUMN);
}

static void group_print(enum option_group group, enum command command)
{
    bool titled = false;

    for (size_t index = 0; index < option_count; index++) {
        const struct option_entry *entry = &option_table[index];

        if (entry->group != group || (entry->commands & OPTION_COMMAND(command)) == 0)
            continue;
        if (!titled)
            printf("\n%s\n", group_titles[group]);
        titled = true;
        option_print(entry, command);
    }
}

void options_help(enum command about)
{
    if (about < COMMAND_PLAN || about > COMMAND_LAST) {
        fputs(help_overview, stdout);
        return;
    }
    fputs(help_pages[about].text, stdout);
    for (int group = 0; group < GROUP_COUNT; group++)
        group_print((enum option_group)group, about);
    printf("\nExamples\n%s", help_pages[about].examples);
}
