/* The file of an input: what it is, and that it stays so while it is read. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "readers/record.h"
#include "readers/stream_private.h"

/* Of each end of a file, for its identity. */
#define ENDS_SIZE ((size_t)64 << 10)

static int64_t mtime_ns(const struct stat *facts)
{
    return facts->st_mtim.tv_sec * INT64_C(1000000000) + facts->st_mtim.tv_nsec;
}

/*
 * A lease for reading is not given while somebody has the file open for writing: so taking one, and giving it back at
 * once, tells. Where leases cannot be had, for other people's files or on some file systems, nothing is known.
 */
static enum status refuse_written(const struct stream_source *source, struct error *error)
{
    /* Who opens the file for writing meanwhile waits, and this signal is sent to us: one that is ignored. */
    if (fcntl(source->fd, F_SETSIG, SIGURG) != 0)
        return STATUS_OK;
    if (fcntl(source->fd, F_SETLEASE, F_RDLCK) == 0) {
        if (fcntl(source->fd, F_SETLEASE, F_UNLCK) != 0)
            return error_set_errno(error, STATUS_SYSTEM, "cannot give back the lease of %s", source->name);
        return STATUS_OK;
    }
    if (errno != EAGAIN)
        return STATUS_OK;
    return record_error(source, -1, -1, error,
                        "the file is being written: another program has it open for writing. Rows that are added later "
                        "would be missed. Wait until it is closed, or give a copy");
}

/* What is not there, or is not ours to read, is a wrong name; all else is the machine's. */
static enum status refuse_open(const struct stream_source *source, struct error *error)
{
    bool name = errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP || errno == ENAMETOOLONG;

    return error_set_errno(error, name ? STATUS_USAGE : STATUS_SYSTEM, "cannot open %s", source->path);
}

enum status stream_open_file(struct stream_source *source, struct error *error)
{
    struct stat facts;
    bool standard = strcmp(source->path, "-") == 0;

    if (source->at_end != NULL) {
        source->seekable = false;
        source->size = -1;
        return STATUS_OK;
    }
    source->fd = standard ? STDIN_FILENO : open(source->path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0)
        return refuse_open(source, error);
    if (fstat(source->fd, &facts) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot look at %s", source->name);
    if (S_ISDIR(facts.st_mode))
        return error_set(error, STATUS_USAGE, "%s is a folder: name the files in it", source->path);
    source->seekable = !standard && S_ISREG(facts.st_mode);
    source->size = source->seekable ? facts.st_size : -1;
    source->mtime_ns = mtime_ns(&facts);
    source->device = facts.st_dev;
    source->inode = facts.st_ino;
    return source->seekable ? refuse_written(source, error) : STATUS_OK;
}

enum status stream_unchanged(const struct stream_source *source, bool path, struct error *error)
{
    struct stat now;

    if (!source->seekable)
        return STATUS_OK;
    if (fstat(source->fd, &now) != 0)
        return error_set_errno(error, STATUS_SYSTEM, "cannot look at %s", source->name);
    if (now.st_size != source->size || mtime_ns(&now) != source->mtime_ns)
        return record_error(
            source, -1, -1, error,
            "the file was changed while it was being read%s; rows that are committed came from it as it "
            "was. Begin a new job with a file that stays as it is",
            now.st_size > source->size ? ": it has grown" : "");
    /* One that was removed is still read to its end. */
    if (path && stat(source->path, &now) == 0 && (now.st_ino != source->inode || now.st_dev != source->device))
        return record_error(
            source, -1, -1, error,
            "the file was replaced by another one while it was being read; rows that are committed came "
            "from the former. Begin a new job with a file that stays");
    return STATUS_OK;
}

/* Adds a stretch of the file to the hash. */
static enum status hash_stretch(const struct stream_source *source, int64_t from, int64_t to, XXH3_state_t *hash,
                                struct error *error)
{
    char buffer[8192];

    while (from < to) {
        size_t want = to - from < (int64_t)sizeof buffer ? (size_t)(to - from) : sizeof buffer;
        ssize_t got = pread(source->fd, buffer, want, from);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, STATUS_SYSTEM, "cannot read %s", source->name);
        if (got == 0)
            break;
        XXH3_128bits_update(hash, buffer, (size_t)got);
        from += got;
    }
    return STATUS_OK;
}

/* Both ends of a file; of what cannot seek the text up to its first row. */
static enum status hash_ends(const struct stream_source *source, XXH3_state_t *hash, struct error *error)
{
    int64_t tail = source->size - (int64_t)ENDS_SIZE;
    enum status status;

    if (!source->seekable) {
        XXH3_128bits_update(hash, source->head, (size_t)source->header_end);
        return STATUS_OK;
    }
    status = hash_stretch(source, 0, (int64_t)ENDS_SIZE, hash, error);
    if (status == STATUS_OK)
        status = hash_stretch(source, tail > 0 ? tail : 0, source->size, hash, error);
    return status;
}

enum status stream_identity(const struct stream_source *source, char *text, size_t size, struct error *error)
{
    XXH3_state_t *hash = XXH3_createState();
    enum status status;
    XXH128_hash_t digest;

    if (hash == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    XXH3_128bits_reset(hash);
    status = hash_ends(source, hash, error);
    digest = XXH3_128bits_digest(hash);
    XXH3_freeState(hash);
    if (source->seekable)
        snprintf(text, size, "file size=%" PRId64 " mtime=%" PRId64 " ends=%016" PRIx64 "%016" PRIx64, source->size,
                 source->mtime_ns, digest.high64, digest.low64);
    else
        snprintf(text, size, "stream header=%016" PRIx64 "%016" PRIx64, digest.high64, digest.low64);
    return status;
}
