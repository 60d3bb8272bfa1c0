/* The job of a migration: put together from file and command line, and made into command lines of its steps. */
#include "engine/cli/migrate.h"

#include <stdlib.h>
#include <string.h>

void migrate_job_set(struct migrate_job *job, struct setting setting)
{
    struct setting *more = realloc(job->settings, (job->setting_count + 1) * sizeof *more);

    if (more == NULL)
        abort();
    job->settings = more;
    job->settings[job->setting_count++] = setting;
}

int migrate_job_add_table(struct migrate_job *job, const char *name, int line)
{
    struct migrate_table *more = realloc(job->tables, (job->table_count + 1) * sizeof *more);

    if (more == NULL)
        abort();
    job->tables = more;
    job->tables[job->table_count] = (struct migrate_table){.name = strdup(name), .line = line};
    if (job->tables[job->table_count].name == NULL)
        abort();
    return (int)job->table_count++;
}

static int rank(const struct setting *setting)
{
    return setting->line == 0 ? 2 : setting->table >= 0 ? 1 : 0;
}

/* The highest rank of what is said about the option; -1: nothing. */
static int rank_of(const struct migrate_job *job, const struct option_entry *entry, int table)
{
    int highest = -1;

    for (size_t i = 0; i < job->setting_count; i++) {
        const struct setting *setting = &job->settings[i];

        if (setting->entry == entry && (setting->table < 0 || setting->table == table) && rank(setting) > highest)
            highest = rank(setting);
    }
    return highest;
}

static const struct setting *find(const struct migrate_job *job, const char *option, int table)
{
    const struct option_entry *entry = option_find(option, strlen(option));
    int highest = entry != NULL ? rank_of(job, entry, table) : -1;

    for (size_t i = 0; highest >= 0 && i < job->setting_count; i++)
        if (job->settings[i].entry == entry && (job->settings[i].table < 0 || job->settings[i].table == table) &&
            rank(&job->settings[i]) == highest)
            return &job->settings[i];
    return NULL;
}

const char *migrate_job_value(const struct migrate_job *job, const char *option, int table)
{
    const struct setting *setting = find(job, option, table);

    return setting != NULL ? setting->value : NULL;
}

bool migrate_job_has(const struct migrate_job *job, const char *option, int table)
{
    const struct setting *setting = find(job, option, table);

    return setting != NULL && !setting->off;
}

/* Outside of quoted names; the text's end if it is not there. */
static size_t find_letter(const char *text, char letter)
{
    bool quoted = false;
    size_t i = 0;

    for (; text[i] != '\0' && (quoted || text[i] != letter); i++)
        quoted = quoted != (text[i] == '"');
    return i;
}

static const char *without_public(const char *name)
{
    return strncmp(name, "public.", 7) == 0 ? name + 7 : name;
}

static bool is_of_source(const struct migrate_job *job, int table, const char *said)
{
    const char *name = without_public(migrate_source_table(job, table)), *given = without_public(said);
    size_t size = find_letter(given, '=');

    return given[size] == '=' && strlen(name) == size && strncmp(name, given, size) == 0;
}

const char *migrate_job_hypertable(const struct migrate_job *job, int table, bool *own)
{
    const struct option_entry *entry = option_find("hypertable", strlen("hypertable"));
    const char *found = NULL;

    *own = false;
    for (size_t i = 0; i < job->setting_count; i++) {
        const struct setting *setting = &job->settings[i];

        if (setting->entry != entry ||
            (setting->table >= 0 ? setting->table != table : *own || !is_of_source(job, table, setting->value)))
            continue;
        *own = setting->table == table;
        found = setting->value;
    }
    return found;
}

/* The column's name in TABLE=COLUMN,INTERVAL or COLUMN,INTERVAL, as it is stored: a new string. */
static char *hypertable_column(const char *said)
{
    size_t equals = find_letter(said, '='), size;
    bool quoted;
    char *name, *end;

    said += said[equals] == '=' ? equals + 1 : 0;
    size = find_letter(said, ',');
    quoted = size >= 2 && said[0] == '"' && said[size - 1] == '"';
    name = end = strndup(said + quoted, size - 2 * quoted);
    if (name == NULL)
        abort();
    for (const char *at = name; quoted && *at != '\0'; at++) {
        *end++ = *at;
        at += at[0] == '"' && at[1] == '"';
    }
    if (quoted)
        *end = '\0';
    return name;
}

