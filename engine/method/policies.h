/*
 * The background jobs of a hypertable and of the continuous aggregates on it (also those on these), which must not run
 * while its history is loaded: retention drops what was just loaded, compression takes chunks from under the writers,
 * reorder locks them, refresh makes aggregates of what is half there.
 *
 *     hyperfill.policy        one row a job that is paused: written in the transaction that switches it off
 *     hyperfill.policy_hold   who wants it paused: runs, each known to live by an advisory lock, or a person
 *
 * A job that was off is left alone: no row, nothing to restore. The last holder that ends switches it on again; holders
 * that were killed do not count, so whoever comes next restores for them. A job that was switched on by hand meanwhile
 * stays on, and one that was deleted is no error.
 *
 * Retention is not switched on again where it would drop ranges that the ledger says were loaded: rows that were just
 * loaded must not vanish without a word, whichever process restores. Such a policy stays off, with a warning that says
 * how to go on: `allow_drop` (--allow-drop) switches it on all the same, a longer drop_after makes it harmless, and it
 * is looked at again whenever policies of the table are restored. What it was kept off for is
 * remembered with it, so that `clean` changes nothing. Retention of a continuous aggregate drops only what
 * can be computed again, but where jobs have loaded its rows (cascade.h): then it is as that of the table. That of
 * drop_created_before goes by the age of chunks, and is restored.
 */
#pragma once

#include "engine/retry.h"
#include "writers/ledger.h"

enum policy_kind { POLICY_RETENTION, POLICY_COMPRESSION, POLICY_REORDER, POLICY_REFRESH };

struct policy_job {
    int id;
    enum policy_kind kind;
    char *relation; /* what it works on, quoted */
    char *owner;
    char *stored;     /* what that is stored in: the hypertable itself, or the aggregate's */
    char *drop_after; /* of retention, as it says; NULL: it has none */
    char *since;      /* when it was paused by us; NULL: it was not */
    bool own;         /* of the hypertable itself, not of an aggregate */
    bool scheduled;   /* on */
    bool may_alter;   /* this role may switch it */
    bool running;     /* now */
    int runs, hands;  /* holders: runs that live, people */
    bool has_horizon; /* retention of the hypertable itself, drop_after read: what ends at or before `horizon` is
                         dropped */
    int64_t horizon;
};

struct policy_list {
    struct policy_job *items;
    size_t count;
    char *schema; /* of the extension's functions, quoted */
};

/*
 * Reads the jobs that matter, by id; empty, and not a query, where `table` is no hypertable of the community edition.
 * Changes nothing.
 */
MUST_CHECK enum status policies_read(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                     struct policy_list *list, struct error *error);
void policies_reset(struct policy_list *list);

/* "retention policy 1000 of public.metrics". */
#define POLICY_TEXT_MAX 256
const char *policy_text(const struct policy_job *job, char text[POLICY_TEXT_MAX]);

/* Ids of those that are on, or would be if we had not paused them, as "{1000,1001}"; a new string. */
char *policies_active(const struct policy_list *list);

/* STATUS_SERVER, with their names and what to do, if this role may not switch off one that is on. */
MUST_CHECK enum status policies_check_rights(const struct policy_list *list, const struct table *table,
                                             struct error *error);

/* Where retention of the table itself would drop what is loaded: what lies before this. False: nowhere. */
bool policies_horizon(const struct policy_list *list, int64_t *horizon);

/* --- switching, each in one transaction --- */

struct policies_switch {
    const struct ledger *ledger;
    const struct table *table;
    const char *holder; /* the job's id; NULL: a person */
    int key;            /* of the holder's advisory lock, see policies_hold; 0: a person */
    bool allow_drop;
    bool waits; /* a moment, for other holders to die: one that was killed just now still seems to live */
};

/* The advisory lock that says that a holder lives, as long as the connection does; draws *key. */
MUST_CHECK enum status policies_hold(struct pg *pg, int *key, struct error *error);

/* Pauses what is on, joins in where others have paused; *paused: how many this holder holds now. */
MUST_CHECK enum status policies_pause(struct pg *pg, const struct policies_switch *how, size_t *paused,
                                      struct error *error);

/* Waits until none of the table's paused jobs runs, and says what it waits for. STATUS_STOPPED from DRAIN on. */
MUST_CHECK enum status policies_wait(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                     struct stop *stop, struct error *error);

/* What policies_restore has done. */
struct policies_restored {
    size_t on;         /* switched on */
    size_t held;       /* others hold them */
    size_t withheld;   /* retention that would drop what was loaded; warned of */
    size_t overridden; /* switched on by hand meanwhile */
};

/*
 * The holder lets go, and so do all that were killed; what nobody holds is switched on, except as said above, with a
 * warning in the log. Key and holder 0 and NULL: only the dead ones let go. `hands`: people let go as well.
 */
MUST_CHECK enum status policies_restore(struct pg *pg, const struct policies_switch *how, bool hands,
                                        struct policies_restored *restored, struct error *error);

/* --- policies_guard.c: around a load --- */

struct policies_guard;

struct policies_guard_spec {
    const struct pg_address *target; /* borrowed */
    struct stop *stop;
    int64_t retry_ms;
    bool allow_drop;
};

/* One for all tables that a process loads, with one connection; it is made with the first table. */
MUST_CHECK enum status policies_guard_create(const struct policies_guard_spec *spec, struct policies_guard **guard,
                                             struct error *error);

/*
 * Pauses, waits for what runs already, and watches over the connection: should it be lost, the guard comes back and
 * holds on. The caller has seen with policies_read that there is something to pause. Ledger and table are borrowed
 * until the table is released. After a failure nothing of the table is left paused by this.
 */
MUST_CHECK enum status policies_guard_add(struct policies_guard *guard, const struct ledger *ledger,
                                          const struct table *table, struct error *error);

/* Restores those of the table, also after ABORT, and tells what it did. Fine where there is no guard, or not of it. */
MUST_CHECK enum status policies_guard_release(struct policies_guard *guard, const struct table *table,
                                              struct error *error);

/* All tables were released. NULL is fine. */
void policies_guard_free(struct policies_guard *guard);

/* Restores what killed runs have left; quick where there is nothing. */
MUST_CHECK enum status policies_take_over(struct pg *pg, const struct ledger *ledger, const struct table *table,
                                          bool allow_drop, struct error *error);
