/*
 * The bytes of an input, decompressed, front to back. What it is, plain, gzip or zstd, is told by how it begins and
 * never by its name; other formats of compression are known by their beginning and refused. gzip may have any number of
 * members and zeros behind them; zstd any number of frames, skippable ones among them. All positions are in
 * decompressed bytes unless they are said to be the file's.
 *
 *     file:  [ frame 0 ][ frame 1 ][ frame 2 ] …      found by their headers, without reading what is between
 *                 │          │          │
 *              thread 1   thread 2   thread 1         each into a ring of its own, with a bounded size
 *                 └──────────┴──────────┴────► bytes_read takes them in their order
 *
 * What is guaranteed. A member or frame is verified where it ends: its checksum if it has one, its length. Its bytes
 * may be given before that, but never its last one; of a frame that tells its size and has room in a thread's ring,
 * none are. So whoever was given a frame to its end knows that it was right, and a position inside of a frame that is
 * not verified lies before its end: who begins there again decompresses that frame from its beginning, and fails at its
 * end again. Rows of a frame that proves to be wrong may be committed, if it is a large one or gzip and nobody asked
 * for bytes_verify, but the run fails then, and so does each later run of that job. An input that is cut off, is
 * corrupt, or has something else behind its last frame is STATUS_DATA; it never looks like the end.
 */
#pragma once

#include <stddef.h>

#include "engine/stop.h"

enum bytes_kind { BYTES_PLAIN, BYTES_GZIP, BYTES_ZSTD };

/* Where a frame begins: at which byte of the file, and of the text. */
struct bytes_place {
    int64_t file, text;
};

struct bytes_file {
    int fd;                   /* borrowed, also by the threads */
    const char *name;         /* for messages; borrowed */
    bool seekable;            /* read by position: the descriptor's own does not matter */
    int64_t size;             /* of a file that can seek: more is not read, less is an error */
    int64_t memory_bytes;     /* all of --memory, or its share; of this, bytes_memory() is used */
    int sharers;              /* so many have such a share, for messages; 0: one */
    int threads;              /* at most so many for a compressed file that can seek; 0: the caller's */
    struct bytes_place known; /* of a file that can seek, as bytes_frame has told of it; zeros: the first frame */
};

struct bytes;

/*
 * Begins at `offset`. Of a plain file that can seek, and of a zstd file whose frames tell their sizes, what lies before
 * is not read, nor is what lies before the frame that is known; else it is read and dropped. Waits for the first bytes
 * of a pipe.
 */
MUST_CHECK enum status bytes_open(const struct bytes_file *file, int64_t offset, struct stop *stop,
                                  struct bytes **bytes, struct error *error);
void bytes_close(struct bytes *bytes);

/* At least one byte, or none: the end. STATUS_STOPPED as soon as a stop is asked for; stop may be NULL. */
MUST_CHECK enum status bytes_read(struct bytes *bytes, struct stop *stop, char *to, size_t room, size_t *got,
                                  struct error *error);

/*
 * Of an input that can seek and was opened at 0, before anything is read of it: makes sure that no byte is given before
 * the checksum of its frame or member was seen to be right, and goes to `offset`. So it is anyway for zstd if all
 * frames tell their sizes and have room in a thread's ring: of these only the headers are looked at. Of a frame without
 * a checksum there is nothing to see at its end but that it is there, which the headers of its blocks tell, too.
 * Everything else is decompressed to its end first. The text is kept where the memory has room for all of it, and then
 * given from there; else it is decompressed a second time, which is told in a notice.
 */
MUST_CHECK enum status bytes_verify(struct bytes *bytes, int64_t offset, struct stop *stop, struct error *error);

/* By bytes_verify, all that is given; false if there are frames without a checksum, which may still prove corrupt. */
bool bytes_verified(const struct bytes *bytes);

/* A plain pipe has more right now, so that reading does not wait; false for everything else. */
bool bytes_ready(const struct bytes *bytes);

/*
 * The last frame that was come to, if there is one before it that does not tell its size: how far its text reaches is
 * known by decompressing it alone. False: there is none, or what it is does not know frames.
 */
bool bytes_frame(const struct bytes *bytes, struct bytes_place *place);

enum bytes_kind bytes_kind(const struct bytes *bytes);

/* About how far into the file reading is, in bytes of the file. */
int64_t bytes_position(struct bytes *bytes);

/* How many bytes were taken from the file, wherever they lie. */
int64_t bytes_taken(const struct bytes *bytes);

/* The part of --memory that reading an input of this kind may take; 0 for a plain one. */
int64_t bytes_memory(enum bytes_kind kind, int64_t memory_bytes);
