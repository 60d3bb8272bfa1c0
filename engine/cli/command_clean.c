/* `hyperfill clean`: forgets the ledger of a table's jobs. The rows that were loaded stay. */
#include <stdio.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "writers/ledger.h"

static enum status clean_table(const struct options *options, struct pg *pg, struct error *error)
{
    struct ledger ledger;
    struct table table = {0};
    int64_t forgotten = 0, kept = 0;
    enum status status;
    bool exists = false;

    ledger_init(&ledger, options->ledger_schema, "");
    status = pg_connect(pg, error);
    if (status == STATUS_OK)
        status = ledger_exists(pg, &ledger, &exists, error);
    if (status == STATUS_OK && !exists)
        printf("there is no ledger in schema \"%s\": nothing to forget\n", options->ledger_schema);
    if (status == STATUS_OK && exists)
        status = table_describe(pg, options->table, NULL, false, &table, error);
    /* The ledger goes by the table alone, which need not have a time column that can be found. */
    if (status == STATUS_USAGE && table.oid != 0) {
        error_reset(error);
        status = STATUS_OK;
    }
    if (status == STATUS_OK && exists)
        status = ledger_clean(pg, &ledger, &table, options->yes, &forgotten, &kept, error);
    if (status == STATUS_OK && exists)
        printf("forgot %lld job%s of %s\n", (long long)forgotten, forgotten == 1 ? "" : "s", table.sql);
    if (status == STATUS_OK && kept > 0)
        status = error_set(error, STATUS_USAGE,
                           "%lld unfinished job%s of %s kept: without its ledger a job cannot be resumed; to forget it "
                           "all the same, say --yes",
                           (long long)kept, kept == 1 ? " was" : "s were", table.sql);
    table_reset(&table);
    ledger_reset(&ledger);
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
        status = clean_table(options, pg, error);
    pg_free(pg);
    pg_address_reset(&address);
    stop_free(stop);
    return status;
}
