"""Tables to load files into, the file that most tests spoil, and what must be in the table afterwards."""

import re

TARGETS = ("pg15-plain", "pg15-partitioned", "ts17-hypertable", "ts18-hypertable")
DAYS = 4


class Target:
    """A table to load into: plain, partitioned or a hypertable, cut by days (or by `step` of an integer column)."""

    def __init__(self, server, shape, tmp_path):
        self.shape = shape
        self.tmp_path = tmp_path
        self.database = server.create_database()
        self.server = server
        self.interval = "1d"

    def create(
        self,
        columns="time timestamptz NOT NULL, value double precision, note text",
        time_column="time",
        interval="1 day",
        edges=("2024-03-01 00:00+00", "2024-03-02 00:00+00", "2024-03-03 00:00+00", "2024-03-04 00:00+00", "2024-03-05 00:00+00"),
        name="m",
    ):
        database = self.database
        partitioned = self.shape == "partitioned"
        # PostgreSQL allows generated columns in a partitioned table, so that all shapes take the same columns.
        database.execute(f"CREATE TABLE {name} ({columns})" + (f" PARTITION BY RANGE ({time_column})" if partitioned else ""))
        if partitioned:
            for number, (low, high) in enumerate(zip(edges, edges[1:])):
                database.execute(f"CREATE TABLE part_{number} PARTITION OF {name} FOR VALUES FROM (%s) TO (%s)", [low, high])
        elif self.shape == "hypertable":
            bare = time_column.strip('"').replace('""', '"')
            if isinstance(interval, int):
                database.rows("SELECT create_hypertable(%s::text::regclass, %s, chunk_time_interval => %s)", [name, bare, interval])
            else:
                database.rows(
                    "SELECT create_hypertable(%s::text::regclass, %s, chunk_time_interval => %s::interval)", [name, bare, interval]
                )
        return self

    def options(self, source, *more, table="m", time_column="time"):
        plain = ["--time-column", time_column, "--range-interval", self.interval] if self.shape == "plain" else []
        return ["--source", source, "--target", self.database.conninfo, "--table", table, "--progress", "plain", *plain, *more]

    def copied(self, file, copy_options="FORMAT csv, HEADER", columns=None, zone="UTC", table="m"):
        """The fingerprint of a second table that the server filled with the file by itself."""
        names = f"({columns})" if columns else ""
        self.database.execute(
            f"DROP TABLE IF EXISTS by_copy; CREATE TABLE by_copy (LIKE {table} INCLUDING GENERATED); SET timezone = '{zone}'"
        )
        self.database.copy_in(f"COPY by_copy {names} FROM STDIN ({copy_options})", file)
        self.database.execute("RESET timezone")
        return self.database.fingerprint("by_copy")

    def file(self, content, name="f.csv"):
        path = self.tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


HEADER = "time,value,note\n"
# The second record has three lines and the fourth two, so that lines and records are counted differently.
GOOD = (
    "2024-03-01 00:00:00+00,1,a\n",
    '2024-03-01 06:00:00+00,2,"b\n""b""\nb"\n',
    "2024-03-02 00:00:00+00,3,\n",
    '2024-03-02 00:00:01+00,4,"d,\nd"\n',
    "2024-03-03 00:00:00+00,5,e\n",
)
ROWS_OF_GOOD = [(1.0, "a"), (2.0, 'b\n"b"\nb'), (3.0, None), (4.0, "d,\nd"), (5.0, "e")]


def spoilt(bad, at=4):
    """The content with the bad record before the record `at`, and the line and byte offset where it begins."""
    before = HEADER + "".join(GOOD[:at])
    return before + bad + "".join(GOOD[at:]), before.count("\n") + 1, len(before.encode())


def assert_place(result, file, line, offset):
    assert file.name in result.stderr, result
    assert re.search(rf"\bline {line}, byte {offset}\b", result.stderr), f"expected line {line}, byte {offset}: {result!r}"


def stored(target):
    return target.database.rows("SELECT value, note FROM m ORDER BY time, value")


def assert_no_stranger(target, allowed):
    """Whatever is in the table is of the file, and nothing is in it twice."""
    rows = stored(target)
    assert len(rows) == len(set(rows)), rows
    assert set(rows) <= set(allowed), rows
