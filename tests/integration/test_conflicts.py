"""--on-conflict skip: rows whose key the target has are left out and counted; all others are there once, whatever happens."""

import datetime
import json
import random
import threading
import time

import psycopg2
import pytest

from harness import SEED, wait_until

DATA, SERVER = 3, 4
TARGETS = ("pg15-plain", "pg15-partitioned", "ts17-hypertable")
START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
DAYS = 4
HEADER = "time,device,value\n"


class Target:
    """A table with a unique key of time and device, cut by days."""

    def __init__(self, server, shape, tmp_path):
        self.server, self.shape, self.tmp_path = server, shape, tmp_path
        self.database = server.create_database()

    def create(self, more="", key="UNIQUE (time, device)"):
        columns = f"time timestamptz NOT NULL, device int NOT NULL, value double precision{more}" + (f", {key}" if key else "")
        partitioned = self.shape == "partitioned"
        self.database.execute(f"CREATE TABLE m ({columns})" + (" PARTITION BY RANGE (time)" if partitioned else ""))
        for day in range(DAYS) if partitioned else ():
            edges = [START + datetime.timedelta(days=number) for number in (day, day + 1)]
            self.database.execute(f"CREATE TABLE m_{day} PARTITION OF m FOR VALUES FROM (%s) TO (%s)", edges)
        if self.shape == "hypertable":
            self.database.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
        return self

    def arguments(self, source, *more):
        plain = ["--time-column", "time", "--range-interval", "1d"] if self.shape == "plain" else []
        return ["--source", source, "--target", self.database.conninfo, "--table", "m", "--progress", "plain", *plain, *more]

    def file(self, rows, header=HEADER, name="f.csv"):
        path = self.tmp_path / name
        path.write_text(header + "".join(",".join(map(str, row)) + "\n" for row in rows))
        return path

    def stored(self):
        return self.database.rows("SELECT time, device, value FROM m ORDER BY time, device")

    def ledger(self):
        """Rows and conflicts of all pieces."""
        return self.database.rows("SELECT sum(rows)::bigint, sum(conflicts)::bigint FROM hyperfill.piece")[0]


@pytest.fixture
def make_target(servers, tmp_path):
    def make(which):
        kind, shape = which.split("-")
        return Target(servers[kind], shape, tmp_path)

    return make


@pytest.fixture(params=TARGETS)
def target(request, make_target):
    return make_target(request.param)


def moment(row, step=600):
    return START + datetime.timedelta(seconds=row * step)


