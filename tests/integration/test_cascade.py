"""--cascade: what continuous aggregates keep of raw rows that are gone."""

import datetime
import os
import time

import pytest

USAGE, DATA, SERVER = 2, 3, 4

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


def prepared(sides, views=(("daily", DAILY),), options="", until="2024-03-10 00:00Z"):
    """History of which the source has only the last raw rows; both sides get all from the completion point on."""
    source, target = sides
    for database in sides:
        create(database, views, options=options)
    fill(source, hours=24 * 9 + 7.5)
    refresh_all(source, *(name for name, _ in views), until=until)
    retain(source)
    dual_writes(*sides)
    return source, target


def completed(source, names=("daily",)):
    """The source's policy makes the buckets of the completion point, too."""
    for name in names:
        source.execute(f"CALL refresh_continuous_aggregate('{name}', '2024-03-10Z', '2024-03-11Z')")


def equal(source, target, name="daily", until="2024-03-11 00:00Z"):
    return differences(source, target, f"{name} WHERE day < '{until}'") == ([], [])


def test_what_retention_has_dropped(hyperfill, sides):
    source, target = prepared(sides)
    plan = call(hyperfill, "plan", sides, "--cascade").stdout
    assert "public.daily from" in plan and "until 2024-03-10 00:00:00+00" in plan and "of 2 tables" in plan
    call(hyperfill, "run", sides, "--cascade")
    assert target.fingerprint("raw", where=f"time < '{UNTIL}'") == source.fingerprint("raw", where=f"time < '{UNTIL}'")
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))
    assert target.value(f"SELECT min(day) = '{BEGIN}' AND count(*) = 27 FROM {stored(target)}")
    completed(source)
    call(hyperfill, "refresh", sides)
    assert equal(source, target)
    assert "nothing to refresh" in call(hyperfill, "refresh", sides).stdout
    result = call(hyperfill, "verify", sides, "--cascade")
    assert result.stdout.count("result    equal") == 2 and "aggregate public.daily" in result.stdout
    assert "nothing to load" in call(hyperfill, "run", sides, "--cascade").stderr
    # What has no raw rows is done with for the server.
    refresh_all(target, "daily")
    assert equal(source, target)


def test_a_window_leaves_what_was_loaded(hyperfill, sides):
    source, target = prepared(sides)
    call(hyperfill, "run", sides, "--cascade")
    result = hyperfill.run("refresh", "--target", target.conninfo, "--table", "raw", "--from", BEGIN, "--until", UNTIL)
    assert "left as they are" in result.stderr
    completed(source)
    assert equal(source, target)


def test_verify_finds_and_repairs(hyperfill, sides):
    source, target = prepared(sides)
    call(hyperfill, "run", sides, "--cascade")
    target.execute(f"DELETE FROM {stored(target)} WHERE day = '2024-03-02Z' AND device = 1")
    result = call(hyperfill, "verify", sides, "--cascade", check=DATA)
    assert "aggregate public.daily" in result.stderr and "missing" in result.stdout
    assert '"aggregate":"public.daily"' in call(hyperfill, "verify", sides, "--cascade", "--json", check=DATA).stdout.replace(" ", "")
    call(hyperfill, "verify", sides, "--cascade", "--repair")
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))


PAIRS = "SELECT time_bucket('2 days', day) AS day, device, sum(count) AS n, max(max) FROM daily GROUP BY 1, 2"
MONTHLY = "SELECT time_bucket('1 month', time) AS day, count(*) AS n FROM raw GROUP BY 1"


def test_aggregates_on_aggregates(hyperfill, sides):
    views = (("daily", DAILY), ('"Two Days"', PAIRS))
    source, target = prepared(sides, views)
    call(hyperfill, "run", sides, "--cascade")
    assert target.value(f"SELECT min(day) FROM {stored(target, 'Two Days')}") == source.value('SELECT min(day) FROM "Two Days"')
    # The pair of the completion point is made of a day that was copied and one that is refreshed.
    completed(source)
    source.execute("CALL refresh_continuous_aggregate('\"Two Days\"', '2024-03-08Z', '2024-03-12Z')")
    call(hyperfill, "refresh", sides)
    assert equal(source, target)
    assert equal(source, target, '"Two Days"', until="2024-03-12 00:00Z")
    assert call(hyperfill, "verify", sides, "--cascade").stdout.count("result    equal") == 3


