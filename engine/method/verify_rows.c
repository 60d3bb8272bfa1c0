/*
 * Which rows of a stretch differ. Both sides send theirs in the order of time; those of one time are held, sorted by
 * their text, and told apart. What is left over on both sides with the same key is one row that differs.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/method/verify_private.h"

/* Rows of one time that are held. */
#define HELD_BYTES_MAX (INT64_C(32) << 20)
/* Rows that differ after which a stretch counts as different throughout. */
#define DIFFERING_MAX 10000

struct line {
    char *text; /* without its end; ours */
    size_t size;
    bool matched;
};

struct side {
    const struct rowhash_table *table;
    struct pg *pg;
    const char *row; /* the next one; NULL at the end */
    size_t row_size;
    int64_t time;       /* its */
    struct line *lines; /* of the time that is looked at */
    size_t count, room;
};

struct look {
    const struct verify *verify;
    struct verify_difference *difference;
    struct side sides[2];
    int64_t bytes_held;
    int64_t first, last; /* times that differ */
    bool found;
};

static enum status side_next(struct side *side, struct error *error)
{
    int64_t rows;
    int size;
    enum status status = pg_copy_out_next(side->pg, &side->row, &size, &rows, error);

    if (status != STATUS_OK || size == 0) {
        side->row = NULL;
        return status;
    }
    side->row_size = (size_t)size - 1;
    return rowhash_time(side->table, side->row, side->row_size, &side->time, error);
}

static enum status side_begin(struct side *side, struct range range, struct error *error)
{
    struct sql sql = {0};
    enum status status = pg_connect(side->pg, error);

    rowhash_add_copy(&sql, side->table, range, true);
    if (status == STATUS_OK)
        status = pg_copy_out_begin(side->pg, sql.text, error);
    sql_reset(&sql);
    return status;
}

static void side_drop(struct side *side)
{
    for (size_t i = 0; i < side->count; i++)
        free(side->lines[i].text);
    side->count = 0;
}

static enum status side_hold(struct side *side, int64_t *bytes_held, struct error *error)
{
    char *text = malloc(side->row_size + 1);

    if (text != NULL && side->count == side->room) {
        size_t room = side->room == 0 ? 16 : 2 * side->room;
        struct line *lines = realloc(side->lines, room * sizeof *lines);

        if (lines != NULL) {
            side->lines = lines;
            side->room = room;
        }
    }
    if (text == NULL || side->count == side->room) {
        free(text);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    memcpy(text, side->row, side->row_size);
    text[side->row_size] = '\0';
    side->lines[side->count++] = (struct line){text, side->row_size, false};
    *bytes_held += (int64_t)(side->row_size + sizeof *side->lines);
    return STATUS_OK;
}

/* All rows of the time; *full when there are too many to be held. */
static enum status hold_time(struct look *look, int64_t time, bool *full, struct error *error)
{
    enum status status = STATUS_OK;

    look->bytes_held = 0;
    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        struct side *side = &look->sides[i];

        side_drop(side);
        while (status == STATUS_OK && side->row != NULL && side->time == time && !*full) {
            status = side_hold(side, &look->bytes_held, error);
            if (status == STATUS_OK)
                status = side_next(side, error);
            *full = look->bytes_held > HELD_BYTES_MAX;
        }
    }
    return status;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(((const struct line *)a)->text, ((const struct line *)b)->text);
}

/* Leaves what is on one side alone, each time it is there oftener. True if there is any. */
static bool match_same(struct side *source, struct side *target)
{
    size_t i = 0, j = 0, matched = 0;

    if (source->count > 1)
        qsort(source->lines, source->count, sizeof *source->lines, compare_lines);
    if (target->count > 1)
        qsort(target->lines, target->count, sizeof *target->lines, compare_lines);
    while (i < source->count && j < target->count) {
        int order = strcmp(source->lines[i].text, target->lines[j].text);

        if (order == 0) {
            source->lines[i].matched = target->lines[j].matched = true;
            matched++;
        }
        i += order <= 0;
        j += order >= 0;
    }
    return matched < source->count || matched < target->count;
}

static bool same_key(const struct verify *verify, const struct line *one, const struct line *other)
{
    for (int i = 0; i < verify->report->key_count; i++) {
        size_t size, other_size;
        const char *text = rowhash_field(one->text, one->size, verify->report->key[i], &size);
        const char *other_text = rowhash_field(other->text, other->size, verify->report->key[i], &other_size);

        if (size != other_size || memcmp(text, other_text, size) != 0)
            return false;
    }
    return verify->report->key_count > 0;
}

/* Takes over the texts. */
static enum status keep_example(struct look *look, enum verify_kind kind, struct line *source, struct line *target,
                                struct error *error)
{
    struct verify_difference *difference = look->difference;
    struct verify_row *examples;

    if (difference->example_count >= look->verify->spec->examples_max)
        return STATUS_OK;
    examples = realloc(difference->examples, (difference->example_count + 1) * sizeof *examples);
    if (examples == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    difference->examples = examples;
    examples[difference->example_count++] =
        (struct verify_row){kind, {source != NULL ? source->text : NULL, target != NULL ? target->text : NULL}};
    if (source != NULL)
        source->text = NULL;
    if (target != NULL)
        target->text = NULL;
    return STATUS_OK;
}

static struct line *find_partner(struct look *look, const struct line *source)
{
    struct side *target = &look->sides[TARGET];

