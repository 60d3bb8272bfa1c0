"""Several tables in one job: each exactly, none in the way of the others."""

import json
import os
import pathlib
import re
import signal
import time

import pytest

import harness

USAGE, DATA, SERVER, STOPPED = 2, 3, 4, 7

# Of each: columns, time column, length of a chunk, when it ends, rows. The bound leaves some of them out.
TABLES = {
    "cpu": ("time timestamptz NOT NULL, value float8", "time", "interval '1 day'", "2024-03-06 12:00:00Z"),
    "ticks": ("n bigint NOT NULL, value int", "n", "1000", "7500"),
    '"Odd S"."My=Table"': ('"Ti me" date NOT NULL, "x y" text', "Ti me", "interval '30 days'", "2024-05-01"),
    "other.mem": ("at timestamp NOT NULL, value numeric", "at", "interval '1 day'", "2024-03-03 10:00:00"),
    "small": ("n int NOT NULL, value text", "n", "100", "150"),
}
ROWS = {
    "cpu": "SELECT '2024-03-01Z'::timestamptz + n * interval '10 minutes', n FROM generate_series(0, 999) n",
    "ticks": "SELECT n, n % 7 FROM generate_series(0, 9999) n",
    '"Odd S"."My=Table"': "SELECT '2024-01-01'::date + n, 'x' || n FROM generate_series(0, 299) n",
    "other.mem": "SELECT '2024-03-01'::timestamp + n * interval '1 hour', n / 7.0 FROM generate_series(0, 99) n",
    "small": "SELECT n, NULL FROM generate_series(0, 199) n",
}


PIECES = "hyperfill.piece JOIN hyperfill.job USING (job)"


class Set:
    """The same tables on both sides: ordinary and filled in the source, hypertables in the target."""

    def __init__(self, source, target, tables=tuple(TABLES)):
        self.source, self.target, self.tables = source, target, tables
        for database in (source, target):
            database.execute('CREATE SCHEMA "Odd S"; CREATE SCHEMA other')
        for name in tables:
            columns, column, chunk, _ = TABLES[name]
            for database in (source, target):
                database.execute(f"CREATE TABLE {name} ({columns})")
            source.execute(f'INSERT INTO {name} {ROWS[name]}; CREATE INDEX ON {name} ("{column}"); ANALYZE {name}')
            target.rows(f"SELECT create_hypertable(%s, %s, chunk_time_interval => {chunk})", [name, column])

    def options(self, *more, tables=None):
        named = [option for name in tables or self.tables for option in ("--table", name, "--until", f"{name}={TABLES[name][3]}")]
        return ["--source", self.source.conninfo, "--target", self.target.conninfo, *named, "--progress", "none", *more]

    def expected(self, name):
        return self.source.fingerprint(name, where=f"\"{TABLES[name][1]}\" < '{TABLES[name][3]}'")

    def check(self, tables=None):
        for name in tables or self.tables:
            assert self.target.fingerprint(name) == self.expected(name), name

    def ledger(self):
        return self.target.rows("SELECT table_name, finished IS NOT NULL FROM hyperfill.job ORDER BY 1")


@pytest.fixture
def tables(servers, timescale_server):
    return Set(servers["pg15"].create_database(), timescale_server.create_database())


@pytest.fixture
def some(servers):
    """On one kind of server, for what has nothing to do with it."""
    return Set(servers["ts18"].create_database(), servers["ts18"].create_database())


def status_of(hyperfill, file="hyperfill-tables.checkpoint"):
    return json.loads(hyperfill.run("status", "--checkpoint", file, "--json", check=0).stdout)


# ---- Whole


