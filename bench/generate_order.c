#include "bench/generate.h"

/* A Feistel network over the smallest even number of bits that hold all rows, so under four times as many
   numbers as rows. What falls outside is sent through again until it falls inside (cycle walking). */
static uint64_t shuffle(uint64_t position, const struct options *options)
{
    const uint64_t stream = mix(options->seed ^ UINT64_C(0x5bd1e9955bd1e995));
    unsigned half_bits = 1;

    while (half_bits < 31 && (UINT64_C(1) << (2 * half_bits)) < options->rows)
        half_bits++;

    const uint64_t mask = (UINT64_C(1) << half_bits) - 1;

    do {
        uint64_t left = position >> half_bits;
        uint64_t right = position & mask;

        for (uint64_t turn = 0; turn < 4; turn++) {
            const uint64_t next = left ^ (chance(stream + turn, right) & mask);

            left = right;
            right = next;
        }
        position = left << half_bits | right;
    } while (position >= options->rows);
    return position;
}

uint64_t row_at(uint64_t position, const struct options *options)
{
    switch (options->order) {
    case ORDER_SHUFFLED: return shuffle(position, options);
    case ORDER_REVERSE: return options->rows - 1 - position;
    case ORDER_ORDERED: break;
    }
    return position;
}
