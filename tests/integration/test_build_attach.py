"""Strategy build in the way `attach`: tables that become chunks of the community edition, whole or not at all."""

import datetime
import os
import time

import psycopg2
import pytest

from harness import PATIENCE, START, Database, LiveWriter, create_cpu, fill_cpu, wait_until
from test_build import UNTIL, USAGE, open_builds
from test_kill import SOURCES, UNTIL as LIVE_FROM, Backfill, make_backfill

DATA = 3

# Of each chunk: its columns, and what indexes and constraints it has; names apart, which tell of the way.
SHAPE = """
    WITH c AS (SELECT c.* FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE inhparent = %(table)s::regclass)
    SELECT kind, what, count(*) FROM (
        SELECT 'index', regexp_replace(pg_get_indexdef(indexrelid), 'INDEX ("(""|[^"])*"|\\w+) ON \\S+', 'INDEX ON')
               || indisprimary || indisvalid || indisreplident FROM pg_index JOIN c ON c.oid = indrelid
        UNION ALL SELECT contype::text, pg_get_constraintdef(r.oid) || convalidated FROM pg_constraint r JOIN c ON c.oid = conrelid
        UNION ALL SELECT 'column', concat_ws(' ', attname, atttypid::regtype, attnotnull, attgenerated, attidentity, attstorage,
                         attcompression, attstattarget, pg_get_expr(adbin, adrelid),
                         ARRAY(SELECT o FROM unnest(attoptions) o WHERE o NOT LIKE 'pg_attver=%%' ORDER BY o))
                  FROM c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        UNION ALL SELECT 'table', concat_ws(' ', relnamespace::regnamespace, relowner::regrole, reloptions, reltablespace,
                         relreplident, (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM aclexplode(relacl) a
                                        WHERE a.grantee <> relowner)) FROM c
        UNION ALL SELECT 'name', regexp_replace(relname, '[0-9]+_chunk', 'N_chunk') FROM c) s (kind, what)
    GROUP BY 1, 2 ORDER BY 1, 2"""


def shape(database, table="cpu"):
    return database.rows(SHAPE, {"table": table})


@pytest.fixture
def places(servers, community):
    """Where make_backfill finds its source and its target."""
    return {"pg15": servers["pg15"], "community": community.server}


@pytest.fixture
def source(servers):
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    fill_cpu(database, 60_000, hosts=20)
    database.execute("CREATE INDEX ON cpu (time)")
    return database


# All that a chunk can have of its table.
RICH = """
    CREATE TABLE hosts (tags_id int PRIMARY KEY);
    INSERT INTO hosts SELECT generate_series(0, 19);
    ALTER TABLE cpu SET (fillfactor = 80), ALTER hostname SET STATISTICS 55, ALTER hostname SET (n_distinct = 20),
        ADD gone int, ADD PRIMARY KEY (tags_id, time), ADD CONSTRAINT "its ""own"" ON cpu" UNIQUE (time, tags_id, hostname),
        ADD FOREIGN KEY (tags_id) REFERENCES hosts, ADD CHECK (usage_user >= 0),
        ADD number bigint GENERATED ALWAYS AS IDENTITY, ADD note text DEFAULT 'none',
        ADD twice double precision GENERATED ALWAYS AS (usage_user * 2) STORED;
    ALTER TABLE cpu DROP gone;
    CREATE INDEX cpu_host ON cpu (hostname, time DESC) WITH (fillfactor = 70);
    CREATE INDEX "odd ""name"" ON public.cpu USING" ON cpu (upper(hostname)) WHERE hostname <> E'two\\nlines ON cpu';
    CREATE UNIQUE INDEX ON cpu (time, upper(hostname), tags_id)"""


def run(hyperfill, source, target, *more, strategy="build", check=0):
    return hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                         "--strategy", strategy, *more, check=check)


def make_rich(database):
    create_cpu(database, chunk="2 hours")
    database.execute(RICH)


