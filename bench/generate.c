/*
 * hyperfill-generate: prints a seeded, deterministic time series as CSV.
 *
 * Row k belongs to step k / hosts and host k % hosts, and everything in it follows from (seed, k) and the options that
 * shape it. So each --order prints exactly the same set of rows, in no more memory than one output buffer.
 */
#include "bench/generate.h"

#include <stdlib.h>

static const char *const first_columns[] = {
    [SHAPE_CPU] = "time,tags_id,hostname",       [SHAPE_WIDE] = "time,tags_id,hostname",
    [SHAPE_MULTILINE] = "time,tags_id,hostname", [SHAPE_FAT] = "time,tags_id,payload",
    [SHAPE_TINY] = "time,tags_id,value",         [SHAPE_TEXT] = "time,tags_id,hostname,level,unit,message,details",
    [SHAPE_JSONB] = "time,tags_id,payload",
};

static void print_header(const struct options *options)
{
    char *at = put_text(output_buffer, first_columns[options->shape]);

    if (options->shape == SHAPE_CPU || options->shape == SHAPE_MULTILINE)
        for (unsigned column = 0; column < CPU_COLUMN_COUNT; column++) {
            *at++ = ',';
            at = put_text(at, cpu_columns[column]);
        }
    if (options->shape == SHAPE_WIDE)
        for (unsigned column = 0; column < WIDE_COLUMN_COUNT; column++)
            at = put_digits(put_text(at, ",metric_"), column, 2);
    if (options->shape == SHAPE_MULTILINE)
        at = put_text(at, ",note");
    *at++ = '\n';
    output_write(at);
}

static void print_rows(const struct options *options)
{
    char *at = output_buffer;

    for (uint64_t position = options->skip; position < options->rows; position++) {
        const struct row row = row_of(row_at(position, options), options);

        at = output_reserve(at, ROW_BYTES_MAX);
        at = put_time(at, options->start + (int64_t)(row.step * options->step_seconds), options->time_format);
        at = put_fields(at, &row, options);
        *at++ = '\n';
    }
    output_write(at);
}

int main(int argc, char **argv)
{
    struct options options = {
        .rows = 1000000,
        .seed = 1,
        .hosts = 400,
        .step_seconds = 10,
        .fat_bytes = 1000000,
        .start = days_from_civil(2024, 1, 1) * 86400,
        .header = true,
    };

    parse_options(argc, argv, &options);
    if (options.header)
        print_header(&options);
    print_rows(&options);
    return EXIT_SUCCESS;
}
