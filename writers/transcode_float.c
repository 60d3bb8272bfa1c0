/* Floats: the nearest one to what is written, as the server's strtod finds it. */
#include "writers/transcode_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

/*
 * The nearest number of `precision` bits to q * 2^exponent, to the even one of two; q has its highest or second highest
 * bit set, and `sticky` says that a little is missing. For results that are far from where doubles end.
 */
static double rounded(uint64_t q, bool sticky, int precision, int exponent)
{
    int shift = 64 - __builtin_clzll(q) - precision;
    uint64_t rest = q & ((UINT64_C(1) << shift) - 1), half = UINT64_C(1) << (shift - 1), scale;
    uint64_t kept = q >> shift;
    double power;

    kept += rest > half || (rest == half && (sticky || (kept & 1) != 0));
    scale = (uint64_t)(1023 + exponent + shift) << 52;
    memcpy(&power, &scale, sizeof power);
    return (double)kept * power;
}

/* value / 10^places, or value * 10^places: in whole numbers of 128 bits, so rounded once. */
static double quotient(uint64_t value, int places, int precision)
{
    int value_shift = __builtin_clzll(value), ten_shift = __builtin_clzll(transcode_tens[places]);
    unsigned __int128 dividend = (unsigned __int128)(value << value_shift) << 63;
    uint64_t divisor = transcode_tens[places] << ten_shift;
    uint64_t q = (uint64_t)(dividend / divisor);

    return rounded(q, dividend % divisor != 0, precision, ten_shift - value_shift - 63);
}

static double product(uint64_t value, int places, int precision)
{
    unsigned __int128 whole = (unsigned __int128)value * transcode_tens[places];
    uint64_t high = (uint64_t)(whole >> 64);
    int shift = high != 0 ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)whole);

    whole <<= shift;
    return rounded((uint64_t)(whole >> 64), (uint64_t)whole != 0, precision, 64 - shift);
}

/* The magnitude, by whole numbers; false where they do not reach. Zero is left to the caller. */
static bool magnitude(const struct decimal *decimal, int precision, double *value)
{
    int places = decimal->exponent - decimal->scale;

    if (decimal->digits > DIGITS_MAX || places < -DIGITS_MAX || places > DIGITS_MAX)
        return false;
    *value = places < 0 ? quotient(decimal->value, -places, precision) : product(decimal->value, places, precision);
    return true;
}

/* By the library, whose point may be a comma where somebody has set a locale: then it stops there. */
static bool library_read(const char *text, size_t size, bool wide, double *value)
{
    char copy[NUMBER_SIZE_MAX + 1], *end;

    memcpy(copy, text, size);
    copy[size] = '\0';
    errno = 0;
    *value = wide ? strtod(copy, &end) : (double)strtof(copy, &end);
    /* As float8in: too small is an error only where nothing is left. */
    return *end == '\0' && !isinf(*value) && (errno != ERANGE || *value != 0);
}

static bool special_read(const char *text, size_t size, double *value)
{
    bool negative = size > 0 && *text == '-', positive = size > 0 && *text == '+';

    if (size == 3 && strncasecmp(text, "nan", 3) == 0) {
        *value = NAN;
        return true;
    }
    text += negative || positive;
    size -= negative || positive;
    *value = negative ? -HUGE_VAL : HUGE_VAL;
    return (size == 3 && strncasecmp(text, "inf", 3) == 0) || (size == 8 && strncasecmp(text, "infinity", 8) == 0);
}

const double transcode_exact_tens[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool float_read(const char *text, size_t size, bool wide, double *value)
{
    struct decimal decimal;
    int places;

    trim_spaces(&text, &size);
    if (!decimal_read(text, size, &decimal))
        return special_read(text, size, value);
    places = decimal.exponent - decimal.scale;
    if (decimal.digits == 0)
        *value = 0;
    /* Both numbers are doubles themselves: then one operation rounds once. */
    else if (wide && decimal.digits <= DIGITS_EXACT && places >= -22 && places <= 22)
        *value = places < 0 ? (double)decimal.value / transcode_exact_tens[-places]
                            : (double)decimal.value * transcode_exact_tens[places];
    else if (!magnitude(&decimal, wide ? 53 : 24, value))
        return library_read(text, size, wide, value);
    if (decimal.negative)
        *value = -*value;
    return true;
}

/*
 * Most floats: 12, 3.25, -0.1. Up to 15 digits are a double, and so is the power of ten: one division rounds once.
 * Without loops, as lengths differ from number to number and wrong guesses of them would cost more than the rest.
 *
 *     5 4 . 4 6 7 ,       dot = 2, end = 6
 *     5 4 4 6 7 ,         the point taken out
 */
TRANSCODE_USUAL(transcode_usual_float8)
{
    bool negative = *text == '-';
    struct sixteen sixteen = sixteen_load(text + negative);
    int dot = sixteen_first(sixteen.others), end = dot, scale = 0;
    double value;
    int64_t bits;

    *stop = NULL;
    if (dot == 0)
        return NULL;
    text += negative;
    if (text[dot] == '.' && dot < 15) {
        unsigned __int128 before = ((unsigned __int128)1 << 8 * dot) - 1;

        end = sixteen_first(sixteen.others & (sixteen.others - 1));
        scale = end - dot - 1;
        sixteen.digits = (sixteen.digits & before) | (sixteen.digits >> 8 & ~before);
        if (scale == 0)
            return NULL;
    }
    if (end == 16 && scale == 0)
        return NULL;
    value = (double)(int64_t)sixteen_value(sixteen.digits, end - (scale > 0)) / transcode_exact_tens[scale];
    value = negative ? -value : value;
    *stop = text + end;
    memcpy(&bits, &value, sizeof bits);
    return put_int64(put_int32(at, 8), bits);
}

TRANSCODE_VALUE(transcode_float8)
{
    double value;
    int64_t bits;

    (void)zone;
    if (!float_read(text, size, true, &value))
        return NULL;
    memcpy(&bits, &value, sizeof bits);
    return put_int64(put_int32(at, 8), bits);
}

TRANSCODE_VALUE(transcode_float4)
{
    double value;
    float narrow;
    int32_t bits;

    (void)zone;
    if (!float_read(text, size, false, &value))
        return NULL;
    narrow = (float)value;
    memcpy(&bits, &narrow, sizeof bits);
    return put_int32(put_int32(at, 4), bits);
}
