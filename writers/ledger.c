/* Pieces in the ledger: read, begun, committed. */
#include "writers/ledger_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_TEXT "%016" PRIx64 "%016" PRIx64
#define INT64_TEXT "'%" PRId64 "'"

static int64_t number(const PGresult *result, int row, int column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* A hash that cannot be read is zero, and so matches nothing. */
static void read_hash(const char *text, uint64_t hash[2])
{
    char half[17] = "";

    hash[0] = hash[1] = 0;
    if (strlen(text) != 32)
        return;
    memcpy(half, text, 16);
    hash[0] = strtoull(half, NULL, 16);
    hash[1] = strtoull(text + 16, NULL, 16);
}

static void read_row(const PGresult *result, int i, struct ledger_row *row)
{
    *row = (struct ledger_row){
        .input = (int32_t)number(result, i, 0),
        .range = {number(result, i, 1), number(result, i, 2)},
        .mark = number(result, i, 3),
        .frontier = {.offset = number(result, i, 5), .line = number(result, i, 6)},
        .rows = number(result, i, 8),
        .bytes = number(result, i, 9),
        .conflicts = number(result, i, 10),
    };
    read_hash(PQgetvalue(result, i, 4), row->mark_hash);
    read_hash(PQgetvalue(result, i, 7), row->frontier.hash);
}

enum status ledger_read(struct pg *pg, const struct ledger *ledger, struct ledger_row **rows, size_t *count,
                        struct error *error)
{
    PGresult *result;
    enum status status = pg_runf(pg, &result, error,
                                 "SELECT input, lo, hi, mark, mark_hash, frontier, frontier_line, frontier_hash, rows,"
                                 " bytes, coalesce((to_jsonb(p)->>'conflicts')::bigint, 0)"
                                 " FROM %s p WHERE job = '%s' ORDER BY lo, input",
                                 ledger->piece_table, ledger->job);

    *rows = NULL;
    *count = 0;
    if (status != STATUS_OK)
        return status;
    *count = (size_t)PQntuples(result);
    *rows = calloc(*count + 1, sizeof **rows);
    if (*rows == NULL) {
        *count = 0;
        status = error_set(error, STATUS_SYSTEM, "out of memory for the ledger of job %s", ledger->job);
    }
    for (size_t i = 0; i < *count; i++)
        read_row(result, (int)i, &(*rows)[i]);
    PQclear(result);
    return status;
}

enum status ledger_read_others(struct pg *pg, const struct ledger *ledger, uint32_t table_oid, struct range **ranges,
                               size_t *count, struct error *error)
{
    PGresult *result = NULL;
    bool exists = false;
    enum status status = ledger_exists(pg, ledger, &exists, error);

    *ranges = NULL;
    *count = 0;
    if (status != STATUS_OK || !exists)
        return status;
    /* Rejects stand under a range that ends before it begins. */
    status =
        pg_runf(pg, &result, error,
                "SELECT DISTINCT p.lo, p.hi FROM %s p JOIN %s j USING (job) WHERE j.table_oid = %u AND j.job <> '%s'"
                " AND p.lo < p.hi ORDER BY 1, 2",
                ledger->piece_table, ledger->job_table, table_oid, ledger->job);
    if (status != STATUS_OK)
        return status;
    *ranges = calloc((size_t)PQntuples(result) + 1, sizeof **ranges);
    if (*ranges == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        (*ranges)[(*count)++] = (struct range){number(result, i, 0), number(result, i, 1)};
    PQclear(result);
    return status;
}

static void add_key(struct sql *sql, const struct ledger *ledger, const struct piece_spec *piece)
{
    sql_add(sql, "job = '%s' AND lo = " INT64_TEXT " AND input = %" PRId32, ledger->job, piece->place.range.lo,
            piece->input);
}

/* The range's first piece of this input: its row must not be there. Tells whether no other input has one either. */
static void add_insert(struct sql *sql, const struct ledger *ledger, const struct piece_spec *piece,
                       const struct input_position *frontier)
{
    sql_add(sql,
            "INSERT INTO %s (job, lo, input, hi, mark, mark_hash, frontier, frontier_line, frontier_hash, rows, bytes)",
            ledger->piece_table);
    sql_add(sql, " VALUES ('%s', " INT64_TEXT ", %" PRId32 ", " INT64_TEXT ", " INT64_TEXT ", '" HASH_TEXT "', ",
            ledger->job, piece->place.range.lo, piece->input, piece->place.range.hi, piece->end, piece->end_hash[0],
            piece->end_hash[1]);
    sql_add(sql, INT64_TEXT ", " INT64_TEXT ", '" HASH_TEXT "', 0, 0) ON CONFLICT (job, lo, input) DO NOTHING",
            frontier->offset, frontier->line, frontier->hash[0], frontier->hash[1]);
    sql_add(sql,
            " RETURNING NOT EXISTS (SELECT FROM %s p WHERE p.job = '%s' AND p.lo = " INT64_TEXT
            " AND p.input <> %" PRId32 ")",
            ledger->piece_table, ledger->job, piece->place.range.lo, piece->input);
}

/*
 * Whether a piece is the first of its range must not be asked by two inputs at once. A statement of its own: what
 * follows must see what was committed while this one waited. The key space is that of one-number advisory locks.
 */
static void add_range_lock(struct sql *sql, const struct ledger *ledger, const struct piece_spec *piece)
{
    sql_add(sql, "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('%s', " INT64_TEXT ")); ",
            ledger->job, piece->place.range.lo);
}

/* A later piece: moves the mark from exactly its begin. */
static void add_update(struct sql *sql, const struct ledger *ledger, const struct piece_spec *piece,
                       const struct input_position *frontier)
{
    sql_add(sql, "UPDATE %s SET mark = " INT64_TEXT ", mark_hash = '" HASH_TEXT "', committed = now(), ",
            ledger->piece_table, piece->end, piece->end_hash[0], piece->end_hash[1]);
    sql_add(sql, "frontier = " INT64_TEXT ", frontier_line = " INT64_TEXT ", frontier_hash = '" HASH_TEXT "' WHERE ",
            frontier->offset, frontier->line, frontier->hash[0], frontier->hash[1]);
    add_key(sql, ledger, piece);
    sql_add(sql, " AND mark = " INT64_TEXT " RETURNING false", piece->begin);
}

/* The mark was not where the piece begins. READ COMMITTED lets this see what our own statement has waited for. */
static enum status look_at_mark(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                bool *already, int64_t *rows, int64_t *bytes, struct error *error)
{
    struct sql sql = {0};
    PGresult *result;
    enum status status;

    sql_add(&sql, "SELECT mark, rows, bytes FROM %s WHERE ", ledger->piece_table);
    add_key(&sql, ledger, piece);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1 && number(result, 0, 0) >= piece->end) {
        *already = true;
        *rows = number(result, 0, 1);
        *bytes = number(result, 0, 2);
    } else if (PQntuples(result) == 1) {
        status = error_set(error, STATUS_DATA,
                           "the ledger %s has this range of input %" PRId32 " committed up to offset %" PRId64
                           ", but the piece goes from %" PRId64 " to %" PRId64
                           ": two runs read the input differently. Nothing was loaded; check that the input has not"
                           " changed, and that no other run of this job is going on",
                           ledger->piece_table, piece->input, number(result, 0, 0), piece->begin, piece->end);
    } else {
        status = error_set(error, STATUS_DATA,
                           "the ledger %s has lost its row of this range (job %s): it should be committed up to offset"
                           " %" PRId64 ". Nothing was loaded; was the ledger cleaned while the job ran?",
                           ledger->piece_table, ledger->job, piece->begin);
    }
    PQclear(result);
    return status;
}

/* Whatever the database's default: a statement must see what was committed while the one before it waited. */
#define PIECE_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "

static enum status check_begun(struct pg *pg, struct error *error)
{
    if (PQtransactionStatus(pg_conn(pg)) == PQTRANS_INTRANS)
        return STATUS_OK;
    return error_set(error, STATUS_SERVER,
                     "BEGIN has begun no transaction: is there a connection pool in statement mode between? Connect to"
                     " the server directly");
}

/* Pieces of a job that has no ledger hold it together, so that ledger_wait can wait for all of them. */
static void add_pieces_lock(struct sql *sql, const char *function, const struct ledger *ledger)
{
    sql_add(sql, "SELECT pg_catalog.%s(pg_catalog.hashtextextended('%s pieces', 0)); ", function, ledger->job);
}

enum status ledger_wait(struct pg *pg, const struct ledger *ledger, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    sql_add(&sql, PIECE_BEGIN);
    add_pieces_lock(&sql, "pg_advisory_xact_lock", ledger);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    if (status == STATUS_OK)
        status = check_begun(pg, error);
    if (status == STATUS_OK)
        status = ledger_commit_plain(pg, error);
    if (status != STATUS_OK)
        pg_rollback(pg);
    return status;
}

/* Who waits here for an earlier attempt empties the range of its rows next. */
static enum status begin_without(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                 struct error *error)
{
    struct sql sql = {0};
    enum status status;

    assert(piece->begin == 0);
    sql_add(&sql, PIECE_BEGIN);
    add_pieces_lock(&sql, "pg_advisory_xact_lock_shared", ledger);
    add_range_lock(&sql, ledger, piece);
    status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status == STATUS_OK ? check_begun(pg, error) : status;
}

enum status ledger_begin(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                         const struct input_position *frontier, bool *already, bool *first_of_range, int64_t *rows,
                         int64_t *bytes, struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;
    bool moved;

    *already = false;
    *first_of_range = ledger->none;
    *rows = *bytes = 0;
    if (ledger->none)
        return begin_without(pg, ledger, piece, error);
    sql_add(&sql, PIECE_BEGIN);
    if (piece->begin == 0 && ledger->shared)
        add_range_lock(&sql, ledger, piece);
    if (piece->begin == 0)
        add_insert(&sql, ledger, piece, frontier);
    else
        add_update(&sql, ledger, piece, frontier);
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK) {
        error_prefix(error, "ledger");
        return status;
    }
    moved = PQntuples(result) == 1;
    *first_of_range = moved && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    status = check_begun(pg, error);
    if (status != STATUS_OK)
        return status;
    return moved ? STATUS_OK : look_at_mark(pg, ledger, piece, already, rows, bytes, error);
}

