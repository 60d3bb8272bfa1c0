"""Rows that dual writes have put into the target: told, replaced or kept, and never touched from T on."""

import datetime
import os
import pty
import re
import signal
import subprocess
import threading

import pytest

from harness import wait_until

DATA, STOPPED = 3, 7
# T falls inside of a chunk, partition or range of a day.
T = "2024-03-04 12:00:00+00"
HOURS = 5 * 24
COLUMNS = "time timestamptz NOT NULL, value double precision, note text"
SHAPES = ("pg15-plain", "pg15-partitioned", "ts17-hypertable", "ts18-hypertable")
SOURCES = ("postgresql", "csv", "stdin")


class Overlap:
    """A source with five days of rows, and a target in which the dual writes have rows on both sides of T.

    Before T the target has some of the source's rows twice over: the very same ones and others at times of their own.
    """

    def __init__(self, server, shape, kind_of_source, folder, hyperfill, step="1 hour"):
        self.shape, self.kind_of_source, self.hyperfill, self.folder = shape, kind_of_source, hyperfill, folder
        self.target = server.create_database()
        self.source = server.create_database()
        self.target.execute(f"CREATE TABLE m ({COLUMNS})" + (" PARTITION BY RANGE (time)" if shape == "partitioned" else ""))
        if shape == "hypertable":
            self.target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
        if shape == "partitioned":
            for day in range(1, 8):
                self.target.execute(f"CREATE TABLE m_{day} PARTITION OF m FOR VALUES FROM ('2024-03-0{day}+00') TO ('2024-03-0{day + 1}+00')")
        self.source.execute(
            f"CREATE TABLE m ({COLUMNS}); INSERT INTO m SELECT at, extract(epoch FROM at), 'source' FROM generate_series("
            f"'2024-03-01+00'::timestamptz, '2024-03-05 23:59:59+00', interval '{step}') AS at"
        )
        self.csv = folder / "m.csv"
        self.source.copy_out("COPY (SELECT * FROM m ORDER BY time) TO STDOUT (FORMAT csv, HEADER)", self.csv)

    def dual_write(self, low="2024-03-03 06:30:00+00", high="2024-03-06 00:00:00+00"):
        self.target.execute(
            "INSERT INTO m SELECT at, 0, 'dual' FROM generate_series(%s::timestamptz, %s::timestamptz - interval '1 s', interval '30 min') AS at",
            [low, high],
        )
        return self

    def options(self, *more):
        source = {"postgresql": self.source.conninfo, "csv": str(self.csv), "stdin": "-"}[self.kind_of_source]
        plain = ["--time-column", "time", "--range-interval", "1d"] if self.shape == "plain" else []
        return ["--source", source, "--target", self.target.conninfo, "--table", "m", "--until", T, "--progress", "plain", *plain, *more]

    def start(self, *more, command="run"):
        options = self.options(*more)
        if self.kind_of_source == "stdin":
            return self.hyperfill.start(command, *options, stdin=self.csv.read_bytes())
        return self.hyperfill.start(command, *options)

    def run(self, *more, command="run", check=0):
        return self.start(*more, command=command).wait(check=check)

    def before(self):
        return self.target.fingerprint("m", where=f"time < '{T}'")

    def after(self):
        return self.target.fingerprint("m", where=f"time >= '{T}'")

    def source_rows(self):
        return self.source.fingerprint("m", where=f"time < '{T}'")

    def pieces(self):
        if self.target.value("SELECT to_regclass('hyperfill.piece')") is None:
            return 0
        return self.target.value("SELECT count(*) FROM hyperfill.piece")


@pytest.fixture(params=[f"{shape}-{source}" for shape in SHAPES for source in SOURCES])
def overlap(request, servers, tmp_path, hyperfill):
    kind, shape, source = request.param.split("-")
    return Overlap(servers[kind], shape, source, tmp_path, hyperfill)


