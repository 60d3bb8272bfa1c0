"""Commands as sources: what they print is loaded exactly once or not at all, and nothing of them stays behind."""

import datetime
import os
import pathlib
import re
import signal
import sqlite3
import textwrap
import time
import uuid

import pytest

import test_kill
from harness import START, create_cpu, wait_until, write_csv

USAGE, DATA, SERVER, TRANSIENT, STOPPED, REJECTS = 2, 3, 4, 5, 7, 8
DAYS = 4
FROM, UNTIL = "2024-03-01 00:00:00+00", "2024-03-05 00:00:00+00"
WINDOW = ["--from", FROM, "--until", UNTIL]
SQLITE_TIME = "%Y-%m-%d %H:%M:%S"


def rows_of(chance, count=8_000):
    """(time, id, value, note), in the order of time; some at the edges of days, notes with all that CSV must quote."""
    notes = [None, "", "plain", 'with "quotes"', "a,comma", "two\nlines", "grüße", " blank "]
    seconds = sorted(chance.randrange(DAYS * 86400) for _ in range(count - DAYS))
    seconds = sorted([*seconds, *(day * 86400 for day in range(DAYS))])
    return [(START + datetime.timedelta(seconds=second), n, n / 4, chance.choice(notes)) for n, second in enumerate(seconds)]


class Backfill:
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


@pytest.fixture
def make(hyperfill, servers, chance):
    def make_backfill(kind="ts17", count=8_000, chunk="1 day"):
        return Backfill(hyperfill, servers[kind], rows_of(chance, count), chunk)

    return make_backfill


