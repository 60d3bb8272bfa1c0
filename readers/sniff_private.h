/* Between the files that look at heads: sniff.c (what is found), sniff_reading.c (which
 * delimiter and quote fit), sniff_values.c (what values look like). */
#pragma once

#include "readers/sniff.h"

struct sniff_head {
    const char *head; /* behind a BOM and lines to be skipped */
    size_t size;
    bool last;
    const struct sniff_given *given;
    struct sniff *sniff;
};

struct sniff_value {
    const char *text;
    size_t size;
    bool quoted;
};

/* The records of a head, read with one delimiter and quote. */
struct reading {
    char delimiter, quote;
    int records, fields;
    struct sniff_value *values; /* of record i, field j at [i * fields + j] */
    char *text;                 /* what was in quotes */
    bool consistent;            /* all records have the same number of fields */
    bool encloses;              /* some field is enclosed in the quote */
};

/* The reading that fits best. STATUS_USAGE where none does, or several do; else the caller frees it. */
MUST_CHECK enum status reading_choose(const struct sniff_head *look, struct reading *reading, struct error *error);
void reading_free(struct reading *reading);

/* A byte as options take it. */
const char *sniff_byte_text(char byte);

enum value_kind { VALUE_EMPTY, VALUE_NULL, VALUE_NUMBER, VALUE_DECIMAL_COMMA, VALUE_TIME, VALUE_TEXT };

enum value_kind value_kind(const struct sniff_value *value);

/* What all values of a column are, but for empty ones and those that stand for NULL; VALUE_EMPTY: there are no others.
 * The first record is left out where it could be a header. */
enum value_kind column_kind(const struct reading *reading, int field, bool without_first);

/* Bits by index into value_time_formats: those in which all values of the column can be read. */
extern const char *const value_time_formats[];
uint32_t column_time_formats(const struct reading *reading, int field, bool without_first);

/* Whether a text is one that is known to stand for NULL: its index into value_nulls, else -1. */
extern const char *const value_nulls[];
int value_null_index(const struct sniff_value *value);

static inline const struct sniff_value *reading_value(const struct reading *reading, int record, int field)
{
    return &reading->values[record * reading->fields + field];
}
