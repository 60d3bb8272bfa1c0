/*
 * Times: what is read is written so that it is read as the same again; and the time of a record is the same whether or
 * not its fields are quoted.
 *
 *     type and zone, precision, text
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "readers/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct time_column column_from(const uint8_t *data)
{
    return (struct time_column){
        .type = (enum time_type)(data[0] % 6),
        .precision = data[1] % 8 - 1 > 6 ? 6 : data[1] % 8 - 1,
        .zone_given = (data[0] & 0x40) != 0,
        .zone_seconds = (data[0] & 0x80) != 0 ? -12600 : 0,
    };
}

static void check_text(const struct time_column *column, const char *text, size_t size)
{
    struct time_column whole = *column;
    char written[TIME_TEXT_MAX];
    int64_t value = 0, again = 0;
    enum time_problem problem = time_parse(column, text, size, &value);

    if (problem != TIME_FINE) {
        assert(time_problem_text(problem) != NULL);
        return;
    }
    /* Infinity stands at the ends of ranges. */
    if (!time_type_is_integer(column->type) && (value == INT64_MAX || value < TIME_MIN))
        return;
    time_format(column->type, value, written);
    whole.precision = -1;
    assert(time_parse(&whole, written, strlen(written), &again) == TIME_FINE);
    assert(again == value);
}

/* The text as the second field of a record, bare and quoted. */
static void check_record(const struct time_column *column, const char *text, size_t size)
{
    struct stream_source source = {
        .name = "fuzz", .dialect = {',', '"', '"', "", false}, .time_index = 1, .time = *column};
    char *bare = malloc(size + 8), *quoted = malloc(size + 8);
    int64_t values[2] = {0, 0}, lines;
    struct record_times times;
    struct cutter cutter;
    struct error error;
    bool found[2];
    size_t cut;

    if (bare == NULL || quoted == NULL)
        abort();
    memcpy(bare, "x,", 2);
    memcpy(bare + 2, text, size);
    memcpy(bare + 2 + size, ",y\n", 3);
    memcpy(quoted, "x,\"", 3);
    memcpy(quoted + 3, text, size);
    memcpy(quoted + 3 + size, "\",y\n", 4);
    for (int turn = 0; turn < 2; turn++) {
        char *record = turn == 0 ? bare : quoted;
        size_t record_size = size + (turn == 0 ? 5 : 7);

        record_times_init(&times, &source);
        cutter_init(&cutter, '"', '"');
        cutter.line_end = LINE_END_LF;
        if (cutter_cut(&cutter, record, record_size, true, &cut, &lines) != CUT_RECORD || cut != record_size)
            abort();
        found[turn] = record_time(&times, &cutter, record, record_size, &values[turn]);
        error_reset(&error);
        if (!found[turn])
            assert(record_time_error(&times, &cutter, record, record_size, 0, 1, &error) == STATUS_DATA);
    }
    assert(found[0] == found[1] && values[0] == values[1]);
    free(bare);
    free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct time_column column;
    const char *text;

    if (size < 2 || size > 200)
        return 0;
    column = column_from(data);
    text = (const char *)data + 2;
    size -= 2;
    check_text(&column, text, size);
    for (size_t i = 0; i < size; i++)
        if (strchr("\",\r\n", text[i]) != NULL)
            return 0;
    check_record(&column, text, size);
    return 0;
}
