"""Servers that are killed, lines that are cut, answers that are lost: a run goes on by itself, and every row is there once."""

import datetime
import re
import time

import pytest

from harness import SEED, START, Database, create_cpu, fill_cpu, wait_until

HOSTS = 10
TOTAL_ROWS = 300_000
STEP = datetime.timedelta(seconds=10)
UNTIL = START + (TOTAL_ROWS // HOSTS - 1_000) * STEP
BEFORE_UNTIL = f"time < '{UNTIL}'"
STATUS_DATA = 3
STATUS_TRANSIENT = 5

SOURCES = ("postgres", "ordered", "shuffled")
TARGETS = {"ts17": True, "ts18": True, "pg15-partitioned": "partitioned", "pg15-plain": False}


class Backfill:
    """A source, a target and the command between them. Either side may be reached by another conninfo than its own."""

    def __init__(self, hyperfill, servers, source_kind, target_kind="ts17", source_server="pg15"):
        self.hyperfill = hyperfill
        self.source = servers[source_server].create_database()
        create_cpu(self.source, hypertable=source_server != "pg15")
        fill_cpu(self.source, TOTAL_ROWS, hosts=HOSTS, seed=SEED % 1000)
        self.target = servers[target_kind.split("-")[0]].create_database()
        # Many small chunks: many pieces, and so many commits that can fail.
        shape = TARGETS[target_kind]
        self.plain = [] if shape else ["--time-column", "time", "--range-interval", "2h"]
        create_cpu(self.target, hypertable=shape, chunk="2 hours", until=START + datetime.timedelta(days=6))
        self.expected = self.source.fingerprint("cpu", where=BEFORE_UNTIL)
        self.rows_expected = self.expected[0]
        self.path = None if source_kind == "postgres" else self.write_file(source_kind)

    def write_file(self, kind):
        order = "time, tags_id" if kind == "ordered" else f"hashtextextended(time::text || tags_id, {SEED})"
        print(f"{kind} file, seed {SEED}")
        path = self.hyperfill.folder / f"{kind}.csv"
        self.source.copy_out(f"COPY (SELECT * FROM cpu ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)", path)
        return path

    def start(self, *more, source=None, target=None):
        source = source or self.path or self.source.conninfo
        line = ["run", "--source", source, "--target", target or self.target.conninfo, "--table", "cpu", "--until", UNTIL]
        return self.hyperfill.start(*line, "--memory", "16MB", "--jobs", "2", "--progress", "plain", *self.plain, *more)

    def rows(self):
        """The rows committed so far, as the ledger tells, which is quick to ask."""
        if self.target.value("SELECT to_regclass('hyperfill.piece')") is None:
            return 0
        return self.target.value("SELECT coalesce(sum(rows), 0) FROM hyperfill.piece")

    def wait_for_rows(self, process, rows):
        wait_until(lambda: self.rows() >= rows or not process.running, what=f"{rows} rows")

    def check(self):
        assert self.target.fingerprint("cpu") == self.expected

    def finish(self, process):
        result = process.wait(check=0)
        self.check()
        return result


def retries(result):
    """What the closing summary says of retries."""
    return int(re.search(r"^ *retries +([\d,]+)", result.stderr, re.M)[1].replace(",", ""))


# ---- Servers killed


def kill_three_times(backfill, server, process, chance):
    """Kills the server at random moments, each time with more rows there than before; it is back after a moment."""
    for number in range(3):
        # Early, since it goes on while we look and while the server is being started.
        share = chance.uniform(number + 0.1, number + 0.9) / 8
        backfill.wait_for_rows(process, share * backfill.rows_expected)
        assert process.running, f"ended before kill {number + 1}: {process.result()}"
        print(f"server killed at {backfill.rows()} rows")
        server.kill9()
        time.sleep(chance.uniform(0, 2))
        assert process.running, process.result()
        server.start()


@pytest.mark.parametrize("target_kind", TARGETS)
@pytest.mark.parametrize("source_kind", SOURCES)
def test_target_server_killed_three_times(hyperfill, servers, chance, source_kind, target_kind):
    backfill = Backfill(hyperfill, servers, source_kind, target_kind)
    process = backfill.start()
    kill_three_times(backfill, backfill.target.server, process, chance)
    assert retries(backfill.finish(process)) >= 3


@pytest.mark.parametrize("source_server, target_kind", [("pg15", "ts17"), ("ts17", "pg15-partitioned")], ids=["pg15", "ts17"])
def test_source_server_killed_three_times(hyperfill, servers, chance, source_server, target_kind):
    backfill = Backfill(hyperfill, servers, "postgres", target_kind, source_server)
    process = backfill.start()
    kill_three_times(backfill, backfill.source.server, process, chance)
    assert retries(backfill.finish(process)) >= 3


def test_retry_budget_ends(hyperfill, servers, chance):
    backfill = Backfill(hyperfill, servers, "postgres")
    process = backfill.start("--retry-seconds", "2")
    backfill.wait_for_rows(process, backfill.rows_expected * chance.uniform(0.02, 0.3))
    assert process.running, process.result()
    reached = backfill.rows()
    backfill.target.server.kill9()
    begin = time.monotonic()
    result = process.wait(check=STATUS_TRANSIENT)
    seconds = time.monotonic() - begin
    print(f"gave up after {seconds:.1f} s at {reached} rows and {retries(result)} retries")
    # By default it tries for five minutes.
    assert seconds < 120
    # The same command while the server is down, too, gives up soon and says the same.
    backfill.start("--retry-seconds", "2").wait(check=STATUS_TRANSIENT)
    backfill.target.server.start()
    assert reached <= backfill.rows() < backfill.rows_expected
    backfill.finish(backfill.start())


def test_retry_budget_ends_with_the_source_down(hyperfill, servers, chance):
    backfill = Backfill(hyperfill, servers, "postgres")
    process = backfill.start("--retry-seconds", "2")
    backfill.wait_for_rows(process, backfill.rows_expected * chance.uniform(0.02, 0.3))
    assert process.running, process.result()
    backfill.source.server.kill9()
    begin = time.monotonic()
    result = process.wait()
    seconds = time.monotonic() - begin
    backfill.source.server.start()
    assert backfill.rows() < backfill.rows_expected
    finished = backfill.target.value("SELECT finished FROM hyperfill.job")
    print(f"ended with {result.status} after {seconds:.1f} s at {backfill.rows()} rows, finished in the ledger: {finished}")
    # The target could be reached all the time, and must not have been told that the job is complete.
    assert finished is None and result.status == STATUS_TRANSIENT
    assert seconds < 120
    backfill.finish(backfill.start())


# ---- Lines cut


def cut_often(times, *lines, bytes_min=200_000):
    """Until rows flow no line is cut: who cannot reach a server in the beginning has to say so, not to try again."""
    for line in lines:
        # All in all forty million bytes pass, and those of what is tried again.
        line.cut_after(4_000_000, times=times, bytes_min=bytes_min)


@pytest.mark.parametrize("source_kind", SOURCES)
def test_lines_to_the_target_cut_at_random(hyperfill, servers, proxy, source_kind):
    backfill = Backfill(hyperfill, servers, source_kind)
    line = proxy(backfill.target.server)
    cut_often(20, line)
    process = backfill.start(target=line.conninfo(backfill.target))
    backfill.wait_for_rows(process, 1)
    cut_often(20, line, bytes_min=1)
    result = backfill.finish(process)
    print(f"{line.cut_count} cuts, {retries(result)} retries")
    assert line.cut_count >= 10 and retries(result) >= 1


def test_lines_to_both_sides_cut_at_random(hyperfill, servers, proxy):
    backfill = Backfill(hyperfill, servers, "postgres")
    from_source = proxy(backfill.source.server, seed=SEED)
    to_target = proxy(backfill.target.server, seed=SEED + 1)
    cut_often(12, from_source, to_target)
    process = backfill.start(source=from_source.conninfo(backfill.source), target=to_target.conninfo(backfill.target))
    backfill.wait_for_rows(process, 1)
    cut_often(12, from_source, to_target, bytes_min=1)
    result = backfill.finish(process)
    print(f"{from_source.cut_count} and {to_target.cut_count} cuts, {retries(result)} retries")
    assert from_source.cut_count >= 5 and to_target.cut_count >= 5


def test_all_lines_cut_at_once_again_and_again(hyperfill, servers, proxy, chance):
    backfill = Backfill(hyperfill, servers, "postgres")
    sides = [proxy(backfill.source.server), proxy(backfill.target.server)]
    process = backfill.start(source=sides[0].conninfo(backfill.source), target=sides[1].conninfo(backfill.target))
    cuts = 0
    while cuts < 10 and process.running:
        # From the first rows on.
        backfill.wait_for_rows(process, max(1, cuts * backfill.rows_expected // 20))
        time.sleep(chance.uniform(0, 0.1))
        cuts += any([side.cut_all() for side in sides])
    backfill.finish(process)
    print(f"{cuts} times, {sides[0].cut_count} and {sides[1].cut_count} lines")
    assert cuts >= 3


# ---- Answers lost


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("source_kind", SOURCES)
def test_answer_to_commit_lost(hyperfill, servers, proxy, source_kind, n):
    backfill = Backfill(hyperfill, servers, source_kind)
    line = proxy(backfill.target.server)
    line.lose_commit_answer(n)
    result = backfill.start(target=line.conninfo(backfill.target)).wait()
    assert line.lost_answer_count == 1
    if result.status != 0:
        # Giving up is wrong, but must be exact all the same.
        assert result.status == STATUS_TRANSIENT, result
        backfill.finish(backfill.start())
    backfill.check()
    assert result.status == 0, result


@pytest.mark.parametrize("target_kind", TARGETS)
@pytest.mark.parametrize("source_kind", SOURCES)
def test_answers_to_commits_of_rows_lost(hyperfill, servers, proxy, source_kind, target_kind):
    # Not the n-th from the start, which may be of the preparation, but while rows flow, and often.
    backfill = Backfill(hyperfill, servers, source_kind, target_kind)
    line = proxy(backfill.target.server)
    process = backfill.start(target=line.conninfo(backfill.target))
    backfill.wait_for_rows(process, 1)
    for lost in range(1, 7):
        line.lose_commit_answer(1 if lost % 2 else 3)
        wait_until(lambda: line.lost_answer_count >= lost or not process.running, what="a lost answer")
    result = backfill.finish(process)
    print(f"{line.lost_answer_count} answers lost, {retries(result)} retries")
    assert line.lost_answer_count >= 3


@pytest.mark.parametrize("source_kind", SOURCES)
def test_answer_to_commit_lost_and_then_killed(hyperfill, servers, proxy, source_kind):
    # Nobody is left who knows that a commit is in doubt; the ledger tells the next run.
    backfill = Backfill(hyperfill, servers, source_kind)
    line = proxy(backfill.target.server)
    process = backfill.start(target=line.conninfo(backfill.target))
    backfill.wait_for_rows(process, 1)
    line.lose_commit_answer(1)
    wait_until(lambda: line.lost_answer_count == 1, what="a lost answer")
    assert process.running, process.result()
    process.kill()
    assert 0 < backfill.rows() < backfill.rows_expected
    backfill.finish(backfill.start())


# ---- A source that only reads, and company


def test_hot_standby_as_source(hyperfill, servers):
    backfill = Backfill(hyperfill, servers, "postgres")
    standby = backfill.source.server.standby()
    standby.catch_up(backfill.source.server)
    mirrored = Database(standby, backfill.source.name)
    assert mirrored.value("SELECT pg_is_in_recovery()")
    mirrored.close()
    backfill.finish(backfill.start(source=mirrored.conninfo))


@pytest.mark.parametrize("source_kind", SOURCES)
def test_second_run_with_the_same_checkpoint_is_refused(hyperfill, servers, proxy, source_kind):
    backfill = Backfill(hyperfill, servers, source_kind)
    line = proxy(backfill.target.server)
    first = backfill.start(target=line.conninfo(backfill.target))
    backfill.wait_for_rows(first, 1)
    line.pause()
    begin = time.monotonic()
    second = backfill.start().wait()
    seconds = time.monotonic() - begin
    assert first.running, first.result()
    print(f"refused in {seconds:.2f} s with {second.status}: {second.stderr}")
    # Neither "done" nor "run it again later" nor "you asked it to stop".
    assert second.status in (2, 4, 6), second
    assert "hyperfill-cpu.checkpoint" in second.stderr, second
    # The first one stands still, so that waiting for it would be without end.
    assert seconds < 60
    line.resume()
    backfill.finish(first)


@pytest.mark.parametrize("source_kind", SOURCES)
def test_two_runs_of_one_job_with_checkpoints_of_their_own(hyperfill, servers, chance, source_kind):
    backfill = Backfill(hyperfill, servers, source_kind)
    first = backfill.start("--checkpoint", "first.checkpoint")
    time.sleep(chance.uniform(0, 1))
    second = backfill.start("--checkpoint", "second.checkpoint")
    statuses = [process.wait().status for process in (first, second)]
    print(f"ended with {statuses} at {backfill.rows()} rows")
    # Whoever finds the other in its way may give up; what matters is the table, and that the job still ends.
    assert set(statuses) <= {0, STATUS_DATA}, [first.result(), second.result()]
    assert backfill.rows() <= backfill.rows_expected
    # Ranges of a table are independent, and one of two runs always gets through; pieces of a file follow one another.
    assert 0 in statuses or source_kind != "postgres"
    if 0 not in statuses:
        backfill.start("--checkpoint", "first.checkpoint").wait(check=0)
    backfill.check()
