/*
 * The router against a pipeline that only collects: random inputs, orders and memories. What is checked is the promise
 * itself: the pieces of a range, one after the other, are its records in the order of the input, each once, also when a
 * run ends anywhere and another begins where the ledger says.
 */
#include "engine/log.h"
#include "engine/pipeline.h"
#include "readers/stream.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#define INTERVAL 1000
#define UNTIL_RANGES 40
#define PIECES_MAX 65536

/* ---- A pipeline that only collects ---- */

struct collected {
    struct piece_spec spec;
    struct chain chain; /* only while queued */
    char *text;
    size_t size;
    int64_t rows;
};

struct pipeline {
    struct pool *pool;
    struct spill *spill;
    struct stop *stop;
    struct stats stats;
    int writers;
    bool slow, stuck;
    const struct input *input;
    pthread_mutex_t mutex; /* guards the fields below */
    pthread_cond_t cond;
    struct piece *queue[PIECES_MAX];
    size_t submitted, done;
    int64_t queued_blocks;
    bool closed;
    struct collected *collected;
};

struct input {
    char *text;
    size_t size;
    int64_t *lines; /* of each byte */
};

struct stop *pipeline_stop(struct pipeline *pipeline)
{
    return pipeline->stop;
}

struct stats *pipeline_stats(struct pipeline *pipeline)
{
    return &pipeline->stats;
}

struct pool *pipeline_pool(struct pipeline *pipeline)
{
    return pipeline->pool;
}

struct spill *pipeline_spill(struct pipeline *pipeline)
{
    return pipeline->spill;
}

int pipeline_writers(const struct pipeline *pipeline)
{
    return pipeline->writers;
}

int pipeline_readers(const struct pipeline *pipeline)
{
    (void)pipeline;
    return 1;
}

void pipeline_submit(struct pipeline *pipeline, struct piece *piece)
{
    pthread_mutex_lock(&pipeline->mutex);
    assert_true(pipeline->submitted < PIECES_MAX);
    pipeline->queue[pipeline->submitted++] = piece;
    pipeline->queued_blocks += piece_blocks(piece);
    pthread_cond_broadcast(&pipeline->cond);
    pthread_mutex_unlock(&pipeline->mutex);
}

int pipeline_hungry(struct pipeline *pipeline)
{
    int hungry;

    pthread_mutex_lock(&pipeline->mutex);
    hungry = pipeline->submitted == pipeline->done && !pipeline->slow;
    pthread_mutex_unlock(&pipeline->mutex);
    return hungry;
}

int64_t pipeline_queued_blocks(struct pipeline *pipeline)
{
    int64_t blocks;

    pthread_mutex_lock(&pipeline->mutex);
    blocks = pipeline->queued_blocks;
    pthread_mutex_unlock(&pipeline->mutex);
    return blocks;
}

bool pipeline_range_busy(struct pipeline *pipeline, int64_t lo)
{
    bool busy = false;

    pthread_mutex_lock(&pipeline->mutex);
    for (size_t i = pipeline->done; i < pipeline->submitted; i++)
        busy |= piece_spec(pipeline->queue[i])->place.range.lo == lo;
    pthread_mutex_unlock(&pipeline->mutex);
    return busy;
}

/* Each stretch is where its mark says, in the right line; only where it goes on from the span before it need not say.
 */
static void check_span(const struct pipeline *pipeline, const struct piece_spec *spec, const struct span *span,
                       int64_t *next_offset)
{
    const struct input *input = pipeline->input;

    assert_true(span->mark_count > 0);
    assert_int_equal(span_mark(span, 0)->at, 0);
    for (uint32_t i = 0; i < span->mark_count; i++) {
        const struct block_mark *mark = span_mark(span, i);
        uint32_t end = i + 1 < span->mark_count ? span_mark(span, i + 1)->at : span->size;

        assert_true(end > mark->at);
        assert_true(mark->offset >= spec->begin && mark->offset < spec->end);
        assert_memory_equal(span->data + mark->at, input->text + mark->offset, end - mark->at);
        if (mark->line != LINE_GOES_ON)
            assert_int_equal(spec->first_line + mark->line, input->lines[mark->offset]);
        else
            assert_true(i == 0 && mark->offset == *next_offset);
        *next_offset = mark->offset + (end - mark->at);
    }
}

