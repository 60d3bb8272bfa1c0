"""Strategy build: chunks are loaded without their indexes and have them all in the end, whatever happened in between."""

import json

import psycopg2
import pytest

from harness import START, Database, LiveWriter, cpu_rows, create_cpu, fill_cpu, wait_until, write_csv
from test_kill import SOURCES, STOPPED, make_backfill

USAGE = 2
UNTIL = "2024-04-01T00:00:00Z"

# Each index of each chunk and of the table, with the chunk's own names taken out; and all that hangs on it.
INDEXES = """
    SELECT regexp_replace(replace(replace(pg_get_indexdef(i.indexrelid), c.relname, '*'), n.nspname, '*'), '_hyper_[0-9]+_[0-9]+_', '*', 'g'),
           i.indisclustered, i.indisvalid, coalesce(obj_description(i.indexrelid, 'pg_class'), ''), count(*)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = 'cpu'::regclass OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'cpu'::regclass)
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"""

MORE_INDEXES = '''
    CREATE INDEX cpu_host ON cpu (hostname, time DESC) WITH (fillfactor = 80);
    CREATE INDEX "odd ""name""" ON cpu (upper(hostname)) WHERE hostname <> E'two\\nlines';
    CREATE UNIQUE INDEX cpu_unique ON cpu (tags_id, time)'''


def open_builds(database):
    if database.value("SELECT to_regclass('hyperfill.build')") is None:
        return 0
    return database.value("SELECT count(*) FROM hyperfill.build")


def make_source(servers, rows=60_000, hosts=20):
    source = servers["pg15"].create_database()
    create_cpu(source, hypertable=False)
    fill_cpu(source, rows, hosts=hosts)
    source.execute("CREATE INDEX ON cpu (time)")
    return source


def make_target(server, chunk="2 hours"):
    target = server.create_database()
    create_cpu(target, chunk=chunk)
    target.execute(MORE_INDEXES)
    return target


def run(hyperfill, source, target, *more, check=0):
    return hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                         "--strategy", "build", *more, check=check)


@pytest.fixture
def copied(servers):
    """What \\copy makes of the same rows: fingerprint and indexes."""

    def make(source, kind):
        reference = make_target(servers[kind])
        path = reference.server.folder / "reference.csv"
        source.copy_out("COPY cpu TO STDOUT (FORMAT csv)", path)
        reference.copy_in("COPY cpu FROM STDIN (FORMAT csv)", path)
        return reference.fingerprint("cpu"), reference.rows(INDEXES)

    return make


@pytest.mark.parametrize("step", ["2h", "20m"], ids=["whole chunks", "ranges"])
def test_same_as_copy(servers, hyperfill, copied, step):
    source = make_source(servers)
    target = make_target(servers["ts18"])
    run(hyperfill, source, target, "--range-interval", step)
    assert (target.fingerprint("cpu"), target.rows(INDEXES)) == copied(source, "ts18")
    assert open_builds(target) == 0
    # It was indeed built: an index that is made when the rows are there knows how many there are.
    assert target.value("SELECT bool_and(reltuples > 0) FROM pg_class WHERE relname LIKE '%chunk_cpu_host'")


def test_what_hangs_on_an_index(servers, hyperfill):
    """Comments, CLUSTER ON and statistics of a chunk's index are there again, too."""
    source = make_source(servers)
    target = make_target(servers["ts18"])
    # A chunk that is there and empty.
    target.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{START}', 0)")
    chunk = target.value("SELECT show_chunks('cpu')::text")
    target.execute(f"TRUNCATE {chunk}")
    index = target.value(f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '{chunk}'::regclass"
                         " AND pg_get_indexdef(indexrelid) LIKE '%upper%'")
    target.execute(f"COMMENT ON INDEX {index} IS 'it''s ours'; ALTER INDEX {index} ALTER COLUMN 1 SET STATISTICS 77")
    host = target.value(f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '{chunk}'::regclass"
                        " AND pg_get_indexdef(indexrelid) LIKE '%hostname, %'")
    target.execute(f"ALTER TABLE {chunk} CLUSTER ON {host.split('.')[-1]}")
    before = target.value(f"SELECT '{index}'::regclass::oid")
    run(hyperfill, source, target)
    assert target.value(f"SELECT '{index}'::regclass::oid") != before
    assert target.value(f"SELECT obj_description('{index}'::regclass, 'pg_class')") == "it's ours"
    assert target.value(f"SELECT attstattarget FROM pg_attribute WHERE attrelid = '{index}'::regclass AND attnum = 1") == 77
    assert target.value(f"SELECT indisclustered FROM pg_index WHERE indexrelid = '{host}'::regclass")
    # The hypertable still knows them as its own.
    target.execute("DROP INDEX cpu_host")
    assert target.value(f"SELECT to_regclass('{host}')") is None


