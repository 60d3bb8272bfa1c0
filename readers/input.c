/* Reading stream inputs. */
#include "readers/input.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "readers/record.h"

/* Large enough for cheap system calls, small enough to stay in the cache until it is routed. */
#define BUFFER_SIZE ((size_t)1 << 20)
#define BUFFER_MIN ((size_t)4096)
/* The router takes no more than a few threads decompress, and writers want processors, too. */
#define THREADS_MAX 4
/* Frames that are noted are so far apart in the text, and at most so many of a file. */
#define NOTE_TEXT_MIN ((int64_t)8 << 20)
#define NOTES_MAX 256

/* ---- The hash of what was read, and what it must be ---- */

static int check_compare(const void *one, const void *other)
{
    int64_t a = ((const struct input_check *)one)->offset, b = ((const struct input_check *)other)->offset;

    return (a > b) - (a < b);
}

static enum status checks_make(struct input *input, struct input_position start, bool marks, struct error *error)
{
    const struct stream_source *source = input->source;
    size_t mark_count = marks ? source->mark_count : 0;

    input->hash = XXH3_createState();
    input->checks = calloc(mark_count + 1, sizeof *input->checks);
    if (input->hash == NULL || input->checks == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    XXH3_128bits_reset(input->hash);
    if (start.offset > 0)
        input->checks[input->check_count++] = (struct input_check){start.offset, {start.hash[0], start.hash[1]}};
    for (size_t i = 0; i < mark_count; i++)
        if (source->marks[i].mark > 0)
            input->checks[input->check_count++] =
                (struct input_check){source->marks[i].mark, {source->marks[i].hash[0], source->marks[i].hash[1]}};
    qsort(input->checks, input->check_count, sizeof *input->checks, check_compare);
    return STATUS_OK;
}

static void hash_to(struct input *input, size_t at)
{
    XXH3_128bits_update(input->hash, input->buffer + input->hashed, at - input->hashed);
    input->hashed = at;
}

enum status input_hash(struct input *input, size_t at, uint64_t hash[2], struct error *error)
{
    XXH128_hash_t digest;

    hash[0] = hash[1] = 0;
    if (input->hash == NULL)
        return STATUS_OK;
    while (input->check_next < input->check_count) {
        const struct input_check *check = &input->checks[input->check_next];

        if (check->offset > input->window.offset + (int64_t)at)
            break;
        hash_to(input, (size_t)(check->offset - input->window.offset));
        digest = XXH3_128bits_digest(input->hash);
        if (digest.low64 != check->hash[0] || digest.high64 != check->hash[1])
            return record_error(
                input->source, -1, -1, error,
                "this is not the input that the job began with: it differs before byte %" PRId64
                ", up to which rows are committed already. Give the same bytes again, or begin a new job",
                check->offset);
        input->check_next++;
    }
    hash_to(input, at);
    digest = XXH3_128bits_digest(input->hash);
    hash[0] = digest.low64;
    hash[1] = digest.high64;
    return STATUS_OK;
}

/* ---- Reading ---- */

/* What was taken from the file since it was last counted. */
static void count_taken(struct input *input)
{
    int64_t taken = bytes_taken(input->bytes);

    if (input->stats != NULL)
        stats_add(&input->stats->bytes_read, taken - input->taken);
    input->taken = taken;
}

/* What the operator has to know of an input that proves to be wrong when rows of it may be loaded. */
static void hint_suspect(const struct input *input, struct error *error)
{
    if (error->status != STATUS_DATA || input->verified || input->source->kind == BYTES_PLAIN)
        return;
    error_hint(error, ". Rows that stand before may be in the target by now and are suspect: the job is not complete "
                      "and never will be with this input. Get it anew, forget the job (hyperfill clean --yes) and load "
                      "all with --overlap replace, which deletes what is there in each range that it loads");
}

/* One read behind the text. */
static enum status read_some(struct input *input, struct error *error)
{
    size_t got;
    enum status status = bytes_read(input->bytes, input->stop, input->buffer + input->size,
                                    input->buffer_size - input->size, &got, error);

