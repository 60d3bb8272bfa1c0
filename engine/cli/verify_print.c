/* The findings of a verification. */
#include "engine/cli/verify_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/progress_private.h"
#include "engine/cli/text.h"

#define COLUMNS_SHOWN 8
#define CELL_USUAL 28
#define CELL_MAX 36 /* of what tells rows apart: times to the microsecond, UUIDs */

#define SOURCE 0
#define TARGET 1

static const char *const kind_names[] = {
    [VERIFY_MISSING] = "missing", [VERIFY_EXTRA] = "extra", [VERIFY_DIFFERENT] = "different"};

/* ---- A field of a line of COPY text */

/* Its escapes undone; NULL if it is NULL. The caller frees it. */
static char *field_text(const char *line, int index)
{
    static const char letters[] = "bfnrtv", bytes[] = "\b\f\n\r\t\v";
    size_t size, used = 0;
    const char *field = rowhash_field(line, strlen(line), index, &size);
    char *text = malloc(size + 1);

    if (text == NULL || (size == 2 && memcmp(field, "\\N", 2) == 0)) {
        free(text);
        return NULL;
    }
    for (size_t i = 0; i < size; i++) {
        const char *letter = NULL;

        if (field[i] == '\\' && i + 1 < size) {
            i++;
            letter = strchr(letters, field[i]);
        }
        text[used++] = letter != NULL ? bytes[letter - letters] : field[i];
    }
    text[used] = '\0';
    return text;
}

static bool same_field(const struct verify_row *row, int index)
{
    size_t sizes[2];
    const char *source = rowhash_field(row->lines[SOURCE], strlen(row->lines[SOURCE]), index, &sizes[SOURCE]);
    const char *target = rowhash_field(row->lines[TARGET], strlen(row->lines[TARGET]), index, &sizes[TARGET]);

    return sizes[SOURCE] == sizes[TARGET] && memcmp(source, target, sizes[SOURCE]) == 0;
}

/* ---- The table */

struct cells {
    int columns[COLUMNS_SHOWN]; /* indexes; those of the key and the time first */
    int count, others;
    int leading; /* of them what tells rows apart */
    int widths[COLUMNS_SHOWN];
};

static void add_column(struct cells *cells, int column)
{
    for (int i = 0; i < cells->count; i++)
        if (cells->columns[i] == column)
            return;
    if (cells->count == COLUMNS_SHOWN)
        cells->others++;
    else
        cells->columns[cells->count++] = column;
}

/* What tells rows apart, then what differs in them, then the rest as far as there is room. */
static void choose_columns(const struct verify_shown *shown, const struct verify_difference *difference,
                           struct cells *cells)
{
    *cells = (struct cells){0};
    add_column(cells, shown->spec->time_index);
    for (int i = 0; i < shown->report->key_count; i++)
        add_column(cells, shown->report->key[i]);
    cells->leading = cells->count;
    for (size_t i = 0; i < difference->example_count; i++)
        for (int column = 0; column < shown->spec->column_count; column++)
            if (difference->examples[i].kind == VERIFY_DIFFERENT && !same_field(&difference->examples[i], column))
                add_column(cells, column);
    cells->others = 0;
    for (int column = 0; column < shown->spec->column_count; column++)
        add_column(cells, column);
}

/* A value may hold anything; nothing of it is for the terminal itself. Returns how wide it is. */
static int cell_text(const char *text, int most, char cell[CELL_MAX * 4 + 4])
{
    size_t used = 0;
    int width = 0;

    for (; *text != '\0' && width < most; width++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;

        cell[used++] = control ? '?' : *text;
        text++;
        /* The rest of a character of UTF-8. */
        for (int more = 0; more < 3 && ((unsigned char)*text & 0xc0) == 0x80; more++)
            cell[used++] = *text++;
    }
    if (*text != '\0')
        cell[used - 1] = '~';
    cell[used] = '\0';
    return width;
}

static int cell_most(const struct cells *cells, int index)
{
    return index < cells->leading ? CELL_MAX : CELL_USUAL;
}

