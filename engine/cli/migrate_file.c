/*
 * The job file, by libinih. Its reader counts lines and looks at headings: libinih tells neither of empty sections nor
 * of lines and headings that it cuts off.
 */
#include "engine/cli/migrate.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/log.h"
#include "engine/pg/pg.h"

/* libinih keeps this much of a heading (MAX_SECTION), and of a key (MAX_NAME). */
#define HEADING_MAX 49

enum section { SECTION_NONE, SECTION_MIGRATION, SECTION_TABLE, SECTION_STEPS };

struct file {
    FILE *stream;
    const char *path;
    int line;
    bool indented; /* the line goes on with the value before it */
    enum section section;
    int table; /* index, in SECTION_TABLE */
    struct migrate_job *job;
    struct error *error;
    struct setting *last; /* whose value may go on */
};

static enum status refuse(struct file *file, const char *format, ...) PRINTF_LIKE(2, 3);

static enum status refuse(struct file *file, const char *format, ...)
{
    char text[ERROR_TEXT_MAX / 2];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(file->error, STATUS_USAGE, "%s:%d: %s", file->path, file->line, text);
}

static enum status unknown_section(struct file *file, const char *name)
{
    static const char *const known[] = {"migration", "table", "steps"};
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        nearest_keep(name, strcspn(name, " "), known[i], &nearest, &distance);
    return refuse(file, "unknown section [%s]; %s%s", name, nearest != NULL ? "did you mean " : "",
                  nearest == NULL                 ? "sections are [migration], [table NAME], [steps]"
                  : strcmp(nearest, "table") == 0 ? "[table NAME]?"
                  : strcmp(nearest, "steps") == 0 ? "[steps]?"
                                                  : "[migration]?");
}

static enum status table_begin(struct file *file, const char *name)
{
    name += strspn(name, " \t");
    if (*name == '\0')
        return refuse(file, "[table NAME] needs the table's name");
    for (size_t i = 0; i < file->job->table_count; i++)
        if (strcmp(file->job->tables[i].name, name) == 0)
            return refuse(file, "table %s has a section in line %d already", name, file->job->tables[i].line);
    file->section = SECTION_TABLE;
    file->table = migrate_job_add_table(file->job, name, file->line);
    return STATUS_OK;
}

static enum status section_begin(struct file *file, const char *line)
{
    char name[HEADING_MAX + 1];
    size_t size = strcspn(line + 1, "]\r\n");

    if (line[1 + size] != ']')
        return refuse(file, "the section's heading has no ]");
    if (size > HEADING_MAX)
        return refuse(
            file,
            "a heading may have %d characters; give the section another name, and the table's in it: table = NAME",
            HEADING_MAX);
    memcpy(name, line + 1, size);
    name[size] = '\0';
    if (strcmp(name, "migration") == 0)
        file->section = SECTION_MIGRATION;
    else if (strcmp(name, "steps") == 0)
        file->section = SECTION_STEPS;
    else if (strncmp(name, "table", 5) == 0 && (name[5] == '\0' || strchr(" \t", name[5]) != NULL))
        return table_begin(file, name + 5);
    else
        return unknown_section(file, name);
    return STATUS_OK;
}

/* fgets for libinih. A line that does not fit would come to it as two. */
static char *read_line(char *line, int size, void *context)
{
    struct file *file = context;
    const char *start;

    if (file->error->status != STATUS_OK || fgets(line, size, file->stream) == NULL)
        return NULL;
    file->line++;
    if (strchr(line, '\n') == NULL && !feof(file->stream)) {
        refuse(file, "a line may have %d characters; a value goes on in the next line where that is indented",
               size - 2);
        return NULL;
    }
    start = strncmp(line, "\xef\xbb\xbf", 3) == 0 && file->line == 1 ? line + 3 : line;
    file->indented = *start == ' ' || *start == '\t';
    start += strspn(start, " \t");
    if (*start == '[' && file->indented)
        refuse(file, "a section begins in the first column");
    else if (*start == '[' && section_begin(file, start) == STATUS_OK)
        file->last = NULL;
    return file->error->status == STATUS_OK ? line : NULL;
}

