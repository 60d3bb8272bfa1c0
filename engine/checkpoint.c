/* The checkpoint file: its lock, its atomic replacement, appending to it. */
#include "engine/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint_private.h"

/* Each try is lost only to somebody else's success or glance. */
#define LOCK_TRIES_MAX 1000

struct checkpoint {
    char *path; /* without symbolic links, so that rename replaces the file itself */
    int fd;
    const char *part; /* of several tables: whose lines are appended; NULL: there is one */
    pthread_mutex_t mutex;
    int64_t size; /* guarded by mutex: end of the last whole line; -1 until the first rewrite */
    bool made;    /* by checkpoint_open: the file was not there */
};

/* ---- The lock ---- */

/*
 * Tells a run, which is exclusive, from checkpoint_is_locked, which shares the lock for a moment: that is waited for,
 * a millisecond at a time because flock knows no deadline. False with errno if the lock is not to be had.
 */
static bool lock_take(int fd)
{
    for (int i = 0; i < LOCK_TRIES_MAX; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK || flock(fd, LOCK_SH | LOCK_NB) != 0)
            return false;
        flock(fd, LOCK_UN);
        poll(NULL, 0, 1);
    }
    errno = EWOULDBLOCK;
    return false;
}

/* Between open and flock the path may have been given to another file, by checkpoint_rewrite of another run. */
static bool path_is(const char *path, int fd)
{
    struct stat named, open_file;

    return stat(path, &named) == 0 && fstat(fd, &open_file) == 0 && named.st_dev == open_file.st_dev &&
           named.st_ino == open_file.st_ino;
}

static enum status file_lock(const char *path, int fd, struct error *error)
{
    struct stat file;

    if (fstat(fd, &file) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot look at checkpoint file %s", path);
    if (!S_ISREG(file.st_mode))
        return error_set(error, STATUS_USAGE, "%s is no regular file and cannot be a checkpoint file", path);
    if (lock_take(fd))
        return STATUS_OK;
    if (errno == EWOULDBLOCK)
        return error_set(error, STATUS_USAGE,
                         "checkpoint file %s is in use by another hyperfill; wait until it ends, or name another file",
                         path);
    return error_set_errno(error, STATUS_SYSTEM, "cannot lock checkpoint file %s", path);
}

static enum status file_open_locked(const char *path, int *fd, bool *made, struct error *error)
{
    for (int i = 0; i < LOCK_TRIES_MAX; i++) {
        enum status status;

        *fd = open(path, O_RDWR | O_CLOEXEC);
        *made = *fd < 0 && errno == ENOENT;
        if (*made)
            *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (*fd < 0)
            return error_set_errno(error, STATUS_SYSTEM, "cannot open checkpoint file %s", path);
        status = file_lock(path, *fd, error);
        if (status == STATUS_OK && path_is(path, *fd))
            return STATUS_OK;
        close(*fd);
        if (status != STATUS_OK)
            return status;
    }
    return error_set(error, STATUS_SYSTEM, "cannot lock checkpoint file %s: it keeps being replaced", path);
}

enum status checkpoint_open(const char *path, struct checkpoint **checkpoint, struct error *error)
{
    struct checkpoint *opened = calloc(1, sizeof *opened);
    enum status status;

    *checkpoint = NULL;
    if (opened == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory for checkpoint file %s", path);
    status = file_open_locked(path, &opened->fd, &opened->made, error);
    if (status != STATUS_OK) {
        free(opened);
        return status;
    }
    pthread_mutex_init(&opened->mutex, NULL);
    opened->size = -1;
    opened->path = realpath(path, NULL);
    if (opened->path == NULL) {
        status = error_set_errno(error, STATUS_SYSTEM, "cannot resolve the path of checkpoint file %s", path);
        checkpoint_close(opened);
        return status;
    }
    *checkpoint = opened;
    return STATUS_OK;
}

bool checkpoint_is_locked(const char *path)
{
    bool locked = false;
    bool same = false;

    while (!locked && !same) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
            return false;
        locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        same = path_is(path, fd);
        close(fd);
    }
    return locked;
}

/* While the lock is ours: whoever has opened the same file meanwhile finds the path to be another's. */
static void drop_unused(const struct checkpoint *checkpoint)
{
    if (checkpoint->made && checkpoint->size < 0 && checkpoint->path != NULL &&
        path_is(checkpoint->path, checkpoint->fd))
        unlink(checkpoint->path);
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    drop_unused(checkpoint);
    close(checkpoint->fd);
    pthread_mutex_destroy(&checkpoint->mutex);
    free(checkpoint->path);
    free(checkpoint);
}

/* ---- Writing ---- */

static bool write_at(int fd, const char *text, size_t size, int64_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(fd, text, size, offset);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        text += written;
        size -= (size_t)written;
        offset += written;
    }
    return true;
}