    for (size_t i = 0; look->verify->report->key_count > 0 && i < target->count; i++)
        if (!target->lines[i].matched && same_key(look->verify, source, &target->lines[i]))
            return &target->lines[i];
    return NULL;
}

static bool is_enough(const struct verify_difference *difference)
{
    return difference->missing + difference->extra + difference->different >= DIFFERING_MAX;
}

/* *full when so many differ that the rest is not told apart. */
static enum status tell_left_over(struct look *look, bool *full, struct error *error)
{
    struct verify_difference *difference = look->difference;
    struct side *source = &look->sides[SOURCE], *target = &look->sides[TARGET];
    enum status status = STATUS_OK;

    for (size_t i = 0; i < source->count && status == STATUS_OK; i++) {
        struct line *line = &source->lines[i], *partner;

        if (line->matched)
            continue;
        if ((*full = is_enough(difference)))
            return STATUS_OK;
        partner = find_partner(look, line);
        if (partner != NULL)
            partner->matched = true;
        difference->different += partner != NULL;
        difference->missing += partner == NULL;
        status = keep_example(look, partner != NULL ? VERIFY_DIFFERENT : VERIFY_MISSING, line, partner, error);
    }
    for (size_t i = 0; i < target->count && status == STATUS_OK; i++) {
        if (target->lines[i].matched)
            continue;
        if ((*full = is_enough(difference)))
            return STATUS_OK;
        difference->extra++;
        status = keep_example(look, VERIFY_EXTRA, NULL, &target->lines[i], error);
    }
    return status;
}

/* One time after the other. `difference->more` where it is left before the end. */
static enum status look_through(struct look *look, struct error *error)
{
    struct verify_difference *difference = look->difference;
    struct side *source = &look->sides[SOURCE], *target = &look->sides[TARGET];
    enum status status = side_next(source, error);
    bool full = false;

    if (status == STATUS_OK)
        status = side_next(target, error);
    while (status == STATUS_OK && (source->row != NULL || target->row != NULL)) {
        int64_t time =
            target->row == NULL || (source->row != NULL && source->time < target->time) ? source->time : target->time;

        status = hold_time(look, time, &full, error);
        if (status != STATUS_OK || full)
            break;
        if (!match_same(source, target))
            continue;
        if (!look->found)
            look->first = time;
        look->found = true;
        look->last = time;
        status = tell_left_over(look, &full, error);
        if (full)
            break;
    }
    difference->more = status == STATUS_OK && (full || source->row != NULL || target->row != NULL);
    return status;
}

void verify_difference_clear(struct verify_difference *difference)
{
    for (size_t i = 0; i < difference->example_count; i++) {
        free(difference->examples[i].lines[SOURCE]);
        free(difference->examples[i].lines[TARGET]);
    }
    free(difference->examples);
    difference->examples = NULL;
    difference->example_count = 0;
    difference->missing = difference->extra = difference->different = 0;
    difference->more = false;
}

/* From the first row that differs to the last. */
static void shrink(const struct look *look)
{
    struct verify_difference *difference = look->difference;
    int64_t unit = time_type_unit(look->verify->spec->tables[TARGET]->time.type);

    if (!look->found)
        return;
    difference->range.lo = look->first;
    if (!difference->more && look->last < INT64_MAX - unit)
        difference->range.hi = look->last + unit;
}

static enum status look_at_rows(const struct verify *verify, struct rowhash_pair *pair,
                                struct verify_difference *difference, bool *same, struct error *error)
{
    struct look look = {.verify = verify, .difference = difference};
    enum status status = STATUS_OK;

    for (int i = 0; i < 2; i++)
        look.sides[i] = (struct side){.table = &pair->table[i], .pg = pair->pg[i]};
    for (int i = 0; i < 2 && status == STATUS_OK; i++)
        status = side_begin(&look.sides[i], difference->range, error);
    if (status == STATUS_OK)
        status = look_through(&look, error);
    /* What is left is not read to its end. */
    for (int i = 0; i < 2; i++) {
        if (pg_connected(pair->pg[i]) && PQtransactionStatus(pg_conn(pair->pg[i])) != PQTRANS_IDLE)
            pg_disconnect(pair->pg[i]);
        side_drop(&look.sides[i]);
        free(look.sides[i].lines);
    }
    *same = status == STATUS_OK && !look.found && !difference->more;
    if (status == STATUS_OK)
        shrink(&look);
    return status;
}

enum status verify_rows(const struct verify *verify, struct rowhash_pair *pair, struct verify_difference *difference,
                        bool *same, struct error *error)
{
    struct rowhash_parts whole = {.range = difference->range, .step = UINT64_MAX, .count = 1};
    struct rowhash(*hashes)[ROWHASH_PARTS_MAX] = calloc(2, sizeof *hashes);
    enum status status;

    *same = false;
    if (hashes == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    verify_difference_clear(difference);
    status = rowhash_take(pair, &whole, hashes, error);
    if (status == STATUS_OK) {
        *same = rowhash_equal(&hashes[SOURCE][0], &hashes[TARGET][0]);
        difference->rows[SOURCE] = hashes[SOURCE][0].rows;
        difference->rows[TARGET] = hashes[TARGET][0].rows;
    }
    free(hashes);
    return status == STATUS_OK && !*same ? look_at_rows(verify, pair, difference, same, error) : status;
}
