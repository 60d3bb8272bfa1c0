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

static inline int hex_value(char c)
{
    if (digit_of(c) <= 9)
        return (int)digit_of(c);
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 32 digits, or with dashes in the four usual places. */
TRANSCODE_VALUE(transcode_uuid)
{
    bool dashed = size == 36;

    (void)zone;
    if (!dashed && size != 32)
        return NULL;
    at = put_int32(at, 16);
    for (int i = 0; i < 16; i++) {
        int high, low;

        if (dashed && (i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
            return NULL;
        high = hex_value(*text++);
        low = hex_value(*text++);
        if (high < 0 || low < 0)
            return NULL;
        *at++ = (char)(high << 4 | low);
    }
    return at;
}
