/* A run of the router, from a file or a pipe, and what is committed of it. */
#include "tests/unit/fixture_router.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

/* ---- Inputs as files and pipes ---- */

struct feeder {
    const struct input *input;
    int fd;
    bool idle;
    unsigned seed;
    pthread_t thread;
};

static void *feed(void *opaque)
{
    struct feeder *feeder = opaque;
    size_t at = 0;

    while (at < feeder->input->size) {
        size_t size = 1 + (size_t)random_below(&feeder->seed, 20000);
        ssize_t written;

        if (size > feeder->input->size - at)
            size = feeder->input->size - at;
        written = write(feeder->fd, feeder->input->text + at, size);
        if (written <= 0)
            break;
        at += (size_t)written;
    }
    if (!feeder->idle)
        close(feeder->fd);
    return NULL;
}

/* Asks for a drain, a while after the reader has come to a halt. */
static void *stop_soon(void *opaque)
{
    poll(NULL, 0, 100);
    stop_request(opaque, STOP_DRAIN);
    return NULL;
}

static void file_write(const char *path, const struct input *input)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(input->text, 1, input->size, file), input->size);
    assert_int_equal(fclose(file), 0);
}

/* ---- One run ---- */

static struct layout *layout_make(void)
{
    struct layout_spec spec = {.interval = INTERVAL, .window = {0, UNTIL_RANGES * INTERVAL}};
    struct layout *layout;
    struct error error;

    error_reset(&error);
    assert_int_equal(layout_create(&spec, &layout, &error), STATUS_OK);
    return layout;
}

void outcome_free(struct outcome *outcome)
{
    for (size_t i = 0; i < outcome->count; i++)
        free(outcome->pieces[i].text);
    free(outcome->pieces);
}

void run_router(const struct plan *plan, const struct input *input, struct input_position start,
                const struct marks *marks, struct outcome *outcome)
{
    struct pipeline *pipeline = calloc(1, sizeof *pipeline);
    struct error *error = &outcome->error;
    struct feeder feeder = {.input = input, .fd = -1, .idle = plan->idle, .seed = plan->seed + 1};
    char path[64] = "/tmp/test_router_XXXXXX";
    int pipes[2] = {-1, -1}, temporary = -1;
    struct stream_source source = {
        .name = "input.csv",
        .dialect = {.delimiter = ',', .quote = '"', .escape = '"', .null_text = "", .header = plan->header},
        .time_index = plan->time_index,
        .time = {.type = TIME_INT8},
        .input = 3,
        .reject = plan->bad,
        .start = start,
        .memory_bytes = plan->memory_bytes,
        .fd = -1,
    };
    struct stream_set set = {.sources = &source, .count = 1};
    void *session = NULL;
    pthread_t thread, stopper;

    *outcome = (struct outcome){0};
    error_reset(error);
    assert_non_null(pipeline);
    pipeline->collected = calloc(PIECES_MAX, sizeof *pipeline->collected);
    assert_non_null(pipeline->collected);
    pipeline->input = input;
    pipeline->writers = 2;
    pipeline->slow = plan->slow;
    pipeline->stuck = plan->stuck;
    pthread_mutex_init(&pipeline->mutex, NULL);
    pthread_cond_init(&pipeline->cond, NULL);
    assert_int_equal(stop_create(&pipeline->stop, error), STATUS_OK);
    assert_int_equal(pool_create(plan->pool_bytes, plan->block_size, 0, pipeline->stop, &pipeline->pool, error), 0);
    if (plan->spill_bytes > 0)
        assert_int_equal(spill_create("/tmp", plan->spill_bytes, plan->spill_bytes / 4096, plan->block_size,
                                      &pipeline->stats, &pipeline->spill, error),
                         STATUS_OK);
    if (marks != NULL) {
        source.marks = marks->list;
        source.mark_count = marks->count;
    }
    if (plan->stream) {
        assert_int_equal(pipe(pipes), 0);
        feeder.fd = pipes[1];
        snprintf(path, sizeof path, "/dev/fd/%d", pipes[0]);
        assert_int_equal(pthread_create(&feeder.thread, NULL, feed, &feeder), 0);
    } else {
        temporary = mkstemp(path);
        assert_true(temporary >= 0);
        close(temporary);
        file_write(path, input);
    }
    source.path = path;
    source.layout = layout_make();
    outcome->status = stream_open(&source, error);
    assert_int_equal(source.seekable, !plan->stream);
    if (outcome->status == STATUS_OK)
        outcome->status = stream_reader.open(&set, pipeline, &session, error);
    if (plan->grows) {
        FILE *file = fopen(path, "ae");

        assert_non_null(file);
        assert_int_equal(fprintf(file, "1,x\n"), 4);
        assert_int_equal(fclose(file), 0);
    }
    if (plan->idle || plan->stuck)
        assert_int_equal(pthread_create(&stopper, NULL, stop_soon, pipeline->stop), 0);
    assert_int_equal(pthread_create(&thread, NULL, collector, pipeline), 0);
    if (outcome->status == STATUS_OK)
        outcome->status = stream_reader.stream(session, error);
    stream_reader.close(session);
    pthread_mutex_lock(&pipeline->mutex);
    pipeline->closed = true;
    pthread_cond_broadcast(&pipeline->cond);
    pthread_mutex_unlock(&pipeline->mutex);
    pthread_join(thread, NULL);
    if (plan->idle || plan->stuck)
        pthread_join(stopper, NULL);
    if (plan->stream) {
        close(pipes[0]);
        stream_reset(&source);
        pthread_join(feeder.thread, NULL);
        if (plan->idle)
            close(feeder.fd);
    } else {
        stream_reset(&source);
        unlink(path);
    }
    for (size_t i = 0; i < pipeline->done; i++) {
        check_position(pipeline, &pipeline->collected[i].spec.first, plan->stream);
        check_position(pipeline, &pipeline->collected[i].spec.open, plan->stream);
    }
    outcome->pieces = pipeline->collected;
    outcome->count = pipeline->done;
    outcome->skipped = stats_get(&pipeline->stats.rows_skipped);
    outcome->packed = stats_get(&pipeline->stats.packed_raw_bytes);
    outcome->spilled = stats_get(&pipeline->stats.spilled_bytes);
    assert_int_equal(pipeline->queued_blocks, 0);
    layout_free(source.layout);
    spill_free(pipeline->spill);
    pool_free(pipeline->pool);
    stop_free(pipeline->stop);
    pthread_mutex_destroy(&pipeline->mutex);
    pthread_cond_destroy(&pipeline->cond);
    free(pipeline);
}

