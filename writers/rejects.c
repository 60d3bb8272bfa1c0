/* The table of rejects. */
#include "writers/rejects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Statements beyond this are sent. */
#define BATCH_SIZE ((size_t)64 << 10)
#define FIELD_COUNT 8

/* Bytes of the UTF-8 character at `text`, 0 if it is none. Overlong forms and surrogates are left to the server's own
 * texts, which have none. */
static size_t character_size(const unsigned char *text, size_t left)
{
    size_t size = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

    if (text[0] > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

/*
 * A text that any server takes, whatever was cut off it: what is no character is a question mark. In client encodings
 * other than UTF-8 only ASCII is sure.
 */
static void add_text(struct sql *sql, struct pg *pg, const char *text)
{
    const char *encoding = PQparameterStatus(pg_conn(pg), "client_encoding");
    bool unicode = encoding != NULL && strcmp(encoding, "UTF8") == 0;
    char *clean = strdup(text);
    size_t size;

    for (unsigned char *at = (unsigned char *)clean; clean != NULL && *at != '\0'; at += size) {
        size = character_size(at, strlen((char *)at));
        if (size == 0 || (size > 1 && !unicode)) {
            *at = '?';
            size = 1;
        }
    }
    sql_add_literal(sql, clean != NULL ? clean : "");
    free(clean);
}

static void add_hex(struct sql *sql, const char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char part[1024];

    while (size > 0) {
        size_t take = size < sizeof part / 2 - 1 ? size : sizeof part / 2 - 1;

        for (size_t i = 0; i < take; i++) {
            part[2 * i] = digits[(unsigned char)bytes[i] >> 4];
            part[2 * i + 1] = digits[bytes[i] & 15];
        }
        part[2 * take] = '\0';
        sql_add(sql, "%s", part);
        bytes += take;
        size -= take;
    }
}

void reject_add(struct pg *pg, const struct ledger *ledger, struct reject_batch *batch, const struct reject *reject)
{
    struct sql *sql = &batch->sql;

    if (sql->size == 0)
        sql_add(sql, "INSERT INTO %s (job, input, lo, \"offset\", line, column_name, sqlstate, reason, record) VALUES ",
                ledger->reject_table);
    else
        sql_add(sql, ", ");
    sql_add(sql, "('%s', %" PRId32 ", '%" PRId64 "', '%" PRId64 "', '%" PRId64 "', ", ledger->job, reject->key.input,
            reject->key.lo, reject->key.offset, reject->line);
    add_text(sql, pg, reject->column);
    sql_add(sql, ", ");
    add_text(sql, pg, reject->sqlstate);
    sql_add(sql, ", ");
    add_text(sql, pg, reject->reason);
    sql_add(sql, ", decode('");
    add_hex(sql, reject->record, reject->size);
    sql_add(sql, "', 'hex'))");
}

bool reject_is_full(const struct reject_batch *batch)
{
    return batch->sql.size >= BATCH_SIZE;
}

enum status reject_flush(struct pg *pg, struct reject_batch *batch, struct error *error)
{
    enum status status;

    if (batch->sql.size == 0)
        return STATUS_OK;
    status = pg_run(pg, batch->sql.text, NULL, error);
    reject_batch_reset(batch);
    if (status != STATUS_OK)
        error_prefix(error, "ledger of rejects");
    /* What the ledger refuses is no fault of a row: it must not be taken for one. */
    if (status == STATUS_DATA)
        status = error->status = STATUS_SERVER;
    return status;
}

void reject_batch_reset(struct reject_batch *batch)
{
    sql_reset(&batch->sql);
}

enum status reject_verify(struct pg *pg, const struct ledger *ledger, const struct piece_spec *piece, int64_t count,
                          struct error *error)
{
    struct sql sql = {0};
    char *stored = NULL;
    enum status status;

    sql_add(&sql, "SELECT count(*) FROM %s WHERE job = '%s' AND input = %" PRId32 " AND lo = '%" PRId64 "'",
            ledger->reject_table, ledger->job, piece->input, piece->place.range.lo);
    /* Offsets of an addressable source are those in the text of its only piece of the range. */
    if (piece->replayable)
        sql_add(&sql, " AND \"offset\" >= '%" PRId64 "' AND \"offset\" < '%" PRId64 "'", piece->begin, piece->end);
    status = pg_value(pg, sql.text, &stored, error);
    sql_reset(&sql);
    if (status == STATUS_OK && strtoll(stored, NULL, 10) != count)
        status = error_set(error, STATUS_SERVER,
                           "%" PRId64 " rows were rejected and %s has %s of them; all was rolled back. Has it triggers"
                           " or rules?",
                           count, ledger->reject_table, stored);
    free(stored);
    return status;
}

enum status reject_count(struct pg *pg, const struct ledger *ledger, int64_t *all, int64_t *open, struct error *error)
{
    PGresult *result;
    bool exists;
    enum status status = ledger_has_rejects(pg, ledger, &exists, error);

    *all = *open = 0;
    if (status == STATUS_OK && exists)
        status = pg_runf(pg, &result, error,
                         "SELECT count(*), count(*) FILTER (WHERE replayed IS NULL) FROM %s WHERE job = '%s'",
                         ledger->reject_table, ledger->job);
    if (status != STATUS_OK || !exists)
        return status;
    *all = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    *open = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    PQclear(result);
    return STATUS_OK;
}

/* ---- Reading ---- */

static int digit(char c)
{
    return c >= 'a' ? c - 'a' + 10 : c - '0';
}

/* Turns hex digits into bytes where they are, with a NUL behind; returns how many. */
static size_t decode_hex(char *text, size_t digits)
{
    for (size_t i = 0; i < digits / 2; i++)
        text[i] = (char)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    text[digits / 2] = '\0';
    return digits / 2;
}

/* One line of the COPY: numbers and hex digits, so nothing in it is escaped. */
static void read_reject(char *line, struct reject *reject)
{
    char *fields[FIELD_COUNT];
    size_t sizes[FIELD_COUNT];

    for (int i = 0; i < FIELD_COUNT; i++) {
        sizes[i] = strcspn(line, "\t\n");
        fields[i] = line;
        line += sizes[i];
        if (*line != '\0')
            *line++ = '\0';
    }
    for (int i = 5; i < FIELD_COUNT; i++)
        sizes[i] = decode_hex(fields[i], sizes[i]);
    *reject = (struct reject){
        .key = {(int32_t)strtol(fields[0], NULL, 10), strtoll(fields[1], NULL, 10), strtoll(fields[2], NULL, 10)},
        .line = strtoll(fields[3], NULL, 10),
        .sqlstate = fields[4],
        .column = fields[5],
        .reason = fields[6],
        .record = fields[7],
        .size = sizes[7],
    };
}

/* Reads on to the end also when `each` has failed, since the connection is of use after it. */
static enum status read_rejects(struct pg *pg,
                                enum status (*each)(void *context, const struct reject *reject, struct error *error),
                                void *context, struct error *error)
{
    enum status status, first = STATUS_OK;
    struct error kept;

    error_reset(&kept);
    for (;;) {
        struct reject reject;
        const char *row;
        int64_t rows;
        char *line;
        int size;

        status = pg_copy_out_next(pg, &row, &size, &rows, error);
        if (status != STATUS_OK || size == 0)
            break;
        if (first != STATUS_OK)
            continue;
        line = strndup(row, (size_t)size);
        if (line == NULL)
            return error_set(error, STATUS_SYSTEM, "out of memory for a rejected record of %d bytes", size / 2);
        read_reject(line, &reject);
        first = each(context, &reject, &kept);
        free(line);
    }
    if (status == STATUS_OK && first != STATUS_OK)
        *error = kept;
    return status != STATUS_OK ? status : first;
}

enum status reject_each(struct pg *pg, const struct ledger *ledger,
                        enum status (*each)(void *context, const struct reject *reject, struct error *error),
                        void *context, struct error *error)
{
    struct sql sql = {0};
    bool exists;
    enum status status = ledger_has_rejects(pg, ledger, &exists, error);

    if (status != STATUS_OK || !exists)
        return status;
    sql_add(&sql,
            "COPY (SELECT input, lo, \"offset\", line, sqlstate, encode(convert_to(column_name, 'UTF8'), 'hex'),"
            " encode(convert_to(reason, 'UTF8'), 'hex'), encode(record, 'hex') FROM %s",
            ledger->reject_table);
    sql_add(&sql, " WHERE job = '%s' AND replayed IS NULL ORDER BY input, \"offset\", lo) TO STDOUT", ledger->job);
    status = pg_copy_out_begin(pg, sql.text, error);
    sql_reset(&sql);
    return status == STATUS_OK ? read_rejects(pg, each, context, error) : status;
}

/* ---- Replaying ---- */

static void add_keys(struct sql *sql, const struct replay *replays, size_t count)
{
    sql_add(sql, "(VALUES ");
    for (size_t i = 0; i < count; i++)
        sql_add(sql, "%s(%zu, %" PRId32 ", '%" PRId64 "'::bigint, '%" PRId64 "'::bigint)", i > 0 ? ", " : "", i,
                replays[i].key.input, replays[i].key.lo, replays[i].key.offset);
    sql_add(sql, ") k (i, input, lo, at)");
}

static enum status check_known(struct pg *pg, const struct ledger *ledger, const struct replay *replays, size_t count,
                               struct error *error)
{
    struct sql sql = {0};
    char *known = NULL;
    enum status status;

    sql_add(&sql, "SELECT count(*) FROM %s r JOIN ", ledger->reject_table);
    add_keys(&sql, replays, count);
    sql_add(&sql, " ON r.input = k.input AND r.lo = k.lo AND r.\"offset\" = k.at WHERE r.job = '%s'", ledger->job);
    status = pg_value(pg, sql.text, &known, error);
    sql_reset(&sql);
    if (status == STATUS_OK && strtoull(known, NULL, 10) != count)
        status =
            error_set(error, STATUS_USAGE,
                      "the ledger %s does not know %llu of %zu rejected rows, as the file of reasons names them: is"
                      " it this job's?",
                      ledger->reject_table, (unsigned long long)(count - strtoull(known, NULL, 10)), count);
    free(known);
    return status;
}

enum status replay_begin(struct pg *pg, const struct ledger *ledger, struct replay *replays, size_t count,
                         struct error *error)
{
    struct sql sql = {0};
    PGresult *result = NULL;
    enum status status;

    /* READ COMMITTED: what another replay commits while we wait for its rows is seen as replayed. */
    sql_add(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; UPDATE %s r SET replayed = now() FROM ",
            ledger->reject_table);
    add_keys(&sql, replays, count);
    sql_add(&sql,
            " WHERE r.job = '%s' AND r.input = k.input AND r.lo = k.lo AND r.\"offset\" = k.at AND replayed IS NULL"
            " RETURNING k.i",
            ledger->job);
    for (size_t i = 0; i < count; i++)
        replays[i].due = false;
    status = pg_run(pg, sql.text, &result, error);
    sql_reset(&sql);
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        replays[strtoull(PQgetvalue(result, i, 0), NULL, 10)].due = true;
    if (status == STATUS_OK && (size_t)PQntuples(result) < count)
        status = check_known(pg, ledger, replays, count, error);
    PQclear(result);
    return status;
}

enum status replay_commit(struct pg *pg, const struct ledger *ledger, const struct replay *replays, size_t count,
                          struct error *error)
{
    struct sql sql = {0};
    size_t loaded = 0, from = 0;
    enum status status = STATUS_OK;

    /* Replays of one piece follow each other mostly; each run of them is one update. */
    for (size_t i = 0; i <= count; i++) {
        bool same =
            i < count && replays[i].key.input == replays[from].key.input && replays[i].key.lo == replays[from].key.lo;

        if (!same && loaded > 0)
            sql_add(&sql,
                    "%sUPDATE %s SET rows = rows + %zu WHERE job = '%s' AND input = %" PRId32 " AND lo = '%" PRId64 "'",
                    sql.size > 0 ? "; " : "", ledger->piece_table, loaded, ledger->job, replays[from].key.input,
                    replays[from].key.lo);
        if (!same) {
            from = i;
            loaded = 0;
        }
        loaded += i < count && replays[i].due && !replays[i].drop;
    }
    if (sql.size > 0)
        status = pg_run(pg, sql.text, NULL, error);
    sql_reset(&sql);
    return status == STATUS_OK ? ledger_commit_plain(pg, error) : status;
}
