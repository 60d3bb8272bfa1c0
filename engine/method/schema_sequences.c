/*
 * Where sequences stand. Those of the target only ever move on: what the source has given out already must not come
 * once more there, and neither what the target itself has.
 */
#include "engine/method/schema_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/log.h"

/* As the source has it. */
struct sequence {
    const char *sql;            /* quoted and qualified */
    const char *table, *column; /* of whose column it is; table quoted and qualified; "" of nobody's */
    const char *ascends;        /* t or f */
    const char *last, *called;
};

/* By how far it must be for the next value, in numbers that do not overflow. */
#define NEXT "s.last_value::numeric + CASE WHEN s.is_called THEN p.seqincrement ELSE 0 END"

/*
 * The target's sequence: that of the same column, whatever its name, else that of the same name. *name (caller frees)
 * is NULL where there is none; *ours: this role may alter it.
 */
static enum status find_there(const struct schema *schema, const struct sequence *sequence, char **name, bool *ours,
                              struct error *error)
{
    struct sql query = {0};
    PGresult *result = NULL;
    enum status status;

    sql_add(&query,
            "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.pg_has_role(c.relowner,"
            " 'USAGE') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " LEFT JOIN (SELECT d.objid, true AS same FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a"
            " ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.classid ="
            " 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass"
            " AND d.deptype IN ('a', 'i') AND d.refobjid = pg_catalog.to_regclass(nullif(");
    sql_add_literal(&query, sequence->table);
    sql_add(&query, ", '')) AND a.attname = ");
    sql_add_literal(&query, sequence->column);
    sql_add(&query, ") owned ON owned.objid = c.oid WHERE c.relkind = 'S' AND (owned.same OR c.oid ="
                    " pg_catalog.to_regclass(");
    sql_add_literal(&query, sequence->sql);
    sql_add(&query, ")) ORDER BY owned.same NULLS LAST LIMIT 1");
    status = pg_run(schema->target.pg, query.text, &result, error);
    sql_reset(&query);
    *name = NULL;
    *ours = false;
    if (status == STATUS_OK && PQntuples(result) == 1) {
        *name = strdup(PQgetvalue(result, 0, 0));
        *ours = PQgetvalue(result, 0, 1)[0] == 't';
    }
    PQclear(result);
    return status;
}

/* FROM … WHERE: gives a row if the target's next value is one that the source has passed. */
static void add_behind(struct sql *sql, const struct sequence *sequence, const char *name)
{
    sql_add(sql, " FROM %s s, pg_catalog.pg_sequence p WHERE p.seqrelid = ", name);
    sql_add_literal(sql, name);
    sql_add(sql, "::pg_catalog.regclass AND " NEXT " %s '%s'::numeric", sequence->ascends[0] == 't' ? "<" : ">",
            sequence->last);
    if (sequence->called[0] == 't')
        sql_add(sql, " + p.seqincrement");
}

static void add_move(struct sql *sql, const struct sequence *sequence, const char *name)
{
    sql_add(sql, "SELECT pg_catalog.setval(");
    sql_add_literal(sql, name);
    sql_add(sql, ", %s, %s)", sequence->last, sequence->called[0] == 't' ? "true" : "false");
}

/*
 * Altering it, to the increment that it has, keeps values from being taken between the look and the move: a lock of
 * its own is nothing a sequence can have. As short as that, because whoever wants a value waits meanwhile.
 */
static enum status lock_text(const struct schema *schema, const char *name, struct sql *sql, struct error *error)
{
    struct sql query = {0};
    char *increment = NULL;
    enum status status;

    sql_add(&query, "SELECT seqincrement FROM pg_catalog.pg_sequence WHERE seqrelid = ");
    sql_add_literal(&query, name);
    sql_add(&query, "::pg_catalog.regclass");
    status = pg_value(schema->target.pg, query.text, &increment, error);
    if (status == STATUS_OK && increment != NULL)
        sql_add(sql, "SET LOCAL lock_timeout = '10s'; ALTER SEQUENCE %s INCREMENT BY %s;\n", name, increment);
    sql_reset(&query);
    free(increment);
    return status;
}

static enum status move(struct schema *schema, const struct sequence *sequence, const char *name, bool ours,
                        struct error *error)
{
    struct sql sql = {0}, title = {0};
    char *behind = NULL;
    enum status status;

