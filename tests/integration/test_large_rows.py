"""Large rows: loaded where memory allows, else refused by name with the memory to give; never cut."""

import os
import re
import threading

import pytest

DATA = 3
HEADER = b"time,value,note\n"
FIRST = b"2024-03-01 00:00:00+00,1,first\n"
LARGE = b"2024-03-01 06:00:00+00,2,"
LAST = b"2024-03-02 00:00:00+00,3,last\n"
GIGABYTE = 1 << 30
COLUMNS = "time timestamptz NOT NULL, value double precision, note text"


@pytest.fixture(params=["pg15", "ts17"])
def database(request, servers):
    database = servers[request.param].create_database()
    database.execute(f"CREATE TABLE m ({COLUMNS}); CREATE TABLE by_copy ({COLUMNS})")
    if database.server.has_timescaledb:
        database.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
    return database


def arguments(database, source, *more):
    plain = [] if database.server.has_timescaledb else ["--time-column", "time", "--range-interval", "1d"]
    return ["run", "--source", source, "--target", database.conninfo, "--table", "m", "--progress", "plain", *plain, *more]


def assert_named(result, name):
    """The line and byte of the large row, its input, and the memory to give; returns that."""
    assert name in result.stderr, result
    assert f"line 3, byte {len(HEADER) + len(FIRST)}" in result.stderr, result
    return re.search(r"raise --memory to (\d+MB)", result.stderr)[1]


# ---- 46 MB of records of several lines: timescaledb-parallel-copy loses its way in them at 4 MiB


def test_many_records_of_several_lines(database, hyperfill, tmp_path):
    text = "\n".join(f"line {number}, with a comma" for number in range(107))
    file = tmp_path / "lines.csv"
    with open(file, "w", newline="") as opened:
        opened.write(HEADER.decode())
        for number in range(20_000):
            opened.write(f'2024-03-{1 + number // 5000:02} 00:00:00+00,{number},"{number}\n""{text}\n"\n')
    assert 46_000_000 < file.stat().st_size < 52_000_000
    hyperfill.run(*arguments(database, file))
    assert database.copy_in("COPY by_copy FROM STDIN (FORMAT csv, HEADER)", file) == 20_000
    assert database.fingerprint("m") == database.fingerprint("by_copy")


# ---- A gigabyte in one row


def feed(fd, begin):
    """A gigabyte, or what is taken of it."""
    taken, block = 0, b"x" * 65535 + b"\n"
    try:
        with open(fd, "wb", buffering=0) as pipe:
            pipe.write(begin)
            while taken < GIGABYTE:
                taken += pipe.write(block)
            pipe.write(b'"\n' + LAST)
    except BrokenPipeError:
        pass
    return taken


def test_gigabyte_in_a_pipe(database, hyperfill):
    taken = []
    read_end, write_end = os.pipe()
    feeder = threading.Thread(target=lambda: taken.append(feed(write_end, HEADER + FIRST + LARGE + b'"')))
    with open(read_end, "rb") as stdin:
        process = hyperfill.start(*arguments(database, "-"), stdin=stdin)
    feeder.start()
    peak = process.peak_kilobytes() << 10
    result = process.wait(check=DATA)
    feeder.join()
    assert_named(result, "standard input")
    assert "is a quote not closed that opens in line 3?" in result.stderr
    # Read no further than the memory goes, and held no more than that.
    assert taken[0] < 256 << 20
    if "sanitize" not in str(hyperfill.binary):
        assert 0 < peak < (256 + 32) << 20
    assert database.value("SELECT count(*) FROM m WHERE value <> 1") == 0


def test_gigabyte_in_a_file(database, hyperfill, tmp_path):
    file = tmp_path / "hole.csv"
    with open(file, "wb") as opened:
        opened.write(HEADER + FIRST + LARGE)
        # A hole takes no room on the disk.
        opened.seek(GIGABYTE, os.SEEK_CUR)
        opened.write(b"\n" + LAST)
    result = hyperfill.run(*arguments(database, file), check=DATA)
    assert_named(result, "hole.csv")
    assert "quote" not in result.stderr
    assert database.value("SELECT count(*) FROM m WHERE value <> 1") == 0


