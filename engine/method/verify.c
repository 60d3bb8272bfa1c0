/* The comparison of a window from its plan to its report. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"
#include "engine/method/verify_private.h"
#include "engine/stats.h"

/* How long what is on its way to the other side may take. */
#define SECOND_LOOK_MS 1000
/* Rows that come while they are repaired may need it again. */
#define REPAIRS_MAX 3

/* ---- First look */

static enum status note_differences(struct verify *verify, const struct verify_stretches *stretches,
                                    struct error *error)
{
    struct verify_report *report = verify->report;
    size_t count = report->difference_count + stretches->count;
    struct verify_difference *all = realloc(report->differences, (count + 1) * sizeof *all);

    if (all == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    report->differences = all;
    for (size_t i = 0; i < stretches->count; i++)
        all[report->difference_count++] = (struct verify_difference){.range = stretches->items[i]};
    verify->first_look_ns = stats_now_ns();
    return STATUS_OK;
}

/* A range that was compared, and the stretches of it that differ. */
static enum status note_range(struct verify *verify, size_t index, const int64_t rows[2],
                              const struct verify_stretches *stretches, bool settled, struct error *error)
{
    struct verify_report *report = verify->report;
    enum status status = STATUS_OK;

    pthread_mutex_lock(&verify->lock);
    report->ranges_done++;
    report->rows[SOURCE] += rows[SOURCE];
    report->rows[TARGET] += rows[TARGET];
    report->settled += settled;
    if (stretches->count > 0)
        status = note_differences(verify, stretches, error);
    else if (verify->memory != NULL)
        verify_memory_add(verify->memory, verify->ranges[index], rows[SOURCE]);
    if (verify->spec->progress != NULL)
        verify->spec->progress(verify->spec->progress_context, report);
    pthread_mutex_unlock(&verify->lock);
    return status;
}

static enum status first_look(struct verify *verify, struct rowhash_pair *pair, size_t index, struct error *error)
{
    struct rowhash_parts whole = {.range = verify->ranges[index], .step = UINT64_MAX, .count = 1};
    struct rowhash(*hashes)[ROWHASH_PARTS_MAX];
    struct verify_stretches stretches = {0};
    int64_t rows[2] = {0};
    enum status status;
    bool equal = false;

    if (verify->equal[index])
        return STATUS_OK;
    hashes = calloc(2, sizeof *hashes);
    if (hashes == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = rowhash_take(pair, &whole, hashes, error);
    if (status == STATUS_OK) {
        equal = rowhash_equal(&hashes[SOURCE][0], &hashes[TARGET][0]);
        rows[SOURCE] = hashes[SOURCE][0].rows;
        rows[TARGET] = hashes[TARGET][0].rows;
    }
    free(hashes);
    if (status == STATUS_OK && !equal)
        status = verify_narrow(pair, whole.range, time_type_unit(verify->spec->tables[TARGET]->time.type), &stretches,
                               error);
    if (status == STATUS_OK)
        status = note_range(verify, index, rows, &stretches, !equal && stretches.count == 0, error);
    free(stretches.items);
    return status;
}

/* What earlier calls have found. */
static void take_known(struct verify *verify)
{
    struct verify_report *report = verify->report;

    report->ranges = verify->count;
    for (size_t i = 0; verify->memory != NULL && i < verify->count; i++) {
        int64_t rows;

        verify->equal[i] = verify_memory_knows(verify->memory, verify->ranges[i], &rows);
        if (!verify->equal[i])
            continue;
        report->ranges_before++;
        report->ranges_done++;
        report->rows[SOURCE] += rows;
        report->rows[TARGET] += rows;
    }
}

/* ---- Second look */

static enum status second_look(struct verify *verify, struct rowhash_pair *pair, size_t index, struct error *error)
{
    bool same;

    return verify_rows(verify, pair, &verify->report->differences[index], &same, error);
}

static bool differs(const struct verify_difference *difference)
{
    return difference->missing + difference->extra + difference->different > 0 || difference->more;
}

static int compare_differences(const void *a, const void *b)
{
    const struct verify_difference *one = a, *other = b;

    return (one->range.lo > other->range.lo) - (one->range.lo < other->range.lo);
}

static enum status look_again(struct verify *verify, struct error *error)
{
    struct verify_report *report = verify->report;
    struct verify_work work = {verify, report->difference_count, second_look};
    int64_t passed_ms = (stats_now_ns() - verify->first_look_ns) / 1000000;
    size_t kept = 0;
    enum status status;

    if (report->difference_count == 0)
        return STATUS_OK;
    if (passed_ms < SECOND_LOOK_MS)
        (void)stop_wait(verify->spec->stop, SECOND_LOOK_MS - passed_ms, STOP_DRAIN);
    status = verify_work_run(&work, error);
    /* What was not looked at again is no finding. */
    for (size_t i = 0; i < report->difference_count; i++) {
        if (differs(&report->differences[i]))
            report->differences[kept++] = report->differences[i];
        else
            report->settled += status == STATUS_OK;
    }
    report->difference_count = report->open = kept;
    qsort(report->differences, kept, sizeof *report->differences, compare_differences);
    return status;
}

/* ---- Repair */

/* A key that a dual write has just put there, too, is no failure: the next look tells. */
static enum status repair_once(struct verify *verify, struct verify_difference *difference, int round,
                               struct error *error)
{
    const struct verify_spec *spec = verify->spec;
    enum status status = spec->repair(spec->repair_context, difference->range, error);

