/* Booleans, integers, and the reading of decimal numbers. */
#include "writers/transcode_private.h"

#include <strings.h>

/* Larger exponents are refused: no type holds them. */
#define EXPONENT_MAX 9999

const uint64_t transcode_tens[DIGITS_MAX + 1] = {1u,
                                                 10u,
                                                 100u,
                                                 1000u,
                                                 10000u,
                                                 100000u,
                                                 1000000u,
                                                 10000000u,
                                                 100000000u,
                                                 1000000000u,
                                                 10000000000u,
                                                 100000000000u,
                                                 1000000000000u,
                                                 10000000000000u,
                                                 100000000000000u,
                                                 1000000000000000u,
                                                 10000000000000000u,
                                                 100000000000000000u,
                                                 1000000000000000000u,
                                                 10000000000000000000u};

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

/* A minus sign, and 1 to 15 digits: no need to look for an overflow of 64 bits. */
static inline const char *usual_integer(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    struct sixteen sixteen = sixteen_load(text + negative);
    int count = sixteen_first(sixteen.others);

    if (count == 0 || count == 16)
        return NULL;
    *value = (int64_t)sixteen_value(sixteen.digits, count);
    *value = negative ? -*value : *value;
    return text + negative + count;
}

TRANSCODE_USUAL(transcode_usual_int2)
{
    int64_t value = 0;

    *stop = usual_integer(text, &value);
    return *stop != NULL && value == (int16_t)value ? put_int16(put_int32(at, 2), (int16_t)value) : NULL;
}

TRANSCODE_USUAL(transcode_usual_int4)
{
    int64_t value = 0;

    *stop = usual_integer(text, &value);
    return *stop != NULL && value == (int32_t)value ? put_int32(put_int32(at, 4), (int32_t)value) : NULL;
}

TRANSCODE_USUAL(transcode_usual_int8)
{
    int64_t value = 0;

    *stop = usual_integer(text, &value);
    return *stop != NULL ? put_int64(put_int32(at, 8), value) : NULL;
}

/* ---- Decimal numbers ---- */

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
        decimal->value = decimal->value * transcode_tens[count] + digits_value(digits << (64 - 8 * count));
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
