/*
 * The guard around a load: pauses, and holds on until the load has ended, however that comes.
 *
 * Its connection, one for all tables of a job, does little but hold the advisory lock that says that this run lives. A
 * thread sleeps on its socket: when the server or the network closes it, the thread connects again and takes the lock
 * anew, and pauses once more what others may have restored in between, who took this run for dead. (Even in between
 * retention drops nothing that was loaded: whoever restores looks at the ledger.) Whoever adds or releases a table
 * meanwhile uses the same connection under the mutex, and wakes the thread, as the socket may be another one then.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/log.h"
#include "engine/method/policies_private.h"
#include "engine/pg/pg.h"
#include "writers/ledger_state.h"

struct policies_guard {
    struct policies_guard_spec spec;
    struct stop *end; /* of the guard alone: raised when the load has ended */
    pthread_t thread;
    bool watching;
    int wake;              /* eventfd: look at the connection anew */
    pthread_mutex_t mutex; /* guards all below */
    struct pg *pg;
    int key;                      /* of the lock; 0: not taken yet */
    struct policies_switch *held; /* of each table; all have the key */
    size_t count;
};

static const struct pg_setting no_settings[] = {{NULL, NULL}};

/* ---- With the mutex held ---- */

/* Pauses and tells how many; what the dead have held of the table is restored, but not what is ours by now. */
static enum status take(struct policies_guard *guard, struct policies_switch *how, size_t *paused, struct error *error)
{
    struct policies_restored ignored;
    struct policies_switch dead = *how;
    enum status status;

    how->key = guard->key;
    dead.key = 0;
    dead.waits = false;
    status = policies_pause(guard->pg, how, paused, error);
    return status == STATUS_OK ? policies_restore(guard->pg, &dead, false, &ignored, error) : status;
}

/* Whether what this guard holds of the table is there still, under the key of before. What a person has switched on
 * meanwhile stays on then: the hold is there, and so nothing is paused anew. */
static enum status is_held(struct policies_guard *guard, const struct policies_switch *how, bool *held,
                           struct error *error)
{
    char *hold = ledger_state_table(how->ledger, "policy_hold"), *policy = ledger_state_table(how->ledger, "policy");
    struct sql sql = {0};
    char *found = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1 FROM %s h JOIN %s p USING (job_id) WHERE h.key = %d AND p.table_oid = %u LIMIT 1", hold,
            policy, guard->key, how->table->oid);
    status = pg_value(guard->pg, sql.text, &found, error);
    *held = found != NULL;
    sql_reset(&sql);
    free(found);
    free(hold);
    free(policy);
    return status;
}

static enum status retake(struct policies_guard *guard, struct policies_switch *how, struct error *error)
{
    size_t paused = 0;
    bool held = false;
    enum status status = is_held(guard, how, &held, error);

    if (status == STATUS_OK && !held)
        status = take(guard, how, &paused, error);
    if (status == STATUS_OK && paused > 0)
        log_line(LOG_WARNING,
                 "policies of %s had been restored while the connection to the target was lost: paused again",
                 how->table->sql);
    return status;
}

/* The lock of before, unless another session has it: that may be our own, which the server has not given up yet. */
static enum status take_lock(struct policies_guard *guard, struct error *error)
{
    struct sql sql = {0};
    char *got = NULL;
    enum status status = STATUS_OK;

    sql_add(&sql, "SELECT 1 WHERE pg_catalog.pg_try_advisory_lock(%d, %d)", POLICIES_LOCK_CLASS, guard->key);
    if (guard->key != 0)
        status = pg_value(guard->pg, sql.text, &got, error);
    if (status == STATUS_OK && got == NULL)
        status = policies_hold(guard->pg, &guard->key, error);
    sql_reset(&sql);
    free(got);
    return status;
}

/* A connection that holds all there is to hold. One that does not come to its end is closed: whoever comes next begins
 * anew. */
static enum status hold_on(struct policies_guard *guard, struct error *error)
{
    enum status status;

    if (pg_connected(guard->pg))
        return STATUS_OK;
    status = pg_connect(guard->pg, error);
    if (status == STATUS_OK)
        status = take_lock(guard, error);
    for (size_t i = 0; i < guard->count && status == STATUS_OK; i++)
        status = retake(guard, &guard->held[i], error);
    if (status != STATUS_OK)
        pg_disconnect(guard->pg);
    return status;
}

