/*
 * hyperfill-generate: prints a seeded, deterministic time series as CSV.
 *
 * Row k belongs to step k / hosts and host k % hosts, and everything in it follows from (seed, k) and the options that
 * shape it. So each --order prints exactly the same set of rows, in no more memory than one output buffer.
 */
#define _GNU_SOURCE 1

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "hyperfill-generate"

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2 };

enum order { ORDER_ORDERED, ORDER_SHUFFLED, ORDER_REVERSE };
enum shape { SHAPE_CPU, SHAPE_WIDE, SHAPE_MULTILINE, SHAPE_FAT, SHAPE_TINY, SHAPE_TEXT, SHAPE_JSONB };
enum time_format { TIME_ISO, TIME_POSTGRES, TIME_NAIVE, TIME_EPOCH, TIME_EPOCH_MS };

static const char *const order_names[] = {"ordered", "shuffled", "reverse", NULL};
static const char *const shape_names[] = {"cpu", "wide", "multiline", "fat", "tiny", "text", "jsonb", NULL};
static const char *const time_format_names[] = {"iso", "postgres", "naive", "epoch", "epoch-ms", NULL};

/* As TSBS names the columns of its cpu-only use case. */
static const char *const cpu_columns[] = {
    "usage_user", "usage_system",  "usage_idle",  "usage_nice",  "usage_iowait",
    "usage_irq",  "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice",
};

#define CPU_COLUMN_COUNT ((unsigned)(sizeof cpu_columns / sizeof cpu_columns[0]))
#define WIDE_COLUMN_COUNT 100u

struct options {
    uint64_t rows;
    uint64_t skip; /* of these rows */
    uint64_t seed;
    uint64_t hosts;
    uint64_t step_seconds;
    uint64_t fat_bytes;
    int64_t start; /* seconds since 1970-01-01 UTC */
    enum order order;
    enum shape shape;
    enum time_format time_format;
    bool header;
};

