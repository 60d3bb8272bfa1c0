"""Background jobs of the target are paused while its history is loaded, and restored however that ends."""

import json
import os
import threading
import time

import pytest

from harness import create_cpu, fill_cpu

UNTIL = "2024-04-01T00:00:00Z"
USAGE, SERVER, STOPPED = 2, 4, 7
JOBS = """
    SELECT replace(proc_name, 'policy_', ''), scheduled FROM timescaledb_information.jobs
    WHERE proc_name ~ '^policy_(retention|compression|reorder|refresh)' ORDER BY job_id"""
ALL_ON = [("retention", True), ("compression", True), ("refresh_continuous_aggregate", True), ("refresh_continuous_aggregate", True)]
ALL_OFF = [(name, False) for name, _ in ALL_ON]


def add_policies(database, drop_after="100 years"):
    """Jobs that never run by themselves: what they would do is done by hand where it matters."""
    database.execute("ALTER TABLE cpu SET (timescaledb.compress, timescaledb.compress_segmentby = 'tags_id')")
    database.execute("CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS SELECT time_bucket('1 hour', time) AS hour,"
                     " count(*) AS n FROM cpu GROUP BY 1 WITH NO DATA")
    database.execute("CREATE MATERIALIZED VIEW \"Daily\" WITH (timescaledb.continuous) AS SELECT time_bucket('1 day', hour) AS day,"
                     " sum(n) AS n FROM hourly GROUP BY 1 WITH NO DATA")
    database.rows("SELECT add_retention_policy('cpu', %s::interval, initial_start => 'infinity')", [drop_after])
    database.rows("SELECT add_compression_policy('cpu', interval '90 years', initial_start => 'infinity')")
    for view, width in (("hourly", "1 hour"), ('"Daily"', "1 day")):
        database.rows(f"SELECT add_continuous_aggregate_policy('{view}', NULL, interval '{width}', interval '1 day',"
                      " initial_start => 'infinity')")


def make_source(database, rows=40_000):
    create_cpu(database, hypertable=False)
    fill_cpu(database, rows, hosts=20)
    database.execute("CREATE INDEX ON cpu (time)")
    return database


@pytest.fixture
def source(servers):
    return make_source(servers["pg15"].create_database())


@pytest.fixture
def target(community):
    create_cpu(community)
    add_policies(community)
    # A policy of another table has nothing to do with it.
    create_cpu(community, name="other")
    community.rows("SELECT add_reorder_policy('other', 'other_time_idx', initial_start => 'infinity')")
    return community


def jobs(database):
    return [row for row in database.rows(JOBS) if row[0] != "reorder"]


def reorder(database):
    return [row for row in database.rows(JOBS) if row[0] == "reorder"]


