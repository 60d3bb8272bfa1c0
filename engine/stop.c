/* Stopping: levels, wakers, the signal thread. */
#include "engine/stop.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

struct watch {
    pthread_mutex_t *mutex;
    pthread_cond_t *cond;
};

struct stop {
    _Atomic int level;
    int fd, drain_fd;
    pthread_mutex_t mutex; /* guards watches, and the wait in stop_wait */
    pthread_cond_t cond;
    struct watch *watches;
    int watch_count, watch_room;
};

enum status stop_create(struct stop **result, struct error *error)
{
    struct stop *stop = calloc(1, sizeof *stop);
    pthread_condattr_t attributes;

    if (stop == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    stop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    stop->drain_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop->fd < 0 || stop->drain_fd < 0) {
        error_set_errno(error, STATUS_SYSTEM, "cannot make an eventfd");
        close(stop->fd);
        close(stop->drain_fd);
        free(stop);
        return STATUS_SYSTEM;
    }
    pthread_mutex_init(&stop->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&stop->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    *result = stop;
    return STATUS_OK;
}

void stop_free(struct stop *stop)
{
    if (stop == NULL)
        return;
    close(stop->fd);
    close(stop->drain_fd);
    pthread_cond_destroy(&stop->cond);
    pthread_mutex_destroy(&stop->mutex);
    free(stop->watches);
    free(stop);
}

void stop_request(struct stop *stop, enum stop_level level)
{
    uint64_t one = 1;
    int before;

    pthread_mutex_lock(&stop->mutex);
    before = stop->level;
    if ((int)level <= before) {
        pthread_mutex_unlock(&stop->mutex);
        return;
    }
    stop->level = (int)level;
    pthread_cond_broadcast(&stop->cond);
    if (before == STOP_RUN && write(stop->drain_fd, &one, sizeof one) < 0)
        assert(!"an eventfd takes its first number");
    if (level == STOP_ABORT && write(stop->fd, &one, sizeof one) < 0)
        assert(!"an eventfd takes its first number");
    /* Under our lock, so that none is destroyed meanwhile; nobody who holds one of theirs asks for ours. */
    for (int i = 0; i < stop->watch_count; i++) {
        pthread_mutex_lock(stop->watches[i].mutex);
        pthread_cond_broadcast(stop->watches[i].cond);
        pthread_mutex_unlock(stop->watches[i].mutex);
    }
    pthread_mutex_unlock(&stop->mutex);
}

void stop_unwatch(struct stop *stop, const pthread_cond_t *cond)
{
    pthread_mutex_lock(&stop->mutex);
    for (int i = 0; i < stop->watch_count; i++)
        if (stop->watches[i].cond == cond)
            stop->watches[i--] = stop->watches[--stop->watch_count];
    pthread_mutex_unlock(&stop->mutex);
}

enum stop_level stop_level(const struct stop *stop)
{
    return (enum stop_level)stop->level;
}

int stop_fd(const struct stop *stop)
{
    return stop->fd;
}

int stop_drain_fd(const struct stop *stop)
{
    return stop->drain_fd;
}

void stop_watch(struct stop *stop, pthread_mutex_t *mutex, pthread_cond_t *cond)
{
    pthread_mutex_lock(&stop->mutex);
    if (stop->watch_count == stop->watch_room) {
        stop->watch_room = stop->watch_room * 2 + 16;
        stop->watches = reallocarray(stop->watches, (size_t)stop->watch_room, sizeof *stop->watches);
        /* Who is not woken could wait for ever. */
        if (stop->watches == NULL)
            abort();
    }
    stop->watches[stop->watch_count++] = (struct watch){mutex, cond};
    pthread_mutex_unlock(&stop->mutex);
}

bool stop_wait(struct stop *stop, int64_t ms, enum stop_level level)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&stop->mutex);
    while (stop->level < (int)level)
        if (pthread_cond_timedwait(&stop->cond, &stop->mutex, &until) != 0)
            break;
    pthread_mutex_unlock(&stop->mutex);
    return stop->level >= (int)level;
}

struct signals {
    struct stop *stop;
    void (*notice)(enum stop_level level);
    pthread_t thread;
    sigset_t before; /* the mask that signals_finish restores */
    int signal_fd;
    int end_fd; /* readable: the thread is to end */
};

static void *signals_main(void *argument)
{
    struct signals *signals = argument;
    struct pollfd waits[2] = {{.fd = signals->signal_fd, .events = POLLIN}, {.fd = signals->end_fd, .events = POLLIN}};
    struct signalfd_siginfo info;

    while (poll(waits, 2, -1) >= 0 && !(waits[1].revents & POLLIN)) {
        enum stop_level level = stop_level(signals->stop) == STOP_RUN ? STOP_DRAIN : STOP_ABORT;

        if (read(signals->signal_fd, &info, sizeof info) != sizeof info)
            continue;
        signals->notice(level);
        stop_request(signals->stop, level);
    }
    return NULL;
}

enum status signals_start(struct stop *stop, void (*notice)(enum stop_level level), struct signals **result,
                          struct error *error)
{
    struct signals *signals = calloc(1, sizeof *signals);
    sigset_t set;

    if (signals == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signals->stop = stop;
    signals->notice = notice;
    signals->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signals->end_fd = eventfd(0, EFD_CLOEXEC);
    pthread_sigmask(SIG_BLOCK, &set, &signals->before);
    if (signals->signal_fd < 0 || signals->end_fd < 0 ||
        pthread_create(&signals->thread, NULL, signals_main, signals) != 0) {
        pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
        close(signals->signal_fd);
        close(signals->end_fd);
        free(signals);
        return error_set(error, STATUS_SYSTEM, "cannot start the signal thread");
    }
    *result = signals;
    return STATUS_OK;
}

void signals_finish(struct signals *signals)
{
    uint64_t one = 1;

    if (signals == NULL)
        return;
    if (write(signals->end_fd, &one, sizeof one) < 0)
        assert(!"an eventfd takes its first number");
    pthread_join(signals->thread, NULL);
    close(signals->signal_fd);
    close(signals->end_fd);
    free(signals);
}
