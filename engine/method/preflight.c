/* The table of checks, and how they are gone through. */
#include "engine/method/preflight_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum status (*run)(struct preflight *preflight, struct finding *finding, struct error *error);
} checks[] = {
    {"servers", check_servers},
    {"tables", check_tables},
    {"timescaledb", check_timescaledb},
    {"extensions", check_extensions},
    {"privileges", check_privileges},
    {"disk", check_disk},
    {"replication", check_replication},
    {"policies", check_policies},
    {"encodings", check_encodings},
    {"time zones", check_timezones},
    {"clocks", check_clocks},
    {"connections", check_connections},
    {"locks", check_locks},
};

void finding_say(struct finding *finding, enum finding_level level, const char *format, ...)
{
    char text[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sql_add(&finding->texts[level], "%s%s", finding->texts[level].size > 0 ? "; " : "", text);
    if (level > finding->level)
        finding->level = level;
}

enum status finding_ask(struct finding *finding, struct pg *pg, const char *sql, struct error *error)
{
    PGresult *result = NULL;
    enum status status = pg_run(pg, sql, &result, error);

    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
        finding_say(finding, (enum finding_level)(PQgetvalue(result, i, 0)[0] - '0'), "%s", PQgetvalue(result, i, 1));
    PQclear(result);
    return status;
}

void preflight_add_oids(struct sql *sql, const struct preflight *preflight, bool target)
{
    const char *before = "";

    sql_add(sql, "'{");
    for (size_t i = 0; i < preflight->table_count; i++) {
        const struct preflight_table *table = &preflight->tables[i];

        if (target ? !table->in_target : !table->in_source)
            continue;
        sql_add(sql, "%s%u", before, target ? table->target.oid : table->source.oid);
        before = ",";
    }
    sql_add(sql, "}'::oid[]");
}

/* Problems first, then what is only a warning; what is well is said where nothing else is. */
static void report(struct preflight *preflight, const char *name, struct finding *finding)
{
    struct sql line = {0};

    for (int level = (int)finding->level; level >= FINDING_OK; level--)
        if (finding->texts[level].size > 0 && (level > FINDING_OK || finding->level == FINDING_OK))
            sql_add(&line, "%s%s", line.size > 0 ? "; " : "", finding->texts[level].text);
    preflight->warnings += finding->level == FINDING_WARNING;
    preflight->problems += finding->level == FINDING_PROBLEM;
    preflight->report(preflight->context, finding->level, name, line.size > 0 ? line.text : "nothing to say");
    sql_reset(&line);
    for (int level = FINDING_OK; level <= FINDING_PROBLEM; level++)
        sql_reset(&finding->texts[level]);
}

enum status preflight_run(struct preflight *preflight, struct error *error)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct finding finding = {0};
        enum status status = checks[i].run(preflight, &finding, error);

        if (status == STATUS_SERVER || status == STATUS_USAGE) {
            finding_say(&finding, FINDING_WARNING, "could not be looked at: %s", error->text);
            error_reset(error);
            status = STATUS_OK;
        }
        if (status == STATUS_OK)
            report(preflight, checks[i].name, &finding);
        for (int level = FINDING_OK; level <= FINDING_PROBLEM; level++)
            sql_reset(&finding.texts[level]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void preflight_reset(struct preflight *preflight)
{
    for (size_t i = 0; i < preflight->table_count; i++) {
        table_reset(&preflight->tables[i].source);
        table_reset(&preflight->tables[i].target);
    }
}
