/* A job from its options to the list of what is left to do. */
#include "engine/cli/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/log.h"

/* Fewer inputs are read at once where each would have less: for its buffer and buckets, and where it is compressed for
 * decompressing, of which a usual zstd frame needs half. */
#define MEMORY_PER_INPUT (INT64_C(8) << 20)
#define MEMORY_PER_DECOMPRESSOR (INT64_C(32) << 20)
/* What each thread holds besides blocks: libpq's buffers, two packing buffers and the contexts of zstd. */
#define MEMORY_PER_THREAD (INT64_C(1) << 20)
/* A writer reads what was spilled into a block of its own. */
#define MEMORY_PER_SPILL_READER (INT64_C(256) << 10)
/* A chunk of fewer rows has its indexes sooner by appending its rows. */
#define BUILD_ROWS_MIN 5000
/* Inputs that follow each other in time have a depth of about one. */
#define ALONE_DEPTH_MAX 1.5

static void setting_add(struct pg_setting *settings, const char *name, const char *value)
{
    while (settings->name != NULL)
        settings++;
    *settings = (struct pg_setting){name, value};
}

/* The server's spelling of a fixed offset: POSIX, where the sign points west. */
static enum status job_timezone(struct job *job, struct error *error)
{
    const char *text = job->options->timezone;
    int hours = 0, minutes = 0, end = 0;
    char sign = '+', posix[48];

    if (text == NULL || !job_reads_csv(job))
        return STATUS_OK;
    if (strcasecmp(text, "UTC") != 0 && strcasecmp(text, "Z") != 0 &&
        (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || text[end] != '\0' || hours > 15 ||
         minutes > 59 || hours < 0 || minutes < 0 || (sign != '+' && sign != '-')))
        return error_set(error, STATUS_USAGE, "--timezone %s cannot be read: write UTC, +02:00 or -05:30", text);
    job->zone_given = true;
    job->zone_seconds = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    snprintf(posix, sizeof posix, "<%c%02d:%02d>%c%02d:%02d", sign, hours, minutes, sign == '-' ? '+' : '-', hours,
             minutes);
    job->timezone_setting = strdup(posix);
    setting_add(job->target_settings, "timezone", job->timezone_setting);
    return STATUS_OK;
}

/* table_describe, whose messages say which side they are about. */
static enum status describe(struct pg *pg, const char *name, const char *time_name, bool is_target, struct table *table,
                            struct error *error)
{
    const char *side = is_target ? "target" : "source";
    enum status status = table_describe(pg, name, time_name, is_target, table, error);

    if (status != STATUS_OK && strstr(error->text, side) == NULL)
        error_prefix(error, "%s", side);
    return status;
}

static enum status job_open_target(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    enum status status;

    status = pg_address_init(&job->target_address, options->target, "target", error);
    if (status == STATUS_OK && job->sides != NULL)
        job->target = job->sides->target_names;
    else if (status == STATUS_OK)
        status = pg_create(&job->target_address, job->target_settings, job->stop, &job->target, error);
    if (status == STATUS_OK)
        status = pg_connect(job->target, error);
    if (status == STATUS_OK)
        status = describe(job->target, options->table, options->time_column, true, &job->table, error);
    if (status == STATUS_OK && job->table.in_recovery)
        return error_set(error, STATUS_USAGE, "target: the server %s is a standby, which takes no writes",
                         job->target_address.display);
    return status;
}

/* The same time, whatever its width. */
static bool same_time_type(const struct time_column *source, const struct time_column *target)
{
    if (time_type_is_integer(source->type) && time_type_is_integer(target->type))
        return true;
    return source->type == target->type;
}

static enum status job_check_time(const struct job *job, struct error *error)
{
    const struct time_column *source = &job->source_table.time, *target = &job->table.time;
    int source_digits = source->precision < 0 ? 6 : source->precision;
    int target_digits = target->precision < 0 ? 6 : target->precision;

