/* Commands with the edges of ranges in them. */
#include "readers/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND INT64_C(1000000)
/* Of one place when it is filled in. */
#define FILLED_MAX 512
#define FORMAT_MAX 128

/* ---- Reading the template ---- */

/* A place that begins at the brace: its name, and where its form begins (at the colon or the closing brace). */
static bool place_begins(const char *brace, bool *until, const char **form)
{
    static const char *const names[] = {"{from", "{until"};

    for (int i = 0; i < 2; i++) {
        size_t size = strlen(names[i]);

        if (strncmp(brace, names[i], size) == 0 && (brace[size] == ':' || brace[size] == '}')) {
            *until = i == 1;
            *form = brace + size;
            return true;
        }
    }
    return false;
}

bool template_wanted(const char *command)
{
    const char *form;
    bool until;

    while ((command = strchr(command, '{')) != NULL) {
        if (place_begins(command, &until, &form))
            return true;
        command += command[1] == '{' ? 2 : 1;
    }
    return false;
}

/* What a conversion of strftime tells of a moment. Only those are taken that say the same in every locale. */
enum knows {
    KNOWS_YEAR = 1,
    KNOWS_MONTH = 2,
    KNOWS_DAY = 4,
    KNOWS_HOUR = 8,
    KNOWS_MINUTE = 16,
    KNOWS_SECOND = 32,
    KNOWS_MILLI = 64,
    KNOWS_MICRO = 128,
};
#define KNOWS_DATE (KNOWS_YEAR | KNOWS_MONTH | KNOWS_DAY)
#define KNOWS_SECONDS (KNOWS_DATE | KNOWS_HOUR | KNOWS_MINUTE | KNOWS_SECOND)
#define KNOWS_ALL (KNOWS_SECONDS | KNOWS_MILLI | KNOWS_MICRO)

/* -1: not taken. */
static int conversion_knows(char conversion)
{
    switch (conversion) {
    case 'Y': return KNOWS_YEAR;
    case 'm': return KNOWS_MONTH;
    case 'd': return KNOWS_DAY;
    case 'j': return KNOWS_MONTH | KNOWS_DAY;
    case 'F': return KNOWS_DATE;
    case 'H': return KNOWS_HOUR;
    case 'M': return KNOWS_MINUTE;
    case 'S': return KNOWS_SECOND;
    case 'R': return KNOWS_HOUR | KNOWS_MINUTE;
    case 'T': return KNOWS_HOUR | KNOWS_MINUTE | KNOWS_SECOND;
    /* Only beside the others: two digits of a year, a name of the month. */
    case 'y':
    case 'b':
    case 'z':
    case 'Z': return 0;
    default: return -1;
    }
}

/* Bytes that mean nothing to the shell within double quotes, nor end single ones. */
static bool is_harmless(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr(" -+:/._,", c) != NULL);
}

static enum status format_check(const struct template_part *part, struct error *error)
{
    if (part->size == 0 || part->size >= FORMAT_MAX)
        return error_set(error, STATUS_USAGE, "--source: a form of {%s:…} is empty or too long",
                         part->until ? "until" : "from");
    for (size_t i = 0; i < part->size; i++) {
        char c = part->text[i];

        if (c == '%' && i + 1 < part->size && conversion_knows(part->text[i + 1]) >= 0)
            i++;
        else if (c == '%')
            return error_set(error, STATUS_USAGE,
                             "--source: a form of {%s:…} has a conversion that is not taken; there are %%Y %%m %%d %%j "
                             "%%F %%H %%M %%S %%R %%T %%y %%b %%z %%Z",
                             part->until ? "until" : "from");
        else if (!is_harmless(c))
            return error_set(error, STATUS_USAGE,
                             "--source: a form of {%s:…} holds more than conversions, letters, digits, blanks and "
                             "-+:/._, which is not safe in quotes of the shell",
                             part->until ? "until" : "from");
    }
    return STATUS_OK;
}

