/*
 * Rejects: records that the table would not take, in a table of the ledger. A reject is written in the transaction of
 * its piece, so it is there exactly once, as rows are; the files that people see are made from this table.
 *
 * Corrected records are replayed in transactions that first mark the rejects as replayed: what is marked already is
 * loaded already.
 */
#pragma once

#include "writers/ledger.h"

struct reject_key {
    int32_t input;
    int64_t lo; /* of the range */
    int64_t offset;
};

/* Texts are borrowed, never NULL. */
struct reject {
    struct reject_key key;
    int64_t line;
    const char *column; /* "": unknown */
    const char *sqlstate;
    const char *reason;
    const char *record; /* the original bytes, with their line end */
    size_t size;
};

/* Rejects on their way into the table. Start with {0}. */
struct reject_batch {
    struct sql sql;
};
void reject_add(struct pg *pg, const struct ledger *ledger, struct reject_batch *batch, const struct reject *reject);

/* Whether they are so many that they should be sent. */
bool reject_is_full(const struct reject_batch *batch);

/* Sends them: where it is called decides which savepoint they belong to. */
MUST_CHECK enum status reject_flush(struct pg *pg, struct reject_batch *batch, struct error *error);
void reject_batch_reset(struct reject_batch *batch);

/* STATUS_SERVER unless the table has so many rejects of the piece: the last look before it is committed. */
MUST_CHECK enum status reject_verify(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                     int64_t count, struct error *error);

/* Of the job: all, and those that were not replayed. Both 0 where the ledger has no table of rejects. */
MUST_CHECK enum status reject_count(struct pg *pg, const struct ledger *ledger, int64_t *all, int64_t *open,
                                    struct error *error);

/* Calls for each reject of the job that was not replayed, by input and offset; one at a time is in memory. */
MUST_CHECK enum status reject_each(struct pg *pg, const struct ledger *ledger,
                                   enum status (*each)(void *context, const struct reject *reject, struct error *error),
                                   void *context, struct error *error);

/* A corrected record; or none, when the reject is to be dropped. */
struct replay {
    struct reject_key key;
    const char *text; /* without its line end */
    size_t size;
    bool drop;
    bool due; /* set by replay_begin: it was not replayed before */
};

/* Begins a transaction, marks what was not replayed before, and says which that is. A reject that the ledger does not
 * have is STATUS_USAGE. */
MUST_CHECK enum status replay_begin(struct pg *pg, const struct ledger *ledger, struct replay *replays, size_t count,
                                    struct error *error);

/* Counts those that are due, and are not dropped, as rows of their pieces, and commits. */
MUST_CHECK enum status replay_commit(struct pg *pg, const struct ledger *ledger, const struct replay *replays,
                                     size_t count, struct error *error);
