/* The thread of the display: takes a view of the counters now and then, and shows it. */
#include "engine/cli/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine/cli/progress_private.h"
#include "engine/cli/text.h"

#define SECOND_NS INT64_C(1000000000)
#define SAMPLE_COUNT 60 /* one a second: a minute */
#define RATE_SAMPLES 10
#define COLUMNS_DEFAULT 80
#define NAME_SHOWN_MAX 256
#define PLAIN_WIDTH (PROGRESS_LINE_MAX - 1)

/* What was done at a moment; rates are differences of two. */
struct sample {
    int64_t time_ns;
    int64_t rows, bytes;
    double fraction;
};

struct progress {
    enum progress_mode mode; /* never AUTO */
    const struct stats *stats;
    struct progress_job job;
    int64_t start_ns;
    pthread_t thread;

    /* Ring of the last minute; used by the thread, and while it starts by its maker, only. */
    struct sample samples[SAMPLE_COUNT];
    size_t sample_count; /* taken so far */

    pthread_mutex_t wake_mutex;
    pthread_cond_t wake; /* monotonic */
    bool stopping;       /* guarded by wake_mutex */

    /*
     * Guards the terminal's last line and `line`. A log line holds it from bar_clear to bar_draw; the thread holds it
     * while it draws, and logs nothing meanwhile.
     */
    pthread_mutex_t bar_mutex;
    char line[PROGRESS_LINE_MAX];
};

/*
 * How much is done, by the best measure there is. Rows are an estimate and the end of the input is not the end of the
 * writing: all but the last percent at most, while ranges are missing.
 */
static double fraction_done(const struct stats *stats)
{
    int64_t ranges = stats_get(&stats->ranges_before) + stats_get(&stats->ranges_done);
    int64_t ranges_total = stats_get(&stats->ranges_total);
    int64_t rows = stats_get(&stats->rows_before) + stats_get(&stats->rows_done) + stats_get(&stats->conflicts_before) +
                   stats_get(&stats->conflicts_done);
    double fraction = -1;

    if (ranges_total > 0 && ranges >= ranges_total)
        return 1;
    /* What is read may wait in memory for long: what is committed tells more, unless part of the input is left out. */
    if (stats_get(&stats->input_size) > 0 && stats_get(&stats->rows_skipped) == 0 && stats_get(&stats->input_text) > 0)
        fraction = (double)(stats_get(&stats->bytes_before) + stats_get(&stats->bytes_done)) *
                   ((double)stats_get(&stats->input_offset) / (double)stats_get(&stats->input_text)) /
                   (double)stats_get(&stats->input_size);
    else if (stats_get(&stats->input_size) > 0)
        fraction = (double)stats_get(&stats->input_offset) / (double)stats_get(&stats->input_size);
    else if (stats_get(&stats->rows_total) > 0)
        fraction = (double)rows / (double)stats_get(&stats->rows_total);
    else if (ranges_total > 0)
        fraction = (double)ranges / (double)ranges_total;
    return fraction > 0.99 ? 0.99 : fraction;
}

static struct sample sample_now(const struct stats *stats)
{
    return (struct sample){
        .time_ns = stats_now_ns(),
        .rows = stats_get(&stats->rows_done),
        .bytes = stats_get(&stats->bytes_done),
        .fraction = fraction_done(stats),
    };
}

/* The sample of `age` samples ago, or the oldest there is. */
static const struct sample *sample_past(const struct progress *progress, size_t age)
{
    size_t held = progress->sample_count < SAMPLE_COUNT ? progress->sample_count : SAMPLE_COUNT;

    return &progress->samples[(progress->sample_count - (age < held ? age : held)) % SAMPLE_COUNT];
}

static void sample_keep(struct progress *progress, const struct sample *now)
{
    if (progress->sample_count > 0 && now->time_ns - sample_past(progress, 1)->time_ns < SECOND_NS)
        return;
    progress->samples[progress->sample_count++ % SAMPLE_COUNT] = *now;
}

/* Rows and bytes over the last ten seconds; the end by the whole minute, since pieces come in lumps. */
static void rates_compute(const struct progress *progress, const struct sample *now, struct progress_view *view)
{
    const struct sample *recent = sample_past(progress, RATE_SAMPLES);
    const struct sample *oldest = sample_past(progress, SAMPLE_COUNT);
    double seconds = (double)(now->time_ns - recent->time_ns) / (double)SECOND_NS;
    double progressed = now->fraction - oldest->fraction;

    view->eta_seconds = -1;
    view->rows_per_second = seconds > 0 ? (int64_t)((double)(now->rows - recent->rows) / seconds) : 0;
    view->bytes_per_second = seconds > 0 ? (int64_t)((double)(now->bytes - recent->bytes) / seconds) : 0;
    if (now->fraction >= 0 && oldest->fraction >= 0 && progressed > 0) {
        double minute = (double)(now->time_ns - oldest->time_ns) / (double)SECOND_NS;
        double remaining = (1 - now->fraction) * minute / progressed;

        view->eta_seconds = remaining < 1e9 ? (int64_t)(remaining + 0.5) : -1;
    }
}

