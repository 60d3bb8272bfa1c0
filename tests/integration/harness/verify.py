"""A source and a target to be compared."""

import json

from .common import DATA

UNTIL = "2024-04-01 00:00:00+00"
# Source and target, by kind.
WAYS = (("pg15", "ts17"), ("ts17", "ts18"))


class Pair:
    """A source and a target with the same rows; the target has its columns in another order, and a key."""

    rows = 20000

    def __init__(self, servers, source, target, hyperfill, encoding="UTF8"):
        self.hyperfill = hyperfill
        self.source = servers[source].create_database()
        if encoding == "UTF8":
            self.target = servers[target].create_database()
        self.source.execute(
            "CREATE TABLE m (time timestamptz NOT NULL, device int NOT NULL, value double precision, note text);"
            " INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n / 5 * interval '10 min', n %% 5, n / 7.0,"
            " CASE n %% 3 WHEN 0 THEN 'n' || n WHEN 1 THEN '' END FROM generate_series(0, %s - 1) AS n; CREATE INDEX ON m (time)",
            [self.rows],
        )
        self.target.execute("CREATE TABLE m (note text, value double precision, device int NOT NULL, time timestamptz NOT NULL)")
        self.target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '3 days')")
        self.target.execute("ALTER TABLE m ADD PRIMARY KEY (device, time)")
        self.load()

    def options(self, *more):
        return ["--source", self.source.conninfo, "--target", self.target.conninfo, "--table", "m", "--until", UNTIL, "--progress", "none", *more]

    def load(self):
        self.hyperfill.run("run", *self.options())

    def verify(self, *more, check=None):
        """What it found; the exit status must say the same."""
        result = self.hyperfill.run("verify", *self.options("--json", *more), check=check)
        found = json.loads(result.stdout)
        assert result.status == (0 if found["equal"] else DATA), result
        return found

    def equal(self):
        columns = ["time", "device", "value", "note"]
        return self.source.fingerprint("m", columns) == self.target.fingerprint("m", columns, f"time < '{UNTIL}'")


def kinds(found):
    return sorted(row["kind"] for difference in found["differences"] for row in difference["rows"])
