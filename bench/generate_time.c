#include "bench/generate.h"

#include <assert.h>

int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    /* Years are counted from March, so that the leap day is the last of its year. */
    const int64_t shifted_year = year - (month <= 2);
    const int64_t era = shifted_year / 400;
    const int64_t year_of_era = shifted_year % 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

void civil_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
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

char *put_time(char *at, int64_t seconds, enum time_format format)
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
