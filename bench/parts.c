/*
 * hyperfill-bench-parts: the parts of the way of a row, each alone and without a server.
 *
 *     hyperfill-bench-parts list               the parts, a line each
 *     hyperfill-bench-parts build              what instruction counts depend on, as a word; empty: they are not kept
 *     hyperfill-bench-parts run PART [TIMES]   does a part's work, TIMES over, and prints for how much the work of once
 *                                              was: "2048000 byte". For bench/instructions.sh
 *     hyperfill-bench-parts cut FILE           megabytes (10^6 bytes) for each second of processor time, of the cutter
 *     hyperfill-bench-parts route FILE         the same of input, cutter, time of the first field, router and buckets.
 *                                              For bench/inputs.sh
 */
#include "bench/parts.h"

#include <gnu/libc-version.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <xxhash.h>
#include <zstd.h>

static const struct part *const tables[] = {parts_read, parts_route, parts_blocks, parts_write, parts_transcode};

/* Callgrind finds it by its name. */
__attribute__((noinline)) enum status parts_measure(enum status (*work)(void *context, struct error *error),
                                                    void *context, struct error *error)
{
    enum status status = work(context, error);

    /* So that the call above is no jump, with which this function would be left. */
    __asm__ volatile("" ::: "memory");
    return status;
}

double processor_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void list_parts(void)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct part *part = tables[i]; part->name != NULL; part++)
            puts(part->name);
}

/* A library chooses its code by the processor, which for valgrind has AVX2 or has not. */
static const char *vectors(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") ? "+avx2" : "";
#else
    return "";
#endif
}

static void show_build(void)
{
    struct utsname machine;

    /* BENCH_COUNTED: built as released, neither sanitized nor otherwise optimised. */
    if (BENCH_COUNTED && uname(&machine) == 0) {
        unsigned xxhash = XXH_versionNumber();

        printf("%s,glibc-%s,zstd-%s,xxhash-%u.%u.%u,%s%s", BENCH_COMPILER, gnu_get_libc_version(), ZSTD_versionString(),
               xxhash / 10000, xxhash / 100 % 100, xxhash % 100, machine.machine, vectors());
    }
    printf("\n");
}

static const struct part *find_part(const char *name)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct part *part = tables[i]; part->name != NULL; part++)
            if (strcmp(part->name, name) == 0)
                return part;
    return NULL;
}

static enum status run_part(const char *name, const char *times, struct error *error)
{
    const struct part *part = find_part(name);
    enum status status = STATUS_OK;
    int64_t units = 0;

    if (part == NULL)
        return error_set(error, STATUS_USAGE, "there is no part %s", name);
    for (long left = strtol(times, NULL, 10); status == STATUS_OK && left > 0; left--)
        status = part->run(part, &units, error);
    if (status == STATUS_OK)
        printf("%" PRId64 " %s\n", units, part->unit);
    return status;
}

static enum status show_speed(enum status (*measure)(const char *, double *, struct error *), const char *path,
                              struct error *error)
{
    double speed;
    enum status status = measure(path, &speed, error);

    if (status == STATUS_OK)
        printf("%.0f\n", speed);
    return status;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    enum status status = STATUS_OK;
    struct error error;

    error_reset(&error);
    if (argc == 2 && strcmp(verb, "list") == 0)
        list_parts();
    else if (argc == 2 && strcmp(verb, "build") == 0)
        show_build();
    else if ((argc == 3 || argc == 4) && strcmp(verb, "run") == 0)
        status = run_part(argv[2], argc == 4 ? argv[3] : "1", &error);
    else if (argc == 3 && strcmp(verb, "cut") == 0)
        status = show_speed(speed_cut, argv[2], &error);
    else if (argc == 3 && strcmp(verb, "route") == 0)
        status = show_speed(speed_route, argv[2], &error);
    else
        status = error_set(&error, STATUS_USAGE,
                           "usage: hyperfill-bench-parts list|build|run PART [TIMES]|cut FILE|route FILE");
    if (status != STATUS_OK)
        fprintf(stderr, "%s\n", error.text);
    return (int)status;
}
