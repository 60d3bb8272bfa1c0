#include "bench/generate.h"

const char *const cpu_columns[CPU_COLUMN_COUNT] = {
    "usage_user", "usage_system",  "usage_idle",  "usage_nice",  "usage_iowait",
    "usage_irq",  "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice",
};

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

struct row row_of(uint64_t k, const struct options *options)
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

char *put_fields(char *at, const struct row *row, const struct options *options)
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
