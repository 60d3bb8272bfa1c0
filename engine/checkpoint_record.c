/* The records of the checkpoint file, read word by word. */
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint_private.h"
#include "engine/timevalue.h"

/* The rest of a record. */
struct words {
    const char *at;
    const char *end;
};

/* ---- Words ---- */

/* Takes " key=value" up to the next blank; the value is still escaped. */
static bool word_take(struct words *words, const char *key, struct words *value)
{
    size_t key_size = strlen(key);
    const char *at = words->at;

    if (at == words->end || *at++ != ' ')
        return false;
    if ((size_t)(words->end - at) <= key_size || memcmp(at, key, key_size) != 0 || at[key_size] != '=')
        return false;
    value->at = at + key_size + 1;
    value->end = memchr(value->at, ' ', (size_t)(words->end - value->at));
    if (value->end == NULL)
        value->end = words->end;
    words->at = value->end;
    return true;
}

static bool word_number(struct words *words, const char *key, int64_t *number)
{
    static const struct time_column column = {.type = TIME_INT8};
    struct words value;

    return word_take(words, key, &value) &&
           time_parse(&column, value.at, (size_t)(value.end - value.at), number) == TIME_FINE;
}

static bool word_input(struct words *words, int32_t *input)
{
    int64_t number;

    if (!word_number(words, "input", &number) || number < INT32_MIN || number > INT32_MAX)
        return false;
    *input = (int32_t)number;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* `text` has room for the value as it is and a zero. */
static bool unescape(struct words value, char *text)
{
    while (value.at < value.end) {
        char c = *value.at++;

        if (c == '%') {
            int high = value.end - value.at >= 2 ? hex_digit(value.at[0]) : -1;
            int low = high >= 0 ? hex_digit(value.at[1]) : -1;

            /* A text has no zero inside. */
            if (low < 0 || (high | low) == 0)
                return false;
            c = (char)(high * 16 + low);
            value.at += 2;
        }
        *text++ = c;
    }
    *text = '\0';
    return true;
}

static enum outcome word_text(struct words *words, const char *key, char **text)
{
    struct words value;

    if (!word_take(words, key, &value))
        return LINE_DAMAGED;
    *text = malloc((size_t)(value.end - value.at) + 1);
    if (*text == NULL)
        return LINE_NO_MEMORY;
    if (unescape(value, *text))
        return LINE_FINE;
    free(*text);
    *text = NULL;
    return LINE_DAMAGED;
}

static bool word_fixed(struct words *words, const char *key, char *text, size_t text_size)
{
    struct words value;

    return word_take(words, key, &value) && (size_t)(value.end - value.at) < text_size && unescape(value, text);
}

/* The time of a line, which is empty for those that a rewrite merged. */
static bool word_at(struct words *words, struct checkpoint_state *state)
{
    char at[sizeof state->updated];

    if (!word_fixed(words, "at", at, sizeof at))
        return false;
    if (at[0] != '\0')
        memcpy(state->updated, at, sizeof at);
    return true;
}

static bool word_end(struct words *words, enum checkpoint_end *end)
{
    static const char *const names[] = CHECKPOINT_END_NAMES;
    char name[sizeof "complete"];

    if (!word_fixed(words, "end", name, sizeof name))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *end = (enum checkpoint_end)i;
            return true;
        }
    return false;
}

/* ---- Records ---- */

static enum outcome outcome_of(bool fine)
{
    return fine ? LINE_FINE : LINE_DAMAGED;
}

/* Makes room for one more in an array that holds `count`; it doubles at powers of two. NULL: no memory. */
static void *array_grow(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    return reallocarray(array, count == 0 ? 1 : count * 2, size);
}

static enum outcome job_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;

    return outcome_of(word_fixed(words, "id", state->job, sizeof state->job) &&
                      word_fixed(words, "created", state->created, sizeof state->created));
}

/* Adds a pair of texts to a list of them. */
static enum outcome pair_read(struct words *words, const char *first, const char *second, struct checkpoint_text **list,
                              size_t *count)
{
    struct checkpoint_text *texts = array_grow(*list, *count, sizeof *texts);
    struct checkpoint_text text = {0};
    enum outcome outcome;

    if (texts == NULL)
        return LINE_NO_MEMORY;
    *list = texts;
    outcome = word_text(words, first, &text.key);
    if (outcome == LINE_FINE)
        outcome = word_text(words, second, &text.value);
    if (outcome == LINE_FINE)
        texts[(*count)++] = text;
    else
        free(text.key);
    return outcome;
}

static enum outcome text_read(struct reading *reading, struct words *words)
{
    return pair_read(words, "key", "value", &reading->state->texts, &reading->state->text_count);
}

static enum outcome input_read(struct reading *reading, struct words *words)
{
    return pair_read(words, "path", "is", &reading->state->inputs, &reading->state->input_count);
}

static enum outcome plan_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;

    return outcome_of(word_number(words, "ranges", &state->ranges_planned) &&
                      word_number(words, "rows", &state->rows_planned) &&
                      word_number(words, "bytes", &state->bytes_planned));
}

