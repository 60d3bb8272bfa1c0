/*
 * `hyperfill bench`: how fast this source, this target and this machine are, alone and together, with how many writers.
 *
 * Nothing of the user's is written: rows go into a scratch copy of the table, the ledger of these jobs lies beside it,
 * and both are removed whatever happens (writers/scratch.h).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/bench.h"
#include "engine/cli/commands.h"
#include "engine/cli/text.h"
#include "engine/log.h"

/* All measurements together take about so long, unless the user says how long one may take. */
#define ALL_MS 90000
#define LIMIT_MS_MIN 2000
#define LIMIT_MS_MAX 10000

static void notice_signal(enum stop_level level)
{
    if (level == STOP_DRAIN)
        log_line(LOG_NOTICE, "stopping: the scratch copy is being removed");
}

/* The options of jobs that read the user's source and write to the scratch copy. */
static void make_own_options(struct bench *bench)
{
    const struct options *options = bench->options;

    bench->own = *options;
    bench->own.table = bench->scratch.table;
    bench->own.ledger_schema = bench->scratch.schema;
    bench->own.time_column = bench->table.time_name;
    bench->own.overlap = OVERLAP_ERROR;
    if (options->source_table == NULL && options->sources.count == 1 && !job_command_given(options) &&
        pg_is_conninfo(options->source))
        bench->own.source_table = options->table;
}

static enum status make_levels(struct bench *bench, struct error *error)
{
    const struct number_list *jobs = &bench->options->bench_jobs;

    bench->levels = calloc((size_t)jobs->count, sizeof *bench->levels);
    if (bench->levels == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    bench->level_count = jobs->count;
    for (int i = 0; i < jobs->count; i++)
        bench->levels[i].jobs = jobs->items[i];
    bench->limit_ms = ALL_MS / (BENCH_KINDS * jobs->count);
    if (bench->limit_ms < LIMIT_MS_MIN)
        bench->limit_ms = LIMIT_MS_MIN;
    if (bench->limit_ms > LIMIT_MS_MAX)
        bench->limit_ms = LIMIT_MS_MAX;
    if (bench->options->limit_time > 0)
        bench->limit_ms = bench->options->limit_time * 1000;
    return STATUS_OK;
}

/* The target's table, and its scratch copy. */
static enum status bench_open(struct bench *bench, struct error *error)
{
    static const struct pg_setting none[1] = {{NULL, NULL}};
    const struct options *options = bench->options;
    struct pg *pg = NULL;
    enum status status = pg_address_init(&bench->address, options->target, "target", error);

    if (status == STATUS_OK)
        status = pg_create(&bench->address, none, bench->stop, &pg, error);
    if (status == STATUS_OK)
        status = pg_connect(pg, error);
    if (status == STATUS_OK)
        status = table_describe(pg, options->table, options->time_column, true, &bench->table, error);
    pg_free(pg);
    if (status == STATUS_OK && bench->table.in_recovery)
        status = error_set(error, STATUS_USAGE, "target: the server is a standby, which takes no writes");
    if (status == STATUS_OK)
        status = scratch_create(&bench->scratch, &bench->address, bench->scratch_stop, &bench->table, error);
    if (status == STATUS_OK && stop_level(bench->stop) != STOP_RUN)
        status = error_set(error, STATUS_STOPPED, "stopped by request; the scratch copy is removed");
    return status;
}

static enum status measure(struct bench *bench, enum bench_kind kind, struct bench_level *level, struct error *error)
{
    static const char *const names[BENCH_KINDS] = {"read alone", "write alone", "both"};
    char count[NUMBER_TEXT_MAX];
    enum status status = bench_measure(bench, kind, level, error);

    if (status == STATUS_OK && bench->options->progress != PROGRESS_NONE)
        log_line(LOG_NOTICE, "%s, %d writer%s: %s rows/s, measured for %.1f s", names[kind], level->jobs,
                 level->jobs == 1 ? "" : "s", count_format((int64_t)bench_rate(level, kind), count),
                 level->results[kind].seconds);
    return status;
}

/* What is held in memory for writing alone would be missing to the others, so they come after it. */
static enum status measure_all(struct bench *bench, struct error *error)
{
    enum status status = bench_sample(bench, error);

    for (int i = 0; i < bench->level_count && status == STATUS_OK; i++)
        status = measure(bench, BENCH_WRITE, &bench->levels[i], error);
    sample_free(&bench->sample);
    for (int i = 0; i < bench->level_count && status == STATUS_OK; i++) {
        status = measure(bench, BENCH_READ, &bench->levels[i], error);
        if (status == STATUS_OK)
            status = measure(bench, BENCH_BOTH, &bench->levels[i], error);
    }
    return status;
}

static enum status report(struct bench *bench, struct error *error)
{
    int processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    struct bench_facts facts = {
        .processors = processors,
        .memory_bytes = bench->options->memory_bytes,
        .stream = bench->stream,
        .ordered = bench->ordered,
        .compressed = bench->compressed,
    };
    struct bench_advice advice;

    bench_advise(bench->levels, bench->level_count, &facts, &advice);
    bench_print(bench, &advice, processors);
    return bench_write_files(bench, error);
}

static enum status bench_run(struct bench *bench, struct error *error)
{
    enum status status = make_levels(bench, error);

    if (status == STATUS_OK)
        status = bench_open_files(bench, error);
    if (status == STATUS_OK)
        status = bench_open(bench, error);
    if (status != STATUS_OK)
        return status;
    make_own_options(bench);
    log_line(LOG_DEBUG, "scratch copy %s", bench->scratch.table);
    status = measure_all(bench, error);
    return status == STATUS_OK ? report(bench, error) : status;
}

enum status command_bench(const struct options *options, struct error *error)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct error second;
    enum status status;

    if (bench == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    bench->options = options;
    error_reset(&second);
    status = stop_create(&bench->stop, error);
    if (status == STATUS_OK)
        status = stop_create(&bench->scratch_stop, error);
    if (status == STATUS_OK)
        status = signals_start(bench->stop, notice_signal, &bench->signals, error);
    if (status == STATUS_OK)
        status = bench_run(bench, error);
    if (scratch_drop(&bench->scratch, &second) != STATUS_OK) {
        log_line(LOG_WARNING, "%s", second.text);
        if (status == STATUS_OK) {
            *error = second;
            status = second.status;
        }
    }
    signals_finish(bench->signals);
    bench_close_files(bench);
    table_reset(&bench->table);
    pg_address_reset(&bench->address);
    stop_free(bench->scratch_stop);
    stop_free(bench->stop);
    free(bench->levels);
    free(bench);
    return status;
}
