/* Rows of aggregates that were loaded (cascade.h), which no refresh may make anew. */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/method/loaded.h"
#include "engine/method/refresh_private.h"

/* A row is in the window where its bucket begins in it. */
static enum status ceiling(const struct refresh_spec *spec, const struct aggregate *aggregate, int64_t *time,
                           struct error *error)
{
    struct range wide;
    enum status status;

    if (*time == INT64_MIN || *time == INT64_MAX)
        return STATUS_OK;
    status = aggregate_widen(spec->pg, aggregate, (struct range){*time, *time}, &wide, error);
    *time = wide.hi;
    return status;
}

enum status refresh_kept_read(const struct refresh_spec *spec, const struct aggregate *aggregate,
                              struct refresh_kept *kept, struct error *error)
{
    enum status status = loaded_windows(spec->pg, spec->ledger, aggregate->stored_oid, &kept->windows, &kept->count,
                                        &kept->unfinished, error);

    for (size_t i = 0; status == STATUS_OK && i < kept->count; i++) {
        status = ceiling(spec, aggregate, &kept->windows[i].lo, error);
        if (status == STATUS_OK)
            status = ceiling(spec, aggregate, &kept->windows[i].hi, error);
    }
    return status;
}

bool refresh_kept_has(const struct refresh_kept *kept, struct range range)
{
    for (size_t i = 0; i < kept->count; i++)
        if (kept->windows[i].lo <= range.lo && range.hi <= kept->windows[i].hi)
            return true;
    return false;
}

struct range *refresh_kept_cut(const struct refresh_kept *kept, const struct range *ranges, size_t *count)
{
    struct range *parts = calloc(*count * (kept->count + 1) + 1, sizeof *parts);
    size_t made = 0;

    for (size_t i = 0; parts != NULL && i < *count; i++) {
        struct range rest = ranges[i];

        for (size_t j = 0; j < kept->count && rest.lo < rest.hi; j++) {
            struct range window = kept->windows[j];

            if (window.hi <= rest.lo || window.lo >= rest.hi)
                continue;
            if (rest.lo < window.lo)
                parts[made++] = (struct range){rest.lo, window.lo};
            rest.lo = window.hi;
        }
        if (rest.lo < rest.hi)
            parts[made++] = rest;
    }
    *count = made;
    return parts;
}

/* The function has moved in 2.12. */
enum status refresh_is_hidden(struct pg *pg, const struct aggregate *aggregate, int64_t end, bool *hidden,
                              struct error *error)
{
    struct sql sql = {0};
    char *schema = NULL, *found = NULL;
    enum status status =
        pg_value(pg,
                 "SELECT CASE WHEN pg_catalog.to_regprocedure('_timescaledb_functions.cagg_watermark(int)') IS NULL"
                 " THEN '_timescaledb_internal' ELSE '_timescaledb_functions' END",
                 &schema, error);

    *hidden = false;
    if (status != STATUS_OK)
        return status;
    sql_add(&sql,
            "SELECT 1 FROM _timescaledb_catalog.continuous_agg a WHERE a.mat_hypertable_id = %d AND NOT"
            " a.materialized_only AND %s.cagg_watermark(%d) < '%" PRId64 "'",
            aggregate->id, schema, aggregate->id, end);
    status = pg_value(pg, sql.text, &found, error);
    *hidden = found != NULL;
    sql_reset(&sql);
    free(schema);
    free(found);
    return status;
}