    if (status == STATUS_OK || strcmp(error->sqlstate, "23505") != 0 || round + 1 == REPAIRS_MAX)
        return status;
    log_line(LOG_NOTICE, "%s: looking again", error->text);
    error_reset(error);
    return STATUS_OK;
}

static enum status see_repaired(struct verify *verify, struct rowhash_pair *pair, struct verify_difference *difference,
                                struct error *error)
{
    struct verify_difference after = {.range = difference->range};
    enum status status = verify_rows(verify, pair, &after, &difference->repaired, error);

    verify_difference_clear(&after);
    return status;
}

/* All that are not repaired yet: loads them again, or looks whether they are as in the source. */
static enum status repair_each(struct verify *verify, struct rowhash_pair *pair, int round, bool look,
                               struct error *error)
{
    struct verify_report *report = verify->report;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < report->difference_count && status == STATUS_OK; i++) {
        struct verify_difference *difference = &report->differences[i];
        struct retry retry;

        if (difference->repaired)
            continue;
        if (!throttle_enter(verify->spec->throttle) || stop_level(verify->spec->stop) != STOP_RUN)
            return error_set(error, STATUS_STOPPED, "stopped with %zu of %zu stretches repaired",
                             report->difference_count - report->open, report->difference_count);
        retry_init(&retry, verify->spec->retry_ms, i + 1);
        do
            status =
                look ? see_repaired(verify, pair, difference, error) : repair_once(verify, difference, round, error);
        while (status != STATUS_OK && verify_again(verify, &retry, status, error));
        report->open -= difference->repaired;
    }
    return status;
}

/*
 * What the source has got since it was copied, or a dual write has put into the target since it was emptied, is seen by
 * a look that comes as late as the second one: of a row that is on its way to both sides one may be there already.
 */
static enum status repair_all(struct verify *verify, struct error *error)
{
    struct rowhash_pair pair;
    enum status status = verify_pair_open(verify, &pair, error);

    for (int round = 0; round < REPAIRS_MAX && verify->report->open > 0 && status == STATUS_OK; round++) {
        status = repair_each(verify, &pair, round, false, error);
        if (status == STATUS_OK)
            (void)stop_wait(verify->spec->stop, SECOND_LOOK_MS, STOP_DRAIN);
        if (status == STATUS_OK)
            status = repair_each(verify, &pair, round, true, error);
    }
    verify_pair_close(&pair);
    return status;
}

/* ---- All of it */

static enum status prepare_once(struct verify *verify, struct rowhash_pair *pair, struct range window,
                                struct error *error)
{
    const struct verify_spec *spec = verify->spec;
    enum status status = verify_find_key(verify, pair, error);

    if (status == STATUS_OK)
        status = verify_plan(verify, pair, window, error);
    if (status == STATUS_OK && spec->identity != NULL)
        status = verify_memory_open(spec, window, &verify->memory, &verify->report->before, error);
    return status;
}

static enum status prepare(struct verify *verify, struct range window, struct error *error)
{
    struct rowhash_pair pair;
    struct retry retry;
    enum status status = verify_pair_open(verify, &pair, error);

    retry_init(&retry, verify->spec->retry_ms, 1);
    if (status == STATUS_OK)
        do
            status = prepare_once(verify, &pair, window, error);
        while (status != STATUS_OK && verify_again(verify, &retry, status, error));
    verify_pair_close(&pair);
    if (status == STATUS_OK)
        take_known(verify);
    return status;
}

static enum status compare_all(struct verify *verify, struct error *error)
{
    struct verify_work work = {verify, verify->count, first_look};
    struct retry retry;
    enum status status = verify_work_run(&work, error);

    if (status == STATUS_OK)
        status = look_again(verify, error);
    if (status == STATUS_OK && verify->spec->repair != NULL && verify->report->open > 0)
        status = repair_all(verify, error);
    if (verify->memory == NULL)
        return status;
    if (status != STATUS_OK) {
        verify_memory_flush(verify->memory);
        return status;
    }
    retry_init(&retry, verify->spec->retry_ms, 1);
    do
        status = verify_memory_finish(verify->memory, error);
    while (status != STATUS_OK && verify_again(verify, &retry, status, error));
    return status;
}

enum status verify_window(const struct verify_spec *spec, struct range window, struct verify_report *report,
                          struct error *error)
{
    struct verify verify = {.spec = spec, .report = report, .lock = PTHREAD_MUTEX_INITIALIZER};
    enum status status;

    assert(spec->jobs > 0 && spec->column_count > 0);
    *report = (struct verify_report){0};
    error_reset(&verify.failure);
    verify.select_list = pg_identifiers(spec->columns, spec->column_count);
    status = prepare(&verify, window, error);
    if (status == STATUS_OK)
        status = compare_all(&verify, error);
    verify_memory_close(verify.memory);
    free(verify.select_list);
    free(verify.ranges);
    free(verify.equal);
    pthread_mutex_destroy(&verify.lock);
    return status;
}

void verify_report_reset(struct verify_report *report)
{
    for (size_t i = 0; i < report->difference_count; i++)
        verify_difference_clear(&report->differences[i]);
    free(report->differences);
    free(report->before);
    *report = (struct verify_report){0};
}
