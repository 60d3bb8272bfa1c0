/* `hyperfill policies pause|restore|show`: background jobs of a table in the target, by hand. */
#include <stdio.h>
#include <string.h>

#include "engine/cli/commands.h"
#include "engine/log.h"
#include "engine/method/policies.h"

struct policies_place {
    struct ledger ledger;
    struct table table;
    struct stop *stop;
    struct pg *pg;
};

static const char *kind_word(enum policy_kind kind)
{
    switch (kind) {
    case POLICY_RETENTION: return "retention";
    case POLICY_COMPRESSION: return "compression";
    case POLICY_REORDER: return "reorder";
    case POLICY_REFRESH: break;
    }
    return "refresh";
}

static void print_json_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char)*text < ' ')
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static const char *state_of(const struct policy_job *job)
{
    if (job->scheduled)
        return job->running ? "running" : "on";
    return job->since != NULL ? "paused" : "off";
}

static void show_json(const struct policy_list *list)
{
    printf("{\"policies\":[");
    for (size_t i = 0; i < list->count; i++) {
        const struct policy_job *job = &list->items[i];

        printf("%s{\"job_id\":%d,\"kind\":\"%s\",\"relation\":", i == 0 ? "" : ",", job->id, kind_word(job->kind));
        print_json_text(job->relation);
        printf(",\"owner\":");
        print_json_text(job->owner);
        printf(",\"state\":\"%s\",\"running\":%s,\"may_alter\":%s,\"runs\":%d,\"by_hand\":%s", state_of(job),
               job->running ? "true" : "false", job->may_alter ? "true" : "false", job->runs,
               job->hands > 0 ? "true" : "false");
        if (job->since != NULL) {
            printf(",\"paused\":");
            print_json_text(job->since);
        }
        putchar('}');
    }
    printf("]}\n");
}

static void show_text(const struct policy_list *list, const struct table *table)
{
    if (list->count == 0)
        printf("%s has no policies that a load would have to pause\n", table->sql);
    for (size_t i = 0; i < list->count; i++) {
        const struct policy_job *job = &list->items[i];
        char text[POLICY_TEXT_MAX], time[TIME_TEXT_MAX];

        printf("%-8s %s", state_of(job), policy_text(job, text));
        if (job->since != NULL && !job->scheduled)
            printf(", since %s, %s", job->since,
                   job->runs > 0    ? "for a run that goes on"
                   : job->hands > 0 ? "by hand"
                                    : "left by a run: hyperfill policies restore");
        if (job->has_horizon)
            printf(", drops what is before %s", time_format(table->time.type, job->horizon, time));
        if (!job->may_alter)
            printf(", may only be switched by %s", job->owner);
        putchar('\n');
    }
}

static enum status show(struct policies_place *place, bool json, struct error *error)
{
    struct policy_list list;
    enum status status = policies_read(place->pg, &place->ledger, &place->table, &list, error);

    if (status != STATUS_OK)
        return status;
    if (json)
        show_json(&list);
    else
        show_text(&list, &place->table);
    policies_reset(&list);
    return STATUS_OK;
}

static enum status pause_by_hand(struct policies_place *place, struct error *error)
{
    const struct policies_switch how = {.ledger = &place->ledger, .table = &place->table};
    struct policy_list list;
    size_t paused = 0;
    bool any = false;
    enum status status = policies_read(place->pg, &place->ledger, &place->table, &list, error);

    for (size_t i = 0; i < list.count; i++)
        any = any || list.items[i].scheduled || list.items[i].since != NULL;
    policies_reset(&list);
    /* Not even the ledger is made. */
    if (status == STATUS_OK && any)
        status = policies_pause(place->pg, &how, &paused, error);
    if (status != STATUS_OK)
        return status;
    printf("%zu polic%s of %s paused\n", paused, paused == 1 ? "y" : "ies", place->table.sql);
    return any ? policies_wait(place->pg, &place->ledger, &place->table, place->stop, error) : STATUS_OK;
}

static enum status restore(struct policies_place *place, bool allow_drop, struct error *error)
{
    const struct policies_switch how = {
        .ledger = &place->ledger, .table = &place->table, .allow_drop = allow_drop, .waits = true};
    struct policies_restored restored;
    enum status status = policies_restore(place->pg, &how, true, &restored, error);

    if (status != STATUS_OK)
        return status;
    printf("%zu polic%s of %s restored\n", restored.on, restored.on == 1 ? "y" : "ies", place->table.sql);
    if (restored.held > 0)
        printf("%zu stay%s paused for a run that loads the table now, which restores %s\n", restored.held,
               restored.held == 1 ? "s" : "", restored.held == 1 ? "it" : "them");
    return STATUS_OK;
}

static void notice(enum stop_level level)
{
    (void)level;
    log_line(LOG_NOTICE, "stopping");
}

static enum status act(struct policies_place *place, const struct options *options, struct error *error)
{
    if (strcmp(options->action, "show") == 0)
        return show(place, options->json, error);
    if (strcmp(options->action, "pause") == 0)
        return pause_by_hand(place, error);
    return restore(place, options->allow_drop, error);
}

enum status command_policies(const struct options *options, struct error *error)
{
    const struct pg_setting none[1] = {{NULL, NULL}};
    struct pg_address address = {0};
    struct signals *signals = NULL;
    struct policies_place place = {0};
    enum status status;

    ledger_init(&place.ledger, options->ledger_schema, "");
    status = stop_create(&place.stop, error);
    if (status == STATUS_OK)
        status = signals_start(place.stop, notice, &signals, error);
    if (status == STATUS_OK)
        status = pg_address_init(&address, options->target, "target", error);
    if (status == STATUS_OK)
        status = pg_create(&address, none, place.stop, &place.pg, error);
    if (status == STATUS_OK)
        status = pg_connect(place.pg, error);
    if (status == STATUS_OK)
        status = table_describe(place.pg, options->table, options->time_column, true, &place.table, error);
    if (status == STATUS_OK)
        status = act(&place, options, error);
    pg_free(place.pg);
    signals_finish(signals);
    table_reset(&place.table);
    ledger_reset(&place.ledger);
    pg_address_reset(&address);
    stop_free(place.stop);
    return status;
}