def test_types_of_time_schemas_and_quotes(tables, hyperfill, tmp_path):
    plan = hyperfill.run("plan", *tables.options(), check=0)
    assert "to do" in plan.stdout and "of 5 tables" in plan.stdout, plan
    # Nothing was touched by looking.
    assert not (tmp_path / "hyperfill-tables.checkpoint").exists()
    assert tables.target.value("SELECT to_regclass('hyperfill.job')") is None
    hyperfill.run("run", *tables.options(), check=0)
    tables.check()
    status = status_of(hyperfill)
    assert status["state"] == "complete" and status["complete"] == 5, status
    assert {table["state"] for table in status["tables"]} == {"complete"}
    assert status["rows"] == sum(tables.expected(name)[0] for name in TABLES)
    assert '"Odd S"."My=Table"' in [table["table"] for table in status["tables"]]
    shown = hyperfill.run("status", "--checkpoint", "hyperfill-tables.checkpoint", check=0).stdout
    assert 'complete    "public"."cpu"' in shown and "5 complete, 0 failed" in shown, shown
    # Once more changes nothing.
    again = hyperfill.run("run", *tables.options(), check=0)
    assert "nothing to load" in again.stderr
    tables.check()


def test_each_stays_a_job_that_can_be_run_alone(some, hyperfill):
    hyperfill.run("run", *some.options(tables=["cpu"]), check=0)
    hyperfill.run("run", *some.options(), check=0)
    some.check()
    alone = hyperfill.run("run", *some.options(tables=["ticks"]), check=0)
    assert "nothing to do" in alone.stderr, alone
    some.check()


def test_bounds_by_type(some, hyperfill):
    """A table takes the bound that its type of time can be."""
    bounds = ["--until", "2024-03-06 12:00:00Z", "--until", "150", "--until", "ticks=7500"]
    sides = ["--source", some.source.conninfo, "--target", some.target.conninfo]
    three = ["--table", "cpu", "--table", "ticks", "--table", "small"]
    hyperfill.run("run", *sides, *three, *bounds, "--progress", "none", check=0)
    some.check(["cpu", "ticks", "small"])
    twice = hyperfill.run("plan", *sides, "--table", "cpu", "--table", "small", "--until", "1", "--until", "2", check=USAGE)
    assert "--until is given twice" in twice.stdout + twice.stderr and "--until small=" in twice.stdout + twice.stderr, twice
    stray = hyperfill.run("plan", *sides, *three, *bounds, "--until", "tricks=1", check=USAGE)
    assert "tricks=1: none of the tables has that name" in stray.stderr, stray


def test_another_name_in_the_source(some, hyperfill):
    some.source.execute("ALTER TABLE ticks RENAME TO \"old=ticks\"")
    options = ["--source", some.source.conninfo, "--target", some.target.conninfo, "--progress", "none"]
    hyperfill.run("run", *options, "--table", '"old=ticks"=ticks', "--until", "ticks=7500", check=0)
    assert some.target.fingerprint("ticks") == some.source.fingerprint('"old=ticks"', where="n < 7500")


# ---- Which tables


def test_filter(tables, hyperfill):
    tables.source.execute("CREATE TABLE nothing (n int); CREATE TABLE other.cpu_names (time timestamptz)")
    bounds = ["--until", "2024-03-06 12:00:00Z", "--until", "2024-03-03 10:00:00"]
    sides = ["--source", tables.source.conninfo, "--target", tables.target.conninfo, "--progress", "none"]
    result = hyperfill.run("run", *sides, "--filter", r"^(public\.cpu|other)", *bounds, check=0)
    tables.check(["cpu", "other.mem"])
    assert tables.ledger() == [('"other"."mem"', True), ('"public"."cpu"', True)], result
    none = hyperfill.run("plan", *sides, "--filter", "^nowhere", *bounds, check=USAGE)
    assert "matches no table" in none.stderr, none
    wrong = hyperfill.run("plan", *sides, "--filter", "(", *bounds, check=USAGE)
    assert "--filter (" in wrong.stderr, wrong
    # What is named as well is meant once.
    both = hyperfill.run("plan", *sides, "--filter", "ticks|small", "--table", "public.ticks", "--until", "150", check=0)
    assert "of 2 tables" in both.stdout, both


