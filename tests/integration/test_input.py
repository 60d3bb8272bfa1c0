"""Input of every kind, good and bad: a load equals the server's own COPY of the file, or the error says where and nothing is half done."""

import datetime
import os
import re
import socket

import psycopg2.extensions
import pytest

import harness

USAGE, DATA, SERVER, SYSTEM = 2, 3, 4, 6
TARGETS = ("pg15-plain", "pg15-partitioned", "ts17-hypertable")
DAYS = 4


class Target:
    """A table to load into: plain, partitioned or a hypertable, cut by days (or by `step` of an integer column)."""

    def __init__(self, server, shape, tmp_path):
        self.shape = shape
        self.tmp_path = tmp_path
        self.database = server.create_database()
        self.server = server
        self.interval = "1d"

    def create(
        self,
        columns="time timestamptz NOT NULL, value double precision, note text",
        time_column="time",
        interval="1 day",
        edges=("2024-03-01 00:00+00", "2024-03-02 00:00+00", "2024-03-03 00:00+00", "2024-03-04 00:00+00", "2024-03-05 00:00+00"),
        name="m",
    ):
        database = self.database
        partitioned = self.shape == "partitioned"
        # PostgreSQL allows generated columns in a partitioned table, so that all shapes take the same columns.
        database.execute(f"CREATE TABLE {name} ({columns})" + (f" PARTITION BY RANGE ({time_column})" if partitioned else ""))
        if partitioned:
            for number, (low, high) in enumerate(zip(edges, edges[1:])):
                database.execute(f"CREATE TABLE part_{number} PARTITION OF {name} FOR VALUES FROM (%s) TO (%s)", [low, high])
        elif self.shape == "hypertable":
            bare = time_column.strip('"').replace('""', '"')
            if isinstance(interval, int):
                database.rows("SELECT create_hypertable(%s::text::regclass, %s, chunk_time_interval => %s)", [name, bare, interval])
            else:
                database.rows(
                    "SELECT create_hypertable(%s::text::regclass, %s, chunk_time_interval => %s::interval)", [name, bare, interval]
                )
        return self

    def options(self, source, *more, table="m", time_column="time"):
        plain = ["--time-column", time_column, "--range-interval", self.interval] if self.shape == "plain" else []
        return ["--source", source, "--target", self.database.conninfo, "--table", table, "--progress", "plain", *plain, *more]

    def copied(self, file, copy_options="FORMAT csv, HEADER", columns=None, zone="UTC", table="m"):
        """The fingerprint of a second table that the server filled with the file by itself."""
        names = f"({columns})" if columns else ""
        self.database.execute(
            f"DROP TABLE IF EXISTS by_copy; CREATE TABLE by_copy (LIKE {table} INCLUDING GENERATED); SET timezone = '{zone}'"
        )
        self.database.copy_in(f"COPY by_copy {names} FROM STDIN ({copy_options})", file)
        self.database.execute("RESET timezone")
        return self.database.fingerprint("by_copy")

    def file(self, content, name="f.csv"):
        path = self.tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def make_target(servers, tmp_path):
    def make(which):
        kind, shape = which.split("-")
        return Target(servers[kind], shape, tmp_path)

    return make


@pytest.fixture(params=TARGETS)
def target(request, make_target):
    return make_target(request.param)


@pytest.fixture(params=["pg15-plain", "ts17-hypertable"])
def one_of_each(request, make_target):
    return make_target(request.param)


HEADER = "time,value,note\n"
# The second record has three lines and the fourth two, so that lines and records are counted differently.
GOOD = (
    "2024-03-01 00:00:00+00,1,a\n",
    '2024-03-01 06:00:00+00,2,"b\n""b""\nb"\n',
    "2024-03-02 00:00:00+00,3,\n",
    '2024-03-02 00:00:01+00,4,"d,\nd"\n',
    "2024-03-03 00:00:00+00,5,e\n",
)
ROWS_OF_GOOD = [(1.0, "a"), (2.0, 'b\n"b"\nb'), (3.0, None), (4.0, "d,\nd"), (5.0, "e")]


def spoilt(bad, at=4):
    """The content with the bad record before the record `at`, and the line and byte offset where it begins."""
    before = HEADER + "".join(GOOD[:at])
    return before + bad + "".join(GOOD[at:]), before.count("\n") + 1, len(before.encode())


def assert_place(result, file, line, offset):
    assert file.name in result.stderr, result
    assert re.search(rf"\bline {line}, byte {offset}\b", result.stderr), f"expected line {line}, byte {offset}: {result!r}"


def stored(target):
    return target.database.rows("SELECT value, note FROM m ORDER BY time, value")