def fill_sqlite(backfill):
    path = backfill.folder / "history.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE m (time TEXT NOT NULL, id INTEGER, value REAL, note TEXT)")
    rows = [(row[0].strftime(SQLITE_TIME), *row[1:]) for row in backfill.rows]
    connection.executemany("INSERT INTO m VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


# ---- Real sources, both forms


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_sqlite_by_range(make, kind):
    backfill = make(kind)
    fill_sqlite(backfill)
    where = f"time >= '{{from:{SQLITE_TIME}}}' AND time < '{{until:{SQLITE_TIME}}}'"
    command = f'sqlite3 -readonly -csv -header history.db "SELECT * FROM m WHERE {where}"'
    plan = backfill.run(command, *WINDOW, "--timezone", "UTC", verb="plan")
    assert "exec:sqlite3, run for each range" in plan.stdout and "4 ranges" in plan.stdout, plan
    backfill.run(command, *WINDOW, "--timezone", "UTC")
    backfill.check()
    assert backfill.database.value("SELECT count(*) FROM hyperfill.piece") == 4


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_sqlite_as_stream(make, kind):
    backfill = make(kind)
    fill_sqlite(backfill)
    backfill.run("sqlite3 -readonly -csv -header history.db 'SELECT * FROM m'", "--timezone", "UTC")
    backfill.check()


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_psql_by_range(make, kind):
    backfill = make(kind)
    backfill.run(backfill.psql(), *WINDOW, "--readers", "3", "--range-interval", "6h")
    backfill.check()
    assert "complete" in backfill.run(backfill.psql(), *WINDOW, "--range-interval", "6h").stderr


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_psql_as_stream(make, kind):
    backfill = make(kind)
    backfill.run(backfill.psql(edges=False))
    backfill.check()


@pytest.mark.parametrize(
    "column, window, interval, where",
    [
        ("bigint", ("-40", "100"), "20", "t >= {from} AND t < {until}"),
        ("date", ("2023-12-20", "2024-01-20"), "7d", "t >= '{from}' AND t < '{until:%Y-%m-%d}'"),
        ("timestamp", ("2024-01-01 00:00", "2024-01-01 00:10"), "30s", "t >= '{from}' AND t < to_timestamp({until:epoch})::timestamp"),
        ("timestamptz(3)", ("1969-12-31 23:59:58Z", "1970-01-01 00:00:03Z"), "100 ms", "extract(epoch FROM t) * 1000 >= {from:epoch-ms} AND t < '{until}'"),
        ("timestamptz", ("1969-12-31 23:59:59Z", "1970-01-01 00:00:01Z"), "250 ms", "extract(epoch FROM t) * 1000000 >= {from:epoch-us} AND extract(epoch FROM t) < {until:epoch-ns} / 1e9::numeric"),
    ],
    ids=["bigint", "date", "timestamp", "milliseconds", "microseconds"],
)
def test_types_and_forms(hyperfill, servers, column, window, interval, where):
    database = servers["pg15"].create_database()
    database.execute("SET timezone = 'UTC'")
    lo, hi = (f"'{edge}'::{column}" for edge in window)
    series = f"generate_series({lo}, {hi}, {'1' if column == 'bigint' else '''interval '1 day' ''' if column == 'date' else f'({hi} - {lo}) / 400'})"
    database.execute(f"CREATE TABLE s AS SELECT t::{column} FROM {series} t; CREATE TABLE m (t {column} NOT NULL)")
    copy = f"psql -X -v ON_ERROR_STOP=1 '{database.conninfo} options=-ctimezone=UTC' -c \"COPY (SELECT t FROM s WHERE {where}) TO STDOUT (FORMAT csv, HEADER)\""
    options = ["--from", window[0], "--until", window[1], "--range-interval", interval, "--time-column", "t", "--progress", "none"]
    hyperfill.run("run", "--source", f"exec:{copy}", "--target", database.conninfo, "--table", "m", *options)
    assert database.fingerprint("m") == database.fingerprint("s", where=f"t < {hi}")
    assert database.value("SELECT count(*) FROM m") > 20
    assert database.value("SELECT count(*) FROM hyperfill.piece") >= 5


# ---- Commands that fail


def dying_stream(backfill, chance, end="exit 3"):
    """Prints a part of the file, whatever stands at its end, says why and dies, until the file `mended` is there."""
    size = backfill.csv().stat().st_size
    cut = chance.randrange(size // 4, size - 10)
    print(f"{cut} of {size} bytes")
    return backfill.script(f"""
        [ -e mended ] && exec cat expected.csv
        head -c {cut} expected.csv
        echo 'the first word' >&2
        printf 'the last\\033[31m word' >&2
        {end}
    """)


@pytest.mark.parametrize(
    "end, before, said",
    [
        ("exit 3", "", "exited with status 3"),
        ("kill -9 $$", "", "exited with status 137, which a shell says of a command killed by signal 9 (KILL)"),
        ("kill -9 $$", "exec ", "was killed by signal 9 (KILL)"),
    ],
    ids=["exit", "kill-below", "kill"],
)
@pytest.mark.parametrize("memory", ["16MB", "256MB"])
def test_stream_that_dies_half_way(make, chance, end, before, said, memory):
    backfill = make(count=60_000 if memory == "16MB" else 8_000)
    script = dying_stream(backfill, chance, end)
    for _ in range(2):
        result = backfill.run(f"{before}./{script.name}", "--memory", memory, check=TRANSIENT)
        assert f"exec:source.sh {said}" in result.stderr and "the last\\x1b[31m word" in result.stderr, result
        assert "\x1b" not in result.stderr
        assert backfill.check_subset() < len(backfill.rows)
    assert backfill.database.value("SELECT count(*) FROM hyperfill.job WHERE finished IS NOT NULL") == 0
    (backfill.folder / "mended").touch()
    backfill.run(f"{before}./{script.name}", "--memory", memory)
    backfill.check()


def test_whole_output_of_a_failed_command_is_not_complete(make):
    backfill = make()
    backfill.csv()
    script = backfill.script("cat expected.csv; [ -e mended ]")
    result = backfill.run(f"./{script.name}", check=TRANSIENT)
    assert "exited with status 1" in result.stderr, result
    (backfill.folder / "mended").touch()
    backfill.run(f"./{script.name}")
    backfill.check()


def test_stream_that_changes_is_refused(make, chance):
    backfill = make(count=60_000)
    script = dying_stream(backfill, chance)
    backfill.run(f"./{script.name}", "--memory", "16MB", check=TRANSIENT)
    before = backfill.check_subset()
    assert before > 0
    text = (backfill.folder / "expected.csv").read_bytes()
    head = text.index(b"\n") + 1
    (backfill.folder / "expected.csv").write_bytes(text[:head] + text[head:].replace(b"2024-03-01", b"2024-03-02", 1))
    (backfill.folder / "mended").touch()
    result = backfill.run(f"./{script.name}", "--memory", "16MB", check=DATA)
    assert "not the input that the job began with" in result.stderr, result
    assert backfill.check_subset() == before


# One file a day, of which a script prints the day that it is asked for.
DAYS_COMMAND = "./source.sh {from:%F} {until:%F}"


def day_files(backfill):
    for day in range(DAYS):
        at = (START + datetime.timedelta(days=day)).date()
        backfill.csv(f"day-{at}.csv", where=f"time >= '{at} 00:00Z' AND time < '{at} 00:00Z'::timestamptz + interval '1 day'")
    backfill.csv("none.csv", where="false")


def failing_days(backfill, chance, failures):
    """Each day fails so many times before it is printed whole: in the middle of a record, at its end, by a signal."""
    day_files(backfill)
    ends = ["exit 3", "kill -9 $$", "kill -TERM $$", "exit 255"]
    cases = []
    for day, count in enumerate(failures):
        at = (START + datetime.timedelta(days=day)).date()
        size = (backfill.folder / f"day-{at}.csv").stat().st_size
        cases += [f"{at}-{n}) head -c {chance.choice([0, 10, size - 1, size, chance.randrange(size)])} day-$1.csv; {chance.choice(ends)};;" for n in range(count)]
    lines = "\n            ".join(cases)
    backfill.script(f"""
        [ "$1" = "$2" ] && exec cat none.csv
        n=$(cat count-$1 2>/dev/null || echo 0)
        echo $((n + 1)) >count-$1
        case $1-$n in
            {lines}
            *) exec cat day-$1.csv;;
        esac
    """)


def test_ranges_that_fail_sometimes(make, chance):
    backfill = make()
    failing_days(backfill, chance, [1, 2, 3, 0])
    result = backfill.run(DAYS_COMMAND, *WINDOW)
    assert "trying again" in result.stderr, result
    backfill.check()


def test_range_that_fails_for_good(make, chance):
    backfill = make()
    failing_days(backfill, chance, [0, 4, 0, 0])
    begin = time.monotonic()
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=SERVER)
    # Well before the time that lost connections are given.
    assert time.monotonic() - begin < 120
    assert "after 4 attempts" in result.stderr and "from 2024-03-02 00:00:00+00 until before 2024-03-03" in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time::date <> '2024-03-02'")
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()


def test_ranges_of_the_first_run_stay(make, chance):
    backfill = make()
    failing_days(backfill, chance, [0, 4, 0, 0])
    backfill.run(DAYS_COMMAND, *WINDOW, check=SERVER)
    # A new job would now have ranges that the command cannot be asked for.
    backfill.database.rows("SELECT set_chunk_time_interval('m', interval '7 hours')")
    other = backfill.run(DAYS_COMMAND + " other", *WINDOW, verb="plan", check=USAGE)
    assert "exactly" in other.stderr, other
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()


@pytest.mark.parametrize("edges", ["", " {from} {until}"], ids=["stream", "ranges"])
@pytest.mark.parametrize("command, said", [("./no-such-program", "127"), ("./expected.csv", "126")])
def test_command_that_cannot_be_run(make, edges, command, said):
    backfill = make()
    backfill.csv()
    begin = time.monotonic()
    result = backfill.run(command + edges, *WINDOW, check=USAGE)
    # Well before the time that lost connections are given.
    assert time.monotonic() - begin < 120
    assert said in result.stderr and "trying again" not in result.stderr, result


def test_command_that_is_not_found_later(make):
    backfill = make()
    day_files(backfill)
    backfill.script('[ "$1" = "$2" ] && exec cat none.csv; exec ./no-such-program')
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=USAGE)
    assert "127" in result.stderr and "no-such-program" in result.stderr, result
    assert backfill.check_subset() == 0


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
def test_much_on_standard_error(make, edges):
    backfill = make()
    backfill.csv()
    day_files(backfill)
    noise = "yes 'a word of many' | head -c 3000000 >&2; printf '\\033[2J' >&2"
    printed = '[ "$1" = "$2" ] && cat none.csv || cat day-$1.csv' if edges else "cat expected.csv"
    backfill.script(f"{noise}; {printed}; {noise}")
    result = backfill.run(DAYS_COMMAND if edges else "./source.sh", *WINDOW)
    backfill.check()
    assert "exec:source.sh says: a word of many" in result.stderr
    assert len(result.stderr) < 20_000 and "\x1b" not in result.stderr


