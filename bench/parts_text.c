/* The text that parts work on. */
#include "bench/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* 2024-01-01 00:00:00 UTC */
#define START INT64_C(1704067200)
#define ROWS_AT_A_TIME 4
#define SECONDS_APART 40
#define ROW_MAX 512
/* Prime, and no divisor of the count of rows: so each row comes once. */
#define STRIDE 7919

struct state {
    uint64_t random;
    char *at;
    const char *quote;
};

static uint32_t draw(struct state *state, uint32_t below)
{
    state->random = state->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state->random >> 33) % below;
}

static void put_row(struct state *state, enum text_kind kind, int64_t row)
{
    const time_t seconds = START + row / ROWS_AT_A_TIME * SECONDS_APART;
    const char *quote = state->quote;
    struct tm parts;

    gmtime_r(&seconds, &parts);
    state->at += sprintf(state->at, "%s%04d-%02d-%02d %02d:%02d:%02d+00%s,%s%d%s,%shost", quote, parts.tm_year + 1900,
                         parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, quote, quote,
                         (int)(row % ROWS_AT_A_TIME), quote, quote);
    if (kind == TEXT_QUOTED && row % 8 == 0)
        state->at += sprintf(state->at, row % 16 == 0 ? "\"\"" : "\n");
    state->at += sprintf(state->at, "_%d%s", (int)(row % ROWS_AT_A_TIME), quote);
    for (int i = 3; i < TEXT_FIELDS; i++)
        state->at += sprintf(state->at, ",%s%u.%u%s", quote, draw(state, 100), draw(state, 1000000000), quote);
    *state->at++ = '\n';
}

enum status text_make(enum text_kind kind, struct text *text, struct error *error)
{
    struct state state = {.random = 1, .quote = kind == TEXT_QUOTED ? "\"" : ""};

    text->rows = TEXT_ROWS;
    text->data = state.at = malloc((size_t)TEXT_ROWS * ROW_MAX);
    if (text->data == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int64_t i = 0; i < TEXT_ROWS; i++)
        put_row(&state, kind, kind == TEXT_SHUFFLED ? i * STRIDE % TEXT_ROWS : i);
    text->size = (size_t)(state.at - text->data);
    return STATUS_OK;
}

enum status text_file(const struct text *text, int *fd, struct error *error)
{
    *fd = memfd_create("text", MFD_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, STATUS_SYSTEM, "a file in memory");
    for (size_t done = 0; done < text->size;) {
        ssize_t written = write(*fd, text->data + done, text->size - done);

        if (written <= 0)
            return error_set_errno(error, STATUS_SYSTEM, "a file in memory");
        done += (size_t)written;
    }
    return STATUS_OK;
}
