/* Whether an input that cannot be told by its size and time is the one that was loaded. */
#include <inttypes.h>

#include "readers/input.h"
#include "readers/record.h"

#define MEMORY_DEFAULT ((int64_t)256 << 20)

/* Where the last rows end that were loaded of it: every mark lies between records. */
static struct input_position loaded_end(const struct stream_source *source)
{
    struct input_position end = {0};

    for (size_t i = 0; i < source->mark_count; i++) {
        const struct stream_mark *mark = &source->marks[i];

        if (mark->mark > end.offset)
            end = (struct input_position){.offset = mark->mark, .line = 1, .hash = {mark->hash[0], mark->hash[1]}};
    }
    return end;
}

/* A record that the job would have loaded or rejected; what it leaves out may stand behind the end. */
static bool is_wanted(const struct stream_source *source, struct record_times *times, struct cutter *cutter,
                      const char *record, size_t size)
{
    struct place place;
    int64_t value;

    if (cutter_is_comment(cutter, record))
        return false;
    return !record_time(times, cutter, record, size, &value) || layout_find(source->layout, value, &place);
}

/* Looks at the whole records of the window. */
static enum status look_window(const struct input *input, struct cutter *cutter, struct record_times *times,
                               size_t *used, struct error *error)
{
    for (*used = 0; *used < input->size;) {
        const char *record = input->buffer + *used;
        size_t size;
        int64_t lines;
        enum cut cut = cutter_cut(cutter, record, input->size - *used, input->last, &size, &lines);

        if (cut == CUT_MORE)
            break;
        if (cut == CUT_BAD || is_wanted(input->source, times, cutter, record, size))
            return record_error(input->source, -1, -1, error,
                                "this is not the input that the job has loaded: it has rows at byte %" PRId64
                                ", where that one had no more",
                                input->window.offset + (int64_t)*used);
        *used += size;
    }
    return STATUS_OK;
}

enum status stream_compare(const struct stream_source *source, struct stop *stop, struct error *error)
{
    int64_t memory = source->memory_bytes > 0 ? source->memory_bytes : MEMORY_DEFAULT;
    struct record_times times;
    struct cutter cutter;
    struct input input;
    size_t used = 0;
    enum status status;

    cutter_init(&cutter, source->dialect.quote, source->dialect.escape);
    cutter.line_end = source->line_end;
    cutter.comment = source->dialect.comment;
    record_times_init(&times, source);
    status = input_open(&input, source, loaded_end(source), true, memory / 4, stop, NULL, error);
    while (status == STATUS_OK) {
        status = look_window(&input, &cutter, &times, &used, error);
        if (status != STATUS_OK || (input.last && used == input.size))
            break;
        status = input_refill(&input, used, 1, error);
        cutter_forget(&cutter);
    }
    if (status == STATUS_OK)
        status = input_finish(&input, error);
    input_close(&input);
    return status;
}
