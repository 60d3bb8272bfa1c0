"""Several CSV inputs of one job: found, in any order of columns, each row once however the run is interrupted."""

import datetime
import os

import pytest

from harness import SEED, START, create_cpu, fill_cpu
from test_kill import HOSTS, Backfill
from test_nab import FILES, FOLDER, database  # noqa: F401 (a fixture)

ROWS = 120_000
FILE_COUNT = 40
COLUMNS = "time, tags_id, hostname, usage_user, usage_system"


@pytest.fixture
def source(servers):
    source = servers["pg15"].create_database()
    create_cpu(source, hypertable=False)
    fill_cpu(source, ROWS, hosts=HOSTS, seed=SEED % 1000)
    source.execute("UPDATE cpu SET hostname = E'host \"three\",\\nof\\r\\nmany' WHERE tags_id = 3")
    return source


def target_of(servers, kind="ts17", shape=True):
    target = servers[kind].create_database()
    create_cpu(target, hypertable=shape, chunk="2 hours", until=START + datetime.timedelta(days=6))
    return target


def write_files(source, folder, condition, count=FILE_COUNT, options="HEADER"):
    """`condition` says with {i} and {count} which rows are in the i-th file."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        where = condition.format(i=i, count=count)
        # Each file has an order of columns of its own.
        columns = "*" if i % 2 == 0 or options == "HEADER false" else ", ".join(reversed(column_names(source)))
        source.copy_out(f"COPY (SELECT {columns} FROM cpu WHERE {where} ORDER BY time) TO STDOUT (FORMAT csv, {options})", folder / f"part {i:02}.csv")
    return folder


def column_names(database):
    return [name for (name,) in database.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'cpu'::regclass AND attnum > 0 ORDER BY attnum")]


# Files that follow each other in time, and files that share all of it.
SPLITS = {
    "by time": "(extract(epoch FROM time)::bigint / 10) * {count} / 12000 %% {count} = {i}".replace("%%", "%"),
    "by host": "hashint4(tags_id) & 1023 BETWEEN 1024 * {i} / {count} AND 1024 * ({i} + 1) / {count} - 1",
    "by row": "abs(hashtextextended(time::text || tags_id, 7) % {count}) = {i}",
}


def run(hyperfill, target, *arguments, check=0):
    return hyperfill.run("run", "--target", target.conninfo, "--table", "cpu", "--progress", "none", *arguments, check=check)


@pytest.mark.pipeline
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind, shape", [("ts17", True), ("pg15", "partitioned"), ("pg15", False)], ids=["hypertable", "partitioned", "plain"])
def test_folder(hyperfill, servers, source, split, kind, shape):
    target = target_of(servers, kind, shape)
    folder = write_files(source, hyperfill.folder / "data", SPLITS[split])
    more = ["--time-column", "time", "--range-interval", "1h"] if shape is False else []
    run(hyperfill, target, "--source", folder, *more)
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


def test_replace_deletes_once_for_all_inputs(hyperfill, servers, source):
    # Rows of others are in each range; each range gets rows of each of the files, by several writers.
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by row"], count=12)
    for kept in range(3):
        target.execute(f"TRUNCATE cpu; INSERT INTO cpu (time, tags_id) SELECT time, -1 FROM generate_series('{START}'::timestamptz, '{START}'::timestamptz + '33 hours', '1 minute') time")
        run(hyperfill, target, "--source", folder, "--overlap", "replace", "--jobs", 4, "--readers", 4, "--memory", "16MB", "--yes", "--range-interval", "20m", "--checkpoint", f"{kept}.checkpoint")
        assert target.fingerprint("cpu") == source.fingerprint("cpu")
        hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu", "--yes")


def test_overlap_error_looks_at_all_inputs(hyperfill, servers, source):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=8)
    last = source.value("SELECT max(time) FROM cpu")
    target.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{last}', -1)")
    result = run(hyperfill, target, "--source", folder, check=3)
    assert "already has 1 row in 1 range" in result.stderr
    assert target.value("SELECT count(*) FROM cpu") == 1


@pytest.mark.parametrize("split", ["by time", "by row"])
def test_killed_with_forty_files_at_once(hyperfill, servers, source, chance, split):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS[split])
    backfill = Backfill(hyperfill, source, ["--source", folder], target)

    def other_speed(number):
        return ["--jobs", chance.choice(["1", "2", "4"]), "--readers", chance.choice(["1", "2", "3", "8"]), "--memory", chance.choice(["16MB", "64MB"])]

    backfill.kill_at_random(chance, 20, other_speed)


# ---- Finding


def test_pattern_and_list(hyperfill, servers, source):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=6)
    (folder / "part 05.csv").rename(folder / "other.csv")
    result = run(hyperfill, target, "--source", f"{folder}/part*.csv", "--source", folder / "other.csv")
    assert target.fingerprint("cpu") == source.fingerprint("cpu")
    # The same inputs, named another way: the same job.
    result = run(hyperfill, target, "--source", folder)
    assert "nothing to do" in result.stderr, result


def test_standard_input_among_files(hyperfill, servers, source):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=4)
    stdin = (folder / "part 01.csv").read_bytes()
    (folder / "part 01.csv").unlink()
    hyperfill.run("run", "--target", target.conninfo, "--table", "cpu", "--source", folder, "--source", "-", "--progress", "none", stdin=stdin)
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


def test_other_files_of_a_folder_are_left_out(hyperfill, servers, source):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=2)
    (folder / "README").write_text("no data")
    (folder / "hyperfill-cpu.checkpoint").write_text("no data")
    result = run(hyperfill, target, "--source", folder)
    assert "2 files of other names" in result.stderr
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["data/none*.csv"], "--source data/none*.csv: there is no file that matches"),
        (["data/part 00.csv", "data/part 00.csv"], "names data/part 00.csv twice"),
        (["data/part 00.csv", "data/link.csv"], "are the same file"),
        (["data/part 00.csv", "data/missing.csv"], "cannot open data/missing.csv"),
        (["data/part 00.csv", "dbname=x"], "a database cannot be one of several sources"),
        (["-", "-"], "names standard input twice"),
        (["empty"], "--source empty: there is no file named *.csv"),
    ],
)
def test_refused(hyperfill, servers, source, arguments, said):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=1)
    os.link(folder / "part 00.csv", folder / "link.csv")
    (hyperfill.folder / "empty").mkdir()
    options = [word for argument in arguments for word in ("--source", argument)]
    result = hyperfill.run("run", "--target", target.conninfo, "--table", "cpu", *options, check=2)
    assert said in result.stderr
    assert target.value("SELECT count(*) FROM cpu") == 0


def test_bad_row_names_its_file(hyperfill, servers, source):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=5, options="HEADER false")
    with open(folder / "part 03.csv", "a") as file:
        lines = len((folder / "part 03.csv").read_bytes().split(b"\n"))
        file.write("2024-01-01 00:00:00+00,x\n")
    result = run(hyperfill, target, "--source", folder, "--no-header", check=3)
    assert "part 03.csv: target" in result.stderr.splitlines()[0]
    assert f"at line {lines}, byte" in result.stderr


# ---- The inputs changed


@pytest.mark.parametrize("change", ["more", "fewer", "edited", "edited in place", "touched", "renamed"])
def test_changed_inputs_are_refused(hyperfill, servers, source, change):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=6)
    backfill = Backfill(hyperfill, source, ["--source", folder], target)
    # It cannot be completed before it is changed.
    target.execute(f"ALTER TABLE cpu ADD CONSTRAINT early CHECK (time < '{START + datetime.timedelta(hours=20)}')")
    assert backfill.start("--memory", "16MB").wait(check=3) and backfill.progress() > 0
    target.execute("ALTER TABLE cpu DROP CONSTRAINT early")
    part = folder / "part 03.csv"
    size, facts = part.stat().st_size, part.stat()
    if change == "more":
        (folder / "part 99.csv").write_text(",".join(column_names(source)) + "\n")
    elif change == "fewer":
        part.unlink()
    elif change == "edited in place":
        content = bytearray(part.read_bytes())
        content[-3] ^= 1
        part.write_bytes(content)
        os.utime(part, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    elif change == "touched":
        os.utime(part, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    elif change == "edited":
        with open(part, "a") as file:
            file.write(part.read_text().splitlines()[-1] + "\n")
    else:
        part.rename(folder / "zart 03.csv")
    for more in ([], ["--checkpoint", "other.checkpoint"]):
        before = backfill.progress()
        result = backfill.start(*more).wait(check=2)
        assert "source" in result.stderr and ("now" in result.stderr), result
        assert backfill.progress() == before
        told = {line.split('"')[1][-len("part 03.csv") :]: line.split('": ')[1] for line in result.stderr.splitlines() if line.strip().startswith('input "')}
        if more:
            # The list is in the first file.
            assert told == {}
        elif change == "more":
            assert told.keys() == {"part 99.csv"} and told["part 99.csv"].startswith("added, ")
        elif change == "fewer":
            assert told.keys() == {"part 03.csv"}, result
            assert told["part 03.csv"].startswith(f"removed, was {size} bytes of 20")
        elif change == "edited":
            assert told.keys() == {"part 03.csv"}
            assert told["part 03.csv"].startswith(f"was {size} bytes of ") and f"now {part.stat().st_size} bytes of " in told["part 03.csv"]
        elif change == "edited in place":
            assert told == {"part 03.csv": "other content, of the same size and time"}
        elif change == "touched":
            was, now = told.pop("part 03.csv").split(", now ")
            assert was != "was " + now and was.startswith(f"was {size} bytes") and now.startswith(f"{size} bytes") and told == {}
        else:
            assert told.keys() == {"part 03.csv", "zart 03.csv"} and told["zart 03.csv"].startswith("added")


def test_many_changed_inputs_are_told_in_few_lines(hyperfill, servers, source):
    target = target_of(servers)
    folder = write_files(source, hyperfill.folder / "data", SPLITS["by time"], count=3)
    for i in range(300):
        (folder / f"{'long name ' * 20}{i:03}.csv").write_text(",".join(column_names(source)) + "\n")
    target.execute("ALTER TABLE cpu ADD CHECK (usage_user < -1)")
    run(hyperfill, target, "--source", folder, check=3)
    for file in folder.glob("long*"):
        file.write_text(file.read_text() * 2)
    result = run(hyperfill, target, "--source", folder, check=2)
    assert result.stderr.count('input "') == 5 and "and 295 more inputs" in result.stderr, result
    assert "Give the options of that job" in result.stderr


# ---- Real data


@pytest.mark.skipif(not FILES, reason=f"no CSV files in {FOLDER}")
def test_all_of_nab_in_one_run(database, hyperfill):  # noqa: F811
    for rest in ("TABLE IF EXISTS nab", "TABLE IF EXISTS by_copy", "SCHEMA IF EXISTS hyperfill CASCADE"):
        database.execute(f"SET client_min_messages = error; DROP {rest}")
    database.execute("CREATE TABLE by_copy (timestamp timestamp, value double precision, series text)")
    database.execute("CREATE TABLE nab (timestamp timestamp NOT NULL, value double precision, series text)")
    database.rows("SELECT create_hypertable('nab', 'timestamp', chunk_time_interval => interval '7 days')")
    for file in FILES:
        database.copy_in("COPY by_copy (timestamp, value) FROM STDIN (FORMAT csv, HEADER)", file)
        database.execute("UPDATE by_copy SET series = %s WHERE series IS NULL", [file.stem])
    sources = [word for folder in sorted({file.parent for file in FILES}) for word in ("--source", folder)]
    hyperfill.run("run", *sources, "--target", database.conninfo, "--table", "nab", "--set", "series={stem}", "--progress", "none")
    assert database.fingerprint("nab") == database.fingerprint("by_copy")
    assert database.value("SELECT count(DISTINCT series) FROM nab") == len(FILES) == 41


# ---- Order


@pytest.mark.pipeline
def test_records_of_an_input_keep_their_order_within_a_range(hyperfill, servers, chance):
    target = servers["ts17"].create_database()
    target.execute("CREATE TABLE m (time bigint NOT NULL, input int, line int, note text, stored bigserial)")
    target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => 1000)")
    folder = hyperfill.folder / "data"
    folder.mkdir()
    for i in range(4):
        # Each file is larger than what memory has room for, so that none can be read before the others have begun.
        lines = (f"{chance.randrange(5000)},{i},{line},{'x' * 250}" for line in range(40_000))
        (folder / f"{i}.csv").write_text("time,input,line,note\n" + "\n".join(lines) + "\n")
    more = ["--memory", "16MB", "--jobs", 3, "--readers", 4, "--range-interval", "250", "--progress", "none"]
    hyperfill.run("run", "--source", folder, "--target", target.conninfo, "--table", "m", *more)
    assert target.value("SELECT count(*) FROM m") == 160_000
    disorder = "SELECT count(*) FROM (SELECT line < lag(line) OVER (PARTITION BY input, time / 250 ORDER BY stored) AS back FROM m) r WHERE back"
    assert target.value(disorder) == 0
    # The files were read side by side, else the order would be no wonder: one after the other they take turns three times.
    assert target.value("SELECT count(*) FROM (SELECT input <> lag(input) OVER (ORDER BY stored) AS turn FROM m) r WHERE turn") > 8


# ---- Memory


@pytest.mark.parametrize("memory, bound", [("16MB", 48), ("64MB", 96)])
def test_many_readers_stay_within_the_memory(hyperfill, servers, memory, bound):
    """Rows of 400 kB in 24 files: those that are read at once share --memory, but never so that a usual record has no room."""
    if "san" in str(hyperfill.binary):
        pytest.skip("a sanitizer's own memory is not the program's")
    target = servers["ts17"].create_database()
    target.execute("CREATE TABLE m (time bigint NOT NULL, note text)")
    target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => 1000)")
    folder = hyperfill.folder / "data"
    folder.mkdir()
    for i in range(24):
        (folder / f"{i:02}.csv").write_text("time,note\n" + "".join(f"{line * 37 % 2000},{'x' * 400_000}\n" for line in range(25)))
    process = hyperfill.start("run", "--source", folder, "--target", target.conninfo, "--table", "m", "--memory", memory, "--readers", "24", "--progress", "none")
    peak = process.peak_kilobytes()
    process.wait(check=0)
    print(f"peak {peak} kB")
    assert target.value("SELECT count(*) FROM m") == 600
    assert 0 < peak < bound * 1024
