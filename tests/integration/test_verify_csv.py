"""verify of CSV files: by what the ledger knows of them, or loaded aside and compared row by row."""

import json

import pytest

from harness import DATA


class FromCsv:
    def __init__(self, servers, hyperfill, kind="ts17", *more):
        self.hyperfill = hyperfill
        self.target = servers[kind].create_database()
        self.target.execute("CREATE TABLE m (time timestamptz NOT NULL, device int, value double precision, made timestamptz DEFAULT clock_timestamp())")
        self.target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
        self.files = []
        for number in range(2):
            self.files.append(hyperfill.folder / f"m{number}.csv")
            records = [f"2024-03-0{1 + n // 1000} 00:{n % 60:02}:00+00,{number},{n / 7}" for n in range(4000)]
            self.files[-1].write_text("\n".join(["time,device,value", *records]) + "\n")
        self.more = more

    def options(self, *more):
        sources = [word for file in self.files for word in ("--source", str(file))]
        return [*sources, "--target", self.target.conninfo, "--table", "m", "--progress", "none", *self.more, *more]

    def verify(self, *more, check=None):
        result = self.hyperfill.run("verify", *self.options("--json", *more), check=check)
        found = json.loads(result.stdout)
        assert result.status == (0 if found["equal"] else DATA), result
        return found


@pytest.fixture
def from_csv(servers, hyperfill):
    csv = FromCsv(servers, hyperfill)
    hyperfill.run("run", *csv.options())
    return csv


def test_csv_by_the_ledger(from_csv):
    found = from_csv.verify()
    assert found["equal"] and found["rows_source"] == found["rows_target"] == 8000
    from_csv.target.execute("UPDATE m SET value = 1 WHERE time < '2024-03-02+00'")
    assert from_csv.verify()["equal"], "numbers of rows are the same"
    from_csv.target.execute("DELETE FROM m WHERE time >= '2024-03-03+00' AND time < '2024-03-04+00' AND device = 1")
    from_csv.target.execute("INSERT INTO m SELECT * FROM m WHERE time >= '2024-03-04+00' LIMIT 3")
    found = from_csv.verify()
    assert [(difference["missing"], difference["extra"]) for difference in found["differences"]] == [(1000, 0), (0, 3)]
    assert "does not see" in found["compared"]
    assert "--aside" in from_csv.hyperfill.run("verify", *from_csv.options("--repair"), check=2).stderr


def test_csv_that_was_not_loaded(servers, hyperfill):
    csv = FromCsv(servers, hyperfill)
    result = hyperfill.run("verify", *csv.options(), check=2)
    assert "knows no job" in result.stderr


def test_csv_aside(from_csv):
    """All rows are seen; the copy and its files go; the table's defaults are not compared."""
    assert from_csv.verify("--aside")["equal"]
    from_csv.target.execute("UPDATE m SET value = -1 WHERE time = '2024-03-02 00:30:00+00' AND device = 1")
    changed = from_csv.target.value("SELECT count(*) FROM m WHERE value = -1")
    found = from_csv.verify("--aside")
    assert sum(difference["missing"] for difference in found["differences"]) == changed
    assert from_csv.target.value("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'bench'") == 0
    # Their time of making would be lost.
    assert '"made"' in from_csv.hyperfill.run("verify", *from_csv.options("--aside", "--repair"), check=2).stderr
    from_csv.target.execute("ALTER TABLE m DROP COLUMN made")
    assert from_csv.verify("--aside", "--repair")["equal"]
    assert from_csv.verify("--aside")["differences"] == []


def test_csv_aside_with_bad_rows(servers, hyperfill):
    """What was rejected is no more missing than what was left out for its key."""
    csv = FromCsv(servers, hyperfill, "ts17", "--timezone", "UTC")
    csv.target.execute("ALTER TABLE m DROP COLUMN made")
    with open(csv.files[0], "a", encoding="utf-8") as file:
        file.write("2024-03-02 00:30:00+00,7,many\nno time,8,1\n")
    hyperfill.run("run", *csv.options("--on-bad-row", "reject"), check=8)
    assert csv.verify()["equal"]
    assert csv.verify("--aside")["equal"]
    csv.target.execute("DELETE FROM m WHERE device = 0 AND time = '2024-03-02 00:30:00+00'")
    assert csv.verify("--aside", "--repair")["equal"]
    assert csv.verify("--aside")["differences"] == []
