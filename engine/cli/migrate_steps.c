/*
 * The steps of a migration: which command each of them is, and with what. Every one may be done again: the commands go
 * by the ledger.
 */
#include "engine/cli/migrate.h"

#include <stdlib.h>
#include <string.h>

#include "engine/cli/progress_private.h"
#include "engine/log.h"

const char *migrate_source_table(const struct migrate_job *job, int table)
{
    const char *name = migrate_job_value(job, "source-table", table);

    return name != NULL ? name : job->tables[table].name;
}

bool migrate_replaces(const struct migrate_job *job, int table)
{
    const char *overlap = migrate_job_value(job, "overlap", table);

    return overlap == NULL || strcmp(overlap, "replace") == 0;
}

static bool takes(enum command command, const char *option)
{
    const struct option_entry *entry = option_find(option, strlen(option));

    return entry != NULL && (entry->commands & OPTION_COMMAND(command)) != 0;
}

static void add_if(struct migrate_call *call, enum command command, const char *option, const char *value)
{
    if (takes(command, option))
        migrate_call_add(call, option, value);
}

/* What the step completion-point has fixed; else, where that is left out, as the job says. NULL: there is none yet. A
 * new string. */
static enum status find_until(struct migrate *migrate, int table, char **until, struct error *error)
{
    const char *given = migrate_job_value(&migrate->job, "until", table), *name = migrate->job.tables[table].name;
    enum status status = STATUS_OK;

    *until = NULL;
    if (migration_state(&migrate->migration, "completion-point") == STEP_DONE) {
        status = pg_connect(migrate->target, error);
        if (status == STATUS_OK)
            status =
                migration_value(migrate->target, &migrate->migration, "completion-point", "until", name, until, error);
    }
    if (*until != NULL && given != NULL && strcmp(*until, given) != 0)
        return error_set(error, STATUS_USAGE,
                         "table %s: the completion point is fixed at %s, and the job says until = %s now: set it back",
                         name, *until, given);
    if (*until == NULL && given != NULL)
        *until = strdup(given);
    return status;
}

/* One command for one table. */
static enum status call_table(struct migrate *migrate, enum command command,
                              enum status (*run)(const struct options *, struct error *), int table,
                              struct error *error)
{
    struct migrate_call call = {0};
    char *until = NULL;
    enum status status = STATUS_OK;

    bool bounded = command == COMMAND_RUN || command == COMMAND_VERIFY;

    if (bounded)
        status = find_until(migrate, table, &until, error);
    if (status == STATUS_OK && bounded && until == NULL)
        status = error_set(error, STATUS_USAGE,
                           "table %s has no completion point: say until = TIME in its section, or do not skip the step"
                           " completion-point",
                           migrate->job.tables[table].name);
    if (until != NULL)
        migrate_call_add(&call, "until", until);
    if (command == COMMAND_RUN && migrate_replaces(&migrate->job, table))
        migrate_call_add(&call, "overlap", "replace");
    /* The plan was agreed to. What clean asks is another matter: jobs that are not finished. */
    if (command != COMMAND_CLEAN)
        add_if(&call, command, "yes", NULL);
    if (status == STATUS_OK)
        status = migrate_call_make(&call, &migrate->job, command, table, error);
    if (status == STATUS_OK)
        status = run(&call.options, error);
    migrate_call_reset(&call);
    free(until);
    return status;
}

static void results_begin(struct json *json, char **text, size_t *size)
{
    *json = (struct json){.file = open_memstream(text, size)};
    if (json->file == NULL)
        abort();
    json_open(json, NULL, '{');
}

static void results_end(struct json *json)
{
    json_close(json, '}');
    fclose(json->file);
}

/* Each table, also when one fails: then the step has, and is done again for all; those that are done have nothing to
 * do. */
static enum status call_tables(struct migrate *migrate, enum command command,
                               enum status (*run)(const struct options *, struct error *), char **result,
                               struct error *error)
{
    const struct migrate_job *job = &migrate->job;
    enum status status = STATUS_OK;
    struct sql failed = {0};
    struct json json;
    size_t size;
    int failures = 0;

    results_begin(&json, result, &size);
    json_open(&json, "tables", '{');
    for (int table = 0; table < (int)job->table_count && status != STATUS_STOPPED; table++) {
        struct error one;
        enum status ended;

        error_reset(&one);
        ended = call_table(migrate, command, run, table, &one);
        json_text(&json, job->tables[table].name, ended == STATUS_OK ? "done" : one.text);
        if (ended == STATUS_OK)
            continue;
        if (status == STATUS_OK || ended == STATUS_STOPPED)
            status = ended;
        if (failures++ == 0)
            *error = one;
        else
            log_error(&one);
        sql_add(&failed, "%s%s", failures > 1 ? ", " : "", job->tables[table].name);
    }
    json_close(&json, '}');
    results_end(&json);
    if (status != STATUS_OK && status != STATUS_STOPPED && job->table_count > 1) {
        error_prefix(error, "%d of %zu tables failed (%s), first", failures, job->table_count, failed.text);
        error->status = status;
    } else if (status == STATUS_STOPPED) {
        error->status = status;
    }
    sql_reset(&failed);
    return status;
}

