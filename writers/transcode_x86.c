/*
 * Usual numbers on x86-64 with SSE 4.1: sixteen bytes at a time, as transcode_number.c and transcode_float.c do by
 * parts. Chosen where the processor has it: a fifth of all that hyperfill does for a row of floats.
 */
#include "writers/transcode_private.h"

#ifdef __x86_64__

#include <smmintrin.h>

#define SSE __attribute__((target("sse4.1")))

/* A minus sign, digits, perhaps a point among them: 1 to 15 digits in all. */
struct usual {
    int64_t value; /* of the digits, with the sign */
    bool negative;
    int scale;        /* digits behind the point */
    const char *stop; /* NULL: it is none */
};

/* Pairs, then fours, then eights. */
static inline SSE uint64_t value_of(__m128i digits)
{
    const __m128i tens = _mm_set1_epi16(1 << 8 | 10), hundreds = _mm_set1_epi32(1 << 16 | 100);
    const __m128i thousands = _mm_set1_epi32(1 << 16 | 10000);
    __m128i pairs = _mm_maddubs_epi16(digits, tens);
    __m128i fours = _mm_madd_epi16(pairs, hundreds);
    uint64_t eights = (uint64_t)_mm_cvtsi128_si64(_mm_madd_epi16(_mm_packus_epi32(fours, fours), thousands));

    return (eights & 0xffffffff) * 100000000 + (eights >> 32);
}

/*
 *     text     5 4 . 4 6 7 ,             dot 2, end 6, 5 digits
 *     order    - … - 0 1 3 4 5           which byte goes where: the last digit to the end, the point nowhere
 */
static inline SSE struct usual usual_read(const char *text)
{
    static const int8_t order[32] = {-16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
                                     0,   1,   2,   3,   4,   5,   6,   7,  8,  9,  10, 11, 12, 13, 14, 15};
    struct usual usual = {.negative = *text == '-'};
    const __m128i zeros = _mm_set1_epi8('0');
    __m128i bytes = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)text), zeros), places;
    unsigned others;
    int dot, end, count;

    /* Where the field ends is what the next one waits for: so that does not wait for the sign. */
    others = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(10)), bytes)) | 0x10000;
    others >>= usual.negative;
    text += usual.negative;
    bytes = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)text), zeros);
    dot = end = __builtin_ctz(others);
    if (text[dot] == '.' && dot < 14) {
        end = __builtin_ctz(others & (others - 1));
        usual.scale = end - dot - 1;
    }
    count = end - (end > dot);
    if (dot == 0 || count > DIGITS_EXACT || end == dot + 1)
        return usual;
    places = _mm_loadu_si128((const __m128i *)(order + count));
    places = _mm_sub_epi8(places, _mm_cmpgt_epi8(places, _mm_set1_epi8((char)(dot - 1))));
    usual.value = (int64_t)value_of(_mm_shuffle_epi8(bytes, places));
    usual.value = usual.negative ? -usual.value : usual.value;
    usual.stop = text + end;
    return usual;
}

SSE TRANSCODE_USUAL(transcode_sse_int2)
{
    struct usual usual = usual_read(text);

    *stop = usual.stop;
    return usual.stop != NULL && usual.scale == 0 && usual.value == (int16_t)usual.value
               ? put_int16(put_int32(at, 2), (int16_t)usual.value)
               : NULL;
}

SSE TRANSCODE_USUAL(transcode_sse_int4)
{
    struct usual usual = usual_read(text);

    *stop = usual.stop;
    return usual.stop != NULL && usual.scale == 0 && usual.value == (int32_t)usual.value
               ? put_int32(put_int32(at, 4), (int32_t)usual.value)
               : NULL;
}

SSE TRANSCODE_USUAL(transcode_sse_int8)
{
    struct usual usual = usual_read(text);

    *stop = usual.stop;
    return usual.stop != NULL && usual.scale == 0 ? put_int64(put_int32(at, 8), usual.value) : NULL;
}

SSE TRANSCODE_USUAL(transcode_sse_float8)
{
    struct usual usual = usual_read(text);
    double value;
    int64_t bits;

    *stop = usual.stop;
    if (usual.stop == NULL)
        return NULL;
    /* Minus zero has its sign, too. */
    value = (double)(usual.negative ? -usual.value : usual.value) / transcode_exact_tens[usual.scale];
    value = usual.negative ? -value : value;
    memcpy(&bits, &value, sizeof bits);
    return put_int64(put_int32(at, 8), bits);
}

#endif
