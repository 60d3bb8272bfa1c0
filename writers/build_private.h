/*
 * Between the files of strategy `build`: build.c (a cell that is built), build_join.c (whether one is), build_cells.c
 * (the cells of a job and who has which in hand), build_ledger.c (its table), build_probe.c (what a table allows),
 * build_statements.c (indexes dropped and made again), and one file a way.
 */
#pragma once

#include "writers/append_private.h"
#include "writers/build.h"
#include "writers/target_private.h"

/*
 * An option of each column by which minor releases of PostgreSQL 17 and before since November 2026 count its changes.
 * No two tables have it in common; the server lets it be set, and keeps its own.
 */
#define BUILD_COLUMN_VERSION "pg_attver"

/* Partitions of a natively partitioned table. */
struct partition_survey {
    int64_t count, refused; /* refused: cannot be built */
    char name[140];         /* of one of them */
    char refusal[200];      /* why */
    char whole[200];        /* why no partition can be built; "": they can */
};

/* What ways go by. */
struct build_facts {
    const struct table *table;
    bool owner, row_security;
    bool chunk_schema;      /* the role may create in the schema where a hypertable's chunks are made */
    int64_t indexes;        /* neither unique nor a constraint's */
    int64_t unique_indexes; /* or of exclusion constraints */
    int64_t foreign_keys, triggers;
    int64_t insert_triggers;                  /* of those, the ones that see or follow an INSERT */
    int timescaledb_major, timescaledb_minor; /* 0: not there */
    bool identity_missing;                    /* an identity column that is not loaded */
    struct partition_survey partitions;
    /* Of a hypertable: */
    bool own; /* its owner is the role itself, or the role may do all */
    bool heap, continuous_aggregates, tablespaces, chunk_skipping;
    bool columnstore;     /* compression is enabled */
    bool compress_policy; /* there is one that goes by the age of rows */
    bool direct_compress; /* the server knows the setting */
    int64_t checks;       /* CHECK, and NOT NULL but for the time */
    int64_t generated;
    struct build_order order; /* not known: the server has the choice, or it cannot be told from texts */
};

/* Whether TimescaleDB is of this version or later. */
bool build_since(const struct build_facts *facts, int major, int minor);
bool build_since_patch(const struct build_facts *facts, int major, int minor, int patch);
bool build_table_since(const struct table *table, int major, int minor, int patch);

/* --- build_statements.c --- */

/*
 * In a transaction: drops the indexes of these tables ("{1,2}", oids) that are neither unique nor a constraint's, under
 * a lock that it waits a second for. *statements makes them again (caller frees); it stays NULL where there are none.
 */
MUST_CHECK enum status build_drop_indexes(struct pg *pg, const char *oids, char **statements, struct error *error);

/* Makes them again by build->data, NULL: there are none; a table that was dropped meanwhile needs none. */
MUST_CHECK enum status build_make_indexes(struct pg *pg, const struct build *build, struct error *error);

/* --- build_move.c --- */

/*
 * In a transaction: inserts the rows of build->relation into the table and drops it. STATUS_DATA unless the server has
 * inserted as many as there were: a trigger or rule that came meanwhile may drop some.
 */
MUST_CHECK enum status build_move_rows(struct append_session *session, const struct build *build, struct error *error);

/* --- the ways --- */
extern const struct build_way build_indexes_way, build_partition_way, build_table_way;
extern const struct build_way build_attach_way, build_compress_way, build_compress_after_way;

/*
 * The chunks of a cell, as `chunk` with the columns status and relid, in a query that goes on with `what`; several
 * where there are space partitions.
 */
MUST_CHECK enum status build_query_chunks(struct append_session *session, struct range cell, const char *what,
                                          PGresult **result, struct error *error);

/* The same for chunks of which `which` is true, by the row `s` of dimension_slice. */
MUST_CHECK enum status build_find_chunks(struct pg *pg, const struct table *table, const char *which, const char *what,
                                         PGresult **result, struct error *error);

/* Locks the chunks of a cell against everybody, or fails soon. */
MUST_CHECK enum status build_lock_chunks(struct append_session *session, struct range cell, struct error *error);

/* --- build_compress.c --- */

/* The answer to a question about the chunks of a cell: one row, one boolean. */
MUST_CHECK enum status build_ask_chunks(struct append_session *session, struct range cell, const char *what,
                                        bool *answer, struct error *error);

/* Compresses what is not, or not wholly, or not in order. */
MUST_CHECK enum status build_compress_rest(struct append_session *session, struct range cell, struct error *error);

/* What each way into a columnstore needs. */
const char *build_refuse_columnstore(const struct build_facts *facts);

/* --- build_columnstore.c: what there is to know of a hypertable's columnstore --- */
MUST_CHECK enum status build_read_columnstore(struct pg *pg, const struct table *table, const struct build_wish *wish,
                                              struct build_facts *facts, struct error *error);
void build_order_reset(struct build_order *order);

MUST_CHECK enum status partition_survey(struct pg *pg, const struct table *table, struct partition_survey *survey,
                                        struct error *error);

/* --- build.c --- */

/* Whether the session loads all of its cell in the piece's own transaction. */
bool build_is_whole(const struct append_session *session);

/* Whether the piece itself would fail by it, too: other cells that cannot be built are appended. */
bool build_is_fatal(const struct append_session *session, const struct error *error);

MUST_CHECK enum status build_begin_transaction(struct append_session *session, struct error *error);

/* --- build_cells.c --- */

const struct build_plan *builds_plan(const struct builds *builds);
int64_t builds_rows_min(const struct builds *builds);
struct stop *builds_stop(const struct builds *builds);

/*
 * The cell once nobody else decides about it. *mine: it is BUILD_DECIDING now, and the caller has to. NULL: out of
 * memory, or the run is aborted.
 */
struct build *builds_claim(struct builds *builds, struct range cell, bool *mine);

/* Makes it BUILD_PUBLISHING if it is open; the caller publishes it then. */
bool builds_claim_open(struct builds *builds, struct build *build);

/* The same with whichever is open; NULL: none. */
struct build *builds_claim_next(struct builds *builds);

enum build_state builds_state(struct builds *builds, const struct build *build);
void builds_set(struct builds *builds, struct build *build, enum build_state state);

/* --- build_ledger.c; all but the first on rows of the session's job --- */

/* In the transaction of begin: the row. *there: another process has made it, and `build` is now what it says. */
MUST_CHECK enum status build_ledger_add(struct append_session *session, struct build *build, bool *there,
                                        struct error *error);

/* After the way's begin: relation, name and data. */
MUST_CHECK enum status build_ledger_set(struct append_session *session, const struct build *build, struct error *error);

/* Holds the row to the end of the transaction. *there false: it is published. */
MUST_CHECK enum status build_ledger_hold(struct append_session *session, const struct build *build, bool *there,
                                         struct error *error);

/* Deletes the row; waits for those that hold it. */
MUST_CHECK enum status build_ledger_remove(struct append_session *session, const struct build *build, bool *there,
                                           struct error *error);

/* All rows of a job: an array that the caller frees, its items by build_reset. */
MUST_CHECK enum status build_ledger_read(struct pg *pg, const struct ledger *ledger, const char *where,
                                         struct build **items, size_t *count, struct error *error);

/* Frees the texts. */
void build_reset(struct build *build);
