/* Reading the checkpoint file of several tables. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint_private.h"

/* A file in the making of its set: what struct reading is for one table. */
struct set_reading {
    struct checkpoint_set *set;
    struct reading *readings; /* of each part; their states move as parts are added */
    size_t now;               /* whose lines they are; count: nobody's yet */
};

bool checkpoint_is_set(const char *path)
{
    char text[sizeof CHECKPOINT_FIRST_SET];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text) : 0;

    if (fd >= 0)
        close(fd);
    return got == (ssize_t)sizeof text && memcmp(text, CHECKPOINT_FIRST_SET " ", sizeof text) == 0;
}

struct checkpoint_part *checkpoint_set_part(const struct checkpoint_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->parts[i].name, name) == 0)
            return &set->parts[i];
    return NULL;
}

/* Takes the name. */
static enum outcome part_add(struct set_reading *reading, char *name)
{
    struct checkpoint_set *set = reading->set;
    struct checkpoint_part *parts = reallocarray(set->parts, set->count + 1, sizeof *parts);
    struct reading *readings = reallocarray(reading->readings, set->count + 1, sizeof *readings);

    if (parts != NULL)
        set->parts = parts;
    if (readings != NULL)
        reading->readings = readings;
    if (parts == NULL || readings == NULL) {
        free(name);
        return LINE_NO_MEMORY;
    }
    parts[set->count] = (struct checkpoint_part){
        .name = name,
        .state = {.exists = true, .ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1},
    };
    readings[set->count] = (struct reading){0};
    reading->now = set->count++;
    return LINE_FINE;
}

static enum outcome line_take(struct set_reading *reading, const char *record, size_t size)
{
    struct checkpoint_part *part;
    char *name;
    enum outcome outcome = table_read(record, size, &name);

    if (outcome == LINE_NO_MEMORY)
        return outcome;
    if (outcome == LINE_FINE) {
        part = checkpoint_set_part(reading->set, name);
        if (part == NULL)
            return part_add(reading, name);
        reading->now = (size_t)(part - reading->set->parts);
        free(name);
        return LINE_FINE;
    }
    if (reading->now == reading->set->count)
        return LINE_DAMAGED;
    reading->readings[reading->now].state = &reading->set->parts[reading->now].state;
    return record_read(&reading->readings[reading->now], record, size);
}

static enum outcome lines_take(struct set_reading *reading, const char *text, const char *end)
{
    struct checkpoint_set *set = reading->set;
    enum outcome outcome = LINE_FINE;
    int64_t number = 2;

    for (const char *line = text; line < end && outcome == LINE_FINE; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t size = newline != NULL ? (size_t)(newline - line) : 0;

        if (newline == NULL || !checkpoint_line_check(line, &size)) {
            set->torn = newline == NULL || newline + 1 == end;
            outcome = set->torn ? LINE_FINE : LINE_DAMAGED;
            line = end;
        } else {
            outcome = line_take(reading, line, size);
            line = newline + 1;
        }
        if (outcome == LINE_DAMAGED) {
            set->damaged = true;
            set->damaged_line = number;
        }
    }
    return outcome;
}

static enum status set_parse(const char *path, const char *text, size_t size, struct set_reading *reading,
                             struct error *error)
{
    struct checkpoint_set *set = reading->set;
    struct checkpoint_state file = {0};
    const char *rest;
    enum status status = checkpoint_first_line(path, CHECKPOINT_FIRST_SET, text, size, &file, &rest, error);
    bool memory = true;

    set->exists = file.exists;
    set->torn = file.torn;
    set->damaged = file.damaged;
    set->damaged_line = file.damaged_line;
    if (status != STATUS_OK || rest == NULL)
        return status;
    memory = lines_take(reading, rest, text + size) != LINE_NO_MEMORY;
    for (size_t i = 0; i < set->count; i++) {
        reading->readings[i].state = &set->parts[i].state;
        memory = checkpoint_reading_end(&reading->readings[i]) != LINE_NO_MEMORY && memory;
    }
    return memory ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory for checkpoint file %s", path);
}

enum status checkpoint_read_set(const char *path, struct checkpoint_set *set, struct error *error)
{
    struct set_reading reading = {.set = set};
    enum status status;
    size_t size;
    char *text;

    *set = (struct checkpoint_set){0};
    status = checkpoint_load(path, &text, &size, error);
    if (status == STATUS_OK && size > 0)
        status = set_parse(path, text, size, &reading, error);
    for (size_t i = 0; i < set->count && reading.readings != NULL; i++)
        free(reading.readings[i].entries);
    free(reading.readings);
    free(text);
    if (status != STATUS_OK)
        checkpoint_set_free(set);
    return status;
}

void checkpoint_set_free(struct checkpoint_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->parts[i].name);
        checkpoint_state_free(&set->parts[i].state);
    }
    free(set->parts);
    *set = (struct checkpoint_set){0};
}
