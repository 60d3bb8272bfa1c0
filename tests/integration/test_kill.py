"""hyperfill killed, stopped and aborted at random moments of one backfill: resumed by the same command, every row is there once."""

import datetime
import pathlib
import re
import signal
import time

import pytest

from harness import SEED, START, create_cpu, fill_cpu, wait_until

HOSTS = 10
TOTAL_ROWS = 420_000
STEP = datetime.timedelta(seconds=10)
# Rows at and after T belong to the application: the source has some, which must not come along.
UNTIL = START + (TOTAL_ROWS // HOSTS - 1_000) * STEP
BEFORE_UNTIL = f"time < '{UNTIL}'"
DATA, STOPPED = 3, 7


class Backfill:
    """One job: its source, its target and the command that starts and resumes it."""

    def __init__(self, hyperfill, source, arguments, target):
        self.hyperfill = hyperfill
        self.source = source
        self.target = target
        self.arguments = arguments
        self.checkpoint = hyperfill.folder / "job.checkpoint"
        self.expected = source.fingerprint("cpu", where=BEFORE_UNTIL)
        self.rows_expected = self.expected[0]
        self.rows_seen = 0
        self.piped = None  # the file that is standard input of each run

    def start(self, *more, target=None):
        options = {"--memory": "16MB", "--jobs": "2", "--progress": "none", "--checkpoint": self.checkpoint}
        # Given last, an option of the round takes the place of the usual one.
        options.update(zip(more[::2], more[1::2]))
        line = [word for option in options.items() for word in option]
        target = target or self.target.conninfo
        command = ["run", "--target", target, "--table", "cpu", *self.arguments, "--until", UNTIL, *line]
        if self.piped is None:
            return self.hyperfill.start(*command)
        with open(self.piped, "rb") as stdin:
            return self.hyperfill.start(*command, stdin=stdin)

    def progress(self):
        """The rows in the table now. At every moment they are those of the ledger, and never fewer than before."""
        if self.target.value("SELECT to_regclass('hyperfill.piece')") is None:
            assert self.target.value("SELECT count(*) FROM cpu") == 0
            return 0
        # Also while a backend that outlived its client still commits.
        ((in_table, in_ledger),) = self.target.rows_of_one_moment(
            "SELECT (SELECT count(*) FROM cpu), (SELECT coalesce(sum(rows), 0) FROM hyperfill.piece)"
        )
        assert in_table == in_ledger, f"{in_table} rows in the table, {in_ledger} in the ledger"
        assert self.rows_seen <= in_table <= self.rows_expected
        self.rows_seen = in_table
        return in_table

    def complete(self):
        result = self.start().wait(check=0)
        self.check()
        return result

    def check(self):
        assert self.target.fingerprint("cpu") == self.expected

    def kill_at_random(self, chance, kills, before_round=lambda number: ()):
        """Kills it `kills` times at random moments, each followed by the same command, then lets it complete.

        Half of the kills come after a random time, which hits the start of a run, and half once a random number of rows
        was added. So the kills are spread over the backfill however fast program and machine are. Where looking takes so
        long that it is complete before all kills were made, that is exact as well, and the others are made in another
        one that begins anew, earlier.
        """
        left, advances = kills, 0
        for spread in (0.85, 0.5, 0.25, *[0.1] * kills):
            hits, advanced = self._kill(chance, left, before_round, spread)
            print(f"{hits} kills hit a running process, {advanced} times with progress since the last, {self.rows_seen} rows when the kills ended")
            self.complete()
            left -= hits
            advances += advanced
            if left == 0:
                break
            self.begin_anew()
        assert left == 0, f"complete after {kills - left} kills of {kills}"
        # A test in which the runs hardly advance shows nothing.
        assert advances >= kills // 4, f"progress in {advances} of {kills} rounds"
        # Complete is complete: once more the same command adds nothing.
        self.complete()

    def _kill(self, chance, kills, before_round, spread):
        """Returns how many hit a running process, and after how many there was progress since the last."""
        hits, advances, reached = 0, 0, self.rows_seen
        while hits < kills:
            process = self.start(*before_round(hits + 1))
            # The rows at which the last kill should come; the rest is for those that are added between look and kill.
            share = (spread * self.rows_expected - reached) / (kills - hits)
            if share > 0 and (chance.random() < 0.5 or advances <= hits // 3):
                self.wait_for(process, reached + chance.uniform(0, 2 * share))
                time.sleep(chance.uniform(0, 0.02))
            else:
                time.sleep(chance.uniform(0, 0.12))
            process.kill()
            status = process.popen.returncode
            assert status in (0, -signal.SIGKILL), process.result()
            now = self.progress()
            advances += now > reached
            reached = now
            if status == 0:
                break
            hits += 1
        return hits, advances

    def begin_anew(self):
        self.target.execute("TRUNCATE cpu; DROP SCHEMA hyperfill CASCADE")
        self.checkpoint.unlink(missing_ok=True)
        self.rows_seen = 0

    def wait_for(self, process, rows):
        """Until the process hears signals and the target has so many rows, or the process is at its end."""
        wait_for_signals(process)
        while process.running and self.progress() < rows:
            time.sleep(0.001)


def make_backfill(hyperfill, servers, source_kind, target_kind, target_shape=True, rows=TOTAL_ROWS, kind=Backfill):
    source = servers["pg15"].create_database()
    create_cpu(source, hypertable=False)
    fill_cpu(source, rows, hosts=HOSTS, seed=SEED % 1000)
    # Names over several lines, with quotes and commas, so that a resume in the middle of a file has to find real records.
    source.execute("UPDATE cpu SET hostname = E'host \"three\",\\nof\\r\\nmany' WHERE tags_id = 3")
    source.execute("UPDATE cpu SET hostname = NULL WHERE tags_id = 4")
    target = servers[target_kind].create_database()
    create_cpu(target, hypertable=target_shape, chunk="2 hours", until=START + datetime.timedelta(days=6))
    arguments = source_arguments(hyperfill, source, source_kind)
    if target_shape is False:
        arguments += ["--time-column", "time", "--range-interval", "2h"]
    elif source_kind == "postgres":
        # Small commits, so that a run which is killed early has made some progress all the same.
        arguments += ["--range-interval", "20m"]
    return kind(hyperfill, source, arguments, target)


def source_arguments(hyperfill, source, kind):
    if kind == "postgres":
        return ["--source", source.conninfo]
    order = "time, tags_id" if kind == "ordered" else f"hashtextextended(time::text || tags_id, {SEED})"
    print(f"{kind} file, seed {SEED}")
    path = pathlib.Path(hyperfill.folder / f"{kind}.csv")
    source.copy_out(f"COPY (SELECT * FROM cpu ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)", path)
    return ["--source", path]


SOURCES = ("postgres", "ordered", "shuffled")
TARGETS = {"ts17": ("ts17", True), "ts18": ("ts18", True), "partitioned": ("pg15", "partitioned"), "plain": ("pg15", False)}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source_kind", SOURCES)
def test_thirty_kills(hyperfill, servers, chance, source_kind, target):
    target_kind, target_shape = TARGETS[target]
    backfill = make_backfill(hyperfill, servers, source_kind, target_kind, target_shape)
    if target == "partitioned":
        # Partitions that are built have their rows elsewhere for a while: test_build_partition.py.
        backfill.arguments += ["--strategy", "append"]
    backfill.kill_at_random(chance, 30)


@pytest.mark.parametrize("order", ["ordered", "shuffled"])
def test_kills_while_standard_input_is_read(hyperfill, servers, chance, order):
    backfill = make_backfill(hyperfill, servers, order, "ts17")
    backfill.piped = backfill.arguments[1]
    backfill.arguments[1] = "-"
    backfill.kill_at_random(chance, 12)
    # Other bytes before what is committed are not skipped for them. An offset is still that of a record.
    backfill.begin_anew()
    process = backfill.start()
    backfill.wait_for(process, backfill.rows_expected / 10)
    process.kill()
    rows = backfill.progress()
    content = bytearray(backfill.piped.read_bytes())
    at = content.index(b"host_", len(content) // 1000)
    content[at] = ord("H")
    backfill.piped = hyperfill.folder / "other.csv"
    backfill.piped.write_bytes(content)
    if process.popen.returncode != 0:
        assert "not the input that the job began with" in backfill.start().wait(check=DATA).stderr
    assert backfill.progress() == rows


@pytest.mark.parametrize("source_kind", SOURCES)
def test_speed_may_change_between_runs(hyperfill, servers, chance, source_kind):
    backfill = make_backfill(hyperfill, servers, source_kind, "ts17")

    def other_speed(number):
        return ["--jobs", chance.choice(["1", "2", "3", "4"]), "--memory", chance.choice(["16MB", "24MB", "32MB", "64MB"])]

    backfill.kill_at_random(chance, 10, other_speed)


@pytest.mark.parametrize("source_kind", SOURCES)
def test_checkpoint_deleted_between_runs(hyperfill, servers, chance, source_kind):
    backfill = make_backfill(hyperfill, servers, source_kind, "ts17")
    deleted = []

    def delete_sometimes(number):
        is_half_way = 0 < backfill.rows_seen < backfill.rows_expected
        if backfill.checkpoint.exists() and (chance.random() < 0.5 or is_half_way and not any(deleted)):
            backfill.checkpoint.unlink()
            deleted.append(is_half_way)
        return ()

    backfill.kill_at_random(chance, 10, delete_sometimes)
    print(f"deleted half way: {deleted}")
    assert any(deleted)
    # Of a job that is complete, too, the ledger alone knows enough.
    backfill.checkpoint.unlink(missing_ok=True)
    backfill.complete()


# ---- Signals


def wait_for_signals(process):
    """Until the process keeps SIGINT for itself: before, as in any program, it is the end without a word."""
    while process.running:
        blocked = re.search(r"^SigBlk:\s*(\w+)", pathlib.Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        if blocked and int(blocked[1], 16) >> (signal.SIGINT - 1) & 1:
            return
        time.sleep(0.001)


def check_stopped(result, has_hint=True):
    assert result.status in (0, STOPPED), result
    assert result.status == 0 or not has_hint or "resume" in result.stderr or "same command" in result.stderr, result


@pytest.mark.parametrize("source_kind", SOURCES)
def test_first_interrupt_commits_what_is_in_flight(hyperfill, servers, chance, source_kind):
    backfill = make_backfill(hyperfill, servers, source_kind, "ts17")
    server = backfill.target.server
    log_size = len(server.log())
    stops, advances, reached = 0, 0, 0
    for number in range(8):
        process = backfill.start()
        # Rows of several pieces are added behind the signal, so the steps are small.
        backfill.wait_for(process, reached + chance.uniform(0.01 if number < 3 else -0.03, 0.08) * backfill.rows_expected)
        process.signal(signal.SIGINT)
        result = process.wait()
        now = backfill.progress()
        check_stopped(result, has_hint=now > reached)
        advances += now > reached
        reached = now
        stops += result.status == STOPPED
        if result.status == 0:
            backfill.check()
            backfill.begin_anew()
            reached = 0
    print(f"{stops} stops, {advances} of them with progress, {reached} rows")
    assert stops >= 3 and advances >= 2
    # Nothing was cut off on the way: the server says so when a client leaves a transaction or has a statement cancelled.
    log = server.log()[log_size:]
    assert "with an open transaction" not in log and "canceling statement" not in log
    backfill.complete()


@pytest.mark.parametrize("source_kind", SOURCES)
def test_second_interrupt_aborts(hyperfill, servers, chance, source_kind):
    backfill = make_backfill(hyperfill, servers, source_kind, "ts17")
    stops = 0
    for _ in range(8):
        process = backfill.start()
        backfill.wait_for(process, backfill.rows_seen + chance.uniform(-0.03, 0.08) * backfill.rows_expected)
        process.signal(signal.SIGINT)
        time.sleep(chance.uniform(0, 0.03))
        process.signal(signal.SIGINT)
        reached = backfill.rows_seen
        result = process.wait()
        check_stopped(result, has_hint=backfill.progress() > reached)
        stops += result.status == STOPPED
        if result.status == 0:
            backfill.check()
            backfill.begin_anew()
    print(f"{stops} aborts, {backfill.rows_seen} rows")
    assert stops >= 3
    backfill.complete()


@pytest.mark.parametrize("source_kind", SOURCES)
def test_second_interrupt_waits_for_nobody(hyperfill, servers, proxy, chance, source_kind):
    # The line to the target is dead: what is in flight never ends, so the first interrupt alone must still wait for it.
    backfill = make_backfill(hyperfill, servers, source_kind, "ts17")
    line = proxy(backfill.target.server)
    process = backfill.start(target=line.conninfo(backfill.target))
    wait_until(lambda: backfill.progress() > 0 or not process.running, what="the first rows")
    line.pause()
    # What writers have begun by now, or begin next, never ends.
    wait_until(lambda: line.is_holding() or not process.running, what="something in flight")
    time.sleep(chance.uniform(0, 1))
    process.signal(signal.SIGINT)
    time.sleep(1)
    assert process.running, process.result()
    begin = time.monotonic()
    process.signal(signal.SIGINT)
    result = process.wait(check=STOPPED)
    seconds = time.monotonic() - begin
    print(f"aborted in {seconds:.2f} s at {backfill.rows_seen} rows")
    check_stopped(result)
    # Somebody would wait for ever.
    assert seconds < 60
    line.resume()
    assert backfill.progress() < backfill.rows_expected
    backfill.complete()


@pytest.mark.parametrize("source_kind", SOURCES)
def test_hint_also_before_rows_flow(hyperfill, servers, chance, source_kind):
    # A job that has rows in the target is resumed, and stopped before it adds one: "nothing was touched" would mislead.
    backfill = make_backfill(hyperfill, servers, source_kind, "ts17")
    stops = 0
    while stops < 6:
        if backfill.rows_seen == 0:
            process = backfill.start()
            backfill.wait_for(process, 1)
            process.kill()
        process = backfill.start()
        wait_for_signals(process)
        time.sleep(chance.uniform(0, 0.1))
        process.signal(signal.SIGINT)
        check_stopped(process.wait())
        stops += process.popen.returncode == STOPPED
        if backfill.progress() == backfill.rows_expected:
            backfill.begin_anew()
    backfill.complete()
