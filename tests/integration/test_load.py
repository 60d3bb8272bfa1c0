"""The main job end to end: each kind of source into each kind of target, and what is promised of a run besides exactness."""

import json
import random
import subprocess

import pytest

from harness import create_cpu, fill_cpu

UNTIL = "2024-04-01T00:00:00Z"


def target_for(servers, kind, layout):
    database = servers[kind].create_database()
    create_cpu(database, hypertable=layout)
    return database


@pytest.fixture(params=["pg15 plain", "pg15 partitioned", "ts17 hypertable", "ts18 hypertable"])
def target(request, servers):
    kind, layout = request.param.split()
    return target_for(servers, kind, {"plain": False, "partitioned": "partitioned", "hypertable": True}[layout])


@pytest.fixture
def source(servers):
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    fill_cpu(database, 60000, hosts=20)
    database.execute("create index on cpu (time)")
    return database


def export(database, path, shuffle=False):
    """The table as a CSV file with a header."""
    database.copy_out("copy (select * from cpu order by time) to stdout (format csv, header)", path)
    if shuffle:
        header, *records = path.read_text().splitlines(keepends=True)
        random.Random(7).shuffle(records)
        path.write_text(header + "".join(records))


@pytest.mark.pipeline
def test_postgres(hyperfill, source, target):
    result = hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--time-column", "time",
                           "--until", UNTIL, "--jobs", "3", "--memory", "16MB")
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    assert "60,000" in result.stderr
    # Again: it is known to be complete.
    assert "nothing to do" in hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--time-column", "time", "--table",
                                            "cpu", "--until", UNTIL).stderr
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


@pytest.mark.pipeline
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("through", ["file", "stdin"])
def test_csv(hyperfill, source, target, tmp_path, shuffle, through):
    path = tmp_path / "cpu.csv"
    export(source, path, shuffle)
    arguments = ["--target", target.conninfo, "--table", "cpu", "--time-column", "time", "--jobs", "3", "--memory", "16MB"]
    if through == "file":
        hyperfill.run("run", "--source", str(path), *arguments)
    else:
        hyperfill.run("run", "--source", "-", *arguments, stdin=path.read_bytes())
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


def test_from_and_until_are_half_open(hyperfill, source, target, tmp_path):
    window = ["--from", "2024-03-01T01:00:00Z", "--until", "2024-03-01T02:00:00Z"]
    where = "time >= '2024-03-01 01:00+00' and time < '2024-03-01 02:00+00'"
    hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--time-column", "time", *window)
    assert target.fingerprint("cpu") == source.fingerprint("cpu", where=where)
    # The same from a file, as another job beside it.
    target.execute("truncate cpu")
    path = tmp_path / "cpu.csv"
    export(source, path)
    hyperfill.run("run", "--source", str(path), "--target", target.conninfo, "--table", "cpu", "--time-column", "time", "--checkpoint", "csv", *window)
    assert target.fingerprint("cpu") == source.fingerprint("cpu", where=where)


def test_columns_that_are_generated_or_missing_in_the_source(hyperfill, servers):
    source = servers["pg15"].create_database()
    target = servers["ts17"].create_database()
    source.execute("create table m (extra int, v float8, \"When\" timestamptz not null)")
    source.execute("insert into m select g, g, timestamptz '2024-01-01 00:00+00' + g * interval '1 minute' "
                   "from generate_series(1, 5000) g")
    target.execute("create table m (\"When\" timestamptz not null, v float8, twice float8 generated always as (v * 2) stored)")
    target.execute("select create_hypertable('m', 'When', chunk_time_interval => interval '6 hours')")
    hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "m", "--until", UNTIL)
    assert target.rows("select count(*), sum(v), sum(twice) from m") == [(5000, 12502500.0, 25005000.0)]


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_order_of_work(hyperfill, source, target, order):
    hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--time-column", "time", "--until", UNTIL,
                  "--jobs", "1", "--readers", "1", "--order", order, "--range-interval", "1h")
    lows = [row[0] for row in target.rows("select lo from hyperfill.piece order by committed")]
    assert len(lows) > 5
    assert lows == sorted(lows, reverse=order == "newest")


def test_plan_touches_nothing(hyperfill, source, target):
    result = hyperfill.run("plan", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--time-column", "time", "--until", UNTIL)
    assert "ranges" in result.stdout and "60,0" in result.stdout
    assert target.value("select count(*) from cpu") == 0
    assert target.value("select count(*) from pg_namespace where nspname = 'hyperfill'") == 0


def test_json_events_are_objects_a_line(hyperfill, source, target):
    result = hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--time-column", "time", "--until",
                           UNTIL, "--progress", "json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[0]["event"] == "start" and events[-1]["event"] == "summary"


@pytest.mark.parametrize("order", ["ordered", "shuffled"])
def test_memory_stays_under_its_bound(hyperfill, servers, tmp_path, order):
    """Rows of about a megabyte: peak RSS at --memory 64MB is under 96 MB, and nothing is lost."""
    binary = hyperfill.binary
    if "sanitize" in str(binary):
        pytest.skip("a sanitizer's own memory is not the program's")
    generator = binary.parent / "hyperfill-generate"
    target = servers["ts17"].create_database()
    path = tmp_path / "fat.csv"
    with open(path, "wb") as file:
        subprocess.run([generator, "--shape", "fat", "--rows", "200", "--order", order], stdout=file, check=True)
    header = path.open().readline().strip().split(",")
    target.execute("create table fat (time timestamptz not null, %s)"
                   % ", ".join(f"{name} text" for name in header if name != "time"))
    target.execute("select create_hypertable('fat', 'time', chunk_time_interval => interval '6 hours')")
    process = hyperfill.start("run", "--source", str(path), "--target", target.conninfo, "--table", "fat", "--memory", "64MB",
                              "--progress", "none")
    peak = process.peak_kilobytes()
    process.wait(check=0)
    assert target.value("select count(*) from fat") == 200
    assert 0 < peak < 96 * 1024
