/*
 * A command with places for the edges of a range:
 *
 *     {from} {until}          as the time column's type writes it: 2024-01-01 00:00:00+00, integers as they are
 *     {from:%Y-%m-%d %H:%M}   by strftime's conversions, in UTC
 *     {from:epoch}            seconds since 1970; epoch-ms, epoch-us, epoch-ns
 *     {{ }}                   a brace
 *
 * What is put in is made of digits, letters, blanks and `-+:/.` only, so it is safe within quotes of the shell. Texts
 * of commands may hold passwords: no message here repeats them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/error.h"
#include "engine/layout.h"
#include "engine/timevalue.h"

enum template_form { FORM_TEXT, FORM_PLAIN, FORM_STRFTIME, FORM_EPOCH };

struct template_part {
    enum template_form form;
    bool until;          /* else from; not of FORM_TEXT */
    const char *text;    /* FORM_TEXT: as it stands; FORM_STRFTIME: the format */
    size_t size;         /* of the text */
    int64_t micros_unit; /* FORM_EPOCH: what one stands for, in microseconds; 0: a nanosecond */
};

struct template
{
    struct template_part *parts; /* their texts are the command's */
    size_t count;
    bool from, until; /* which edges it has */
};

/* Whether the command asks for a range; else it is a stream, and its braces are its own. */
bool template_wanted(const char *command);

/* The command is borrowed until template_reset. STATUS_USAGE for a brace that is neither a place nor doubled. */
MUST_CHECK enum status template_parse(const char *command, struct template *template, struct error *error);
void template_reset(struct template *template);

/* STATUS_USAGE where the type of the time column has no such form: an integer has no date. */
MUST_CHECK enum status template_check_type(const struct template *template, enum time_type type, struct error *error);

/*
 * STATUS_USAGE where all forms of an edge together do not say it exactly, as %Y-%m-%d of 06:00: its rows would come
 * twice or never.
 */
MUST_CHECK enum status template_check_range(const struct template *template, enum time_type type, struct range range,
                                            struct error *error);

/* The command for a range that was checked. The caller frees it; NULL when out of memory. */
char *template_expand(const struct template *template, enum time_type type, struct range range);
