/* Limits, whose values are written in several ways: a number or a share, bytes or rows, a time or a size. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/options_private.h"
#include "engine/cli/text.h"
#include "engine/timevalue.h"

/* A count, or a share of the rows with a percent sign. */
static enum status rejects_finish(struct options *options, struct error *error)
{
    const char *text = options->max_rejects_text;
    char *end;

    if (text == NULL)
        return STATUS_OK;
    errno = 0;
    if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789")] == '\0') {
        options->max_rejects = strtoll(text, &end, 10);
        if (errno == 0)
            return STATUS_OK;
    } else if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789.")] == '%') {
        options->max_rejects = -1;
        options->max_rejects_percent = strtod(text, &end);
        if (strcmp(end, "%") == 0 && options->max_rejects_percent <= 100)
            return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE,
                     "--max-rejects takes a number of rows, or a share of them such as 0.5%%, not"
                     " \"%s\"",
                     text);
}

/* Takes the unit off a rate that fits into `number`. True: it is in rows. */
static bool unit_drop(char *number)
{
    static const char *const endings[] = {"/s", " rows", "rows", NULL};
    size_t size = strlen(number);
    bool rows = false;

    for (int i = 0; endings[i] != NULL; i++) {
        size_t ending = strlen(endings[i]);

        if (size <= ending || strcmp(number + size - ending, endings[i]) != 0)
            continue;
        rows = rows || i > 0;
        number[size -= ending] = '\0';
    }
    return rows;
}

/* Bytes or rows a second. */
static enum status rate_finish(struct options *options, struct error *error)
{
    const char *text = options->max_rate_text;
    char number[NUMBER_TEXT_MAX];
    size_t size = text != NULL ? strlen(text) : 0;

    if (text == NULL)
        return STATUS_OK;
    if (size < sizeof number) {
        memcpy(number, text, size + 1);
        options->max_rate_rows = unit_drop(number);
        if ((!options->max_rate_rows || number[strspn(number, "0123456789")] == '\0') &&
            size_parse(number, &options->max_rate) && options->max_rate > 0 && options->max_rate < INT64_C(1) << 50)
            return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE, "--max-rate takes a size such as 20MB, or rows such as 50000rows, not \"%s\"",
                     text);
}

/* What ends in a b, as MB does, is a size; 5m are minutes, and 5M is a size, too. */
static enum status lag_finish(struct options *options, struct error *error)
{
    const char *text = options->source_lag_text;
    size_t size = text != NULL ? strlen(text) : 0;
    int64_t us;

    if (text == NULL)
        return STATUS_OK;
    if (!isupper((unsigned char)text[size - 1]) && time_interval_parse(TIME_TIMESTAMPTZ, text, &us) && us >= 1000)
        options->source_lag_ms = us / 1000;
    else if (!size_parse(text, &options->source_lag_bytes) || options->source_lag_bytes <= 0 ||
             text[strspn(text, "0123456789")] == '\0')
        return error_set(error, STATUS_USAGE,
                         "--max-source-lag takes a time such as 30s or a size such as 200MB, not \"%s\"", text);
    return STATUS_OK;
}

static enum status disk_finish(struct options *options, struct error *error)
{
    const char *text = options->disk_free_text;
    char *end = NULL;

    if (text == NULL)
        return STATUS_OK;
    if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789.")] == '%') {
        options->disk_free_percent = strtod(text, &end);
        if (strcmp(end, "%") == 0 && options->disk_free_percent > 0 && options->disk_free_percent <= 100)
            return STATUS_OK;
    } else if (size_parse(text, &options->disk_free_bytes) && options->disk_free_bytes > 0) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE,
                     "--min-disk-free takes a size such as 50GB or a share such as 10%%, not \"%s\"", text);
}

enum status options_finish_limits(struct options *options, struct error *error)
{
    enum status status = rate_finish(options, error);

    if (status == STATUS_OK)
        status = lag_finish(options, error);
    if (status == STATUS_OK)
        status = disk_finish(options, error);
    if (status == STATUS_OK)
        status = rejects_finish(options, error);
    return status;
}
