/*
 * The files of rejects, made from the ledger: FILE holds the records as they came, byte for byte, and FILE.reasons one
 * line of CSV for each: where it stood and what is wrong with it.
 *
 * A file that is not this job's is never written over, nor is one that somebody may be correcting: as long as the
 * ledger has the same rejects as FILE.reasons, FILE is left alone; when it has others, a FILE that was changed is kept
 * as FILE.edited.
 */
#pragma once

#include "engine/cli/commands.h"
#include "writers/rejects.h"

struct reject_files {
    char file[CHECKPOINT_PATH_MAX];
    char reasons[CHECKPOINT_PATH_MAX + 16];
};

/* --reject-file, else hyperfill-<table>.rejects. */
MUST_CHECK enum status reject_files_name(struct reject_files *files, const struct options *options,
                                         struct error *error);

/* STATUS_USAGE where one of the files is there and FILE.reasons does not say that it is the job's. */
MUST_CHECK enum status reject_files_claim(const struct reject_files *files, const char *job, struct error *error);

/* Names of inputs, for people. `placed`: lines and offsets are those of an input that can be opened. */
struct reject_inputs {
    const char *const *names;
    size_t count;
    bool placed;
};

/* Writes both files anew from the ledger, if it has rejects that were not replayed. */
MUST_CHECK enum status reject_files_render(const struct reject_files *files, struct pg *pg, const struct ledger *ledger,
                                           const struct reject_inputs *inputs, struct error *error);

/* Whether reject_files_render was interrupted, so that the two files do not belong together. */
bool reject_files_torn(const struct reject_files *files);

/* What FILE and FILE.reasons say together, record by record; the texts are in `text`. */
struct reject_pairs {
    struct replay *replays;
    size_t count;
    char *text;
};
MUST_CHECK enum status reject_files_read(const struct reject_files *files, const char *job, char quote, char escape,
                                         struct reject_pairs *pairs, struct error *error);
void reject_pairs_reset(struct reject_pairs *pairs);
