/*
 * Cuts CSV text into records exactly where the server does (CopyReadLineText): a quote anywhere toggles, an escape
 * other than the quote counts only inside quotes and just before a quote or itself. The line end is learnt from the
 * first record and held to: the server learns it anew for each COPY, and pieces of one file must not disagree.
 */
#pragma once

#include "engine/error.h"

#include <stddef.h>

enum line_end { LINE_END_UNKNOWN, LINE_END_LF, LINE_END_CRLF, LINE_END_CR };

enum cut { CUT_RECORD, CUT_MORE, CUT_BAD };

struct cutter {
    char quote, escape;
    char comment; /* first byte of lines that are none of the server's business, quotes in them or not; '\0': none */
    enum line_end line_end;
    /* State inside the record that is being cut, so that more bytes do not mean reading it again. */
    size_t scanned;
    bool in_quote, escaped;
    int64_t newlines;       /* line ends inside the record so far */
    int64_t quote_newlines; /* where the last quote opened, in line ends from the record's start */
    /* The next quote and carriage return in the buffer, or its end; NULL: not looked for. What lies before is cut by
     * memchr. */
    const char *next_quote;
    const char *next_return;
    const char *plain_end; /* with LF: the nearer one */
    const char *problem;   /* for CUT_BAD: what is wrong, a static phrase */
};

void cutter_init(struct cutter *cutter, char quote, char escape);

/*
 * `data` is the start of a record; `available` is not 0. CUT_RECORD: *size is its length with its line end. CUT_MORE:
 * the record does not end in these bytes; call again with the same start (it may have moved in memory) and more of
 * them. With `last` set there is no more: the rest is a record without a line end, unless a quote is open (CUT_BAD).
 * *lines is the count of physical lines it spans. A record that is only \. is bad: servers up to 17 take it for the end
 * of the data; but it is known where it ends, so then *size and *lines are its own. CUT_BAD of any other kind has *size
 * 0: where records end is in doubt.
 */
enum cut cutter_cut(struct cutter *cutter, const char *data, size_t available, bool last, size_t *size, int64_t *lines);

/* Whether what was cut is a comment. Set cutter->comment to have such lines cut as lines. */
static inline bool cutter_is_comment(const struct cutter *cutter, const char *record)
{
    return cutter->comment != '\0' && *record == cutter->comment;
}

/* The buffer has moved or was refilled: what was known of its text is no longer. */
void cutter_forget(struct cutter *cutter);

/* Whether the cutter knows that the record it has just cut, which ends at `end`, has no quote in it. */
static inline bool cutter_plain(const struct cutter *cutter, const char *end)
{
    return cutter->next_quote != NULL && end <= cutter->next_quote;
}

/* The size of a record that was cut, without its line end. */
static inline size_t record_text_size(const char *record, size_t size)
{
    if (size > 0 && record[size - 1] == '\n')
        size--;
    if (size > 0 && record[size - 1] == '\r')
        size--;
    return size;
}

/*
 * The index-th field of a record (without its line end), by the server's rule (CopyReadAttributesCSV): unquoted bytes
 * as they are, quotes removed and escapes resolved into `buffer` where needed. False if there are fewer fields or it
 * does not fit.
 */
struct csv_field {
    const char *text;
    size_t size;
    bool quoted; /* some part was quoted: never NULL */
};
bool cutter_field(const struct cutter *cutter, char delimiter, const char *record, size_t size, int index, char *buffer,
                  size_t buffer_size, struct csv_field *field);

/* How many fields the record has, by the same rule. */
int cutter_field_count(const struct cutter *cutter, char delimiter, const char *record, size_t size);

/* A field as it stands in the record, with its quotes. */
struct csv_raw_field {
    const char *text;
    size_t size;
    bool quoted;
};

/*
 * All fields of a record (without its line end), by the same rule: up to `room` of them into `fields`. Gives how many
 * there are; -1 if a quote is never closed.
 */
int cutter_fields(const struct cutter *cutter, char delimiter, const char *record, size_t size,
                  struct csv_raw_field *fields, int room);

/* The text of a field without its quotes and escapes into `buffer` of at least field->size; gives its size. */
size_t cutter_field_text(const struct cutter *cutter, const struct csv_raw_field *field, char *buffer);
