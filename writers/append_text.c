/* The texts of a piece, and COPY of them. */
#include "writers/append_attempt_private.h"
#include "writers/wire.h"

/* Shaped records are sent so many bytes at a time. */
#define SHAPED_SIZE ((size_t)64 << 10)

/* The next record as the span; of shaped ones many once COPY runs. Empty at the end. */
static enum status next_record(struct attempt *attempt, const struct shape *shape, struct error *error)
{
    struct shape_text *text = &attempt->text;
    enum status status;

    text->size = 0;
    do {
        status = records_next(&attempt->records, &attempt->record, error);
        attempt->reader_failed = status != STATUS_OK && attempt->records.source_failed;
        if (status != STATUS_OK || attempt->record.size == 0)
            break;
        if (shape == NULL) {
            attempt->span = (struct span){.data = attempt->record.text, .size = (uint32_t)attempt->record.size};
            return STATUS_OK;
        }
        status = shape_apply(shape, attempt->record.text, attempt->record.size, text, error);
        attempt->misshapen = status == STATUS_DATA;
    } while (status == STATUS_OK && attempt->copying && !attempt->wired && text->size < SHAPED_SIZE);
    attempt->span = (struct span){.data = text->data, .size = (uint32_t)text->size};
    return status;
}

enum status attempt_next(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct shape *shape = append_input_of(session, attempt->piece)->shape;
    enum status status;

    if (session->sorted && session->sorter != NULL) {
        attempt->span = sorter_next(session->sorter, attempt->wired);
        return STATUS_OK;
    }
    if (shape != NULL || attempt->wired)
        return next_record(attempt, shape, error);
    status = piece_next(attempt->piece, &attempt->cursor, session->packer, pipeline_stats(session->pipeline),
                        &attempt->span, error);

    attempt->reader_failed = status != STATUS_OK;
    return status;
}

/* Sends the text to its end. When the reader fails, COPY is made undone first: the connection stays of use. */
static enum status send_text(struct attempt *attempt, struct error *error)
{
    struct append_session *session = attempt->session;

    while (attempt->span.size > 0) {
        enum status status = append_copy_send(session, attempt->span.data, attempt->span.size, error);

        if (status != STATUS_OK)
            return status;
        status = attempt_next(attempt, error);
        if (status != STATUS_OK) {
            pg_copy_in_fail(session->pg, attempt->misshapen ? "a record is wrong" : "the source failed");
            return status;
        }
    }
    return STATUS_OK;
}

static enum status next_wired(void *context, struct span *record, struct error *error)
{
    struct attempt *attempt = context;
    enum status status = attempt_next(attempt, error);

    *record = attempt->span;
    return status;
}

static enum status copy_wired(struct attempt *attempt, const struct append_input *input, int64_t *rows,
                              struct error *error)
{
    const struct wire_records records = {next_wired, attempt};

    attempt->copying = true;
    return wire_copy(attempt->session, input, &attempt->span, &records, rows, error);
}

enum status attempt_copy(struct attempt *attempt, int64_t *rows, struct error *error)
{
    struct append_session *session = attempt->session;
    const struct append_input *input = append_input_of(session, attempt->piece);
    enum status status;

    if (attempt->wired)
        return copy_wired(attempt, input, rows, error);
    status = append_copy_begin(session, input, input->copy_options, error);
    if (status != STATUS_OK)
        return status;
    attempt->copying = true;
    status = send_text(attempt, error);
    if (status == STATUS_OK)
        status = append_copy_end(session, input, rows, error);
    return status;
}
