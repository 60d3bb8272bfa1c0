/*
 * The reader of checkpoint files: as the bytes are, and as lines whose checksums are made right, since a random change
 * gets past none of them. What is read can be written again and read as the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/checkpoint_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_text(const char *text, size_t size, struct checkpoint_state *state, enum status *status)
{
    int fd = memfd_create("checkpoint", 0);
    struct error error;
    char path[32];

    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    error_reset(&error);
    *status = checkpoint_read(path, state, &error);
    assert((*status == STATUS_OK) == (error.text[0] == '\0'));
    close(fd);
}

static void check_same(const struct checkpoint_state *one, const struct checkpoint_state *other)
{
    assert(other->exists && !other->damaged && !other->torn);
    assert(one->piece_count == other->piece_count && one->text_count == other->text_count);
    for (size_t i = 0; i < one->piece_count; i++)
        assert(memcmp(&one->pieces[i].lo, &other->pieces[i].lo, 6 * sizeof(int64_t)) == 0);
    for (size_t i = 0; i < one->text_count; i++)
        assert(strcmp(one->texts[i].value, other->texts[i].value) == 0);
    assert(one->input_count == other->input_count);
    for (size_t i = 0; i < one->input_count; i++)
        assert(strcmp(one->inputs[i].key, other->inputs[i].key) == 0 &&
               strcmp(one->inputs[i].value, other->inputs[i].value) == 0);
    assert(one->rejects <= 0 || (one->rejects == other->rejects && one->rejects_open == other->rejects_open));
}

/* As our own program writes ids and times; others would not fit once escaped. */
static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text == '%' || *text == 0x7f)
            return false;
    return true;
}

static void check(const char *text, size_t size)
{
    struct checkpoint_state state, again;
    struct lines lines;
    struct error error;
    enum status status;

    read_text(text, size, &state, &status);
    for (size_t i = 1; i < state.piece_count; i++)
        assert(state.pieces[i - 1].lo < state.pieces[i].lo ||
               (state.pieces[i - 1].lo == state.pieces[i].lo && state.pieces[i - 1].input < state.pieces[i].input));
    if (status == STATUS_OK && state.exists && !state.damaged && state.job[0] != '\0' && is_plain(state.job) &&
        is_plain(state.created) && is_plain(state.started) && is_plain(state.updated)) {
        error_reset(&error);
        if (lines_open(&lines, &error) != STATUS_OK)
            abort();
        lines_first(&lines, CHECKPOINT_FIRST);
        lines_state(&lines, &state);
        if (lines_close(&lines, &error) != STATUS_OK)
            abort();
        read_text(lines.text, lines.size, &again, &status);
        assert(status == STATUS_OK);
        check_same(&state, &again);
        checkpoint_state_free(&again);
        free(lines.text);
    }
    checkpoint_state_free(&state);
}

/* Each line gets the checksum that it should have. */
static void check_signed(const char *data, size_t size)
{
    FILE *file;
    size_t text_size = 0;
    char *text = NULL;

    file = open_memstream(&text, &text_size);
    if (file == NULL)
        abort();
    fprintf(file, "%s " CHECKSUM_FORMAT "\n", CHECKPOINT_FIRST,
            checkpoint_checksum(CHECKPOINT_FIRST, strlen(CHECKPOINT_FIRST)));
    while (size > 0) {
        const char *newline = memchr(data, '\n', size);
        size_t line = newline != NULL ? (size_t)(newline - data) : size;

        fwrite(data, 1, line, file);
        fprintf(file, " " CHECKSUM_FORMAT "\n", checkpoint_checksum(data, line));
        size -= newline != NULL ? line + 1 : line;
        data += newline != NULL ? line + 1 : line;
    }
    if (fclose(file) != 0)
        abort();
    check(text, text_size);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check((const char *)data, size);
    check_signed((const char *)data, size);
    return 0;
}
