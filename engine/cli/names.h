/* Lists of names, as options have them and as headers and tables do. */
#pragma once

#include "engine/error.h"

struct names {
    char **items; /* NULL where there is none */
    int count;
};

/* Ends the program when memory ends. `name` NULL adds a place without a name. */
void names_add(struct names *names, const char *name);
void names_reset(struct names *names);

/* "a", "b", "c" for SQL; the caller frees it. Each place has a name. */
char *names_quoted(const struct names *names);

/*
 * Adds what an option lists: a,b,"C d" with commas between, "" for a quote inside of quotes. STATUS_USAGE with the name
 * of the option.
 */
MUST_CHECK enum status names_split(struct names *names, const char *text, const char *option, struct error *error);

#define NAME_NONE (-1)
#define NAME_AMBIGUOUS (-2)

/* The name as it is written, else the only one that is the same but for upper and lower case (ASCII). */
int names_find(const struct names *names, const char *name);
bool names_have_exactly(const struct names *names, const char *name);
