"""How fast a run may go, and that it begins nothing new while a limit of the user's is passed."""

import json
import time

import pytest

from harness import wait_until

USAGE, STOPPED = 2, 7
ROWS = 30000
UNTIL = "2024-02-01 00:00:00+00"


@pytest.fixture
def source(servers):
    return fill(servers["pg15"].create_database())


def fill(database):
    database.execute(
        "CREATE TABLE m (time timestamptz NOT NULL, value int, note text);"
        "INSERT INTO m SELECT '2024-01-01 00:00+00'::timestamptz + n * interval '1 minute', n, repeat('x', 40)"
        f" FROM generate_series(1, {ROWS}) n; CREATE INDEX ON m (time); ANALYZE m"
    )
    return database


def create_target(database):
    database.execute("CREATE TABLE m (time timestamptz NOT NULL, value int, note text)")
    if database.server.has_timescaledb:
        database.rows("SELECT create_hypertable('m', 'time')")
    return database


@pytest.fixture(params=["pg15", "ts17"])
def target(request, servers):
    return create_target(servers[request.param].create_database())


def options(source, target, *more):
    return ["run", "--source", source.conninfo, "--target", target.conninfo, "--table", "m", "--time-column", "time", "--until", UNTIL,
            "--jobs", "2", "--range-interval" if not target.server.has_timescaledb else "--memory",
            "1d" if not target.server.has_timescaledb else "64MB", *more]


def assert_whole(source, target):
    assert source.fingerprint("m") == target.fingerprint("m")


def paused(process):
    """The reason that its last progress event gives; it is asked for JSON."""
    events = [json.loads(line) for line in process.stdout.splitlines() if line.endswith("}")]
    shown = [event["paused"] for event in events if event["event"] == "progress"]
    return shown[-1] if shown else None


# At most a quarter of a second is made up for, and what each of two connections has in its hands goes at once.
@pytest.mark.parametrize("rate, seconds", [("12000rows", 2), ("900KB", 1.2)])
def test_rate(hyperfill, source, target, rate, seconds):
    """Not faster than allowed; that it is not much slower is the unit test's matter."""
    since = time.monotonic()
    result = hyperfill.run(*options(source, target, "--max-rate", rate))
    assert time.monotonic() - since >= seconds, result
    assert_whole(source, target)


def test_rate_of_file(hyperfill, source, target, tmp_path):
    """A file in pieces, and another rate when it is resumed: it is no part of the job."""
    path = tmp_path / "m.csv"
    source.copy_out("COPY (SELECT * FROM m ORDER BY time) TO STDOUT (FORMAT csv, HEADER)", path)
    command = options(source, target)
    command[2] = str(path)
    process = hyperfill.start(*command, "--max-rate", "2000rows", "--memory", "16MB") if target.server.has_timescaledb is False else None
    if process is not None:
        wait_until(lambda: target.value("SELECT count(*) FROM m") > 0 or not process.running, what="first rows")
        process.signal(2)
        process.signal(2)
        assert process.wait(timeout=60).status == STOPPED
    since = time.monotonic()
    before = target.value("SELECT count(*) FROM m")
    hyperfill.run(*command, "--max-rate", "15000rows")
    assert time.monotonic() - since >= (ROWS - before) / 15000 - 0.5
    assert_whole(source, target)


def test_rate_of_replay(hyperfill, servers, tmp_path):
    """Records that are replayed keep to the rate, too."""
    target = create_target(servers["pg15"].create_database())
    path = tmp_path / "m.csv"
    path.write_text("time,value,note\n" + "".join(f"2024-01-01 00:{n // 60:02}:{n % 60:02}+00,none,x\n" for n in range(900)))
    options = ["--source", str(path), "--target", target.conninfo, "--table", "m", "--time-column", "time", "--range-interval", "1d"]
    hyperfill.run("run", *options, "--on-bad-row", "reject", check=8)
    rejects = tmp_path / "hyperfill-m.rejects"
    rejects.write_text(rejects.read_text().replace("none", "7"))
    since = time.monotonic()
    result = hyperfill.run("replay", *options, "--max-rate", "450rows")
    assert time.monotonic() - since >= 1.5, result
    assert target.value("SELECT count(*) FROM m WHERE value = 7") == 900


def check(source, target, *more, until=UNTIL):
    """The same by verify, a range after the other."""
    command = ["verify", *options(source, target)[1:], *more]
    command[command.index("--jobs") + 1] = "1"
    command[command.index("--until") + 1] = until
    return command


