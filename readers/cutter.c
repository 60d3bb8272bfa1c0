/*
 * The record cutter, and fields of records: the server's quote rule.
 *
 * libcsv reads the names of a header, and nothing else. Its callback gets a field without its quotes, so that of a text
 * for NULL, but for the empty one, nobody could say whether it was quoted; it knows no escape but the doubled quote,
 * and takes a quote inside of a bare field for a character. So it would read other values than the server does wherever
 * a dialect is not the usual one; and to explain a reject, the record has to be read as the server has read it.
 */
#include "readers/cutter.h"

#include <string.h>

#include "readers/words.h"

/* Kept out of its caller, which would save registers for it on each record. */
#define COLD_PATH __attribute__((noinline))

static const char unquoted_return[] =
    "unquoted carriage return: line ends must be the same in the whole input (LF here); quote the field that holds it";
static const char return_without_newline[] =
    "unquoted carriage return without a newline behind it: line ends must be the same in the whole input (CRLF here); "
    "quote the field that holds it";
static const char unquoted_newline[] =
    "unquoted newline: line ends must be the same in the whole input (with a carriage "
    "return here); quote the field that holds it";
static const char open_quote[] = "a quote is never closed: the input ends inside of it";
static const char end_of_data[] =
    "a line that is only \\. : servers up to PostgreSQL 17 take it for the end of the data "
    "and drop what follows; put quotes around it, or remove it";

void cutter_init(struct cutter *cutter, char quote, char escape)
{
    *cutter = (struct cutter){.quote = quote, .escape = escape};
}

void cutter_forget(struct cutter *cutter)
{
    cutter->next_quote = NULL;
    cutter->next_return = NULL;
    cutter->plain_end = NULL;
}

static enum cut cut_bad(struct cutter *cutter, const char *problem)
{
    cutter->problem = problem;
    return CUT_BAD;
}

/* A record of `size` bytes ends, and the state for it. */
static enum cut cut_record(struct cutter *cutter, const char *data, size_t size, size_t *result)
{
    cutter->scanned = 0;
    *result = size;
    if (size <= 4 && size >= 2 && data[0] == '\\' && data[1] == '.' && record_text_size(data, size) == 2)
        return cut_bad(cutter, end_of_data);
    return CUT_RECORD;
}

/* A return outside of quotes. CUT_RECORD: the record ends, *size says where. */
static enum cut cut_return(struct cutter *cutter, const char *data, size_t at, size_t available, bool last,
                           size_t *size)
{
    bool newline = at + 1 < available && data[at + 1] == '\n';

    *size = at + 1;
    if (cutter->line_end == LINE_END_LF)
        return cut_bad(cutter, unquoted_return);
    if (cutter->line_end == LINE_END_CR)
        return CUT_RECORD;
    if (at + 1 == available && !last)
        return CUT_MORE;
    if (cutter->line_end == LINE_END_CRLF && !newline)
        return cut_bad(cutter, return_without_newline);
    if (newline) {
        cutter->line_end = LINE_END_CRLF;
        *size = at + 2;
        return CUT_RECORD;
    }
    cutter->line_end = LINE_END_CR;
    /* Until now lines were counted by newlines. */
    cutter->newlines = 0;
    for (size_t i = 0; i < at; i++)
        cutter->newlines += data[i] == '\r';
    return CUT_RECORD;
}

/* Goes through what a quote covers, from `at`; returns where it ends, behind the closing quote, or `available`. */
static size_t skip_quoted(struct cutter *cutter, const char *data, size_t at, size_t available)
{
    /* The server drops an escape that is the quote itself: then doubling is two toggles. */
    const char quote = cutter->quote, escape = cutter->escape == quote ? '\0' : cutter->escape;
    const char line_end = cutter->line_end == LINE_END_CR ? '\r' : '\n';
    bool escaped = cutter->escaped;
    int64_t newlines = 0;

    /* Most inputs have no such escape, and this is where quoted ones spend their time. */
    if (escape == '\0') {
        while (at < available && data[at] != quote)
            newlines += data[at++] == line_end;
        cutter->in_quote = at == available;
        cutter->newlines += newlines;
        return at < available ? at + 1 : at;
    }
    while (at < available && cutter->in_quote) {
        const char c = data[at++];

        if (c == escape) {
            escaped = !escaped;
            continue;
        }
        if (c == quote && !escaped)
            cutter->in_quote = false;
        escaped = false;
        newlines += c == line_end;
    }
    cutter->escaped = escaped;
    cutter->newlines += newlines;
    return at;
}

/*
 * By words, as far as no record can end: goes on from `at`, and returns where the bytes have to be looked at one by
 * one. Only for quotes that toggle.
 */
static size_t skip_words(struct cutter *cutter, const char *data, size_t at, size_t available)
{
    const uint64_t quote = word_of(cutter->quote), counted = word_of(cutter->line_end == LINE_END_CR ? '\r' : '\n');
    const char *end = data + available;
    bool open = cutter->in_quote;

    for (; available - at >= WORD_SIZE; at += WORD_SIZE) {
        uint64_t word = word_read(data + at, end), quotes = word_find(word, quote), controls = word_controls(word);
        uint64_t inside = word_inside(quotes, open), opening = quotes & inside, lines = 0;

        if (controls != 0) {
            if ((controls & ~inside) != 0)
                break;
            lines = word_find(word, counted);
        }
        /* How many are below the last quote that opens. */
        if (opening != 0)
            cutter->quote_newlines =
                cutter->newlines + word_count(lines & ((UINT64_C(1) << word_last_bit(opening)) - 1));
        if (lines != 0)
            cutter->newlines += word_count(lines);
        open = word_stays_open(inside);
    }
    cutter->in_quote = open;
    return at;
}