/* ---- The thread ---- */

/* False: it has been given up. */
static bool come_back(struct policies_guard *guard)
{
    struct retry retry;
    struct error error;
    enum status status;

    retry_init(&retry, INT64_MAX / 4, 7);
    for (;;) {
        error_reset(&error);
        pthread_mutex_lock(&guard->mutex);
        status = hold_on(guard, &error);
        pthread_mutex_unlock(&guard->mutex);
        if (status == STATUS_OK)
            return true;
        if (status != STATUS_TRANSIENT || stop_wait(guard->end, retry_next(&retry), STOP_DRAIN)) {
            if (stop_level(guard->end) == STOP_RUN)
                log_line(LOG_WARNING, "policies may run again while the load goes on: %s", error.text);
            return false;
        }
    }
}

/* -1: the connection is lost, here or by who used it last. */
static int socket_of(struct policies_guard *guard)
{
    int socket;

    pthread_mutex_lock(&guard->mutex);
    socket = pg_connected(guard->pg) ? PQsocket(pg_conn(guard->pg)) : -1;
    pthread_mutex_unlock(&guard->mutex);
    return socket;
}

/* What has come on the socket may be its end. */
static void take_input(struct policies_guard *guard)
{
    pthread_mutex_lock(&guard->mutex);
    if (pg_connected(guard->pg) && !(PQconsumeInput(pg_conn(guard->pg)) && pg_connected(guard->pg)))
        pg_disconnect(guard->pg);
    pthread_mutex_unlock(&guard->mutex);
}

static void *watch(void *argument)
{
    struct policies_guard *guard = argument;
    bool given_up = false;

    while (stop_level(guard->end) == STOP_RUN) {
        struct pollfd waits[3] = {{.fd = stop_drain_fd(guard->end), .events = POLLIN},
                                  {.fd = guard->wake, .events = POLLIN},
                                  {.fd = socket_of(guard), .events = POLLIN}};
        eventfd_t count;

        if (waits[2].fd < 0 && !given_up) {
            given_up = !come_back(guard);
            continue;
        }
        if (poll(waits, 3, -1) < 0 && errno != EINTR)
            break;
        if (waits[0].revents != 0)
            break;
        if (waits[1].revents != 0)
            (void)eventfd_read(guard->wake, &count);
        if (waits[2].revents != 0)
            take_input(guard);
    }
    return NULL;
}

static enum status begin_watch(struct policies_guard *guard, struct error *error)
{
    if (guard->watching) {
        (void)eventfd_write(guard->wake, 1);
        return STATUS_OK;
    }
    if (pthread_create(&guard->thread, NULL, watch, guard) != 0)
        return error_set(error, STATUS_SYSTEM, "no thread for the guard of policies");
    guard->watching = true;
    return STATUS_OK;
}

/* ---- For the load ---- */

enum status policies_guard_create(const struct policies_guard_spec *spec, struct policies_guard **guard,
                                  struct error *error)
{
    struct policies_guard *made = calloc(1, sizeof *made);
    enum status status;

    *guard = NULL;
    if (made == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    made->spec = *spec;
    pthread_mutex_init(&made->mutex, NULL);
    made->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status = made->wake < 0 ? error_set_errno(error, STATUS_SYSTEM, "no eventfd") : STATUS_OK;
    if (status == STATUS_OK)
        status = stop_create(&made->end, error);
    if (status == STATUS_OK)
        status = pg_create(spec->target, no_settings, made->end, &made->pg, error);
    if (status == STATUS_OK)
        *guard = made;
    else
        policies_guard_free(made);
    return status;
}

/* Pauses, and waits for what runs already. A running job may take hours, in which the connection may be lost. */
static enum status pause_and_wait(struct policies_guard *guard, struct policies_switch *how, size_t *paused,
                                  struct retry *retry, struct error *error)
{
    size_t before = *paused;
    enum status status = hold_on(guard, error);

    if (status == STATUS_OK)
        status = take(guard, how, paused, error);
    if (status != STATUS_OK)
        return status;
    retry_init(retry, guard->spec.retry_ms, 5);
    if (*paused > 0 && before == 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s paused while it is loaded", *paused, *paused == 1 ? "y" : "ies",
                 how->table->sql);
    return policies_wait(guard->pg, how->ledger, how->table, guard->spec.stop, error);
}

static enum status begin(struct policies_guard *guard, struct policies_switch *how, struct error *error)
{
    struct retry retry;
    size_t paused = 0;
    enum status status;

