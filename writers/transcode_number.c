/* Booleans, integers and floats. */
#include "writers/transcode_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

/* Digits that always fit in 64 bits; powers of ten up to here do too. */
#define DIGITS_MAX 19
/* Digits of whole numbers that are doubles. */
#define DIGITS_EXACT 15
/* Larger exponents are refused: no type holds them. */
#define EXPONENT_MAX 9999
/* Longer numbers are not worth being converted. */
#define NUMBER_SIZE_MAX 400

static const uint64_t powers_of_ten[DIGITS_MAX + 1] = {UINT64_C(1),
                                                       UINT64_C(10),
                                                       UINT64_C(100),
                                                       UINT64_C(1000),
                                                       UINT64_C(10000),
                                                       UINT64_C(100000),
                                                       UINT64_C(1000000),
                                                       UINT64_C(10000000),
                                                       UINT64_C(100000000),
                                                       UINT64_C(1000000000),
                                                       UINT64_C(10000000000),
                                                       UINT64_C(100000000000),
                                                       UINT64_C(1000000000000),
                                                       UINT64_C(10000000000000),
                                                       UINT64_C(100000000000000),
                                                       UINT64_C(1000000000000000),
                                                       UINT64_C(10000000000000000),
                                                       UINT64_C(100000000000000000),
                                                       UINT64_C(1000000000000000000),
                                                       UINT64_C(10000000000000000000)};

/* ---- Booleans ---- */

/* parse_bool_with_len: words may be cut short as long as they differ. */
TRANSCODE_VALUE(transcode_bool)
{
    static const struct {
        const char *word;
        size_t least;
        bool value;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};

    (void)zone;
    trim_spaces(&text, &size);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (size >= words[i].least && size <= strlen(words[i].word) && strncasecmp(text, words[i].word, size) == 0) {
            at = put_int32(at, 1);
            *at++ = (char)words[i].value;
            return at;
        }
    return NULL;
}

/* ---- Integers ---- */

/* Decimal digits only: from 16 on the server reads other bases and underscores too. */
static bool integer_read(const char *text, size_t size, int64_t least, int64_t *value)
{
    uint64_t number = 0, most;
    bool negative;

    if (size > 0 && (is_space(text[0]) || is_space(text[size - 1])))
        trim_spaces(&text, &size);
    negative = size > 0 && *text == '-';
    if (size > 0 && (*text == '-' || *text == '+')) {
        text++;
        size--;
    }
    if (size == 0 || size > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        unsigned digit = digit_of(text[i]);

        if (digit > 9)
            return false;
        number = number * 10 + digit;
    }
    most = (uint64_t) - (least + 1) + negative;
    *value = (int64_t)(negative ? 0 - number : number);
    return number <= most;
}

TRANSCODE_VALUE(transcode_int2)
{
    int64_t value;

    (void)zone;
    return integer_read(text, size, INT16_MIN, &value) ? put_int16(put_int32(at, 2), (int16_t)value) : NULL;
}

TRANSCODE_VALUE(transcode_int4)
{
    int64_t value;

    (void)zone;
    return integer_read(text, size, INT32_MIN, &value) ? put_int32(put_int32(at, 4), (int32_t)value) : NULL;
}

TRANSCODE_VALUE(transcode_int8)
{
    int64_t value;

    (void)zone;
    return integer_read(text, size, INT64_MIN, &value) ? put_int64(put_int32(at, 8), value) : NULL;
}

/* ---- Decimal numbers ---- */

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

/* The digits from `at` on, added to the number as far as it holds them. */
static inline const char *digits_read(const char *at, const char *end, struct decimal *decimal)
{
    int count = 8;

    while (count == 8 && at < end) {
        uint64_t digits = load_text(at) ^ UINT64_C(0x3030303030303030);

        count = digits_ahead(digits);
        if (count > end - at)
            count = (int)(end - at);
        if (count == 0)
            break;
        /* Zeros in front of fewer. */
        decimal->value = decimal->value * powers_of_ten[count] + digits_value(digits << (64 - 8 * count));
        decimal->digits += count;
        at += count;
    }
    return at;
}

