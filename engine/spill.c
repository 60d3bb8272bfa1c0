/* The file of spilled blocks, and its index. */
#include "engine/spill.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/log.h"

#define PAGE 4096
#define PATH_ROOM 4096
/* So much of the disk is left to others, whatever the limit. */
#define LEAVE_FREE ((int64_t)16 << 20)

struct slot {
    uint64_t hash;
    uint32_t next;
    uint32_t used;
    uint16_t mark_count;
    uint8_t pages; /* of the disk, the most it ever had */
    uint8_t form;
};

_Static_assert(sizeof(struct slot) == SPILL_SLOT_BYTES, "the share of memory for the index is planned by this");

struct spill {
    int fd;
    uint32_t block_size;
    char *folder;
    struct stats *stats;
    int64_t bytes_max;
    uint32_t slots_max;
    pthread_mutex_t mutex; /* guards the fields below; a slot that is in a list is its holder's but for `next` */
    struct slot *slots;    /* one mapping, touched only as slots come into use; slot n is slots[n] */
    uint32_t made;         /* slots that were ever used */
    uint32_t free;         /* first of the free list */
    int64_t used;          /* slots in lists */
    int64_t bytes;         /* of the disk */
    bool told;             /* that it is full */
};

/* ---- The file ---- */

static enum status file_open(const char *folder, int *fd, struct error *error)
{
    char path[PATH_ROOM];
    struct stat facts;

    if (stat(folder, &facts) != 0)
        return error_set_errno(error, STATUS_USAGE, "--spill-dir %s", folder);
    if (!S_ISDIR(facts.st_mode))
        return error_set(error, STATUS_USAGE, "--spill-dir %s is no folder", folder);
    *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    /* Not all file systems have files without a name. */
    if (*fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)) {
        if (snprintf(path, sizeof path, "%s/hyperfill-spill-XXXXXX", folder) >= (int)sizeof path)
            return error_set(error, STATUS_USAGE, "--spill-dir %s: the path is too long", folder);
        *fd = mkostemp(path, O_CLOEXEC);
        if (*fd >= 0)
            unlink(path);
    }
    if (*fd < 0)
        return error_set_errno(error, STATUS_USAGE, "--spill-dir %s: cannot make a file there", folder);
    return STATUS_OK;
}

enum status spill_check(const char *folder, struct error *error)
{
    int fd = -1;
    enum status status = file_open(folder, &fd, error);

    if (fd >= 0)
        close(fd);
    return status;
}

/* Bytes that the file system has for us. */
static int64_t room_of(int fd)
{
    struct statvfs facts;

    if (fstatvfs(fd, &facts) != 0)
        return INT64_MAX;
    return (int64_t)(facts.f_bavail * facts.f_frsize);
}

enum status spill_create(const char *folder, int64_t bytes_max, int64_t slots_max, uint32_t block_size,
                         struct stats *stats, struct spill **result, struct error *error)
{
    struct spill *spill = calloc(1, sizeof *spill);
    enum status status;