    if (!same_time_type(source, target))
        return error_set(error, STATUS_USAGE,
                         "the time column is %s in the source (%s.%s) and %s in the target (%s.%s): make a view in the "
                         "source that converts it and give it as --source-table",
                         time_type_sql(source->type), job->source_table.sql, job->source_table.time_name,
                         time_type_sql(target->type), job->table.sql, job->table.time_name);
    /* A row that the target rounds up over the end of its range could be deleted by the next range's `replace`. */
    if (!time_type_is_integer(source->type) && target_digits < source_digits)
        return error_set(error, STATUS_USAGE,
                         "the target's time column keeps %d digits of a second, the source's %d: rows would move to "
                         "other times; round them in a view of the source",
                         target_digits, source_digits);
    return STATUS_OK;
}

/* Settings are the same for all tables of two databases. */
static enum status job_settle_sides(struct job *job, struct error *error)
{
    struct job_sides *sides = job->sides;
    enum status status = STATUS_OK;

    if (sides->encoding == NULL) {
        sides->encoding = strdup(job->source_table.server_encoding);
        setting_add(sides->source_settings, "client_encoding", sides->encoding);
        setting_add(sides->source_settings, "timezone", "UTC");
        setting_add(sides->target_settings, "client_encoding", sides->encoding);
        setting_add(sides->target_settings, "timezone", "UTC");
    }
    if (sides->source == NULL)
        status = pg_create(&sides->source_address, sides->source_settings, job->stop, &sides->source, error);
    if (status == STATUS_OK && sides->target == NULL)
        status = pg_create(&sides->target_address, sides->target_settings, job->stop, &sides->target, error);
    job->source = sides->source;
    job->target = sides->target;
    return status;
}

enum status job_sides_open(struct job_sides *sides, const struct options *options, struct stop *stop,
                           struct error *error)
{
    static const struct pg_setting none[1] = {{NULL, NULL}};
    enum status status = pg_address_init(&sides->source_address, options->source, "source", error);

    if (status == STATUS_OK)
        status = pg_address_init(&sides->target_address, options->target, "target", error);
    if (status == STATUS_OK)
        status = pg_create(&sides->source_address, none, stop, &sides->source_names, error);
    if (status == STATUS_OK)
        status = pg_create(&sides->target_address, none, stop, &sides->target_names, error);
    return status;
}

void job_sides_close(struct job_sides *sides)
{
    pg_free(sides->source);
    pg_free(sides->target);
    pg_free(sides->source_names);
    pg_free(sides->target_names);
    pg_address_reset(&sides->source_address);
    pg_address_reset(&sides->target_address);
    free(sides->encoding);
    *sides = (struct job_sides){0};
}

static enum status job_open_postgres(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    const char *name = options->source_table != NULL ? options->source_table : options->table;
    enum status status;

    status = pg_address_init(&job->source_address, options->source, "source", error);
    if (status == STATUS_OK && job->sides != NULL)
        job->source = job->sides->source_names;
    else if (status == STATUS_OK)
        status = pg_create(&job->source_address, job->source_settings, job->stop, &job->source, error);
    if (status == STATUS_OK)
        status = pg_connect(job->source, error);
    if (status == STATUS_OK)
        status = describe(job->source, name, job->table.time_name, false, &job->source_table, error);
    if (status == STATUS_OK)
        status = job_check_time(job, error);
    if (status != STATUS_OK)
        return status;
    if (job->source_table.oid == job->table.oid && job->source_table.system_identifier[0] != '\0' &&
        strcmp(job->source_table.system_identifier, job->table.system_identifier) == 0 &&
        strcmp(job->source_table.database, job->table.database) == 0)
        return error_set(error, STATUS_USAGE, "source and target are the same table %s of the same database",
                         job->table.sql);
    /* Rows travel in the source's own encoding; the target alone converts, and refuses what it cannot. */
    setting_add(job->source_settings, "client_encoding", job->source_table.server_encoding);
    setting_add(job->source_settings, "timezone", "UTC");
    setting_add(job->target_settings, "client_encoding", job->source_table.server_encoding);
    setting_add(job->target_settings, "timezone", "UTC");
    if (job->sides != NULL) {
        status = job_settle_sides(job, error);
    } else {
        pg_disconnect(job->source);
        pg_disconnect(job->target);
    }
    if (status == STATUS_OK)
        status = pg_connect(job->source, error);
    if (status == STATUS_OK)
        status = pg_connect(job->target, error);
    job->postgres = (struct postgres_source){
        .address = &job->source_address,
        .settings = job->source_settings,
        .table = &job->source_table,
    };
    return status;
}

