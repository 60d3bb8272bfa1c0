"""What other loaders were seen to do to CSV, and what their users complain about: each a test that rows are exact here.

Their defects were reproduced with timescaledb-parallel-copy 0.13; issues are named as project and number.
"""

import datetime
import re
import time

import psycopg2
import pytest

from harness import wait_until

DATA, SERVER, USAGE = 3, 4, 2
START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
COLUMNS = "time timestamptz NOT NULL, id int, note text"
HEADER = "time,id,note\n"


class Target:
    def __init__(self, server, tmp_path):
        self.server, self.tmp_path = server, tmp_path
        self.database = server.create_database()

    def create(self, name="m", columns=COLUMNS, chunk="1 hour"):
        quoted = '"' + name.replace('"', '""') + '"'
        self.database.execute(f"CREATE TABLE {quoted} ({columns})")
        if self.server.has_timescaledb:
            self.database.rows(
                "SELECT create_hypertable(%s::text::regclass, 'time', chunk_time_interval => %s::interval)", [quoted, chunk]
            )
        return self

    def arguments(self, source, *more, table="m", user=None):
        plain = [] if self.server.has_timescaledb else ["--time-column", "time", "--range-interval", "1h"]
        target = psycopg2.extensions.make_dsn(self.database.conninfo, **({"user": user} if user else {}))
        return ["run", "--source", source, "--target", target, "--table", table, "--progress", "plain", *plain, *more]

    def file(self, content, name="f.csv"):
        path = self.tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def copied(self, file, options="FORMAT csv, HEADER"):
        """The fingerprint of what the server makes of the file by itself."""
        self.database.execute("DROP TABLE IF EXISTS by_copy; CREATE TABLE by_copy (LIKE m)")
        self.database.copy_in(f"COPY by_copy FROM STDIN ({options})", file)
        return self.database.fingerprint("by_copy")

    def count(self, table="m"):
        return self.database.value(f"SELECT count(*) FROM {table}")


@pytest.fixture(params=["pg15", "ts17"])
def target(request, servers, tmp_path):
    return Target(servers[request.param], tmp_path)


def records(count, begin=0, width=10, step_seconds=30):
    return "".join(
        f"{START + datetime.timedelta(seconds=row * step_seconds):%Y-%m-%d %H:%M:%S}+00,{row},{'x' * width}\n"
        for row in range(begin, begin + count)
    )


def held(target):
    """A session that lets nobody write into the table until it is closed."""
    session = target.database.connect()
    session.cursor().execute("LOCK TABLE m IN SHARE MODE")
    return session


# ---- The table "Defects reproduced here"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_row_longer_than_a_buffer_is_whole(target, hyperfill, place):
    """There: a row of 302 bytes, at a batch size of 100, is stored with 98 characters; as the first row it is missing."""
    target.create()
    rows = records(3).splitlines(keepends=True)
    # Longer than the first 1 MiB buffer, than a 64 KiB block, and than both.
    for number, size in enumerate((302, 70_000, 1 << 20, 3 << 20)):
        rows[place] = f"2024-03-01 00:0{place}:00+00,{place},{'y' * size}\n"
        file = target.file(HEADER + "".join(rows), f"long-{number}.csv")
        target.database.execute("TRUNCATE m")
        hyperfill.run(*target.arguments(file, "--memory", "16MB", "--checkpoint", f"long-{number}"))
        assert target.database.fingerprint("m") == target.copied(file)


def test_invalid_bytes_are_refused_and_nothing_is_reinterpreted(target, hyperfill):
    """There: after a batch in Latin-1 all later batches are taken for Windows-1252: cafÃ©, with exit status 0."""
    target.create()
    good = "2024-03-01 02:00:00+00,2,café €\n2024-03-01 03:00:00+00,3,naïve\n".encode()
    bad = "2024-03-01 01:00:00+00,1,caf\xe9\n".encode("latin-1")
    file = target.file(HEADER.encode() + bad + good)
    result = hyperfill.run(*target.arguments(file), check=DATA)
    assert "line 2, byte 13" in result.stderr
    # What is loaded, if anything, is right; mended, all is.
    assert set(target.database.rows("SELECT id, note FROM m")) <= {(2, "café €"), (3, "naïve")}
    file = target.file(HEADER.encode() + bad.decode("latin-1").encode() + good, "mended.csv")
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
    target.database.execute("TRUNCATE m")
    hyperfill.run(*target.arguments(file, "--checkpoint", "mended"))
    assert target.database.fingerprint("m") == target.copied(file)