static enum status form_read(struct template_part *part, struct error *error)
{
    static const struct {
        const char *name;
        int64_t unit;
    } epochs[] = {{"epoch", SECOND}, {"epoch-ms", 1000}, {"epoch-us", 1}, {"epoch-ns", 0}};

    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++)
        if (strlen(epochs[i].name) == part->size && memcmp(epochs[i].name, part->text, part->size) == 0) {
            part->form = FORM_EPOCH;
            part->micros_unit = epochs[i].unit;
            return STATUS_OK;
        }
    part->form = FORM_STRFTIME;
    if (memchr(part->text, '%', part->size) == NULL)
        return error_set(error, STATUS_USAGE,
                         "--source: {%s:…} takes epoch, epoch-ms, epoch-us, epoch-ns or a form such as %%Y-%%m-%%d "
                         "%%H:%%M:%%S",
                         part->until ? "until" : "from");
    return format_check(part, error);
}

/* The part that begins at `at`, which is not the end; *after is behind it. */
static enum status part_read(const char *command, const char *at, struct template_part *part, const char **after,
                             struct error *error)
{
    const char *form, *end;

    if (*at != '{' && *at != '}') {
        size_t size = strcspn(at, "{}");

        *part = (struct template_part){.form = FORM_TEXT, .text = at, .size = size};
        *after = at + size;
        return STATUS_OK;
    }
    if (at[1] == at[0]) {
        *part = (struct template_part){.form = FORM_TEXT, .text = at, .size = 1};
        *after = at + 2;
        return STATUS_OK;
    }
    *part = (struct template_part){.form = FORM_PLAIN};
    end = place_begins(at, &part->until, &form) ? strchr(form, '}') : NULL;
    if (end == NULL)
        return error_set(error, STATUS_USAGE,
                         "--source: the brace at character %td of the command is no {from}, {until} or form of them; "
                         "since the command has such places, other braces are doubled: {{ }}",
                         at - command + 1);
    *after = end + 1;
    if (*form == '}')
        return STATUS_OK;
    part->text = form + 1;
    part->size = (size_t)(end - part->text);
    return form_read(part, error);
}

enum status template_parse(const char *command, struct template *template, struct error *error)
{
    enum status status = STATUS_OK;

    *template = (struct template){.parts = calloc(strlen(command) + 1, sizeof *template->parts)};
    if (template->parts == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (const char *at = command; *at != '\0' && status == STATUS_OK;) {
        struct template_part *part = &template->parts[template->count++];

        status = part_read(command, at, part, &at, error);
        template->from |= part->form != FORM_TEXT && !part->until;
        template->until |= part->form != FORM_TEXT && part->until;
    }
    return status;
}

void template_reset(struct template *template)
{
    free(template->parts);
    *template = (struct template){0};
}

/* ---- Whether it fits ---- */

enum status template_check_type(const struct template *template, enum time_type type, struct error *error)
{
    for (size_t i = 0; i < template->count; i++)
        if (template->parts[i].form > FORM_PLAIN && time_type_is_integer(type))
            return error_set(error, STATUS_USAGE,
                             "--source: the time column is %s, which is put in as it is: write {%s} without a form",
                             time_type_sql(type), template->parts[i].until ? "until" : "from");
    return STATUS_OK;
}

static int part_knows(const struct template_part *part)
{
    int known = 0;

    if (part->form == FORM_PLAIN)
        return KNOWS_ALL;
    if (part->form == FORM_EPOCH)
        return part->micros_unit == SECOND ? KNOWS_SECONDS
               : part->micros_unit == 1000 ? KNOWS_SECONDS | KNOWS_MILLI
                                           : KNOWS_ALL;
    for (size_t i = 0; i + 1 < part->size; i++)
        if (part->text[i] == '%')
            known |= conversion_knows(part->text[++i]);
    return known;
}

static int64_t floor_seconds(int64_t micros)
{
    return micros / SECOND - (micros % SECOND < 0);
}

/* What must be said of a moment, as what is left out is taken for its least. */
static int moment_needs(int64_t micros, const struct tm *parts)
{
    int64_t fraction = micros - floor_seconds(micros) * SECOND;
    int needs = KNOWS_YEAR;

    needs |= parts->tm_mon > 0 ? KNOWS_MONTH : 0;
    needs |= parts->tm_mday > 1 ? KNOWS_DAY : 0;
    needs |= parts->tm_hour > 0 ? KNOWS_HOUR : 0;
    needs |= parts->tm_min > 0 ? KNOWS_MINUTE : 0;
    needs |= parts->tm_sec > 0 ? KNOWS_SECOND : 0;
    needs |= fraction >= 1000 ? KNOWS_MILLI : 0;
    needs |= fraction % 1000 > 0 ? KNOWS_MICRO : 0;
    return needs;
}

/* Years of four digits are written alike by everybody. */
static bool moment_split(int64_t micros, struct tm *parts)
{
    time_t seconds = floor_seconds(micros);

    return gmtime_r(&seconds, parts) != NULL && parts->tm_year >= -899 && parts->tm_year <= 8099;
}

static enum status check_edge(const struct template *template, enum time_type type, bool until, int64_t edge,
                              struct error *error)
{
    bool ready = true, formed = false;
    char text[TIME_TEXT_MAX];
    struct tm parts;
    int known = 0;

