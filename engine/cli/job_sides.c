/* The two sides of a job: servers, tables, and the settings of their sessions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"

static void setting_add(struct pg_setting *settings, const char *name, const char *value)
{
    while (settings->name != NULL)
        settings++;
    *settings = (struct pg_setting){name, value};
}

/* The server's spelling of a fixed offset: POSIX, where the sign points west. */
enum status job_timezone(struct job *job, struct error *error)
{
    const char *text = job->options->timezone;
    int hours = 0, minutes = 0, end = 0;
    char sign = '+', posix[48];

    if (text == NULL || !job_reads_csv(job))
        return STATUS_OK;
    if (strcasecmp(text, "UTC") != 0 && strcasecmp(text, "Z") != 0 &&
        (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || text[end] != '\0' || hours > 15 ||
         minutes > 59 || hours < 0 || minutes < 0 || (sign != '+' && sign != '-')))
        return error_set(error, STATUS_USAGE, "--timezone %s cannot be read: write UTC, +02:00 or -05:30", text);
    job->zone_given = true;
    job->zone_seconds = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    snprintf(posix, sizeof posix, "<%c%02d:%02d>%c%02d:%02d", sign, hours, minutes, sign == '-' ? '+' : '-', hours,
             minutes);
    job->timezone_setting = strdup(posix);
    setting_add(job->target_settings, "timezone", job->timezone_setting);
    return STATUS_OK;
}

/* table_describe, whose messages say which side they are about. */
static enum status describe(struct pg *pg, const char *name, const char *time_name, bool is_target, struct table *table,
                            struct error *error)
{
    const char *side = is_target ? "target" : "source";
    enum status status = table_describe(pg, name, time_name, is_target, table, error);

    if (status != STATUS_OK && strstr(error->text, side) == NULL)
        error_prefix(error, "%s", side);
    return status;
}

enum status job_open_target(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    enum status status;

    status = pg_address_init(&job->target_address, options->target, "target", error);
    if (status == STATUS_OK && job->sides != NULL)
        job->target = job->sides->target_names;
    else if (status == STATUS_OK)
        status = pg_create(&job->target_address, job->target_settings, job->stop, &job->target, error);
    if (status == STATUS_OK)
        status = pg_connect(job->target, error);
    if (status == STATUS_OK)
        status = describe(job->target, options->table, options->time_column, true, &job->table, error);
    if (status == STATUS_OK && job->table.in_recovery)
        return error_set(error, STATUS_USAGE, "target: the server %s is a standby, which takes no writes",
                         job->target_address.display);
    return status;
}

/* The same time, whatever its width. */
static bool same_time_type(const struct time_column *source, const struct time_column *target)
{
    if (time_type_is_integer(source->type) && time_type_is_integer(target->type))
        return true;
    return source->type == target->type;
}

static enum status job_check_time(const struct job *job, struct error *error)
{
    const struct time_column *source = &job->source_table.time, *target = &job->table.time;
    int source_digits = source->precision < 0 ? 6 : source->precision;
    int target_digits = target->precision < 0 ? 6 : target->precision;

    if (!same_time_type(source, target))
        return error_set(error, STATUS_USAGE,
                         "the time column is %s in the source (%s.%s) and %s in the target (%s.%s): make a view in the "
                         "source that converts it and give it as --source-table",
                         time_type_sql(source->type), job->source_table.sql, job->source_table.time_name,
                         time_type_sql(target->type), job->table.sql, job->table.time_name);
    /* A row that the target rounds up over the end of its range could be deleted by the next range's `replace`. */
    if (!time_type_is_integer(source->type) && target_digits < source_digits)
        return error_set(error, STATUS_USAGE,
                         "the target's time column keeps %d digits of a second, the source's %d: rows would move to "
                         "other times; round them in a view of the source",
                         target_digits, source_digits);
    return STATUS_OK;
}