def test_a_bucket_of_which_the_beginning_is_gone(hyperfill, sides):
    """The month of the completion point has raw rows of its last days only: it is not made from these."""
    source, target = sides
    for database in sides:
        create(database, (("monthly", MONTHLY),))
    fill(source, first="2024-01-20 00:00:00+00", hours=24 * 50)
    refresh_all(source, "monthly", until="2024-03-01Z")
    retain(source)
    call(hyperfill, "run", sides, "--cascade")
    result = call(hyperfill, "refresh", sides)
    assert "left alone" in result.stderr
    january, february = 24 * 6 * 12, 24 * 6 * 29
    assert [n for _, n in target.rows("SELECT * FROM monthly ORDER BY 1")] == [january, february]


@pytest.mark.parametrize("until", [UNTIL, "2024-03-10 00:00:00+00"])
def test_real_time_aggregates_show_it(hyperfill, sides, until):
    source, target = prepared(sides, options=", timescaledb.materialized_only = false")
    call(hyperfill, "run", sides, "--cascade", until=until)
    call(hyperfill, "refresh", sides)
    # On a whole day nothing comes after what was copied.
    later = until if until == UNTIL else UNTIL
    if later != until:
        call(hyperfill, "run", sides, "--from", until, "--checkpoint", "rest")
    assert equal(source, target, until="2024-03-12 00:00Z")


def test_only_what_the_source_has(hyperfill, sides):
    """A source that is behind: the rest is made from raw rows."""
    source, target = prepared(sides, until="2024-03-07 00:00Z")
    call(hyperfill, "run", sides, "--cascade")
    assert target.value(f"SELECT max(day) = '2024-03-06Z' FROM {stored(target)}")
    call(hyperfill, "refresh", sides)
    source.execute("CALL refresh_continuous_aggregate('daily', '2024-03-07Z', '2024-03-11Z')")
    assert equal(source, target)


def test_windows_that_follow_each_other(hyperfill, sides):
    source, target = prepared(sides)
    call(hyperfill, "run", sides, "--cascade", until="2024-03-04 12:00:00+00")
    call(hyperfill, "run", sides, "--cascade", "--from", "2024-03-04 12:00:00+00", "--checkpoint", "second")
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))


def test_late_rows(hyperfill, sides):
    """What the source's buckets have got since they were copied is copied again."""
    source, target = prepared(sides)
    call(hyperfill, "run", sides, "--cascade", "--late", "2 days")
    fill(source, first="2024-03-09 01:05:00+00", hours=1)
    source.execute("CALL refresh_continuous_aggregate('daily', '2024-03-09Z', '2024-03-11Z')")
    call(hyperfill, "run", sides, "--cascade", "--late", "2 days")
    call(hyperfill, "refresh", sides)
    assert equal(source, target)
    assert target.fingerprint("raw") == source.fingerprint("raw")


def test_killed_and_resumed(hyperfill, sides, chance):
    source, target = prepared(sides, (("daily", DAILY), ("pairs", PAIRS)))
    bounds = ["--table", "raw", "--until", UNTIL, "--cascade", "--jobs", "2"]
    arguments = ["run", "--source", source.conninfo, "--target", target.conninfo, *bounds]
    process = hyperfill.start(*arguments, "--max-rate", "100rows")
    until = time.monotonic() + 60
    pieces = chance.randint(0, 3)
    while target.value("SELECT to_regclass('hyperfill.piece')") is None or target.value(
            "SELECT count(*) FROM hyperfill.piece") < pieces or target.value("SELECT count(*) FROM hyperfill.job") < 3:
        assert process.running and time.monotonic() < until, process.result()
        time.sleep(0.02)
    process.kill()
    # The source goes on meanwhile: what the job is was fixed by its first run.
    completed(source)
    view(source, "late", MONTHLY)
    refresh_all(source, "late", until="2024-03-01Z")
    result = hyperfill.run(*arguments)
    assert "public.late is left out" in result.stderr
    condition = "day < '2024-03-10Z'"
    for name in ("daily", "pairs"):
        end = target.value(f"SELECT max(day) FROM {stored(target, name)}")
        assert target.fingerprint(stored(target, name)) == source.fingerprint(stored(source, name), where=f"day <= '{end}'"), name
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source), where=condition)
    assert call(hyperfill, "verify", sides, "--cascade").stdout.count("result    equal") == 3


