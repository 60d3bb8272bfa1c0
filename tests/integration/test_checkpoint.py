"""Checkpoint files that are lost, torn, damaged or somebody else's: the job goes on exactly, or is refused in words."""

import json
import os
import re
import shutil

import pytest

USAGE, DATA, SERVER = 2, 3, 4
UNTIL = "2024-03-06 00:00:00Z"
DAYS = 5
ROWS_A_DAY = 24


class Job:
    """A backfill of five days of which the third is refused by the target until mend() is called."""

    def __init__(self, server, shape, kind_of_source, folder, hyperfill, name="m"):
        self.database = server.create_database()
        self.folder = folder
        self.hyperfill = hyperfill
        self.name = name
        self.shape = shape
        self.checkpoint = folder / f"hyperfill-{name}.checkpoint"
        self.create_table()
        rows = (
            "SELECT '2024-03-01+00'::timestamptz + n * interval '1 hour' AS time, n::float8 AS value, 'x' || n AS note"
            f" FROM generate_series(0, {DAYS * ROWS_A_DAY - 1}) AS n"
        )
        source = server.create_database()
        source.execute(f"CREATE TABLE {name} AS {rows}; SET timezone = 'UTC'")
        self.source_database = source
        self.whole = source.fingerprint(name)
        if kind_of_source == "csv":
            self.file = folder / f"{name}.csv"
            source.copy_out(f"COPY (SELECT * FROM {name} ORDER BY time) TO STDOUT (FORMAT csv, HEADER)", self.file)
            self.source = [str(self.file)]
        else:
            self.source = [source.conninfo, "--until", UNTIL]
        self.kind_of_source = kind_of_source

    def create_table(self):
        partitioned = " PARTITION BY RANGE (time)" if self.shape == "partitioned" else ""
        self.database.execute(f"CREATE TABLE {self.name} (time timestamptz NOT NULL, value float8, note text)" + partitioned)
        for day in range(1, DAYS + 1 if partitioned else 0):
            self.database.execute(
                f"CREATE TABLE {self.name}_{day} PARTITION OF {self.name} FOR VALUES FROM ('2024-03-0{day}+00') TO ('2024-03-0{day + 1}+00')"
            )
        if self.shape == "hypertable":
            self.database.rows("SELECT create_hypertable(%s, 'time', chunk_time_interval => interval '1 day')", [self.name])

    def spoil(self):
        self.database.execute(f"ALTER TABLE {self.name} ADD CONSTRAINT odd CHECK (value <> 60)")
        return self

    def mend(self):
        self.database.execute(f"ALTER TABLE {self.name} DROP CONSTRAINT odd")

    def options(self, *more):
        plain = ["--time-column", "time", "--range-interval", "1d"] if self.shape == "plain" else []
        target = ["--target", self.database.conninfo, "--table", self.name]
        return ["--source", *self.source, *target, *plain, "--progress", "none", *more]

    def run(self, *more, check=0):
        return self.hyperfill.run("run", *self.options(*more), check=check)

    def stored(self):
        return self.database.fingerprint(self.name)

    def ledger(self):
        # With its last job the ledger itself may go.
        if self.database.value("SELECT to_regclass('hyperfill.piece')") is None:
            return []
        return sorted(self.database.rows("SELECT to_jsonb(p)::text FROM hyperfill.piece AS p"))

    def expected_without_bad_day(self):
        return self.source_database.fingerprint(self.name, where="time < '2024-03-03+00' OR time >= '2024-03-04+00'")


@pytest.fixture(params=[
    "pg15-plain-postgresql", "pg15-plain-csv", "pg15-partitioned-csv", "ts17-hypertable-postgresql", "ts17-hypertable-csv", "ts18-hypertable-postgresql",
])  # fmt: skip
def job(request, servers, tmp_path, hyperfill):
    kind, shape, source = request.param.split("-")
    return Job(servers[kind], shape, source, tmp_path, hyperfill)


@pytest.fixture(params=["pg15-plain-postgresql", "ts17-hypertable-csv"])
def one_job(request, servers, tmp_path, hyperfill):
    """Two corners of the four, for what takes long."""
    kind, shape, source = request.param.split("-")
    return Job(servers[kind], shape, source, tmp_path, hyperfill)