static void check_position(const struct pipeline *pipeline, const struct input_position *position, bool hashed)
{
    XXH128_hash_t hash = XXH3_128bits(pipeline->input->text, (size_t)position->offset);

    if (position->offset < (int64_t)pipeline->input->size)
        assert_int_equal(position->line, pipeline->input->lines[position->offset]);
    if (hashed) {
        assert_true(position->hash[0] == hash.low64);
        assert_true(position->hash[1] == hash.high64);
    }
}

static void collect(struct pipeline *pipeline, struct packer *packer, size_t index)
{
    struct piece *piece = pipeline->queue[index];
    struct collected *out = &pipeline->collected[index];
    struct cursor cursor = {0};
    struct span span;
    struct error error;
    int64_t first = -1, next_offset = -1;

    error_reset(&error);
    out->spec = *piece_spec(piece);
    out->text = malloc((size_t)piece_bytes(piece) + 1);
    assert_non_null(out->text);
    for (;;) {
        assert_int_equal(piece_next(piece, &cursor, packer, &pipeline->stats, &span, &error), STATUS_OK);
        if (span.size == 0)
            break;
        check_span(pipeline, &out->spec, &span, &next_offset);
        if (first < 0)
            first = span_mark(&span, 0)->offset;
        assert_true(out->size + span.size <= (size_t)piece_bytes(piece));
        memcpy(out->text + out->size, span.data, span.size);
        out->size += span.size;
    }
    assert_int_equal(out->size, piece_bytes(piece));
    assert_true(out->size > 0);
    assert_true(out->spec.first.offset <= first);
    assert_int_equal(out->spec.first_line, pipeline->input->lines[first]);
    out->rows = piece_rows(piece);
}

static void *collector(void *opaque)
{
    struct pipeline *pipeline = opaque;
    struct packer *packer;
    struct error error;
    unsigned turn = 0;

    error_reset(&error);
    assert_int_equal(packer_create(pool_block_size(pipeline->pool), &packer, &error), STATUS_OK);
    pthread_mutex_lock(&pipeline->mutex);
    for (;;) {
        size_t index = pipeline->done;
        int64_t blocks;

        /* A slow writer leaves pieces lying about until they press. */
        while (!pipeline->closed &&
               (pipeline->submitted == index || pipeline->stuck ||
                (pipeline->slow && pipeline->queued_blocks * 2 < pool_block_count(pipeline->pool))))
            pthread_cond_wait(&pipeline->cond, &pipeline->mutex);
        if (pipeline->submitted == index)
            break;
        pthread_mutex_unlock(&pipeline->mutex);
        collect(pipeline, packer, index);
        if (++turn % 7 == 0)
            sched_yield();
        pthread_mutex_lock(&pipeline->mutex);
        blocks = piece_blocks(pipeline->queue[index]);
        pipeline->done++;
        pipeline->queued_blocks -= blocks;
        piece_release(pipeline->queue[index]);
        piece_release(pipeline->queue[index]);
    }
    pthread_mutex_unlock(&pipeline->mutex);
    packer_free(packer);
    return NULL;
}

/* ---- Random inputs ---- */

enum order { ORDERED, REVERSED, JITTERED, SHUFFLED, BY_HOST, ORDER_COUNT };

struct plan {
    unsigned seed;
    enum order order;
    int rows;
    int payload; /* bytes, at most */
    bool header, stream, crlf, open_end, quotes;
    int time_index;
    int64_t pool_bytes;
    uint32_t block_size;
    int64_t memory_bytes;
    /* 0: no spill */
    int64_t spill_bytes;
    bool slow;
    bool bad; /* some records have no time, and are rejected */
    /* What goes wrong: the pipe stays open, nobody takes pieces, the file grows; a stop is asked for soon in the first
     * two. */
    bool idle, stuck, grows;
};

static int random_below(unsigned *seed, int limit)
{
    return (int)((unsigned)rand_r(seed) % (unsigned)limit);
}

static int64_t time_of(const struct plan *plan, int row, unsigned *seed)
{
    const int64_t span = (UNTIL_RANGES + 2) * INTERVAL;
    int64_t even = span * row / plan->rows;

    switch (plan->order) {
    case ORDERED: break;
    case REVERSED: even = span - 1 - even; break;
    case JITTERED: even += random_below(seed, INTERVAL / 4); break;
    case SHUFFLED: even = random_below(seed, (int)span); break;
    case BY_HOST: even = span * (row % (plan->rows / 7 + 1)) / (plan->rows / 7 + 1); break;
    case ORDER_COUNT: abort();
    }
    /* One range before the window of time, and one behind it. */
    return even - INTERVAL;
}

