/* Cutting a dump into entries. */
#include "engine/method/schema_dump.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/method/schema_token.h"
#include "engine/pg/pg.h"

#define HEAD "--\n-- Name: "
#define TAIL "--\n-- PostgreSQL database dump complete"

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* ---- Heads */

/* The last `mark` before `end`. */
static const char *find_last(const char *text, const char *end, const char *mark)
{
    const char *found = NULL;

    for (const char *at = text; (at = strstr(at, mark)) != NULL && at < end; at++)
        found = at;
    return found;
}

static char *copy(const char *from, const char *to)
{
    struct sql text = {0};

    sql_add(&text, "%.*s", (int)(to - from), from);
    return text.text;
}

/* From the right: a name may hold anything, but a type does not. False if this is no head. */
static bool read_head(const char *line, struct schema_entry *entry)
{
    const char *end = strchrnul(line, '\n');
    const char *owner = find_last(line, end, "; Owner: ");
    const char *schema = owner != NULL ? find_last(line, owner, "; Schema: ") : NULL;
    const char *type = schema != NULL ? find_last(line, schema, "; Type: ") : NULL;

    if (type == NULL || !begins(end, "\n--\n"))
        return false;
    *entry = (struct schema_entry){
        .name = copy(line + strlen("-- Name: "), type),
        .type = copy(type + strlen("; Type: "), schema),
        .schema = copy(schema + strlen("; Schema: "), owner),
        .owner = copy(owner + strlen("; Owner: "), end),
    };
    return true;
}

/* ---- Statements */

/* Whether the relation that the statements of an entry are about is a hypertable. */
static bool is_of(const struct schema_entry *entry, const struct schema_names *names)
{
    const char *space = entry->name;
    bool found;

    if (names->is_hypertable(names->context, entry->schema, entry->name))
        return true;
    /* "h h_pkey", where either may have blanks in it. */
    while ((space = strchr(space, ' ')) != NULL) {
        char *table = copy(entry->name, space);

        found = names->is_hypertable(names->context, entry->schema, table);
        free(table);
        if (found)
            return true;
        space++;
    }
    return false;
}

/* An index's name does not tell its table: it stands behind ON. */
static bool index_is_of(const char *sql, const struct schema_names *names)
{
    const char *at = sql;
    char *parts[2] = {NULL, NULL};
    int count = 0;
    bool found;

    while (*at != '\0' && !(begins(at, "ON ") && at > sql && at[-1] == ' '))
        at = schema_skip_token(at);
    at += begins(at, "ON ONLY ") ? 8 : begins(at, "ON ") ? 3 : 0;
    while (*at != '\0' && count < 2) {
        const char *end = schema_skip_token(at);
        struct sql plain = {0};

        if (*at == '"') {
            sql_add(&plain, "%s", "");
            for (const char *letter = at + 1; letter < end - 1; letter++) {
                sql_add(&plain, "%c", *letter);
                letter += *letter == '"';
            }
            parts[count++] = plain.text;
        } else {
            parts[count++] = copy(at, end);
        }
        at = end + (*end == '.');
    }
    found = count == 2 && names->is_hypertable(names->context, parts[0], parts[1]);
    free(parts[0]);
    free(parts[1]);
    return found;
}

/* Settings for the next entry, and commands of psql: nobody's. */
static bool is_noise(const char *line)
{
    return begins(line, "SET default_table") || begins(line, "\\restrict ") || begins(line, "\\unrestrict ");
}

/*
 * Some servers count the changes of a column among its options, as pg_attver, which others do not know. NULL: the line
 * has none; else a copy without it, empty if nothing else was set.
 */
