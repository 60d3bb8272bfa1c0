/*
 * Spill: a file that takes blocks for which memory has no room. It has no name (it is gone with the process, however
 * that ends) and consists of slots of the block size:
 *
 *     list of a chain:   first ─► slot ─► slot ─► last          written and read whole, in order
 *     free slots:        slot ─► slot                           taken before the file grows
 *
 * The index of the slots (24 bytes each) is in memory, with a checksum of what each holds: what is read back is what
 * was written, or an error. Nothing here is needed for a resume; the input has it all.
 */
#pragma once

#include "engine/block.h"
#include "engine/stats.h"

#define SPILL_SLOT_BYTES 24 /* of memory */

struct spill;

/* Slots in the order in which they were filled; one holder at a time. Start with {0}. */
struct spilled {
    uint32_t first, last; /* slots count from 1 */
    int64_t count;
};

/* STATUS_USAGE if no file can be made in the folder. Leaves nothing there. */
MUST_CHECK enum status spill_check(const char *folder, struct error *error);

/*
 * At most `bytes_max` in the file (0: as much as half of the room that is free now) and `slots_max` slots. Counts in
 * `stats`.
 */
MUST_CHECK enum status spill_create(const char *folder, int64_t bytes_max, int64_t slots_max, uint32_t block_size,
                                    struct stats *stats, struct spill **spill, struct error *error);

/* Asserts that all slots are free; NULL is fine. */
void spill_free(struct spill *spill);

/*
 * Copies the block behind the list. `taken` is false, and nothing has changed, when the limit is reached or the disk is
 * full: that is no failure. Threads may call this and all below at once, for lists of their own.
 */
MUST_CHECK enum status spill_put(struct spill *spill, struct spilled *list, const struct block *block, bool *taken,
                                 struct error *error);

/* Whether less than half of what it may take is in use. */
bool spill_has_room(struct spill *spill);

/* Reads a slot into a block, whose `data` has room for one. STATUS_SYSTEM if that is not what was written. */
MUST_CHECK enum status spill_get(struct spill *spill, uint32_t slot, struct block *block, struct error *error);

/* The slot behind this one in its list; 0: it is the last. */
uint32_t spill_next(struct spill *spill, uint32_t slot);

/* Frees the slots and empties the list. */
void spill_clear(struct spill *spill, struct spilled *list);
