/* Commands: their templates, their names, and how they are run and ended. Needs no server. */
#include "readers/command.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log.h"
#include "engine/stats.h"

#define SECOND INT64_C(1000000)
#define DAY_2024_03_01 (INT64_C(1709251200) * SECOND)

/* ---- Templates ---- */

struct expansion {
    const char *command;
    enum time_type type;
    struct range range;
    const char *text;
};

static const struct expansion expansions[] = {
    {"a {from} b {until}",
     TIME_TIMESTAMPTZ,
     {DAY_2024_03_01, DAY_2024_03_01 + SECOND / 4},
     "a 2024-03-01 00:00:00+00 b 2024-03-01 00:00:00.25+00"},
    {"{from}{until}",
     TIME_TIMESTAMP,
     {DAY_2024_03_01, DAY_2024_03_01 + 1},
     "2024-03-01 00:00:002024-03-01 00:00:00.000001"},
    {"{from},{until}", TIME_DATE, {DAY_2024_03_01, DAY_2024_03_01 + TIME_DAY}, "2024-03-01,2024-03-02"},
    {"{until}", TIME_INT8, {-7, INT64_MIN + 1}, "-9223372036854775807"},
    {"{from}", TIME_INT4, {-7, 0}, "-7"},
    {"{from:epoch} {until:epoch-ms}", TIME_TIMESTAMPTZ, {-SECOND, SECOND / 1000}, "-1 1"},
    {"{from:epoch-us} {until:epoch-ns}", TIME_TIMESTAMPTZ, {-1, 1}, "-1 1000"},
    {"{from:epoch}", TIME_DATE, {DAY_2024_03_01, DAY_2024_03_01}, "1709251200"},
    {"{from:%Y/%m/%d}", TIME_TIMESTAMPTZ, {DAY_2024_03_01, 0}, "2024/03/01"},
    {"{from:%Y-%m-%dT%H:%M:%SZ}", TIME_TIMESTAMPTZ, {-SECOND, 0}, "1969-12-31T23:59:59Z"},
    {"{from:%F %T %z %Z %y %b %j}", TIME_TIMESTAMP, {DAY_2024_03_01, 0}, "2024-03-01 00:00:00 +0000 UTC 24 Mar 061"},
    {"{from:%Y}{until:%F}", TIME_DATE, {0, TIME_DAY}, "19701970-01-02"},
    {"{from:%F} {from:%H%M}", TIME_TIMESTAMP, {60 * SECOND, 0}, "1970-01-01 0001"},
    {"{{from}} {{{from}}} }}{{", TIME_INT8, {5, 6}, "{from} {5} }{"},
    {"awk '{{print $1}}' ${{X}} {from}", TIME_INT8, {5, 6}, "awk '{print $1}' ${X} 5"},
};

static void templates_are_filled_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof expansions / sizeof *expansions; i++) {
        const struct expansion *it = &expansions[i];
        struct template template;
        struct error error;
        char *text;

        error_reset(&error);
        assert_true(template_wanted(it->command));
        assert_int_equal(template_parse(it->command, &template, &error), STATUS_OK);
        assert_int_equal(template_check_type(&template, it->type, &error), STATUS_OK);
        if (template_check_range(&template, it->type, it->range, &error) != STATUS_OK)
            fail_msg("%s: %s", it->command, error.text);
        text = template_expand(&template, it->type, it->range);
        assert_string_equal(text, it->text);
        free(text);
        template_reset(&template);
    }
}

static void other_braces_want_nothing(void **state)
{
    static const char *const commands[] = {"cat x",  "awk '{print}'", "${from}x {from", "{{from}}",
                                           "{to}{}", "{ from }",      "{fromage}",      "{untilx:%F}"};

    (void)state;
    assert_true(template_wanted("${from}"));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        assert_int_equal(template_wanted(commands[i]), i == 2);
}

struct refusal {
    const char *command;
    const char *said;
};

