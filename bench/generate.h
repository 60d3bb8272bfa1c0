/* Parts of hyperfill-generate: which row comes when, its time, its fields, and the text that they are printed as. */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PROGRAM "hyperfill-generate"

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2 };

enum order { ORDER_ORDERED, ORDER_SHUFFLED, ORDER_REVERSE };
enum shape { SHAPE_CPU, SHAPE_WIDE, SHAPE_MULTILINE, SHAPE_FAT, SHAPE_TINY, SHAPE_TEXT, SHAPE_JSONB };
enum time_format { TIME_ISO, TIME_POSTGRES, TIME_NAIVE, TIME_EPOCH, TIME_EPOCH_MS };

/* As TSBS names the columns of its cpu-only use case. */
#define CPU_COLUMN_COUNT 10u
#define WIDE_COLUMN_COUNT 100u

extern const char *const cpu_columns[CPU_COLUMN_COUNT];

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

/* --- generate_options.c --- */

/* Fills in what the command line says; ends the program where it is wrong. */
void parse_options(int argc, char **argv, struct options *options);
_Noreturn __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...);

/* --- generate_output.c: one buffer, written when the next row might not fit --- */

#define OUTPUT_BYTES ((size_t)1 << 20)
#define ROW_BYTES_MAX ((size_t)4096) /* of any row without its fat payload; a wide row is at most 100 * 17 + 60 */

extern char output_buffer[OUTPUT_BYTES];

/* Writes the buffer up to `end`. */
void output_write(const char *end);

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

/* --- Chance: splitmix64, whose finaliser makes any counter look random --- */

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

/* --- generate_order.c --- */

/* Which row comes at a position. */
uint64_t row_at(uint64_t position, const struct options *options);

/* --- generate_time.c --- */

int64_t days_from_civil(int64_t year, int64_t month, int64_t day);
void civil_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day);
char *put_time(char *at, int64_t seconds, enum time_format format);

/* --- generate_fields.c --- */

/* What a row is made from. */
struct row {
    uint64_t step;
    uint64_t host;
    uint64_t own;   /* chance of this row alone */
    uint64_t from;  /* chance of this host's last knot ... */
    uint64_t until; /* ... and of its next */
};

struct row row_of(uint64_t k, const struct options *options);
/* All after the time column. */
char *put_fields(char *at, const struct row *row, const struct options *options);
