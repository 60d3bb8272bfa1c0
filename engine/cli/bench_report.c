/* What `bench` tells: a table, what follows from it, and files for those who want to go on with the numbers. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/cli/bench.h"
#include "engine/cli/text.h"

static const char *const kind_names[BENCH_KINDS] = {"read", "write", "both"};

/* ---- The table ---- */

static void print_level(const struct bench_level *level, int processors)
{
    const struct bench_result *both = &level->results[BENCH_BOTH];
    double seconds = both->seconds > 0 ? both->seconds : 1;
    char read[NUMBER_TEXT_MAX], write[NUMBER_TEXT_MAX], rows[NUMBER_TEXT_MAX];

    printf("%5d  %7d  %12s  %12s  %12s  %8.1f  %13.2f  %11.0f%%\n", level->jobs, level->readers,
           count_format((int64_t)bench_rate(level, BENCH_READ), read),
           count_format((int64_t)bench_rate(level, BENCH_WRITE), write),
           count_format((int64_t)bench_rate(level, BENCH_BOTH), rows), both->bytes / seconds / 1e6, both->own / seconds,
           100 * both->machine / seconds / processors);
}

static void print_limit(const struct bench_level *level, enum bench_limit limit, int processors)
{
    const struct bench_result *both = &level->results[BENCH_BOTH];
    char slow[NUMBER_TEXT_MAX], fast[NUMBER_TEXT_MAX];

    switch (limit) {
    case LIMIT_SOURCE:
        printf("limit     the source: it gives %s rows a second, the target could take %s\n",
               count_format((int64_t)bench_rate(level, BENCH_READ), slow),
               count_format((int64_t)bench_rate(level, BENCH_WRITE), fast));
        break;
    case LIMIT_TARGET:
        printf("limit     the target: it takes %s rows a second, the source could give %s\n",
               count_format((int64_t)bench_rate(level, BENCH_WRITE), slow),
               count_format((int64_t)bench_rate(level, BENCH_READ), fast));
        break;
    case LIMIT_PROCESSORS:
        printf("limit     this machine's processors: %.0f%% busy, of which %.0f%% is hyperfill itself; the rest is "
               "that of servers and others that run here\n",
               100 * both->machine / both->seconds / processors, 100 * both->own / both->machine);
        break;
    }
}

void bench_print(const struct bench *bench, const struct bench_advice *advice, int processors)
{
    const struct bench_level *knee = &bench->levels[advice->knee];

    printf("             read alone   write alone          both      both           own       machine\n"
           " jobs  readers    rows/s        rows/s        rows/s      MB/s    processors          busy\n");
    for (int i = 0; i < bench->level_count; i++)
        print_level(&bench->levels[i], processors);
    if (bench->scratch.absent != NULL)
        printf("note      the table's %s are not in the scratch copy: they would make writing slower\n",
               bench->scratch.absent);
    if (advice->knee + 1 < bench->level_count)
        printf("knee      %d writer%s: more of them gain less than a tenth\n", knee->jobs, knee->jobs == 1 ? "" : "s");
    else
        printf("knee      not reached with %d writer%s: try more with --bench-jobs\n", knee->jobs,
               knee->jobs == 1 ? "" : "s");
    print_limit(knee, advice->limit, processors);
    printf("settings  --jobs %d --readers %d --memory %lldMB\n", advice->jobs, advice->readers,
           (long long)(advice->memory_bytes >> 20));
}

/* ---- Files ---- */

static enum status file_path(const char *folder, const char *name, char path[CHECKPOINT_PATH_MAX], struct error *error)
{
    int size = snprintf(path, CHECKPOINT_PATH_MAX, "%s/%s", folder, name);

    if (size < 0 || size >= CHECKPOINT_PATH_MAX)
        return error_set(error, STATUS_USAGE, "--output-dir has a path that is too long");
    return STATUS_OK;
}

static enum status open_file(const char *folder, const char *name, FILE **file, struct error *error)
{
    char path[CHECKPOINT_PATH_MAX];
    enum status status = file_path(folder, name, path, error);

    if (status != STATUS_OK)
        return status;
    *file = fopen(path, "we");
    return *file != NULL ? STATUS_OK : error_set_errno(error, STATUS_SYSTEM, "cannot write %s", path);
}

enum status bench_open_files(struct bench *bench, struct error *error)
{
    const char *folder = bench->options->output_dir;

    if (folder == NULL)
        return STATUS_OK;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return error_set_errno(error, STATUS_SYSTEM, "cannot make the folder %s", folder);
    return open_file(folder, "bench.csv", &bench->csv, error);
}

static void write_level(FILE *file, const struct bench_level *level)
{
    for (int kind = 0; kind < BENCH_KINDS; kind++) {
        const struct bench_result *result = &level->results[kind];

        fprintf(file, "%d,%d,%s,%.0f,%.0f,%.3f,%.0f,%.0f,%.2f,%.2f\n", level->jobs, level->readers, kind_names[kind],
                result->rows, result->bytes, result->seconds, bench_rate(level, (enum bench_kind)kind),
                result->seconds > 0 ? result->bytes / result->seconds : 0, result->own, result->machine);
    }
}

enum status bench_write_files(struct bench *bench, struct error *error)
{
    char path[CHECKPOINT_PATH_MAX];
    enum status status;

    if (bench->csv == NULL)
        return STATUS_OK;
    fputs("jobs,readers,measured,rows,bytes,seconds,rows_per_second,bytes_per_second,own_processor_seconds,"
          "machine_processor_seconds\n",
          bench->csv);
    for (int i = 0; i < bench->level_count; i++)
        write_level(bench->csv, &bench->levels[i]);
    if (fflush(bench->csv) != 0 || ferror(bench->csv))
        return error_set_errno(error, STATUS_SYSTEM, "cannot write bench.csv");
    printf("files     %s/bench.csv", bench->options->output_dir);
    status = file_path(bench->options->output_dir, "bench.svg", path, error);
    return status == STATUS_OK ? bench_plot(bench, path, error) : status;
}

void bench_close_files(struct bench *bench)
{
    if (bench->csv != NULL)
        fclose(bench->csv);
    bench->csv = NULL;
}
