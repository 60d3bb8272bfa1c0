/*
 * Commands of the user as sources of CSV.
 *
 * As a stream: the command runs once and its output is an input like standard input (stream.h). As an addressable
 * source: its text has places for the edges of a range (template.h), and it runs once for each range. Either way the
 * end of the output counts for nothing before the command has ended with status 0.
 */
#pragma once

#include <pthread.h>

#include "engine/pipeline.h"
#include "readers/process.h"
#include "readers/stream.h"
#include "readers/template.h"

/* ---- As a stream ---- */

/* A running command whose output is read by stream.h. */
struct command_output {
    struct process *process;
    struct stop *stop;
};

/* Starts the command and makes its output the source's; source->name is the command's name. */
MUST_CHECK enum status command_output_start(struct command_output *output, const char *command,
                                            struct stream_source *source, struct error *error);

/* Ends it; source->fd is no longer valid. */
void command_output_end(struct command_output *output, struct stream_source *source);

/* ---- One run a range ---- */

/* So often a range is tried whose command fails. */
#define COMMAND_ATTEMPTS 4

struct command_failures {
    int64_t lo;
    int count;
};

struct command_source {
    const struct template *template;
    /* Dialect, time column and names of what each run prints; `name` and `stop` are the command's. Runs share it. */
    struct stream_source *csv;
    int column_count;
    int readers;           /* that share the memory for records */
    pthread_mutex_t mutex; /* guards all below */
    char *header;          /* text of the first header seen, without its line end; NULL: none yet */
    size_t header_size;
    struct command_failures *failures; /* of ranges whose command failed */
    size_t failure_count;
};

void command_source_init(struct command_source *source, const struct template *template, struct stream_source *csv);
void command_source_reset(struct command_source *source);

/*
 * Runs the command for the range until its header is there, and puts that into `csv`; csv->header stays NULL where the
 * command ends well and prints nothing at all. Without a header in the dialect it only has to run.
 */
MUST_CHECK enum status command_learn(struct command_source *source, struct range range, struct error *error);

/*
 * Reads ranges. A row outside of its range is an error, as its own range would bring it once more; so is a header
 * other than the first. A command that fails is tried again, some times.
 */
extern const struct reader_ops command_reader;
