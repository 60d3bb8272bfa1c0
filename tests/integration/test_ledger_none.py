"""--ledger none: no table of ours in the target. What is done stands in the checkpoint file, every row is there once all the same."""

import os
import time

import psycopg2
import psycopg2.extensions
import pytest

import test_kill
from harness import START, USAGE, wait_until
from harness.commands import WINDOW

NONE = ["--ledger", "none", "--overlap", "replace", "--yes"]


class Unledgered(test_kill.Backfill):
    """As a role that may not make anything in the database."""

    def __init__(self, hyperfill, source, arguments, target):
        super().__init__(hyperfill, source, [*arguments, *NONE], target)
        self.role = f"plain_{os.getpid()}"
        target.execute(f"DROP ROLE IF EXISTS {self.role}; CREATE ROLE {self.role} LOGIN; GRANT SELECT, INSERT, DELETE ON cpu TO {self.role}")

    def end(self):
        self.target.execute(f"DROP OWNED BY {self.role} CASCADE; DROP ROLE {self.role}")

    def start(self, *more, target=None):
        return super().start(*more, target=target or self.as_role(self.target.conninfo))

    def as_role(self, conninfo):
        return psycopg2.extensions.make_dsn(conninfo, user=self.role)

    def progress(self):
        in_table = self.target.value("SELECT count(*) FROM cpu")
        assert self.rows_seen <= in_table <= self.rows_expected
        self.rows_seen = in_table
        return in_table

    def begin_anew(self):
        self.target.execute("TRUNCATE cpu")
        self.checkpoint.unlink(missing_ok=True)
        self.rows_seen = 0

    def check(self):
        super().check()
        assert self.target.value("SELECT to_regnamespace('hyperfill')") is None


TARGETS = [("ts17", True), ("ts18", True), ("pg15", "partitioned"), ("pg15", False)]


@pytest.fixture(params=TARGETS, ids=["ts17", "ts18", "pg15-partitioned", "pg15-plain"])
def backfill(request, hyperfill, servers):
    made = test_kill.make_backfill(hyperfill, servers, "postgres", *request.param, rows=120_000, kind=Unledgered)
    yield made
    made.end()


@pytest.fixture
def one(hyperfill, servers):
    made = test_kill.make_backfill(hyperfill, servers, "postgres", "ts17", rows=60_000, kind=Unledgered)
    yield made
    made.end()


def test_kills(backfill, chance):
    backfill.kill_at_random(chance, 10)


def test_checkpoint_deleted_or_cut_between_runs(one, chance):
    """What it does not name any more is emptied and loaded again."""
    damaged = []

    def damage(number):
        # Of a run that was killed at its start the file is empty.
        content = one.checkpoint.read_bytes() if one.checkpoint.exists() else b""
        if content and 0 < one.rows_seen < one.rows_expected and chance.random() < 0.6:
            damaged.append(chance.choice(["deleted", "cut", "flipped"]))
            if damaged[-1] == "deleted":
                one.checkpoint.unlink()
            elif damaged[-1] == "cut":
                one.checkpoint.write_bytes(content[: chance.randrange(len(content))])
            else:
                # Not in the first line: a file without it is somebody else's.
                at = chance.randrange(content.index(b"\n") + 1, len(content))
                one.checkpoint.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        return ()

    one.kill_at_random(chance, 12, damage)
    print(damaged)
    assert damaged


def test_answer_to_commit_lost(one, proxy):
    """The commit stood: the range is emptied and loaded once more, not twice."""
    line = proxy(one.target.server)
    line.lose_commit_answer(4)
    result = one.start(target=one.as_role(line.conninfo(one.target))).wait(check=0)
    one.check()
    assert "retries  0" not in result.stderr, result


def test_connections_cut(one, proxy):
    line = proxy(one.target.server)
    line.cut_after(400_000, times=12)
    one.start("--jobs", "3", target=one.as_role(line.conninfo(one.target))).wait(check=0)
    one.check()


def test_waits_for_what_a_killed_run_has_left(one):
    """A backend outlives its client as long as it waits for somebody else; the next run must not load beside it."""
    # Its chunks are there, so that it is a piece that waits.
    one.target.execute(f"INSERT INTO cpu (time, tags_id) SELECT g, 0 FROM generate_series('{START}'::timestamptz, '{START}'::timestamptz + interval '1 day', '1 h') g; DELETE FROM cpu")
    blocker = psycopg2.connect(one.target.conninfo)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE cpu IN EXCLUSIVE MODE")
    first = one.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    wait_until(lambda: one.target.value(waiting) > 0 or not first.running, what="a writer that waits")
    first.kill()
    # With another layout of ranges, as if it knew nothing of the first.
    one.checkpoint.unlink()
    one.arguments[one.arguments.index("20m")] = "35m"
    second = one.start()
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    wait_until(lambda: one.target.value(waits) > 0 or not second.running, what="a run that waits for the first one's")
    assert second.running, second.result()
    time.sleep(0.2)
    assert one.target.value(waiting) > 0 and one.target.value(waits) > 0
    blocker.rollback()
    blocker.close()
    second.wait(check=0)
    one.check()