static enum source_kind source_kind(const struct options *options)
{
    if (job_command_given(options))
        return template_wanted(options->source) ? SOURCE_COMMAND : SOURCE_STREAM;
    return pg_is_conninfo(options->source) && options->sources.count == 1 ? SOURCE_POSTGRES : SOURCE_STREAM;
}

enum status job_open(struct job *job, const struct options *options, struct stop *stop, struct error *error)
{
    return job_open_beside(job, options, NULL, stop, error);
}

enum status job_open_beside(struct job *job, const struct options *options, struct job_sides *sides, struct stop *stop,
                            struct error *error)
{
    enum status status;

    *job = (struct job){.options = options, .sides = sides, .stop = stop, .source_last = INT64_MIN};
    job->ranges_total = job->rows_total = job->bytes_total = -1;
    job->kind = source_kind(options);
    if (job_reads_csv(job) && options->source_table != NULL)
        return error_set(error, STATUS_USAGE, "--source-table is for a PostgreSQL source; --source names a CSV %s",
                         job_command_given(options) ? "command" : "file");
    if (!job_reads_csv(job) && options->dialect_given)
        return error_set(error, STATUS_USAGE, "CSV options are for a CSV source; --source names a database");
    if (job->kind != SOURCE_STREAM && options->spill_dir != NULL)
        return error_set(error, STATUS_USAGE,
                         "--spill-dir is for a CSV source that is read front to back; this one is asked for one "
                         "range after the other");
    /* Files first: it costs nothing to find out that they are not there. */
    status = options->spill_dir != NULL ? spill_check(options->spill_dir, error) : STATUS_OK;
    if (status == STATUS_OK && job_reads_csv(job))
        status = job_inputs(job, error);
    if (status == STATUS_OK)
        status = job_timezone(job, error);
    if (status == STATUS_OK)
        status = job_open_target(job, error);
    if (status == STATUS_OK && job->kind == SOURCE_POSTGRES)
        status = job_open_postgres(job, error);
    if (status == STATUS_OK)
        status = job_window(job, error);
    if (status == STATUS_OK && job->kind == SOURCE_COMMAND)
        status = job_command_learn(job, error);
    if (status == STATUS_OK)
        status = job_columns(job, error);
    if (status == STATUS_OK)
        status = job_build(job, error);
    if (status == STATUS_OK)
        status = job_wire(job, error);
    if (status == STATUS_OK)
        status = job_fingerprint(job, error);
    if (status == STATUS_OK)
        status = job_read_ledger(job, error);
    if (status == STATUS_OK && job->layout == NULL)
        status = job_layout(job, error);
    return status;
}

void job_close(struct job *job)
{
    for (int i = 0; i < job->text_count; i++)
        free(job->texts[i].value);
    job_command_close(job);
    job_inputs_reset(job);
    free(job->source_key);
    free(job->wire);
    free(job->fingerprint);
    free(job->created);
    free(job->layout_text);
    free(job->rows);
    free(job->tasks);
    free(job->timezone_setting);
    layout_free(job->layout);
    build_plan_reset(&job->build);
    policies_reset(&job->policies);
    free(job->policy_jobs);
    free(job->sorts);
    free(job->order);
    ledger_reset(&job->ledger);
    table_reset(&job->table);
    table_reset(&job->source_table);
    if (job->sides == NULL) {
        pg_free(job->source);
        pg_free(job->target);
    }
    pg_address_reset(&job->source_address);
    pg_address_reset(&job->target_address);
}

