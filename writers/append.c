/* COPY through the table itself, one piece a transaction. */
#include "writers/append.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "writers/append_attempt_private.h"
#include "writers/staging.h"

static int compare_ranges(const void *left, const void *right)
{
    const struct range *a = left, *b = right;

    return (a->lo > b->lo) - (a->lo < b->lo);
}

enum status append_target_init(struct append_target *target, struct error *error)
{
    const struct table *table = target->table;
    bool by_row = !(table->community && table->dimensions == 1);

    pthread_mutex_init(&target->mutex, NULL);
    /* A real row would fire its triggers twice. */
    target->ahead = (table->kind == TABLE_HYPERTABLE && !(by_row && table->row_triggers)) ||
                    (table->kind == TABLE_PARTITIONED && target->create_partitions);
    target->staging = target->skip_conflicts ? staging_name(target) : NULL;
    target->made_count = 0;
    target->made_room = table->cell_count + 64;
    target->made = calloc(target->made_room, sizeof *target->made);
    if (target->made == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for %zu chunks of %s", table->cell_count, table->sql);
    if (table->cell_count > 0)
        memcpy(target->made, table->cells, table->cell_count * sizeof *target->made);
    target->made_count = table->cell_count;
    qsort(target->made, target->made_count, sizeof *target->made, compare_ranges);
    return STATUS_OK;
}

void append_target_reset(struct append_target *target)
{
    if (target->made == NULL)
        return;
    pthread_mutex_destroy(&target->mutex);
    free(target->made);
    free(target->staging);
    target->made = NULL;
    target->made_count = target->made_room = 0;
}

static void append_close(void *opened)
{
    struct append_session *session = opened;

    if (session == NULL)
        return;
    pg_free(session->pg);
    packer_free(session->packer);
    sorter_free(session->sorter);
    free(session);
}

static enum status append_open(void *target, struct pipeline *pipeline, void **opened, struct error *error)
{
    struct append_session *session = calloc(1, sizeof *session);
    enum status status;

    if (session == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for a writer");
    session->target = target;
    session->pipeline = pipeline;
    status = packer_create(pool_block_size(pipeline_pool(pipeline)), &session->packer, error);
    if (status == STATUS_OK)
        status = pg_create(session->target->address, session->target->settings, pipeline_stop(pipeline), &session->pg,
                           error);
    if (status != STATUS_OK) {
        append_close(session);
        return status;
    }
    *opened = session;
    return STATUS_OK;
}

const struct append_input *append_input_of(const struct append_session *session, const struct piece *piece)
{
    size_t index = (size_t)piece_spec(piece)->input;

    assert(index < session->target->input_count);
    return &session->target->inputs[index];
}

static enum status append_write(void *opened, struct piece *piece, struct write_result *result, struct error *error)
{
    return attempt_piece(opened, piece, result, error);
}

static enum status append_finish(void *opened, struct error *error)
{
    return build_finish(opened, error);
}

const struct writer_ops append_writer = {
    .name = "append",
    .open = append_open,
    .write = append_write,
    .finish = append_finish,
    .close = append_close,
};
