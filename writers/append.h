/*
 * Strategy `append`: COPY through the table itself, one piece a transaction. Always possible.
 *
 *     BEGIN; ledger row; overlap rule (first piece of the range); COPY; counts compared; ledger sums; COMMIT
 *
 * The overlap rule is not asked in a cell that is built in place and was empty when this run began it
 * (build_indexes.c): what came to it since stays, and is told when its indexes are made.
 *
 * Where bad rows may be rejected, a piece that has some is rolled back and written again carefully (writers/careful.h):
 * at once if it can be replayed, else when the source is asked again.
 *
 * A hypertable's chunk that does not exist yet is made before, in a short transaction of its own: chunk creation locks
 * the hypertable until commit, and two pieces that each create one would run one after the other. Community edition:
 * create_chunk. Apache edition: a real row is inserted, and the chunk that this very transaction created is emptied
 * (only if its pg_class row bears our transaction id: a chunk that somebody else made meanwhile is left alone). Not
 * done where row triggers would fire twice, or where the role may not; COPY then creates it.
 */
#pragma once

#include "engine/pipeline.h"
#include "writers/build.h"
#include "writers/ledger.h"
#include "writers/shape.h"
#include "writers/transcode.h"

enum overlap_rule { OVERLAP_RULE_ERROR, OVERLAP_RULE_REPLACE, OVERLAP_RULE_KEEP };

/* What the rows of one input look like; borrowed. */
struct append_input {
    const char *name;         /* for messages: file name, "standard input", or the source table */
    const char *column_list;  /* quoted, comma separated: the order of the CSV fields */
    const char *copy_options; /* "FORMAT csv, DELIMITER ';', …", or binary */
    const char *csv_options;  /* of pieces that are written carefully, and of replayed records: never binary */
    char quote, escape;       /* to find records in the text of a piece */
    /* Says why the reader could not route a record, in the error's text and SQLSTATE (22007: its time cannot be read);
     * NULL where it always can. */
    void (*explain)(const void *context, const char *record, size_t size, struct error *error);
    /* Of a source that is asked for ranges: whether a record must not be loaded, whatever the server makes of it, and
     * why, as above. The reader leaves it in a piece that is written carefully. NULL: never. */
    bool (*refuses)(const void *context, const char *record, size_t size, struct error *error);
    const void *context;
    /* What COPY gets of each record; NULL: the record as it is. */
    const struct shape *shape;
    /* For records that are in shape: rows of binary COPY, where it has them; NULL: all go as CSV. See writers/wire.h.
     */
    const struct transcoder *transcoder;
    bool sorted;              /* the reader gives the rows of a range in the builds' order */
    struct sorter_spec *sort; /* how they can be brought into it; NULL: they cannot */
};

/* Shared by all writer sessions; lives as long as the pipeline. */
struct append_target {
    const struct pg_address *address;
    const struct pg_setting *settings;
    const struct ledger *ledger;
    const struct table *table;
    enum overlap_rule overlap;
    bool skip_conflicts;               /* rows whose key is there already are left out: writers/staging.h */
    char *staging;                     /* the temporary table's name, made by init; NULL without skip_conflicts */
    const struct append_input *inputs; /* by piece_spec.input */
    size_t input_count;
    /* Bad rows; the limit is for the whole job, which had `rejects` and `rows_seen` (these included) at the start. */
    bool reject;
    int64_t rejects_max; /* -1: percent counts */
    double rejects_percent;
    _Atomic int64_t rejects, rows_seen;
    pthread_mutex_t mutex; /* guards made */
    struct range *made;    /* cells that exist for sure: known at start or made by us */
    size_t made_count, made_room;
    struct builds *builds;     /* cells that are built; NULL: none */
    bool create_partitions;    /* those that are missing: writers/partitions.h */
    bool compress_by_policy;   /* only what the table's policy would compress, too */
    const char *policy_jobs;   /* ids of policies that count as on, as "{1,2}": a run pauses them while it loads */
    int64_t sort_bytes_max;    /* what each session may hold to sort a piece */
    struct throttle *throttle; /* of replayed records alone, since pieces have the pipeline's; NULL: none */
    bool ahead;                /* make chunks ahead: set by init, switched off when it turns out to be impossible */
};

MUST_CHECK enum status append_target_init(struct append_target *target,
                                          struct error *error); /* mutex, made, ahead from table */
void append_target_reset(struct append_target *target);

/* A share is judged from a thousand rows on, and at the end. */
bool append_target_exceeds(const struct append_target *target, int64_t rejects, int64_t rows_seen, bool at_end);

extern const struct writer_ops append_writer;

/*
 * Several tables of one server, with the same settings: a session writes each piece to the target that its table
 * (piece_spec.table) has here, over one connection. `target` of the pipeline is this.
 */
struct append_tables {
    struct append_target **targets;
    int32_t count;
};
extern const struct writer_ops append_tables_writer;
