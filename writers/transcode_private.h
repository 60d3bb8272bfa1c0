/*
 * Between the files of the transcoder: transcode.c (fields), transcode_number.c (booleans, integers, decimal numbers),
 * transcode_float.c, transcode_numeric.c, transcode_time.c, transcode_text.c (texts, uuid, JSON).
 */
#pragma once

#include "engine/timevalue.h"
#include "writers/transcode.h"

#include <endian.h>
#include <string.h>

/* What a value may take beyond the bytes of its field. */
#define VALUE_ROOM 64
/* So many bytes behind a field may be read, whatever is in them. */
#define TEXT_PADDING 24

/*
 * Writes the length and value of a field that is not NULL at `at`, where there is room for VALUE_ROOM and `size` bytes.
 * Gives where it ends; NULL: refused, whatever was written. Those of times need `zone`.
 */
struct transcode_zone {
    bool given;
    int32_t seconds;
};
#define TRANSCODE_VALUE(name) char *name(const struct transcode_zone *zone, char *at, const char *text, size_t size)

TRANSCODE_VALUE(transcode_bool);
TRANSCODE_VALUE(transcode_int2);
TRANSCODE_VALUE(transcode_int4);
TRANSCODE_VALUE(transcode_int8);
TRANSCODE_VALUE(transcode_float4);
TRANSCODE_VALUE(transcode_float8);
TRANSCODE_VALUE(transcode_numeric);
TRANSCODE_VALUE(transcode_text);
TRANSCODE_VALUE(transcode_jsonb);
TRANSCODE_VALUE(transcode_uuid);
TRANSCODE_VALUE(transcode_timestamptz);
TRANSCODE_VALUE(transcode_timestamp);
TRANSCODE_VALUE(transcode_date);

/*
 * The same for usual spellings of what begins at `text`, wherever it ends: gives *stop, the first byte that is no part
 * of it. They take digits, points and minus signs alone, so what they have read is a whole field if a delimiter
 * follows. NULL: no usual one, or none that ends within some 16 bytes.
 */
#define TRANSCODE_USUAL(name) char *name(char *at, const char *text, const char **stop)

TRANSCODE_USUAL(transcode_usual_int2);
TRANSCODE_USUAL(transcode_usual_int4);
TRANSCODE_USUAL(transcode_usual_int8);
TRANSCODE_USUAL(transcode_usual_float8);
TRANSCODE_USUAL(transcode_sse_int2);
TRANSCODE_USUAL(transcode_sse_int4);
TRANSCODE_USUAL(transcode_sse_int8);
TRANSCODE_USUAL(transcode_sse_float8);

/* ---- Bytes in network order ---- */

static inline char *put_int16(char *at, int16_t value)
{
    uint16_t bytes = htobe16((uint16_t)value);

    memcpy(at, &bytes, sizeof bytes);
    return at + sizeof bytes;
}

static inline char *put_int32(char *at, int32_t value)
{
    uint32_t bytes = htobe32((uint32_t)value);

    memcpy(at, &bytes, sizeof bytes);
    return at + sizeof bytes;
}

static inline char *put_int64(char *at, int64_t value)
{
    uint64_t bytes = htobe64((uint64_t)value);

    memcpy(at, &bytes, sizeof bytes);
    return at + sizeof bytes;
}

/* Eight bytes of text, the first one lowest. */
static inline uint64_t load_text(const char *text)
{
    uint64_t word;

    memcpy(&word, text, sizeof word);
    return le64toh(word);
}

/* ---- Parts of texts ---- */

/* The server's isspace, as far as it is the same in all locales. */
static inline bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline unsigned digit_of(char c)
{
    return (unsigned)(unsigned char)c - '0';
}

static inline void trim_spaces(const char **text, size_t *size)
{
    while (*size > 0 && is_space(**text)) {
        ++*text;
        --*size;
    }
    while (*size > 0 && is_space((*text)[*size - 1]))
        --*size;
}

/* Digits that always fit in 64 bits; powers of ten up to here do too. */
#define DIGITS_MAX 19
/* Longer numbers are not worth being converted. */
#define NUMBER_SIZE_MAX 400

extern const uint64_t transcode_tens[DIGITS_MAX + 1];

/* Digits of whole numbers that are doubles; powers of ten that are. */
#define DIGITS_EXACT 15
extern const double transcode_exact_tens[23];

/* How many of eight bytes are digits, from the first one on. Carries only spoil what is behind the first other one. */
static inline int digits_ahead(uint64_t digits)
{
    uint64_t others = ((digits + UINT64_C(0x7676767676767676)) | digits) & UINT64_C(0x8080808080808080);

    return others != 0 ? __builtin_ctzll(others) / 8 : 8;
}

/* The number that eight digits are, the first one lowest: pairs, then fours, then all. */
static inline uint64_t digits_value(uint64_t digits)
{
    digits = (digits * 10 + (digits >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    digits = (digits * 100 + (digits >> 16)) & UINT64_C(0x0000ffff0000ffff);
    return (digits * 10000 + (digits >> 32)) & UINT64_C(0xffffffff);
}

/* Sixteen bytes of text, digits as numbers; and a bit for each byte that is no digit, the first one lowest. */
struct sixteen {
    unsigned __int128 digits;
    unsigned others;
};

/* Bit i for byte i: the product brings the top bits of all bytes together, without a carry. */
static inline unsigned others_bits(uint64_t digits)
{
    uint64_t others = ((digits & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x7676767676767676)) | digits;

    return (unsigned)(((others & UINT64_C(0x8080808080808080)) >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

static inline struct sixteen sixteen_load(const char *text)
{
    uint64_t low = load_text(text) ^ UINT64_C(0x3030303030303030);
    uint64_t high = load_text(text + 8) ^ UINT64_C(0x3030303030303030);

    return (struct sixteen){(unsigned __int128)high << 64 | low, others_bits(low) | others_bits(high) << 8};
}

/* Where the first of the bits is, 0 to 15; 16: there is none. */
static inline int sixteen_first(unsigned bits)
{
    return __builtin_ctz(bits | 0x10000);
}

/* The number that the first `count` digits are, from 1 to 16. */
static inline uint64_t sixteen_value(unsigned __int128 digits, int count)
{
    digits <<= 8 * (16 - count);
    return digits_value((uint64_t)digits) * 100000000 + digits_value((uint64_t)(digits >> 64));
}

/*
 * A decimal number as it is written: 12.50e3 has digits 1250, 2 of them behind the point, exponent 3. The digits lie
 * between `first` and `end`, perhaps with a point.
 */
struct decimal {
    const char *first, *end; /* from the first digit that is not 0 */
    uint64_t value;          /* of the digits, if there are no more than 19 */
    int digits;              /* how many there are from there on; 0: zero */
    int scale;               /* how many stand behind the point, zeros in front too */
    int exponent;
    bool negative;
};

/* False for what is no such number, or beyond what anybody needs. No blanks around. */
bool decimal_read(const char *text, size_t size, struct decimal *decimal);