def assert_no_stranger(target, allowed):
    """Whatever is in the table is of the file, and nothing is in it twice."""
    rows = stored(target)
    assert len(rows) == len(set(rows)), rows
    assert set(rows) <= set(allowed), rows


# ---- Files that load as COPY loads them


def newline_file(end, final):
    records = ["time,value,note", "2024-03-01 00:00:00+00,1,a", "2024-03-02 00:00:00+00,2,b", '2024-03-02 00:00:00+00,,""']
    return end.join(records) + (end if final else "")


@pytest.mark.parametrize("final", [True, False], ids=["final", "no-final"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_line_ends(target, hyperfill, end, final):
    target.create()
    file = target.file(newline_file(end, final))
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)
    assert target.database.value("SELECT count(*) FROM m") == 3


# What COPY reads in ways of its own: quotes inside of a field, blanks, the empty string and NULL, the end mark in quotes.
PECULIAR = [
    '"2024-03-01 00:00:00+00","1","a"',
    '2024-03-01 00:00:01+00,1,""',
    "2024-03-01 00:00:02+00,,",
    '2024-03-01 00:00:03+00,1e300,"say ""hello"", twice"',
    '2024-03-01 00:00:04+00,NaN,ab"c,d"e',
    '2024-03-01 00:00:05+00,-Infinity, " x" ',
    '2024-03-01 00:00:06+00,1,"\\."',
    "2024-03-01 00:00:07+00,1,\\N",
    "2024-03-01 00:00:08+00,1,\\.x",
    '2024-03-01 00:00:09+00,1,""""',
    '2024-03-01 00:00:10+00,1,""""""',
    "2024-03-01 00:00:11+00,1,gr\u00fc\u00dfe \U0001f600",
    '2024-03-01 00:00:12+00,1,"{N}first{N}{N}\\third{N}"',
    '20"24-03-01 00:00:1"3+00,"1"0,"a"b"c"',
    "2024-03-02T00:00:00Z,1,iso",
    "2024-03-02 00:00:00.123456+05:30,1,offset",
    "2024-03-02 23:59:59.999999-0330,1,offset",
    "2024-03-02 12:00:00+02,1,a\ttab",
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_peculiar_fields(target, hyperfill, end):
    target.create()
    records = [record.replace("{N}", end) for record in PECULIAR]
    file = target.file(end.join([HEADER.strip(), *records]) + end)
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)
    assert target.database.value("SELECT count(*) FROM m") == len(PECULIAR)


def test_random_text_in_quotes(target, hyperfill, chance):
    target.create()
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    records = []
    for _ in range(3000):
        moment = start + datetime.timedelta(seconds=chance.randrange(DAYS * 86400))
        text = "".join(chance.choice('ab,"\n\\.; \u00e4') for _ in range(chance.randrange(12)))
        note = '"' + text.replace('"', '""') + '"' if chance.random() < 0.9 or set(text) & set(',"\n\\') else text
        records.append(f"{moment},{chance.choice(['', '1', chr(34) + '2' + chr(34)])},{note}\n")
    file = target.file(HEADER + "".join(records))
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)


