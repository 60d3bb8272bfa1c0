"""CSV as it is found: whatever psql's \\copy loads we load to the same rows, whatever it refuses we refuse by the same record.

The corpus of csv-spectrum is another project's: it is fetched by npm into the cache of tests/server.sh and never committed. Its
bytes stay as they are, but for a field with a time that is put before each record. The other corpus is made here.
"""

import itertools
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

import pytest

DATA = 3
SPECTRUM = "csv-spectrum@2.0.0"
KINDS = ("pg15", "ts17")
OPTIONS = "FORMAT csv, HEADER"


@pytest.fixture(scope="session")
def spectrum():
    """The folder with the corpus."""
    cache = pathlib.Path(os.environ.get("HYPERFILL_CACHE", "/var/tmp/hyperfill-cache"))
    folder = cache / SPECTRUM.replace("@", "-")
    if not folder.exists():
        if shutil.which("npm") is None:
            pytest.skip(f"{SPECTRUM} is not in {cache}, and there is no npm to fetch it")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            done = subprocess.run(["npm", "pack", "--silent", SPECTRUM], cwd=temporary, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                pytest.skip(f"npm cannot fetch {SPECTRUM}: {done.stderr.strip()[:300]}")
            with tarfile.open(next(pathlib.Path(temporary).glob("*.tgz"))) as archive:
                archive.extractall(temporary)
            # Another run may have been faster.
            if not folder.exists():
                (pathlib.Path(temporary) / "package" / "csvs").rename(folder)
    return folder


# ---- What psql makes of a file


def psql_copy(database, table, file, options):
    """None when \\copy loads the file; else the line that its error names."""
    statement = f"\\copy {table} FROM '{file}' WITH ({options})"
    # LC_ALL: the server's words are looked at.
    done = subprocess.run(["psql", "-X", "-q", "-d", database.conninfo, "-c", statement], capture_output=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode == 0:
        return None
    named = re.search(rb"COPY \w+, line (\d+)", done.stderr)
    assert named, done.stderr
    return int(named[1])


def hyperfill_arguments(database, table, file, *more):
    plain = [] if database.server.has_timescaledb else ["--time-column", "time", "--range-interval", "1d"]
    return ["run", "--source", file, "--target", database.conninfo, "--table", table, "--progress", "plain", *plain, *more]


_numbers = itertools.count(1)


def make_tables(database, columns):
    """Two tables of the same columns: for us and for psql."""
    number = next(_numbers)
    ours, by_copy = f"m_{number}", f"by_copy_{number}"
    for table in (ours, by_copy):
        database.execute(f"CREATE TABLE {table} (time timestamptz NOT NULL, {columns})")
    if database.server.has_timescaledb:
        database.rows("SELECT create_hypertable(%s::text::regclass, 'time', chunk_time_interval => interval '1 day')", [ours])
    return ours, by_copy


def assert_same(database, hyperfill, columns, file, options=OPTIONS, more=()):
    """psql loads the file, and so do we, to the same rows; returns how many."""
    ours, by_copy = make_tables(database, columns)
    assert psql_copy(database, by_copy, file, options) is None, file
    hyperfill.run(*hyperfill_arguments(database, ours, file, *more))
    assert database.fingerprint(ours) == database.fingerprint(by_copy), file
    return database.value(f"SELECT count(*) FROM {ours}")


# ---- csv-spectrum


def records_of(data):
    """The records of a valid file, with their line ends: a line ends a record when its quotes are closed."""
    records, quotes = [b""], 0
    for line in data.splitlines(keepends=True):
        records[-1] += line
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            records.append(b"")
    return [record for record in records if record]


@pytest.mark.parametrize("kind", KINDS)
def test_csv_spectrum(servers, hyperfill, tmp_path, spectrum, kind):
    database = servers[kind].create_database()
    files = sorted(spectrum.glob("*.csv"))
    assert len(files) >= 12, files
    for original in files:
        header, *rows = records_of(original.read_bytes())
        assert rows, original
        file = tmp_path / original.name
        times = (f"2024-03-{1 + number % 20:02} 00:00:00+00,".encode() for number in range(len(rows)))
        file.write_bytes(b"time," + header + b"".join(time + row for time, row in zip(times, rows)))
        names = header.decode().strip().split(",")
        columns = ", ".join(f'"{name}" text' for name in names)
        assert assert_same(database, hyperfill, columns, file) == len(rows), original


# ---- A corpus of our own

COLUMNS = "a text, b text CHECK (b <> 'forbidden'), n integer, v varchar(3)"
HEADER = "time,a,b,n,v"


def at(number, rest, separator=","):
    return f"2024-03-{number:02} 00:00:00+00{separator}{rest}"


def bytes_of(records, newline="\n", final=True):
    records = [record.encode() if isinstance(record, str) else record for record in records]
    return newline.encode().join(records) + (newline.encode() if final else b"")


PLAIN = [at(1, "x,y,1,abc"), at(2, ",,,"), at(2, '"","",,""'), at(3, "z,z,-7,é€")]
QUOTED = [
    at(1, '"a ""b"" c","""",1,""'),
    at(1, '"",""",",2,'),
    at(2, 'a"b"c,"x"y,3,"""a"'),
    at(2, '"a,b",\' \',4,","'),
    at(3, '"\\","\\\\",5,\\N'),
    '"2024-03-03 00:00:00+00","q",q,"6","7"',
    at(4, '"""""","a"" ""b",-0," "'),
]
MULTILINE = [
    at(1, '"one\ntwo","three\r\nfour",1,a'),
    at(1, '"\n\n\n","\r",2,"\n"'),
    at(2, '"\n\\.x\n","\\.\n",3,b'),
    at(3, '"a\n2024-03-09 00:00:00+00,""x"",y,9,z\nb",c,4,'),
]
BLANK = [at(1, " a , b ,1, c"), at(2, "\ta\t,\v,2,\f"), at(3, '" a ",b, 3 ,d')]
DOTS = [at(1, "\\.,\\.,1,\\."), at(2, "\\.x,y\\.,2,."), at(3, "x,\\.,3,\\.")]
SINGLE = [at(1, "'a ''b''','\"',1,x"), at(2, "'a,\nb','''',2,'''x'")]
BACKSLASH = [at(1, '"a \\"b\\" c","\\\\",1,x'), at(2, '"a\\nb","\\\\\\"",2,"\\x"'), at(3, 'a\\"b\\,c",d,3,\\')]

# name: content, options of COPY, ours
GOOD = {
    "plain": (bytes_of([HEADER, *PLAIN]), OPTIONS, []),
    "plain crlf": (bytes_of([HEADER, *PLAIN], "\r\n"), OPTIONS, []),
    "plain cr": (bytes_of([HEADER, *PLAIN], "\r"), OPTIONS, []),
    "no final newline": (bytes_of([HEADER, *PLAIN], final=False), OPTIONS, []),
    "no final newline crlf": (bytes_of([HEADER, *PLAIN], "\r\n", False), OPTIONS, []),
    "quoted": (bytes_of([HEADER, *QUOTED]), OPTIONS, []),
    "quoted crlf": (bytes_of([HEADER, *QUOTED], "\r\n"), OPTIONS, []),
    "quoted to the end": (bytes_of([HEADER, at(1, 'a,b,1,"c"')], final=False), OPTIONS, []),
    "several lines": (bytes_of([HEADER, *MULTILINE]), OPTIONS, []),
    "several lines crlf": (bytes_of([HEADER, *MULTILINE], "\r\n"), OPTIONS, []),
    "several lines cr": (bytes_of([HEADER, *MULTILINE], "\r"), OPTIONS, []),
    "blanks": (bytes_of([HEADER, *BLANK]), OPTIONS, []),
    "dots in fields": (bytes_of([HEADER, *DOTS]), OPTIONS, []),
    "headless": (bytes_of(QUOTED), "FORMAT csv", ["--no-header"]),
    "headless several lines": (bytes_of(MULTILINE, "\r\n"), "FORMAT csv", ["--no-header"]),
    "semicolons": (
        bytes_of([HEADER.replace(",", ";"), at(1, '"a;b";c,d;1;e', ";"), at(2, ";;;", ";")]),
        OPTIONS + ", DELIMITER ';'",
        ["--delimiter", ";"],
    ),
    "tabs": (
        bytes_of([HEADER.replace(",", "\t"), at(1, '"a\tb"\tc,d\t1\te', "\t")]),
        OPTIONS + ", DELIMITER E'\\t'",
        ["--delimiter", "\\t"],
    ),
    "single quotes": (bytes_of([HEADER, *SINGLE]), OPTIONS + ", QUOTE ''''", ["--quote", "'"]),
    "backslash": (bytes_of([HEADER, *BACKSLASH]), OPTIONS + ", ESCAPE E'\\\\'", ["--escape", "\\"]),
    "null words": (
        bytes_of([HEADER, at(1, 'NULL,"NULL",NULL,nul'), at(2, ",,3,")]),
        OPTIONS + ", NULL 'NULL'",
        ["--null", "NULL"],
    ),
    "null backslash": (bytes_of([HEADER, at(1, '\\N,"\\N",\\N,')]), OPTIONS + ", NULL '\\N'", ["--null", "\\N"]),
    "long fields": (bytes_of([HEADER, *(at(day, f'"{"x" * size}\n{"é" * size}",b,1,c') for day, size in ((1, 70_000), (2, 1), (3, 300_000)))]), OPTIONS, []),
    "many": (bytes_of([HEADER, *(at(1 + n % 9, f'"line\n{n}","""{n}",{n},é') for n in range(20_000))]), OPTIONS, []),
    "header only": (bytes_of([HEADER]), OPTIONS, []),
    "characters": (bytes_of([HEADER, at(1, "\u2028\u00a0,😀,1,\ufeff"), at(2, "\x01\x7f,\x1b[0m,2,\x0b")]), OPTIONS, []),
}

# name: what stands where a record should
BAD = {
    "field missing": at(2, "a,b,1"),
    "field too many": at(2, "a,b,1,c,d"),
    "field too many, empty": at(2, "a,b,1,c,"),
    "no integer": at(2, "a,b,one,c"),
    "integer too large": at(2, "a,b,99999999999,c"),
    "quoted empty integer": at(2, 'a,b,"",c'),
    "too long": at(2, "a,b,1,abcd"),
    "check": at(2, "a,forbidden,1,c"),
    "no utf-8": at(2, "a,b,1,").encode() + b"\xff",
    "half a character": at(2, "a,b,1,").encode() + b"\xc3",
    "null byte": at(2, "a,\0,1,c"),
    "no time": ",a,b,1,c",
    "no day": "2024-02-30 00:00:00+00,a,b,1,c",
    "words": "no row at all",
    "empty": "",
    "blank": " ",
    "several lines and no integer": at(2, '"a\n\nb","\n",one,c'),
    "carriage return": at(2, "a\rb,b,1,c"),
    "carriage return at the end": at(2, "a,b,1,c\r"),
}
GOOD_ROWS = [at(1, "a,b,1,c"), at(1, '"d\ne","f\n",2,g'), at(2, "h,i,3,j")]


@pytest.mark.parametrize("kind", KINDS)
def test_good_files(servers, hyperfill, tmp_path, kind):
    database = servers[kind].create_database()
    for name, (content, options, more) in GOOD.items():
        file = tmp_path / f"{name}.csv"
        file.write_bytes(content)
        assert_same(database, hyperfill, COLUMNS, file, options, more)


def place(result):
    """Line and byte that our error names."""
    named = re.search(r"line (\d+), byte (\d+)", result.stderr)
    assert named, result
    return int(named[1]), int(named[2])


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("kind", KINDS)
def test_bad_files(servers, hyperfill, tmp_path, kind, newline):
    database = servers[kind].create_database()
    for name, bad in BAD.items():
        if newline == "\r\n" and name == "carriage return at the end":
            continue
        before = bytes_of([HEADER, *GOOD_ROWS], newline)
        file = tmp_path / f"{name}.csv"
        file.write_bytes(before + bytes_of([bad, *GOOD_ROWS], newline))
        ours, by_copy = make_tables(database, COLUMNS)
        line = psql_copy(database, by_copy, file, OPTIONS)
        assert line is not None, name
        result = hyperfill.run(*hyperfill_arguments(database, ours, file), check=DATA)
        assert place(result) == (before.count(b"\n") + 1, len(before)), f"{name}: {result!r}"
        # The server names the line where the record ends. Between CRLF it does not count the newlines within quotes.
        counted = newline.encode()[:1]
        begin = before.count(counted) + 1
        assert begin <= line <= begin + bytes_of([bad]).count(counted), f"{name}: psql names line {line}"


@pytest.mark.parametrize("kind", KINDS)
def test_dot_within_quotes(servers, hyperfill, tmp_path, kind):
    """psql up to 17 ends there, even within quotes; the server itself does not."""
    database = servers[kind].create_database()
    file = tmp_path / "dot.csv"
    file.write_bytes(bytes_of([HEADER, at(1, '"a\n\\.\nb",c,1,d'), *GOOD_ROWS]))
    ours, by_copy = make_tables(database, COLUMNS)
    assert database.copy_in(f"COPY {by_copy} FROM STDIN ({OPTIONS})", file) == 1 + len(GOOD_ROWS)
    hyperfill.run(*hyperfill_arguments(database, ours, file))
    assert database.fingerprint(ours) == database.fingerprint(by_copy)


@pytest.mark.parametrize("kind", KINDS)
def test_end_of_data_is_refused(servers, hyperfill, tmp_path, kind):
    """\\copy up to PostgreSQL 17 ends there without a word and loses what follows. Nothing of that is loaded silently."""
    database = servers[kind].create_database()
    for newline in ("\n", "\r\n", "\r"):
        before = bytes_of([HEADER, *GOOD_ROWS], newline)
        file = tmp_path / "dot.csv"
        file.write_bytes(before + bytes_of(["\\.", *GOOD_ROWS], newline))
        ours, by_copy = make_tables(database, COLUMNS)
        result = hyperfill.run(*hyperfill_arguments(database, ours, file), check=DATA)
        assert place(result)[1] == len(before), result
        assert database.value(f"SELECT count(*) FROM {ours}") == 0
