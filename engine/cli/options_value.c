/* What one option is set to. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/options_private.h"
#include "engine/cli/text.h"

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
enum status option_value_set(const struct option_entry *entry, const char *value, struct options *options,
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
    status = option_value_set(entry, value, scratch, error);
    free(scratch);
    return status;
}
