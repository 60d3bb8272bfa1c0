"""Which column of the table a field of the input goes to: what is loaded equals what SQL says, or nothing is."""

import signal
import time

import pytest

from harness import DATA, USAGE
from harness.target import Target

COLUMNS = "time timestamptz NOT NULL, device text, value double precision, note text"


@pytest.fixture
def make_target(servers, tmp_path):
    return lambda which: Target(servers[which.split("-")[0]], which.split("-")[1], tmp_path).create(COLUMNS)


@pytest.fixture(params=["pg15-plain", "ts17-hypertable"])
def target(request, make_target):
    return make_target(request.param)


@pytest.fixture
def plain(make_target):
    return make_target("pg15-plain")


def rows(target, columns="value, device, note"):
    return target.database.rows(f"SELECT {columns} FROM m ORDER BY time, value")


def refuse(target, hyperfill, content, *options, says, status=USAGE, stdin=None):
    source = "-" if stdin is not None else target.file(content)
    result = hyperfill.run("run", *target.options(source, *options), check=status, stdin=stdin)
    for text in (says,) if isinstance(says, str) else says:
        assert text in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") == 0


# ---- By name


def test_names_are_mapped(target, hyperfill):
    """--map goes first, then names as they are written, then those that differ in case alone."""
    file = target.file(
        'Value,"TS of\nit",Device,NOTE\n1,2024-03-01 00:00:00+00,a,x\n2,2024-03-02 00:00:00+00,,""\n3,2024-03-03 00:00:00+00,"c,""c","\n"\n'
    )
    hyperfill.run("run", *target.options(file, "--map", "ts OF\nit=time"))
    assert rows(target) == [(1.0, "a", "x"), (2.0, None, ""), (3.0, 'c,"c', "\n")]


def test_map_alone_needs_no_shape_and_equals_copy(target, hyperfill):
    file = target.file("t,d,v\n2024-03-01 00:00:00+00,a,1\n2024-03-02 00:00:00+00,,\n")
    hyperfill.run("run", *target.options(file, "--map", "t=time", "--map", "d=device", "--map", "v=value"))
    assert target.database.fingerprint("m") == target.copied(file, columns="time, device, value")


def test_plan_shows_each_shape_once(target, hyperfill):
    folder = target.tmp_path / "many"
    folder.mkdir()
    orders = ["time,device,value", "value,time,device", "time,note"]
    for i in range(30):
        (folder / f"{i:02}.csv").write_text(orders[0 if i < 20 else 1 if i < 29 else 2] + "\n")

    def columns(*more):
        options = [o for o in target.options(folder, *more) if o not in ("--progress", "plain")]
        lines = hyperfill.run("plan", *options).stdout.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("columns"))
        last = next(i for i, line in enumerate(lines) if line.startswith("wire"))
        return [line[10:].replace(str(folder), "F") for line in lines[first:last]]

    assert columns() == [
        '"time", "device", "value" of 20 inputs, the first F/00.csv',
        '"value", "time", "device" of 9 inputs, the first F/20.csv',
        '"time", "note" of F/29.csv',
    ]
    for i in range(20, 30):
        (folder / f"{i}.csv").write_text(orders[0] + "\n")
    assert columns() == ['"time", "device", "value"']
    # Texts of --set are each file's own, and no shape of their own.
    lines = columns("--set", "note={stem}")
    assert len(lines) == 2 and "'00' in the first; others have texts of their own" in lines[1]
    for i in range(30):
        (folder / f"{i:02}.csv").write_text(f"time,x{i}\n")
    lines = columns("--ignore-columns", "*")
    assert len(lines) <= 2 * 6 + 1, lines
    for i in range(30):
        (folder / f"{i:02}.csv").write_text("time" + "".join(f",x{j}" for j in range(i)) + "\n")
    lines = columns("--ignore-columns", "*")
    assert len(lines) == 2 * 6 and lines[-1] == "… and 24 inputs of other shapes", lines


