/* The table of options, and the parser that it drives. What single values and their combinations may be is at the end.
 */
#include "engine/cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/commands.h"
#include "engine/cli/text.h"
#include "engine/timevalue.h"

#define MEBIBYTE (INT64_C(1) << 20)
#define DISTANCE_NAME_MAX 32

/* clang-format off */
static const char *const command_names[] = {
    [COMMAND_NONE] = "", [COMMAND_PLAN] = "plan", [COMMAND_RUN] = "run", [COMMAND_STATUS] = "status",
    [COMMAND_CLEAN] = "clean", [COMMAND_REPLAY] = "replay", [COMMAND_BENCH] = "bench", [COMMAND_SCHEMA] = "schema",
    [COMMAND_COMPLETION_POINT] = "completion-point", [COMMAND_POLICIES] = "policies", [COMMAND_VERIFY] = "verify",
    [COMMAND_REFRESH] = "refresh", [COMMAND_MIGRATE] = "migrate", [COMMAND_HELP] = "help",
    [COMMAND_VERSION] = "version",
};
/* clang-format on */

#define COMMANDS_TEXT                                                                                                  \
    "commands are plan, run, status, clean, replay, bench, schema, completion-point, policies, verify, refresh, "      \
    "migrate, help"

/* Words that may stand after a command. */
static const struct {
    const char *words[4];
    bool required;
} command_actions[COMMAND_VERSION + 1] = {
    [COMMAND_POLICIES] = {{"pause", "restore", "show"}, .required = true},
    [COMMAND_MIGRATE] = {{"status"}, .required = false},
};

static const size_t command_count = sizeof command_names / sizeof command_names[0];

struct parser {
    int argc;
    char **argv;
    int index;               /* of the next argument */
    bool given[OPTIONS_MAX]; /* by index into option_table */
    struct options *options;
    struct error *error;
};

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

static enum status unknown_option(const struct parser *parser, const char *argument, size_t size)
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

/* An option that exists, but for other commands, or that came before its command. */
static enum status misplaced_option(const struct parser *parser, const struct option_entry *entry)
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

/* A short option, a lone dash or a word where an option should be. */
static enum status stray_argument(const struct parser *parser, const char *argument)
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

static enum status list_add(const struct option_entry *entry, const char *value, char *field, struct error *error)
{
    struct text_list *list = (struct text_list *)(void *)field;

    if (list->count == TEXT_LIST_MAX)
        return error_set(error, STATUS_USAGE, "--%s is given more than %d times", entry->name, TEXT_LIST_MAX);
    list->items[list->count++] = value;
    return STATUS_OK;
}

static enum status number_set(const struct option_entry *entry, const char *value, int64_t *number, struct error *error)
{
    char *end;

    errno = 0;
    *number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || *number < entry->min || *number > entry->max)
        return error_set(error, STATUS_USAGE, "--%s takes a number from %" PRId64 " to %" PRId64 ", not \"%s\"",
                         entry->name, entry->min, entry->max, value);
    return STATUS_OK;
}

static enum status size_set(const struct option_entry *entry, const char *value, int64_t *bytes, struct error *error)
{
    char min[NUMBER_TEXT_MAX], max[NUMBER_TEXT_MAX];

    if (!size_parse(value, bytes))
        return error_set(error, STATUS_USAGE, "--%s takes a size such as 256MB or 1GB, not \"%s\"", entry->name, value);
    if (*bytes < entry->min || *bytes > entry->max)
        return error_set(error, STATUS_USAGE, "--%s takes a size from %s to %s, not \"%s\"", entry->name,
                         size_format(entry->min, min), size_format(entry->max, max), value);
    return STATUS_OK;
}

/* The value of \xHH; -1 if it is not written so. */
static int hex_byte(const char *value)
{
    char *end;
    long byte;

    if (strlen(value) != 4 || strncmp(value, "\\x", 2) != 0 || !isxdigit((unsigned char)value[2]))
        return -1;
    byte = strtol(value + 2, &end, 16);
    return *end == '\0' ? (int)byte : -1;
}

static enum status byte_set(const struct option_entry *entry, const char *value, char *byte, struct error *error)
{
    int hex = hex_byte(value);

    if (hex >= 0)
        *byte = (char)hex;
    else if (strcmp(value, "\\t") == 0)
        *byte = '\t';
    else if (value[0] != '\0' && value[1] == '\0' && isascii((unsigned char)value[0]))
        *byte = value[0];
    else
        return error_set(error, STATUS_USAGE,
                         "--%s takes one ASCII character, \\t for a tab, or any byte as \\x1f, not \"%s\"", entry->name,
                         value);
    if (*byte == '\n' || *byte == '\r')
        return error_set(error, STATUS_USAGE, "--%s cannot be a newline or a carriage return", entry->name);
    if (*byte == '\0')
        return error_set(error, STATUS_USAGE, "--%s cannot be a zero byte", entry->name);
    return STATUS_OK;
}

