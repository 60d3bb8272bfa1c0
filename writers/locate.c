/*
 * The record that COPY complained about, found in the piece that was sent.
 *
 * The server counts one line a record, and within quotes one more for each line end it knows by then
 * (CopyReadLineText): so none in the first record unless that is CR, which it takes for the line end while it knows
 * none. The line it names is the one where the record ends.
 */
#include "writers/append_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 200

struct walk {
    char quote, escape; /* escape is 0 where it is the quote */
    bool in_quote, after_escape, after_cr;
    char line_end; /* the last byte of a line end, 0 while unknown */
    bool crlf;
    int64_t line;   /* as the server counts */
    int64_t at;     /* bytes of the piece's text walked */
    int64_t lf, cr; /* bytes of these kinds so far, for lines of the input */
    /* Where the last stretch of the input began, and the counts there. */
    struct block_mark mark;
    int64_t mark_at, mark_lf, mark_cr;
    /* The record that is being walked. */
    bool inside;
    int64_t offset, input_line, record_lf, record_cr;
    char shown[SHOWN_MAX];
    size_t shown_size;
    bool cut;
};

int64_t locate_context_line(const char *context, const char *table_name)
{
    static const char copy[] = "COPY ";
    size_t name_size = strlen(table_name);

    for (const char *at = context; at != NULL && (at = strstr(at, copy)) != NULL; at++) {
        const char *name = at + strlen(copy);
        const char *digits;

        if ((at != context && at[-1] != '\n') || strncmp(name, table_name, name_size) != 0)
            continue;
        digits = name + name_size;
        if (*digits == '"')
            digits++;
        if (*digits != ',')
            continue;
        digits += strcspn(digits, "0123456789\n");
        return strtoll(digits, NULL, 10);
    }
    return 0;
}

static void record_begin(struct walk *walk)
{
    walk->inside = true;
    walk->line++;
    walk->offset = walk->mark.offset + (walk->at - walk->mark_at);
    walk->record_lf = walk->lf;
    walk->record_cr = walk->cr;
    walk->shown_size = 0;
    walk->cut = false;
}

static void record_show(struct walk *walk, char byte)
{
    if (walk->shown_size < SHOWN_MAX)
        walk->shown[walk->shown_size++] = byte;
    else
        walk->cut = true;
}

/* The server's toggle; true at the last byte of a record. */
static bool step(struct walk *walk, char byte)
{
    bool ends = false;

    if (walk->in_quote && walk->escape != 0 && byte == walk->escape)
        walk->after_escape = !walk->after_escape;
    if (byte == walk->quote && !walk->after_escape)
        walk->in_quote = !walk->in_quote;
    if (walk->escape == 0 || byte != walk->escape)
        walk->after_escape = false;
    if (walk->in_quote) {
        walk->line += byte == (walk->line_end == '\n' && !walk->crlf ? '\n' : '\r');
        walk->after_cr = false;
        return false;
    }
    if (byte == '\n' && (walk->line_end != '\r')) {
        if (walk->line_end == 0) {
            walk->line_end = '\n';
            walk->crlf = walk->after_cr;
        }
        ends = !walk->crlf || walk->after_cr;
    } else if (byte == '\r' && walk->line_end == '\r') {
        ends = true;
    }
    walk->after_cr = byte == '\r';
    return ends;
}

/* Line of the input where the record begins. */
static void settle_line(struct walk *walk)
{
    int64_t ends = walk->line_end == '\r' ? walk->record_cr - walk->mark_cr : walk->record_lf - walk->mark_lf;

    walk->input_line = (int64_t)walk->mark.line + ends;
}

/* True when the record that holds the wanted line has ended. */
static bool walk_span(struct walk *walk, const struct span *span, int64_t wanted)
{
    uint32_t next_mark = 0;

    for (uint32_t i = 0; i < span->size; i++) {
        char byte = span->data[i];

        while (next_mark < span->mark_count && span_mark(span, next_mark)->at <= i) {
            walk->mark = *span_mark(span, next_mark++);
            walk->mark_at = walk->at;
            walk->mark_lf = walk->lf;
            walk->mark_cr = walk->cr;
        }
        /* A CR that was taken for part of the first record's line end was all of it. */
        if (walk->inside && walk->line_end == 0 && walk->after_cr && byte != '\n') {
            walk->line_end = '\r';
            walk->inside = false;
            if (walk->line >= wanted)
                return true;
        }
        if (!walk->inside) {
            record_begin(walk);
            settle_line(walk);
        }
        walk->at++;
        walk->lf += byte == '\n';
        walk->cr += byte == '\r';
        record_show(walk, byte);
        walk->inside = !step(walk, byte);
        if (!walk->inside && walk->line >= wanted)
            return true;
    }
    return false;
}

/* Escapes what a terminal must not see; all but ASCII where the server has found bytes that are no characters. */
static void add_shown(struct error *error, const struct walk *walk)
{
    char text[4 * SHOWN_MAX + 1] = "";
    bool ascii_only = strcmp(error->sqlstate, "22021") == 0;
    size_t size = walk->shown_size, used = 0;

    /* Not half a character (UTF-8). */
    while (walk->cut && size > 0 && ((unsigned char)walk->shown[size - 1] & 0xc0) == 0x80)
        size--;
    if (walk->cut && size > 0 && (unsigned char)walk->shown[size - 1] >= 0xc0)
        size--;
    while (!walk->cut && size > 0 && (walk->shown[size - 1] == '\n' || walk->shown[size - 1] == '\r'))
        size--;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)walk->shown[i];

        if (byte < ' ' || byte == 0x7f || (byte >= 0x80 && ascii_only))
            used += (size_t)snprintf(text + used, sizeof text - used, "\\x%02x", byte);
        else
            text[used++] = (char)byte;
    }
    text[used] = '\0';
    error_hint(error, "\nRECORD:  %s%s", text, walk->cut ? "…" : "");
}

void locate_record(struct append_session *session, struct piece *piece, int64_t line, struct error *error)
{
    const struct append_input *input = append_input_of(session, piece);
    struct stats *stats = pipeline_stats(session->pipeline);
    struct walk walk = {
        .quote = input->quote,
        .escape = input->escape == input->quote ? '\0' : input->escape,
    };
    struct cursor cursor = {0};
    struct span span;
    struct error ignored;
    bool found = false;

    error_reset(&ignored);
    while (!found) {
        if (piece_next(piece, &cursor, session->packer, stats, &span, &ignored) != STATUS_OK || span.size == 0)
            break;
        found = walk_span(&walk, &span, line);
    }
    /* The last record may have no line end. */
    if (!found && !(walk.inside && walk.line >= line))
        return;
    error->line = piece_spec(piece)->first_line + walk.input_line;
    error->offset = walk.offset;
    add_shown(error, &walk);
}
