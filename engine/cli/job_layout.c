/*
 * How long ranges are. Chunks of the target are cut where they are large, so that all writers have work inside one
 * chunk, a failure costs little, and what several writers hold of a stream fits in memory together.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"
#include "engine/log.h"

/* A piece of an addressable source: large enough to hide round trips, small enough to be read again. CSV bytes. */
#define RANGE_BYTES_MIN (INT64_C(8) << 20)
#define RANGE_BYTES_MAX (INT64_C(64) << 20)
/* So many ranges a writer, so that the last ones do not leave the others idle. */
#define RANGES_PER_WRITER 8
/* A stream's range is at most this share of the memory a writer: one is written, the next is gathered. */
#define STREAM_RANGES_IN_MEMORY 4
#define STREAM_RANGE_BYTES_MAX (INT64_C(32) << 20)
#define STREAM_RANGE_BYTES_MIN (INT64_C(1) << 20)
/* Inputs that follow each other in time have a depth of about one. */
#define ALONE_DEPTH_MAX 1.5
/* A file in no order keeps a bucket for each of its ranges: as many as this are no burden. */
#define STREAM_BUCKETS_MAX 256

/* Inputs that are looked at before the first run. */
#define SAMPLED_INPUTS_MAX 16

/* Lengths that a person recognises in a message, ascending; seconds. */
static const int64_t nice_seconds[] = {1,     2,     5,      10,     15,      30,      60,      120,
                                       300,   600,   900,    1800,   3600,    7200,    10800,   21600,
                                       43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000};

/* The longest nice length that is not longer; at least one unit of the type. */
static int64_t nice_length(enum time_type type, double length)
{
    int64_t best;

    if (time_type_is_integer(type)) {
        for (best = 1; (double)best * 10 <= length; best *= 10)
            ;
        return best * 5 <= length ? best * 5 : (double)best * 2 <= length ? best * 2 : best;
    }
    best = type == TIME_DATE ? TIME_DAY : 1000000;
    for (size_t i = 0; i < sizeof nice_seconds / sizeof *nice_seconds; i++) {
        int64_t candidate = nice_seconds[i] * 1000000;

        if ((double)candidate <= length && candidate >= best && candidate % time_type_unit(type) == 0)
            best = candidate;
    }
    return best;
}

/* Bytes of CSV in one unit of time, or 0 where nothing is known; and how many a range should hold. */
static enum status postgres_density(struct job *job, double *density, int64_t *wanted, struct error *error)
{
    struct range extent;
    int64_t rows, bytes;
    enum status status;
    bool any;

    *density = 0;
    *wanted = RANGE_BYTES_MAX;
    status = postgres_extent(job->source, &job->source_table, job->window, &any, &extent, &rows, &bytes, error);
    if (status != STATUS_OK || !any || bytes <= 0)
        return status;
    *density = (double)bytes / ((double)extent.hi - (double)extent.lo);
    *wanted = bytes / ((int64_t)job->options->jobs * RANGES_PER_WRITER);
    if (*wanted > RANGE_BYTES_MAX)
        *wanted = RANGE_BYTES_MAX;
    if (*wanted < RANGE_BYTES_MIN)
        *wanted = RANGE_BYTES_MIN;
    /* Each range would be a scan of all its chunk. */
    if (!job->source_table.time_indexed && job->source_table.kind != TABLE_PLAIN)
        *wanted = INT64_MAX;
    if (!job->source_table.time_indexed && job->source_table.kind == TABLE_PLAIN) {
        *wanted = bytes / ((int64_t)job->options->jobs * 2) + 1;
        log_line(LOG_WARNING,
                 "the source table %s has no index that begins with \"%s\": each range reads the whole table; an index "
                 "would make the backfill faster",
                 job->source_table.sql, job->source_table.time_name);
    }
    return STATUS_OK;
}

static void sample_join(struct stream_sample *all, const struct stream_sample *one)
{
    if (one->records == 0)
        return;
    if (all->records == 0) {
        *all = *one;
        return;
    }
    all->min_time = one->min_time < all->min_time ? one->min_time : all->min_time;
    all->max_time = one->max_time > all->max_time ? one->max_time : all->max_time;
    all->ordered = all->ordered && one->ordered;
    all->head_only = all->head_only || one->head_only;
    all->records += one->records;
    all->bytes_looked_at += one->bytes_looked_at;
}

/* A look at the first input, the last, and some between. */
static enum status sample_inputs(struct job *job, struct error *error)
{
    size_t looks = job->input_count < SAMPLED_INPUTS_MAX ? job->input_count : SAMPLED_INPUTS_MAX;
    struct stream_sample all = {0};
    enum status status = STATUS_OK;
    double spans = 0;
    int64_t bytes = 0;

