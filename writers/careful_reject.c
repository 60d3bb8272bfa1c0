/* What becomes of a bad row: its reason, its place among the rejects, and the limit. */
#include "writers/careful_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REASON_MAX 1024

/* ---- Counting ---- */

void careful_add(struct append_target *target, struct careful_count *count, int64_t rows, int64_t rejects)
{
    count->rows += rows;
    count->rejects += rejects;
    atomic_fetch_add(&target->rejects, rejects);
    atomic_fetch_add(&target->rows_seen, rows + rejects);
}

void careful_undo(struct append_target *target, struct careful_count *count)
{
    careful_add(target, count, -count->rows, -count->rejects);
}

bool append_target_exceeds(const struct append_target *target, int64_t rejects, int64_t rows_seen, bool at_end)
{
    if (target->rejects_max >= 0)
        return rejects > target->rejects_max;
    return (at_end || rows_seen >= 1000) && (double)rejects * 100 > target->rejects_percent * (double)rows_seen;
}

/*
 * Records without a time gather in a piece of their own, which may come before the rows among which they stood: there
 * the size of a record tells how many were seen before its end.
 */
static int64_t rows_seen(const struct careful *careful)
{
    int64_t seen = atomic_load(&careful->session->target->rows_seen), bytes, rows;

    if (!range_is_rejects(careful->spec->place.range))
        return seen;
    bytes = piece_bytes(careful->piece);
    rows = piece_rows(careful->piece);
    if (bytes > 0 && careful->spec->end / bytes * rows > seen)
        seen = careful->spec->end / bytes * rows;
    return seen;
}

/* ---- Rejecting ---- */

/* The server's own words without who said them and what to do; and without its context, which counts lines as it
 * pleases. */
static void shorten(const char *role, const char *text, char reason[REASON_MAX])
{
    static const char *const ends[] = {"\nHINT: ", "\nCONTEXT: "};
    size_t role_size = strlen(role), size;

    if (strncmp(text, role, role_size) == 0 && strncmp(text + role_size, ": ", 2) == 0)
        text += role_size + 2;
    size = strlen(text);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const char *end = strstr(text, ends[i]);

        if (end != NULL && (size_t)(end - text) < size)
            size = (size_t)(end - text);
    }
    if (size > REASON_MAX - 1)
        size = REASON_MAX - 1;
    for (size_t i = 0; i < size; i++)
        reason[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    reason[size] = '\0';
}

/* The limit of the job; the record and its reason are part of the text, so that --max-rejects 0 tells what a stop at
 * the first bad row would. */
static enum status refuse(struct careful *careful, const struct reject *reject, struct error *error)
{
    const struct append_target *target = careful->target;
    char limit[32];

    careful->count->too_many = true;
    if (target->rejects_max >= 0)
        snprintf(limit, sizeof limit, "%" PRId64, target->rejects_max);
    else
        snprintf(limit, sizeof limit, "%g%%", target->rejects_percent);
    snprintf(error->input, sizeof error->input, "%s", careful->input->name);
    snprintf(error->sqlstate, sizeof error->sqlstate, "%.5s", reject->sqlstate);
    error->line = reject->line;
    error->offset = reject->key.offset;
    error_set(
        error, STATUS_DATA,
        "more rows are bad than --max-rejects %s allows: with a higher one the job goes on from here. The last one: %s",
        limit, reject->reason);
    locate_show(error, reject->record, reject->size);
    return error->status;
}

enum status careful_reject_record(struct careful *careful, const char *text, size_t size, int64_t offset, int64_t line,
                                  struct error *error)
{
    struct append_session *session = careful->session;
    char reason[REASON_MAX];
    struct reject reject = {
        .key = {careful->spec->input, careful->spec->place.range.lo, offset},
        .line = line,
        .column = careful->column,
        .sqlstate = careful->reason.sqlstate,
        .reason = reason,
        .record = text,
        .size = size,
    };

    shorten(session->target->address->role, careful->reason.text, reason);
    careful_add(session->target, careful->count, 0, 1);
    if (append_target_exceeds(careful->target, atomic_load(&session->target->rejects), rows_seen(careful), false))
        return refuse(careful, &reject, error);
    reject_add(session->pg, careful->target->ledger, &careful->batch, &reject);
    return STATUS_OK;
}

enum status careful_reject_unrouted(struct careful *careful, const struct record *record, struct error *error)
{
    careful->column[0] = '\0';
    if (strcmp(careful->reason.sqlstate, "22007") == 0)
        snprintf(careful->column, sizeof careful->column, "%s", careful->target->table->time_name);
    return careful_reject_record(careful, record->text, record->size, record->offset, record->line, error);
}

enum status careful_reject_all(struct careful *careful, struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK) {
        struct record record;

        status = records_next(&careful->records, &record, error);
        if (status != STATUS_OK || record.size == 0)
            break;
        error_reset(&careful->reason);
        careful->input->explain(careful->input->context, record.text, record.size, &careful->reason);
        status = careful_reject_unrouted(careful, &record, error);
        if (status == STATUS_OK && reject_is_full(&careful->batch))
            status = reject_flush(careful->session->pg, &careful->batch, error);
    }
    return status;
}
