/* Rows hashed by the server. */
#include "engine/method/rowhash_private.h"

#include <stdlib.h>
#include <string.h>

/* Two seeds make two hashes that agree by accident no oftener than any other two. */
#define SECOND_SEED 5838203411

struct rowhash_way rowhash_choose(const struct table *source, const struct table *target)
{
    bool same = strcmp(source->server_encoding, target->server_encoding) == 0;
    bool bare = strcmp(source->server_encoding, "SQL_ASCII") == 0;

    /* Bytes of no known encoding were loaded as they are. */
    return (struct rowhash_way){.streamed = !same, .encoding = same || bare ? source->server_encoding : "UTF8"};
}

struct rowhash_parts rowhash_cut(struct range range, int wanted, int64_t unit)
{
    uint64_t length = (uint64_t)range.hi - (uint64_t)range.lo, step = length / (uint64_t)wanted;

    if (step * (uint64_t)wanted < length)
        step++;
    step = (step + (uint64_t)unit - 1) / (uint64_t)unit * (uint64_t)unit;
    if (step == 0)
        step = (uint64_t)unit;
    return (struct rowhash_parts){range, step, (int)((length - 1) / step + 1)};
}

struct range rowhash_part(const struct rowhash_parts *parts, int index)
{
    struct range part = parts->range;

    if (index + 1 < parts->count)
        part.hi = (int64_t)((uint64_t)part.lo + (uint64_t)(index + 1) * parts->step);
    part.lo = (int64_t)((uint64_t)part.lo + (uint64_t)index * parts->step);
    return part;
}

/* Which part a row is in, as a number from 0. */
static void add_part(struct sql *sql, const struct rowhash_table *table, const struct rowhash_parts *parts)
{
    enum time_type type = table->table->time.type;
    const char *name = time_type_is_integer(type) ? "bigint" : time_type_sql(type);
    char text[TIME_TEXT_MAX];

    if (parts->count == 1) {
        sql_add(sql, "0");
        return;
    }
    sql_add(sql, "pg_catalog.width_bucket(");
    sql_add_identifier(sql, table->table->time_name);
    sql_add(sql, "::%s, '{", name);
    for (int i = 0; i < parts->count; i++)
        sql_add(sql, "%s\"%s\"", i == 0 ? "" : ",", time_format(type, rowhash_part(parts, i).lo, text));
    sql_add(sql, "}'::%s[]) - 1", name);
}

/*
 * The text of a row is made once: OFFSET keeps the planner from writing it into both sums. Its collation is that of
 * bytes, since others are hashed by the sort keys of a library.
 */
static void add_hashes(struct sql *sql, const struct rowhash_table *table, const struct rowhash_parts *parts,
                       bool with_bytes)
{
    sql_add(sql,
            "SELECT part, pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(line, 0)),"
            " pg_catalog.sum(pg_catalog.hashtextextended(line, %lld)), %s FROM (SELECT ",
            (long long)SECOND_SEED, with_bytes ? "pg_catalog.sum(pg_catalog.octet_length(line))" : "0");
    add_part(sql, table, parts);
    sql_add(sql, " AS part, (ROW(%s)::pg_catalog.text) COLLATE \"C\" AS line FROM %s WHERE ", table->select_list,
            table->table->sql);
    table_add_where(sql, table->table, parts->range);
    sql_add(sql, " OFFSET 0) AS lines GROUP BY part");
}

/* A sum of the server has more digits than 64 bits: the same modulo 2^64. */
static uint64_t sum_read(const char *text)
{
    bool negative = *text == '-';
    uint64_t sum = 0;

    for (text += negative; *text >= '0' && *text <= '9'; text++)
        sum = sum * 10 + (uint64_t)(*text - '0');
    return negative ? -sum : sum;
}

static enum status result_read(const PGresult *result, int count, struct rowhash *hashes, struct error *error)
{
    memset(hashes, 0, (size_t)count * sizeof *hashes);
    for (int i = 0; i < PQntuples(result); i++) {
        long part = strtol(PQgetvalue(result, i, 0), NULL, 10);

        if (part < 0 || part >= count)
            return error_set(error, STATUS_SERVER, "the server has put rows into part %ld of %d", part, count);
        hashes[part].rows = strtoll(PQgetvalue(result, i, 1), NULL, 10);
        for (int k = 0; k < 2; k++)
            hashes[part].sums[k] = sum_read(PQgetvalue(result, i, 2 + k));
        hashes[part].bytes = strtoll(PQgetvalue(result, i, 4), NULL, 10);
    }
    return STATUS_OK;
}

/* Both servers work at the same time; we wait for one after the other. */
static enum status take_from_servers(struct rowhash_pair *pair, const struct rowhash_parts *parts,
                                     struct rowhash hashes[2][ROWHASH_PARTS_MAX], struct error *error)
{
    enum status status = STATUS_OK;
    int started = 0;

    for (; started < 2 && status == STATUS_OK; started++) {
        struct sql sql = {0};

        add_hashes(&sql, &pair->table[started], parts, pair->throttle != NULL);
        status = pg_start(pair->pg[started], sql.text, error);
        sql_reset(&sql);
    }
    for (int side = 0; side < 2 && status == STATUS_OK; side++) {
        PGresult *result = NULL;

        status = pg_take(pair->pg[side], &result, error);
        if (status == STATUS_OK)
            status = result_read(result, parts->count, hashes[side], error);
        PQclear(result);
    }
    /* What still runs for a comparison that is given up. */
    for (int side = 0; side < 2 && status != STATUS_OK; side++)
        if (pg_connected(pair->pg[side]) && PQtransactionStatus(pg_conn(pair->pg[side])) != PQTRANS_IDLE)
            pg_disconnect(pair->pg[side]);
    return status;
}

/* Sides are read at the same time: the one that has more counts. */
static void book(const struct rowhash_pair *pair, int count, struct rowhash hashes[2][ROWHASH_PARTS_MAX])
{
    int64_t rows[2] = {0}, bytes[2] = {0};

    for (int side = 0; side < 2; side++)
        for (int i = 0; i < count; i++) {
            rows[side] += hashes[side][i].rows;
            bytes[side] += hashes[side][i].bytes;
        }
    throttle_book(pair->throttle, rows[0] > rows[1] ? rows[0] : rows[1], bytes[0] > bytes[1] ? bytes[0] : bytes[1]);
}

enum status rowhash_take(struct rowhash_pair *pair, const struct rowhash_parts *parts,
                         struct rowhash hashes[2][ROWHASH_PARTS_MAX], struct error *error)
{
    enum status status = STATUS_OK;

    if (!throttle_enter(pair->throttle))
        return error_set(error, STATUS_STOPPED, "stopped");
    for (int side = 0; side < 2 && status == STATUS_OK; side++)
        status = pg_connect(pair->pg[side], error);
    if (status != STATUS_OK)
        return status;
    if (pair->way.streamed)
        status = rowhash_take_streamed(pair, parts, hashes, error);
    else
        status = take_from_servers(pair, parts, hashes, error);
    if (status == STATUS_OK)
        book(pair, parts->count, hashes);
    return status;
}
