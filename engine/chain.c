/* Chains of blocks, and their packing. */
#include "engine/chain.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* What stands before each frame in a packed block. */
struct frame {
    uint32_t text_packed, text_size; /* the CSV text, compressed and raw */
    uint32_t marks_packed, mark_count;
};

struct packer {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    char *packed; /* a frame being made */
    size_t packed_size;
    char *raw; /* a frame being read: text at the front, marks at the end, as in a block */
    uint32_t block_size;
    struct block loaded; /* what was read from a slot; its data is made when it is first needed */
    uint32_t loaded_slot;
};

void chain_push(struct chain *chain, struct block *block)
{
    block->next = NULL;
    if (chain->tail == NULL)
        chain->head = block;
    else
        chain->tail->next = block;
    chain->tail = block;
    chain->blocks++;
    if (block->form == BLOCK_RAW)
        chain->bytes += block->used;
}

void chain_clear(struct chain *chain, struct pool *pool)
{
    for (struct block *block = chain->head, *next; block != NULL; block = next) {
        next = block->next;
        pool_give(pool, block);
    }
    spill_clear(chain->spill, &chain->spilled);
    *chain = (struct chain){0};
}

enum status packer_create(uint32_t block_size, struct packer **result, struct error *error)
{
    struct packer *packer = calloc(1, sizeof *packer);

