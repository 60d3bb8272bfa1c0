/* Sessions, and threads that share what there is to do. */
#include <stdlib.h>

#include "engine/log.h"
#include "engine/method/verify_private.h"

/* ---- Sessions */

enum status verify_pair_open(const struct verify *verify, struct rowhash_pair *pair, struct error *error)
{
    const struct verify_spec *spec = verify->spec;
    struct rowhash_way way = rowhash_choose(spec->tables[SOURCE], spec->tables[TARGET]);
    struct pg_setting *settings = calloc(7, sizeof *settings);
    enum status status = STATUS_OK;

    *pair = (struct rowhash_pair){.way = way, .settings = settings, .throttle = spec->throttle};
    if (settings == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    /* Ranges are what is done in parallel, and the role's own settings must not matter. */
    settings[0] = (struct pg_setting){"client_encoding", way.encoding};
    settings[1] = (struct pg_setting){"timezone", "UTC"};
    settings[2] = (struct pg_setting){"default_transaction_read_only", "on"};
    settings[3] = (struct pg_setting){"lock_timeout", "10s"};
    settings[4] = (struct pg_setting){"max_parallel_workers_per_gather", "0"};
    settings[5] = (struct pg_setting){"jit", "off"};
    for (int side = 0; side < 2 && status == STATUS_OK; side++) {
        pair->table[side] = (struct rowhash_table){spec->tables[side], verify->select_list, spec->time_index};
        status = pg_create(spec->addresses[side], settings, spec->stop, &pair->pg[side], error);
    }
    return status;
}

void verify_pair_close(struct rowhash_pair *pair)
{
    pg_free(pair->pg[SOURCE]);
    pg_free(pair->pg[TARGET]);
    free(pair->settings);
    *pair = (struct rowhash_pair){0};
}

bool verify_again(const struct verify *verify, struct retry *retry, enum status status, struct error *error)
{
    int64_t pause_ms;

    if (status != STATUS_TRANSIENT || (pause_ms = retry_next(retry)) < 0)
        return false;
    log_line(LOG_WARNING, "%s: trying again", error->text);
    if (stop_wait(verify->spec->stop, pause_ms, STOP_DRAIN))
        return false;
    error_reset(error);
    return true;
}

/* ---- Threads that share what there is to do */

/* False when all is taken, or nothing more is to be done. */
static bool work_take(struct verify_work *work, size_t *index)
{
    struct verify *verify = work->verify;
    bool taken;

    pthread_mutex_lock(&verify->lock);
    taken =
        verify->failure.status == STATUS_OK && stop_level(verify->spec->stop) == STOP_RUN && verify->next < work->count;
    if (taken)
        *index = verify->next++;
    pthread_mutex_unlock(&verify->lock);
    return taken;
}

static enum status work_do(struct verify_work *work, struct error *error)
{
    struct verify *verify = work->verify;
    struct rowhash_pair pair;
    struct retry retry;
    size_t index;
    enum status status = verify_pair_open(verify, &pair, error);

    while (status == STATUS_OK && work_take(work, &index)) {
        retry_init(&retry, verify->spec->retry_ms, index + 1);
        do
            status = work->one(verify, &pair, index, error);
        while (status != STATUS_OK && verify_again(verify, &retry, status, error));
    }
    verify_pair_close(&pair);
    return status;
}

static void *work_main(void *argument)
{
    struct verify_work *work = argument;
    struct verify *verify = work->verify;
    struct error error;

    error_reset(&error);
    if (work_do(work, &error) == STATUS_OK)
        return NULL;
    pthread_mutex_lock(&verify->lock);
    if (verify->failure.status == STATUS_OK)
        verify->failure = error;
    pthread_mutex_unlock(&verify->lock);
    return NULL;
}

enum status verify_work_run(struct verify_work *work, struct error *error)
{
    struct verify *verify = work->verify;
    size_t wanted = (size_t)verify->spec->jobs < work->count ? (size_t)verify->spec->jobs : work->count;
    pthread_t *threads = calloc(wanted + 1, sizeof *threads);
    size_t started = 0;

    verify->next = 0;
    if (threads == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    while (started < wanted && pthread_create(&threads[started], NULL, work_main, work) == 0)
        started++;
    if (started == 0 && wanted > 0)
        error_set(error, STATUS_SYSTEM, "cannot start a thread");
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    if (verify->failure.status != STATUS_OK && verify->failure.status != STATUS_STOPPED)
        *error = verify->failure;
    else if (error->status == STATUS_OK && (verify->next < work->count || verify->failure.status == STATUS_STOPPED))
        error_set(error, STATUS_STOPPED, "stopped after %zu of %zu ranges", verify->report->ranges_done,
                  verify->report->ranges);
    return error->status;
}
