"""Strategy build on native partitions: in the end each partition is what it was, with all its rows."""

import datetime

import psycopg2
import pytest

from harness import START, Database, LiveWriter, create_cpu, fill_cpu, wait_until
from test_build import interrupt, open_builds
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
    return database.rows("SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'hyperfill\\_%' "
                         " AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'hyperfill')")


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
    "referred to": ("ALTER TABLE cpu_1 ADD UNIQUE (time, tags_id);"
                    " CREATE TABLE other (time timestamptz, id int, FOREIGN KEY (time, id) REFERENCES cpu_1 (time, tags_id))", "depends"),
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


# ---- Privileges


def owned(target, create=True):
    """The table and all of it belong to a role that is not superuser; it may make tables in the schema, or not."""
    name = target.value("SELECT current_database()")
    target.execute(f"GRANT CREATE ON DATABASE {name} TO clerk; REVOKE CREATE ON SCHEMA public FROM public; ALTER TABLE cpu OWNER TO clerk")
    for (table,) in target.rows("SELECT relid::text FROM pg_partition_tree('cpu') WHERE level = 1"):
        target.execute(f"ALTER TABLE {table} OWNER TO clerk")
    if create:
        target.execute("GRANT CREATE ON SCHEMA public TO clerk")
    return target.conninfo + " user=clerk"


def test_owner_without_more(servers, hyperfill):
    source, target = make_source(servers, rows=8000), make_target(servers[KIND], "ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id)")
    target.execute("GRANT SELECT ON cpu_0 TO public; ALTER DEFAULT PRIVILEGES FOR ROLE clerk GRANT SELECT ON TABLES TO public")
    conninfo, before, form = owned(target), oids(target), None
    form = shape(target)
    run(hyperfill, source, conninfo, "--create-partitions")
    assert len(built(before, oids(target))) == 2
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    assert shape(target) == form
    target.execute("ALTER DEFAULT PRIVILEGES FOR ROLE clerk REVOKE SELECT ON TABLES FROM public")


def test_owner_that_may_not_create(servers, hyperfill):
    source, target = make_source(servers, rows=4000), make_target(servers[KIND])
    conninfo = owned(target, create=False)
    assert "may not create tables in schema public" in hyperfill.run("plan", *arguments(source, conninfo)).stdout
    assert "may not create tables in schema public" in run(hyperfill, source, conninfo, check=USAGE).stderr
    hyperfill.run("run", *arguments(source, conninfo))
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


# ---- Partitions that are missing


@pytest.mark.parametrize("strategy", ["append", "build"])
def test_missing_partitions(servers, hyperfill, strategy):
    source, target = make_source(servers), make_target(servers[KIND], "DROP TABLE cpu_0, cpu_2; ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id)")
    plan = hyperfill.run("plan", *arguments(source, target, "--create-partitions", "--order", "oldest")).stdout
    assert "2 that are missing" in plan and "cpu_p20240301_0400" in plan
    result = hyperfill.run("run", *arguments(source, target, "--retry-seconds", "1"), check=None)
    assert result.status != 0 and "no partition" in result.stderr
    hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu", "--yes")
    target.execute("TRUNCATE cpu")
    hyperfill.run("run", *arguments(source, target, "--create-partitions", "--strategy", strategy))
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    bounds = dict(target.rows("SELECT c.relname, pg_get_expr(relpartbound, c.oid) FROM pg_class c WHERE relispartition AND relkind = 'r'"))
    assert bounds["cpu_p20240301"] == "FOR VALUES FROM ('2024-03-01 00:00:00+00') TO ('2024-03-01 02:00:00+00')"
    assert bounds["cpu_p20240301_0400"] == "FOR VALUES FROM ('2024-03-01 04:00:00+00') TO ('2024-03-01 06:00:00+00')"
    indexes = target.rows("SELECT replace(indexname, tablename, '*'), count(*) FROM pg_indexes WHERE tablename LIKE 'cpu\\_%' GROUP BY 1 ORDER BY 1")
    assert indexes == [("*_pkey", 6), ("*_tags_id_time_idx", 6), ("*_time_idx", 6)]
    assert strays(target) == []


def test_all_partitions_missing(servers, hyperfill, chance):
    """Two processes make the same ones; each is made once."""
    source, target = make_source(servers), make_target(servers[KIND], hours=0)
    assert target.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'cpu'::regclass") == 0
    assert "--range-interval" in hyperfill.run("run", *arguments(source, target, "--create-partitions"), check=USAGE).stderr
    line = ("run", *arguments(source, target, "--create-partitions", "--range-interval", "1h", "--progress", "none"))
    processes = [hyperfill.start(*line, "--checkpoint", hyperfill.folder / f"{number}.checkpoint") for number in range(2)]
    for process in processes:
        process.wait(check=0)
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    assert target.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'cpu'::regclass") == 9
    assert strays(target) == [] and open_builds(target) == 0