struct record {
    size_t at, size;
    int64_t time;
    bool bad; /* its time cannot be read */
};

struct data {
    struct input input;
    struct record *records;
    int count;
};

static size_t payload_write(const struct plan *plan, char *to, unsigned *seed)
{
    int size = random_below(seed, random_below(seed, 50) == 0 ? plan->payload : plan->payload / 3 + 1);
    bool quoted = plan->quotes && random_below(seed, 3) == 0;
    size_t used = 0;

    if (quoted)
        to[used++] = '"';
    for (int i = 0; i < size; i++) {
        int dice = random_below(seed, 40);

        if (quoted && dice == 0) {
            to[used++] = '"';
            to[used++] = '"';
        } else if (quoted && dice < 3) {
            to[used++] = "\n,"[dice - 1];
        } else {
            to[used++] = (char)('a' + random_below(seed, 4));
        }
    }
    if (quoted)
        to[used++] = '"';
    return used;
}

static void data_make(struct data *data, const struct plan *plan)
{
    unsigned seed = plan->seed;
    size_t room = (size_t)plan->rows * ((size_t)plan->payload * 2 + 64) + 64;
    char *text = malloc(room);
    const char *line_end = plan->crlf ? "\r\n" : "\n";
    size_t used = 0;
    int64_t line = 1;

    data->records = calloc((size_t)plan->rows + 1, sizeof *data->records);
    assert_true(text != NULL && data->records != NULL);
    if (plan->header)
        used = (size_t)sprintf(text, plan->time_index == 0 ? "time,payload%s" : "payload,time%s", line_end);
    for (int row = 0; row < plan->rows; row++) {
        struct record *record = &data->records[row];

        *record = (struct record){.at = used, .time = time_of(plan, row, &seed)};
        record->bad = plan->bad && random_below(&seed, 30) == 0;
        if (record->bad && random_below(&seed, 3) == 0) {
            used += (size_t)sprintf(text + used, "\\.");
        } else {
            if (plan->time_index == 0)
                used += (size_t)sprintf(text + used, "%s%" PRId64 ",", record->bad ? "x" : "", record->time);
            used += payload_write(plan, text + used, &seed);
            if (plan->time_index == 1)
                used += (size_t)sprintf(text + used, ",%" PRId64 "%s", record->time, record->bad ? "x" : "");
        }
        if (!plan->open_end || row < plan->rows - 1)
            used += (size_t)sprintf(text + used, "%s", line_end);
        record->size = used - record->at;
    }
    data->count = plan->rows;
    data->input = (struct input){.text = text, .size = used, .lines = calloc(used + 1, sizeof(int64_t))};
    assert_non_null(data->input.lines);
    for (size_t i = 0; i < used; i++) {
        data->input.lines[i] = line;
        line += text[i] == '\n';
    }
}

static void data_free(struct data *data)
{
    free(data->input.text);
    free(data->input.lines);
    free(data->records);
}

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

struct marks {
    struct stream_mark list[UNTIL_RANGES + 8];
    size_t count;
};

struct outcome {
    struct collected *pieces;
    size_t count;
    enum status status;
    struct error error;
    int64_t skipped, packed, spilled;
};

static struct layout *layout_make(void)
{
    struct layout_spec spec = {.interval = INTERVAL, .window = {0, UNTIL_RANGES * INTERVAL}};
    struct layout *layout;
    struct error error;

    error_reset(&error);
    assert_int_equal(layout_create(&spec, &layout, &error), STATUS_OK);
    return layout;
}

static void outcome_free(struct outcome *outcome)
{
    for (size_t i = 0; i < outcome->count; i++)
        free(outcome->pieces[i].text);
    free(outcome->pieces);
}