static const struct refusal refusals[] = {
    {"{from} {", "character 8 "},     {"{from} }", "character 8 "}, {"x{from} {print $1}", "character 9 "},
    {"{from} {from", "character 8 "}, {"{from:}", "takes epoch"},   {"{from:iso}", "takes epoch"},
    {"{until:epochs}", "{until:"},    {"{from:%}", "conversion"},   {"{from:%Y%}", "conversion"},
    {"{from:%c}", "conversion"},      {"{from:%5Y}", "conversion"}, {"{from:%Y'; rm}", "not safe"},
    {"{from:%Y\"}", "not safe"},      {"{from:%Y`}", "not safe"},   {"{from:%Y$X}", "not safe"},
    {"{from:%Y\\}", "not safe"},      {"{from:%Y\n}", "not safe"},
};

static void other_braces_beside_places_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct template template;
        struct error error;

        error_reset(&error);
        assert_int_equal(template_parse(refusals[i].command, &template, &error), STATUS_USAGE);
        if (strstr(error.text, refusals[i].said) == NULL)
            fail_msg("%s: %s", refusals[i].command, error.text);
        template_reset(&template);
    }
}

struct edge_case {
    const char *command;
    int64_t lo, hi;
    bool exact;
};

#define HOUR (3600 * SECOND)

static const struct edge_case edges[] = {
    {"{from}", 1, 2, true},
    {"{from:epoch}", SECOND, 1, true}, /* of an edge that is not asked for nothing is wanted */
    {"{from:epoch}", SECOND / 2, 0, false},
    {"{from:epoch}", -1, 0, false},
    {"{from:epoch-ms}", 1000, 0, true},
    {"{from:epoch-ms}", 1001, 0, false},
    {"{from:epoch-us}", 1001, 0, true},
    {"{from:epoch-ns}", 1001, 0, true},
    {"{from:epoch-ns}", INT64_MAX / 1000 + 1, 0, false},
    {"{from:%F}", DAY_2024_03_01, 0, true},
    {"{from:%F}", DAY_2024_03_01 + 6 * HOUR, 0, false},
    {"{from:%F}{until:%F}", DAY_2024_03_01, DAY_2024_03_01 + 6 * HOUR, false},
    {"{from:%F %H}", DAY_2024_03_01 + 6 * HOUR, 0, true},
    {"{from:%F}{from:%H}", DAY_2024_03_01 + 6 * HOUR, 0, true},
    {"{from:%F}{until:%H}", DAY_2024_03_01 + 6 * HOUR, 0, false},
    {"{from:%F}{from}", DAY_2024_03_01 + 1, 0, true},
    {"{from:%F %H}", DAY_2024_03_01 + 6 * HOUR + 60 * SECOND, 0, false},
    {"{from:%F %R}", DAY_2024_03_01 + 61 * SECOND, 0, false},
    {"{from:%F %T}", DAY_2024_03_01 + 61 * SECOND, 0, true},
    {"{from:%F %T}", DAY_2024_03_01 + 1000, 0, false},
    {"{from:%Y-%m}", DAY_2024_03_01, 0, true},
    {"{from:%Y-%m}", DAY_2024_03_01 + TIME_DAY, 0, false},
    {"{from:%Y}", DAY_2024_03_01, 0, false},
    {"{from:%Y-%j}", DAY_2024_03_01, 0, true},
    {"{from:%m-%d}", DAY_2024_03_01, 0, false},
    {"{from:%y%m%d}", DAY_2024_03_01, 0, false},
    {"{from:%F}", INT64_C(-62135596800) * SECOND, 0, false}, /* the year 1 */
    {"{from:%F}", INT64_C(253402214400) * SECOND, 0, true},  /* 9999-12-31 */
    {"{from:%F}", INT64_C(253402300800) * SECOND, 0, false}, /* the year 10000 */
    {"{from:%F}", INT64_C(260000000000) * SECOND, 0, false},
};