DIALECTS = {
    "semicolon": (["--delimiter", ";"], "DELIMITER ';'", 'time;value;note\n2024-03-01 00:00:00+00;1;"a;b,c"\n2024-03-02 00:00:00+00;2;x,y\n'),
    "tab": (["--delimiter", r"\t"], "DELIMITER E'\\t'", "time\tvalue\tnote\n2024-03-01 00:00:00+00\t1\ta,b\n2024-03-02 00:00:00+00\t\tx\n"),
    "quote": (["--quote", "'"], "QUOTE ''''", "time,value,note\n2024-03-01 00:00:00+00,1,'it''s,\nso \"'\n2024-03-02 00:00:00+00,2,\"\n"),
    "escape": (["--escape", "\\"], "ESCAPE '\\'", 'time,value,note\n2024-03-01 00:00:00+00,1,"a\\"b\\\\c\\d"\n2024-03-02 00:00:00+00,2,a\\b\n'),
    "escape-end": (["--escape", "\\"], "ESCAPE '\\'", 'time,value,note\n2024-03-01 00:00:00+00,1,"a\\\\"\n2024-03-02 00:00:00+00,2,"\\",\n"\n'),
    "null": (["--null", "NULL"], "NULL 'NULL'", 'time,value,note\n2024-03-01 00:00:00+00,NULL,"NULL"\n2024-03-02 00:00:00+00,2,NULL\n2024-03-02 00:00:01+00,2,\n'),
    "all": (
        ["--delimiter", "|", "--quote", "'", "--escape", "^", "--null", r"\N"],
        "DELIMITER '|', QUOTE '''', ESCAPE '^', NULL '\\N'",
        "time|value|note\n2024-03-01 00:00:00+00|\\N|'a^'|^^\n\\.\nb'\n2024-03-02 00:00:00+00|2|\\N\n2024-03-02 00:00:01+00|2|'\\N'\n",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(target, hyperfill, dialect):
    target.create()
    options, copy_options, content = DIALECTS[dialect]
    file = target.file(content)
    hyperfill.run("run", *target.options(file, *options))
    assert target.database.fingerprint("m") == target.copied(file, f"FORMAT csv, HEADER, {copy_options}")
    assert target.database.value("SELECT count(*) FROM m") >= 2


def test_no_header(target, hyperfill):
    target.create()
    file = target.file("".join(GOOD))
    hyperfill.run("run", *target.options(file, "--no-header"))
    assert target.database.fingerprint("m") == target.copied(file, "FORMAT csv")
    assert stored(target) == ROWS_OF_GOOD


def test_no_header_with_columns_in_another_order(target, hyperfill):
    target.create()
    file = target.file("x,2024-03-01 00:00:00+00\ny,2024-03-02 00:00:00+00\n")
    hyperfill.run("run", *target.options(file, "--no-header", "--columns", "note,time"))
    assert target.database.fingerprint("m") == target.copied(file, "FORMAT csv", columns="note, time")
    assert stored(target) == [(None, "x"), (None, "y")]


def test_header_in_another_order(target, hyperfill):
    target.create()
    file = target.file("note,value,time\nx,1,2024-03-01 00:00:00+00\ny,2,2024-03-02 00:00:00+00\n")
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file, columns="note, value, time")
    assert stored(target) == [(1.0, "x"), (2.0, "y")]


def test_header_only_loads_nothing(target, hyperfill):
    target.create()
    for number, content in enumerate(("time,value,note\n", "time,value,note", "time,value,note\r\n")):
        hyperfill.run("run", *target.options(target.file(content, f"h{number}.csv"), "--checkpoint", f"h{number}"))
    assert stored(target) == []


def test_empty_file_is_refused_for_its_missing_header(target, hyperfill):
    target.create()
    result = hyperfill.run("run", *target.options(target.file("")), check=DATA)
    assert "f.csv" in result.stderr and "empty" in result.stderr, result
    # Mended, the file loads: the refusal left nothing that stands in the way.
    target.file(HEADER + "".join(GOOD))
    hyperfill.run("run", *target.options(target.tmp_path / "f.csv"))
    assert stored(target) == ROWS_OF_GOOD


def test_empty_file_without_header_loads_nothing(target, hyperfill):
    target.create()
    hyperfill.run("run", *target.options(target.file(""), "--no-header"))
    assert stored(target) == []


def test_standard_input(target, hyperfill):
    target.create()
    hyperfill.run("run", *target.options("-"), stdin=HEADER + "".join(GOOD))
    assert stored(target) == ROWS_OF_GOOD


ODD = '"time ""of"" it" timestamptz NOT NULL, "UPPER" double precision, "with space" text, "select" int, "a,b" text'


def test_names_that_need_quotes(target, hyperfill):
    target.create(columns=ODD, time_column='"time ""of"" it"', name='"We ird""T"')
    header = '"time ""of"" it",UPPER,with space,select,"a,b"\n'
    file = target.file(header + "2024-03-01 00:00:00+00,1,x,3,c\n2024-03-02 00:00:00+00,2,,,\n")
    options = target.options(file, "--checkpoint", "odd.checkpoint", table='"We ird""T"', time_column='time "of" it')
    hyperfill.run("run", *options)
    assert target.database.fingerprint('"We ird""T"') == target.copied(file, table='"We ird""T"')
    assert target.database.value('SELECT count(*) FROM "We ird""T"') == 2


def test_names_that_need_quotes_from_postgresql(target, hyperfill):
    target.create(columns=ODD, time_column='"time ""of"" it"', name='"We ird""T"')
    source = target.server.create_database()
    source.execute(
        f"""CREATE TABLE "We ird""T" ({ODD});
        INSERT INTO "We ird""T" SELECT '2024-03-01+00'::timestamptz + n * interval '1 hour', n, 'x', n, NULL FROM generate_series(0, 90) AS n"""
    )
    hyperfill.run(
        "run",
        *target.options(
            source.conninfo,
            "--until",
            "2024-03-05 00:00:00Z",
            "--checkpoint",
            "odd.checkpoint",
            table='"We ird""T"',
            time_column='time "of" it',
        ),
    )
    assert target.database.fingerprint('"We ird""T"') == source.fingerprint('"We ird""T"')


def test_generated_column_is_left_out(target, hyperfill):
    columns = "time timestamptz NOT NULL, value float8, twice float8 GENERATED ALWAYS AS (value * 2) STORED, note text"
    target.create(columns=columns)
    file = target.file("".join(GOOD))
    hyperfill.run("run", *target.options(file, "--no-header"))
    assert target.database.rows("SELECT value, twice, note FROM m ORDER BY time") == [(v, v * 2, n) for v, n in ROWS_OF_GOOD]


def test_generated_column_of_a_postgresql_source_is_left_out(target, hyperfill):
    columns = "time timestamptz NOT NULL, value float8, twice float8 GENERATED ALWAYS AS (value * 2) STORED, note text"
    target.create(columns=columns)
    source = target.server.create_database()
    source.execute(f"CREATE TABLE m ({columns}); INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * '1 hour'::interval, n FROM generate_series(0, 90) n")
    hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"))
    assert target.database.fingerprint("m") == source.fingerprint("m")


def test_generated_column_in_the_header_is_refused(target, hyperfill):
    target.create(columns="time timestamptz NOT NULL, value float8, twice float8 GENERATED ALWAYS AS (value * 2) STORED")
    file = target.file("time,value,twice\n2024-03-01 00:00:00+00,1,2\n")
    result = hyperfill.run("run", *target.options(file), check=None)
    assert result.status in (USAGE, SERVER) and "twice" in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") == 0


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


def test_postgresql_source_needs_until(one_of_each, hyperfill):
    target = one_of_each.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    result = hyperfill.run("run", *target.options(source.conninfo), check=USAGE)
    assert "--until" in result.stderr, result


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


# ---- Bad records in a file

BAD_RECORDS = {
    "too-many-fields": ("2024-03-02 12:00:00+00,9,x,y\n", "extra data"),
    "too-few-fields": ("2024-03-02 12:00:00+00,9\n", "missing data"),
    "text-in-a-number": ("2024-03-02 12:00:00+00,nine,x\n", "nine"),
    "no-time": ("soon,9,x\n", "soon"),
    "null-time": (",9,x\n", "NULL"),
    "infinity": ("infinity,9,x\n", "infinit"),
    "minus-infinity": ("-infinity,9,x\n", "infinit"),
    "end-mark": ("\\.\n", "\\."),
    "blank-line": ("\n", ""),
    "not-utf8": (b"2024-03-02 12:00:00+00,9,\xff\xfe\n", "UTF8"),
    "nul-byte": (b"2024-03-02 12:00:00+00,9,a\x00b\n", ""),
    "other-line-end": ("2024-03-02 12:00:00+00,9,x\r\n", "carriage return"),
    "date-that-is-not": ("2024-02-30 12:00:00+00,9,x\n", "2024-02-30"),
}


@pytest.mark.parametrize("at", [0, 4, 5], ids=["first", "middle", "last"])
@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_bad_record_is_named_by_file_line_and_offset(target, hyperfill, bad, at):
    target.create()
    record, words = BAD_RECORDS[bad]
    record = record.decode("latin-1") if isinstance(record, bytes) else record
    content, line, offset = spoilt(record, at)
    file = target.file(content.encode("latin-1"))
    if bad == "other-line-end" and at == 0:
        # The first line end of all is the header's, so that this one is the stranger wherever it stands.
        assert content.index("\n") < content.index("\r")
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, line, offset)
    assert words in result.stderr, result
    assert_no_stranger(target, ROWS_OF_GOOD)
    # The same again, with nothing mended, does no harm.
    hyperfill.run("run", *target.options(file), check=DATA)
    assert_no_stranger(target, ROWS_OF_GOOD)
    # A mended file is another input: refused until the first job is forgotten, and then exact.
    target.file(HEADER + "".join(GOOD))
    hyperfill.run("run", *target.options(file), check=USAGE)
    assert_no_stranger(target, ROWS_OF_GOOD)
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
    hyperfill.run("run", *target.options(file, "--checkpoint", "mended", "--overlap", "replace"))
    assert stored(target) == ROWS_OF_GOOD


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["lf", "crlf", "no-end"])
def test_unterminated_quote_at_the_end(target, hyperfill, end):
    target.create()
    before = HEADER + "".join(GOOD)
    file = target.file(before + f'2024-03-03 12:00:00+00,9,"never{"" if end == chr(13) + chr(10) else end}closed{end if end == chr(10) else ""}')
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before.encode()))
    assert "quote" in result.stderr
    assert_no_stranger(target, ROWS_OF_GOOD)


