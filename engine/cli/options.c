/* The command line, word by word, as the table of options has it. */
#include "engine/cli/options.h"

#include <string.h>
#include <unistd.h>

#include "engine/cli/options_private.h"

#define MEBIBYTE (INT64_C(1) << 20)

/* clang-format off */
const char *const command_names[] = {
    [COMMAND_NONE] = "", [COMMAND_PLAN] = "plan", [COMMAND_RUN] = "run", [COMMAND_STATUS] = "status",
    [COMMAND_CLEAN] = "clean", [COMMAND_REPLAY] = "replay", [COMMAND_BENCH] = "bench", [COMMAND_SCHEMA] = "schema",
    [COMMAND_COMPLETION_POINT] = "completion-point", [COMMAND_POLICIES] = "policies", [COMMAND_VERIFY] = "verify",
    [COMMAND_REFRESH] = "refresh", [COMMAND_MIGRATE] = "migrate", [COMMAND_HELP] = "help",
    [COMMAND_VERSION] = "version",
};
/* clang-format on */

/* Words that may stand after a command. */
static const struct {
    const char *words[4];
    bool required;
} command_actions[COMMAND_VERSION + 1] = {
    [COMMAND_POLICIES] = {{"pause", "restore", "show"}, .required = true},
    [COMMAND_MIGRATE] = {{"status"}, .required = false},
};

const size_t command_count = sizeof command_names / sizeof command_names[0];

const char *command_name(enum command command)
{
    return command_names[command];
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace) that turn one name into the other; names that are too long are far away. */
static size_t name_distance(const char *a, size_t a_size, const char *b)
{
    size_t row[DISTANCE_NAME_MAX + 1];
    size_t b_size = strlen(b);

    if (a_size > DISTANCE_NAME_MAX || b_size > DISTANCE_NAME_MAX)
        return SIZE_MAX;
    for (size_t column = 0; column <= b_size; column++)
        row[column] = column;
    for (size_t line = 1; line <= a_size; line++) {
        size_t diagonal = row[0];

        row[0] = line;
        for (size_t column = 1; column <= b_size; column++) {
            size_t replaced = diagonal + (a[line - 1] != b[column - 1]);

            diagonal = row[column];
            row[column] = min_size(replaced, min_size(row[column], row[column - 1]) + 1);
        }
    }
    return row[b_size];
}

/* Keeps the nearer of two candidates. Near enough is a third of the letters, but two in a short name too. */
void nearest_keep(const char *name, size_t size, const char *candidate, const char **nearest, size_t *distance)
{
    size_t limit = size / 3 > 2 ? size / 3 : 2;
    size_t edits = name_distance(name, size, candidate);

    if (edits <= limit && edits < strlen(candidate) && edits < *distance) {
        *nearest = candidate;
        *distance = edits;
    }
}

/* What makes a command only look, or do a part, must not reach a step that is then taken as done. */
static bool does_less(const struct option_entry *entry)
{
    return strcmp(entry->name, "dry-run") == 0 || strcmp(entry->name, "json") == 0 ||
           strcmp(entry->name, "sequences") == 0;
}

bool option_allowed(const struct option_entry *entry, enum command command)
{
    if ((entry->commands & OPTION_COMMAND(command)) != 0)
        return true;
    return command == COMMAND_MIGRATE && (entry->commands & MIGRATE_STEPS) != 0 && !does_less(entry);
}

const char *option_nearest(const char *name, size_t size, enum command command)
{
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;

    for (size_t index = 0; index < option_count; index++)
        if (command == COMMAND_NONE || option_allowed(&option_table[index], command))
            nearest_keep(name, size, option_table[index].name, &nearest, &distance);
    return nearest;
}

/* Finds the value of an option: behind the equals sign, or the next argument. */
static enum status value_take(struct parser *parser, const struct option_entry *entry, const char *equals,
                              const char **value)
{
    *value = equals != NULL ? equals + 1 : NULL;
    if (entry->argument == NULL) {
        if (equals != NULL)
            return error_set(parser->error, STATUS_USAGE, "--%s takes no value", entry->name);
        return STATUS_OK;
    }
    if (equals == NULL && parser->index < parser->argc && strncmp(parser->argv[parser->index], "--", 2) != 0)
        *value = parser->argv[parser->index++];
    if (*value == NULL || (**value == '\0' && entry->kind != OPTION_NULL))
        return error_set(parser->error, STATUS_USAGE, "--%s needs a value: --%s %s", entry->name, entry->name,
                         entry->argument);
    return STATUS_OK;
}

