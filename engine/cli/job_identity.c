/*
 * The fingerprint of a job: what must be the same for a run to go on where another one stopped. Threads, memory, order
 * and retries are not part of it; the layout is fixed by the first run and kept beside it.
 */
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

static char *dialect_text(const struct job *job)
{
    struct sql text = {0};

    sql_add(&text, "%s header %s", job->copy_options, job->csv.dialect.header ? "yes" : "no");
    if (job->csv.time.zone_given)
        sql_add(&text, " zone %d", (int)job->csv.time.zone_seconds);
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
    char id[33], identity[512];

    if (job->stream) {
        enum status status = stream_identity(&job->csv, identity, sizeof identity, error);

        if (status != STATUS_OK)
            return status;
        text_add(job, "source", strdup(identity));
        job->source_key = strdup(job->csv.name);
    } else {
        text_add(job, "source", table_text(&job->source_table, false));
        job->source_key = table_text(&job->source_table, false);
    }
    text_add(job, "target", table_text(&job->table, true));
    text_add(job, "columns", strdup(job->column_list));
    text_add(job, "time", time_text(job));
    text_add(job, "from", bound_text(job, job->window.lo));
    text_add(job, "until", bound_text(job, job->window.hi));
    text_add(job, "dialect", job->stream ? dialect_text(job) : strdup("postgresql"));
    for (int i = 0; i < job->text_count; i++)
        sql_add(&lines, "%s=%s\n", job->texts[i].key, job->texts[i].value);
    job->fingerprint = lines.text;
    hash = XXH3_128bits(lines.text, lines.size);
    snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
    ledger_init(&job->ledger, job->options->ledger_schema, id);
    /*
     * What becomes of conflicts is no part of the fingerprint: a piece that was committed under `error` had none, so it
     * is what `skip` would have made of it, and a run that has failed by a conflict may go on with `skip`.
     */
    job->ledger.conflicts = job->options->on_conflict == ON_CONFLICT_SKIP;
    return STATUS_OK;
}
