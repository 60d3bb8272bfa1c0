/* Several tables: a session turns from one target to the other. */
#include <assert.h>

#include "engine/log.h"
#include "writers/append_private.h"

static enum status tables_open(void *argument, struct pipeline *pipeline, void **opened, struct error *error)
{
    const struct append_tables *tables = argument;
    enum status status = append_writer.open(tables->targets[0], pipeline, opened, error);

    if (status == STATUS_OK)
        ((struct append_session *)*opened)->tables = tables;
    return status;
}

/* Between pieces; what the session keeps of a table is that it sorts its rows. */
static void tables_turn(struct append_session *session, int32_t table)
{
    struct append_target *target = session->tables->targets[table];

    assert(table < session->tables->count && session->build == NULL);
    if (session->target == target)
        return;
    sorter_free(session->sorter);
    session->sorter = NULL;
    session->target = target;
}

static enum status tables_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    tables_turn(opened, piece_spec(piece)->table);
    return append_writer.write(opened, piece, result, error);
}

static void tables_ended(void *opened, int32_t table)
{
    struct error error;

    error_reset(&error);
    tables_turn(opened, table);
    if (append_writer.finish(opened, &error) != STATUS_OK)
        log_line(LOG_DEBUG, "%s; once more at the end", error.text);
}

/* A table that cannot be finished does not keep the others from it. It is told by what of it is still open; only what
 * may be over soon is tried again. */
static enum status tables_finish(void *opened, struct error *error)
{
    struct append_session *session = opened;
    struct error one;

    for (int32_t i = 0; i < session->tables->count; i++) {
        error_reset(&one);
        tables_turn(session, i);
        if (append_writer.finish(session, &one) == STATUS_OK)
            continue;
        if (one.status != STATUS_TRANSIENT && one.status != STATUS_STOPPED && one.status != STATUS_SYSTEM)
            log_error(&one);
        else if (error->status == STATUS_OK)
            *error = one;
    }
    return error->status;
}

static void tables_close(void *opened)
{
    append_writer.close(opened);
}

const struct writer_ops append_tables_writer = {
    .name = "append",
    .open = tables_open,
    .write = tables_write,
    .finish = tables_finish,
    .table_ended = tables_ended,
    .close = tables_close,
};