def test_unterminated_quote_early_in_a_larger_file(target, hyperfill):
    target.create()
    before = HEADER + "".join(GOOD)
    rest = "".join(f"2024-03-03 12:00:00+00,{number},x\n" for number in range(20000))
    file = target.file(before + '2024-03-03 12:00:00+00,9,"never closed\n' + rest)
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before.encode()))
    assert_no_stranger(target, ROWS_OF_GOOD)


@pytest.mark.parametrize("shuffle", [False, True], ids=["ordered", "shuffled"])
def test_bad_record_deep_in_a_file_is_found_and_mended_by_a_rerun(target, hyperfill, chance, shuffle):
    target.create()
    target.database.execute("ALTER TABLE m ADD CONSTRAINT small CHECK (value < 1000000)")
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    count = 30000
    records = []
    for number in range(count):
        moment = start + datetime.timedelta(seconds=number * DAYS * 86400 // count)
        note = '"two\nlines"' if chance.random() < 0.1 else "x" * chance.randrange(60)
        records.append(f"{moment},{number},{note}\n")
    if shuffle:
        chance.shuffle(records)
    at = chance.randrange(count)
    moment, _, note = records[at].split(",", 2)
    records[at] = f"{moment},1000000,{note}"
    before = HEADER + "".join(records[:at])
    file = target.file(HEADER + "".join(records))
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before))
    assert "23514" in result.stderr and "small" in result.stderr, result
    assert target.database.value("SELECT count(*) - count(DISTINCT value) FROM m") == 0
    # The other days are not held up by the bad one.
    bad_day = moment[:10]
    per_day = dict(target.database.rows("SELECT (time AT TIME ZONE 'UTC')::date::text, count(*) FROM m GROUP BY 1"))
    assert {day: rows for day, rows in per_day.items() if day != bad_day} == {
        f"2024-03-0{day}": count // DAYS for day in range(1, DAYS + 1) if f"2024-03-0{day}" != bad_day
    }
    target.database.execute("ALTER TABLE m DROP CONSTRAINT small")
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)


