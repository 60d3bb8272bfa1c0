#include "fixture_checkpoint.h"

char folder[sizeof FOLDER] = FOLDER;
char path[sizeof FOLDER + 8];

int folder_make(void **state)
{
    (void)state;
    alarm(1700);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/job", folder);
    return 0;
}

int file_remove(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

int folder_remove(void **state)
{
    file_remove(state);
    return rmdir(folder);
}

void expect_refusal(enum status got, enum status expected, const struct error *error, const char *words)
{
    assert_int_equal(got, expected);
    if (strstr(error->text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error->text, words);
}

char *file_get(size_t *size)
{
    FILE *file = fopen(path, "r");
    char *text = malloc(1 << 20);

    assert_non_null(file);
    assert_non_null(text);
    *size = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

void file_put(const char *text, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
}

void state_make(struct checkpoint_state *state)
{
    static struct checkpoint_text texts[] = {{(char *)"source", (char *)"host=db1 dbname=iot"},
                                             {(char *)"nasty key=", (char *)NASTY},
                                             {(char *)"empty", (char *)""}};
    static struct checkpoint_text inputs[] = {{(char *)"a b.csv", (char *)"file size=1"},
                                              {(char *)NASTY, (char *)NASTY}};
    static struct checkpoint_piece pieces[] = {{0, -50, 0, 1, 500, 5000, 0}, {1, -50, 0, 777, 5, 50, 7}};

    *state = (struct checkpoint_state){.job = "5f0c",
                                       .created = "2026-01-31T10:00:00Z",
                                       .texts = texts,
                                       .text_count = 3,
                                       .inputs = inputs,
                                       .input_count = 2,
                                       .rejects = 9,
                                       .rejects_open = 8,
                                       .ranges_planned = 12,
                                       .rows_planned = -1,
                                       .bytes_planned = 1000,
                                       .pieces = pieces,
                                       .piece_count = 2};
}

struct checkpoint *job_open(void)
{
    struct checkpoint *checkpoint;
    struct checkpoint_state state;

    state_make(&state);
    OK(checkpoint_open(path, &checkpoint, &error));
    OK(checkpoint_rewrite(checkpoint, &state, &error));
    return checkpoint;
}

void piece_add(struct checkpoint *checkpoint, int32_t input, int64_t lo, int64_t mark, int64_t rows)
{
    struct checkpoint_piece piece = {input, lo, lo + 50, mark, rows, rows * 10, 0};

    OK(checkpoint_piece(checkpoint, &piece, &error));
}

void job_run(void)
{
    struct checkpoint *checkpoint = job_open();

    OK(checkpoint_start(checkpoint, &error));
    OK(checkpoint_plan(checkpoint, 13, 2000, 3000, &error));
    piece_add(checkpoint, 1, -50, 900, 25);
    piece_add(checkpoint, 0, 50, 1, 100);
    OK(checkpoint_failed(checkpoint, 1, 100, 150, "server: " NASTY, &error));
    OK(checkpoint_rejects(checkpoint, 12, 11, &error));
    piece_add(checkpoint, 1, -50, 950, 30);
    OK(checkpoint_stop(checkpoint, CHECKPOINT_FAILED, &error));
    checkpoint_close(checkpoint);
}

void state_read(struct checkpoint_state *state)
{
    OK(checkpoint_read(path, state, &error));
}

void piece_check(const struct checkpoint_state *state, size_t index, struct checkpoint_piece expected)
{
    assert_true(index < state->piece_count);
    assert_int_equal(state->pieces[index].input, expected.input);
    assert_int_equal(state->pieces[index].lo, expected.lo);
    assert_int_equal(state->pieces[index].hi, expected.hi);
    assert_int_equal(state->pieces[index].mark, expected.mark);
    assert_int_equal(state->pieces[index].rows, expected.rows);
    assert_int_equal(state->pieces[index].bytes, expected.bytes);
    assert_int_equal(state->pieces[index].conflicts, expected.conflicts);
}
