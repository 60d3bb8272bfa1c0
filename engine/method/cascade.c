/* Which aggregates, and which of their buckets. */
#include "engine/method/cascade.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "writers/ledger_state.h"

#define STATE "cascade"

static const struct aggregate *find_name(const struct aggregates *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

/* ---- Windows ---- */

/* The bucket that holds the time. */
static enum status bucket_of(struct pg *pg, const struct aggregate *aggregate, int64_t time, struct range *bucket,
                             struct error *error)
{
    return aggregate_widen(pg, aggregate, (struct range){time, time + time_type_unit(aggregate->type)}, bucket, error);
}

/* What the source has of [from, T), from the bucket's beginning on. */
static enum status find_window(const struct cascade_spec *spec, const struct aggregate *aggregate, struct range *window,
                               struct error *error)
{
    struct range first = {INT64_MIN, INT64_MIN}, last, latest;
    struct range wanted = spec->window;
    bool any;
    int64_t newest;
    enum status status = bucket_of(spec->source, aggregate, wanted.hi, &last, error);

    if (status == STATUS_OK && wanted.lo != INT64_MIN)
        status = bucket_of(spec->source, aggregate, wanted.lo, &first, error);
    if (status == STATUS_OK)
        status = aggregate_end(spec->source, aggregate, true, last.lo, &any, &newest, error);
    if (status != STATUS_OK)
        return status;
    *window = (struct range){first.lo, first.lo};
    if (!any || newest < first.lo)
        return STATUS_OK;
    status = bucket_of(spec->source, aggregate, newest, &latest, error);
    window->hi = latest.hi < last.lo ? latest.hi : last.lo;
    return status;
}

/* The bucket in which the rows begin that the aggregate is made of. Retention drops whole chunks. */
static enum status find_raw(const struct cascade_spec *spec, const struct aggregates *list,
                            const struct aggregate *aggregate, struct cascade_table *table, struct error *error)
{
    const struct table *raw = spec->source_table;
    struct range bucket = {table->window.hi, table->window.hi};
    int64_t begin = raw->cell_count > 0 ? raw->cells[0].lo : 0;
    bool any = raw->cell_count > 0;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < list->count && status == STATUS_OK; i++)
        if (list->items[i].id == aggregate->parent)
            status = aggregate_end(spec->source, &list->items[i], false, INT64_MAX, &any, &begin, error);
    if (status == STATUS_OK && any && begin == INT64_MIN)
        bucket.lo = INT64_MIN;
    else if (status == STATUS_OK && any)
        status = bucket_of(spec->source, aggregate, begin, &bucket, error);
    table->raw_begins = bucket.lo < table->window.hi ? bucket.lo : table->window.hi;
    return status;
}

/* ---- The target ---- */

static enum status check_buckets(const struct cascade_spec *spec, const struct aggregate *source,
                                 const struct aggregate *target, struct cascade_table *table, struct error *error)
{
    struct range buckets[2];
    struct sql problem = {0};
    enum status status = STATUS_OK;
    bool same = source->type == target->type;

    if (same)
        status = bucket_of(spec->source, source, spec->window.hi, &buckets[0], error);
    if (status == STATUS_OK && same)
        status = bucket_of(spec->target, target, spec->window.hi, &buckets[1], error);
    if (status != STATUS_OK || (same && buckets[0].lo == buckets[1].lo && buckets[0].hi == buckets[1].hi))
        return status;
    sql_add(&problem, "the continuous aggregate %s has other buckets in the target than in the source", table->name);
    table->problem = problem.text;
    return STATUS_OK;
}

static void tell_missing(const struct cascade_spec *spec, struct cascade_table *table)
{
    const struct table *raw = spec->target_table;
    struct sql problem = {0};

    if (raw->kind != TABLE_HYPERTABLE || !raw->community)
        sql_add(&problem, "the continuous aggregate %s cannot be loaded: the target's %s %s", table->name, raw->sql,
                raw->kind != TABLE_HYPERTABLE ? "is no hypertable"
                                              : "is of the Apache edition, which has no continuous aggregates");
    else
        sql_add(&problem,
                "the target has no continuous aggregate %s on %s: hyperfill schema makes it, or CREATE MATERIALIZED"
                " VIEW … WITH NO DATA as in the source; then run this again",
                table->name, raw->sql);
    table->problem = problem.text;
}