@pytest.fixture
def interrupted(job):
    job.spoil().run(check=DATA)
    assert job.stored() == job.expected_without_bad_day()
    return job


@pytest.fixture
def one_interrupted(one_job):
    one_job.spoil().run(check=DATA)
    assert one_job.stored() == one_job.expected_without_bad_day()
    return one_job


def assert_ends_the_same_way(job, ledger, stored):
    result = job.run(check=None)
    assert result.status == DATA, result
    assert job.stored() == stored, result
    assert job.ledger() == ledger, result
    return result


def finish(job):
    job.mend()
    job.run()
    assert job.stored() == job.whole


# ---- Lost and torn


def test_deleted(interrupted):
    ledger, stored = interrupted.ledger(), interrupted.stored()
    interrupted.checkpoint.unlink()
    result = assert_ends_the_same_way(interrupted, ledger, stored)
    assert "ledger" in result.stderr, result
    interrupted.checkpoint.unlink()
    finish(interrupted)


def test_emptied(interrupted):
    ledger, stored = interrupted.ledger(), interrupted.stored()
    interrupted.checkpoint.write_bytes(b"")
    assert_ends_the_same_way(interrupted, ledger, stored)
    finish(interrupted)


def truncations(job, content, lines):
    """Cuts the content at every byte of its last lines, and resumes each."""
    ledger, stored = job.ledger(), job.stored()
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    first = ends[-1 - lines]
    for size in range(first, len(content)):
        job.checkpoint.write_bytes(content[:size])
        try:
            assert_ends_the_same_way(job, ledger, stored)
        except AssertionError as error:
            raise AssertionError(f"cut at byte {size} of {len(content)}, after {content[:size][-80:]!r}") from error


@pytest.mark.timeout(3000)
def test_truncated_at_every_byte_of_the_last_two_lines(one_interrupted):
    truncations(one_interrupted, one_interrupted.checkpoint.read_bytes(), 2)
    finish(one_interrupted)


@pytest.mark.timeout(3000)
def test_truncated_at_every_byte_of_the_last_two_pieces(one_interrupted):
    content = one_interrupted.checkpoint.read_bytes()
    # A run that is killed leaves no line that says how it ended. Nor one of the day that failed, whose writer may be the slower
    # or the faster one: the last ones are of pieces.
    lines = [line for line in content.splitlines(keepends=True) if not line.startswith(b"failed ")]
    last = max(number for number, line in enumerate(lines) if line.startswith(b"piece "))
    assert lines[last - 1].startswith(b"piece ")
    truncations(one_interrupted, b"".join(lines[: last + 1]), 2)
    finish(one_interrupted)


def test_truncated_after_every_line(interrupted):
    ledger, stored = interrupted.ledger(), interrupted.stored()
    lines = interrupted.checkpoint.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        interrupted.checkpoint.write_bytes(b"".join(lines[:count]))
        assert_ends_the_same_way(interrupted, ledger, stored)
    finish(interrupted)


# ---- Damaged


def assert_status_speaks(job):
    plain = job.hyperfill.run("status", "--checkpoint", job.checkpoint, check=None)
    machine = job.hyperfill.run("status", "--checkpoint", job.checkpoint, "--json", check=None)
    assert plain.status == machine.status and plain.status in (0, USAGE, DATA), (plain, machine)
    if machine.status == 0:
        return json.loads(machine.stdout)
    assert job.checkpoint.name in machine.stderr and job.checkpoint.name in plain.stderr, (plain, machine)
    return None


@pytest.mark.timeout(3000)
def test_flipped_bits(one_interrupted, chance):
    job = one_interrupted
    ledger, stored = job.ledger(), job.stored()
    content = job.checkpoint.read_bytes()
    first_line = content.index(b"\n") + 1
    # A tenth hits the first line, which says what the file is.
    places = [chance.randrange(first_line if number % 10 == 0 else len(content)) for number in range(200)]
    refused = 0
    for place in places:
        bit = chance.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        job.checkpoint.write_bytes(damaged)
        what = f"bit {bit} of byte {place}: {bytes(damaged[max(0, place - 40) : place + 40])!r}"
        shown = assert_status_speaks(job)
        result = job.run(check=None)
        assert job.stored() == stored and job.ledger() == ledger, f"{what}\n{result!r}"
        assert result.status in (DATA, USAGE), f"{what}\n{result!r}"
        if result.status == USAGE:
            refused += 1
            assert job.checkpoint.name in result.stderr, f"{what}\n{result!r}"
            assert job.checkpoint.read_bytes() == bytes(damaged), what
        else:
            # What was damaged or torn is told, by the run as by status.
            assert "checkpoint file" in result.stderr, f"{what}\n{result!r}"
            # The end of the last line is where a crash tears it: there a flipped bit may look like that.
            assert shown is None or shown["damaged"] or shown.get("torn") or place >= content[:-1].rindex(b"\n"), f"{what}\n{shown}"
    # Files whose first line is unreadable may be somebody else's; the others go on.
    assert refused <= 40, refused
    job.checkpoint.write_bytes(content)
    finish(job)


