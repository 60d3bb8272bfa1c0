/* The cutter, at every chunk size: where it is fed in pieces may not show. */
#include "readers/cutter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORDS_MAX 16

/* What the cutter is to make of a text: its records, then perhaps a problem (some words of it). */
struct cut_case {
    const char *text;
    const char *records[RECORDS_MAX];
    const char *problem;
    char escape;            /* 0: the quote */
    enum line_end line_end; /* known before */
    char comment;
    int64_t lines;          /* sum over the records; 0: one each */
    int64_t quote_newlines; /* for an open quote */
};

static const struct cut_case cases[] = {
    {.text = "", .records = {NULL}},
    {.text = "a,b\n", .records = {"a,b\n"}},
    {.text = "a,b\nc,d\n", .records = {"a,b\n", "c,d\n"}},
    {.text = "a,b\nc,d", .records = {"a,b\n", "c,d"}},
    {.text = "a,b", .records = {"a,b"}},
    {.text = "\n\na\n\n", .records = {"\n", "\n", "a\n", "\n"}},
    {.text = "a\r\nb\r\n", .records = {"a\r\n", "b\r\n"}},
    {.text = "\r\n\r\na", .records = {"\r\n", "\r\n", "a"}},
    {.text = "a\rb\rc", .records = {"a\r", "b\r", "c"}},
    {.text = "a\r", .records = {"a\r"}},
    {.text = "a\r\r", .records = {"a\r", "\r"}},
    /* Quotes. */
    {.text = "\"a\nb\",c\nd\n", .records = {"\"a\nb\",c\n", "d\n"}, .lines = 3},
    {.text = "x,\"a\n\n\nb\"\ny\n", .records = {"x,\"a\n\n\nb\"\n", "y\n"}, .lines = 5},
    {.text = "x\n\"a\rb\"\n", .records = {"x\n", "\"a\rb\"\n"}},
    {.text = "x\r\n\"a\rb\nc\"\r\ny\r\n", .records = {"x\r\n", "\"a\rb\nc\"\r\n", "y\r\n"}, .lines = 4},
    {.text = "\"a\rb\",\"c\nd\"\re\r", .records = {"\"a\rb\",\"c\nd\"\r", "e\r"}, .lines = 3},
    {.text = "\"a\"\"b\n\"\nc\n", .records = {"\"a\"\"b\n\"\n", "c\n"}, .lines = 3},
    {.text = "\"\"\"\n\"\"\"\n\"\"\n", .records = {"\"\"\"\n\"\"\"\n", "\"\"\n"}, .lines = 3},
    {.text = "a\"b\nc\"d,e\nf\n", .records = {"a\"b\nc\"d,e\n", "f\n"}, .lines = 3},
    {.text = "\"a\"\n\"b\"", .records = {"\"a\"\n", "\"b\""}},
    /* A backslash as escape counts in quotes only, and before a quote or itself only. */
    {.text = "\"a\\\"\nb\"\nc\n", .records = {"\"a\\\"\nb\"\n", "c\n"}, .escape = '\\', .lines = 3},
    {.text = "\"a\\\\\"\nb\n", .records = {"\"a\\\\\"\n", "b\n"}, .escape = '\\'},
    {.text = "\"a\\x\"\nb\n", .records = {"\"a\\x\"\n", "b\n"}, .escape = '\\'},
    {.text = "a\\\"b\nc\"\nd\n", .records = {"a\\\"b\nc\"\n", "d\n"}, .escape = '\\', .lines = 3},
    {.text = "\"\\\\\\\"\n\"\nx", .records = {"\"\\\\\\\"\n\"\n", "x"}, .escape = '\\', .lines = 3},
    {.text = "a\\\nb\n", .records = {"a\\\n", "b\n"}, .escape = '\\'},
    {.text = "\"a\\\"\nb\n", .records = {"\"a\\\"\n", "b\n"}}, /* not an escape here */
    /* Never closed. */
    {.text = "\"a\nb\n", .records = {NULL}, .problem = "never closed"},
    {.text = "a\nb\"c\n", .records = {"a\n"}, .problem = "never closed"},
    {.text = "a\n\"x\n\",\n\n\"", .records = {"a\n", "\"x\n\",\n", "\n"}, .problem = "never closed", .lines = 4},
    {.text = "\"x\n\n\",\"", .records = {NULL}, .problem = "never closed", .quote_newlines = 2},
    {.text = "\"a\\\"\n", .records = {NULL}, .problem = "never closed", .escape = '\\'},
    /* Mixed line ends. */
    {.text = "a\nb\r\nc\n", .records = {"a\n"}, .problem = "carriage return"},
    {.text = "a\nb\rc\n", .records = {"a\n"}, .problem = "carriage return"},
    {.text = "a\nb\r", .records = {"a\n"}, .problem = "carriage return"},
    {.text = "a\r\nb\nc\r\n", .records = {"a\r\n"}, .problem = "newline"},
    {.text = "a\r\nb\rc\r\n", .records = {"a\r\n"}, .problem = "carriage return"},
    {.text = "a\r\nb\r", .records = {"a\r\n"}, .problem = "carriage return"},
    {.text = "a\rb\nc\r", .records = {"a\r"}, .problem = "newline"},
    {.text = "a\r\r\n", .records = {"a\r", "\r"}, .problem = "newline"},
    {.text = "a\r\nb", .records = {NULL}, .line_end = LINE_END_LF, .problem = "carriage return"},
    {.text = "a\nb", .records = {NULL}, .line_end = LINE_END_CRLF, .problem = "newline"},
    /* What servers up to 17 take for the end. */
    {.text = "\\.\n", .records = {NULL}, .problem = "\\."},
    {.text = "a\n\\.\nb\n", .records = {"a\n"}, .problem = "\\."},
    {.text = "a\r\n\\.\r\nb\r\n", .records = {"a\r\n"}, .problem = "\\."},
    {.text = "a\r\\.\rb\r", .records = {"a\r"}, .problem = "\\."},
    {.text = "a\n\\.", .records = {"a\n"}, .problem = "\\."},
    {.text = "\\.x\n.\n\\\n\"\\.\"\n\\.,\n x\\.\n",
     .records = {"\\.x\n", ".\n", "\\\n", "\"\\.\"\n", "\\.,\n", " x\\.\n"}},
    {.text = "\"a\n\\.\n\"\n", .records = {"\"a\n\\.\n\"\n"}, .lines = 3},
    /* Comments end with their line, whatever is in it, and say nothing of the line ends of records. */
    {.text = "#a\"b\nc\n#\n\"#\n#\"\n", .records = {"#a\"b\n", "c\n", "#\n", "\"#\n#\"\n"}, .comment = '#', .lines = 5},
    {.text = "#\"\r\nc\n#\r\"\nd\n#", .records = {"#\"\r\n", "c\n", "#\r\"\n", "d\n", "#"}, .comment = '#'},
    {.text = "#\rc\rd\r#\n\r", .records = {"#\r", "c\r", "d\r", "#\n\r"}, .comment = '#'},
    {.text = "#\r\nc\r\n#\nd\r\n#\r", .records = {"#\r\n", "c\r\n", "#\n", "d\r\n", "#\r"}, .comment = '#'},
    {.text = "c\n #\n", .records = {"c\n", " #\n"}, .comment = '#'},
    {.text = "#\"\n#\"\n", .records = {"#\"\n#\"\n"}, .lines = 2},
};

