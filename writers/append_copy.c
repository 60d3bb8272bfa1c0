/* COPY, to wherever the rows of a piece go. */
#include "writers/append_private.h"
#include "writers/staging.h"

const char *append_relation(const struct append_session *session)
{
    return session->entered && session->build->relation != NULL ? session->build->relation
                                                                : session->target->table->sql;
}

const char *append_relation_name(const struct append_session *session)
{
    if (session->target->staging != NULL)
        return session->target->staging;
    return session->entered && session->build->name != NULL ? session->build->name : session->target->table->name;
}

/* Bytes of a row, as far as they are known before it is sent: of a whole piece they are, else the job's estimate is
 * asked. */
static int64_t row_bytes(const struct append_session *session)
{
    struct stats *stats = pipeline_stats(session->pipeline);
    int64_t rows = stats_get(&stats->rows_total), bytes = stats_get(&stats->bytes_total);

    if (piece_spec(session->piece)->replayable) {
        rows = piece_rows(session->piece);
        bytes = piece_bytes(session->piece);
    }
    return rows > 0 && bytes > rows ? bytes / rows : 0;
}

enum status append_copy_begin(struct append_session *session, const struct append_input *input, const char *options,
                              struct error *error)
{
    struct sql sql = {0};
    enum status status;

    throttle_begin(&session->sent, row_bytes(session));
    if (session->target->staging != NULL)
        return staging_begin(session, input, options, error);
    sql_add(&sql, "COPY %s (%s) FROM STDIN WITH (%s%s)", append_relation(session), input->column_list, options,
            session->freeze ? ", FREEZE" : "");
    status = pg_copy_in_begin(session->pg, sql.text, error);
    sql_reset(&sql);
    return status;
}

enum status append_copy_send(struct append_session *session, const char *text, size_t size, struct error *error)
{
    enum status status;

    throttle_send(pipeline_throttle(session->pipeline), &session->sent, (int64_t)size);
    status = pg_copy_in_put(session->pg, text, size, error);
    if (status == STATUS_OK)
        stats_add(&pipeline_stats(session->pipeline)->bytes_sent, (int64_t)size);
    return status;
}

enum status append_copy_end(struct append_session *session, const struct append_input *input, int64_t *rows,
                            struct error *error)
{
    int64_t conflicts = 0;
    enum status status;

    if (session->target->staging == NULL)
        status = pg_copy_in_end(session->pg, rows, error);
    else
        status = staging_end(session, input, rows, &conflicts, error);
    if (status == STATUS_OK) {
        session->conflicts += conflicts;
        throttle_count(pipeline_throttle(session->pipeline), &session->sent, *rows);
    }
    return status;
}