@pytest.mark.parametrize("step", ["2h", "20m"], ids=["whole chunks", "ranges"])
def test_same_as_copy(hyperfill, source, community, step):
    columns = ", ".join(source.columns("cpu"))
    reference = community.server.create_database()
    for database in (community, reference):
        make_rich(database)
    path = hyperfill.folder / "reference.csv"
    source.copy_out("COPY cpu TO STDOUT (FORMAT csv)", path)
    reference.copy_in(f"COPY cpu ({columns}) FROM STDIN (FORMAT csv)", path)
    run(hyperfill, source, community, "--range-interval", step, "--columns", columns.replace(" ", ""))
    loaded = [*source.columns("cpu"), "note", "twice"]
    assert community.fingerprint("cpu", loaded) == reference.fingerprint("cpu", loaded)
    assert community.value("SELECT count(DISTINCT number) FROM cpu") == 60_000
    assert shape(community) == shape(reference)
    assert open_builds(community) == 0 and strays(community) == []
    assert all(were_attached(community).values())
    if step == "2h":
        # Vacuum has nothing left to do. From PostgreSQL 16 on a table is made longer by many pages at once, the last of which stay empty.
        assert community.value("SELECT count(*) FROM (SELECT DISTINCT tableoid, (ctid::text::point)[0] FROM cpu) pages") \
            == community.value("SELECT sum(relallvisible) FROM pg_class JOIN show_chunks('cpu') c ON c = pg_class.oid")


# Of each chunk, whether it was built aside and attached: its indexes then have names that are not made of its own, and
# before TimescaleDB 2.29.1 its columns count as its own. Before 2.21 the latter alone tells.
ATTACHED = """
    SELECT c.oid::regclass::text,
           EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND attislocal)
           OR EXISTS (SELECT FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
                      WHERE i.indrelid = c.oid AND NOT starts_with(k.relname, c.relname))
    FROM show_chunks('cpu') s JOIN pg_class c ON c.oid = s ORDER BY c.oid"""


def were_attached(database):
    return dict(database.rows(ATTACHED))


def strays(database):
    return database.rows("SELECT relname FROM pg_class WHERE relname LIKE 'hyperfill\\_%'")


@pytest.fixture
def owner(community):
    """A role that may make nothing in public and nothing among the chunks."""
    name = f"owner_{os.getpid()}"
    community.execute(f"CREATE ROLE {name} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
                      f" GRANT CREATE ON DATABASE {community.name} TO {name}")
    yield name
    community.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def test_by_the_owner_alone(hyperfill, source, community, owner):
    create_cpu(community, chunk="2 hours")
    community.execute(f"ALTER TABLE cpu OWNER TO {owner}; GRANT SELECT ON cpu TO pg_monitor")
    hyperfill.run("run", "--source", source.conninfo, "--target", community.conninfo + f" user={owner}", "--table", "cpu",
                  "--until", UNTIL, "--strategy", "build")
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert community.rows("SELECT DISTINCT relowner::regrole::text, relacl::text LIKE '%pg_monitor=r%' FROM pg_class"
                          " JOIN show_chunks('cpu') c ON c = pg_class.oid") == [(owner, True)]
    assert all(were_attached(community).values())
    assert strays(community) == []


@pytest.mark.parametrize("step", ["2h", "20m"], ids=["whole chunks", "ranges"])
def test_chunk_made_meanwhile(hyperfill, source, community, step):
    """Somebody's row makes the chunk while it is being built: the rows go there."""
    create_cpu(community, chunk="2 hours")
    # The application is as slow as can be: its transaction is open until the chunk is to be attached.
    other = community.connect()
    other.cursor().execute(f"INSERT INTO cpu (time, tags_id, hostname) VALUES ('{START}', 99, 'live')")
    process = hyperfill.start("run", "--source", source.conninfo, "--target", community.conninfo, "--table", "cpu", "--until", UNTIL,
                              "--strategy", "build", "--range-interval", step, "--jobs", "2", "--overlap", "keep")
    watcher = Database(community.server, community.name)
    wait_until(lambda: watcher.waits_for_locks() or not process.running, what="the attaching that waits")
    assert process.running, process.result()
    other.commit()
    other.close()
    process.wait(check=0)
    watcher.close()
    assert community.value("SELECT count(*) FROM cpu WHERE hostname = 'live'") == 1
    assert community.fingerprint("cpu", where="hostname <> 'live'") == source.fingerprint("cpu")
    assert open_builds(community) == 0 and strays(community) == []
    # The one chunk is the application's, the others are ours.
    live = community.value("SELECT tableoid::regclass::text FROM cpu WHERE hostname = 'live'")
    assert [chunk for chunk, was in were_attached(community).items() if not was] == [live]


