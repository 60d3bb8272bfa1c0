/*
 * Strategy `build`: a new or empty chunk is loaded without the indexes that would be kept up row by row, and gets them
 * once, sorted, when its rows are there.
 *
 *     first piece of a cell ─► does a way suit it? ── no ──► append
 *          │ yes                                             (COPY through the table itself)
 *          ├─ the piece has all rows of the cell, and the way loads aside:  all in the piece's transaction
 *          └─ else:   begin ─► pieces, any number of writers ─► publish        three kinds of transactions
 *
 * Between begin and publish the cell has a row in the ledger's table `build`; it is what a later run, or `clean`, goes
 * by. A piece holds a share lock on that row while it is written; publishing deletes the row, and so waits for the
 * pieces under way; a piece that finds no row any more goes through the table itself. So it never matters whether the
 * guess that a cell is complete was right, nor which process made it.
 *
 * A way is how a cell is built: see struct build_way. Which ways a table allows, and why not the others, is found out
 * once (build_probe); whether one suits a cell, when its first piece comes.
 */
#pragma once

#include "engine/pipeline.h"
#include "writers/ledger.h"
#include "writers/sorter.h"

struct append_input;
struct append_session;
struct build_way;

enum build_state {
    BUILD_UNDECIDED,
    BUILD_DECIDING,   /* some writer finds out; the others wait */
    BUILD_NONE,       /* through the table itself: no way suits it, or it is published */
    BUILD_WHOLE,      /* some writer loads all of it in one transaction; the others wait */
    BUILD_OPEN,       /* begun */
    BUILD_PUBLISHING, /* some writer publishes it */
};

/* One cell. State is guarded by the mutex of its builds; all else is fixed while it is BUILD_OPEN. */
struct build {
    struct range cell;
    enum build_state state;
    const struct build_way *way;
    char *relation; /* where COPY puts rows, quoted; NULL: the table itself */
    char *name;     /* the same as contexts of errors have it, unquoted; NULL: the table's */
    char *data;     /* the way's own, kept in the ledger */
    bool empty; /* its chunks had no row, under a lock, when this process began it: no range of it has rows of others */
};

struct build_facts;
struct build_wish;

struct build_way {
    const char *name; /* as the ledger has it; never changed */
    const char *text; /* for people */
    bool aside;       /* rows go into a table that nobody sees before it is published */
    bool compresses;  /* into a columnstore: what --strategy compress and --compress-after ask for */
    /* Of the whole table: whether the way is one for its kind, and what is in its way then; NULL: nothing. */
    bool (*concerns)(const struct build_facts *facts);
    const char *(*refuses)(const struct build_facts *facts, const struct build_wish *wish);
    /*
     * Whether the cell is new or empty, and of a kind that can be built so. Reads only, outside transactions. The chunk
     * of a way that is not `aside` has been made ahead.
     */
    enum status (*suits)(struct append_session *session, struct range cell, bool *suits, struct error *error);
    /* Both in a transaction. begin sets relation, name and data; *worth false: nothing is gained, nothing was done. */
    enum status (*begin)(struct append_session *session, struct build *build, bool *worth, struct error *error);
    enum status (*publish)(struct append_session *session, struct build *build, struct error *error);
    /* In each piece's transaction, before its rows; NULL: nothing is to be done there. */
    enum status (*enter)(struct append_session *session, struct build *build, struct error *error);
    /* In a transaction: the job is forgotten. Leaves no table of ours and nothing without its indexes. */
    enum status (*abandon)(struct pg *pg, const struct build *build, struct error *error);
    /* Of a way that loads aside, for a build that is begun: the part of the table, quoted, that has the cell's rows of
     * others. Whoever looks for them goes there and leaves the table itself, which publishing locks, alone. */
    const char *(*place)(const struct build *build);
};

/* All of them in the order of preference, ended by NULL. */
extern const struct build_way *const build_ways[];

/* By its name in the ledger; NULL: no such. */
const struct build_way *build_way_named(const char *name);

enum build_rule { BUILD_RULE_AUTO, BUILD_RULE_NEVER, BUILD_RULE_ALWAYS };

/* Whether chunks are to be compressed: where a policy would do it now, anyhow; directly if possible; afterwards. */
enum build_compress { BUILD_COMPRESS_AUTO, BUILD_COMPRESS_NEVER, BUILD_COMPRESS_ALWAYS, BUILD_COMPRESS_AFTER };

