/* What tests of the checkpoint file share: a file, a job with every kind of line in it, and what must be read of it. */
#pragma once

#include "engine/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NASTY " a=b %41 100%\tüber\n\x7f%"

/* Fails the test with the text of the error. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct error error;                                                                                            \
        error_reset(&error);                                                                                           \
        if ((call) != STATUS_OK)                                                                                       \
            fail_msg("%s", error.text);                                                                                \
    } while (0)

void expect_refusal(enum status got, enum status expected, const struct error *error, const char *words);

/* --- The file, in a folder of its own; it is not there at the start of each test --- */

#define FOLDER "/tmp/hyperfill-checkpoint-XXXXXX"

extern char folder[sizeof FOLDER];
extern char path[sizeof FOLDER + 8];

/* Of all tests, which may not take for ever. */
int folder_make(void **state);
int folder_remove(void **state);
/* Before each test. */
int file_remove(void **state);

/* All of the file; who calls frees it. */
char *file_get(size_t *size);
void file_put(const char *text, size_t size);

/* --- A job --- */

/* A job of two inputs with two pieces; nothing in it is to be freed. */
void state_make(struct checkpoint_state *state);
/* The file of that job, open. */
struct checkpoint *job_open(void);
void piece_add(struct checkpoint *checkpoint, int32_t input, int64_t lo, int64_t mark, int64_t rows);
/* Leaves a file with every kind of line. */
void job_run(void);

void state_read(struct checkpoint_state *state);
void piece_check(const struct checkpoint_state *state, size_t index, struct checkpoint_piece expected);
