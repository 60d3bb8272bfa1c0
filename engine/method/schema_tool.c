/* Finding and running pg_dump. */
#include "engine/method/schema_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/log.h"

#define DEBIAN_FOLDERS "/usr/lib/postgresql/*/bin"
#define ARGUMENTS_MAX 65536
/* What is kept of what it says on standard error. */
#define WORDS_MAX 1500

extern char **environ;

/* ---- Running */

struct child {
    pid_t pid;
    int output, words; /* reading ends; -1 at their end */
};

static enum status child_start(struct child *child, char *const *arguments, char *const *environment,
                               struct error *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int out[2], err[2], failed;
    sigset_t all, none;

    if (pipe2(out, O_CLOEXEC) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot make a pipe");
    if (pipe2(err, O_CLOEXEC) != 0) {
        close(out[0]);
        close(out[1]);
        return error_set_errno(error, STATUS_SYSTEM, "cannot make a pipe");
    }
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    /* A session of its own: the terminal's Ctrl-C is for us, and there is no terminal to ask a password on. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    failed = posix_spawn(&child->pid, arguments[0], &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(out[1]);
    close(err[1]);
    *child = (struct child){.pid = failed == 0 ? child->pid : 0, .output = out[0], .words = err[0]};
    if (failed == 0)
        return STATUS_OK;
    close(out[0]);
    close(err[0]);
    errno = failed;
    return error_set_errno(error, STATUS_SYSTEM, "cannot start %s", arguments[0]);
}

/* Takes what is there; closes the descriptor at its end. */
static void child_take(int *fd, struct sql *text)
{
    char buffer[65536];
    ssize_t size = read(*fd, buffer, sizeof buffer - 1);

    if (size < 0 && errno == EINTR)
        return;
    if (size <= 0) {
        close(*fd);
        *fd = -1;
        return;
    }
    buffer[size] = '\0';
    sql_add(text, "%s", buffer);
}

static enum status child_listen(struct child *child, struct sql *output, struct sql *words, struct stop *stop,
                                struct error *error)
{
    while (child->output >= 0 || child->words >= 0) {
        struct pollfd fds[3] = {{.fd = child->output, .events = POLLIN},
                                {.fd = child->words, .events = POLLIN},
                                {.fd = stop_drain_fd(stop), .events = POLLIN}};

        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return error_set_errno(error, STATUS_SYSTEM, "cannot wait for pg_dump");
        if (stop_level(stop) >= STOP_DRAIN)
            return error_set(error, STATUS_STOPPED, "stopped while waiting for pg_dump");
        if (fds[0].revents != 0)
            child_take(&child->output, output);
        if (fds[1].revents != 0)
            child_take(&child->words, words);
    }
    return STATUS_OK;
}

static enum status child_end(struct child *child, const char *name, const struct sql *words, struct error *error)
{
    size_t skipped = words->size > WORDS_MAX ? words->size - WORDS_MAX : 0;
    int code = 0;

    while (waitpid(child->pid, &code, 0) < 0 && errno == EINTR)
        ;
    if (code == 0)
        return STATUS_OK;
    error_set(error, STATUS_SERVER, "%s ended with %s %d", name, WIFSIGNALED(code) ? "signal" : "status",
              WIFSIGNALED(code) ? WTERMSIG(code) : WEXITSTATUS(code));
    if (words->size > 0)
        error_hint(error, ": %s", words->text + skipped);
    return error->status;
}

static enum status run(char *const *arguments, char *const *environment, struct sql *output, struct stop *stop,
                       struct error *error)
{
    struct sql words = {0};
    struct child child;
    enum status status = child_start(&child, arguments, environment, error);

    if (status != STATUS_OK)
        return status;
    status = child_listen(&child, output, &words, stop, error);
    if (child.output >= 0)
        close(child.output);
    if (child.words >= 0)
        close(child.words);
    if (status != STATUS_OK) {
        kill(child.pid, SIGKILL);
        while (waitpid(child.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    } else {
        status = child_end(&child, arguments[0], &words, error);
        if (status == STATUS_OK && words.size > 0)
            log_line(LOG_DEBUG, "%s says: %s", arguments[0], words.text);
    }
    sql_reset(&words);
    return status;
}

/* The address without its password, which is put into the environment instead. */
static enum status split_address(const struct pg_address *address, struct sql *shown, struct sql *secret,
                                 struct error *error)
{
    PQconninfoOption *options = PQconninfoParse(address->conninfo, NULL);
    enum status status = STATUS_OK;

    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (option->val == NULL || option->val[0] == '\0')
            continue;
        if (strcmp(option->keyword, "password") == 0) {
            sql_add(secret, "PGPASSWORD=%s", option->val);
        } else if (option->dispchar[0] == '*' ||
                   (strcmp(option->keyword, "dbname") == 0 && pg_is_conninfo(option->val))) {
            status = error_set(error, STATUS_USAGE,
                               "%s: \"%s\" in the address cannot be given to pg_dump without showing it to everybody;"
                               " write it in another way",
                               address->role, option->keyword);
        } else {
            sql_add(shown, "%s%s='", shown->size > 0 ? " " : "", option->keyword);
            for (const char *letter = option->val; *letter != '\0'; letter++)
                sql_add(shown, "%s%c", *letter == '\'' || *letter == '\\' ? "\\" : "", *letter);
            sql_add(shown, "'");
        }
    }
    PQconninfoFree(options);
    return status;
}

/* Ours, but for PGPASSWORD where the address has one. */
static char **environment_with(char *secret)
{
    size_t count = 0, kept = 0;
    char **all;

    while (environ[count] != NULL)
        count++;
    all = calloc(count + 2, sizeof *all);
    if (all == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        if (secret == NULL || strncmp(environ[i], "PGPASSWORD=", 11) != 0)
            all[kept++] = environ[i];
    all[kept] = secret;
    return all;
}

enum status schema_tool_run(const struct schema_tool *tool, const struct pg_address *address,
                            const char *const *arguments, struct sql *output, struct stop *stop, struct error *error)
{
    struct sql shown = {0}, secret = {0};
    char **all = NULL, **environment = NULL;
    size_t count = 0;
    enum status status = split_address(address, &shown, &secret, error);

    while (arguments[count] != NULL)
        count++;
    if (status == STATUS_OK && count > ARGUMENTS_MAX)
        status = error_set(error, STATUS_USAGE, "%s: too many partitions to name to pg_dump", address->role);
    if (status == STATUS_OK) {
        all = calloc(count + 5, sizeof *all);
        if (all == NULL)
            abort();
        all[0] = (char *)tool->path;
        all[1] = (char *)"--no-password";
        all[2] = (char *)"--dbname";
        all[3] = shown.size > 0 ? shown.text : (char *)"";
        memcpy(all + 4, arguments, count * sizeof *all);
        environment = environment_with(secret.text);
        status = run(all, environment, output, stop, error);
        if (status != STATUS_OK)
            error_prefix(error, "%s", address->role);
    }
    free(all);
    free(environment);
    if (secret.text != NULL)
        explicit_bzero(secret.text, secret.size);
    sql_reset(&secret);
    sql_reset(&shown);
    return status;
}

/* ---- Finding */

struct search {
    int least, wanted;
    struct schema_tool *best; /* major 0: none yet */
    struct sql seen;          /* for the message */
    struct stop *stop;
};

/* "pg_dump (PostgreSQL) 15.18 (Debian …)"; 0 if it does not say so. */
static int version_of(char *path, struct stop *stop)
{
    char *const arguments[] = {path, (char *)"--version", NULL};
    struct sql said = {0};
    struct error ignored;
    const char *at;
    int major = 0;

    error_reset(&ignored);
    if (run(arguments, environ, &said, stop, &ignored) == STATUS_OK && said.text != NULL) {
        at = strstr(said.text, "(PostgreSQL) ");
        if (at != NULL)
            major = (int)strtol(at + strlen("(PostgreSQL) "), NULL, 10);
    }
    sql_reset(&said);
    return major;
}

/* The first that reads both servers is taken, else the newest. */
static void consider(struct search *search, const char *folder, size_t size)
{
    struct schema_tool tool = {0};

    if (search->best->major >= search->wanted || size == 0 || size + sizeof "/pg_dump" > sizeof tool.path)
        return;
    snprintf(tool.path, sizeof tool.path, "%.*s/pg_dump", (int)size, folder);
    if (access(tool.path, X_OK) != 0)
        return;
    tool.major = version_of(tool.path, search->stop);
    if (tool.major > 0)
        sql_add(&search->seen, "%s%s (%d)", search->seen.size > 0 ? ", " : "", tool.path, tool.major);
    if (tool.major >= search->least && tool.major > search->best->major)
        *search->best = tool;
}

static void search_everywhere(struct search *search)
{
    const char *path = getenv("PATH");
    glob_t found;

    while (path != NULL && *path != '\0') {
        size_t size = strcspn(path, ":");

        consider(search, path, size);
        path += size + (path[size] == ':');
    }
    if (glob(DEBIAN_FOLDERS, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            consider(search, found.gl_pathv[i], strlen(found.gl_pathv[i]));
    globfree(&found);
}

enum status schema_tool_find(const char *folder, int least, int wanted, struct schema_tool *tool, struct stop *stop,
                             struct error *error)
{
    struct search search = {.least = least, .wanted = wanted, .best = tool, .stop = stop};

    *tool = (struct schema_tool){0};
    if (folder != NULL)
        consider(&search, folder, strlen(folder));
    else
        search_everywhere(&search);
    if (tool->major == 0) {
        error_set(error, STATUS_USAGE, "the source is PostgreSQL %d, which needs pg_dump of version %d or later; ",
                  least, least);
        error_hint(error, "%s%s%s. Install postgresql-client-%d, or name its folder with --pg-bin",
                   search.seen.size > 0 ? "found only " : "none was found",
                   search.seen.size > 0 ? search.seen.text : "",
                   folder != NULL && search.seen.size == 0 ? " in the folder that --pg-bin names" : "",
                   wanted > least ? wanted : least);
    }
    sql_reset(&search.seen);
    return tool->major == 0 ? error->status : STATUS_OK;
}