def test_not_null_column_is_mended_by_a_rerun(target, hyperfill):
    target.create()
    target.database.execute("ALTER TABLE m ALTER COLUMN note SET NOT NULL")
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, 6, len((HEADER + "".join(GOOD[:2])).encode()))
    assert "23502" in result.stderr
    target.database.execute("ALTER TABLE m ALTER COLUMN note DROP NOT NULL")
    hyperfill.run("run", *target.options(file))
    assert stored(target) == ROWS_OF_GOOD


HINT = "with --on-bad-row reject"


@pytest.mark.parametrize("records, hinted", [
    ("yesterday,1,x\n", True), ("2024-03-01 00:00:00+00,x,x\n", True), ("2024-03-01 00:00:00+00,1\n", True), ("\\.\n", True),
    ('2024-03-01 00:00:00+00,1,"x\n', False),
], ids=["time", "value", "fields", "end", "quote"])  # fmt: skip
def test_rejecting_is_proposed_for_errors_about_a_row(make_target, hyperfill, records, hinted):
    target = make_target("ts17-hypertable").create()
    result = hyperfill.run("run", *target.options(target.file(HEADER + records)), check=DATA)
    assert (HINT in result.stderr) == hinted, result


def test_rejecting_is_not_proposed_for_other_errors(make_target, hyperfill):
    """Rows of others, a file that is being written, an empty one."""
    target = make_target("ts17-hypertable").create()
    path = target.file(HEADER + "2024-03-01 00:00:00+00,1,x\n")
    target.database.execute("INSERT INTO m VALUES ('2024-03-01 00:00:00+00')")
    assert HINT not in hyperfill.run("run", *target.options(path), check=DATA).stderr
    target.database.execute("TRUNCATE m")
    with open(path, "a"):
        assert HINT not in hyperfill.run("run", *target.options(path), check=DATA).stderr
    path.write_text("")
    assert HINT not in hyperfill.run("run", *target.options(path), check=DATA).stderr


def test_record_larger_than_memory(target, hyperfill):
    target.create()
    before = HEADER + "".join(GOOD)
    file = target.file(before + "2024-03-03 12:00:00+00,6," + "x" * (9 << 20) + "\n2024-03-03 13:00:00+00,7,z\n")
    result = hyperfill.run("run", *target.options(file, "--memory", "16MB"), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before.encode()))
    assert "--memory" in result.stderr and len(result.stderr) < 20000
    # Memory is no part of the job: the same one goes on with more of it.
    hyperfill.run("run", *target.options(file, "--memory", "256MB"))
    assert target.database.fingerprint("m") == target.copied(file)


def test_row_outside_of_all_partitions(make_target, hyperfill):
    target = make_target("pg15-partitioned").create()
    before = HEADER + "".join(GOOD)
    file = target.file(before + "2025-03-03 12:00:00+00,6,late\n")
    result = hyperfill.run("run", *target.options(file), check=None)
    assert result.status in (DATA, SERVER), result
    assert "partition" in result.stderr and "2025" in result.stderr, result
    assert_no_stranger(target, ROWS_OF_GOOD)
    target.database.execute("CREATE TABLE late PARTITION OF m FOR VALUES FROM ('2025-01-01+00') TO ('2026-01-01+00')")
    hyperfill.run("run", *target.options(file))
    assert stored(target) == [*ROWS_OF_GOOD, (6.0, "late")]