/* ---- What the ledger would hold ---- */

void ledger_free(struct ledger *ledger)
{
    for (int i = 0; i <= UNTIL_RANGES; i++)
        free(ledger->ranges[i].text);
}

static void ledger_commit(struct ledger *ledger, const struct collected *piece)
{
    bool rejects = range_is_rejects(piece->spec.place.range);
    int index = rejects ? UNTIL_RANGES : (int)(piece->spec.place.range.lo / INTERVAL);

    assert_in_range(index, 0, rejects ? UNTIL_RANGES : UNTIL_RANGES - 1);
    assert_int_equal(piece->spec.input, 3);
    /* No gap, no overlap, and 0 for the first one only. */
    assert_int_equal(piece->spec.begin, ledger->ranges[index].end);
    assert_true(piece->spec.end > piece->spec.begin);
    ledger->ranges[index].end = piece->spec.end;
    ledger->ranges[index].rows += piece->rows;
    ledger->ranges[index].text = realloc(ledger->ranges[index].text, ledger->ranges[index].size + piece->size + 1);
    assert_non_null(ledger->ranges[index].text);
    memcpy(ledger->ranges[index].text + ledger->ranges[index].size, piece->text, piece->size);
    ledger->ranges[index].size += piece->size;
    for (size_t i = 0; i <= ledger->marks.count; i++) {
        struct stream_mark *mark = &ledger->marks.list[i];

        if (i < ledger->marks.count && mark->lo != piece->spec.place.range.lo)
            continue;
        ledger->marks.count += i == ledger->marks.count;
        *mark = (struct stream_mark){
            piece->spec.place.range.lo, piece->spec.end, {piece->spec.end_hash[0], piece->spec.end_hash[1]}};
        break;
    }
}

/*
 * Commits some of the pieces, as writers might: any order between ranges, the given one within a range. `stop_at`: how
 * many. With each, the frontier as the pipeline makes it.
 */
void ledger_commit_some(struct ledger *ledger, const struct outcome *outcome, size_t stop_at, unsigned *seed)
{
    bool *committed = calloc(outcome->count + 1, sizeof *committed);
    size_t submitted = 0;

    assert_non_null(committed);
    for (size_t done = 0; done < stop_at; done++) {
        struct input_position frontier;
        size_t choice = 0;

        /* Some are not even submitted when this one is committed. */
        if (submitted < outcome->count)
            submitted += (size_t)random_below(seed, (int)(outcome->count - submitted) + 1);
        if (submitted <= done)
            submitted = done + 1;
        do {
            choice = (size_t)random_below(seed, (int)submitted);
            for (size_t i = 0; i < choice; i++)
                if (!committed[i] &&
                    outcome->pieces[i].spec.place.range.lo == outcome->pieces[choice].spec.place.range.lo)
                    choice = i;
        } while (committed[choice]);
        committed[choice] = true;
        ledger_commit(ledger, &outcome->pieces[choice]);
        frontier = outcome->pieces[choice].spec.open;
        for (size_t i = 0; i < submitted; i++)
            if (!committed[i] && outcome->pieces[i].spec.first.offset < frontier.offset)
                frontier = outcome->pieces[i].spec.first;
        if (frontier.offset > ledger->frontier.offset)
            ledger->frontier = frontier;
    }
    free(committed);
}

void ledger_check(const struct ledger *ledger, const struct data *data)
{
    size_t at[UNTIL_RANGES + 1] = {0};
    int64_t rows[UNTIL_RANGES + 1] = {0};

    for (int i = 0; i < data->count; i++) {
        const struct record *record = &data->records[i];
        int64_t index = record->bad ? UNTIL_RANGES : record->time / INTERVAL;

        if (!record->bad && (record->time < 0 || index >= UNTIL_RANGES))
            continue;
        assert_true(at[index] + record->size <= ledger->ranges[index].size);
        assert_memory_equal(ledger->ranges[index].text + at[index], data->input.text + record->at, record->size);
        at[index] += record->size;
        rows[index]++;
    }
    for (int i = 0; i <= UNTIL_RANGES; i++) {
        assert_int_equal(at[i], ledger->ranges[i].size);
        assert_int_equal(rows[i], ledger->ranges[i].rows);
    }
}
