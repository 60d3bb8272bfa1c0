/*
 * Eight bytes of CSV at a time: where a character is in them, and what of them is inside of quotes. A mask has the
 * highest bit of each byte that it means; the first byte is the lowest.
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORD_SIZE 8
#define WORD_HIGH UINT64_C(0x8080808080808080)

/* The next eight bytes; of the last ones before `end` as many as there are, and zeros. */
static inline uint64_t word_read(const char *at, const char *end)
{
    size_t left = (size_t)(end - at);
    uint64_t word = 0;

    if (left >= WORD_SIZE)
        memcpy(&word, at, WORD_SIZE);
    else
        memcpy(&word, at, left);
    return le64toh(word);
}

/* For word_find: the character in each byte. */
static inline uint64_t word_of(char c)
{
    return UINT64_C(0x0101010101010101) * (unsigned char)c;
}

static inline uint64_t word_find(uint64_t word, uint64_t wanted)
{
    uint64_t other = word ^ wanted;

    /* Exact: no carry goes from one byte into the next. */
    return ~(((other & ~WORD_HIGH) + ~WORD_HIGH) | other) & WORD_HIGH;
}

/* Bytes below 16: line ends and other rare ones. */
static inline uint64_t word_controls(uint64_t word)
{
    return ~(((word & ~WORD_HIGH) + UINT64_C(0x7070707070707070)) | word) & WORD_HIGH;
}

/* What is inside of quotes, an opening quote among it and a closing one not; `open`: the word begins inside. */
static inline uint64_t word_inside(uint64_t quotes, bool open)
{
    quotes ^= quotes << 8;
    quotes ^= quotes << 16;
    quotes ^= quotes << 32;
    return open ? quotes ^ WORD_HIGH : quotes;
}

/* Whether the byte behind the word is inside. */
static inline bool word_stays_open(uint64_t inside)
{
    return inside >> 63 != 0;
}

/* The place of the first byte of a mask that is not 0. */
static inline size_t word_first(uint64_t mask)
{
    return (size_t)__builtin_ctzll(mask) / 8;
}

static inline int word_last_bit(uint64_t mask)
{
    return 63 - __builtin_clzll(mask);
}

static inline int64_t word_count(uint64_t mask)
{
    return (int64_t)((mask >> 7) * UINT64_C(0x0101010101010101) >> 56);
}
