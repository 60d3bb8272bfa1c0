/* Opening stream inputs: the header, and what the input is known by. */
#include "readers/stream.h"

#include <csv.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "readers/record.h"

#define HEAD_STEP ((size_t)64 << 10)
/* The first record must end within this, if there is no --memory yet to tell more. */
#define HEAD_MAX ((size_t)16 << 20)
#define BOM "\xef\xbb\xbf"
/* Of each end of a file, for its identity. */
#define ENDS_SIZE ((size_t)64 << 10)

static int64_t mtime_ns(const struct stat *facts)
{
    return facts->st_mtim.tv_sec * INT64_C(1000000000) + facts->st_mtim.tv_nsec;
}

/* ---- The head: as much of the input as holds its first record ---- */

/* Reads once more behind the head. */
static enum status head_read(struct stream_source *source, struct error *error)
{
    size_t *room = &source->head_room;
    enum status status;
    size_t got;

    if (*room - source->head_size < HEAD_STEP) {
        size_t larger = *room > 0 ? *room * 2 : HEAD_STEP;
        char *head = realloc(source->head, larger);

        if (head == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory");
        source->head = head;
        *room = larger;
    }
    status = bytes_read(source->bytes, source->stop, source->head + source->head_size, *room - source->head_size, &got,
                        error);
    if (status == STATUS_OK && got == 0 && source->at_end != NULL)
        status = source->at_end(source->command, error);
    if (status != STATUS_OK)
        return status;
    source->head_size += got;
    source->head_last = got == 0;
    return STATUS_OK;
}

static enum status header_error(const struct stream_source *source, struct error *error, const char *text)
{
    snprintf(error->input, sizeof error->input, "%s", source->name);
    error->line = 1 + source->header_lines;
    error->offset = source->header_end;
    return error_set(error, STATUS_DATA, "the %s: %s", source->dialect.header ? "header" : "first record", text);
}

/* Whether so much was read that there is no sense in reading more. */
static enum status head_check(const struct stream_source *source, bool *enough, struct error *error)
{
    size_t most = source->memory_bytes > 0 ? (size_t)source->memory_bytes / 4 : HEAD_MAX;

    *enough = source->head_size > most;
    if (!*enough || !source->dialect.header)
        return STATUS_OK;
    return header_error(source, error, "it does not end within the memory for it; is a quote not closed?");
}

/* Behind a line of --skip-lines; 0: it does not end in what there is. Its line end is any. */
static size_t line_size(const struct stream_source *source, size_t at)
{
    const char *text = source->head + at;
    size_t rest = source->head_size - at, size = 0;

    while (size < rest && text[size] != '\n' && text[size] != '\r')
        size++;
    if (size == rest || (text[size] == '\r' && size + 1 == rest && !source->head_last))
        return source->head_last ? rest : 0;
    return size + 1 + (text[size] == '\r' && size + 1 < rest && text[size + 1] == '\n');
}

/* Where the first record begins in the head: behind a BOM, lines to be skipped, comments. */
struct head_place {
    size_t at;
    int64_t lines;
    int skipped;
};

/* Goes on to the first record; false if that begins behind what there is. */
static bool head_advance(const struct stream_source *source, struct cutter *cutter, struct head_place *place)
{
    size_t size;
    int64_t lines;

    for (; place->skipped < source->dialect.skip_lines && place->at < source->head_size; place->skipped++) {
        size = line_size(source, place->at);
        if (size == 0)
            return false;
        place->at += size;
        place->lines++;
    }
    while (place->at < source->head_size && cutter_is_comment(cutter, source->head + place->at)) {
        cutter_forget(cutter);
        if (cutter_cut(cutter, source->head + place->at, source->head_size - place->at, source->head_last, &size,
                       &lines) != CUT_RECORD)
            return false;
        place->at += size;
        place->lines += lines;
    }
    return place->at < source->head_size;
}

/* Reads until the first record is whole. *size is 0 if there is none. */
static enum status head_fill(struct stream_source *source, struct head_place *place, size_t *size, int64_t *lines,
                             struct error *error)
{
    enum cut cut = CUT_MORE;
    enum status status;
    struct cutter cutter;
    bool bom_seen = false, enough = false, peeked = source->head_size > 0 || source->head_last;

