"""hyperfill migrate: the way through all steps, what is checked first, and where it stands after a kill."""

import io
import json
import os
import pty
import signal
import subprocess
import time

import psycopg2
import pytest

from harness import START, Database, create_cpu, fill_cpu, wait_until

PAIRS = [("pg15", "ts17"), ("ts17", "ts18")]
STEPS = ["check", "schema", "dual-writes", "completion-point", "run", "catch-up", "refresh", "verify", "sequences",
         "switch-over", "clean"]
SKIPPED = ["schema", "refresh", "verify"]
UNTIL = "2024-03-02 00:00:00+00"
ROWS = 12_000


@pytest.fixture(params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def pair(request, servers):
    """Source and target, with a table cpu on both sides: rows in the source, and dual-written ones in both."""
    return make_pair(servers[request.param[0]], servers[request.param[1]])


@pytest.fixture
def sides(servers):
    return make_pair(servers["pg15"], servers["ts17"])


def make_table(source, target, name="cpu"):
    create_cpu(source, hypertable=source.server.has_timescaledb, name=name)
    source.execute(f"CREATE INDEX IF NOT EXISTS {name}_time ON {name} (time)")
    fill_cpu(source, ROWS, step_seconds=120, name=name)
    create_cpu(target, name=name)
    # The last writer began to write to both a while before UNTIL: some of what is there before is only half of it.
    path = f"time >= '{UNTIL}'::timestamptz - interval '1 hour' AND (time >= '{UNTIL}' OR tags_id < 5)"
    rows = io.BytesIO()
    columns = ", ".join(row[0] for row in source.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum", [name]))
    source.copy_out(f"COPY (SELECT * FROM {name} WHERE {path}) TO STDOUT", rows)
    rows.seek(0)
    target.copy_in(f"COPY {name} ({columns}) FROM STDIN", rows)


def make_pair(source_server, target_server):
    source, target = source_server.create_database(), target_server.create_database()
    make_table(source, target)
    source.execute("ANALYZE")
    return source, target


CONTENT = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} t"


def assert_equal(source, target, name="cpu"):
    assert source.rows(CONTENT.format(name)) == target.rows(CONTENT.format(name))


def job_file(hyperfill, source, target, tables=("cpu",), until=UNTIL, skip=SKIPPED, more="", name="app.ini"):
    path = hyperfill.folder / name
    text = f"[migration]\nsource = {source.conninfo}\ntarget = {target.conninfo}\njobs = 2\n{more}\n"
    for table in tables:
        text += f"[table {table}]\nuntil = {until}\n"
    text += "[steps]\n" + "".join(f"{step} = skip\n" for step in skip)
    path.write_text(text)
    return path


def migrate(hyperfill, path, *more, check=0, **rest):
    return hyperfill.run("migrate", "--file", path, *more, check=check, **rest)


def status(hyperfill, path):
    return json.loads(hyperfill.run("migrate", "status", "--file", path, "--json").stdout)


def states(hyperfill, path):
    return {step["step"]: step["state"] for step in status(hyperfill, path)["steps"]}


# ---- The way


def test_walks_through_all_steps(hyperfill, pair):
    source, target = pair
    path = job_file(hyperfill, source, target)
    before = status(hyperfill, path)
    assert [step["step"] for step in before["steps"]] == STEPS
    assert before["next"] == "check" and not before["done"]
    assert target.value("SELECT to_regnamespace('hyperfill')") is None

    first = migrate(hyperfill, path, "--yes")
    assert "about 12,000 rows" in first.stdout and "Your turn: Start dual writes" in first.stdout
    # Nothing is loaded before the person has acted, and the first --yes is no yes to that.
    assert target.value("SELECT count(*) FROM hyperfill.piece") == 0
    here = status(hyperfill, path)
    assert here["next"] == "dual-writes" and "both databases" in here["todo"]

    second = migrate(hyperfill, path, "--continue")
    assert "Your turn: Switch over" in second.stdout
    assert_equal(source, target)
    assert states(hyperfill, path) == {
        **{step: "done" for step in STEPS}, **{step: "skipped" for step in SKIPPED}, "switch-over": "waiting", "clean": "open"}
    again = migrate(hyperfill, path)
    assert "Your turn: Switch over" in again.stdout

    last = migrate(hyperfill, path, "--continue")
    assert "forgot 1 job of" in last.stdout and "The migration app is done" in last.stdout
    after = status(hyperfill, path)
    assert after["done"] and after["next"] is None and after["todo"] is None
    assert target.rows("SELECT relname FROM pg_class WHERE relnamespace = 'hyperfill'::regnamespace AND relkind = 'r'") == [
        ("migration",)]
    # Once more changes nothing.
    migrate(hyperfill, path)
    assert_equal(source, target)


def test_shows_the_way(hyperfill, sides):
    path = job_file(hyperfill, *sides)
    migrate(hyperfill, path, "--yes")
    shown = hyperfill.run("migrate", "status", "--file", path).stdout
    lines = [line.split() for line in shown.splitlines()]
    assert ["done", "1", "check"] == lines[1][:3]
    assert ["left", "out", "2", "schema"] == lines[2][:4]
    assert ["→", "waiting", "3", "dual-writes"] == lines[3][:4]
    assert ["4", "completion-point"] == lines[4][:2]
    assert "deploy all of its writers" in shown and f"hyperfill migrate --file {path}" in shown


def test_by_options_alone(hyperfill, sides):
    source, target = sides
    arguments = ["migrate", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                 *[word for step in [*SKIPPED, "dual-writes", "switch-over"] for word in ("--skip", step)]]
    done = hyperfill.run(*arguments, "--yes")
    assert "The migration cpu is done" in done.stdout
    assert_equal(source, target)


def test_asks_on_a_terminal(hyperfill, sides):
    source, target = sides
    path = job_file(hyperfill, source, target)

    def on_terminal(answer):
        controller, terminal = pty.openpty()
        process = subprocess.Popen([hyperfill.binary, "migrate", "--file", path], stdin=terminal, stdout=subprocess.PIPE,
                                   stderr=terminal, cwd=hyperfill.folder, start_new_session=True)
        os.close(terminal)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(controller, 4096)
        if answer is None:
            process.send_signal(signal.SIGINT)
        else:
            os.write(controller, answer)
        out = process.stdout.read().decode()
        code = process.wait(60)
        os.close(controller)
        return code, seen.decode(), out

    assert on_terminal(b"n\n")[0] == 7
    assert on_terminal(None)[0] == 7
    assert target.value("SELECT to_regnamespace('hyperfill')") is None
    code, seen, out = on_terminal(b"y\n")
    assert code == 0 and "Begin?" in seen and "Your turn: Start dual writes" in out
    code, seen, out = on_terminal(b"n\n")
    assert code == 0 and "Does every writer write to both databases now?" in seen and "Your turn: Start dual writes" in out
    code, seen, out = on_terminal(b"y\n")
    assert code == 0 and "Your turn: Switch over" in out
    assert_equal(source, target)


def test_touches_nothing_without_a_yes(hyperfill, sides):
    source, target = sides
    path = job_file(hyperfill, source, target)
    refused = migrate(hyperfill, path, check=2)
    assert "say --yes" in refused.stderr and "steps\n" in refused.stdout
    assert target.value("SELECT to_regnamespace('hyperfill')") is None


def test_a_table_that_fails_does_not_stop_the_others(hyperfill, sides):
    source, target = sides
    make_table(source, target, "other")
    source.execute("UPDATE cpu SET usage_idle = -1 WHERE tags_id = 3 AND time < '2024-03-01 12:00:00+00'")
    target.execute("ALTER TABLE cpu ADD CHECK (usage_idle >= 0) NOT VALID")
    path = job_file(hyperfill, source, target, tables=("cpu", "other"), skip=[*SKIPPED, "dual-writes"])
    failed = migrate(hyperfill, path, "--yes", check=3)
    assert "step run: 1 of 2 tables failed (cpu), first: " in failed.stderr
    assert f"Then go on: hyperfill migrate --file {path}" in failed.stderr
    here = status(hyperfill, path)
    assert here["next"] == "run" and "failed" in states(hyperfill, path)["run"]
    assert "1 of 2 tables failed" in next(step for step in here["steps"] if step["step"] == "run")["result"]["failure"]
    assert_equal(source, target, "other")
    target.execute("ALTER TABLE cpu DROP CONSTRAINT cpu_usage_idle_check")
    assert "Your turn: Switch over" in migrate(hyperfill, path).stdout
    assert_equal(source, target)


def test_the_job_may_not_change_on_the_way(hyperfill, sides):
    source, target = sides
    path = job_file(hyperfill, source, target)
    migrate(hyperfill, path, "--yes")
    make_table(source, target, "other")
    job_file(hyperfill, source, target, tables=("cpu", "other"))
    refused = migrate(hyperfill, path, "--continue", check=2)
    assert "was begun with other tables: cpu from cpu; now: cpu from cpu, other from other" in refused.stderr
    # The completion point is fixed once it was found or given.
    job_file(hyperfill, source, target, skip=["schema", "verify"])
    target.execute("ALTER TABLE cpu ADD CHECK (usage_idle < 0) NOT VALID")
    migrate(hyperfill, path, "--continue", check=3)
    job_file(hyperfill, source, target, until="2024-03-01 12:00:00+00")
    refused = migrate(hyperfill, path, check=2)
    assert f"the completion point is fixed at {UNTIL}" in refused.stderr
    target.execute("ALTER TABLE cpu DROP CONSTRAINT cpu_usage_idle_check")
    job_file(hyperfill, source, target)
    migrate(hyperfill, path)
    assert_equal(source, target)


def test_one_at_a_time(hyperfill, sides):
    source, target = sides
    path = job_file(hyperfill, source, target)
    migrate(hyperfill, path, "--yes")
    # Somebody holds the table, so that the first one waits in the middle.
    holder = target.connect()
    holder.cursor().execute("LOCK TABLE cpu IN ACCESS EXCLUSIVE MODE")
    first = hyperfill.start("migrate", "--file", path, "--continue")
    wait_until(lambda: states(hyperfill, path)["run"] == "running", what="the run")
    refused = migrate(hyperfill, path, check=2)
    assert "another hyperfill migrate is at the migration app" in refused.stderr
    holder.rollback()
    first.wait(check=0)
    assert_equal(source, target)


def test_the_whole_method(hyperfill, servers):
    """No step is left out: an empty target, writers that begin to write to both, a row that comes late."""
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    source.execute("CREATE TABLE devices (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);"
                   " INSERT INTO devices (name) SELECT 'd' || i FROM generate_series(1, 10) i;"
                   " CREATE TABLE cpu (time timestamptz NOT NULL, device int REFERENCES devices, v float8); CREATE INDEX ON cpu (time);"
                   " INSERT INTO cpu SELECT now() - i * interval '1 min', 1 + i % 10, i FROM generate_series(15, 5000) i; ANALYZE")
    path = hyperfill.folder / "app.ini"
    path.write_text(f"[migration]\nsource = {source.conninfo}\ntarget = {target.conninfo}\njobs = 2\nwindow = 12 min\nwatch = 1\n"
                    "late = 1 day\n[table cpu]\nhypertable = time,1 day\n")
    first = migrate(hyperfill, path, "--yes", check=None)
    if "not built yet" in first.stderr or "unknown key window" in first.stderr:
        pytest.skip("there is a step that is not built yet")
    assert first.status == 0, first
    assert target.value("SELECT count(*) FROM devices") == 10
    assert target.rows("SELECT hypertable_name, time_interval::text FROM timescaledb_information.hypertables"
                       " JOIN timescaledb_information.dimensions USING (hypertable_name)") == [("cpu", "1 day")]
    # Both are written to since eight minutes.
    source.execute("INSERT INTO cpu SELECT now() - i * interval '1 s', 1 + i % 10, i FROM generate_series(5, 800) i")
    rows = io.BytesIO()
    source.copy_out("COPY (SELECT * FROM cpu WHERE time > now() - interval '8 min') TO STDOUT", rows)
    rows.seek(0)
    target.copy_in("COPY cpu FROM STDIN", rows)
    # The source's sequence goes on meanwhile.
    source.execute("INSERT INTO devices (name) SELECT 'new' FROM generate_series(1, 25)")
    second = migrate(hyperfill, path, "--continue")
    assert "moved 1 sequence to" in second.stdout
    assert "Your turn: Switch over" in second.stdout and "hyperfill schema --sequences" in second.stdout
    assert target.value("SELECT nextval('devices_id_seq')") == 36
    assert_equal(source, target)
    assert set(states(hyperfill, path).values()) == {"done", "waiting", "open"}
    # What comes after the load is found by doing the step once more.
    until = next(step for step in status(hyperfill, path)["steps"] if step["step"] == "completion-point")["result"]["until"]["cpu"]
    source.execute("INSERT INTO cpu SELECT %s::timestamptz - interval '2 hours' - i * interval '1 s', 1, i FROM generate_series(1, 3) i",
                   [until])
    target.execute("UPDATE hyperfill.migration SET state = 'failed' WHERE step = 'catch-up'")
    caught = migrate(hyperfill, path)
    assert "step 6 of 11, catch-up" in caught.stderr
    assert_equal(source, target)
    assert "The migration app is done" in migrate(hyperfill, path, "--continue").stdout


# ---- Stopped and killed


def test_stopped_and_resumed(hyperfill, sides):
    source, target = sides
    path = job_file(hyperfill, source, target)
    migrate(hyperfill, path, "--yes")
    holder = target.connect()
    holder.cursor().execute("LOCK TABLE cpu IN SHARE MODE")
    running = hyperfill.start("migrate", "--file", path, "--continue")
    wait_until(lambda: states(hyperfill, path)["run"] == "running", what="the run")
    wait_until(lambda: target.value("SELECT count(*) FROM pg_locks WHERE relation = 'cpu'::regclass AND NOT granted") > 0, what="COPY")
    running.signal(signal.SIGINT)
    running.signal(signal.SIGINT)
    time.sleep(0.1)
    holder.rollback()
    stopped = running.wait()
    if stopped.status == 0:
        pytest.skip("it was done before the signal came")
    assert stopped.status == 7 and f"stopped in step run; go on: hyperfill migrate --file {path}" in stopped.stderr
    assert states(hyperfill, path)["run"] == "running"
    migrate(hyperfill, path)
    assert_equal(source, target)


def test_killed_at_any_moment(hyperfill, pair, chance):
    source, target = pair
    make_table(source, target, "other")
    path = job_file(hyperfill, source, target, tables=("cpu", "other"), skip=SKIPPED)
    kills = 0
    for attempt in range(60):
        process = hyperfill.start("migrate", "--file", path, "--yes")
        try:
            ended = process.popen.wait(chance.uniform(0.01, 0.6 + attempt / 20))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
            continue
        result = process.wait()
        assert ended == 0, result
        if "The migration app is done" in result.stdout:
            break
    else:
        raise AssertionError("it did not come to its end")
    print(f"killed {kills} times")
    assert_equal(source, target)
    assert_equal(source, target, "other")
    assert set(states(hyperfill, path).values()) == {"done", "skipped"}


# ---- What is checked first


def findings(hyperfill, path, *more, check=None):
    result = migrate(hyperfill, path, *more, check=check)
    found = {}
    for line in result.stdout.splitlines():
        level, _, rest = line.partition(" ")
        if level not in ("ok", "warning", "problem"):
            break
        name, _, text = rest.strip().partition("  ")
        found[name] = (level, text.strip())
    return found, result


def test_all_is_well(hyperfill, pair):
    found, _ = findings(hyperfill, job_file(hyperfill, *pair), check=2)
    assert list(found) == ["servers", "tables", "timescaledb", "extensions", "privileges", "disk", "replication", "policies",
                           "encodings", "time zones", "clocks", "connections", "locks"]
    assert {name: level for name, (level, _) in found.items() if level != "ok"} == {}, found


def statement(side, text):
    def prepare(source, target):
        {"source": source, "target": target}[side].execute(text)
    return prepare


FAULTS = {
    "read only": ("servers", "problem", "set to read only",
                  lambda s, t: t.execute(f"ALTER DATABASE {t.name} SET default_transaction_read_only = on")),
    "no table in the source": ("tables", "problem", "the source has no table cpu", statement("source", "DROP TABLE cpu")),
    "no table in the target": ("tables", "problem", "the target has no table cpu, and the step schema is skipped",
                               statement("target", "DROP TABLE cpu")),
    "no column": ("tables", "problem", 'the target has no column "extra"', statement("source", "ALTER TABLE cpu ADD extra int")),
    "another type": ("tables", "problem", "the time column is timestamp in the source and timestamptz in the target",
                     statement("source", "ALTER TABLE cpu ALTER time TYPE timestamp")),
    "rows without a time": ("tables", "warning", "rows without a time", statement("source", "ALTER TABLE cpu ALTER time DROP NOT NULL")),
    "no index": ("tables", "warning", "no index leads with",
                 statement("source", "DO $$ DECLARE i regclass; BEGIN FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid ="
                           " 'cpu'::regclass LOOP EXECUTE 'DROP INDEX ' || i; END LOOP; END $$")),
    "another table": ("tables", "warning", "forgotten divided by time, but no part of the job",
                      statement("source", "CREATE TABLE forgotten (time timestamptz) PARTITION BY RANGE (time)")),
    "no extension": ("extensions", "warning", "hstore has to be made in the target", statement("source", "CREATE EXTENSION hstore")),
    "row-level security": ("privileges", "problem", "row-level security of cpu hides rows",
                           lambda s, t: (s.execute("ALTER TABLE cpu ENABLE ROW LEVEL SECURITY; GRANT SELECT ON cpu TO reader"))),
    "published": ("replication", "problem", "the target publishes deletes of cpu", statement("target", "CREATE PUBLICATION p FOR TABLE cpu")),
    "publishing": ("replication", "warning", "the source publishes cpu", statement("source", "CREATE PUBLICATION p FOR TABLE cpu")),
    "time zone": ("time zones", "warning", "Asia/Tokyo in the source",
                  lambda s, t: s.execute(f"ALTER DATABASE {s.name} SET timezone = 'Asia/Tokyo'")),
}


def with_role(database, name):
    """The same database as another role."""
    database.execute(f"DO $$ BEGIN CREATE ROLE {name} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    other = Database(database.server, database.name)
    parameters = {**database.server.parameters, "user": name, "dbname": database.name}
    return type("As", (), {"conninfo": psycopg2.extensions.make_dsn(**parameters), "database": other})


@pytest.mark.parametrize("fault", FAULTS)
def test_finds(hyperfill, sides, fault):
    source, target = sides
    check, level, text, prepare = FAULTS[fault]
    reading = with_role(source, "reader") if fault == "row-level security" else source
    prepare(source, target)
    found, result = findings(hyperfill, job_file(hyperfill, reading, target))
    assert found[check][0] == level and text in found[check][1], found
    assert result.status == (4 if level == "problem" else 2)
    if level == "problem":
        assert "1 problem has to be put right first; nothing was changed" in result.stderr
        # A problem stops, whatever is agreed to; unless the checks are left out.
        assert findings(hyperfill, job_file(hyperfill, reading, target), "--yes")[1].status == 4
    assert target.value("SELECT to_regnamespace('hyperfill')") is None


def test_finds_missing_rights(hyperfill, sides):
    source, target = sides
    reader, writer = with_role(source, "reader"), with_role(target, "writer")
    target.execute(f"REVOKE CREATE ON DATABASE {target.name} FROM public")
    found, _ = findings(hyperfill, job_file(hyperfill, reader, writer), check=4)
    assert found["privileges"][0] == "problem"
    for text in ("GRANT SELECT ON cpu TO reader in the source", f"GRANT CREATE ON DATABASE {target.name} TO writer",
                 "GRANT SELECT, INSERT, DELETE ON cpu TO writer in the target"):
        assert text in found["privileges"][1]
    source.execute("GRANT SELECT ON cpu TO reader")
    target.execute(f"GRANT CREATE ON DATABASE {target.name} TO writer; GRANT SELECT, INSERT, DELETE ON cpu TO writer")
    found, _ = findings(hyperfill, job_file(hyperfill, reader, writer), check=2)
    assert found["privileges"][0] == "warning" and "belongs to" in found["privileges"][1]
    # pg_dump would read all tables.
    source.execute("CREATE TABLE secret (a int)")
    found, _ = findings(hyperfill, job_file(hyperfill, reader, writer, skip=[]), check=4)
    assert "pg_dump may not read 1 tables of the source, secret among them" in found["privileges"][1]


def test_finds_the_same_database(hyperfill, sides):
    found, _ = findings(hyperfill, job_file(hyperfill, sides[1], sides[1]), check=4)
    assert found["servers"] == ("problem", "source and target are the same database: name two")


def test_finds_no_timescaledb(hyperfill, sides, servers):
    source, target = sides
    found, _ = findings(hyperfill, job_file(hyperfill, source, servers["pg15"].create_database(), skip=[]), check=4)
    assert found["timescaledb"][0] == "problem" and "has no TimescaleDB" in found["timescaledb"][1]


def test_finds_no_room(hyperfill, sides):
    path = job_file(hyperfill, *sides)
    found, _ = findings(hyperfill, path, "--target-free", "1MB", check=4)
    assert found["disk"][0] == "problem" and "1 MB are free in the target: make room there" in found["disk"][1]
    path = job_file(hyperfill, *sides, more="target_free = 1MB")
    assert findings(hyperfill, path, check=4)[0]["disk"][0] == "problem"


def test_finds_too_few_connections(hyperfill, sides):
    found, _ = findings(hyperfill, job_file(hyperfill, *sides), "--jobs", "200", check=4)
    assert found["connections"][0] == "problem" and "fewer by --jobs, or raise max_connections" in found["connections"][1]


def test_finds_too_few_locks(hyperfill, servers):
    server = servers.another("pg15", max_locks_per_transaction=10, max_connections=20)
    source, target = make_pair(server, servers["ts17"])
    source.execute("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (a int)', i); END LOOP; END $$")
    found, _ = findings(hyperfill, job_file(hyperfill, source, target, skip=["refresh"]), check=4)
    assert found["locks"][0] == "problem" and "make max_locks_per_transaction there" in found["locks"][1]
    # Nobody dumps it when the schema is there.
    assert findings(hyperfill, job_file(hyperfill, source, target), check=2)[0]["locks"][0] == "ok"


def test_finds_another_encoding(hyperfill, sides):
    source, target = sides
    target.server._administrate("CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'", "latin")
    latin = Database(target.server, "latin")
    target.server.databases.append(latin)
    latin.execute("SET client_min_messages = error; CREATE EXTENSION timescaledb")
    create_cpu(latin)
    found, _ = findings(hyperfill, job_file(hyperfill, source, latin), check=4)
    assert found["encodings"][0] == "problem" and "the target is LATIN1" in found["encodings"][1]


def test_finds_jobs_and_editions(hyperfill, servers, community):
    """The community edition as the source of an Apache one, and the other way round with policies of somebody else."""
    plain = servers["pg15"].create_database()
    make_table(plain, community)
    community.execute("ALTER TABLE cpu SET (timescaledb.compress)")
    community.rows("SELECT add_retention_policy('cpu', interval '10 years')")
    target = servers["ts17"].create_database()
    create_cpu(target)
    found, _ = findings(hyperfill, job_file(hyperfill, community, target, skip=["verify"]), check=4)
    assert found["timescaledb"][0] == "problem" and "which the target's edition (Apache) cannot have" in found["timescaledb"][1]
    assert found["policies"][0] == "warning" and "drops rows of cpu in the source" in found["policies"][1]
    found, _ = findings(hyperfill, job_file(hyperfill, plain, community), check=2)
    assert found["policies"][0] == "ok" and "is paused while rows are loaded" in found["policies"][1]
    community.execute("GRANT SELECT, INSERT, DELETE ON cpu TO public")
    writer = with_role(community, f"writer_{os.getpid()}")
    try:
        found, _ = findings(hyperfill, job_file(hyperfill, plain, writer), check=4)
        assert found["policies"][0] == "problem" and "cannot be paused by" in found["policies"][1]
    finally:
        community.execute(f"DROP ROLE writer_{os.getpid()}")


# ---- Job files


def test_file_errors_name_the_line(hyperfill, sides):
    path = job_file(hyperfill, *sides, more="\ntime_colum = t")
    refused = migrate(hyperfill, path, check=2)
    assert f"{path}:6: unknown key time-colum; did you mean time-column?" in refused.stderr
    refused = hyperfill.run("migrate", "--file", "none.ini", check=6)
    assert "cannot open the job file none.ini" in refused.stderr


def test_passwords_stay_hidden(hyperfill, sides):
    path = hyperfill.folder / "app.ini"
    path.write_text("[migration]\nsource = postgres://u:geheim@127.0.0.1:1/app\ntarget = host=127.0.0.1 port=1 password=geheim\n[table cpu]\n")
    path.chmod(0o644)
    refused = migrate(hyperfill, path, check=5)
    assert "there is a password in a file that others may read" in refused.stderr
    assert "geheim" not in refused.stderr + refused.stdout


# ---- What is left in the end


def ledger_tables(target):
    return {row[0] for row in target.rows("SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
                                          " WHERE nspname = 'hyperfill' AND relkind = 'r'")}


def clean(hyperfill, target, *more, table="cpu", check=0):
    return hyperfill.run("clean", "--target", target.conninfo, "--table", table, *more, check=check).stdout


def test_clean_leaves_nothing(hyperfill, servers):
    """Two tables, all steps: with the last job what the steps have noted goes, and the migration's record at last."""
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    for name in ("cpu", "other"):
        source.execute(f"CREATE TABLE {name} (time timestamptz NOT NULL, v int); CREATE INDEX ON {name} (time);"
                       f" INSERT INTO {name} SELECT '2024-03-01 00:00+00'::timestamptz + i * interval '1 min', i FROM generate_series(1, 100) i")
    source.execute("CREATE TABLE plain (a int); INSERT INTO plain VALUES (1)")
    path = hyperfill.folder / "app.ini"
    path.write_text(f"[migration]\nsource = {source.conninfo}\ntarget = {target.conninfo}\njobs = 2\nuntil = {UNTIL}\n"
                    "[table cpu]\nhypertable = time\n[table other]\nhypertable = time\n[steps]\ndual-writes = skip\n")
    migrate(hyperfill, path, "--yes")
    assert {"schema_step", "migration", "job"} <= ledger_tables(target)
    # On its way, by hand, of one table: the others need theirs, and the migration goes on.
    target.execute("CREATE TABLE hyperfill.keep ()")
    kept = clean(hyperfill, target, table="other")
    assert "forgot 1 job" in kept and "kept the record of what is not finished: migration app." in kept
    assert {"schema_step", "migration", "job"} <= ledger_tables(target)
    last = migrate(hyperfill, path, "--continue")
    assert "The migration app is done" in last.stdout
    assert ledger_tables(target) == {"migration", "keep"}
    assert status(hyperfill, path)["done"]
    target.execute("DROP TABLE hyperfill.keep")
    assert "forgot 1 migration that was done" in clean(hyperfill, target)
    assert target.value("SELECT to_regnamespace('hyperfill')") is None
    assert "nothing to forget" in clean(hyperfill, target)


def test_clean_forgets_interrupted_comparisons(hyperfill, sides):
    source, target = sides
    arguments = ["--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL]
    hyperfill.run("run", *arguments, "--overlap", "replace", "--yes")
    # As a verify that was killed has left it, of this table and of another one.
    target.execute("CREATE TABLE hyperfill.verify (id text PRIMARY KEY, table_name text NOT NULL, what text NOT NULL,"
                   " begun timestamptz NOT NULL DEFAULT now()); CREATE TABLE hyperfill.verified (id text NOT NULL, lo bigint NOT NULL,"
                   " hi bigint NOT NULL, rows bigint NOT NULL, found timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, lo));"
                   """ INSERT INTO hyperfill.verify VALUES ('a', '"public"."cpu"', ''), ('b', '"public"."b"', '');"""
                   " INSERT INTO hyperfill.verified VALUES ('a', 1, 2, 3), ('b', 1, 2, 3); CREATE TABLE b (time timestamptz NOT NULL)")
    assert "forgot 1 comparison of" in clean(hyperfill, target)
    assert target.rows("SELECT id FROM hyperfill.verify UNION SELECT id FROM hyperfill.verified") == [("b",)]
    assert ledger_tables(target) == {"verify", "verified"}
    assert "forgot 1 comparison of" in clean(hyperfill, target, table="b")
    assert target.value("SELECT to_regnamespace('hyperfill')") is None


def test_clean_leaves_what_is_needed(hyperfill, sides):
    """Jobs that are not finished keep all; tables of another role are left alone."""
    source, target = sides
    arguments = ["--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL]
    target.execute("ALTER TABLE cpu ADD CHECK (usage_idle < 0) NOT VALID")
    hyperfill.run("run", *arguments, "--overlap", "replace", "--yes", check=3)
    target.execute("CREATE TABLE hyperfill.schema_step (a int); INSERT INTO hyperfill.schema_step VALUES (1)")
    clean(hyperfill, target, check=2)
    assert {"job", "schema_step"} <= ledger_tables(target)
    owner = with_role(target, "stranger")
    target.execute("GRANT ALL ON SCHEMA hyperfill TO stranger; GRANT ALL ON ALL TABLES IN SCHEMA hyperfill TO stranger; REVOKE ALL ON hyperfill.schema_step FROM stranger;"
                   " CREATE TABLE hyperfill.verify (id text, table_name text); CREATE TABLE hyperfill.verified (id text)")
    assert "forgot 1 job" in clean(hyperfill, owner, "--yes")
    assert {"schema_step", "verify", "job"} <= ledger_tables(target)
    clean(hyperfill, target)
    assert target.value("SELECT to_regnamespace('hyperfill')") is None
