/*
 * `hyperfill migrate`: goes through the steps of a migration, and stops where a person has to act.
 *
 * What is done stands in the target's ledger and nowhere else: called again, it goes on with the first step that is
 * not.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/ask.h"
#include "engine/cli/migrate.h"
#include "engine/cli/text.h"
#include "engine/log.h"

static void notice_signal(enum stop_level level)
{
    (void)level;
    log_line(LOG_NOTICE, "stopping");
}

static enum status migrate_open(struct migrate *migrate, struct error *error)
{
    static const struct pg_setting none[1] = {{NULL, NULL}};
    enum status status = pg_address_init(&migrate->source_address, migrate->job.source, "source", error);

    if (status == STATUS_OK)
        status = pg_address_init(&migrate->target_address, migrate->job.target, "target", error);
    if (status == STATUS_OK)
        status = pg_create(&migrate->source_address, none, migrate->stop, &migrate->source, error);
    if (status == STATUS_OK)
        status = pg_create(&migrate->target_address, none, migrate->stop, &migrate->target, error);
    if (status == STATUS_OK)
        status = pg_connect(migrate->target, error);
    if (status == STATUS_OK)
        migration_init(&migrate->migration, migrate->job.ledger_schema, migrate->job.name);
    return status;
}

static void migrate_close(struct migrate *migrate)
{
    signals_finish(migrate->signals);
    preflight_reset(&migrate->preflight);
    free(migrate->preflight.tables);
    migration_reset(&migrate->migration);
    pg_free(migrate->source);
    pg_free(migrate->target);
    pg_address_reset(&migrate->source_address);
    pg_address_reset(&migrate->target_address);
    stop_free(migrate->stop);
    migrate_job_reset(&migrate->job);
}

/* Numbers that the checks need, by the parser that reads them for run. */
static enum status preflight_fill(struct migrate *migrate, struct error *error)
{
    struct preflight *preflight = &migrate->preflight;
    struct migrate_job *job = &migrate->job;
    struct migrate_call call = {0};
    enum status status = migrate_call_make(&call, job, COMMAND_RUN, 0, error);

    preflight->tables = calloc(job->table_count, sizeof *preflight->tables);
    if (preflight->tables == NULL)
        abort();
    preflight->table_count = job->table_count;
    for (int i = 0; i < (int)job->table_count; i++) {
        preflight->tables[i].name = job->tables[i].name;
        preflight->tables[i].source_name = migrate_source_table(job, i);
        preflight->tables[i].time_column = migrate_job_value(job, "time-column", i);
        preflight->deletes = preflight->deletes || migrate_replaces(job, i);
    }
    preflight->writers = call.options.jobs;
    preflight->readers = call.options.readers > 0 ? call.options.readers : call.options.jobs;
    migrate->retry_ms = call.options.retry_seconds * 1000;
    migrate_call_reset(&call);
    preflight->source = migrate->source;
    preflight->target = migrate->target;
    preflight->ledger_schema = job->ledger_schema;
    preflight->clones_schema = (job->skipped >> migrate_step_find("schema") & 1) == 0;
    preflight->target_free = migrate->options->target_free;
    if (preflight->target_free == 0 && migrate_job_value(job, "target-free", -1) != NULL)
        (void)size_parse(migrate_job_value(job, "target-free", -1), &preflight->target_free);
    preflight->report = migrate_show_finding;
    return status;
}

/* What must not change on the way. */
static char *job_text(const struct migrate_job *job)
{
    struct sql text = {0};

    for (int i = 0; i < (int)job->table_count; i++)
        sql_add(&text, "%s%s from %s", i > 0 ? ", " : "", job->tables[i].name, migrate_source_table(job, i));
    return text.text;
}

static enum status job_compare(struct migrate *migrate, struct error *error)
{
    char *now = job_text(&migrate->job), *then = NULL;
    enum status status = migration_value(migrate->target, &migrate->migration, "check", "tables", NULL, &then, error);

    if (status == STATUS_OK && then != NULL && strcmp(now, then) != 0)
        status = error_set(error, STATUS_USAGE,
                           "the migration %s was begun with other tables: %s; now: %s. Set them back, or begin another"
                           " one under another --name",
                           migrate->job.name, then, now);
    free(now);
    free(then);
    return status;
}

