/* Running commands. */
#include "readers/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/stats.h"
#include "readers/chatter.h"

/* Between SIGTERM and SIGKILL; and how long a silent command is waited for once the run is to stop. */
#define GRACE_MS 1000
#define SHELL "/bin/sh"

/*
 * The command begins only when its guard is there: the word for it comes through descriptor 3, and if hyperfill dies
 * before, that is at its end. What is exec'ed keeps the process and its group.
 */
static const char gate_script[] = "read -r word <&3 || exit 125; exec 3<&-; exec " SHELL " -c \"$1\"";
/* Its input ends when hyperfill does. */
static const char guard_script[] = "read -r word; kill -s KILL -- \"-$1\"";

extern char **environ;

struct process {
    const char *name;
    pid_t pid, guard; /* the leader of the group, and who watches it; 0: none, or reaped */
    int pidfd;        /* readable once the leader has ended */
    int output;
    int gate, lifeline; /* writing ends: to the leader, to the guard */
    struct chatter *chatter;
    bool ended;
    int wait_status; /* once it has ended */
};

/* ---- Starting ---- */

static enum status pipe_make(int *reading, int *writing, struct error *error)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot make a pipe");
    *reading = fds[0];
    *writing = fds[1];
    return STATUS_OK;
}

/* Runs a script of ours with the given descriptors as 0 to 3 (-1: /dev/null) and nothing else of ours. */
static int spawn(const char *script, const char *argument, const int fds[4], bool deaf, pid_t *pid)
{
    char *const words[] = {(char *)"sh", (char *)"-c", (char *)script, (char *)"sh", (char *)argument, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, mask;
    int failed = posix_spawn_file_actions_init(&actions);

    if (failed != 0)
        return failed;
    posix_spawnattr_init(&attributes);
    sigfillset(&all);
    sigemptyset(&mask);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, deaf ? &all : &mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    for (int i = 0; i < 4 && failed == 0; i++)
        failed = fds[i] >= 0 ? posix_spawn_file_actions_adddup2(&actions, fds[i], i)
                             : posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    if (failed == 0)
        failed = posix_spawn(pid, SHELL, &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

static enum status spawned(int failed, pid_t *pid, const char *name, struct error *error)
{
    if (failed == 0)
        return STATUS_OK;
    *pid = 0;
    errno = failed;
    return error_set_errno(error, STATUS_SYSTEM, "cannot start " SHELL " for %s", name);
}

static enum status start_command(struct process *process, const char *command, struct error *error)
{
    int fds[4] = {-1, -1, -1, -1}, listen = -1;
    enum status status = pipe_make(&process->output, &fds[1], error);

    if (status == STATUS_OK)
        status = pipe_make(&listen, &fds[2], error);
    if (status == STATUS_OK)
        status = pipe_make(&fds[3], &process->gate, error);
    if (status == STATUS_OK)
        status = spawned(spawn(gate_script, command, fds, false, &process->pid), &process->pid, process->name, error);
    for (int i = 1; i < 4; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (status == STATUS_OK)
        return chatter_start(listen, process->name, &process->chatter, error);
    if (listen >= 0)
        close(listen);
    return status;
}

/* It is deaf to all signals that can be blocked: those for the terminal's group or for the command are not for it. */
static enum status start_guard(struct process *process, struct error *error)
{
    int fds[4] = {-1, -1, -1, -1};
    enum status status = pipe_make(&fds[0], &process->lifeline, error);
    char group[32];

    if (status != STATUS_OK)
        return status;
    snprintf(group, sizeof group, "%ld", (long)process->pid);
    status = spawned(spawn(guard_script, group, fds, true, &process->guard), &process->guard, process->name, error);
    close(fds[0]);
    return status;
}

static enum status open_gate(struct process *process, struct error *error)
{
    process->pidfd = pidfd_open(process->pid, 0);
    if (process->pidfd < 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot watch %s", process->name);
    if (write(process->gate, "\n", 1) != 1)
        return error_set_errno(error, STATUS_SYSTEM, "cannot start %s", process->name);
    close(process->gate);
    process->gate = -1;
    return STATUS_OK;
}

enum status process_start(const char *command, const char *name, struct process **result, struct error *error)
{
    struct process *process = calloc(1, sizeof *process);
    enum status status;

    if (process == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    process->name = name;
    process->pidfd = process->output = process->gate = process->lifeline = -1;
    status = start_command(process, command, error);
    if (status == STATUS_OK)
        status = start_guard(process, error);
    if (status == STATUS_OK)
        status = open_gate(process, error);
    if (status != STATUS_OK) {
        process_free(process);
        return status;
    }
    *result = process;
    return STATUS_OK;
}

int process_output(const struct process *process)
{
    return process->output;
}

/* ---- Waiting ---- */

static enum status stopped(const struct process *process, struct error *error)
{
    return error_set(error, STATUS_STOPPED, "stopped while waiting for %s", process->name);
}

/* Until the descriptor is readable. */
static enum status wait_for(const struct process *process, int fd, struct stop *stop, struct error *error)
{
    for (;;) {
        enum stop_level level = stop != NULL ? stop_level(stop) : STOP_RUN;
        struct pollfd fds[2] = {
            {.fd = fd, .events = POLLIN},
            {.fd = stop == NULL        ? -1
                   : level == STOP_RUN ? stop_drain_fd(stop)
                                       : stop_fd(stop),
             .events = POLLIN},
        };
        int ready;

        if (level == STOP_ABORT)
            return stopped(process, error);
        ready = poll(fds, 2, level == STOP_RUN ? -1 : GRACE_MS);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(error, STATUS_SYSTEM, "cannot wait for %s", process->name);
        if (ready == 0)
            return stopped(process, error);
        if (ready > 0 && fds[0].revents != 0)
            return STATUS_OK;
    }
}

enum status process_read(struct process *process, char *buffer, size_t room, struct stop *stop, size_t *got,
                         struct error *error)
{
    ssize_t size;

    *got = 0;
    do {
        enum status status = wait_for(process, process->output, stop, error);

        if (status != STATUS_OK)
            return status;
        size = read(process->output, buffer, room);
    } while (size < 0 && (errno == EINTR || errno == EAGAIN));
    if (size < 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot read the output of %s", process->name);
    *got = (size_t)size;
    return STATUS_OK;
}

/* ---- The end ---- */

static void reap(pid_t *pid, int *wait_status)
{
    while (*pid > 0 && waitpid(*pid, wait_status, 0) < 0 && errno == EINTR)
        ;
    *pid = 0;
}

/*
 * The group's number is the leader's, and nobody else's until that is reaped: so all others go first. What the command
 * has left behind in its group goes with it.
 */
static void end_group(struct process *process)
{
    int ignored;

    if (process->pid > 0)
        kill(-process->pid, SIGKILL);
    if (process->guard > 0)
        kill(process->guard, SIGKILL);
    reap(&process->guard, &ignored);
    reap(&process->pid, &process->wait_status);
    if (process->chatter != NULL && !process->ended)
        chatter_finish(process->chatter);
    process->ended = true;
}

static const char *signal_name(int number)
{
    const char *name = sigabbrev_np(number);

    return name != NULL ? name : "unknown";
}

static enum status judge(const struct process *process, struct error *error)
{
    int code = process->wait_status;

    if (WIFEXITED(code) && WEXITSTATUS(code) == 0)
        return STATUS_OK;
    if (WIFSIGNALED(code))
        error_set(error, STATUS_TRANSIENT, "%s was killed by signal %d (%s)", process->name, WTERMSIG(code),
                  signal_name(WTERMSIG(code)));
    else if (WEXITSTATUS(code) == 127)
        error_set(error, STATUS_USAGE, "%s: the command was not found (exit status 127)", process->name);
    else if (WEXITSTATUS(code) == 126)
        error_set(error, STATUS_USAGE, "%s: the command cannot be executed (exit status 126)", process->name);
    else
        error_set(error, STATUS_TRANSIENT, "%s exited with status %d", process->name, WEXITSTATUS(code));
    if (WIFEXITED(code) && WEXITSTATUS(code) > 128 && sigabbrev_np(WEXITSTATUS(code) - 128) != NULL)
        error_hint(error, ", which a shell says of a command killed by signal %d (%s)", WEXITSTATUS(code) - 128,
                   signal_name(WEXITSTATUS(code) - 128));
    if (process->chatter != NULL)
        chatter_tell(process->chatter, error);
    return error->status;
}

enum status process_wait(struct process *process, struct stop *stop, struct error *error)
{
    if (!process->ended) {
        enum status status = wait_for(process, process->pidfd, stop, error);

        if (status != STATUS_OK)
            return status;
        end_group(process);
    }
    return judge(process, error);
}

/* Asks the group to end, and gives it a moment: the leader, and whoever else can still speak. */
static void ask_to_end(const struct process *process)
{
    int64_t until = stats_now_ns() + GRACE_MS * INT64_C(1000000);
    const int fds[2] = {process->pidfd, chatter_end_fd(process->chatter)};

    if (process->pid <= 0 || kill(-process->pid, SIGTERM) != 0)
        return;
    for (int i = 0; i < 2; i++) {
        struct pollfd fd = {.fd = fds[i], .events = POLLIN};
        int64_t left = (until - stats_now_ns()) / 1000000;

        while (left > 0 && poll(&fd, 1, (int)left) < 0 && errno == EINTR)
            left = (until - stats_now_ns()) / 1000000;
    }
}

void process_free(struct process *process)
{
    const int fds[] = {process != NULL ? process->output : -1, process != NULL ? process->gate : -1,
                       process != NULL ? process->lifeline : -1, process != NULL ? process->pidfd : -1};

    if (process == NULL)
        return;
    if (!process->ended && process->pidfd >= 0)
        ask_to_end(process);
    end_group(process);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    chatter_free(process->chatter);
    free(process);
}
