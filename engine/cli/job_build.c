/* How chunks may be built, and how rows get into the order in which a columnstore wants them. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"

/* Of --memory, for all writers together; more than a range has is of no use. */
#define SORT_SHARE 3
#define SORT_MEMORY_MAX (INT64_C(64) << 20)

static enum build_rule rule_of(const struct options *options)
{
    if (options->compress_after)
        return BUILD_RULE_ALWAYS;
    if (options->ledger == LEDGER_NONE)
        return BUILD_RULE_NEVER;
    switch (options->strategy) {
    case STRATEGY_APPEND: return BUILD_RULE_NEVER;
    case STRATEGY_BUILD:
    case STRATEGY_COMPRESS: return BUILD_RULE_ALWAYS;
    case STRATEGY_AUTO: break;
    }
    return BUILD_RULE_AUTO;
}

static enum build_compress compress_of(const struct options *options)
{
    if (options->compress_after)
        return BUILD_COMPRESS_AFTER;
    if (options->strategy == STRATEGY_COMPRESS)
        return BUILD_COMPRESS_ALWAYS;
    return options->strategy == STRATEGY_AUTO && options->ledger != LEDGER_NONE ? BUILD_COMPRESS_AUTO
                                                                                : BUILD_COMPRESS_NEVER;
}

static enum status probe(struct job *job, const char *unsorted, struct error *error)
{
    struct build_wish wish = {
        .rule = rule_of(job->options),
        .reject = job->options->on_bad_row == BAD_ROW_REJECT,
        .skip_conflicts = job->options->on_conflict == ON_CONFLICT_SKIP,
        .create_partitions = job->options->create_partitions,
        .inputs = job->inputs,
        .input_count = job->input_count,
        .compress = compress_of(job->options),
        .unsorted = unsorted,
        .policy_jobs = job->policy_jobs,
    };

    return build_probe(job->target, &job->table, &wish, &job->build, error);
}

/* Where the name is; -1: nowhere. */
static int place_of(const struct names *names, const char *column)
{
    for (int i = 0; i < names->count; i++)
        if (names->items[i] != NULL && strcmp(names->items[i], column) == 0)
            return i;
    return -1;
}

static bool same_type(const struct job *job, const char *column)
{
    const struct table_column *source = table_find_column(&job->source_table, column);
    const struct table_column *target = table_find_column(&job->table, column);

    return source != NULL && target != NULL && strcmp(source->type, target->type) == 0;
}

/* Equal values of a column that the target is to group by are together when the source has sorted by it. */
static const char *sort_by_source(struct job *job)
{
    const struct build_order *order = &job->build.order;
    struct sql text = {0};

    for (int i = 0; i < order->count; i++) {
        if (place_of(&job->mappings[0].columns, order->columns[i]) < 0 || !same_type(job, order->columns[i])) {
            sql_reset(&text);
            return "the source has another type for a column of compress_segmentby, or none";
        }
        sql_add_identifier(&text, order->columns[i]);
        sql_add(&text, ", ");
    }
    if (!same_type(job, job->table.time_name)) {
        sql_reset(&text);
        return "the source has another type for the time";
    }
    sql_add_identifier(&text, job->table.time_name);
    sql_add(&text, "%s", order->descending ? " DESC" : "");
    job->order = text.text;
    job->postgres.order = job->order;
    job->inputs[0].sorted = true;
    return NULL;
}

static const char *sort_input(struct job *job, size_t input)
{
    const struct build_order *order = &job->build.order;
    const struct stream_source *source = &job->set.sources[input];
    const struct mapping *mapping = &job->mappings[input];
    struct sorter_spec *spec = &job->sorts[input];

    if (mapping->shape != NULL)
        return "records are made into others before they are sent";
    *spec = (struct sorter_spec){
        .delimiter = source->dialect.delimiter,
        .quote = source->dialect.quote,
        .escape = source->dialect.escape,
        .null_text = source->dialect.null_text,
        .key_count = order->count,
        .time_field = mapping->time_index,
        .time = mapping->time,
        .descending = order->descending,
    };
    for (int i = 0; i < order->count; i++) {
        spec->keys[i].field = place_of(&mapping->fields, order->columns[i]);
        spec->keys[i].kind = order->integer[i] ? SORTER_INTEGER : SORTER_TEXT;
        if (spec->keys[i].field < 0)
            return "the input has no field for a column of compress_segmentby";
    }
    job->inputs[input].sort = spec;
    return NULL;
}

static const char *sort_by_writers(struct job *job)
{
    const char *reason = NULL;

    job->sorts = calloc(job->input_count, sizeof *job->sorts);
    if (job->sorts == NULL)
        return "there is no memory to sort";
    for (size_t i = 0; i < job->input_count && reason == NULL; i++)
        reason = sort_input(job, i);
    if (reason != NULL)
        return reason;
    job->sort_memory = job->options->memory_bytes / (SORT_SHARE * (int64_t)job->options->jobs);
    if (job->sort_memory > SORT_MEMORY_MAX)
        job->sort_memory = SORT_MEMORY_MAX;
    return NULL;
}

static enum status check_deferring(const struct job *job, struct error *error)
{
    if (!job->options->defer_indexes)
        return STATUS_OK;
    if (job->table.kind == TABLE_PARTITIONED)
        return error_set(error, STATUS_USAGE,
                         "--defer-indexes is not for partitioned tables, whose partitions can be"
                         " built one by one: --strategy build");
    if (job->build.count > 0)
        return error_set(error, STATUS_USAGE,
                         "--defer-indexes is not needed for %s: its chunks can be built one by one, so that no other"
                         " chunk is without indexes",
                         job->table.sql);
    return STATUS_OK;
}

/* Before the run pauses any: ways to build go by what the table's own policy would do. */
static enum status read_policies(struct job *job, struct error *error)
{
    struct ledger ledger;
    enum status status;

    ledger_init(&ledger, job->options->ledger_schema, "");
    status = policies_read(job->target, &ledger, &job->table, &job->policies, error);
    ledger_reset(&ledger);
    if (status == STATUS_OK)
        job->policy_jobs = policies_active(&job->policies);
    return status;
}

enum status job_build(struct job *job, struct error *error)
{
    enum status status = read_policies(job, error);
    const char *reason = NULL;

    if (status == STATUS_OK)
        status = probe(job, NULL, error);
    if (status == STATUS_OK)
        status = check_deferring(job, error);

    /* If it is possible at all, direct compress comes first. */
    if (status != STATUS_OK || job->build.count == 0 || job->build.ways[0]->enter == NULL)
        return status;
    switch (job->kind) {
    case SOURCE_POSTGRES: reason = sort_by_source(job); break;
    case SOURCE_STREAM: reason = sort_by_writers(job); break;
    case SOURCE_COMMAND: reason = "nobody sorts what a command prints for a range"; break;
    }
    if (reason == NULL)
        return STATUS_OK;
    for (size_t i = 0; i < job->input_count; i++)
        job->inputs[i].sort = NULL;
    build_plan_reset(&job->build);
    return probe(job, reason, error);
}