/* The schema's --hypertable wants the source's table; in a table's section its name may be left out. */
static void add_hypertable(struct migrate_call *call, const struct migrate_job *job, int table,
                           const struct table *source)
{
    bool own;
    const char *said = migrate_job_hypertable(job, table, &own), *name = migrate_source_table(job, table);
    struct sql text = {0};

    /* Of those in [migration] or on the command line the call knows. */
    if (said != NULL && !own)
        return;
    if (said != NULL && strchr(said, '=') != NULL)
        sql_add(&text, "%s", said);
    else if (said != NULL)
        sql_add(&text, "%s=%s", name, said);
    else if (source->kind != TABLE_HYPERTABLE)
        sql_add(&text, "%s=%s", name, source->time_name);
    if (text.size > 0)
        add_if(call, COMMAND_SCHEMA, "hypertable", text.text);
    sql_reset(&text);
}

static enum status step_schema(struct migrate *migrate, char **result, struct error *error)
{
    const struct migrate_job *job = &migrate->job;
    struct migrate_call call = {0};
    enum status status = pg_connect(migrate->source, error);

    (void)result;
    for (int i = 0; status == STATUS_OK && i < (int)job->table_count; i++) {
        struct table source = {0};

        status = table_describe(migrate->source, migrate_source_table(job, i), migrate_job_value(job, "time-column", i),
                                false, &source, error);
        if (status == STATUS_OK)
            add_hypertable(&call, job, i, &source);
        table_reset(&source);
    }
    pg_disconnect(migrate->source);
    add_if(&call, COMMAND_SCHEMA, "yes", NULL);
    if (status == STATUS_OK)
        status = migrate_call_make(&call, job, COMMAND_SCHEMA, -1, error);
    if (status == STATUS_OK)
        status = command_schema(&call.options, error);
    migrate_call_reset(&call);
    return status;
}

/* The completion point of one table; a new string. */
static enum status propose(struct migrate *migrate, int table, char **until, struct error *error)
{
    const struct migrate_job *job = &migrate->job;
    const char *given = migrate_job_value(job, "until", table);
    struct migrate_call call = {0};
    enum status status;

    *until = given != NULL ? strdup(given) : NULL;
    if (given != NULL)
        return STATUS_OK;
    status = migrate_call_make(&call, job, COMMAND_COMPLETION_POINT, table, error);
    if (status == STATUS_OK)
        status = completion_point(&call.options, until, error);
    migrate_call_reset(&call);
    if (status == STATUS_OK && *until == NULL)
        status =
            error_set(error, STATUS_USAGE, "table %s: no completion point was found; say until = TIME in its section",
                      job->tables[table].name);
    return status;
}

/* Fixed once for all tables; a step that was killed in the middle begins anew, as nothing was loaded by it yet. */
static enum status step_point(struct migrate *migrate, char **result, struct error *error)
{
    const struct migrate_job *job = &migrate->job;
    enum status status = STATUS_OK;
    struct json json;
    size_t size;

    results_begin(&json, result, &size);
    json_open(&json, "until", '{');
    for (int table = 0; status == STATUS_OK && table < (int)job->table_count; table++) {
        char *until = NULL;

        status = propose(migrate, table, &until, error);
        if (status == STATUS_OK)
            json_text(&json, job->tables[table].name, until);
        else if (job->table_count > 1)
            error_prefix(error, "table %s", job->tables[table].name);
        free(until);
    }
    json_close(&json, '}');
    results_end(&json);
    return status;
}

static enum status step_run(struct migrate *migrate, char **result, struct error *error)
{
    return call_tables(migrate, COMMAND_RUN, command_run, result, error);
}

/* So long before the completion point, as the server reckons. A new string. */
static enum status find_from(struct migrate *migrate, int table, const char *until, char **from, struct error *error)
{
    const struct migrate_job *job = &migrate->job;
    struct table source = {0};
    struct sql sql = {0};
    enum status status = pg_connect(migrate->source, error);

    if (status == STATUS_OK)
        status = table_describe(migrate->source, migrate_source_table(job, table),
                                migrate_job_value(job, "time-column", table), false, &source, error);
    if (status == STATUS_OK) {
        sql_add(&sql, "SELECT (");
        sql_add_literal(&sql, until);
        sql_add(&sql, "::%s - ", time_type_sql(source.time.type));
        sql_add_literal(&sql, migrate_job_value(job, "late", table));
        sql_add(&sql, "::%s)::%s", time_type_is_integer(source.time.type) ? "int8" : "interval",
                time_type_is_integer(source.time.type) ? "text" : time_type_sql(source.time.type));
        status = pg_value(migrate->source, sql.text, from, error);
    }
    sql_reset(&sql);
    table_reset(&source);
    pg_disconnect(migrate->source);
    return status;
}