static int field_cell(const struct cells *cells, int index, const char *line, char cell[CELL_MAX * 4 + 4])
{
    char *text = field_text(line, cells->columns[index]);
    int width = cell_text(text == NULL ? "NULL" : text[0] == '\0' ? "''" : text, cell_most(cells, index), cell);

    free(text);
    return width;
}

static void measure(const struct verify_shown *shown, const struct verify_difference *difference, struct cells *cells)
{
    char cell[CELL_MAX * 4 + 4];

    for (int i = 0; i < cells->count; i++)
        cells->widths[i] = cell_text(shown->spec->columns[cells->columns[i]], cell_most(cells, i), cell);
    for (size_t row = 0; row < difference->example_count; row++)
        for (int side = 0; side < 2; side++)
            for (int i = 0; i < cells->count && difference->examples[row].lines[side] != NULL; i++) {
                int width = field_cell(cells, i, difference->examples[row].lines[side], cell);

                cells->widths[i] = width > cells->widths[i] ? width : cells->widths[i];
            }
}

static void print_cell(const char *cell, int width, int wanted, bool last)
{
    printf("%s%*s", cell, last ? 0 : wanted - width + 2, "");
}

/* `against`: the row of which only what differs is shown. */
static void print_line(const struct cells *cells, const char *label, const char *line, const struct verify_row *against)
{
    char cell[CELL_MAX * 4 + 4];

    printf("  %-18s", label);
    for (int i = 0; i < cells->count; i++) {
        int width = 0;

        cell[0] = '\0';
        if (against == NULL || !same_field(against, cells->columns[i]))
            width = field_cell(cells, i, line, cell);
        print_cell(cell, width, cells->widths[i], i + 1 == cells->count);
    }
    printf("\n");
}

static void print_row(const struct cells *cells, const struct verify_row *row)
{
    switch (row->kind) {
    case VERIFY_MISSING: print_line(cells, "missing", row->lines[SOURCE], NULL); break;
    case VERIFY_EXTRA: print_line(cells, "extra", row->lines[TARGET], NULL); break;
    case VERIFY_DIFFERENT:
        print_line(cells, "different: source", row->lines[SOURCE], NULL);
        print_line(cells, "           target", row->lines[TARGET], row);
        break;
    }
}

static void print_counts(int64_t missing, int64_t extra, int64_t different, bool more)
{
    char numbers[3][NUMBER_TEXT_MAX];

    printf("%s%s missing in the target, %s extra, %s different", more ? "at least " : "",
           count_format(missing, numbers[0]), count_format(extra, numbers[1]), count_format(different, numbers[2]));
}

static void print_difference(const struct verify_shown *shown, const struct verify_difference *difference)
{
    int64_t told = difference->missing + difference->extra + difference->different;
    char range[TABLE_RANGE_TEXT_MAX], cell[CELL_MAX * 4 + 4];
    struct cells cells;

    printf("\n%s  ", table_range_text(shown->spec->tables[TARGET], difference->range, range));
    print_counts(difference->missing, difference->extra, difference->different, difference->more);
    printf("%s\n", difference->repaired ? "; repaired" : "");
    if (difference->example_count == 0)
        return;
    choose_columns(shown, difference, &cells);
    measure(shown, difference, &cells);
    printf("  %-18s", "");
    for (int i = 0; i < cells.count; i++)
        print_cell(cell, cell_text(shown->spec->columns[cells.columns[i]], cell_most(&cells, i), cell), cells.widths[i],
                   i + 1 == cells.count && cells.others == 0);
    if (cells.others > 0)
        printf("(and %d columns)", cells.others);
    printf("\n");
    for (size_t i = 0; i < difference->example_count; i++)
        print_row(&cells, &difference->examples[i]);
    if (told > (int64_t)difference->example_count || difference->more)
        printf("  … and more\n");
}

static void print_result(const struct verify_report *report)
{
    int64_t missing = 0, extra = 0, different = 0;
    bool more = false;

    for (size_t i = 0; i < report->difference_count; i++) {
        missing += report->differences[i].missing;
        extra += report->differences[i].extra;
        different += report->differences[i].different;
        more = more || report->differences[i].more;
    }
    printf("result    ");
    if (report->difference_count == 0) {
        printf("equal\n");
        return;
    }
    if (report->open == 0)
        printf("equal, now that %zu stretch%s repaired: ", report->difference_count,
               report->difference_count == 1 ? " was" : "es were");
    else
        printf("%zu stretch%s: ", report->open, report->open == 1 ? " differs" : "es differ");
    print_counts(missing, extra, different, more);
    printf("\n");
}