/* Makes a rename durable. Some file systems do not know fsync of a folder. */
static bool folder_sync(const char *path)
{
    char *copy = strdup(path);
    int fd, result;

    if (copy == NULL)
        return false;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (fd < 0)
        return false;
    result = fsync(fd);
    if (result != 0 && errno == EINVAL)
        result = 0;
    close(fd);
    return result == 0;
}

/* Makes the new file, locked and durable, with the rights of the old one. Gives -1 with errno on failure. */
static int file_make(const char *path, int old_fd, const struct lines *lines)
{
    struct stat old;
    int fd, code;

    /* What is there was left by a crash: nobody else writes it while we hold the lock of the checkpoint file. */
    if ((unlink(path) != 0 && errno != ENOENT) || fstat(old_fd, &old) != 0)
        return -1;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (lock_take(fd) && fchmod(fd, old.st_mode & 0777) == 0 && write_at(fd, lines->text, lines->size, 0) &&
        fdatasync(fd) == 0)
        return fd;
    code = errno;
    unlink(path);
    close(fd);
    errno = code;
    return -1;
}

static enum status file_replace(struct checkpoint *checkpoint, const struct lines *lines, struct error *error)
{
    enum status status = STATUS_OK;
    char *path = NULL;
    int fd = -1;

    if (asprintf(&path, "%s.new", checkpoint->path) < 0)
        return error_set(error, STATUS_SYSTEM, "out of memory for the path of %s", checkpoint->path);
    fd = file_make(path, checkpoint->fd, lines);
    if (fd < 0) {
        status = error_set_errno(error, STATUS_SYSTEM, "cannot write the new checkpoint file %s", path);
        goto out;
    }
    if (rename(path, checkpoint->path) != 0) {
        status = error_set_errno(error, STATUS_SYSTEM, "cannot rename %s to %s", path, checkpoint->path);
        unlink(path);
        close(fd);
        goto out;
    }
    /* From here the new file is the checkpoint. The old lock goes only now, so that there is always one. */
    close(checkpoint->fd);
    checkpoint->fd = fd;
    checkpoint->size = (int64_t)lines->size;
    if (!folder_sync(checkpoint->path))
        status =
            error_set_errno(error, STATUS_SYSTEM, "cannot sync the folder of checkpoint file %s", checkpoint->path);
out:
    free(path);
    return status;
}

/* Closes the lines and puts them in the place of all there was. */
static enum status lines_replace(struct checkpoint *checkpoint, struct lines *lines, struct error *error)
{
    enum status status = lines_close(lines, error);

    if (status == STATUS_OK) {
        pthread_mutex_lock(&checkpoint->mutex);
        status = file_replace(checkpoint, lines, error);
        pthread_mutex_unlock(&checkpoint->mutex);
    }
    free(lines->text);
    return status;
}

enum status checkpoint_rewrite(struct checkpoint *checkpoint, const struct checkpoint_state *state, struct error *error)
{
    struct lines lines;
    enum status status = lines_open(&lines, error);

    if (status != STATUS_OK)
        return status;
    lines_first(&lines, CHECKPOINT_FIRST);
    lines_state(&lines, state);
    return lines_replace(checkpoint, &lines, error);
}

enum status checkpoint_rewrite_set(struct checkpoint *checkpoint, const struct checkpoint_set *set, struct error *error)
{
    char now[CHECKPOINT_TIME_SIZE];
    struct lines lines;
    enum status status = lines_open(&lines, error);

