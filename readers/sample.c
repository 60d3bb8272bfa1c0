/* A look at stream inputs before the run: samples for an estimate, and all ranges for the overlap check. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "readers/input.h"
#include "readers/record.h"

#define PLACES 60
#define PLACE_SIZE ((size_t)16 << 10)
#define COMPRESSED_SIZE ((size_t)1 << 20)
#define COMPRESSED_PLACES 32
/* Clocks differ a little even where rows are written in order: one step in twenty may go the other way. */
#define STRAY_SHARE 20
#define RANGES_FIRST 256
#define RANGES_MEMORY_DEFAULT ((int64_t)64 << 20)

/* ---- Samples ---- */

struct steps {
    int64_t up, down;
};

static void step_note(struct steps *steps, int64_t before, int64_t after)
{
    steps->up += after > before;
    steps->down += after < before;
}

/* 1: up, -1: down, 0: both; 2: no steps at all. */
static int steps_direction(const struct steps *steps)
{
    int64_t strays = (steps->up + steps->down) / STRAY_SHARE;

    if (steps->up == 0 && steps->down == 0)
        return 2;
    return steps->down <= strays ? 1 : steps->up <= strays ? -1 : 0;
}

struct sampler {
    struct stream_sample *sample;
    struct record_times times;
    int fields;             /* of the first record */
    int64_t bytes;          /* of the records that were looked at */
    struct steps near, far; /* from record to record, from place to place */
};

static void sampler_note(struct sampler *sampler, int64_t value, bool first_of_place, int64_t *place_before)
{
    struct stream_sample *sample = sampler->sample;

    if (sample->records++ == 0)
        sample->first_time = sample->min_time = sample->max_time = value;
    else if (first_of_place)
        step_note(&sampler->far, *place_before, value);
    else
        step_note(&sampler->near, sample->last_time, value);
    if (first_of_place)
        *place_before = value;
    sample->last_time = value;
    if (value < sample->min_time)
        sample->min_time = value;
    if (value > sample->max_time)
        sample->max_time = value;
}

/* A record that can be one: it has a time, and as many fields as the first. */
static bool sampler_believes(struct sampler *sampler, const struct cutter *cutter, const char *record, size_t size,
                             int64_t *value)
{
    int fields =
        cutter_field_count(cutter, sampler->times.source->dialect.delimiter, record, record_text_size(record, size));

    if (!record_time(&sampler->times, cutter, record, size, value))
        return false;
    if (sampler->fields == 0)
        sampler->fields = fields;
    return fields == sampler->fields;
}

static const char *next_line(const struct stream_source *source, const char *text, const char *end)
{
    text = memchr(text, source->line_end == LINE_END_CR ? '\r' : '\n', (size_t)(end - text));
    return text != NULL ? text + 1 : end;
}

/*
 * Looks at the records of a text; `whole`: it begins with one. Else it may begin inside of a quote, where lines are not
 * records and every quote is read the wrong way round: from what cannot be a record, the next line is tried.
 */
static void sampler_look(struct sampler *sampler, const char *text, size_t size, bool whole, bool last,
                         int64_t *place_before)
{
    const struct stream_source *source = sampler->times.source;
    const char *end = text + size;
    struct cutter cutter;
    bool first = true;

    sampler->sample->bytes_looked_at += (int64_t)size;
    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    cutter.line_end = source->line_end;
    cutter.comment = source->dialect.comment;
    if (!whole)
        text = next_line(source, text, end);
    while (text < end) {
        size_t record;
        int64_t lines, value;
        enum cut cut = cutter_cut(&cutter, text, (size_t)(end - text), last, &record, &lines);

        if (cut == CUT_RECORD && cutter_is_comment(&cutter, text)) {
            text += record;
        } else if (cut == CUT_RECORD && sampler_believes(sampler, &cutter, text, record, &value)) {
            sampler_note(sampler, value, first, place_before);
            sampler->bytes += (int64_t)record;
            first = false;
            text += record;
        } else if (first) {
            cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
            cutter.line_end = source->line_end;
            cutter.comment = source->dialect.comment;
            text = next_line(source, text, end);
        } else if (cut == CUT_RECORD) {
            text += record;
        } else {
            break;
        }
    }
}