@pytest.mark.parametrize("rate", ["20000rows", "900KB"])
def test_rate_of_verify(hyperfill, source, target, rate):
    """What a quarter of a second allows is made up for, and the last range, of a week at most, is not waited for."""
    hyperfill.run(*options(source, target))
    since = time.monotonic()
    hyperfill.run(*check(source, target, "--max-rate", rate))
    # Of texts of 70 bytes: by size it is the slower one.
    assert time.monotonic() - since >= (ROWS - 10080) / (20000 if rate == "20000rows" else 13500) - 0.25
    # What is loaded again is written at that rate, too.
    target.execute("DELETE FROM m WHERE time >= '2024-01-03+00' AND time < '2024-01-04+00'")
    since = time.monotonic()
    hyperfill.run(*check(source, target, "--from", "2024-01-03 00:00+00", "--repair", "--max-rate", "1000rows", until="2024-01-04 00:00+00"))
    assert time.monotonic() - since >= 1440 / 1000
    assert_whole(source, target)


def test_rate_of_late(hyperfill, source, target):
    """What is compared for --late as well, also when the job had been complete before."""
    hyperfill.run(*options(source, target))
    target.execute("DELETE FROM m WHERE time >= '2024-01-20+00' AND time < '2024-01-21+00'")
    since = time.monotonic()
    hyperfill.run(*options(source, target, "--late", "30d", "--max-rate", "1000rows"))
    assert time.monotonic() - since >= 1440 / 1000 * 2
    assert_whole(source, target)


def test_verify_stopped_while_it_waits(hyperfill, source, target):
    """For its rate, for a limit: the first stop ends both, and says how to go on."""
    hyperfill.run(*options(source, target))
    for limit in (("--max-rate", "1rows"), ("--max-target-size", "1KB")):
        process = hyperfill.start(*check(source, target, *limit))
        if limit[0] == "--max-rate":
            wait_until(lambda: not process.running or target.value("SELECT to_regclass('hyperfill.verify')"), what="a comparison")
        else:
            wait_until(lambda: not process.running or "paused: target size" in process.stderr, what="a pause")
        process.signal(2)
        result = process.wait(timeout=30)
        assert result.status == STOPPED and "run the same command again" in result.stderr, result
    hyperfill.run(*check(source, target))


def test_target_size(hyperfill, source, target):
    """Another table makes the database too large; when it is gone the run goes on by itself."""
    size = target.value("SELECT pg_database_size(current_database())")
    target.execute("CREATE TABLE large AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 60000) n")
    # Far from what there is before and after, as near the limit nothing is begun again.
    process = hyperfill.start(*options(source, target, "--max-target-size", str(size + 40_000_000), "--progress", "json"))
    wait_until(lambda: paused(process), what="a pause")
    assert "target size" in paused(process) and " > " in paused(process)
    assert target.value("SELECT count(*) FROM m") == 0
    target.execute("DROP TABLE large")
    result = process.wait(timeout=60, check=0)
    assert_whole(source, target)
    assert "resumed after" in result.stdout, result


def test_stopped_while_paused(hyperfill, source, target):
    """A stop ends a pause, and a later run without the limit finishes the job."""
    process = hyperfill.start(*options(source, target, "--max-target-size", "1KB", "--progress", "plain"))
    wait_until(lambda: "paused: target size" in process.stderr, what="a pause")
    process.signal(2)
    assert process.wait(timeout=30).status == STOPPED
    assert target.value("SELECT count(*) FROM m") == 0
    hyperfill.run(*options(source, target))
    assert_whole(source, target)


def test_waiting_wal(hyperfill, servers, source):
    """A slot that nobody reads keeps WAL: nothing is begun until it is gone."""
    server = servers.another("pg15")
    target = create_target(server.create_database())
    target.value("SELECT pg_create_physical_replication_slot('idle', true)::text")
    target.execute("CREATE TABLE other AS SELECT repeat(md5(n::text), 10) FROM generate_series(1, 10000) n")
    process = hyperfill.start(*options(source, target, "--max-wal", "1MB", "--progress", "json"))
    wait_until(lambda: paused(process), what="a pause")
    assert "waiting WAL" in paused(process) and target.value("SELECT count(*) FROM m") == 0
    target.value("SELECT pg_drop_replication_slot('idle')::text")
    assert process.wait(timeout=60).status == 0
    assert_whole(source, target)