void verify_print(const struct verify_shown *shown)
{
    const struct verify_report *report = shown->report;
    char numbers[2][NUMBER_TEXT_MAX];

    if (shown->aggregate != NULL)
        printf("\naggregate %s\n", shown->aggregate);
    printf("source    %s\n", shown->source);
    if (shown->spec->tables[SOURCE] != NULL && shown->how == NULL)
        printf("          %s\n", shown->spec->tables[SOURCE]->sql);
    printf("target    %s\n          %s\n", shown->target, shown->spec->tables[TARGET]->sql);
    if (shown->how != NULL)
        printf("compared  %s\n", shown->how);
    printf("ranges    %zu compared", report->ranges_done);
    if (report->ranges_before > 0)
        printf(", %zu of them by an earlier verify that began %s", report->ranges_before, report->before);
    if (report->settled > 0)
        printf("; %zu differed only at the first look", report->settled);
    printf("\nrows      %s in the source, %s in the target\n", count_format(report->rows[SOURCE], numbers[SOURCE]),
           count_format(report->rows[TARGET], numbers[TARGET]));
    print_result(report);
    for (size_t i = 0; i < report->difference_count; i++)
        print_difference(shown, &report->differences[i]);
}

/* ---- JSON */

static void row_json(struct json *json, const struct verify_shown *shown, const struct verify_row *row)
{
    static const char *const sides[] = {"source", "target"};

    json_open(json, NULL, '{');
    json_text(json, "kind", kind_names[row->kind]);
    for (int side = 0; side < 2; side++) {
        if (row->lines[side] == NULL)
            continue;
        json_open(json, sides[side], '{');
        for (int column = 0; column < shown->spec->column_count; column++) {
            char *text = field_text(row->lines[side], column);

            json_text(json, shown->spec->columns[column], text);
            free(text);
        }
        json_close(json, '}');
    }
    json_close(json, '}');
}

static void difference_json(struct json *json, const struct verify_shown *shown,
                            const struct verify_difference *difference)
{
    enum time_type type = shown->spec->tables[TARGET]->time.type;
    char text[TIME_TEXT_MAX];

    json_open(json, NULL, '{');
    json_text(json, "from", time_format(type, difference->range.lo, text));
    json_text(json, "until", time_format(type, difference->range.hi, text));
    json_integer(json, "rows_source", difference->rows[SOURCE]);
    json_integer(json, "rows_target", difference->rows[TARGET]);
    json_integer(json, "missing", difference->missing);
    json_integer(json, "extra", difference->extra);
    json_integer(json, "different", difference->different);
    json_bool(json, "more", difference->more);
    json_bool(json, "repaired", difference->repaired);
    json_open(json, "rows", '[');
    for (size_t i = 0; i < difference->example_count; i++)
        row_json(json, shown, &difference->examples[i]);
    json_close(json, ']');
    json_close(json, '}');
}

void verify_print_json(const struct verify_shown *shown)
{
    const struct verify_report *report = shown->report;
    struct json json = {.file = stdout};

    json_open(&json, NULL, '{');
    json_text(&json, "source", shown->source);
    json_text(&json, "target", shown->target);
    json_text(&json, "table", shown->spec->tables[TARGET]->sql);
    if (shown->aggregate != NULL)
        json_text(&json, "aggregate", shown->aggregate);
    json_text(&json, "compared", shown->how != NULL ? shown->how : "all rows");
    json_bool(&json, "equal", report->open == 0);
    json_integer(&json, "ranges", (int64_t)report->ranges);
    json_integer(&json, "ranges_before", (int64_t)report->ranges_before);
    json_integer(&json, "rows_source", report->rows[SOURCE]);
    json_integer(&json, "rows_target", report->rows[TARGET]);
    json_integer(&json, "settled", (int64_t)report->settled);
    json_open(&json, "differences", '[');
    for (size_t i = 0; i < report->difference_count; i++)
        difference_json(&json, shown, &report->differences[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    printf("\n");
}
