/* Chance, and parts of the engine for a test. */
#include "tests/unit/fixture_engine.h"

#include <time.h>
#include <unistd.h>

#include "engine/log.h"

#define LIMIT_S 1700

uint64_t seed;
static _Atomic uint64_t draws;

void seed_make(void)
{
    const char *given = getenv("HYPERFILL_TEST_SEED");

    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
    /* Failures are the rule here: no line for each. */
    log_level_set(LOG_ERROR);
    print_message("seed %" PRIu64 "\n", seed);
}

/* splitmix64's mixing. */
uint64_t mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

uint32_t draw(uint32_t below)
{
    return (uint32_t)(mix(seed ^ mix(atomic_fetch_add(&draws, 1))) % below);
}

struct stop *stop_make(void)
{
    struct stop *stop;
    struct error error;

    error_reset(&error);
    CHECK(stop_create(&stop, &error) == STATUS_OK);
    return stop;
}

struct pool *pool_make(int64_t blocks, int reserve, struct stop *stop)
{
    struct pool *pool;
    struct error error;

    error_reset(&error);
    CHECK(pool_create(blocks * BLOCK, BLOCK, reserve, stop, &pool, &error) == STATUS_OK);
    return pool;
}

struct packer *packer_make(uint32_t block_size)
{
    struct packer *packer;
    struct error error;

    error_reset(&error);
    CHECK(packer_create(block_size, &packer, &error) == STATUS_OK);
    return packer;
}

int limit(void **state)
{
    (void)state;
    alarm(LIMIT_S);
    return 0;
}