const struct option_entry *option_find(const char *name, size_t size)
{
    for (size_t index = 0; index < option_count; index++)
        if (strlen(option_table[index].name) == size && memcmp(option_table[index].name, name, size) == 0)
            return &option_table[index];
    return NULL;
}

bool option_given(const struct parser *parser, const char *name)
{
    return parser->given[option_find(name, strlen(name)) - option_table];
}

static enum status given_keep(struct parser *parser, const struct option_entry *entry, const char *value)
{
    struct options *options = parser->options;

    if (options->command != COMMAND_MIGRATE)
        return STATUS_OK;
    if (options->given_count == OPTIONS_GIVEN_MAX)
        return error_set(parser->error, STATUS_USAGE, "more than %d options: use a file, --file", OPTIONS_GIVEN_MAX);
    options->given[options->given_count++] = (struct option_given){(int)(entry - option_table), value};
    return STATUS_OK;
}

static enum status option_parse(struct parser *parser, const char *argument)
{
    const char *equals = strchr(argument, '=');
    size_t size = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    const struct option_entry *entry = option_find(argument + 2, size - 2);
    const char *value;
    bool *given;

    if (entry == NULL)
        return parser_unknown_option(parser, argument, size);
    if (!option_allowed(entry, parser->options->command))
        return parser_misplaced_option(parser, entry);
    given = &parser->given[entry - option_table];
    if (*given && entry->kind != OPTION_LIST)
        return error_set(parser->error, STATUS_USAGE, "--%s is given twice", entry->name);
    *given = true;
    if (value_take(parser, entry, equals, &value) != STATUS_OK || given_keep(parser, entry, value) != STATUS_OK)
        return parser->error->status;
    return option_value_set(entry, value, parser->options, parser->error);
}

static bool command_find(const char *name, enum command *command)
{
    for (size_t index = COMMAND_PLAN; index < command_count; index++)
        if (strcmp(name, command_names[index]) == 0) {
            *command = (enum command)index;
            return true;
        }
    return false;
}

/* Takes the word if the command knows it. */
static bool action_find(struct options *options, const char *word)
{
    const char *const *words = command_actions[options->command].words;

    for (; *words != NULL && options->action == NULL; words++)
        if (strcmp(*words, word) == 0)
            options->action = *words;
    return options->action != NULL && strcmp(options->action, word) == 0;
}

/* A word is the command, and after `help` the command that is asked about; some take another. */
static enum status word_parse(struct parser *parser, const char *word)
{
    struct options *options = parser->options;

    if (word[0] == '-')
        return parser_stray_argument(parser, word);
    if (options->command == COMMAND_NONE)
        return command_find(word, &options->command) ? STATUS_OK : parser_unknown_command(parser, word);
    if (options->command == COMMAND_HELP && options->help_about == COMMAND_NONE)
        return command_find(word, &options->help_about) ? STATUS_OK : parser_unknown_command(parser, word);
    if (options->action == NULL && action_find(options, word))
        return STATUS_OK;
    return parser_stray_argument(parser, word);
}

/* --help and --version win over whatever else is there or missing. */
static void command_override(struct parser *parser)
{
    struct options *options = parser->options;

    if (option_given(parser, "help") || options->command == COMMAND_NONE) {
        options->help_about = options->command == COMMAND_HELP ? options->help_about : options->command;
        options->command = COMMAND_HELP;
    }
    if (option_given(parser, "version"))
        options->command = COMMAND_VERSION;
    if (options->help_about == COMMAND_HELP || options->help_about == COMMAND_VERSION)
        options->help_about = COMMAND_NONE;
}

static enum status required_check(const struct parser *parser)
{
    enum command command = parser->options->command;
    size_t missing = 0;

    if (command_actions[command].required && parser->options->action == NULL) {
        error_set(parser->error, STATUS_USAGE, "%s needs one of the words", command_name(command));
        for (const char *const *word = command_actions[command].words; *word != NULL; word++)
            error_hint(parser->error, " %s", *word);
        error_hint(parser->error, " after it; see hyperfill help %s", command_name(command));
        return STATUS_USAGE;
    }
    for (size_t index = 0; index < option_count; index++) {
        if (option_table[index].offset == offsetof(struct options, tables) && parser->options->filter != NULL)
            continue;
        if ((option_table[index].required & OPTION_COMMAND(command)) == 0 || parser->given[index])
            continue;
        if (missing++ == 0)
            error_set(parser->error, STATUS_USAGE, "%s needs ", command_name(command));
        error_hint(parser->error, "%s--%s", missing > 1 ? " and " : "", option_table[index].name);
    }
    if (missing > 0) {
        error_hint(parser->error, "; see hyperfill help %s", command_name(command));
        return STATUS_USAGE;
    }
    if (command == COMMAND_STATUS && parser->options->checkpoint == NULL && parser->options->tables.count == 0)
        return error_set(parser->error, STATUS_USAGE,
                         "status needs --checkpoint FILE, or --table NAME for a file of the default name");
    return STATUS_OK;
}

