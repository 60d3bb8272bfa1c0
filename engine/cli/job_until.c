/* Whether --until can be right. */
#include "engine/cli/job.h"
#include "engine/cli/names.h"
#include "engine/method/completion.h"
#include "engine/method/until_check.h"

/* By hyperfill completion-point. */
static bool is_measured(struct job *job)
{
    struct error error;
    bool covers;

    error_reset(&error);
    return completion_covers(job->target, job->options->ledger_schema, &job->source_table, &job->table, job->window.hi,
                             &covers, &error) == STATUS_OK &&
           covers;
}

_Static_assert(JOB_UNTIL_MAX == UNTIL_CHECK_MAX, "one text");

void job_check_until(struct job *job, char text[JOB_UNTIL_MAX])
{
    struct bucket_columns columns = {0};
    struct names names = {0};
    struct error error;

    text[0] = '\0';
    if (job->kind != SOURCE_POSTGRES || job->window.hi == INT64_MAX)
        return;
    error_reset(&error);
    if ((job->options->columns == NULL || names_split(&names, job->options->columns, "columns", &error) == STATUS_OK) &&
        bucket_columns_choose(&job->source_table, &job->table, names.items, (size_t)names.count, &columns, &error) ==
            STATUS_OK)
        until_check(job->source, &job->source_table, job->target, &job->table, &columns, job->window.hi,
                    is_measured(job), text);
    bucket_columns_reset(&columns);
    names_reset(&names);
}