def test_default_partition_keeps_its_rows(servers, hyperfill):
    source, target = make_source(servers, rows=8000), make_target(servers[KIND], "DROP TABLE cpu_0; CREATE TABLE rest PARTITION OF cpu DEFAULT")
    target.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{START}', 999)")
    hyperfill.run("run", *arguments(source, target, "--create-partitions", "--overlap", "keep"))
    assert target.fingerprint("cpu", where="tags_id <> 999") == source.fingerprint("cpu")
    assert target.value("SELECT count(*) FROM rest") == 1 + source.value(f"SELECT count(*) FROM cpu WHERE time < '{START + datetime.timedelta(hours=2)}'")


def test_integer_names(servers, hyperfill):
    source, target = servers[KIND].create_database(), servers[KIND].create_database()
    long = "a_table_with_a_name_that_is_longer_than_what_is_left_for_it_ä"
    for database in (source, target):
        database.execute(f'CREATE TABLE "{long}" (n int, v text) PARTITION BY RANGE (n)')
    source.execute(f'CREATE TABLE p PARTITION OF "{long}" DEFAULT; INSERT INTO "{long}" SELECT n, n FROM generate_series(-1500, 2499) n')
    hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", f'"{long}"', "--until", "2500", "--create-partitions", "--range-interval", "1000")
    names = {name for (name,) in target.rows("SELECT relname FROM pg_class WHERE relispartition")}
    assert {name.rpartition("_")[2] for name in names} == {"pm2000", "pm1000", "p0", "p1000", "p2000"}
    assert target.fingerprint(f'"{long}"') == source.fingerprint(f'"{long}"')


# ---- Whatever happens in between


class Building:
    """A backfill of test_kill; rows that are loaded and not yet part of the table are in tables of their own."""

    def __init__(self, hyperfill, servers, source_kind, rows=420_000):
        self.backfill = make_backfill(hyperfill, servers, source_kind, KIND, "partitioned", rows=rows)
        self.backfill.arguments += ["--strategy", "build"]
        self.backfill.progress = self.progress
        self.backfill.begin_anew = self.begin_anew
        self.target = self.backfill.target
        self.target.execute("CREATE INDEX cpu_host ON cpu (hostname, time DESC); ALTER TABLE cpu ADD PRIMARY KEY (time, tags_id)")
        self.form = shape(self.target)

    def begin_anew(self):
        for (table,) in strays(self.target):
            self.target.execute(f"DROP TABLE {table}")
        self.target.execute("TRUNCATE cpu; DROP SCHEMA hyperfill CASCADE")
        self.backfill.checkpoint.unlink(missing_ok=True)
        self.backfill.rows_seen = 0

    def progress(self):
        """Rows in the table and beside it; at every moment they are those of the ledger."""
        backfill, target = self.backfill, self.target
        if target.value("SELECT to_regclass('hyperfill.build')") is None:
            return 0
        for _ in range(20):
            beside = [name for (name,) in target.rows("SELECT relation FROM hyperfill.build ORDER BY lo")]
            # The table last: whoever publishes takes its locks in this order, too.
            counts = " + ".join([*(f"(SELECT count(*) FROM {name})" for name in beside), "(SELECT count(*) FROM cpu)"])
            try:
                ((rows, in_ledger, now),) = target.rows_of_one_moment(
                    f"SELECT {counts}, (SELECT coalesce(sum(rows), 0) FROM hyperfill.piece),"
                    " (SELECT array_agg(relation ORDER BY lo) FROM hyperfill.build)")
            except psycopg2.errors.UndefinedTable:
                # Published between the two questions.
                continue
            if (now or []) == beside:
                break
        else:
            return backfill.rows_seen
        if rows != in_ledger:
            # COPY FREEZE and a table that was exchanged while the snapshot was there: asked again, it must be right.
            try:
                ((rows, in_ledger),) = target.rows(f"SELECT {counts}, (SELECT coalesce(sum(rows), 0) FROM hyperfill.piece)")
            except psycopg2.errors.UndefinedTable:
                return self.progress()
        assert rows == in_ledger, f"{rows} rows in the table and beside it, {in_ledger} in the ledger"
        assert backfill.rows_seen <= rows <= backfill.rows_expected
        backfill.rows_seen = rows
        return rows

    def check(self):
        assert open_builds(self.target) == 0 and strays(self.target) == []
        assert shape(self.target) == self.form


@pytest.mark.parametrize("source_kind", ["postgres", "shuffled"])
def test_thirty_kills(hyperfill, servers, chance, source_kind):
    building, seen = Building(hyperfill, servers, source_kind), []

    def look(number):
        seen.append(open_builds(building.target))
        return ()

    before = oids(building.target)
    building.backfill.kill_at_random(chance, 30, look)
    print(f"partitions begun after the kills: {seen}")
    assert any(seen)
    assert built(before, oids(building.target))
    building.check()


