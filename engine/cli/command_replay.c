/* `hyperfill replay`: loads corrected rejects under the job that has rejected them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/commands.h"
#include "engine/cli/job_rejects.h"
#include "engine/cli/job_throttle.h"
#include "engine/cli/text.h"
#include "engine/log.h"
#include "readers/record.h"
#include "writers/replay.h"

/* What a run of several tables writes by default. */
#define SHARED_FILE "hyperfill-tables.checkpoint"

struct replaying {
    struct job job;
    struct job_rejects rejects;
    struct job_throttle throttle;
    struct reject_pairs pairs;
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint *checkpoint;
    struct stop *stop;
    struct signals *signals;
};

static void notice_signal(enum stop_level level)
{
    (void)level;
    log_line(LOG_NOTICE, "stopping");
}

/* How the records are read: those of an addressable source came by the server's own COPY. */
static void describe_source(const struct job *job, int32_t input, struct stream_source *source)
{
    if (job_reads_csv(job)) {
        *source = job->set.sources[input];
        return;
    }
    *source = (struct stream_source){
        .name = job->source_table.sql,
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = ""},
        .time = job->source_table.time,
        .time_index = job->postgres_time_index,
    };
}

/* A row outside of the window would be one that dual writes own; one without a time is what it was rejected for. */
static enum status check_time(const struct job *job, const struct replay *replay, struct error *error)
{
    struct stream_source source;
    struct record_times times;
    struct cutter cutter;
    int64_t value;

    if (replay->key.input < 0 || (size_t)replay->key.input >= job->input_count)
        return error_set(error, STATUS_DATA, "the file of reasons names an input that the job does not have");
    if (replay->drop)
        return STATUS_OK;
    describe_source(job, replay->key.input, &source);
    record_times_init(&times, &source);
    cutter_init(&cutter, source.dialect.quote, source.dialect.escape);
    if (!record_time(&times, &cutter, replay->text, replay->size, &value))
        return record_time_error(&times, &cutter, replay->text, replay->size, -1, -1, error);
    if (value < job->window.lo || (value >= job->window.hi && job->window.hi != INT64_MAX))
        return error_set(error, STATUS_DATA, "its time is not within --from and --until");
    return STATUS_OK;
}

/* Those before the first bad one are loaded all the same. */
static enum status check_times(struct replaying *replaying, struct error *error)
{
    struct reject_pairs *pairs = &replaying->pairs;

    for (size_t i = 0; i < pairs->count; i++)
        if (check_time(&replaying->job, &pairs->replays[i], error) != STATUS_OK) {
            error->input[0] = '\0';
            error_prefix(error, "record %zu of %s", i + 1, replaying->rejects.files.file);
            pairs->count = i;
        }
    return error->status;
}

static enum status replay_records(struct replaying *replaying, struct replay_count *done, struct error *error)
{
    struct job *job = &replaying->job;
    struct append_target target = {
        .ledger = &job->ledger,
        .table = &job->table,
        .inputs = job->inputs,
        .input_count = job->input_count,
        .throttle = replaying->throttle.throttle,
    };
    struct error bad;
    enum status status;
    size_t failed = 0;

    error_reset(&bad);
    (void)check_times(replaying, &bad);
    status = replay_load(job->target, &target, replaying->pairs.replays, replaying->pairs.count,
                         job->options->retry_seconds * 1000, replaying->stop, done, &failed, error);
    if (status == STATUS_DATA)
        error_prefix(error, "record %zu of %s", failed + 1, replaying->rejects.files.file);
    if (status == STATUS_OK && bad.status != STATUS_OK)
        *error = bad;
    return error->status;
}

static void tell(const struct replay_count *done, const struct job_rejects *rejects)
{
    char loaded[NUMBER_TEXT_MAX], dropped[NUMBER_TEXT_MAX], before[NUMBER_TEXT_MAX], open[NUMBER_TEXT_MAX];

    log_line(LOG_NOTICE, "replayed: %s loaded, %s dropped, %s were replayed before; %s rejected rows left",
             count_format(done->loaded, loaded), count_format(done->dropped, dropped),
             count_format(done->before, before), count_format(rejects->open, open));
}