def test_plan_says_why_not(servers, hyperfill):
    source = make_source(servers, rows=2000)
    target = make_target(servers["ts17"])
    arguments = ("--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL)
    assert "2.22" in hyperfill.run("plan", *arguments).stdout
    assert "2.22" in run(hyperfill, source, target, check=USAGE).stderr
    target = make_target(servers["ts18"])
    arguments = ("--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL)
    assert "build" in hyperfill.run("plan", *arguments).stdout
    if target.value("SELECT to_regrole('clerk')") is None:
        target.execute("CREATE ROLE clerk LOGIN")
    target.execute("GRANT ALL ON cpu TO clerk; GRANT CREATE ON DATABASE " + target.value("SELECT current_database()") + " TO clerk")
    arguments = ("--source", source.conninfo, "--target", target.conninfo + " user=clerk", "--table", "cpu", "--until", UNTIL)
    assert "owner" in hyperfill.run("plan", *arguments).stdout
    hyperfill.run("run", *arguments)
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


class TenantDatabase(Database):
    @property
    def conninfo(self):
        return super().conninfo + " user=tenant"

    def connect(self):
        return psycopg2.connect(self.conninfo)


def test_owner_who_is_nothing_else(servers, hyperfill, copied):
    """As on a managed service: the role owns its tables, and is no superuser."""
    source = make_source(servers)
    target = servers["ts18"].create_database()
    name = target.value("SELECT current_database()")
    target.execute("DROP ROLE IF EXISTS tenant; CREATE ROLE tenant LOGIN")
    target.execute(f"GRANT CREATE ON DATABASE {name} TO tenant; GRANT CREATE ON SCHEMA public TO tenant")
    tenant = TenantDatabase(target.server, name)
    create_cpu(tenant, chunk="2 hours")
    tenant.execute(MORE_INDEXES)
    # It may drop the index of a chunk, but not make one: so nothing is dropped.
    arguments = ("--source", source.conninfo, "--target", tenant.conninfo, "--table", "cpu", "--until", UNTIL)
    assert "_timescaledb_internal" in hyperfill.run("plan", *arguments).stdout
    assert "_timescaledb_internal" in run(hyperfill, source, tenant, check=USAGE).stderr
    hyperfill.run("run", *arguments)
    assert (tenant.fingerprint("cpu"), tenant.rows(INDEXES)) == copied(source, "ts18")
    hyperfill.run("clean", "--target", tenant.conninfo, "--table", "cpu")
    (hyperfill.folder / "hyperfill-cpu.checkpoint").unlink()
    tenant.execute("SELECT drop_chunks('cpu', older_than => interval '0 days')")
    # Allowed to, it builds.
    target.execute("GRANT CREATE ON SCHEMA _timescaledb_internal TO tenant")
    run(hyperfill, source, tenant)
    assert (tenant.fingerprint("cpu"), tenant.rows(INDEXES)) == copied(source, "ts18")
    assert open_builds(tenant) == 0
    tenant.close()


def test_chunks_with_rows_are_appended(servers, hyperfill):
    source = make_source(servers)
    target = make_target(servers["ts18"])
    target.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{START}', 999)")
    chunk = target.value("SELECT show_chunks('cpu')::text")
    indexes = f"SELECT array_agg(indexrelid ORDER BY indexrelid) FROM pg_index WHERE indrelid = '{chunk}'::regclass"
    before = target.value(indexes)
    run(hyperfill, source, target, "--overlap", "keep")
    assert target.value(indexes) == before
    assert target.value("SELECT count(*) FROM cpu") == 60_001


# ---- Whatever happens in between


class Building:
    """A backfill of test_kill with more indexes on its target, all of which are there in the end."""

    def __init__(self, hyperfill, servers, source_kind, kind, rows=420_000):
        self.backfill = make_backfill(hyperfill, servers, source_kind, kind, rows=rows)
        self.backfill.arguments += ["--strategy", "build"]
        self.target = self.backfill.target
        self.target.execute("CREATE INDEX cpu_host ON cpu (hostname, time DESC); CREATE INDEX ON cpu (upper(hostname))")

    def check(self):
        assert open_builds(self.target) == 0
        chunks = self.target.value("SELECT count(*) FROM show_chunks('cpu')")
        counts = {row[-1] for row in self.target.rows(INDEXES)}
        assert counts == {chunks, 1}, self.target.rows(INDEXES)


@pytest.mark.parametrize("source_kind", SOURCES)
def test_thirty_kills(hyperfill, servers, chance, source_kind):
    building = Building(hyperfill, servers, source_kind, "ts18")
    seen = []

    def look(number):
        seen.append(open_builds(building.target))
        return ()

    building.backfill.kill_at_random(chance, 30, look)
    print(f"chunks without indexes after the kills: {seen}")
    assert any(seen)
    building.check()


def interrupt(building):
    """Stops its job with chunks begun. It may be complete before we have looked: then again."""
    backfill = building.backfill
    for share in (0.3, 0.2, 0.1, 0.5) * 3:
        process = backfill.start()
        backfill.wait_for(process, share * backfill.rows_expected)
        process.kill()
        building.target.wait_until_alone()
        backfill.progress()
        if open_builds(building.target):
            return building
        backfill.begin_anew()
    raise AssertionError("no chunk was begun")


def interrupted(hyperfill, servers):
    return interrupt(Building(hyperfill, servers, "shuffled", "ts18"))


def test_clean_makes_indexes_again(hyperfill, servers, chance):
    building = interrupted(hyperfill, servers)
    arguments = ("clean", "--target", building.target.conninfo, "--table", "cpu")
    hyperfill.run(*arguments, check=USAGE)
    assert open_builds(building.target) > 0
    assert "complete again" in hyperfill.run(*arguments, "--yes").stdout
    building.check()


def test_resumed_with_another_strategy(hyperfill, servers, chance):
    """What was begun is completed, however the rest is loaded."""
    building = interrupted(hyperfill, servers)
    at = building.backfill.arguments.index("--strategy")
    building.backfill.arguments[at + 1] = "append"
    assert "will be completed" in building.backfill.complete().stderr
    building.check()


def test_interrupt_says_what_stays_open(hyperfill, servers, chance):
    building = Building(hyperfill, servers, "shuffled", "ts18")
    backfill = building.backfill
    for share in (0.3, 0.2, 0.1) * 4:
        process = backfill.start()
        backfill.wait_for(process, share * backfill.rows_expected)
        process.signal(2)
        result = process.wait()
        if result.status == STOPPED and open_builds(building.target):
            break
        backfill.begin_anew()
    assert "without" in result.stderr and "indexes" in result.stderr, result
    backfill.progress()
    backfill.complete()
    building.check()


def test_chunk_dropped_meanwhile(hyperfill, servers, chance):
    """Somebody drops a chunk that is begun: its rows are gone, the rest is completed."""
    building = interrupted(hyperfill, servers)
    target = building.target
    lo = target.value("SELECT min(lo) FROM hyperfill.build")
    target.execute(f"SELECT drop_chunks('cpu', older_than => to_timestamp({lo} / 1000000 + 7200))")
    building.backfill.start().wait(check=0)
    building.check()


def test_live_writer(hyperfill, servers, chance):
    """The application goes on writing into the same and into newer chunks; it loses nothing, and waits for little."""
    building = Building(hyperfill, servers, "postgres", "ts18")
    target, backfill = building.target, building.backfill
    process = backfill.start("--overlap", "keep")
    # Chunks with rows are appended to: the first is begun before there are any in all of them.
    wait_until(lambda: open_builds(target) or not process.running, what="a chunk that is begun")
    with LiveWriter(target, span=500_000) as writer:
        process.wait(check=0)
    writer.check(backfill.expected)
    building.check()


def test_bad_rows_are_told_apart(servers, hyperfill, tmp_path):
    rows = [list(row) for row in cpu_rows(hosts=10, steps=2000)]
    path = tmp_path / "cpu.csv"
    for number in range(100, len(rows), 1000):
        rows[number][3] = "bad"
    write_csv(path, rows)
    target = make_target(servers["ts18"])
    result = hyperfill.run("run", "--source", path, "--target", target.conninfo, "--table", "cpu", "--strategy", "build",
                           "--on-bad-row", "reject", check=8)
    assert "rejected" in result.stderr or "reject" in result.stdout
    assert target.value("SELECT count(*) FROM cpu") == len(rows) - len(range(100, len(rows), 1000))
    assert open_builds(target) == 0
    chunks = target.value("SELECT count(*) FROM show_chunks('cpu')")
    assert {row[-1] for row in target.rows(INDEXES)} <= {chunks, 1}


def test_summary_is_unchanged(servers, hyperfill):
    source = make_source(servers)
    target = make_target(servers["ts18"])
    summary = json.loads(run(hyperfill, source, target, "--progress", "json").stdout.strip().rsplit("\n", 1)[-1])
    assert summary["rows"] == 60_000


# ---- --defer-indexes: where no chunk can be built alone


TABLE_INDEXES = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'cpu'::regclass ORDER BY 1"


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_deferred_indexes(servers, hyperfill, kind):
    source = make_source(servers)
    target = servers[kind].create_database()
    create_cpu(target, hypertable=kind != "pg15")
    target.execute(MORE_INDEXES + "; COMMENT ON INDEX cpu_host IS 'by host'")
    before = target.rows(TABLE_INDEXES)
    arguments = ("--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                 "--time-column", "time", "--defer-indexes")
    result = hyperfill.run("run", *arguments)
    assert "queries go without" in result.stderr
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    assert target.rows(TABLE_INDEXES) == before
    assert target.value("SELECT obj_description('cpu_host'::regclass)") == "by host"
    assert open_builds(target) == 0


@pytest.mark.parametrize("target_shape, kind", [(False, "pg15"), (True, "ts17")], ids=["plain", "hypertable"])
def test_deferred_indexes_and_kills(servers, hyperfill, chance, target_shape, kind):
    backfill = make_backfill(hyperfill, servers, "postgres", kind, target_shape, rows=200_000)
    backfill.arguments += ["--defer-indexes"]
    target = backfill.target
    target.execute("CREATE INDEX cpu_host ON cpu (hostname, time DESC); CREATE INDEX ON cpu (upper(hostname))")
    before = target.rows(TABLE_INDEXES)
    backfill.kill_at_random(chance, 6)
    assert target.rows(TABLE_INDEXES) == before
    assert open_builds(target) == 0


def test_deferred_indexes_are_back_after_clean(servers, hyperfill, chance):
    backfill = make_backfill(hyperfill, servers, "postgres", "pg15", False, rows=200_000)
    backfill.arguments += ["--defer-indexes"]
    target = backfill.target
    target.execute("CREATE INDEX cpu_host ON cpu (hostname, time DESC)")
    before = target.rows(TABLE_INDEXES)
    for rows in (20_000, 1, 20_000, 1):
        process = backfill.start()
        backfill.wait_for(process, rows)
        process.kill()
        target.wait_until_alone()
        if target.rows(TABLE_INDEXES) != before:
            break
        backfill.begin_anew()
    assert target.rows(TABLE_INDEXES) != before
    hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu", "--yes")
    assert target.rows(TABLE_INDEXES) == before


def test_deferring_is_refused_where_it_is_not_needed(servers, hyperfill):
    source = make_source(servers, rows=2000)
    target = make_target(servers["ts18"])
    result = hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                           "--defer-indexes", check=USAGE)
    assert "one by one" in result.stderr