/* Feeds the text so that `step` bytes more are there each time, in a copy that moves: old addresses are poison. */
static void run_case(const struct cut_case *item, size_t step)
{
    size_t total = strlen(item->text), at = 0, seen = 0, count = 0;
    int64_t lines = 0, lines_expected = item->lines;
    char *copy = NULL;
    struct cutter cutter;

    cutter_init(&cutter, '"', item->escape != 0 ? item->escape : '"');
    cutter.line_end = item->line_end;
    cutter.comment = item->comment;
    while (at < total) {
        size_t size = 0;
        int64_t spanned = 0;
        enum cut cut = CUT_MORE;

        if (seen > at)
            cut = cutter_cut(&cutter, copy, seen - at, seen == total, &size, &spanned);
        if (cut == CUT_MORE) {
            assert_true(seen < total);
            seen = seen + step < total ? seen + step : total;
            free(copy);
            copy = malloc(seen - at);
            assert_non_null(copy);
            memcpy(copy, item->text + at, seen - at);
            cutter_forget(&cutter);
            continue;
        }
        if (cut == CUT_BAD) {
            if (item->records[count] != NULL || item->problem == NULL || strstr(cutter.problem, item->problem) == NULL)
                fail_msg("\"%s\" at step %zu: record %zu is bad: %s", item->text, step, count, cutter.problem);
            if (strcmp(item->problem, "never closed") == 0 && item->quote_newlines > 0)
                assert_int_equal(cutter.quote_newlines, item->quote_newlines);
            break;
        }
        if (item->records[count] == NULL || size != strlen(item->records[count]) ||
            memcmp(item->records[count], item->text + at, size) != 0)
            fail_msg("\"%s\" at step %zu: record %zu is \"%.*s\"", item->text, step, count, (int)size, item->text + at);
        if (!cutter_is_comment(&cutter, copy) && cutter_plain(&cutter, copy + size))
            assert_null(memchr(copy, '"', size));
        at += size;
        lines += spanned;
        if (item->lines == 0)
            lines_expected++;
        count++;
        memmove(copy, copy + size, seen - at);
        cutter_forget(&cutter);
    }
    if (at == total && item->problem != NULL)
        fail_msg("\"%s\" at step %zu: the problem was not seen", item->text, step);
    assert_null(item->records[count]);
    assert_int_equal(lines, lines_expected);
    free(copy);
}

static void test_every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= strlen(cases[i].text) + 1; step++)
            run_case(&cases[i], step);
}

