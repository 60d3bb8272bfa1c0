"""The time column: all its types, and times that are written without a zone."""

import re

import pytest

from harness import DATA, SERVER, USAGE
from harness.target import GOOD, HEADER, assert_place, stored


# ---- Types of the time column

TIME_TYPES = {
    "date": ("1 day", "1d", ["2024-03-01", "2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"], "2024-03-04"),
    "timestamp": (
        "1 day",
        "1d",
        ["2024-03-01 00:00:00", "2024-03-01 23:59:59.999999", "2024-03-02 00:00:00", "2024-03-03 12:00:00.5", "2024-03-04 01:00:00"],
        "2024-03-04 01:00:00",
    ),
    "timestamptz": (
        "1 day",
        "1d",
        ["2024-03-01 00:00:00+00", "2024-03-02 01:00:00+02", "2024-03-02 00:00:00Z", "2024-03-03 12:00:00.5-08", "2024-03-04 01:00:00+00"],
        "2024-03-04 01:00:00+00",
    ),
    "smallint": (1000, "1000", ["-32768", "-1", "0", "999", "1000", "32767"], "32767"),
    "integer": (1000, "1000", ["-5000", "-1", "0", "999", "1000", "5000"], "5000"),
    "bigint": (1000000, "1000000", ["-5000000000", "-5000000000", "0", "999999", "1000000", "5000000000"], "5000000000"),
}
EDGES = {
    "smallint": ("MINVALUE", "-1000", "0", "1000", "MAXVALUE"),
    "integer": ("-10000", "-1000", "0", "1000", "10000"),
    "bigint": ("-9000000000", "0", "1000000", "9000000000"),
}


def create_typed(target, type_name):
    interval, target.interval, values, until = TIME_TYPES[type_name]
    columns = f"time {type_name} NOT NULL, value text"
    if target.shape == "partitioned" and type_name in EDGES:
        target.database.execute(f"CREATE TABLE m ({columns}) PARTITION BY RANGE (time)")
        for number, (low, high) in enumerate(zip(EDGES[type_name], EDGES[type_name][1:])):
            target.database.execute(f"CREATE TABLE part_{number} PARTITION OF m FOR VALUES FROM ({low}) TO ({high})")
    else:
        target.create(columns=columns, interval=interval)
    return columns, values, until


@pytest.mark.parametrize("type_name", TIME_TYPES)
def test_time_types_from_csv(target, hyperfill, type_name):
    _, values, until = create_typed(target, type_name)
    file = target.file("time,value\n" + "".join(f"{value},v{number}\n" for number, value in enumerate(values)))
    hyperfill.run("run", *target.options(file, "--checkpoint", "all"))
    assert target.database.fingerprint("m") == target.copied(file)
    target.database.execute("TRUNCATE m")
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
    hyperfill.run("run", *target.options(file, "--until", until, "--checkpoint", "part"))
    assert target.database.fingerprint("m") == target.database.fingerprint("by_copy", where=f"time < '{until}'")
    assert target.database.value("SELECT count(*) FROM m") == len(values) - 1


@pytest.mark.parametrize("type_name", TIME_TYPES)
def test_time_types_from_postgresql(target, hyperfill, type_name):
    columns, values, until = create_typed(target, type_name)
    source = target.server.create_database()
    source.execute(f"CREATE TABLE m ({columns})")
    for number, value in enumerate(values):
        source.execute("INSERT INTO m VALUES (%s, %s)", [value, f"v{number}"])
    hyperfill.run("run", *target.options(source.conninfo, "--until", until))
    assert target.database.fingerprint("m") == source.fingerprint("m", where=f"time < '{until}'")
    assert target.database.value("SELECT count(*) FROM m") == len(values) - 1


@pytest.mark.parametrize("type_name", ["text", "double precision", "numeric", "boolean"])
def test_time_column_of_a_wrong_type(make_target, hyperfill, type_name):
    target = make_target("pg15-plain")
    target.database.execute(f"CREATE TABLE m (time {type_name}, value float8, note text)")
    result = hyperfill.run("run", *target.options(target.file(HEADER + "".join(GOOD))), check=USAGE)
    assert '"time"' in result.stderr and type_name in result.stderr, result
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None


def test_time_column_of_another_type_in_the_source(one_of_each, hyperfill):
    target = one_of_each.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time text, value float8, note text); INSERT INTO m VALUES ('2024-03-01 00:00:00+00', 1, 'a')")
    result = hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"), check=None)
    assert result.status in (USAGE, SERVER) and "time" in result.stderr, result
    assert stored(target) == []


# ---- Times without a zone


@pytest.mark.parametrize("bound", ["--from", "--until"])
def test_bound_without_zone_is_refused_with_two_ways_to_write_it(target, hyperfill, bound):
    target.create()
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", *target.options(file, bound, "2024-03-02 00:00:00"), check=USAGE)
    ways = re.findall(r"2024-03-02 00:00:00(?:Z|[+-]\d\d(?::\d\d)?)", result.stderr)
    assert bound in result.stderr and "zone" in result.stderr and len(set(ways)) == 2, result
    # Both ways are taken as they are printed.
    for number, way in enumerate(sorted(set(ways))):
        hyperfill.run("plan", *target.options(file, bound, way, "--checkpoint", f"way{number}"))
    assert stored(target) == []


@pytest.mark.parametrize("bound", ["yesterday", "2024-13-01 00:00:00Z", "", "2024-03-01 00:00:00+99:00", "infinity", "5"])
def test_bound_that_is_no_time_is_refused(make_target, hyperfill, bound):
    target = make_target("pg15-plain").create()
    result = hyperfill.run("run", *target.options(target.file(HEADER + "".join(GOOD)), "--until", bound), check=USAGE)
    assert "--until" in result.stderr, result
    assert stored(target) == []


def test_times_without_zone_in_csv(target, hyperfill):
    target.create()
    file = target.file(HEADER + "2024-03-01 00:00:00+00,1,a\n2024-03-01 12:00:00,2,b\n2024-03-02 00:00:00,3,c\n")
    line, offset = 3, len(HEADER) + len("2024-03-01 00:00:00+00,1,a\n")
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, line, offset)
    assert "zone" in result.stderr
    # With a zone it is another job, so the first one is forgotten.
    target.database.execute("TRUNCATE m")
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
    hyperfill.run("run", *target.options(file, "--timezone", "+05:30", "--checkpoint", "zoned"))
    # In POSIX zones as SET takes them the sign is the other way round: an interval says it plainly.
    assert target.copied(file, zone="<+0530>-05:30") == target.database.fingerprint("m")
    assert target.database.value("SELECT count(*) FROM m WHERE time = '2024-03-01 12:00:00+05:30'") == 1


def test_server_time_zone_changes_nothing(target, hyperfill):
    target.create()
    target.database.execute(f"ALTER DATABASE {target.database.name} SET timezone = 'America/New_York'")
    target.database.execute(f"ALTER DATABASE {target.database.name} SET datestyle = 'German, DMY'")
    file = target.file(HEADER + "2024-03-01 00:30:00,1,a\n2024-03-04 12:00:00,2,b\n")
    hyperfill.run("run", *target.options(file, "--timezone", "UTC"))
    assert target.database.value("SELECT count(*) FROM m WHERE time IN ('2024-03-01T00:30:00Z', '2024-03-04T12:00:00Z')") == 2