/* {"tables": …, "file": …, "warnings": n, "names": […]}, made by the server, which knows how to quote. */
static enum status check_result(struct migrate *migrate, char **result, struct error *error)
{
    char *tables = job_text(&migrate->job);
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, "SELECT pg_catalog.json_build_object('tables', ");
    sql_add_literal(&sql, tables);
    sql_add(&sql, "::text, 'file', ");
    if (migrate->job.path != NULL)
        sql_add_literal(&sql, migrate->job.path);
    else
        sql_add(&sql, "NULL");
    sql_add(&sql, "::text, 'warnings', %d, 'names', pg_catalog.json_build_array(", migrate->preflight.warnings);
    for (size_t i = 0; i < migrate->job.table_count; i++) {
        sql_add(&sql, "%s", i > 0 ? ", " : "");
        sql_add_literal(&sql, migrate->job.tables[i].name);
        sql_add(&sql, "::text");
    }
    sql_add(&sql, "))");
    status = pg_value(migrate->target, sql.text, result, error);
    sql_reset(&sql);
    free(tables);
    return status;
}

static enum status write_state(struct migrate *migrate, int step, enum step_state state, const char *result,
                               struct error *error)
{
    return migration_write(migrate->target, &migrate->migration, migrate_steps[step].name, step + 1, state, result,
                           migrate->retry_ms, migrate->stop, error);
}

static enum status plan_agree(struct migrate *migrate, struct error *error)
{
    migrate_show_plan(migrate);
    if (stop_level(migrate->stop) != STOP_RUN)
        return error_set(error, STATUS_STOPPED, "nothing was changed");
    if (migrate->options->yes)
        return STATUS_OK;
    if (!ask_can())
        return error_set(error, STATUS_USAGE, "nothing was changed: say --yes if this is the plan");
    if (!ask(migrate->stop, "\nBegin?"))
        return error_set(error, STATUS_STOPPED, "nothing was changed");
    return STATUS_OK;
}

/* The first step: both sides are looked at, the plan is shown, and the ledger is begun. */
static enum status begin(struct migrate *migrate, struct error *error)
{
    bool skipped = (migrate->job.skipped & 1) != 0;
    char *result = NULL;
    enum status status = skipped ? STATUS_OK : pg_connect(migrate->source, error);

    if (status == STATUS_OK && !skipped)
        status = preflight_run(&migrate->preflight, error);
    if (status == STATUS_OK && migrate->preflight.problems > 0)
        return error_set(error, STATUS_SERVER,
                         "%d problem%s to be put right first; nothing was changed. --skip check goes on all the same",
                         migrate->preflight.problems, migrate->preflight.problems == 1 ? " has" : "s have");
    if (status == STATUS_OK)
        status = plan_agree(migrate, error);
    if (status == STATUS_OK)
        status = migration_prepare(migrate->target, &migrate->migration, error);
    if (status == STATUS_OK)
        status = check_result(migrate, &result, error);
    if (status == STATUS_OK)
        status = write_state(migrate, 0, skipped ? STEP_SKIPPED : STEP_DONE, result, error);
    free(result);
    pg_disconnect(migrate->source);
    return status;
}

/* Begins to wait, or goes on where the person has done it. *waits: there is nothing more to do now. */
static enum status person_step(struct migrate *migrate, int step, bool *waits, struct error *error)
{
    const struct migrate_step *entry = &migrate_steps[step];
    const struct options *options = migrate->options;

    *waits = false;
    if (migration_state(&migrate->migration, entry->name) == STEP_WAITING &&
        (options->yes || options->go_on || (ask_can() && ask(migrate->stop, entry->ask))))
        return write_state(migrate, step, STEP_DONE, NULL, error);
    *waits = true;
    migrate_show_todo(migrate, step);
    if (migration_state(&migrate->migration, entry->name) == STEP_WAITING)
        return STATUS_OK;
    return write_state(migrate, step, STEP_WAITING, NULL, error);
}

/* The step's command takes the signals for itself meanwhile; one that comes between is found by whoever is next. */
static enum status run_step(struct migrate *migrate, int step, char **result, struct error *error)
{
    struct error second;
    enum status status;

    signals_finish(migrate->signals);
    migrate->signals = NULL;
    status = migrate_steps[step].run(migrate, result, error);
    fflush(stdout);
    error_reset(&second);
    if (signals_start(migrate->stop, notice_signal, &migrate->signals, &second) != STATUS_OK && status == STATUS_OK) {
        *error = second;
        status = second.status;
    }
    return status;
}

/* Why it failed, for the ledger. */
static char *failure_text(struct migrate *migrate, const struct error *error)
{
    struct error second;
    struct sql sql = {0};
    char *text = NULL;

    error_reset(&second);
    sql_add(&sql, "SELECT pg_catalog.json_build_object('failure', ");
    sql_add_literal(&sql, error->text);
    sql_add(&sql, "::text)");
    if (pg_connect(migrate->target, &second) != STATUS_OK ||
        pg_value(migrate->target, sql.text, &text, &second) != STATUS_OK)
        text = NULL;
    sql_reset(&sql);
    return text;
}