/* Of several tables: the part of this job. */
static enum status note_in_set(struct replaying *replaying, struct error *error)
{
    const struct job_rejects *rejects = &replaying->rejects;
    struct checkpoint_set set;
    bool found = false;
    enum status status = checkpoint_read_set(replaying->path, &set, error);

    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < set.count; i++)
        if (strcmp(set.parts[i].state.job, replaying->job.ledger.job) == 0) {
            set.parts[i].state.rejects = rejects->all;
            set.parts[i].state.rejects_open = rejects->open;
            found = true;
        }
    if (found && !set.damaged)
        status = checkpoint_rewrite_set(replaying->checkpoint, &set, error);
    checkpoint_set_free(&set);
    return status;
}

/* The checkpoint file, if it is of this job, says what is left; one that is lost or damaged is left to the next run. */
static enum status note_rejects(struct replaying *replaying, struct error *error)
{
    const struct job_rejects *rejects = &replaying->rejects;
    struct checkpoint_state state;
    enum status status;

    if (checkpoint_is_set(replaying->path))
        return note_in_set(replaying, error);
    status = checkpoint_read(replaying->path, &state, error);
    if (status != STATUS_OK)
        return status;
    if (state.exists && !state.damaged && strcmp(state.job, replaying->job.ledger.job) == 0) {
        state.rejects = rejects->all;
        state.rejects_open = rejects->open;
        status = checkpoint_rewrite(replaying->checkpoint, &state, error);
    }
    checkpoint_state_free(&state);
    return status;
}

static enum status replay_job(struct replaying *replaying, struct error *error)
{
    struct job *job = &replaying->job;
    struct job_rejects *rejects = &replaying->rejects;
    struct replay_count done = {0};
    struct error second;
    enum status status;

    if (!job->resumed)
        return error_set(error, STATUS_USAGE,
                         "the ledger in the target knows no job of these options: give those of the run whose rows were"
                         " rejected");
    /* A row whose time was corrected may be of a range that is still to come, and would be taken for another's there.
     */
    if (!job->finished)
        return error_set(error, STATUS_USAGE,
                         "the job is not complete: run it to its end first, with a higher --max-rejects if that has"
                         " stopped it");
    status = reject_files_name(&rejects->files, job->options, error);
    if (status == STATUS_OK)
        status = reject_files_read(&rejects->files, job->ledger.job, job->inputs[0].quote, job->inputs[0].escape,
                                   &replaying->pairs, error);
    if (status == STATUS_OK)
        status = job_throttle_start(&replaying->throttle, job, replaying->stop, error);
    if (status != STATUS_OK)
        return status;
    status = replay_records(replaying, &done, error);
    error_reset(&second);
    if (pg_connect(job->target, &second) != STATUS_OK ||
        reject_count(job->target, &job->ledger, &rejects->all, &rejects->open, &second) != STATUS_OK)
        return status == STATUS_OK ? (*error = second, second.status) : status;
    tell(&done, rejects);
    if (note_rejects(replaying, &second) != STATUS_OK)
        log_line(LOG_WARNING, "the checkpoint file does not tell of it: %s", second.text);
    return status == STATUS_OK ? job_rejects_tell(rejects, error) : status;
}

/* The table's own file, or the one that it shares with others, where that is all there is. */
static enum status find_path(struct replaying *replaying, const struct options *options, struct error *error)
{
    enum status status = command_checkpoint_path(options, replaying->path, error);

    if (status == STATUS_OK && options->checkpoint == NULL && access(replaying->path, F_OK) != 0 &&
        checkpoint_is_set(SHARED_FILE))
        snprintf(replaying->path, sizeof replaying->path, "%s", SHARED_FILE);
    return status;
}

enum status command_replay(const struct options *options, struct error *error)
{
    struct replaying *replaying = calloc(1, sizeof *replaying);
    enum status status;

    if (replaying == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    replaying->job.options = options;
    status = stop_create(&replaying->stop, error);
    if (status == STATUS_OK)
        status = signals_start(replaying->stop, notice_signal, &replaying->signals, error);
    /* Not beside a run, which may write the files anew. */
    if (status == STATUS_OK)
        status = find_path(replaying, options, error);
    if (status == STATUS_OK)
        status = checkpoint_open(replaying->path, &replaying->checkpoint, error);
    if (status == STATUS_OK)
        status = job_open(&replaying->job, options, replaying->stop, error);
    if (status == STATUS_OK)
        status = replay_job(replaying, error);
    job_throttle_finish(&replaying->throttle);
    signals_finish(replaying->signals);
    reject_pairs_reset(&replaying->pairs);
    job_close(&replaying->job);
    checkpoint_close(replaying->checkpoint);
    stop_free(replaying->stop);
    free(replaying);
    return status;
}