    *size = 0;
    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    cutter.comment = source->dialect.comment;
    while (cut == CUT_MORE && !enough) {
        status = peeked ? STATUS_OK : head_read(source, error);
        if (status != STATUS_OK)
            return status;
        peeked = false;
        if (source->head_size < sizeof BOM - 1 && !source->head_last)
            continue;
        if (!bom_seen && source->head_size >= sizeof BOM - 1 && memcmp(source->head, BOM, sizeof BOM - 1) == 0)
            place->at = sizeof BOM - 1;
        bom_seen = true;
        if (head_advance(source, &cutter, place))
            cut = cutter_cut(&cutter, source->head + place->at, source->head_size - place->at, source->head_last, size,
                             lines);
        else if (source->head_last)
            return STATUS_OK;
        source->header_end = (int64_t)place->at;
        source->header_lines = place->lines;
        cutter_forget(&cutter);
        /* A record of rows is the run's to judge. */
        if (cut == CUT_MORE && (status = head_check(source, &enough, error)) != STATUS_OK)
            return status;
    }
    if (enough)
        return STATUS_OK;
    source->line_end = cutter.line_end;
    /* A bad record that has an end is the run's to judge, which may reject it. */
    if (cut == CUT_RECORD || (cut == CUT_BAD && *size > 0 && !source->dialect.header))
        return STATUS_OK;
    return header_error(source, error, cutter.problem);
}

/* ---- Names of the header, by libcsv ---- */

struct names {
    char **names;
    int count, room;
    bool failed; /* out of memory */
};

static void names_add(void *text, size_t size, void *opaque)
{
    struct names *names = opaque;
    char *name = strndup(text != NULL ? text : "", size);

    if (names->count == names->room) {
        int room = names->room > 0 ? names->room * 2 : 32;
        char **larger = realloc(names->names, (size_t)room * sizeof *larger);

        if (larger != NULL) {
            names->names = larger;
            names->room = room;
        }
    }
    if (name == NULL || names->count == names->room) {
        names->failed = true;
        free(name);
        return;
    }
    names->names[names->count++] = name;
}

/* COPY keeps blanks around fields, libcsv drops them. */
static int no_space(unsigned char c)
{
    (void)c;
    return 0;
}

static enum status header_parse(struct stream_source *source, const char *text, size_t size, struct error *error)
{
    struct names names = {0};
    struct csv_parser parser;
    size_t done;

    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    csv_set_delim(&parser, (unsigned char)source->dialect.delimiter);
    csv_set_quote(&parser, (unsigned char)source->dialect.quote);
    if (!source->dialect.trim)
        csv_set_space_func(&parser, no_space);
    done = csv_parse(&parser, text, size, names_add, NULL, &names);
    if (done == size && csv_fini(&parser, names_add, NULL, &names) != 0)
        done = 0;
    csv_free(&parser);
    source->header = names.names;
    source->header_count = names.count;
    if (names.failed)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (done != size)
        return header_error(source, error, "a quote stands inside of a name: double it, and quote the whole name");
    return STATUS_OK;
}

static enum status header_check(const struct stream_source *source, struct error *error)
{
    char text[256];

    /* A blank line is nothing to libcsv, but a record to the server. */
    if (source->header_count == 0)
        return header_error(source, error, "field 1 has no name");
    for (int i = 0; i < source->header_count; i++) {
        if (source->header[i][0] == '\0') {
            snprintf(text, sizeof text, "field %d has no name", i + 1);
            return header_error(source, error, text);
        }
        for (int j = 0; j < i; j++)
            if (strcmp(source->header[i], source->header[j]) == 0) {
                snprintf(text, sizeof text, "fields %d and %d have the same name \"%.100s\"", j + 1, i + 1,
                         source->header[i]);
                return header_error(source, error, text);
            }
    }
    return STATUS_OK;
}

/* ---- A file that is being written or replaced ---- */

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

/* ---- Opening ---- */

/* Only the text that the head needs is decompressed here. */
static enum status source_open_bytes(struct stream_source *source, struct error *error)
{
    struct bytes_file file = {
        .fd = source->fd,
        .name = source->name,
        .seekable = source->seekable,
        .size = source->size,
        .memory_bytes = source->memory_bytes,
    };
    enum status status = bytes_open(&file, 0, source->stop, &source->bytes, error);

