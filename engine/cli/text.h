/*
 * Numbers for people: sizes, counts, rates, durations, and back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NUMBER_TEXT_MAX 32

/* "256MB", "64 MiB", "1G", "100000": powers of 1024. False if it cannot be read or overflows. */
bool size_parse(const char *text, int64_t *bytes);

const char *size_format(int64_t bytes, char buffer[NUMBER_TEXT_MAX]);       /* "1.4 GB" */
const char *count_format(int64_t count, char buffer[NUMBER_TEXT_MAX]);      /* "5,000,000" */
const char *short_format(int64_t count, char buffer[NUMBER_TEXT_MAX]);      /* "5.0M" */
const char *duration_format(int64_t seconds, char buffer[NUMBER_TEXT_MAX]); /* "0:42", "1:02:03", "3d 04:05" */
