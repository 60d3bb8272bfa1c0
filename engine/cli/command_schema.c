/* `hyperfill schema`: clones what the source consists of, and its relational rows. */
#include <inttypes.h>
#include <stdio.h>

#include "engine/cli/commands.h"
#include "engine/log.h"
#include "engine/method/schema.h"

static void notice(enum stop_level level)
{
    log_line(LOG_NOTICE,
             level == STOP_DRAIN ? "stopping: what was made stays, and is not made again" : "stopping at once");
}

static const char *ending(int64_t count)
{
    return count == 1 ? "" : "s";
}

static void tell_sequences(const struct schema_result *result)
{
    if (result->sequences == 0)
        printf("nothing to do: no sequence is behind the source's\n");
    else
        printf("moved %" PRId64 " sequence%s to where the source's stand\n", result->sequences,
               ending(result->sequences));
}

static void tell(const struct options *options, const struct schema_result *result)
{
    if (options->dry_run) {
        printf("-- %" PRId64 " statement%s; nothing was changed\n", result->made, ending(result->made));
        return;
    }
    if (options->sequences) {
        tell_sequences(result);
        return;
    }
    if (result->made == 0) {
        printf("nothing to do: %" PRId64 " object%s equal\n", result->equal, ending(result->equal));
        return;
    }
    printf("made %" PRId64 ", left alone %" PRId64 " that %s equal", result->made, result->equal,
           result->equal == 1 ? "is" : "are");
    if (result->hypertables > 0)
        printf(", hypertable%s: %" PRId64, ending(result->hypertables), result->hypertables);
    if (result->tables > 0)
        printf(", copied %" PRId64 " row%s of %" PRId64 " table%s", result->rows, ending(result->rows), result->tables,
               ending(result->tables));
    if (result->left_out > 0)
        printf(", left out %" PRId64, result->left_out);
    putchar('\n');
}

enum status command_schema(const struct options *options, struct error *error)
{
    struct pg_address source = {0}, target = {0};
    struct signals *signals = NULL;
    struct schema_result result;
    struct stop *stop = NULL;
    enum status status = stop_create(&stop, error);

    if (status == STATUS_OK)
        status = signals_start(stop, notice, &signals, error);
    if (status == STATUS_OK && options->sources.count > 1)
        status = error_set(error, STATUS_USAGE, "--source is given twice");
    if (status == STATUS_OK && options->sequences && options->schema_only)
        status = error_set(error, STATUS_USAGE, "--schema-only leaves sequences where they are: say it or --sequences");
    if (status == STATUS_OK && !pg_is_conninfo(options->source))
        status = error_set(error, STATUS_USAGE, "--source of schema is a PostgreSQL server: a URI or conninfo");
    if (status == STATUS_OK)
        status = pg_address_init(&source, options->source, "source", error);
    if (status == STATUS_OK)
        status = pg_address_init(&target, options->target, "target", error);
    if (status == STATUS_OK) {
        struct schema_request request = {
            .source = &source,
            .target = &target,
            .hypertables = options->hypertables.items,
            .hypertable_count = options->hypertables.count,
            .ledger_schema = options->ledger_schema,
            .pg_bin = options->pg_bin,
            .roles = options->roles,
            .schema_only = options->schema_only,
            .sequences_only = options->sequences,
            .dry_run = options->dry_run,
            .output = stdout,
            .stop = stop,
        };

        status = options->sequences ? schema_set_sequences(&request, &result, error)
                                    : schema_clone(&request, &result, error);
    }
    if (status == STATUS_OK)
        tell(options, &result);
    pg_address_reset(&source);
    pg_address_reset(&target);
    signals_finish(signals);
    stop_free(stop);
    return status;
}