    retry_init(&retry, guard->spec.retry_ms, 5);
    for (;;) {
        int64_t pause_ms;

        status = pause_and_wait(guard, how, &paused, &retry, error);
        if (status != STATUS_TRANSIENT || (pause_ms = retry_next(&retry)) < 0 ||
            stop_wait(guard->spec.stop, pause_ms, STOP_DRAIN))
            return status;
        error_reset(error);
    }
}

static enum status add(struct policies_guard *guard, const struct policies_switch *how, struct error *error)
{
    struct policies_switch *more = realloc(guard->held, (guard->count + 1) * sizeof *more), *own;
    enum status status;

    if (more == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    guard->held = more;
    own = &more[guard->count];
    *own = *how;
    status = begin(guard, own, error);
    /* Held also where it has failed in the middle: it is the caller's to let go. */
    guard->count++;
    return status;
}

enum status policies_guard_add(struct policies_guard *guard, const struct ledger *ledger, const struct table *table,
                               struct error *error)
{
    const struct policies_switch how = {
        .ledger = ledger, .table = table, .holder = ledger->job, .allow_drop = guard->spec.allow_drop, .waits = true};
    struct error second;
    enum status status;

    pthread_mutex_lock(&guard->mutex);
    status = add(guard, &how, error);
    pthread_mutex_unlock(&guard->mutex);
    if (status == STATUS_OK)
        status = begin_watch(guard, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    error_reset(&second);
    if (policies_guard_release(guard, table, &second) != STATUS_OK)
        log_line(LOG_WARNING, "%s", second.text);
    return status;
}

/* Out of the list first: what is to be restored is not to be paused again on the way. */
static bool take_out(struct policies_guard *guard, const struct table *table, struct policies_switch *how)
{
    for (size_t i = 0; i < guard->count; i++)
        if (guard->held[i].table == table) {
            *how = guard->held[i];
            guard->held[i] = guard->held[--guard->count];
            return true;
        }
    return false;
}

static enum status restore(struct policies_guard *guard, const struct policies_switch *how,
                           struct policies_restored *restored, struct error *error)
{
    struct retry retry;
    enum status status;

    retry_init(&retry, guard->spec.retry_ms, 11);
    for (;;) {
        int64_t pause_ms;

        error_reset(error);
        status = hold_on(guard, error);
        if (status == STATUS_OK)
            status = policies_restore(guard->pg, how, false, restored, error);
        if (status != STATUS_TRANSIENT || (pause_ms = retry_next(&retry)) < 0)
            return status;
        if (stop_wait(guard->spec.stop, pause_ms, STOP_ABORT))
            return status;
    }
}

static void tell(const struct policies_restored *restored, const struct table *table)
{
    if (restored->on > 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s restored", restored->on, restored->on == 1 ? "y" : "ies", table->sql);
    if (restored->held > 0)
        log_line(LOG_NOTICE, "%zu polic%s of %s stay%s paused: another run or a person still wants that",
                 restored->held, restored->held == 1 ? "y" : "ies", table->sql, restored->held == 1 ? "s" : "");
}

enum status policies_guard_release(struct policies_guard *guard, const struct table *table, struct error *error)
{
    struct policies_restored restored = {0};
    struct policies_switch how;
    enum status status = STATUS_OK;

    if (guard == NULL)
        return STATUS_OK;
    pthread_mutex_lock(&guard->mutex);
    if (take_out(guard, table, &how) && how.key != 0)
        status = restore(guard, &how, &restored, error);
    pthread_mutex_unlock(&guard->mutex);
    (void)eventfd_write(guard->wake, 1);
    if (status != STATUS_OK)
        error_hint(error, "\npolicies of %s are still paused: hyperfill policies restore --target … --table %s.%s",
                   table->sql, table->schema, table->name);
    else
        tell(&restored, table);
    return status;
}

void policies_guard_free(struct policies_guard *guard)
{
    if (guard == NULL)
        return;
    assert(guard->count == 0);
    if (guard->watching) {
        stop_request(guard->end, STOP_DRAIN);
        pthread_join(guard->thread, NULL);
    }
    pg_free(guard->pg);
    stop_free(guard->end);
    if (guard->wake >= 0)
        close(guard->wake);
    pthread_mutex_destroy(&guard->mutex);
    free(guard->held);
    free(guard);
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