def assert_numbers(text, overlap, ranges_min=2):
    """The ranges that are listed have as many rows as is said, and together all that are before T."""
    rows = overlap.target.value(f"SELECT count(*) FROM m WHERE time < '{T}'")
    listed = re.findall(r"^\s*\[(\S[^,\]]*), ([^)]*)\): (\d+)$", text, re.M)
    assert re.search(rf"\b{rows} rows? in {len(listed)} ranges?\b", text), text
    assert sum(int(count) for _, _, count in listed) == rows, text
    for low, high, count in listed:
        assert overlap.target.value("SELECT count(*) FROM m WHERE time >= %s AND time < %s", [low, high]) == int(count), text
    # A pipe's ranges are not known before it is read: for a plain table the window as a whole is all that can be counted.
    assert len(listed) >= ranges_min or overlap.kind_of_source == "stdin" and overlap.shape == "plain", text


def test_error_lists_where_and_how_many_and_touches_nothing(overlap):
    overlap.dual_write()
    before, after = overlap.before(), overlap.after()
    result = overlap.run(check=DATA)
    assert_numbers(result.stderr, overlap)
    assert "--overlap replace" in result.stderr and "--overlap keep" in result.stderr, result
    assert (overlap.before(), overlap.after()) == (before, after)
    assert overlap.pieces() == 0
    # An unchanged table is refused again, and a choice is taken then.
    overlap.run(check=DATA)
    overlap.run("--overlap", "replace", "--yes")
    assert (overlap.before(), overlap.after()) == (overlap.source_rows(), after)


def test_error_is_about_rows_before_t_only(overlap):
    overlap.dual_write(low=T)
    after = overlap.after()
    assert after[0] > 0
    overlap.run()
    assert (overlap.before(), overlap.after()) == (overlap.source_rows(), after)


def test_replace_leaves_the_sources_rows_before_t_and_every_row_after(overlap):
    overlap.dual_write()
    after = overlap.after()
    # The chunk that T falls in has rows on both sides.
    assert overlap.target.value(f"SELECT count(*) FROM m WHERE time >= '{T}' AND time < '2024-03-05+00'") > 0
    overlap.run("--overlap", "replace", "--yes")
    assert overlap.before() == overlap.source_rows()
    assert overlap.after() == after
    overlap.run("--overlap", "replace", "--yes")
    assert (overlap.before(), overlap.after()) == (overlap.source_rows(), after)


def without(overlap, low, high):
    """The source without its rows in that time."""
    overlap.source.execute(f"DELETE FROM m WHERE time >= '{low}' AND time < '{high}'")
    overlap.source.copy_out("COPY (SELECT * FROM m ORDER BY time) TO STDOUT (FORMAT csv, HEADER)", overlap.csv)


def test_replace_empties_ranges_for_which_the_source_has_no_rows(overlap):
    # Day 2 is empty in the source, and its rows in the target are thus none of the source's.
    without(overlap, "2024-03-02+00", "2024-03-03+00")
    overlap.dual_write(low="2024-03-02 06:00:00+00")
    after = overlap.after()
    if overlap.kind_of_source == "csv":
        # Those of the empty day are told as well.
        there = overlap.target.value(f"SELECT count(*) FROM m WHERE time < '{T}'")
        assert f"already has {there} rows in" in overlap.run("--overlap", "replace", command="plan").stdout
    overlap.run("--overlap", "replace", "--yes")
    assert overlap.after() == after
    assert overlap.before() == overlap.source_rows()


def test_replace_leaves_nothing_of_others_between_the_last_range_and_t(overlap):
    # The source's last row before T is in the range before T's own.
    without(overlap, "2024-03-03 20:00:00+00", T)
    overlap.dual_write()
    after = overlap.after()
    if overlap.kind_of_source != "stdin":
        there = overlap.target.value(f"SELECT count(*) FROM m WHERE time < '{T}'")
        assert f"already has {there} rows in" in overlap.run("--overlap", "replace", command="plan").stdout
    overlap.run("--overlap", "replace", "--yes")
    assert (overlap.before(), overlap.after()) == (overlap.source_rows(), after)