# The other way to build a chunk: without it there is none.
INDEXES_SINCE = (2, 22)
NO_INDEXES = "indexes: the index of a single chunk can be dropped and made again from TimescaleDB 2.22 on"


def test_a_key_twice(hyperfill, source, community):
    """What the table's key forbids is said, and nothing of the chunk is there."""
    create_cpu(community, chunk="2 hours")
    community.execute("ALTER TABLE cpu ADD PRIMARY KEY (tags_id, time)")
    source.execute("INSERT INTO cpu SELECT * FROM cpu WHERE tags_id = 3 ORDER BY time LIMIT 1")
    for step in ("2h", "20m"):
        result = run(hyperfill, source, community, "--range-interval", step, "--checkpoint", step, check=DATA)
        assert "duplicate" in result.stderr or "could not create unique index" in result.stderr
        assert community.value(f"SELECT count(*) FROM cpu WHERE time < '{START + datetime.timedelta(minutes=20)}'") == 0
        hyperfill.run("clean", "--target", community.conninfo, "--table", "cpu", "--yes")
        assert strays(community) == []
        community.execute("TRUNCATE cpu")
    # Told apart, they are found in the usual way.
    if community.timescaledb() < INDEXES_SINCE:
        result = run(hyperfill, source, community, "--on-bad-row", "reject", "--checkpoint", "reject", check=USAGE)
        assert "unique indexes" in result.stderr and NO_INDEXES in result.stderr
        assert community.value("SELECT count(*) FROM cpu") == 0
        return
    result = run(hyperfill, source, community, "--on-bad-row", "reject", "--checkpoint", "reject", check=8)
    assert community.value("SELECT count(*) FROM cpu") == 60_000


