"""Continuous aggregates, refreshed over what was loaded."""

import datetime
import os
import time

import pytest

from harness import START, create_cpu, fill_cpu

USAGE, SERVER, STOPPED = 2, 4, 7
UNTIL = "2024-03-02T05:30:00Z"

# Buckets of fixed and of changing length, moved ones, and in a time zone that has summer time.
BUCKETS = {
    "hours": "time_bucket('1 hour', {time})",
    "days": "time_bucket('1 day', {time}, 'Europe/Berlin')",
    "months": "time_bucket('1 month', {time}, 'America/New_York')",
    "moved": "time_bucket('1 day', {time}, \"offset\" => interval '3 hours')",
    "shifted": "time_bucket('6 hours', {time}, origin => '2000-01-01 01:30:00+00'::timestamptz)",
    "unmoved": "time_bucket('6 hours', {time}, origin => '2000-01-01 12:00:00+00'::timestamptz)",
}


def aggregate(database, name, bucket, table="cpu", column="time", value="count(*)", data="NO DATA"):
    database.execute(f"CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
                     f" SELECT {bucket.format(time=column)} AS bucket, {value} AS n FROM {table} GROUP BY 1 WITH {data}")


def is_right(database, name, bucket, window=None):
    """Whether each bucket that the window touches has what the table has."""
    table = f"SELECT {bucket.format(time='time')} AS bucket, count(*) AS n FROM cpu GROUP BY 1"
    where = f"WHERE bucket < '{window}'" if window else ""
    return database.rows(f"SELECT * FROM ({table}) t {where} ORDER BY 1") == database.rows(
        f"SELECT bucket, n::bigint FROM {name} {where} ORDER BY 1")


@pytest.fixture
def source(servers):
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    fill_cpu(database, 60_000, hosts=5)
    database.execute("CREATE INDEX ON cpu (time)")
    return database


@pytest.fixture
def target(community):
    create_cpu(community)
    return community


def load(hyperfill, source, target, *more, until=UNTIL, check=0):
    return hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", until, *more,
                         check=check)


def refresh(hyperfill, target, *more, check=0):
    return hyperfill.run("refresh", "--target", target.conninfo, "--table", "cpu", *more, check=check)


def test_all_kinds_of_buckets_and_hierarchies(hyperfill, source, target):
    for name, bucket in BUCKETS.items():
        aggregate(target, name, bucket)
    aggregate(target, '"On Hours"', "time_bucket('1 day', {time})", table="hours", column="bucket", value="sum(n)")
    aggregate(target, "weeks", "time_bucket('7 days', {time})", table='"On Hours"', column="bucket", value="sum(n)")
    load(hyperfill, source, target)
    result = refresh(hyperfill, target)
    assert "8 continuous aggregates" in result.stdout
    for name, bucket in BUCKETS.items():
        assert is_right(target, name, bucket), name
    assert is_right(target, '"On Hours"', "time_bucket('1 day', {time})")
    assert is_right(target, "weeks", "time_bucket('7 days', {time})")
    assert "nothing to refresh" in refresh(hyperfill, target).stdout


@pytest.mark.parametrize("strategy", ["append", "build"])
def test_what_is_no_news_to_the_server(hyperfill, source, target, strategy):
    """Aggregates that were there when the table was empty: not each way to load leaves an invalidation behind."""
    aggregate(target, "hours", BUCKETS["hours"])
    target.execute("CALL refresh_continuous_aggregate('hours', '2024-01-01', '2024-04-01')")
    if strategy == "build" and target.timescaledb() < (2, 22):
        # No way to build is left then, so that none has to be made up for.
        refused = load(hyperfill, source, target, "--strategy", "build", check=USAGE)
        assert "would not hear of its rows" in refused.stderr and "from TimescaleDB 2.22 on" in refused.stderr
        return
    load(hyperfill, source, target, "--strategy", strategy)
    assert target.value("SELECT count(*) FROM hours") == 0
    refresh(hyperfill, target)
    assert is_right(target, "hours", BUCKETS["hours"])


def test_no_further_than_a_bucket(hyperfill, source, target):
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target)
    # Dual writes own what follows the completion point: its zone is computed as it is read.
    fill_cpu(target, 20_000, hosts=5, start=START + datetime.timedelta(hours=29, minutes=30), seed=1)
    refresh(hyperfill, target)
    assert target.value("SELECT max(bucket) FROM hours") == START + datetime.timedelta(hours=29)
    assert is_right(target, "hours", BUCKETS["hours"], window=START + datetime.timedelta(hours=30))