static _Noreturn __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...)
{
    va_list arguments;

    fputs(PROGRAM ": ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

/* ---- Output: one buffer, written when the next row might not fit. */

#define OUTPUT_BYTES ((size_t)1 << 20)
#define ROW_BYTES_MAX ((size_t)4096) /* of any row without its fat payload; a wide row is at most 100 * 17 + 60 */

static char output_buffer[OUTPUT_BYTES];

static void output_write(const char *end)
{
    const char *from = output_buffer;

    while (from < end) {
        const ssize_t written = write(STDOUT_FILENO, from, (size_t)(end - from));

        if (written >= 0)
            from += written;
        else if (errno != EINTR)
            die(EXIT_SYSTEM, "cannot write to standard output: %m");
    }
}

/* Returns where the next `size` bytes may be put. */
static inline char *output_reserve(char *at, size_t size)
{
    if ((size_t)(output_buffer + OUTPUT_BYTES - at) >= size)
        return at;
    output_write(at);
    return output_buffer;
}

static inline char *put_text(char *at, const char *text)
{
    const size_t size = strlen(text);

    memcpy(at, text, size);
    return at + size;
}

/* Exactly `width` digits, with leading zeros. printf would be the slowest part of the program by far. */
static inline char *put_digits(char *at, uint64_t number, unsigned width)
{
    for (unsigned index = width; index > 0; index--) {
        at[index - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + width;
}

static inline char *put_unsigned(char *at, uint64_t number)
{
    unsigned width = 1;

    for (uint64_t rest = number; rest >= 10; rest /= 10)
        width++;
    return put_digits(at, number, width);
}

/* ---- Chance: splitmix64, whose finaliser makes any counter look random. */

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t chance(uint64_t stream, uint64_t index)
{
    return mix(stream + (index + 1) * GOLDEN);
}

/* ---- Order: which row comes at a position. */

/* A Feistel network over the smallest even number of bits that hold all rows, so under four times as many
   numbers as rows. What falls outside is sent through again until it falls inside (cycle walking). */
static uint64_t shuffle(uint64_t position, const struct options *options)
{
    const uint64_t stream = mix(options->seed ^ UINT64_C(0x5bd1e9955bd1e995));
    unsigned half_bits = 1;

    while (half_bits < 31 && (UINT64_C(1) << (2 * half_bits)) < options->rows)
        half_bits++;

    const uint64_t mask = (UINT64_C(1) << half_bits) - 1;

    do {
        uint64_t left = position >> half_bits;
        uint64_t right = position & mask;

        for (uint64_t turn = 0; turn < 4; turn++) {
            const uint64_t next = left ^ (chance(stream + turn, right) & mask);

            left = right;
            right = next;
        }
        position = left << half_bits | right;
    } while (position >= options->rows);
    return position;
}

static inline uint64_t row_at(uint64_t position, const struct options *options)
{
    switch (options->order) {
    case ORDER_SHUFFLED: return shuffle(position, options);
    case ORDER_REVERSE: return options->rows - 1 - position;
    case ORDER_ORDERED: break;
    }
    return position;
}

/* ---- Time. */

static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    /* Years are counted from March, so that the leap day is the last of its year. */
    const int64_t shifted_year = year - (month <= 2);
    const int64_t era = shifted_year / 400;
    const int64_t year_of_era = shifted_year % 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    const int64_t shifted = days + 719468;
    const int64_t era = shifted / 146097;
    const int64_t day_of_era = shifted % 146097;
    const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t march_month = (5 * day_of_year + 2) / 153;

    *day = (unsigned)(day_of_year - (153 * march_month + 2) / 5 + 1);
    *month = (unsigned)(march_month < 10 ? march_month + 3 : march_month - 9);
    *year = (unsigned)(year_of_era + era * 400 + (*month <= 2));
}

static char *put_time(char *at, int64_t seconds, enum time_format format)
{
    unsigned year, month, day;

    assert(seconds >= 0);
    if (format == TIME_EPOCH)
        return put_unsigned(at, (uint64_t)seconds);
    if (format == TIME_EPOCH_MS)
        return put_text(put_unsigned(at, (uint64_t)seconds), "000");

    const unsigned second_of_day = (unsigned)(seconds % 86400);

    civil_from_days(seconds / 86400, &year, &month, &day);
    at = put_digits(at, year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day, 2);
    *at++ = format == TIME_ISO ? 'T' : ' ';
    at = put_digits(at, second_of_day / 3600, 2);
    *at++ = ':';
    at = put_digits(at, second_of_day / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, second_of_day % 60, 2);
    if (format == TIME_NAIVE)
        return at;
    return put_text(at, format == TIME_ISO ? "Z" : "+00");
}

/* ---- Values. */

#define DECIMALS_MAX 13u
#define KNOT_STEPS 64u

static const uint64_t powers_of_ten[DECIMALS_MAX + 1] = {UINT64_C(1),
                                                         UINT64_C(10),
                                                         UINT64_C(100),
                                                         UINT64_C(1000),
                                                         UINT64_C(10000),
                                                         UINT64_C(100000),
                                                         UINT64_C(1000000),
                                                         UINT64_C(10000000),
                                                         UINT64_C(100000000),
                                                         UINT64_C(1000000000),
                                                         UINT64_C(10000000000),
                                                         UINT64_C(100000000000),
                                                         UINT64_C(1000000000000),
                                                         UINT64_C(10000000000000)};

/* What a row is made from. */
struct row {
    uint64_t step;
    uint64_t host;
    uint64_t own;   /* chance of this row alone */
    uint64_t from;  /* chance of this host's last knot ... */
    uint64_t until; /* ... and of its next */
};

static struct row row_of(uint64_t k, const struct options *options)
{
    struct row row = {.step = k / options->hosts, .host = k % options->hosts};
    const uint64_t host_stream = chance(mix(options->seed ^ UINT64_C(0x6a09e667f3bcc908)), row.host);

    row.own = chance(mix(options->seed), k);
    row.from = chance(host_stream, row.step / KNOT_STEPS);
    row.until = chance(host_stream, row.step / KNOT_STEPS + 1);
    return row;
}

/*
 * A usage from 0 to 100: a straight walk of 64 steps from one random knot to the next plus noise, as a metric moves.
 *
 * Width: TSBS prints cpu-only as whole numbers, which makes rows of about 70 bytes and numbers that are unusually
 * cheap to parse. Here a value has 0 to 13 decimals, each as likely, so 1 to 15 significant digits, and a cpu row has
 * about 137 bytes. A last decimal is never 0, no value is so small that it is printed with an exponent, and 15 digits
 * survive a double: the server prints the same text that it was given.
 */
static inline char *put_value(char *at, const struct row *row, unsigned column)
{
    const uint64_t scale = powers_of_ten[DECIMALS_MAX];
    const uint64_t from = chance(row->from, column) % (100 * scale);
    const uint64_t until = chance(row->until, column) % (100 * scale);
    const uint64_t way = row->step % KNOT_STEPS;
    const uint64_t own = chance(row->own, column);
    const uint64_t noise = own % (4 * scale);
    const unsigned decimals = (unsigned)((own >> 56) * (DECIMALS_MAX + 1) >> 8);
    uint64_t value = (from * (KNOT_STEPS - way) + until * way) / KNOT_STEPS + noise;

    value = value < 2 * scale ? 0 : value - 2 * scale;
    if (value < scale / 1000)
        value = scale / 1000;
    if (value >= 100 * scale)
        value = 100 * scale - 1;

    at = put_unsigned(at, value / scale);
    if (decimals == 0)
        return at;

    uint64_t fraction = value % scale / powers_of_ten[DECIMALS_MAX - decimals];

    if (fraction % 10 == 0)
        fraction++;
    *at++ = '.';
    return put_digits(at, fraction, decimals);
}

/* Text that is hard on whoever cuts records: one row of eight has lines that look like rows themselves, blank lines and
   both line endings; others have NULL, the empty string, quoted or bare text. */
static char *put_note(char *at, const struct row *row)
{
    const uint64_t own = chance(row->own, CPU_COLUMN_COUNT);

    switch (own % 8) {
    case 0: return put_text(at, "\"\"");
    case 1: return put_text(at, "restarted by hand");
    case 2:
        at = put_text(at, "\"said \"\"usage, ");
        at = put_unsigned(at, own >> 48);
        return put_text(at, "\"\", then stopped\"");
    case 3:
        at = put_text(at, "\"first line, of several\n");
        for (uint64_t line = 0; line < (own >> 8) % 8; line++) {
            at = put_text(at, "2024-01-01T00:00:00Z,1,host_0,\"\"");
            at = put_unsigned(at, chance(own, line));
            at = put_text(at, line % 2 == 0 ? "\"\",,\n" : "\"\"\r\n\n");
        }
        return put_text(at, "\"\"last\"\"\"");
    default: return at;
    }
}

/* A quoted text of 0.9 to 1.1 times --fat-bytes, with commas and line ends in it. */
static char *put_payload(char *at, const struct row *row, uint64_t bytes)
{
    static const char letters[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,";
    uint64_t left = bytes - bytes / 10 + row->own % (bytes / 5 + 1);

    *at++ = '"';
    for (uint64_t word = 0; left > 0; word++) {
        uint64_t bits = chance(row->own, word);

        at = output_reserve(at, ROW_BYTES_MAX);
        for (unsigned letter = 0; letter < 8 && left > 0; letter++, left--) {
            *at++ = letters[bits % 64];
            bits /= 64;
        }
        if (word % 16 == 15 && left > 0) {
            *at++ = '\n';
            left--;
        }
    }
    *at++ = '"';
    return at;
}

static char *put_words(char *at, uint64_t bits, unsigned count)
{
    static const char *const words[16] = {"disk",   "queue", "retry",   "upstream", "timed out", "slow",
                                          "after",  "on",    "request", "from",     "node",      "closed",
                                          "socket", "while", "flush",   "pool"};

    for (unsigned word = 0; word < count; word++) {
        if (word > 0)
            *at++ = ' ';
        at = put_text(at, words[bits >> (word % 16 * 4) & 15]);
    }
    return at;
}

/* A log: fields that must be quoted, with commas and quotes in them; none is empty and none has a line end, which not
   every tool can take. */
static char *put_log(char *at, const struct row *row)
{
    static const char *const levels[4] = {"info", "notice", "warning", "error"};

    at = put_text(at, levels[row->own % 4]);
    at = put_words(put_text(at, ",\"unit \"\""), chance(row->own, 0), 1);
    at = put_words(put_text(at, "\"\", shard 7\",\""), chance(row->own, 1), 12);
    at = put_words(put_text(at, ", said \"\""), chance(row->own, 2), 8);
    at = put_unsigned(put_text(at, "\"\" (code "), chance(row->own, 3) % 100000);
    at = put_words(put_text(at, ")\",plain text without quotes: "), chance(row->own, 4), 10);
    return at;
}

/* As an application keeps what it has no columns for. */
static char *put_json(char *at, const struct row *row)
{
    at = put_unsigned(put_text(at, "\"{\"\"host\"\": \"\"host_"), row->host);
    at = put_words(put_text(at, "\"\", \"\"state\"\": \"\""), chance(row->own, 20), 2);
    at = put_text(at, "\"\", \"\"usage\"\": {");
    for (unsigned column = 0; column < 5; column++) {
        at = put_text(at, column > 0 ? ", \"\"" : "\"\"");
        at = put_text(put_text(at, cpu_columns[column]), "\"\": ");
        at = put_value(at, row, column);
    }
    at = put_text(at, "}, \"\"tags\"\": [\"\"a\"\", ");
    at = put_unsigned(at, row->own % 1000);
    return put_text(at, ", null, true]}\"");
}

/* ---- Rows. */

static const char *const first_columns[] = {
    [SHAPE_CPU] = "time,tags_id,hostname",       [SHAPE_WIDE] = "time,tags_id,hostname",
    [SHAPE_MULTILINE] = "time,tags_id,hostname", [SHAPE_FAT] = "time,tags_id,payload",
    [SHAPE_TINY] = "time,tags_id,value",         [SHAPE_TEXT] = "time,tags_id,hostname,level,unit,message,details",
    [SHAPE_JSONB] = "time,tags_id,payload",
};

static void print_header(const struct options *options)
{
    char *at = put_text(output_buffer, first_columns[options->shape]);

    if (options->shape == SHAPE_CPU || options->shape == SHAPE_MULTILINE)
        for (unsigned column = 0; column < CPU_COLUMN_COUNT; column++) {
            *at++ = ',';
            at = put_text(at, cpu_columns[column]);
        }
    if (options->shape == SHAPE_WIDE)
        for (unsigned column = 0; column < WIDE_COLUMN_COUNT; column++)
            at = put_digits(put_text(at, ",metric_"), column, 2);
    if (options->shape == SHAPE_MULTILINE)
        at = put_text(at, ",note");
    *at++ = '\n';
    output_write(at);
}

/* All after the time column. */
static char *put_fields(char *at, const struct row *row, const struct options *options)
{
    *at++ = ',';
    at = put_unsigned(at, row->host + 1);
    *at++ = ',';
    if (options->shape == SHAPE_FAT)
        return put_payload(at, row, options->fat_bytes);
    if (options->shape == SHAPE_TINY)
        return put_value(at, row, 0);
    if (options->shape == SHAPE_JSONB)
        return put_json(at, row);

    at = put_unsigned(put_text(at, "host_"), row->host);
    if (options->shape == SHAPE_TEXT) {
        *at++ = ',';
        return put_log(at, row);
    }
    if (options->shape == SHAPE_WIDE) {
        for (unsigned column = 0; column < WIDE_COLUMN_COUNT; column++) {
            *at++ = ',';
            /* Wide tables are sparse: one value of sixteen is NULL. */
            if (chance(row->own, WIDE_COLUMN_COUNT + column) % 16 != 0)
                at = put_value(at, row, column);
        }
        return at;
    }
    for (unsigned column = 0; column < CPU_COLUMN_COUNT; column++) {
        *at++ = ',';
        at = put_value(at, row, column);
    }
    if (options->shape == SHAPE_MULTILINE) {
        *at++ = ',';
        at = put_note(at, row);
    }
    return at;
}

static void print_rows(const struct options *options)
{
    char *at = output_buffer;

    for (uint64_t position = options->skip; position < options->rows; position++) {
        const struct row row = row_of(row_at(position, options), options);

        at = output_reserve(at, ROW_BYTES_MAX);
        at = put_time(at, options->start + (int64_t)(row.step * options->step_seconds), options->time_format);
        at = put_fields(at, &row, options);
        *at++ = '\n';
    }
    output_write(at);
}

/* ---- Options. */

static const char help[] =
    "Usage: " PROGRAM " [OPTION]...\n"
    "Prints a deterministic time series as CSV. Each order of one seed has the same rows.\n"
    "\n"
    "  --rows N              rows to print (default 1000000)\n"
    "  --skip N              leave out the first N of them (default 0)\n"
    "  --seed S              all values follow from it (default 1)\n"
    "  --hosts N             rows of one time (default 400)\n"
    "  --step-seconds N      from one time to the next (default 10)\n"
    "  --start TIME          first time, as 2024-01-01T00:00:00Z (default)\n"
    "  --order ORDER         ordered (default), shuffled, reverse\n"
    "  --shape SHAPE         cpu: time,tags_id,hostname and ten numbers (default)\n"
    "                        wide: the same three and metric_00 to metric_99, some empty\n"
    "                        multiline: cpu and a text column, note, with line ends and quotes in it\n"
    "                        fat: time,tags_id and a text column, payload\n"
    "                        tiny: time,tags_id and a number\n"
    "                        text: time,tags_id,hostname and four text columns with quotes and commas\n"
    "                        jsonb: time,tags_id and an object, payload\n"
    "  --fat-bytes N         size of a payload, give or take a tenth (default 1000000)\n"
    "  --time-format FORMAT  iso (default), postgres (2024-01-01 00:00:00+00), naive (no zone),\n"
    "                        epoch (seconds), epoch-ms\n"
    "  --no-header           no line of column names\n"
    "  --help                this text\n";

static uint64_t parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;

    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);

    /* strtoull would take blanks and a sign too. */
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < least || number > most)
        die(EXIT_USAGE, "--%s: \"%s\" is not a whole number from %" PRIu64 " to %" PRIu64, option, text, least, most);
    return number;
}

static unsigned parse_name(const char *option, const char *text, const char *const *names)
{
    char known[128] = "";
    unsigned index = 0;

    for (; names[index] != NULL; index++) {
        if (strcmp(text, names[index]) == 0)
            return index;
        strncat(known, index > 0 ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, names[index], sizeof known - strlen(known) - 1);
    }
    die(EXIT_USAGE, "--%s: \"%s\" is none of %s", option, text, known);
}

static int64_t parse_start(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    bool sane = strlen(text) == sizeof form - 1;

    for (size_t index = 0; sane && index < sizeof form - 1; index++)
        sane = form[index] == 'd' ? text[index] >= '0' && text[index] <= '9' : text[index] == form[index];
    if (sane) {
        const long year = strtol(text, NULL, 10), month = strtol(text + 5, NULL, 10), day = strtol(text + 8, NULL, 10);
        const long hour = strtol(text + 11, NULL, 10), minute = strtol(text + 14, NULL, 10);
        const long second = strtol(text + 17, NULL, 10);

        if (year >= 1970 && month >= 1 && month <= 12 && day >= 1 && hour < 24 && minute < 60 && second < 60) {
            const int64_t days = days_from_civil(year, month, day);
            unsigned same_year, same_month, same_day;

            /* The 30th of February comes back as another day. */
            civil_from_days(days, &same_year, &same_month, &same_day);
            if (same_month == (unsigned)month && same_day == (unsigned)day)
                return days * 86400 + hour * 3600 + minute * 60 + second;
        }
    }
    die(EXIT_USAGE, "--start: \"%s\" is not a time from 1970 on, written as 2024-01-01T00:00:00Z", text);
}

static void check_last_time(const struct options *options)
{
    const int64_t end = days_from_civil(9999, 12, 31) * 86400 + 86399;
    const uint64_t last_step = options->rows == 0 ? 0 : (options->rows - 1) / options->hosts;

    if (last_step > (uint64_t)(end - options->start) / options->step_seconds)
        die(EXIT_USAGE,
            "the last of %" PRIu64 " rows would be after the year 9999: "
            "give fewer --rows, more --hosts or shorter --step-seconds",
            options->rows);
}

static void parse_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {{"rows", required_argument, NULL, 'r'},
                                          {"skip", required_argument, NULL, 'k'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"hosts", required_argument, NULL, 'h'},
                                          {"step-seconds", required_argument, NULL, 'p'},
                                          {"start", required_argument, NULL, 't'},
                                          {"order", required_argument, NULL, 'o'},
                                          {"shape", required_argument, NULL, 'a'},
                                          {"fat-bytes", required_argument, NULL, 'b'},
                                          {"no-header", no_argument, NULL, 'n'},
                                          {"time-format", required_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'H'},
                                          {NULL, 0, NULL, 0}};
    int letter, index = 0;

    while ((letter = getopt_long(argc, argv, "", known, &index)) != -1) {
        const char *name = known[index].name;

        switch (letter) {
        case 'r': options->rows = parse_number(name, optarg, 0, UINT64_C(1000000000000)); break;
        case 'k': options->skip = parse_number(name, optarg, 0, UINT64_C(1000000000000)); break;
        case 's': options->seed = parse_number(name, optarg, 0, UINT64_MAX); break;
        case 'h': options->hosts = parse_number(name, optarg, 1, 1000000000); break;
        case 'p': options->step_seconds = parse_number(name, optarg, 1, 1000000000); break;
        case 't': options->start = parse_start(optarg); break;
        case 'o': options->order = (enum order)parse_name(name, optarg, order_names); break;
        case 'a': options->shape = (enum shape)parse_name(name, optarg, shape_names); break;
        case 'b': options->fat_bytes = parse_number(name, optarg, 1, 1000000000); break;
        case 'f': options->time_format = (enum time_format)parse_name(name, optarg, time_format_names); break;
        case 'n': options->header = false; break;
        case 'H': fputs(help, stdout); exit(EXIT_SUCCESS);
        default: die(EXIT_USAGE, "see --help");
        }
    }
    if (optind < argc)
        die(EXIT_USAGE, "\"%s\" is not an option; see --help", argv[optind]);
    check_last_time(options);
}

int main(int argc, char **argv)
{
    struct options options = {
        .rows = 1000000,
        .seed = 1,
        .hosts = 400,
        .step_seconds = 10,
        .fat_bytes = 1000000,
        .start = days_from_civil(2024, 1, 1) * 86400,
        .header = true,
    };

    parse_options(argc, argv, &options);
    if (options.header)
        print_header(&options);
    print_rows(&options);
    return EXIT_SUCCESS;
}
