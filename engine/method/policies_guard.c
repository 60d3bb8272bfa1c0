/*
 * The guard around a load: pauses, and holds on until the load has ended, however that comes.
 *
 * Its connection does nothing but hold the advisory lock that says that this run lives. A thread sleeps on its socket:
 * when the server or the network closes it, the thread connects again and takes the lock anew, and pauses once more
 * what others may have restored in between, who took this run for dead. (Even in between retention drops nothing that
 * was loaded: whoever restores looks at the ledger.)
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "engine/log.h"
#include "engine/method/policies_private.h"
#include "engine/pg/pg.h"
#include "writers/ledger_state.h"

struct policies_guard {
    struct policies_guard_spec spec;
    struct stop *end; /* of the guard alone: raised when the load has ended */
    struct pg *pg;    /* the thread's while it runs */
    pthread_t thread;
    bool watching;
    struct policies_switch how;
};

static const struct pg_setting no_settings[] = {{NULL, NULL}};

/* A new connection is a new holder; the one before is dead and goes. */
static enum status take(struct policies_guard *guard, size_t *paused, struct error *error)
{
    struct policies_restored ignored;
    enum status status = pg_connect(guard->pg, error);

    if (status == STATUS_OK)
        status = policies_hold(guard->pg, &guard->how.key, error);
    if (status == STATUS_OK)
        status = policies_pause(guard->pg, &guard->how, paused, error);
    /* What is ours by now is not restored by this; whatever else the dead have held is. */
    if (status == STATUS_OK) {
        struct policies_switch dead = guard->how;

        dead.key = 0;
        dead.waits = false;
        status = policies_restore(guard->pg, &dead, false, &ignored, error);
    }
    return status;
}

/* Whether what this guard holds is all there still, under the key of before. */
static enum status retake(struct policies_guard *guard, struct error *error)
{
    char *hold = ledger_state_table(guard->spec.ledger, "policy_hold"), *found = NULL;
    struct sql sql = {0};
    size_t paused;
    enum status status = pg_connect(guard->pg, error);

    /* What a person switched on meanwhile stays on: the hold is there, and so nothing is paused anew. */
    sql_add(&sql, "SELECT 1 FROM %s WHERE key = %d AND pg_catalog.pg_try_advisory_lock(%d, %d) LIMIT 1", hold,
            guard->how.key, POLICIES_LOCK_CLASS, guard->how.key);
    free(hold);
    if (status == STATUS_OK)
        status = pg_value(guard->pg, sql.text, &found, error);
    sql_reset(&sql);
    if (status == STATUS_OK && found == NULL) {
        status = take(guard, &paused, error);
        if (status == STATUS_OK && paused > 0)
            log_line(LOG_WARNING,
                     "policies of %s had been restored while the connection to the target was lost: paused again",
                     guard->spec.table->sql);
    }
    free(found);
    return status;
}

static void come_back(struct policies_guard *guard)
{
    struct retry retry;
    struct error error;
    enum status status;

    retry_init(&retry, INT64_MAX / 4, 7);
    for (;;) {
        error_reset(&error);
        status = retake(guard, &error);
        if (status == STATUS_OK)
            return;
        if (status != STATUS_TRANSIENT || stop_wait(guard->end, retry_next(&retry), STOP_DRAIN)) {
            if (stop_level(guard->end) == STOP_RUN)
                log_line(LOG_WARNING, "policies may run again while the load goes on: %s", error.text);
            return;
        }
    }
}

static void *watch(void *argument)
{
    struct policies_guard *guard = argument;

    while (stop_level(guard->end) == STOP_RUN) {
        struct pollfd waits[2] = {{.fd = stop_drain_fd(guard->end), .events = POLLIN}, {.fd = -1, .events = POLLIN}};

        if (pg_connected(guard->pg))
            waits[1].fd = PQsocket(pg_conn(guard->pg));
        if (poll(waits, 2, -1) < 0 && errno != EINTR)
            break;
        if (waits[0].revents != 0)
            break;
        if (waits[1].revents == 0)
            continue;
        if (PQconsumeInput(pg_conn(guard->pg)) && PQstatus(pg_conn(guard->pg)) == CONNECTION_OK)
            continue;
        pg_disconnect(guard->pg);
        come_back(guard);
    }
    return NULL;
}