    if (status == STATUS_OK)
        source->kind = bytes_kind(source->bytes);
    return status;
}

static enum status source_open_fd(struct stream_source *source, struct error *error)
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
        return error_set_errno(error, STATUS_SYSTEM, "cannot open %s", source->path);
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

enum status stream_peek(struct stream_source *source, size_t size, struct error *error)
{
    enum status status = source_open_fd(source, error);

    if (status == STATUS_OK)
        status = source_open_bytes(source, error);
    while (status == STATUS_OK && source->head_size < size && !source->head_last)
        status = head_read(source, error);
    return status;
}

enum status stream_open(struct stream_source *source, struct error *error)
{
    struct head_place place = {0};
    size_t size = 0;
    int64_t lines = 0;
    enum status status = STATUS_OK;

    if (source->bytes == NULL)
        status = source_open_fd(source, error);
    if (status == STATUS_OK && source->bytes == NULL)
        status = source_open_bytes(source, error);
    if (status == STATUS_OK)
        status = head_fill(source, &place, &size, &lines, error);
    if (source->bytes != NULL) {
        source->head_position = bytes_position(source->bytes);
        source->head_text = (int64_t)source->head_size;
    }
    if (source->seekable) {
        bytes_close(source->bytes);
        source->bytes = NULL;
    }
    if (status != STATUS_OK)
        return status;
    source->header_end = (int64_t)place.at;
    source->header_lines = place.lines;
    if (source->dialect.header) {
        const char *text = source->head + place.at;

        if (size == 0)
            return header_error(source, error, "there is none: the input is empty");
        status = header_parse(source, text, record_text_size(text, size), error);
        if (status == STATUS_OK)
            status = header_check(source, error);
        source->header_end = (int64_t)(place.at + size);
        source->header_lines = place.lines + lines;
    }
    /* A file can be read again; of many files the heads would be a lot. */
    if (source->seekable)
        stream_drop_head(source);
    return status;
}

void stream_drop_head(struct stream_source *source)
{
    bytes_close(source->bytes);
    source->bytes = NULL;
    free(source->head);
    source->head = NULL;
    source->head_size = source->head_room = 0;
    source->head_last = false;
}

void stream_reset(struct stream_source *source)
{
    for (int i = 0; i < source->header_count; i++)
        free(source->header[i]);
    free(source->header);
    source->header = NULL;
    source->header_count = 0;
    stream_drop_head(source);
    if (source->fd > STDIN_FILENO && source->at_end == NULL)
        close(source->fd);
    source->fd = -1;
}

int64_t stream_memory(const struct stream_source *source)
{
    return bytes_memory(source->kind, source->memory_bytes / (source->readers > 1 ? source->readers : 1));
}

/* ---- Identity ---- */

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

enum status stream_identity(const struct stream_source *source, char *text, size_t size, struct error *error)
{
    XXH3_state_t *hash = XXH3_createState();
    int64_t tail = source->size - (int64_t)ENDS_SIZE;
    enum status status = STATUS_OK;
    XXH128_hash_t digest;

    if (hash == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    XXH3_128bits_reset(hash);
    if (source->seekable) {
        status = hash_stretch(source, 0, (int64_t)ENDS_SIZE, hash, error);
        if (status == STATUS_OK)
            status = hash_stretch(source, tail > 0 ? tail : 0, source->size, hash, error);
    } else {
        XXH3_128bits_update(hash, source->head, (size_t)source->header_end);
    }
    digest = XXH3_128bits_digest(hash);
    XXH3_freeState(hash);
    if (source->seekable)
        snprintf(text, size, "file size=%" PRId64 " mtime=%" PRId64 " ends=%016" PRIx64 "%016" PRIx64, source->size,
                 source->mtime_ns, digest.high64, digest.low64);
    else
        snprintf(text, size, "stream header=%016" PRIx64 "%016" PRIx64, digest.high64, digest.low64);
    return status;
}