static enum status choice_set(const struct option_entry *entry, const char *value, unsigned *choice,
                              struct error *error)
{
    for (unsigned index = 0; entry->choices[index] != NULL; index++)
        if (strcmp(entry->choices[index], value) == 0) {
            *choice = index;
            return STATUS_OK;
        }
    error_set(error, STATUS_USAGE, "--%s is one of ", entry->name);
    for (unsigned index = 0; entry->choices[index] != NULL; index++)
        error_hint(error, "%s%s", index > 0 ? ", " : "", entry->choices[index]);
    error_hint(error, "; not \"%s\"", value);
    return STATUS_USAGE;
}

/* Puts a value where its entry says. The fields are of different types, hence the copies. */
static enum status value_set(const struct option_entry *entry, const char *value, struct options *options,
                             struct error *error)
{
    char *field = (char *)options + entry->offset;
    enum status status = STATUS_OK;
    int64_t number = 0;
    unsigned choice = 0;
    int small;
    bool on = entry->kind == OPTION_ON;

    switch (entry->kind) {
    case OPTION_TEXT:
    case OPTION_NULL: memcpy(field, &value, sizeof value); break;
    case OPTION_LIST: status = list_add(entry, value, field, error); break;
    case OPTION_NUMBER:
        status = number_set(entry, value, &number, error);
        small = (int)number;
        memcpy(field, &small, sizeof small);
        break;
    case OPTION_LONG:
        status = number_set(entry, value, &number, error);
        memcpy(field, &number, sizeof number);
        break;
    case OPTION_SIZE:
        status = size_set(entry, value, &number, error);
        memcpy(field, &number, sizeof number);
        break;
    case OPTION_BYTE: status = byte_set(entry, value, field, error); break;
    case OPTION_CHOICE:
        status = choice_set(entry, value, &choice, error);
        memcpy(field, &choice, sizeof choice);
        break;
    case OPTION_ON:
    case OPTION_OFF: memcpy(field, &on, sizeof on); break;
    case OPTION_HELP:
    case OPTION_VERSION: break;
    }
    return status;
}

enum status option_check(const struct option_entry *entry, const char *value, struct error *error)
{
    struct options *scratch = calloc(1, sizeof *scratch);
    enum status status;

    if (scratch == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = value_set(entry, value, scratch, error);
    free(scratch);
    return status;
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

static bool option_given(const struct parser *parser, const char *name)
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
        return unknown_option(parser, argument, size);
    if (!option_allowed(entry, parser->options->command))
        return misplaced_option(parser, entry);
    given = &parser->given[entry - option_table];
    if (*given && entry->kind != OPTION_LIST)
        return error_set(parser->error, STATUS_USAGE, "--%s is given twice", entry->name);
    *given = true;
    if (value_take(parser, entry, equals, &value) != STATUS_OK || given_keep(parser, entry, value) != STATUS_OK)
        return parser->error->status;
    return value_set(entry, value, parser->options, parser->error);
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

static enum status unknown_command(const struct parser *parser, const char *name)
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
        return stray_argument(parser, word);
    if (options->command == COMMAND_NONE)
        return command_find(word, &options->command) ? STATUS_OK : unknown_command(parser, word);
    if (options->command == COMMAND_HELP && options->help_about == COMMAND_NONE)
        return command_find(word, &options->help_about) ? STATUS_OK : unknown_command(parser, word);
    if (options->action == NULL && action_find(options, word))
        return STATUS_OK;
    return stray_argument(parser, word);
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

static enum status dialect_finish(struct parser *parser)
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

/* A count, or a share of the rows with a percent sign. */
static enum status rejects_finish(struct options *options, struct error *error)
{
    const char *text = options->max_rejects_text;
    char *end;

    if (text == NULL)
        return STATUS_OK;
    errno = 0;
    if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789")] == '\0') {
        options->max_rejects = strtoll(text, &end, 10);
        if (errno == 0)
            return STATUS_OK;
    } else if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789.")] == '%') {
        options->max_rejects = -1;
        options->max_rejects_percent = strtod(text, &end);
        if (strcmp(end, "%") == 0 && options->max_rejects_percent <= 100)
            return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE,
                     "--max-rejects takes a number of rows, or a share of them such as 0.5%%, not"
                     " \"%s\"",
                     text);
}

