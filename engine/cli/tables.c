/* Several tables from their names to what is left to do of each. */
#include "engine/cli/tables.h"

#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "engine/retry.h"

#define FAILURES_TOLD 8
#define REASON_MAX 240

enum status status_worse(enum status one, enum status other)
{
    /* What has to be changed comes before what may pass. */
    static const int severity[] = {
        [STATUS_OK] = 0,   [STATUS_REJECTS] = 1, [STATUS_STOPPED] = 2, [STATUS_TRANSIENT] = 3,
        [STATUS_DATA] = 4, [STATUS_USAGE] = 5,   [STATUS_SERVER] = 6,  [STATUS_SYSTEM] = 7,
    };

    return severity[one] >= severity[other] ? one : other;
}

enum status table_failed(struct table_run *table, struct error *error)
{
    if (error->status == STATUS_STOPPED || error->status == STATUS_SYSTEM || error->status == STATUS_TRANSIENT)
        return error->status;
    if (table->failure.status == STATUS_OK) {
        table->failure = *error;
        log_line(LOG_ERROR, "%s: %s", table->part, error->text);
    }
    error_reset(error);
    return STATUS_OK;
}

enum status tables_add(struct tables *tables, char *source, char *target, struct table_run **added, struct error *error)
{
    struct table_run *table = &tables->items[tables->count++];

    table->source = source;
    table->target = target;
    table->part = target != NULL ? strdup(target) : NULL;
    table->options = *tables->options;
    table->options.tables = (struct text_list){.items = {target}, .count = 1};
    table->options.filter = NULL;
    table->options.table = target;
    table->options.source_table = source;
    table->run.stop = tables->stop;
    table->run.job.options = &table->options;
    error_reset(&table->failure);
    *added = table;
    return table->part != NULL ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory");
}

static enum status names_take(struct tables *tables, struct error *error)
{
    struct table_names *names = NULL;
    struct table_run *table;
    int32_t count = 0, room = 0;
    enum status status = tables_find(&tables->sides, tables->options, &names, &count, error);

    if (status == STATUS_OK && tables->options->cascade)
        status = tables_cascade_room(tables, &room, error);
    tables->room = count + room;
    tables->items = calloc((size_t)tables->room + 1, sizeof *tables->items);
    if (tables->items == NULL) {
        free(names);
        return error_set(error, STATUS_SYSTEM, "out of memory for %d tables", (int)count);
    }
    for (int32_t i = 0; i < count; i++) {
        struct error second;

        error_reset(&second);
        if (tables_add(tables, names[i].source, names[i].target, &table, &second) != STATUS_OK && status == STATUS_OK) {
            *error = second;
            status = second.status;
        }
    }
    free(names);
    return status;
}

/* A connection that is lost is made again, as for one table. */
static enum status open_one(struct tables *tables, struct table_run *table, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, tables->options->retry_seconds * 1000, 1);
    for (;;) {
        int64_t pause_ms;

        status = job_open_beside(&table->run.job, &table->options, &tables->sides, tables->stop, error);
        if (status != STATUS_TRANSIENT || stop_level(tables->stop) != STOP_RUN || (pause_ms = retry_next(&retry)) < 0)
            return status;
        log_line(LOG_WARNING, "%s: trying again", error->text);
        if (stop_wait(tables->stop, pause_ms, STOP_DRAIN))
            return status;
        error_reset(error);
        job_close(&table->run.job);
        table->run.job = (struct job){.options = &table->options, .sides = &tables->sides};
    }
}

enum status tables_open_items(struct tables *tables, int32_t first, struct error *error)
{
    enum status status = STATUS_OK;

    for (int32_t i = first; i < tables->count && status == STATUS_OK; i++) {
        struct table_run *table = &tables->items[i];

        if (table->failure.status != STATUS_OK)
            continue;
        if (stop_level(tables->stop) != STOP_RUN)
            return error_set(error, STATUS_STOPPED, "nothing was touched by this run");
        status = open_one(tables, table, error);
        table->opened = status == STATUS_OK;
        if (table->run.job.table.sql != NULL && table->aggregate == NULL) {
            free(table->part);
            table->part = strdup(table->run.job.table.sql);
            if (table->part == NULL)
                return error_set(error, STATUS_SYSTEM, "out of memory");
        }
        if (status != STATUS_OK)
            status = table_failed(table, error);
    }
    return status;
}

/* Two names of one table would load it twice; a bound that is for no table is a slip of the pen. */
static enum status check_names(const struct tables *tables, struct error *error)
{
    const struct text_list *lists[] = {&tables->options->untils, &tables->options->froms};

