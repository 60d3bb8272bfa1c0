/*
 * A look at the head of an input: what dialect it is in. Nothing is guessed: a property is found where one reading fits
 * all records of the head and the others do not; where two fit as well, the caller is told what to say instead.
 */
#pragma once

#include "readers/stream.h"

/* So much of an input is looked at. */
#define SNIFF_SIZE ((size_t)64 << 10)
#define SNIFF_TEXT_MAX 1024

/* What is known already; the others are looked for. */
struct sniff_given {
    bool delimiter, quote, escape, header, null_text, encoding, time_format;
};

/* What there was to see, so that a value of the dialect is more than its default. */
struct sniff_seen {
    bool delimiter, quote, null_text, empty, times; /* empty: nothing stands where a value should be */
};

struct sniff {
    struct dialect dialect;  /* what was given, and what was found */
    const char *encoding;    /* found: UTF8; NULL: plain ASCII, or given */
    const char *time_format; /* found, as --time-format takes it; NULL: iso, or no single time column, or given */
    struct sniff_seen seen;
    char found[SNIFF_TEXT_MAX];  /* "delimiter ';', header yes, …" */
    char unsure[SNIFF_TEXT_MAX]; /* what could matter and cannot be known from the head; "" */
};

/*
 * `sniff->dialect` is set to what is known. `last`: the head is the whole input. STATUS_USAGE with the options to give
 * where several readings are equally good; STATUS_DATA for what no option can read (UTF-16).
 */
MUST_CHECK enum status sniff_look(const char *head, size_t size, bool last, const struct sniff_given *given,
                                  struct sniff *sniff, struct error *error);
