/*
 * Between the files that read the command line: options.c (its words, one after the other), options_table.c (which
 * there are), options_value.c (what one is set to), options_wrong.c (what is said of a word that is none),
 * options_limits.c (values that are written in several ways), options_finish.c (what follows from several together).
 */
#pragma once

#include "engine/cli/commands.h"

#define DISTANCE_NAME_MAX 32

struct parser {
    int argc;
    char **argv;
    int index;               /* of the next argument */
    bool given[OPTIONS_MAX]; /* by index into option_table */
    struct options *options;
    struct error *error;
};

/* By enum command. */
extern const char *const command_names[];
extern const size_t command_count;

/* Whether the option was said. */
bool option_given(const struct parser *parser, const char *name);

/* Puts a value where its entry says; STATUS_USAGE where it is none. */
MUST_CHECK enum status option_value_set(const struct option_entry *entry, const char *value, struct options *options,
                                        struct error *error);

/* --- options_wrong.c: STATUS_USAGE, with what may have been meant --- */
MUST_CHECK enum status parser_unknown_option(const struct parser *parser, const char *argument, size_t size);
MUST_CHECK enum status parser_unknown_command(const struct parser *parser, const char *name);

/* An option that exists, but for other commands, or that came before its command. */
MUST_CHECK enum status parser_misplaced_option(const struct parser *parser, const struct option_entry *entry);

/* A short option, a lone dash or a word where an option should be. */
MUST_CHECK enum status parser_stray_argument(const struct parser *parser, const char *argument);

/* --- once all words are read --- */

/* --max-rejects, --max-rate, --max-source-lag, --min-disk-free. */
MUST_CHECK enum status options_finish_limits(struct options *options, struct error *error);

MUST_CHECK enum status options_finish_bench(struct parser *parser);
MUST_CHECK enum status options_finish_dialect(struct parser *parser);
