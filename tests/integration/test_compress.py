"""Strategy compress: rows go into the columnstore as they come, or chunks do when their rows are in."""

import concurrent.futures
import datetime

import pytest

from harness import START, Database, LiveWriter, create_cpu, fill_cpu, wait_until
from test_build import UNTIL, USAGE, open_builds
from test_build_attach import Staged, check_where_live_rows_are, owner, shape, strays  # noqa: F401 (a fixture)
from test_kill import SEED, SOURCES, make_backfill

COLUMNSTORE = "ALTER TABLE cpu SET (timescaledb.compress, timescaledb.compress_segmentby = '{}'{})"

STATUS = """
    SELECT k.status, count(*)::int FROM _timescaledb_catalog.chunk k JOIN _timescaledb_catalog.hypertable h ON h.id = k.hypertable_id
    WHERE h.table_name = 'cpu' GROUP BY 1 ORDER BY 1"""

# Size on disk of all that the chunks consist of.
SIZE = "SELECT sum(coalesce(total_bytes, 0))::bigint FROM chunks_detailed_size('cpu')"

# Batches of one segment that share a moment: a client that says its rows are in order must not make any.
OVERLAPS = """
    SELECT coalesce(sum((xpath('/row/c/text()', query_to_xml(format(
        'SELECT count(*) AS c FROM (SELECT _ts_meta_min_1 < lag(_ts_meta_max_1) OVER (PARTITION BY tags_id, hostname ORDER BY _ts_meta_min_1, _ts_meta_max_1)
         AS over FROM %s) b WHERE over', s.compress_relid), false, true, '')))[1]::text::bigint), 0)
    FROM _timescaledb_catalog.compression_settings s JOIN pg_inherits i ON i.inhrelid = s.relid WHERE i.inhparent = 'cpu'::regclass"""


def columnstore(database, segments="tags_id,hostname", more=""):
    database.execute(COLUMNSTORE.format(segments, more))


@pytest.fixture
def places(servers, community):
    return {"pg15": servers["pg15"], "community": community.server}


def make_source(database, rows=120_000, hosts=20):
    create_cpu(database, hypertable=False)
    fill_cpu(database, rows, hosts=hosts)
    database.execute("UPDATE cpu SET hostname = E'host \"three\",\\nof two' WHERE tags_id = 3; CREATE INDEX ON cpu (time)")
    return database


@pytest.fixture
def source(servers):
    return make_source(servers["pg15"].create_database())


def arguments(hyperfill, source, kind):
    if kind == "postgres":
        return ["--source", source.conninfo]
    order = "time, tags_id" if kind == "ordered" else f"hashtextextended(time::text || tags_id, {SEED})"
    path = hyperfill.folder / f"{kind}.csv"
    source.copy_out(f"COPY (SELECT * FROM cpu ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)", path)
    return ["--source", path]


