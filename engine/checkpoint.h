/*
 * The checkpoint file: what the operator holds of a job.
 *
 * Append-only text, one record a line, each line closed by its own checksum; a line is durable (fdatasync) when the
 * call that wrote it returns. It may lag behind the ledger and never leads it: on resume the ledger wins. The last
 * line may be torn by a crash and is then dropped; damage anywhere else is reported, and the caller rebuilds the file
 * from the ledger. The file is locked (flock) as long as it is open for writing, so two runs cannot share it. It never
 * holds a secret: what is given to it has none.
 *
 *     hyperfill checkpoint 1                                                       <checksum>
 *     job id=5f0c… created=2026-01-31T10:00:00.000Z                                <checksum>
 *     text key=source value=…                  percent-escaped                     <checksum>
 *     input path=a.csv is=…                    what it was at the first run; one a line, in their order
 *     plan ranges=120 rows=5000000 bytes=640000000
 *     piece input=0 lo=… hi=… mark=… rows=… bytes=… at=
 *     run number=2 started=… updated=… end=stopped rows=… bytes=… ms=…             the last run, when rewritten
 *     start at=2026-01-31T10:00:00.000Z        a run began
 *     piece input=0 lo=… hi=… mark=… rows=… bytes=… at=2026-01-31T10:00:01.250Z
 *     piece input=0 lo=… hi=… mark=… rows=… bytes=… conflicts=… at=…              with rows that were left out
 *     rejects all=3 open=1 at=…                rejected rows of the whole job, and those never replayed
 *     frame input=0 file=… text=…              where in a compressed input reading may begin
 *     failed input=0 lo=… hi=… text=… at=…
 *     stop end=complete at=…
 *
 * The file of a job of several tables has another first line, and says before each stretch of lines whose they are. Of
 * each table they are what they would be in a file of its own.
 *
 *     hyperfill checkpoint 1 tables
 *     table name="public"."cpu"
 *     job id=5f0c… …
 *     table name="public"."disk"
 *     …
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/error.h"

/* A committed piece. `mark` is the input offset up to which the range is committed; addressable sources: 1. */
struct checkpoint_piece {
    int32_t input;
    int64_t lo;
    int64_t hi;
    int64_t mark;
    int64_t rows;      /* rows of this range so far, in all its pieces */
    int64_t bytes;     /* CSV bytes of this range so far */
    int64_t conflicts; /* rows of this range that were left out so far */
};

enum checkpoint_end { CHECKPOINT_RUNNING, CHECKPOINT_COMPLETE, CHECKPOINT_STOPPED, CHECKPOINT_FAILED };

struct checkpoint_text {
    char *key;
    char *value;
};

/* A frame of a compressed input begins at the byte `file` of it, and with the byte `text` of its text. */
struct checkpoint_frame {
    int32_t input;
    int64_t file, text;
};

struct checkpoint_failure {
    int32_t input;
    int64_t lo;
    int64_t hi;
    char *text; /* status and message */
};

/* All that a file says, its pieces merged to the last line of each (input, lo). */
struct checkpoint_state {
    bool exists;
    bool damaged;         /* a line before the last has a wrong checksum or form; what follows it was not read */
    bool torn;            /* the last line was cut off and ignored */
    int64_t damaged_line; /* from 1 */
    char job[64];         /* empty when the file ends before it */
    char created[32];     /* UTC, ISO 8601, as all times here */
    struct checkpoint_text *texts; /* in file order: source, target, table, columns, … and "layout" */
    size_t text_count;
    struct checkpoint_text *inputs; /* in file order; the key is the path */
    size_t input_count;
    int64_t ranges_planned, rows_planned, bytes_planned; /* -1 where unknown */
    struct checkpoint_piece *pieces;                     /* sorted by lo, then input */
    size_t piece_count;
    struct checkpoint_frame *frames; /* as they were passed, run after run */
    size_t frame_count;
    int64_t rejects, rejects_open;       /* of the job; open: not replayed */
    struct checkpoint_failure *failures; /* of the last run */
    size_t failure_count;
    enum checkpoint_end end;             /* of the last run */
    char started[32];                    /* when the last run began */
    char updated[32];                    /* when the last line that has a time was written */
    int64_t runs;                        /* how often the job was started */
    int64_t run_rows, run_bytes, run_ms; /* what the last run has done so far */
};