    count_taken(input);
    hint_suspect(input, error);
    if (status == STATUS_OK && got == 0 && input->source->at_end != NULL)
        status = input->source->at_end(input->source->command, error);
    if (status != STATUS_OK)
        return status;
    input->size += got;
    input->last = got == 0;
    return STATUS_OK;
}

enum status input_too_large(const struct input *input, size_t at, int64_t line, size_t size, struct error *error)
{
    const int64_t memory = input->source->memory_bytes;
    /* A quarter of it is for one record. Whether that is enough is not known before its end was seen. */
    int64_t wanted = (int64_t)size * 4 > memory ? (int64_t)size * 4 : memory * 2;

    return record_error(input->source, input->window.offset + (int64_t)at, line, error,
                        "the record of %zu bytes or more that begins here does not fit: raise --memory to %" PRId64
                        "MB or more",
                        size, (wanted >> 20) + 1);
}

/* Makes room for a record that does not fit. */
static enum status buffer_grow(struct input *input, struct error *error)
{
    size_t size = input->buffer_size * 2 < input->buffer_max ? input->buffer_size * 2 : input->buffer_max;
    char *buffer;

    if (input->buffer_size >= input->buffer_max)
        return input_too_large(input, 0, input->window.line, input->buffer_size, error);
    buffer = realloc(input->buffer, size);
    if (buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    input->buffer = buffer;
    input->buffer_size = size;
    return STATUS_OK;
}

/* Drops what is used up. */
static enum status input_drop(struct input *input, size_t used, int64_t line, struct error *error)
{
    enum status status = input_hash(input, used, input->window.hash, error);

    if (status != STATUS_OK)
        return status;
    memmove(input->buffer, input->buffer + used, input->size - used);
    input->size -= used;
    input->hashed = 0;
    input->window.offset += (int64_t)used;
    input->window.line = line;
    return STATUS_OK;
}

/* So that a resumed run need not decompress what lies before. */
static enum status note_frame(struct input *input, struct error *error)
{
    const struct stream_source *source = input->source;
    struct bytes_place place;

    if (!input->notes || !bytes_frame(input->bytes, &place) || place.text - input->noted.text < NOTE_TEXT_MIN ||
        place.file - input->noted.file < source->size / NOTES_MAX)
        return STATUS_OK;
    input->noted = place;
    return source->note(source->note_context, source->input, place, error);
}

enum status input_refill(struct input *input, size_t used, int64_t line, struct error *error)
{
    enum status status = input_drop(input, used, line, error);
    size_t before;

    if (status == STATUS_OK)
        status = stream_unchanged(input->source, false, error);
    if (status != STATUS_OK)
        return status;
    if (input->size == input->buffer_size)
        status = buffer_grow(input, error);
    before = input->size;
    /* A pipe gives little at a time: what is there is taken, what is not yet there is not waited for. */
    while (status == STATUS_OK && !input->last && input->size < input->buffer_size &&
           (input->size == before || bytes_ready(input->bytes)))
        status = read_some(input, error);
    return status == STATUS_OK ? note_frame(input, error) : status;
}

/* What was read ahead from an input that cannot seek. */
static enum status take_head(struct input *input, struct error *error)
{
    const struct stream_source *source = input->source;

    while (input->buffer_size < source->head_size) {
        enum status status = buffer_grow(input, error);

        if (status != STATUS_OK)
            return status;
    }
    if (source->head_size > 0)
        memcpy(input->buffer, source->head, source->head_size);
    input->size = source->head_size;
    input->last = source->head_last;
    count_taken(input);
    return STATUS_OK;
}

static struct bytes_file file_of(const struct stream_source *source)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return (struct bytes_file){
        .fd = source->fd,
        .name = source->name,
        .seekable = true,
        .size = source->size,
        .known = source->known,
        .memory_bytes = source->memory_bytes / (source->readers > 1 ? source->readers : 1),
        .sharers = source->readers,
        .threads = processors < 1             ? 1
                   : processors > THREADS_MAX ? THREADS_MAX
                                              : (int)processors,
    };
}

/*
 * Opens a file anew where it is to be read from. Checksums stand behind what they are about, and nothing may be
 * committed that turns out to be corrupt: so a compressed file is verified before any of its rows is used, unless the
 * check for overlaps has read it to its end since.
 */
static enum status open_at(struct input *input, struct input_position start, bool verifies, struct error *error)
{
    const struct stream_source *source = input->source;
    struct bytes_file file = file_of(source);
    enum status status = bytes_open(&file, verifies ? 0 : start.offset, input->stop, &input->bytes, error);