static enum status sample_places(struct sampler *sampler, struct error *error)
{
    const struct stream_source *source = sampler->times.source;
    int64_t begin = source->header_end, rest = source->size - begin - (int64_t)PLACE_SIZE, place_before = 0;
    char *buffer = malloc(PLACE_SIZE);

    if (buffer == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < PLACES; i++) {
        int64_t offset = begin + (rest > 0 ? rest / (PLACES - 1) * i : (int64_t)PLACE_SIZE * i);
        ssize_t got;

        if (rest > 0 && i == PLACES - 1)
            offset = source->size - (int64_t)PLACE_SIZE;
        if (offset >= source->size)
            break;
        got = pread(source->fd, buffer, PLACE_SIZE, offset);
        if (got < 0) {
            free(buffer);
            return error_set_errno(error, STATUS_SYSTEM, "cannot read %s", source->name);
        }
        sampler_look(sampler, buffer, (size_t)got, i == 0, offset + got == source->size, &place_before);
    }
    free(buffer);
    return STATUS_OK;
}

/* Reads the head until the buffer is full. */
static enum status head_read(struct bytes *bytes, struct stop *stop, char *buffer, size_t *size, bool *last,
                             struct error *error)
{
    enum status status = STATUS_OK;
    size_t got;

    *size = 0;
    *last = false;
    while (status == STATUS_OK && !*last && *size < COMPRESSED_SIZE) {
        status = bytes_read(bytes, stop, buffer + *size, COMPRESSED_SIZE - *size, &got, error);
        if (status == STATUS_OK) {
            *last = got == 0;
            *size += got;
        }
    }
    return status;
}

/* Looks at the head in parts, for the order from place to place: a file may be ordered for each host, say. */
static void look_places(struct sampler *sampler, const char *text, size_t size, bool last)
{
    size_t at = (size_t)sampler->times.source->header_end, part = COMPRESSED_SIZE / COMPRESSED_PLACES;
    int64_t place_before = 0;

    for (bool whole = true; at < size; whole = false) {
        size_t left = size - at < part ? size - at : part;

        sampler_look(sampler, text + at, left, whole, last && at + left == size, &place_before);
        at += left;
    }
}

/*
 * A compressed file cannot be looked at in the middle: a larger head is, and the rest is taken to be compressed alike.
 * What is wrong with the file is the run's to find.
 */
static enum status sample_compressed(struct sampler *sampler, struct error *error)
{
    const struct stream_source *source = sampler->times.source;
    struct bytes_file file = {.fd = source->fd,
                              .name = source->name,
                              .seekable = true,
                              .size = source->size,
                              .memory_bytes = source->memory_bytes};
    char *buffer = malloc(COMPRESSED_SIZE);
    struct bytes *bytes = NULL;
    enum status status = buffer != NULL ? bytes_open(&file, 0, source->stop, &bytes, error)
                                        : error_set(error, STATUS_SYSTEM, "out of memory");
    size_t size = 0;
    bool last = false;

    if (status == STATUS_OK)
        status = head_read(bytes, source->stop, buffer, &size, &last, error);
    if (status == STATUS_DATA) {
        error_reset(error);
        status = STATUS_OK;
    }
    if (status == STATUS_OK)
        look_places(sampler, buffer, size, last);
    if (status == STATUS_OK && size > 0)
        sampler->sample->input_bytes =
            last ? (int64_t)size : (int64_t)((double)size * (double)source->size / (double)(bytes_position(bytes) + 1));
    bytes_close(bytes);
    free(buffer);
    return status;
}

enum status stream_sample(struct stream_source *source, struct stream_sample *sample, struct error *error)
{
    struct sampler sampler = {.sample = sample};
    enum status status = STATUS_OK;
    int64_t place_before;
    int near, far;

    *sample = (struct stream_sample){.input_bytes = source->size};
    record_times_init(&sampler.times, source);
    if (source->seekable && source->kind == BYTES_PLAIN)
        status = sample_places(&sampler, error);
    else if (source->seekable)
        status = sample_compressed(&sampler, error);
    else
        sampler_look(&sampler, source->head + source->header_end, source->head_size - (size_t)source->header_end, true,
                     source->head_last, &place_before);
    near = steps_direction(&sampler.near);
    far = steps_direction(&sampler.far);
    sample->head_only = !source->seekable || source->kind != BYTES_PLAIN;
    sample->ordered = near != 0 && far != 0 && (near == far || near == 2 || far == 2);
    if (sample->records > 0)
        sample->bytes_per_record = (double)sampler.bytes / (double)sample->records;
    return status;
}

