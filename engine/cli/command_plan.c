/* `hyperfill plan`: what a run would do, before anything is touched. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "engine/cli/job.h"
#include "engine/cli/text.h"
#include "writers/partitions.h"

#define RANGES_SHOWN 12
#define SHAPES_SHOWN 6

static const char *kind_text(const struct table *table)
{
    switch (table->kind) {
    case TABLE_HYPERTABLE: return table->community ? "hypertable, community edition" : "hypertable, Apache edition";
    case TABLE_PARTITIONED: return "partitioned table";
    case TABLE_PLAIN: break;
    }
    return "plain table";
}

static void print_bounds(const struct job *job)
{
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];

    printf("window    from %s until %s (half-open)\n",
           job->window.lo == INT64_MIN ? "the beginning" : time_format(job->table.time.type, job->window.lo, from),
           job->window.hi == INT64_MAX ? "the end" : time_format(job->table.time.type, job->window.hi, until));
}

/* Whether records of both inputs become what COPY gets in the same way, but for the texts of --set. */
static bool same_shape(const struct mapping *one, const struct mapping *other)
{
    bool same = strcmp(one->column_list, other->column_list) == 0 && one->fields.count == other->fields.count;

    for (int i = 0; same && i < one->fields.count; i++) {
        const char *name = one->fields.items[i], *other_name = other->fields.items[i];

        same = name == NULL || other_name == NULL ? name == other_name : strcmp(name, other_name) == 0;
    }
    return same;
}

static void print_shape(const struct job *job, size_t first, size_t count, bool only, bool texts_differ)
{
    const struct mapping *mapping = &job->mappings[first];

    if (only)
        printf("%s\n", mapping->column_list);
    else if (count == 1)
        printf("%s of %s\n", mapping->column_list, job->inputs[first].name);
    else
        printf("%s of %zu inputs, the first %s\n", mapping->column_list, count, job->inputs[first].name);
    if (mapping->shape != NULL)
        printf("          made of %s%s\n", mapping->text,
               texts_differ ? " in the first; others have texts of their own" : "");
}

/* The shapes of all inputs, each once; some where they are many. */
static void print_shapes(const struct job *job)
{
    size_t firsts[SHAPES_SHOWN], counts[SHAPES_SHOWN] = {0}, shown = 0, others = 0;
    bool texts_differ[SHAPES_SHOWN] = {false};

    for (size_t i = 0; i < job->input_count; i++) {
        size_t j = 0;

        while (j < shown && !same_shape(&job->mappings[firsts[j]], &job->mappings[i]))
            j++;
        if (j == SHAPES_SHOWN) {
            others++;
            continue;
        }
        if (j == shown)
            firsts[shown++] = i;
        counts[j]++;
        texts_differ[j] = texts_differ[j] || strcmp(job->mappings[firsts[j]].text, job->mappings[i].text) != 0;
    }
    for (size_t j = 0; j < shown; j++) {
        printf("%s", j == 0 ? "columns   " : "          ");
        print_shape(job, firsts[j], counts[j], shown == 1, texts_differ[j]);
    }
    if (others > 0)
        printf("          … and %zu inputs of other shapes\n", others);
}

static void print_sides(const struct job *job)
{
    char size[NUMBER_TEXT_MAX], count[NUMBER_TEXT_MAX];

    if (job_reads_csv(job)) {
        printf("source    CSV %s%s", job->name, job->kind == SOURCE_COMMAND ? ", run for each range" : "");
        if (job->sample.input_bytes > 0)
            printf(", %s", size_format(job->sample.input_bytes, size));
        if (job->sample.records > 1)
            printf(", %s", job->sample.ordered ? "in order of time as far as seen" : "in no order of time");
        if (job->sniff.found[0] != '\0')
            printf("\n          found: %s", job->sniff.found);
        if (job->sniff.unsure[0] != '\0')
            printf("\n          unsure: %s", job->sniff.unsure);
    } else {
        printf("source    %s\n          %s (%s), PostgreSQL %d", job->source_address.display, job->source_table.sql,
               kind_text(&job->source_table), job->source_table.server_version / 10000);
        if (job->source_table.rows_estimate >= 0)
            printf(", about %s rows", count_format(job->source_table.rows_estimate, count));
    }
    printf("\ntarget    %s\n          %s (%s), PostgreSQL %d", job->target_address.display, job->table.sql,
           kind_text(&job->table), job->table.server_version / 10000);
    if (job->table.timescaledb != NULL)
        printf(", TimescaleDB %s", job->table.timescaledb);
    if (job->table.pooled)
        printf("\n          behind a connection pooler, which may lose settings of the session: better connect to the "
               "server");
    printf("\ntime      \"%s\" %s\n", job->table.time_name, time_type_sql(job->table.time.type));
    print_bounds(job);
    if (job_reads_csv(job))
        print_shapes(job);
    printf("wire      %s\n", job->wire);
}