static enum outcome piece_read(struct reading *reading, struct words *words)
{
    struct entry *entries = array_grow(reading->entries, reading->entry_count, sizeof *entries);
    struct entry entry = {.order = reading->entry_count};
    struct checkpoint_piece *piece = &entry.piece;

    if (entries == NULL)
        return LINE_NO_MEMORY;
    reading->entries = entries;
    if (!word_input(words, &piece->input) || !word_number(words, "lo", &piece->lo) ||
        !word_number(words, "hi", &piece->hi) || !word_number(words, "mark", &piece->mark) ||
        !word_number(words, "rows", &piece->rows) || !word_number(words, "bytes", &piece->bytes))
        return LINE_DAMAGED;
    if (!word_number(words, "conflicts", &piece->conflicts))
        piece->conflicts = 0;
    if (!word_at(words, reading->state))
        return LINE_DAMAGED;
    entries[reading->entry_count++] = entry;
    return LINE_FINE;
}

static enum outcome rejects_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;

    return outcome_of(word_number(words, "all", &state->rejects) && word_number(words, "open", &state->rejects_open) &&
                      word_at(words, state));
}

static enum outcome failed_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;
    struct checkpoint_failure *failures = array_grow(state->failures, state->failure_count, sizeof *failures);
    struct checkpoint_failure failure = {0};
    enum outcome outcome;

    if (failures == NULL)
        return LINE_NO_MEMORY;
    state->failures = failures;
    if (!word_input(words, &failure.input) || !word_number(words, "lo", &failure.lo) ||
        !word_number(words, "hi", &failure.hi))
        return LINE_DAMAGED;
    outcome = word_text(words, "text", &failure.text);
    if (outcome == LINE_FINE)
        outcome = outcome_of(word_at(words, state));
    if (outcome == LINE_FINE)
        failures[state->failure_count++] = failure;
    else
        free(failure.text);
    return outcome;
}

static enum outcome frame_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;
    struct checkpoint_frame *frames = array_grow(state->frames, state->frame_count, sizeof *frames);
    struct checkpoint_frame frame = {0};

    if (frames == NULL)
        return LINE_NO_MEMORY;
    state->frames = frames;
    if (!word_input(words, &frame.input) || !word_number(words, "file", &frame.file) ||
        !word_number(words, "text", &frame.text))
        return LINE_DAMAGED;
    frames[state->frame_count++] = frame;
    return LINE_FINE;
}

static enum outcome run_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;

    reading->run_first = reading->entry_count;
    reading->run_summed = true;
    return outcome_of(word_number(words, "number", &state->runs) &&
                      word_fixed(words, "started", state->started, sizeof state->started) &&
                      word_fixed(words, "updated", state->updated, sizeof state->updated) &&
                      word_end(words, &state->end) && word_number(words, "rows", &state->run_rows) &&
                      word_number(words, "bytes", &state->run_bytes) && word_number(words, "ms", &state->run_ms));
}

static enum outcome start_read(struct reading *reading, struct words *words)
{
    struct checkpoint_state *state = reading->state;

    if (!word_at(words, state) || state->runs == INT64_MAX)
        return LINE_DAMAGED;
    checkpoint_failures_free(state);
    memcpy(state->started, state->updated, sizeof state->started);
    state->runs++;
    state->end = CHECKPOINT_RUNNING;
    state->run_rows = state->run_bytes = state->run_ms = 0;
    reading->run_first = reading->entry_count;
    reading->run_summed = false;
    return LINE_FINE;
}

static enum outcome stop_read(struct reading *reading, struct words *words)
{
    return outcome_of(word_end(words, &reading->state->end) && word_at(words, reading->state));
}

enum outcome table_read(const char *record, size_t size, char **name)
{
    struct words words = {.at = record + strlen("table"), .end = record + size};
    enum outcome outcome;

    *name = NULL;
    if (size <= strlen("table") || memcmp(record, "table", strlen("table")) != 0)
        return LINE_DAMAGED;
    outcome = word_text(&words, "name", name);
    if (outcome != LINE_FINE || words.at == words.end)
        return outcome;
    free(*name);
    *name = NULL;
    return LINE_DAMAGED;
}

enum outcome record_read(struct reading *reading, const char *record, size_t size)
{
    static const struct {
        const char *name;
        enum outcome (*read)(struct reading *reading, struct words *words);
    } kinds[] = {
        {"job", job_read},     {"text", text_read},       {"input", input_read},   {"plan", plan_read},
        {"piece", piece_read}, {"rejects", rejects_read}, {"failed", failed_read}, {"run", run_read},
        {"start", start_read}, {"stop", stop_read},       {"frame", frame_read},
    };
    const char *blank = memchr(record, ' ', size);
    size_t name_size = blank != NULL ? (size_t)(blank - record) : size;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == name_size && memcmp(record, kinds[i].name, name_size) == 0) {
            struct words words = {.at = record + name_size, .end = record + size};
            enum outcome outcome = kinds[i].read(reading, &words);

            return outcome == LINE_FINE && words.at != words.end ? LINE_DAMAGED : outcome;
        }
    return LINE_DAMAGED;
}
