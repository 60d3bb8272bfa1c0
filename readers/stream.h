/*
 * A CSV file or standard input as a source: read once, front to back, cut into records, routed by time into the buckets
 * of their ranges, sealed into pieces. It may be compressed (readers/bytes.h): positions are those of the text then.
 */
#pragma once

#include <stdatomic.h>

#include "engine/pipeline.h"
#include "engine/timevalue.h"
#include "readers/bytes.h"
#include "readers/cutter.h"

/* The dialect, as COPY has it; and what is left out before it. */
struct dialect {
    char delimiter, quote, escape;
    const char *null_text;
    bool header;
    char comment;   /* lines that begin with it are left out; '\0': none */
    int skip_lines; /* physical lines before the header */
    bool trim;      /* blanks around fields, and around their quotes, are no part of them */
};

/* What a resumed run knows of the input's ranges; from the ledger. */
struct stream_mark {
    int64_t lo;
    int64_t mark;
    uint64_t hash[2]; /* of the input before the mark (standard input) */
};

struct stream_source {
    const char *path;       /* "-" is standard input */
    const char *name;       /* for messages */
    int fd;                 /* opened by stream_open; -1 */
    bool seekable;          /* a file that is named; standard input and pipes never are */
    int64_t size;           /* of a file that can seek, at the opening; else -1 */
    int64_t mtime_ns;       /* its time of change, at the opening */
    uint64_t device, inode; /* of a file that can seek, at the opening */
    enum bytes_kind kind;   /* how it is compressed */
    /*
     * A command as the input: asked when its output is at its end, and before that is believed. It waits for the
     * command's end; what a command that failed has left unfinished is no record. NULL for all other inputs, whose
     * descriptor is opened here; a command's is given and kept by the caller.
     */
    enum status (*at_end)(void *command, struct error *error);
    void *command;
    struct stop *stop; /* heard while it is opened; NULL: never. Set by the caller */
    struct dialect dialect;
    enum line_end line_end; /* of the first record, to which the rest is held; unknown if that has none */
    char **header;          /* names from the header line, NULL without one */
    int header_count;
    int64_t header_end; /* offset and line of the first record behind the header, or behind skipped lines */
    int64_t header_lines;
    /* Set by the caller before the pipeline runs. */
    int time_index; /* which field is the time */
    struct time_column time;
    struct layout *layout;
    int32_t input;
    bool alone;        /* no other input has rows of the same times, as far as known */
    bool reject;       /* records whose time cannot be read go into a piece of RANGE_REJECTS; else they end the run */
    bool verify_after; /* checksums of a compressed file count where they stand, not before any of its rows is used */
    bool verified;     /* a compressed file was read to its end since it was opened, and is right; by stream_ranges */
    struct input_position start; /* frontier: where to begin; zero: at the first record */
    struct bytes_place known;    /* of a compressed file: a frame before `start` */
    /* Told of such frames while rows are loaded, by the reader's thread; NULL: nobody is. */
    enum status (*note)(void *context, int32_t input, struct bytes_place frame, struct error *error);
    void *note_context;
    const struct stream_mark *marks;
    size_t mark_count;
    int64_t memory_bytes; /* all of --memory, of which the input buffer may grow to a quarter */
    int readers;          /* so many inputs are read at once, and share what decompressing takes; 0: one */
    struct bytes *bytes;  /* of an input that cannot seek: reading goes on behind the head; belongs to the source */
    char *head;           /* the text that was read ahead, belongs to the source */
    size_t head_size, head_room;
    int64_t head_text, head_position; /* what it had at the opening; and how far it reaches in the file: less, where
                                         that is compressed */
    bool head_last;                   /* the head is the whole input */
};

/*
 * Opens the input and reads up to `size` bytes of its head, or all there is: for a look before the dialect is known.
 * stream_open goes on from there.
 */
MUST_CHECK enum status stream_peek(struct stream_source *source, size_t size, struct error *error);

/*
 * Opens the input, reads its head and the header line (names by libcsv; a BOM is stripped). Refuses a missing or
 * unreadable file, a folder, an empty file where a header is expected, names that are not unique. Refuses a file that
 * somebody has open for writing, where the system can tell.
 */
MUST_CHECK enum status stream_open(struct stream_source *source, struct error *error);
void stream_reset(struct stream_source *source);

/* What was read ahead is of no more use, and the input cannot be read on from there. */
void stream_drop_head(struct stream_source *source);

/* The part of memory_bytes that decompressing takes; 0 for a plain input. */
int64_t stream_memory(const struct stream_source *source);

/*
 * A file is still what it was at the opening; else STATUS_DATA. With `path`: its name still leads to it, too. Always
 * true of what cannot seek.
 */
MUST_CHECK enum status stream_unchanged(const struct stream_source *source, bool path, struct error *error);

/* size, mtime in ns, hash of the first and last 64 KiB, as text for the fingerprint; for standard input the header's
 * hash. */
MUST_CHECK enum status stream_identity(const struct stream_source *source, char *text, size_t size,
                                       struct error *error);

/* What a look at the input says: for choosing the length of ranges. */
struct stream_sample {
    int64_t records; /* looked at */
    int64_t first_time, last_time, min_time, max_time;
    bool ordered;        /* ascending or descending in the order of the file, as far as seen */
    int64_t input_bytes; /* -1: unknown */
    double bytes_per_record;
    int64_t bytes_looked_at;
    bool head_only; /* all of them from the head */
};

/*
 * Looks at the head, and at some 60 places all over a plain file that can seek. Of a compressed file the head tells how
 * large the text may be. Never an error for bad records: only what can be read counts. Needs time_index and time.
 */
MUST_CHECK enum status stream_sample(struct stream_source *source, struct stream_sample *sample, struct error *error);

/*
 * Reads a file that can seek to its end and gives the ranges its records fall in, sorted by lo (caller frees): for the
 * overlap check. Data errors are left to the run itself. A compressed file that has none need not be verified again.
 */
MUST_CHECK enum status stream_ranges(struct stream_source *source, struct range **ranges, size_t *count,
                                     struct stop *stop, struct error *error);

/*
 * Of a job that is complete: reads an input that cannot seek to its end. STATUS_DATA if it is not what was loaded: it
 * differs before a mark, or has rows behind the last one.
 */
MUST_CHECK enum status stream_compare(const struct stream_source *source, struct stop *stop, struct error *error);

/* The inputs of a job, which reader threads take one after the other; the pipeline's `source`. */
struct stream_set {
    struct stream_source *sources; /* the i-th has input == i */
    size_t count;
    atomic_size_t next;
};

extern const struct reader_ops stream_reader;
