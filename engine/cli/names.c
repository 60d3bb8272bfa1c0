/* Lists of names. */
#include "engine/cli/names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/pg/pg.h"

#define NAME_MAX_SIZE 256

void names_add(struct names *names, const char *name)
{
    char **more = realloc(names->items, (size_t)(names->count + 1) * sizeof *more);

    if (more == NULL)
        abort();
    names->items = more;
    names->items[names->count] = name != NULL ? strdup(name) : NULL;
    if (name != NULL && names->items[names->count] == NULL)
        abort();
    names->count++;
}

void names_reset(struct names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct names){0};
}

static const char *blanks_skip(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

char *names_quoted(const struct names *names)
{
    return pg_identifiers((const char *const *)names->items, names->count);
}

enum status names_split(struct names *names, const char *text, const char *option, struct error *error)
{
    while (*text != '\0') {
        char name[NAME_MAX_SIZE];
        size_t size = 0;
        bool quoted;

        text = blanks_skip(text);
        quoted = *text == '"';
        if (quoted)
            text++;
        while (*text != '\0' && (quoted ? *text != '"' || text[1] == '"' : *text != ',')) {
            if (quoted && *text == '"')
                text++;
            if (size < sizeof name - 1)
                name[size++] = *text;
            text++;
        }
        if (quoted && *text++ != '"')
            return error_set(error, STATUS_USAGE, "--%s: a quoted name does not end", option);
        while (!quoted && size > 0 && isspace((unsigned char)name[size - 1]))
            size--;
        text = blanks_skip(text);
        if (size == 0 || (*text != '\0' && *text != ','))
            return error_set(error, STATUS_USAGE, "--%s: write names separated by commas: a,b,\"C d\"", option);
        name[size] = '\0';
        names_add(names, name);
        if (*text == ',')
            text++;
    }
    return STATUS_OK;
}

bool names_have_exactly(const struct names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (names->items[i] != NULL && strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

int names_find(const struct names *names, const char *name)
{
    int found = NAME_NONE;

    for (int i = 0; i < names->count; i++)
        if (names->items[i] != NULL && strcmp(names->items[i], name) == 0)
            return i;
    for (int i = 0; i < names->count; i++)
        if (names->items[i] != NULL && strcasecmp(names->items[i], name) == 0)
            found = found == NAME_NONE ? i : NAME_AMBIGUOUS;
    return found;
}
