/*
 * The queue of pieces between readers and writers. Its bound is memory: blocks are counted by the pool before a piece
 * gets here. One writer works on a range at a time, so pieces of one range are committed in the order in which they
 * were pushed.
 *
 * A piece stays in the queue's books from queue_push until queue_done: what is queued and what is in flight.
 */
#pragma once

#include "engine/piece.h"
#include "engine/throttle.h"

struct queue;

/* While the throttle's gate is shut nothing is popped; NULL: none. */
MUST_CHECK enum status queue_create(struct stop *stop, struct throttle *throttle, struct queue **queue,
                                    struct error *error);

/* Releases what is still queued. */
void queue_free(struct queue *queue);

/* Takes the writer's hold. `blocks` is what it holds of memory, for queue_blocks; 0 where it is filled while it is
 * written. */
MUST_CHECK enum status queue_push(struct queue *queue, struct piece *piece, int64_t blocks, struct error *error);

/*
 * The first piece whose range no other writer has, preferring one in a chunk that no other writer has. Waits; NULL at
 * the end (closed and empty) or when the run is to stop. The caller hands it back with queue_done.
 */
struct piece *queue_pop(struct queue *queue, int64_t *waited_ns);

/* The piece is committed or given up: its range is free. Releases the writer's hold. */
void queue_done(struct queue *queue, struct piece *piece);

/* No more will be pushed. */
void queue_close(struct queue *queue);

/* Drops the queued pieces of a range of an input that is quarantined. */
void queue_drop_range(struct queue *queue, const struct piece_spec *range);

int queue_waiting(struct queue *queue);   /* writers in queue_pop that find nothing */
int64_t queue_count(struct queue *queue); /* queued and in flight */
int64_t queue_blocks(struct queue *queue);
bool queue_has_range(struct queue *queue, int64_t lo);

/* Whether another piece of the same cell is in the books. */
bool queue_has_cell(struct queue *queue, const struct piece *except);

/* The lowest of `own` and the first positions of all other pieces of the same input in the books. */
struct input_position queue_frontier(struct queue *queue, const struct piece *except, struct input_position own);
