/* Rows that travel here as COPY text: taken apart, and hashed. */
#include "engine/method/rowhash_private.h"

#include <string.h>

#include <xxhash.h>

/* Rows taken from one side before the other has its turn, so that both servers work. */
#define TURN_ROWS 1000

void rowhash_add_copy(struct sql *sql, const struct rowhash_table *table, struct range range, bool ordered)
{
    sql_add(sql, "COPY (SELECT %s FROM %s WHERE ", table->select_list, table->table->sql);
    table_add_where(sql, table->table, range);
    if (ordered) {
        sql_add(sql, " ORDER BY ");
        sql_add_identifier(sql, table->table->time_name);
    }
    sql_add(sql, ") TO STDOUT (FORMAT text)");
}

const char *rowhash_field(const char *line, size_t line_size, int index, size_t *size)
{
    const char *end = line + line_size, *tab;

    /* Tabs and line ends inside of a value are escaped. */
    for (; index > 0; index--) {
        tab = memchr(line, '\t', (size_t)(end - line));
        line = tab != NULL ? tab + 1 : end;
    }
    tab = memchr(line, '\t', (size_t)(end - line));
    *size = (size_t)((tab != NULL ? tab : end) - line);
    return line;
}

enum status rowhash_time(const struct rowhash_table *table, const char *line, size_t size, int64_t *time,
                         struct error *error)
{
    size_t text_size;
    const char *text = rowhash_field(line, size, table->time_index, &text_size);
    enum time_problem problem = time_parse(&table->table->time, text, text_size, time);

    if (problem == TIME_FINE)
        return STATUS_OK;
    return error_set(error, STATUS_DATA, "%s has a row at \"%.*s\" in column \"%s\", which %s", table->table->sql,
                     (int)(text_size < 64 ? text_size : 64), text, table->table->time_name, time_problem_text(problem));
}

struct stream {
    const struct rowhash_parts *parts;
    const struct rowhash_table *table;
    struct pg *pg;
    struct rowhash *hashes;
    bool ended;
};

static enum status stream_begin(struct stream *stream, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    memset(stream->hashes, 0, (size_t)stream->parts->count * sizeof *stream->hashes);
    rowhash_add_copy(&sql, stream->table, stream->parts->range, false);
    status = pg_copy_out_begin(stream->pg, sql.text, error);
    sql_reset(&sql);
    return status;
}

static enum status row_add(struct stream *stream, const char *row, size_t size, struct error *error)
{
    XXH128_hash_t hash = XXH3_128bits(row, size);
    enum status status = STATUS_OK;
    uint64_t part = 0;
    int64_t time;

    if (stream->parts->count > 1) {
        status = rowhash_time(stream->table, row, size, &time, error);
        if (status != STATUS_OK)
            return status;
        part = ((uint64_t)time - (uint64_t)stream->parts->range.lo) / stream->parts->step;
    }
    /* An end at INT64_MAX holds that value too. */
    if (stream->parts->range.hi == INT64_MAX && part == (uint64_t)stream->parts->count)
        part--;
    if (part >= (uint64_t)stream->parts->count)
        return error_set(error, STATUS_SERVER, "%s gave a row of another range than it was asked for",
                         stream->table->table->sql);
    stream->hashes[part].rows++;
    stream->hashes[part].bytes += (int64_t)size;
    stream->hashes[part].sums[0] += hash.low64;
    stream->hashes[part].sums[1] += hash.high64;
    return STATUS_OK;
}

static enum status stream_turn(struct stream *stream, struct error *error)
{
    enum status status = STATUS_OK;
    int64_t rows;

    for (int i = 0; i < TURN_ROWS && !stream->ended && status == STATUS_OK; i++) {
        const char *row;
        int size;

        status = pg_copy_out_next(stream->pg, &row, &size, &rows, error);
        if (status != STATUS_OK || size == 0)
            stream->ended = true;
        else
            /* Without the line's end. */
            status = row_add(stream, row, (size_t)size - 1, error);
    }
    return status;
}

enum status rowhash_take_streamed(struct rowhash_pair *pair, const struct rowhash_parts *parts,
                                  struct rowhash hashes[2][ROWHASH_PARTS_MAX], struct error *error)
{
    struct stream streams[2];
    enum status status = STATUS_OK;

    for (int side = 0; side < 2 && status == STATUS_OK; side++) {
        streams[side] = (struct stream){parts, &pair->table[side], pair->pg[side], hashes[side], false};
        status = stream_begin(&streams[side], error);
    }
    while (status == STATUS_OK && !(streams[0].ended && streams[1].ended))
        for (int side = 0; side < 2 && status == STATUS_OK; side++)
            status = stream_turn(&streams[side], error);
    for (int side = 0; side < 2 && status != STATUS_OK; side++)
        pg_disconnect(pair->pg[side]);
    return status;
}
