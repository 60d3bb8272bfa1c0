/* Between the files of `status`: what is said of one table. */
#pragma once

#include "engine/checkpoint.h"
#include "engine/cli/progress_private.h"
#include "engine/timevalue.h"

struct report {
    const char *path;
    const struct checkpoint_state *state;
    const char *result; /* one word */
    int64_t ranges, rows, bytes, conflicts;
    bool timed; /* the type of the time column is known */
    enum time_type type;
};

void report_make(const char *path, bool locked, const struct checkpoint_state *state, struct report *report);

/* The members of an object that is open. */
void report_members(struct json *json, const struct report *report);

/* Values come from a file that anybody may have written: nothing of them is for the terminal itself. */
void plain_print(const char *text);
