/* Rows of others where a piece is the first of its range: refused, deleted, or let be. */
#include <inttypes.h>

#include "writers/append_private.h"
#include "writers/overlap.h"

/* Where rows of others are; only to be read from. */
static struct table heeded_table(const struct append_session *session)
{
    struct table table = *session->target->table;

    if (session->entered && session->build->way->place != NULL)
        table.sql = (char *)session->build->way->place(session->build);
    return table;
}

static enum status refuse_rows(struct append_session *session, struct range range, struct error *error)
{
    const struct table table = heeded_table(session);
    struct overlap_report report = {0};
    bool any;
    enum status status = overlap_any(session->pg, &table, range, &any, error);

    if (status == STATUS_OK && any)
        status = overlap_count(session->pg, &table, &range, 1, &report, error);
    if (status != STATUS_OK || !any)
        return status;
    return error_set(error, STATUS_DATA,
                     "the range already has %" PRId64 " rows, which this job did not load; nothing was changed. Choose"
                     " --overlap replace to delete them, --overlap keep to load beside them, or an earlier --until",
                     report.rows);
}

enum status append_heed_overlap(struct append_session *session, struct range range, struct error *error)
{
    const struct table table = heeded_table(session);

    switch (session->target->overlap) {
    case OVERLAP_RULE_ERROR: return refuse_rows(session, range, error);
    case OVERLAP_RULE_REPLACE: return overlap_delete(session->pg, &table, table.sql, range, error);
    case OVERLAP_RULE_KEEP: break;
    }
    return STATUS_OK;
}
