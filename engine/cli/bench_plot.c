/*
 * A picture of the measurements by gnuplot, run without a shell: its script is in a file without a name that is its
 * standard input, what it draws is its standard output. So no path has to be quoted for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/cli/bench.h"
#include "engine/log.h"

#define GNUPLOT_TIMEOUT_MS 30000

extern char **environ;

static void write_script(const struct bench *bench, FILE *script)
{
    fputs("$rates << END\n", script);
    for (int i = 0; i < bench->level_count; i++) {
        const struct bench_level *level = &bench->levels[i];

        fprintf(script, "%d %.0f %.0f %.0f\n", level->jobs, bench_rate(level, BENCH_READ),
                bench_rate(level, BENCH_WRITE), bench_rate(level, BENCH_BOTH));
    }
    fputs("END\n"
          "set terminal svg size 900,500 background '#ffffff'\n"
          "set title 'hyperfill bench'\n"
          "set xlabel 'writers (--jobs)'\n"
          "set ylabel 'rows a second'\n"
          "set logscale x 2\n"
          "set logscale y\n" /* reading may be far faster than writing */
          "set format y '%.0s%c'\n"
          "set xtics (",
          script);
    for (int i = 0; i < bench->level_count; i++)
        fprintf(script, "%s%d", i > 0 ? ", " : "", bench->levels[i].jobs);
    fputs(")\n"
          "set key outside right top vertical\n"
          "set grid\n"
          "plot $rates using 1:2 with linespoints lw 2 title 'read alone', "
          "$rates using 1:3 with linespoints lw 2 title 'write alone', "
          "$rates using 1:4 with linespoints lw 3 title 'both'\n",
          script);
}

/* Its descriptor, to be read from the beginning; -1 if that fails. */
static int make_script(const struct bench *bench)
{
    int fd = memfd_create("hyperfill-bench", MFD_CLOEXEC), copy = fd >= 0 ? dup(fd) : -1;
    FILE *script = copy >= 0 ? fdopen(copy, "w") : NULL;

    if (script == NULL) {
        if (copy >= 0)
            close(copy);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    write_script(bench, script);
    if (fclose(script) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    close(fd);
    return -1;
}

static int spawn_gnuplot(int script, int svg, pid_t *pid)
{
    char *const words[] = {(char *)"gnuplot", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    int failed = posix_spawn_file_actions_init(&actions);

    if (failed != 0)
        return failed;
    posix_spawnattr_init(&attributes);
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    failed = posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, svg, STDOUT_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (failed == 0)
        failed = posix_spawnp(pid, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* True if it ended well; it is killed when it takes too long or the user stops. */
static bool wait_for_gnuplot(pid_t pid, struct stop *stop)
{
    int pidfd = pidfd_open(pid, 0), wait_status = 0;
    struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = stop_drain_fd(stop), .events = POLLIN}};

    if (pidfd < 0 || poll(fds, 2, GNUPLOT_TIMEOUT_MS) <= 0 || fds[0].revents == 0)
        kill(pid, SIGKILL);
    if (pidfd >= 0)
        close(pidfd);
    return waitpid(pid, &wait_status, 0) == pid && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
}

enum status bench_plot(const struct bench *bench, const char *path, struct error *error)
{
    int svg = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int script = svg >= 0 ? make_script(bench) : -1, failed = 0;
    enum status status = STATUS_OK;
    pid_t pid;

    if (svg < 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot write %s", path);
    if (script < 0)
        status = error_set_errno(error, STATUS_SYSTEM, "cannot write a script for gnuplot");
    else
        failed = spawn_gnuplot(script, svg, &pid);
    if (status == STATUS_OK && failed == 0 && wait_for_gnuplot(pid, bench->stop)) {
        printf(", %s\n", path);
    } else {
        unlink(path);
        printf("\n");
        fflush(stdout);
        if (failed == ENOENT)
            log_line(LOG_NOTICE, "no plot: gnuplot is not installed (Debian: gnuplot-nox)");
        else if (status == STATUS_OK)
            log_line(LOG_WARNING, "no plot: gnuplot did not end well");
    }
    if (script >= 0)
        close(script);
    close(svg);
    return status;
}
