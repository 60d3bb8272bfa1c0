/*
 * The bytes of a stream input, in one buffer that slides over it. What of the text is not used up is kept in front.
 *
 *     buffer:  [ text: 0 … size ) … room for more …
 *              ^ window: its position in the input
 *
 * Standard input is hashed as it is used up: a resumed run must be given the same bytes again, and is checked at each
 * position of which the ledger knows the hash.
 */
#pragma once

#include <xxhash.h>

#include "readers/stream.h"

struct input_check {
    int64_t offset;
    uint64_t hash[2];
};

struct input {
    const struct stream_source *source;
    struct bytes *bytes;
    bool own_bytes;           /* not the source's */
    bool verified;            /* nothing is given that may prove to be wrong */
    int64_t taken;            /* of the bytes, that was counted */
    bool notes;               /* frames are noted: rows are loaded */
    struct bytes_place noted; /* the last one */
    struct stop *stop;        /* NULL: never */
    struct stats *stats;      /* NULL: nobody counts */
    char *buffer;
    size_t buffer_size, buffer_max;
    size_t size;                  /* of the text in the buffer */
    bool last;                    /* the input ends behind it */
    struct input_position window; /* of the first byte in the buffer */
    XXH3_state_t *hash;           /* NULL for files */
    size_t hashed;                /* how far into the buffer the hash has come */
    struct input_check *checks;   /* ascending */
    size_t check_count, check_next;
};

/*
 * Goes to `start` (offset 0: the first record); of standard input, what lies before is read and compared. A record may
 * be up to `record_max` bytes. `runs`: rows will be loaded, so marks of the source are checked, and a compressed file
 * is verified as the source says (bytes_verify), unless rows of it are committed already: what was begun goes on.
 */
MUST_CHECK enum status input_open(struct input *input, const struct stream_source *source, struct input_position start,
                                  bool runs, int64_t record_max, struct stop *stop, struct stats *stats,
                                  struct error *error);
void input_close(struct input *input);

/*
 * Drops the first `used` bytes, of which the next is in `line`, and reads on: at least one byte more, or `last` is set.
 * STATUS_STOPPED as soon as a stop is asked for.
 */
MUST_CHECK enum status input_refill(struct input *input, size_t used, int64_t line, struct error *error);

/* Standard input: the hash of all before buffer[at], else zeros. `at` may only grow within a window. */
MUST_CHECK enum status input_hash(struct input *input, size_t at, uint64_t hash[2], struct error *error);

/* The error of a record at buffer[at] that has `size` bytes or more. */
enum status input_too_large(const struct input *input, size_t at, int64_t line, size_t size, struct error *error);

/* How far the file is read when the text is used up to buffer[at]; of a compressed one, about. */
int64_t input_file_position(const struct input *input, size_t at);

/* At the end: all checks were met; a file is what it was at the opening. */
MUST_CHECK enum status input_finish(const struct input *input, struct error *error);