def interrupted(hyperfill, servers):
    return interrupt(Building(hyperfill, servers, "shuffled", rows=100_000))


def test_clean_drops_what_was_begun(hyperfill, servers, chance):
    building = interrupted(hyperfill, servers)
    assert strays(building.target)
    line = ("clean", "--target", building.target.conninfo, "--table", "cpu")
    hyperfill.run(*line, check=USAGE)
    assert strays(building.target)
    assert "dropped" in hyperfill.run(*line, "--yes").stdout
    assert strays(building.target) == []
    assert shape(building.target) == building.form


def test_resumed_with_another_strategy(hyperfill, servers, chance):
    building = interrupted(hyperfill, servers)
    building.backfill.arguments[building.backfill.arguments.index("--strategy") + 1] = "append"
    assert "will be completed" in building.backfill.complete().stderr
    building.check()


def test_trigger_that_drops_rows_meanwhile(hyperfill, servers):
    """Rows that were loaded aside and are inserted after all are counted: none is lost to a trigger that came later."""
    building = interrupted(hyperfill, servers)
    target = building.target
    place = target.value("SELECT min(data) FROM hyperfill.build")
    target.execute(f"""CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER late BEFORE INSERT ON {place} FOR EACH ROW WHEN (NEW.tags_id = 5) EXECUTE FUNCTION drop_row()""")
    result = building.backfill.start().wait(check=3)
    assert "on their way into the table" in result.stderr, result
    assert strays(target) and open_builds(target)
    target.execute(f"DROP TRIGGER late ON {place}")
    building.backfill.complete()
    building.check()


def test_role_that_may_not_see_what_is_begun(hyperfill, servers):
    """Rows of the job are in tables aside: without them it is not complete, whoever resumes it."""
    building = interrupted(hyperfill, servers)
    target = building.target
    target.execute("""DROP ROLE IF EXISTS helper; CREATE ROLE helper LOGIN; GRANT USAGE ON SCHEMA hyperfill TO helper;
        GRANT ALL ON hyperfill.job, hyperfill.piece, hyperfill.reject, cpu TO helper""")
    try:
        building.backfill.arguments[building.backfill.arguments.index("--strategy") + 1] = "append"
        result = building.backfill.start(target=target.conninfo + " user=helper").wait(check=4)
        assert "may not read" in result.stderr and "GRANT" in result.stderr, result
    finally:
        target.execute("DROP OWNED BY helper; DROP ROLE helper")
    building.backfill.complete()
    building.check()


def test_partition_that_has_changed_since(hyperfill, servers, chance):
    """What was begun is inserted where the partition has got what cannot be made again."""
    building = interrupted(hyperfill, servers)
    target = building.target
    place = target.value("SELECT min(data) FROM hyperfill.build")
    target.execute("CREATE VIEW v AS SELECT * FROM " + place)
    before = oids(target)
    building.backfill.complete()
    assert open_builds(target) == 0 and strays(target) == []
    name = place.removeprefix("public.")
    assert oids(target)[name] == before[name]


def pieces(database):
    return database.value("SELECT to_regclass('hyperfill.piece')") and database.value("SELECT count(*) FROM hyperfill.piece")


@pytest.mark.parametrize("step", ["2h", "20m"], ids=["whole", "parts"])
def test_live_writer(hyperfill, servers, chance, step):
    """The application goes on writing into the same partitions; it loses nothing, and waits for little."""
    building = Building(hyperfill, servers, "postgres", rows=200_000)
    target, backfill = building.target, building.backfill
    target.execute("ALTER TABLE cpu DROP CONSTRAINT cpu_pkey")
    backfill.arguments[backfill.arguments.index("--range-interval") + 1] = step
    before = oids(target)
    process = backfill.start("--overlap", "keep")
    # Partitions with rows are appended to: the first is begun before there are any in all of them.
    wait_until(lambda: open_builds(target) or pieces(target) or not process.running, what="a partition that is begun")
    with LiveWriter(target, span=200_000) as writer:
        process.wait(check=0)
    exchanged = built(before, oids(target))
    print(f"{len(exchanged)} partitions exchanged")
    assert exchanged
    writer.check(backfill.expected)
    assert open_builds(target) == 0 and strays(target) == []


def test_table_that_is_always_read(hyperfill, servers):
    """A reader that never ends holds up the exchange, not the load: rows are inserted instead."""
    source, target = make_source(servers, rows=8000), make_target(servers[KIND])
    reader, before = Database(target.server, target.name), oids(target)
    reader.execute("BEGIN; SELECT count(*) FROM cpu")
    result = run(hyperfill, source, target)
    assert "inserted" in result.stderr
    reader.execute("ROLLBACK")
    reader.close()
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    assert oids(target) == before and strays(target) == []
