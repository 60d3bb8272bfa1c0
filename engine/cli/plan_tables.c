/* `hyperfill plan` for several tables: one line each, and what stands in the way. */
#include <stdio.h>

#include "engine/cli/commands.h"
#include "engine/cli/tables.h"
#include "engine/cli/text.h"

static void print_bound(const struct job *job, const char *word, int64_t value)
{
    char text[TIME_TEXT_MAX];

    if (value != INT64_MIN && value != INT64_MAX)
        printf(", %s %s", word, time_format(job->table.time.type, value, text));
}

static void print_table(const struct table_run *table)
{
    const struct job *job = &table->run.job;
    char count[NUMBER_TEXT_MAX], size[NUMBER_TEXT_MAX];

    printf("%s", table->part);
    if (table->failure.status != STATUS_OK) {
        printf("\n          %s: %s\n", status_name(table->failure.status), table->failure.text);
        return;
    }
    printf(" from %s", job->source_table.sql);
    print_bound(job, "from", job->window.lo);
    print_bound(job, "until", job->window.hi);
    if (job->finished) {
        printf("\n          complete: %s rows\n", count_format(job->rows_before, count));
        return;
    }
    printf("\n          %zu ranges", job->task_count);
    if (job->ranges_total > (int64_t)job->task_count)
        printf(" of %lld", (long long)job->ranges_total);
    if (job->rows_total >= 0)
        printf(", about %s rows, %s of CSV", count_format(job->rows_total - job->rows_before, count),
               size_format(job->bytes_total - job->bytes_before, size));
    printf("; %s%s\n", job->build.count > 0 ? job->build.ways[0]->compresses ? "compress" : "build" : "append",
           job->postgres.binary ? ", binary" : "");
    if (job->overlap.rows > 0 && job->options->overlap == OVERLAP_REPLACE)
        printf("          %s rows will be deleted, each range's as it is loaded\n",
               count_format(job->overlap.rows, count));
}

static void print_total(const struct tables *tables)
{
    char count[NUMBER_TEXT_MAX], size[NUMBER_TEXT_MAX];
    int64_t rows = 0, bytes = 0, ranges = 0;
    bool known = true;

    for (int32_t i = 0; i < tables->count; i++) {
        const struct job *job = &tables->items[i].run.job;

        if (!tables->items[i].planned || job->finished)
            continue;
        ranges += (int64_t)job->task_count;
        known = known && job->rows_total >= 0;
        rows += job->rows_total - job->rows_before;
        bytes += job->bytes_total - job->bytes_before;
    }
    printf("to do     %lld ranges of %d table%s", (long long)ranges, (int)tables->count, tables->count == 1 ? "" : "s");
    if (known)
        printf(", about %s rows, %s of CSV", count_format(rows, count), size_format(bytes, size));
    printf("\n");
}

enum status plan_tables(const struct options *options, struct error *error)
{
    struct tables tables = {0};
    struct stop *stop = NULL;
    enum status status = stop_create(&stop, error);

    if (status == STATUS_OK)
        status = tables_open(&tables, options, NULL, "", stop, error);
    for (int32_t i = 0; status == STATUS_OK && i < tables.count; i++)
        print_table(&tables.items[i]);
    if (status == STATUS_OK) {
        print_total(&tables);
        status = tables_result(&tables, error);
    }
    if (stop != NULL)
        tables_reset(&tables);
    stop_free(stop);
    return status;
}