@pytest.mark.parametrize("row, at", [("2024-03-02 00:00:00+00", "the end"), ("2024-02-29 23:59:59.999999+00", "before")])
def test_rows_outside_of_the_range(make, row, at):
    backfill = make()
    day_files(backfill)
    backfill.script(f"""
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ $1 != 2024-03-01 ] || [ -e mended ] || echo '{row},1,1,'
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=DATA)
    assert "outside of the range" in result.stderr and "{from}" in result.stderr and row[:19] in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time >= '2024-03-02 00:00Z'")
    (backfill.folder / "mended").touch()
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()


def test_times_that_cannot_be_read_are_rejected(make):
    """As of a stream: also those that the server would read, in its own way, and what it would take for the end of the data."""
    backfill = make()
    day_files(backfill)
    bad = ["yesterday,900001,1,", ",900002,1,", '2024-13-01,900003,1,"two\nlines"', "\\.", "2024-03-02 12:00:00+00,x,1,"]
    (backfill.folder / "bad.csv").write_text("".join(record + "\n" for record in bad))
    backfill.script("""
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ $1 != 2024-03-02 ] || cat bad.csv
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=DATA)
    assert "yesterday" in result.stderr and "--on-bad-row reject" in result.stderr, result
    assert backfill.check_subset() > 0
    result = backfill.run(DAYS_COMMAND, *WINDOW, "--on-bad-row", "reject", check=REJECTS)
    backfill.check()
    rejects = backfill.folder / "hyperfill-m.rejects"
    assert rejects.read_text() == (backfill.folder / "bad.csv").read_text()
    states = backfill.database.rows('SELECT sqlstate, column_name FROM hyperfill.reject ORDER BY "offset"')
    assert states == [("22007", "time")] * 3 + [("22P04", ""), ("22P02", "id")]
    # Corrected or dropped, each once.
    rejects.write_text("\n\n\n\n2024-03-02 12:00:00+00,900005,1,\n")
    for _ in range(2):
        backfill.run(DAYS_COMMAND, *WINDOW, verb="replay")
    assert backfill.database.value("SELECT count(*) FROM m WHERE id > 900000") == 1


