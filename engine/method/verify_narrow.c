/* Where in a range that differs the differences are. */
#include <stdlib.h>

#include "engine/method/verify_private.h"

/* Rows that are looked at one by one rather than in parts. */
#define ROWS_FEW 1000
/* Stretches of one range: many small differences are looked at as one long one. */
#define STRETCHES_MAX 16

static enum status add(struct verify_stretches *stretches, struct range range, struct error *error)
{
    struct range *items = realloc(stretches->items, (stretches->count + 1) * sizeof *items);

    if (items == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    stretches->items = items;
    items[stretches->count++] = range;
    return STATUS_OK;
}

/* Neighbouring parts that differ, as one. */
struct run {
    struct range range;
    int parts;
    int64_t rows; /* of the side that has more */
};

static int find_runs(const struct rowhash_parts *parts, struct rowhash hashes[2][ROWHASH_PARTS_MAX],
                     struct run runs[ROWHASH_PARTS_MAX])
{
    bool before = false;
    int count = 0;

    for (int i = 0; i < parts->count; i++) {
        const struct rowhash *source = &hashes[SOURCE][i], *target = &hashes[TARGET][i];
        struct range part = rowhash_part(parts, i);

        if (rowhash_equal(source, target)) {
            before = false;
            continue;
        }
        if (!before)
            runs[count++] = (struct run){.range = part};
        runs[count - 1].range.hi = part.hi;
        runs[count - 1].parts++;
        runs[count - 1].rows += source->rows > target->rows ? source->rows : target->rows;
        before = true;
    }
    return count;
}

/* Cutting is worth it while it leaves most of the rows behind. */
static bool is_small(const struct run *run, const struct rowhash_parts *parts, int64_t unit)
{
    return run->rows <= ROWS_FEW || run->parts * 2 > parts->count || parts->step <= (uint64_t)unit;
}

static enum status narrow(struct rowhash_pair *pair, struct range range, int64_t unit,
                          struct verify_stretches *stretches, struct error *error)
{
    struct rowhash_parts parts = rowhash_cut(range, ROWHASH_PARTS_MAX, unit);
    struct rowhash(*hashes)[ROWHASH_PARTS_MAX] = calloc(2, sizeof *hashes);
    struct run runs[ROWHASH_PARTS_MAX];
    enum status status;
    int count;

    if (hashes == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = rowhash_take(pair, &parts, hashes, error);
    count = status == STATUS_OK ? find_runs(&parts, hashes, runs) : 0;
    free(hashes);
    if (count > STRETCHES_MAX)
        return add(stretches, (struct range){runs[0].range.lo, runs[count - 1].range.hi}, error);
    for (int i = 0; i < count && status == STATUS_OK; i++) {
        if (is_small(&runs[i], &parts, unit) || stretches->count >= STRETCHES_MAX)
            status = add(stretches, runs[i].range, error);
        else
            status = narrow(pair, runs[i].range, unit, stretches, error);
    }
    return status;
}

enum status verify_narrow(struct rowhash_pair *pair, struct range range, int64_t unit,
                          struct verify_stretches *stretches, struct error *error)
{
    stretches->count = 0;
    /* One without an end cannot be cut; layouts have such ranges only where rows lie beyond all chunks. */
    if (range.lo == INT64_MIN || range.hi == INT64_MAX)
        return add(stretches, range, error);
    return narrow(pair, range, unit, stretches, error);
}