static enum status take_target(const struct cascade_spec *spec, const struct aggregates *targets,
                               const struct aggregate *source, struct cascade_table *table, struct error *error)
{
    const struct aggregate *target = find_name(targets, source->name);

    if (target == NULL) {
        tell_missing(spec, table);
        return STATUS_OK;
    }
    table->target = strdup(target->stored);
    table->target_oid = target->stored_oid;
    if (table->target == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    return check_buckets(spec, source, target, table, error);
}

/* ---- What is kept ---- */

static char *kept_condition(const struct cascade_spec *spec)
{
    struct sql sql = {0};

    sql_add(&sql, "job = ");
    sql_add_literal(&sql, spec->ledger->job);
    return sql.text;
}

/* The windows of an earlier run; what the source has got since is no part of the job. */
static enum status read_kept(const struct cascade_spec *spec, PGresult **result, struct error *error)
{
    char *name, *condition;
    bool exists;
    enum status status = ledger_state_exists(spec->target, spec->ledger, STATE, &exists, error);

    *result = NULL;
    if (status != STATUS_OK || !exists)
        return status;
    name = ledger_state_table(spec->ledger, STATE);
    condition = kept_condition(spec);
    status = pg_runf(spec->target, result, error, "SELECT aggregate, lo, hi FROM %s WHERE %s", name, condition);
    free(name);
    free(condition);
    return status;
}

static bool take_kept(const PGresult *kept, struct cascade_table *table)
{
    for (int i = 0; i < PQntuples(kept); i++)
        if (strcmp(PQgetvalue(kept, i, 0), table->name) == 0) {
            table->window =
                (struct range){strtoll(PQgetvalue(kept, i, 1), NULL, 10), strtoll(PQgetvalue(kept, i, 2), NULL, 10)};
            return true;
        }
    table->window = (struct range){INT64_MIN, INT64_MIN};
    log_line(LOG_NOTICE, "the continuous aggregate %s is left out: the job was begun without it", table->name);
    return false;
}

static enum status keep(const struct cascade_spec *spec, const struct cascade *cascade, struct error *error)
{
    struct sql sql = {0};
    char *name = ledger_state_table(spec->ledger, STATE);
    enum status status = ledger_state_prepare(
        spec->target, spec->ledger, STATE,
        "job text NOT NULL, table_oid oid NOT NULL, aggregate text NOT NULL, lo bigint NOT NULL, hi bigint NOT NULL,"
        " PRIMARY KEY (job, aggregate)",
        "hyperfill: continuous aggregates that are loaded beside their hypertable", error);

    sql_add(&sql, "INSERT INTO %s (job, table_oid, aggregate, lo, hi) VALUES", name);
    for (size_t i = 0; i < cascade->count; i++) {
        const struct cascade_table *table = &cascade->tables[i];

        sql_add(&sql, "%s ('%s', %u, ", i > 0 ? "," : "", spec->ledger->job, spec->target_table->oid);
        sql_add_literal(&sql, table->name);
        sql_add(&sql, ", '%" PRId64 "', '%" PRId64 "')", table->window.lo, table->window.hi);
    }
    sql_add(&sql, " ON CONFLICT DO NOTHING");
    if (status == STATUS_OK)
        status = pg_run(spec->target, sql.text, NULL, error);
    sql_reset(&sql);
    free(name);
    return status;
}

/* ---- All ---- */

static enum status take(const struct cascade_spec *spec, const struct aggregates *sources,
                        const struct aggregates *targets, const PGresult *kept, const struct aggregate *source,
                        struct cascade_table *table, struct error *error)
{
    enum status status = STATUS_OK;

    *table = (struct cascade_table){
        .name = strdup(source->name), .source = strdup(source->stored), .type = source->type, .raw_begins = INT64_MIN};
    if (table->name == NULL || table->source == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (kept != NULL && !take_kept(kept, table))
        return STATUS_OK;
    if (kept == NULL)
        status = find_window(spec, source, &table->window, error);
    if (status == STATUS_OK && kept == NULL)
        status = find_raw(spec, sources, source, table, error);
    if (status == STATUS_OK && table->window.lo < table->window.hi)
        status = take_target(spec, targets, source, table, error);
    if (status != STATUS_OK)
        error_prefix(error, "continuous aggregate %s", table->name);
    return status;
}

enum status cascade_find(const struct cascade_spec *spec, struct cascade *cascade, struct error *error)
{
    struct aggregates sources = {0}, targets = {0};
    PGresult *kept = NULL;
    enum status status = aggregates_read(spec->source, spec->source_table, &sources, error);

    *cascade = (struct cascade){0};
    if (status == STATUS_OK && sources.count > 0)
        status = aggregates_read(spec->target, spec->target_table, &targets, error);
    if (status == STATUS_OK && sources.count > 0)
        status = read_kept(spec, &kept, error);
    if (status == STATUS_OK)
        cascade->tables = calloc(sources.count + 1, sizeof *cascade->tables);
    if (status == STATUS_OK && cascade->tables == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    cascade->kept = kept != NULL && PQntuples(kept) > 0;
    for (size_t i = 0; status == STATUS_OK && i < sources.count; i++)
        status = take(spec, &sources, &targets, cascade->kept ? kept : NULL, &sources.items[i],
                      &cascade->tables[cascade->count++], error);
    PQclear(kept);
    aggregates_reset(&sources);
    aggregates_reset(&targets);
    return status;
}

void cascade_reset(struct cascade *cascade)
{
    for (size_t i = 0; i < cascade->count; i++) {
        free(cascade->tables[i].name);
        free(cascade->tables[i].source);
        free(cascade->tables[i].target);
        free(cascade->tables[i].problem);
    }
    free(cascade->tables);
    *cascade = (struct cascade){0};
}

/* Where neither the aggregate nor what it is built on has rows: any that are there are not ours to lose. */
static enum status settle_before(const struct cascade_spec *spec, const struct aggregates *targets,
                                 const struct cascade_table *table, struct error *error)
{
    const struct aggregate *target = find_name(targets, table->name), *parent = NULL;
    bool any = true;
    enum status status;

    if (target == NULL || table->raw_begins == INT64_MIN)
        return STATUS_OK;
    for (size_t i = 0; i < targets->count; i++)
        if (targets->items[i].id == target->parent)
            parent = &targets->items[i];
    status =
        aggregate_is_empty_before(spec->target, target, parent, spec->target_table, table->raw_begins, &any, error);
    if (status == STATUS_OK && any)
        status = aggregate_refresh_before(spec->target, targets, target, table->raw_begins, error);
    if (status == STATUS_OK || status == STATUS_STOPPED || status == STATUS_SYSTEM || status == STATUS_TRANSIENT)
        return status;
    log_line(LOG_WARNING,
             "%s: %s. A refresh policy of it that reaches back to before the raw rows would make that time empty: see"
             " that none does",
             table->name, error->text);
    error_reset(error);
    return STATUS_OK;
}

enum status cascade_begin(const struct cascade_spec *spec, const struct cascade *cascade, struct error *error)
{
    struct aggregates targets = {0};
    enum status status;

    if (cascade->kept || cascade->count == 0)
        return STATUS_OK;
    status = aggregates_read(spec->target, spec->target_table, &targets, error);
    for (size_t i = 0; status == STATUS_OK && i < cascade->count; i++)
        if (cascade->tables[i].problem == NULL && cascade->tables[i].target != NULL)
            status = settle_before(spec, &targets, &cascade->tables[i], error);
    if (status == STATUS_OK)
        status = keep(spec, cascade, error);
    aggregates_reset(&targets);
    return status;
}

enum status cascade_stored(struct pg *pg, uint32_t oid, PGresult **names, struct error *error)
{
    char *found = NULL;
    enum status status =
        pg_value(pg, "SELECT pg_catalog.to_regclass('_timescaledb_catalog.continuous_agg')", &found, error);

    *names = NULL;
    if (status == STATUS_OK && found != NULL)
        status =
            pg_runf(pg, names, error,
                    "WITH RECURSIVE tree AS (SELECT h.id, 0 AS depth FROM _timescaledb_catalog.hypertable h"
                    " WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', h.schema_name, h.table_name))::oid"
                    " = %u UNION SELECT a.mat_hypertable_id, depth + 1 FROM tree"
                    " JOIN _timescaledb_catalog.continuous_agg a ON a.raw_hypertable_id = tree.id)"
                    " SELECT pg_catalog.format('%%I.%%I', h.schema_name, h.table_name) FROM tree"
                    " JOIN _timescaledb_catalog.hypertable h ON h.id = tree.id WHERE depth > 0 ORDER BY depth, h.id",
                    oid);
    free(found);
    return status;
}
