/*
 * The fingerprint of a job: what must be the same for a run to go on where another one stopped. Threads, memory, order
 * and retries are not part of it; the layout is fixed by the first run and kept beside it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/cli/job.h"

static void text_add(struct job *job, const char *key, char *value)
{
    job->texts[job->text_count++] = (struct job_text){key, value};
}

/* A database and a table in it, told apart even when the name is used again. */
static char *table_text(const struct table *table, bool with_oid)
{
    struct sql text = {0};

    sql_add(&text, "system %s database %s table %s.%s",
            table->system_identifier[0] != '\0' ? table->system_identifier : "unknown", table->database, table->schema,
            table->name);
    /* A table that was dropped and made again is another target. A source may be dumped and restored elsewhere. */
    if (with_oid)
        sql_add(&text, " oid %u", table->oid);
    return text.text;
}

/* A text of each input: as it is where all have the same, else with a hash of all. */
static char *joined_text(const struct job *job, const char *(*text_of)(const struct mapping *mapping))
{
    const char *first = text_of(&job->mappings[0]);
    struct sql text = {0}, all = {0};
    bool same = true;
    XXH128_hash_t hash;

    for (size_t i = 0; i < job->input_count; i++) {
        same = same && strcmp(text_of(&job->mappings[i]), first) == 0;
        sql_add(&all, "%s\n", text_of(&job->mappings[i]));
    }
    hash = XXH3_128bits(all.text, all.size);
    sql_reset(&all);
    sql_add(&text, "%s", first);
    if (!same)
        sql_add(&text, " and others, %016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
    return text.text;
}

static const char *columns_of(const struct mapping *mapping)
{
    return mapping->column_list;
}

static const char *copy_options_of(const struct mapping *mapping)
{
    return mapping->copy_options;
}

static const char *shape_of(const struct mapping *mapping)
{
    return mapping->text;
}

static char *dialect_text(const struct job *job)
{
    const struct dialect *dialect = &job->set.sources[0].dialect;
    char *copy_options = joined_text(job, copy_options_of), *shape = joined_text(job, shape_of);
    struct sql text = {0};

    sql_add(&text, "%s header %s", copy_options, dialect->header ? "yes" : "no");
    if (dialect->comment != '\0')
        sql_add(&text, " comment %02x", (unsigned char)dialect->comment);
    if (dialect->skip_lines > 0)
        sql_add(&text, " skip %d", dialect->skip_lines);
    if (shape[0] != '\0')
        sql_add(&text, " shape %s", shape);
    if (job->zone_given)
        sql_add(&text, " zone %d", (int)job->zone_seconds);
    free(copy_options);
    free(shape);
    return text.text;
}

/* One input is known by itself, several by their names in order and what each is. */
static enum status inputs_text(struct job *job, char **result, struct error *error)
{
    struct sql text = {0}, all = {0};
    enum status status = STATUS_OK;
    char identity[512] = "";
    int64_t bytes = 0;
    XXH128_hash_t hash;

    job->identities = calloc(job->input_count, sizeof *job->identities);
    if (job->identities == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < job->input_count && status == STATUS_OK; i++) {
        const struct stream_source *source = &job->set.sources[i];

        status = stream_identity(source, identity, sizeof identity, error);
        job->identities[i] = strdup(identity);
        if (job->identities[i] == NULL)
            status = error_set(error, STATUS_SYSTEM, "out of memory");
        bytes += source->size > 0 ? source->size : 0;
        sql_add(&all, "%s %s\n", source->name, identity);
    }
    if (status == STATUS_OK)
        hash = XXH3_128bits(all.text, all.size);
    sql_reset(&all);
    if (status != STATUS_OK)
        return status;
    if (job->input_count == 1)
        sql_add(&text, "%s", identity);
    else
        sql_add(&text, "inputs=%zu size=%" PRId64 " identities=%016" PRIx64 "%016" PRIx64, job->input_count, bytes,
                hash.high64, hash.low64);
    *result = text.text;
    return STATUS_OK;
}

/* What was asked for, whatever it has become. */
static char *source_key_text(const struct job *job)
{
    const struct text_list *sources = &job->options->sources;
    struct sql text = {0};

    if (job->input_count == 1)
        return strdup(job->set.sources[0].name);
    for (int i = 0; i < sources->count; i++)
        sql_add(&text, "%s%s", i > 0 ? "\n" : "", sources->items[i]);
    return text.text;
}

static char *time_text(const struct job *job)
{
    struct sql text = {0};

    sql_add(&text, "%s %s", job->table.time_name, time_type_sql(job->table.time.type));
    return text.text;
}

static char *bound_text(const struct job *job, int64_t value)
{
    char buffer[TIME_TEXT_MAX];

    if (value == INT64_MIN || value == INT64_MAX)
        return strdup("unbounded");
    return strdup(time_format(job->table.time.type, value, buffer));
}

enum status job_fingerprint(struct job *job, struct error *error)
{
    struct sql lines = {0};
    XXH128_hash_t hash;
    char id[33];

    if (job_command_given(job->options)) {
        char key[PROCESS_NAME_MAX + 64];

        job_command_key(job, key, sizeof key);
        text_add(job, "source", strdup(key));
        job->source_key = strdup(key);
    } else if (job->kind == SOURCE_STREAM) {
        char *inputs = NULL;
        enum status status = inputs_text(job, &inputs, error);

        if (status != STATUS_OK)
            return status;
        text_add(job, "source", inputs);
        job->source_key = source_key_text(job);
    } else {
        text_add(job, "source", table_text(&job->source_table, false));
        job->source_key = table_text(&job->source_table, false);
    }
    text_add(job, "target", table_text(&job->table, true));
    text_add(job, "columns", joined_text(job, columns_of));
    text_add(job, "time", time_text(job));
    text_add(job, "from", bound_text(job, job->window.lo));
    text_add(job, "until", bound_text(job, job->window.hi));
    text_add(job, "dialect", job_reads_csv(job) ? dialect_text(job) : strdup("postgresql"));
    /* Who goes on without a ledger does not hold the locks of one, and the other way round. */
    if (job->options->ledger == LEDGER_NONE)
        text_add(job, "ledger", strdup("none"));
    for (int i = 0; i < job->text_count; i++)
        sql_add(&lines, "%s=%s\n", job->texts[i].key, job->texts[i].value);
    job->fingerprint = lines.text;
    hash = XXH3_128bits(lines.text, lines.size);
    snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
    ledger_init(&job->ledger, job->options->ledger_schema, id);
    job->ledger.none = job->options->ledger == LEDGER_NONE;
    job->ledger.shared = job->input_count > 1;
    job->ledger.rejects = job->options->on_bad_row == BAD_ROW_REJECT;
    /*
     * What becomes of conflicts is no part of the fingerprint: a piece that was committed under `error` had none, so it
     * is what `skip` would have made of it, and a run that has failed by a conflict may go on with `skip`.
     */
    job->ledger.conflicts = job->options->on_conflict == ON_CONFLICT_SKIP;
    return STATUS_OK;
}