def rows_of_file(count=400, devices=1):
    """A row every ten minutes of some three days."""
    return [(moment(row // devices), row % devices, float(row)) for row in range(count)]


def expected(rows, there):
    """What the table must hold: of a key that is there, what is there."""
    kept = {(time, device): value for time, device, value in there}
    for time, device, value in rows:
        kept.setdefault((time, device), value)
    return [(*key, value) for key, value in sorted(kept.items())]


def put(database, rows):
    for row in rows:
        database.execute("INSERT INTO m (time, device, value) VALUES (%s, %s, %s)", row)


# ---- What it does


def test_error_is_the_default(target, hyperfill):
    target.create()
    there = [(moment(7), 0, -1.0)]
    put(target.database, there)
    file = target.file(rows_of_file())
    result = hyperfill.run("run", *target.arguments(file, "--overlap", "keep"), check=DATA)
    assert "--on-conflict skip" in result.stderr
    # The rule is no part of the job: what has failed goes on with the other.
    hyperfill.run("run", *target.arguments(file, "--on-conflict", "skip"))
    assert target.stored() == expected(rows_of_file(), there)
    assert target.ledger() == (399, 1)


def test_rows_that_are_there_stay(target, hyperfill):
    target.create()
    there = [(moment(row), 0, -1.0) for row in range(0, 400, 7)] + [(moment(row), 5, -2.0) for row in range(3)]
    put(target.database, there)
    rows = rows_of_file()
    result = hyperfill.run("run", *target.arguments(target.file(rows), "--on-conflict", "skip"))
    assert target.stored() == expected(rows, there)
    # Rows of others that are in no conflict are not the job's.
    assert target.ledger() == (342, 58)
    assert "skipped  58 rows" in result.stderr


def test_same_key_twice_in_one_piece(target, hyperfill):
    target.create()
    rows = rows_of_file()
    twice = rows + [(time, device, -value - 1) for time, device, value in rows[::3]]
    hyperfill.run("run", *target.arguments(target.file(twice), "--on-conflict", "skip"))
    assert target.stored() == expected(rows, [])
    assert target.ledger() == (400, len(twice) - 400)


def test_from_postgresql(servers, target, hyperfill):
    target.create()
    source = servers["pg15"].create_database()
    source.execute("CREATE TABLE m (time timestamptz NOT NULL, device int, value double precision)")
    put(source, rows_of_file())
    there = [(moment(row), 0, -1.0) for row in range(0, 500, 3)]
    put(target.database, there)
    until = moment(390)
    hyperfill.run("run", *target.arguments(source.conninfo, "--on-conflict", "skip", "--until", until))
    assert target.stored() == expected(rows_of_file(390), there)
    assert target.ledger() == (260, 130)


def test_counts_in_events_and_status(make_target, hyperfill):
    target = make_target("ts17-hypertable").create()
    put(target.database, [(moment(row), 0, -1.0) for row in range(10)])
    arguments = target.arguments(target.file(rows_of_file()), "--on-conflict", "skip")
    arguments[arguments.index("plain")] = "json"
    result = hyperfill.run("run", *arguments)
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["rows"], summary["conflicts"], summary["conflicts_before"]) == (390, 10, 0)
    # The ledger knows it as well: a file that was lost is written again with it.
    for lost in (False, True):
        if lost:
            (hyperfill.folder / "hyperfill-m.checkpoint").unlink()
            hyperfill.run("run", *arguments)
        status = json.loads(hyperfill.run("status", "--table", "m", "--json").stdout)
        assert (status["rows"], status["conflicts"]) == (390, 10)
        assert "10 rows: the target had their keys" in hyperfill.run("status", "--table", "m").stdout


def test_compressed_rows_count_as_there(community, hyperfill, tmp_path):
    class Community:
        has_timescaledb = True

        @staticmethod
        def create_database():
            return community

    target = Target(Community, "hypertable", tmp_path).create()
    there = [(moment(row), 0, -1.0) for row in range(0, 400, 3)]
    put(community, there)
    community.execute("ALTER TABLE m SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')")
    community.rows("SELECT compress_chunk(c) FROM show_chunks('m') c")
    hyperfill.run("run", *target.arguments(target.file(rows_of_file()), "--on-conflict", "skip"))
    assert target.stored() == expected(rows_of_file(), there)
    assert target.ledger() == (400 - len(there), len(there))


# ---- Columns of every kind


def test_generated_identity_default_and_domain(target, hyperfill):
    target.database.execute("CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100); CREATE SEQUENCE numbers")
    target.create(
        ", twice double precision GENERATED ALWAYS AS (value * 2) STORED, number bigint DEFAULT nextval('numbers') NOT NULL,"
        ' share percent, "Quoted ""name""" varchar(5) DEFAULT \'none\', words text[]'
        + ("" if target.shape == "partitioned" else ", id bigint GENERATED ALWAYS AS IDENTITY")
    )
    identity = target.shape != "partitioned"
    header = 'time,device,value,share,"Quoted ""name""",words' + (",id" if identity else "") + "\n"
    rows = [(moment(row), 0, float(row), "12.345", '"a,""b"', '"{x,""y z""}"', *([1000 + row] if identity else [])) for row in range(200)]
    put(target.database, [(moment(3), 0, -1.0), (moment(4), 0, -1.0)])
    hyperfill.run("run", *target.arguments(target.file(rows, header), "--on-conflict", "skip"))
    assert target.ledger() == (198, 2)
    assert target.database.value("SELECT count(*) FROM m WHERE twice = value * 2") == 200
    columns = 'share::text, "Quoted ""name""", words' + (", id" if identity else "")
    assert target.database.rows(f"SELECT {columns} FROM m WHERE value = 5") == [
        ("12.35", 'a,"b', ["x", "y z"], *([1005] if identity else []))
    ]
    assert target.database.value("SELECT count(DISTINCT number) FROM m") == 200
    # Of the rows that are left out nothing is used up but numbers of sequences.
    assert target.database.value("SELECT count(*) FROM m WHERE value = -1") == 2


@pytest.mark.parametrize(
    "bad", ['2024-03-01 12:00:00+00,x,1', "2024-03-01 12:00:00+00,,1", "2024-03-01 12:00:00+00,5,-5"], ids=["type", "null", "check"]
)
def test_other_errors_are_errors(target, hyperfill, bad):
    target.create(", CHECK (value >= 0)")
    file = target.file(rows_of_file(50))
    before = file.read_text()
    file.write_text(before + bad + "\n" + f"{moment(60)},0,60\n")
    result = hyperfill.run("run", *target.arguments(file, "--on-conflict", "skip"), check=DATA)
    assert file.name in result.stderr, result
    if bad.split(",")[1] == "x":
        assert f"line 52, byte {len(before)}" in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m WHERE device <> 0") == 0


def test_table_without_unique_key_takes_all(target, hyperfill):
    target.create(key="")
    put(target.database, [(moment(3), 0, -1.0)])
    hyperfill.run("run", *target.arguments(target.file(rows_of_file()), "--on-conflict", "skip"))
    assert target.database.value("SELECT count(*) FROM m") == 401
    assert target.ledger() == (400, 0)


def test_explicit_overlap_counts(target, hyperfill):
    target.create()
    put(target.database, [(moment(3), 0, -1.0), (moment(3), 1, -1.0)])
    file = target.file(rows_of_file())
    result = hyperfill.run("run", *target.arguments(file, "--on-conflict", "skip", "--overlap", "error"), check=DATA)
    assert "already has rows" in result.stderr
    hyperfill.run("run", *target.arguments(file, "--on-conflict", "skip", "--overlap", "replace", "--yes"))
    assert target.stored() == rows_of_file()


def test_temporary_tables_must_be_allowed(target, hyperfill):
    target.create()
    database = target.database
    database.execute("DROP ROLE IF EXISTS loader")
    database.execute(f"CREATE ROLE loader LOGIN; REVOKE TEMP ON DATABASE {database.name} FROM PUBLIC")
    try:
        database.execute(f"GRANT INSERT, SELECT ON m TO loader; GRANT CREATE ON DATABASE {database.name} TO loader")
        arguments = target.arguments(target.file(rows_of_file()), "--on-conflict", "skip")
        arguments[arguments.index(database.conninfo)] = psycopg2.extensions.make_dsn(database.conninfo, user="loader")
        result = hyperfill.run("run", *arguments, check=SERVER)
        assert "GRANT TEMPORARY ON DATABASE" in result.stderr and "loader" in result.stderr, result
        database.execute(f"GRANT TEMP ON DATABASE {database.name} TO loader")
        hyperfill.run("run", *arguments)
        assert target.stored() == rows_of_file()
    finally:
        database.execute("DROP OWNED BY loader; DROP ROLE loader")


def test_ledger_of_an_earlier_version(target, hyperfill):
    target.create()
    file = target.file(rows_of_file())
    hyperfill.run("run", *target.arguments(file))
    target.database.execute("ALTER TABLE hyperfill.piece DROP COLUMN conflicts")
    other = target.file([(moment(row), 0, -1.0) for row in range(390, 420)], name="other.csv")
    hyperfill.run("run", *target.arguments(other, "--on-conflict", "skip", "--checkpoint", "other"))
    assert target.stored() == expected(rows_of_file(), [(moment(row), 0, -1.0) for row in range(400, 420)])
    assert target.ledger() == (420, 10)


# ---- Whatever happens meanwhile

MANY = 150_000


def many_rows(target):
    """Rows of some three days in no order, a few of them twice, written by the server."""
    database = target.server.create_database()
    path = target.tmp_path / "many.csv"
    database.copy_out(
        "COPY (SELECT '2024-03-01 00:00:00+00'::timestamptz + n / 3 * interval '5 s' AS time, n % 3 AS device, n::float8 AS value"
        f" FROM generate_series(0, {MANY - 1}) n ORDER BY hashint8extended(n, {SEED})) TO STDOUT (FORMAT csv, HEADER)",
        path,
    )
    return path


def assert_exact(target, where="true"):
    """Each key once; by the ledger and by the table the same rows are ours."""
    assert target.database.value("SELECT count(*) FROM m") == MANY
    assert target.database.value("SELECT count(DISTINCT (time, device)) FROM m") == MANY
    ours = target.database.value("SELECT count(*) FROM m WHERE value >= 0")
    rows, conflicts = target.ledger()
    assert rows == ours
    assert rows + conflicts == MANY


@pytest.mark.pipeline
def test_killed_in_the_middle(target, hyperfill, chance):
    target.create()
    database = target.database
    database.execute(
        "INSERT INTO m SELECT '2024-03-01 00:00:00+00'::timestamptz + n / 3 * interval '5 s', n % 3, -1"
        f" FROM generate_series(0, {MANY - 1}, 11) n"
    )
    there = database.value("SELECT count(*) FROM m")
    arguments = target.arguments(many_rows(target), "--on-conflict", "skip", "--memory", "16MB", "--jobs", "2")
    kills = 0
    for number in range(8):
        process = hyperfill.start("run", *arguments)
        time.sleep(chance.uniform(0.02, 0.1 if number < 3 else 0.5))
        process.kill()
        kills += process.popen.returncode != 0
        if database.value("SELECT to_regclass('hyperfill.piece')"):
            ((stored, in_ledger),) = database.rows_of_one_moment(
                "SELECT (SELECT count(*) FROM m), (SELECT coalesce(sum(rows), 0) FROM hyperfill.piece)"
            )
            assert stored == there + in_ledger
    hyperfill.run("run", *arguments)
    assert kills >= 2
    assert_exact(target)
    assert target.ledger()[1] == there


@pytest.mark.pipeline
def test_while_another_session_writes_the_same_keys(target, hyperfill, chance):
    target.create()
    file = many_rows(target)
    written, ended = [], threading.Event()
    number = chance.randrange(1 << 30)

    def dual_writes():
        mine = random.Random(number)
        connection = psycopg2.connect(target.database.conninfo)
        connection.autocommit = True
        cursor = connection.cursor()
        while not ended.is_set():
            row = mine.randrange(MANY)
            # As an application does that may be the second.
            cursor.execute(
                "INSERT INTO m VALUES (%s, %s, -1) ON CONFLICT DO NOTHING", [moment(row // 3, 5), row % 3]
            )
            written.append(cursor.rowcount)
        connection.close()

    writers = [threading.Thread(target=dual_writes) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        wait_until(lambda: sum(written) > 10, what="rows of the other session")
        hyperfill.run("run", *target.arguments(file, "--on-conflict", "skip", "--memory", "16MB", "--jobs", "2"))
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert_exact(target)
    assert target.ledger()[1] == sum(written)


def test_nothing_is_left_behind(target, hyperfill):
    target.create()
    hyperfill.run("run", *target.arguments(target.file(rows_of_file()), "--on-conflict", "skip"))
    assert target.database.value("SELECT count(*) FROM pg_class WHERE relname ~ '^hyperfill_[0-9a-f]{32}'") == 0