# ---- 50 MB in one row


@pytest.mark.parametrize("lines", [False, True], ids=["one-line", "quoted-lines"])
def test_fifty_megabytes(database, hyperfill, tmp_path, lines):
    file = tmp_path / "large.csv"
    with open(file, "wb") as opened:
        opened.write(HEADER + FIRST + LARGE)
        opened.write(b'"' + (b"y" * 999 + b"\n") * 50_000 + b'"' if lines else b"y" * 50_000_000)
        opened.write(b"\n" + LAST)
    # What is named is more each time, and enough in the end. Memory is no part of the job: it goes on.
    memory, tried = "64MB", []
    while (result := hyperfill.run(*arguments(database, file, "--memory", memory), check=None)).status == DATA:
        tried.append(memory)
        memory = assert_named(result, "large.csv")
    assert result.status == 0, result
    assert 1 <= len(tried) <= 3 and memory not in tried, (tried, memory)
    database.copy_in("COPY by_copy FROM STDIN (FORMAT csv, HEADER)", file)
    assert database.fingerprint("m") == database.fingerprint("by_copy")


def test_fifty_megabytes_at_defaults(database, hyperfill):
    content = HEADER + FIRST + LARGE + b"y" * 50_000_000 + b"\n" + LAST
    hyperfill.run(*arguments(database, "-"), stdin=content)
    assert database.rows("SELECT value, length(note) FROM m ORDER BY time") == [(1, 5), (2, 50_000_000), (3, 4)]


# ---- From a database: libpq gathers each row, and has it twice for a moment


@pytest.fixture
def source(servers):
    database = servers["pg15"].create_database()
    database.execute(f"CREATE TABLE m ({COLUMNS}); CREATE INDEX ON m (time)")
    return database


def from_database(database, source, *more):
    return arguments(database, source.conninfo, "--until", "2024-04-01 00:00:00Z", *more)


def assert_peak_below(hyperfill, peak, megabytes):
    if "sanitize" not in str(hyperfill.binary):
        assert 0 < peak < megabytes << 20, peak >> 20


@pytest.mark.parametrize("wire", ["csv", "auto"])
def test_rows_of_a_megabyte_of_a_database(database, source, hyperfill, wire):
    source.execute(
        "INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * interval '30 min', n, repeat(md5(n::text), 32768) FROM generate_series(1, 150) n"
    )
    process = hyperfill.start(*from_database(database, source, "--memory", "64MB", "--wire", wire))
    peak = process.peak_kilobytes() << 10
    process.wait(check=0)
    assert_peak_below(hyperfill, peak, 96)
    assert database.fingerprint("m") == source.fingerprint("m")


def test_fifty_megabytes_of_a_database(database, source, hyperfill):
    source.execute("INSERT INTO m VALUES ('2024-03-01+00', 1, 'first'), ('2024-03-05+00', 3, 'last')")
    source.execute("INSERT INTO m VALUES ('2024-03-03+00', 2, repeat('y', 50000000))")
    memory, tried = "64MB", []
    while True:
        process = hyperfill.start(*from_database(database, source, "--memory", memory))
        peak = process.peak_kilobytes() << 10
        result = process.wait(check=None)
        # Where it is refused libpq may have gathered it, and given a copy, if the server was as fast as we.
        refused = result.status == DATA
        assert_peak_below(hyperfill, peak, int(memory.removesuffix("MB")) + 32 + 50 * refused)
        if not refused:
            break
        assert "2024-03-03" in result.stderr, result
        # The other ranges are not held up by it.
        assert database.rows("SELECT value FROM m ORDER BY time") == [(1,), (3,)]
        tried.append(memory)
        memory = re.search(r"raise --memory to (\d+MB)", result.stderr)[1]
    assert result.status == 0, result
    assert 1 <= len(tried) <= 4 and memory not in tried, (tried, memory)
    assert database.fingerprint("m") == source.fingerprint("m")
