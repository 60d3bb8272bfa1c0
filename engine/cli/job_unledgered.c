/* --ledger none: what is done stands in the checkpoint file alone, and whatever else the ledger keeps is not to be had.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cli/job.h"

/* Options that need more than to know which ranges are done. */
static const char *option_in_need(const struct options *options)
{
    const struct {
        bool given;
        const char *name;
    } needs[] = {
        {options->on_bad_row == BAD_ROW_REJECT, "--on-bad-row reject"},
        {options->on_conflict == ON_CONFLICT_SKIP, "--on-conflict skip"},
        {options->strategy == STRATEGY_BUILD, "--strategy build"},
        {options->strategy == STRATEGY_COMPRESS, "--strategy compress"},
        {options->defer_indexes, "--defer-indexes"},
        {options->compress_after, "--compress-after"},
        {options->late != NULL, "--late"},
        {options->cascade, "--cascade"},
    };

    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i].given)
            return needs[i].name;
    return NULL;
}

enum status job_unledgered_check(const struct job *job, struct error *error)
{
    const char *name = option_in_need(job->options);

    if (job->options->ledger != LEDGER_NONE)
        return STATUS_OK;
    if (job->kind == SOURCE_STREAM)
        return error_set(error, STATUS_USAGE,
                         "--ledger none is for a source that can be asked for one range again, a database or exec: with"
                         " {from} and {until}: of a file only a ledger knows exactly which rows are in. A role that may"
                         " not make a schema can use one that an owner has made for it: --ledger-schema");
    if (job->options->overlap != OVERLAP_REPLACE)
        return error_set(error, STATUS_USAGE,
                         "--ledger none needs --overlap replace: a range of which it is not known whether it was loaded"
                         " is emptied, and loaded again, whoever's rows it holds");
    if (name != NULL)
        return error_set(error, STATUS_USAGE, "%s keeps in the ledger what it must not forget: not with --ledger none",
                         name);
    return STATUS_OK;
}

/* The ranges that are done; sorted as the ledger's rows are. */
static enum status take_pieces(struct job *job, const struct checkpoint_state *state, struct error *error)
{
    job->rows = calloc(state->piece_count + 1, sizeof *job->rows);
    if (job->rows == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    for (size_t i = 0; i < state->piece_count; i++) {
        const struct checkpoint_piece *piece = &state->pieces[i];

        job->rows[job->row_count++] = (struct ledger_row){
            .input = piece->input,
            .range = {piece->lo, piece->hi},
            .mark = piece->mark,
            .rows = piece->rows,
            .bytes = piece->bytes,
        };
        job->rows_before += piece->rows;
        job->bytes_before += piece->bytes;
    }
    return STATUS_OK;
}

enum status job_unledgered_resume(struct job *job, const struct checkpoint_state *state, struct error *error)
{
    const char *layout_text = checkpoint_state_text(state, "layout");
    struct layout *layout = NULL;
    enum status status;

    /* Without the edges of its ranges nothing that it says of them is of use. */
    if (!job->ledger.none || !state->exists || state->job[0] == '\0' || layout_text == NULL)
        return STATUS_OK;
    status = layout_from_text(layout_text, &layout, error);
    if (status == STATUS_OK)
        status = take_pieces(job, state, error);
    if (status != STATUS_OK) {
        layout_free(layout);
        return status;
    }
    layout_free(job->layout);
    job->layout = layout;
    free(job->layout_text);
    job->layout_text = strdup(layout_text);
    free(job->created);
    job->created = strdup(state->created);
    if (job->layout_text == NULL || job->created == NULL)
        return error_set(error, STATUS_SYSTEM, "out of memory");
    job->resumed = true;
    job->finished = state->end == CHECKPOINT_COMPLETE && !state->damaged;
    job_share_layout(job);
    return STATUS_OK;
}