def test_inclusive_edges_are_found(make):
    # The classic mistake: BETWEEN. Each day has a row at its first moment.
    backfill = make()
    command = backfill.psql().replace("time >= '{from}' AND time < '{until}'", "time BETWEEN '{from}' AND '{until}'")
    result = backfill.run(command, *WINDOW, check=DATA)
    assert "outside of the range" in result.stderr, result
    backfill.check_subset()


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
@pytest.mark.parametrize("status", [0, 5])
def test_output_that_ends_before_the_command(make, edges, status):
    backfill = make()
    backfill.csv()
    day_files(backfill)
    printed = '[ "$1" = "$2" ] && exec cat none.csv; cat day-$1.csv' if edges else "cat expected.csv"
    backfill.script(f"{printed}; exec >&-; sleep 0.3; exit {status}")
    expected = 0 if status == 0 else SERVER if edges else TRANSIENT
    result = backfill.run(DAYS_COMMAND if edges else "./source.sh", *WINDOW, check=expected)
    if status == 0:
        backfill.check()
    else:
        assert "exited with status 5" in result.stderr, result
        assert not edges or backfill.check_subset() == 0


# ---- Nothing stays behind


HANGS = {
    "at the header": "sleep 1000",
    "between rows": "head -n 1000 {file}; sleep 1000",
    "deaf": "trap '' TERM INT HUP; head -n 1000 {file}; while :; do sleep 1000; done",
    "in the background": "(trap '' TERM; sleep 1000; sleep 1000) & head -n 1000 {file}; wait",
}


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
@pytest.mark.parametrize("how", HANGS)
def test_interrupt_of_a_command_that_hangs(make, edges, how):
    backfill = make()
    backfill.csv()
    day_files(backfill)
    header = '[ "$1" = "$2" ] && exec cat none.csv\n' if edges else ""
    backfill.script(header + HANGS[how].format(file="day-$1.csv" if edges else "expected.csv"))
    process = backfill.start(DAYS_COMMAND if edges else "./source.sh", *WINDOW)
    wait_until(lambda: any(b"sleep" in cmdline for _, cmdline in backfill.left_behind()), what="the sleep")
    time.sleep(0.2)
    process.signal(signal.SIGINT)
    begin = time.monotonic()
    process.wait(check=STOPPED)
    seconds = time.monotonic() - begin
    backfill.check_nothing_left()
    # The command has a second to go by itself; without our help it would take a thousand.
    assert seconds < 60, f"{seconds} s"