@pytest.mark.parametrize("after", ["16MB", "64MB"])
def test_resume_with_other_sizes_is_exact(target, hyperfill, chance, after):
    """There: resumed with another batch size, 1050 rows of which 900 are distinct, exit status 0."""
    target.create()
    file = target.file(HEADER + records(60_000, width=300, step_seconds=1))
    process = hyperfill.start(*target.arguments(file, "--memory", "16MB", "--jobs", "2"))
    time.sleep(chance.uniform(0.05, 0.6))
    process.kill()
    hyperfill.run(*target.arguments(file, "--memory", after, "--jobs", "3"))
    assert target.count() == 60_000
    assert target.database.fingerprint("m") == target.copied(file)


@pytest.mark.parametrize("before, after", [("16MB", "256MB"), ("256MB", "16MB")])
def test_what_is_left_is_loaded_with_other_sizes(target, hyperfill, before, after):
    """The same, with a first run of which some is certain to be there and some to be missing."""
    target.create()
    count = 60_000
    file = target.file(HEADER + records(count, width=300, step_seconds=1))
    # The hour in the middle of which rows begin to be refused has some that were committed before, or none.
    target.database.execute("ALTER TABLE m ADD CONSTRAINT early CHECK (time < '2024-03-01 10:30:00+00')")
    hyperfill.run(*target.arguments(file, "--memory", before, "--jobs", "2", "--order", "oldest"), check=DATA)
    assert 0 < target.count() < count
    target.database.execute("ALTER TABLE m DROP CONSTRAINT early")
    hyperfill.run(*target.arguments(file, "--memory", after, "--jobs", "3"))
    assert target.database.fingerprint("m") == target.copied(file)


def test_two_tables_from_one_file(target, hyperfill):
    """There: the same import id used for another table loads 0 rows, exit status 0."""
    target.create()
    target.create("other")
    file = target.file(HEADER + records(500))
    hyperfill.run(*target.arguments(file))
    hyperfill.run(*target.arguments(file, table="other"))
    assert target.count() == target.count("other") == 500
    # With the first job's checkpoint file it is refused, not taken for done.
    target.create("third")
    result = hyperfill.run(*target.arguments(file, "--checkpoint", "hyperfill-m.checkpoint", table="third"), check=USAGE)
    assert "belongs to another job" in result.stderr and target.count("third") == 0


def test_another_pipe_with_the_same_header_is_not_taken_for_what_is_complete(target, hyperfill):
    """There: a reused import id loads 0 rows, exit status 0. Of a pipe only the header is known before it is read."""
    target.create()
    first, arguments = HEADER + records(500), target.arguments("-", "--until", "2025-01-01 00:00+00")
    # Behind the last row that is loaded stand some that never will be, and no other.
    later = "2025-03-01 00:00:00+00,1,after\n"
    hyperfill.run(*arguments, stdin=(first + later).encode())
    for other in (HEADER + records(500, begin=500), first + later + records(1, begin=500), first + "no row\n", HEADER + records(499), HEADER):
        result = hyperfill.run(*arguments, stdin=other.encode(), check=DATA)
        assert "is not the input that the job" in result.stderr and "hyperfill clean" in result.stderr, result
        assert target.count() == 500
    assert "nothing to do" in hyperfill.run(*arguments, stdin=(first + later + later).encode()).stderr
    # What is said to be done works.
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m")
    hyperfill.run(*arguments, "--checkpoint", "second", "--overlap", "keep", stdin=(HEADER + records(500, begin=500)).encode())
    assert target.database.fingerprint("m") == target.copied(target.file(HEADER + records(1000)))


def test_a_pipe_behind_one_without_rows(target, hyperfill):
    target.create()
    hyperfill.run(*target.arguments("-"), stdin=HEADER.encode())
    assert "nothing to do" in hyperfill.run(*target.arguments("-"), stdin=HEADER.encode()).stderr
    hyperfill.run(*target.arguments("-"), stdin=(HEADER + records(3)).encode(), check=DATA)


@pytest.fixture
def role(target):
    database = target.database
    database.execute("DROP ROLE IF EXISTS loader")
    database.execute("CREATE ROLE loader LOGIN")
    yield "loader"
    database.execute("DROP OWNED BY loader; DROP ROLE loader")


def test_replace_without_the_right_to_delete_loads_nothing(target, hyperfill, role):
    """There: the TRUNCATE fails, that is logged, and the load goes on: duplicates, exit status 0."""
    target.create()
    file = target.file(HEADER + records(500))
    target.database.copy_in("COPY m FROM STDIN (FORMAT csv, HEADER)", file)
    target.database.execute(f"GRANT INSERT, SELECT ON m TO {role}; GRANT CREATE ON DATABASE {target.database.name} TO {role}")
    result = hyperfill.run(*target.arguments(file, "--overlap", "replace", "--yes", user=role), check=SERVER)
    assert "GRANT DELETE" in result.stderr and target.count() == 500