def arguments(source, target, *more):
    return ["--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL, *more]


def policies(hyperfill, target, action, *more, check=0):
    return hyperfill.run("policies", action, "--target", target.conninfo, "--table", "cpu", *more, check=check)


def paused(database):
    """Rows of the ledger's table, where there is one."""
    if database.value("SELECT to_regclass('hyperfill.policy')") is None:
        return 0
    return database.value("SELECT count(*) FROM hyperfill.policy")


class Lock:
    """Holds up the writers, from before the run's first row: rows of the hypertable cannot be written."""

    def __init__(self, database):
        self.connection = database.connect()
        self.connection.cursor().execute("LOCK TABLE cpu IN SHARE MODE")

    def release(self):
        self.connection.close()


def wait_for(condition, what, seconds=25):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def start_and_pause(hyperfill, source, target, *more):
    """A run that is held up with policies paused."""
    process = hyperfill.start("run", *arguments(source, target, *more))
    wait_for(lambda: not process.running or "paused while it is loaded" in process.stderr, "policies are not paused")
    assert process.running, process.result()
    return process


def test_paused_while_loading_and_restored(hyperfill, source, target):
    lock = Lock(target)
    process = start_and_pause(hyperfill, source, target)
    assert jobs(target) == ALL_OFF and reorder(target) == [("reorder", True)]
    assert paused(target) == 4
    lock.release()
    result = process.wait(check=0)
    assert jobs(target) == ALL_ON and paused(target) == 0
    assert "4 policies" in result.stderr and "restored" in result.stderr
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


def test_what_was_off_stays_off(hyperfill, source, target):
    target.rows("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'")
    before = jobs(target)
    lock = Lock(target)
    process = start_and_pause(hyperfill, source, target)
    assert jobs(target) == ALL_OFF
    lock.release()
    process.wait(check=0)
    assert jobs(target) == before


def test_restored_after_a_failure_and_a_signal(hyperfill, source, target):
    target.execute("ALTER TABLE cpu ADD CHECK (tags_id < 19)")
    result = hyperfill.run("run", *arguments(source, target), check=3)
    assert "paused while it is loaded" in result.stderr and jobs(target) == ALL_ON
    for signals in (1, 2):
        lock = Lock(target)
        process = start_and_pause(hyperfill, source, target, "--checkpoint", f"c{signals}")
        for number in range(signals):
            process.signal(2)
            wait_for(lambda: ["stopping", "aborting"][number] in process.stderr or not process.running, "the signal")  # noqa: B023
        if signals == 2:
            process.wait(check=STOPPED)
        lock.release()
        process.wait()
        assert jobs(target) == ALL_ON and paused(target) == 0


def killed(hyperfill, source, target):
    lock = Lock(target)
    process = start_and_pause(hyperfill, source, target)
    process.kill()
    lock.release()
    assert not any(on for _, on in jobs(target))
    # The connections of the dead take a moment.
    wait_for(lambda: target.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1212566608"
                                  " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == 0, "dead")


def test_kill_then_the_next_run_restores(hyperfill, source, target):
    killed(hyperfill, source, target)
    hyperfill.run("run", *arguments(source, target))
    assert jobs(target) == ALL_ON and paused(target) == 0
    assert target.fingerprint("cpu") == source.fingerprint("cpu")


def test_the_paused_policy_still_decides(hyperfill, source, target):
    """--strategy auto compresses what the policy would, also when that is paused by this run or by one that was killed."""
    target.rows("SELECT remove_compression_policy('cpu')")
    target.rows("SELECT add_compression_policy('cpu', interval '1 day', initial_start => 'infinity')")
    killed(hyperfill, source, target)
    assert "compress" in hyperfill.run("plan", *arguments(source, target)).stdout
    hyperfill.run("run", *arguments(source, target))
    assert target.rows("SELECT DISTINCT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'cpu'") == [(target.timescaledb() >= (2, 24),)]


def test_kill_then_restore_alone(hyperfill, source, target):
    killed(hyperfill, source, target)
    assert "left by a run" in policies(hyperfill, target, "show").stdout
    assert "4 policies" in policies(hyperfill, target, "restore").stdout
    assert jobs(target) == ALL_ON and paused(target) == 0
    assert "0 policies" in policies(hyperfill, target, "restore").stdout


def test_killed_when_all_was_loaded(hyperfill, source, target):
    """The job is complete, but its policies are not restored: `run` has nothing to do but that."""
    hyperfill.run("run", *arguments(source, target))
    policies(hyperfill, target, "pause")
    target.execute("UPDATE hyperfill.policy_hold SET key = 77, holder = 'killed'")
    result = hyperfill.run("run", *arguments(source, target))
    assert "nothing to do" in result.stderr and jobs(target) == ALL_ON


def test_what_people_do_meanwhile_is_respected(hyperfill, source, target):
    lock = Lock(target)
    process = start_and_pause(hyperfill, source, target)
    target.rows("SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'")
    target.rows("SELECT remove_continuous_aggregate_policy('hourly')")
    lock.release()
    result = process.wait(check=0)
    assert jobs(target) == [ALL_ON[0], ALL_ON[1], ALL_ON[3]] and paused(target) == 0
    assert "switched on by somebody else" in result.stderr


def test_the_last_of_several_restores(hyperfill, source, target, servers):
    other = make_source(servers["pg15"].create_database(), 1000)
    other.execute("UPDATE cpu SET time = time + interval '5 days'")
    lock = Lock(target)
    first = start_and_pause(hyperfill, source, target)
    second = start_and_pause(hyperfill, other, target, "--checkpoint", "second", "--from", "2024-03-05T00:00:00Z")
    assert target.value("SELECT count(DISTINCT key) FROM hyperfill.policy_hold") == 2
    for word in ("stopping", "aborting"):
        second.signal(2)
        wait_for(lambda: word in second.stderr or not second.running, word)  # noqa: B023
    result = second.wait()
    assert "stay paused" in result.stderr and jobs(target) == ALL_OFF
    # Neither does a person take them from a run that lives.
    assert "4 stay paused" in policies(hyperfill, target, "restore").stdout and jobs(target) == ALL_OFF
    lock.release()
    first.wait(check=0)
    assert jobs(target) == ALL_ON


def test_by_hand_it_stays_over_runs(hyperfill, source, target):
    assert "4 policies" in policies(hyperfill, target, "pause").stdout
    policies(hyperfill, target, "pause")
    result = hyperfill.run("run", *arguments(source, target))
    assert "stay paused" in result.stderr and jobs(target) == ALL_OFF
    shown = json.loads(policies(hyperfill, target, "show", "--json").stdout)["policies"]
    assert [(each["kind"], each["state"], each["by_hand"]) for each in shown] == [
        ("retention", "paused", True), ("compression", "paused", True), ("refresh", "paused", True), ("refresh", "paused", True)]
    assert [each["relation"] for each in shown] == ["public.cpu", "public.cpu", "public.hourly", 'public."Daily"']
    policies(hyperfill, target, "restore")
    assert jobs(target) == ALL_ON
    # With the last job the tables go, too.
    hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu")
    assert target.value("SELECT to_regnamespace('hyperfill')") is None


def test_clean_keeps_what_is_paused(hyperfill, source, target):
    hyperfill.run("run", *arguments(source, target))
    policies(hyperfill, target, "pause")
    cleaned = hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu").stdout
    assert "forgot 1 job" in cleaned and "4 policies of" in cleaned and "are still paused" in cleaned
    assert jobs(target) == ALL_OFF and paused(target) == 4
    # Once more says so, too; and forgets the rest when they are on again.
    assert "are still paused" in hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu").stdout
    policies(hyperfill, target, "restore")
    assert jobs(target) == ALL_ON
    hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu")
    assert target.value("SELECT to_regnamespace('hyperfill')") is None


def test_leave(hyperfill, source, target):
    result = hyperfill.run("run", *arguments(source, target), "--policies", "leave")
    assert result.stderr.count("may run while the table is loaded") == 4 and "paused" not in result.stderr
    assert target.value("SELECT to_regclass('hyperfill.policy')") is None


def pid_of_guard(target):
    """Of its server process; None while it is away."""
    return target.value("SELECT max(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1212566608"
                        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")


def test_a_connection_that_is_lost(hyperfill, source, target):
    """The guard comes back, and pauses again what somebody who took it for dead has restored."""
    lock = Lock(target)
    process = start_and_pause(hyperfill, source, target)
    before = pid_of_guard(target)
    # As if it had been restored between.
    target.execute("BEGIN; DELETE FROM hyperfill.policy_hold; DELETE FROM hyperfill.policy; COMMIT")
    target.rows("SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs WHERE job_id >= 1000")
    assert jobs(target) == ALL_ON
    target.rows("SELECT pg_terminate_backend(%s)", [before])
    wait_for(lambda: "paused again" in process.stderr, "it does not come back")
    assert jobs(target) == ALL_OFF
    lock.release()
    process.wait(check=0)
    assert jobs(target) == ALL_ON


def test_waits_for_one_that_runs(hyperfill, source, target):
    """As the server sees it: a process of the job's name that is at work."""
    number = target.value("SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'")
    name = target.value("SELECT application_name FROM timescaledb_information.jobs WHERE job_id = %s", [number])
    running = target.connect()
    cursor = running.cursor()
    cursor.execute("SELECT set_config('application_name', %s, false)", [name])
    gate = target.connect()
    gate.cursor().execute("SELECT pg_advisory_lock(99)")
    work = threading.Thread(target=lambda: cursor.execute("SELECT pg_advisory_lock(99)"))
    work.start()
    try:
        wait_for(lambda: target.value("SELECT job_status FROM timescaledb_information.job_stats WHERE job_id = %s", [number])
                 == "Running", "it does not run")
        process = hyperfill.start("run", *arguments(source, target))
        wait_for(lambda: "waiting for the retention policy" in process.stderr, "it does not wait")
        assert target.value("SELECT count(*) FROM cpu") == 0
        process.signal(2)
        process.wait(check=STOPPED)
        assert jobs(target) == ALL_ON
        process = hyperfill.start("run", *arguments(source, target))
        wait_for(lambda: "waiting for the retention policy" in process.stderr, "it does not wait")
        # A job may run for hours, and a connection be lost in them.
        before = pid_of_guard(target)
        target.rows("SELECT pg_terminate_backend(%s)", [before])
        wait_for(lambda: not process.running or pid_of_guard(target) not in (None, before), "it does not come back")
        assert process.running and jobs(target) == ALL_OFF, process.result()
    finally:
        gate.close()
        work.join()
        running.close()
    process.wait(check=0)
    assert jobs(target) == ALL_ON


# ---- Retention


def fire(database):
    """What the scheduler does with jobs that are on."""
    for (number,) in database.rows("SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' AND scheduled"):
        database.execute(f"CALL run_job({number})")


def retention(database):
    return dict(jobs(database))["retention"]


@pytest.fixture
def expiring(community):
    create_cpu(community)
    add_policies(community, "30 days")
    return community


def test_retention_drops_nothing_that_was_loaded(hyperfill, source, expiring):
    plan = hyperfill.run("plan", *arguments(source, expiring)).stdout
    assert plan.count("will be paused") == 4 and "retention would drop what is loaded before" in plan
    lock = Lock(expiring)
    process = start_and_pause(hyperfill, source, expiring)
    fire(expiring)
    lock.release()
    result = process.wait(check=0)
    fire(expiring)
    assert "stays off" in result.stderr and "--allow-drop" in result.stderr
    assert jobs(expiring) == [("retention", False), *ALL_ON[1:]]
    assert expiring.fingerprint("cpu") == source.fingerprint("cpu")
    # Neither does `restore`, until it is harmless; also when the ledger knows nothing any more.
    hyperfill.run("clean", "--target", expiring.conninfo, "--table", "cpu")
    assert "stays off" in policies(hyperfill, expiring, "restore").stderr and not retention(expiring)
    expiring.rows("SELECT alter_job(job_id, config => config || '{\"drop_after\": \"100 years\"}')"
                  " FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'")
    assert "1 policy" in policies(hyperfill, expiring, "restore").stdout
    fire(expiring)
    assert retention(expiring) and paused(expiring) == 0
    assert expiring.fingerprint("cpu") == source.fingerprint("cpu")


@pytest.mark.parametrize("who", ["run", "restore"])
def test_allow_drop(hyperfill, source, expiring, who):
    hyperfill.run("run", *arguments(source, expiring, *(["--allow-drop"] if who == "run" else [])))
    if who == "restore":
        assert not retention(expiring)
        policies(hyperfill, expiring, "restore", "--allow-drop")
    assert retention(expiring) and paused(expiring) == 0
    fire(expiring)
    assert expiring.value("SELECT count(*) FROM cpu") == 0


def test_another_process_does_not_restore_it_either(hyperfill, source, expiring):
    """A run was killed half way: whoever restores looks at what the ledger has."""
    process = hyperfill.start("run", *arguments(source, expiring, "--jobs", "1", "--range-interval", "10min"))
    wait_for(lambda: not process.running or expiring.value("SELECT count(*) FROM cpu") > 0, "no rows")
    process.kill()
    loaded = expiring.value("SELECT count(*) FROM cpu")
    wait_for(lambda: "for a run" not in policies(hyperfill, expiring, "show").stdout, "it lives")
    policies(hyperfill, expiring, "restore")
    fire(expiring)
    assert loaded > 0 and not retention(expiring) and expiring.value("SELECT count(*) FROM cpu") >= loaded
    hyperfill.run("run", *arguments(source, expiring, "--range-interval", "10min"))
    assert expiring.fingerprint("cpu") == source.fingerprint("cpu")


@pytest.mark.parametrize("kind", ["date", "timestamp", "bigint"])
def test_horizons_of_other_types(hyperfill, community, kind):
    community.execute(f"CREATE TABLE t (time {kind} NOT NULL, v int)")
    interval = "'864000000'::bigint" if kind == "bigint" else "interval '1 day'"
    community.rows(f"SELECT create_hypertable('t', 'time', chunk_time_interval => {interval})")
    if kind == "bigint":
        community.execute("CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql STABLE AS $$SELECT 1800000000000$$")
        community.rows("SELECT set_integer_now_func('t', 'now_ms')")
    after = "86400000000::bigint" if kind == "bigint" else "interval '30 days'"
    community.rows(f"SELECT add_retention_policy('t', {after}, initial_start => 'infinity')")
    old = "1700000000000" if kind == "bigint" else "2024-03-01"
    path = hyperfill.folder / "t.csv"
    path.write_text(f"time,v\n{old},1\n")
    result = hyperfill.run("run", "--source", path, "--target", community.conninfo, "--table", "t")
    assert "stays off" in result.stderr
    fire(community)
    assert community.value("SELECT count(*) FROM t") == 1


# ---- Rights, and servers without policies


def test_without_the_right_to_pause(hyperfill, source, target):
    role = f"hyperfill_policies_{os.getpid()}"
    target.execute(f"CREATE ROLE {role} LOGIN")
    try:
        target.execute(f"GRANT CREATE ON DATABASE \"{target.name}\" TO {role}; GRANT SELECT, INSERT ON cpu TO {role};"
                       f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
        more = ["--source", source.conninfo, "--target", target.conninfo + f" user={role}", "--table", "cpu", "--until", UNTIL]
        assert "is not this role's to pause" in hyperfill.run("plan", *more).stdout
        result = hyperfill.run("run", *more, check=SERVER)
        assert "may not pause" in result.stderr and "retention policy" in result.stderr and "--policies leave" in result.stderr
        assert target.value("SELECT to_regnamespace('hyperfill')") is None
        hyperfill.run("run", *more, "--policies", "leave")
        assert target.fingerprint("cpu") == source.fingerprint("cpu") and jobs(target) == ALL_ON
    finally:
        target.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_by_the_owner_alone(hyperfill, source, target):
    role = f"hyperfill_policies_{os.getpid()}"
    target.execute(f"CREATE ROLE {role} LOGIN")
    try:
        target.execute(f"GRANT CREATE ON DATABASE \"{target.name}\" TO {role}; GRANT USAGE, CREATE ON SCHEMA public TO {role};"
                       f"ALTER TABLE cpu OWNER TO {role}; ALTER MATERIALIZED VIEW hourly OWNER TO {role};"
                       f'ALTER MATERIALIZED VIEW "Daily" OWNER TO {role}')
        catalog = "_timescaledb_catalog" if target.value("SELECT to_regclass('_timescaledb_catalog.bgw_job')") else "_timescaledb_config"
        target.execute(f"UPDATE {catalog}.bgw_job SET owner = '{role}' WHERE proc_name <> 'policy_reorder' AND id >= 1000")
        result = hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo + f" user={role}", "--table", "cpu",
                               "--until", UNTIL)
        assert "4 policies" in result.stderr and jobs(target) == ALL_ON
    finally:
        target.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_nothing_is_said_without_policies(hyperfill, source, database):
    plain = not database.server.kind.startswith("ts")
    create_cpu(database, hypertable=not plain)
    column = ["--time-column", "time"] if plain else []
    more = arguments(source, database, *column, *(["--range-interval", "6h"] if plain else []))
    assert "polic" not in hyperfill.run("plan", *more).stdout
    result = hyperfill.run("run", *more)
    assert "polic" not in result.stderr and database.value("SELECT to_regclass('hyperfill.policy')") is None
    assert database.fingerprint("cpu") == source.fingerprint("cpu")
    assert "no policies" in policies(hyperfill, database, "show", *column).stdout
    for action in ("pause", "restore"):
        assert "0 policies" in policies(hyperfill, database, action, *column).stdout
    assert json.loads(policies(hyperfill, database, "show", "--json", *column).stdout) == {"policies": []}


def test_nothing_is_said_of_a_table_without_policies(hyperfill, source, community):
    create_cpu(community)
    assert "polic" not in hyperfill.run("run", *arguments(source, community)).stderr
    assert community.value("SELECT to_regclass('hyperfill.policy')") is None