/* A table that becomes a hypertable has said what its time is. */
static void take_time_columns(struct migrate_job *job)
{
    const struct option_entry *entry = option_find("time-column", strlen("time-column"));
    bool own;

    for (int table = 0; table < (int)job->table_count; table++) {
        const char *said = migrate_job_hypertable(job, table, &own);

        if (said != NULL && migrate_job_value(job, "time-column", table) == NULL)
            migrate_job_set(job, (struct setting){entry, hypertable_column(said), table, 1, false});
    }
}

/* Of migrate alone: nothing that a step would take, though an option of a step may have the same name. */
static bool is_own(const struct option_entry *entry)
{
    static const char *const names[] = {"file", "name", "skip", "continue", "target-free", "yes", "json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], entry->name) == 0)
            return true;
    return entry->kind == OPTION_HELP || entry->kind == OPTION_VERSION;
}

/* Texts are taken from where the parser has put them: what stood in argv may be overwritten by now, as passwords are.
 */
static enum status take_given(const struct options *options, struct migrate_job *job, bool has_tables,
                              struct error *error)
{
    int taken[OPTIONS_MAX] = {0};

    for (int i = 0; i < options->given_count; i++) {
        const struct option_entry *entry = &option_table[options->given[i].index];
        const char *field = (const char *)options + entry->offset, *value = options->given[i].value;

        if (is_own(entry))
            continue;
        if (entry->kind == OPTION_TEXT)
            value = *(const char *const *)(const void *)field;
        else if (entry->kind == OPTION_LIST)
            value = ((const struct text_list *)(const void *)field)->items[taken[entry - option_table]++];
        if (strcmp(entry->name, "table") == 0 && has_tables)
            return error_set(error, STATUS_USAGE,
                             "--table does not go with a file that has tables: add a section"
                             " [table %s] to %s",
                             value, options->job_file);
        if (strcmp(entry->name, "table") == 0)
            migrate_job_add_table(job, value, 0);
        else
            migrate_job_set(job, (struct setting){entry, value != NULL ? strdup(value) : NULL, -1, 0, false});
    }
    return STATUS_OK;
}

/* A value env:NAME stands for what the environment has. */
static enum status resolve(struct migrate_job *job, const char *option, const char **value, struct error *error)
{
    const char *found;

    *value = migrate_job_value(job, option, -1);
    if (*value == NULL)
        return error_set(error, STATUS_USAGE, "migrate needs the %s: %s = CONNINFO in [migration], or --%s", option,
                         option, option);
    if (strncmp(*value, "env:", 4) != 0)
        return STATUS_OK;
    found = getenv(*value + 4);
    if (found == NULL || *found == '\0')
        return error_set(error, STATUS_USAGE, "%s is %s, but the environment has no such variable", option, *value);
    *value = found;
    return STATUS_OK;
}

static char *default_name(const struct migrate_job *job, const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : path != NULL ? path : job->tables[0].name;
    size_t size = strlen(name);

    if (path != NULL && size > 4 && strcmp(name + size - 4, ".ini") == 0)
        size -= 4;
    return strndup(name, size);
}

static enum status skips_take(const struct options *options, struct migrate_job *job, struct error *error)
{
    for (int i = 0; i < options->skip.count; i++) {
        int step = migrate_step_find(options->skip.items[i]);

        if (step < 0) {
            error_set(error, STATUS_USAGE, "--skip %s: steps are", options->skip.items[i]);
            for (int k = 0; k < migrate_step_count; k++)
                error_hint(error, "%s %s", k > 0 ? "," : "", migrate_steps[k].name);
            return STATUS_USAGE;
        }
        job->skipped |= UINT32_C(1) << step;
    }
    return STATUS_OK;
}

enum status migrate_job_make(const struct options *options, struct migrate_job *job, struct error *error)
{
    struct sql resume = {0};
    enum status status = STATUS_OK;
    const char *name;

    if (options->job_file != NULL)
        status = migrate_file_read(options->job_file, job, error);
    if (status == STATUS_OK)
        status = take_given(options, job, job->table_count > 0, error);
    if (status == STATUS_OK)
        status = skips_take(options, job, error);
    if (status == STATUS_OK)
        status = resolve(job, "source", &job->source, error);
    if (status == STATUS_OK)
        status = resolve(job, "target", &job->target, error);
    if (status == STATUS_OK && job->table_count == 0)
        status = error_set(error, STATUS_USAGE,
                           "migrate needs the time-series tables: a section [table NAME] for each"
                           " in the file, or --table NAME");
    if (status != STATUS_OK)
        return status;
    take_time_columns(job);
    name = options->migration != NULL ? options->migration : migrate_job_value(job, "name", -1);
    job->name = name != NULL ? strdup(name) : default_name(job, options->job_file);
    if (options->job_file != NULL) {
        job->path = strdup(options->job_file);
        sql_add(&resume, "hyperfill migrate --file %s", job->path);
        if (options->migration != NULL)
            sql_add(&resume, " --name %s", options->migration);
    } else {
        sql_add(&resume, "the same command");
    }
    job->resume = resume.text;
    job->ledger_schema = migrate_job_value(job, "ledger-schema", -1);
    if (job->ledger_schema == NULL)
        job->ledger_schema = "hyperfill";
    return STATUS_OK;
}

void migrate_job_reset(struct migrate_job *job)
{
    for (size_t i = 0; i < job->setting_count; i++)
        free(job->settings[i].value);
    for (size_t i = 0; i < job->table_count; i++)
        free(job->tables[i].name);
    free(job->settings);
    free(job->tables);
    free(job->name);
    free(job->path);
    free(job->resume);
    *job = (struct migrate_job){0};
}

static void argument_add(struct migrate_call *call, char *text)
{
    char **more = realloc(call->argv, (size_t)(call->argc + 2) * sizeof *more);

    if (more == NULL || text == NULL)
        abort();
    call->argv = more;
    call->argv[call->argc++] = text;
    call->argv[call->argc] = NULL;
}

/* The program and the command come first. */
static void head_add(struct migrate_call *call)
{
    while (call->argc < 2)
        argument_add(call, strdup("hyperfill"));
}

void migrate_call_add(struct migrate_call *call, const char *option, const char *value)
{
    struct sql text = {0};

    head_add(call);
    sql_add(&text, "--%s%s%s", option, value != NULL ? "=" : "", value != NULL ? value : "");
    argument_add(call, text.text);
}

/* Hypertables of tables' sections stand beside those of [migration]. */
static bool is_added(const struct migrate_call *call, const struct option_entry *entry)
{
    size_t size = strlen(entry->name);

    if (strcmp(entry->name, "hypertable") == 0)
        return false;
    for (int i = 2; i < call->argc; i++)
        if (strncmp(call->argv[i] + 2, entry->name, size) == 0 && strchr("=", call->argv[i][2 + size]) != NULL)
            return true;
    return false;
}

static void settings_add(struct migrate_call *call, const struct migrate_job *job, const struct option_entry *entry,
                         int table)
{
    int highest = rank_of(job, entry, table);

    for (size_t i = 0; highest >= 0 && i < job->setting_count; i++) {
        const struct setting *setting = &job->settings[i];
        const char *value = setting->value;

        if (setting->entry != entry || (setting->table >= 0 && setting->table != table) || rank(setting) != highest ||
            setting->off)
            continue;
        if (strcmp(entry->name, "source") == 0)
            value = job->source;
        else if (strcmp(entry->name, "target") == 0)
            value = job->target;
        migrate_call_add(call, entry->name, value);
    }
}

/* What is refreshed is what was loaded, by the ledger: a window of its own would be another one. */
static bool is_left_out(enum command command, const struct option_entry *entry)
{
    return command == COMMAND_REFRESH && (strcmp(entry->name, "from") == 0 || strcmp(entry->name, "until") == 0);
}

enum status migrate_call_make(struct migrate_call *call, const struct migrate_job *job, enum command command, int table,
                              struct error *error)
{

    head_add(call);
    free(call->argv[1]);
    call->argv[1] = strdup(command_name(command));
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_table[i];

        if ((entry->commands & OPTION_COMMAND(command)) == 0 || is_own(entry) || is_left_out(command, entry) ||
            is_added(call, entry))
            continue;
        settings_add(call, job, entry, table);
        if (table >= 0 && strcmp(entry->name, "table") == 0)
            migrate_call_add(call, "table", job->tables[table].name);
    }
    return options_parse(call->argc, call->argv, &call->options, error);
}

void migrate_call_reset(struct migrate_call *call)
{
    for (int i = 0; i < call->argc; i++)
        free(call->argv[i]);
    free(call->argv);
    *call = (struct migrate_call){0};
}