@pytest.mark.parametrize("how", HANGS)
def test_kill_of_hyperfill_leaves_no_command(make, how):
    backfill = make()
    backfill.csv()
    backfill.script(HANGS[how].format(file="expected.csv"))
    process = backfill.start("./source.sh")
    wait_until(lambda: any(b"sleep" in cmdline for _, cmdline in backfill.left_behind()), what="the sleep")
    process.kill()
    wait_until(lambda: not backfill.left_behind(), what="the end of the command")


def test_no_descriptor_of_ours_and_no_signal_mask_is_inherited(make):
    backfill = make()
    backfill.csv()
    day_files(backfill)
    backfill.script("""
        ls -l /proc/self/fd >>fds
        grep -E '^Sig(Blk|Ign)' /proc/self/status >>masks
        [ "$1" = "$2" ] && exec cat none.csv
        exec cat day-$1.csv
    """)
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()
    kept = set(re.findall(r" (\d+ -> [a-z/]+)", (backfill.folder / "fds").read_text()))
    # What is listed as 1 is the file of the list, and 3 the folder that ls reads.
    assert {line for line in kept if line[0] != "1"} == {"0 -> /dev/null", "2 -> pipe", "3 -> /proc/"}, kept
    # glibc leaves 32 and 33, which are its own, ignored.
    masks = re.findall(r"\w+:\s*(\w+)", (backfill.folder / "masks").read_text())
    assert {int(mask, 16) & 0x7FFFFFFF for mask in masks} == {0}, masks


# ---- Headers


