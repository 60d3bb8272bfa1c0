/* Parts of reading: cutter, fields, times. */
#include "bench/parts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "readers/record.h"

enum read_variant { CUT, FIELDS, TIMES };

struct reading {
    struct text text;
    struct record_times times;
    int64_t rows;
    uint64_t sum; /* what was found, so that no work is left out */
};

/* ---- Each record ---- */

static enum status read_record(struct reading *reading, int variant, const struct cutter *cutter, const char *record,
                               size_t size, struct error *error)
{
    struct csv_raw_field fields[TEXT_FIELDS];
    int64_t value = 0;

    if (variant == FIELDS &&
        cutter_fields(cutter, ',', record, record_text_size(record, size), fields, TEXT_FIELDS) != TEXT_FIELDS)
        return error_set(error, STATUS_DATA, "not all fields were found");
    if (variant == TIMES && !record_time(&reading->times, cutter, record, size, &value))
        return error_set(error, STATUS_DATA, "a time was not read");
    reading->sum += (uint64_t)value;
    reading->rows++;
    return STATUS_OK;
}

static enum status read_text(struct reading *reading, int variant, struct error *error)
{
    const char *text = reading->text.data;
    size_t left = reading->text.size, size;
    enum status status = STATUS_OK;
    struct cutter cutter;
    int64_t lines;

    cutter_init(&cutter, '"', '"');
    for (; left > 0 && status == STATUS_OK; text += size, left -= size) {
        if (cutter_cut(&cutter, text, left, true, &size, &lines) != CUT_RECORD)
            return error_set(error, STATUS_DATA, "%s", cutter.problem);
        status = read_record(reading, variant, &cutter, text, size, error);
    }
    return status;
}

static enum status work_cut(void *context, struct error *error)
{
    return read_text(context, CUT, error);
}

static enum status work_fields(void *context, struct error *error)
{
    return read_text(context, FIELDS, error);
}

static enum status work_times(void *context, struct error *error)
{
    return read_text(context, TIMES, error);
}

static enum status run_text(enum text_kind kind, enum status (*work)(void *, struct error *), bool by_row,
                            int64_t *units, struct error *error)
{
    const struct stream_source source = {
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = ""},
        .time = {.type = TIME_TIMESTAMPTZ, .precision = -1},
    };
    struct reading reading = {0};
    enum status status = text_make(kind, &reading.text, error);

    record_times_init(&reading.times, &source);
    if (status == STATUS_OK)
        status = parts_measure(work, &reading, error);
    if (status == STATUS_OK && reading.rows != reading.text.rows)
        status = error_set(error, STATUS_DATA, "not all rows were cut");
    *units = by_row ? reading.rows : (int64_t)reading.text.size;
    free(reading.text.data);
    return status;
}

static enum status run_cut(const struct part *part, int64_t *units, struct error *error)
{
    return run_text((enum text_kind)part->variant, work_cut, false, units, error);
}

static enum status run_fields(const struct part *part, int64_t *units, struct error *error)
{
    return run_text((enum text_kind)part->variant, work_fields, false, units, error);
}

static enum status run_times(const struct part *part, int64_t *units, struct error *error)
{
    return run_text((enum text_kind)part->variant, work_times, true, units, error);
}

/* ---- Times alone ---- */

static const struct {
    struct time_column column;
    const char *text;
} forms[] = {
    {{.type = TIME_TIMESTAMPTZ, .precision = -1}, "2024-02-29 23:59:58.123456+05:30"},
    {{.type = TIME_TIMESTAMP, .precision = -1}, "20240229T235958"},
    {{.type = TIME_TIMESTAMPTZ, .precision = -1, .form = TIME_FORM_EPOCH_MS}, "1709251198123"},
    {{.type = TIME_TIMESTAMP, .precision = -1, .form = TIME_FORM_PATTERN, .pattern = "%d.%m.%Y %H:%M:%S"},
     "29.02.2024 23:59:58"},
};

#define TIMES_COUNT 10000

static enum status work_form(void *context, struct error *error)
{
    const struct part *part = context;
    const char *text = forms[part->variant].text;
    const size_t size = strlen(text);
    int64_t value;

    for (int i = 0; i < TIMES_COUNT; i++)
        if (time_parse(&forms[part->variant].column, text, size, &value) != TIME_FINE)
            return error_set(error, STATUS_DATA, "%s was not read", text);
    return STATUS_OK;
}

static enum status run_form(const struct part *part, int64_t *units, struct error *error)
{
    struct part copy = *part;

    *units = TIMES_COUNT;
    return parts_measure(work_form, &copy, error);
}

const struct part parts_read[] = {
    {"cut", "byte", run_cut, TEXT_PLAIN},
    {"cut-quoted", "byte", run_cut, TEXT_QUOTED},
    {"fields", "byte", run_fields, TEXT_PLAIN},
    {"fields-quoted", "byte", run_fields, TEXT_QUOTED},
    {"record-time", "row", run_times, TEXT_PLAIN},
    {"record-time-quoted", "row", run_times, TEXT_QUOTED},
    {"time-iso", "value", run_form, 0},
    {"time-basic", "value", run_form, 1},
    {"time-epoch", "value", run_form, 2},
    {"time-pattern", "value", run_form, 3},
    {0},
};

/* ---- Speed ---- */

/* What it takes to have the file in memory does not count. */
enum status speed_cut(const char *path, double *speed, struct error *error)
{
    struct reading reading = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum status status;
    struct stat facts;
    double since;

    if (fd < 0 || fstat(fd, &facts) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "%s", path);
    reading.text.size = (size_t)facts.st_size;
    reading.text.data = mmap(NULL, reading.text.size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (reading.text.data == MAP_FAILED)
        return error_set_errno(error, STATUS_SYSTEM, "%s", path);
    since = processor_seconds();
    status = read_text(&reading, CUT, error);
    *speed = (double)facts.st_size / 1e6 / (processor_seconds() - since);
    munmap(reading.text.data, reading.text.size);
    return status;
}