static enum status own_step(struct migrate *migrate, int step, struct error *error)
{
    const struct migrate_step *entry = &migrate_steps[step];
    char *result = NULL;
    struct error second;
    enum status status = write_state(migrate, step, STEP_RUNNING, NULL, error);

    if (status != STATUS_OK)
        return status;
    log_line(LOG_NOTICE, "step %d of %d, %s: %s", step + 1, migrate_step_count, entry->name, entry->title);
    status = run_step(migrate, step, &result, error);
    if (status == STATUS_OK) {
        status = write_state(migrate, step, STEP_DONE, result, error);
        free(result);
        return status;
    }
    /* What stopped it is told by the caller; that this cannot be written, when the target is away, is no news. */
    error_reset(&second);
    free(result);
    result = status == STATUS_STOPPED ? NULL : failure_text(migrate, error);
    if (status != STATUS_STOPPED && result != NULL &&
        write_state(migrate, step, STEP_FAILED, result, &second) != STATUS_OK)
        log_line(LOG_DEBUG, "%s", second.text);
    free(result);
    error_prefix(error, "step %s", entry->name);
    return status;
}

static void tell_failure(const struct migrate *migrate, int step, enum status status)
{
    if (status == STATUS_STOPPED)
        log_line(LOG_NOTICE, "stopped in step %s; go on: %s", migrate_steps[step].name, migrate->job.resume);
    else
        log_line(LOG_NOTICE, "step %s failed: %s. Then go on: %s", migrate_steps[step].name, migrate_steps[step].todo,
                 migrate->job.resume);
}

static enum status go(struct migrate *migrate, struct error *error)
{
    enum status status = STATUS_OK;
    bool waits = false;
    int step;

    while (status == STATUS_OK && !waits && (step = migrate_next(migrate)) < migrate_step_count) {
        if (stop_level(migrate->stop) != STOP_RUN)
            status = error_set(error, STATUS_STOPPED, "stopped before step %s", migrate_steps[step].name);
        else if ((migrate->job.skipped >> step & 1) != 0)
            status = write_state(migrate, step, STEP_SKIPPED, NULL, error);
        else if (migrate_steps[step].ask != NULL)
            status = person_step(migrate, step, &waits, error);
        else
            status = own_step(migrate, step, error);
        if (status != STATUS_OK)
            tell_failure(migrate, step, status);
    }
    if (status == STATUS_OK && !waits)
        printf("The migration %s is done. Its record stays in %s of the target, for hyperfill migrate status, until "
               "hyperfill"
               " clean.\n",
               migrate->job.name, migrate->migration.table);
    return status;
}

static bool is_begun(const struct migrate *migrate)
{
    enum step_state state = migration_state(&migrate->migration, "check");

    return state == STEP_DONE || state == STEP_SKIPPED;
}

static enum status migrate_do(struct migrate *migrate, struct error *error)
{
    const struct options *options = migrate->options;
    enum status status = migrate_open(migrate, error);

    if (status == STATUS_OK)
        status = migration_read(migrate->target, &migrate->migration, error);
    if (status == STATUS_OK && options->action != NULL) {
        migrate_show_status(migrate, options->json);
        return STATUS_OK;
    }
    if (status == STATUS_OK && options->json)
        status = error_set(error, STATUS_USAGE, "--json belongs to hyperfill migrate status");
    if (status == STATUS_OK)
        status = preflight_fill(migrate, error);
    if (status == STATUS_OK)
        status = migration_lock(migrate->target, &migrate->migration, error);
    /* What another process has done until it let go. */
    if (status == STATUS_OK)
        status = migration_read(migrate->target, &migrate->migration, error);
    if (status == STATUS_OK && is_begun(migrate))
        status = job_compare(migrate, error);
    else if (status == STATUS_OK)
        status = begin(migrate, error);
    if (status == STATUS_OK)
        status = go(migrate, error);
    return status;
}

enum status command_migrate(const struct options *options, struct error *error)
{
    struct migrate *migrate = calloc(1, sizeof *migrate);
    enum status status;

    if (migrate == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    migrate->options = options;
    status = stop_create(&migrate->stop, error);
    if (status == STATUS_OK)
        status = signals_start(migrate->stop, notice_signal, &migrate->signals, error);
    if (status == STATUS_OK)
        status = migrate_job_make(options, &migrate->job, error);
    if (status == STATUS_OK)
        status = migrate_do(migrate, error);
    migrate_close(migrate);
    free(migrate);
    return status;
}
