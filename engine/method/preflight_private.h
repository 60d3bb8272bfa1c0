/* Between the files of preflight: what a check says, and the checks. */
#pragma once

#include "engine/method/preflight.h"

/* What one check has found: sentences by level; the highest level is the line's. */
struct finding {
    enum finding_level level;
    struct sql texts[FINDING_PROBLEM + 1];
};

void finding_say(struct finding *finding, enum finding_level level, const char *format, ...) PRINTF_LIKE(3, 4);

/* Runs a query whose rows are a level (0 to 2) and a sentence. */
MUST_CHECK enum status finding_ask(struct finding *finding, struct pg *pg, const char *sql, struct error *error);

/* The first row of an answer, which has one; the caller clears *result. */
MUST_CHECK enum status preflight_ask(struct pg *pg, const char *sql, PGresult **result, struct error *error);

/* "'{1,2}'::oid[]": tables of the job that were found on the side. */
void preflight_add_oids(struct sql *sql, const struct preflight *preflight, bool target);

/* Each says something; STATUS_SERVER with SQLSTATE 42501 is made a warning by the caller. */
MUST_CHECK enum status check_servers(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_timescaledb(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_extensions(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_encodings(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_timezones(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_clocks(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_connections(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_locks(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_tables(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_disk(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_privileges(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_replication(struct preflight *preflight, struct finding *finding, struct error *error);
MUST_CHECK enum status check_policies(struct preflight *preflight, struct finding *finding, struct error *error);