def test_swapped_and_repeated_lines(interrupted, chance):
    job = interrupted
    ledger, stored = job.ledger(), job.stored()
    lines = job.checkpoint.read_bytes().splitlines(keepends=True)
    for _ in range(20):
        changed = list(lines)
        first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
        how = chance.randrange(3)
        if how == 0:
            changed[first], changed[second] = changed[second], changed[first]
        elif how == 1:
            changed.insert(first, changed[second])
        else:
            del changed[first]
        job.checkpoint.write_bytes(b"".join(changed))
        assert_status_speaks(job)
        result = job.run(check=None)
        assert result.status in (DATA, USAGE), (how, first, second, result)
        assert job.stored() == stored and job.ledger() == ledger, (how, first, second, result)
    job.checkpoint.unlink()
    finish(job)


def test_a_lying_checkpoint_does_not_make_rows_count_as_loaded(interrupted):
    # The file of a later moment beside a target of an earlier one, as a restored database has it: the ledger counts.
    job = interrupted
    job.database.execute(f"DELETE FROM {job.name} WHERE time < '2024-03-02+00'")
    deleted = job.database.execute("DELETE FROM hyperfill.piece WHERE lo = (SELECT min(lo) FROM hyperfill.piece)")
    assert deleted == 1
    finish(job)


# ---- Another's


def assert_refused(job, *more, words=()):
    content = job.checkpoint.read_bytes()
    stored = job.stored()
    ledger = job.ledger() if job.database.value("SELECT to_regclass('hyperfill.piece')") else None
    result = job.run(*more, check=USAGE)
    assert job.checkpoint.read_bytes() == content, "the refused file was changed"
    assert job.stored() == stored
    if ledger is not None:
        assert job.ledger() == ledger
    for word in words:
        assert word in result.stderr, f"{word} is not in {result!r}"
    return result


def test_of_another_table(interrupted, tmp_path):
    job = interrupted
    job.database.execute("CREATE TABLE other (LIKE m)")
    job.source_database.execute("CREATE TABLE other AS SELECT * FROM m")
    own = job.options("--checkpoint", job.checkpoint)
    own[own.index("--table") + 1] = "other"
    if "--time-column" not in own:
        own += ["--time-column", "time", "--range-interval", "1d"]
    content = job.checkpoint.read_bytes()
    result = job.hyperfill.run("run", *own, check=USAGE)
    assert "other" in result.stderr and job.checkpoint.name in result.stderr, result
    assert job.checkpoint.read_bytes() == content
    assert job.database.value("SELECT count(*) FROM other") == 0
    finish(job)


def test_of_another_target_database(interrupted):
    job = interrupted
    first = job.database
    job.database = job.database.server.create_database()
    job.create_table()
    assert_refused(job, words=["target", first.name, job.database.name])
    assert job.stored()[0] == 0
    job.database = first
    finish(job)


def test_changed_until(interrupted):
    job = interrupted
    if job.kind_of_source == "postgresql":
        job.source[-1] = "2024-03-05 00:00:00Z"
        assert_refused(job, words=["2024-03-05", "until"])
        job.source[-1] = UNTIL
    else:
        assert_refused(job, "--until", "2024-03-05 00:00:00Z", words=["2024-03-05", "until"])
    # The same moment in other words is the same job.
    if job.kind_of_source == "postgresql":
        job.source[-1] = "2024-03-06 02:00:00+02"
    finish(job)


def test_changed_columns(interrupted):
    assert_refused(interrupted, "--columns", "time,note" if interrupted.kind_of_source == "postgresql" else "time,note,value", words=["columns"])
    finish(interrupted)