def test_rows_of_the_application_after_until_stay(one):
    one.target.execute(f"INSERT INTO cpu (time, tags_id) VALUES ('{test_kill.UNTIL}', 1), ('{test_kill.UNTIL - test_kill.STEP}', 999)")
    one.start().wait(check=0)
    assert one.target.fingerprint("cpu", where=f"time < '{test_kill.UNTIL}'") == one.source.fingerprint("cpu", where=f"time < '{test_kill.UNTIL}'")
    assert one.target.value(f"SELECT count(*) FROM cpu WHERE time >= '{test_kill.UNTIL}'") == 1


def test_complete_is_complete(one):
    one.start().wait(check=0)
    result = one.start().wait(check=0)
    assert "the job is complete" in result.stderr and str(one.checkpoint) in result.stderr, result
    status = one.hyperfill.run("status", "--checkpoint", one.checkpoint).stdout
    assert "complete" in status
    plan = one.hyperfill.run("plan", "--target", one.as_role(one.target.conninfo), "--table", "cpu", *one.arguments, "--until", test_kill.UNTIL.isoformat())
    assert "append" in plan.stdout, plan


def test_with_and_without_are_two_jobs(one):
    one.start().wait(check=0)
    one.target.execute(f"GRANT CREATE ON DATABASE {one.target.name} TO {one.role}")
    kept = [argument for argument in one.arguments if argument not in ("--ledger", "none")]
    line = ["run", "--target", one.as_role(one.target.conninfo), "--table", "cpu", *kept, "--until", str(test_kill.UNTIL), "--checkpoint", one.checkpoint]
    result = one.hyperfill.run(*line, check=USAGE)
    assert "another job" in result.stderr, result
    one.check()


@pytest.mark.parametrize("more, said", [
    (["--strategy", "build"], "--strategy build"),
    (["--late", "1h"], "--late"),
    (["--cascade"], "--cascade"),
    (["--defer-indexes"], "--defer-indexes"),
])
def test_refused(one, more, said):
    result = one.hyperfill.run("run", "--target", one.as_role(one.target.conninfo), "--table", "cpu", *one.arguments, "--until", str(test_kill.UNTIL), *more, check=USAGE)
    assert said in result.stderr and "--ledger none" in result.stderr, result
    assert one.progress() == 0


@pytest.mark.parametrize("overlap", ["keep", "error"])
def test_rows_must_be_replaced(one, overlap):
    one.arguments[one.arguments.index("replace")] = overlap
    result = one.start().wait(check=USAGE)
    assert "--ledger none needs --overlap replace" in result.stderr, result


def test_file_is_refused(one):
    one.hyperfill.folder.joinpath("f.csv").write_text("time,tags_id\n2024-03-01 00:00:00+00,1\n")
    result = one.hyperfill.run("run", "--source", "f.csv", "--target", one.as_role(one.target.conninfo), "--table", "cpu", *NONE, check=USAGE)
    assert "one range again" in result.stderr and "--ledger-schema" in result.stderr, result


def test_command_for_each_range(make_commanded, chance):
    """Killed on the way, and a command that fails half-way."""
    commanded = make_commanded()
    for _ in range(4):
        process = commanded.start(commanded.psql(), *WINDOW, *NONE)
        time.sleep(chance.uniform(0.05, 0.4))
        process.kill()
        wait_until(lambda: not commanded.left_behind(), what="the end of the commands")
        commanded.check_subset()
    commanded.run(commanded.psql(), *WINDOW, *NONE)
    commanded.check()
    assert commanded.database.value("SELECT to_regnamespace('hyperfill')") is None


def test_several_tables(hyperfill, servers):
    """Each with its part of one checkpoint file."""
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    for name in ("a", "b"):
        source.execute(f"CREATE TABLE {name} AS SELECT timestamptz '2024-03-01+00' + n * interval '1 min' AS time, n FROM generate_series(1, 5000) n; CREATE INDEX ON {name} (time)")
        target.execute(f"CREATE TABLE {name} (time timestamptz NOT NULL, n int)")
        target.rows("SELECT create_hypertable(%s, 'time', chunk_time_interval => interval '1 day')", [name])
    target.execute("ALTER TABLE b ADD CONSTRAINT odd CHECK (n <> 3000)")
    line = ["run", "--source", source.conninfo, "--target", target.conninfo, "--table", "a", "--table", "b", "--until", "2024-04-01 00:00:00+00", *NONE]
    hyperfill.run(*line, check=3)
    assert target.fingerprint("a") == source.fingerprint("a")
    target.execute("ALTER TABLE b DROP CONSTRAINT odd")
    result = hyperfill.run(*line)
    for name in ("a", "b"):
        assert target.fingerprint(name) == source.fingerprint(name), result
    assert target.value("SELECT to_regnamespace('hyperfill')") is None