static void run_router(const struct plan *plan, const struct input *input, struct input_position start,
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

struct ledger {
    struct input_position frontier;
    struct marks marks;
    /* What is committed of each range. */
    struct {
        char *text;
        size_t size;
        int64_t rows, end;
    } ranges[UNTIL_RANGES + 1]; /* the last: of what has no time */
};

static void ledger_free(struct ledger *ledger)
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
static void ledger_commit_some(struct ledger *ledger, const struct outcome *outcome, size_t stop_at, unsigned *seed)
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

static void ledger_check(const struct ledger *ledger, const struct data *data)
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

/* ---- Properties ---- */

static unsigned base_seed(void)
{
    const char *given = getenv("HYPERFILL_TEST_SEED");

    return given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
}

/* None, one with room for all, or one that is soon full. */
static int64_t spill_make(unsigned *dice)
{
    static const int limits[] = {0, 64 << 20, 1 << 20, 64 << 10};
    int limit = limits[random_below(dice, 4)];

    return limit > 0 ? 1 + random_below(dice, limit) : 0;
}

static struct plan plan_make(unsigned seed)
{
    unsigned dice = seed * 2654435761u;
    static const uint32_t block_sizes[] = {4096, 4096, 16384};
    struct plan plan = {
        .seed = seed,
        .order = (enum order)random_below(&dice, ORDER_COUNT),
        .rows = 1 + random_below(&dice, 3000),
        .payload = 1 + random_below(&dice, random_below(&dice, 3) == 0 ? 3000 : 400),
        .header = random_below(&dice, 2) == 0,
        .stream = random_below(&dice, 2) == 0,
        .crlf = random_below(&dice, 4) == 0,
        .open_end = random_below(&dice, 3) == 0,
        .quotes = random_below(&dice, 2) == 0,
        .time_index = random_below(&dice, 2),
        .block_size = block_sizes[random_below(&dice, 3)],
        .slow = random_below(&dice, 2) == 0,
        .bad = random_below(&dice, 3) == 0,
    };

    plan.pool_bytes = (int64_t)plan.block_size * (8 + random_below(&dice, random_below(&dice, 2) == 0 ? 9 : 200));
    plan.memory_bytes = random_below(&dice, 2) == 0 ? 64 << 10 : 8 << 20;
    plan.spill_bytes = spill_make(&dice);
    return plan;
}

/* What the random plans have come to: a test that never packs or resumes would prove little. */
static struct {
    int64_t packed, spilled, resumed, pieces, skipped, bad;
} seen;

static void check_plan(unsigned seed)
{
    struct plan plan = plan_make(seed);
    unsigned dice = seed ^ 0x5bd1e995u;
    struct ledger ledger = {0};
    struct outcome outcome;
    struct data data;

    data_make(&data, &plan);
    for (int attempt = 0; attempt < 4; attempt++) {
        bool last = attempt == 3 || random_below(&dice, 4) == 0;

        run_router(&plan, &data.input, ledger.frontier, &ledger.marks, &outcome);
        if (outcome.status != STATUS_OK)
            fail_msg("seed %u: %s", seed, outcome.error.text);
        seen.packed += outcome.packed;
        seen.spilled += outcome.spilled;
        seen.pieces += (int64_t)outcome.count;
        seen.skipped += outcome.skipped;
        seen.resumed += ledger.frontier.offset > 0;
        ledger_commit_some(&ledger, &outcome,
                           last ? outcome.count : (size_t)random_below(&dice, (int)outcome.count + 1), &dice);
        outcome_free(&outcome);
        if (last)
            break;
        /* Memory and writers may differ from run to run, the input may not. */
        plan.pool_bytes = (int64_t)plan.block_size * (8 + random_below(&dice, 100));
        plan.slow = random_below(&dice, 2) == 0;
        plan.spill_bytes = spill_make(&dice);
        plan.memory_bytes = random_below(&dice, 2) == 0 ? 64 << 10 : 8 << 20;
    }
    ledger_check(&ledger, &data);
    seen.bad += ledger.ranges[UNTIL_RANGES].rows;
    ledger_free(&ledger);
    data_free(&data);
}

static void test_random(void **state)
{
    unsigned seed = base_seed();
    const char *count = getenv("HYPERFILL_TEST_COUNT");
    unsigned limit = count != NULL ? (unsigned)strtoul(count, NULL, 10) : 150;

    (void)state;
    print_message("seed %u\n", seed);
    for (unsigned i = 0; i < limit; i++) {
        if (getenv("HYPERFILL_TEST_VERBOSE") != NULL)
            print_message("plan %u\n", seed + i);
        check_plan(seed + i);
    }
    print_message("%" PRId64 " pieces, %" PRId64 " resumed runs, %" PRId64 " rows skipped, %" PRId64
                  " bytes packed, %" PRId64 " spilled\n",
                  seen.pieces, seen.resumed, seen.skipped, seen.packed, seen.spilled);
    assert_true(limit < 100 ||
                (seen.packed > 0 && seen.spilled > 0 && seen.resumed > 0 && seen.skipped > 0 && seen.bad > 0));
}

/* Pieces are as large as the memory lets them be. */
static void test_large_memory(void **state)
{
    struct plan plan = {
        .seed = 7,
        .order = ORDERED,
        .rows = 60000,
        .payload = 800,
        .block_size = 65536,
        .pool_bytes = 16 << 20,
        .memory_bytes = 64 << 20,
        .slow = true,
    };
    struct ledger ledger = {0};
    struct outcome outcome;
    struct data data;

    (void)state;
    for (plan.order = ORDERED; plan.order < ORDER_COUNT; plan.order++) {
        data_make(&data, &plan);
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_OK);
        /* All fits: a piece a range, and no work for the packer. */
        assert_int_equal(outcome.count, UNTIL_RANGES);
        assert_int_equal(outcome.packed, 0);
        ledger = (struct ledger){0};
        ledger_commit_some(&ledger, &outcome, outcome.count, &plan.seed);
        ledger_check(&ledger, &data);
        ledger_free(&ledger);
        outcome_free(&outcome);
        data_free(&data);
    }
}