static void edges_are_said_exactly_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        struct template template;
        struct error error;
        bool exact;

        error_reset(&error);
        assert_int_equal(template_parse(edges[i].command, &template, &error), STATUS_OK);
        exact = template_check_range(&template, TIME_TIMESTAMPTZ, (struct range){edges[i].lo, edges[i].hi}, &error) ==
                STATUS_OK;
        if (exact != edges[i].exact)
            fail_msg("%s of %lld: %s", edges[i].command, (long long)edges[i].lo, exact ? "taken" : error.text);
        template_reset(&template);
    }
}

static void integers_have_no_forms(void **state)
{
    struct template template;
    struct error error;

    (void)state;
    error_reset(&error);
    assert_int_equal(template_parse("{from:epoch}", &template, &error), STATUS_OK);
    assert_int_equal(template_check_type(&template, TIME_INT8, &error), STATUS_USAGE);
    template_reset(&template);
}

/* ---- Names ---- */

static void names_show_no_more_than_the_program(void **state)
{
    static const char *const names[][2] = {
        {"psql -c x", "exec:psql"},
        {"  /usr/bin/psql", "exec:psql"},
        {"./a/b.sh; rm", "exec:b.sh"},
        {"exec /bin/cat x", "exec:cat"},
        {"PGPASSWORD=secret psql", "exec:psql"},
        {"A=1 B=s3/cr=et  x|y", "exec:x"},
        {"A='my secret' psql", "exec:command"},
        {"A=\"my secret\" psql", "exec:command"},
        {"A=my\\ secret psql", "exec:command"},
        {"A=$(secret) psql", "exec:command"},
        {"A=secret", "exec:command"},
        {"A=secret;psql", "exec:command"},
        {"secret'x' y", "exec:command"},
        {"(cat x)", "exec:command"},
        {"dir/=secret x", "exec:x"},
        {"", "exec:command"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "exec:command"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[PROCESS_NAME_MAX];

        process_name(names[i][0], name);
        assert_string_equal(name, names[i][1]);
    }
}

/* ---- Running ---- */

static enum status run(const char *command, char *output, size_t size, struct error *error)
{
    struct process *process = NULL;
    enum status status;
    size_t used = 0, got = 1;

    error_reset(error);
    assert_int_equal(process_start(command, "exec:x", &process, error), STATUS_OK);
    while (got > 0) {
        assert_true(used + 1 < size);
        assert_int_equal(process_read(process, output + used, size - 1 - used, NULL, &got, error), STATUS_OK);
        used += got;
    }
    output[used] = '\0';
    status = process_wait(process, NULL, error);
    assert_int_equal(process_wait(process, NULL, error), status);
    process_free(process);
    return status;
}

static void ends_are_told(void **state)
{
    static const struct {
        const char *command;
        enum status status;
        const char *output, *said;
    } cases[] = {
        {"echo a; echo b", STATUS_OK, "a\nb\n", ""},
        {"", STATUS_OK, "", ""},
        {"cat; echo $0", STATUS_OK, "/bin/sh\n", ""},
        {"printf x; exit 3", STATUS_TRANSIENT, "x", "exec:x exited with status 3"},
        {"kill -9 $$", STATUS_TRANSIENT, "", "was killed by signal 9 (KILL)"},
        {"kill -TERM $$", STATUS_TRANSIENT, "", "was killed by signal 15 (TERM)"},
        {"kill -PIPE $$", STATUS_TRANSIENT, "", "was killed by signal 13 (PIPE)"},
        {"sh -c 'kill -9 $$'; exit $?", STATUS_TRANSIENT, "", "status 137, which a shell says"},
        {"/no/such/program", STATUS_USAGE, "", "127"},
        {"/dev/null", STATUS_USAGE, "", "126"},
        {"echo one >&2; echo two >&2; exit 1", STATUS_TRANSIENT, "", "its last words:\none\ntwo"},
        {"printf '\\033[1mx\\r\\n\\302\\233y\\303\\274' >&2; exit 1", STATUS_TRANSIENT, "",
         "words:\n\\x1b[1mx\n\\xc2\\x9by\303\274"},
        {"exec >&-; exit 4", STATUS_TRANSIENT, "", "status 4"},
        {"exec 2>&-; echo x; exit 4", STATUS_TRANSIENT, "x\n", "status 4"},
        {"sleep 1000 >/dev/null 2>&1 & echo x", STATUS_OK, "x\n", ""},
        {"set -m; sleep 1 >/dev/null & echo x", STATUS_OK, "x\n", ""},
        {"yes 1234567 | head -c 3000000 >&2; echo x", STATUS_OK, "x\n", ""},
        {"ls /proc/self/fd; grep SigBlk /proc/self/status", STATUS_OK, "0\n1\n2\n3\nSigBlk:\t0000000000000000\n", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char output[1024];
        struct error error;
        enum status status = run(cases[i].command, output, sizeof output, &error);

        if (status != cases[i].status || strcmp(output, cases[i].output) != 0 ||
            strstr(error.text, cases[i].said) == NULL)
            fail_msg("%s: %d, \"%s\", %s", cases[i].command, status, output, error.text);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
}

/* What hangs would do so for a thousand seconds. */
#define HANGS_MS 100000

struct raise {
    struct stop *stop;
    enum stop_level level;
};

static void *raise_soon(void *argument)
{
    struct raise *raise = argument;

    stop_wait(raise->stop, 200, STOP_ABORT);
    stop_request(raise->stop, raise->level);
    return NULL;
}

/* How long the command, which hangs, is waited for and ended; in ms. */
static int64_t stopped_after(const char *command, enum stop_level level, bool read)
{
    struct process *process = NULL;
    struct raise raise = {.level = level};
    struct error error;
    pthread_t thread;
    int64_t begin;
    char buffer[64];
    size_t got;

    error_reset(&error);
    assert_int_equal(stop_create(&raise.stop, &error), STATUS_OK);
    assert_int_equal(process_start(command, "exec:x", &process, &error), STATUS_OK);
    assert_int_equal(pthread_create(&thread, NULL, raise_soon, &raise), 0);
    begin = stats_now_ns();
    if (read)
        assert_int_equal(process_read(process, buffer, sizeof buffer, raise.stop, &got, &error), STATUS_STOPPED);
    else
        assert_int_equal(process_wait(process, raise.stop, &error), STATUS_STOPPED);
    process_free(process);
    begin = stats_now_ns() - begin;
    pthread_join(thread, NULL);
    stop_free(raise.stop);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    return begin / 1000000;
}

/* Of some attempts: on a busy machine one of them may well take longer than the second that silence is given. */
static int64_t quickest_abort(const char *command, bool read)
{
    int64_t quickest = INT64_MAX;

    for (int attempt = 0; attempt < 20 && quickest > 900; attempt++) {
        int64_t ms = stopped_after(command, STOP_ABORT, read);

        quickest = ms < quickest ? ms : quickest;
    }
    return quickest;
}

static void waits_hear_the_stop(void **state)
{
    static const char deaf[] = "trap '' TERM; while :; do sleep 1000; done";

    (void)state;
    assert_in_range(quickest_abort("sleep 1000", true), 100, 900);
    assert_in_range(quickest_abort("sleep 1000", false), 100, 900);
    /* Silence is given a second. */
    assert_in_range(stopped_after("sleep 1000", STOP_DRAIN, true), 1000, HANGS_MS);
    assert_in_range(stopped_after("sleep 1000", STOP_DRAIN, false), 1000, HANGS_MS);
    assert_in_range(stopped_after(deaf, STOP_ABORT, true), 1000, HANGS_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_filled_in),
        cmocka_unit_test(other_braces_want_nothing),
        cmocka_unit_test(other_braces_beside_places_are_refused),
        cmocka_unit_test(edges_are_said_exactly_or_refused),
        cmocka_unit_test(integers_have_no_forms),
        cmocka_unit_test(names_show_no_more_than_the_program),
        cmocka_unit_test(ends_are_told),
        cmocka_unit_test(waits_hear_the_stop),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
