/* Readings of a head, one for each delimiter and quote, and which of them fits. */
#include <stdlib.h>
#include <string.h>

#include "readers/sniff_private.h"

#define RECORDS_MAX 200
#define FIELDS_MAX 1024

/* A byte as options take it. */
const char *sniff_byte_text(char byte)
{
    static const char *const texts[] = {",", ";", "\\t", "|", "\"", "'"};
    static const char bytes[] = ",;\t|\"'";
    const char *at = byte != '\0' ? strchr(bytes, byte) : NULL;

    return at != NULL ? texts[at - bytes] : "as given";
}

/* ---- One reading ---- */

void reading_free(struct reading *reading)
{
    free(reading->values);
    free(reading->text);
    *reading = (struct reading){0};
}

/* Adds the fields of a record; false: it has others than those before. */
static bool reading_add(struct reading *reading, const struct cutter *cutter, const char *record, size_t size,
                        char **text)
{
    struct csv_raw_field fields[FIELDS_MAX];
    int count = cutter_fields(cutter, reading->delimiter, record, record_text_size(record, size), fields, FIELDS_MAX);

    if (reading->records == 0) {
        reading->fields = count;
        reading->values =
            count > 0 && count <= FIELDS_MAX ? calloc((size_t)count * RECORDS_MAX, sizeof *reading->values) : NULL;
    }
    if (count != reading->fields || reading->values == NULL)
        return false;
    for (int i = 0; i < count; i++) {
        struct sniff_value *value = &reading->values[reading->records * count + i];

        *value = (struct sniff_value){*text, cutter_field_text(cutter, &fields[i], *text), fields[i].quoted};
        *text += value->size;
        reading->encloses |= fields[i].size >= 2 && fields[i].text[0] == reading->quote &&
                             fields[i].text[fields[i].size - 1] == reading->quote;
    }
    reading->records++;
    return true;
}

static enum status reading_make(const struct sniff_head *look, char delimiter, char quote, struct reading *reading,
                                struct error *error)
{
    const struct dialect *dialect = &look->sniff->dialect;
    struct cutter cutter;
    size_t at = 0;
    char *text;

    *reading = (struct reading){.delimiter = delimiter, .quote = quote, .consistent = true};
    reading->text = text = malloc(look->size + 1);
    if (text == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    cutter_init(&cutter, quote, look->given->escape ? dialect->escape : quote);
    cutter.comment = dialect->comment;
    while (at < look->size && reading->records < RECORDS_MAX && reading->consistent) {
        size_t size;
        int64_t lines;
        enum cut cut = cutter_cut(&cutter, look->head + at, look->size - at, look->last, &size, &lines);

        /* What goes on behind the head says nothing, unless it is all there is. */
        if (cut == CUT_MORE && reading->records > 0)
            break;
        if (cut != CUT_RECORD)
            reading->consistent = false;
        else if (!cutter_is_comment(&cutter, look->head + at))
            reading->consistent = reading_add(reading, &cutter, look->head + at, size, &text);
        at += cut == CUT_RECORD ? size : 0;
    }
    reading->consistent = reading->consistent && reading->records > 0;
    return STATUS_OK;
}

/* How well a reading fits: a table needs a time, so one that finds it is the better one. 0: not at all. */
static int reading_worth(const struct reading *reading)
{
    bool has_time = false;

    if (!reading->consistent)
        return 0;
    for (int i = 0; i < reading->fields && !has_time; i++)
        has_time = column_time_formats(reading, i, reading->records > 1) != 0;
    if (reading->fields == 1)
        return has_time;
    return has_time ? 3 : 2;
}

/* ---- Which one ---- */

struct choice {
    struct reading best;
    int worth;
    bool ragged;       /* some reading gives records of different lengths */
    char rivals[8][2]; /* delimiter and quote of readings that are as good */
    int rival_count;
};

static void choice_add(struct choice *choice, struct reading *reading)
{
    int worth = reading_worth(reading);

    choice->ragged |= !reading->consistent;
    /* A quote that encloses nothing changes nothing: the usual one is taken, which comes first. */
    if (worth > choice->worth || (worth == choice->worth && worth > 0 && reading->delimiter == choice->best.delimiter &&
                                  reading->encloses && !choice->best.encloses)) {
        reading_free(&choice->best);
        choice->best = *reading;
        if (worth > choice->worth)
            choice->rival_count = 0;
        choice->worth = worth;
        return;
    }
    /* Nor does a delimiter that is not there. */
    if (worth == choice->worth && worth > 0 && reading->fields > 1 &&
        (reading->delimiter != choice->best.delimiter || (reading->encloses && choice->best.encloses))) {
        choice->rivals[choice->rival_count][0] = reading->delimiter;
        choice->rivals[choice->rival_count++][1] = reading->quote;
    }
    reading_free(reading);
}

static enum status choice_check(const struct choice *choice, const struct sniff_head *look, struct error *error)
{
    /* One field a record is what is left where a delimiter is there, but not as it should be. */
    if (choice->worth == 0 || (choice->best.fields == 1 && choice->ragged && !look->given->delimiter))
        return error_set(error, STATUS_USAGE,
                         "--dialect sniff: no delimiter of , ; tab | gives all records of the head the same number of "
                         "fields: say --delimiter, --quote, or --skip-lines and --comment if lines are no records");
    for (int i = 0; i < choice->rival_count; i++) {
        char delimiter = choice->rivals[i][0], quote = choice->rivals[i][1];

        if (delimiter != choice->best.delimiter && !look->given->delimiter)
            return error_set(error, STATUS_USAGE,
                             "--dialect sniff: the head can be read with the delimiter %s and as well with %s: say "
                             "--delimiter '%s' or --delimiter '%s'",
                             sniff_byte_text(choice->best.delimiter), sniff_byte_text(delimiter),
                             sniff_byte_text(choice->best.delimiter), sniff_byte_text(delimiter));
        if (quote != choice->best.quote && !look->given->quote)
            return error_set(error, STATUS_USAGE,
                             "--dialect sniff: fields can be enclosed in %s and as well in %s: say --quote", "\"", "'");
    }
    return STATUS_OK;
}

enum status reading_choose(const struct sniff_head *look, struct reading *reading, struct error *error)
{
    static const char delimiters[] = ",;\t|", quotes[] = "\"'";
    const struct dialect *dialect = &look->sniff->dialect;
    struct choice choice = {0};
    enum status status = STATUS_OK;

    for (int i = 0; status == STATUS_OK && i < (look->given->delimiter ? 1 : 4); i++)
        for (int j = 0; status == STATUS_OK && j < (look->given->quote ? 1 : 2); j++) {
            struct reading next;

            status = reading_make(look, look->given->delimiter ? dialect->delimiter : delimiters[i],
                                  look->given->quote ? dialect->quote : quotes[j], &next, error);
            if (status == STATUS_OK)
                choice_add(&choice, &next);
        }
    if (status == STATUS_OK)
        status = choice_check(&choice, look, error);
    if (status == STATUS_OK)
        *reading = choice.best;
    else
        reading_free(&choice.best);
    return status;
}