enum status ledger_add_conflicts(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                                 int64_t piece_conflicts, int64_t *conflicts, struct error *error)
{
    struct sql sql = {0};
    PGresult *result;
    enum status status;

    *conflicts = 0;
    if (!ledger->conflicts)
        return STATUS_OK;
    sql_add(&sql, "UPDATE %s SET conflicts = conflicts + " INT64_TEXT " WHERE ", ledger->piece_table, piece_conflicts);
    add_key(&sql, ledger, piece);
    sql_add(&sql, " RETURNING conflicts");
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) == 1)
        *conflicts = number(result, 0, 0);
    PQclear(result);
    return STATUS_OK;
}

enum status ledger_commit_plain(struct pg *pg, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_run(pg, "COMMIT", &result, error);

    if (status == STATUS_OK && (result == NULL || strcmp(PQcmdStatus(result), "COMMIT") != 0))
        status = error_set(error, STATUS_SERVER, "the server answered COMMIT with %s: nothing was stored",
                           result != NULL ? PQcmdStatus(result) : "nothing");
    PQclear(result);
    return status;
}

enum status ledger_commit(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece,
                          int64_t piece_rows, int64_t piece_bytes, int64_t *rows, int64_t *bytes, struct error *error)
{
    struct sql sql = {0};
    PGresult *result;
    enum status status;

    if (ledger->none) {
        *rows = piece_rows;
        *bytes = piece_bytes;
        return ledger_commit_plain(pg, error);
    }
    sql_add(&sql, "UPDATE %s SET rows = rows + " INT64_TEXT ", bytes = bytes + " INT64_TEXT " WHERE ",
            ledger->piece_table, piece_rows, piece_bytes);
    add_key(&sql, ledger, piece);
    sql_add(&sql, " RETURNING rows, bytes");
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) != 1)
        status = error_set(error, STATUS_SERVER,
                           "the ledger %s did not keep the row of this piece: has it triggers or rules?",
                           ledger->piece_table);
    if (status == STATUS_OK) {
        *rows = number(result, 0, 0);
        *bytes = number(result, 0, 1);
    }
    PQclear(result);
    return status == STATUS_OK ? ledger_commit_plain(pg, error) : status;
}