static char *without_count(const char *line, const char *end)
{
    static const char mark[] = "pg_attver=";
    const char *set = memmem(line, (size_t)(end - line), " SET (", 6);
    const char *from = memmem(line, (size_t)(end - line), mark, sizeof mark - 1), *to;
    struct sql text = {0};

    if (!begins(line, "ALTER TABLE ") || set == NULL || from == NULL || from < set)
        return NULL;
    to = from + strcspn(from, ",)");
    if (from[-1] == '(' && *to == ')')
        return copy(line, line);
    if (from[-1] == '(')
        to += strspn(to, ", ");
    else
        from -= 2;
    sql_add(&text, "%.*s%.*s", (int)(from - line), line, (int)(end - to), to);
    return text.text;
}

static bool is_owner(const char *line, const char *end)
{
    const char *at = line;

    if (!begins(line, "ALTER "))
        return false;
    while (at < end && !begins(at, "OWNER TO "))
        at = schema_skip_token(at);
    return at < end;
}

static void trim(struct sql *sql)
{
    while (sql->size > 0 && isspace((unsigned char)sql->text[sql->size - 1]))
        sql->text[--sql->size] = '\0';
}

/* One line of a hypertable's entry, without what only plain or partitioned tables know. */
static void add_for_hypertable(struct sql *sql, const char *line, const char *end, bool is_index)
{
    const char *only = line;

    if (begins(line, "ALTER TABLE ONLY ")) {
        sql_add(sql, "ALTER TABLE %.*s", (int)(end - line - 17), line + 17);
        return;
    }
    while (is_index && only < end && !begins(only, "ON ONLY "))
        only = schema_skip_token(only);
    if (is_index && only < end)
        sql_add(sql, "%.*sON %.*s", (int)(only - line), line, (int)(end - only - 8), only + 8);
    else if (begins(line, "PARTITION BY ")) {
        trim(sql);
        sql_add(sql, ";\n");
    } else
        sql_add(sql, "%.*s", (int)(end - line), line);
}

static void read_statements(struct schema_entry *entry, const char *at, const char *end,
                            const struct schema_names *names)
{
    bool is_index = strcmp(entry->type, "INDEX") == 0;
    struct sql sql = {0};
    bool hypertable;

    while (*at == '\n')
        at++;
    hypertable = is_index ? index_is_of(at, names) : is_of(entry, names);
    sql_add(&sql, "%s", "");
    while (at < end) {
        const char *next = schema_skip_line(at);

        if (is_owner(at, next)) {
            free(entry->owner_sql);
            entry->owner_sql = copy(at, next - (next[-1] == '\n'));
        } else if (!is_noise(at)) {
            char *changed = without_count(at, next);
            const char *line = changed != NULL ? changed : at;
            const char *end_of_line = changed != NULL ? changed + strlen(changed) : next;

            if (hypertable)
                add_for_hypertable(&sql, line, end_of_line, is_index);
            else
                sql_add(&sql, "%.*s", (int)(end_of_line - line), line);
            free(changed);
        }
        at = next;
    }
    trim(&sql);
    entry->sql = sql.text;
}

/* ---- Entries */

static bool is_any(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* What the extension brings itself, and comments on extensions, which only their owner may make. */
static bool is_foreign(const struct schema_entry *entry)
{
    if (begins(entry->schema, "_timescaledb_") || begins(entry->name, "SCHEMA _timescaledb_"))
        return true;
    if (strcmp(entry->type, "TRIGGER") == 0 && strstr(entry->sql, " EXECUTE FUNCTION _timescaledb_") != NULL)
        return true;
    if (strcmp(entry->type, "COMMENT") == 0 && begins(entry->name, "EXTENSION "))
        return true;
    return strcmp(entry->type, "EXTENSION") == 0 && strcmp(entry->name, "timescaledb") == 0;
}

static void entry_reset(struct schema_entry *entry)
{
    free(entry->name);
    free(entry->type);
    free(entry->schema);
    free(entry->owner);
    free(entry->sql);
    free(entry->owner_sql);
}

static const char *compare_text(const struct schema_entry *entry)
{
    static const char *const nameless[] = {"OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", NULL};

    /* Several may have one name: they are told apart by what they are. */
    if (is_any(entry->type, nameless))
        return entry->sql;
    return strcmp(entry->type, "DEFAULT ACL") == 0 ? entry->owner : "";
}

static int compare(const struct schema_entry *a, const struct schema_entry *b)
{
    int order = strcmp(a->type, b->type);

    if (order == 0)
        order = strcmp(a->schema, b->schema);
    if (order == 0)
        order = strcmp(a->name, b->name);
    return order != 0 ? order : strcmp(compare_text(a), compare_text(b));
}

static int compare_pointers(const void *a, const void *b)
{
    return compare(*(const struct schema_entry *const *)a, *(const struct schema_entry *const *)b);
}

static void *grown(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0 && count != 0)
        return array;
    array = realloc(array, (count == 0 ? 1 : 2 * count) * size);
    if (array == NULL)
        abort();
    return array;
}

