/* --cascade: continuous aggregates as further tables of the job. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/tables.h"
#include "engine/log.h"

void cascade_spec_fill(const struct job *job, struct cascade_spec *spec)
{
    *spec = (struct cascade_spec){
        .source = job->source,
        .target = job->target,
        .source_table = &job->source_table,
        .target_table = &job->table,
        .ledger = &job->ledger,
        .window = job->window,
    };
}

static char *bound(const struct cascade_table *table, int64_t value)
{
    char text[TIME_TEXT_MAX];

    return value == INT64_MIN ? NULL : strdup(time_format(table->type, value, text));
}

/*
 * Columns, names of files and ways to load are those of the hypertable. Rows of aggregates are few, and those that are
 * built on them hear only of rows that are appended.
 */
void cascade_options(const struct options *options, const struct cascade_table *table, char **from, char **until,
                     struct options *own)
{
    *from = bound(table, table->window.lo);
    *until = bound(table, table->window.hi);
    *own = *options;
    own->cascade = false;
    own->filter = NULL;
    own->table = table->target;
    own->source_table = table->source;
    own->tables = (struct text_list){.items = {table->target}, .count = 1};
    own->from = *from;
    own->until = *until;
    own->froms = (struct text_list){.items = {*from}, .count = *from != NULL};
    own->untils = (struct text_list){.items = {*until}, .count = 1};
    own->columns = own->time_column = own->reject_file = own->range_interval = NULL;
    own->strategy = STRATEGY_APPEND;
    own->wire = own->wire == WIRE_BINARY ? WIRE_AUTO : own->wire;
    own->compress_after = own->defer_indexes = own->create_partitions = false;
}

enum status tables_cascade_room(struct tables *tables, int32_t *room, struct error *error)
{
    struct pg *pg = tables->sides.source_names;
    char *found = NULL;
    enum status status =
        pg_value(pg, "SELECT pg_catalog.to_regclass('_timescaledb_catalog.continuous_agg')", &found, error);

    *room = 0;
    if (status == STATUS_OK && found != NULL) {
        free(found);
        found = NULL;
        status = pg_value(pg, "SELECT count(*) FROM _timescaledb_catalog.continuous_agg", &found, error);
        if (found != NULL)
            *room = (int32_t)strtol(found, NULL, 10);
    }
    free(found);
    if (status == STATUS_OK && *room == 0)
        log_line(LOG_NOTICE, "the source has no continuous aggregates: --cascade adds nothing");
    return status;
}

/* One that was named by hand is loaded as it was said there. */
static bool is_named(const struct tables *tables, const struct cascade_table *table)
{
    for (int32_t i = 0; i < tables->count; i++)
        if (tables->items[i].run.job.table.oid == table->target_oid && table->target_oid != 0)
            return true;
    return false;
}

static enum status add_one(struct tables *tables, const struct cascade_table *aggregate, struct error *error)
{
    struct table_run *table;
    char *source = strdup(aggregate->source), *target = strdup(aggregate->target != NULL ? aggregate->target : "");
    enum status status = tables_add(tables, source, target, &table, error);

    table->aggregate = strdup(aggregate->name);
    free(table->part);
    table->part = strdup(aggregate->name);
    cascade_options(tables->options, aggregate, &table->from, &table->until, &table->options);
    /* Its own, which live as long. */
    table->options.source_table = source;
    table->options.table = table->options.tables.items[0] = target;
    if (status != STATUS_OK || source == NULL || target == NULL || table->aggregate == NULL || table->part == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (aggregate->problem == NULL)
        return STATUS_OK;
    error_set(error, STATUS_SERVER, "%s", aggregate->problem);
    return table_failed(table, error);
}

static enum status cascade_table(struct tables *tables, struct table_run *table, struct error *error)
{
    struct cascade_spec spec;
    enum status status;

    cascade_spec_fill(&table->run.job, &spec);
    status = cascade_find(&spec, &table->cascade, error);
    for (size_t i = 0; status == STATUS_OK && i < table->cascade.count; i++) {
        const struct cascade_table *aggregate = &table->cascade.tables[i];

        if (aggregate->window.lo >= aggregate->window.hi || is_named(tables, aggregate))
            continue;
        if (tables->count == tables->room)
            return error_set(error, STATUS_SERVER, "the source has got continuous aggregates meanwhile: run it again");
        status = add_one(tables, aggregate, error);
    }
    if (status == STATUS_OK)
        return STATUS_OK;
    /* Without its aggregates it is not what was asked for. */
    table->opened = false;
    return table_failed(table, error);
}

enum status tables_cascade(struct tables *tables, struct error *error)
{
    int32_t count = tables->count;
    enum status status = STATUS_OK;

    for (int32_t i = 0; i < count && status == STATUS_OK; i++)
        if (tables->items[i].opened)
            status = cascade_table(tables, &tables->items[i], error);
    return status == STATUS_OK ? tables_open_items(tables, count, error) : status;
}

enum status tables_cascade_begin(struct tables *tables, struct error *error)
{
    enum status status = STATUS_OK;

    for (int32_t i = 0; i < tables->count && status == STATUS_OK; i++) {
        struct table_run *table = &tables->items[i];
        struct cascade_spec spec;

        if (!table->planned)
            continue;
        cascade_spec_fill(&table->run.job, &spec);
        status = cascade_begin(&spec, &table->cascade, error);
    }
    return status;
}