static void print_layout(const struct job *job)
{
    char interval[TIME_TEXT_MAX], step[TIME_TEXT_MAX];

    printf("ranges    %s %s",
           job->table.kind == TABLE_HYPERTABLE    ? "chunks of"
           : job->table.kind == TABLE_PARTITIONED ? "partitions, usually of"
                                                  : "of",
           time_interval_format(job->table.time.type, layout_interval(job->layout), interval));
    if (layout_step(job->layout) > 0)
        printf(", cut into ranges of %s", time_interval_format(job->table.time.type, layout_step(job->layout), step));
    printf("; %zu %s%s there now\n", job->table.cell_count,
           job->table.kind == TABLE_PARTITIONED ? "partition" : "chunk", job->table.cell_count == 1 ? "" : "s");
}

static void print_tasks(const struct job *job)
{
    char count[NUMBER_TEXT_MAX], size[NUMBER_TEXT_MAX], lo[TIME_TEXT_MAX], hi[TIME_TEXT_MAX];

    printf("to do     %zu ranges", job->task_count);
    if (job->ranges_total > (int64_t)job->task_count)
        printf(" of %lld", (long long)job->ranges_total);
    if (job->rows_total >= 0)
        printf(", about %s rows, %s of CSV", count_format(job->rows_total - job->rows_before, count),
               size_format(job->bytes_total - job->bytes_before, size));
    printf(", %s first\n", job->options->order == ORDER_NEWEST ? "newest" : "oldest");
    for (size_t i = 0; i < job->task_count && i < RANGES_SHOWN; i++) {
        const struct task *task = &job->tasks[i];

        printf("          [%s, %s)", time_format(job->table.time.type, task->place.range.lo, lo),
               time_format(job->table.time.type, task->place.range.hi, hi));
        if (task->rows_estimate >= 0)
            printf("  about %s rows", count_format(task->rows_estimate, count));
        printf("\n");
    }
    if (job->task_count > RANGES_SHOWN)
        printf("          … and %zu more\n", job->task_count - RANGES_SHOWN);
}

/* Chunks that are new, or without a block, are built. A stream's ranges are known when they come. */
static void print_strategy(const struct job *job)
{
    const struct build_plan *build = &job->build;
    size_t fit = 0;

    if (job->options->strategy == STRATEGY_APPEND || build->count == 0) {
        printf("strategy  append: rows are copied into the table as it is\n");
        if (build->why != NULL)
            printf("          not built: %s\n", build->why);
        return;
    }
    for (int i = 0; i < build->count; i++)
        printf("%s %s\n",
               i > 0                        ? "          or:"
               : build->ways[i]->compresses ? "strategy  compress:"
                                            : "strategy  build:",
               build->ways[i]->text);
    for (size_t i = 0; i < job->task_count; i++)
        fit += table_cell_is_empty(&job->table, job->tasks[i].place.cell);
    if (job->kind != SOURCE_STREAM)
        printf("          for %zu of %zu ranges; those in chunks that have rows are appended\n", fit, job->task_count);
    else
        printf("          for chunks that are new or empty; others are appended\n");
    if (build->why != NULL)
        printf("          not: %s\n", build->why);
}

static void print_progress(const struct job *job)
{
    char count[NUMBER_TEXT_MAX];

    if (!job->resumed)
        return;
    printf("job       %s, begun %s: %zu ranges with %s rows are committed%s\n", job->ledger.job, job->created,
           job->row_count, count_format(job->rows_before, count), job->finished ? "; it is complete" : "");
}

