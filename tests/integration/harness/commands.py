"""Commands that print rows, and a table to be filled from them."""

import datetime
import pathlib
import textwrap
import uuid

from .common import wait_until
from .data import START, write_csv

DAYS = 4
FROM, UNTIL = "2024-03-01 00:00:00+00", "2024-03-05 00:00:00+00"
WINDOW = ["--from", FROM, "--until", UNTIL]


def rows_of(chance, count=8_000):
    """(time, id, value, note), in the order of time; some at the edges of days, notes with all that CSV must quote."""
    notes = [None, "", "plain", 'with "quotes"', "a,comma", "two\nlines", "grüße", " blank "]
    seconds = sorted(chance.randrange(DAYS * 86400) for _ in range(count - DAYS))
    seconds = sorted([*seconds, *(day * 86400 for day in range(DAYS))])
    return [(START + datetime.timedelta(seconds=second), n, n / 4, chance.choice(notes)) for n, second in enumerate(seconds)]


class CommandBackfill:
    """A table m on a server, and what should be in it."""

    def __init__(self, hyperfill, server, rows, chunk="1 day"):
        self.hyperfill = hyperfill
        self.folder = hyperfill.folder
        self.database = server.create_database()
        self.mark = f"HYPERFILL_TEST_MARK={uuid.uuid4()}"
        for name in ("m", "expected"):
            self.database.execute(f"CREATE TABLE {name} (time timestamptz NOT NULL, id int, value double precision, note text)")
        if server.has_timescaledb:
            self.database.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => %s::interval)", [chunk])
        file = write_csv(self.folder / "rows.csv", rows, columns=("time", "id", "value", "note"))
        self.database.copy_in("COPY expected FROM STDIN (FORMAT csv, HEADER)", file)
        self.rows = rows

    def arguments(self, command, *more):
        plain = [] if self.database.server.has_timescaledb else ["--time-column", "time"]
        if plain and "--range-interval" not in more:
            plain += ["--range-interval", "1d"]
        line = ["--source", f"exec:{command}", "--target", self.database.conninfo, "--table", "m", "--progress", "none", *plain]
        return [*line, *more]

    def start(self, command, *more, verb="run"):
        name, value = self.mark.split("=")
        return self.hyperfill.start(verb, *self.arguments(command, *more), env={name: value})

    def run(self, command, *more, check=0, verb="run"):
        result = self.start(command, *more, verb=verb).wait(check=check)
        self.check_nothing_left()
        return result

    def check_nothing_left(self):
        # Who was killed may take a moment to go.
        wait_until(lambda: not self.left_behind(), what="the end of all commands")

    def left_behind(self):
        """What runs that was started with our mark in its environment, hyperfill itself included."""
        return processes_with(self.mark)

    def check(self):
        assert self.database.fingerprint("m") == self.database.fingerprint("expected")

    def check_subset(self):
        """Nothing twice, and no stranger; returns how many rows there are."""
        assert self.database.value("SELECT count(*) - count(DISTINCT id) FROM m") == 0
        assert self.database.value("SELECT count(*) FROM (SELECT * FROM m EXCEPT SELECT * FROM expected) AS stranger") == 0
        return self.database.value("SELECT count(*) FROM m")

    def script(self, text, name="source.sh"):
        """A script of the shell that stands beside expected.csv."""
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
        path.chmod(0o755)
        return path

    def csv(self, name="expected.csv", where="true"):
        path = self.folder / name
        self.database.copy_out(
            f"COPY (SELECT * FROM expected WHERE {where} ORDER BY id) TO STDOUT (FORMAT csv, HEADER)", path
        )
        return path

    def psql(self, edges=True):
        where = "WHERE time >= '{from}' AND time < '{until}'" if edges else "ORDER BY time, id"
        copy = f"COPY (SELECT * FROM expected {where}) TO STDOUT (FORMAT csv, HEADER)"
        return f"psql -X -q -v ON_ERROR_STOP=1 '{self.database.conninfo}' -c \"{copy}\""


def processes_with(mark):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry.name, (entry / "cmdline").read_bytes()))
        except OSError:
            pass
    return found


# One file a day, of which a script prints the day that it is asked for.
DAYS_COMMAND = "./source.sh {from:%F} {until:%F}"


def day_files(backfill):
    for day in range(DAYS):
        at = (START + datetime.timedelta(days=day)).date()
        backfill.csv(f"day-{at}.csv", where=f"time >= '{at} 00:00Z' AND time < '{at} 00:00Z'::timestamptz + interval '1 day'")
    backfill.csv("none.csv", where="false")