    /* Marks and pages of a slot have few bits. */
    assert(block_size / sizeof(struct block_mark) <= UINT16_MAX && block_size / PAGE < UINT8_MAX);
    if (spill == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    *spill = (struct spill){.fd = -1, .block_size = block_size, .stats = stats, .slots = MAP_FAILED};
    pthread_mutex_init(&spill->mutex, NULL);
    spill->folder = strdup(folder);
    status =
        spill->folder != NULL ? file_open(folder, &spill->fd, error) : error_set(error, STATUS_SYSTEM, "out of memory");
    if (status == STATUS_OK) {
        spill->bytes_max = bytes_max > 0 ? bytes_max : room_of(spill->fd) / 2;
        spill->slots_max = slots_max < UINT32_MAX ? (uint32_t)slots_max : UINT32_MAX - 1;
        spill->slots = mmap(NULL, ((size_t)spill->slots_max + 1) * sizeof(struct slot), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (spill->slots == MAP_FAILED)
            status = error_set_errno(error, STATUS_SYSTEM, "cannot get memory for the index of --spill-dir");
    }
    if (status != STATUS_OK) {
        spill_free(spill);
        return status;
    }
    *result = spill;
    return STATUS_OK;
}

void spill_free(struct spill *spill)
{
    if (spill == NULL)
        return;
    assert(spill->used == 0);
    if (spill->fd >= 0)
        close(spill->fd);
    if (spill->slots != MAP_FAILED)
        munmap(spill->slots, ((size_t)spill->slots_max + 1) * sizeof(struct slot));
    pthread_mutex_destroy(&spill->mutex);
    free(spill->folder);
    free(spill);
}

/* ---- Slots ---- */

/* Text and marks stand at both ends of a block, and one behind the other in a slot. */
static int block_parts(const struct block *block, uint32_t block_size, struct iovec parts[2])
{
    size_t marks_size = block->mark_count * sizeof(struct block_mark);

    parts[0] = (struct iovec){block->data, block->used};
    parts[1] = (struct iovec){block->data + block_size - marks_size, marks_size};
    return marks_size > 0 ? 2 : 1;
}

static uint64_t parts_hash(const struct iovec parts[2])
{
    return XXH3_64bits_withSeed(parts[1].iov_base, parts[1].iov_len, XXH3_64bits(parts[0].iov_base, parts[0].iov_len));
}

/* Reads or writes all of the parts, from where `offset` says. 0: done, else errno; ENODATA: the file ends before. */
static int transfer(const struct spill *spill, bool out, struct iovec parts[2], int count, int64_t offset)
{
    struct iovec left[2] = {parts[0], count > 1 ? parts[1] : (struct iovec){0}}, *at = left;

    while (count > 0) {
        ssize_t size = out ? pwritev(spill->fd, at, count, offset) : preadv(spill->fd, at, count, offset);

        if (size < 0 && errno != EINTR)
            return errno;
        if (size == 0)
            return out ? ENOSPC : ENODATA;
        for (offset += size > 0 ? size : 0; size > 0 && (size_t)size >= at->iov_len; at++, count--)
            size -= (ssize_t)at->iov_len;
        if (size > 0) {
            at->iov_base = (char *)at->iov_base + size;
            at->iov_len -= (size_t)size;
        }
    }
    return 0;
}

static int64_t slot_offset(const struct spill *spill, uint32_t slot)
{
    return (int64_t)(slot - 1) * spill->block_size;
}

/* A slot that may have so many pages; 0 if that is over the limit. */
static uint32_t slot_take(struct spill *spill, uint8_t pages)
{
    uint32_t slot;
    int64_t more;

    pthread_mutex_lock(&spill->mutex);
    slot = spill->free != 0 ? spill->free : spill->made < spill->slots_max ? spill->made + 1 : 0;
    more = slot != 0 && spill->slots[slot].pages < pages ? (pages - spill->slots[slot].pages) * PAGE : 0;
    if (slot != 0 && more > 0 && (spill->bytes + more > spill->bytes_max || room_of(spill->fd) < LEAVE_FREE + more))
        slot = 0;
    if (slot != 0) {
        if (spill->free == slot)
            spill->free = spill->slots[slot].next;
        else
            spill->made++;
        if (more > 0)
            spill->slots[slot].pages = pages;
        spill->bytes += more;
        spill->used++;
        if (spill->bytes > stats_get(&spill->stats->spill_peak_bytes))
            atomic_store(&spill->stats->spill_peak_bytes, spill->bytes);
    }
    pthread_mutex_unlock(&spill->mutex);
    return slot;
}

/* Puts the slots from `first` to `last` before the free ones. */
static void slots_give(struct spill *spill, uint32_t first, uint32_t last, int64_t count)
{
    pthread_mutex_lock(&spill->mutex);
    spill->slots[last].next = spill->free;
    spill->free = first;
    spill->used -= count;
    assert(spill->used >= 0);
    pthread_mutex_unlock(&spill->mutex);
}

/* Says once that from now on pieces are smaller. */
static void tell_full(struct spill *spill)
{
    bool told;

    pthread_mutex_lock(&spill->mutex);
    told = spill->told;
    spill->told = true;
    pthread_mutex_unlock(&spill->mutex);
    if (!told)
        log_line(LOG_NOTICE, "--spill-dir %s takes no more after %lld MB: pieces are written earlier", spill->folder,
                 (long long)(stats_get(&spill->stats->spill_peak_bytes) >> 20));
}

enum status spill_put(struct spill *spill, struct spilled *list, const struct block *block, bool *taken,
                      struct error *error)
{
    struct iovec parts[2];
    int count = block_parts(block, spill->block_size, parts), code;
    int64_t size = (int64_t)(parts[0].iov_len + parts[1].iov_len);
    uint32_t slot = slot_take(spill, (uint8_t)((size + PAGE - 1) / PAGE));

    *taken = false;
    if (slot == 0) {
        tell_full(spill);
        return STATUS_OK;
    }
    code = transfer(spill, true, parts, count, slot_offset(spill, slot));
    if (code != 0) {
        slots_give(spill, slot, slot, 1);
        if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
            tell_full(spill);
            return STATUS_OK;
        }
        errno = code;
        return error_set_errno(error, STATUS_SYSTEM, "cannot write to the file in --spill-dir %s", spill->folder);
    }
    pthread_mutex_lock(&spill->mutex);
    spill->slots[slot].hash = parts_hash(parts);
    spill->slots[slot].next = 0;
    spill->slots[slot].used = block->used;
    spill->slots[slot].mark_count = (uint16_t)block->mark_count;
    spill->slots[slot].form = (uint8_t)block->form;
    if (list->last != 0)
        spill->slots[list->last].next = slot;
    pthread_mutex_unlock(&spill->mutex);
    if (list->last == 0)
        list->first = slot;
    list->last = slot;
    list->count++;
    stats_add(&spill->stats->spilled_bytes, size);
    *taken = true;
    return STATUS_OK;
}

bool spill_has_room(struct spill *spill)
{
    bool room;

    pthread_mutex_lock(&spill->mutex);
    room = spill->used < spill->slots_max / 2 && spill->used * spill->block_size < spill->bytes_max / 2;
    pthread_mutex_unlock(&spill->mutex);
    return room;
}

enum status spill_get(struct spill *spill, uint32_t slot, struct block *block, struct error *error)
{
    const struct slot *facts = &spill->slots[slot];
    struct iovec parts[2];
    int count, code;

    block->used = facts->used;
    block->mark_count = facts->mark_count;
    block->form = (enum block_form)facts->form;
    count = block_parts(block, spill->block_size, parts);
    code = transfer(spill, false, parts, count, slot_offset(spill, slot));
    if (code != 0 && code != ENODATA) {
        errno = code;
        return error_set_errno(error, STATUS_SYSTEM, "cannot read the file in --spill-dir %s", spill->folder);
    }
    if (code == ENODATA || parts_hash(parts) != facts->hash)
        return error_set(error, STATUS_SYSTEM,
                         "the file in --spill-dir %s has not kept what was written to it, at byte %lld: nothing of it "
                         "was loaded, and the input has it still. Look after that disk, or take another --spill-dir",
                         spill->folder, (long long)slot_offset(spill, slot));
    return STATUS_OK;
}

uint32_t spill_next(struct spill *spill, uint32_t slot)
{
    uint32_t next;

    pthread_mutex_lock(&spill->mutex);
    next = spill->slots[slot].next;
    pthread_mutex_unlock(&spill->mutex);
    return next;
}

void spill_clear(struct spill *spill, struct spilled *list)
{
    if (list->count > 0)
        slots_give(spill, list->first, list->last, list->count);
    *list = (struct spilled){0};
}