/* ---- All ranges of a file ---- */

struct range_set {
    struct range *slots; /* open addressing; lo == hi: empty */
    size_t slot_count, count;
};

static bool set_add(struct range_set *set, struct range range)
{
    size_t slot;

    if (set->count * 2 >= set->slot_count) {
        struct range_set larger = {.slot_count = set->slot_count > 0 ? set->slot_count * 2 : RANGES_FIRST};

        larger.slots = calloc(larger.slot_count, sizeof *larger.slots);
        if (larger.slots == NULL)
            return false;
        for (size_t i = 0; i < set->slot_count; i++)
            if (set->slots[i].lo != set->slots[i].hi)
                set_add(&larger, set->slots[i]);
        free(set->slots);
        *set = larger;
    }
    slot = (size_t)(((uint64_t)range.lo * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (set->slot_count - 1);
    while (set->slots[slot].lo != set->slots[slot].hi && set->slots[slot].lo != range.lo)
        slot = (slot + 1) & (set->slot_count - 1);
    set->count += set->slots[slot].lo == set->slots[slot].hi;
    set->slots[slot] = range;
    return true;
}

static int range_compare(const void *one, const void *other)
{
    int64_t a = ((const struct range *)one)->lo, b = ((const struct range *)other)->lo;

    return (a > b) - (a < b);
}

/* The set's ranges to its front, sorted. */
static void set_sort(struct range_set *set)
{
    size_t count = 0;

    for (size_t i = 0; i < set->slot_count; i++)
        if (set->slots[i].lo != set->slots[i].hi)
            set->slots[count++] = set->slots[i];
    if (count > 0)
        qsort(set->slots, count, sizeof *set->slots, range_compare);
}

/* Looks at the whole records of the window; *done is false where a record cannot be cut. */
static enum status look_window(const struct input *input, struct cutter *cutter, struct record_times *times,
                               struct range_set *set, size_t *used, bool *bad, struct error *error)
{
    struct range last = {0, 0};

    *used = 0;
    while (*used < input->size) {
        const char *record = input->buffer + *used;
        struct place place;
        size_t size;
        int64_t lines, value;
        enum cut cut = cutter_cut(cutter, record, input->size - *used, input->last, &size, &lines);

        *bad = cut == CUT_BAD && size == 0;
        if (cut == CUT_MORE || *bad)
            break;
        *used += size;
        if (cut == CUT_BAD || cutter_is_comment(cutter, record) || !record_time(times, cutter, record, size, &value) ||
            (value >= last.lo && value < last.hi) || !layout_find(input->source->layout, value, &place))
            continue;
        last = place.range;
        if (!set_add(set, last))
            return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    return STATUS_OK;
}

enum status stream_ranges(struct stream_source *source, struct range **ranges, size_t *count, struct stop *stop,
                          struct error *error)
{
    int64_t memory = source->memory_bytes > 0 ? source->memory_bytes : RANGES_MEMORY_DEFAULT;
    struct range_set set = {0};
    struct record_times times;
    struct cutter cutter;
    struct input input;
    bool bad = false;
    size_t used = 0;
    enum status status;

    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    cutter.line_end = source->line_end;
    cutter.comment = source->dialect.comment;
    record_times_init(&times, source);
    status = input_open(&input, source, (struct input_position){0}, false, memory / 4, stop, NULL, error);
    while (status == STATUS_OK) {
        status = look_window(&input, &cutter, &times, &set, &used, &bad, error);
        if (status == STATUS_OK && !bad && input.last && used == input.size)
            source->verified = source->kind != BYTES_PLAIN;
        if (status != STATUS_OK || bad || (input.last && used == input.size))
            break;
        status = input_refill(&input, used, 1, error);
        cutter_forget(&cutter);
        /* A record that does not fit is left to the run itself, as other errors of the data are. */
        if (status == STATUS_DATA) {
            error_reset(error);
            status = STATUS_OK;
            break;
        }
    }
    input_close(&input);
    if (status != STATUS_OK) {
        free(set.slots);
        return status;
    }
    set_sort(&set);
    *ranges = set.slots;
    *count = set.count;
    return STATUS_OK;
}
