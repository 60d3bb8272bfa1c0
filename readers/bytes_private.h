/*
 * Between the files of bytes: the input as it is (raw), a decompressor (decoder), the threads (parallel), verifying.
 */
#pragma once

#include <stdatomic.h>

#include "readers/bytes.h"

/* --- bytes_raw.c: the input as it is --- */

#define RAW_HEAD_MAX 16

struct raw {
    struct bytes_file file;
    _Atomic int64_t taken;
    /* What was read from a pipe to tell what it is; raw_read gives it first. */
    char head[RAW_HEAD_MAX];
    size_t head_at, head_size;
};

/* One read at `offset` of a file, or of what comes next of a pipe; none: the end. */
MUST_CHECK enum status raw_read(struct raw *raw, struct stop *stop, int64_t offset, void *to, size_t room, size_t *got,
                                struct error *error);

/* A pipe has more right now. */
bool raw_ready(const struct raw *raw);

/* Tells by the first bytes what the input is; they are not lost. */
MUST_CHECK enum status raw_recognise(struct raw *raw, struct stop *stop, enum bytes_kind *kind, struct error *error);

/* STATUS_DATA with the input's name and a position in the file. */
enum status raw_error(const struct raw *raw, int64_t offset, struct error *error, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* --- bytes_decoder.c: one stretch of the input, decompressed in the calling thread --- */

enum decoded {
    DECODED_SOME, /* bytes inside of a unit */
    DECODED_UNIT, /* maybe bytes, and then the end of a member or frame: it is verified */
    DECODED_END,  /* no bytes: the end of the input */
};

struct decoder;

/* How one format is decompressed. */
struct codec {
    MUST_CHECK enum status (*create)(struct decoder *decoder, struct error *error);
    void (*free)(struct decoder *decoder);
    /* Looks at what follows: *end if there is nothing more. */
    MUST_CHECK enum status (*begin)(struct decoder *decoder, struct stop *stop, bool *end, struct error *error);
    /* Decompresses some of in[at…size). */
    MUST_CHECK enum status (*step)(struct decoder *decoder, char *to, size_t room, size_t *got, bool *unit_end,
                                   struct error *error);
};

extern const struct codec gzip_codec, zstd_codec;

struct decoder {
    const struct codec *codec;
    struct raw *raw;
    void *state; /* of the codec */
    int64_t window_max;
    unsigned char *in;
    size_t at, size; /* what is not used yet is in[at…size) */
    int64_t offset;  /* of in[size], in the file */
    int64_t until;   /* in the file; what lies behind is not read. -1: its end */
    bool last;       /* the input ends there */
    bool within;     /* a unit */
};

MUST_CHECK enum status decoder_open(struct decoder *decoder, struct raw *raw, enum bytes_kind kind, int64_t window_max,
                                    struct error *error);
void decoder_close(struct decoder *decoder);

/* Forgets all, and goes to a place of a file that can seek, where a unit begins; reads up to `until`, or -1. */
void decoder_seek(struct decoder *decoder, int64_t offset, int64_t until);
int64_t decoder_position(const struct decoder *decoder);

/* At least one byte, or what it comes to. */
MUST_CHECK enum status decoder_step(struct decoder *decoder, struct stop *stop, char *to, size_t room, size_t *got,
                                    enum decoded *decoded, struct error *error);

/* Reads on until `want` bytes are in the buffer, or all that there is. */
MUST_CHECK enum status decoder_want(struct decoder *decoder, struct stop *stop, size_t want, struct error *error);

/* Drops bytes of the input. Fewer are there: *size is what is missing. */
MUST_CHECK enum status decoder_skip(struct decoder *decoder, struct stop *stop, int64_t *size, struct error *error);

/* --- bytes_frame.c: zstd's frames, as their headers tell --- */

#define FRAME_HEADER_MAX 18

struct frame {
    bool skippable;
    int64_t from, until; /* in the file; until is -1: not known */
    int64_t header_size;
    int64_t window; /* memory that it needs */
    int64_t text;   /* its size when decompressed; -1: not told */
    bool dictionary;
    bool checked; /* a checksum stands behind it */
};

enum header { HEADER_GOOD, HEADER_SHORT, HEADER_FOREIGN };

/* Reads from, header_size, window, text; and until if it is skippable. */
enum header frame_header(const unsigned char *text, size_t size, int64_t offset, struct frame *frame);

/*
 * The frame that is at `offset` or behind the skippable ones there. *none at the end of the file. `until` is -1 for one
 * that is not whole, or longer than `most`; what is no frame looks like such a one: decompressing it tells why.
 */
MUST_CHECK enum status frame_find(struct raw *raw, struct stop *stop, int64_t offset, int64_t most, struct frame *frame,
                                  bool *none, struct error *error);

/* The last place up to `offset` at which a frame begins, as far as the headers tell behind the one that is known. */
MUST_CHECK enum status frame_locate(struct raw *raw, struct stop *stop, int64_t offset, struct bytes_place *place,
                                    struct error *error);

/* --- bytes_parallel.c: threads that decompress ahead --- */

struct parallel;

/* Begins where a frame begins. */
MUST_CHECK enum status parallel_open(struct raw *raw, enum bytes_kind kind, struct bytes_place begin,
                                     struct parallel **parallel, struct error *error);
void parallel_close(struct parallel *parallel);
MUST_CHECK enum status parallel_read(struct parallel *parallel, char *to, size_t room, size_t *got,
                                     struct error *error);
int64_t parallel_position(struct parallel *parallel);
bool parallel_frame(struct parallel *parallel, struct bytes_place *place); /* as bytes_frame */

/* A frame whose size is told and not more is verified before anything of it is given. */
int64_t parallel_ring_size(const struct parallel *parallel);

int parallel_threads(const struct parallel *parallel);

/* What it holds now of bytes_memory(). */
int64_t parallel_memory(struct parallel *parallel);

/* What a decoder takes besides its window. */
#define DECODER_MEMORY ((int64_t)768 << 10)

/* --- bytes.c --- */

struct bytes {
    struct raw raw;
    enum bytes_kind kind;
    int64_t offset;            /* of a plain file, where it is read next */
    struct parallel *parallel; /* NULL: in this thread, by the decoder */
    struct decoder decoder;
    bool held; /* the last byte that was decompressed: it may be its unit's last, which must be verified first */
    char held_byte;
    char spare[2]; /* for a reader with room for one byte, who cannot see whether another follows */
    size_t spare_at, spare_size;
    char *kept; /* all of the text, which was verified; NULL: it is decompressed */
    size_t kept_at, kept_size;
    bool verified; /* all that is given was verified before */
};

/* Reads and drops `size` bytes. */
MUST_CHECK enum status bytes_drop(struct bytes *bytes, struct stop *stop, int64_t size, struct error *error);

/* Starts to decompress at `offset`. */
MUST_CHECK enum status bytes_open_compressed(struct bytes *bytes, int64_t offset, struct stop *stop,
                                             struct error *error);

/* The memory for decoders with their windows, and that for rings, of all of --memory; and the --memory for a window. */
int64_t memory_decoders(const struct raw *raw, enum bytes_kind kind);
int64_t memory_rings(const struct raw *raw, enum bytes_kind kind);
int64_t memory_for_window(int64_t window);
