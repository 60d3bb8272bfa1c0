/* One measurement: a job of its own on the scratch copy, stopped when its limits are reached. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/cli/bench.h"

/* The sample is written so many times at most. */
#define ROUNDS_MAX 50

struct measure {
    struct bench *bench;
    enum bench_kind kind;
    int jobs;
    int64_t limit_ms, limit_rows; /* of this round */
    struct options options;
    struct job job;
    struct stop *stop;
    struct watch watch;
    struct stats stats;
    struct append_target append;
    struct timed_writer timed;
    int64_t begin_ns, end_ns;
    double own, machine; /* at the start */
};

/* ---- Processors ---- */

static double usage_seconds(int who)
{
    struct rusage usage;

    if (getrusage(who, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double own_seconds(void)
{
    return usage_seconds(RUSAGE_SELF) + usage_seconds(RUSAGE_CHILDREN);
}

/* Of all processes, by /proc/stat: user, nice, system, then idle and iowait, then irq, softirq, steal. 0 if unknown. */
static double machine_seconds(void)
{
    FILE *file = fopen("/proc/stat", "re");
    long long n[8] = {0};
    int found = 0;

    if (file != NULL) {
        found = fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5],
                       &n[6], &n[7]);
        fclose(file);
    }
    return found == 8 ? (double)(n[0] + n[1] + n[2] + n[5] + n[6] + n[7]) / (double)sysconf(_SC_CLK_TCK) : 0;
}

/* ---- The job ---- */

static enum status measure_committed(void *context, const struct piece_spec *piece, const struct write_result *result,
                                     struct error *error)
{
    struct measure *measure = context;

    (void)piece;
    (void)result;
    (void)error;
    watch_committed(&measure->watch);
    return STATUS_OK;
}

/* A range that cannot be written is no measurement. */
static enum status measure_failed(void *context, const struct piece_spec *piece, const struct error *reason,
                                  struct error *error)
{
    (void)context;
    (void)piece;
    *error = *reason;
    return error->status;
}

/* Rows that go to the scratch copy may turn out to be damaged later. */
static void prepare_inputs(struct measure *measure)
{
    struct stream_set *set = &measure->job.set;

    for (size_t i = 0; set->sources != NULL && i < set->count; i++) {
        set->sources[i].verify_after = true;
        measure->watch.bytes_before += set->sources[i].head_text;
    }
}

static enum status prepare_ledger(struct job *job, struct error *error)
{
    char *kept = NULL;
    enum status status = ledger_prepare(job->target, &job->ledger, error);

    if (status == STATUS_OK)
        status = ledger_register(job->target, &job->ledger, job->table.oid, job->table.sql, job->source_key,
                                 job->window, job->fingerprint, job->layout_text, &kept, error);
    free(kept);
    return status;
}

static enum status open_job(struct measure *measure, struct error *error)
{
    struct job *job = &measure->job;
    enum status status = job_open(job, &measure->options, measure->stop, error);

    if (status == STATUS_OK)
        status = job_plan(job, error);
    prepare_inputs(measure);
    job->ledger.builds = job->build.count > 0;
    if (status == STATUS_OK)
        status = prepare_ledger(job, error);
    if (status == STATUS_OK) {
        job_append_target(job, &measure->append);
        measure->append.overlap = OVERLAP_RULE_ERROR;
        measure->append.reject = job->options->on_bad_row == BAD_ROW_REJECT;
        measure->append.rejects_max = INT64_MAX;
        job->ledger.rejects = job->ledger.rejects || measure->append.reject;
        status = append_target_init(&measure->append, error);
    }
    /* What is begun belongs to the measurement: it ends when that is complete, whatever its limit. */
    if (status == STATUS_OK && job->build.count > 0)
        status =
            builds_create(&job->build, job_build_rows_min(job), measure->bench->stop, &measure->append.builds, error);
    return status;
}

static struct pipeline_spec make_spec(struct measure *measure)
{
    struct job *job = &measure->job;
    const struct options *options = job->options;
    struct pipeline_spec spec = job_pipeline(job);

    spec.writer = &timed_writer;
    spec.target = &measure->timed;
    spec.stop = measure->stop;
    spec.stats = &measure->stats;
    spec.committed = measure_committed;
    spec.failed = measure_failed;
    spec.context = measure;
    measure->timed.inner = measure->kind == BENCH_READ ? &counting_writer : &append_writer;
    measure->timed.target = &measure->append;
    measure->timed.room = options->jobs;
    if (measure->kind != BENCH_WRITE)
        return spec;
    spec.stream = false;
    spec.spill_dir = NULL;
    spec.reader = &sample_reader;
    spec.source = &measure->bench->sample;
    spec.readers = options->jobs;
    spec.tasks = measure->bench->sample.tasks;
    spec.task_count = measure->bench->sample.count;
    /* The sample has the other half. */
    spec.memory_bytes = options->memory_bytes / 2;
    return spec;
}

static enum status run_job(struct measure *measure, struct error *error)
{
    struct pipeline_spec spec = make_spec(measure);
    enum status status;

    measure->timed.last_ns = calloc((size_t)spec.writers, sizeof *measure->timed.last_ns);
    if (measure->timed.last_ns == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    pthread_mutex_init(&measure->timed.mutex, NULL);
    pg_disconnect(measure->job.target);
    if (measure->job.kind == SOURCE_POSTGRES)
        pg_disconnect(measure->job.source);
    measure->own = own_seconds();
    measure->machine = machine_seconds();
    measure->begin_ns = stats_now_ns();
    watch_begin(&measure->watch, measure->limit_ms, measure->limit_rows);
    status = pipeline_run(&spec, error);
    measure->end_ns = stats_now_ns();
    measure->own = own_seconds() - measure->own;
    measure->machine = machine_seconds() - measure->machine;
    pthread_mutex_destroy(&measure->timed.mutex);
    return status;
}

/* ---- Its result ---- */

/*
 * How long the writers worked, on the average. Once the limit has come, or the sample is at its end, some of them have
 * nothing to do while others finish their last piece: that would not be so in a run of hours. Before that a writer that
 * waits does so for the source, which counts.
 */
static double writing_seconds(const struct measure *measure)
{
    double sum = 0;

    for (int i = 0; i < measure->timed.count; i++) {
        int64_t last = measure->timed.last_ns[i];

        if (measure->watch.limit_ns != 0 && last < measure->watch.limit_ns)
            last = measure->watch.limit_ns;
        else if (measure->watch.limit_ns == 0 && measure->kind != BENCH_WRITE)
            last = measure->end_ns;
        sum += (double)(last - measure->begin_ns) / 1e9;
    }
    return measure->timed.count > 0 ? sum / measure->timed.count : 0;
}

static void add_result(const struct measure *measure, struct bench_result *result)
{
    double rows = (double)stats_get(&measure->stats.rows_done), bytes = (double)stats_get(&measure->stats.bytes_done);
    double seconds = writing_seconds(measure);
    double share;

    if (measure->kind == BENCH_READ && measure->watch.limit_ns != 0) {
        bytes = (double)measure->watch.bytes_read;
        rows = bytes / measure->bench->bytes_per_row;
        seconds = (double)(measure->watch.limit_ns - measure->begin_ns) / 1e9;
    } else if (measure->kind == BENCH_READ) {
        seconds = (double)(measure->end_ns - measure->begin_ns) / 1e9;
    }
    result->rows += rows;
    result->bytes += bytes;
    result->seconds += seconds;
    /* Processor time was taken over all of the time that it took. */
    share = seconds / ((double)(measure->end_ns - measure->begin_ns) / 1e9);
    result->own += measure->own * share;
    result->machine += measure->machine * share;
}

/* The ledger's tables go, and all rows and chunks. */
static enum status clean_up(struct measure *measure, struct error *error)
{
    struct bench *bench = measure->bench;
    struct ledger_cleaning cleaning;
    bool exists = false;
    enum status status = pg_connect(bench->scratch.pg, error);

    if (status == STATUS_OK && measure->job.ledger.schema != NULL)
        status = ledger_exists(bench->scratch.pg, &measure->job.ledger, &exists, error);
    if (status == STATUS_OK && exists)
        status = ledger_clean(bench->scratch.pg, &measure->job.ledger, &measure->job.table, true, &cleaning, error);
    return status == STATUS_OK ? scratch_empty(&bench->scratch, error) : status;
}

static enum status measure_open(struct measure *measure, struct bench *bench, enum bench_kind kind, int jobs,
                                struct error *error)
{
    enum status status;

    *measure = (struct measure){.bench = bench, .kind = kind, .jobs = jobs, .options = bench->own};
    measure->options.jobs = jobs;
    status = stop_create(&measure->stop, error);
    measure->watch = (struct watch){
        .outer = bench->stop,
        .inner = measure->stop,
        .stats = &measure->stats,
        .reads = kind == BENCH_READ,
        .stream = bench->stream,
        .rows_max = INT64_MAX,
    };
    if (status == STATUS_OK)
        status = watch_start(&measure->watch, error);
    if (status != STATUS_OK) {
        stop_free(measure->stop);
        measure->stop = NULL;
    }
    return status;
}

static void measure_close(struct measure *measure)
{
    if (measure->stop == NULL)
        return;
    watch_finish(&measure->watch);
    builds_free(measure->append.builds);
    append_target_reset(&measure->append);
    job_close(&measure->job);
    free(measure->timed.last_ns);
    stop_free(measure->stop);
}

/* The user's wish to stop comes first, whatever has failed because of it. */
static enum status stopped(const struct bench *bench, enum status status, struct error *error)
{
    if (stop_level(bench->stop) == STOP_RUN)
        return status;
    error_reset(error);
    return error_set(error, STATUS_STOPPED, "stopped by request; the scratch copy is removed");
}

static enum status run_round(struct measure *measure, struct bench_level *level, struct error *error)
{
    enum status status = open_job(measure, error);
    struct error second;

    if (status == STATUS_OK)
        status = run_job(measure, error);
    if (status == STATUS_STOPPED && measure->watch.limit_ns != 0) {
        error_reset(error);
        status = STATUS_OK;
    }
    if (status == STATUS_OK) {
        if (measure->kind != BENCH_WRITE)
            level->readers = job_readers(&measure->job);
        add_result(measure, &level->results[measure->kind]);
    }
    error_reset(&second);
    if (clean_up(measure, status == STATUS_OK ? error : &second) != STATUS_OK && status == STATUS_OK)
        status = error->status;
    return stopped(measure->bench, status, error);
}

enum status bench_measure(struct bench *bench, enum bench_kind kind, struct bench_level *level, struct error *error)
{
    struct measure *measure = malloc(sizeof *measure);
    struct bench_result *result = &level->results[kind];
    int64_t left_ms = bench->limit_ms, left_rows = bench->options->limit_rows;
    enum status status = measure == NULL ? error_set(error, STATUS_SYSTEM, "out of memory") : STATUS_OK;
    bool again = true;

    for (int round = 0; status == STATUS_OK && again && round < ROUNDS_MAX; round++) {
        status = measure_open(measure, bench, kind, level->jobs, error);
        if (status != STATUS_OK)
            break;
        measure->limit_ms = left_ms;
        measure->limit_rows = left_rows;
        status = run_round(measure, level, error);
        left_ms = bench->limit_ms - (int64_t)(result->seconds * 1000);
        left_rows = bench->options->limit_rows - (int64_t)result->rows;
        again = kind == BENCH_WRITE && measure->watch.limit_ns == 0 && left_ms > 0 && left_rows > 0;
        measure_close(measure);
    }
    free(measure);
    return status;
}

/* ---- The sample ---- */

static void note_source(struct bench *bench, const struct job *job)
{
    bench->stream = job->kind == SOURCE_STREAM;
    bench->ordered = !bench->stream || job->sample.records < 2 || job->sample.ordered;
    for (size_t i = 0; bench->stream && i < job->set.count; i++)
        bench->compressed = bench->compressed || job->set.sources[i].kind != BYTES_PLAIN;
}

enum status bench_sample(struct bench *bench, struct error *error)
{
    struct measure *measure = malloc(sizeof *measure);
    struct job *job;
    enum status status;

    if (measure == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    job = &measure->job;
    /* As if for more writers, which makes shorter ranges: the sample has room for half of what a run gathers. */
    status = measure_open(measure, bench, BENCH_READ, bench->levels[bench->level_count - 1].jobs * 2, error);
    if (status != STATUS_OK)
        goto out;
    status = job_open(job, &measure->options, measure->stop, error);
    if (status == STATUS_OK && job->kind == SOURCE_STREAM && !job->rereadable && !job_command_given(job->options))
        status = error_set(error, STATUS_USAGE, "bench reads its source several times: give files or a command");
    if (status == STATUS_OK)
        status = job_plan(job, error);
    prepare_inputs(measure);
    if (status == STATUS_OK) {
        note_source(bench, job);
        pg_disconnect(job->target);
        status = sample_take(&bench->sample, job, measure->stop, bench->limit_ms, error);
    }
    if (status == STATUS_OK)
        bench->bytes_per_row = (double)bench->sample.size / (double)bench->sample.rows;
    status = stopped(bench, status, error);
    measure_close(measure);
out:
    free(measure);
    return status;
}
