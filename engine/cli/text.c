/* Numbers for people. What is negative is unknown, except for counts, and is written as "?" or "--:--". */
#include "engine/cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The power of 1024 that a unit stands for; -1: no unit. "M", "MB" and "MiB" are the same. */
static int unit_power(const char *unit)
{
    static const char letters[] = "bkmgtp";
    const char *rest = unit;
    const char *letter;

    if (*unit == '\0')
        return 0;
    letter = strchr(letters, *unit | 0x20);
    if (letter == NULL)
        return -1;
    rest++;
    if (letter > letters && (strcasecmp(rest, "b") == 0 || strcasecmp(rest, "ib") == 0))
        rest = "";
    return *rest == '\0' ? (int)(letter - letters) : -1;
}

bool size_parse(const char *text, int64_t *bytes)
{
    int64_t value = 0;
    const char *at = text;
    int power;

    while (*at >= '0' && *at <= '9')
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *at++ - '0', &value))
            return false;
    if (at == text)
        return false;
    while (*at == ' ')
        at++;
    power = unit_power(at);
    if (power < 0)
        return false;
    while (power-- > 0)
        if (__builtin_mul_overflow(value, 1024, &value))
            return false;
    *bytes = value;
    return true;
}

/* Two digits at least, three where they are there: "1.4", "14", "140". Next unit from just under `base` on. */
static const char *scaled_format(int64_t number, int base, const char *const units[], char buffer[NUMBER_TEXT_MAX])
{
    double value = (double)number;
    int unit = 0;

    if (number < 0) {
        snprintf(buffer, NUMBER_TEXT_MAX, "?");
        return buffer;
    }
    while (value >= base - 0.5 && units[unit + 1] != NULL) {
        value /= base;
        unit++;
    }
    snprintf(buffer, NUMBER_TEXT_MAX, "%.*f%s", unit > 0 && value < 9.95 ? 1 : 0, value, units[unit]);
    return buffer;
}

const char *size_format(int64_t bytes, char buffer[NUMBER_TEXT_MAX])
{
    static const char *const units[] = {" B", " KB", " MB", " GB", " TB", " PB", NULL};

    return scaled_format(bytes, 1024, units, buffer);
}

const char *short_format(int64_t count, char buffer[NUMBER_TEXT_MAX])
{
    static const char *const units[] = {"", "k", "M", "G", "T", NULL};

    return scaled_format(count, 1000, units, buffer);
}

const char *count_format(int64_t count, char buffer[NUMBER_TEXT_MAX])
{
    char digits[NUMBER_TEXT_MAX];
    size_t size, used = 0;

    snprintf(digits, sizeof digits, "%" PRIu64, count < 0 ? 0 - (uint64_t)count : (uint64_t)count);
    size = strlen(digits);
    if (count < 0)
        buffer[used++] = '-';
    for (size_t index = 0; index < size; index++) {
        if (index > 0 && (size - index) % 3 == 0)
            buffer[used++] = ',';
        buffer[used++] = digits[index];
    }
    buffer[used] = '\0';
    return buffer;
}

const char *duration_format(int64_t seconds, char buffer[NUMBER_TEXT_MAX])
{
    int64_t days = seconds / 86400;
    int hour = (int)(seconds / 3600 % 24), minute = (int)(seconds / 60 % 60), second = (int)(seconds % 60);

    if (seconds < 0)
        snprintf(buffer, NUMBER_TEXT_MAX, "--:--");
    else if (days > 0)
        snprintf(buffer, NUMBER_TEXT_MAX, "%" PRId64 "d %02d:%02d", days, hour, minute);
    else if (hour > 0)
        snprintf(buffer, NUMBER_TEXT_MAX, "%d:%02d:%02d", hour, minute, second);
    else
        snprintf(buffer, NUMBER_TEXT_MAX, "%d:%02d", minute, second);
    return buffer;
}