def test_filter_takes_hypertables_and_partitioned_tables_of_the_source(servers, hyperfill):
    some = Set(servers["ts17"].create_database(), servers["ts18"].create_database(), ["cpu"])
    some.source.execute("CREATE TABLE h (time timestamptz NOT NULL, v int); CREATE TABLE p (LIKE h) PARTITION BY RANGE (time)")
    some.source.execute("CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TABLE l (LIKE h) PARTITION BY LIST (v)")
    some.source.rows("SELECT create_hypertable('h', 'time')")
    sides = ["--source", some.source.conninfo, "--target", some.target.conninfo]
    plan = hyperfill.run("plan", *sides, "--filter", ".", "--until", "2024-03-06 12:00:00Z", check=SERVER)
    # h and p are meant, though the target has none of them; the others are no time series, or parts of one.
    assert "of 3 tables" in plan.stdout and "public.h" in plan.stdout and "public.p\n" in plan.stdout, plan


def test_refused(some, hyperfill, tmp_path):
    twice = hyperfill.run("run", *some.options(), "--table", "public.cpu", check=USAGE)
    assert '"public"."cpu" of the target is named twice' in twice.stderr, twice
    csv = tmp_path / "some.csv"
    csv.write_text("time,value\n")
    options = ["--target", some.target.conninfo, "--table", "cpu", "--table", "ticks"]
    assert "CSV has the rows of one table" in hyperfill.run("run", "--source", csv, *options, check=USAGE).stderr
    assert "is for a job of one table" in hyperfill.run("run", *some.options("--source-table", "x"), check=USAGE).stderr
    # A file of one table is none of several, and the other way round; both stay as they are.
    hyperfill.run("run", *some.options("--checkpoint", "one", tables=["cpu"]), check=0)
    hyperfill.run("run", *some.options("--checkpoint", "many"), check=0)
    before = [(tmp_path / name).read_bytes() for name in ("one", "many")]
    assert "is of a job of one table" in hyperfill.run("run", *some.options("--checkpoint", "one"), check=USAGE).stderr
    one = hyperfill.run("run", *some.options("--checkpoint", "many", tables=["small"]), check=USAGE)
    assert "is of a job of several tables" in one.stderr, one
    assert before == [(tmp_path / name).read_bytes() for name in ("one", "many")]


# ---- Failing


def test_one_that_fails_does_not_stop_the_others(tables, hyperfill):
    tables.target.execute("ALTER TABLE ticks ADD CONSTRAINT odd CHECK (value <> 3)")
    tables.target.execute("ALTER TABLE other.mem RENAME COLUMN value TO amount; ALTER TABLE other.mem ALTER amount SET NOT NULL")
    tables.target.execute("INSERT INTO small VALUES (3, 'mine')")
    result = hyperfill.run("run", *tables.options("--table", "nowhere"), check=SERVER)
    tables.check(["cpu", '"Odd S"."My=Table"'])
    assert tables.target.fingerprint("small")[0] == 1
    assert "4 of 6 tables are not complete" in result.stderr, result
    end = result.stderr.split("4 of 6 tables are not complete")[1]
    for name, reason in (('"public"."ticks" (data)', "odd"), ('"other"."mem" (usage)', "value"),
                         ('"public"."small" (data)', "already has rows"), ("nowhere (server)", "no table nowhere")):
        assert re.search(re.escape(name) + ".*" + reason, end), result
    states = {table["table"]: table["state"] for table in status_of(hyperfill)["tables"]}
    assert states == {
        '"public"."cpu"': "complete", '"public"."ticks"': "failed", '"Odd S"."My=Table"': "complete",
        '"other"."mem"': "failed", '"public"."small"': "failed", "nowhere": "failed",
    }
    tables.target.execute("ALTER TABLE ticks DROP CONSTRAINT odd; ALTER TABLE other.mem RENAME COLUMN amount TO value; DELETE FROM small")
    hyperfill.run("run", *tables.options(), check=0)
    tables.check()
    assert status_of(hyperfill)["state"] == "complete"


