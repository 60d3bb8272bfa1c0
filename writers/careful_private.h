/*
 * Between careful.c (what is taken and what is not) and careful_reject.c (what becomes of what is not).
 */
#pragma once

#include "writers/careful.h"
#include "writers/records.h"
#include "writers/rejects.h"

#define SEGMENT_MAX 4096

/* A record of the segment; its text is in `text` of the writing, and what COPY gets of it in `shaped`. */
struct held {
    size_t at, size;
    size_t sent_at, sent_size;
    int64_t offset, line;
};

/* The writing of a piece. */
struct careful {
    struct append_session *session;
    const struct append_target *target;
    const struct append_input *input;
    const struct piece_spec *spec;
    struct piece *piece;
    struct careful_count *count;
    struct records records;
    struct reject_batch batch;
    /* The segment: kept until it is taken or rejected, since the piece may have given its blocks back. */
    char *text;
    size_t size, room;
    struct shape_text shaped; /* where the input has a shape */
    struct held held[SEGMENT_MAX];
    int held_count, limit;
    bool ended;          /* no record behind the segment */
    struct error reason; /* of the last COPY that failed */
    int named;           /* the record of it that the server has named, or -1 */
    bool certain;        /* and that it is bad needs no second try */
    char column[64];
};

/* Counts in the transaction and in the target. */
void careful_add(struct append_target *target, struct careful_count *count, int64_t rows, int64_t rejects);

/* Rejects the record for careful->reason and careful->column. STATUS_DATA when there are too many. */
MUST_CHECK enum status careful_reject_record(struct careful *careful, const char *text, size_t size, int64_t offset,
                                             int64_t line, struct error *error);

/* Rejects the record for careful->reason, which is the reader's: it may be about the time. */
MUST_CHECK enum status careful_reject_unrouted(struct careful *careful, const struct record *record,
                                               struct error *error);

/* Rejects every record of the piece, which is one of RANGE_REJECTS. */
MUST_CHECK enum status careful_reject_all(struct careful *careful, struct error *error);
