/*
 * Chunks made ahead of the COPY that fills them.
 *
 * Community edition, one dimension: create_chunk with the exact cell. Else by the only way that the Apache edition has:
 * a real row is copied in, which makes the server create its chunk by its own rules, and the chunk is emptied, all in
 * one transaction. It is emptied only if this very transaction created it and our row is all it holds; else everything
 * is rolled back.
 */
#include "writers/append_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

/* A first record beyond this is not worth sending twice. */
#define RECORD_SIZE_MAX (1024 * 1024)

/* Index of the first cell with lo > value. Under the mutex. */
static size_t made_after(const struct append_target *target, int64_t value)
{
    size_t low = 0, high = target->made_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (target->made[middle].lo <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool known_locked(const struct append_target *target, struct range range)
{
    size_t at = made_after(target, range.lo);

    return at > 0 && target->made[at - 1].hi >= range.hi;
}

bool ahead_known(struct append_target *target, struct range range)
{
    bool known;

    pthread_mutex_lock(&target->mutex);
    known = !target->ahead || known_locked(target, range);
    pthread_mutex_unlock(&target->mutex);
    return known;
}

/* Without memory to remember it, it is tried once more another time. */
void ahead_remember(struct append_target *target, struct range cell)
{
    pthread_mutex_lock(&target->mutex);
    if (!known_locked(target, cell) && target->made_count == target->made_room) {
        size_t room = target->made_room * 2 + 64;
        struct range *made = realloc(target->made, room * sizeof *made);

        if (made != NULL) {
            target->made = made;
            target->made_room = room;
        }
    }
    if (!known_locked(target, cell) && target->made_count < target->made_room) {
        size_t at = made_after(target, cell.lo);

        memmove(&target->made[at + 1], &target->made[at], (target->made_count - at) * sizeof *target->made);
        target->made[at] = cell;
        target->made_count++;
    }
    pthread_mutex_unlock(&target->mutex);
}

static void switch_off(struct append_target *target, const struct error *reason)
{
    bool was_on;

    pthread_mutex_lock(&target->mutex);
    was_on = target->ahead;
    target->ahead = false;
    pthread_mutex_unlock(&target->mutex);
    if (was_on)
        log_line(LOG_NOTICE,
                 "chunks of %s are not made ahead (%s): writers that fill new chunks take turns. TRUNCATE on the table"
                 " would allow it",
                 target->table->sql, reason->text);
}

static enum status create_chunk(struct append_session *session, struct range cell, struct error *error)
{
    const struct table *table = session->target->table;
    struct sql sql = {0};
    char *hypertable = pg_literal(table->sql), *column = pg_literal(table->time_name);
    enum status status;

    sql_add(&sql,
            "SELECT created FROM _timescaledb_functions.create_chunk(%s::regclass, jsonb_build_object(%s::text,"
            " jsonb_build_array('%" PRId64 "'::bigint, '%" PRId64 "'::bigint)))",
            hypertable, column, cell.lo, cell.hi);
    free(hypertable);
    free(column);
    status = pg_run(session->pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status;
}

static enum status copy_record(struct append_session *session, const struct append_input *input, const char *record,
                               uint32_t size, struct error *error)
{
    const struct append_target *target = session->target;
    struct sql sql = {0};
    enum status status;
    int64_t rows;

    sql_add(&sql, "COPY %s (%s) FROM STDIN WITH (%s)", target->table->sql, input->column_list, input->copy_options);
    status = pg_copy_in_begin(session->pg, sql.text, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        status = pg_copy_in_put(session->pg, record, size, error);
    return status == STATUS_OK ? pg_copy_in_end(session->pg, &rows, error) : status;
}

/* The chunk that this transaction created, NULL if it created none. Only its own row is in there: xmin numbers come
 * again. */
static enum status find_created(struct append_session *session, char **chunk, struct error *error)
{
    struct sql sql = {0};
    char *rows = NULL;
    enum status status;

    sql_add(&sql,
            "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c"
            " ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE i.inhparent = %u"
            " AND c.xmin::text::bigint = pg_catalog.txid_current() %% 4294967296 LIMIT 1",
            session->target->table->oid);
    status = pg_value(session->pg, sql.text, chunk, error);
    sql_reset(&sql);
    if (status != STATUS_OK || *chunk == NULL)
        return status;
    sql_add(&sql, "SELECT count(*) FROM (SELECT FROM ONLY %s LIMIT 2) r", *chunk);
    status = pg_value(session->pg, sql.text, &rows, error);
    sql_reset(&sql);
    if (status == STATUS_OK && strcmp(rows, "1") != 0) {
        free(*chunk);
        *chunk = NULL;
    }
    free(rows);
    return status;
}

static enum status empty_and_commit(struct append_session *session, struct error *error)
{
    char *chunk = NULL;
    enum status status = find_created(session, &chunk, error);

    if (status == STATUS_OK && chunk != NULL) {
        status = pg_runf(session->pg, NULL, error, "TRUNCATE %s", chunk);
        if (status == STATUS_SERVER && (strcmp(error->sqlstate, "42501") == 0 || strcmp(error->sqlstate, "0A000") == 0))
            switch_off(session->target, error);
        if (status == STATUS_OK)
            status = pg_run(session->pg, "COMMIT", NULL, error);
    }
    free(chunk);
    return status;
}

/* Whatever the record has against it, the piece's own COPY will say so. */
static enum status make_by_record(struct append_session *session, const struct append_input *input, const char *record,
                                  uint32_t size, struct error *error)
{
    enum status status = pg_run(session->pg, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", NULL, error);

    if (status == STATUS_OK)
        status = copy_record(session, input, record, size, error);
    if (status == STATUS_OK)
        status = empty_and_commit(session, error);
    pg_rollback(session->pg);
    return status;
}

enum status ahead_make(struct append_session *session, struct piece *piece, const struct span *first,
                       struct error *error)
{
    struct append_target *target = session->target;
    struct range cell = piece_spec(piece)->place.cell;
    struct error reason;
    enum status status = STATUS_OK;
    uint32_t size = 0;

    error_reset(&reason);
    if (target->table->community && target->table->dimensions == 1) {
        status = create_chunk(session, cell, &reason);
    } else {
        if (append_input_of(session, piece)->shape != NULL)
            size = first->size;
        else
            status = piece_first_record(piece, pipeline_stats(session->pipeline), &size, error);
        if (status != STATUS_OK)
            return status;
        if (size > 0 && size <= first->size && size <= RECORD_SIZE_MAX)
            status = make_by_record(session, append_input_of(session, piece), first->data, size, &reason);
    }
    if (status == STATUS_STOPPED || (status != STATUS_OK && !pg_connected(session->pg))) {
        *error = reason;
        return status;
    }
    if (status != STATUS_OK)
        log_line(LOG_DEBUG, "chunk of %s not made ahead: %s", target->table->sql, reason.text);
    ahead_remember(target, cell);
    return STATUS_OK;
}