/* Where the reading of each input begins, and what each of its ranges has. */
static enum status job_take_marks(struct job *job, struct error *error)
{
    for (size_t i = 0; i < job->input_count; i++) {
        free(job->marks[i]);
        job->marks[i] = NULL;
        job->set.sources[i].mark_count = 0;
        job->set.sources[i].start = (struct input_position){0};
    }
    for (size_t i = 0; i < job->row_count; i++) {
        const struct ledger_row *row = &job->rows[i];
        struct stream_source *source;

        if (row->input < 0 || (size_t)row->input >= job->input_count)
            return error_set(error, STATUS_DATA, "the ledger has input %d of this job, which has %zu", (int)row->input,
                             job->input_count);
        source = &job->set.sources[row->input];
        source->mark_count++;
        if (row->frontier.offset > source->start.offset)
            source->start = row->frontier;
    }
    for (size_t i = 0; i < job->input_count; i++) {
        struct stream_source *source = &job->set.sources[i];

        job->marks[i] = calloc(source->mark_count + 1, sizeof *job->marks[i]);
        if (job->marks[i] == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory");
        source->marks = job->marks[i];
        source->mark_count = 0;
    }
    for (size_t i = 0; i < job->row_count; i++) {
        const struct ledger_row *row = &job->rows[i];
        struct stream_source *source = &job->set.sources[row->input];

        job->marks[row->input][source->mark_count++] =
            (struct stream_mark){row->range.lo, row->mark, {row->mark_hash[0], row->mark_hash[1]}};
    }
    return STATUS_OK;
}

/* All inputs share the layout. */
void job_share_layout(struct job *job)
{
    for (size_t i = 0; job_reads_csv(job) && i < job->input_count; i++) {
        job->set.sources[i].layout = job->layout;
        job->set.sources[i].alone = job->input_count == 1 || (job->depth > 0 && job->depth < ALONE_DEPTH_MAX);
    }
}

enum status job_read_ledger(struct job *job, struct error *error)
{
    struct ledger_job found = {0};
    enum status status;
    bool exists;