def test_ledger_in_a_schema_that_is_given(target, hyperfill, role):
    """There: a role without CREATE on the database cannot start."""
    target.create()
    target.database.execute(f"GRANT INSERT, SELECT ON m TO {role}; CREATE SCHEMA mine AUTHORIZATION {role}")
    file = target.file(HEADER + records(500))
    hyperfill.run(*target.arguments(file, "--ledger-schema", "mine", user=role))
    assert target.database.fingerprint("m") == target.copied(file)


def test_conflicts_with_a_generated_column(target, hyperfill):
    """There: cannot insert a non-DEFAULT value into column."""
    target.create(columns=COLUMNS + ", twice int GENERATED ALWAYS AS (id * 2) STORED, UNIQUE (time, id)")
    target.database.execute("INSERT INTO m VALUES ('2024-03-01 00:00:30+00', 1, 'there')")
    hyperfill.run(*target.arguments(target.file(HEADER + records(500)), "--on-conflict", "skip"))
    assert target.database.value("SELECT count(*) FROM m WHERE twice = id * 2") == 500
    assert target.database.value("SELECT note FROM m WHERE id = 1") == "there"


def test_backend_killed_while_loading(target, hyperfill):
    """There: what follows is loaded otherwise than what came before. Here the piece is simply loaded again."""
    target.create()
    file = target.file(HEADER + records(100_000, width=200, step_seconds=1))
    locking = held(target)
    process = hyperfill.start(*target.arguments(file, "--memory", "16MB", "--jobs", "2"))
    for _ in range(3):
        # Of a COPY that waits for the lock nothing is done yet.
        kill = (
            "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'COPY%' AND wait_event_type = 'Lock'"
        )
        wait_until(lambda: target.database.value(kill) or not process.running, what="a COPY that waits")
    locking.close()
    result = process.wait(check=0)
    assert int(re.search(r"retries  (\d+)", result.stderr)[1]) >= 3
    assert target.database.fingerprint("m") == target.copied(file)


def test_table_name_with_quotes(target, hyperfill):
    """There: a syntax error."""
    name = 'a "b" c'
    target.create(name)
    table = '"a ""b"" c"'
    hyperfill.run(*target.arguments(target.file(HEADER + records(300)), table=table))
    assert target.count(table) == 300


def test_byte_order_mark_before_the_header(target, hyperfill):
    """There: column \ufefftime does not exist."""
    target.create()
    hyperfill.run(*target.arguments(target.file("\ufeff" + HEADER + records(300))))
    assert target.count() == 300


# ---- Complaints of users about CSV


def test_no_row_is_lost_to_the_header(target, hyperfill):
    """parallel-copy 17, 59: with HEADER among COPY's options the first row of each batch was lost: 18,000 of 90 million."""
    target.create(chunk="10 minutes")
    file = target.file(HEADER + records(50_000, width=400, step_seconds=1))
    hyperfill.run(*target.arguments(file, "--memory", "16MB"))
    # A piece for each chunk, or hour, at least.
    assert target.database.value("SELECT count(*) FROM hyperfill.piece") > 10
    assert target.count() == 50_000
    assert target.database.fingerprint("m") == target.copied(file)


def test_duplicate_key_with_many_writers(target, hyperfill):
    """parallel-copy 56: a panic by a duplicate key with 10 workers."""
    target.create(columns=COLUMNS + ", UNIQUE (time, id)")
    text = HEADER + records(5_000) + records(10, begin=700)
    file = target.file(text)
    result = hyperfill.run(*target.arguments(file, "--jobs", "10"), check=DATA)
    assert "duplicate key" in result.stderr and "--on-conflict skip" in result.stderr
    # What is loaded is loaded once, and the same job goes on when rows that come twice may be left out.
    assert target.database.value("SELECT count(*) - count(DISTINCT id) FROM m") == 0
    hyperfill.run(*target.arguments(file, "--jobs", "10", "--on-conflict", "skip"))
    assert target.database.rows("SELECT count(*), count(DISTINCT id) FROM m") == [(5_000, 5_000)]


def test_file_still_being_written_is_refused(target, hyperfill):
    """parallel-copy 55: reads a file still being written. Here the end counts as the end only if nobody moved it."""
    target.create()
    file = target.file(HEADER + records(200_000, width=100, step_seconds=1))
    # It cannot be read to its end: the memory has no room for it.
    locking = held(target)
    process = hyperfill.start(*target.arguments(file, "--memory", "16MB"))
    wait_until(lambda: target.database.waits_for_locks() or not process.running, what="a writer that waits")
    with open(file, "a") as opened:
        opened.write(records(1, begin=200_000))
    locking.close()
    result = process.wait()
    assert result.status == DATA and "changed while it was being read" in result.stderr, result


