/* Text in blocks. */
#include "bench/parts.h"

#include <stdlib.h>
#include <string.h>

static enum status fill(struct text_blocks *blocks, struct error *error)
{
    for (size_t done = 0; done < blocks->text.size;) {
        struct block *block = pool_try(blocks->pool);
        size_t left = blocks->text.size - done, room;

        if (block == NULL)
            return error_set(error, STATUS_SYSTEM, "not enough blocks");
        room = block_room(block, TEXT_BLOCK_SIZE);
        block->mark_count = 1;
        *block_mark(block, TEXT_BLOCK_SIZE, 0) = (struct block_mark){.offset = (int64_t)done};
        block->used = (uint32_t)(left < room ? left : room);
        memcpy(block->data, blocks->text.data + done, block->used);
        done += block->used;
        chain_push(&blocks->chain, block);
    }
    return STATUS_OK;
}

enum status text_blocks_open(enum text_kind kind, struct text_blocks *blocks, struct error *error)
{
    enum status status = text_make(kind, &blocks->text, error);

    if (status == STATUS_OK)
        status = stop_create(&blocks->stop, error);
    if (status == STATUS_OK)
        status = pool_create((int64_t)TEXT_BLOCK_SIZE * TEXT_BLOCK_COUNT, TEXT_BLOCK_SIZE, 0, blocks->stop,
                             &blocks->pool, error);
    if (status == STATUS_OK)
        status = packer_create(TEXT_BLOCK_SIZE, &blocks->packer, error);
    return status == STATUS_OK ? fill(blocks, error) : status;
}

void text_blocks_close(struct text_blocks *blocks)
{
    if (blocks->pool != NULL)
        chain_clear(&blocks->chain, blocks->pool);
    packer_free(blocks->packer);
    pool_free(blocks->pool);
    stop_free(blocks->stop);
    free(blocks->text.data);
}