@pytest.mark.parametrize("backwards", [False, True], ids=["", "backwards"])
def test_replace_leaves_what_other_jobs_have_loaded(servers, tmp_path, hyperfill, backwards):
    """One file after the other, each with the same T: what lies behind one of them, or before it, is not dual-written."""
    overlap = Overlap(servers["ts17"], "hypertable", "csv", tmp_path, hyperfill)
    overlap.dual_write()
    after = overlap.after()
    files = [("2024-03-01", "2024-03-03"), ("2024-03-03", "2024-03-04"), ("2024-03-04", T)]
    for low, high in reversed(files) if backwards else files:
        overlap.csv = tmp_path / f"{low}.csv"
        overlap.source.copy_out(f"COPY (SELECT * FROM m WHERE time >= '{low}+00' AND time < '{high}') TO STDOUT (FORMAT csv, HEADER)", overlap.csv)
        overlap.run("--overlap", "replace", "--yes", "--checkpoint", low)
    assert (overlap.before(), overlap.after()) == (overlap.source_rows(), after)


@pytest.mark.parametrize("low", [None, "2024-03-01 00:00:00+00"], ids=["", "from"])
def test_replace_leaves_rows_before_the_sources_first_unless_from_says_so(overlap, low):
    without(overlap, "2024-03-01 00:00:00+00", "2024-03-02 06:00:00+00")
    overlap.dual_write(low="2024-03-01 06:00:00+00", high="2024-03-01 12:00:00+00")
    earlier = overlap.target.fingerprint("m")
    overlap.run("--overlap", "replace", "--yes", *(["--from", low] if low else []))
    assert overlap.target.fingerprint("m", where=f"time >= '2024-03-02+00' AND time < '{T}'") == overlap.source_rows()
    assert overlap.target.fingerprint("m", where="time < '2024-03-02+00'") == ((0, "0") if low else earlier)


@pytest.mark.parametrize("at", ["2024-03-02 06:00:00+00", "2024-03-04 11:00:00+00"], ids=["between", "behind"])
def test_rows_where_a_database_has_none_are_in_the_way(servers, tmp_path, hyperfill, at):
    """A database has all of history: what lies beside its rows before T is dual-written, too. Chunks tell where it has none."""
    overlap = Overlap(servers["ts17"], "hypertable", "postgresql", tmp_path, hyperfill)
    without(overlap, at[:11] + "00:00:00+00", T if at > "2024-03-03" else "2024-03-03 00:00:00+00")
    overlap.source.execute("ALTER TABLE m RENAME TO plain; CREATE TABLE m (LIKE plain)")
    overlap.source.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
    overlap.source.execute("INSERT INTO m SELECT * FROM plain")
    overlap.dual_write(low=at, high=at[:11] + "12:00:00+00")
    there = overlap.target.fingerprint("m")
    assert_numbers(overlap.run("--range-interval", "6h", check=DATA).stderr, overlap, ranges_min=1)
    assert overlap.target.fingerprint("m") == there
    overlap.run("--overlap", "replace", "--yes")
    assert overlap.before() == overlap.source_rows()


def test_replace_deletes_nothing_where_rows_came_to_the_source(servers, tmp_path, hyperfill):
    overlap = Overlap(servers["pg15"], "plain", "postgresql", tmp_path, hyperfill, step="10 s")
    without(overlap, "2024-03-04 00:00:00+00", T)
    overlap.dual_write(low="2024-03-04 06:00:00+00", high="2024-03-04 12:00:00+00")
    kept = "time >= '2024-03-04+00'"
    there = overlap.target.fingerprint("m", where=kept)
    process = overlap.start("--overlap", "replace", "--yes", "--max-rate", "10000rows")
    wait_until(lambda: not process.running or overlap.pieces() > 0, what="the first piece")
    overlap.source.execute("INSERT INTO m VALUES ('2024-03-04 06:00:00+00', 0, 'late')")
    result = process.wait(check=0)
    assert "rows came to the source" in result.stderr, result
    assert overlap.target.fingerprint("m", where=kept) == there



def test_keep_adds(overlap):
    overlap.dual_write()
    after = overlap.after()
    kept = overlap.target.fingerprint("m", where=f"time < '{T}'")
    overlap.run("--overlap", "keep")
    assert overlap.after() == after
    assert overlap.target.fingerprint("m", where=f"time < '{T}' AND note = 'dual'") == kept
    assert overlap.target.fingerprint("m", where=f"time < '{T}' AND note = 'source'") == overlap.source_rows()


