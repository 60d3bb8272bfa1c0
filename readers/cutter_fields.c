/* Fields of a record: the server's rule. */
#include "readers/cutter.h"

#include "readers/words.h"

/* Where the field that starts at `at` ends (CopyReadAttributesCSV); whether it has a quote in it, whether one is open.
 */
static const char *field_extent(const struct cutter *cutter, char delimiter, const char *at, const char *end,
                                bool *quoted, bool *open)
{
    bool in_quote = false;

    *quoted = false;
    for (; at < end; at++) {
        if (in_quote && *at == cutter->escape && at + 1 < end && (at[1] == cutter->escape || at[1] == cutter->quote)) {
            at++;
        } else if (*at == cutter->quote) {
            in_quote = !in_quote;
            *quoted = true;
        } else if (*at == delimiter && !in_quote) {
            break;
        }
    }
    *open = in_quote;
    return at;
}

static const char *field_end(const struct cutter *cutter, char delimiter, const char *at, const char *end, bool *quoted)
{
    bool open;

    return field_extent(cutter, delimiter, at, end, quoted, &open);
}

/* Copies whole words up to one with a quote or an escape in it; gives their size. */
static size_t copy_words(const struct cutter *cutter, const char *at, const char *end, char *buffer, size_t buffer_size)
{
    const uint64_t quote = word_of(cutter->quote), escape = word_of(cutter->escape);
    size_t size = 0;

    for (; end - at >= WORD_SIZE && buffer_size - size >= WORD_SIZE; at += WORD_SIZE, size += WORD_SIZE) {
        uint64_t word = word_read(at, end);

        if ((word_find(word, quote) | word_find(word, escape)) != 0)
            break;
        memcpy(buffer + size, at, WORD_SIZE);
    }
    return size;
}

/* Copies a field without its quotes and escapes; false if it does not fit. */
static bool field_resolve(const struct cutter *cutter, const char *at, const char *end, char *buffer,
                          size_t buffer_size, size_t *size)
{
    bool in_quote = false;
    size_t used = 0;

    while (at < end) {
        size_t copied = copy_words(cutter, at, end, buffer + used, buffer_size - used);

        at += copied;
        used += copied;
        for (; at < end && *at != cutter->quote && *at != cutter->escape; at++) {
            if (used == buffer_size)
                return false;
            buffer[used++] = *at;
        }
        if (at == end)
            break;
        if (in_quote && *at == cutter->escape && at + 1 < end && (at[1] == cutter->escape || at[1] == cutter->quote)) {
            at++;
        } else if (*at == cutter->quote) {
            in_quote = !in_quote;
            at++;
            continue;
        }
        if (used == buffer_size)
            return false;
        buffer[used++] = *at++;
    }
    *size = used;
    return true;
}

bool cutter_field(const struct cutter *cutter, char delimiter, const char *record, size_t size, int index, char *buffer,
                  size_t buffer_size, struct csv_field *field)
{
    const char *at = record, *end = record + size, *stop;
    bool quoted;

    while (stop = field_end(cutter, delimiter, at, end, &quoted), index > 0) {
        if (stop == end)
            return false;
        at = stop + 1;
        index--;
    }
    *field = (struct csv_field){.text = at, .size = (size_t)(stop - at), .quoted = quoted};
    if (!quoted)
        return true;
    field->text = buffer;
    return field_resolve(cutter, at, stop, buffer, buffer_size, &field->size);
}

int cutter_field_count(const struct cutter *cutter, char delimiter, const char *record, size_t size)
{
    const char *at = record, *end = record + size;
    int count = 1;
    bool quoted;

    while ((at = field_end(cutter, delimiter, at, end, &quoted)) < end) {
        at++;
        count++;
    }
    return count;
}

static inline void field_put(struct csv_raw_field *fields, int room, int index, const char *at, const char *end,
                             bool quoted)
{
    if (index < room)
        fields[index] = (struct csv_raw_field){.text = at, .size = (size_t)(end - at), .quoted = quoted};
}

/* All fields of a record that has no quote. */
static int plain_fields(char delimiter, const char *record, const char *end, struct csv_raw_field *fields, int room)
{
    const uint64_t delimiters = word_of(delimiter);
    const char *begin = record;
    int count = 0;

    for (const char *at = record; at < end; at += WORD_SIZE)
        for (uint64_t found = word_find(word_read(at, end), delimiters); found != 0; found &= found - 1) {
            const char *stop = at + word_first(found);

            field_put(fields, room, count++, begin, stop, false);
            begin = stop + 1;
        }
    field_put(fields, room, count++, begin, end, false);
    return count;
}

/* All fields where quotes toggle. */
static int toggled_fields(const struct cutter *cutter, char delimiter, const char *record, const char *end,
                          struct csv_raw_field *fields, int room)
{
    const uint64_t delimiters = word_of(delimiter), quote = word_of(cutter->quote);
    const char *begin = record;
    bool open = false, quoted = false;
    int count = 0;

    for (const char *at = record; at < end; at += WORD_SIZE) {
        uint64_t word = word_read(at, end), quotes = word_find(word, quote), inside = word_inside(quotes, open);

        for (uint64_t found = word_find(word, delimiters) & ~inside; found != 0; found &= found - 1) {
            const char *stop = at + word_first(found);
            const uint64_t before = (found & -found) - 1;

            field_put(fields, room, count++, begin, stop, quoted || (quotes & before) != 0);
            begin = stop + 1;
            quotes &= ~before;
            quoted = false;
        }
        quoted |= quotes != 0;
        open = word_stays_open(inside);
    }
    field_put(fields, room, count++, begin, end, quoted);
    return open ? -1 : count;
}

static int fields_by_byte(const struct cutter *cutter, char delimiter, const char *record, const char *end,
                          struct csv_raw_field *fields, int room)
{
    const char *at = record;
    int count = 0;
    bool quoted, open;

    for (;;) {
        const char *stop = field_extent(cutter, delimiter, at, end, &quoted, &open);

        field_put(fields, room, count++, at, stop, quoted);
        if (open)
            return -1;
        if (stop == end)
            return count;
        at = stop + 1;
    }
}

int cutter_fields(const struct cutter *cutter, char delimiter, const char *record, size_t size,
                  struct csv_raw_field *fields, int room)
{
    if (memchr(record, cutter->quote, size) == NULL)
        return plain_fields(delimiter, record, record + size, fields, room);
    if (cutter->escape == cutter->quote)
        return toggled_fields(cutter, delimiter, record, record + size, fields, room);
    return fields_by_byte(cutter, delimiter, record, record + size, fields, room);
}

size_t cutter_field_text(const struct cutter *cutter, const struct csv_raw_field *field, char *buffer)
{
    size_t size = 0;

    if (!field->quoted) {
        memcpy(buffer, field->text, field->size);
        return field->size;
    }
    if (!field_resolve(cutter, field->text, field->text + field->size, buffer, field->size, &size))
        return 0;
    return size;
}
