/* What `hyperfill verify` found, for people and for scripts; on standard output. */
#pragma once

#include "engine/method/verify.h"

/* `source` and `target` are their names for people. */
struct verify_shown {
    const struct verify_spec *spec;
    const struct verify_report *report;
    const char *source, *target;
};

void verify_print(const struct verify_shown *shown);
void verify_print_json(const struct verify_shown *shown);
