/* numeric: digits of base 10000, as numeric_recv takes them. It rounds by the type modifier itself. */
#include "writers/transcode_private.h"

#include <strings.h>

#define GROUP_DIGITS 4
#define SIGN_NEGATIVE 0x4000
#define SIGN_NAN ((int16_t)0xC000)
/* Exponents beyond are refused: they may be more than the server's numeric holds. */
#define EXPONENT_MAX 1000

static char *put_head(char *at, int groups, int weight, int16_t sign, int scale)
{
    at = put_int32(at, 8 + 2 * groups);
    at = put_int16(at, (int16_t)groups);
    at = put_int16(at, (int16_t)weight);
    at = put_int16(at, sign);
    return put_int16(at, (int16_t)scale);
}

/* The first group has `lead` digits, and the last is filled up with zeros. */
static char *put_groups(char *at, const struct decimal *decimal, int lead)
{
    int group = 0, left = lead;

    for (const char *digit = decimal->first; digit < decimal->end; digit++) {
        if (*digit == '.')
            continue;
        group = group * 10 + (int)digit_of(*digit);
        if (--left > 0)
            continue;
        at = put_int16(at, (int16_t)group);
        group = 0;
        left = GROUP_DIGITS;
    }
    if (left == GROUP_DIGITS)
        return at;
    while (left-- > 0)
        group *= 10;
    return put_int16(at, (int16_t)group);
}

TRANSCODE_VALUE(transcode_numeric)
{
    struct decimal decimal;
    int scale, first, lead, weight;

    (void)zone;
    trim_spaces(&text, &size);
    if (size == 3 && strncasecmp(text, "nan", 3) == 0)
        return put_head(at, 0, 0, SIGN_NAN, 0);
    if (!decimal_read(text, size, &decimal) || decimal.exponent > EXPONENT_MAX || decimal.exponent < -EXPONENT_MAX)
        return NULL;
    scale = decimal.scale > decimal.exponent ? decimal.scale - decimal.exponent : 0;
    if (decimal.digits == 0)
        return put_head(at, 0, 0, 0, scale);
    /* The power of ten of the first digit; groups are counted from the point. */
    first = decimal.digits - 1 + decimal.exponent - decimal.scale;
    lead = ((first % GROUP_DIGITS) + GROUP_DIGITS) % GROUP_DIGITS + 1;
    weight = (first - (lead - 1)) / GROUP_DIGITS;
    at = put_head(at, 1 + (decimal.digits - lead > 0 ? (decimal.digits - lead + GROUP_DIGITS - 1) / GROUP_DIGITS : 0),
                  weight, decimal.negative ? SIGN_NEGATIVE : 0, scale);
    return put_groups(at, &decimal, lead);
}