    if (packer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    packer->block_size = block_size;
    packer->packed_size = sizeof(struct frame) + 2 * ZSTD_compressBound(block_size);
    packer->compressor = ZSTD_createCCtx();
    packer->decompressor = ZSTD_createDCtx();
    packer->packed = malloc(packer->packed_size);
    packer->raw = malloc(block_size);
    if (packer->compressor == NULL || packer->decompressor == NULL || packer->packed == NULL || packer->raw == NULL) {
        packer_free(packer);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    *result = packer;
    return STATUS_OK;
}

void packer_free(struct packer *packer)
{
    if (packer == NULL)
        return;
    ZSTD_freeCCtx(packer->compressor);
    ZSTD_freeDCtx(packer->decompressor);
    free(packer->packed);
    free(packer->raw);
    free(packer->loaded.data);
    free(packer);
}

/* Makes a frame of a raw block in the packer's buffer; 0 if that does not pay. */
static size_t packer_frame(struct packer *packer, const struct block *block, int level)
{
    struct frame frame = {.text_size = block->used, .mark_count = block->mark_count};
    size_t marks_size = block->mark_count * sizeof(struct block_mark), at = sizeof frame, size;
    const char *marks = block->data + packer->block_size - marks_size;

    size = ZSTD_compressCCtx(packer->compressor, packer->packed + at, packer->packed_size - at, block->data,
                             block->used, level);
    if (ZSTD_isError(size))
        return 0;
    frame.text_packed = (uint32_t)size;
    at += size;
    size =
        ZSTD_compressCCtx(packer->compressor, packer->packed + at, packer->packed_size - at, marks, marks_size, level);
    if (ZSTD_isError(size))
        return 0;
    frame.marks_packed = (uint32_t)size;
    at += size;
    memcpy(packer->packed, &frame, sizeof frame);
    return at > packer->block_size / 5 * 4 ? 0 : at;
}

int64_t chain_pack(struct chain *chain, struct pool *pool, struct packer *packer, int level, int keep, int64_t *raw,
                   int64_t *packed)
{
    struct block *before = NULL, *next; /* `before` is the last block of what is done */
    int64_t freed = 0, left = chain->blocks - keep;

    for (struct block *block = chain->head; block != NULL && left > 0; block = next, left--) {
        size_t size = block->form == BLOCK_RAW ? packer_frame(packer, block, level) : 0;

        next = block->next;
        if (size == 0) {
            before = block;
            continue;
        }
        *raw += block->used;
        *packed += (int64_t)size;
        if (before != NULL && before->form == BLOCK_PACKED && before->used + size <= packer->block_size) {
            memcpy(before->data + before->used, packer->packed, size);
            before->used += (uint32_t)size;
            before->next = next;
            if (chain->tail == block)
                chain->tail = before;
            chain->blocks--;
            pool_give(pool, block);
            freed++;
        } else {
            memcpy(block->data, packer->packed, size);
            block->form = BLOCK_PACKED;
            block->used = (uint32_t)size;
            block->mark_count = 0;
            before = block;
        }
    }
    return freed;
}

/* Unpacks the frame at *position into the packer's buffer and moves the position behind it. */
static void packer_unpack(struct packer *packer, const struct block *block, uint32_t *position, struct span *span)
{
    struct frame frame;
    size_t marks_size, text, marks;
    char *marks_at;

    memcpy(&frame, block->data + *position, sizeof frame);
    *position += (uint32_t)sizeof frame;
    marks_size = frame.mark_count * sizeof(struct block_mark);
    assert(frame.text_size + marks_size <= packer->block_size);
    marks_at = packer->raw + packer->block_size - marks_size;
    text = ZSTD_decompressDCtx(packer->decompressor, packer->raw, frame.text_size, block->data + *position,
                               frame.text_packed);
    *position += frame.text_packed;
    marks =
        ZSTD_decompressDCtx(packer->decompressor, marks_at, marks_size, block->data + *position, frame.marks_packed);
    *position += frame.marks_packed;
    if (text != frame.text_size || marks != marks_size) {
        fprintf(stderr, "hyperfill: a packed block does not unpack: broken memory?\n");
        abort();
    }
    *span = (struct span){
        .data = packer->raw,
        .size = frame.text_size,
        .marks = (const struct block_mark *)(const void *)(packer->raw + packer->block_size) - 1,
        .mark_count = frame.mark_count,
    };
}

enum status chain_spill(struct chain *chain, struct pool *pool, struct spill *spill, int64_t *freed,
                        struct error *error)
{
    enum status status = STATUS_OK;
    bool taken = true;

    assert(chain->spill == NULL || chain->spill == spill);
    chain->spill = spill;
    while (chain->head != NULL) {
        struct block *block = chain->head;

        status = spill_put(spill, &chain->spilled, block, &taken, error);
        if (status != STATUS_OK || !taken)
            break;
        chain->head = block->next;
        if (chain->head == NULL)
            chain->tail = NULL;
        chain->blocks--;
        pool_give(pool, block);
        (*freed)++;
    }
    return status;
}

/* Reads a slot into the packer's block. */
static enum status packer_load(struct packer *packer, struct spill *spill, uint32_t slot, struct error *error)
{
    packer->loaded_slot = 0;
    if (packer->loaded.data == NULL)
        packer->loaded.data = malloc(packer->block_size);
    if (packer->loaded.data == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    packer->loaded_slot = slot;
    return spill_get(spill, slot, &packer->loaded, error);
}

/* Moves the cursor to the first or the next block; to none at the end. */
static enum status cursor_step(const struct chain *chain, struct cursor *cursor, struct packer *packer,
                               struct error *error)
{
    struct cursor next = {.started = true};

    if (!cursor->started)
        next.slot = chain->spilled.first;
    else if (cursor->slot != 0)
        next.slot = spill_next(chain->spill, cursor->slot);
    if (next.slot != 0) {
        next.block = &packer->loaded;
        *cursor = next;
        return packer_load(packer, chain->spill, next.slot, error);
    }
    next.block = cursor->started && cursor->slot == 0 ? cursor->block->next : chain->head;
    /* At the end it stays where it is: more may come. */
    if (next.block != NULL)
        *cursor = next;
    return STATUS_OK;
}

static bool cursor_is_behind(const struct cursor *cursor)
{
    if (!cursor->started)
        return true;
    return cursor->block->form == BLOCK_RAW ? cursor->frame > 0 : cursor->frame >= cursor->block->used;
}

enum status chain_next(const struct chain *chain, struct cursor *cursor, struct packer *packer, struct span *span,
                       struct error *error)
{
    enum status status = STATUS_OK;

    *span = (struct span){0};
    /* Another cursor may have used the packer's block since. */
    if (cursor->slot != 0 && cursor->slot != packer->loaded_slot)
        status = packer_load(packer, chain->spill, cursor->slot, error);
    if (status == STATUS_OK && cursor_is_behind(cursor))
        status = cursor_step(chain, cursor, packer, error);
    if (status != STATUS_OK || cursor_is_behind(cursor))
        return status;
    if (cursor->block->form == BLOCK_PACKED) {
        packer_unpack(packer, cursor->block, &cursor->frame, span);
        return STATUS_OK;
    }
    cursor->frame = 1;
    *span = (struct span){
        .data = cursor->block->data,
        .size = cursor->block->used,
        .marks = (const struct block_mark *)(const void *)(cursor->block->data + packer->block_size) - 1,
        .mark_count = cursor->block->mark_count,
    };
    return STATUS_OK;
}