# ---- A PostgreSQL source


@pytest.mark.parametrize("which", ["infinity", "-infinity"])
def test_infinite_times_in_a_postgresql_source(target, hyperfill, which):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    source.execute("INSERT INTO m VALUES ('2024-03-01 00:00+00', 1, 'a'), ('2024-03-02 00:00+00', 2, 'b')")
    source.execute("INSERT INTO m VALUES (%s, 3, 'c')", [which])
    result = hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"), check=None)
    if which == "infinity":
        # It is not before T, so it is none of this job's rows.
        assert result.status == 0, result
        assert stored(target) == [(1.0, "a"), (2.0, "b")]
    else:
        # It is before T: loaded, or refused in words. Never left out in silence.
        assert result.status in (0, DATA), result
        if result.status == 0:
            assert stored(target) == [(3.0, "c"), (1.0, "a"), (2.0, "b")], result
        else:
            assert "infinit" in result.stderr, result
            source.execute("DELETE FROM m WHERE NOT isfinite(time)")
            hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"))
            assert stored(target) == [(1.0, "a"), (2.0, "b")]


def test_null_times_in_a_postgresql_source_are_told(target, hyperfill):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    source.execute("INSERT INTO m VALUES ('2024-03-01 00:00+00', 1, 'a'), (NULL, 2, 'b')")
    result = hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"), check=None)
    # NULL is on neither side of T. Whoever counts rows afterwards must have been told.
    assert "NULL" in result.stderr + result.stdout, result
    assert result.status in (0, DATA), result
    assert_no_stranger(target, [(1.0, "a")])


def test_empty_postgresql_source(target, hyperfill):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"))
    assert stored(target) == []


def test_value_of_the_source_that_the_target_cannot_take(target, hyperfill):
    target.create()
    target.database.execute("ALTER TABLE m ADD CONSTRAINT small CHECK (value < 50)")
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    source.execute("INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * '1 hour'::interval, n, 'x' FROM generate_series(0, 90) n")
    options = target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z")
    result = hyperfill.run("run", *options, check=DATA)
    assert "23514" in result.stderr and "small" in result.stderr, result
    # Days from the third on hold values of 50 and more.
    assert target.database.rows("SELECT min(value), max(value), count(*) FROM m") == [(0.0, 47.0, 48)]
    target.database.execute("ALTER TABLE m DROP CONSTRAINT small")
    hyperfill.run("run", *options)
    assert target.database.fingerprint("m") == source.fingerprint("m")


# ---- Things that are missing


def test_missing_target_table_names_those_near(target, hyperfill):
    target.create(name="measurements")
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", *target.options(file, table="measurement"), check=None)
    assert result.status in (USAGE, SERVER) and "measurements" in result.stderr, result
    result = hyperfill.run("run", *target.options(file, table="nothing_like_it"), check=None)
    assert result.status in (USAGE, SERVER) and "nothing_like_it" in result.stderr, result
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None


def test_missing_table_has_the_status_that_help_says(one_of_each, hyperfill):
    said = {number for number, words in re.findall(r"^  (\d)  (.*)$", hyperfill.run("--help").stdout, re.M) if "missing table" in words}
    result = hyperfill.run("run", *one_of_each.options(one_of_each.file(HEADER + "".join(GOOD))), check=None)
    assert not said or str(result.status) in said, (said, result)


def test_missing_source_table_names_those_near(one_of_each, hyperfill):
    target = one_of_each.create(name="measurements")
    source = target.server.create_database()
    source.execute("CREATE TABLE measurments (time timestamptz, value float8, note text)")
    options = target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z", table="measurements")
    result = hyperfill.run("run", *options, check=None)
    assert result.status in (USAGE, SERVER) and "measurments" in result.stderr, result
    # The target has a table of that name: which of the two is asked for must be said.
    assert "source" in result.stderr, result
    hyperfill.run("run", *options, "--source-table", "measurments")


def test_missing_column(target, hyperfill):
    target.create()
    file = target.file("time,valeu,note\n2024-03-01 00:00:00+00,1,a\n")
    result = hyperfill.run("run", *target.options(file), check=USAGE)
    assert '"valeu"' in result.stderr and "value" in result.stderr and file.name in result.stderr, result
    result = hyperfill.run("run", *target.options(target.file(HEADER, "g.csv"), "--columns", "time,valeu"), check=USAGE)
    assert '"valeu"' in result.stderr, result
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None