def test_map_exchanges_names(target, hyperfill):
    file = target.file("time,device,note\n2024-03-01 00:00:00+00,d,n\n")
    hyperfill.run("run", *target.options(file, "--map", "device=note", "--map", "note=device"))
    assert rows(target, "device, note") == [("n", "d")]


def test_byte_order_mark_and_quoted_header(target, hyperfill):
    file = target.file(b'\xef\xbb\xbf"time","va""lue"\r\n2024-03-01 00:00:00+00,5\r\n')
    hyperfill.run("run", *target.options(file, "--map", 'va"lue=value'))
    assert rows(target) == [(5.0, None, None)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_ignored_columns(target, hyperfill, end):
    """What is left out may hold anything, many lines too."""
    lines = ['x,time,"y,z",value,Last'] + [
        f'"a\n{"b" * i}",2024-03-0{1 + i % 4} 00:00:0{i % 10}+00,"{i}""",{i},{"" if i % 2 else "q"}' for i in range(50)
    ]
    file = target.file(end.join(lines) + end)
    hyperfill.run("run", *target.options(file, "--ignore-columns", 'x,last,"y,z"'))
    assert sorted(rows(target)) == [(float(i), None, None) for i in range(50)]


def test_ignore_all_that_the_table_has_not(target, hyperfill):
    file = target.file("a,time,b,Device,c\n1,2024-03-01 00:00:00+00,2,dev,3\n")
    hyperfill.run("run", *target.options(file, "--ignore-columns", "*"))
    assert rows(target) == [(None, "dev", None)]


def test_columns_names_what_is_not_ignored(target, hyperfill):
    file = target.file("a,b,c\n2024-03-01 00:00:00+00,skip,7\n")
    hyperfill.run("run", *target.options(file, "--ignore-columns", "b", "--columns", "time,value"))
    assert rows(target) == [(7.0, None, None)]


def test_refusals_name_the_ways_out(plain, hyperfill):
    head = "time,value,extra\n2024-03-01 00:00:00+00,1,2\n"
    refuse(plain, hyperfill, head, says=('no column "extra"', "--map 'extra=COLUMN'", "--ignore-columns 'extra'", "--no-header"))
    refuse(plain, hyperfill, head, "--map", "extr=note", says=('no column "extr" that --map names', "it has time, value, extra"))
    refuse(plain, hyperfill, head, "--map", "extra=nothing", says='no column "nothing" that --map names')
    refuse(plain, hyperfill, head, "--map", "extra=value", says='column "value" is named twice')
    refuse(plain, hyperfill, head, "--map", "extra=note", "--map", "EXTRA=device", says='--map names the header\'s column "extra" twice')
    refuse(plain, hyperfill, head, "--map", "extra", says="write CSV=COLUMN")
    refuse(plain, hyperfill, head, "--ignore-columns", "extra,none", says='no column "none" that --ignore-columns names')
    refuse(plain, hyperfill, head, "--map", "extra=note", "--ignore-columns", "extra", says="both mapped and ignored")
    refuse(plain, hyperfill, head, "--ignore-columns", "time,extra", says="the time column \"time\" is not among")
    refuse(plain, hyperfill, head, "--no-header", "--map", "a=b", says="--map needs a header")
    refuse(plain, hyperfill, head, "--no-header", "--ignore-columns", "*", says="--ignore-columns needs a header")
    refuse(plain, hyperfill, head, "--columns", "time,value,note", "--map", "extra=note", says="with it, --map has no meaning")
    refuse(plain, hyperfill, head, "--ignore-columns", "extra", "--set", "nothing=1", says='no column "nothing" that --set names')
    refuse(plain, hyperfill, head, "--ignore-columns", "extra", "--set", "value=1", says='column "value" is named twice')
    refuse(plain, hyperfill, head, "--ignore-columns", "extra", "--set", "time=1", says="read from each row")
    refuse(plain, hyperfill, head, "--ignore-columns", "extra", "--set", "note", says="write COLUMN=TEXT")
    refuse(plain, hyperfill, head, "--ignore-columns", "extra", "--set", "note={what}", says="{what} is not known")


def test_case_that_is_ambiguous_is_refused(make_target, hyperfill, servers, tmp_path):
    target = Target(servers["pg15"], "plain", tmp_path).create('time timestamptz NOT NULL, "Temp" int, "TEMP" int')
    refuse(target, hyperfill, "time,temp\n2024-03-01 00:00:00+00,1\n", says="only several that differ in upper and lower case")


# ---- Constants


def test_constants(target, hyperfill):
    """Texts go in as they are: quotes, commas, newlines, empty ones, what looks like NULL."""
    file = target.file("time,value\n2024-03-01 00:00:00+00,1\n2024-03-02 00:00:00+00,NULL\n", name="cpu-7.daily.csv")
    hyperfill.run("run", *target.options(file, "--set", 'device={stem}|{name}|{{"a,b"}}\n', "--set", "note=", "--null", "NULL"))
    text = 'cpu-7.daily|cpu-7.daily.csv|{"a,b"}\n'
    assert rows(target) == [(1.0, text, ""), (None, text, "")]


def test_constants_from_the_path(target, hyperfill, tmp_path):
    folder = tmp_path / "berlin"
    folder.mkdir()
    (folder / "x.csv").write_text("time,value\n2024-03-01 00:00:00+00,1\n")
    hyperfill.run("run", *target.options(folder / "x.csv", "--set", "device={dir}", "--set", "note={path}"))
    assert rows(target) == [(1.0, "berlin", str(folder / "x.csv"))]


def test_a_constant_that_is_the_text_of_null_is_no_null(target, hyperfill):
    file = target.file("time,value\n2024-03-01 00:00:00+00,1\n")
    hyperfill.run("run", *target.options(file, "--null", "nil", "--set", "note=nil", "--force-null", "*"))
    assert rows(target) == [(1.0, None, "nil")]


def test_constant_of_the_wrong_type_is_told(plain, hyperfill):
    refuse(plain, hyperfill, "time\n2024-03-01 00:00:00+00\n", "--set", "value=x", says=("invalid input syntax", "line 2"), status=DATA)


def test_standard_input_has_no_name(plain, hyperfill):
    stdin = b"time,value\n2024-03-01 00:00:00+00,1\n"
    refuse(plain, hyperfill, None, "--set", "device={stem}", stdin=stdin, says="standard input has no name for {stem}")
    hyperfill.run("run", *plain.options("-", "--set", "device=fixed"), stdin=stdin)
    assert rows(plain) == [(1.0, "fixed", None)]


# ---- Records of the wrong length


@pytest.mark.parametrize("bad, says", [("2024-03-02 00:00:00+00,2", "missing data for column"), ("2024-03-02 00:00:00+00,2,x,y", "extra data after last")])
@pytest.mark.parametrize("at", [0, 1, 700])
def test_field_count(target, hyperfill, bad, says, at):
    """Never a shifted column: as COPY says it, with the record that is meant."""
    good = [f'2024-03-02 00:00:0{i % 10}+00,{i},"x\ny"' for i in range(1000)]
    lines = ["time,value,skip"] + good[:at] + [bad] + good[at:]
    content = "\n".join(lines) + "\n"
    before = "\n".join(lines[: at + 1]) + "\n"
    place = f"line {before.count(chr(10)) + 1}, byte {len(before)}"
    refuse(target, hyperfill, content, "--ignore-columns", "skip", says=(says, place, "RECORD:  " + bad), status=DATA)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_bad_value_is_found_where_lines_of_input_and_output_differ(target, hyperfill, end):
    """The server counts lines of what it got: fields with many lines are left out, and a constant adds some."""
    good = [f'2024-03-02 00:00:0{i % 10}+00,{i},"x{end}{end}y"' for i in range(300)]
    lines = ["time,value,skip", *good[:200], '2024-03-02 00:00:00+00,zwei,"a"', *good[200:]]
    before = end.join(lines[:201]) + end
    place = f"line {before.count(end) + 1}, byte {len(before)}"
    refuse(target, hyperfill, end.join(lines) + end, "--ignore-columns", "skip", "--set", f"note=1{end}2{end}", says=("zwei", place), status=DATA)


# ---- At random, with SQL as the judge

NAMES = ["time", "device", "value", "note"]


def random_case(chance):
    """A file with fields in any order, some renamed, some too many; the options for it, and what SQL makes of it."""
    delimiter, quote, null = chance.choice(",;|\t"), chance.choice("\"'"), chance.choice(["", "nil", "\\N"])
    end = chance.choice(["\n", "\r\n", "\r"])
    columns = ["time"] + [name for name in NAMES[1:] if chance.random() < 0.7]
    fields = columns + [f"extra {i}" for i in range(chance.randrange(3))]
    chance.shuffle(fields)
    names = {field: field if chance.random() < 0.5 else chance.choice([field.upper(), f"x{delimiter}{quote}{field}"]) for field in fields}
    options, select = [], {name: name for name in columns}
    for field in fields:
        if field in NAMES and names[field].lower() != field:
            options += ["--map", f"{names[field]}={field}"]
    if len(fields) > len(columns):
        options += ["--ignore-columns", "*"]
    for name in ("device", "note"):
        if name not in columns and chance.random() < 0.7:
            text = "".join(chance.choices(["a", delimiter, quote, "\n", "\\", null, "{", "}"], k=chance.randrange(5)))
            options += ["--set", f"{name}={text.replace('{', '{{').replace('}', '}}')}"]
            select[name] = "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    forced = [name for name in columns if name in ("device", "note") and chance.random() < 0.5]
    if forced:
        options += ["--force-null", ",".join(forced)]

    def quoted(text):
        return quote + text.replace(quote, quote + quote) + quote

    def field_of(field, i):
        if field == "time":
            return chance.choice([str, quoted])(f"2024-03-0{1 + i % 4} 00:00:{i % 60:02}+00")
        if field == "value":
            return chance.choice([str(i), quoted(f"{i}.5"), null])
        text = "".join(chance.choices(["a", " ", delimiter, quote, "\n", "\r\n", "\r", "nil", "\\N", "\\"], k=chance.randrange(4)))
        plain = not set(text) & {delimiter, quote, "\n", "\r"}
        return text if plain and chance.random() < 0.7 else quoted(text)

    header = delimiter.join(quoted(names[field]) for field in fields)
    records = [delimiter.join(field_of(field, i) for field in fields) for i in range(chance.randrange(1, 200))]
    content = end.join([header, *records]) + (end if chance.random() < 0.5 else "")
    options += ["--delimiter", delimiter, "--quote", quote, "--null", null]
    copy = f"FORMAT csv, HEADER, DELIMITER E'\\x{ord(delimiter):02x}', QUOTE E'\\x{ord(quote):02x}', NULL '{null}'"
    if forced:
        copy += f", FORCE_NULL ({', '.join(forced)})"
    return content, options, fields, copy, select


@pytest.mark.parametrize("which", ["pg15-plain", "ts17-hypertable"])
def test_random_mappings(make_target, hyperfill, chance, which):
    """The server copies the file into a table with its very fields, and SQL does what the options say."""
    target = make_target(which)
    database = target.database
    for number in range(25):
        content, options, fields, copy, select = random_case(chance)
        file = target.file(content.encode(), name=f"{number}.csv")
        database.execute("TRUNCATE m; DROP TABLE IF EXISTS raw, expected; CREATE TABLE expected (LIKE m)")
        types = {"time": "timestamptz", "value": "double precision"}
        database.execute("CREATE TABLE raw (" + ", ".join(f'"{field}" {types.get(field, "text")}' for field in fields) + ")")
        database.copy_in(f"COPY raw FROM STDIN ({copy})", file)
        database.execute(f"INSERT INTO expected ({', '.join(select)}) SELECT {', '.join(select.values())} FROM raw")
        hyperfill.run("run", *target.options(file, *options, "--checkpoint", target.tmp_path / f"{number}.checkpoint"))
        assert database.fingerprint("m") == database.fingerprint("expected"), (number, options, content)


# ---- Exactly once


def many_rows(count, chance):
    noise = ["", '"a,b"', '""', '"x\ny"', "plain", '"""q"""']
    comments = ["", "", '# it\'s 19" wide\n', "#\n# two\n"]
    return [f"{chance.choice(comments)}{1709251200 + i * 30},{chance.choice(noise)},{i},{chance.choice(noise)}" for i in range(count)]


def test_resume_after_kill_with_a_shape(target, hyperfill, chance):
    """Killed again and again: then every row is there once, as SQL says that it should be."""
    count = 200_000
    file = target.file("# made\nts,device,value,skip\n" + "\n".join(many_rows(count, chance)) + "\n", name="dev.csv")
    options = target.options(file, "--map", "ts=time", "--ignore-columns", "skip", "--set", "note={stem}", "--time-format", "epoch",
                             "--comment", "#", "--memory", "16MB", "--jobs", "2", "--checkpoint", target.tmp_path / "job")  # fmt: skip
    kills = 0
    for number in range(6):
        process = hyperfill.start("run", *options)
        time.sleep(chance.uniform(0.05, 0.1 if number < 3 else 0.3))
        process.kill()
        kills += process.popen.returncode == -signal.SIGKILL
    hyperfill.run("run", *options)
    assert kills >= 3
    target.database.execute("CREATE TABLE raw (ts bigint, device text, value double precision, skip text)")
    target.database.copy_in("COPY raw FROM STDIN (FORMAT csv)", target.file("\n".join(many_rows_again(file)) + "\n", "raw.csv"))
    difference = (
        "SELECT count(*) FROM (SELECT to_timestamp(ts) AS time, device, value, 'dev' AS note FROM raw) e"
        " FULL JOIN m USING (value) WHERE e.time IS DISTINCT FROM m.time OR e.device IS DISTINCT FROM m.device OR e.note IS DISTINCT FROM m.note"
    )
    assert target.database.value(difference) == 0
    assert target.database.value("SELECT count(*) FROM m") == count


def many_rows_again(file):
    return [line for line in file.read_text().split("\n")[2:-1] if not line.startswith("#")]


CHANGES = [
    (("--ignore-columns", "skip"), ("--ignore-columns", "skip", "--set", "note=x")),
    (("--ignore-columns", "skip"), ("--map", "skip=note")),
    (("--map", "skip=note"), ("--map", "skip=note", "--trim")),
    (("--map", "skip=note"), ("--map", "skip=device")),
    (("--map", "skip=note", "--set", "device=a"), ("--map", "skip=note", "--set", "device=b")),
    (("--map", "skip=note"), ("--map", "skip=note", "--comment", "#")),
    (("--map", "skip=note"), ("--map", "skip=note", "--encoding", "latin1")),
    (("--map", "skip=note"), ("--map", "skip=note", "--force-null", "*")),
]


@pytest.mark.parametrize("before, after", CHANGES)
def test_changed_mapping_is_refused(plain, hyperfill, before, after):
    """The first run stops at a bad row; going on with another mapping would be another job."""
    good = "".join(f"2024-03-0{1 + i % 4} 00:00:00+00,{i},s\n" for i in range(8))
    file = plain.file("time,value,skip\n" + good + "2024-03-09 00:00:00+00,bad,s\n")
    options = plain.options(file, "--checkpoint", plain.tmp_path / "job")
    hyperfill.run("run", *options, *before, check=DATA)
    result = hyperfill.run("run", *options, *after, check=USAGE)
    assert "belongs to another job" in result.stderr, result
    hyperfill.run("run", *options, *before, check=DATA)
    # Nor does a new checkpoint file make it a new job.
    result = hyperfill.run("run", *options[:-1], plain.tmp_path / "other", "--overlap", "keep", *after, check=USAGE)
    assert "unfinished job" in result.stderr, result