    for (int32_t i = 0; i < tables->count; i++)
        for (int32_t j = 0; j < i; j++)
            if (tables->items[i].run.job.table.oid != 0 &&
                tables->items[i].run.job.table.oid == tables->items[j].run.job.table.oid)
                return error_set(error, STATUS_USAGE, "%s of the target is named twice: from %s and from %s",
                                 tables->items[i].part, tables->items[j].source, tables->items[i].source);
    for (size_t k = 0; k < 2; k++)
        for (int i = 0; i < lists[k]->count; i++) {
            const char *text = lists[k]->items[i], *sign = strrchr(text, '=');
            bool found = sign == NULL;

            for (int32_t j = 0; j < tables->count && !found; j++) {
                const char *name = tables->items[j].target;

                found = job_window_names(&tables->items[j].run.job, text) ||
                        (strlen(name) == (size_t)(sign - text) && memcmp(name, text, strlen(name)) == 0);
            }
            if (!found)
                return error_set(error, STATUS_USAGE, "--%s %s: none of the tables has that name",
                                 k == 0 ? "until" : "from", text);
        }
    return STATUS_OK;
}

/* Without anything of ours being touched. */
static enum status look_one(struct table_run *table, struct error *error)
{
    struct job *job = &table->run.job;
    enum status status = job->finished ? STATUS_OK : job_plan(job, error);

    return status == STATUS_OK ? job_check_overlap(job, error) : status;
}

static enum status plan_all(struct tables *tables, const struct checkpoint_set *before, const char *path,
                            struct error *error)
{
    static const struct checkpoint_state nothing = {0};
    enum status status = STATUS_OK;

    for (int32_t i = 0; i < tables->count && status == STATUS_OK; i++) {
        struct table_run *table = &tables->items[i];
        struct checkpoint_part *part = before != NULL ? checkpoint_set_part(before, table->part) : NULL;

        snprintf(table->run.path, sizeof table->run.path, "%s", path);
        if (!table->opened)
            continue;
        if (stop_level(tables->stop) != STOP_RUN)
            return error_set(error, STATUS_STOPPED, "nothing was touched by this run");
        /* Borrowed: only its counts of runs are looked at, and its texts here. */
        if (part != NULL)
            table->run.before.runs = part->state.runs;
        status = before == NULL ? look_one(table, error)
                                : run_plan(&table->run, part != NULL ? &part->state : &nothing, error);
        table->planned = status == STATUS_OK;
        if (status != STATUS_OK)
            status = table_failed(table, error);
    }
    return status;
}

enum status tables_open(struct tables *tables, const struct options *options, const struct checkpoint_set *before,
                        const char *path, struct stop *stop, struct error *error)
{
    enum status status;

    *tables = (struct tables){.options = options, .stop = stop};
    if (!pg_is_conninfo(options->source) || options->sources.count > 1)
        return error_set(error, STATUS_USAGE,
                         "%s for a PostgreSQL source, which has them all; CSV has the rows of one"
                         " table: run it for each, with its --source",
                         options_name_several(options) ? "several tables are" : "--cascade is");
    status = job_sides_open(&tables->sides, options, stop, error);
    if (status == STATUS_OK)
        status = names_take(tables, error);
    if (status == STATUS_OK)
        status = tables_open_items(tables, 0, error);
    if (status == STATUS_OK && options->cascade)
        status = tables_cascade(tables, error);
    if (status == STATUS_OK)
        status = check_names(tables, error);
    if (status == STATUS_OK)
        status = plan_all(tables, before, path, error);
    return status;
}

void tables_reset(struct tables *tables)
{
    for (int32_t i = 0; i < tables->count; i++) {
        struct table_run *table = &tables->items[i];

        job_close(&table->run.job);
        free(table->source);
        free(table->target);
        free(table->part);
        free(table->aggregate);
        free(table->from);
        free(table->until);
        cascade_reset(&table->cascade);
    }
    free(tables->items);
    job_sides_close(&tables->sides);
    *tables = (struct tables){0};
}

enum status tables_result(const struct tables *tables, struct error *error)
{
    enum status worst = STATUS_OK;
    int32_t failed = 0, told = 0;

    for (int32_t i = 0; i < tables->count; i++) {
        worst = status_worse(worst, tables->items[i].failure.status);
        failed += tables->items[i].failure.status != STATUS_OK;
    }
    if (failed == 0)
        return STATUS_OK;
    error_set(error, worst, "%d of %d tables %s:", (int)failed, (int)tables->count,
              worst == STATUS_REJECTS ? "have rejected rows" : "are not complete");
    for (int32_t i = 0; i < tables->count; i++) {
        const struct table_run *table = &tables->items[i];

        if (table->failure.status == STATUS_OK || told++ >= FAILURES_TOLD)
            continue;
        error_hint(error, "\n%s (%s): %.*s%s", table->part, status_name(table->failure.status), REASON_MAX,
                   table->failure.text, strlen(table->failure.text) > REASON_MAX ? " …" : "");
    }
    if (told > FAILURES_TOLD)
        error_hint(error, "\n… and %d more, told above", (int)(told - FAILURES_TOLD));
    return worst;
}
