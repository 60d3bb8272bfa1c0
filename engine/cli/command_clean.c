/* `hyperfill clean`: forgets the ledger of a table's jobs. The rows that were loaded stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "engine/method/cascade.h"
#include "writers/ledger.h"
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

static enum status clean_table(const struct options *options, struct pg *pg, const char *name, struct error *error)
{
    struct ledger ledger;
    struct table table = {0};
    struct ledger_cleaning cleaning = {0};
    long long rejects;
    enum status status;
    bool exists = false;

    ledger_init(&ledger, options->ledger_schema, "");
    status = pg_connect(pg, error);
    if (status == STATUS_OK)
        status = ledger_exists(pg, &ledger, &exists, error);
    if (status == STATUS_OK && !exists)
        printf("there is no ledger in schema \"%s\": nothing to forget\n", options->ledger_schema);
    if (status == STATUS_OK && exists)
        status = find_table(pg, name, &table, error);
    if (status == STATUS_OK && exists)
        status = ledger_clean(pg, &ledger, &table, options->yes, &cleaning, error);
    if (status == STATUS_OK && exists)
        printf("forgot %lld job%s of %s\n", (long long)cleaning.forgotten, cleaning.forgotten == 1 ? "" : "s",
               table.sql);
    if (status == STATUS_OK && cleaning.builds_aside > 0)
        printf("rows that such a job had loaded for %lld partition%s, and that were not yet part of %s, are dropped\n",
               (long long)cleaning.builds_aside, cleaning.builds_aside == 1 ? "" : "s", table.sql);
    cleaning.builds -= cleaning.builds_aside;
    if (status == STATUS_OK && cleaning.builds > 0)
        printf("%lld chunk%s that such a job was building %s complete again, or gone where it was no part of the table "
               "yet\n",
               (long long)cleaning.builds, cleaning.builds == 1 ? "" : "s", cleaning.builds == 1 ? "is" : "are");
    rejects = (long long)cleaning.rejects;
    if (status == STATUS_OK && rejects > 0 && cleaning.kept == 0)
        printf("with them went %lld rejected row%s that %s never replayed\n", rejects, rejects == 1 ? "" : "s",
               rejects == 1 ? "was" : "were");
    if (status == STATUS_OK && cleaning.kept > 0) {
        status = error_set(error, STATUS_USAGE, "%lld unfinished job%s of %s kept: without its ledger a job cannot be",
                           (long long)cleaning.kept, cleaning.kept == 1 ? " was" : "s were", table.sql);
        if (rejects > 0)
            error_hint(error, " resumed, and %lld rejected row%s not be replayed", rejects, rejects == 1 ? "" : "s");
        else
            error_hint(error, " resumed");
        error_hint(error, "; to forget it all the same, say --yes");
    }
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