def test_one_that_the_target_lacks(hyperfill, sides):
    source, target = sides
    create(source)
    create(target, ())
    fill(source)
    refresh_all(source, "daily", until="2024-03-10 00:00Z")
    retain(source)
    result = call(hyperfill, "run", sides, "--cascade", check=SERVER)
    assert "no continuous aggregate public.daily" in result.stderr and "hyperfill schema" in result.stderr
    assert "public.daily" in call(hyperfill, "verify", sides, "--cascade", check=SERVER).stderr
    # The others are loaded; once it is there it is.
    assert target.fingerprint("raw") == source.fingerprint("raw", where=f"time < '{UNTIL}'")
    view(target, "daily", DAILY)
    call(hyperfill, "run", sides, "--cascade")
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))


def test_other_buckets(hyperfill, sides):
    source, target = sides
    create(source)
    create(target, (("daily", DAILY.replace("1 day", "2 days")),))
    fill(source)
    refresh_all(source, "daily", until="2024-03-10 00:00Z")
    assert "other buckets" in call(hyperfill, "plan", sides, "--cascade", check=SERVER).stdout


def test_what_is_in_the_way(hyperfill, sides):
    """A policy of the target has made buckets of dual writes before the completion point."""
    source, target = prepared(sides)
    fill(target, first="2024-03-09 12:00:00+00", hours=19.5)
    target.execute("CALL refresh_continuous_aggregate('daily', '2024-03-09Z', '2024-03-10Z')")
    call(hyperfill, "run", sides, "--cascade", check=DATA)
    assert target.value(f"SELECT count(*) FROM {stored(target)} WHERE day < '2024-03-09Z'") == 0
    call(hyperfill, "run", sides, "--cascade", "--overlap", "replace", "--yes")
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))


def test_compressed_aggregates(hyperfill, sides):
    source, target = prepared(sides, until="2024-03-05 00:00Z")
    for database in sides:
        database.execute("ALTER MATERIALIZED VIEW daily SET (timescaledb.compress = true)")
    source.rows(f"SELECT compress_chunk(c) FROM show_chunks('{stored(source)}') c")
    # The chunk of the target has a row of another time, which is compressed.
    target.execute(f"INSERT INTO {stored(target)} SELECT '2024-03-10Z', 7, 1, 1, 1")
    target.rows(f"SELECT compress_chunk(c) FROM show_chunks('{stored(target)}') c")
    call(hyperfill, "run", sides, "--cascade")
    assert target.fingerprint(stored(target), where="device < 7") == source.fingerprint(stored(source))


@pytest.mark.parametrize("kind", ["bigint", "int", "date", "timestamp"])
def test_times_of_other_types(hyperfill, sides, kind):
    integer = kind in ("bigint", "int")
    width = "100" if integer else "interval '1 month'" if kind == "date" else "interval '1 week'"
    source, target = sides
    for database in sides:
        create(database, (), kind=kind, interval="1000" if integer else "interval '7 days'")
        if integer:
            database.execute(f"CREATE FUNCTION current() RETURNS {kind} LANGUAGE sql STABLE AS $$SELECT 9000::{kind}$$")
            database.rows("SELECT set_integer_now_func('raw', 'current')")
        view(database, "wide", f"SELECT time_bucket({width}, time) AS day, count(*) AS n FROM raw GROUP BY 1")
    value = "n" if integer else f"'2024-01-01'::{kind} + n / 10 * interval '1 day'"
    source.execute(f"INSERT INTO raw SELECT ({value})::{kind}, n %% 3, n FROM generate_series(0, 2999) n", [])
    source.execute("CALL refresh_continuous_aggregate('wide', NULL, NULL)")
    source.rows(f"SELECT drop_chunks('raw', older_than => {'1000' if integer else 'timestamp ' * (kind == 'timestamp') + chr(39) + '2024-03-05' + chr(39)}"
                + ("" if kind != "date" else "::date") + ")")
    until = {"date": "2024-08-20", "timestamp": "2024-08-20 05:00:00"}.get(kind, "2550")
    call(hyperfill, "run", sides, "--cascade", until=until)
    call(hyperfill, "refresh", sides)
    last = source.rows(f"SELECT time_bucket({width}, '{until}'::{kind})")[0][0]
    ours, theirs = (database.rows("SELECT * FROM wide WHERE day < %s ORDER BY 1", [last]) for database in (target, source))
    assert ours == theirs and len(ours) > 5