#define BUILD_WAYS_MAX 8

/* How rows must come to be compressed as they come: by segment, within a segment by time. */
struct build_order {
    char *columns[SORTER_KEYS_MAX]; /* names */
    bool integer[SORTER_KEYS_MAX];  /* else text */
    int count;
    bool descending;
    bool known;
};

/* How many chunks of the window are not compressed, or not wholly, and their rows outside of columnstores. */
MUST_CHECK enum status build_uncompressed(struct pg *pg, const struct table *table, struct range window,
                                          int64_t *chunks, int64_t *rows, struct error *error);

/* What a table allows. `why` says in a line why not the faster ones, or why none. */
struct build_plan {
    const struct build_way *ways[BUILD_WAYS_MAX]; /* in the order of preference */
    int count;
    char *why;
    struct build_order order;
};

/* What is to be loaded how, as far as ways depend on it. */
struct build_wish {
    enum build_rule rule;
    bool reject; /* bad rows are told apart */
    bool skip_conflicts;
    bool create_partitions; /* those that are missing are made */
    const struct append_input *inputs;
    size_t input_count;
    enum build_compress compress;
    const char *policy_jobs; /* as in struct append_target */
    const char *unsorted;    /* why rows cannot come in build_order; NULL: they can, or it is not known yet */
};

/* Looks at the table; STATUS_USAGE where --strategy build was asked for and no way is possible. */
MUST_CHECK enum status build_probe(struct pg *pg, const struct table *table, const struct build_wish *wish,
                                   struct build_plan *plan, struct error *error);
void build_plan_reset(struct build_plan *plan);

/* All cells of a job; shared by its writers. */
struct builds;

/* `plan` is borrowed. `rows_min`: a cell that is known to get fewer is appended. */
MUST_CHECK enum status builds_create(const struct build_plan *plan, int64_t rows_min, struct stop *stop,
                                     struct builds **builds, struct error *error);
void builds_free(struct builds *builds);

/* Takes over what earlier runs of the job have begun. *count: how many are open. */
MUST_CHECK enum status builds_load(struct builds *builds, struct pg *pg, const struct ledger *ledger, size_t *count,
                                   struct error *error);

/*
 * --defer-indexes: drops the table's own indexes, all but unique ones, to be published with the last cell. *begun
 * false: that was done before, or there are none. Before builds_load.
 */
MUST_CHECK enum status build_defer(struct pg *pg, const struct ledger *ledger, const struct table *table, bool *begun,
                                   struct error *error);
/* The plan's. */
const struct build_order *builds_order(const struct builds *builds);

/* How many are open now: begun and not published. */
size_t builds_open(struct builds *builds);

/* Whether one of them has rows that are no part of the table yet. */
bool builds_aside(struct builds *builds);

/*
 * For a piece that is about to be written: sets session->build, or leaves it NULL where the piece goes through the
 * table itself. Waits while another writer decides about the cell or loads all of it. `first` is the first text of the
 * piece as COPY gets it, for making a chunk ahead; where it is empty nothing new is begun. No transaction is open.
 */
MUST_CHECK enum status build_join(struct append_session *session, struct piece *piece, const struct span *first,
                                  struct error *error);

/* In the piece's transaction, before its rows: they go where they belong from now on (session->entered). */
MUST_CHECK enum status build_enter(struct append_session *session, struct error *error);

/* In the piece's transaction, behind its rows. */
MUST_CHECK enum status build_exit(struct append_session *session, struct error *error);

/*
 * After the transaction, whatever became of it; session->build is NULL then. Publishes the cell if it is complete now,
 * as far as known. That this fails is no failure of the piece: build_finish tries again.
 */
void build_leave(struct append_session *session, struct piece *piece, bool committed);

/* Publishes what is open, one cell after the other, until no writer has one left. */
MUST_CHECK enum status build_finish(struct append_session *session, struct error *error);

/* `clean`: what unfinished jobs of the table have begun is undone; in the transaction that forgets them. *aside: how
 * many of them had rows that were no part of the table. */
MUST_CHECK enum status build_abandon_all(struct pg *pg, const struct ledger *ledger, const char *jobs_sql,
                                         int64_t *count, int64_t *aside, struct error *error);
