/* The checkpoint file of a run of several tables. */
#include "engine/cli/run_tables.h"

#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

void run_tables_changes(const struct set_run *set)
{
    if (set->tables.count > 0 && set->tables.items[0].run.job.options->ledger == LEDGER_NONE &&
        (set->before.damaged || set->before.torn))
        log_line(LOG_WARNING,
                 "the checkpoint file %s is damaged at its end: ranges that it does not name are loaded again",
                 set->path);
    else if (set->before.damaged)
        log_line(LOG_WARNING, "the checkpoint file %s is damaged at line %lld: rebuilt from the ledger in the target",
                 set->path, (long long)set->before.damaged_line);
    else if (set->before.torn)
        log_line(LOG_NOTICE, "the last line of the checkpoint file %s was cut off: completed from the ledger",
                 set->path);
    for (size_t i = 0; i < set->before.count; i++) {
        bool found = false;

        for (int32_t j = 0; j < set->tables.count && !found; j++)
            found = strcmp(set->before.parts[i].name, set->tables.items[j].part) == 0;
        if (!found && set->before.parts[i].state.job[0] != '\0')
            log_line(LOG_NOTICE, "%s is in the checkpoint file %s and is not named now: its part stays as it is",
                     set->before.parts[i].name, set->path);
    }
    for (int32_t j = 0; set->before.count > 0 && !set->before.damaged && j < set->tables.count; j++)
        if (checkpoint_set_part(&set->before, set->tables.items[j].part) == NULL && set->tables.items[j].planned)
            log_line(LOG_NOTICE, "%s is new in this job", set->tables.items[j].part);
}

/* What the file is to say of a table; `borrowed`: not from the run. */
static enum status part_of(struct set_run *set, struct table_run *table, struct checkpoint_part *part, bool *borrowed,
                           struct error *error)
{
    const struct checkpoint_part *old = checkpoint_set_part(&set->before, table->part);
    const struct job *job = &table->run.job;
    enum status status;

    *borrowed = !table->planned || (job->finished && old != NULL && old->state.end == CHECKPOINT_COMPLETE &&
                                    old->state.rejects_open == table->run.rejects.open);
    *part = (struct checkpoint_part){.name = table->part, .starts = true};
    if (*borrowed && old != NULL)
        part->state = old->state;
    else if (*borrowed)
        part->state = (struct checkpoint_state){.ranges_planned = -1, .rows_planned = -1, .bytes_planned = -1};
    if (*borrowed) {
        part->starts = !table->planned;
        return STATUS_OK;
    }
    status = run_state(&table->run, &part->state, error);
    part->state.ranges_planned = job->finished ? (int64_t)job->row_count : job->ranges_total;
    part->state.rows_planned = job->finished ? job->rows_before : job->rows_total;
    part->state.bytes_planned = job->finished ? job->bytes_before : job->bytes_total;
    /* Nothing is begun for one that is complete. */
    part->starts = !job->finished;
    if (job->finished) {
        part->state.runs += part->state.runs == 0;
        part->state.end = CHECKPOINT_COMPLETE;
    }
    return status;
}

enum status run_tables_rewrite(struct set_run *set, struct error *error)
{
    size_t room = (size_t)set->tables.count + set->before.count;
    struct checkpoint_set file = {.parts = calloc(room + 1, sizeof *file.parts)};
    bool *borrowed = calloc(room + 1, sizeof *borrowed);
    enum status status = STATUS_OK;

    if (file.parts == NULL || borrowed == NULL)
        status = error_set(error, STATUS_SYSTEM, "out of memory");
    for (int32_t i = 0; status == STATUS_OK && i < set->tables.count; i++, file.count++)
        status = part_of(set, &set->tables.items[i], &file.parts[file.count], &borrowed[file.count], error);
    for (size_t i = 0; status == STATUS_OK && i < set->before.count; i++) {
        if (checkpoint_set_part(&file, set->before.parts[i].name) != NULL || set->before.parts[i].state.job[0] == '\0')
            continue;
        borrowed[file.count] = true;
        file.parts[file.count++] = set->before.parts[i];
    }
    if (status == STATUS_OK)
        status = checkpoint_rewrite_set(set->checkpoint, &file, error);
    for (size_t i = 0; file.parts != NULL && borrowed != NULL && i < file.count; i++)
        if (!borrowed[i])
            run_state_reset(&file.parts[i].state);
    free(file.parts);
    free(borrowed);
    return status;
}