/* All pieces of a run are committed; they hold what the input has. */
static void check_complete(const struct plan *plan, const struct data *data, const struct outcome *outcome)
{
    struct ledger ledger = {0};
    unsigned seed = plan->seed;

    if (outcome->status != STATUS_OK)
        fail_msg("%s", outcome->error.text);
    ledger_commit_some(&ledger, outcome, outcome->count, &seed);
    ledger_check(&ledger, data);
    ledger_free(&ledger);
}

/* A disordered input of fifteen times the memory: with a spill a piece a range, without it trickles. */
static void test_spill(void **state)
{
    static const enum order orders[] = {SHUFFLED, BY_HOST};
    struct plan plan = {
        .seed = base_seed(),
        .rows = 80000,
        .payload = 300,
        .quotes = true,
        .block_size = 4096,
        .pool_bytes = 256 << 10,
        .memory_bytes = 256 << 10,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    for (int i = 0; i < 2; i++) {
        plan.order = orders[i];
        plan.spill_bytes = 64 << 20;
        data_make(&data, &plan);
        assert_true((int64_t)data.input.size > 15 * plan.pool_bytes);
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        check_complete(&plan, &data, &outcome);
        /* The first host's rows are in order, and the others' cannot be foreseen. */
        assert_in_range(outcome.count, UNTIL_RANGES, plan.order == SHUFFLED ? UNTIL_RANGES : 2 * UNTIL_RANGES);
        assert_true(outcome.spilled > 0);
        outcome_free(&outcome);
        plan.spill_bytes = 0;
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        check_complete(&plan, &data, &outcome);
        assert_true(outcome.count > 5 * UNTIL_RANGES);
        outcome_free(&outcome);
        data_free(&data);
    }
}

/* Order needs no spill, and is not made to wait for one. */
static void test_spill_ordered(void **state)
{
    struct plan plan = {
        .seed = base_seed(),
        .order = ORDERED,
        .rows = 40000,
        .payload = 300,
        .block_size = 4096,
        .pool_bytes = 256 << 10,
        .memory_bytes = 256 << 10,
        .spill_bytes = 64 << 20,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    data_make(&data, &plan);
    run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
    check_complete(&plan, &data, &outcome);
    assert_int_equal(outcome.spilled, 0);
    outcome_free(&outcome);
    data_free(&data);
}

/* A spill that is full is like none, but for what it could take. */
static void test_spill_full(void **state)
{
    struct plan plan = {
        .seed = base_seed(),
        .order = SHUFFLED,
        .rows = 40000,
        .payload = 300,
        .block_size = 4096,
        .pool_bytes = 256 << 10,
        .memory_bytes = 256 << 10,
        .spill_bytes = 512 << 10,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    data_make(&data, &plan);
    for (plan.slow = false;; plan.slow = true) {
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        check_complete(&plan, &data, &outcome);
        assert_true(outcome.spilled > 0);
        assert_true(outcome.count > UNTIL_RANGES);
        outcome_free(&outcome);
        if (plan.slow)
            break;
    }
    data_free(&data);
}

/* ---- Inputs that end badly ---- */

static struct plan small_plan(bool stream)
{
    return (struct plan){
        .block_size = 4096,
        .pool_bytes = 65536,
        .memory_bytes = 65536,
        .rows = 1,
        .payload = 1,
        .stream = stream,
    };
}

static void input_from(struct input *input, char *text)
{
    int64_t line = 1;

    *input = (struct input){.text = text, .size = strlen(text), .lines = calloc(strlen(text) + 1, sizeof(int64_t))};
    assert_non_null(input->lines);
    for (size_t i = 0; i < input->size; i++) {
        input->lines[i] = line;
        line += text[i] == '\n';
    }
}

static void check_failure(char *text, bool header, const char *words, int64_t line, int64_t offset)
{
    for (int stream = 0; stream < 2; stream++) {
        struct plan plan = small_plan(stream == 1);
        struct outcome outcome;
        struct input input;

        plan.header = header;
        input_from(&input, text);
        run_router(&plan, &input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_DATA);
        if (strstr(outcome.error.text, words) == NULL)
            fail_msg("\"%s\" is not in: %s", words, outcome.error.text);
        assert_int_equal(outcome.error.line, line);
        assert_int_equal(outcome.error.offset, offset);
        assert_string_equal(outcome.error.input, "input.csv");
        outcome_free(&outcome);
        free(input.lines);
    }
}

static void test_bad_records(void **state)
{
    static char large[40000];

    (void)state;
    check_failure("time,x\n1,a\n,b\n", true, "\"time\" (field 1) is NULL", 3, 11);
    check_failure("1,a\n,b\n", false, "(field 1) is NULL", 2, 4);
    check_failure("1,a\n\n2,b\n", false, "is NULL", 2, 4);
    check_failure("1,a\n\"\",b\n", false, "is empty", 2, 4);
    check_failure("1,\"a\n\n\"\nyesterday,b\n", false, "\"yesterday\"", 4, 8);
    check_failure("1,a\n2,b\r\n", false, "carriage return", 2, 4);
    check_failure("1,a\n\\.\n2,b\n", false, "put quotes around it", 2, 4);
    check_failure("1,a\n2,x\n3,\"b\n\n", false, "the quote opens in line 3", 3, 8);
    memset(large, 'x', sizeof large - 1);
    memcpy(large, "1,a\n2,", 6);
    check_failure(large, false, "raise --memory", 2, 4);
    large[7] = '"';
    check_failure(large, false, "opens in line 2", 2, 4);
}

static void test_empty(void **state)
{
    static char *const texts[] = {"time,x\n", "time,x", "", "\xef\xbb\xbf", "\xef\xbb\xbftime,x\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts * 2; i++) {
        struct plan plan = small_plan(i % 2 == 1);
        struct outcome outcome;
        struct input input;

        plan.header = strlen(texts[i / 2]) > 3;
        input_from(&input, texts[i / 2]);
        run_router(&plan, &input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_OK);
        assert_int_equal(outcome.count, 0);
        outcome_free(&outcome);
        free(input.lines);
    }
}

/* Standard input that is not the one of the first run: other bytes, or fewer. */
static void test_other_stream(void **state)
{
    struct plan plan = plan_make(1);
    struct ledger ledger = {0};
    struct outcome outcome;
    struct data data;
    int64_t most = 0;
    char *byte;

    (void)state;
    plan =
        (struct plan){.seed = 5, .order = SHUFFLED, .rows = 2000, .payload = 100, .stream = true, .block_size = 4096};
    plan.pool_bytes = plan.memory_bytes = 1 << 16;
    data_make(&data, &plan);
    run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
    assert_int_equal(outcome.status, STATUS_OK);
    assert_true(outcome.count > 60);
    ledger_commit_some(&ledger, &outcome, outcome.count / 2, &plan.seed);
    outcome_free(&outcome);
    for (size_t i = 0; i < ledger.marks.count; i++)
        most = ledger.marks.list[i].mark > most ? ledger.marks.list[i].mark : most;
    byte = memchr(data.input.text + most - 200, 'a', 200);
    assert_non_null(byte);
    *byte = 'b';
    run_router(&plan, &data.input, ledger.frontier, &ledger.marks, &outcome);
    assert_int_equal(outcome.status, STATUS_DATA);
    assert_non_null(strstr(outcome.error.text, "it differs before byte"));
    outcome_free(&outcome);
    *byte = 'a';
    data.input.size = (size_t)most - 1;
    run_router(&plan, &data.input, ledger.frontier, &ledger.marks, &outcome);
    assert_int_equal(outcome.status, STATUS_DATA);
    assert_non_null(strstr(outcome.error.text, "it ends at byte"));
    outcome_free(&outcome);
    ledger_free(&ledger);
    data_free(&data);
}

/* A stop wakes the reader from a silent pipe and from its wait for a block; what it had is given back (pool_free
 * asserts). */
static void test_stop(void **state)
{
    struct plan plan = {
        .seed = 11,
        .order = SHUFFLED,
        .rows = 3000,
        .payload = 100,
        .stream = true,
        .block_size = 4096,
        .pool_bytes = 1 << 16,
        .memory_bytes = 1 << 16,
    };
    struct outcome outcome;
    struct data data;

    (void)state;
    data_make(&data, &plan);
    for (int i = 0; i < 2; i++) {
        plan.idle = i == 0;
        plan.stuck = i == 1;
        run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
        assert_int_equal(outcome.status, STATUS_STOPPED);
        outcome_free(&outcome);
    }
    data_free(&data);
}

/* A record of several lines at each place around the edge of a block and of the input's buffer. */
static void check_edge(size_t pad, const char *line_end, bool stream)
{
    struct plan plan = {
        .rows = 3, .stream = stream, .block_size = 4096, .pool_bytes = 1 << 16, .memory_bytes = 1 << 15};
    size_t room = pad + 200;
    char *text = malloc(room);
    struct data data = {.input = {.text = text}, .count = 3, .records = calloc(3, sizeof *data.records)};
    struct ledger ledger = {0};
    struct outcome outcome;
    int64_t line = 1;
    size_t used = 0;

    assert_true(text != NULL && data.records != NULL);
    for (int i = 0; i < 3; i++) {
        data.records[i] = (struct record){.at = used, .time = 5 + i};
        used += (size_t)snprintf(text + used, room - used, "%d,", 5 + i);
        if (i == 0) {
            memset(text + used, 'x', pad);
            used += pad;
        }
        used += (size_t)snprintf(text + used, room - used, "\"a\nb\"\"\r\nc\n\n\"\"\"%s", line_end);
        data.records[i].size = used - data.records[i].at;
    }
    data.input.size = used;
    data.input.lines = calloc(used + 1, sizeof(int64_t));
    assert_non_null(data.input.lines);
    for (size_t i = 0; i < used; i++) {
        data.input.lines[i] = line;
        line += text[i] == '\n';
    }
    run_router(&plan, &data.input, (struct input_position){0}, NULL, &outcome);
    if (outcome.status != STATUS_OK)
        fail_msg("pad %zu: %s", pad, outcome.error.text);
    ledger_commit_some(&ledger, &outcome, outcome.count, &plan.seed);
    ledger_check(&ledger, &data);
    ledger_free(&ledger);
    outcome_free(&outcome);
    data_free(&data);
}

static void test_edges(void **state)
{
    /* A block keeps room for marks. The buffer has 8192 bytes here. */
    static const struct {
        size_t from, to;
    } pads[] = {{4096 - 140, 4096 + 10}, {8192 - 80, 8192 - 20}};

    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++)
        for (size_t pad = pads[i].from; pad < pads[i].to; pad++)
            for (int turn = 0; turn < 4; turn++)
                check_edge(pad, turn % 2 == 0 ? "\n" : "\r\n", turn < 2);
    (void)state;
}

static void test_grown_file(void **state)
{
    struct plan plan = small_plan(false);
    char grown[] = "1,a\n2,b\n1,x\n";
    struct outcome outcome;
    struct input input;

    (void)state;
    plan.grows = true;
    input_from(&input, grown);
    input.size -= 4;
    run_router(&plan, &input, (struct input_position){0}, NULL, &outcome);
    assert_int_equal(outcome.status, STATUS_DATA);
    assert_non_null(strstr(outcome.error.text, "changed while it was being read"));
    outcome_free(&outcome);
    free(input.lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),     cmocka_unit_test(test_large_memory), cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_other_stream), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_grown_file), cmocka_unit_test(test_spill),        cmocka_unit_test(test_spill_ordered),
        cmocka_unit_test(test_spill_full), cmocka_unit_test(test_edges),
    };

    /* That a spill is full is what many plans are for. */
    log_level_set(LOG_WARNING);
    alarm(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
