/* Checks of what now() says on both sides: clocks, time zones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/method/preflight_private.h"

/* Names of one zone that servers are set to. */
static const char *zone_plain(const char *zone)
{
    static const char *const names[] = {"UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Universal"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(zone, names[i]) == 0)
            return "UTC";
    return zone;
}

/* Whether some time column has no zone, so that dual writes go by that of the session. */
static bool some_local(const struct preflight *preflight)
{
    bool local = false;

    for (size_t i = 0; i < preflight->table_count; i++) {
        enum time_type type = preflight->tables[i].source.time.type;

        local = local || (preflight->tables[i].in_source && (type == TIME_TIMESTAMP || type == TIME_DATE));
    }
    return local;
}

static void compare_zones(const struct preflight *preflight, struct finding *finding, const char *source,
                          const char *target)
{
    if (strcmp(zone_plain(source), zone_plain(target)) == 0)
        finding_say(finding, FINDING_OK, "%s on both sides", source);
    else
        finding_say(finding, FINDING_WARNING,
                    "%s in the source, %s in the target: %s; ALTER DATABASE … SET timezone = '%s' in the target",
                    source, target,
                    some_local(preflight)
                        ? "the time column has no zone, and dual writes by now() would differ by it"
                        : "columns without a zone that default to now(), or queries by day, would differ",
                    source);
}

enum status check_timezones(struct preflight *preflight, struct finding *finding, struct error *error)
{
    static const char sql[] = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'";
    char *source = NULL, *target = NULL;
    enum status status = pg_value(preflight->source, sql, &source, error);

    if (status == STATUS_OK)
        status = pg_value(preflight->target, sql, &target, error);
    if (status == STATUS_OK && source != NULL && target != NULL)
        compare_zones(preflight, finding, source, target);
    free(source);
    free(target);
    return status;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* How far the server's clock is ahead of ours, and half of the time that asking took; the best of three. */
static enum status clock_read(struct pg *pg, double *ahead, double *uncertain, struct error *error)
{
    *uncertain = INFINITY;
    for (int i = 0; i < 3; i++) {
        double before = seconds_now(), after;
        char *text = NULL;
        enum status status = pg_value(pg, "SELECT extract(epoch FROM pg_catalog.clock_timestamp())", &text, error);

        after = seconds_now();
        if (status != STATUS_OK)
            return status;
        if ((after - before) / 2 < *uncertain) {
            *uncertain = (after - before) / 2;
            *ahead = strtod(text != NULL ? text : "0", NULL) - (before + after) / 2;
        }
        free(text);
    }
    return STATUS_OK;
}

enum finding_level preflight_judge_clock(double seconds, double uncertain)
{
    double sure = fabs(seconds) - uncertain;

    return sure > 60 ? FINDING_PROBLEM : sure > 1 ? FINDING_WARNING : FINDING_OK;
}

enum status check_clocks(struct preflight *preflight, struct finding *finding, struct error *error)
{
    double source = 0, target = 0, uncertain[2];
    enum status status = clock_read(preflight->source, &source, &uncertain[0], error);
    enum finding_level level;

    if (status == STATUS_OK)
        status = clock_read(preflight->target, &target, &uncertain[1], error);
    if (status != STATUS_OK)
        return status;
    level = preflight_judge_clock(target - source, uncertain[0] + uncertain[1]);
    if (level == FINDING_OK)
        finding_say(finding, level, "the same up to a second");
    else
        finding_say(
            finding, level,
            "the target's clock is %.1f s %s the source's: set it right, rows that get their time from now() would "
            "differ on both sides",
            fabs(target - source), target > source ? "ahead of" : "behind");
    return STATUS_OK;
}