static inline const char *zeros_skip(const char *at, const char *end)
{
    while (at < end && *at == '0')
        at++;
    return at;
}

/* What is behind an e. */
static bool exponent_read(const char *at, const char *end, int *exponent)
{
    bool negative = at < end && *at == '-';
    int value = 0;

    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    for (; at < end && digit_of(*at) <= 9; at++)
        if (value <= EXPONENT_MAX)
            value = value * 10 + (int)digit_of(*at);
    *exponent = negative ? -value : value;
    return at == end && value <= EXPONENT_MAX;
}

bool decimal_read(const char *text, size_t size, struct decimal *decimal)
{
    const char *at = text, *end = text + size, *begin;
    bool any;

    *decimal = (struct decimal){.negative = size > 0 && *at == '-'};
    if (size == 0 || size > NUMBER_SIZE_MAX)
        return false;
    at += *at == '-' || *at == '+';
    begin = at;
    decimal->first = at = zeros_skip(at, end);
    at = digits_read(at, end, decimal);
    any = at > begin;
    if (at < end && *at == '.') {
        begin = ++at;
        if (decimal->digits == 0)
            decimal->first = at = zeros_skip(at, end);
        at = digits_read(at, end, decimal);
        decimal->scale = (int)(at - begin);
        any = any || at > begin;
    }
    decimal->end = at;
    if (!any)
        return false;
    return at == end || ((*at | 0x20) == 'e' && exponent_read(at + 1, end, &decimal->exponent));
}

/* ---- Floats ---- */

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
    int value_shift = __builtin_clzll(value), ten_shift = __builtin_clzll(powers_of_ten[places]);
    unsigned __int128 dividend = (unsigned __int128)(value << value_shift) << 63;
    uint64_t divisor = powers_of_ten[places] << ten_shift;
    uint64_t q = (uint64_t)(dividend / divisor);

    return rounded(q, dividend % divisor != 0, precision, ten_shift - value_shift - 63);
}

static double product(uint64_t value, int places, int precision)
{
    unsigned __int128 whole = (unsigned __int128)value * powers_of_ten[places];
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

/* Powers of ten that are doubles. */
static const double exact_tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* The next digits must be so many, from 1 to 8; what is behind them does not matter. */
static inline bool some_digits(const char *at, int count, uint64_t *value)
{
    uint64_t digits = load_text(at) ^ UINT64_C(0x3030303030303030);

    *value = digits_value(digits << (64 - 8 * count));
    return digits_ahead(digits) >= count;
}

/* Most floats: a sign, one to eight digits, a point, digits; 15 in all, so that one division makes the double. */
static inline bool usual_read(const char *text, size_t size, double *value)
{
    const char *end = text + size;
    bool negative = *text == '-';
    uint64_t digits, whole, high = 0, low;
    int count, left;

    text += negative;
    digits = load_text(text) ^ UINT64_C(0x3030303030303030);
    count = digits_ahead(digits);
    left = (int)(end - text) - count - 1;
    if (count == 0 || count + left > DIGITS_EXACT || left < 1 || text[count] != '.')
        return false;
    whole = digits_value(digits << (64 - 8 * count));
    text += count + 1;
    if (left > 8) {
        if (!some_digits(text, 8, &high) || !some_digits(text + 8, left - 8, &low))
            return false;
        low += high * powers_of_ten[left - 8];
    } else if (!some_digits(text, left, &low)) {
        return false;
    }
    *value = (double)(whole * powers_of_ten[left] + low) / exact_tens[left];
    if (negative)
        *value = -*value;
    return true;
}

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
        *value = places < 0 ? (double)decimal.value / exact_tens[-places] : (double)decimal.value * exact_tens[places];
    else if (!magnitude(&decimal, wide ? 53 : 24, value))
        return library_read(text, size, wide, value);
    if (decimal.negative)
        *value = -*value;
    return true;
}

TRANSCODE_VALUE(transcode_float8)
{
    double value;
    int64_t bits;

    (void)zone;
    if (!usual_read(text, size, &value) && !float_read(text, size, true, &value))
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
