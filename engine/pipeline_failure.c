/* What fails: a range is given up, a table, or the run. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pipeline_private.h"

/* So many quarantined ranges in a row, without a commit between them, are not about the ranges. */
#define FAILURES_IN_ROW_MAX 8

void pipeline_fail(struct pipeline *pipeline, const struct error *error)
{
    assert(error->status != STATUS_OK);
    pthread_mutex_lock(&pipeline->mutex);
    if (error->status != STATUS_STOPPED && pipeline->error.status == STATUS_OK)
        pipeline->error = *error;
    pthread_mutex_unlock(&pipeline->mutex);
    stop_request(pipeline->spec->stop, STOP_DRAIN);
}

/* Ends one of several tables: the others go on. */
static void pipeline_fail_table(struct pipeline *pipeline, int32_t table, const struct error *error)
{
    bool first;

    pthread_mutex_lock(&pipeline->mutex);
    first = !pipeline->tables[table].failed;
    pipeline->tables[table].failed = true;
    if (first)
        pipeline->spec->table_failed(pipeline->spec->context, table, error);
    pthread_mutex_unlock(&pipeline->mutex);
    tasks_drop_table(pipeline->tasks, table);
}

static bool pipeline_table_failed(struct pipeline *pipeline, int32_t table)
{
    bool result;

    pthread_mutex_lock(&pipeline->mutex);
    result = pipeline->tables[table].failed;
    pthread_mutex_unlock(&pipeline->mutex);
    return result;
}

bool pipeline_range_failed(struct pipeline *pipeline, const struct piece_spec *spec)
{
    int64_t lo = spec->place.range.lo;
    bool failed = false;

    pthread_mutex_lock(&pipeline->mutex);
    for (size_t i = 0; i < pipeline->failed_count && !failed; i++)
        failed = pipeline->failed[i].table == spec->table && pipeline->failed[i].input == spec->input &&
                 pipeline->failed[i].lo == lo;
    pthread_mutex_unlock(&pipeline->mutex);
    return failed;
}

void pipeline_lower_floor(struct pipeline *pipeline, const struct piece *piece)
{
    const struct piece_spec *spec = piece_spec(piece);
    struct input_position *floor = &pipeline->floors[spec->input];

    pthread_mutex_lock(&pipeline->mutex);
    if (spec->first.offset < floor->offset)
        *floor = spec->first;
    pthread_mutex_unlock(&pipeline->mutex);
}

bool pipeline_is_outage(const struct error *error)
{
    return error->status == STATUS_TRANSIENT &&
           (strncmp(error->sqlstate, "08", 2) == 0 || strcmp(error->sqlstate, "57P03") == 0);
}

/* With the lock held. */
static enum status add_failed(struct pipeline *pipeline, const struct piece_spec *spec, struct error *error)
{
    if (pipeline->failed_count == pipeline->failed_room) {
        size_t room = pipeline->failed_room * 2 + 16;
        struct failed_range *more = realloc(pipeline->failed, room * sizeof *more);

        if (more == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory");
        pipeline->failed = more;
        pipeline->failed_room = room;
    }
    pipeline->failed[pipeline->failed_count++] = (struct failed_range){spec->table, spec->input, spec->place.range.lo};
    return STATUS_OK;
}

/* With the lock held: written down and counted. *many is set where so many have failed that it is not about them. */
static enum status note_failed(struct pipeline *pipeline, const struct piece_spec *spec, const struct error *reason,
                               struct error *many, struct error *error)
{
    enum status status = add_failed(pipeline, spec, error);
    bool end;

    if (pipeline->failure.status == STATUS_OK)
        pipeline->failure = *reason;
    stats_add(&pipeline->spec->stats->ranges_failed, 1);
    end = ++pipeline->tables[spec->table].failures_in_row >= FAILURES_IN_ROW_MAX;
    if (status == STATUS_OK)
        status = pipeline->spec->failed(pipeline->spec->context, spec, reason, error);
    if (status == STATUS_OK && end)
        error_set(many, reason->status, "%d ranges failed one after the other without a success between them: stopped",
                  FAILURES_IN_ROW_MAX);
    return status;
}

/* A range is given up, and its other pieces dropped. */
static void pipeline_quarantine(struct pipeline *pipeline, const struct piece *piece, const struct error *reason)
{
    const struct piece_spec *spec = piece_spec(piece);
    struct error error, many;
    enum status status;

    error_reset(&error);
    error_reset(&many);
    pipeline_lower_floor(pipeline, piece);
    pthread_mutex_lock(&pipeline->mutex);
    status = note_failed(pipeline, spec, reason, &many, &error);
    pthread_mutex_unlock(&pipeline->mutex);
    queue_drop_range(pipeline->queue, spec);
    if (status != STATUS_OK)
        pipeline_fail(pipeline, &error);
    else if (many.status != STATUS_OK && pipeline->spec->tables > 1)
        pipeline_fail_table(pipeline, spec->table, &many);
    else if (many.status != STATUS_OK)
        pipeline_fail(pipeline, &many);
}

void pipeline_give_up(struct pipeline *pipeline, const struct piece *piece, bool ends, const struct error *error)
{
    if (error->status == STATUS_STOPPED || stop_level(pipeline->spec->stop) == STOP_ABORT) {
        pipeline_lower_floor(pipeline, piece);
        return;
    }
    if (pipeline->spec->tables > 1 && (ends || error->status == STATUS_USAGE)) {
        pipeline_fail_table(pipeline, piece_spec(piece)->table, error);
        return;
    }
    /* Its time was not used up: nothing of its table is tried again. */
    if (error->status == STATUS_TRANSIENT && pipeline_table_failed(pipeline, piece_spec(piece)->table))
        return;
    if (ends || error->status == STATUS_SYSTEM || error->status == STATUS_USAGE || pipeline_is_outage(error)) {
        pipeline_lower_floor(pipeline, piece);
        pipeline_fail(pipeline, error);
        return;
    }
    pipeline_quarantine(pipeline, piece, error);
}
