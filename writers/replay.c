/* Corrected rejects. */
#include "writers/replay.h"

#include <inttypes.h>

#include "engine/log.h"
#include "engine/retry.h"
#include "engine/stats.h"

#define BATCH_MAX 256

static enum status put_record(struct pg *pg, const struct append_input *input, const struct replay *replay,
                              struct shape_text *shaped, struct error *error)
{
    enum status status;

    if (input->shape == NULL)
        return pg_copy_in_put(pg, replay->text, replay->size, error);
    shaped->size = 0;
    status = shape_apply(input->shape, replay->text, replay->size, shaped, error);
    if (status != STATUS_OK) {
        pg_copy_in_fail(pg, "a record is wrong");
        return status;
    }
    return pg_copy_in_put(pg, shaped->data, shaped->size, error);
}

/* The records of a batch that are due and of one input. */
static enum status copy_input(struct pg *pg, const struct append_target *target, const struct replay *replays,
                              size_t count, int32_t input, struct error *error)
{
    const struct append_input *of = &target->inputs[input];
    struct shape_text shaped = {0};
    struct sql sql = {0};
    int64_t sent = 0, stored = 0;
    enum status status;

    sql_add(&sql, "COPY %s (%s) FROM STDIN WITH (%s)", target->table->sql, of->column_list, of->csv_options);
    status = pg_copy_in_begin(pg, sql.text, error);
    sql_reset(&sql);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (replays[i].key.input != input || !replays[i].due || replays[i].drop)
            continue;
        sent++;
        throttle_take(target->throttle, 1, (int64_t)replays[i].size);
        status = put_record(pg, of, &replays[i], &shaped, error);
        /* One line end for all: a COPY holds its text to that of its first record. */
        if (status == STATUS_OK)
            status = pg_copy_in_put(pg, "\n", 1, error);
    }
    shape_text_reset(&shaped);
    if (status == STATUS_OK)
        status = pg_copy_in_end(pg, &stored, error);
    if (status == STATUS_OK && stored != sent)
        status = error_set(error, STATUS_DATA,
                           "%" PRId64 " rows were sent and the server counted %" PRId64
                           "; all were rolled back. Does a trigger or rule on the table drop rows, or is there a line"
                           " with \\. alone?",
                           sent, stored);
    return status;
}

static enum status copy_batch(struct pg *pg, const struct append_target *target, const struct replay *replays,
                              size_t count, struct error *error)
{
    enum status status = STATUS_OK;

    for (int32_t input = 0; (size_t)input < target->input_count && status == STATUS_OK; input++) {
        bool any = false;

        for (size_t i = 0; i < count && !any; i++)
            any = replays[i].key.input == input && replays[i].due && !replays[i].drop;
        if (any)
            status = copy_input(pg, target, replays, count, input, error);
    }
    return status;
}

static void count_batch(const struct replay *replays, size_t count, struct replay_count *done)
{
    for (size_t i = 0; i < count; i++) {
        done->before += !replays[i].due;
        done->loaded += replays[i].due && !replays[i].drop;
        done->dropped += replays[i].due && replays[i].drop;
    }
}

static enum status load_once(struct pg *pg, const struct append_target *target, struct replay *replays, size_t count,
                             struct error *error)
{
    enum status status = pg_connect(pg, error);

    if (status == STATUS_OK)
        status = replay_begin(pg, target->ledger, replays, count, error);
    if (status == STATUS_OK)
        status = copy_batch(pg, target, replays, count, error);
    if (status == STATUS_OK)
        status = replay_commit(pg, target->ledger, replays, count, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}

/* A commit whose answer was lost is asked for by the marks of the next attempt. */
static enum status load_batch(struct pg *pg, const struct append_target *target, struct replay *replays, size_t count,
                              int64_t retry_ms, struct stop *stop, struct replay_count *done, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, retry_ms, (uint64_t)stats_now_ns());
    while ((status = load_once(pg, target, replays, count, error)) == STATUS_TRANSIENT) {
        int64_t pause_ms = retry_next(&retry);

        if (pause_ms < 0 || stop_level(stop) != STOP_RUN)
            break;
        log_line(LOG_WARNING, "%s: trying again", error->text);
        if (stop_wait(stop, pause_ms, STOP_DRAIN))
            break;
        error_reset(error);
    }
    if (status == STATUS_OK)
        count_batch(replays, count, done);
    return status;
}

enum status replay_load(struct pg *pg, const struct append_target *target, struct replay *replays, size_t count,
                        int64_t retry_ms, struct stop *stop, struct replay_count *done, size_t *failed,
                        struct error *error)
{
    size_t batch = BATCH_MAX;
    enum status status = STATUS_OK;

    for (size_t at = 0, size; status == STATUS_OK && at < count; at += size) {
        if (stop_level(stop) != STOP_RUN)
            return error_set(error, STATUS_STOPPED, "stopped; replay again to go on");
        size = count - at < batch ? count - at : batch;
        *failed = at;
        status = load_batch(pg, target, replays + at, size, retry_ms, stop, done, error);
        /* From here one by one, up to the record that is bad. */
        if (status == STATUS_DATA && size > 1) {
            error_reset(error);
            status = STATUS_OK;
            batch = 1;
            size = 0;
        }
    }
    return status;
}
