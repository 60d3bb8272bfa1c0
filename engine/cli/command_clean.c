/* `hyperfill clean`: forgets the ledger of a table's jobs, and what the steps around them have left. The rows that were
 * loaded stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "engine/method/cascade.h"
#include "engine/method/forget.h"
#include "writers/ledger_state.h"
#include "writers/scratch.h"

/* Oid and name are enough: the ledger goes by the table alone, whose time column need not be found. */
static enum status find_table(struct pg *pg, const char *name, struct table *table, struct error *error)
{
    char *literal = pg_literal(name);
    PGresult *result = NULL;
    enum status status;

    status =
        pg_runf(pg, &result, error,
                "SELECT c.oid, '\"' || replace(nspname, '\"', '\"\"') || '\".\"' || replace(relname, '\"', '\"\"') || "
                "'\"' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
                "c.oid = pg_catalog.to_regclass(%s)",
                literal);
    free(literal);
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1) {
        table->oid = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
        table->sql = strdup(PQgetvalue(result, 0, 1));
    } else {
        status = error_set(error, STATUS_SERVER, "target: there is no table %s", name);
    }
    PQclear(result);
    return status;
}

static void tell_jobs(const struct ledger_cleaning *cleaning, const struct table *table)
{
    long long aside = (long long)cleaning->builds_aside, builds = (long long)cleaning->builds - aside;
    long long rejects = (long long)cleaning->rejects;

    printf("forgot %lld job%s of %s\n", (long long)cleaning->forgotten, cleaning->forgotten == 1 ? "" : "s",
           table->sql);
    if (aside > 0)
        printf("rows that such a job had loaded for %lld partition%s, and that were not yet part of %s, are dropped\n",
               aside, aside == 1 ? "" : "s", table->sql);
    if (builds > 0)
        printf("%lld chunk%s that such a job was building %s complete again, or gone where it was no part of the table "
               "yet\n",
               builds, builds == 1 ? "" : "s", builds == 1 ? "is" : "are");
    if (rejects > 0 && cleaning->kept == 0)
        printf("with them went %lld rejected row%s that %s never replayed\n", rejects, rejects == 1 ? "" : "s",
               rejects == 1 ? "was" : "were");
}

static void tell_method(const struct forgotten *forgotten, const struct table *table)
{
    if (forgotten->comparisons > 0)
        printf("forgot %lld comparison%s of %s that had been interrupted\n", (long long)forgotten->comparisons,
               forgotten->comparisons == 1 ? "" : "s", table->sql);
    if (forgotten->migrations > 0)
        printf("forgot %lld migration%s that %s done\n", (long long)forgotten->migrations,
               forgotten->migrations == 1 ? "" : "s", forgotten->migrations == 1 ? "was" : "were");
    if (forgotten->unfinished != NULL)
        printf("kept the record of what is not finished: migration %s. hyperfill migrate goes on with it\n",
               forgotten->unfinished);
    if (forgotten->paused > 0)
        printf("%lld polic%s of %s %s still paused, and that stays known: hyperfill policies restore --target …"
               " --table '%s'\n",
               (long long)forgotten->paused, forgotten->paused == 1 ? "y" : "ies", table->sql,
               forgotten->paused == 1 ? "is" : "are", table->sql);
}

static enum status refuse_unfinished(const struct ledger_cleaning *cleaning, const struct table *table,
                                     struct error *error)
{
    long long rejects = (long long)cleaning->rejects;

    error_set(error, STATUS_USAGE, "%lld unfinished job%s of %s kept: without its ledger a job cannot be",
              (long long)cleaning->kept, cleaning->kept == 1 ? " was" : "s were", table->sql);
    if (rejects > 0)
        error_hint(error, " resumed, and %lld rejected row%s not be replayed", rejects, rejects == 1 ? "" : "s");
    else
        error_hint(error, " resumed");
    error_hint(error, "; to forget it all the same, say --yes");
    return error->status;
}

/* The ledger is gone where the last job was forgotten, but what steps have left may be there. */
static enum status clean_both(struct pg *pg, const struct ledger *ledger, const struct table *table, bool all,
                              struct error *error)
{
    struct ledger_cleaning cleaning = {0};
    struct forgotten forgotten = {0};
    bool exists;
    enum status status = ledger_exists(pg, ledger, &exists, error);

    if (status == STATUS_OK && exists)
        status = ledger_clean(pg, ledger, table, all, &cleaning, error);
    if (status == STATUS_OK && exists)
        tell_jobs(&cleaning, table);
    if (status == STATUS_OK && cleaning.kept > 0)
        return refuse_unfinished(&cleaning, table, error);
    if (status == STATUS_OK)
        status = forget_table(pg, ledger, table, &forgotten, error);
    if (status == STATUS_OK)
        tell_method(&forgotten, table);
    free(forgotten.unfinished);
    return status;
}

static enum status clean_table(const struct options *options, struct pg *pg, const char *name, struct error *error)
{
    struct ledger ledger;
    struct table table = {0};
    enum status status;
    bool exists = false;

    ledger_init(&ledger, options->ledger_schema, "");
    status = pg_connect(pg, error);
    if (status == STATUS_OK)
        status = ledger_state_any(pg, &ledger, &exists, error);
    if (status == STATUS_OK && !exists)
        printf("there is no ledger in schema \"%s\": nothing to forget\n", options->ledger_schema);
    if (status == STATUS_OK && exists)
        status = find_table(pg, name, &table, error);
    if (status == STATUS_OK && exists)
        status = clean_both(pg, &ledger, &table, options->yes, error);
    table_reset(&table);
    ledger_reset(&ledger);
    return status;
}

/* The aggregates' jobs first: without that of the table itself, what was loaded with it is not known any more. */
static enum status clean_all(const struct options *options, struct pg *pg, struct error *error)
{
    struct table table = {0};
    PGresult *names = NULL;
    enum status status = pg_connect(pg, error);

    if (status == STATUS_OK && options->cascade)
        status = find_table(pg, options->table, &table, error);
    if (status == STATUS_OK && options->cascade)
        status = cascade_stored(pg, table.oid, &names, error);
    for (int i = 0; status == STATUS_OK && names != NULL && i < PQntuples(names); i++)
        status = clean_table(options, pg, PQgetvalue(names, i, 0), error);
    if (status == STATUS_OK)
        status = clean_table(options, pg, options->table, error);
    PQclear(names);
    table_reset(&table);
    return status;
}

static enum status clean_scratch(const struct pg_address *address, struct stop *stop, struct error *error)
{
    int removed;
    enum status status = scratch_remove_left(address, stop, &removed, error);

    if (removed > 0)
        printf("removed %d scratch cop%s that a bench had left\n", removed, removed == 1 ? "y" : "ies");
    return status;
}

enum status command_clean(const struct options *options, struct error *error)
{
    struct pg_setting none[1] = {{NULL, NULL}};
    struct pg_address address = {0};
    struct stop *stop = NULL;
    struct pg *pg = NULL;
    enum status status;

    status = stop_create(&stop, error);
    if (status == STATUS_OK)
        status = pg_address_init(&address, options->target, "target", error);
    if (status == STATUS_OK)
        status = pg_create(&address, none, stop, &pg, error);
    if (status == STATUS_OK)
        status = clean_scratch(&address, stop, error);
    if (status == STATUS_OK)
        status = clean_all(options, pg, error);
    pg_free(pg);
    pg_address_reset(&address);
    stop_free(stop);
    return status;
}
