/*
 * What pg_dump --schema-only printed, cut into its entries: one an object, comment or grant, each with the statements
 * that make it.
 *
 *     --
 *     -- Name: t; Type: TABLE; Schema: public; Owner: app
 *     --
 *
 *     CREATE TABLE public.t (…);
 *     ALTER TABLE public.t OWNER TO app;
 *
 * Entries are found where such a head stands outside of any literal, quoted name or function body.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/error.h"

struct schema_entry {
    char *name, *type, *schema, *owner; /* of the head; schema "-": none */
    char *sql;                          /* without what sets the owner */
    char *owner_sql;                    /* NULL: has none */
    bool after_rows; /* belongs behind the rows: indexes, constraints, triggers, and what hangs on them */
};

struct schema_dump {
    struct schema_entry *entries; /* in the order in which they can be made */
    size_t count;
    const struct schema_entry **by_key;
};

/* Whether a table is, or is to be, a hypertable. */
struct schema_names {
    bool (*is_hypertable)(const void *context, const char *schema, const char *name);
    const void *context;
};

/*
 * Entries of the extension's own are left out. Those of hypertables are written as a hypertable takes them: without
 * ONLY, without PARTITION BY.
 */
void schema_dump_parse(const char *text, const struct schema_names *names, struct schema_dump *dump);
void schema_dump_reset(struct schema_dump *dump);

/* The entry of the same object, or NULL. */
const struct schema_entry *schema_dump_find(const struct schema_dump *dump, const struct schema_entry *like);

/* "TABLE public.t", for messages and for the ledger; caller frees. */
char *schema_entry_name(const struct schema_entry *entry);