/* Bytes or rows a second. */
static enum status rate_finish(struct options *options, struct error *error)
{
    static const char *const endings[] = {"/s", " rows", "rows", NULL};
    const char *text = options->max_rate_text;
    char number[NUMBER_TEXT_MAX];
    size_t size = text != NULL ? strlen(text) : 0;

    if (text == NULL)
        return STATUS_OK;
    if (size < sizeof number) {
        memcpy(number, text, size + 1);
        for (int i = 0; endings[i] != NULL; i++) {
            size_t ending = strlen(endings[i]);

            if (size <= ending || strcmp(number + size - ending, endings[i]) != 0)
                continue;
            options->max_rate_rows = options->max_rate_rows || i > 0;
            number[size -= ending] = '\0';
        }
        if ((!options->max_rate_rows || number[strspn(number, "0123456789")] == '\0') &&
            size_parse(number, &options->max_rate) && options->max_rate > 0 && options->max_rate < INT64_C(1) << 50)
            return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE, "--max-rate takes a size such as 20MB, or rows such as 50000rows, not \"%s\"",
                     text);
}

/* What ends in a b, as MB does, is a size; 5m are minutes, and 5M is a size, too. */
static enum status lag_finish(struct options *options, struct error *error)
{
    const char *text = options->source_lag_text;
    size_t size = text != NULL ? strlen(text) : 0;
    int64_t us;

    if (text == NULL)
        return STATUS_OK;
    if (!isupper((unsigned char)text[size - 1]) && time_interval_parse(TIME_TIMESTAMPTZ, text, &us) && us >= 1000)
        options->source_lag_ms = us / 1000;
    else if (!size_parse(text, &options->source_lag_bytes) || options->source_lag_bytes <= 0 ||
             text[strspn(text, "0123456789")] == '\0')
        return error_set(error, STATUS_USAGE,
                         "--max-source-lag takes a time such as 30s or a size such as 200MB, not \"%s\"", text);
    return STATUS_OK;
}

static enum status disk_finish(struct options *options, struct error *error)
{
    const char *text = options->disk_free_text;
    char *end = NULL;

    if (text == NULL)
        return STATUS_OK;
    if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789.")] == '%') {
        options->disk_free_percent = strtod(text, &end);
        if (strcmp(end, "%") == 0 && options->disk_free_percent > 0 && options->disk_free_percent <= 100)
            return STATUS_OK;
    } else if (size_parse(text, &options->disk_free_bytes) && options->disk_free_bytes > 0) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE,
                     "--min-disk-free takes a size such as 50GB or a share such as 10%%, not \"%s\"", text);
}

/* Rows of others in the range are what skip is for. */
static void conflict_finish(struct parser *parser)
{
    if (parser->options->on_conflict == ON_CONFLICT_SKIP && !option_given(parser, "overlap"))
        parser->options->overlap = OVERLAP_KEEP;
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

static enum status bench_finish(struct parser *parser)
{
    const char *text = parser->options->bench_jobs_text, *at = text;
    struct number_list *list = &parser->options->bench_jobs;
    int before = 0;

    if (parser->options->command != COMMAND_BENCH)
        return STATUS_OK;
    if (text != NULL && option_given(parser, "jobs"))
        return error_set(parser->error, STATUS_USAGE,
                         "--jobs is the highest number of writers that bench tries, --bench-jobs lists all: give one");
    if (text == NULL) {
        bench_jobs_default(parser);
        return STATUS_OK;
    }
    do {
        char *end;
        long jobs = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : 0;

        if (jobs <= before || jobs > JOBS_MAX || (*end != ',' && *end != '\0') || list->count == NUMBER_LIST_MAX)
            return error_set(parser->error, STATUS_USAGE,
                             "--bench-jobs takes at most %d numbers from 1 to %d, ascending, such as 1,2,4, not \"%s\"",
                             NUMBER_LIST_MAX, JOBS_MAX, text);
        list->items[list->count++] = before = (int)jobs;
        at = *end == ',' ? end + 1 : NULL;
    } while (at != NULL);
    return STATUS_OK;
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
    for (size_t i = 0; options_several(options) && !one && i < sizeof alone / sizeof *alone; i++)
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
    if (rate_finish(options, error) != STATUS_OK || lag_finish(options, error) != STATUS_OK ||
        disk_finish(options, error) != STATUS_OK)
        return error->status;
    if (rejects_finish(options, error) != STATUS_OK || bench_finish(&parser) != STATUS_OK)
        return error->status;
    return dialect_finish(&parser);
}