def test_policies(hyperfill, sides):
    """Those of the aggregate are paused, too; what was loaded is not dropped behind our back."""
    source, target = prepared(sides)
    jobs = [
        target.value("SELECT add_continuous_aggregate_policy('daily', start_offset => NULL, end_offset => interval '1 day',"
                     " schedule_interval => interval '1 day', initial_start => now() + interval '1 day')"),
        target.value("SELECT add_retention_policy('daily', interval '1 year', initial_start => now() + interval '1 day')"),
    ]
    result = call(hyperfill, "run", sides, "--cascade")
    scheduled = dict(target.rows("SELECT job_id, scheduled FROM timescaledb_information.jobs"))
    assert [scheduled[job] for job in jobs] == [True, False]
    assert "retention policy" in result.stderr and "stays off" in result.stderr
    # As often as it is asked.
    call(hyperfill, "run", sides, "--cascade")
    assert not target.value("SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = %s", [jobs[1]])
    hyperfill.run("policies", "restore", "--target", target.conninfo, "--table", "raw", "--allow-drop")
    assert target.value("SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = %s", [jobs[1]])
    # A policy that goes back to the beginning makes nothing empty.
    target.execute("CALL run_job(%s)", [jobs[0]])
    assert target.value("SELECT min(day) FROM daily") == datetime.datetime.fromisoformat(BEGIN)


def test_as_the_owner(hyperfill, sides):
    """No superuser, on either side."""
    role = f"hyperfill_cascade_{os.getpid()}"
    sides[0].execute(f"CREATE ROLE {role} LOGIN")
    try:
        prepared(sides)
        for database in sides:
            database.execute(f"ALTER TABLE raw OWNER TO {role}; ALTER MATERIALIZED VIEW daily OWNER TO {role}")
            database.execute(f"GRANT CREATE ON DATABASE {database.name} TO {role}; GRANT ALL ON SCHEMA public TO {role}")
        as_role = ["--source", f"{sides[0].conninfo} user={role}", "--target", f"{sides[1].conninfo} user={role}"]
        for command in ("run", "verify"):
            hyperfill.run(command, *as_role, "--table", "raw", "--until", UNTIL, "--cascade")
        result = hyperfill.run("refresh", *as_role[2:], "--table", "raw")
        assert "does not show" not in result.stderr
        completed(sides[0])
        assert equal(*sides)
    finally:
        for database in sides:
            database.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}")
        sides[0].execute(f"DROP ROLE {role}")


def test_clean_forgets_all(hyperfill, sides):
    source, target = prepared(sides)
    call(hyperfill, "run", sides, "--cascade")
    result = hyperfill.run("clean", "--target", target.conninfo, "--table", "raw", "--cascade")
    assert result.stdout.count("forgot 1 job") == 2
    assert target.value("SELECT to_regnamespace('hyperfill')") is None