static void view_take(struct progress *progress, struct progress_view *view)
{
    const struct stats *stats = progress->stats;
    struct sample now = sample_now(stats);
    int64_t blocks_total = stats_get(&stats->blocks_total);

    sample_keep(progress, &now);
    *view = (struct progress_view){
        .elapsed = (double)(now.time_ns - progress->start_ns) / (double)SECOND_NS,
        .fraction = now.fraction,
        .rows = stats_get(&stats->rows_before) + now.rows,
        .rows_total = stats_get(&stats->rows_total),
        .bytes = stats_get(&stats->bytes_before) + now.bytes,
        .bytes_total = stats_get(&stats->bytes_total),
        .ranges = stats_get(&stats->ranges_before) + stats_get(&stats->ranges_done),
        .ranges_total = stats_get(&stats->ranges_total),
        .ranges_failed = stats_get(&stats->ranges_failed),
        .queue_percent = blocks_total > 0 ? (int)(stats_get(&stats->blocks_used) * 100 / blocks_total) : 0,
        .spilled_bytes = stats_get(&stats->spilled_bytes),
        .retries = stats_get(&stats->retries),
        .rejects = stats_get(&stats->rejects_before) + stats_get(&stats->rejects_done),
        .builds_open = stats_get(&stats->builds_open),
        .readers_active = atomic_load(&((struct stats *)stats)->readers_active),
        .writers_active = atomic_load(&((struct stats *)stats)->writers_active),
    };
    throttle_reason(progress->job.throttle, view->paused);
    rates_compute(progress, &now, view);
}

/* The terminal's own answer first: COLUMNS does not follow a resize. The last column stays free, or the cursor wraps.
 */
static size_t terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size = {0};
    long width = COLUMNS_DEFAULT;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col;
    else if (columns != NULL && strtol(columns, NULL, 10) > 0)
        width = strtol(columns, NULL, 10);
    return (size_t)(width > PROGRESS_LINE_MAX ? PROGRESS_LINE_MAX : width) - 1;
}

/* One write a drawing, so that nothing gets between its parts. A terminal that takes no more is left alone. */
static void terminal_write(const char *before, const char *line, const char *after)
{
    char text[PROGRESS_LINE_MAX + 16];
    int size = snprintf(text, sizeof text, "%s%s%s", before, line, after);

    while (write(STDERR_FILENO, text, (size_t)size) < 0 && errno == EINTR)
        ;
}

static void bar_clear(void *context)
{
    struct progress *progress = context;

    pthread_mutex_lock(&progress->bar_mutex);
    terminal_write("\r", "", "\033[K");
}

static void bar_draw(void *context)
{
    struct progress *progress = context;

    terminal_write("\r", progress->line, "\033[K");
    pthread_mutex_unlock(&progress->bar_mutex);
}

static const char *name_shown(const struct progress *progress, char text[NAME_SHOWN_MAX])
{
    const struct progress_job *job = &progress->job;

    return job->under_way != NULL ? job->under_way(job->context, text, NAME_SHOWN_MAX) : job->table;
}

static void bar_show(struct progress *progress, const struct progress_view *view)
{
    char name[NAME_SHOWN_MAX];

    pthread_mutex_lock(&progress->bar_mutex);
    progress_line(view, name_shown(progress, name), true, terminal_width(), progress->line);
    terminal_write("\r", progress->line, "\033[K");
    pthread_mutex_unlock(&progress->bar_mutex);
}

static void plain_show(const struct progress *progress, const struct progress_view *view)
{
    char line[PROGRESS_LINE_MAX], moment[MOMENT_TEXT_MAX], name[NAME_SHOWN_MAX];

    log_line(LOG_NOTICE, "%s  %s", moment_format(moment),
             progress_line(view, name_shown(progress, name), false, PLAIN_WIDTH, line));
}

static void view_show(struct progress *progress, const struct progress_view *view)
{
    if (progress->mode == PROGRESS_BAR)
        bar_show(progress, view);
    else if (progress->mode == PROGRESS_PLAIN)
        plain_show(progress, view);
    else
        event_progress(view);
}