@pytest.mark.parametrize("choice", ["error", "replace", "keep"])
def test_plan_shows_the_same_numbers_and_changes_nothing(overlap, choice):
    overlap.dual_write()
    before, after = overlap.before(), overlap.after()
    if overlap.kind_of_source == "stdin":
        # What plan reads of a pipe is gone, and it may say so instead of reading.
        result = overlap.run("--overlap", choice, command="plan", check=None)
    else:
        result = overlap.run("--overlap", choice, command="plan", check=None)
        # keep harms none of the rows that are there, so that their count is not asked for.
        if choice == "keep":
            assert "kept" in result.stdout, result
        else:
            assert_numbers(result.stdout, overlap)
    assert result.status in ((0, DATA) if choice == "error" else (0,)), result
    assert (overlap.before(), overlap.after()) == (before, after)
    assert overlap.target.value("SELECT to_regclass('hyperfill.piece')") is None
    assert not list(overlap.folder.glob("*.checkpoint"))


def test_replace_with_a_window_leaves_rows_before_it(overlap):
    overlap.dual_write(low="2024-03-01 00:00:00+00")
    low = "2024-03-02 12:00:00+00"
    earlier = overlap.target.fingerprint("m", where=f"time < '{low}'")
    after = overlap.after()
    overlap.run("--overlap", "replace", "--yes", "--from", low)
    assert overlap.after() == after
    assert overlap.target.fingerprint("m", where=f"time < '{low}'") == earlier
    inside = f"time >= '{low}' AND time < '{T}'"
    assert overlap.target.fingerprint("m", where=inside) == overlap.source.fingerprint("m", where=inside)


def test_replace_of_a_shuffled_file_deletes_once(servers, tmp_path, hyperfill, chance):
    for kind, shape in (case.split("-") for case in SHAPES):
        overlap = Overlap(servers[kind], shape, "csv", tmp_path, hyperfill, step="20 s").dual_write()
        header, *records = overlap.csv.read_text().splitlines(keepends=True)
        chance.shuffle(records)
        overlap.csv.write_text(header + "".join(records))
        after = overlap.after()
        # With little memory each range comes in several pieces, and only the first may delete.
        overlap.run("--overlap", "replace", "--yes", "--memory", "16MB", "--checkpoint", f"{kind}-{shape}")
        assert (overlap.before(), overlap.after()) == (overlap.source_rows(), after), shape


# ---- The question at a terminal


@pytest.mark.parametrize("answer, status", [(b"y\n", 0), (b"n\n", STOPPED), (None, STOPPED)], ids=["yes", "no", "interrupt"])
def test_question_before_rows_are_deleted(servers, tmp_path, hyperfill, answer, status):
    overlap = Overlap(servers["ts17"], "hypertable", "csv", tmp_path, hyperfill).dual_write()
    before, after = overlap.before(), overlap.after()
    terminal, ours = pty.openpty()
    command = [hyperfill.binary, "run", *overlap.options("--overlap", "replace")]
    process = subprocess.Popen(command, cwd=hyperfill.folder, stdin=ours, stdout=ours, stderr=ours)
    os.close(ours)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 4096)
    assert f"{before[0]} rows of".encode() in said
    if answer is None:
        process.send_signal(signal.SIGINT)
    else:
        os.write(terminal, answer)
    try:
        assert process.wait(60) == status
    finally:
        process.kill()
        os.close(terminal)
    assert overlap.after() == after
    assert overlap.before() == (overlap.source_rows() if status == 0 else before)


# ---- While the application writes


@pytest.fixture(params=[f"{shape}-{source}" for shape in SHAPES for source in ("postgresql", "csv")])
def larger(request, servers, tmp_path, hyperfill):
    kind, shape, source = request.param.split("-")
    # About 86 thousand rows, so that a run takes long enough to be met on its way.
    return Overlap(servers[kind], shape, source, tmp_path, hyperfill, step="5 s")