def test_tab_delimiter(target, hyperfill):
    """parallel-copy 3."""
    target.create()
    file = target.file((HEADER + records(300)).replace(",", "\t"))
    hyperfill.run(*target.arguments(file, "--delimiter", "\\t"))
    assert target.database.fingerprint("m") == target.copied(file, "FORMAT csv, HEADER, DELIMITER E'\\t'")


def test_columns_from_the_header(target, hyperfill):
    """parallel-copy 118, 15, 32, 37, 120."""
    target.create()
    rows = "".join(f'"{row}",n,2024-03-01 00:00:{row}+00\n' for row in range(10, 60))
    hyperfill.run(*target.arguments(target.file('id,"note",time\n' + rows)))
    assert target.database.value("SELECT sum(id) FROM m WHERE note = 'n'") == sum(range(10, 60))


def test_header_taken_for_a_row_is_named_as_such(target, hyperfill):
    """parallel-copy 52: invalid input syntax for type timestamp; it was the header."""
    target.create()
    result = hyperfill.run(*target.arguments(target.file(HEADER + records(300)), "--no-header"), check=DATA)
    assert 'the value "time"' in result.stderr and "line 1, byte 0" in result.stderr and target.count() == 0


def test_error_half_way_says_where(target, hyperfill):
    """parallel-copy 92: half-way error with no trace of where to look."""
    target.create()
    before = HEADER + records(30_000)
    file = target.file(before + "2024-03-11 00:00:00+00,no number,x\n" + records(10, begin=40_000))
    result = hyperfill.run(*target.arguments(file), check=DATA)
    assert f"line 30002, byte {len(before)}" in result.stderr and "no number" in result.stderr


@pytest.mark.parametrize(
    "note, expected",
    [
        ('"line\nline"', "line\nline"),
        ('"a\\""', None),
        ("back\\slash", "back\\slash"),
        ('"a\\nb"', "a\\nb"),
        ('st"r"ay', "stray"),
        ('"a""b"', 'a"b'),
        ('"""quoted"""', '"quoted"'),
    ],
)
def test_peculiar_text(target, hyperfill, note, expected):
    """pgloader 1376, 765, 774, 26, 346, 640, 1400: fatal, or columns shifted."""
    target.create()
    file = target.file(HEADER + f"2024-03-01 00:00:00+00,1,{note}\n2024-03-01 00:00:01+00,2,next\n")
    if expected is None:
        # A backslash is no escape unless told: the quote stays open.
        result = hyperfill.run(*target.arguments(file), check=DATA)
        assert "the quote opens in line 2" in result.stderr and target.count() == 0
        hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes", check=None)
        hyperfill.run(*target.arguments(file, "--escape", "\\", "--checkpoint", "c"))
        expected = 'a"'
    else:
        hyperfill.run(*target.arguments(file))
    assert target.database.rows("SELECT note FROM m ORDER BY id") == [(expected,), ("next",)]


def test_newline_in_the_header(target, hyperfill):
    target.create(columns='time timestamptz NOT NULL, "two\nlines" int')
    hyperfill.run(*target.arguments(target.file('time,"two\nlines"\n2024-03-01 00:00:00+00,7\n')))
    assert target.database.rows('SELECT "two\nlines" FROM m') == [(7,)]


def test_null_and_empty_of_a_hundred_columns(target, hyperfill):
    """pgloader 217, 334, 686: NULL, "" and a word of one's own for NULL, in tables of a hundred columns."""
    columns = [f"c{number}" for number in range(120)]
    target.create(columns="time timestamptz NOT NULL, " + ", ".join(f"{column} text" for column in columns))
    fields = ["", '""', "NULL", '"NULL"', "\\N", " "]
    file = target.file(
        "time," + ",".join(columns) + "\n2024-03-01 00:00:00+00," + ",".join(fields[number % 6] for number in range(120)) + "\n"
    )
    for number, (null, values) in enumerate(
        {"": [None, "", "NULL", "NULL", "\\N", " "], "NULL": ["", "", None, "NULL", "\\N", " "], "\\N": ["", "", "NULL", "NULL", None, " "]}.items()
    ):
        target.database.execute("TRUNCATE m")
        hyperfill.run(*target.arguments(file, "--null", null, "--checkpoint", f"null-{number}"))
        (row,) = target.database.rows("SELECT * FROM m")
        assert list(row[1:]) == values * 20
        hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
