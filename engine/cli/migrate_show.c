/* What people see of a migration: findings, the plan, the way so far, what they have to do. */
#include "engine/cli/migrate.h"

#include <stdlib.h>
#include <string.h>

#include "engine/cli/progress_private.h"
#include "engine/cli/text.h"

#define MARK_WIDTH 8
#define NAME_WIDTH 16

static const char *const level_names[] = {
    [FINDING_OK] = "ok", [FINDING_WARNING] = "warning", [FINDING_PROBLEM] = "problem"};

void migrate_show_finding(void *context, enum finding_level level, const char *check, const char *text)
{
    (void)context;
    printf("%-*s  %-12s  %s\n", MARK_WIDTH, level_names[level], check, text);
    fflush(stdout);
}

static bool is_skipped(const struct migrate *migrate, int step)
{
    return (migrate->job.skipped >> step & 1) != 0;
}

/* A step that was left out may still be done as long as none after it was. */
static bool is_past(const struct migrate *migrate, int step)
{
    for (int later = step + 1; later < migrate_step_count; later++)
        if (migration_state(&migrate->migration, migrate_steps[later].name) == STEP_DONE)
            return true;
    return false;
}

int migrate_next(const struct migrate *migrate)
{
    int step = 0;

    for (; step < migrate_step_count; step++) {
        enum step_state state = migration_state(&migrate->migration, migrate_steps[step].name);
        bool left_out = state == STEP_SKIPPED && (is_skipped(migrate, step) || is_past(migrate, step));

        if (state != STEP_DONE && !left_out)
            break;
    }
    return step;
}

static void print_table(const struct migrate *migrate, int index)
{
    const struct migrate_job *job = &migrate->job;
    const struct preflight_table *table = &migrate->preflight.tables[index];
    char count[NUMBER_TEXT_MAX], size[NUMBER_TEXT_MAX];
    const char *until = migrate_job_value(job, "until", index), *source = migrate_source_table(job, index);

    printf("  %s", job->tables[index].name);
    if (strcmp(source, job->tables[index].name) != 0)
        printf(" from %s", source);
    if (table->in_source && table->source.rows_estimate >= 0)
        printf("  about %s rows", count_format(table->source.rows_estimate, count));
    if (table->in_source && table->bytes >= 0)
        printf("  %s", size_format(table->bytes, size));
    printf("  until %s%s\n", until != NULL ? until : "the completion point",
           migrate_replaces(job, index) ? "; rows that the target has before it are replaced" : "");
}

void migrate_show_plan(const struct migrate *migrate)
{
    const struct migrate_job *job = &migrate->job;

    printf("\nmigration %s\n  from  %s\n  to    %s\ntables\n", job->name, migrate->source_address.display,
           migrate->target_address.display);
    for (int i = 0; i < (int)job->table_count; i++)
        print_table(migrate, i);
    printf("steps\n");
    for (int i = 0; i < migrate_step_count; i++)
        printf("  %2d  %-*s  %s%s%s\n", i + 1, NAME_WIDTH, migrate_steps[i].name, migrate_steps[i].title,
               migrate_steps[i].ask != NULL ? " (by you)" : "", is_skipped(migrate, i) ? " (left out)" : "");
    fflush(stdout);
}

void migrate_show_todo(const struct migrate *migrate, int step)
{
    printf("\nYour turn: %s\n%s\n\nThen go on: %s%s\n", migrate_steps[step].title, migrate_steps[step].todo,
           migrate->job.resume, migrate->options->action != NULL ? "" : " (it asks; --continue says that it is done)");
    fflush(stdout);
}

/* What the person can do about the step that is next. */
static const char *todo(const struct migrate *migrate, int step)
{
    enum step_state state =
        step < migrate_step_count ? migration_state(&migrate->migration, migrate_steps[step].name) : STEP_DONE;

    if (step == migrate_step_count)
        return NULL;
    return state == STEP_WAITING || state == STEP_FAILED ? migrate_steps[step].todo : NULL;
}

static void status_json(const struct migrate *migrate)
{
    struct json json = {.file = stdout};
    int next = migrate_next(migrate);

    json_open(&json, NULL, '{');
    json_text(&json, "migration", migrate->job.name);
    json_text(&json, "file", migrate->job.path);
    json_bool(&json, "done", next == migrate_step_count);
    json_text(&json, "next", next < migrate_step_count ? migrate_steps[next].name : NULL);
    json_text(&json, "todo", todo(migrate, next));
    json_open(&json, "steps", '[');
    for (int i = 0; i < migrate_step_count; i++) {
        const struct migration_row *row = migration_find(&migrate->migration, migrate_steps[i].name);

        json_open(&json, NULL, '{');
        json_text(&json, "step", migrate_steps[i].name);
        json_text(&json, "title", migrate_steps[i].title);
        json_bool(&json, "by_person", migrate_steps[i].ask != NULL);
        json_text(&json, "state", step_state_name(row != NULL ? row->state : STEP_OPEN));
        json_text(&json, "begun", row != NULL ? row->begun : NULL);
        json_text(&json, "ended", row != NULL ? row->ended : NULL);
        json_integer(&json, "attempts", row != NULL ? row->attempts : 0);
        /* As it stands in the ledger: JSON already. */
        printf(",\"result\":%s", row != NULL && row->result != NULL ? row->result : "null");
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    putchar('\n');
}

static const char *mark(const struct migration_row *row)
{
    static const char *const marks[] = {
        [STEP_OPEN] = "",         [STEP_RUNNING] = "begun",    [STEP_WAITING] = "waiting",
        [STEP_FAILED] = "failed", [STEP_SKIPPED] = "left out", [STEP_DONE] = "done",
    };

    return marks[row != NULL ? row->state : STEP_OPEN];
}

void migrate_show_status(const struct migrate *migrate, bool json)
{
    int next = migrate_next(migrate);

    if (json) {
        status_json(migrate);
        return;
    }
    printf("migration %s\n", migrate->job.name);
    for (int i = 0; i < migrate_step_count; i++) {
        const struct migration_row *row = migration_find(&migrate->migration, migrate_steps[i].name);

        printf("%s %-*s  %2d  %-*s  %-*s", i == next ? "→" : " ", MARK_WIDTH, mark(row), i + 1, NAME_WIDTH,
               migrate_steps[i].name, row != NULL ? 34 : 0, migrate_steps[i].title);
        if (row != NULL && row->begun != NULL)
            printf("  %s", row->ended != NULL ? row->ended : row->begun);
        if (row != NULL && row->attempts > 1)
            printf("  attempt %d", row->attempts);
        putchar('\n');
    }
    if (next == migrate_step_count)
        printf("\nThe migration is done.\n");
    else if (migrate_steps[next].ask != NULL &&
             migration_state(&migrate->migration, migrate_steps[next].name) == STEP_WAITING)
        migrate_show_todo(migrate, next);
    else
        printf("\nNext: %s. Go on: %s\n", migrate_steps[next].title, migrate->job.resume);
}
