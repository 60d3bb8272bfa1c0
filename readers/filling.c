/* Blocks of addressable sources. */
#include "readers/filling.h"

enum status filling_given_up(const struct filling *filling, struct error *error)
{
    if (!piece_given_up(filling->piece) && stop_level(pipeline_stop(filling->pipeline)) != STOP_ABORT)
        return STATUS_OK;
    return error_set(error, STATUS_STOPPED, "the range was given up while it was read");
}

void filling_end(struct filling *filling)
{
    if (filling->block == NULL)
        return;
    if (filling->handed_over != NULL)
        stats_add(filling->handed_over, filling->block->used);
    piece_append(filling->piece, filling->block);
    filling->block = NULL;
}

void filling_drop(struct filling *filling)
{
    if (filling->block != NULL)
        pool_give(pipeline_pool(filling->pipeline), filling->block);
    filling->block = NULL;
}

static enum status next_block(struct filling *filling, struct error *error)
{
    enum status status;

    filling_end(filling);
    status = filling_given_up(filling, error);
    if (status != STATUS_OK)
        return status;
    filling->block = piece_take_block(filling->piece, pipeline_stop(filling->pipeline), filling->packer,
                                      pipeline_stats(filling->pipeline));
    if (filling->block == NULL)
        return error_set(error, STATUS_STOPPED, "the range was given up while it was read");
    return STATUS_OK;
}

enum status filling_split(struct filling *filling, const char *text, size_t size, struct error *error)
{
    const uint32_t block_size = pool_block_size(pipeline_pool(filling->pipeline));

    while (size > 0) {
        struct block *block;
        size_t part;

        if (filling->block == NULL || filling->block->used == block_size) {
            enum status status = next_block(filling, error);

            if (status != STATUS_OK)
                return status;
        }
        block = filling->block;
        part = block_size - block->used < size ? block_size - block->used : size;
        memcpy(block->data + block->used, text, part);
        block->used += (uint32_t)part;
        text += part;
        size -= part;
    }
    return STATUS_OK;
}
