"""Strategy build: rows that others put into a chunk after it was found empty and has lost its indexes."""

import os

import pytest

from harness import wait_until

COUNT = 6 * 3600
BEGUN = 5 * 3600
PADDING = "x" * 400
DATA = 3


def lines(first, last):
    """A row a second."""
    return "".join(f"2024-03-01 {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}+00,{second},{PADDING}\n" for second in range(first, last)).encode()


@pytest.fixture
def target(servers):
    target = servers["ts18"].create_database()
    target.execute("CREATE TABLE m (time timestamptz NOT NULL, v int, padding text)")
    target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
    return target


class Fed:
    """A run that has loaded rows of the first hours and waits for more on its standard input."""

    def __init__(self, hyperfill, target, *more):
        self.end, self.begin = os.pipe()
        self.process = hyperfill.start("run", "--source", "-", "--target", target.conninfo, "--table", "m", "--columns", "time,v,padding", "--no-header",
                                       "--strategy", "build", "--range-interval", "1h", *more, stdin=self.end)
        os.close(self.end)
        self.begin = open(self.begin, "wb", buffering=0)
        self.fed = 0
        wait_until(lambda: self.feed(300) or self.has_begun(target), what="the first rows")

    def feed(self, count):
        """Little by little: a piece is sent once a writer waits for one while rows come."""
        if self.fed + count <= BEGUN:
            self.begin.write(lines(self.fed, self.fed + count))
            self.fed += count

    def has_begun(self, target):
        return (target.value("SELECT to_regclass('hyperfill.piece')") is not None
                and target.value("SELECT sum(rows) FROM hyperfill.piece") and target.value("SELECT count(*) FROM hyperfill.build") == 1)

    def finish(self):
        self.begin.write(lines(self.fed, COUNT))
        self.begin.close()
        return self.process.wait(check=0)


@pytest.mark.parametrize("rule", ["error", "replace", "keep"])
def test_they_stay_and_are_told(hyperfill, target, rule):
    fed = Fed(hyperfill, target, "--overlap", rule)
    target.execute("INSERT INTO m SELECT time, v FROM (VALUES ('2024-03-01 00:00:01+00'::timestamptz, 1), ('2024-03-01 05:30:00+00', -1)) o (time, v)")
    told = "2 rows that this job did not load came while it was loaded" in fed.finish().stderr
    assert told == (rule != "keep")
    assert target.value("SELECT count(*) FROM m") == COUNT + 2
    assert target.value("SELECT count(*) FROM pg_indexes WHERE tablename LIKE '_hyper%'") == 1


def test_nobody_else_is_told_of(hyperfill, target):
    """Neither rows of this job, nor those behind its window."""
    fed = Fed(hyperfill, target, "--until", "2024-03-01 23:00:00+00")
    target.execute("INSERT INTO m VALUES ('2024-03-01 23:00:00+00', -1)")
    assert "did not load" not in fed.finish().stderr
    assert target.value("SELECT count(*) FROM m") == COUNT + 1


def test_between_two_runs_the_rule_holds(hyperfill, target):
    """What was empty when it was begun need not be so when it is gone on with."""
    fed = Fed(hyperfill, target)
    fed.process.kill()
    fed.begin.close()
    target.execute("INSERT INTO m VALUES ('2024-03-01 05:30:00+00', -1)")
    again = ("run", "--source", "-", "--target", target.conninfo, "--table", "m", "--columns", "time,v,padding", "--no-header", "--strategy", "build",
             "--range-interval", "1h")
    refused = hyperfill.run(*again, stdin=lines(0, COUNT), check=DATA)
    assert "already has 1 rows" in refused.stderr
    hyperfill.run(*again, "--overlap", "replace", stdin=lines(0, COUNT))
    assert target.value("SELECT count(*) FROM m") == COUNT
    assert target.value("SELECT count(*) FROM m WHERE v = -1") == 0
