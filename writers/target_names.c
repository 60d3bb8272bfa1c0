/* "No such table", with what may have been meant. */
#include "writers/target_private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_COMPARED 64
#define NEAR_DISTANCE 3
#define NEAR_NAMES_SHOWN 3

/* Levenshtein's distance without regard to case; long names are compared by their beginning. */
static int distance(const char *a, const char *b)
{
    int row[NAME_MAX_COMPARED + 1];
    size_t a_size = strnlen(a, NAME_MAX_COMPARED), b_size = strnlen(b, NAME_MAX_COMPARED);

    for (size_t j = 0; j <= b_size; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_size; i++) {
        int diagonal = row[0];

        row[0] = (int)i;
        for (size_t j = 1; j <= b_size; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            int best = diagonal + (same ? 0 : 1);

            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[b_size];
}

/* The last part of a dotted name, without its quotes; good enough to compare by. */
static char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    char *part = strdup(dot != NULL ? dot + 1 : name);
    size_t size = part != NULL ? strlen(part) : 0;

    if (size >= 2 && part[0] == '"' && part[size - 1] == '"') {
        memmove(part, part + 1, size - 2);
        part[size - 2] = '\0';
    }
    return part;
}

static void add_near(struct sql *near, const PGresult *result, const char *part)
{
    int shown = 0;
    int limit_max = 1 + (int)strnlen(part, NAME_MAX_COMPARED) / 4;

    for (int limit = 0; limit <= limit_max && limit <= NEAR_DISTANCE; limit++)
        for (int i = 0; i < PQntuples(result) && shown < NEAR_NAMES_SHOWN; i++)
            if (distance(part, PQgetvalue(result, i, 1)) == limit) {
                sql_add(near, "%s%s", shown == 0 ? "" : ", ", PQgetvalue(result, i, 0));
                shown++;
            }
}

enum status target_not_found(struct pg *pg, const char *name, struct error *error)
{
    PGresult *result;
    struct sql near = {0};
    char *part;
    enum status status = pg_run(pg,
                                "SELECT format('%I.%I', n.nspname, c.relname), c.relname FROM pg_class c"
                                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                                " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition"
                                " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
                                " AND n.nspname !~ '^_?timescaledb_' ORDER BY 1 LIMIT 10000",
                                &result, error);

    if (status != STATUS_OK)
        return status;
    part = last_part(name);
    if (part != NULL)
        add_near(&near, result, part);
    free(part);
    PQclear(result);
    if (near.size > 0)
        status = error_set(error, STATUS_SERVER,
                           "there is no table %s; did you mean %s? (a name with capitals is "
                           "written in double quotes)",
                           name, near.text);
    else
        status = error_set(error, STATUS_SERVER,
                           "there is no table %s in this database: give the name as schema.table,"
                           " and check the address",
                           name);
    sql_reset(&near);
    return status;
}