def test_header_that_changes_is_refused(make):
    backfill = make()
    day_files(backfill)
    backfill.script("""
        [ "$1" = "$2" ] && exec cat none.csv
        [ $1 = 2024-03-03 ] && { echo time,value,id,note; tail -n +2 day-$1.csv; exit; }
        exec cat day-$1.csv
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=DATA)
    assert "header is not the one of the first run" in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time::date <> '2024-03-03'")


def test_command_that_prints_nothing_where_it_has_no_rows(make):
    # As sqlite3 does. Only the third day has rows.
    backfill = make()
    backfill.database.execute("DELETE FROM expected WHERE time::date <> '2024-03-03'")
    day_files(backfill)
    backfill.script('[ $(wc -l <day-$1.csv) -eq 1 ] || [ "$1" = "$2" ] || exec cat day-$1.csv')
    result = backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()
    backfill.database.execute("TRUNCATE m, hyperfill.piece; DELETE FROM hyperfill.job")
    backfill.script("exit 0")
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=USAGE)
    assert "name them with --columns" in result.stderr, result
    backfill.run(DAYS_COMMAND, *WINDOW, "--columns", "time,id,value,note")
    assert backfill.check_subset() == 0


def test_header_of_a_failed_run_is_not_learnt(make):
    backfill = make()
    day_files(backfill)
    backfill.script("""
        [ "$1" = "$2" ] && exit
        [ -e tried-$1 ] || { touch tried-$1; echo no,header,of,ours; exit 1; }
        exec cat day-$1.csv
    """)
    backfill.run(DAYS_COMMAND, *WINDOW, "--columns", "time,id,value,note")
    backfill.check()


@pytest.mark.parametrize("command, warned", [("cat x | cat", True), ("cat 'a|b' || cat \"|\"", False), ("bash -o pipefail -c 'cat x | cat'", False)])
def test_pipe_is_warned_of(make, command, warned):
    backfill = make(count=100)
    result = backfill.run(command, verb="plan", check=None)
    assert ("pipefail" in result.stderr) == warned, result


@pytest.mark.parametrize("known", ["columns", "table"])
def test_no_header(make, known):
    backfill = make()
    day_files(backfill)
    backfill.script('[ "$1" = "$2" ] || tail -n +2 day-$1.csv')
    more = ["--columns", "time,id,value,note"] if known == "columns" else []
    backfill.run(DAYS_COMMAND, *WINDOW, "--no-header", *more)
    backfill.check()


def test_columns_rename_the_header(make):
    backfill = make()
    command = backfill.psql().replace("SELECT *", "SELECT note AS a, id AS b, time AS c, value AS d")
    backfill.run(command, *WINDOW, "--columns", "note,id,time,value")
    backfill.check()


# ---- Refused before anything is run


@pytest.mark.parametrize(
    "edges, more, said",
    [
        ("{from:%Y-%m-%d} {until}", ["--range-interval", "6h"], "--range-interval"),
        ("{from} {until:%F}", ["--range-interval", "6h"], "--range-interval"),
        ("{from:%F} {from:%H} {until}", ["--range-interval", "90m"], "exactly"),
        ("{from:epoch} {until}", ["--range-interval", "100ms"], "exactly"),
        ("{from:epoch-ms} {until}", ["--range-interval", "100us", "--until", "2024-03-01 00:00:00.01+00"], "exactly"),
        ("{from:%H:%M} {until}", [], "exactly"),
        ("{from}", [], "--range-interval"),
        ("{from} {until} {}", [], "doubled"),
        ("{from} {to}", [], "doubled"),
        ("{from:%Q} {until}", [], "conversion"),
        ("{from:%F;rm} {until}", [], "safe"),
        ("{from:} {until}", [], "{from:"),
        ("{from} {until}", ["--until"], "--until"),
        ("{from} {until}", ["--from"], "--from"),
        ("{from} {until}", ["--source-table", "x"], "--source-table"),
    ],
)
def test_refused_by_plan(make, edges, more, said):
    backfill = make(count=100)
    window = dict(zip(WINDOW[::2], WINDOW[1::2]))
    if more and more[-1].startswith("--"):
        del window[more[0]]
        more = []
    window.update(zip(more[::2], more[1::2]))
    options = [word for option in window.items() for word in option]
    result = backfill.run(f"echo run >>was-run; echo time,id,value,note; : {edges}", *options, verb="plan", check=USAGE)
    assert said in result.stderr, result
    # Ranges may stand in the ledger, so their edges are judged once the columns are known: by a run for no range.
    runs = (backfill.folder / "was-run").read_text().split() if (backfill.folder / "was-run").exists() else []
    assert runs in ([], ["run"]), runs
    assert not runs or said in ("exactly", "--range-interval")


def test_forms_that_say_an_edge_together(make):
    backfill = make()
    command = backfill.psql().replace("{from}", "{from:%F} {from:%H}:00Z")
    backfill.run(command, *WINDOW, "--range-interval", "6h")
    backfill.check()


def test_one_place_and_the_length_of_a_range(make):
    backfill = make()
    day_files(backfill)
    backfill.run("gzip -c day-{from:%F}.csv | gzip -dc", *WINDOW, "--range-interval", "1d")
    backfill.check()


def test_braces_of_a_stream_are_its_own(make):
    backfill = make()
    backfill.csv()
    backfill.run("awk '{ print } END { x = \"{{}}\"; if (length(x) != 4) { exit 9 }}' \"${NONE:-expected.csv}\"")
    backfill.check()


def test_braces_of_ranges_are_doubled(make):
    backfill = make()
    day_files(backfill)
    command = "awk '{{ print }} END {{ x = \"{{{{}}}}\"; if (length(x) != 4) {{ exit 9 }}}}' day-{from:%F}.csv"
    backfill.run(command, *WINDOW, "--range-interval", "1d")
    backfill.check()


def test_record_larger_than_the_limit(make):
    backfill = make()
    day_files(backfill)
    backfill.script("""
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ $1 != 2024-03-02 ] || { printf '2024-03-02 10:00:00+00,1,1,"'; head -c 9000000 /dev/zero | tr '\\0' x; echo '"'; }
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, "--memory", "16MB", check=DATA)
    assert "does not fit: raise --memory" in result.stderr and "2024-03-02" in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time::date <> '2024-03-02'")


