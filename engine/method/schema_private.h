/* Between the files of schema: what is known of both sides, and the one way to change the target. */
#pragma once

#include "engine/method/schema.h"
#include "engine/method/schema_dump.h"
#include "engine/method/schema_tool.h"

struct schema_side {
    struct pg *pg;
    int major;         /* of the server */
    char *timescaledb; /* version; NULL: the extension is not there */
    char *namespace;   /* of the extension, unquoted; NULL as well */
    bool community;
};

struct schema_dimension {
    char *column;
    bool is_space;
    char *interval; /* as SQL: INTERVAL '7 days', or a number; NULL: not said */
    char *type;     /* pg_type's name of an open dimension's column */
    char *slices;   /* of a space dimension, a number */
    char *function; /* partitioning function as a literal of regproc, NULL: the default */
    char *now;      /* integer-now function, the same */
};

struct schema_hypertable {
    char *schema, *name;
    char *sql; /* quoted and qualified */
    struct schema_dimension *dimensions;
    size_t dimension_count;
};

/* A row of the ledger's table of steps. */
struct schema_step {
    char *kind, *name, *source_hash, *target_hash;
};

struct schema {
    const struct schema_request *request;
    struct schema_result *result;
    struct schema_side source, target;
    struct schema_tool tool;
    char *source_key; /* whose steps in the ledger are ours */
    char *snapshot;   /* of the source, that all is read in */
    char *step_table; /* quoted and qualified */
    struct schema_hypertable *hypertables;
    size_t hypertable_count;
    char **partitions; /* of native tables that become hypertables, quoted and qualified */
    size_t partition_count;
    char **late;                        /* "schema.name" of continuous aggregates, and of what selects from them */
    size_t late_count, aggregate_count; /* aggregates come first */
    struct schema_dump source_dump, target_dump;
    bool target_dumped;        /* else no pg_dump can read the target, and only the ledger tells what is there */
    struct schema_step *steps; /* sorted by kind and name */
    size_t step_count;
    char **roles; /* of the target, that this role may give things to; sorted */
    size_t role_count;
};

/* ---- schema.c */

/* Says that something of the source is not in the target, and why. */
void schema_leave_out(struct schema *schema, const char *format, ...) PRINTF_LIKE(2, 3);

/* New arrays of texts: the first column of what the query gives. */
MUST_CHECK enum status schema_texts(struct pg *pg, const char *query, char ***texts, size_t *count,
                                    struct error *error);
void schema_texts_free(char **texts, size_t count);

/* Doubles the room of an array at each power of two. */
void *schema_grown(void *array, size_t count, size_t size);

/* A field of a result as a new string; NULL if it is NULL. */
char *schema_field(const PGresult *result, int row, const char *column);

/* The row with this first field; -1: none, or no result. */
int schema_find_row(const PGresult *result, const char *first);

/* ---- schema_ledger.c */

MUST_CHECK enum status schema_ledger_prepare(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_ledger_read(struct schema *schema, struct error *error);
void schema_ledger_free(struct schema *schema);
const struct schema_step *schema_ledger_find(const struct schema *schema, const char *kind, const char *name);

/* Adds the statement that records a step; `rows` -1: not of rows. */
void schema_ledger_add(struct sql *sql, const struct schema *schema, const char *kind, const char *name,
                       const char *source_text, int64_t rows);

/* 32 hexadecimal digits. */
void schema_hash(const char *text, char hash[33]);

/*
 * The one way to change the target: runs the statements in a transaction with the ledger's row for them, or prints them
 * if nothing is to be changed. kind NULL: no row. `optional`: what the server refuses for want of a privilege, role or
 * file is left out, with a warning that begins with `name`.
 */
MUST_CHECK enum status schema_do(struct schema *schema, const char *kind, const char *name, const char *statements,
                                 const char *source_text, bool optional, struct error *error);

/* ---- schema_entries.c */

/* Dumps a side. The names of hypertables must be known. */
MUST_CHECK enum status schema_dump_side(struct schema *schema, const struct schema_side *side,
                                        const struct pg_address *address, const char *snapshot,
                                        struct schema_dump *dump, struct error *error);

enum schema_section { SCHEMA_BEFORE_ROWS, SCHEMA_AFTER_ROWS, SCHEMA_LATE };

/* Makes the entries of the section that the target has not. STATUS_SERVER for one that is there and differs. */
MUST_CHECK enum status schema_make_entries(struct schema *schema, enum schema_section section, struct error *error);

/* Dumps the target once more, and records what was made as it stands there now. */
MUST_CHECK enum status schema_record_entries(struct schema *schema, struct error *error);

/* ---- schema_hypertable.c, schema_named.c */

/* The source's hypertables, and those that --hypertable names. */
MUST_CHECK enum status schema_find_hypertables(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_find_named(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_make_hypertables(struct schema *schema, struct error *error);
bool schema_is_hypertable(const void *context, const char *schema_name, const char *name);
void schema_hypertables_free(struct schema *schema);

/* ---- schema_aggregate.c, schema_policy.c */

/* Finds the continuous aggregates, and the views that select from them. */
MUST_CHECK enum status schema_find_late(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_set_columnstore(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_make_aggregates(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_make_policies(struct schema *schema, struct error *error);

/* ---- schema_rows.c, schema_sequences.c, schema_roles.c */

/* A condition: what is neither the server's nor an extension's nor ours, by c of pg_class and n of pg_namespace. */
#define SCHEMA_NOT_OURS                                                                                                \
    " n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE '\\_timescaledb\\_%%'" \
    " AND n.nspname NOT LIKE 'timescaledb\\_%%' AND n.nspname NOT LIKE 'hyperfill\\_bench\\_%%'"                       \
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass"            \
    " AND d.objid = c.oid AND d.deptype = 'e')"

MUST_CHECK enum status schema_copy_rows(struct schema *schema, struct error *error);
/* Each sequence of the target to where the source's stands, unless it is beyond that. */
MUST_CHECK enum status schema_move_sequences(struct schema *schema, struct error *error);
MUST_CHECK enum status schema_make_roles(struct schema *schema, struct error *error);
