"""--cascade: what continuous aggregates keep of raw rows that are gone."""

import pytest

# Retention has dropped what is older than RAW; history goes back to BEGIN.
BEGIN, RAW, UNTIL = "2024-03-01 00:00:00+00", "2024-03-06 00:00:00+00", "2024-03-10 07:30:00+00"

DAILY = "SELECT time_bucket('1 day', time) AS day, device, count(*), avg(value), max(value) FROM raw GROUP BY 1, 2"


def create(database, views=(("daily", DAILY),), kind="timestamptz", interval="interval '1 day'", options=""):
    database.execute(f"CREATE TABLE raw (time {kind} NOT NULL, device int, value float)")
    database.rows(f"SELECT create_hypertable('raw', 'time', chunk_time_interval => {interval})")
    for name, query in views:
        view(database, name, query, options)


def view(database, name, query, options=""):
    database.execute(f"CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous{options}) AS {query} WITH NO DATA")


def stored(database, name="daily"):
    return database.value("SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)"
                          " FROM timescaledb_information.continuous_aggregates WHERE view_name = %s", [name])


def fill(database, first=BEGIN, hours=240, seed=0):
    database.execute("INSERT INTO raw SELECT %s::timestamptz + n * interval '10 minutes', n %% 3, (n * 7 + %s) %% 101"
                     " FROM generate_series(0, %s * 6 - 1) n", [first, seed, hours])


def refresh_all(database, *names, until=None):
    for name in names:
        database.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, %s::timestamptz)", [until])


def retain(database, older=RAW):
    database.rows("SELECT drop_chunks('raw', older_than => %s::timestamptz)", [older])


def dual_writes(*databases):
    """Both sides get what comes from the completion point on."""
    for database in databases:
        fill(database, first=UNTIL, hours=24, seed=5)


def differences(source, target, name):
    """Rows of one side that the other lacks, both ways."""
    rows = [sorted(map(str, database.rows(f"SELECT * FROM {name}"))) for database in (source, target)]
    return [row for row in rows[0] if row not in rows[1]], [row for row in rows[1] if row not in rows[0]]


@pytest.fixture
def sides(community):
    return community, community.server.create_database()


def call(hyperfill, command, sides, *more, check=0, table="raw", until=UNTIL):
    bounds = ["--until", until] if command != "refresh" else []
    source = ["--source", sides[0].conninfo] if command != "refresh" else []
    return hyperfill.run(command, *source, "--target", sides[1].conninfo, "--table", table, *bounds, *more, check=check)


def test_what_retention_has_dropped(hyperfill, sides):
    source, target = sides
    for database in sides:
        create(database)
    fill(source, hours=24 * 9 + 7.5)
    refresh_all(source, "daily", until="2024-03-10 00:00Z")
    retain(source)
    dual_writes(*sides)
    call(hyperfill, "run", sides, "--cascade")
    assert target.fingerprint("raw", where=f"time < '{UNTIL}'") == source.fingerprint("raw", where=f"time < '{UNTIL}'")
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))
    assert target.value(f"SELECT min(day) = '{BEGIN}' AND count(*) = 27 FROM {stored(target)}")
    source.execute("CALL refresh_continuous_aggregate('daily', '2024-03-10Z', '2024-03-11Z')")
    call(hyperfill, "refresh", sides)
    assert differences(source, target, "daily") == ([], [])
