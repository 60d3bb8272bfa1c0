/* Buckets of the router. */
#include "readers/bucket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_FIRST 256

static int mark_compare(const void *one, const void *other)
{
    int64_t a = ((const struct stream_mark *)one)->lo, b = ((const struct stream_mark *)other)->lo;

    return (a > b) - (a < b);
}

enum status buckets_init(struct buckets *buckets, const struct stream_source *source, struct error *error)
{
    *buckets = (struct buckets){.slot_count = SLOTS_FIRST, .mark_count = source->mark_count};
    buckets->slots = calloc(buckets->slot_count, sizeof(struct bucket *));
    buckets->marks = calloc(source->mark_count + 1, sizeof *buckets->marks);
    if (buckets->slots == NULL || buckets->marks == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (source->mark_count > 0)
        memcpy(buckets->marks, source->marks, source->mark_count * sizeof *buckets->marks);
    qsort(buckets->marks, buckets->mark_count, sizeof *buckets->marks, mark_compare);
    return STATUS_OK;
}

void buckets_free(struct buckets *buckets, struct pool *pool)
{
    for (size_t i = 0; buckets->slots != NULL && i < buckets->slot_count; i++)
        for (struct bucket *bucket = buckets->slots[i], *next; bucket != NULL; bucket = next) {
            next = bucket->next_in_slot;
            chain_clear(&bucket->packed, pool);
            chain_clear(&bucket->fresh, pool);
            if (bucket->tail != NULL)
                pool_give(pool, bucket->tail);
            free(bucket);
        }
    free(buckets->slots);
    free(buckets->marks);
    *buckets = (struct buckets){0};
}

/* ---- Finding ---- */

/* Ranges begin at multiples of something, so the low bits alone say nothing (Fibonacci hashing). */
static size_t slot_of(const struct buckets *buckets, int64_t lo)
{
    return (size_t)(((uint64_t)lo * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (buckets->slot_count - 1);
}

static bool slots_double(struct buckets *buckets)
{
    struct buckets larger = {.slot_count = buckets->slot_count * 2};

    larger.slots = calloc(larger.slot_count, sizeof(struct bucket *));
    if (larger.slots == NULL)
        return false;
    for (size_t i = 0; i < buckets->slot_count; i++)
        for (struct bucket *bucket = buckets->slots[i], *next; bucket != NULL; bucket = next) {
            struct bucket **slot = &larger.slots[slot_of(&larger, bucket->place.range.lo)];

            next = bucket->next_in_slot;
            bucket->next_in_slot = *slot;
            *slot = bucket;
        }
    free(buckets->slots);
    buckets->slots = larger.slots;
    buckets->slot_count = larger.slot_count;
    return true;
}

struct bucket *buckets_find(struct buckets *buckets, const struct place *place)
{
    const struct stream_mark key = {.lo = place->range.lo}, *mark;
    struct bucket *bucket, **slot = &buckets->slots[slot_of(buckets, place->range.lo)];

    for (bucket = *slot; bucket != NULL; bucket = bucket->next_in_slot)
        if (bucket->place.range.lo == place->range.lo)
            return bucket;
    bucket = calloc(1, sizeof *bucket);
    if (bucket == NULL || (buckets->count == buckets->slot_count && !slots_double(buckets))) {
        free(bucket);
        return NULL;
    }
    slot = &buckets->slots[slot_of(buckets, place->range.lo)];
    mark = bsearch(&key, buckets->marks, buckets->mark_count, sizeof key, mark_compare);
    *bucket = (struct bucket){.place = *place, .mark = mark != NULL ? mark->mark : 0, .touched = -1};
    bucket->next_in_slot = *slot;
    *slot = bucket;
    buckets->count++;
    return bucket;
}

/* ---- Opening and closing ---- */

static void bucket_open(struct buckets *buckets, struct bucket *bucket, const struct run *run,
                        const struct input_position *window)
{
    assert(bucket_blocks(bucket) == 0 && bucket->packed.spilled.count == 0);
    bucket->first = *window;
    bucket->first_line = run->line;
    bucket->first_record_size = (uint32_t)run->first_record_size;
    bucket->next_offset = -1;
    bucket->previous = buckets->last;
    bucket->next = NULL;
    if (buckets->last != NULL)
        buckets->last->next = bucket;
    else
        buckets->first = bucket;
    buckets->last = bucket;
}

void bucket_close(struct buckets *buckets, struct bucket *bucket, int64_t mark)
{
    assert(bucket_blocks(bucket) == 0 && bucket->packed.spilled.count == 0 && mark > bucket->mark);
    if (bucket->previous != NULL)
        bucket->previous->next = bucket->next;
    else
        buckets->first = bucket->next;
    if (bucket->next != NULL)
        bucket->next->previous = bucket->previous;
    else
        buckets->last = bucket->previous;
    bucket->next = bucket->previous = NULL;
    bucket->mark = mark;
    bucket->rows = bucket->bytes = 0;
}

/* ---- Filling ---- */

int64_t bucket_needs(const struct bucket *bucket, size_t size, uint32_t block_size)
{
    size_t room = bucket->tail != NULL ? block_room(bucket->tail, block_size) : 0;
    size_t room_of_new = block_size - sizeof(struct block_mark);

    return size <= room ? 0 : (int64_t)((size - room + room_of_new - 1) / room_of_new);
}

/* The stretch that is added next does not follow what is in the block, or is the first in it. */
static void tail_mark(struct bucket *bucket, uint32_t block_size, int64_t offset, uint32_t line)
{
    struct block *block = bucket->tail;

    block->mark_count++;
    *block_mark(block, block_size, block->mark_count - 1) = (struct block_mark){
        .offset = offset,
        .at = block->used,
        .line = line,
    };
}

static void tail_next(struct bucket *bucket, struct block **spare)
{
    assert(*spare != NULL);
    if (bucket->tail != NULL)
        chain_push(&bucket->fresh, bucket->tail);
    bucket->tail = *spare;
    *spare = bucket->tail->next;
    bucket->tail->next = NULL;
}

void bucket_take(struct buckets *buckets, const struct run *run, const struct input_position *window,
                 uint32_t block_size, struct block **spare)
{
    struct bucket *bucket = run->bucket;
    size_t done = 0;

    if (bucket->rows == 0)
        bucket_open(buckets, bucket, run, window);
    while (done < run->size) {
        uint32_t room = bucket->tail != NULL ? block_room(bucket->tail, block_size) : 0, part;

        if (room == 0) {
            tail_next(bucket, spare);
            room = block_room(bucket->tail, block_size);
        }
        part = run->size - done < room ? (uint32_t)(run->size - done) : room;
        if (bucket->tail->used == 0 || run->offset + (int64_t)done != bucket->next_offset)
            tail_mark(bucket, block_size, run->offset + (int64_t)done,
                      done == 0 ? (uint32_t)(run->line - bucket->first_line) : LINE_GOES_ON);
        memcpy(bucket->tail->data + bucket->tail->used, run->text + done, part);
        bucket->tail->used += part;
        done += part;
        bucket->next_offset = run->offset + (int64_t)done;
    }
    bucket->rows += run->rows;
    bucket->bytes += (int64_t)run->size;
    bucket->touched = window->offset;
}

/* ---- Packing and giving away ---- */

/* Moves all of `from`, of which nothing is spilled, behind `chain`. */
static void chain_move(struct chain *chain, struct chain *from)
{
    if (from->head == NULL)
        return;
    if (chain->tail != NULL)
        chain->tail->next = from->head;
    else
        chain->head = from->head;
    chain->tail = from->tail;
    chain->blocks += from->blocks;
    chain->bytes += from->bytes;
    *from = (struct chain){0};
}

/* Takes the last block off. */
static struct block *chain_pop(struct chain *chain)
{
    struct block *last = chain->tail, *before = NULL;

    for (struct block *block = chain->head; block != last; block = block->next)
        before = block;
    chain->tail = before;
    if (before != NULL)
        before->next = NULL;
    else
        chain->head = NULL;
    chain->blocks--;
    return last;
}

int64_t bucket_pack(struct bucket *bucket, struct pool *pool, struct packer *packer, int level, int64_t *raw,
                    int64_t *packed)
{
    struct chain work = {0};
    int64_t freed;

    /* The last packed block has room for more frames; those before it, and what did not shrink, are not tried again. */
    if (bucket->packed.tail != NULL && bucket->packed.tail->form == BLOCK_PACKED)
        chain_push(&work, chain_pop(&bucket->packed));
    chain_move(&work, &bucket->fresh);
    freed = chain_pack(&work, pool, packer, level, 0, raw, packed);
    chain_move(&bucket->packed, &work);
    return freed;
}

enum status bucket_spill(struct bucket *bucket, struct pool *pool, struct spill *spill, int64_t *freed,
                         struct error *error)
{
    chain_move(&bucket->packed, &bucket->fresh);
    if (bucket->packed.head == NULL && bucket->tail != NULL) {
        chain_push(&bucket->packed, bucket->tail);
        bucket->tail = NULL;
    }
    return chain_spill(&bucket->packed, pool, spill, freed, error);
}

struct chain bucket_give(struct bucket *bucket)
{
    struct chain chain = bucket->packed;

    bucket->packed = (struct chain){0};
    chain_move(&chain, &bucket->fresh);
    if (bucket->tail != NULL)
        chain_push(&chain, bucket->tail);
    bucket->tail = NULL;
    return chain;
}