def test_rejects_of_each_in_a_file_of_its_own(some, hyperfill, tmp_path):
    some.target.execute("ALTER TABLE ticks ADD CONSTRAINT odd CHECK (n <> 5)")
    some.target.execute("ALTER TABLE small ADD CONSTRAINT odd CHECK (n NOT IN (7, 8))")
    result = hyperfill.run("run", *some.options("--on-bad-row", "reject"), check=8)
    assert "2 of 5 tables have rejected rows" in result.stderr, result
    assert len((tmp_path / "hyperfill-small.rejects").read_text().splitlines()) == 2
    assert (tmp_path / "hyperfill-ticks.rejects").read_text() == "5,5\n"
    rejects = {table["table"]: table["rejects_open"] for table in status_of(hyperfill)["tables"]}
    assert rejects['"public"."ticks"'] == 1 and rejects['"public"."small"'] == 2 and rejects['"public"."cpu"'] == 0
    some.check(["cpu", "other.mem"])
    # A table's rejects are replayed as those of a job of its own.
    some.target.execute("ALTER TABLE small DROP CONSTRAINT odd")
    before = {table["table"]: table for table in status_of(hyperfill)["tables"]}
    hyperfill.run("replay", *some.options(tables=["small"]), check=0)
    some.check(["small"])
    # The shared file knows at once, of this table alone; and no other file was made.
    after = {table["table"]: table for table in status_of(hyperfill)["tables"]}
    small = '"public"."small"'
    changed = {key: value for key, value in after[small].items() if value != before[small][key]}
    assert {**after, small: 0} == {**before, small: 0} and changed == {"rejects_open": 0, "rejects_replayed": 2}, changed
    assert not (tmp_path / "hyperfill-small.checkpoint").exists()
    # Named, too; and one of other tables is left alone.
    hyperfill.run("replay", *some.options(tables=["small"]), "--checkpoint", "hyperfill-tables.checkpoint", check=0)
    assert {table["table"]: table for table in status_of(hyperfill)["tables"]} == after
    again = hyperfill.run("run", *some.options("--on-bad-row", "reject"), check=8)
    assert "1 of 5 tables have rejected rows" in again.stderr, again


# ---- The set changes


def test_tables_are_added_and_left_out(some, hyperfill):
    hyperfill.run("run", *some.options(tables=["cpu", "small"]), check=0)
    result = hyperfill.run("run", *some.options(tables=["cpu", "ticks", "other.mem"]), check=0)
    assert '"public"."ticks" is new in this job' in result.stderr, result
    assert '"public"."small" is in the checkpoint file' in result.stderr, result
    assert '"public"."cpu" is' not in result.stderr, result
    some.check(["cpu", "ticks", "other.mem", "small"])
    status = status_of(hyperfill)
    assert status["state"] == "complete" and len(status["tables"]) == 4, status


def test_a_table_of_another_job_is_refused_by_name(some, hyperfill):
    hyperfill.run("run", *some.options(tables=["cpu", "small"]), check=0)
    changed = [text.replace("small=150", "small=160") for text in some.options(tables=["cpu", "small"])]
    result = hyperfill.run("run", *changed, check=USAGE)
    assert '"public"."small"' in result.stderr and "until: was 150" in result.stderr and "now 160" in result.stderr, result
    some.check(["cpu", "small"])


@pytest.mark.parametrize("harm", ["deleted", "emptied", "cut", "damaged"])
def test_checkpoint_file_is_rebuilt(some, hyperfill, tmp_path, harm):
    some.target.execute("ALTER TABLE ticks ADD CONSTRAINT odd CHECK (value <> 3 OR n < 3000)")
    hyperfill.run("run", *some.options(), check=DATA)
    some.target.execute("ALTER TABLE ticks DROP CONSTRAINT odd")
    file = tmp_path / "hyperfill-tables.checkpoint"
    content = file.read_bytes()
    if harm == "deleted":
        file.unlink()
    else:
        middle = len(content) // 2
        file.write_bytes({"emptied": b"", "cut": content[:-7], "damaged": content[:middle] + b"x" + content[middle + 1 :]}[harm])
    hyperfill.run("run", *some.options(), check=0)
    some.check()
    assert status_of(hyperfill)["state"] == "complete"


# ---- Killed


def test_killed_and_resumed(tables, hyperfill, chance):
    killed = 0
    for _ in range(6):
        process = hyperfill.start("run", *tables.options("--jobs", "3"))
        pause = chance.uniform(0.05, 0.6)
        deadline = time.monotonic() + pause
        while process.running and time.monotonic() < deadline:
            time.sleep(0.01)
        killed += process.running
        process.kill()
    hyperfill.run("run", *tables.options(), check=0)
    tables.check()
    assert all(finished for _, finished in tables.ledger())
    assert status_of(hyperfill)["state"] == "complete"


