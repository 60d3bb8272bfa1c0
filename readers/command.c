/* Running a command for its header, or as a stream. command_range.c reads ranges. */
#include "readers/command.h"

#include <stdlib.h>
#include <string.h>

static enum status output_at_end(void *opaque, struct error *error)
{
    struct command_output *output = opaque;

    return process_wait(output->process, output->stop, error);
}

enum status command_output_start(struct command_output *output, const char *command, struct stream_source *source,
                                 struct error *error)
{
    enum status status;

    *output = (struct command_output){.stop = source->stop};
    status = process_start(command, source->name, &output->process, error);
    if (status != STATUS_OK)
        return status;
    source->fd = process_output(output->process);
    source->at_end = output_at_end;
    source->command = output;
    return STATUS_OK;
}

void command_output_end(struct command_output *output, struct stream_source *source)
{
    process_free(output->process);
    output->process = NULL;
    source->fd = -1;
    source->at_end = NULL;
    source->command = NULL;
}

void command_source_init(struct command_source *source, const struct template *template, struct stream_source *csv)
{
    *source = (struct command_source){.template = template, .csv = csv};
    pthread_mutex_init(&source->mutex, NULL);
}

void command_source_reset(struct command_source *source)
{
    if (source->template == NULL)
        return;
    pthread_mutex_destroy(&source->mutex);
    free(source->header);
    free(source->failures);
    *source = (struct command_source){0};
}

/* Keeps the header's text as what the others are compared with. stream_open has seen to a mark of the byte order. */
static enum status keep_header(struct command_source *source, struct error *error)
{
    const struct stream_source *csv = source->csv;
    size_t begin = csv->head_size >= 3 && memcmp(csv->head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    size_t size = record_text_size(csv->head + begin, (size_t)csv->header_end - begin);

    source->header = strndup(csv->head + begin, size);
    source->header_size = size;
    return source->header != NULL ? STATUS_OK : error_set(error, STATUS_SYSTEM, "out of memory");
}

static enum status learn(struct command_source *source, const char *command, struct error *error)
{
    struct stream_source *csv = source->csv;
    struct command_output output;
    enum status status = command_output_start(&output, command, csv, error);
    bool silent;

    if (status != STATUS_OK)
        return status;
    status = stream_open(csv, error);
    silent = status != STATUS_OK && csv->head_last && csv->head_size == 0;
    command_output_end(&output, csv);
    if (silent) {
        error_reset(error);
        status = STATUS_OK;
    } else if (status == STATUS_OK && csv->dialect.header) {
        status = keep_header(source, error);
    }
    /* The runs that count are other ones. */
    stream_drop_head(csv);
    csv->header_end = csv->header_lines = 0;
    return status;
}

enum status command_learn(struct command_source *source, struct range range, struct error *error)
{
    char *command = template_expand(source->template, source->csv->time.type, range);
    enum status status;

    if (command == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    status = learn(source, command, error);
    free(command);
    return status;
}