@pytest.mark.parametrize("choice", ["error", "replace", "keep"])
def test_rows_that_appear_between_plan_and_load_are_not_lost_silently(larger, choice):
    # The row is for the range that is loaded last, and comes when another one is in: the plan cannot know it.
    late = "2024-03-01 00:00:02.5+00"
    larger.target.execute("INSERT INTO m VALUES ('2024-03-07 00:00+00', 0, 'first')")
    # The ledger's first piece tells that the plan is made.
    process = larger.start("--overlap", choice, "--order", "newest", "--jobs", "1", "--yes")
    wait_until(lambda: not process.running or larger.pieces() > 0, what="the first piece")
    larger.target.execute("INSERT INTO m VALUES (%s, 0, 'late')", [late])
    loaded = larger.target.value("SELECT count(*) FROM m WHERE time < '2024-03-02+00' AND note = 'source'")
    result = process.wait(check=None)
    kept = larger.target.value("SELECT count(*) FROM m WHERE note = 'late'")
    sources = larger.target.fingerprint("m", where=f"time < '{T}' AND note = 'source'")
    print(f"loaded before the late row: {loaded}, kept: {kept}, status {result.status}")
    if result.status == 0:
        assert sources == larger.source_rows()
    if choice == "error":
        # Either it came too late to be in the way, or the range was refused: the row is there in both cases.
        assert kept == 1, result
        assert result.status in (0, DATA), result
        if result.status == DATA:
            assert "2024-03-01 00:00:00+00" in result.stderr and "overlap" in result.stderr, result
    elif choice == "keep":
        assert result.status == 0 and kept == 1, result
    else:
        # replace was asked to delete what is in the range when it is loaded; afterwards nothing is deleted.
        assert result.status == 0, result
    assert larger.target.value("SELECT count(*) FROM m WHERE note = 'first'") == 1


def test_row_that_waits_in_an_open_transaction_during_the_plan_is_seen_by_the_load(larger):
    # Uncommitted while hyperfill plans, committed before the range is loaded: `error` must not load over it unnoticed.
    # The chunk is there already: making one holds a lock that any load into a new chunk waits for.
    larger.target.execute("INSERT INTO m VALUES ('2024-03-01 00:00+00', 0, 'first'); DELETE FROM m")
    writer = larger.target.connect()
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO m VALUES ('2024-03-01 00:00:02.5+00', 0, 'late')")
    process = larger.start("--jobs", "1", "--order", "newest", "--yes")
    wait_until(lambda: not process.running or larger.pieces() > 0, what="the first piece")
    writer.commit()
    writer.close()
    result = process.wait(check=None)
    assert larger.target.value("SELECT count(*) FROM m WHERE note = 'late'") == 1
    day = "time < '2024-03-02+00' AND note = 'source'"
    loaded = larger.target.fingerprint("m", where=day)
    assert result.status in (0, DATA), result
    assert loaded in ((0, "0"), larger.source.fingerprint("m", where=day)), "half of a range"
    if result.status == DATA:
        assert loaded == (0, "0"), result
        # The choice may be made afterwards, and the job goes on with it.
        larger.run("--overlap", "keep")
        assert larger.target.fingerprint("m", where=f"time < '{T}' AND note = 'source'") == larger.source_rows()


class LiveWriter(threading.Thread):
    """The application: writes rows at and after T, one transaction each, and counts those that were committed."""

    def __init__(self, database):
        super().__init__(daemon=True)
        self.database, self.count, self.error = database, 0, None
        self.ended = threading.Event()

    def run(self):
        start = datetime.datetime(2024, 3, 4, 12, tzinfo=datetime.timezone.utc)
        connection = self.database.connect()
        try:
            while not self.ended.is_set():
                moment = start + datetime.timedelta(seconds=self.count % (2 * 86400))
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO m VALUES (%s, %s, 'live')", [moment, self.count])
                connection.commit()
                self.count += 1
        except Exception as error:
            self.error = error
        finally:
            connection.close()