    status = ledger_exists(job->target, &job->ledger, &exists, error);
    if (status != STATUS_OK || !exists)
        return status;
    status = ledger_find_job(job->target, &job->ledger, &found, error);
    if (status != STATUS_OK || !found.found) {
        ledger_job_reset(&found);
        return status;
    }
    job->resumed = true;
    job->finished = found.finished;
    free(job->created);
    job->created = strdup(found.created);
    free(job->layout_text);
    job->layout_text = strdup(found.layout);
    layout_free(job->layout);
    job->layout = NULL;
    status = layout_from_text(found.layout, &job->layout, error);
    ledger_job_reset(&found);
    free(job->rows);
    job->rows = NULL;
    if (status == STATUS_OK)
        status = ledger_read(job->target, &job->ledger, &job->rows, &job->row_count, error);
    job->rows_before = job->bytes_before = job->conflicts_before = 0;
    for (size_t i = 0; i < job->row_count; i++) {
        job->rows_before += job->rows[i].rows;
        job->conflicts_before += job->rows[i].conflicts;
        job->bytes_before += job->rows[i].bytes;
    }
    if (status == STATUS_OK && job->kind == SOURCE_STREAM)
        status = job_take_marks(job, error);
    job_share_layout(job);
    /* From here on these are ranges of time; they are sorted, so what is none comes last. */
    while (job->row_count > 0 && range_is_rejects(job->rows[job->row_count - 1].range))
        job->row_count--;
    return status;
}

enum status job_check_checkpoint(const struct job *job, const struct checkpoint_state *state, const char *path,
                                 struct error *error)
{
    if (!state->exists || state->job[0] == '\0')
        return STATUS_OK;
    for (int i = 0; i < job->text_count; i++) {
        const char *before = checkpoint_state_text(state, job->texts[i].key);

        /* A file that was damaged may have lost the line; the ledger still tells the job apart. */
        if (before == NULL || strcmp(before, job->texts[i].value) == 0)
            continue;
        if (error->status == STATUS_OK)
            error_set(error, STATUS_USAGE, "the checkpoint file %s belongs to another job:", path);
        error_hint(error, "\n%s: was %s\n%*s  now %s", job->texts[i].key, before, (int)strlen(job->texts[i].key), "",
                   job->texts[i].value);
    }
    if (error->status == STATUS_OK && strcmp(state->job, job->ledger.job) != 0)
        error_set(error, STATUS_USAGE, "the checkpoint file %s belongs to another job (%s, not %s)", path, state->job,
                  job->ledger.job);
    if (error->status != STATUS_OK)
        job_tell_inputs(job, state, error);
    if (error->status != STATUS_OK)
        error_hint(error,
                   "\nGive the options of that job to resume it, or another --checkpoint file to begin a new one.");
    return error->status;
}

static bool any_compressed(const struct job *job)
{
    for (size_t i = 0; i < job->set.count; i++)
        if (job->set.sources[i].kind != BYTES_PLAIN)
            return true;
    return false;
}

int job_readers(const struct job *job)
{
    const int64_t most =
        job->options->memory_bytes / (any_compressed(job) ? MEMORY_PER_DECOMPRESSOR : MEMORY_PER_INPUT);
    int readers = job->options->readers > 0 ? job->options->readers : job->options->jobs;

    if (job->kind != SOURCE_STREAM)
        return readers;
    if ((size_t)readers > job->input_count)
        readers = (int)job->input_count;
    if (readers > most)
        readers = most > 1 ? (int)most : 1;
    return readers;
}

/* What readers may hold of inputs that are compressed; any of them may be read at the same time. */
static int64_t decompression_memory(const struct job *job)
{
    int64_t most = 0;

    for (size_t i = 0; i < job->set.count; i++) {
        int64_t memory = stream_memory(&job->set.sources[i]);

        most = memory > most ? memory : most;
    }
    return most * job_readers(job);
}

int64_t job_build_rows_min(const struct job *job)
{
    return job->options->strategy == STRATEGY_AUTO && !job->options->compress_after ? BUILD_ROWS_MIN : 0;
}

int64_t job_block_memory(const struct job *job)
{
    int64_t readers = job_readers(job), threads = readers + job->options->jobs;
    int64_t left = job->options->memory_bytes - threads * MEMORY_PER_THREAD;

    /* A stream's input buffer may grow to a quarter for a long record; usually it stays at a few MiB. */
    if (job->kind == SOURCE_STREAM)
        left -= ((INT64_C(3) + readers) << 20) + decompression_memory(job);
    left -= job->sort_memory * job->options->jobs;
    if (job->options->spill_dir != NULL)
        left -= job->options->jobs * MEMORY_PER_SPILL_READER;
    return left > job->options->memory_bytes / 2 ? left : job->options->memory_bytes / 2;
}

void job_set_reader(struct job *job, struct pipeline_spec *spec)
{
    switch (job->kind) {
    case SOURCE_POSTGRES:
        spec->reader = &postgres_reader;
        spec->source = &job->postgres;
        break;
    case SOURCE_STREAM:
        spec->reader = &stream_reader;
        spec->source = &job->set;
        break;
    case SOURCE_COMMAND:
        spec->reader = &command_reader;
        spec->source = &job->command.ranges;
        break;
    }
}