def test_changed_job_without_checkpoint_file_is_refused_by_the_ledger(interrupted):
    job = interrupted
    stored, ledger = job.stored(), job.ledger()
    result = job.run("--from", "2024-03-01 12:00:00Z", "--checkpoint", "another", "--overlap", "keep", check=USAGE)
    assert "from" in result.stderr, result
    assert (job.stored(), job.ledger()) == (stored, ledger)
    finish(job)


@pytest.fixture(params=["pg15-plain-csv", "ts17-hypertable-csv"])
def csv_interrupted(request, servers, tmp_path, hyperfill):
    kind, shape, source = request.param.split("-")
    job = Job(servers[kind], shape, source, tmp_path, hyperfill).spoil()
    job.run(check=DATA)
    return job


@pytest.mark.parametrize("changed", [["--null", "NULL"], ["--escape", "\\"], ["--quote", "'"], ["--timezone", "UTC"], ["--no-header"]], ids=lambda c: c[0])
def test_changed_dialect(csv_interrupted, changed):
    assert_refused(csv_interrupted, *changed)
    finish(csv_interrupted)


@pytest.mark.parametrize("change", ["size", "mtime", "head", "tail", "middle", "shorter"])
def test_changed_file(csv_interrupted, change):
    job = csv_interrupted
    before, times = job.file.read_bytes(), job.file.stat()
    after = bytearray(before)
    if change == "size":
        after += b"2024-03-05 23:30:00+00,500,late\n"
    elif change == "shorter":
        del after[after[:-1].rindex(b"\n") + 1 :]
    elif change != "mtime":
        # One letter of a note, which leaves size and form as they were.
        at = {"head": after.index(b"x"), "tail": after.rindex(b"x"), "middle": after.index(b"x", len(after) // 2)}[change]
        after[at] = ord("y")
    job.file.write_bytes(after)
    if change == "mtime":
        os.utime(job.file, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000_000))
    else:
        os.utime(job.file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert_refused(job, words=["source", job.checkpoint.name])
    job.file.write_bytes(before)
    os.utime(job.file, ns=(times.st_atime_ns, times.st_mtime_ns))
    finish(job)


# ---- No checkpoint at all

STRANGERS = {
    "text": b"Dear diary,\ntoday I was nearly overwritten.\n",
    "binary": bytes(range(256)) * 20,
    "csv": b"time,value,note\n2024-03-01 00:00:00+00,1,a\n",
    "blank": b"\n",
    "zeros": b"\0" * 4096,
    "newer": b"hyperfill checkpoint 2 0123456789abcdef\n",
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_file_that_is_no_checkpoint_is_left_alone(one_job, stranger):
    job = one_job
    job.checkpoint.write_bytes(STRANGERS[stranger])
    result = job.run(check=USAGE)
    assert job.checkpoint.name in result.stderr, result
    assert job.checkpoint.read_bytes() == STRANGERS[stranger]
    assert job.stored()[0] == 0
    shown = job.hyperfill.run("status", "--checkpoint", job.checkpoint, check=None)
    assert shown.status != 0 and job.checkpoint.name in shown.stderr, shown
    machine = job.hyperfill.run("status", "--checkpoint", job.checkpoint, "--json", check=None)
    assert machine.status == shown.status, machine
    assert job.checkpoint.read_bytes() == STRANGERS[stranger]
    job.checkpoint.unlink()
    job.run()
    assert job.stored() == job.whole


def test_the_source_itself_is_not_taken_as_checkpoint(servers, tmp_path, hyperfill):
    job = Job(servers["pg15"], "plain", "csv", tmp_path, hyperfill)
    before = job.file.read_bytes()
    job.run("--checkpoint", job.file, check=USAGE)
    assert job.file.read_bytes() == before


def test_folder_and_unwritable_place(one_job, tmp_path):
    (tmp_path / "folder").mkdir()
    result = one_job.run("--checkpoint", "folder", check=None)
    assert result.status in (USAGE, 6) and "folder" in result.stderr, result
    result = one_job.run("--checkpoint", "no/such/place", check=None)
    assert result.status in (USAGE, 6) and "no/such/place" in result.stderr, result
    assert one_job.stored()[0] == 0


def test_status_of_a_missing_file(hyperfill):
    for more in ([], ["--json"]):
        result = hyperfill.run("status", "--checkpoint", "none-such", *more, check=None)
        assert result.status != 0 and "none-such" in result.stderr, result


# ---- Status, finished jobs, clean


def test_status_of_an_interrupted_and_a_finished_job(interrupted):
    job = interrupted
    shown = job.hyperfill.run("status", "--table", "m").stdout
    said = json.loads(job.hyperfill.run("status", "--table", "m", "--json").stdout)
    text = json.dumps(said)
    assert "fail" in shown and "fail" in text, (shown, text)
    assert str(job.expected_without_bad_day()[0]) in shown and job.database.name in text, (shown, text)
    # The server's words for the range that failed are kept.
    assert "odd" in shown, shown
    finish(job)
    shown = job.hyperfill.run("status", "--table", "m").stdout
    text = job.hyperfill.run("status", "--table", "m", "--json").stdout
    assert "complete" in shown and "complete" in text and str(job.whole[0]) in shown, (shown, text)
    # What was only estimated is not held against it.
    assert re.search(rf"^rows +{job.whole[0]}$", shown, re.M), shown


@pytest.mark.parametrize("lost", [False, True], ids=["with-file", "without-file"])
def test_finished_job_has_nothing_to_do(job, lost):
    job.run()
    assert job.stored() == job.whole
    if lost:
        job.checkpoint.unlink()
    result = job.run()
    assert "nothing to do" in result.stderr + result.stdout, result
    assert job.stored() == job.whole
    # Not even after rows were taken out: what was loaded once is not loaded again.
    job.database.execute("DELETE FROM m")
    job.run()
    assert job.stored()[0] == 0


def test_finished_job_leaves_a_checkpoint_that_status_reads_when_the_file_was_lost(job):
    job.run()
    job.checkpoint.unlink()
    job.run()
    # An empty file would be taken for a job that never began.
    if job.checkpoint.exists():
        result = job.hyperfill.run("status", "--table", "m", check=None)
        assert result.status == 0 and "complete" in result.stdout, result


def clean(job, *more, check=0):
    return job.hyperfill.run("clean", "--target", job.database.conninfo, "--table", "m", *more, check=check)


def test_clean_of_a_finished_job(job):
    job.run()
    result = clean(job)
    assert "1 job" in result.stdout, result
    assert job.stored() == job.whole
    assert job.ledger() == []
    # Forgotten, the same rows are in the way of a job that would load them again.
    job.checkpoint.unlink()
    job.run(check=DATA)
    assert job.stored() == job.whole
    job.run("--overlap", "replace", "--yes")
    assert job.stored() == job.whole


def test_clean_of_an_unfinished_job_needs_yes(interrupted):
    job = interrupted
    ledger, stored = job.ledger(), job.stored()
    result = clean(job, check=USAGE)
    assert "--yes" in result.stderr, result
    assert job.ledger() == ledger and job.stored() == stored
    clean(job, "--yes")
    assert job.ledger() == [] and job.stored() == stored
    clean(job)


def test_clean_leaves_other_tables_alone(interrupted):
    job = interrupted
    ledger = job.ledger()
    job.database.execute("CREATE TABLE other (LIKE m)")
    job.hyperfill.run("clean", "--target", job.database.conninfo, "--table", "other", "--yes")
    assert job.ledger() == ledger
    finish(job)


def test_clean_where_there_is_no_ledger(one_job):
    result = clean(one_job)
    assert "nothing" in result.stdout, result


def test_table_made_again_is_a_new_job(job):
    job.run()
    job.database.execute("DROP TABLE m")
    job.create_table()
    # The old file belongs to the table that is gone: refused, or started anew, but not taken for done.
    result = job.run(check=None)
    assert result.status in (0, USAGE), result
    if result.status == USAGE:
        assert job.checkpoint.name in result.stderr and job.stored()[0] == 0, result
        shutil.move(job.checkpoint, job.folder / "old")
        job.run()
    assert job.stored() == job.whole
    assert job.checkpoint.exists()


def test_table_made_again_after_an_interruption_is_a_new_job(interrupted):
    job = interrupted
    job.database.execute("DROP TABLE m")
    job.create_table()
    job.checkpoint.unlink()
    result = job.run(check=None)
    assert result.status == 0, result
    assert job.stored() == job.whole
