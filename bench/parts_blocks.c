/* Parts of waiting: the queue, and blocks that are packed or spilled. */
#include "bench/parts.h"

#include <stdlib.h>

#include "engine/queue.h"

#define PACK_LEVEL 1

/* ---- Blocks ---- */

struct holding {
    struct text_blocks blocks;
    struct stats stats;
    struct spill *spill;
    int64_t read; /* bytes */
};

static enum status holding_open(struct holding *holding, struct error *error)
{
    const char *folder = getenv("TMPDIR");
    enum status status = text_blocks_open(TEXT_PLAIN, &holding->blocks, error);

    if (status != STATUS_OK)
        return status;
    return spill_create(folder != NULL ? folder : "/tmp", 0, TEXT_BLOCK_COUNT, TEXT_BLOCK_SIZE, &holding->stats,
                        &holding->spill, error);
}

static void holding_close(struct holding *holding)
{
    text_blocks_close(&holding->blocks);
    spill_free(holding->spill);
}

static enum status work_pack(void *context, struct error *error)
{
    struct holding *holding = context;
    int64_t raw = 0, packed = 0;

    chain_pack(&holding->blocks.chain, holding->blocks.pool, holding->blocks.packer, PACK_LEVEL, 0, &raw, &packed);
    return raw == (int64_t)holding->blocks.text.size ? STATUS_OK : error_set(error, STATUS_DATA, "not all was packed");
}

static enum status work_spill(void *context, struct error *error)
{
    struct holding *holding = context;
    int64_t freed = 0;

    return chain_spill(&holding->blocks.chain, holding->blocks.pool, holding->spill, &freed, error);
}

static enum status work_get(void *context, struct error *error)
{
    struct holding *holding = context;
    struct cursor cursor = {0};
    enum status status;
    struct span span;

    do {
        status = chain_next(&holding->blocks.chain, &cursor, holding->blocks.packer, &span, error);
        holding->read += span.size;
    } while (status == STATUS_OK && span.size > 0);
    if (status == STATUS_OK && holding->read != (int64_t)holding->blocks.text.size)
        status = error_set(error, STATUS_DATA, "not all was read");
    return status;
}

enum block_variant { PACK, UNPACK, SPILL, UNSPILL };

static enum status run_blocks(const struct part *part, int64_t *units, struct error *error)
{
    const bool packs = part->variant == PACK || part->variant == UNPACK;
    enum status (*put)(void *, struct error *) = packs ? work_pack : work_spill;
    struct holding holding = {0};
    enum status status = holding_open(&holding, error);

    *units = (int64_t)holding.blocks.text.size;
    if (status == STATUS_OK && (part->variant == PACK || part->variant == SPILL))
        status = parts_measure(put, &holding, error);
    else if (status == STATUS_OK)
        status = put(&holding, error);
    if (status == STATUS_OK && (part->variant == UNPACK || part->variant == UNSPILL))
        status = parts_measure(work_get, &holding, error);
    holding_close(&holding);
    return status;
}

/* ---- The queue ---- */

#define PIECES 200
#define WRITERS 8

struct queueing {
    struct stop *stop;
    struct pool *pool;
    struct queue *queue;
    struct piece *pieces[PIECES];
    struct piece *held[WRITERS];
};

static void give_back(struct queueing *queueing, int writer)
{
    if (queueing->held[writer] != NULL)
        queue_done(queueing->queue, queueing->held[writer]);
    queueing->held[writer] = NULL;
}

/* Pushes all, then takes them out as several writers do: each holds one at a time. */
static enum status work_queue(void *context, struct error *error)
{
    struct queueing *queueing = context;
    enum status status = STATUS_OK;
    int64_t waited = 0;

    for (int i = 0; i < PIECES && status == STATUS_OK; i++)
        status = queue_push(queueing->queue, queueing->pieces[i], 1, error);
    for (int i = 0; i < PIECES && status == STATUS_OK; i++) {
        give_back(queueing, i % WRITERS);
        /* What is left may all be in ranges that are held, and we would wait for ourselves. */
        for (int writer = 0; writer < WRITERS && PIECES - i <= WRITERS; writer++)
            give_back(queueing, writer);
        queueing->held[i % WRITERS] = queue_pop(queueing->queue, &waited);
    }
    for (int writer = 0; writer < WRITERS; writer++)
        give_back(queueing, writer);
    return status;
}

/* Two pieces a range, two ranges a chunk. */
static enum status make_pieces(struct queueing *queueing, struct error *error)
{
    enum status status = STATUS_OK;

    for (int64_t i = 0; i < PIECES && status == STATUS_OK; i++) {
        const struct piece_spec spec = {
            .place = {{i / 2, i / 2 + 1}, {i / 4 * 2, i / 4 * 2 + 2}}, .begin = i, .end = i + 1};

        status = piece_create(&spec, queueing->pool, &queueing->pieces[i], error);
    }
    return status;
}

static enum status run_queue(const struct part *part, int64_t *units, struct error *error)
{
    struct queueing queueing = {0};
    enum status status = stop_create(&queueing.stop, error);

    (void)part;
    if (status == STATUS_OK)
        status = pool_create(TEXT_BLOCK_SIZE, TEXT_BLOCK_SIZE, 0, queueing.stop, &queueing.pool, error);
    if (status == STATUS_OK)
        status = queue_create(queueing.stop, NULL, &queueing.queue, error);
    if (status == STATUS_OK)
        status = make_pieces(&queueing, error);
    if (status == STATUS_OK)
        status = parts_measure(work_queue, &queueing, error);
    *units = PIECES;
    for (int i = 0; i < PIECES; i++)
        piece_release(queueing.pieces[i]);
    queue_free(queueing.queue);
    pool_free(queueing.pool);
    stop_free(queueing.stop);
    return status;
}

const struct part parts_blocks[] = {
    {"queue", "piece", run_queue, 0},         {"pack", "byte", run_blocks, PACK},
    {"unpack", "byte", run_blocks, UNPACK},   {"spill", "byte", run_blocks, SPILL},
    {"unspill", "byte", run_blocks, UNSPILL}, {0},
};
