/* A piece by way of the transcoder. */
#include "writers/wire.h"

#include <string.h>

#define SEND_SIZE ((size_t)64 << 10)
/* The first stretch of CSV; each is twice as long as the one before, and after the last one nothing is tried again. */
#define STRETCH_RECORDS 1000
#define STRETCHES_MAX 8
/* Larger records go as they are, without another copy of them. */
#define RECORD_SIZE_MAX ((size_t)128 << 10)

enum form { FORM_NONE, FORM_BINARY, FORM_CSV };

struct wire {
    struct append_session *session;
    const struct append_input *input;
    enum form form; /* of the COPY that runs */
    int stretches;
    int64_t records_left; /* of the stretch of CSV */
    struct transcoder_rows rows;
    int64_t stored;
};

static enum status send_rows(struct wire *wire, struct error *error)
{
    size_t size = wire->rows.size;

    wire->rows.size = 0;
    return size > 0 ? append_copy_send(wire->session, wire->rows.data, size, error) : STATUS_OK;
}

static enum status begin(struct wire *wire, enum form form, struct error *error)
{
    const char *options = form == FORM_BINARY ? "FORMAT binary" : wire->input->csv_options;
    enum status status = append_copy_begin(wire->session, wire->input, options, error);

    if (status != STATUS_OK)
        return status;
    wire->form = form;
    return form == FORM_BINARY ? append_copy_send(wire->session, TRANSCODER_HEADER, TRANSCODER_HEADER_SIZE, error)
                               : STATUS_OK;
}

static enum status end(struct wire *wire, struct error *error)
{
    enum form form = wire->form;
    enum status status = send_rows(wire, error);
    int64_t rows = 0;

    wire->form = FORM_NONE;
    if (status == STATUS_OK && form == FORM_BINARY)
        status = append_copy_send(wire->session, TRANSCODER_TRAILER, TRANSCODER_TRAILER_SIZE, error);
    if (status == STATUS_OK && form != FORM_NONE)
        status = append_copy_end(wire->session, wire->input, &rows, error);
    wire->stored += rows;
    return status;
}

/* The record that is refused ends the binary COPY. */
static enum status begin_stretch(struct wire *wire, struct error *error)
{
    enum status status = end(wire, error);

    wire->records_left = wire->stretches < STRETCHES_MAX ? (int64_t)STRETCH_RECORDS << wire->stretches : INT64_MAX;
    wire->stretches++;
    return status == STATUS_OK ? begin(wire, FORM_CSV, error) : status;
}

static enum status add_csv(struct wire *wire, const struct span *record, struct error *error)
{
    enum status status;

    wire->records_left--;
    if (record->size > RECORD_SIZE_MAX) {
        status = send_rows(wire, error);
        return status == STATUS_OK ? append_copy_send(wire->session, record->data, record->size, error) : status;
    }
    status = transcoder_rows_reserve(&wire->rows, record->size, error);
    if (status != STATUS_OK)
        return status;
    memcpy(wire->rows.data + wire->rows.size, record->data, record->size);
    wire->rows.size += record->size;
    return STATUS_OK;
}

static enum status add(struct wire *wire, const struct span *record, struct error *error)
{
    bool converted = false;
    enum status status = STATUS_OK;

    if (wire->form == FORM_CSV && wire->records_left == 0)
        status = end(wire, error);
    if (status == STATUS_OK && wire->form != FORM_CSV) {
        if (record->size <= RECORD_SIZE_MAX)
            status =
                transcoder_add(wire->input->transcoder, record->data, record->size, &wire->rows, &converted, error);
        if (status == STATUS_OK && !converted)
            status = begin_stretch(wire, error);
        else if (status == STATUS_OK && wire->form == FORM_NONE)
            status = begin(wire, FORM_BINARY, error);
    }
    if (status == STATUS_OK && !converted)
        status = add_csv(wire, record, error);
    return status == STATUS_OK && wire->rows.size >= SEND_SIZE ? send_rows(wire, error) : status;
}

enum status wire_copy(struct append_session *session, const struct append_input *input, const struct span *first,
                      const struct wire_records *records, int64_t *rows, struct error *error)
{
    struct wire wire = {.session = session, .input = input};
    struct span record = *first;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && record.size > 0) {
        status = add(&wire, &record, error);
        if (status != STATUS_OK)
            break;
        status = records->next(records->context, &record, error);
        /* COPY is made undone first: the connection stays of use. */
        if (status != STATUS_OK && wire.form != FORM_NONE)
            pg_copy_in_fail(session->pg, "the source failed");
    }
    if (status == STATUS_OK)
        status = end(&wire, error);
    *rows = wire.stored;
    transcoder_rows_reset(&wire.rows);
    return status;
}