/* Byte by byte from cutter->scanned on (CopyReadLineText). */
static enum cut cut_by_byte(struct cutter *cutter, const char *data, size_t available, bool last, size_t *size)
{
    const char quote = cutter->quote;
    size_t at = cutter->scanned, end = 0;
    enum cut cut = CUT_MORE;

    if (cutter->escape == quote)
        at = skip_words(cutter, data, at, available);
    while (at < available) {
        if (cutter->in_quote) {
            at = skip_quoted(cutter, data, at, available);
            continue;
        }
        while (at < available && data[at] != quote && data[at] != '\n' && data[at] != '\r')
            at++;
        if (at == available)
            break;
        if (data[at] == quote) {
            cutter->in_quote = true;
            cutter->quote_newlines = cutter->newlines;
            at++;
            continue;
        }
        if (data[at] == '\n') {
            if (cutter->line_end == LINE_END_CR || cutter->line_end == LINE_END_CRLF)
                return cut_bad(cutter, unquoted_newline);
            cutter->line_end = LINE_END_LF;
            end = at + 1;
            cut = CUT_RECORD;
        } else {
            cut = cut_return(cutter, data, at, available, last, &end);
        }
        break;
    }
    if (cut == CUT_MORE && last) {
        if (cutter->in_quote)
            return cut_bad(cutter, open_quote);
        end = available;
        cut = CUT_RECORD;
    }
    cutter->scanned = at;
    return cut == CUT_RECORD ? cut_record(cutter, data, end, size) : cut;
}

/* Where `c` comes next; what is known from before is used. */
static const char *next_of(const char *known, char c, const char *data, const char *end)
{
    if (known != NULL && known >= data)
        return known;
    known = memchr(data, c, (size_t)(end - data));
    return known != NULL ? known : end;
}

/* The size of the record, if that can be seen without a look at each byte; else 0, and perhaps cutter->scanned. */
static size_t cut_plain(struct cutter *cutter, const char *data, const char *end)
{
    const char *newline, *clean;

    if (cutter->line_end != LINE_END_LF && cutter->line_end != LINE_END_CRLF)
        return 0;
    clean = cutter->next_quote = next_of(cutter->next_quote, cutter->quote, data, end);
    if (cutter->line_end == LINE_END_LF) {
        cutter->next_return = next_of(cutter->next_return, '\r', data, end);
        if (cutter->next_return < clean)
            clean = cutter->next_return;
        cutter->plain_end = clean;
    }
    newline = memchr(data, '\n', (size_t)(clean - data));
    if (cutter->line_end == LINE_END_LF) {
        if (newline == NULL)
            cutter->scanned = (size_t)(clean - data);
        return newline != NULL ? (size_t)(newline - data) + 1 : 0;
    }
    if (newline == NULL || newline == data || newline[-1] != '\r' ||
        memchr(data, '\r', (size_t)(newline - data) - 1) != NULL)
        return 0;
    return (size_t)(newline - data) + 1;
}

/* A comment ends with its line, whatever is in it; what line ends the records have is not learnt from it. */
static enum cut cut_comment(const struct cutter *cutter, const char *data, size_t available, bool last, size_t *size)
{
    size_t at = 0;

    if (cutter->line_end == LINE_END_UNKNOWN) {
        while (at < available && data[at] != '\n' && data[at] != '\r')
            at++;
        if (at < available && data[at] == '\r') {
            if (at + 1 == available && !last)
                return CUT_MORE;
            at += at + 1 < available && data[at + 1] == '\n';
        }
    } else {
        const char *end = memchr(data, cutter->line_end == LINE_END_CR ? '\r' : '\n', available);

        at = end != NULL ? (size_t)(end - data) : available;
    }
    if (at == available && !last)
        return CUT_MORE;
    *size = at < available ? at + 1 : available;
    return CUT_RECORD;
}

/* A record of which nothing is known, or that is not plain. */
static COLD_PATH enum cut cut_any(struct cutter *cutter, const char *data, size_t available, bool last, size_t *size,
                                  int64_t *lines)
{
    enum cut cut;

    if (cutter_is_comment(cutter, data)) {
        *lines = 1;
        return cut_comment(cutter, data, available, last, size);
    }
    if (cutter->scanned == 0) {
        size_t plain;

        cutter->in_quote = cutter->escaped = false;
        cutter->newlines = 0;
        plain = cut_plain(cutter, data, data + available);
        if (plain > 0) {
            *lines = 1;
            return cut_record(cutter, data, plain, size);
        }
    }
    *size = 0;
    *lines = 1;
    cut = cut_by_byte(cutter, data, available, last, size);
    if (cut == CUT_RECORD)
        *lines = cutter->newlines + 1;
    return cut;
}

enum cut cutter_cut(struct cutter *cutter, const char *data, size_t available, bool last, size_t *size, int64_t *lines)
{
    if (data < cutter->plain_end && cutter->scanned == 0 && cutter->comment == '\0') {
        const char *newline = memchr(data, '\n', (size_t)(cutter->plain_end - data));

        /* Shorter ones may be the end of the data. */
        if (newline != NULL && newline - data > 4) {
            *size = (size_t)(newline - data) + 1;
            *lines = 1;
            return CUT_RECORD;
        }
    }
    return cut_any(cutter, data, available, last, size, lines);
}