def test_archive_backlog(hyperfill, servers, source):
    """WAL that cannot be archived waits as well."""
    server = servers.another("pg15", archive_mode="on", archive_command="/bin/true")
    target = create_target(server.create_database())
    admin = type(target)(server, "postgres")
    admin.value("SELECT pg_switch_wal()::text")
    wait_until(lambda: admin.value("SELECT last_archived_wal FROM pg_stat_archiver"), what="an archived segment")
    admin.execute("ALTER SYSTEM SET archive_command = '/bin/false'")
    admin.value("SELECT pg_reload_conf()")
    for _ in range(3):
        admin.execute("CREATE TABLE IF NOT EXISTS w (n int)")
        admin.execute("INSERT INTO w VALUES (1)")
        admin.value("SELECT pg_switch_wal()::text")
    process = hyperfill.start(*options(source, target, "--max-wal", "20MB", "--progress", "json"))
    wait_until(lambda: paused(process), what="a pause")
    assert "waiting WAL" in paused(process), process.stdout
    admin.execute("ALTER SYSTEM SET archive_command = '/bin/true'")
    admin.value("SELECT pg_reload_conf()")
    admin.close()
    assert process.wait(timeout=90).status == 0
    assert_whole(source, target)


def test_source_lag(hyperfill, servers):
    """A standby that does not replay, seen from its primary and from itself."""
    server = servers.another("pg15")
    standby = server.standby(wal_receiver_status_interval="1s")
    source = fill(server.create_database())
    target = create_target(servers["ts17"].create_database())
    standby.catch_up(server)
    behind = type(source)(standby, source.name)
    behind.value("SELECT pg_wal_replay_pause()::text")
    wait_until(lambda: behind.value("SELECT pg_get_wal_replay_pause_state()") == "paused", what="a pause of the replay")
    source.execute("CREATE TABLE other AS SELECT repeat(md5(n::text), 10) FROM generate_series(1, 10000) n")
    wait_until(lambda: source.value("SELECT replay_lag > interval '2 s' AND replay_lsn < pg_current_wal_lsn() - 2000000 FROM pg_stat_replication"),
               what="a lag that the source knows of")
    command = {side: options(side, target, "--progress", "json", "--checkpoint", name) for name, side in (("primary", source), ("standby", behind))}
    for side in (source, behind):
        for limit in ("1MB", "1s"):
            process = hyperfill.start(*command[side], "--max-source-lag", limit)
            wait_until(lambda: paused(process), what="a pause")
            assert "source lag" in paused(process) and target.value("SELECT count(*) FROM m") == 0
            assert (" s > 1.0 s" if limit == "1s" else " > 1.0 MB") in paused(process)
            process.signal(2)
            assert process.wait(timeout=30).status == STOPPED
    process = hyperfill.start(*command[source], "--max-source-lag", "1MB")
    wait_until(lambda: paused(process), what="a pause")
    behind.value("SELECT pg_wal_replay_resume()::text")
    behind.close()
    assert process.wait(timeout=60).status == 0
    assert_whole(source, target)


def test_source_lag_refused(hyperfill, servers, source, target, tmp_path):
    """Without the right to see lag there would never be any."""
    source.execute("DO $$ BEGIN CREATE ROLE looker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON m TO looker")
    command = options(source, target, "--max-source-lag", "10s")
    command[2] = source.conninfo.replace("user=postgres", "user=looker")
    assert command[2] != source.conninfo
    result = hyperfill.run(*command, check=USAGE)
    assert "pg_monitor" in result.stderr, result
    source.execute("GRANT pg_monitor TO looker")
    try:
        hyperfill.run(*command)
        assert_whole(source, target)
    finally:
        source.execute("DROP OWNED BY looker; DROP ROLE looker")
    path = tmp_path / "m.csv"
    path.write_text("time,value,note\n2024-01-30 00:00+00,1,x\n")
    command[2] = str(path)
    result = hyperfill.run(*command, "--checkpoint", "other", check=USAGE)
    assert "PostgreSQL source" in result.stderr, result


def test_disk(hyperfill, source, target):
    """The target is on this machine. Who may not know where its data is is told so."""
    process = hyperfill.start(*options(source, target, "--min-disk-free", "100%", "--progress", "json"))
    wait_until(lambda: paused(process), what="a pause")
    assert "free disk" in paused(process) and "< 100.0%" in paused(process)
    process.signal(15)
    assert process.wait(timeout=30).status == STOPPED
    target.execute("CREATE ROLE pourer LOGIN; ALTER TABLE m OWNER TO pourer; DROP SCHEMA hyperfill CASCADE; CREATE SCHEMA hyperfill AUTHORIZATION pourer")
    try:
        command = options(source, target, "--min-disk-free", "1MB")
        command[4] = target.conninfo.replace("user=postgres", "user=pourer")
        result = hyperfill.run(*command, check=USAGE)
        assert "--max-target-size" in result.stderr and "pg_read_all_settings" in result.stderr, result
        target.execute("GRANT pg_read_all_settings TO pourer")
        hyperfill.run(*command)
        assert_whole(source, target)
    finally:
        target.execute("REASSIGN OWNED BY pourer TO postgres; DROP OWNED BY pourer; DROP ROLE pourer")
