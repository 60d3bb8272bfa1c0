/* Pieces: what a reader and a writer share. */
#include "engine/piece.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A reader packs what no writer has taken once less than a quarter of the pool is free. */
#define PACK_BELOW 4
/* Negative levels save little time and, without entropy coding, shrink numbers as text by a fifth instead of a half. */
#define PACK_LEVEL 1

enum feed { FEED_OPEN, FEED_COMPLETE, FEED_FAILED };

struct piece {
    struct piece_spec spec;
    struct pool *pool;
    struct stop *stop; /* of the one who waits for a block, for the claim */
    _Atomic int holds;
    /* Read by claims under the pool's lock, so not guarded by the mutex. */
    _Atomic bool taken;
    _Atomic bool given_up;
    pthread_mutex_t mutex; /* guards the fields below */
    pthread_cond_t cond;   /* a block came, or the feed or given_up changed */
    struct chain chain;
    enum feed feed;
    bool started; /* first_record is known */
    uint32_t first_record;
    int64_t rows, bytes;
    struct error error; /* FEED_FAILED: why */
};

enum status piece_create(const struct piece_spec *spec, struct pool *pool, struct piece **result, struct error *error)
{
    struct piece *piece = calloc(1, sizeof *piece);

    if (piece == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    piece->spec = *spec;
    piece->pool = pool;
    piece->holds = 2;
    pthread_mutex_init(&piece->mutex, NULL);
    pthread_cond_init(&piece->cond, NULL);
    *result = piece;
    return STATUS_OK;
}

const struct piece_spec *piece_spec(const struct piece *piece)
{
    return &piece->spec;
}

void piece_release(struct piece *piece)
{
    if (piece == NULL || atomic_fetch_sub(&piece->holds, 1) > 1)
        return;
    chain_clear(&piece->chain, piece->pool);
    pthread_cond_destroy(&piece->cond);
    pthread_mutex_destroy(&piece->mutex);
    free(piece);
}

/* A piece that a writer has may use the reserve; one that nobody wants any more is not worth a block. */
static enum claim piece_claim(void *context)
{
    struct piece *piece = context;
    enum stop_level level = stop_level(piece->stop);

    if (piece->given_up || level == STOP_ABORT || (level == STOP_DRAIN && !piece->taken))
        return CLAIM_GIVE_UP;
    return piece->taken ? CLAIM_ACTIVE : CLAIM_AHEAD;
}

/* While nobody writes the piece its reader has time: the blocks it holds are made smaller. */
static void piece_pack(struct piece *piece, struct packer *packer, struct stats *stats)
{
    int64_t total = pool_block_count(piece->pool), free_count = pool_free_count(piece->pool);
    int64_t raw = 0, packed = 0;

    if (free_count > total / PACK_BELOW || piece->taken)
        return;
    /* Under the piece's lock: a writer that takes it now waits for the packing, a few milliseconds a block. */
    pthread_mutex_lock(&piece->mutex);
    if (!piece->taken)
        chain_pack(&piece->chain, piece->pool, packer, PACK_LEVEL, 0, &raw, &packed);
    pthread_mutex_unlock(&piece->mutex);
    stats_add(&stats->packed_raw_bytes, raw);
    stats_add(&stats->packed_bytes, packed);
}

struct block *piece_take_block(struct piece *piece, struct stop *stop, struct packer *packer, struct stats *stats)
{
    int64_t waited = 0;
    struct block *block;