def test_killed_while_one_waits(some, hyperfill):
    """What a lock holds up keeps nobody else; killed then, it is resumed."""
    with some.target.connect() as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE ticks IN SHARE MODE")
        process = hyperfill.start("run", *some.options("--jobs", "2"))

        def others_are_in():
            assert process.running, process.stderr
            if some.target.value("SELECT to_regclass('hyperfill.piece')") is None:
                return False
            counts = dict(some.target.rows(f"SELECT table_name, sum(rows)::int FROM {PIECES} GROUP BY 1"))
            return counts.get('"public"."small"') == 150 and counts.get('"other"."mem"') == 58

        harness.wait_until(others_are_in, timeout=60)
        process.kill()
    status = status_of(hyperfill)
    assert status["state"] == "interrupted", status
    hyperfill.run("run", *some.options(), check=0)
    some.check()


def test_stopped_and_resumed(some, hyperfill):
    with some.target.connect() as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE ticks IN SHARE MODE")
        process = hyperfill.start("run", *some.options("--jobs", "2"))
        harness.wait_until(lambda: some.target.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0 or not process.running)
        process.signal(signal.SIGINT)
        harness.wait_until(lambda: "stopping" in process.stderr)
        process.signal(signal.SIGINT)
        result = process.wait(check=STOPPED)
    assert "run the same command again" in result.stderr, result
    assert status_of(hyperfill)["state"] == "stopped"
    hyperfill.run("run", *some.options(), check=0)
    some.check()


# ---- Fairness, progress


def test_a_small_table_does_not_wait_for_a_large_one(some, hyperfill):
    """By the order of commits: with the large table named first, the small one is in long before it."""
    some.source.execute("INSERT INTO ticks SELECT n, 0 FROM generate_series(10000, 59999) n; ANALYZE ticks")
    options = [text.replace("ticks=7500", "ticks=60000") for text in some.options("--jobs", "2", tables=["ticks", "small"])]
    hyperfill.run("run", *options, check=0)
    order = [name for (name,) in some.target.rows(f"SELECT table_name FROM {PIECES} ORDER BY committed")]
    assert order.count('"public"."ticks"') == 60
    last_small = max(at for at, name in enumerate(order) if "small" in name)
    assert last_small < 12, order


def test_events_name_the_tables(some, hyperfill):
    result = hyperfill.run("run", *some.options()[:-2], "--progress", "json", check=0)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    start = next(event for event in events if event["event"] == "start")
    assert start["table"] == "5 tables" and start["ranges_total"] > 5
    ended = {event["table"]: event for event in events if event["event"] == "table"}
    assert len(ended) == 5 and {event["result"] for event in ended.values()} == {"ok"}, events
    summary = next(event for event in events if event["event"] == "summary")
    assert summary["rows"] == sum(event["rows"] for event in ended.values()) == sum(some.expected(name)[0] for name in TABLES)


# ---- Scale


def connections(database):
    """How many of the program's there are."""
    return database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND pid <> pg_backend_pid()"
    )


def of_process(process):
    try:
        return pathlib.Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return ""


def assert_planned_in_time(began):
    """Ten seconds, on a machine that is not busy with other things."""
    busy = max(1.0, os.getloadavg()[0] / os.cpu_count())
    assert time.monotonic() - began < 10 * busy, busy


