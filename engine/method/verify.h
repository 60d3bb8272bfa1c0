/*
 * Compares a window of two tables range by range, and repairs what differs.
 *
 *     ranges:       |=====|=====|==≠==|=====|     several at a time; each on both sides at once: see rowhash.h
 *     differs:                  |==|≠≠|==|        looked at again in parts, until the parts are small
 *     second look:                 |·≠··≠·|       a second later or more: rows missing, extra, different, as they are
 *     repair:                        |≠≠≠|        from the first such row to the last; then looked at once more, a
 * second later, as dual writes may have been at it
 *
 * Readers take no locks but those of a SELECT, in read-only sessions; the source may be a hot standby. A row that was
 * on its way to the other side while it was compared is no difference: only what differs at the second look counts.
 *
 * Ranges that were found equal are remembered in the ledger's schema in the target, where all state of a migration is:
 * any host can go on, and it cannot be lost apart from the rows that it speaks of. Another call with the same identity
 * goes on, until one has come to the end; the next one then begins afresh.
 */
#pragma once

#include "engine/layout.h"
#include "engine/method/rowhash.h"
#include "engine/pg/pg.h"
#include "writers/target.h"

enum verify_kind {
    VERIFY_MISSING,   /* in the source alone */
    VERIFY_EXTRA,     /* in the target alone */
    VERIFY_DIFFERENT, /* on both sides with the same key */
};

/* A row that differs, as a line of COPY text without its end; NULL on the side that has none. */
struct verify_row {
    enum verify_kind kind;
    char *lines[2]; /* source, target */
};

/* A stretch of time that differs: from the first row that does to the last, unless `more`. */
struct verify_difference {
    struct range range;
    int64_t rows[2]; /* in what was looked at, which may be longer */
    int64_t missing, extra, different;
    bool more;     /* not all of it was looked at row by row: there are as many as said, or more */
    bool repaired; /* and found equal after it */
    struct verify_row *examples;
    size_t example_count;
};

#define VERIFY_KEY_MAX 32 /* INDEX_MAX_KEYS of a server */

struct verify_report {
    /* Indexes into the columns: a key of the target, by which rows are paired; none if it has none. */
    int key[VERIFY_KEY_MAX];
    int key_count;
    size_t ranges, ranges_done;            /* in all; compared, by earlier calls too */
    size_t ranges_before;                  /* by earlier calls, which found them equal */
    char *before;                          /* when the first of these began, NULL if none */
    int64_t rows[2];                       /* source, target; at the first look */
    size_t settled;                        /* stretches that differed, and no more at the second look */
    struct verify_difference *differences; /* in the order of time */
    size_t difference_count;
    size_t open; /* of them that are not repaired */
};

struct verify_spec {
    const struct pg_address *addresses[2]; /* source, target */
    const struct table *tables[2];
    const char *const *columns; /* compared: names, not quoted; on both sides */
    int column_count;
    int time_index;              /* among them */
    const struct layout *layout; /* its ranges are the units of work; covers the window */
    const char *ledger_schema;
    const char *identity; /* what is compared, for remembering; NULL: nothing is remembered */
    bool afresh;          /* forget what earlier calls found */
    int jobs;             /* ranges at a time: as many connections to each side */
    int64_t retry_ms;
    size_t examples_max; /* rows kept of one difference */
    struct stop *stop;
    struct throttle
        *throttle; /* how fast rows are compared and repaired, and whether at all; NULL: as fast as it goes */
    /* After each range, one call at a time; NULL: none. */
    void (*progress)(void *context, const struct verify_report *report);
    void *progress_context;
    /* Loads the range of the source again, in place of what the target has there. STATUS_TRANSIENT is tried again.
     * NULL: nothing is repaired. */
    enum status (*repair)(void *context, struct range range, struct error *error);
    void *repair_context;
};

/*
 * Compares all rows of the window. STATUS_OK: it was compared to the end, and report->open says how many stretches
 * differ still. STATUS_STOPPED: asked to stop; what was found equal is remembered. The report is for
 * verify_report_reset in any case.
 */
MUST_CHECK enum status verify_window(const struct verify_spec *spec, struct range window, struct verify_report *report,
                                     struct error *error);
void verify_report_reset(struct verify_report *report);

/* ---- verify_repair.c */

/* A repair between the tables of the spec. */
struct verify_repair {
    const struct verify_spec *spec;
    const char *job; /* of the ledger, that may be unfinished all the same; NULL: none */
};

/*
 * For verify_spec.repair, context a struct verify_repair: one transaction of the target that deletes its rows of the
 * range and copies the source's. Doing it again changes nothing, so a commit whose answer was lost, or a kill, needs no
 * record. Repairs of one table wait for each other's transactions, those of sessions that were given up too; where a
 * job of the ledger is unfinished in the range it is refused, and none can begin meanwhile.
 */
MUST_CHECK enum status verify_repair_postgres(void *context, struct range range, struct error *error);

/* ---- verify_sent.c */

/* What the ledger has of a range, all inputs together. */
struct verify_sent {
    struct range range;
    int64_t rows;
};

/*
 * Counts the target's rows in ranges that were sent, which are sorted and apart. Sees rows that are gone or too many;
 * neither values that are others, nor rows in stretches for which nothing was sent. A throttle of NULL is fine.
 */
MUST_CHECK enum status verify_sent_rows(struct pg *pg, const struct table *table, const struct verify_sent *sent,
                                        size_t count, struct throttle *throttle, struct verify_report *report,
                                        struct error *error);
