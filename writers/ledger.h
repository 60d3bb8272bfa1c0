/*
 * The ledger: tables in the target that say which pieces are committed. The truth about a job.
 *
 *     hyperfill.job     one row a job: its fingerprint, the layout fixed at the first run, when finished
 *     hyperfill.piece   one row for each (job, input, range): the mark up to which it is committed
 *     hyperfill.build   one row for each chunk that is being built aside: see writers/build.h
 *     hyperfill.reject  the records that the table would not take, written with their piece: see writers/rejects.h
 *
 * The row of a piece is written as the first statement of the transaction that carries its rows. Its key locks out
 * everybody who would load the same: another process, another host, our own earlier attempt whose backend still lives.
 *
 * Where none may be made (`none`), an advisory lock on (job, range) does the locking out, to the end of the piece's
 * transaction, and who writes the piece empties its range first: then it does no harm to load it again, and what is
 * done stands in the checkpoint file alone. Pieces are whole ranges then, and functions here find nothing.
 */
#pragma once

#include "engine/pg/pg.h"
#include "engine/piece.h"
#include "writers/target.h"

struct ledger {
    char *schema;                                               /* as given, unquoted */
    char *job_table, *piece_table, *reject_table, *build_table; /* quoted and qualified */
    bool conflicts; /* rows that are left out are counted: an older ledger gets a column for it */
    bool rejects;   /* set by who writes rejects: a ledger of an earlier version gets its table of them */
    bool builds;    /* the same for its table of chunks that are being built: see writers/build.h */
    bool shared;    /* several inputs may have rows of one range */
    bool none;      /* there is no ledger: see above */
    char job[33];   /* id: hash of the fingerprint, hex */
};

void ledger_init(struct ledger *ledger, const char *schema, const char *job);
void ledger_reset(struct ledger *ledger);

/*
 * Makes the schema and tables where they are missing; safe when several do so at once. STATUS_SERVER with the GRANT
 * that is needed when the role may not (names --ledger-schema as the other way). Without a ledger: waits until pieces
 * that earlier runs of the job have left on the server have ended.
 */
MUST_CHECK enum status ledger_prepare(struct pg *pg, const struct ledger *ledger, struct error *error);

/* Whether the ledger's tables exist; changes nothing. */
MUST_CHECK enum status ledger_exists(struct pg *pg, const struct ledger *ledger, bool *exists, struct error *error);

/* Whether it has a table of rejects too, which earlier versions did not make. */
MUST_CHECK enum status ledger_has_rejects(struct pg *pg, const struct ledger *ledger, bool *exists,
                                          struct error *error);

/* Whether it has the table of chunks that are being built, and whether this role may read it. */
MUST_CHECK enum status ledger_has_builds(struct pg *pg, const struct ledger *ledger, bool *exists, bool *readable,
                                         struct error *error);

struct ledger_job {
    bool found;
    bool finished;
    char *fingerprint; /* key=value lines */
    char *layout;
    char *created;
};

/* The job with the ledger's id. */
MUST_CHECK enum status ledger_find_job(struct pg *pg, const struct ledger *ledger, struct ledger_job *job,
                                       struct error *error);
void ledger_job_reset(struct ledger_job *job);

/*
 * Registers the job if it is not there, with its layout. *layout_kept is the one that stands (caller frees): ours, or
 * that of another process that was faster. `lo`/`hi` are the window, used to find unfinished jobs of the same source
 * and table that overlap. `table_name` is table->sql: ledger_clean finds the jobs of a table that was made anew by it.
 */
MUST_CHECK enum status ledger_register(struct pg *pg, const struct ledger *ledger, uint32_t table_oid,
                                       const char *table_name, const char *source_key, struct range window,
                                       const char *fingerprint, const char *layout, char **layout_kept,
                                       struct error *error);

/* An unfinished other job of the same source on the same table whose window overlaps: its fingerprint, else NULL
 * (caller frees). */
MUST_CHECK enum status ledger_find_rival(struct pg *pg, const struct ledger *ledger, uint32_t table_oid,
                                         const char *source_key, struct range window, char **fingerprint,
                                         struct error *error);

/* A committed (input, range) of the job. */
struct ledger_row {
    int32_t input;
    struct range range;
    int64_t mark;
    uint64_t mark_hash[2];
    struct input_position frontier;
    int64_t rows, bytes;
    int64_t conflicts; /* rows that were left out */
};

/* All rows of the job, sorted by lo, input. Caller frees the array. */
MUST_CHECK enum status ledger_read(struct pg *pg, const struct ledger *ledger, struct ledger_row **rows, size_t *count,
                                   struct error *error);

/* Ranges of the table that other jobs have committed, sorted by lo; they may overlap. Caller frees the array. */
MUST_CHECK enum status ledger_read_others(struct pg *pg, const struct ledger *ledger, uint32_t table_oid,
                                          struct range **ranges, size_t *count, struct error *error);

/*
 * First statement of a piece's transaction, sent together with BEGIN: moves the mark from piece->begin to piece->end.
 * *already is set when the mark is at or beyond the end: somebody committed it; *rows and *bytes then hold the ledger's
 * numbers. *first_of_range tells that no piece of the range, of any input of the job, was committed before. A mark that
 * is somewhere else is STATUS_DATA: two different readings of one input. If the ledger is
 * `shared`, an advisory transaction lock on (job, range) is held from before this is decided to the end.
 */
MUST_CHECK enum status ledger_begin(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                    const struct input_position *frontier, bool *already, bool *first_of_range,
                                    int64_t *rows, int64_t *bytes, struct error *error);

/* Adds to the count of rows that were left out, in the piece's transaction; gives the new sum. Nothing, and 0, unless
 * ledger->conflicts. */
MUST_CHECK enum status ledger_add_conflicts(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                            int64_t piece_conflicts, int64_t *conflicts, struct error *error);

/* Adds the piece's rows and bytes to its row (the transaction's last statement) and commits; gives the new sums. */
MUST_CHECK enum status ledger_commit(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                     int64_t piece_rows, int64_t piece_bytes, int64_t *rows, int64_t *bytes,
                                     struct error *error);

MUST_CHECK enum status ledger_finish(struct pg *pg, const struct ledger *ledger, struct error *error);

/* What ledger_clean has done. */
struct ledger_cleaning {
    int64_t forgotten, kept; /* jobs */
    int64_t rejects;         /* of all these jobs, never replayed: gone with those that are forgotten */
    int64_t builds;       /* chunks that those that are forgotten had begun to build: they have their indexes again */
    int64_t builds_aside; /* of them: their rows were no part of the table, and are gone */
};

/*
 * Forgets the finished jobs of a table of which every reject was replayed, the others too if `all`; drops tables and
 * schema when nothing is left (the schema only if it is ours: named "hyperfill").
 */
MUST_CHECK enum status ledger_clean(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all,
                                    struct ledger_cleaning *cleaning, struct error *error);

/* A COMMIT of a transaction that has failed is answered by ROLLBACK and is no error to libpq: here it is one. */
MUST_CHECK enum status ledger_commit_plain(struct pg *pg, struct error *error);