def test_a_moved_bucket_alone(hyperfill, source, target):
    """Where the server cannot refresh one without another, that is none of which chunks have been dropped."""
    aggregate(target, "shifted", BUCKETS["shifted"])
    load(hyperfill, source, target)
    refresh(hyperfill, target)
    old = target.rows("SELECT bucket, n FROM shifted ORDER BY 1")
    target.rows("SELECT drop_chunks('cpu', older_than => '2024-03-01 12:00Z'::timestamptz)")
    target.execute("DELETE FROM cpu WHERE time >= '2024-03-01 13:30Z' AND tags_id = 1")
    refresh(hyperfill, target, "--from", "2024-03-01T14:00:00Z", "--until", "2024-03-01T15:00:00Z")
    first = START + datetime.timedelta(hours=13, minutes=30)
    pair = target.timescaledb() < (2, 25, 2)
    expected = [(bucket, n * 4 // 5 if bucket == first or (pair and bucket == first + datetime.timedelta(hours=6)) else n)
                for bucket, n in old]
    assert target.rows("SELECT bucket, n FROM shifted ORDER BY 1") == expected
    # The one before it, from now on: of that the chunks are there. What follows is as it was.
    refresh(hyperfill, target, "--from", "2024-03-01T20:00:00Z", "--until", "2024-03-01T21:00:00Z")
    second = first + datetime.timedelta(hours=6)
    assert target.rows("SELECT bucket, n FROM shifted ORDER BY 1") == [
        (bucket, n * 4 // 5 if bucket in (first, second) else n) for bucket, n in old]


def test_rows_put_into_a_chunk(hyperfill, source, target):
    """The server hears of them, whatever its version: else a refresh without force would pass over them."""
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target)
    refresh(hyperfill, target)
    chunk = target.value("SELECT show_chunks('cpu', older_than => '2024-03-01 12:00Z'::timestamptz)::text LIMIT 1")
    path = hyperfill.folder / "chunk.csv"
    target.copy_out(f"COPY (SELECT * FROM {chunk} WHERE tags_id = 2) TO STDOUT", path)
    target.copy_in(f"COPY {chunk} FROM STDIN", path)
    assert not is_right(target, "hours", BUCKETS["hours"])
    refresh(hyperfill, target, "--from", "2024-03-01T00:00:00Z", "--until", "2024-03-01T12:00:00Z")
    assert is_right(target, "hours", BUCKETS["hours"])


def test_only_what_is_new(hyperfill, source, target):
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target, until="2024-03-01T12:00:00Z")
    refresh(hyperfill, target)
    target.execute("DELETE FROM cpu WHERE tags_id = 3 AND time < '2024-03-01 12:00Z'")
    load(hyperfill, source, target, "--from", "2024-03-01T12:00:00Z", "--checkpoint", "second")
    result = refresh(hyperfill, target)
    assert "[2024-03-01 12:00:00+00," in result.stderr and "2024-03-01 00:00:00" not in result.stderr
    hours = target.rows("SELECT bucket, n FROM hours WHERE bucket < '2024-03-01 12:00Z'")
    assert {n for _, n in hours} == {5 * 360} and len(hours) == 12


def test_a_window_that_is_given(hyperfill, source, target):
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target)
    refresh(hyperfill, target, "--from", "2024-03-01T03:20:00Z", "--until", "2024-03-01T04:10:00Z")
    first = START + datetime.timedelta(hours=3)
    assert [bucket for (bucket,) in target.rows("SELECT bucket FROM hours ORDER BY 1")] == [first, first + datetime.timedelta(hours=1)]
    assert "both --from and --until" in refresh(hyperfill, target, "--from", "2024-03-01T03:20:00Z", check=USAGE).stderr
    # Given again it is done again.
    target.execute("DELETE FROM cpu WHERE time >= '2024-03-01 04:00Z' AND time < '2024-03-01 05:00Z'")
    refresh(hyperfill, target, "--from", "2024-03-01T03:20:00Z", "--until", "2024-03-01T04:10:00Z")
    assert [bucket for (bucket,) in target.rows("SELECT bucket FROM hours")] == [first]


def test_not_what_retention_has_dropped(hyperfill, source, target):
    """The aggregate still has it, and is not made empty."""
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target)
    target.execute("CALL refresh_continuous_aggregate('hours', NULL, NULL)")
    target.rows("SELECT drop_chunks('cpu', older_than => '2024-03-01 12:00Z'::timestamptz)")
    refresh(hyperfill, target)
    assert target.value("SELECT count(*) FROM hours WHERE bucket < '2024-03-01 12:00Z'") == 12
    assert target.value("SELECT sum(n) FROM hours") == target.value("SELECT count(*) FROM cpu") + 12 * 5 * 360