/* Keys are options, written with - or _. */
static void key_normalize(const char *key, char name[HEADING_MAX + 1])
{
    snprintf(name, HEADING_MAX + 1, "%s", key);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == '_' ? '-' : *at;
}

static enum status step_set(struct file *file, const char *key, const char *value)
{
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;
    int step = migrate_step_find(key);

    for (int i = 0; i < migrate_step_count; i++)
        nearest_keep(key, strlen(key), migrate_steps[i].name, &nearest, &distance);
    if (step < 0 && nearest != NULL)
        return refuse(file, "unknown step %s; did you mean %s?", key, nearest);
    if (step < 0)
        return refuse(file, "unknown step %s; see hyperfill help migrate", key);
    if (strcmp(value, "skip") == 0)
        file->job->skipped |= UINT32_C(1) << step;
    else if (strcmp(value, "do") != 0)
        return refuse(file, "a step is skip or do, not \"%s\"", value);
    return STATUS_OK;
}

/* What concerns the whole migration cannot differ from table to table, and what names one thing cannot be for all. */
static bool is_of_all(const char *name)
{
    static const char *const names[] = {"source", "target", "ledger-schema", "name", "target-free"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_of_table(const char *name)
{
    static const char *const names[] = {"source-table", "columns", "checkpoint", "reject-file", "table"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* What is for the person who calls. */
static bool is_of_call(const struct option_entry *entry)
{
    static const char *const names[] = {"file", "skip", "continue", "yes", "json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], entry->name) == 0)
            return true;
    return entry->kind == OPTION_HELP || entry->kind == OPTION_VERSION;
}

static enum status unknown_key(struct file *file, const char *key)
{
    const char *nearest = option_nearest(key, strlen(key), COMMAND_MIGRATE);

    if (nearest != NULL)
        return refuse(file, "unknown key %s; did you mean %s?", key, nearest);
    return refuse(
        file, "unknown key %s; keys are options of migrate, schema, completion-point, run, verify and refresh", key);
}

static enum status place_check(struct file *file, const struct option_entry *entry)
{
    if (is_of_call(entry))
        return refuse(file, "%s is for the command line", entry->name);
    if (file->section == SECTION_TABLE && is_of_all(entry->name))
        return refuse(file, "%s belongs into [migration]", entry->name);
    if (file->section == SECTION_MIGRATION && is_of_table(entry->name))
        return refuse(file, "%s belongs into [table NAME]", entry->name);
    return STATUS_OK;
}

/* yes and no of a switch. An opposite, as no-header, is the entry with the same field. */
static enum status switch_set(struct file *file, struct setting *setting, const char *value)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    const struct option_entry *entry = setting->entry;
    bool on = false, off = false;

    for (int i = 0; i < 4; i++) {
        on = on || strcasecmp(value, yes[i]) == 0;
        off = off || strcasecmp(value, no[i]) == 0;
    }
    if (!on && !off)
        return refuse(file, "%s is yes or no, not \"%s\"", entry->name, value);
    setting->off = off;
    for (size_t i = 0; off && i < option_count; i++)
        if (option_table[i].offset == entry->offset && option_table[i].kind != entry->kind &&
            (option_table[i].kind == OPTION_ON || option_table[i].kind == OPTION_OFF)) {
            setting->entry = &option_table[i];
            setting->off = false;
        }
    return STATUS_OK;
}

static enum status value_take(struct file *file, struct setting *setting, const char *value)
{
    const struct option_entry *entry = setting->entry;
    enum status status;

    if (entry->argument == NULL)
        return switch_set(file, setting, value);
    if (*value == '\0' && entry->kind != OPTION_NULL)
        return refuse(file, "%s has no value: %s = %s", entry->name, entry->name, entry->argument);
    status = option_check(entry, value, file->error);
    if (status != STATUS_OK) {
        error_prefix(file->error, "%s:%d", file->path, file->line);
        return status;
    }
    setting->value = strdup(value);
    return STATUS_OK;
}

static bool is_there(const struct file *file, const struct option_entry *entry, int table)
{
    for (size_t i = 0; i < file->job->setting_count; i++)
        if (file->job->settings[i].entry == entry && file->job->settings[i].table == table)
            return true;
    return false;
}

/* An indented line goes on with the value before it; of a list it is another one. */
static enum status value_go_on(struct file *file, const char *value)
{
    struct setting *last = file->last;
    struct sql joined = {0};

    if (last == NULL || last->entry->kind != OPTION_TEXT)
        return refuse(file, "this line is indented, but the value before it cannot go on");
    sql_add(&joined, "%s %s", last->value, value);
    free(last->value);
    last->value = joined.text;
    return STATUS_OK;
}

static enum status setting_add(struct file *file, const char *key, const char *value)
{
    char name[HEADING_MAX + 1];
    struct setting setting = {.table = file->section == SECTION_TABLE ? file->table : -1, .line = file->line};
    enum status status;

    key_normalize(key, name);
    setting.entry = option_find(name, strlen(name));
    if (setting.entry == NULL || !option_allowed(setting.entry, COMMAND_MIGRATE))
        return unknown_key(file, name);
    if (file->indented && setting.entry->kind != OPTION_LIST)
        return value_go_on(file, value);
    status = place_check(file, setting.entry);
    if (status != STATUS_OK)
        return status;
    if (file->section == SECTION_TABLE && strcmp(name, "table") == 0) {
        free(file->job->tables[file->table].name);
        file->job->tables[file->table].name = strdup(value);
        return STATUS_OK;
    }
    if (!file->indented && is_there(file, setting.entry, setting.table) && setting.entry->kind != OPTION_LIST)
        return refuse(file, "%s stands there twice", name);
    status = value_take(file, &setting, value);
    if (status == STATUS_OK) {
        migrate_job_set(file->job, setting);
        file->last = &file->job->settings[file->job->setting_count - 1];
    }
    return status;
}

/* libinih wants 1 for success. */
static int take_pair(void *context, const char *section, const char *name, const char *value)
{
    struct file *file = context;

    (void)section;
    if (file->error->status != STATUS_OK)
        return 0;
    if (file->section == SECTION_NONE)
        refuse(file, "%s stands before the first section; begin with [migration]", name);
    else if (file->section == SECTION_STEPS)
        return step_set(file, name, value) == STATUS_OK;
    else
        return setting_add(file, name, value) == STATUS_OK;
    return 0;
}

static bool has_password(const char *conninfo)
{
    PQconninfoOption *parts = PQconninfoParse(conninfo, NULL);
    bool found = false;

    for (PQconninfoOption *part = parts; part != NULL && part->keyword != NULL; part++)
        found = found || (strcmp(part->keyword, "password") == 0 && part->val != NULL);
    PQconninfoFree(parts);
    return found;
}

static void warn_of_passwords(const struct file *file)
{
    struct stat stat;

    if (fstat(fileno(file->stream), &stat) != 0 || (stat.st_mode & 077) == 0)
        return;
    for (size_t i = 0; i < file->job->setting_count; i++) {
        const struct setting *setting = &file->job->settings[i];

        if (setting->line > 0 && setting->value != NULL && is_of_all(setting->entry->name) &&
            has_password(setting->value))
            log_line(LOG_WARNING,
                     "%s:%d: there is a password in a file that others may read: chmod 600 %s, or use .pgpass, a"
                     " service, or %s = env:VARIABLE",
                     file->path, setting->line, file->path, setting->entry->name);
    }
}

enum status migrate_file_read(const char *path, struct migrate_job *job, struct error *error)
{
    struct file file = {.stream = fopen(path, "re"), .path = path, .job = job, .error = error};
    int line;

    if (file.stream == NULL)
        return error_set_errno(error, STATUS_SYSTEM, "cannot open the job file %s", path);
    line = ini_parse_stream(read_line, &file, take_pair, &file);
    if (line > 0 && error->status == STATUS_OK)
        error_set(error, STATUS_USAGE, "%s:%d: this is neither a [section] nor KEY = VALUE", path, line);
    if (line < 0 && error->status == STATUS_OK)
        error_set(error, STATUS_SYSTEM, "out of memory");
    if (error->status == STATUS_OK && ferror(file.stream))
        error_set(error, STATUS_SYSTEM, "the job file %s cannot be read", path);
    if (error->status == STATUS_OK)
        warn_of_passwords(&file);
    fclose(file.stream);
    return error->status;
}