def test_two_hundred_tables(servers, hyperfill):
    """Planned over two connections a side, in little memory, and loaded by no more connections than --jobs."""
    source, target = servers["ts18"].create_database(), servers["ts18"].create_database()
    make = "DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE m%s (n int NOT NULL, v int)', i); {} END LOOP; END $$"
    fill = "EXECUTE format('INSERT INTO m%s SELECT n, n FROM generate_series(0, 9) n', i);"
    source.execute(make.format(fill))
    target.execute(make.format("EXECUTE format('CREATE INDEX ON m%s (n)', i); PERFORM create_hypertable(format('m%s', i)::regclass, 'n', chunk_time_interval => 5);"))
    sides = ["--source", source.conninfo, "--target", target.conninfo, "--time-column", "n", "--until", "10", "--progress", "none"]
    named = [option for number in range(1, 201) for option in ("--table", f"m{number}")]
    began = time.monotonic()
    process = hyperfill.start("plan", *sides, *named)
    most, peak = 0, 0
    while process.running:
        most = max(most, connections(source), connections(target))
        peak = max(peak, *(int(kilobytes) for kilobytes in re.findall(r"VmHWM:\s+(\d+)", of_process(process)) or [0]))
    plan = process.wait(check=0)
    assert "of 200 tables" in plan.stdout
    assert_planned_in_time(began)
    assert 0 < most <= 2
    assert 0 < peak < 100 * 1024
    run = hyperfill.start("run", *sides, *named, "--jobs", "3", "--readers", "2", "--memory", "64MB")
    most_written = 0
    while run.running:
        most_written = max(most_written, connections(target))
    run.wait(check=0)
    # Those of planning are closed before the first writer opens one.
    assert most_written <= 3
    total = " UNION ALL ".join(f"SELECT count(*) AS c, sum(n) AS s FROM m{number}" for number in range(1, 201))
    assert target.rows(f"SELECT sum(c)::int, sum(s)::int FROM ({total}) x") == [(2000, 9000)]
    assert status_of(hyperfill)["complete"] == 200


def test_few_connections_for_many_tables(servers, hyperfill):
    """Both sides on a server that has not half as many connections as there are tables; late rows are looked for as well."""
    server = servers.another("ts18", max_connections=20)
    source, target = server.create_database(), server.create_database()
    make = "DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE m%s (n int NOT NULL, v int)', i); {} END LOOP; END $$"
    source.execute(make.format("EXECUTE format('INSERT INTO m%s SELECT n, n FROM generate_series(0, 19) n; CREATE INDEX ON m%s (n)', i, i);"))
    target.execute(make.format("PERFORM create_hypertable(format('m%s', i)::regclass, 'n', chunk_time_interval => 10);"))
    arguments = ["--source", source.conninfo, "--target", target.conninfo, "--until", "20", "--late", "5", "--progress", "none",
                 "--jobs", "3", "--readers", "2", "--memory", "64MB", "--time-column", "n",
                 *[option for number in range(1, 61) for option in ("--table", f"m{number}")]]
    run = hyperfill.start("run", *arguments)
    most = {source: 0, target: 0}
    while run.running:
        for side in most:
            most[side] = max(most[side], connections(side))
    run.wait(check=0)
    # Jobs, what they compare for --late, and one that looks; readers likewise.
    assert most[target] <= 3 + 3 and most[source] <= 3 + 3, most
    total = " UNION ALL ".join(f"SELECT count(*) AS c, sum(n) AS s FROM m{number}" for number in range(1, 61))
    assert target.rows(f"SELECT sum(c)::int, sum(s)::int FROM ({total}) x") == [(1200, 11400)]