/* pg_dump puts all that needs rows to be there behind the first of these, and nothing before it. */
static void mark_sections(struct schema_dump *dump)
{
    static const char *const late[] = {"INDEX",         "STATISTICS",    "CONSTRAINT",   "CHECK CONSTRAINT",
                                       "FK CONSTRAINT", "TRIGGER",       "RULE",         "ROW SECURITY",
                                       "POLICY",        "EVENT TRIGGER", "INDEX ATTACH", NULL};
    bool after = false;

    for (size_t i = 0; i < dump->count; i++) {
        after = after || is_any(dump->entries[i].type, late);
        dump->entries[i].after_rows = after || strcmp(dump->entries[i].type, "ACL") == 0;
    }
}

void schema_dump_parse(const char *text, const struct schema_names *names, struct schema_dump *dump)
{
    const char *at = text;

    *dump = (struct schema_dump){0};
    while (*at != '\0' && !begins(at, TAIL)) {
        struct schema_entry entry = {0};
        const char *body, *end;

        if (!begins(at, HEAD) || !read_head(at + 3, &entry)) {
            at = schema_skip_line(at);
            continue;
        }
        body = schema_skip_line(schema_skip_line(schema_skip_line(at)));
        for (end = body; *end != '\0' && !begins(end, HEAD) && !begins(end, TAIL);)
            end = schema_skip_line(end);
        read_statements(&entry, body, end, names);
        if (is_foreign(&entry)) {
            entry_reset(&entry);
        } else {
            dump->entries = grown(dump->entries, dump->count, sizeof *dump->entries);
            dump->entries[dump->count++] = entry;
        }
        at = end;
    }
    mark_sections(dump);
    dump->by_key = calloc(dump->count + 1, sizeof *dump->by_key);
    if (dump->by_key == NULL)
        abort();
    for (size_t i = 0; i < dump->count; i++)
        dump->by_key[i] = &dump->entries[i];
    qsort(dump->by_key, dump->count, sizeof *dump->by_key, compare_pointers);
}

void schema_dump_reset(struct schema_dump *dump)
{
    for (size_t i = 0; i < dump->count; i++)
        entry_reset(&dump->entries[i]);
    free(dump->entries);
    free(dump->by_key);
    *dump = (struct schema_dump){0};
}

const struct schema_entry *schema_dump_find(const struct schema_dump *dump, const struct schema_entry *like)
{
    const struct schema_entry **found = NULL;

    if (dump->count > 0)
        found = bsearch(&like, dump->by_key, dump->count, sizeof *dump->by_key, compare_pointers);
    return found != NULL ? *found : NULL;
}

char *schema_entry_name(const struct schema_entry *entry)
{
    struct sql text = {0};

    sql_add(&text, "%s ", entry->type);
    if (strcmp(entry->schema, "-") != 0)
        sql_add(&text, "%s.", entry->schema);
    sql_add(&text, "%s%s%s", entry->name, compare_text(entry)[0] != '\0' ? " " : "", compare_text(entry));
    return text.text;
}
