/*
 * Between the files that read times: timevalue.c (what the server reads and exports usually have, on the fast path),
 * timevalue_loose.c (other spellings, epochs), timeform.c (patterns).
 */
#pragma once

#include "engine/timevalue.h"

struct cursor {
    const char *at;
    const char *end;
};

/* What a text says, before it is checked. */
struct fields {
    uint32_t year, month, day;
    uint32_t hour, minute, second;
    uint32_t micros; /* 0..1000000: seven nines round up */
    uint32_t zone_hour, zone_minute, zone_second;
    bool zone, zone_west;
    bool bc;
};

/* Digits behind the point, rounded as the server does; false if there is none. */
bool time_fraction_read(struct cursor *cursor, uint32_t *micros);

/* Z, +HH, +HHMM, +HH:MM, +HH:MM:SS */
bool time_zone_read(struct cursor *cursor, struct fields *fields);

/* Checks the fields and makes the column's value of them. */
enum time_problem time_instant_make(const struct time_column *column, const struct fields *fields, int64_t *value);

/* The column's value of a moment in UTC; a column without a zone gets the wall clock of the zone given, else of UTC. */
enum time_problem time_instant_take(const struct time_column *column, int64_t instant, int64_t *value);

/* Rarer spellings that the server reads too. The text has no blanks around it; all of it must be read. */
bool time_fields_read_loosely(struct cursor cursor, struct fields *fields);

/* For column->form other than TIME_FORM_ISO. */
enum time_problem time_form_parse(const struct time_column *column, struct cursor cursor, int64_t *value);

/* Of timevalue_loose.c, column->form is an epoch. */
enum time_problem time_epoch_parse(const struct time_column *column, struct cursor cursor, int64_t *value);

/* Parts of a text. Each moves the cursor behind what it has read. */
bool time_is_blank(char c);
bool time_is_digit(char c);
bool time_blanks_skip(struct cursor *cursor);          /* whether there was one */
bool time_char_skip(struct cursor *cursor, char c);    /* whether it was there */
size_t time_digits_ahead(const struct cursor *cursor); /* moves nothing */
/* From `least` to `most` digits. */
bool time_number_read(struct cursor *cursor, int least, int most, uint32_t *value);
/* The first of the words that the text goes on with, in any case of letters: its index, or -1. */
int time_word_read(struct cursor *cursor, const char *const words[], int count);
extern const char *const time_utc_words[3];