def test_missing_column_in_the_source(one_of_each, hyperfill):
    target = one_of_each.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, note text); INSERT INTO m VALUES ('2024-03-01+00', 'a')")
    options = target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z")
    result = hyperfill.run("run", *options, check=None)
    assert result.status in (USAGE, SERVER) and "value" in result.stderr, result
    assert stored(target) == []
    hyperfill.run("run", *options, "--columns", "time,note")
    assert stored(target) == [(None, "a")]


def test_missing_time_column_in_the_header(target, hyperfill):
    target.create()
    result = hyperfill.run("run", *target.options(target.file("value,note\n1,a\n")), check=None)
    assert result.status in (USAGE, DATA) and '"time"' in result.stderr, result
    assert stored(target) == []


def test_duplicate_column_in_the_header(one_of_each, hyperfill):
    target = one_of_each.create()
    result = hyperfill.run("run", *target.options(target.file("time,value,value\n2024-03-01 00:00:00+00,1,2\n")), check=None)
    assert result.status in (USAGE, DATA) and "value" in result.stderr, result
    assert stored(target) == []


def test_time_column_must_be_given_for_a_plain_table(make_target, hyperfill):
    target = make_target("pg15-plain").create()
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", "--source", file, "--target", target.database.conninfo, "--table", "m", check=USAGE)
    assert "--time-column" in result.stderr, result


def test_missing_file(target, hyperfill):
    target.create()
    result = hyperfill.run("run", *target.options("no-such.csv"), check=None)
    assert result.status in (USAGE, SYSTEM) and "no-such.csv" in result.stderr, result
    result = hyperfill.run("run", *target.options(target.tmp_path), check=None)
    assert result.status in (USAGE, SYSTEM) and str(target.tmp_path) in result.stderr, result
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None
    # The cause mended, the same command loads.
    target.file(HEADER + "".join(GOOD), "no-such.csv")
    hyperfill.run("run", *target.options("no-such.csv"))
    assert stored(target) == ROWS_OF_GOOD


# ---- Privileges


@pytest.fixture
def role(target):
    """A role without any rights, which goes with what it was granted."""
    name = f"poor_{os.getpid()}"
    target.database.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    target.database.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def as_role(target, options, role):
    return [psycopg2.extensions.make_dsn(option, user=role) if option == target.database.conninfo else option for option in options]


def grants(result):
    return re.findall(r"GRANT [^;\n]*", result.stderr)


def test_role_without_insert(target, hyperfill, role):
    target.create()
    target.database.execute(f"GRANT SELECT ON m TO {role}; GRANT CREATE ON DATABASE {target.database.name} TO {role}")
    options = as_role(target, target.options(target.file(HEADER + "".join(GOOD))), role)
    result = hyperfill.run("run", *options, check=SERVER)
    assert any(re.search(r"INSERT.* ON .*m", statement) for statement in grants(result)), result
    assert stored(target) == []
    target.database.execute(f"GRANT INSERT ON m TO {role}")
    hyperfill.run("run", *options)
    assert stored(target) == ROWS_OF_GOOD


def test_role_without_create_on_database(target, hyperfill, role):
    target.create()
    target.database.execute(f"GRANT SELECT, INSERT ON m TO {role}")
    options = as_role(target, target.options(target.file(HEADER + "".join(GOOD))), role)
    result = hyperfill.run("run", *options, check=SERVER)
    assert any("CREATE ON DATABASE" in statement and role in statement for statement in grants(result)), result
    assert stored(target) == []
    target.database.execute(f"GRANT CREATE ON DATABASE {target.database.name} TO {role}")
    hyperfill.run("run", *options)
    assert stored(target) == ROWS_OF_GOOD


def test_role_without_select_on_the_source(target, hyperfill, role):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text); INSERT INTO m VALUES ('2024-03-01+00', 1, 'a')")
    conninfo = psycopg2.extensions.make_dsn(source.conninfo, user=role)
    options = target.options(conninfo, "--until", "2024-03-05 00:00:00Z")
    result = hyperfill.run("run", *options, check=SERVER)
    assert "source" in result.stderr and "permission denied for table m" in result.stderr, result
    assert stored(target) == []
    source.execute(f"GRANT SELECT ON m TO {role}")
    hyperfill.run("run", *options)
    assert stored(target) == [(1.0, "a")]
    source.execute(f"DROP OWNED BY {role}")


# ---- Passwords

