/* Listening to commands. */
#include "readers/chatter.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/log.h"
#include "engine/stats.h"

/* As much as an error has room for beside its own words. */
#define TAIL_SIZE 2048
/* Of those who have escaped us and go on speaking, no more is heard at the end than a pipe may hold. */
#define FINISH_MAX ((size_t)1 << 20)
#define LINE_MAX_SHOWN 500
/* Lines of all commands together: so many at once, then one for each further second. */
#define BURST 10
#define LINE_NS INT64_C(1000000000)

struct chatter {
    const char *name;
    int fd;
    int finish_fd; /* readable: no more is to be waited for */
    int end_fd;    /* readable: the pipe is at its end */
    pthread_t thread;
    char tail[TAIL_SIZE]; /* a ring; `said` counts all bytes that went in */
    uint64_t said;
    char line[LINE_MAX_SHOWN]; /* the line that is being said */
    size_t line_size;
    bool cut;
};

/* The log is one for all commands, so its limit is, too. */
static struct {
    pthread_mutex_t mutex;
    int64_t next_ns; /* when the line after the burst may come */
    int64_t dropped;
} limit = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Whether a line may be logged now, and how many were left out since the last one. */
static bool limit_take(int64_t *dropped)
{
    int64_t now = stats_now_ns();
    bool allowed;

    pthread_mutex_lock(&limit.mutex);
    if (limit.next_ns < now - BURST * LINE_NS)
        limit.next_ns = now - BURST * LINE_NS;
    allowed = limit.next_ns < now;
    *dropped = allowed ? limit.dropped : 0;
    limit.dropped = allowed ? 0 : limit.dropped + 1;
    if (allowed)
        limit.next_ns += LINE_NS;
    pthread_mutex_unlock(&limit.mutex);
    return allowed;
}

static bool is_high_control(char c)
{
    return (unsigned char)c >= 0x80 && (unsigned char)c < 0xa0;
}

/* Bytes that a terminal would obey are written out: \x1b. What is above them may be any encoding's letters. */
static size_t escape(const char *from, size_t size, char *to, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < size && used + 5 < room; i++) {
        unsigned char byte = (unsigned char)from[i];
        /* U+0080 to U+009F, in two bytes of UTF-8. */
        bool control = (byte == 0xc2 && i + 1 < size && is_high_control(from[i + 1])) ||
                       (i > 0 && (unsigned char)from[i - 1] == 0xc2 && is_high_control(from[i]));

        if (byte == '\t' || byte == '\n' || (byte >= 0x20 && byte != 0x7f && !control))
            to[used++] = from[i];
        else if (byte != '\r')
            used += (size_t)snprintf(to + used, room - used, "\\x%02x", byte);
    }
    to[used] = '\0';
    return used;
}

static void line_log(struct chatter *chatter)
{
    char shown[LINE_MAX_SHOWN * 4 + 8];
    int64_t dropped;

    if (chatter->line_size > 0 && limit_take(&dropped)) {
        escape(chatter->line, chatter->line_size, shown, sizeof shown);
        if (dropped > 0)
            log_line(LOG_NOTICE, "commands said %lld more lines, which are left out here", (long long)dropped);
        log_line(LOG_NOTICE, "%s says: %s%s", chatter->name, shown, chatter->cut ? " …" : "");
    }
    chatter->line_size = 0;
    chatter->cut = false;
}

static void take(struct chatter *chatter, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        chatter->tail[chatter->said++ % TAIL_SIZE] = text[i];
        if (text[i] == '\n')
            line_log(chatter);
        else if (chatter->line_size < sizeof chatter->line)
            chatter->line[chatter->line_size++] = text[i];
        else
            chatter->cut = true;
    }
}

static void *chatter_main(void *argument)
{
    struct chatter *chatter = argument;
    struct pollfd waits[2] = {{.fd = chatter->fd, .events = POLLIN}, {.fd = chatter->finish_fd, .events = POLLIN}};
    char text[16384];
    uint64_t one = 1;
    size_t at_finish = 0;
    ssize_t got = -1;

    while (got != 0 && at_finish < FINISH_MAX) {
        bool finishing;

        if (poll(waits, 2, -1) < 0)
            continue;
        finishing = waits[1].revents != 0;
        got = read(chatter->fd, text, sizeof text);
        if (got > 0) {
            take(chatter, text, (size_t)got);
            at_finish += finishing ? (size_t)got : 0;
        } else if (got < 0 && errno != EINTR && (errno != EAGAIN || finishing)) {
            break;
        }
    }
    line_log(chatter);
    if (write(chatter->end_fd, &one, sizeof one) < 0)
        assert(!"an eventfd takes its first number");
    return NULL;
}

enum status chatter_start(int fd, const char *name, struct chatter **result, struct error *error)
{
    struct chatter *chatter = calloc(1, sizeof *chatter);

    if (chatter == NULL) {
        close(fd);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    chatter->name = name;
    chatter->fd = fd;
    chatter->finish_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    chatter->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (chatter->finish_fd < 0 || chatter->end_fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        error_set_errno(error, STATUS_SYSTEM, "cannot listen to %s", name);
    else if (pthread_create(&chatter->thread, NULL, chatter_main, chatter) != 0)
        error_set(error, STATUS_SYSTEM, "cannot start a thread for %s", name);
    if (error->status != STATUS_OK) {
        chatter_free(chatter);
        return error->status;
    }
    *result = chatter;
    return STATUS_OK;
}

int chatter_end_fd(const struct chatter *chatter)
{
    return chatter->end_fd;
}

void chatter_finish(struct chatter *chatter)
{
    uint64_t one = 1;

    if (write(chatter->finish_fd, &one, sizeof one) < 0)
        assert(!"an eventfd takes its first number");
    pthread_join(chatter->thread, NULL);
}

void chatter_tell(const struct chatter *chatter, struct error *error)
{
    size_t size = chatter->said < TAIL_SIZE ? (size_t)chatter->said : TAIL_SIZE;
    char last[TAIL_SIZE], shown[TAIL_SIZE + 512];
    const char *from = last;

    for (size_t i = 0; i < size; i++)
        last[i] = chatter->tail[(chatter->said - size + i) % TAIL_SIZE];
    while (size > 0 && (last[size - 1] == '\n' || last[size - 1] == '\r'))
        size--;
    /* A line whose begin is lost is left out, unless it is the only one. */
    if (chatter->said > TAIL_SIZE && memchr(last, '\n', size) != NULL)
        from = (const char *)memchr(last, '\n', size) + 1;
    size -= (size_t)(from - last);
    if (size == 0)
        return;
    escape(from, size, shown, sizeof shown);
    error_hint(error, "; its last words:\n%s", shown);
}

void chatter_free(struct chatter *chatter)
{
    if (chatter == NULL)
        return;
    close(chatter->fd);
    close(chatter->finish_fd);
    close(chatter->end_fd);
    free(chatter);
}
