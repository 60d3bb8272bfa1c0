/*
 * The cutter against a plain rewriting of the server's loop, at windows of sizes that the input chooses; then the
 * fields of each record.
 *
 *     dialect, seed of the windows, text
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "readers/cutter.h"

#define FIELD_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char dialects[][3] = {{',', '"', '"'},  {',', '"', '\\'}, {';', '\'', '\''},
                                   {'\t', '"', '^'}, {' ', '~', '~'},  {',', '"', 'a'}};

/*
 * CopyReadLineText, one byte after the other. Returns the record's size, or 0 where the server refuses it. Without an
 * escape the server has '\0' for one, but refuses text with such bytes before it comes here.
 */
static size_t server_cut(const char *text, size_t size, char quote, char escape, enum line_end *line_end)
{
    const bool escapes = escape != quote;
    bool in_quote = false, after_escape = false;

    for (size_t at = 0; at < size; at++) {
        const char c = text[at];

        if (escapes && in_quote && c == escape)
            after_escape = !after_escape;
        if (c == quote && !after_escape)
            in_quote = !in_quote;
        if (!escapes || c != escape)
            after_escape = false;
        if (in_quote || (c != '\r' && c != '\n'))
            continue;
        if (c == '\n') {
            if (*line_end == LINE_END_CR || *line_end == LINE_END_CRLF)
                return 0;
            *line_end = LINE_END_LF;
            return at + 1;
        }
        if (*line_end == LINE_END_LF)
            return 0;
        if (*line_end != LINE_END_CR && at + 1 < size && text[at + 1] == '\n') {
            *line_end = LINE_END_CRLF;
            return at + 2;
        }
        if (*line_end == LINE_END_CRLF)
            return 0;
        *line_end = LINE_END_CR;
        return at + 1;
    }
    return in_quote ? 0 : size;
}

static bool is_end_of_data(const char *text, size_t size)
{
    return record_text_size(text, size) == 2 && memcmp(text, "\\.", 2) == 0;
}

static void check_fields(const struct cutter *cutter, char delimiter, const char *record, size_t size)
{
    int count = cutter_field_count(cutter, delimiter, record, size);
    char buffer[FIELD_MAX];
    struct csv_field field;
    size_t total = 0;

    assert(count >= 1);
    for (int index = 0; index < count; index++)
        if (cutter_field(cutter, delimiter, record, size, index, buffer, sizeof buffer, &field))
            total += field.size;
        else
            assert(size > sizeof buffer);
    assert(total + (size_t)count - 1 <= size);
    assert(!cutter_field(cutter, delimiter, record, size, count, buffer, sizeof buffer, &field));
}

/* Cuts by windows that grow at random until a record is whole. */
static enum cut cut_by_windows(struct cutter *cutter, const char *text, size_t size, unsigned *seed,
                               size_t *record_size)
{
    size_t available = 0;
    enum cut cut = CUT_MORE;

    while (cut == CUT_MORE) {
        char *window;
        int64_t lines = 0;

        available += 1 + (unsigned)rand_r(seed) % (rand_r(seed) % 3 == 0 ? 200u : 3u);
        if (available > size)
            available = size;
        /* Of exactly this size, so that a look beyond it is seen. */
        window = malloc(available);
        if (window == NULL)
            abort();
        memcpy(window, text, available);
        cutter_forget(cutter);
        cut = cutter_cut(cutter, window, available, available == size, record_size, &lines);
        if (cut == CUT_RECORD) {
            assert(lines >= 1 && lines <= (int64_t)*record_size + 1);
            assert(!cutter_plain(cutter, window + *record_size) || memchr(window, cutter->quote, *record_size) == NULL);
        }
        free(window);
    }
    cutter_forget(cutter);
    return cut;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *dialect, *text;
    enum line_end line_end = LINE_END_UNKNOWN;
    struct cutter cutter;
    unsigned seed;

    if (size < 3)
        return 0;
    dialect = dialects[data[0] % (sizeof dialects / sizeof *dialects)];
    seed = data[1];
    text = (const char *)data + 2;
    size -= 2;
    cutter_init(&cutter, dialect[1], dialect[2]);
    while (size > 0) {
        size_t expected = server_cut(text, size, dialect[1], dialect[2], &line_end), found = 0;
        enum cut cut = cut_by_windows(&cutter, text, size, &seed, &found);

        if (expected == 0 || is_end_of_data(text, expected)) {
            assert(cut == CUT_BAD && cutter.problem != NULL);
            break;
        }
        assert(cut == CUT_RECORD && found == expected && cutter.line_end == line_end);
        check_fields(&cutter, dialect[0], text, record_text_size(text, found));
        text += found;
        size -= found;
    }
    return 0;
}
