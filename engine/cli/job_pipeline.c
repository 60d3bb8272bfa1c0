/* What the options of a job make of its pipeline: threads, and what --memory is for. */
#include "engine/cli/job.h"

/* Fewer inputs are read at once where each would have less: for its buffer and buckets, and where it is compressed for
 * decompressing, of which a usual zstd frame needs half. */
#define MEMORY_PER_INPUT (INT64_C(8) << 20)
#define MEMORY_PER_DECOMPRESSOR (INT64_C(32) << 20)
/* What each thread holds besides blocks: libpq's buffers, two packing buffers and the contexts of zstd. */
#define MEMORY_PER_THREAD (INT64_C(1) << 20)
/* A writer reads what was spilled into a block of its own. */
#define MEMORY_PER_SPILL_READER (INT64_C(256) << 10)
/* A chunk of fewer rows has its indexes sooner by appending its rows. */
#define BUILD_ROWS_MIN 5000

static bool any_compressed(const struct job *job)
{
    for (size_t i = 0; i < job->set.count; i++)
        if (job->set.sources[i].kind != BYTES_PLAIN)
            return true;
    return false;
}

int job_readers(const struct job *job)
{
    const int64_t most =
        job->options->memory_bytes / (any_compressed(job) ? MEMORY_PER_DECOMPRESSOR : MEMORY_PER_INPUT);
    int readers = job->options->readers > 0 ? job->options->readers : job->options->jobs;

    if (job->kind != SOURCE_STREAM)
        return readers;
    if ((size_t)readers > job->input_count)
        readers = (int)job->input_count;
    if (readers > most)
        readers = most > 1 ? (int)most : 1;
    return readers;
}

/* What readers may hold of inputs that are compressed; any of them may be read at the same time. */
static int64_t decompression_memory(const struct job *job)
{
    int64_t most = 0;

    for (size_t i = 0; i < job->set.count; i++) {
        int64_t memory = stream_memory(&job->set.sources[i]);

        most = memory > most ? memory : most;
    }
    return most * job_readers(job);
}

int64_t job_build_rows_min(const struct job *job)
{
    return job->options->strategy == STRATEGY_AUTO && !job->options->compress_after ? BUILD_ROWS_MIN : 0;
}

int64_t job_block_memory(const struct job *job)
{
    int64_t readers = job_readers(job), threads = readers + job->options->jobs;
    int64_t left = job->options->memory_bytes - threads * MEMORY_PER_THREAD;

    /* A stream's input buffer may grow to a quarter for a long record; usually it stays at a few MiB. */
    if (job->kind == SOURCE_STREAM)
        left -= ((INT64_C(3) + readers) << 20) + decompression_memory(job);
    left -= job->sort_memory * job->options->jobs;
    if (job->options->spill_dir != NULL)
        left -= job->options->jobs * MEMORY_PER_SPILL_READER;
    return left > job->options->memory_bytes / 2 ? left : job->options->memory_bytes / 2;
}

static void set_reader(struct job *job, struct pipeline_spec *spec)
{
    switch (job->kind) {
    case SOURCE_POSTGRES:
        spec->reader = &postgres_reader;
        spec->source = &job->postgres;
        break;
    case SOURCE_STREAM:
        spec->reader = &stream_reader;
        spec->source = &job->set;
        break;
    case SOURCE_COMMAND:
        spec->reader = &command_reader;
        spec->source = &job->command.ranges;
        break;
    }
}

struct pipeline_spec job_pipeline(struct job *job)
{
    const struct options *options = job->options;
    struct pipeline_spec spec = {
        .stream = job->kind == SOURCE_STREAM,
        .inputs = (int32_t)job->input_count,
        .readers = job_readers(job),
        .writers = options->jobs,
        .tasks = job->tasks,
        .task_count = job->task_count,
        .memory_bytes = job_block_memory(job),
        .spill_dir = options->spill_dir,
        .spill_max = options->spill_max,
        .retry_ms = options->retry_seconds * 1000,
    };

    set_reader(job, &spec);
    return spec;
}
