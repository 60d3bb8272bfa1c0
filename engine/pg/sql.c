/* Texts for SQL: quoting, building. Without memory for a statement nothing sensible can follow: the program ends. */
#include "engine/pg/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_AT_FIRST 256

void *pg_memory(void *memory)
{
    if (memory == NULL) {
        fputs("hyperfill: out of memory\n", stderr);
        abort();
    }
    return memory;
}

char *pg_text(const char *text)
{
    return pg_memory(strdup(text));
}

/* Keeps a NUL behind the text. */
static void make_room(struct sql *sql, size_t size)
{
    size_t room = sql->room == 0 ? ROOM_AT_FIRST : sql->room;

    while (room - sql->size <= size)
        room *= 2;
    if (room == sql->room)
        return;
    sql->text = pg_memory(realloc(sql->text, room));
    sql->room = room;
    sql->text[sql->size] = '\0';
}

static void add_character(struct sql *sql, char character)
{
    make_room(sql, 1);
    sql->text[sql->size++] = character;
    sql->text[sql->size] = '\0';
}

void sql_add(struct sql *sql, const char *format, ...)
{
    va_list args, again;
    int size;

    va_start(args, format);
    va_copy(again, args);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    pg_memory(size < 0 ? NULL : sql);
    make_room(sql, (size_t)size);
    vsnprintf(sql->text + sql->size, (size_t)size + 1, format, again);
    va_end(again);
    sql->size += (size_t)size;
}

static void add_doubling(struct sql *sql, const char *text, char quote, const char *doubled)
{
    add_character(sql, quote);
    for (; *text != '\0'; text++) {
        if (strchr(doubled, *text) != NULL)
            add_character(sql, *text);
        add_character(sql, *text);
    }
    add_character(sql, quote);
}

void sql_add_identifier(struct sql *sql, const char *name)
{
    add_doubling(sql, name, '"', "\"");
}

/* As PQescapeLiteral: E'' where there are backslashes, so that standard_conforming_strings does not matter. */
void sql_add_literal(struct sql *sql, const char *text)
{
    if (strchr(text, '\\') != NULL)
        sql_add(sql, " E");
    add_doubling(sql, text, '\'', "'\\");
}

void sql_reset(struct sql *sql)
{
    free(sql->text);
    *sql = (struct sql){0};
}

char *pg_identifier(const char *name)
{
    struct sql sql = {0};

    sql_add_identifier(&sql, name);
    return sql.text;
}

char *pg_literal(const char *text)
{
    struct sql sql = {0};

    sql_add_literal(&sql, text);
    return sql.text;
}

char *pg_qualified(const char *schema, const char *name)
{
    struct sql sql = {0};

    sql_add_identifier(&sql, schema);
    sql_add(&sql, ".");
    sql_add_identifier(&sql, name);
    return sql.text;
}

char *pg_identifiers(const char *const *names, int count)
{
    struct sql sql = {0};

    for (int i = 0; i < count; i++) {
        if (i > 0)
            sql_add(&sql, ", ");
        sql_add_identifier(&sql, names[i]);
    }
    return sql.text;
}