    piece->stop = stop;
    piece_pack(piece, packer, stats);
    block = pool_take(piece->pool, piece_claim, piece, &waited);
    stats_add(&stats->reader_wait_ns, waited);
    return block;
}

void piece_append(struct piece *piece, struct block *block)
{
    pthread_mutex_lock(&piece->mutex);
    assert(piece->feed == FEED_OPEN);
    chain_push(&piece->chain, block);
    pthread_cond_broadcast(&piece->cond);
    pthread_mutex_unlock(&piece->mutex);
}

void piece_set_chain(struct piece *piece, struct chain *chain)
{
    pthread_mutex_lock(&piece->mutex);
    assert(piece->chain.head == NULL && piece->chain.spilled.count == 0);
    piece->chain = *chain;
    pthread_mutex_unlock(&piece->mutex);
    *chain = (struct chain){0};
}

int64_t piece_blocks(struct piece *piece)
{
    int64_t blocks;

    pthread_mutex_lock(&piece->mutex);
    blocks = piece->chain.blocks;
    pthread_mutex_unlock(&piece->mutex);
    return blocks;
}

void piece_complete(struct piece *piece, int64_t rows, int64_t bytes)
{
    pthread_mutex_lock(&piece->mutex);
    assert(piece->feed == FEED_OPEN);
    piece->feed = FEED_COMPLETE;
    piece->rows = rows;
    piece->bytes = bytes;
    pthread_cond_broadcast(&piece->cond);
    pthread_mutex_unlock(&piece->mutex);
}

void piece_fail(struct piece *piece, const struct error *error)
{
    pthread_mutex_lock(&piece->mutex);
    assert(piece->feed == FEED_OPEN);
    piece->feed = FEED_FAILED;
    piece->error = *error;
    pthread_cond_broadcast(&piece->cond);
    pthread_mutex_unlock(&piece->mutex);
}

bool piece_given_up(struct piece *piece)
{
    return piece->given_up;
}

/* With the lock held: drops the block that the cursor has finished, where the piece need not be read twice. */
static void piece_drop_read(struct piece *piece, struct cursor *cursor)
{
    struct chain *chain = &piece->chain;
    struct block *head = chain->head;

    if (piece->spec.replayable || !cursor->started || cursor->block != head)
        return;
    if (head->form == BLOCK_RAW ? cursor->frame == 0 : cursor->frame < head->used)
        return;
    chain->head = head->next;
    if (chain->head == NULL)
        chain->tail = NULL;
    chain->blocks--;
    *cursor = (struct cursor){0};
    pool_give(piece->pool, head);
}

enum status piece_next(struct piece *piece, struct cursor *cursor, struct packer *packer, struct stats *stats,
                       struct span *span, struct error *error)
{
    enum status status = STATUS_OK;
    int64_t since = 0;

    *span = (struct span){0};
    pthread_mutex_lock(&piece->mutex);
    piece_drop_read(piece, cursor);
    for (;;) {
        /* A failed reader is heard before the rows it left behind. */
        if (piece->feed == FEED_FAILED) {
            *error = piece->error;
            status = error->status;
            break;
        }
        status = chain_next(&piece->chain, cursor, packer, span, error);
        if (status != STATUS_OK || span->size > 0)
            break;
        if (span->data != NULL)
            continue;
        if (piece->feed == FEED_COMPLETE)
            break;
        if (since == 0)
            since = stats_now_ns();
        /* No wait on the stop here: the reader hears it, and always ends its piece. */
        pthread_cond_wait(&piece->cond, &piece->mutex);
    }
    pthread_mutex_unlock(&piece->mutex);
    if (since != 0)
        stats_add(&stats->writer_wait_ns, stats_now_ns() - since);
    return status;
}

int64_t piece_rows(struct piece *piece)
{
    assert(piece->feed == FEED_COMPLETE);
    return piece->rows;
}

int64_t piece_bytes(struct piece *piece)
{
    assert(piece->feed == FEED_COMPLETE);
    return piece->bytes;
}

void piece_taken(struct piece *piece)
{
    piece->taken = true;
    pool_wake(piece->pool);
}

void piece_give_up(struct piece *piece)
{
    piece->given_up = true;
    pool_wake(piece->pool);
}

void piece_set_first_record(struct piece *piece, uint32_t size)
{
    pthread_mutex_lock(&piece->mutex);
    piece->first_record = size;
    piece->started = true;
    pthread_mutex_unlock(&piece->mutex);
}

enum status piece_first_record(struct piece *piece, struct stats *stats, uint32_t *size, struct error *error)
{
    enum status status = STATUS_OK;
    int64_t since = stats_now_ns();

    *size = 0;
    pthread_mutex_lock(&piece->mutex);
    /* Not until the record is whole: it may be larger than all memory for blocks. */
    while (piece->feed == FEED_OPEN && !piece->started)
        pthread_cond_wait(&piece->cond, &piece->mutex);
    if (piece->feed == FEED_FAILED) {
        *error = piece->error;
        status = error->status;
    }
    if (piece->started)
        *size = piece->first_record;
    pthread_mutex_unlock(&piece->mutex);
    stats_add(&stats->writer_wait_ns, stats_now_ns() - since);
    return status;
}
