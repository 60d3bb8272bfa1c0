/* What `hyperfill verify` found, for people and for scripts; on standard output. */
#pragma once

#include "engine/method/verify.h"

/* Texts are for people. */
struct verify_shown {
    const struct verify_spec *spec; /* without a table of the source if that is none */
    const struct verify_report *report;
    const char *source, *target;
    const char *aggregate; /* whose rows these are, by --cascade; NULL: a table's own */
    const char *how;       /* what was compared, and what that cannot see; NULL: all */
};

void verify_print(const struct verify_shown *shown);
void verify_print_json(const struct verify_shown *shown);