    input->own_bytes = status == STATUS_OK;
    if (status == STATUS_OK && verifies)
        status = bytes_verify(input->bytes, start.offset, input->stop, error);
    input->verified = source->verified || (status == STATUS_OK && verifies && bytes_verified(input->bytes));
    input->window = start;
    return status == STATUS_OK ? input_refill(input, 0, start.line, error) : status;
}

/* Reads and drops what lies before `start`. */
static enum status skip_to(struct input *input, struct input_position start, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && input->window.offset + (int64_t)input->size < start.offset && !input->last)
        status = input_refill(input, input->size, 1, error);
    if (status != STATUS_OK)
        return status;
    if (input->window.offset + (int64_t)input->size < start.offset)
        return input_finish(input, error);
    return input_drop(input, (size_t)(start.offset - input->window.offset), start.line, error);
}

enum status input_open(struct input *input, const struct stream_source *source, struct input_position start, bool runs,
                       int64_t record_max, struct stop *stop, struct stats *stats, struct error *error)
{
    size_t most = record_max > (int64_t)BUFFER_MIN ? (size_t)record_max : BUFFER_MIN;
    enum status status = STATUS_OK;
    bool resumed = start.offset > 0, begun = resumed || source->mark_count > 0;
    bool verifies = runs && !begun && !source->verify_after && !source->verified && source->kind != BYTES_PLAIN;

    *input = (struct input){.source = source, .stop = stop, .stats = stats, .noted = source->known};
    input->notes = runs && source->note != NULL && source->seekable;
    if (most < source->head_size)
        most = source->head_size;
    input->buffer_max = most;
    input->buffer_size = most < BUFFER_SIZE ? most : BUFFER_SIZE;
    input->buffer = malloc(input->buffer_size);
    if (input->buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    if (!source->seekable)
        status = checks_make(input, start, runs, error);
    if (!resumed)
        start = (struct input_position){.offset = source->header_end, .line = 1 + source->header_lines};
    if (status == STATUS_OK && source->seekable)
        return open_at(input, start, verifies, error);
    input->bytes = source->bytes;
    if (status == STATUS_OK)
        status = take_head(input, error);
    return status == STATUS_OK ? skip_to(input, start, error) : status;
}

void input_close(struct input *input)
{
    if (input->own_bytes)
        bytes_close(input->bytes);
    free(input->buffer);
    free(input->checks);
    XXH3_freeState(input->hash);
    *input = (struct input){0};
}

int64_t input_file_position(const struct input *input, size_t at)
{
    return input->source->kind == BYTES_PLAIN ? input->window.offset + (int64_t)at : bytes_position(input->bytes);
}

enum status input_finish(const struct input *input, struct error *error)
{
    const struct stream_source *source = input->source;

    if (input->check_next < input->check_count)
        return record_error(source, -1, -1, error,
                            "this is not the input that the job began with: it ends at byte %" PRId64
                            ", but rows before byte %" PRId64
                            " are committed already. Give the same bytes again, or begin "
                            "a new job",
                            input->window.offset + (int64_t)input->size, input->checks[input->check_count - 1].offset);
    /* Less than the size was read only if the size was not right. A compressed file's end was found in it. */
    if (source->seekable && source->kind == BYTES_PLAIN && input->window.offset + (int64_t)input->size != source->size)
        return record_error(source, -1, -1, error, "the file ends at byte %" PRId64 ", but it has %" PRId64 " bytes",
                            input->window.offset + (int64_t)input->size, source->size);
    return stream_unchanged(source, true, error);
}
