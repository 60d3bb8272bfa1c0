/* What the measurements say: where more writers stop to help, what is in the way then, which settings to take. */
#include "engine/cli/bench.h"

/* Rates that differ by less are the same. */
#define NEAR 0.9
/* A machine that is busier than this has nothing left for more threads. */
#define BUSY 0.9
/* A source that is so much faster than both together is not in the way. */
#define AHEAD 1.2

/* What a writer of a stream's rows wants: pieces of 8 MiB, of which one is written while others are gathered. */
#define MEMORY_PER_WRITER (INT64_C(32) << 20)
#define MEMORY_PER_DECOMPRESSOR (INT64_C(32) << 20)
/* A range of a database is passed on as it comes. */
#define MEMORY_PER_RANGE (INT64_C(8) << 20)
#define MEMORY_MIN (INT64_C(64) << 20)

static double best(const struct bench_level *levels, int count, enum bench_kind kind)
{
    double most = 0;

    for (int i = 0; i < count; i++)
        most = bench_rate(&levels[i], kind) > most ? bench_rate(&levels[i], kind) : most;
    return most;
}

/* The first level that is near the best one. */
static int find_knee(const struct bench_level *levels, int count, enum bench_kind kind)
{
    double enough = best(levels, count, kind) * NEAR;

    for (int i = 0; i < count; i++)
        if (bench_rate(&levels[i], kind) >= enough)
            return i;
    return count - 1;
}

static enum bench_limit find_limit(const struct bench_level *level, int processors)
{
    const struct bench_result *both = &level->results[BENCH_BOTH];

    if (both->machine >= BUSY * processors * both->seconds && both->seconds > 0)
        return LIMIT_PROCESSORS;
    return bench_rate(level, BENCH_READ) < bench_rate(level, BENCH_WRITE) ? LIMIT_SOURCE : LIMIT_TARGET;
}

/* As few as are faster than what they feed; where the source is the limit, as many as make it faster. */
static int find_readers(const struct bench_level *levels, int count, const struct bench_advice *advice)
{
    double wanted = bench_rate(&levels[advice->knee], BENCH_BOTH) * AHEAD;

    if (advice->limit == LIMIT_SOURCE)
        return levels[find_knee(levels, count, BENCH_READ)].readers;
    for (int i = 0; i < count; i++)
        if (bench_rate(&levels[i], BENCH_READ) >= wanted)
            return levels[i].readers;
    return levels[advice->knee].readers;
}

static int64_t find_memory(const struct bench_advice *advice, const struct bench_facts *facts)
{
    int64_t wanted =
        facts->stream ? advice->jobs * MEMORY_PER_WRITER : (advice->jobs + advice->readers) * MEMORY_PER_RANGE;
    int64_t memory = MEMORY_MIN;

    if (facts->compressed)
        wanted += advice->readers * MEMORY_PER_DECOMPRESSOR;
    while (memory < wanted)
        memory *= 2;
    /* What is in no order gathers rows of many ranges at a time: less was not tried. */
    return facts->ordered || memory > facts->memory_bytes ? memory : facts->memory_bytes;
}

void bench_advise(const struct bench_level *levels, int count, const struct bench_facts *facts,
                  struct bench_advice *advice)
{
    advice->knee = find_knee(levels, count, BENCH_BOTH);
    advice->limit = find_limit(&levels[advice->knee], facts->processors);
    advice->jobs = levels[advice->knee].jobs;
    advice->readers = find_readers(levels, count, advice);
    advice->memory_bytes = find_memory(advice, facts);
}