static enum status begin(struct policies_guard *guard, size_t *paused, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, guard->spec.retry_ms, 5);
    while ((status = take(guard, paused, error)) == STATUS_TRANSIENT) {
        int64_t pause_ms = retry_next(&retry);

        if (pause_ms < 0 || stop_wait(guard->spec.stop, pause_ms, STOP_DRAIN))
            return status;
        error_reset(error);
    }
    return status;
}

static void guard_free(struct policies_guard *guard)
{
    pg_free(guard->pg);
    stop_free(guard->end);
    free(guard);
}

enum status policies_guard_start(const struct policies_guard_spec *spec, struct policies_guard **guard,
                                 struct error *error)
{
    struct policies_guard *made = calloc(1, sizeof *made);
    struct error second;
    enum status status;
    size_t paused = 0;

    *guard = NULL;
    if (made == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    made->spec = *spec;
    made->how = (struct policies_switch){.ledger = spec->ledger,
                                         .table = spec->table,
                                         .holder = spec->ledger->job,
                                         .allow_drop = spec->allow_drop,
                                         .waits = true};
    status = stop_create(&made->end, error);
    if (status == STATUS_OK)
        status = pg_create(spec->target, no_settings, made->end, &made->pg, error);
    if (status != STATUS_OK) {
        guard_free(made);
        return status;
    }
    status = begin(made, &paused, error);
    if (status == STATUS_OK && paused > 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s paused while it is loaded", paused, paused == 1 ? "y" : "ies",
                 spec->table->sql);
    if (status == STATUS_OK)
        status = policies_wait(made->pg, spec->ledger, spec->table, spec->stop, error);
    if (status == STATUS_OK && pthread_create(&made->thread, NULL, watch, made) != 0)
        status = error_set(error, STATUS_SYSTEM, "no thread for the guard of policies");
    made->watching = status == STATUS_OK;
    *guard = made;
    if (status == STATUS_OK)
        return STATUS_OK;
    error_reset(&second);
    if (policies_guard_end(made, &second) != STATUS_OK)
        log_line(LOG_WARNING, "%s", second.text);
    *guard = NULL;
    return status;
}

static enum status restore(struct policies_guard *guard, struct policies_restored *restored, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, guard->spec.retry_ms, 11);
    for (;;) {
        int64_t pause_ms;

        error_reset(error);
        status = pg_connect(guard->pg, error);
        if (status == STATUS_OK)
            status = policies_restore(guard->pg, &guard->how, false, restored, error);
        if (status != STATUS_TRANSIENT || (pause_ms = retry_next(&retry)) < 0)
            return status;
        if (stop_wait(guard->spec.stop, pause_ms, STOP_ABORT))
            return status;
    }
}

enum status policies_guard_end(struct policies_guard *guard, struct error *error)
{
    struct policies_restored restored = {0};
    enum status status = STATUS_OK;

    if (guard == NULL)
        return STATUS_OK;
    stop_request(guard->end, STOP_DRAIN);
    if (guard->watching)
        pthread_join(guard->thread, NULL);
    if (guard->how.key != 0)
        status = restore(guard, &restored, error);
    if (status != STATUS_OK)
        error_hint(error, "\npolicies of %s are still paused: hyperfill policies restore --target … --table %s.%s",
                   guard->spec.table->sql, guard->spec.table->schema, guard->spec.table->name);
    else if (restored.on > 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s restored", restored.on, restored.on == 1 ? "y" : "ies",
                 guard->spec.table->sql);
    if (status == STATUS_OK && restored.held > 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s stay%s paused: another run or a person still wants that", restored.held,
                 restored.held == 1 ? "y" : "ies", guard->spec.table->sql, restored.held == 1 ? "s" : "");
    guard_free(guard);
    return status;
}

enum status policies_take_over(struct pg *pg, const struct ledger *ledger, const struct table *table, bool allow_drop,
                               struct error *error)
{
    const struct policies_switch how = {.ledger = ledger, .table = table, .allow_drop = allow_drop, .waits = true};
    struct policies_restored restored = {0};
    enum status status;

    if (table->kind != TABLE_HYPERTABLE || !table->community)
        return STATUS_OK;
    status = policies_restore(pg, &how, false, &restored, error);
    if (status == STATUS_OK && restored.on > 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s, which a run that was killed had left paused, restored", restored.on,
                 restored.on == 1 ? "y" : "ies", table->sql);
    return status;
}
