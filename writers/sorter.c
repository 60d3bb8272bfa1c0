/* Records of a piece by segment and time. */
#include "writers/sorter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Sorted records are handed out so many bytes at a time. */
#define OUTPUT_SIZE ((size_t)64 << 10)

/* A segment is known by what its fields mean, put together; longer ones are not sorted. */
#define KEY_SIZE_MAX 1024

struct entry {
    int64_t time;
    uint32_t offset, size; /* in the text */
    uint32_t segment;
};

struct segment {
    uint64_t hash;
    uint32_t key, key_size; /* in the keys */
    uint32_t count;
    uint32_t next; /* where its next entry goes in the order */
};

struct sorter {
    size_t bytes_max;
    char *text;
    size_t text_size, text_room;
    struct entry *entries;
    uint32_t *order; /* of entries, sorted */
    size_t entry_count, entry_room;
    struct segment *segments;
    size_t segment_count, segment_room;
    uint32_t *table; /* open addressing: segment + 1; of `table_size`, a power of two above twice the count */
    size_t table_size;
    char *keys;
    size_t keys_size, keys_room;
    size_t record_max;
    char *output; /* of OUTPUT_SIZE and one record more, with a line end */
    size_t at;    /* in the order */
};

enum status sorter_create(int64_t bytes_max, struct sorter **result, struct error *error)
{
    struct sorter *sorter = calloc(1, sizeof *sorter);