    if (status != STATUS_OK)
        return status;
    lines_first(&lines, CHECKPOINT_FIRST_SET);
    for (size_t i = 0; i < set->count; i++) {
        lines_table(&lines, set->parts[i].name);
        lines_state(&lines, &set->parts[i].state);
        if (set->parts[i].starts)
            lines_start(&lines, lines_now(now));
    }
    return lines_replace(checkpoint, &lines, error);
}

/* Writes behind the last whole line. After a failure the size stays, so that the next append writes over the rest. */
static enum status text_append(struct checkpoint *checkpoint, const char *text, size_t size, struct error *error)
{
    enum status status = STATUS_OK;

    pthread_mutex_lock(&checkpoint->mutex);
    assert(checkpoint->size >= 0);
    if (write_at(checkpoint->fd, text, size, checkpoint->size) && fdatasync(checkpoint->fd) == 0)
        checkpoint->size += (int64_t)size;
    else {
        status = error_set_errno(error, STATUS_SYSTEM, "cannot write to checkpoint file %s", checkpoint->path);
        if (ftruncate(checkpoint->fd, checkpoint->size) != 0)
            error_hint(error, "; its last line is torn now");
    }
    pthread_mutex_unlock(&checkpoint->mutex);
    return status;
}

/* Whose lines they are is written with them, so that a torn end never changes what others mean. */
static enum status lines_begin(const struct checkpoint *checkpoint, struct lines *lines, struct error *error)
{
    enum status status = lines_open(lines, error);

    if (status == STATUS_OK && checkpoint->part != NULL)
        lines_table(lines, checkpoint->part);
    return status;
}

void checkpoint_turn(struct checkpoint *checkpoint, const char *name)
{
    checkpoint->part = name;
}

/* Closes and appends what was put into `lines`. */
static enum status lines_append(struct checkpoint *checkpoint, struct lines *lines, struct error *error)
{
    enum status status = lines_close(lines, error);

    if (status == STATUS_OK)
        status = text_append(checkpoint, lines->text, lines->size, error);
    free(lines->text);
    return status;
}

enum status checkpoint_start(struct checkpoint *checkpoint, struct error *error)
{
    char now[CHECKPOINT_TIME_SIZE];
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_start(&lines, lines_now(now));
    return lines_append(checkpoint, &lines, error);
}

enum status checkpoint_plan(struct checkpoint *checkpoint, int64_t ranges, int64_t rows, int64_t bytes,
                            struct error *error)
{
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_plan(&lines, ranges, rows, bytes);
    return lines_append(checkpoint, &lines, error);
}

enum status checkpoint_piece(struct checkpoint *checkpoint, const struct checkpoint_piece *piece, struct error *error)
{
    char now[CHECKPOINT_TIME_SIZE];
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_piece(&lines, piece, lines_now(now));
    return lines_append(checkpoint, &lines, error);
}

enum status checkpoint_rejects(struct checkpoint *checkpoint, int64_t all, int64_t open, struct error *error)
{
    char now[CHECKPOINT_TIME_SIZE];
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_rejects(&lines, all, open, lines_now(now));
    return lines_append(checkpoint, &lines, error);
}

enum status checkpoint_frame(struct checkpoint *checkpoint, const struct checkpoint_frame *frame, struct error *error)
{
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_frame(&lines, frame);
    return lines_append(checkpoint, &lines, error);
}

enum status checkpoint_failed(struct checkpoint *checkpoint, int32_t input, int64_t lo, int64_t hi, const char *text,
                              struct error *error)
{
    struct checkpoint_failure failure = {.input = input, .lo = lo, .hi = hi, .text = (char *)text};
    char now[CHECKPOINT_TIME_SIZE];
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_failure(&lines, &failure, lines_now(now));
    return lines_append(checkpoint, &lines, error);
}

enum status checkpoint_stop(struct checkpoint *checkpoint, enum checkpoint_end end, struct error *error)
{
    char now[CHECKPOINT_TIME_SIZE];
    struct lines lines;
    enum status status = lines_begin(checkpoint, &lines, error);

    if (status != STATUS_OK)
        return status;
    lines_stop(&lines, end, lines_now(now));
    return lines_append(checkpoint, &lines, error);
}