    for (size_t i = 0; i < looks && status == STATUS_OK; i++) {
        size_t index = looks > 1 ? i * (job->input_count - 1) / (looks - 1) : 0;
        struct stream_sample one;

        status = stream_sample(&job->set.sources[index], &one, error);
        if (status == STATUS_OK)
            sample_join(&all, &one);
        if (status == STATUS_OK && one.records > 0)
            spans += (double)one.max_time - (double)one.min_time;
    }
    for (size_t i = 0; i < job->input_count; i++)
        bytes = bytes < 0 || job->set.sources[i].size < 0 ? -1 : bytes + job->set.sources[i].size;
    all.input_bytes = bytes;
    job->sample = all;
    job->depth = 1;
    if (all.records > 0 && all.max_time > all.min_time)
        job->depth = spans / (double)looks * (double)job->input_count / ((double)all.max_time - (double)all.min_time);
    return status;
}

static enum status stream_density(struct job *job, double *density, int64_t *wanted, struct error *error)
{
    struct stream_sample *sample = &job->sample;
    enum status status = sample_inputs(job, error);
    double span;

    *density = 0;
    *wanted = job->options->memory_bytes / ((int64_t)job->options->jobs * STREAM_RANGES_IN_MEMORY);
    if (*wanted > STREAM_RANGE_BYTES_MAX)
        *wanted = STREAM_RANGE_BYTES_MAX;
    if (*wanted < STREAM_RANGE_BYTES_MIN)
        *wanted = STREAM_RANGE_BYTES_MIN;
    if (status != STATUS_OK || sample->records < 2 || sample->max_time <= sample->min_time)
        return status;
    span = (double)sample->max_time - (double)sample->min_time;
    if (sample->input_bytes > 0 && !sample->head_only)
        *density = (double)sample->input_bytes / span;
    else if (sample->ordered)
        *density = (double)sample->bytes_looked_at / span;
    if (!sample->ordered && *density > 0 && sample->input_bytes / *wanted > STREAM_BUCKETS_MAX)
        *wanted = sample->input_bytes / STREAM_BUCKETS_MAX;
    /* A piece has rows of one input: where many share the time, longer ranges keep it from being small. */
    if (job->depth > 1)
        *wanted = (int64_t)((double)*wanted * job->depth);
    return STATUS_OK;
}

static enum status density_of(struct job *job, double *density, int64_t *wanted, struct error *error)
{
    switch (job->kind) {
    case SOURCE_POSTGRES: return postgres_density(job, density, wanted, error);
    case SOURCE_STREAM: return stream_density(job, density, wanted, error);
    case SOURCE_COMMAND: break;
    }
    /* Nobody knows. */
    *density = 0;
    *wanted = INT64_MAX;
    return STATUS_OK;
}

/* The most common length among the cells, as partitions have no interval of their own. */
static int64_t usual_cell(const struct table *table)
{
    int64_t usual = 0;
    size_t most = 0;

    for (size_t i = 0; i < table->cell_count; i++) {
        size_t same = 0;
        int64_t length = table->cells[i].hi - table->cells[i].lo;

        if (table->cells[i].lo == INT64_MIN || table->cells[i].hi == INT64_MAX)
            continue;
        for (size_t j = 0; j < table->cell_count && j < 1000; j++)
            same += table->cells[j].lo != INT64_MIN && table->cells[j].hi - table->cells[j].lo == length;
        if (same > most) {
            most = same;
            usual = length;
        }
        if (i >= 1000)
            break;
    }
    return usual;
}

/* All inputs share the layout. */
void job_share_layout(struct job *job)
{
    for (size_t i = 0; job_reads_csv(job) && i < job->input_count; i++) {
        job->set.sources[i].layout = job->layout;
        job->set.sources[i].alone = job->input_count == 1 || (job->depth > 0 && job->depth < ALONE_DEPTH_MAX);
    }
}

enum status job_layout(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    enum time_type type = job->table.time.type;
    struct layout_spec spec = {
        .interval = job->table.interval,
        .window = job->window,
        .cells = job->table.cells,
        .cell_count = job->table.cell_count,
    };
    int64_t asked = 0, wanted, length = 0;
    enum status status;
    double density;

    if (options->range_interval != NULL && !time_interval_parse(type, options->range_interval, &asked))
        return error_set(error, STATUS_USAGE, "--range-interval %s cannot be read: write %s", options->range_interval,
                         time_type_is_integer(type) ? "a whole number in the unit of the column" : "6h, 1d or 30m");
    status = density_of(job, &density, &wanted, error);
    if (status != STATUS_OK)
        return status;
    if (density > 0 && wanted < INT64_MAX)
        length = nice_length(type, (double)wanted / density);
    if (asked > 0)
        length = asked;
    if (spec.interval == 0 && job->table.kind == TABLE_PARTITIONED)
        spec.interval = usual_cell(&job->table);
    if (spec.interval == 0 && asked == 0 && options->create_partitions && job->table.kind == TABLE_PARTITIONED)
        return error_set(error, STATUS_USAGE,
                         "%s has no partition: say how long those are to be that --create-partitions makes, with"
                         " --range-interval 1d or so",
                         job->table.sql);
    if (spec.interval == 0)
        spec.interval = length > 0 ? length : nice_length(type, time_type_is_integer(type) ? 1e6 : 86400e6);
    if (length > 0 && length < spec.interval)
        spec.step = length;
    status = layout_create(&spec, &job->layout, error);
    if (status != STATUS_OK)
        return status;
    job->layout_text = layout_to_text(job->layout);
    job_share_layout(job);
    return STATUS_OK;
}