/* The file of several tables, in the order in which they were first in it. */
struct checkpoint_part {
    char *name;
    struct checkpoint_state state; /* exists: it has lines; never torn or damaged by itself */
    bool starts;                   /* for checkpoint_rewrite_set: and now a run begins, as checkpoint_start says */
};

struct checkpoint_set {
    bool exists, damaged, torn; /* the file, as for one table */
    int64_t damaged_line;
    struct checkpoint_part *parts;
    size_t count;
};

struct checkpoint;

/*
 * Reads without locking; a missing or empty file, or one cut off in its first line, gives exists = false. A file that
 * is no checkpoint file at all (its first line is not ours) is STATUS_USAGE: it is somebody else's and must not be
 * overwritten.
 */
MUST_CHECK enum status checkpoint_read(const char *path, struct checkpoint_state *state, struct error *error);
void checkpoint_state_free(struct checkpoint_state *state);
const char *checkpoint_state_text(const struct checkpoint_state *state, const char *key); /* NULL: not there */

/* Whether the file is one of several tables; false where there is none, or it cannot be read. */
bool checkpoint_is_set(const char *path);

/* As checkpoint_read, of such a file; one of a single table is STATUS_USAGE, as such a file is to checkpoint_read. */
MUST_CHECK enum status checkpoint_read_set(const char *path, struct checkpoint_set *set, struct error *error);
void checkpoint_set_free(struct checkpoint_set *set);
/* The part of that name; NULL: not there. */
struct checkpoint_part *checkpoint_set_part(const struct checkpoint_set *set, const char *name);

/* Whether a running hyperfill holds the file. */
bool checkpoint_is_locked(const char *path);

/*
 * Locks the path (STATUS_USAGE if another run holds it) before anything is read or decided, creating the file empty
 * where there is none. The content is left as it is until checkpoint_rewrite.
 */
MUST_CHECK enum status checkpoint_open(const char *path, struct checkpoint **checkpoint, struct error *error);

/*
 * Replaces the content by exactly what `state` says, atomically: a new file beside it, locked, synced, renamed over.
 * Used at the start of each run: creation, compaction and rebuilding are the same act. An empty `created` is written as
 * now. `exists`, `damaged` and `torn` do not matter. Called before the threads that append, and before any append.
 */
MUST_CHECK enum status checkpoint_rewrite(struct checkpoint *checkpoint, const struct checkpoint_state *state,
                                          struct error *error);

/* The same for a file of several tables. */
MUST_CHECK enum status checkpoint_rewrite_set(struct checkpoint *checkpoint, const struct checkpoint_set *set,
                                              struct error *error);

/* Of several tables: what is appended from now on is of that one; borrowed. Who appends must do both alone. */
void checkpoint_turn(struct checkpoint *checkpoint, const char *name);

/*
 * Appending. Safe from several threads. A failure (disk full) is STATUS_SYSTEM and names the path; what was written of
 * the line is taken back, so that a later call may succeed.
 */
MUST_CHECK enum status checkpoint_start(struct checkpoint *checkpoint, struct error *error);
MUST_CHECK enum status checkpoint_plan(struct checkpoint *checkpoint, int64_t ranges, int64_t rows, int64_t bytes,
                                       struct error *error);
MUST_CHECK enum status checkpoint_piece(struct checkpoint *checkpoint, const struct checkpoint_piece *piece,
                                        struct error *error);
MUST_CHECK enum status checkpoint_rejects(struct checkpoint *checkpoint, int64_t all, int64_t open,
                                          struct error *error);
MUST_CHECK enum status checkpoint_frame(struct checkpoint *checkpoint, const struct checkpoint_frame *frame,
                                        struct error *error);
MUST_CHECK enum status checkpoint_failed(struct checkpoint *checkpoint, int32_t input, int64_t lo, int64_t hi,
                                         const char *text, struct error *error);
MUST_CHECK enum status checkpoint_stop(struct checkpoint *checkpoint, enum checkpoint_end end, struct error *error);

/* Unlocks and closes; NULL is fine. A file that checkpoint_open made and nobody has written to is removed. */
void checkpoint_close(struct checkpoint *checkpoint);
