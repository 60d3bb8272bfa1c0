/*
 * The records of a piece's text, one after the other, each in one stretch of memory and with its place in the input.
 *
 *     blocks:   | a,1\nb,"x | \ny"\nc,3\nd | ,4\n …        a mark at the start of each stretch of the input
 *     records:   a,1\n   b,"x\ny"\n   c,3\n   d,4\n        by the cutter's rule, so exactly the server's rows
 */
#pragma once

#include "engine/piece.h"
#include "readers/cutter.h"

struct record {
    const char *text; /* valid until the next call */
    size_t size;      /* with its line end; 0: there is none, the piece is at its end */
    int64_t offset;   /* in the input; of an addressable source in the piece's own text */
    int64_t line;     /* the physical line where it begins, from 1; counted in the same */
};

struct records {
    struct piece *piece;
    struct packer *packer;
    struct stats *stats;
    struct cutter cutter;
    struct cursor cursor;
    struct span span;
    uint32_t at;        /* in the span: what lies before is in records already, or carried */
    uint32_t next_mark; /* of the span */
    char *carried;      /* a record that began in an earlier span, and then the span that it ends in */
    size_t carried_size, carried_room;
    int64_t offset, line; /* of the next record, unless a mark says another */
    bool ended;
    bool source_failed; /* the error is the reader's own */
};

/* Borrows all; several may go through one replayable piece, one after the other. */
void records_init(struct records *records, struct piece *piece, char quote, char escape, struct packer *packer,
                  struct stats *stats);
void records_reset(struct records *records);

/* Waits as piece_next does, and fails with the reader's error if that failed. A record that is only \. is one. */
MUST_CHECK enum status records_next(struct records *records, struct record *record, struct error *error);

/*
 * By how much the server's line number grows at a record: it counts one a record, and within quotes one for each line
 * end as far as it knows that (CopyReadLineText). It knows none in the `first` record of a COPY, and then counts
 * carriage returns. The number it names is the one after the record's last byte.
 */
int64_t record_server_lines(const struct record *record, enum line_end line_end, bool first);
