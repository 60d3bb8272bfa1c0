/*
 * The time of a record: finds the field, reads the value. On the path of every row.
 */
#pragma once

#include "readers/stream.h"

struct record_times {
    const struct stream_source *source;
    size_t null_size;
    /* The last text that was read, a delimiter behind it, and its value: rows of one moment often follow each other. */
    char text[TIME_TEXT_MAX];
    size_t text_size;
    int64_t value;
};

void record_times_init(struct record_times *times, const struct stream_source *source);

/* The time of a record that the cutter has just cut; false if there is none that can be read. */
bool record_time(struct record_times *times, const struct cutter *cutter, const char *record, size_t size,
                 int64_t *value);

/* Says why record_time was false: STATUS_DATA with the name of the input and the column, line and offset; and 22007, by
 * which errors are known to be about a row. */
enum status record_time_error(const struct record_times *times, const struct cutter *cutter, const char *record,
                              size_t size, int64_t offset, int64_t line, struct error *error);

/* STATUS_DATA at a place of the input. */
enum status record_error(const struct stream_source *source, int64_t offset, int64_t line, struct error *error,
                         const char *format, ...) PRINTF_LIKE(5, 6);
