/*
 * A CSV file or standard input as a source: read once, front to back, cut into records, routed by time into the buckets
 * of their ranges, sealed into pieces.
 */
#pragma once

#include "engine/pipeline.h"
#include "engine/timevalue.h"
#include "readers/cutter.h"

/* The dialect, as COPY has it. */
struct dialect {
    char delimiter, quote, escape;
    const char *null_text;
    bool header;
};

/* What a resumed run knows of the input's ranges; from the ledger. */
struct stream_mark {
    int64_t lo;
    int64_t mark;
    uint64_t hash[2]; /* of the input before the mark (standard input) */
};

struct stream_source {
    const char *path; /* "-" is standard input */
    const char *name; /* for messages */
    int fd;           /* opened by stream_open; -1. Of a command: its output, given by the caller and kept by it */
    bool seekable;    /* a file that is named; standard input and pipes never are */
    int64_t size;     /* of a file that can seek, at the opening; else -1 */
    int64_t mtime_ns; /* its time of change, at the opening */
    struct dialect dialect;
    enum line_end line_end; /* of the first record, to which the rest is held; unknown if that has none */
    char **header;          /* names from the header line, NULL without one */
    int header_count;
    int64_t header_end; /* offset and line of the first record behind the header */
    int64_t header_lines;
    /* Set by the caller before the pipeline runs. */
    int time_index; /* which field is the time */
    struct time_column time;
    struct layout *layout;
    int32_t input;
    struct input_position start; /* frontier: where to begin; zero: at the first record */
    const struct stream_mark *marks;
    size_t mark_count;
    int64_t memory_bytes; /* all of --memory, of which the input buffer may grow to a quarter */
    char *head;           /* what was read ahead from an input that cannot seek, belongs to the source */
    size_t head_size;
    bool head_last; /* the head is the whole input */
    /*
     * A command as the input: asked when its output is at its end, and before that is believed. It waits for the
     * command's end; what a command that failed has left unfinished is no record. NULL for all other inputs.
     */
    enum status (*at_end)(void *command, struct error *error);
    void *command;
    struct stop *stop; /* heard while the head of an input that cannot seek is read; NULL: never */
};

/*
 * Opens the input, reads its head and the header line (names by libcsv; a BOM is stripped). Refuses a missing or
 * unreadable file, a folder, an empty file where a header is expected, names that are not unique.
 */
MUST_CHECK enum status stream_open(struct stream_source *source, struct error *error);
void stream_reset(struct stream_source *source);

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
};

/*
 * Looks at the head, and at some 60 places all over a file that can seek. Never an error for bad records: only what can
 * be read counts. Needs time_index and time.
 */
MUST_CHECK enum status stream_sample(struct stream_source *source, struct stream_sample *sample, struct error *error);

/*
 * Reads a file that can seek to its end and gives the ranges its records fall in, sorted by lo (caller frees): for the
 * overlap check. Data errors are left to the run itself.
 */
MUST_CHECK enum status stream_ranges(struct stream_source *source, struct range **ranges, size_t *count,
                                     struct stop *stop, struct error *error);

extern const struct reader_ops stream_reader;
