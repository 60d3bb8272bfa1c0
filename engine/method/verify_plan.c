/* What is to be compared: where either side has rows, of which columns, and by which key rows are paired. */
#include <stdlib.h>
#include <string.h>

#include "engine/method/verify_private.h"
#include "readers/postgres.h"

static int compare_ranges(const void *a, const void *b)
{
    const struct range *one = a, *other = b;

    return (one->lo > other->lo) - (one->lo < other->lo);
}

/* The part of a range that is in the window; empty, if none is. */
static struct range range_clip(struct range range, struct range window)
{
    return (struct range){range.lo > window.lo ? range.lo : window.lo, range.hi < window.hi ? range.hi : window.hi};
}

/* Adds the ranges where a side has rows. */
static enum status plan_side(struct verify *verify, struct rowhash_pair *pair, int side, struct range window,
                             struct error *error)
{
    struct task *tasks = NULL;
    struct range *ranges;
    size_t count = 0;
    int64_t last;
    enum status status = pg_connect(pair->pg[side], error);

    if (status == STATUS_OK)
        status = postgres_plan(pair->pg[side], verify->spec->tables[side], verify->spec->layout, &tasks, &count, &last,
                               error);
    if (status != STATUS_OK) {
        error_prefix(error, side == SOURCE ? "source" : "target");
        return status;
    }
    ranges = realloc(verify->ranges, (verify->count + count + 1) * sizeof *ranges);
    if (ranges == NULL) {
        free(tasks);
        return error_set(error, STATUS_SYSTEM, "out of memory for %zu ranges", verify->count + count);
    }
    verify->ranges = ranges;
    for (size_t i = 0; i < count; i++) {
        struct range range = range_clip(tasks[i].place.range, window);

        if (range.lo < range.hi)
            ranges[verify->count++] = range;
    }
    free(tasks);
    return STATUS_OK;
}

enum status verify_plan(struct verify *verify, struct rowhash_pair *pair, struct range window, struct error *error)
{
    enum status status;
    size_t kept = 0;

    verify->count = 0;
    status = plan_side(verify, pair, SOURCE, window, error);
    if (status == STATUS_OK)
        status = plan_side(verify, pair, TARGET, window, error);
    if (status != STATUS_OK)
        return status;
    /* Ranges of one layout are the same or apart. */
    if (verify->count > 0)
        qsort(verify->ranges, verify->count, sizeof *verify->ranges, compare_ranges);
    for (size_t i = 0; i < verify->count; i++)
        if (kept == 0 || verify->ranges[kept - 1].lo != verify->ranges[i].lo)
            verify->ranges[kept++] = verify->ranges[i];
    verify->count = kept;
    free(verify->equal);
    verify->equal = calloc(kept + 1, sizeof *verify->equal);
    return verify->equal != NULL ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory");
}

/* The names of the smallest key, one a row; a primary key rather than another. */
static const char key_sql[] =
    "SELECT a.attname FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY"
    " AS k(number, place), pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = k.number"
    " AND k.place <= i.indnkeyatts AND i.indexrelid = (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = %u"
    " AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL"
    " ORDER BY indisprimary DESC, indnkeyatts, indexrelid LIMIT 1) ORDER BY k.place";

static int column_find(const struct verify_spec *spec, const char *name)
{
    for (int i = 0; i < spec->column_count; i++)
        if (strcmp(spec->columns[i], name) == 0)
            return i;
    return -1;
}

/* A key of which a column is not compared is none. */
enum status verify_find_key(struct verify *verify, struct rowhash_pair *pair, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_connect(pair->pg[TARGET], error);

    verify->report->key_count = 0;
    if (status == STATUS_OK)
        status = pg_runf(pair->pg[TARGET], &result, error, key_sql, verify->spec->tables[TARGET]->oid);

    if (status != STATUS_OK)
        return status;
    for (int i = 0; i < PQntuples(result); i++) {
        int column = column_find(verify->spec, PQgetvalue(result, i, 0));

        if (column < 0 || verify->report->key_count == VERIFY_KEY_MAX) {
            verify->report->key_count = 0;
            break;
        }
        verify->report->key[verify->report->key_count++] = column;
    }
    PQclear(result);
    return STATUS_OK;
}
