/* Texts as they are, and uuid. */
#include "writers/transcode_private.h"

/* Also of json, which the server validates in both formats (json_recv), and of enums (enum_recv). */
TRANSCODE_VALUE(transcode_text)
{
    (void)zone;
    at = put_int32(at, (int32_t)size);
    memcpy(at, text, size);
    return at + size;
}

/* jsonb_recv: the version of the format, then the text. */
TRANSCODE_VALUE(transcode_jsonb)
{
    (void)zone;
    at = put_int32(at, (int32_t)size + 1);
    *at++ = 1;
    memcpy(at, text, size);
    return at + size;
}

/* Without jumps: letters and digits take turns as they like. */
static inline unsigned hex_value(char c, bool *valid)
{
    unsigned letter = (unsigned)((unsigned char)c | 0x20) - 'a';

    *valid &= (digit_of(c) <= 9) | (letter < 6);
    return ((unsigned)c & 0xf) + ((unsigned)c >> 6 & 1) * 9;
}

/* 32 digits, or with dashes in the four usual places. */
TRANSCODE_VALUE(transcode_uuid)
{
    bool dashed = size == 36, valid = true;

    (void)zone;
    if (!dashed && size != 32)
        return NULL;
    at = put_int32(at, 16);
    for (int i = 0; i < 16; i++) {
        unsigned high, low;

        if (dashed && (i == 4 || i == 6 || i == 8 || i == 10))
            valid &= *text++ == '-';
        high = hex_value(*text++, &valid);
        low = hex_value(*text++, &valid);
        *at++ = (char)(high << 4 | low);
    }
    return valid ? at : NULL;
}