REFUSED = {
    "aggregates": "CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS"
                  " SELECT time_bucket('1 hour', time), count(*) FROM cpu GROUP BY 1 WITH NO DATA",
    "triggers": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                " CREATE TRIGGER t AFTER INSERT ON cpu FOR EACH ROW EXECUTE FUNCTION f()",
    "row security": "ALTER TABLE cpu ENABLE ROW LEVEL SECURITY",
    "space partitions": "SELECT add_dimension('cpu', 'tags_id', number_partitions => 2)",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_with_a_reason(hyperfill, source, community, reason):
    create_cpu(community, chunk="2 hours")
    for statement in REFUSED[reason].split(";\x20CREATE TRIGGER"):
        community.execute(statement if statement.startswith(("CREATE F", "CREATE M", "ALTER", "SELECT")) else "CREATE TRIGGER" + statement)
    arguments = ["--source", source.conninfo, "--target", community.conninfo, "--table", "cpu", "--until", UNTIL, "--strategy", "build"]
    if community.timescaledb() < INDEXES_SINCE:
        for command in ("plan", "run"):
            refused = hyperfill.run(command, *arguments, check=USAGE).stderr
            assert "attach:" in refused and reason in refused and NO_INDEXES in refused
        assert community.value("SELECT count(*) FROM cpu") == 0
        return
    plan = hyperfill.run("plan", *arguments).stdout
    assert "attach:" in plan and reason in plan
    run(hyperfill, source, community)
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert not any(were_attached(community).values())


def test_not_unasked_where_it_leaves_a_trap(hyperfill, source, community):
    create_cpu(community, chunk="2 hours")
    run(hyperfill, source, community, strategy="auto")
    attached = were_attached(community)
    # The last chunk gets so few rows that they are appended.
    assert not attached.pop(community.value("SELECT tableoid::regclass::text FROM cpu ORDER BY time DESC LIMIT 1"))
    assert set(attached.values()) == {community.timescaledb() >= (2, 29, 1)}
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    # What the trap is: a column that goes later would stay in such a chunk.
    community.execute(f"ALTER TABLE cpu DROP usage_user, ADD later int; INSERT INTO cpu (time, tags_id, later) VALUES ('{START}', 1, 2)")
    assert community.value("SELECT count(*) FROM cpu WHERE later = 2") == 1


# ---- Whatever happens in between


class Staged(Backfill):
    """Rows of the ledger are in the table, or in one that is not attached yet."""

    COUNTS = """
        SELECT (SELECT count(*) FROM cpu),
               (SELECT coalesce(sum((xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM ' || relation, false, true, '')))[1]::text::bigint), 0)::bigint
                FROM hyperfill.build WHERE relation IS NOT NULL),
               (SELECT coalesce(sum(rows), 0)::bigint FROM hyperfill.piece)"""

    def progress(self):
        if self.target.value("SELECT to_regclass('hyperfill.build')") is None:
            return super().progress()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                ((in_table, staged, in_ledger),) = self.target.rows_of_one_moment(self.COUNTS)
            except psycopg2.errors.UndefinedTable:
                continue
            # Frozen rows are seen by snapshots that are older than their commit: another look then.
            if in_table + staged == in_ledger or time.monotonic() > deadline:
                break
        assert in_table + staged == in_ledger, f"{in_table} rows in the table, {staged} staged, {in_ledger} in the ledger"
        assert self.rows_seen <= in_ledger <= self.rows_expected
        self.rows_seen = in_ledger
        return in_ledger

    def complete(self):
        result = super().complete()
        assert open_builds(self.target) == 0 and strays(self.target) == []
        return result


def building(hyperfill, places, source_kind):
    backfill = make_backfill(hyperfill, places, source_kind, "community", kind=Staged)
    backfill.arguments += ["--strategy", "build"]
    backfill.target.execute("CREATE UNIQUE INDEX ON cpu (time, tags_id); CREATE INDEX ON cpu (upper(hostname))")
    return backfill


@pytest.mark.parametrize("source_kind", SOURCES)
def test_thirty_kills(hyperfill, places, chance, source_kind):
    backfill = building(hyperfill, places, source_kind)
    seen = []

    def look(number):
        seen.append(open_builds(backfill.target))
        return ()

    backfill.kill_at_random(chance, 30, look)
    attached = were_attached(backfill.target)
    print(f"chunks being built after the kills: {seen}, {sum(attached.values())} of {len(attached)} were attached")
    assert any(seen) and any(attached.values())
    chunks = len(attached)
    assert {row[-1] for row in shape(backfill.target) if row[0] == "index"} == {chunks}


def test_clean_leaves_nothing(hyperfill, places, chance):
    backfill = building(hyperfill, places, "postgres")
    while not open_builds(backfill.target):
        process = backfill.start()
        backfill.wait_for(process, chance.uniform(0.1, 0.5) * backfill.rows_expected)
        process.kill()
        if backfill.progress() == backfill.rows_expected:
            backfill.begin_anew()
    assert strays(backfill.target)
    hyperfill.run("clean", "--target", backfill.target.conninfo, "--table", "cpu", check=USAGE)
    assert strays(backfill.target)
    hyperfill.run("clean", "--target", backfill.target.conninfo, "--table", "cpu", "--yes")
    assert strays(backfill.target) == []


@pytest.mark.parametrize("source_kind", ["postgres", "shuffled"])
def test_live_writer(hyperfill, places, chance, source_kind):
    """The application goes on writing into the same and into newer chunks, and makes some of them itself."""
    backfill = building(hyperfill, places, source_kind)
    target = backfill.target
    # It makes every third chunk: where it made all of them before they are complete, none would be attached.
    with LiveWriter(target, span=500_000, stride=3 * 7_200) as writer:
        backfill.start("--overlap", "keep").wait(check=0)
    writer.check(backfill.expected)
    assert open_builds(target) == 0 and strays(target) == []
    check_where_live_rows_are(target)
    attached = were_attached(target)
    print(f"{sum(attached.values())} of {len(attached)} chunks were attached")
    assert any(attached.values())


def check_where_live_rows_are(target):
    """In chunks that the backfill has filled, and in newer ones."""
    rows = target.rows("SELECT bool_or(time < %s AND tableoid = ANY (ARRAY(SELECT DISTINCT tableoid FROM cpu WHERE hostname IS DISTINCT"
                       " FROM 'live'))), bool_or(time >= %s) FROM cpu WHERE hostname = 'live'", [LIVE_FROM, LIVE_FROM])
    assert rows == [(True, True)]
