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


def test_rows_are_not_looked_at_again(servers, hyperfill):
    """The CHECK on the bounds is what ATTACH wants to see: it does not look at the rows once more."""
    source, target = make_source(servers), make_target(servers[KIND])
    log_size = len(target.server.log())
    run(hyperfill, source, target.conninfo + " options='-c log_min_messages=debug1'")
    log = target.server.log()[log_size:]
    assert log.count("is implied by existing constraints") == 5, log


# ---- When it is not done


UNSUITED = {
    "trigger of the table": ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                             "CREATE TRIGGER t AFTER INSERT ON cpu FOR EACH STATEMENT EXECUTE FUNCTION f()", "triggers"),
    "row security": ("ALTER TABLE cpu ENABLE ROW LEVEL SECURITY", "row security"),
    "referred to": ("ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id);"
                    "CREATE TABLE other (time timestamptz, tags_id int, FOREIGN KEY (time, tags_id) REFERENCES cpu)", "foreign keys"),
    "default with rows": ("CREATE TABLE rest PARTITION OF cpu DEFAULT; INSERT INTO cpu (time) VALUES ('1990-01-01')", "default partition"),
    "published": ("CREATE PUBLICATION p FOR TABLE cpu", "published"),
    "all published": ("CREATE PUBLICATION p FOR ALL TABLES", "published"),
    "identity": ("ALTER TABLE cpu ALTER tags_id SET NOT NULL, ALTER tags_id ADD GENERATED ALWAYS AS IDENTITY", "identity"),
}
UNSUITED_PARTS = {
    "trigger": ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                "CREATE TRIGGER t AFTER INSERT ON cpu_1 FOR EACH ROW EXECUTE FUNCTION f()", "triggers"),
    "view": ("CREATE VIEW v AS SELECT * FROM cpu_1", "depends"),
    "row type": ("CREATE FUNCTION f() RETURNS SETOF cpu_1 LANGUAGE sql AS 'SELECT * FROM cpu_1'", "depends"),
    "referred to": ("ALTER TABLE cpu_1 ADD UNIQUE (tags_id); CREATE TABLE other (id int REFERENCES cpu_1 (tags_id))", "depends"),
    "sequence": ("CREATE SEQUENCE s OWNED BY cpu_1.tags_id", "depends"),
    "default": ("ALTER TABLE cpu_1 ALTER usage_idle SET DEFAULT 7", "default"),
    "statistics": ("CREATE STATISTICS s ON tags_id, hostname FROM cpu_1", "statistics"),
    "column privileges": ("GRANT SELECT (time) ON cpu_1 TO clerk", "privileges on columns"),
    "published": ("CREATE PUBLICATION p FOR TABLE cpu_1", "published"),
    "not valid": ("ALTER TABLE cpu_1 ADD CHECK (tags_id >= 0) NOT VALID", "not valid"),
    "divided": ("DROP TABLE cpu_1; CREATE TABLE cpu_1 PARTITION OF cpu FOR VALUES FROM ('2024-03-01 02:00Z') TO ('2024-03-01 04:00Z')"
                " PARTITION BY HASH (tags_id); CREATE TABLE cpu_1_0 PARTITION OF cpu_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0)", "divided"),
}


@pytest.mark.parametrize("case", UNSUITED)
def test_unsuited_table(servers, hyperfill, case):
    more, reason = UNSUITED[case]
    source, target = make_source(servers, rows=4000), make_target(servers[KIND], more)
    columns = ("--columns", ", ".join(column for column in source.columns("cpu") if column != "tags_id" or case != "identity"))
    assert reason in run(hyperfill, source, target, *columns, check=USAGE).stderr
    assert reason in hyperfill.run("plan", *arguments(source, target, *columns)).stdout
    before = oids(target)
    hyperfill.run("run", *arguments(source, target, *columns))
    assert oids(target) == before
    assert target.value(f"SELECT count(*) FROM cpu WHERE time >= '{START}'") == 4000


@pytest.mark.parametrize("case", UNSUITED_PARTS)
def test_unsuited_partition(servers, hyperfill, case):
    """One that cannot be built is appended, and plan says why; the others are built."""
    more, reason = UNSUITED_PARTS[case]
    source, target = make_source(servers, rows=8000), make_target(servers[KIND], more)
    plan = hyperfill.run("plan", *arguments(source, target)).stdout
    assert reason in plan and "cpu_1" in plan
    before = oids(target)
    run(hyperfill, source, target)
    assert built(before, oids(target)) == {"cpu_0"}
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    assert strays(target) == []


def test_identity_that_is_loaded(servers, hyperfill):
    source, target = make_source(servers, rows=8000), make_target(servers[KIND], "ALTER TABLE cpu ALTER tags_id SET NOT NULL, ALTER tags_id ADD GENERATED ALWAYS AS IDENTITY")
    before = oids(target)
    run(hyperfill, source, target)
    assert len(built(before, oids(target))) == 2
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


def test_rejects_need_indexes(servers, hyperfill):
    source, target = make_source(servers, rows=4000), make_target(servers[KIND], "ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id)")
    source.server.folder.joinpath("x.csv").unlink(missing_ok=True)
    path = hyperfill.folder / "cpu.csv"
    source.copy_out("COPY cpu TO STDOUT (FORMAT csv, HEADER)", path)
    assert "unique" in run(hyperfill, path, target, "--on-bad-row", "reject", check=USAGE).stderr


def test_rows_are_told_apart(servers, hyperfill):
    """Without such constraints bad rows are rejected one by one, also of a partition that is built."""
    source, target = make_source(servers, rows=8000), make_target(servers[KIND], "ALTER TABLE cpu ADD CHECK (usage_user >= 0)")
    source.execute("UPDATE cpu SET usage_user = -1 WHERE time = (SELECT min(time) + interval '1 hour' FROM cpu) AND tags_id = 3")
    path = hyperfill.folder / "cpu.csv"
    source.copy_out("COPY cpu TO STDOUT (FORMAT csv, HEADER)", path)
    run(hyperfill, path, target, "--on-bad-row", "reject", check=8)
    assert target.fingerprint("cpu") == source.fingerprint("cpu", where="usage_user >= 0")
    assert strays(target) == [] and open_builds(target) == 0


@pytest.mark.parametrize("step", ["2h", "20m"], ids=["whole", "parts"])
def test_duplicate_key(servers, hyperfill, step):
    """A whole partition fails as append does; one in parts says where its rows are, and goes on once they are right."""
    source, target = make_source(servers, rows=8000), make_target(servers[KIND], "ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id)")
    source.execute("INSERT INTO cpu SELECT * FROM cpu ORDER BY time LIMIT 1")
    result = run(hyperfill, source, target, "--range-interval", step, "--retry-seconds", "5", check=DATA)
    assert "duplicate key" in result.stderr or "could not create unique index" in result.stderr
    assert strays(target) == [] if step == "2h" else strays(target)
    if step == "2h":
        assert "line" in result.stderr or "Key" in result.stderr
        return
    ((table,),) = strays(target)
    assert table in result.stderr
    target.execute(f"DELETE FROM {table} WHERE ctid = (SELECT max(ctid) FROM {table} WHERE (time, tags_id) = (SELECT time, tags_id FROM {table} GROUP BY 1, 2 HAVING count(*) > 1))")
    run(hyperfill, source, target, "--range-interval", step)
    assert target.value("SELECT count(*) FROM cpu") == 8000
    assert strays(target) == [] and open_builds(target) == 0