@pytest.mark.parametrize("choice", ["error", "replace", "keep"])
def test_live_writer_of_rows_from_t_on_loses_nothing(larger, choice):
    if choice != "error":
        larger.dual_write(high=T)
    writer = LiveWriter(larger.target)
    writer.start()
    wait_until(lambda: writer.count > 0 or writer.error, what="the live writer's first row")
    result = larger.run("--overlap", choice, "--yes", check=None)
    writer.ended.set()
    writer.join()
    print(f"{writer.count} live rows")
    assert result.status == 0, result
    assert writer.error is None, writer.error
    assert larger.target.rows("SELECT count(*), count(DISTINCT value) FROM m WHERE note = 'live'") == [(writer.count, writer.count)]
    assert larger.target.fingerprint("m", where=f"time < '{T}' AND note = 'source'") == larger.source_rows()
    # 29.5 hours of a row every half an hour.
    assert larger.target.value(f"SELECT count(*) FROM m WHERE time < '{T}' AND note = 'dual'") == (59 if choice == "keep" else 0)


# ---- Compressed chunks of the community edition

COMPRESSED = {
    "compressed": lambda database: database.rows("SELECT compress_chunk(c) FROM show_chunks('m') c"),
    # Rows came later than the chunk was compressed: they are beside it.
    "partly": lambda database: (
        database.rows("SELECT compress_chunk(c) FROM show_chunks('m') c"),
        database.execute("INSERT INTO m SELECT time + interval '7 s', 7, 'late' FROM m WHERE value = 0")),
    "some of them": lambda database: database.rows(
        "SELECT compress_chunk(c) FROM show_chunks('m', older_than => '2024-03-04 00:00Z'::timestamptz) c"),
}


def compressed_overlap(server, community, kind_of_source, state, unique, folder, hyperfill, step="1 hour"):
    """The target on the community server; T falls inside of a compressed chunk, and of a batch of it."""
    overlap = Overlap(server, "hypertable" if server.kind.startswith("ts") else "plain", kind_of_source, folder, hyperfill, step)
    overlap.shape, overlap.target = "hypertable", community
    community.execute(f"CREATE TABLE m ({COLUMNS})")
    community.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
    if unique:
        community.execute("CREATE UNIQUE INDEX ON m (note, time)")
    community.execute("ALTER TABLE m SET (timescaledb.compress, timescaledb.compress_segmentby = 'note')")
    overlap.dual_write()
    COMPRESSED[state](community)
    return overlap


@pytest.mark.parametrize("unique", [False, True], ids=["", "unique"])
@pytest.mark.parametrize("state", COMPRESSED)
@pytest.mark.parametrize("kind_of_source", ["postgresql", "csv"])
def test_replace_on_compressed_chunks(servers, community, hyperfill, tmp_path, kind_of_source, state, unique, chance):
    overlap = compressed_overlap(servers["pg15"], community, kind_of_source, state, unique, tmp_path, hyperfill)
    before = community.value("SELECT count(*) FROM m WHERE time < %s", [T])
    after = community.fingerprint("m", where=f"time >= '{T}'")
    more = ["--overlap", "replace", "--range-interval", chance.choice(["6h", "1d", "5h"])]
    plan = overlap.start(*more, command="plan").wait(check=0).stdout
    assert f"already has {before} rows" in plan
    overlap.start(*more).wait(check=0)
    assert community.fingerprint("m", where=f"time < '{T}'") == overlap.source.fingerprint("m", where=f"time < '{T}'")
    assert community.fingerprint("m", where=f"time >= '{T}'") == after
    # What a row of the columnstore and one of the heap say together is what the server says after compressing all once more.
    expected = community.fingerprint("m")
    community.rows("SELECT compress_chunk(c) FROM show_chunks('m') c")
    assert community.fingerprint("m") == expected


@pytest.mark.parametrize("strategy", ["compress", "build"])
@pytest.mark.parametrize("state", COMPRESSED)
def test_replace_compressed_chunks_by_strategy(servers, community, hyperfill, tmp_path, state, strategy):
    overlap = compressed_overlap(servers["pg15"], community, "postgresql", state, False, tmp_path, hyperfill)
    after = community.fingerprint("m", where=f"time >= '{T}'")
    overlap.start("--overlap", "replace", "--strategy", strategy).wait(check=0)
    assert community.fingerprint("m", where=f"time < '{T}'") == overlap.source.fingerprint("m", where=f"time < '{T}'")
    assert community.fingerprint("m", where=f"time >= '{T}'") == after


