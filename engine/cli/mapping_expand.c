/* Texts with parts of an input's path in them. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/mapping.h"

/* Endings that say how a file is packed, behind the one that says what is in it. */
static const char *const packed_endings[] = {".gz", ".zst", ".bz2", ".xz"};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static size_t stem_size(const char *name)
{
    size_t size = strlen(name);
    const char *dot;

    for (size_t i = 0; i < sizeof packed_endings / sizeof *packed_endings; i++) {
        size_t ending = strlen(packed_endings[i]);

        if (size > ending && strcmp(name + size - ending, packed_endings[i]) == 0) {
            size -= ending;
            break;
        }
    }
    dot = memrchr(name, '.', size);
    return dot != NULL && dot > name ? (size_t)(dot - name) : size;
}

/* The name of the folder that holds the file, as it is written where it is; "/" for the root. */
static void add_folder(struct sql *text, const char *path)
{
    char folder[PATH_MAX], resolved[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name;

    snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path) : 1, slash != NULL ? path : ".");
    name = base_of(folder);
    if ((strcmp(name, ".") == 0 || strcmp(name, "..") == 0) && realpath(folder, resolved) != NULL)
        name = base_of(resolved);
    sql_add(text, "%s", name[0] != '\0' ? name : "/");
}

static bool add_word(struct sql *text, const char *word, size_t size, const char *path)
{
    const char *name = base_of(path);

    if (size == 4 && memcmp(word, "stem", size) == 0)
        sql_add(text, "%.*s", (int)stem_size(name), name);
    else if (size == 4 && memcmp(word, "name", size) == 0)
        sql_add(text, "%s", name);
    else if (size == 4 && memcmp(word, "path", size) == 0)
        sql_add(text, "%s", path);
    else if (size == 3 && memcmp(word, "dir", size) == 0)
        add_folder(text, path);
    else
        return false;
    return true;
}

enum status mapping_expand(const char *text, const char *path, char **expanded, struct error *error)
{
    struct sql made = {0};

    sql_add(&made, "%s", "");
    for (; *text != '\0'; text++) {
        const char *end;

        if ((*text == '{' || *text == '}') && text[1] == *text) {
            sql_add(&made, "%c", *text++);
            continue;
        }
        if (*text != '{') {
            sql_add(&made, "%c", *text);
            continue;
        }
        end = text + strcspn(text, "}");
        if (strcmp(path, "-") == 0)
            error_set(error, STATUS_USAGE, "--set: standard input has no name for %.*s}", (int)(end - text), text);
        else if (*end == '\0' || !add_word(&made, text + 1, (size_t)(end - text - 1), path))
            error_set(error, STATUS_USAGE,
                      "--set: %.*s is not known: {stem}, {name}, {path} or {dir}; {{ stands for a brace",
                      (int)(end - text) + (*end != '\0'), text);
        if (error->status != STATUS_OK) {
            sql_reset(&made);
            return error->status;
        }
        text = end;
    }
    *expanded = made.text;
    return STATUS_OK;
}