def test_unfinished_jobs_wait(hyperfill, source, target):
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target)
    target.execute("UPDATE hyperfill.job SET finished = NULL")
    result = refresh(hyperfill, target)
    assert "not finished" in result.stderr and target.value("SELECT count(*) FROM hours") == 0


# Counts rows, and waits at one o'clock for somebody who holds the lock.
COUNTED = """
    CREATE FUNCTION counted(at timestamptz) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        IF at = '2024-03-01 13:00Z' THEN PERFORM pg_advisory_xact_lock_shared(13); END IF;
        RETURN 1;
    END$$"""


@pytest.mark.parametrize("how", ["kill", "signal"])
def test_goes_on_where_it_was(hyperfill, source, target, how):
    target.execute(COUNTED)
    aggregate(target, "hours", BUCKETS["hours"], value="sum(public.counted(time))")
    load(hyperfill, source, target, "--range-interval", "1h")
    holder = target.connect()
    holder.cursor().execute("SELECT pg_advisory_lock(13)")
    process = hyperfill.start("refresh", "--target", target.conninfo, "--table", "cpu")
    until = time.monotonic() + 25
    noon = int(START.timestamp() + 12 * 3600) * 1_000_000
    while target.value("SELECT to_regclass('hyperfill.refresh')") is None or target.value(
            "SELECT max(done) FROM hyperfill.refresh") != noon:
        assert process.running and time.monotonic() < until, process.result()
        time.sleep(0.02)
    if how == "kill":
        process.kill()
    else:
        for word in ("stopping", "aborting"):
            process.signal(2)
            while word not in process.stderr:
                assert process.running and time.monotonic() < until, process.result()
                time.sleep(0.02)
        process.wait(check=STOPPED)
    holder.close()
    result = refresh(hyperfill, target)
    assert "refreshing public.hours in [2024-03-01 12:00:00+00," in result.stderr
    assert is_right(target, "hours", BUCKETS["hours"])


@pytest.mark.parametrize("kind", ["bigint", "int", "date", "timestamp"])
def test_times_of_other_types(hyperfill, community, kind):
    integer = kind in ("bigint", "int")
    community.execute(f"CREATE TABLE t (time {kind} NOT NULL, v int)")
    community.rows("SELECT create_hypertable('t', 'time', chunk_time_interval => " + ("1000)" if integer else "interval '7 days')"))
    if integer:
        community.execute(f"CREATE FUNCTION current() RETURNS {kind} LANGUAGE sql STABLE AS $$SELECT 9000::{kind}$$")
        community.rows("SELECT set_integer_now_func('t', 'current')")
    width = "100" if integer else "interval '1 month'" if kind == "date" else "interval '1 week'"
    community.execute("CREATE MATERIALIZED VIEW v WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
                      f" SELECT time_bucket({width}, time) AS bucket, count(*) AS n FROM t GROUP BY 1 WITH NO DATA")
    path = hyperfill.folder / "t.csv"
    day = datetime.date(2024, 1, 20)
    path.write_text("time,v\n" + "".join(f"{n if integer else day + datetime.timedelta(days=n / 20)},1\n" for n in range(-300, 2000)))
    hyperfill.run("run", "--source", path, "--target", community.conninfo, "--table", "t")
    hyperfill.run("refresh", "--target", community.conninfo, "--table", "t")
    assert community.rows("SELECT * FROM v ORDER BY 1") == community.rows(
        f"SELECT time_bucket({width}, time), count(*) FROM t GROUP BY 1 ORDER BY 1")


def test_only_by_the_owner(hyperfill, source, target):
    aggregate(target, "hours", BUCKETS["hours"])
    load(hyperfill, source, target)
    role = f"hyperfill_refresh_{os.getpid()}"
    target.execute(f"CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA hyperfill, public TO {role};"
                   f"GRANT ALL ON ALL TABLES IN SCHEMA hyperfill, public TO {role}")
    try:
        result = hyperfill.run("refresh", "--target", target.conninfo + f" user={role}", "--table", "cpu", check=SERVER)
        assert "owner" in result.stderr and "public.hours" in result.stderr
    finally:
        target.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_nothing_to_refresh_without_aggregates(hyperfill, timescale_database):
    create_cpu(timescale_database)
    assert "no continuous aggregates" in refresh(hyperfill, timescale_database).stdout
    assert timescale_database.value("SELECT to_regnamespace('hyperfill')") is None


def test_no_hypertable(hyperfill, servers):
    database = servers["pg15"].create_database()
    database.execute("CREATE TABLE cpu (time timestamptz NOT NULL); CREATE INDEX ON cpu (time)")
    refresh(hyperfill, database, check=USAGE)
