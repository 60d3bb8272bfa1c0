"""Files with bad rows, and a table that takes the good ones."""

import csv

from .common import REJECTS

HEADER = b"time,device,value,note\n"
COLUMNS = (
    "time timestamptz NOT NULL, device int NOT NULL, value double precision CHECK (value < 1000000), note varchar(40),"
    " UNIQUE (device, time)"
)

# What is wrong -> a record, SQLSTATE and column, as the reasons file tells.
BAD = {
    "text in a number": (b"2024-03-01 10:00:00+00,1,abc,x\n", "22P02", "value"),
    "too few fields": (b"2024-03-01 10:00:01+00,1\n", "22P04", None),
    "too many fields": (b"2024-03-01 10:00:02+00,1,2,x,y\n", "22P04", None),
    "bad time": (b"2024-13-01 10:00:03+00,1,2,x\n", "22007", "time"),
    "NULL time": (b",1,2,x\n", "22007", "time"),
    "infinity": (b"infinity,1,2,x\n", "22007", "time"),
    "no such time": (b"yesterday,1,2,\"two\nlines, \"\"quoted\"\"\"\n", "22007", "time"),
    "out of range": (b"2024-03-01 10:00:04+00,99999999999,2,x\n", "22003", "device"),
    "NOT NULL": (b"2024-03-01 10:00:05+00,,2,x\n", "23502", "device"),
    "CHECK": (b"2024-03-01 10:00:06+00,1,1000001,x\n", "23514", None),
    "too long": (b"2024-03-01 10:00:07+00,1,2,\"" + b"y" * 41 + b"\"\n", "22001", "note"),
    "invalid UTF-8": (b"2024-03-01 10:00:08+00,1,2,\xff\xfe\n", "22021", None),
    "half a character": (b"2024-03-01 10:00:09+00,1,2,caf\xc3\n", "22021", None),
    "NUL byte": (b"2024-03-01 10:00:10+00,1,2,a\0b\n", "22021", None),
    "end of data": (b"\\.\n", "22P04", ""),
    "blank line": (b"\n", "22007", "time"),
}


def good(number, day=1):
    return b"2024-03-%02d %02d:%02d:%02d+00,7,%d,good\n" % (day, number // 3600, number // 60 % 60, number % 60, number)


def write_many(table, chance, rows):
    """Good rows of five days in turns, with a bad one of some kind after each hundredth; returns the bad ones."""
    bad = []
    with open(table.hyperfill.folder / "f.csv", "wb") as file:
        file.write(HEADER)
        for number in range(rows):
            file.write(good(number // 5, day=1 + number % 5))
            if chance.random() < 0.01:
                bad.append(chance.choice(list(BAD.values()))[0])
                file.write(bad[-1])
    return bad


class Table:
    def __init__(self, database, hyperfill, shape, columns=COLUMNS):
        self.database, self.hyperfill, self.shape = database, hyperfill, shape
        database.execute(f"CREATE TABLE m ({columns})")
        if shape == "hypertable":
            database.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
        self.rejects = hyperfill.folder / "hyperfill-m.rejects"
        self.reasons = hyperfill.folder / "hyperfill-m.rejects.reasons"

    def arguments(self, source="f.csv", *more):
        plain = ["--time-column", "time", "--range-interval", "1d"] if self.shape == "plain" else []
        return ["--source", source, "--target", self.database.conninfo, "--table", "m", *plain, *(more if "--progress" in more else ("--progress", "none", *more))]

    def run(self, *more, source="f.csv", check=REJECTS, stdin=None):
        return self.hyperfill.start("run", *self.arguments(source, "--on-bad-row", "reject", *more), stdin=stdin).wait(check=check)

    def replay(self, *more, source="f.csv", check=0):
        return self.hyperfill.start("replay", *self.arguments(source, *more)).wait(check=check)

    def write(self, *records, header=HEADER):
        (self.hyperfill.folder / "f.csv").write_bytes(header + b"".join(records))

    def count(self):
        """The rows in the table, which are those of the ledger."""
        if self.database.value("SELECT to_regclass('hyperfill.piece')") is None:
            return self.database.value("SELECT count(*) FROM m")
        # Also while a backend that outlived its client still commits.
        ((rows, in_ledger),) = self.database.rows_of_one_moment(
            "SELECT (SELECT count(*) FROM m), (SELECT coalesce(sum(rows), 0) FROM hyperfill.piece)"
        )
        assert rows == in_ledger
        return rows

    def ledger(self, where="true"):
        rows = self.database.rows(f'SELECT record FROM hyperfill.reject WHERE {where} ORDER BY input, "offset"')
        return [bytes(record) for (record,) in rows]

    def told(self):
        with open(self.reasons, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def check_rejects(self, records):
        """Ledger and file have these records and no other, in this order."""
        assert self.ledger("replayed IS NULL") == records
        assert self.rejects.read_bytes() == b"".join(r if r[-1:] == b"\n" else r + b"\n" for r in records)
        assert [line["record"] for line in self.told()] == [str(n + 1) for n in range(len(records))]