/* Time between two views. Plain lines are seldom, but their rates are of samples of each second. */
static int64_t interval_ns(enum progress_mode mode)
{
    return mode == PROGRESS_BAR ? SECOND_NS / 5 : SECOND_NS;
}

/* Waits until `time_ns`; true: it was asked to stop. */
static bool wait_until(struct progress *progress, int64_t time_ns)
{
    struct timespec deadline = {.tv_sec = time_ns / SECOND_NS, .tv_nsec = time_ns % SECOND_NS};
    int result = 0;
    bool stopping;

    pthread_mutex_lock(&progress->wake_mutex);
    while (!progress->stopping && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&progress->wake, &progress->wake_mutex, &deadline);
    stopping = progress->stopping;
    pthread_mutex_unlock(&progress->wake_mutex);
    return stopping;
}

static void *progress_main(void *context)
{
    struct progress *progress = context;
    int64_t interval = interval_ns(progress->mode);
    int64_t shows_every = progress->mode == PROGRESS_PLAIN ? 10 : 1;
    struct progress_view view;

    for (int64_t turn = 1; !wait_until(progress, stats_now_ns() + interval); turn++) {
        view_take(progress, &view);
        if (turn % shows_every == 0)
            view_show(progress, &view);
    }
    return NULL;
}

static enum progress_mode mode_choose(enum progress_mode mode)
{
    const char *terminal = getenv("TERM");
    bool able = terminal != NULL && strcmp(terminal, "") != 0 && strcmp(terminal, "dumb") != 0;

    if (mode != PROGRESS_AUTO)
        return mode;
    return able && isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_PLAIN;
}

static void start_show(struct progress *progress)
{
    struct progress_view view;

    view_take(progress, &view);
    if (progress->mode == PROGRESS_BAR) {
        bar_show(progress, &view);
        log_bar_set(bar_clear, bar_draw, progress);
    } else if (progress->mode == PROGRESS_JSON) {
        log_sink_set(event_log, NULL);
        event_start(&progress->job, progress->stats);
    }
}

static void progress_free(struct progress *progress)
{
    pthread_cond_destroy(&progress->wake);
    pthread_mutex_destroy(&progress->wake_mutex);
    pthread_mutex_destroy(&progress->bar_mutex);
    free(progress);
}

static struct progress *progress_create(void)
{
    struct progress *progress = calloc(1, sizeof *progress);
    pthread_condattr_t attributes;

    if (progress == NULL)
        return NULL;
    pthread_mutex_init(&progress->wake_mutex, NULL);
    pthread_mutex_init(&progress->bar_mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return progress;
}

/* After this nobody else draws, and the last line is empty. */
static void bar_end(struct progress *progress)
{
    log_bar_set(NULL, NULL, NULL);
    if (progress->mode == PROGRESS_BAR)
        terminal_write("\r", "", "\033[K");
}

enum status progress_start(enum progress_mode mode, const struct stats *stats, const struct progress_job *job,
                           struct progress **result, struct error *error)
{
    struct progress *progress = progress_create();
    int code;

    if (progress == NULL)
        return error_set(error, STATUS_SYSTEM, "no memory for the progress display");
    progress->mode = mode_choose(mode);
    progress->stats = stats;
    progress->job = *job;
    progress->start_ns = stats_now_ns();
    *result = progress;
    if (progress->mode == PROGRESS_NONE)
        return STATUS_OK;
    start_show(progress);
    code = pthread_create(&progress->thread, NULL, progress_main, progress);
    if (code == 0)
        return STATUS_OK;
    bar_end(progress);
    progress_free(progress);
    *result = NULL;
    errno = code;
    return error_set_errno(error, STATUS_SYSTEM, "cannot start the thread of the progress display");
}

void progress_finish(struct progress *progress, enum status result)
{
    int64_t elapsed_ns;

    if (progress == NULL)
        return;
    elapsed_ns = stats_now_ns() - progress->start_ns;
    if (progress->mode != PROGRESS_NONE) {
        pthread_mutex_lock(&progress->wake_mutex);
        progress->stopping = true;
        pthread_cond_signal(&progress->wake);
        pthread_mutex_unlock(&progress->wake_mutex);
        pthread_join(progress->thread, NULL);
        bar_end(progress);
    }
    if (progress->mode == PROGRESS_JSON)
        event_summary(&progress->job, progress->stats, elapsed_ns, result); /* the sink stays, for a last error */
    else if (progress->mode != PROGRESS_NONE)
        summary_print(&progress->job, progress->stats, elapsed_ns, result);
    progress_free(progress);
}