def test_one_guard_for_the_policies_of_all(servers, community, hyperfill):
    """Policies of each table are paused and restored, over one connection, which is made again when it is lost."""
    source = servers["pg15"].create_database()
    make = "DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE format('CREATE TABLE m%s (n timestamptz NOT NULL, v int)', i); {} END LOOP; END $$"
    source.execute(make.format("EXECUTE format('INSERT INTO m%s SELECT ''2024-03-01Z''::timestamptz + n * interval ''1 h'', n FROM"
                               " generate_series(0, 9) n; CREATE INDEX ON m%s (n)', i, i);"))
    community.execute(make.format("PERFORM create_hypertable(format('m%s', i)::regclass, 'n');"
                                  " PERFORM add_retention_policy(format('m%s', i)::regclass, interval '100 years', initial_start => 'infinity');"))
    on = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' AND scheduled"
    holder = community.connect()
    holder.cursor().execute("LOCK TABLE m7 IN SHARE MODE")
    run = hyperfill.start("run", "--source", source.conninfo, "--target", community.conninfo, "--until", "2024-04-01Z", "--jobs", "2",
                          *[option for number in range(1, 31) for option in ("--table", f"m{number}")])
    harness.wait_until(lambda: not run.running or
                       (run.stderr.count("paused while it is loaded") == 30 and connections(community) <= 2 + 1 + 1), what="the guard")
    assert run.running and community.value(on) == 0, run.result()
    # Jobs, the guard, whoever holds the table.
    assert connections(community) <= 2 + 1 + 1
    guard = ("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1212566608"
             " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
    before = community.value(guard)
    # As if two of them had been restored while the connection was lost.
    community.execute("BEGIN; CREATE TEMP TABLE two AS SELECT job_id FROM hyperfill.policy ORDER BY 1 LIMIT 2; DELETE FROM"
                      " hyperfill.policy_hold WHERE job_id IN (TABLE two); DELETE FROM hyperfill.policy WHERE job_id IN (TABLE two); COMMIT")
    community.rows("SELECT alter_job(job_id, scheduled => true) FROM two")
    assert community.value(on) == 2
    community.rows("SELECT pg_terminate_backend(%s)", [before])
    harness.wait_until(lambda: run.stderr.count("paused again") == 2, what="the guard to come back")
    assert community.value(on) == 0 and community.value(guard) not in (None, before)
    holder.rollback()
    holder.close()
    run.wait(check=0)
    assert community.value(on) == 30
    assert community.value("SELECT count(*) FROM hyperfill.policy") == 0
    assert community.value("SELECT sum(v)::int FROM m7") == 45


def test_five_thousand_chunks(servers, hyperfill):
    source, target = servers["ts18"].create_database(), servers["ts18"].create_database()
    source.execute("CREATE TABLE big (n int NOT NULL, v int); INSERT INTO big SELECT n, n FROM generate_series(0, 4999) n")
    source.execute("CREATE INDEX ON big (n); ANALYZE big")
    target.execute("CREATE TABLE big (n int NOT NULL, v int)")
    target.execute("SELECT create_hypertable('big', 'n', chunk_time_interval => 1, create_default_indexes => false)")
    for first in range(0, 5000, 1000):
        target.execute(f"INSERT INTO big SELECT n, n FROM generate_series({first}, {first + 999}) n")
    target.execute("DELETE FROM big")
    sides = ["--source", source.conninfo, "--target", target.conninfo]
    began = time.monotonic()
    process = hyperfill.start("plan", *sides, "--table", "big=big", "--until", "5000")
    assert process.peak_kilobytes() < 100 * 1024
    plan = process.wait(check=0)
    assert "5000 ranges of 1 table" in plan.stdout, plan
    assert_planned_in_time(began)


# ---- Continuous aggregates


def test_what_an_aggregate_keeps_of_raw_rows_that_are_gone(community, hyperfill):
    """The materialization is a table like others to its owner: loaded up to where the raw rows begin, refreshed from there."""
    source, target = community, community.server.create_database()
    for database in (source, target):
        database.execute("CREATE TABLE raw (time timestamptz NOT NULL, value int)")
        database.rows("SELECT create_hypertable('raw', 'time', chunk_time_interval => interval '1 day')")
        database.execute(
            "CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS SELECT time_bucket('1 day', time) AS day, count(*),"
            " avg(value) FROM raw GROUP BY 1 WITH NO DATA"
        )
    source.execute("INSERT INTO raw SELECT '2024-03-01Z'::timestamptz + n * interval '1 hour', n FROM generate_series(0, 239) n")
    source.execute("CALL refresh_continuous_aggregate('daily', NULL, NULL)")
    source.rows("SELECT drop_chunks('raw', older_than => '2024-03-06Z'::timestamptz)")
    whole = source.fingerprint("daily")
    assert whole[0] == 10
    kept = [
        database.value(
            "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'daily'"
        )
        for database in (source, target)
    ]
    sides = ["--source", source.conninfo, "--target", target.conninfo, "--progress", "none"]
    bounds = ["--until", "raw=2024-03-11 00:00:00Z", "--until", f"{kept[1]}=2024-03-06 00:00:00Z"]
    hyperfill.run("run", *sides, "--table", "raw", "--table", f"{kept[0]}={kept[1]}", *bounds, check=0)
    assert target.fingerprint("raw") == source.fingerprint("raw")
    target.execute("CALL refresh_continuous_aggregate('daily', '2024-03-06Z', '2024-03-11Z')")
    assert target.fingerprint("daily") == whole