/* The stretch before the completion point where rows may have come after it was read: compared, and loaded again where
 * it differs. */
static enum status catch_up_table(struct migrate *migrate, int table, struct error *error)
{
    struct migrate_call call = {0};
    char *until = NULL, *from = NULL;
    enum status status = find_until(migrate, table, &until, error);

    if (status == STATUS_OK && until != NULL)
        status = find_from(migrate, table, until, &from, error);
    if (status == STATUS_OK && from != NULL) {
        migrate_call_add(&call, "from", from);
        migrate_call_add(&call, "until", until);
        add_if(&call, COMMAND_VERIFY, "repair", NULL);
        status = migrate_call_make(&call, &migrate->job, COMMAND_VERIFY, table, error);
        if (status == STATUS_OK)
            status = command_verify(&call.options, error);
    }
    migrate_call_reset(&call);
    free(until);
    free(from);
    return status;
}

static enum status step_catch_up(struct migrate *migrate, char **result, struct error *error)
{
    enum status status = STATUS_OK;
    bool any = false;

    (void)result;
    for (int table = 0; status == STATUS_OK && table < (int)migrate->job.table_count; table++)
        if (migrate_job_value(&migrate->job, "late", table) != NULL) {
            any = true;
            status = catch_up_table(migrate, table, error);
        }
    if (!any)
        log_line(LOG_NOTICE, "nothing to catch up with: the job does not say how late rows may come (late = LENGTH)");
    return status;
}

static enum status step_refresh(struct migrate *migrate, char **result, struct error *error)
{
    return call_tables(migrate, COMMAND_REFRESH, command_refresh, result, error);
}

static enum status step_verify(struct migrate *migrate, char **result, struct error *error)
{
    return call_tables(migrate, COMMAND_VERIFY, command_verify, result, error);
}

/* Those of the target that are behind: writers of the source have taken values since the schema was cloned. */
static enum status step_sequences(struct migrate *migrate, char **result, struct error *error)
{
    struct migrate_call call = {0};
    enum status status;

    (void)result;
    migrate_call_add(&call, "sequences", NULL);
    status = migrate_call_make(&call, &migrate->job, COMMAND_SCHEMA, -1, error);
    call.options.schema_only = false;
    if (status == STATUS_OK)
        status = command_schema(&call.options, error);
    migrate_call_reset(&call);
    return status;
}

static enum status step_clean(struct migrate *migrate, char **result, struct error *error)
{
    return call_tables(migrate, COMMAND_CLEAN, command_clean, result, error);
}

/* clang-format off */
const struct migrate_step migrate_steps[] = {
    {"check", "Check both sides", .todo = "put the problems right"},
    {"schema", "Clone schema and relational data",
     .todo = "put right what stands in the way; or make the schema by hand, and go on with --skip schema", .run = step_schema},
    {"dual-writes", "Start dual writes", .ask = "Does every writer write to both databases now?",
     .todo = "Let the application write each row to both databases, source and target, from now on: deploy all of its writers\n"
             "so, restart those that are long-lived, and look that new rows come to both sides. Rows that come to the target\n"
             "before the last writer has begun are replaced by the backfill."},
    {"completion-point", "Find the time up to which to load",
     .todo = "wait until both sides have been written to for a while; or say until = TIME in the table's section",
     .run = step_point},
    {"run", "Load the history", .todo = "nothing is lost: what is committed stays", .run = step_run},
    {"catch-up", "Load rows that came late", .todo = "nothing is lost: what is committed stays", .run = step_catch_up},
    {"refresh", "Refresh continuous aggregates", .todo = "what is refreshed stays so", .run = step_refresh},
    {"verify", "Compare both sides",
     .todo = "look at the rows that differ; repair = yes in [migration] lets verify load them again", .run = step_verify},
    {"sequences", "Let sequences follow the source's",
     .todo = "put right what stands in the way; or move them by hand (setval), and go on with --skip sequences",
     .run = step_sequences},
    {"switch-over", "Switch over", .ask = "Does the application read and write the target alone?",
     .todo = "Both sides are equal before the completion point. Look that the target carries the load of your queries, lead\n"
             "reads to it, then let the application write to the target alone. Sequences of the target stand where those of the\n"
             "source did a moment ago. Where writers still take ids from the source, stop them first, and move the sequences\n"
             "once more: hyperfill schema --sequences with --source and --target. The source stays as it is."},
    {"clean", "Forget the ledger", .todo = "the rows stay, the ledger too until this is done", .run = step_clean},
};
/* clang-format on */

const int migrate_step_count = sizeof migrate_steps / sizeof *migrate_steps;

int migrate_step_find(const char *name)
{
    for (int i = 0; i < migrate_step_count; i++)
        if (strcmp(migrate_steps[i].name, name) == 0)
            return i;
    return -1;
}