    sql_add(&sql, "SELECT 1");
    add_behind(&sql, sequence, name);
    status = pg_value(schema->target.pg, sql.text, &behind, error);
    sql_reset(&sql);
    if (status == STATUS_OK && behind != NULL) {
        if (ours && !schema->request->dry_run)
            status = lock_text(schema, name, &sql, error);
        add_move(&sql, sequence, name);
        add_behind(&sql, sequence, name);
        sql_add(&title, "sequence %s", name);
        if (status == STATUS_OK)
            status = schema_do(schema, NULL, title.text, sql.text, NULL, false, error);
        schema->result->sequences += status == STATUS_OK;
    }
    sql_reset(&sql);
    sql_reset(&title);
    free(behind);
    return status;
}

/* A dry run prints what it would do when the sequence is made. */
static enum status move_unmade(struct schema *schema, const struct sequence *sequence, struct error *error)
{
    struct sql sql = {0};
    enum status status;

    add_move(&sql, sequence, sequence->sql);
    status = schema_do(schema, NULL, sequence->sql, sql.text, NULL, false, error);
    schema->result->sequences += status == STATUS_OK;
    sql_reset(&sql);
    return status;
}

static enum status read_state(const struct schema *schema, struct sequence *sequence, PGresult **state,
                              struct error *error)
{
    enum status status =
        pg_runf(schema->source.pg, state, error, "SELECT last_value, is_called FROM %s", sequence->sql);

    if (status != STATUS_OK) {
        error_prefix(error, "sequence %s of the source", sequence->sql);
        return status;
    }
    sequence->last = PQgetvalue(*state, 0, 0);
    sequence->called = PQgetvalue(*state, 0, 1);
    return STATUS_OK;
}

static enum status move_sequence(struct schema *schema, struct sequence *sequence, struct error *error)
{
    bool is_column = sequence->column[0] != '\0', unmade, ours;
    PGresult *state = NULL;
    char *name = NULL;
    enum status status = find_there(schema, sequence, &name, &ours, error);

    unmade = name == NULL && schema->request->dry_run && !schema->request->sequences_only;
    if (status == STATUS_OK && (name != NULL || unmade))
        status = read_state(schema, sequence, &state, error);
    if (status == STATUS_OK && name != NULL)
        status = move(schema, sequence, name, ours, error);
    else if (status == STATUS_OK && unmade)
        status = move_unmade(schema, sequence, error);
    else if (status == STATUS_OK && schema->request->sequences_only)
        schema_leave_out(schema, "sequence %s of the source: the target has none of that name%s%s%s%s", sequence->sql,
                         is_column ? ", and none for " : "", sequence->table, is_column ? "." : "", sequence->column);
    PQclear(state);
    free(name);
    return status;
}

/* Those of partitions are left out with them: a hypertable has its own. */
enum status schema_move_sequences(struct schema *schema, struct error *error)
{
    char *ledger = pg_literal(schema->request->ledger_schema);
    PGresult *result = NULL;
    enum status status = pg_runf(
        schema->source.pg, &result, error,
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname),"
        " coalesce(pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.relname), ''), "
        "coalesce(a.attname, ''),"
        " s.seqincrement > 0 FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid"
        " LEFT JOIN (pg_catalog.pg_depend o JOIN pg_catalog.pg_class t ON t.oid = o.refobjid"
        " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace JOIN pg_catalog.pg_attribute a"
        " ON a.attrelid = t.oid AND a.attnum = o.refobjsubid) ON o.classid = 'pg_catalog.pg_class'::regclass"
        " AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.deptype IN ('a', 'i') AND o.objid = c.oid"
        " WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND t.relispartition IS NOT TRUE AND n.nspname <> %s "
        "AND" SCHEMA_NOT_OURS " ORDER BY 1",
        ledger);

    for (int row = 0; status == STATUS_OK && row < PQntuples(result); row++) {
        struct sequence sequence = {
            .sql = PQgetvalue(result, row, 0),
            .table = PQgetvalue(result, row, 1),
            .column = PQgetvalue(result, row, 2),
            .ascends = PQgetvalue(result, row, 3),
        };

        status = move_sequence(schema, &sequence, error);
    }
    PQclear(result);
    free(ledger);
    return status;
}
