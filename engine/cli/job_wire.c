/* How rows go to the target: as they come, or transcoded to binary. */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"

static char *wire_text(const char *wire, const char *reason)
{
    struct sql text = {0};

    sql_add(&text, "%s: %s", wire, reason);
    return text.text;
}

/*
 * CSV is converted from the encoding that COPY is told, values of a binary COPY from that of the session. Where neither
 * converts they are judged alike.
 */
static enum status check_encoding(const struct job *job, const struct mapping *mapping, struct error *error)
{
    const char *server = job->table.server_encoding;
    const char *session = PQparameterStatus(pg_conn(job->target), "client_encoding");

    if (session == NULL || strcmp(session, server) != 0)
        return error_set(error, STATUS_USAGE, "the session's encoding is %s, the server's %s",
                         session != NULL ? session : "unknown", server);
    if (mapping->encoding != NULL && strcmp(mapping->encoding, server) != 0)
        return error_set(error, STATUS_USAGE, "the input's encoding is %s, the server's %s", mapping->encoding, server);
    return STATUS_OK;
}

static struct transcoder_column column_of(const struct job *job, const struct mapping *mapping, const char *name)
{
    const struct table_column *column = table_find_column(&job->table, name);

    return (struct transcoder_column){
        .name = column->name,
        .type = column->type,
        .base = column->base,
        .force_null = names_have_exactly(&mapping->forced_null, name),
        .force_not_null = names_have_exactly(&mapping->forced_not_null, name),
    };
}

static enum status make_transcoder(const struct job *job, size_t input, struct error *error)
{
    struct mapping *mapping = &job->mappings[input];
    bool csv = job_reads_csv(job);
    struct transcoder_column *columns = calloc((size_t)mapping->columns.count + 1, sizeof *columns);
    struct transcoder_spec spec = {
        .delimiter = csv ? mapping->dialect.delimiter : ',',
        .quote = csv ? mapping->dialect.quote : '"',
        .escape = csv ? mapping->dialect.escape : '"',
        .null_text = csv ? job->set.sources[input].dialect.null_text : "",
        .columns = columns,
        .column_count = mapping->columns.count,
        /* Sessions of a PostgreSQL source are in UTC. */
        .zone_given = job->zone_given || !csv,
        .zone_seconds = job->zone_seconds,
    };
    enum status status;

    if (columns == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < mapping->columns.count; i++)
        columns[i] = column_of(job, mapping, mapping->columns.items[i]);
    status = check_encoding(job, mapping, error);
    if (status == STATUS_OK)
        status = transcoder_create(&spec, &mapping->transcoder, error);
    job->inputs[input].transcoder = mapping->transcoder;
    free(columns);
    return status;
}

enum status job_wire(struct job *job, struct error *error)
{
    enum status status = STATUS_OK;
    struct error reason;

    error_reset(&reason);
    if (job->options->wire == WIRE_CSV) {
        job->wire = wire_text("csv", "by --wire csv");
        return STATUS_OK;
    }
    if (job->kind == SOURCE_POSTGRES && job->postgres.binary) {
        job->wire = wire_text("binary", "the columns have the same types on both sides");
        return STATUS_OK;
    }
    for (size_t i = 0; status == STATUS_OK && i < job->input_count; i++)
        status = make_transcoder(job, i, &reason);
    if (status == STATUS_OK)
        job->wire = wire_text("binary", "converted from CSV, but for values in unusual spellings");
    else if (status == STATUS_USAGE && job->options->wire == WIRE_AUTO)
        job->wire = wire_text("csv", reason.text);
    else
        return error_set(error, status, "--wire binary: %s", reason.text);
    return STATUS_OK;
}