SECRET = "s3cret"
WITH_SECRET = (
    "postgresql://u:s3cret@127.0.0.1:1/x",
    "postgres://u:s3cret@127.0.0.1:1/x?connect_timeout=1",
    "postgresql://127.0.0.1:1/x?user=u&password=s3cret",
    "postgresql://127.0.0.1:1/x?user=u&sslpassword=s3cret",
    "host=127.0.0.1 port=1 user=u password=s3cret dbname=x",
    "host=127.0.0.1 port=1 user=u password='s3cret' dbname=x",
    "host=127.0.0.1 port=1 user=u password = 's3cret with \\' blank' dbname=x",
)
MALFORMED_WITH_SECRET = (
    "postgresql://u:s3cret@127.0.0.1:99999/x",
    "postgresql://u:s3cret@[::1/x",
    "postgresql://u:s3cret@127.0.0.1:1/x?nonsense=1",
    "postgresql://u:s3cret%zz@127.0.0.1:1/x",
    "postgresql://u:s3cret@127.0.0.1:port/x",
    "postgresql://u:p@s3cret@127.0.0.1:1/x",
    "postgresql://u:s3cret/x@127.0.0.1:1/y",
    "postgresql://127.0.0.1:1/x?password=s3cret&password",
    "host=127.0.0.1 port=1 password='s3cret",
    "host=127.0.0.1 port=1 password=s3cret nonsense",
    "host=127.0.0.1 port=1 password=s3cret nonsense=1",
    "host=127.0.0.1 port=1 password=a s3cret",
    "password=s3cret hots=127.0.0.1",
    "postgresql:/u:s3cret@127.0.0.1:1/x",
    "postgre://u:s3cret@127.0.0.1:1/x",
    "mysql://u:s3cret@127.0.0.1:1/x",
)


def assert_no_secret(result, folder):
    assert SECRET not in result.stdout and SECRET not in result.stderr, result
    for path in folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), f"{path}: {path.read_bytes()!r}"


@pytest.mark.parametrize("side", ["--source", "--target"])
@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("conninfo", WITH_SECRET + MALFORMED_WITH_SECRET)
def test_password_is_never_shown(make_target, hyperfill, tmp_path, command, side, conninfo):
    other = "--target" if side == "--source" else "--source"
    # The other side is never reached, or is a server of the same kind that nobody has: errors of both are looked at.
    result = hyperfill.run(
        command, side, conninfo, other, "host=127.0.0.1 port=1 connect_timeout=1", "--table", "m", "--until",
        "2024-03-05 00:00:00Z", "--retry-seconds", "1", "--verbose", check=None,
    )
    assert result.status != 0, result
    assert_no_secret(result, tmp_path)


@pytest.mark.parametrize("conninfo", WITH_SECRET[:1] + WITH_SECRET[4:5] + MALFORMED_WITH_SECRET)
def test_password_is_never_shown_by_clean(hyperfill, tmp_path, conninfo):
    result = hyperfill.run("clean", "--target", conninfo, "--table", "m", "--yes", check=None)
    assert result.status != 0
    assert_no_secret(result, tmp_path)


def test_password_is_not_kept_by_a_run(target, hyperfill, tmp_path):
    target.create()
    file = target.file(HEADER + "".join(GOOD))
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text); INSERT INTO m VALUES ('2024-03-01+00', 1, 'a')")
    secret = f"{target.database.conninfo} password={SECRET}"
    options = [secret if option == target.database.conninfo else option for option in target.options(file, "--verbose")]
    result = hyperfill.run("run", *options)
    assert_no_secret(result, tmp_path)
    result = hyperfill.run("status", "--table", "m", "--json")
    assert_no_secret(result, tmp_path)
    options = target.options(f"{source.conninfo} password={SECRET}", "--until", "2024-03-05 00:00:00Z", "--checkpoint", "second", "--overlap", "keep")
    assert_no_secret(hyperfill.run("run", *options), tmp_path)
    for table in ("job", "piece"):
        for (row,) in target.database.rows(f"SELECT t::text FROM hyperfill.{table} AS t"):
            assert SECRET not in row


@pytest.mark.parametrize("side", ["--source", "--target"])
@pytest.mark.parametrize("form", ["postgresql://u:s3cret@127.0.0.1:{port}/x", "host=127.0.0.1 port={port} user=u password=s3cret dbname=x"])
@pytest.mark.parametrize("joined", [False, True], ids=["two-words", "one-word"])
def test_password_is_not_in_the_command_line_of_the_process(hyperfill, tmp_path, side, form, joined):
    # A server that takes connections and says nothing keeps the program waiting.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        conninfo = form.format(port=listener.getsockname()[1])
        silent = f"host=127.0.0.1 port={listener.getsockname()[1]}"
        other = "--target" if side == "--source" else "--source"
        given = [f"{side}={conninfo}"] if joined else [side, conninfo]
        process = hyperfill.start("run", *given, other, silent, "--table", "m", "--until", "2024-03-05 00:00:00Z")
        listener.settimeout(harness.PATIENCE)
        # Held, because a connection that is closed would end the program.
        connection, _ = listener.accept()
        assert process.running
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            line = file.read()
        assert b"hyperfill" in line and SECRET.encode() not in line, line
        process.kill()
        connection.close()
    assert_no_secret(process.result(), tmp_path)