# ---- Secrets


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
def test_secret_is_nowhere(make, chance, edges):
    backfill = make(count=2_000)
    secret = f"Secret{chance.randrange(10**9)}"
    backfill.csv()
    day_files(backfill)
    backfill.script("""
        [ -z "$1" ] && { cat expected.csv; [ -e mended ]; exit; }
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ -e mended ]
    """)
    command = f"PGPASSWORD={secret} OTHER='{secret} x' ./source.sh" + (" {from:%F} {until:%F}" if edges else "") + f" # {secret}"
    texts = []
    for verb in ("plan", "run", "mended", "run", "again"):
        if verb == "mended":
            (backfill.folder / "mended").touch()
            continue
        arguments = backfill.arguments(command, *WINDOW, "--verbose", "--progress", "json")
        arguments.remove("--progress")
        arguments.remove("none")
        result = backfill.hyperfill.run("plan" if verb == "plan" else "run", *arguments, check=None)
        texts += [result.stdout, result.stderr]
    broken = backfill.hyperfill.run("plan", *backfill.arguments(command + " {from} {bad"), check=USAGE)
    texts += [broken.stdout, broken.stderr]
    backfill.check()
    checkpoint = (backfill.folder / "hyperfill-m.checkpoint").read_text()
    for table, in backfill.database.rows("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'hyperfill'"):
        texts.append(str(backfill.database.rows(f"SELECT t::text FROM {table} t")))
    assert "exec:command" in checkpoint
    for text in [*texts, checkpoint]:
        assert secret not in text, text


def test_other_command_is_another_job(make):
    backfill = make()
    backfill.run(backfill.psql(), *WINDOW)
    checkpoint = ["--checkpoint", "hyperfill-m.checkpoint"]
    result = backfill.run(backfill.psql() + " #", *WINDOW, *checkpoint, check=USAGE)
    assert "belongs to another job" in result.stderr, result


# ---- kill -9


@pytest.mark.parametrize("form, kills", [("ranges", 20), ("stream", 8)])
def test_kills(hyperfill, servers, chance, form, kills):
    source = servers["pg15"].create_database()
    create_cpu(source, hypertable=False)
    test_kill.fill_cpu(source, test_kill.TOTAL_ROWS, hosts=test_kill.HOSTS, seed=test_kill.SEED % 1000)
    source.execute("UPDATE cpu SET hostname = E'host \"three\",\\nof\\r\\nmany' WHERE tags_id = 3")
    target = servers["ts17"].create_database()
    create_cpu(target, hypertable=True, chunk="2 hours")
    where = "WHERE time >= '{from}' AND time < '{until}'" if form == "ranges" else "ORDER BY time, tags_id"
    copy = f"COPY (SELECT * FROM cpu {where}) TO STDOUT (FORMAT csv, HEADER)"
    command = f"exec:psql -X -q -v ON_ERROR_STOP=1 '{source.conninfo}' -c \"{copy}\""
    arguments = ["--source", command, *(["--from", START, "--range-interval", "40m"] if form == "ranges" else [])]
    backfill = test_kill.Backfill(hyperfill, source, arguments, target)
    mark = f"HYPERFILL_TEST_MARK={uuid.uuid4()}"
    os.environ.update([mark.split("=")])
    try:
        backfill.kill_at_random(chance, kills, before_round=lambda number: nothing_left(mark))
    finally:
        del os.environ[mark.split("=")[0]]
    nothing_left(mark)


@pytest.mark.parametrize("edges", [True, False], ids=["ranges", "stream"])
def test_interrupts(make, chance, edges):
    backfill = make(count=60_000)
    command, more = backfill.psql(edges), ["--memory", "16MB", *WINDOW, "--range-interval", "1h" if edges else "6h"]
    reached, advances, stops = 0, 0, 0
    for number in range(12):
        process = backfill.start(command, *more)
        test_kill.wait_for_signals(process)
        if number == 0 or chance.random() < 0.6:
            wait_until(lambda: not process.running or backfill.database.value("SELECT count(*) FROM m") > reached, what="progress")
        time.sleep(chance.uniform(0, 0.1))
        process.signal(signal.SIGINT)
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, 0.05))
            process.signal(signal.SIGINT)
        status = process.wait().status
        assert status in (0, STOPPED), process.result()
        backfill.check_nothing_left()
        now = backfill.check_subset()
        advances += now > reached
        stops += status == STOPPED
        assert now >= reached
        reached = now
        if status == 0:
            backfill.check()
            backfill.database.execute("TRUNCATE m; DROP SCHEMA hyperfill CASCADE")
            (backfill.folder / "hyperfill-m.checkpoint").unlink()
            reached = 0
    print(f"{stops} stops, {advances} with progress")
    assert stops >= 2 and advances >= 1
    backfill.run(command, *more)
    backfill.check()


def nothing_left(mark):
    """Whoever was killed just now has its guard to end its commands."""
    wait_until(lambda: not processes_with(mark), what="the end of all commands")
    return ()