/* The whole text in one buffer, so that what is known of it carries over from record to record. */
static void run_in_place(const struct cut_case *item)
{
    size_t total = strlen(item->text), at = 0, count = 0, size = 0;
    char *copy = malloc(total + 1);
    struct cutter cutter;
    int64_t lines;

    assert_non_null(copy);
    memcpy(copy, item->text, total);
    cutter_init(&cutter, '"', item->escape != 0 ? item->escape : '"');
    cutter.line_end = item->line_end;
    cutter.comment = item->comment;
    for (; at < total; at += size, count++) {
        enum cut cut = cutter_cut(&cutter, copy + at, total - at, true, &size, &lines);

        assert_int_not_equal(cut, CUT_MORE);
        if (cut == CUT_BAD) {
            assert_non_null(item->problem);
            break;
        }
        assert_non_null(item->records[count]);
        assert_int_equal(size, strlen(item->records[count]));
        assert_memory_equal(copy + at, item->records[count], size);
        if (!cutter_is_comment(&cutter, copy + at) && cutter_plain(&cutter, copy + at + size))
            assert_null(memchr(copy + at, '"', size));
    }
    assert_null(item->records[count]);
    free(copy);
}

static void test_in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_in_place(&cases[i]);
}

/* ---- Against the server's rule, written down as the server has it (CopyReadLineText, CSV, one byte after the other)
 * ---- */

/* The end of the record at `at`, or 0 if the server would refuse it; `eol` is what it has learnt. */
static size_t server_cut(const char *text, size_t total, size_t at, char quotec, char escapec, enum line_end *eol)
{
    bool in_quote = false, last_was_esc = false;

    if (quotec == escapec)
        escapec = '\0';
    for (; at < total; at++) {
        char c = text[at];

        if (in_quote && c == escapec)
            last_was_esc = !last_was_esc;
        if (c == quotec && !last_was_esc)
            in_quote = !in_quote;
        if (c != escapec)
            last_was_esc = false;
        if (c == '\r' && !in_quote) {
            if (*eol == LINE_END_UNKNOWN || *eol == LINE_END_CRLF) {
                if (at + 1 < total && text[at + 1] == '\n') {
                    *eol = LINE_END_CRLF;
                    return at + 2;
                }
                if (*eol == LINE_END_CRLF)
                    return 0;
                *eol = LINE_END_CR;
            } else if (*eol == LINE_END_LF) {
                return 0;
            }
            return at + 1;
        }
        if (c == '\n' && !in_quote) {
            if (*eol == LINE_END_CR || *eol == LINE_END_CRLF)
                return 0;
            *eol = LINE_END_LF;
            return at + 1;
        }
    }
    return in_quote ? 0 : total;
}

/* Line ends before the last quote that opens, and all of them; an escape toggles as a quote does. */
static int64_t line_ends(const char *text, size_t size, char escape, enum line_end eol, int64_t *before_quote)
{
    bool in_quote = false, escaped = false;
    int64_t count = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"' && !escaped) {
            in_quote = !in_quote;
            if (in_quote)
                *before_quote = count;
        }
        escaped = in_quote && escape != '"' && text[i] == escape && !escaped;
        count += text[i] == (eol == LINE_END_CR ? '\r' : '\n');
    }
    return count;
}

static void compare_random(char escape, unsigned *seed)
{
    static const char alphabet[] = "aa,\"\"\n\n\r\\";
    char text[64];
    size_t total = (size_t)rand_r(seed) % sizeof text, at = 0;
    size_t step = 1 + (size_t)rand_r(seed) % sizeof text, seen = 0;
    enum line_end eol = LINE_END_UNKNOWN;
    struct cutter cutter;

    for (size_t i = 0; i < total; i++)
        text[i] = alphabet[(size_t)rand_r(seed) % (sizeof alphabet - 1)];
    cutter_init(&cutter, '"', escape);
    while (at < total) {
        size_t size = 0, end;
        int64_t lines, before_quote = 0;
        enum cut cut = seen > at ? cutter_cut(&cutter, text + at, seen - at, seen == total, &size, &lines) : CUT_MORE;

        if (cut == CUT_MORE) {
            assert_true(seen < total);
            seen = seen + step < total ? seen + step : total;
            cutter_forget(&cutter);
            continue;
        }
        end = server_cut(text, total, at, '"', escape, &eol);
        if (cut == CUT_BAD) {
            assert_true(end == 0 || memcmp(text + at, "\\.", 2) == 0);
            if (end == 0 && cutter.in_quote) {
                line_ends(text + at, total - at, escape, eol, &before_quote);
                assert_int_equal(cutter.quote_newlines, before_quote);
            }
            return;
        }
        assert_int_equal(at + size, end);
        assert_int_equal(
            lines, 1 + line_ends(text + at, record_text_size(text + at, size), escape, cutter.line_end, &before_quote));
        assert_int_equal(cutter.line_end, eol);
        at += size;
    }
}

static void test_random(void **state)
{
    const char *given = getenv("HYPERFILL_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 200000; i++)
        compare_random(i % 2 == 0 ? '"' : '\\', &seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_random),
    };

    alarm(1700);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