def run(hyperfill, source, target, *more, kind="postgres", strategy="compress", check=0):
    return hyperfill.run("run", *arguments(hyperfill, source, kind), "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                         "--strategy", strategy, *more, check=check)


def compressed_by_the_server(hyperfill, source, database, prepare):
    """Its size, and what its chunks look like."""
    create_cpu(database)
    prepare(database)
    path = hyperfill.folder / "reference.csv"
    source.copy_out("COPY cpu TO STDOUT (FORMAT csv)", path)
    database.copy_in("COPY cpu FROM STDIN (FORMAT csv)", path)
    database.rows("SELECT compress_chunk(c) FROM show_chunks('cpu') c")
    return database.value(SIZE), shape(database)


@pytest.mark.parametrize("memory", ["256MB", "16MB"])
@pytest.mark.parametrize("kind", SOURCES)
def test_as_small_as_compress_chunk(hyperfill, source, community, kind, memory):
    create_cpu(community)
    columnstore(community)
    size, chunks = compressed_by_the_server(hyperfill, source, community.server.create_database(), columnstore)
    result = run(hyperfill, source, community, "--memory", memory, kind=kind)
    assert "all chunks" in result.stderr and "are compressed" in result.stderr
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert [status for status, _ in community.rows(STATUS)] == [1]
    assert community.value(OVERLAPS) == 0
    assert open_builds(community) == 0
    assert shape(community) == chunks
    ours = community.value(SIZE)
    print(f"{ours} bytes, compress_chunk {size}")
    assert ours <= size * 1.05
    # Queries that rely on the order of batches.
    query = "SELECT time FROM cpu WHERE tags_id = 3 ORDER BY time {} LIMIT 5000"
    for order in ("ASC", "DESC"):
        assert community.rows(query.format(order)) == source.rows(query.format(order))


def test_in_ranges(hyperfill, source, community):
    """Several pieces a chunk, each in order and none sharing a moment: nothing has to be compressed again."""
    create_cpu(community)
    columnstore(community, more=", timescaledb.compress_orderby = 'time ASC'")
    run(hyperfill, source, community, "--range-interval", "1h")
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert [status for status, _ in community.rows(STATUS)] == [1]
    assert community.value(OVERLAPS) == 0


def test_ranges_from_two_files(hyperfill, source, community):
    """Two pieces of a range overlap: the second one is not said to be in order, and all is compressed once more."""
    create_cpu(community)
    columnstore(community)
    for number in range(2):
        source.copy_out(f"COPY (SELECT * FROM cpu WHERE tags_id % 4 / 2 = {number} OR tags_id = 3) TO STDOUT (FORMAT csv, HEADER)",
                        hyperfill.folder / f"part{number}.csv")
    hyperfill.run("run", "--source", hyperfill.folder / "part*.csv", "--target", community.conninfo, "--table", "cpu",
                  "--strategy", "compress")
    assert community.value("SELECT count(*) FROM cpu") == 126_000
    assert [status for status, _ in community.rows(STATUS)] == [1]
    assert community.value(OVERLAPS) == 0


def test_readers_meanwhile(hyperfill, source, community):
    """Who reads while a chunk is put in order waits, and is not ended for a deadlock; nor are we."""
    create_cpu(community, chunk="7 days")
    columnstore(community)
    for number in range(2):
        source.copy_out(f"COPY (SELECT * FROM cpu WHERE tags_id % 2 = {number} OR tags_id = 3) TO STDOUT (FORMAT csv, HEADER)",
                        hyperfill.folder / f"part{number}.csv")
    process = hyperfill.start("run", "--source", hyperfill.folder / "part*.csv", "--target", community.conninfo, "--table", "cpu",
                              "--strategy", "compress")
    wait_until(lambda: open_builds(community) or not process.running, what="the chunk that is begun")
    first = community.connect()
    first.cursor().execute("SELECT count(*) FROM cpu WHERE tags_id < 0")
    wait_until(lambda: community.waits_for_locks() or not process.running, what="the compressing that waits for a reader")
    assert process.running, process.result()
    watcher = Database(community.server, community.name)
    second = concurrent.futures.ThreadPoolExecutor(1).submit(community.value, "SELECT count(*) FROM cpu")
    wait_until(lambda: watcher.waits_for_locks() > 1, what="another reader who waits")
    first.close()
    result = process.wait(check=0)
    assert second.result() == 126_000
    assert "retries  0" in result.stderr, result
    watcher.close()
    assert [status for status, _ in community.rows(STATUS)] == [1]
    assert community.value(OVERLAPS) == 0


DIRECT_SINCE = (2, 24)

NOT_DIRECT = {
    "unique": "CREATE UNIQUE INDEX ON cpu (tags_id, time)",
    "triggers": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
                "CREATE TRIGGER t AFTER INSERT ON cpu FOR EACH ROW EXECUTE FUNCTION f()",
    "foreign keys": "CREATE TABLE h (id int PRIMARY KEY); INSERT INTO h SELECT generate_series(0, 19);"
                    "ALTER TABLE cpu ADD FOREIGN KEY (tags_id) REFERENCES h",
    "in order": "ALTER TABLE cpu SET (timescaledb.compress_orderby = 'usage_user, time')",
}


@pytest.mark.parametrize("step", ["6h", "1h"])
@pytest.mark.parametrize("reason", NOT_DIRECT)
def test_compressed_afterwards(hyperfill, source, community, reason, step):
    def prepare(database):
        columnstore(database)
        for statement in NOT_DIRECT[reason].split(";CREATE T"):
            database.execute(statement if statement.startswith(("CREATE", "ALTER")) else "CREATE T" + statement)

    create_cpu(community)
    prepare(community)
    size, chunks = compressed_by_the_server(hyperfill, source, community.server.create_database(), prepare)
    plan = hyperfill.run("plan", "--source", source.conninfo, "--target", community.conninfo, "--table", "cpu", "--until", UNTIL,
                         "--strategy", "compress").stdout
    wanted = reason if community.timescaledb() >= DIRECT_SINCE else "not: compress: it needs TimescaleDB 2.24"
    assert "chunks are compressed once their rows are in" in plan and wanted in plan
    run(hyperfill, source, community, "--range-interval", step)
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert [status for status, _ in community.rows(STATUS)] == [1]
    assert shape(community) == chunks
    assert community.value(SIZE) <= size * 1.05


def test_compress_after_with_rows_there(hyperfill, source, community):
    create_cpu(community)
    columnstore(community)
    community.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{START}', 99)")
    run(hyperfill, source, community, "--compress-after", "--overlap", "keep", strategy="auto")
    assert community.value("SELECT count(*) FROM cpu") == 120_001
    assert [status for status, _ in community.rows(STATUS)] == [1]


def test_a_chunk_that_is_compressed_already(hyperfill, source, community):
    """What comes late goes into it as well."""
    create_cpu(community)
    columnstore(community)
    run(hyperfill, source, community)
    hyperfill.run("clean", "--target", community.conninfo, "--table", "cpu")
    again = ["--overlap", "keep", "--checkpoint", "again"]
    result = run(hyperfill, source, community, *again)
    assert "all chunks" in result.stderr
    assert community.value("SELECT count(*) FROM cpu") == 240_000
    assert [status for status, _ in community.rows(STATUS)] == [1]
    assert community.value(OVERLAPS) == 0


def test_what_stays_is_counted(hyperfill, source, community):
    """Here: rows of a part of the window that the job has nothing to do with."""
    create_cpu(community)
    columnstore(community)
    moment = START + datetime.timedelta(days=20)
    community.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{moment}', 1), ('{moment}', 2)")
    assert "2 rows in 1 chunk of" in run(hyperfill, source, community, "--overlap", "keep").stderr


def test_not_without_a_columnstore(hyperfill, source, community):
    create_cpu(community)
    assert "columnstore" in run(hyperfill, source, community, check=USAGE).stderr
    assert "append" in run(hyperfill, source, community, "--compress-after", strategy="append", check=USAGE).stderr


def test_auto_goes_by_the_policy(hyperfill, source, community):
    """What the policy would compress now is compressed; what it would leave alone is not."""
    create_cpu(community)
    columnstore(community)
    edge = START + datetime.timedelta(hours=6)
    community.execute("SELECT add_compression_policy('cpu', now() - %s::timestamptz, initial_start => 'infinity')",
                      [edge + datetime.timedelta(hours=1)])
    run(hyperfill, source, community, strategy="auto")
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    # Where rows cannot go into the columnstore as they come, it is left to the policy.
    direct = community.timescaledb() >= DIRECT_SINCE
    assert community.rows("SELECT range_start < %s, is_compressed FROM timescaledb_information.chunks"
                          " WHERE hypertable_name = 'cpu' ORDER BY 1 DESC", [edge]) == [(True, direct), (False, False), (False, False)]


@pytest.mark.parametrize("more", [[], ["--compress-after"]], ids=["direct", "after"])
def test_by_the_owner_alone(hyperfill, source, community, owner, more):
    create_cpu(community)
    columnstore(community)
    community.execute(f"ALTER TABLE cpu OWNER TO {owner}")
    hyperfill.run("run", "--source", source.conninfo, "--target", community.conninfo + f" user={owner}", "--table", "cpu",
                  "--until", UNTIL, "--strategy", "compress", *more, check=0)
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert [status for status, _ in community.rows(STATUS)] == [1]


def test_bad_rows(hyperfill, source, community):
    rows = [[str(START + datetime.timedelta(seconds=n // 10)), n % 10, f"h{n % 10}", 1.5] for n in range(20_000)]
    for number in range(500, len(rows), 5_000):
        rows[number][3] = "bad"
    path = hyperfill.folder / "bad.csv"
    path.write_text("time,tags_id,hostname,usage_user\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    create_cpu(community)
    columnstore(community)
    more = ["--source", path, "--target", community.conninfo, "--table", "cpu", "--strategy", "compress"]
    result = hyperfill.run("run", *more, check=3)
    # The record is named as it stands in the file, whatever it was sorted to.
    assert any(f"line {number + 2}" in result.stderr for number in range(500, len(rows), 5_000)), result
    hyperfill.run("run", *more, "--on-bad-row", "reject", check=8)
    assert community.value("SELECT count(*) FROM cpu") == 20_000 - 4
    assert [status for status, _ in community.rows(STATUS)] == [1]


# ---- Whatever happens in between


@pytest.mark.parametrize("way", ["direct", "after"])
@pytest.mark.parametrize("source_kind", ["postgres", "shuffled"])
def test_thirty_kills(hyperfill, places, chance, source_kind, way):
    # A chunk that is compressed once more is empty to older snapshots for that moment: then it looks again.
    backfill = make_backfill(hyperfill, places, source_kind, "community", kind=Staged)
    columnstore(backfill.target)
    backfill.arguments += ["--strategy", "compress", *(["--compress-after"] if way == "after" else [])]
    seen = []

    def look(number):
        seen.append(open_builds(backfill.target))
        return ()

    backfill.kill_at_random(chance, 30, look)
    print(f"chunks being built after the kills: {seen}")
    target = backfill.target
    assert open_builds(target) == 0 and strays(target) == []
    assert [status for status, _ in target.rows(STATUS)] == [1]
    assert target.value(OVERLAPS) == 0
    chunks = target.value("SELECT count(*) FROM show_chunks('cpu')")
    assert {row[-1] for row in shape(target) if row[0] == "index"} == {chunks}


@pytest.mark.parametrize("source_kind", ["postgres", "shuffled"])
def test_live_writer(hyperfill, places, source_kind):
    backfill = make_backfill(hyperfill, places, source_kind, "community")
    target = backfill.target
    columnstore(target)
    with LiveWriter(target, span=500_000) as writer:
        backfill.start("--overlap", "keep", "--strategy", "compress").wait(check=0)
    writer.check(backfill.expected)
    check_where_live_rows_are(target)
    assert open_builds(target) == 0
    assert target.value(OVERLAPS) == 0