    if (sorter == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    sorter->bytes_max = (size_t)bytes_max;
    *result = sorter;
    return STATUS_OK;
}

/* Between pieces nothing is held: the limit is for all writers at work. */
static void drop(struct sorter *sorter)
{
    size_t bytes_max = sorter->bytes_max;

    free(sorter->text);
    free(sorter->entries);
    free(sorter->order);
    free(sorter->segments);
    free(sorter->table);
    free(sorter->keys);
    free(sorter->output);
    *sorter = (struct sorter){.bytes_max = bytes_max};
}

void sorter_free(struct sorter *sorter)
{
    if (sorter == NULL)
        return;
    drop(sorter);
    free(sorter);
}

/* Without segments, which are few as a rule. */
static size_t needed(size_t records, size_t bytes)
{
    return bytes + OUTPUT_SIZE + records * (sizeof(struct entry) + sizeof(uint32_t));
}

static bool sorter_has_room(const struct sorter *sorter, int64_t records, int64_t bytes)
{
    return bytes < INT32_MAX && records < INT32_MAX && needed((size_t)records, (size_t)bytes) <= sorter->bytes_max;
}

static bool reserve(void **items, size_t *room, size_t count, size_t size)
{
    size_t wanted = *room * 3 / 2 + 64;
    void *grown;

    if (count <= *room)
        return true;
    if (wanted < count)
        wanted = count;
    grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

/* A field's content without quotes; false if there is no such field, or it is too long. */
struct content {
    char text[KEY_SIZE_MAX];
    size_t size;
    bool null;
};

/* Walks to the next field; `content` may be NULL. CopyReadAttributesCSV. */
static bool take_field(const struct sorter_spec *spec, const char **at, const char *end, struct content *content)
{
    const char *text = *at;
    bool quoted = false, inside = false;
    size_t size = 0;

    for (; text < end && (inside || *text != spec->delimiter); text++) {
        char byte = *text;

        if (!inside && byte == spec->quote) {
            quoted = inside = true;
            continue;
        }
        if (inside && byte == spec->escape && text + 1 < end && (text[1] == spec->escape || text[1] == spec->quote)) {
            byte = *++text;
        } else if (inside && byte == spec->quote) {
            inside = false;
            continue;
        }
        if (content != NULL && size == sizeof content->text)
            return false;
        if (content != NULL)
            content->text[size] = byte;
        size++;
    }
    *at = text < end ? text + 1 : end + 1;
    if (content != NULL) {
        content->size = size;
        content->null = !quoted && size == strlen(spec->null_text) && memcmp(content->text, spec->null_text, size) == 0;
    }
    return !inside;
}

/* Plain decimal digits without a leading zero are the same number only if they are the same text. */
static bool is_plain_integer(const struct content *content)
{
    const char *text = content->text;
    size_t size = content->size;

    if (size > 1 && text[0] == '-' && text[1] != '0') {
        text++;
        size--;
    }
    if (size == 0 || (size > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

/* Adds the content to the key, so that no two different lists of contents give the same. */
static bool add_key(struct content *key, const struct content *content)
{
    uint16_t head = (uint16_t)(content->null ? UINT16_MAX : content->size);

    if (key->size + sizeof head + content->size > sizeof key->text)
        return false;
    memcpy(key->text + key->size, &head, sizeof head);
    key->size += sizeof head;
    if (!content->null)
        memcpy(key->text + key->size, content->text, content->size);
    key->size += content->null ? 0 : content->size;
    return true;
}

static size_t record_end(const char *text, size_t size)
{
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    return size;
}

/* The key and the time of a record; false if it is not understood. */
static bool read_record(const struct sorter_spec *spec, const char *text, size_t size, struct content *key,
                        int64_t *time)
{
    struct content parts[SORTER_KEYS_MAX], moment, *wanted;
    const char *at = text, *end = text + record_end(text, size);
    int found = 0;

    for (int field = 0; found <= spec->key_count && at <= end; field++) {
        wanted = field == spec->time_field ? &moment : NULL;
        for (int i = 0; i < spec->key_count; i++)
            if (spec->keys[i].field == field)
                wanted = &parts[i];
        if (!take_field(spec, &at, end, wanted))
            return false;
        found += wanted != NULL;
    }
    if (found <= spec->key_count || moment.null || time_parse(&spec->time, moment.text, moment.size, time) != TIME_FINE)
        return false;
    key->size = 0;
    for (int i = 0; i < spec->key_count; i++)
        if ((spec->keys[i].kind == SORTER_INTEGER && !parts[i].null && !is_plain_integer(&parts[i])) ||
            !add_key(key, &parts[i]))
            return false;
    return true;
}

/* Where the segment is in the table, or would be. */
static uint32_t *find_slot(const struct sorter *sorter, uint64_t hash, const struct content *key)
{
    size_t at = hash & (sorter->table_size - 1);

    for (; sorter->table[at] != 0; at = (at + 1) & (sorter->table_size - 1)) {
        const struct segment *segment = &sorter->segments[sorter->table[at] - 1];

        if (key != NULL && segment->hash == hash && segment->key_size == key->size &&
            memcmp(sorter->keys + segment->key, key->text, key->size) == 0)
            break;
    }
    return &sorter->table[at];
}

static bool grow_table(struct sorter *sorter)
{
    if (sorter->table != NULL && sorter->segment_count * 2 < sorter->table_size)
        return true;
    free(sorter->table);
    sorter->table_size = sorter->table_size == 0 ? 1024 : sorter->table_size * 2;
    sorter->table = calloc(sorter->table_size, sizeof *sorter->table);
    for (size_t i = 0; sorter->table != NULL && i < sorter->segment_count; i++)
        *find_slot(sorter, sorter->segments[i].hash, NULL) = (uint32_t)i + 1;
    return sorter->table != NULL;
}

static bool find_segment(struct sorter *sorter, const struct content *key, uint32_t *found)
{
    uint64_t hash = XXH3_64bits(key->text, key->size);
    uint32_t *slot;

    if (!grow_table(sorter))
        return false;
    slot = find_slot(sorter, hash, key);
    if (*slot == 0) {
        if (!reserve((void **)&sorter->segments, &sorter->segment_room, sorter->segment_count + 1,
                     sizeof *sorter->segments) ||
            !reserve((void **)&sorter->keys, &sorter->keys_room, sorter->keys_size + key->size, 1))
            return false;
        memcpy(sorter->keys + sorter->keys_size, key->text, key->size);
        sorter->segments[sorter->segment_count++] =
            (struct segment){.hash = hash, .key = (uint32_t)sorter->keys_size, .key_size = (uint32_t)key->size};
        sorter->keys_size += key->size;
        *slot = (uint32_t)sorter->segment_count;
    }
    *found = *slot - 1;
    return true;
}

static size_t held(const struct sorter *sorter)
{
    return needed(sorter->entry_room, 0) + sorter->text_room + sorter->keys_room +
           sorter->table_size * sizeof(uint32_t) + sorter->segment_room * sizeof *sorter->segments;
}

/* False: not understood, or no room. */
static bool add_record(struct sorter *sorter, const struct sorter_spec *spec, const struct record *record)
{
    struct content key;
    struct entry entry = {.offset = (uint32_t)sorter->text_size, .size = (uint32_t)record->size};

    if (!read_record(spec, record->text, record->size, &key, &entry.time) ||
        !reserve((void **)&sorter->text, &sorter->text_room, sorter->text_size + record->size + 1, 1) ||
        !reserve((void **)&sorter->entries, &sorter->entry_room, sorter->entry_count + 1, sizeof *sorter->entries) ||
        !find_segment(sorter, &key, &entry.segment) || held(sorter) > sorter->bytes_max)
        return false;
    memcpy(sorter->text + sorter->text_size, record->text, record->size);
    sorter->text_size += record->size;
    sorter->entries[sorter->entry_count++] = entry;
    sorter->record_max = record->size > sorter->record_max ? record->size : sorter->record_max;
    sorter->segments[entry.segment].count++;
    return true;
}

static int compare_ascending(const void *left, const void *right, void *context)
{
    const struct entry *entries = context, *a = &entries[*(const uint32_t *)left],
                       *b = &entries[*(const uint32_t *)right];

    return (a->time > b->time) - (a->time < b->time);
}

static int compare_descending(const void *left, const void *right, void *context)
{
    return compare_ascending(right, left, context);
}

/* By segment without comparing, then each segment by time, unless it came so. */
static bool sort(struct sorter *sorter, bool descending)
{
    int (*compare)(const void *, const void *, void *) = descending ? compare_descending : compare_ascending;
    uint32_t at = 0;

    sorter->order = malloc((sorter->entry_count + 1) * sizeof *sorter->order);
    sorter->output = malloc(OUTPUT_SIZE + sorter->record_max + 2);
    if (sorter->order == NULL || sorter->output == NULL)
        return false;
    for (size_t i = 0; i < sorter->segment_count; i++) {
        sorter->segments[i].next = at;
        at += sorter->segments[i].count;
    }
    for (size_t i = 0; i < sorter->entry_count; i++)
        sorter->order[sorter->segments[sorter->entries[i].segment].next++] = (uint32_t)i;
    for (size_t i = 0; i < sorter->segment_count; i++) {
        uint32_t count = sorter->segments[i].count, *first = &sorter->order[sorter->segments[i].next - count];
        bool ordered = true;

        for (uint32_t j = 1; j < count && ordered; j++)
            ordered = compare(&first[j - 1], &first[j], sorter->entries) <= 0;
        if (!ordered)
            qsort_r(first, count, sizeof *first, compare, sorter->entries);
    }
    return true;
}

/* What is known to be needed is taken at once: growing would take up to half as much again. */
static bool begin(struct sorter *sorter, int64_t count, int64_t bytes)
{
    drop(sorter);
    if (!sorter_has_room(sorter, count, bytes))
        return false;
    sorter->text_room = (size_t)bytes + 1;
    sorter->entry_room = (size_t)count + 1;
    sorter->text = malloc(sorter->text_room);
    sorter->entries = malloc(sorter->entry_room * sizeof *sorter->entries);
    return sorter->text != NULL && sorter->entries != NULL;
}

enum status sorter_fill(struct sorter *sorter, const struct sorter_spec *spec, struct records *records, int64_t count,
                        int64_t bytes, bool *sorted, struct error *error)
{
    struct record record = {0};
    enum status status = STATUS_OK;

    *sorted = begin(sorter, count, bytes);
    while (*sorted) {
        status = records_next(records, &record, error);
        if (status != STATUS_OK || record.size == 0)
            break;
        *sorted = add_record(sorter, spec, &record);
    }
    *sorted = *sorted && status == STATUS_OK && sort(sorter, spec->descending);
    if (!*sorted)
        drop(sorter);
    return status;
}

/* The last record of an input may have no line end; then it borrows the others'. */
static size_t add_line_end(const struct sorter *sorter, char *output, size_t size)
{
    const char *text = sorter->text;
    size_t first = sorter->entries[0].size, ends;

    if (output[size - 1] == '\n' || output[size - 1] == '\r')
        return size;
    for (ends = first; ends > 0 && (text[ends - 1] == '\n' || text[ends - 1] == '\r'); ends--)
        ;
    /* Alone without one: any is fine. */
    if (ends == first)
        output[size++] = '\n';
    else
        for (; ends < first && ends + 2 >= first; ends++)
            output[size++] = text[ends];
    return size;
}

struct span sorter_next(struct sorter *sorter, bool one)
{
    size_t size = 0;

    while (sorter->at < sorter->entry_count && size < OUTPUT_SIZE) {
        const struct entry *entry = &sorter->entries[sorter->order[sorter->at++]];

        memcpy(sorter->output + size, sorter->text + entry->offset, entry->size);
        size = add_line_end(sorter, sorter->output, size + entry->size);
        if (one)
            break;
    }
    if (size == 0)
        drop(sorter);
    return (struct span){.data = sorter->output, .size = (uint32_t)size};
}