    for (size_t i = 0; i < template->count; i++) {
        const struct template_part *part = &template->parts[i];

        if (part->form == FORM_TEXT || part->until != until)
            continue;
        known |= part_knows(part);
        formed |= part->form > FORM_PLAIN;
        if (part->form == FORM_EPOCH && part->micros_unit == 0)
            ready = ready && edge > INT64_MIN / 1000 && edge < INT64_MAX / 1000;
    }
    if (known == 0 && !formed)
        return STATUS_OK;
    if (formed)
        ready = ready && moment_split(edge, &parts) && (moment_needs(edge, &parts) & ~known) == 0;
    if (ready)
        return STATUS_OK;
    return error_set(
        error, STATUS_USAGE,
        "--source: a range ends at %s, which the form of {%s:…} cannot say exactly: write a finer form, or "
        "choose --range-interval, --from and --until so that all edges can be said",
        time_format(type, edge, text), until ? "until" : "from");
}

enum status template_check_range(const struct template *template, enum time_type type, struct range range,
                                 struct error *error)
{
    enum status status = check_edge(template, type, false, range.lo, error);

    return status == STATUS_OK ? check_edge(template, type, true, range.hi, error) : status;
}

/* ---- Filling it in ---- */

static void fill_strftime(const struct template_part *part, int64_t edge, char filled[FILLED_MAX])
{
    char format[FORMAT_MAX];
    struct tm parts;

    snprintf(format, sizeof format, "%.*s", (int)part->size, part->text);
    filled[0] = '\0';
    if (moment_split(edge, &parts)) {
        parts.tm_zone = "UTC";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        /* The format was checked when it was read. */
        if (strftime(filled, FILLED_MAX, format, &parts) == 0)
            filled[0] = '\0';
#pragma GCC diagnostic pop
    }
}

static void fill(const struct template_part *part, enum time_type type, struct range range, char filled[FILLED_MAX])
{
    int64_t edge = part->until ? range.hi : range.lo;
    char text[TIME_TEXT_MAX];

    if (part->form == FORM_STRFTIME)
        fill_strftime(part, edge, filled);
    else if (part->form == FORM_PLAIN)
        snprintf(filled, FILLED_MAX, "%s", time_format(type, edge, text));
    else if (part->micros_unit == 0)
        snprintf(filled, FILLED_MAX, "%" PRId64, edge * 1000);
    else /* exact: the edge was checked */
        snprintf(filled, FILLED_MAX, "%" PRId64, edge / part->micros_unit);
}

char *template_expand(const struct template *template, enum time_type type, struct range range)
{
    char filled[FILLED_MAX], *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return NULL;
    for (size_t i = 0; i < template->count; i++) {
        const struct template_part *part = &template->parts[i];

        if (part->form == FORM_TEXT) {
            fwrite(part->text, 1, part->size, stream);
        } else {
            fill(part, type, range, filled);
            fputs(filled, stream);
        }
    }
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