def test_several_tables(hyperfill, sides):
    """Of different types of time; each aggregate has the completion point of its own table. One table fails alone."""
    source, target = prepared(sides)
    for database in sides:
        database.execute("CREATE TABLE raw_ticks (tick int NOT NULL)")
        database.rows("SELECT create_hypertable('raw_ticks', 'tick', chunk_time_interval => 100)")
        database.execute("CREATE FUNCTION tick() RETURNS int LANGUAGE sql STABLE AS 'SELECT 900'")
        database.rows("SELECT set_integer_now_func('raw_ticks', 'tick')")
        view(database, "tens", "SELECT time_bucket(10, tick) AS ten, count(*) AS n FROM raw_ticks GROUP BY 1")
        database.execute("CREATE TABLE raw_plain (time timestamptz NOT NULL, v int); CREATE INDEX ON raw_plain (time)")
    target.rows("SELECT create_hypertable('raw_plain', 'time')")
    source.execute("INSERT INTO raw_ticks SELECT generate_series(0, 999); INSERT INTO raw_plain VALUES ('2024-03-01Z', 1)")
    source.execute("CALL refresh_continuous_aggregate('tens', NULL, NULL)")
    source.rows("SELECT drop_chunks('raw_ticks', older_than => 500)")
    arguments = ["--source", source.conninfo, "--target", target.conninfo, "--filter", "^public.raw", "--cascade",
                 "--until", UNTIL, "--until", "985"]
    hyperfill.run("run", *arguments)
    assert target.fingerprint(stored(target)) == source.fingerprint(stored(source))
    assert target.rows(f"SELECT * FROM {stored(target, 'tens')} ORDER BY 1") == source.rows(
        f"SELECT * FROM {stored(source, 'tens')} WHERE ten < 980 ORDER BY 1")
    assert target.value("SELECT count(*) FROM raw_plain") == 1
    tables = hyperfill.run("status", "--checkpoint", "hyperfill-tables.checkpoint").stdout
    assert "public.tens" in tables and "public.daily" in tables


def test_one_that_is_named_by_hand_too(hyperfill, sides):
    source, target = prepared(sides)
    hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--cascade", "--table", "raw", "--table",
                  f"{stored(source)}={stored(target)}", "--until", UNTIL, "--until", f"{stored(target)}=2024-03-03 00:00Z")
    assert target.value(f"SELECT count(*) FROM {stored(target)}") == 6


def test_migrate(hyperfill, sides):
    source, target = prepared(sides)
    path = hyperfill.folder / "app.ini"
    path.write_text(f"[migration]\nsource = {source.conninfo}\ntarget = {target.conninfo}\ncascade = yes\n"
                    f"[table raw]\nuntil = {UNTIL}\n[steps]\nschema = skip\ndual-writes = skip\n")
    hyperfill.run("migrate", "--file", path, "--yes")
    completed(source)
    assert equal(source, target)
    hyperfill.run("migrate", "--file", path, "--continue")
    assert target.value("SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'hyperfill'"
                        " AND relname = 'piece'") == 0


def test_a_source_without_aggregates(hyperfill, servers):
    """Plain PostgreSQL, and the Apache edition."""
    target = servers["ts17"].create_database()
    target.execute("CREATE TABLE raw (time timestamptz NOT NULL, device int, value float)")
    target.rows("SELECT create_hypertable('raw', 'time')")
    for kind in ("pg15", "ts17"):
        source = servers[kind].create_database()
        source.execute("CREATE TABLE raw (time timestamptz NOT NULL, device int, value float); CREATE INDEX ON raw (time)")
        if kind == "ts17":
            source.rows("SELECT create_hypertable('raw', 'time')")
        fill(source, hours=10)
        sides = (source, target)
        result = call(hyperfill, "run", sides, "--cascade", "--checkpoint", kind)
        assert "no continuous aggregates" in result.stderr
        assert target.fingerprint("raw") == source.fingerprint("raw")
        assert "no continuous aggregates" in call(hyperfill, "verify", sides, "--cascade").stderr
        hyperfill.run("clean", "--target", target.conninfo, "--table", "raw", "--cascade")
        target.execute("DELETE FROM raw")


def test_a_target_without_aggregates(hyperfill, community, servers):
    target = servers["ts17"].create_database()
    target.execute("CREATE TABLE raw (time timestamptz NOT NULL, device int, value float)")
    target.rows("SELECT create_hypertable('raw', 'time')")
    create(community)
    fill(community)
    refresh_all(community, "daily")
    assert "Apache" in call(hyperfill, "plan", (community, target), "--cascade", check=SERVER).stdout


def test_csv_has_none(hyperfill, servers):
    target = servers["pg15"].create_database()
    target.execute("CREATE TABLE raw (time timestamptz NOT NULL, device int, value float)")
    path = hyperfill.folder / "raw.csv"
    path.write_text("time,device,value\n")
    for command in ("plan", "run", "verify"):
        result = hyperfill.run(command, "--source", path, "--target", target.conninfo, "--table", "raw", "--time-column", "time",
                               "--cascade", check=USAGE)
        assert "--cascade is for a PostgreSQL source" in result.stderr