/* Rows travel in the source's own encoding; the target alone converts, and refuses what it cannot. */
static void add_settings(struct pg_setting *source, struct pg_setting *target, const char *encoding)
{
    setting_add(source, "client_encoding", encoding);
    setting_add(source, "timezone", "UTC");
    setting_add(target, "client_encoding", encoding);
    setting_add(target, "timezone", "UTC");
}

/* Settings are the same for all tables of two databases. */
static enum status job_settle_sides(struct job *job, struct error *error)
{
    struct job_sides *sides = job->sides;
    enum status status = STATUS_OK;

    if (sides->encoding == NULL) {
        sides->encoding = strdup(job->source_table.server_encoding);
        add_settings(sides->source_settings, sides->target_settings, sides->encoding);
    }
    if (sides->source == NULL)
        status = pg_create(&sides->source_address, sides->source_settings, job->stop, &sides->source, error);
    if (status == STATUS_OK && sides->target == NULL)
        status = pg_create(&sides->target_address, sides->target_settings, job->stop, &sides->target, error);
    job->source = sides->source;
    job->target = sides->target;
    return status;
}

enum status job_sides_open(struct job_sides *sides, const struct options *options, struct stop *stop,
                           struct error *error)
{
    static const struct pg_setting none[1] = {{NULL, NULL}};
    enum status status = pg_address_init(&sides->source_address, options->source, "source", error);

    if (status == STATUS_OK)
        status = pg_address_init(&sides->target_address, options->target, "target", error);
    if (status == STATUS_OK)
        status = pg_create(&sides->source_address, none, stop, &sides->source_names, error);
    if (status == STATUS_OK)
        status = pg_create(&sides->target_address, none, stop, &sides->target_names, error);
    return status;
}

void job_sides_close(struct job_sides *sides)
{
    pg_free(sides->source);
    pg_free(sides->target);
    pg_free(sides->source_names);
    pg_free(sides->target_names);
    pg_address_reset(&sides->source_address);
    pg_address_reset(&sides->target_address);
    free(sides->encoding);
    *sides = (struct job_sides){0};
}

static bool same_table(const struct table *a, const struct table *b)
{
    return a->oid == b->oid && a->system_identifier[0] != '\0' &&
           strcmp(a->system_identifier, b->system_identifier) == 0 && strcmp(a->database, b->database) == 0;
}

static enum status find_source(struct job *job, struct error *error)
{
    const struct options *options = job->options;
    const char *name = options->source_table != NULL ? options->source_table : options->table;
    enum status status = pg_address_init(&job->source_address, options->source, "source", error);

    if (status == STATUS_OK && job->sides != NULL)
        job->source = job->sides->source_names;
    else if (status == STATUS_OK)
        status = pg_create(&job->source_address, job->source_settings, job->stop, &job->source, error);
    if (status == STATUS_OK)
        status = pg_connect(job->source, error);
    if (status == STATUS_OK)
        status = describe(job->source, name, job->table.time_name, false, &job->source_table, error);
    if (status == STATUS_OK)
        status = job_check_time(job, error);
    if (status == STATUS_OK && same_table(&job->source_table, &job->table))
        return error_set(error, STATUS_USAGE, "source and target are the same table %s of the same database",
                         job->table.sql);
    return status;
}

/* Connects both sides anew, with the settings that the job's sessions have. */
static enum status settle(struct job *job, struct error *error)
{
    enum status status = STATUS_OK;

    add_settings(job->source_settings, job->target_settings, job->source_table.server_encoding);
    if (job->sides != NULL) {
        status = job_settle_sides(job, error);
    } else {
        pg_disconnect(job->source);
        pg_disconnect(job->target);
    }
    if (status == STATUS_OK)
        status = pg_connect(job->source, error);
    if (status == STATUS_OK)
        status = pg_connect(job->target, error);
    return status;
}

enum status job_open_postgres(struct job *job, struct error *error)
{
    enum status status = find_source(job, error);

    if (status == STATUS_OK)
        status = settle(job, error);
    job->postgres = (struct postgres_source){
        .address = &job->source_address,
        .settings = job->source_settings,
        .table = &job->source_table,
        .memory_bytes = job->options->memory_bytes,
    };
    return status;
}
