/*
 * Between the files of strategy `build`: build.c (who does what when), build_ledger.c (its table), build_probe.c (what
 * a table allows), build_statements.c (indexes dropped and made again), and one file a way.
 */
#pragma once

#include "writers/append_private.h"
#include "writers/build.h"
#include "writers/target_private.h"

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
    int timescaledb_major, timescaledb_minor; /* 0: not there */
    bool identity_missing;                    /* an identity column that is not loaded */
    struct partition_survey partitions;
};

/* Whether TimescaleDB is of this version or later. */
bool build_since(const struct build_facts *facts, int major, int minor);

/* --- build_statements.c --- */

/*
 * In a transaction: drops the indexes of these tables ("{1,2}", oids) that are neither unique nor a constraint's, under
 * a lock that it waits a second for. *statements makes them again (caller frees); it stays NULL where there are none.
 */
MUST_CHECK enum status build_drop_indexes(struct pg *pg, const char *oids, char **statements, struct error *error);

/* Makes them again by build->data; a table that was dropped meanwhile needs none. */
MUST_CHECK enum status build_make_indexes(struct pg *pg, const struct build *build, struct error *error);

/* --- the ways --- */
extern const struct build_way build_indexes_way, build_partition_way, build_table_way;

MUST_CHECK enum status partition_survey(struct pg *pg, const struct table *table, struct partition_survey *survey,
                                        struct error *error);

/* --- build.c --- */

/* Whether the session loads all of its cell in the piece's own transaction. */
bool build_is_whole(const struct append_session *session);

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
