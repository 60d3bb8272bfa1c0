/* Between command_verify.c, where both sides are databases, and verify_csv.c, where the source is CSV. */
#pragma once

#include "engine/cli/job.h"
#include "engine/cli/verify_print.h"

/* What the job says, but for the columns, the stop and what is remembered. */
void verify_spec_fill(const struct job *job, struct verify_spec *spec);

/* Compares, shows, and judges; repairs if that is asked for. Completes the spec, and what is shown. */
MUST_CHECK enum status verify_compare(const struct job *job, struct verify_spec *spec, struct verify_shown *shown,
                                      struct error *error);

void verify_show(const struct options *options, const struct verify_shown *shown);

/* STATUS_DATA if something differs. */
MUST_CHECK enum status verify_judge(const struct options *options, const struct verify_report *report,
                                    struct error *error);

void verify_notice_signal(enum stop_level level);

/* ---- verify_csv.c */

/* A CSV source by the ledger: what was sent, against how much is there. */
MUST_CHECK enum status verify_ledger(struct job *job, struct error *error);

/*
 * A CSV source by loading it once more, into a scratch copy of the table. Signals are taken by the job that does so
 * meanwhile.
 */
MUST_CHECK enum status verify_aside(struct job *job, struct signals **signals, struct error *error);