/* Rows of others in the range are what skip is for. */
static void conflict_finish(struct parser *parser)
{
    if (parser->options->on_conflict == ON_CONFLICT_SKIP && !option_given(parser, "overlap"))
        parser->options->overlap = OVERLAP_KEEP;
}

const char *options_table_sign(const char *table)
{
    bool quoted = false;

    for (; *table != '\0'; table++) {
        if (*table == '"')
            quoted = !quoted;
        if (*table == '=' && !quoted)
            return table;
    }
    return NULL;
}

bool options_several(const struct options *options)
{
    return options->cascade || options_name_several(options);
}

bool options_name_several(const struct options *options)
{
    return options->tables.count > 1 || options->filter != NULL ||
           (options->tables.count == 1 && options_table_sign(options->tables.items[0]) != NULL);
}

/* What does not go with several tables, and with one. */
static enum status tables_finish(struct parser *parser)
{
    static const char *const alone[] = {"source-table", "columns", "reject-file", "spill-dir"};
    struct options *options = parser->options;
    const struct text_list *tables = &options->tables;
    bool one = options->command != COMMAND_PLAN && options->command != COMMAND_RUN;

    for (int i = 0; i < tables->count; i++)
        for (int j = 0; j < i; j++)
            if (one || strcmp(tables->items[i], tables->items[j]) == 0)
                return error_set(parser->error, STATUS_USAGE, "--table is given twice");
    if (one && (options->untils.count > 1 || options->froms.count > 1))
        return error_set(parser->error, STATUS_USAGE, "--%s is given twice",
                         options->untils.count > 1 ? "until" : "from");
    options->table = tables->items[0];
    options->from = options->froms.items[0];
    options->until = options->untils.items[0];
    for (size_t i = 0; options_name_several(options) && !one && i < sizeof alone / sizeof *alone; i++)
        if (option_given(parser, alone[i]))
            return error_set(parser->error, STATUS_USAGE, "--%s is for a job of one table%s", alone[i],
                             i == 0 ? "; of several, write --table SOURCE=TARGET" : "");
    return STATUS_OK;
}

static int jobs_default(void)
{
    long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;

    return half < 2 ? 2 : half > JOBS_MAX ? JOBS_MAX : (int)half;
}

enum status options_parse(int argc, char **argv, struct options *options, struct error *error)
{
    struct parser parser = {.argc = argc, .argv = argv, .index = 1, .options = options, .error = error};

    *options = (struct options){
        .ledger_schema = "hyperfill",
        .jobs = jobs_default(),
        .memory_bytes = 256 * MEBIBYTE,
        .retry_seconds = 300,
        .examples = 10,
        .max_rejects = 1000,
        .limit_rows = 10000000,
        .watch_seconds = 5,
        .header = true,
        .delimiter = ',',
        .quote = '"',
        .null_text = "",
    };
    while (parser.index < argc) {
        const char *argument = argv[parser.index++];
        bool is_option = strncmp(argument, "--", 2) == 0;
        enum status status = is_option ? option_parse(&parser, argument) : word_parse(&parser, argument);

        if (status != STATUS_OK)
            return status;
    }
    command_override(&parser);
    if (required_check(&parser) != STATUS_OK)
        return error->status;
    if (tables_finish(&parser) != STATUS_OK)
        return error->status;
    options->source = options->sources.items[0];
    conflict_finish(&parser);
    if (options->spill_max > 0 && options->spill_dir == NULL)
        return error_set(error, STATUS_USAGE, "--spill-max needs --spill-dir");
    if (options->compress_after && options->strategy == STRATEGY_APPEND)
        return error_set(error, STATUS_USAGE, "--compress-after does not go with --strategy append");
    if (options_finish_limits(options, error) != STATUS_OK || options_finish_bench(&parser) != STATUS_OK)
        return error->status;
    return options_finish_dialect(&parser);
}
