/* The rules of psql's scanner, as far as pg_dump's output goes. */
#include "engine/method/schema_token.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(char letter)
{
    return isalnum((unsigned char)letter) || letter == '_' || letter == '$' || (letter & 0x80) != 0;
}

/* Behind the closing quote; a doubled one is none, nor one behind a backslash in E''. */
static const char *skip_quoted(const char *at, bool escapes)
{
    char quote = *at++;

    for (; *at != '\0'; at++) {
        if (escapes && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == quote && at[1] == quote)
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return at;
}

/* $tag$ … $tag$; NULL if this is no such thing. */
static const char *skip_dollar(const char *at)
{
    size_t size = 1;
    char *tag;
    const char *end;

    while (is_word(at[size]) && at[size] != '$')
        size++;
    if (at[size] != '$' || isdigit((unsigned char)at[1]))
        return NULL;
    tag = strndup(at, size + 1);
    end = tag != NULL ? strstr(at + size + 1, tag) : NULL;
    free(tag);
    return end != NULL ? end + size + 1 : at + strlen(at);
}

const char *schema_skip_token(const char *at)
{
    const char *end;

    if ((*at == 'E' || *at == 'e') && at[1] == '\'')
        return skip_quoted(at + 1, true);
    if (*at == '\'' || *at == '"')
        return skip_quoted(at, false);
    if (*at == '-' && at[1] == '-')
        return at + strcspn(at, "\n");
    if (*at == '$' && (end = skip_dollar(at)) != NULL)
        return end;
    if (is_word(*at)) {
        while (is_word(*at))
            at++;
        return at;
    }
    return at + 1;
}

const char *schema_skip_line(const char *at)
{
    while (*at != '\0' && *at != '\n')
        at = schema_skip_token(at);
    return *at == '\n' ? at + 1 : at;
}
