/* Pauses between attempts. */
#include "engine/retry.h"

#include "engine/stats.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 10000

void retry_init(struct retry *retry, int64_t budget_ms, uint64_t seed)
{
    *retry = (struct retry){.budget_ms = budget_ms, .random = seed * 2 + 1};
}

/* xorshift64*: any generator does; it must only differ between threads. */
static uint64_t retry_random(struct retry *retry)
{
    retry->random ^= retry->random >> 12;
    retry->random ^= retry->random << 25;
    retry->random ^= retry->random >> 27;
    return retry->random * UINT64_C(2685821657736338717);
}

int64_t retry_next(struct retry *retry)
{
    int64_t now = stats_now_ns(), left_ms, most;

    if (retry->since_ns == 0)
        retry->since_ns = now;
    retry->attempts++;
    left_ms = retry->budget_ms - (now - retry->since_ns) / 1000000;
    if (left_ms <= 0)
        return -1;
    most = retry->pause_ms > 0 ? retry->pause_ms * 3 : PAUSE_FIRST_MS;
    if (most > PAUSE_MAX_MS)
        most = PAUSE_MAX_MS;
    retry->pause_ms = PAUSE_FIRST_MS;
    if (most > PAUSE_FIRST_MS)
        retry->pause_ms += (int64_t)(retry_random(retry) % (uint64_t)(most - PAUSE_FIRST_MS));
    return retry->pause_ms < left_ms ? retry->pause_ms : left_ms;
}
