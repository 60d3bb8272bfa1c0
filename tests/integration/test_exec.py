"""Commands as sources: what they print is loaded exactly once, asked for range by range or as one stream."""

import sqlite3

import pytest

from harness import DATA, USAGE
from harness.commands import DAYS_COMMAND, WINDOW, day_files

SQLITE_TIME = "%Y-%m-%d %H:%M:%S"


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
def test_sqlite_by_range(make_commanded, kind):
    backfill = make_commanded(kind)
    fill_sqlite(backfill)
    where = f"time >= '{{from:{SQLITE_TIME}}}' AND time < '{{until:{SQLITE_TIME}}}'"
    command = f'sqlite3 -readonly -csv -header history.db "SELECT * FROM m WHERE {where}"'
    plan = backfill.run(command, *WINDOW, "--timezone", "UTC", verb="plan")
    assert "exec:sqlite3, run for each range" in plan.stdout and "4 ranges" in plan.stdout, plan
    backfill.run(command, *WINDOW, "--timezone", "UTC")
    backfill.check()
    assert backfill.database.value("SELECT count(*) FROM hyperfill.piece") == 4


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_sqlite_as_stream(make_commanded, kind):
    backfill = make_commanded(kind)
    fill_sqlite(backfill)
    backfill.run("sqlite3 -readonly -csv -header history.db 'SELECT * FROM m'", "--timezone", "UTC")
    backfill.check()


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_psql_by_range(make_commanded, kind):
    backfill = make_commanded(kind)
    backfill.run(backfill.psql(), *WINDOW, "--readers", "3", "--range-interval", "6h")
    backfill.check()
    assert "complete" in backfill.run(backfill.psql(), *WINDOW, "--range-interval", "6h").stderr


@pytest.mark.parametrize("kind", ["pg15", "ts17"])
def test_psql_as_stream(make_commanded, kind):
    backfill = make_commanded(kind)
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


# ---- Headers


def test_header_that_changes_is_refused(make_commanded):
    backfill = make_commanded()
    day_files(backfill)
    backfill.script("""
        [ "$1" = "$2" ] && exec cat none.csv
        [ $1 = 2024-03-03 ] && { echo time,value,id,note; tail -n +2 day-$1.csv; exit; }
        exec cat day-$1.csv
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=DATA)
    assert "header is not the one of the first run" in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time::date <> '2024-03-03'")


def test_command_that_prints_nothing_where_it_has_no_rows(make_commanded):
    # As sqlite3 does. Only the third day has rows.
    backfill = make_commanded()
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


def test_header_of_a_failed_run_is_not_learnt(make_commanded):
    backfill = make_commanded()
    day_files(backfill)
    backfill.script("""
        [ "$1" = "$2" ] && exit
        [ -e tried-$1 ] || { touch tried-$1; echo no,header,of,ours; exit 1; }
        exec cat day-$1.csv
    """)
    backfill.run(DAYS_COMMAND, *WINDOW, "--columns", "time,id,value,note")
    backfill.check()


@pytest.mark.parametrize("command, warned", [("cat x | cat", True), ("cat 'a|b' || cat \"|\"", False), ("bash -o pipefail -c 'cat x | cat'", False)])
def test_pipe_is_warned_of(make_commanded, command, warned):
    backfill = make_commanded(count=100)
    result = backfill.run(command, verb="plan", check=None)
    assert ("pipefail" in result.stderr) == warned, result


@pytest.mark.parametrize("known", ["columns", "table"])
def test_no_header(make_commanded, known):
    backfill = make_commanded()
    day_files(backfill)
    backfill.script('[ "$1" = "$2" ] || tail -n +2 day-$1.csv')
    more = ["--columns", "time,id,value,note"] if known == "columns" else []
    backfill.run(DAYS_COMMAND, *WINDOW, "--no-header", *more)
    backfill.check()


def test_columns_rename_the_header(make_commanded):
    backfill = make_commanded()
    command = backfill.psql().replace("SELECT *", "SELECT note AS a, id AS b, time AS c, value AS d")
    backfill.run(command, *WINDOW, "--columns", "note,id,time,value")
    backfill.check()