/* Rows of ours that no partition would take. */
static void print_warnings(const struct job *job)
{
    size_t missing = 0, cells = 0;
    char lo[TIME_TEXT_MAX], name[PARTITION_NAME_MAX] = "";
    struct range cell = {0, 0};
    int64_t first = 0;

    if (job->table.kind != TABLE_PARTITIONED || job->table.default_partition)
        return;
    for (size_t i = 0; i < job->task_count; i++) {
        bool found = false;

        for (size_t j = 0; j < job->table.cell_count && !found; j++)
            found = job->tasks[i].place.range.lo >= job->table.cells[j].lo &&
                    job->tasks[i].place.range.hi <= job->table.cells[j].hi;
        if (found)
            continue;
        if (missing++ == 0)
            first = job->tasks[i].place.range.lo;
        /* Tasks are in the order of time, one way or the other. */
        if (cells == 0 || cell.lo != job->tasks[i].place.cell.lo)
            cells++;
        cell = job->tasks[i].place.cell;
        partition_name(&job->table, cell, name);
    }
    if (missing > 0 && job->options->create_partitions)
        printf("partition %zu that %s missing would be made, such as %s\n", cells, cells == 1 ? "is" : "are", name);
    else if (missing > 0)
        printf("warning   %zu ranges have no partition in the target, one of them at %s: make it, or their rows are "
               "refused\n",
               missing, time_format(job->table.time.type, first, lo));
}

/* Nothing where there are none. */
static void print_policies(const struct job *job)
{
    bool pause = job->options->policies == POLICIES_PAUSE;
    char text[POLICY_TEXT_MAX], horizon_text[TIME_TEXT_MAX];
    const char *label = "policies";
    int64_t horizon;

    for (size_t i = 0; i < job->policies.count; i++) {
        const struct policy_job *policy = &job->policies.items[i];

        if (!policy->scheduled && policy->since == NULL)
            continue;
        printf("%-9s %s %s\n", label, policy_text(policy, text),
               !pause                                    ? "may run while the table is loaded"
               : policy->scheduled && !policy->may_alter ? "is not this role's to pause: a run would refuse to start"
               : policy->scheduled                       ? "will be paused"
                                                         : "is paused already");
        label = "";
    }
    if (!policies_horizon(&job->policies, &horizon) || horizon <= job->window.lo)
        return;
    time_format(job->table.time.type, horizon, horizon_text);
    if (pause && !job->options->allow_drop)
        printf("warning   retention would drop what is loaded before %s: it then stays off after the run, unless"
               " --allow-drop is said\n",
               horizon_text);
    else
        printf("warning   retention will drop what is loaded before %s\n", horizon_text);
}

static void print_until(struct job *job)
{
    char text[JOB_UNTIL_MAX];

    job_check_until(job, text);
    if (text[0] != '\0')
        printf("warning   %s\n", text);
}

static enum status print_overlap(const struct job *job, struct error *error)
{
    struct sql text = {0};

    if (job->options->overlap == OVERLAP_KEEP || job->overlap.rows == 0) {
        bool keep = job->options->overlap == OVERLAP_KEEP;

        printf("overlap   %s\n", keep ? "rows that are there are kept and added to" : "no rows are there yet");
        return STATUS_OK;
    }
    overlap_report_text(&job->overlap, &job->table, &text);
    printf("overlap   %s\n%s\n",
           job->options->overlap == OVERLAP_REPLACE ? "these rows will be deleted, each range's as it is loaded:"
                                                    : "rows are in the way; a run would refuse to start:",
           text.text);
    sql_reset(&text);
    return job_check_overlap(job, error);
}

enum status command_plan(const struct options *options, struct error *error)
{
    struct stop *stop = NULL;
    struct job *job;
    enum status status;

    if (options_several(options))
        return plan_tables(options, error);
    job = calloc(1, sizeof *job);
    if (job == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = stop_create(&stop, error);
    if (status == STATUS_OK)
        status = job_open(job, options, stop, error);
    if (status == STATUS_OK && !job->finished)
        status = job_plan(job, error);
    if (status == STATUS_OK) {
        print_sides(job);
        print_layout(job);
        print_progress(job);
        if (!job->finished && job->kind != SOURCE_STREAM) {
            print_tasks(job);
            print_warnings(job);
        }
        if (!job->finished)
            print_until(job);
        if (!job->finished)
            print_strategy(job);
        if (!job->finished)
            print_policies(job);
        if (!job->finished)
            status = print_overlap(job, error);
        if (status == STATUS_OK && options->on_conflict == ON_CONFLICT_SKIP)
            printf("conflicts rows whose key the target has are left out\n");
    }
    if (stop != NULL)
        job_close(job);
    free(job);
    stop_free(stop);
    return status;
}
