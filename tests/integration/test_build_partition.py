"""Strategy build on native partitions: in the end each partition is what it was, with all its rows."""

import datetime
import threading
import time

import pytest

from harness import START, Database, create_cpu, fill_cpu
from test_build import open_builds
from test_kill import make_backfill

KIND = "pg15"
USAGE = 2
DATA = 3
UNTIL = "2024-04-01T00:00:00Z"
HOURS = 4

# All that can be seen of a table and its partitions from outside, by names.
RELATIONS = """
    SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, t.reloptions, c.relreplident, pg_get_userbyid(c.relowner),
           (SELECT array_agg(grants ORDER BY grants) FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))),
            concat_ws(' ', grantor::regrole, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type, is_grantable) grants),
           pg_get_expr(c.relpartbound, c.oid), obj_description(c.oid, 'pg_class'), c.reltablespace
    FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public' ORDER BY 1"""
COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation, a.attnotnull, a.attgenerated, a.attidentity,
           a.attstorage, a.attstattarget,
           (SELECT array_agg(o ORDER BY o) FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg_attver=%%'), a.attislocal, a.attinhcount, pg_get_expr(d.adbin, d.adrelid),
           col_description(c.oid, a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum"""
CONSTRAINTS = """
    SELECT r.conrelid::regclass::text, r.conname, r.contype, pg_get_constraintdef(r.oid), r.convalidated, r.conislocal, r.coninhcount,
           p.conrelid::regclass::text, p.conname, obj_description(r.oid, 'pg_constraint')
    FROM pg_constraint r LEFT JOIN pg_constraint p ON p.oid = r.conparentid
    WHERE r.connamespace = 'public'::regnamespace ORDER BY 1, 2"""
INDEXES = """
    SELECT i.indrelid::regclass::text, k.relname, pg_get_indexdef(k.oid), i.indisprimary, i.indisclustered, i.indisvalid, i.indisreplident,
           h.inhparent::regclass::text, obj_description(k.oid, 'pg_class'), pg_get_userbyid(k.relowner)
    FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid LEFT JOIN pg_inherits h ON h.inhrelid = k.oid
    WHERE k.relnamespace = 'public'::regnamespace ORDER BY 1, 2"""

EVERYTHING = '''
    CREATE TABLE tags (id int PRIMARY KEY);
    INSERT INTO tags SELECT generate_series(0, 99);
    ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id), ADD FOREIGN KEY (tags_id) REFERENCES tags, ADD CHECK (usage_user >= 0),
        ADD twice int GENERATED ALWAYS AS (tags_id * 2) STORED, ADD note text DEFAULT 'none', ALTER hostname SET STORAGE EXTERNAL;
    CREATE INDEX cpu_host ON cpu (hostname, time DESC) WITH (fillfactor = 80);
    CREATE UNIQUE INDEX cpu_unique ON cpu (tags_id, time);
    CREATE INDEX "odd ""name""" ON cpu (upper(hostname)) WHERE hostname <> E'two\\nlines';
    ALTER TABLE cpu_1 SET (fillfactor = 90, toast.autovacuum_enabled = off), ALTER usage_user SET STATISTICS 77,
        ALTER hostname SET (n_distinct = 5), ADD CONSTRAINT mine CHECK (usage_user < 1e9) ;
    CREATE INDEX own ON cpu_1 (usage_idle);
    CREATE INDEX ON cpu_1 ((usage_idle + 1));
    ALTER TABLE cpu_1 CLUSTER ON own;
    ALTER TABLE cpu_1 REPLICA IDENTITY USING INDEX cpu_1_pkey;
    ALTER TABLE cpu_2 REPLICA IDENTITY FULL;
    COMMENT ON TABLE cpu_1 IS 'it''s ours';
    COMMENT ON COLUMN cpu_1.usage_idle IS 'a column';
    COMMENT ON INDEX own IS 'an index';
    COMMENT ON CONSTRAINT cpu_1_pkey ON cpu_1 IS 'a key';
    COMMENT ON CONSTRAINT mine ON cpu_1 IS 'a check';
    ALTER INDEX cpu_1_expr_idx ALTER COLUMN 1 SET STATISTICS 55;
    ALTER TABLE cpu_2 RENAME TO "odd partition";
    ALTER INDEX cpu_2_hostname_time_idx RENAME TO "odd index";
    GRANT SELECT, INSERT ON cpu_1 TO public;
    GRANT SELECT ON "odd partition" TO clerk WITH GRANT OPTION'''


def make_source(servers, rows=30_000):
    source = servers[KIND].create_database()
    create_cpu(source, hypertable=False)
    fill_cpu(source, rows, hosts=10)
    source.execute("CREATE INDEX ON cpu (time)")
    return source


def make_target(server, more="", chunk="2 hours", hours=12):
    """Partitions of 2 hours, cpu_0 to cpu_5; rows of the source are in the first five."""
    target = server.create_database()
    create_cpu(target, hypertable="partitioned", chunk=chunk, until=START + datetime.timedelta(hours=hours))
    if target.value("SELECT to_regrole('clerk')") is None:
        target.execute("CREATE ROLE clerk LOGIN")
    if more:
        target.execute(more)
    return target


def shape(database):
    return [database.rows(query) for query in (RELATIONS, COLUMNS, CONSTRAINTS, INDEXES)]


def strays(database):
    return database.rows("SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'hyperfill\\_%' AND relnamespace <> 'hyperfill'::regnamespace")


def oids(database):
    return dict(database.rows("SELECT inhrelid::regclass::text, inhrelid::bigint FROM pg_inherits WHERE inhparent = 'cpu'::regclass"))


def built(before, after):
    """Names of partitions whose place another table has taken."""
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def arguments(source, target, *more):
    return ("--source", getattr(source, "conninfo", source), "--target", getattr(target, "conninfo", target), "--table", "cpu",
            "--until", UNTIL, *more)


def run(hyperfill, source, target, *more, check=0):
    return hyperfill.run("run", *arguments(source, target, "--strategy", "build", *more), check=check)


@pytest.mark.parametrize("kind, step", [("pg15", "2h"), ("pg15", "20m"), ("ts17", "2h"), ("ts18", "20m")])
def test_same_as_copy(servers, hyperfill, kind, step):
    source = make_source(servers)
    reference, target = make_target(servers[kind], EVERYTHING), make_target(servers[kind], EVERYTHING)
    columns = ", ".join(source.columns("cpu"))
    path = reference.server.folder / "reference.csv"
    source.copy_out("COPY cpu TO STDOUT (FORMAT csv)", path)
    reference.copy_in(f"COPY cpu ({columns}) FROM STDIN (FORMAT csv)", path)
    before = oids(target)
    result = run(hyperfill, source, target, "--range-interval", step, "--columns", columns, "--verbose")
    print(result.stderr)
    assert "inserted" not in result.stderr
    assert target.fingerprint("cpu") == reference.fingerprint("cpu")
    assert shape(target) == shape(reference)
    assert open_builds(target) == 0 and strays(target) == []
    # All with rows were built, and are frozen where one transaction did it.
    assert len(built(before, oids(target))) == 5
    # It works as before.
    for database in (target, reference):
        database.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{START + datetime.timedelta(hours=11)}', 1)")
    assert target.rows("SELECT note, twice FROM cpu WHERE note IS NOT NULL AND hostname IS NULL") == [("none", 2)]
    target.execute("DROP INDEX cpu_host; ALTER TABLE cpu DROP COLUMN note, DROP CONSTRAINT cpu_pkey")
