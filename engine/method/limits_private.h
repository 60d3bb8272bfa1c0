/* Between limits.c (the thread, and what is passed) and limits_measure.c (what servers and disks say). */
#pragma once

#include "engine/method/limits.h"

struct limits_place {
    struct pg *pg;
    const char *table;
    char path[1024]; /* a folder on the target's disk, once it is known */
};

/* One value each, in milliseconds, bytes or parts of DISK_SHARE_WHOLE. */
MUST_CHECK enum status measure_lag_ms(struct limits_place *source, int64_t *value, struct error *error);
MUST_CHECK enum status measure_lag_bytes(struct limits_place *source, int64_t *value, struct error *error);
MUST_CHECK enum status measure_wal(struct limits_place *target, int64_t *value, struct error *error);
MUST_CHECK enum status measure_target_size(struct limits_place *target, int64_t *value, struct error *error);
MUST_CHECK enum status measure_disk_bytes(struct limits_place *target, int64_t *value, struct error *error);
MUST_CHECK enum status measure_disk_share(struct limits_place *target, int64_t *value, struct error *error);

/* The share of a disk that is free is counted in these. */
#define DISK_SHARE_WHOLE 100000