def test_replace_deletes_whole_batches(servers, community, hyperfill, tmp_path):
    """More rows than the server would decompress for a statement, and few of them are: batches go as they are."""
    overlap = compressed_overlap(servers["pg15"], community, "postgresql", "compressed", False, tmp_path, hyperfill)
    community.execute("TRUNCATE m")
    community.execute("INSERT INTO m SELECT '2024-03-02+00'::timestamptz + n * interval '0.25 s', n, 'dual' FROM generate_series(0, 299999) n")
    community.rows("SELECT compress_chunk(c) FROM show_chunks('m') c")
    community.execute("VACUUM m")
    overlap.start("--overlap", "replace").wait(check=0)
    assert community.fingerprint("m", where=f"time < '{T}'") == overlap.source.fingerprint("m", where=f"time < '{T}'")
    # Had they been decompressed to be deleted, the chunk's heap would be as large as 300,000 rows: before 2.21 the server
    # knows batches by what it segments by only.
    if community.timescaledb() >= (2, 21):
        assert community.value("SELECT sum(pg_relation_size(c)) FROM show_chunks('m') c") < 1_000_000


@pytest.mark.parametrize("state", ["compressed", "partly"])
def test_replace_on_compressed_chunks_survives_kills(servers, community, hyperfill, tmp_path, state, chance):
    overlap = compressed_overlap(servers["pg15"], community, "postgresql", state, False, tmp_path, hyperfill, step="20 s")
    after = community.fingerprint("m", where=f"time >= '{T}'")
    more = ["--overlap", "replace", "--range-interval", "3h", "--jobs", "2"]
    for _ in range(4):
        process = overlap.start(*more)
        seen = community.value("SELECT count(*) FROM m WHERE note = 'source'")
        wanted = seen + chance.randrange(1, 4000)
        wait_until(lambda: not process.running or community.value("SELECT count(*) FROM m WHERE note = 'source'") >= wanted, 30)  # noqa: B023
        process.kill()
    overlap.start(*more).wait(check=0)
    assert community.fingerprint("m", where=f"time < '{T}'") == overlap.source.fingerprint("m", where=f"time < '{T}'")
    assert community.fingerprint("m", where=f"time >= '{T}'") == after


def test_replace_ranges_that_share_batches(servers, community, hyperfill, tmp_path):
    """Neighbours unpack the same batches at the same time; of several turns, since not each meets."""
    for turn in range(6):
        community.execute("DROP TABLE IF EXISTS m; DROP SCHEMA IF EXISTS hyperfill CASCADE")
        overlap = compressed_overlap(servers["pg15"], community, "postgresql", "compressed", False, tmp_path, hyperfill, "30 min")
        overlap.start("--overlap", "replace", "--range-interval", "1h", "--jobs", "8", "--checkpoint", f"{turn}").wait(check=0)
        assert community.value("SELECT count(*) FROM m WHERE note <> 'source' AND time < %s", [T]) == 0


def test_a_batch_that_another_transaction_unpacks(servers, community, hyperfill, tmp_path):
    """Rows of a batch that somebody else decompresses meanwhile are none that the DELETE's snapshot knows."""
    overlap = compressed_overlap(servers["pg15"], community, "postgresql", "compressed", False, tmp_path, hyperfill)
    other = community.connect()
    cursor = other.cursor()
    # One row of the batch: the others go into the chunk's heap, not yet committed.
    cursor.execute("DELETE FROM m WHERE time = '2024-03-04 14:00Z'")
    process = overlap.start("--overlap", "replace")
    wait_until(lambda: not process.running or community.value(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        " AND (database IS NULL OR database = (SELECT oid FROM pg_database WHERE datname = current_database()))"), 30)
    assert process.running, process.result()
    other.commit()
    other.close()
    process.wait(check=0)
    assert community.fingerprint("m", where=f"time < '{T}'") == overlap.source.fingerprint("m", where=f"time < '{T}'")
    assert community.value(f"SELECT count(*) FROM m WHERE time >= '{T}'") == 71
