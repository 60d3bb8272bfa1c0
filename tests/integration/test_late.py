"""run --late: what came into the source after its range was read is loaded all the same, and nothing else is touched."""

import pytest

USAGE = 2
UNTIL = "2024-03-20 00:00:00+00"


class Pair:
    def __init__(self, servers, hyperfill, tables=("m",)):
        self.hyperfill, self.tables = hyperfill, tables
        self.source, self.target = servers["pg15"].create_database(), servers["ts17"].create_database()
        for table in tables:
            for database in (self.source, self.target):
                database.execute(f"CREATE TABLE {table} (time timestamptz NOT NULL, value int)")
            self.source.execute(
                f"INSERT INTO {table} SELECT '2024-03-01+00'::timestamptz + n * interval '10 min', n FROM generate_series(0, 2999) AS n;"
                f" CREATE INDEX ON {table} (time)"
            )
            self.target.rows(f"SELECT create_hypertable('{table}', 'time', chunk_time_interval => interval '2 days')")

    def run(self, *more, check=0):
        named = [option for table in self.tables for option in ("--table", table)]
        options = ["--source", self.source.conninfo, "--target", self.target.conninfo, *named, "--until", UNTIL, "--progress", "none"]
        return self.hyperfill.run("run", *options, *more, check=check)

    def equal(self, table="m"):
        return self.source.fingerprint(table, where=f"time < '{UNTIL}'") == self.target.fingerprint(table, where=f"time < '{UNTIL}'")


@pytest.mark.parametrize("tables", [("m",), ("m", "n")], ids=["one", "several"])
def test_late_rows_are_loaded(servers, hyperfill, tables):
    pair = Pair(servers, hyperfill, tables)
    assert "no row had come late" in pair.run("--late", "3h").stderr
    for table in tables:
        # One that is late, one that is gone, one that is written by both since, one beyond the reach of --late.
        pair.source.execute(
            f"INSERT INTO {table} VALUES ('2024-03-19 23:05:00+00', -1);"
            f" DELETE FROM {table} WHERE time = '2024-03-19 22:00:00+00';"
            f" INSERT INTO {table} VALUES ('2024-03-19 12:00:00.5+00', -2)"
        )
        pair.target.execute(f"INSERT INTO {table} VALUES ('{UNTIL}', -3), ('2024-03-10 00:00:00.5+00', -4)")
    assert "2 rows had come late" in pair.run("--late", "3h").stderr
    for table in tables:
        assert pair.target.value(f"SELECT count(*) FROM {table} WHERE value IN (-1, -3, -4)") == 3
        assert pair.target.value(f"SELECT count(*) FROM {table} WHERE value = -2 OR time = '2024-03-19 22:00:00+00'") == 0
    assert "2 rows had come late" in pair.run("--late", "30 days").stderr
    assert all(pair.equal(table) for table in tables)
    assert "no row had come late" in pair.run("--late", "30 days").stderr
    assert "late" not in pair.run().stderr


def test_late_refused(servers, hyperfill, tmp_path):
    pair = Pair(servers, hyperfill)
    result = pair.run("--late", "soon", check=USAGE)
    assert "--late soon cannot be read" in result.stderr and pair.target.value("SELECT count(*) FROM m") == 0, result
    path = tmp_path / "m.csv"
    path.write_text("time,value\n2024-03-01 00:00:00+00,1\n")
    result = hyperfill.run("run", "--source", path, "--target", pair.target.conninfo, "--table", "m", "--late", "1h", check=USAGE)
    assert "--late compares two databases" in result.stderr and pair.target.value("SELECT count(*) FROM m") == 0, result
