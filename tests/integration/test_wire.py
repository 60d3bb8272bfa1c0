"""--wire: rows go as binary where they are converted exactly, others as CSV; tables, errors and rejects are the same in any case."""

import datetime
import re

import pytest

DATA, USAGE, REJECTS = 3, 2, 8
COLUMNS = (
    "time timestamptz NOT NULL, id int NOT NULL, ok bool, small int2, big int8, half real, whole double precision, price numeric(12,2),"
    " note text, short varchar(8), code char(3), ref uuid, doc json, bin jsonb, mood mood, day date, local timestamp(3), level positive"
)
NAMES = re.findall(r"(?:^|, )(\w+) ", re.sub(r"\(\d+,\d+\)", "", COLUMNS))
START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)

# Spellings that the server reads and the transcoder leaves to it.
RARE = {"time": "Mar 2 2024 10:00 UTC", "ref": "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "day": "tomorrow", "local": "2024-060", "price": "1e-1001"}
RARE_NAMES = ["ref", "local", "price"]


def record(chance, number, rare=()):
    moment = START + datetime.timedelta(seconds=number * 7)
    values = {
        "time": moment.isoformat().replace("+00:00", chance.choice(["Z", "+00", "+00:00"])),
        "id": str(number),
        "ok": chance.choice(["t", "false", "ON", ""]),
        "small": str(chance.randrange(-32768, 32768)),
        "big": str(chance.getrandbits(62)),
        "half": repr(chance.uniform(-1, 1)),
        "whole": repr(chance.gauss(0, 1e6)),
        "price": f"{chance.uniform(-1e6, 1e6):.4f}",
        "note": chance.choice(["plain", '"said ""x"", twice"', '"two\nlines"', "", '""', "größer"]),
        "short": chance.choice(["abc", "12345678", "12345678  ", ""]),
        "code": chance.choice(["a", "abc", ""]),
        "ref": f"{chance.getrandbits(128):032x}",
        "doc": chance.choice(['"{""a"": [1, 2]}"', "1.50", "null", ""]),
        "bin": chance.choice(['"{""b"": 1, ""a"": [1, 2]}"', "1.50", "null", ""]),
        "mood": chance.choice(["happy", "so so", ""]),
        "day": "2024-02-29",
        "local": "2024-01-01 00:00:00.0005",
        "level": str(number % 7),
    }
    values.update({name: RARE[name] for name in rare})
    return ",".join(values[name] for name in NAMES) + "\n"


class Target:
    """Two tables of one kind: what we fill, and what a COPY fills."""

    def __init__(self, server, hyperfill, columns=COLUMNS):
        self.server, self.hyperfill, self.database = server, hyperfill, server.create_database()
        self.name = f"m_{self.database.name}"
        self.database.execute("CREATE TYPE mood AS ENUM ('happy', 'so so'); CREATE DOMAIN positive AS int CHECK (VALUE >= 0)")
        self.database.execute(f"ALTER DATABASE {self.database.name} SET log_statement = 'all'")
        self.columns = columns
        self.create()

    def create(self):
        for name in (self.name, "expected"):
            self.database.execute(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({self.columns})")
        if self.server.has_timescaledb:
            self.database.rows(f"SELECT create_hypertable('{self.name}', 'time', chunk_time_interval => interval '6 hours')")

    def write(self, text, header=None):
        (self.hyperfill.folder / "f.csv").write_text((header or ",".join(NAMES)) + "\n" + text)
        return text

    def arguments(self, *more, source="f.csv"):
        plain = [] if self.server.has_timescaledb else ["--time-column", "time", "--range-interval", "6h"]
        return ["--source", source, "--target", self.database.conninfo, "--table", self.name, "--progress", "none", *plain, *more]

    def run(self, *more, check=0, source="f.csv"):
        self.logged = len(self.server.log())
        return self.hyperfill.run("run", *self.arguments(*more, source=source), check=check)

    def plan(self, *more):
        return self.hyperfill.run("plan", *self.arguments(*more)).stdout

    def forget(self):
        self.database.execute(f"TRUNCATE {self.name}; DROP SCHEMA IF EXISTS hyperfill CASCADE")
        for path in self.hyperfill.folder.glob("hyperfill-*"):
            path.unlink()

    def copies(self):
        """How many COPYs of the last run were binary, and how many CSV."""
        said = re.findall(rf"COPY \S*{self.name}\S* \([^\n]*FORMAT (binary|csv)", self.server.log()[self.logged :])
        return said.count("binary"), said.count("csv")

    def rows(self, table):
        return self.database.rows(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {table} t")

    def is_as_expected(self):
        return self.rows(self.name) == self.rows("expected")


@pytest.fixture
def target(server, hyperfill):
    return Target(server, hyperfill)


DENSITIES = {"none": 0, "one": None, "rare": 0.0005, "some": 0.02, "most": 0.7, "all": 1}


@pytest.mark.parametrize("density", DENSITIES)
def test_same_table(target, density, chance):
    """However many records are not convertible, and wherever they stand."""
    share = DENSITIES[density]
    numbers = range(12_000)
    lucky = -1 if share == 0 else chance.choice(numbers)
    rare = [chance.sample(RARE_NAMES, chance.randrange(1, 3)) if n == lucky or (share or 0) > chance.random() else () for n in numbers]
    text = target.write("".join(record(chance, n, rare[n]) for n in numbers))
    file = target.hyperfill.folder / "plain.csv"
    file.write_text(text)
    target.database.copy_in("COPY expected FROM STDIN (FORMAT csv)", file)
    for wire in ("auto", "binary", "csv"):
        target.run("--wire", wire)
        assert target.is_as_expected(), wire
        binary, csv = target.copies()
        assert (binary > 0) == (wire != "csv" and share != 1)
        if share == 0 and wire != "csv" and not target.server.has_timescaledb:
            assert csv == 0
        if share != 0 or wire == "csv":
            assert csv > 0
        target.forget()


SHAPES = {
    "trimmed": ["--trim"],
    "epoch": ["--time-format", "epoch"],
    "constant": ["--set", 'note=ab"c'],
    "semicolons": ["--delimiter", ";", "--quote", "'", "--escape", "\\", "--null", "\\N"],
    "forced": ["--null", "x", "--force-null", "note", "--force-not-null", "code"],
    "crlf": [],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(server, hyperfill, shape):
    """Columns that are made, dialects, NULL: as with --wire csv."""
    target = Target(server, hyperfill, "time timestamptz NOT NULL, id int, note text, code varchar(9)")
    more = SHAPES[shape]
    moments = [(START + datetime.timedelta(minutes=n)).strftime("%Y-%m-%d %H:%M:%SZ") for n in range(900)]
    header = "time,id,note,code"
    if shape == "trimmed":
        lines = [f" {moment} ,\t{n} , \"a b \" ,  c d " for n, moment in enumerate(moments)]
    elif shape == "epoch":
        lines = [f"{1709251200 + n * 60}.5,{n},,\"\"" for n in range(900)]
    elif shape == "constant":
        header, lines = "id,time,code", [f"{n},{moment},x" for n, moment in enumerate(moments)]
    elif shape == "semicolons":
        header = header.replace(",", ";")
        lines = [f"{moment};{n};'it\\'s; {n}';\\N" if n % 2 else f"{moment};{n};\\N;'\\N'" for n, moment in enumerate(moments)]
    elif shape == "forced":
        lines = [f"{moment},{n},\"x\",x" if n % 2 else f"{moment},{n},x,\"x\"" for n, moment in enumerate(moments)]
    else:
        lines = [f"{moment},{n},\"a\r\nb\",c\r" for n, moment in enumerate(moments)]
        header += "\r"
    (hyperfill.folder / "f.csv").write_bytes((header + "\n" + "".join(line + "\n" for line in lines)).encode())
    target.run("--wire", "csv", *more)
    target.database.execute(f"INSERT INTO expected SELECT * FROM {target.name}")
    target.forget()
    target.run("--wire", "binary", *more)
    assert target.is_as_expected()
    assert target.copies()[0] > 0
    assert target.database.value("SELECT count(*) FROM expected") == 900


BAD = {
    "a text in a number": {"id": "abc"},
    "a number that is too large": {"small": "32768"},
    "too long": {"short": "123456789"},
    "rounded over the edge": {"price": "9999999999.999"},
    "NOT NULL": {"id": ""},
    "no such label": {"mood": "sad"},
    "no JSON": {"doc": '"{""a"": }"'},
    "a constraint of a domain": {"level": "-1"},
    "invalid UTF-8": {"note": "\udcff"},
    "a field too many": {"level": "1,2"},
}


def normal(text, folder):
    """Without what differs from run to run."""
    return re.sub(r"_hyper_\d+_\d+_chunk|\d+\.\d+ s", "", text.replace(str(folder), "."))


@pytest.mark.parametrize("rejecting", [False, True], ids=["stop", "reject"])
def test_same_errors(target, rejecting, chance):
    """Text and place of the error, and the rejects, are those of --wire csv."""
    for what, bad in BAD.items():
        lines = [record(chance, n) for n in range(3000)]
        fields = dict(zip(NAMES, "2024-03-01 01:00:00Z,1,,,,,,,x,,,,,,,,,1".split(",")))
        lines[1234] = ",".join({**fields, **bad}.values()) + "\n"
        (target.hyperfill.folder / "f.csv").write_bytes((",".join(NAMES) + "\n" + "".join(lines)).encode(errors="surrogateescape"))
        said = {}
        for wire in ("csv", "auto"):
            result = target.run("--wire", wire, "--jobs", "1", *(["--on-bad-row", "reject"] if rejecting else []), check=REJECTS if rejecting else DATA)
            assert target.copies()[0] > 0 or wire == "csv", what
            errors = [line for line in result.stderr.split("\n") if "rows" not in line]
            said[wire] = [normal("\n".join(errors), target.hyperfill.folder)]
            if rejecting:
                rejects = target.hyperfill.folder / f"hyperfill-{target.name}.rejects"
                said[wire] += [rejects.read_bytes(), normal(rejects.with_name(f"{rejects.name}.reasons").read_text(), rejects.parent)]
            said[wire].append(target.rows(target.name))
            target.forget()
        assert said["csv"] == said["auto"], what


def test_errors_of_commands(target, chance):
    """Their pieces cannot be written twice: the command is asked again, and the rows go as CSV."""
    lines = [record(chance, n) for n in range(2000)]
    lines[1500] = lines[1500].replace(",1500,", ",1500x,")
    target.write("".join(lines))
    window = ["--from", "2024-03-01 00:00:00Z", "--until", "2024-03-01 06:00:00Z"]
    said = {}
    for wire in ("csv", "auto"):
        result = target.run("--wire", wire, *window, "--jobs", "1", check=DATA, source="exec:cat f.csv; : {from} {until}")
        said[wire] = normal(result.stderr, target.hyperfill.folder)
        target.forget()
    assert said["csv"] == said["auto"] and '1500x' in said["csv"]


def test_conflicts(server, hyperfill, chance):
    """--on-conflict skip goes by a temporary table, in each COPY anew."""
    target = Target(server, hyperfill, COLUMNS + ", UNIQUE (id, time)")
    text = target.write("".join(record(chance, n, ["ref"] if n % 1500 == 700 else ()) for n in range(6000)))
    file = hyperfill.folder / "plain.csv"
    file.write_text(text)
    target.database.copy_in("COPY expected FROM STDIN (FORMAT csv)", file)
    target.database.execute(f"INSERT INTO {target.name} SELECT * FROM expected WHERE id % 5 = 0")
    target.run("--on-conflict", "skip", "--wire", "binary")
    assert target.is_as_expected()


def test_postgres_source(target):
    """Columns of other types are converted, too: not only what is the same on both sides."""
    source = target.server.create_database()
    source.execute("CREATE TABLE s (time timestamptz NOT NULL, id bigint, note varchar(20), whole numeric)")
    source.execute("INSERT INTO s SELECT timestamptz '2024-03-01Z' + n * interval '10 s', n, nullif('note ' || n % 7, 'note 3'), n / 8.0 FROM generate_series(1, 4000) n")
    columns = "time timestamptz NOT NULL, id int, note text, whole double precision"
    for name in (target.name, "expected"):
        target.database.execute(f"DROP TABLE {name}; CREATE TABLE {name} ({columns})")
    if target.server.has_timescaledb:
        target.database.rows(f"SELECT create_hypertable('{target.name}', 'time', chunk_time_interval => interval '6 hours')")
    target.database.execute("INSERT INTO expected SELECT timestamptz '2024-03-01Z' + n * interval '10 s', n, nullif('note ' || n % 7, 'note 3'), n / 8.0 FROM generate_series(1, 4000) n")
    for wire in ("csv", "binary"):
        target.run("--source-table", "s", "--until", "2024-04-01 00:00Z", "--wire", wire, source=source.conninfo)
        assert target.is_as_expected()
        assert (target.copies()[0] > 0) == (wire == "binary")
        target.forget()


def test_plan_says_which(target):
    target.write("")
    said = target.plan()
    assert "wire      binary: converted from CSV" in said
    target.database.execute(f"ALTER TABLE {target.name} ADD extra bytea")
    target.write("", header="time,extra")
    said = target.plan()
    assert 'wire      csv: column "extra" of type bytea has no exact conversion' in said
    refused = target.run("--wire", "binary", check=USAGE)
    assert '--wire binary: column "extra" of type bytea has no exact conversion' in refused.stderr
    target.write("", header="time,id")
    said = target.plan("--encoding", "LATIN1")
    assert "wire      csv: the input's encoding is LATIN1, the server's UTF8" in said
