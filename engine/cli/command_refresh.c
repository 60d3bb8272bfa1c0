/* `hyperfill refresh`: continuous aggregates over what was loaded. */
#include <stdio.h>

#include "engine/cli/commands.h"
#include "engine/cli/job.h"
#include "engine/log.h"
#include "engine/method/refresh.h"

static void notice(enum stop_level level)
{
    log_line(LOG_NOTICE, level == STOP_DRAIN
                             ? "stopping: the batch that is refreshed will be finished; once more to abort it"
                             : "aborting");
}

static enum status read_window(const struct options *options, const struct table *table, struct refresh_spec *spec,
                               struct error *error)
{
    enum status status;

    spec->window_given = options->from != NULL || options->until != NULL;
    if (!spec->window_given)
        return STATUS_OK;
    if (options->from == NULL || options->until == NULL)
        return error_set(error, STATUS_USAGE, "a window has two ends: give both --from and --until");
    status = job_time_option(table, "--from", options->from, &spec->window.lo, error);
    if (status == STATUS_OK)
        status = job_time_option(table, "--until", options->until, &spec->window.hi, error);
    if (status == STATUS_OK && spec->window.lo >= spec->window.hi)
        status = error_set(error, STATUS_USAGE, "--from %s is not before --until %s: nothing lies between them",
                           options->from, options->until);
    return status;
}

static void print_done(const struct refresh_done *done, const struct table *table)
{
    if (done->aggregates == 0)
        printf("there are no continuous aggregates on %s\n", table->sql);
    else if (done->ranges == 0)
        printf("nothing to refresh: what finished jobs have loaded into %s is in its %zu continuous aggregate%s\n",
               table->sql, done->aggregates, done->aggregates == 1 ? "" : "s");
    else
        printf("refreshed %zu range%s of %zu continuous aggregate%s on %s in %zu batch%s\n", done->ranges,
               done->ranges == 1 ? "" : "s", done->aggregates, done->aggregates == 1 ? "" : "s", table->sql,
               done->batches, done->batches == 1 ? "" : "es");
    if (done->unfinished)
        log_line(LOG_NOTICE, "a job of %s is not finished: what it loads is refreshed once it is", table->sql);
}

static enum status refresh_table(const struct options *options, struct refresh_spec *spec, struct table *table,
                                 struct error *error)
{
    struct refresh_done done;
    enum status status = pg_connect(spec->pg, error);

    if (status == STATUS_OK)
        status = table_describe(spec->pg, options->table, NULL, true, table, error);
    if (status == STATUS_OK && table->kind != TABLE_HYPERTABLE)
        status = error_set(error, STATUS_USAGE, "%s is no hypertable: there is nothing to refresh", table->sql);
    if (status == STATUS_OK)
        status = read_window(options, table, spec, error);
    if (status == STATUS_OK)
        status = refresh_run(spec, &done, error);
    if (status == STATUS_OK)
        print_done(&done, table);
    return status;
}

enum status command_refresh(const struct options *options, struct error *error)
{
    const struct pg_setting settings[] = {{"timezone", "UTC"}, {NULL, NULL}};
    struct refresh_spec spec = {.retry_ms = options->retry_seconds * 1000};
    struct pg_address address = {0};
    struct signals *signals = NULL;
    struct ledger ledger;
    struct table table = {0};
    struct stop *stop = NULL;
    enum status status;

    ledger_init(&ledger, options->ledger_schema, "");
    status = stop_create(&stop, error);
    if (status == STATUS_OK)
        status = signals_start(stop, notice, &signals, error);
    if (status == STATUS_OK)
        status = pg_address_init(&address, options->target, "target", error);
    if (status == STATUS_OK)
        status = pg_create(&address, settings, stop, &spec.pg, error);
    spec.ledger = &ledger;
    spec.table = &table;
    spec.stop = stop;
    if (status == STATUS_OK)
        status = refresh_table(options, &spec, &table, error);
    pg_free(spec.pg);
    signals_finish(signals);
    table_reset(&table);
    ledger_reset(&ledger);
    pg_address_reset(&address);
    stop_free(stop);
    return status;
}
