/*
 * What is looked at before a migration begins. Nothing is changed anywhere; each check gives one line: ok with what was
 * seen, a warning, or a problem with what to do about it.
 */
#pragma once

#include "writers/target.h"

enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_PROBLEM };

/* A time-series table of the job. Texts are borrowed. */
struct preflight_table {
    const char *name;        /* in the target */
    const char *source_name; /* in the source */
    const char *time_column; /* NULL: by itself */
    /* Filled by preflight_run, freed by preflight_reset: */
    struct table source, target;
    bool in_source, in_target;
    int64_t bytes; /* of the source with indexes, uncompressed where that is known; -1: unknown */
};

struct preflight {
    struct pg *source, *target; /* connected */
    struct preflight_table *tables;
    size_t table_count;
    int writers, readers;
    const char *ledger_schema;
    bool clones_schema;  /* a later step does; else the tables must be there */
    bool deletes;        /* rows of the target may be replaced */
    int64_t target_free; /* bytes, as the user says it; 0: unknown */
    void (*report)(void *context, enum finding_level level, const char *check, const char *text);
    void *context;
    int warnings, problems; /* counted */
};

/*
 * All checks, in order. What a check cannot find out for want of a privilege is a warning; a lost connection and the
 * stop are errors.
 */
MUST_CHECK enum status preflight_run(struct preflight *preflight, struct error *error);
void preflight_reset(struct preflight *preflight); /* the tables' descriptions */

/* What a difference of clocks means, known up to `uncertain` seconds. */
enum finding_level preflight_judge_clock(double seconds, double uncertain);

/* What room means, for so many bytes; -1: unknown. */
enum finding_level preflight_judge_room(int64_t needed, int64_t room);
