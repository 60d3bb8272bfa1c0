/*
 * Partitions that are missing in a natively partitioned table, made as their rows come (--create-partitions).
 *
 * A partition is as long as a cell of the job's layout, and named after its table and where it begins:
 * metrics_p20240101, metrics_p20240101_0600, of an integer column metrics_p5000 or metrics_pm5000. It is in the schema
 * of its table and belongs to whom that belongs.
 */
#pragma once

#include "writers/append_private.h"

#define PARTITION_NAME_MAX 64

void partition_name(const struct table *table, struct range cell, char name[PARTITION_NAME_MAX]);

/*
 * Makes that of the cell, in a transaction of its own. It is no failure if it is there, if another holds some of its
 * range, or if the default partition has rows in it: COPY finds the right place, or says that there is none.
 */
MUST_CHECK enum status partitions_make(struct append_session *session, struct range cell, struct error *error);
