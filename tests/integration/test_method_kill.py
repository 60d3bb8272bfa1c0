"""Each step of the method, killed and cut off from its servers at random moments: run again, it completes, and nothing shows."""

import io
import json
import subprocess
import threading

import psycopg2
import pytest

import test_completion_point
import test_schema
from harness import Database, Disturbed, wait_until

PAIRS = ("pg15 ts18", "ts17 ts18")

# Time-series tables: what they consist of, their time, the length of a chunk, the completion point, and their rows.
TABLES = {
    "cpu": (
        "time timestamptz NOT NULL, device int, value float8, note text", "time", "interval '1 day'", "2024-03-09 00:00:00+00",
        "SELECT '2024-03-01+00'::timestamptz + n * interval '5 min', n % 7, n / 7.0, nullif('n' || n % 5, 'n3') FROM generate_series(0, 2999) n",
    ),
    "ticks": ("tick bigint NOT NULL, v int", "tick", "1000", "8000", "SELECT n * 10, n FROM generate_series(0, 999) n"),
    '"Odd S"."Log ""Q"""': (
        'at timestamp NOT NULL, "Text" text', "at", "interval '3 days'", "2024-03-06 12:00:00",
        "SELECT '2024-03-01'::timestamp + n * interval '10 min', E'x\\ty' || n FROM generate_series(0, 999) n",
    ),
}  # fmt: skip
TIMES = ("cpu", '"Odd S"."Log ""Q"""')

# All relations of applications and of the ledger by name, those that TimescaleDB names by their number, and indexes that are no use.
RELATIONS = """
    SELECT n.nspname, CASE WHEN n.nspname = '_timescaledb_internal' THEN '' ELSE c.relname END, c.relkind::text, count(*),
        count(*) FILTER (WHERE EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid AND NOT (i.indisvalid AND i.indisready AND i.indislive)))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^(pg_|information_schema$|_timescaledb_(catalog|config|cache))' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
CHUNKS = """
    SELECT k.hypertable_name, range_start, range_end, range_start_integer, range_end_integer,
        (SELECT count(*) FROM pg_index WHERE indrelid = c.oid), (SELECT count(*) FROM pg_trigger WHERE tgrelid = c.oid)
    FROM timescaledb_information.chunks k JOIN pg_class c ON c.relname = k.chunk_name
        AND c.relnamespace = k.chunk_schema::regnamespace ORDER BY 1, 2, 4"""


def picture(database):
    """What a database consists of; a table that was left aside, or a chunk without its indexes, shows."""
    return database.rows(RELATIONS), database.rows(CHUNKS)


def copy_rows(source, target, table, where):
    columns = ", ".join(target.columns(table))
    rows = io.BytesIO()
    source.copy_out(f"COPY (SELECT {columns} FROM {table} WHERE {where}) TO STDOUT", rows)
    rows.seek(0)
    target.copy_in(f"COPY {table} ({columns}) FROM STDIN", rows)


def make_tables(database, tables, hypertables, rows=False):
    for table in tables:
        columns, time, chunk, _, query = TABLES[table]
        database.execute(f'CREATE SCHEMA IF NOT EXISTS "Odd S"; CREATE TABLE {table} ({columns})')
        if hypertables:
            database.rows(f"SELECT create_hypertable(%s, %s, chunk_time_interval => {chunk})", [table, time])
        else:
            database.execute(f"CREATE INDEX ON {table} ({time} DESC)")
        if rows:
            database.execute(f"INSERT INTO {table} {query}")


class Step(Disturbed):
    """A step between a source with tables and a target, which `TABLES` describes."""

    tables = ("cpu",)

    def __init__(self, hyperfill, chance, proxy, source_server, target_server):
        self.source, self.target = source_server.create_database(), target_server.create_database()
        super().__init__(hyperfill, chance, proxy(target_server))
        self.pictured = None

    def sides(self, target):
        return ["--source", self.source.conninfo, "--target", target]

    def bounds(self):
        return [word for table in self.tables for word in ("--table", table, "--until", f"{table}={TABLES[table][3]}")]

    def before(self, table):
        """The part of a table that is loaded."""
        return f"{TABLES[table][1]} < '{TABLES[table][3]}'"

    def check(self):
        for table in self.tables:
            columns = self.source.columns(table)
            assert self.target.fingerprint(table, columns) == self.source.fingerprint(table, columns), table
        now = picture(self.target)
        self.pictured = self.pictured or now
        assert now == self.pictured

    def state(self):
        """Where each row is: it changes when one is written anew."""
        return [self.target.fingerprint(table, ["tableoid", "ctid::text", "xmin::text"]) for table in self.tables]


@pytest.fixture(params=PAIRS)
def step(request, servers, hyperfill, chance, proxy):
    """step(kind) makes one between each pair of servers."""
    source, target = request.param.split()
    return lambda kind: kind(hyperfill, chance, proxy, servers[source], servers[target])


# ---- Schema


def empty_database(server, like):
    """Without the extension."""
    database = Database(server, f"{like.name}_empty")
    server._administrate("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", database.name)
    server.databases.append(database)
    return database


class Schema(Step):
    """From nothing, not even the extension, to all objects of test_schema."""

    def __init__(self, hyperfill, chance, proxy, source_server, target_server):
        self.pair = test_schema.Pair({source_server.kind: source_server, target_server.kind: target_server},
                                     f"{source_server.kind} {target_server.kind}", hyperfill)
        Disturbed.__init__(self, hyperfill, chance, proxy(target_server))
        self.source = self.pair.source
        self.source_dump = test_schema.dump(self.pair.folder, self.source)
        self.target = empty_database(target_server, self.pair.target)

    def prepare(self):
        self.target.close()
        self.target.server._administrate("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.target.name)
        self.target.server._administrate("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", self.target.name)

    def command(self, target):
        named = test_schema.NAMED if self.pair.named else ()
        return ["schema", "--source", self.source.conninfo, "--target", target, *named, "--pg-bin", self.pair.folder]

    def check(self):
        test_schema.assert_cloned(self.source_dump, test_schema.dump(self.pair.folder, self.target))
        for table in test_schema.RELATIONAL:
            assert test_schema.rows_of(self.source, table) == test_schema.rows_of(self.target, table), table
        assert self.target.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
        for sequence in ("free", "readings_id_seq", "device_id_seq", '"Other Schema"."Site ""A""_Key_seq"'):
            state = f"SELECT last_value, is_called FROM {sequence}"
            assert self.source.rows(state) == self.target.rows(state), sequence

    def state(self):
        return self.target.rows("SELECT * FROM hyperfill.schema_step ORDER BY source, kind, name")

    def idle(self, result):
        assert result.stdout.startswith("nothing to do"), result


def test_schema_disturbed(step):
    step(Schema).disturb(6)


def test_extension_is_made_by_one_that_was_killed(hyperfill, servers):
    """Its server process is still at that: the next run waits for it."""
    source, target = servers["ts17"].create_database(), empty_database(servers["ts18"], servers["ts18"].create_database())
    clone = ["schema", "--source", source.conninfo, "--target", target.conninfo, "--pg-bin", test_schema.pg_bin("ts17", "ts18")]
    # The first schema that the extension makes is ours, until we give it up.
    holder = target.connect()
    holder.cursor().execute("CREATE SCHEMA _timescaledb_catalog")
    first = hyperfill.start(*clone)
    wait_until(lambda: target.waits_for_locks() == 1 or not first.running, what="CREATE EXTENSION")
    first.kill()
    second = hyperfill.start(*clone)
    wait_until(lambda: target.waits_for_locks() == 2 or not second.running, what="the second one to wait")
    holder.rollback()
    holder.close()
    second.wait(check=0)
    assert target.value("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 1


def test_source_lost_while_its_schema_is_dumped(hyperfill, servers):
    """The words are pg_dump's, but it is the connection that was lost: to be run again."""
    source, target = servers["ts17"].create_database(), servers["ts18"].create_database()
    source.execute("CREATE TABLE held (x int)")
    holder = source.connect()
    holder.cursor().execute("LOCK TABLE held")
    process = hyperfill.start("schema", "--source", source.conninfo, "--target", target.conninfo, "--pg-bin", test_schema.pg_bin("ts17", "ts18"))
    wait_until(lambda: source.waits_for_locks() == 1 or not process.running, what="pg_dump")
    source.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ('hyperfill', 'pg_dump')")
    result = process.wait(check=5)
    assert "run this again when it is back" in result.stderr, result
    holder.close()


# ---- Completion point


class CompletionPoint(Step):
    """It reads, and remembers what it has found in the ledger: what is killed leaves nothing else, and the same point is found."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.pair = test_completion_point.Pair.__new__(test_completion_point.Pair)
        self.pair.type, self.pair.expression = test_completion_point.TYPES["timestamptz"]
        self.pair.source, self.pair.target = self.source, self.target
        for side in (self.source, self.target):
            side.execute("CREATE TABLE m (time timestamptz NOT NULL, device int, value float8, note text); CREATE INDEX ON m (time)")
        self.pair.now = self.source.value(f"SELECT {test_completion_point.NOW}")
        self.pair.fill(self.source, 3000, 1500)
        self.pair.fill_both(1500, 0)
        self.tables = ("m",)
        self.before_it = self.beside_the_ledger()

    def beside_the_ledger(self):
        pictures = [picture(side) for side in (self.source, self.target) if side.server.has_timescaledb]
        return [([row for row in relations if row[0] != "hyperfill"], chunks) for relations, chunks in pictures]

    def prepare(self):
        pass

    def command(self, target):
        options = self.pair.options("--json", "--window", "45m")
        options[options.index("--target") + 1] = target
        return ["completion-point", *options]

    def check(self):
        assert self.beside_the_ledger() == self.before_it
        assert self.target.rows("SELECT * FROM hyperfill.job") == []

    def idle(self, result):
        found = json.loads(result.stdout)
        assert found["result"] == "found" and found["begin_seen"], found
        assert 100 < self.pair.seconds(found["until"]) < 1400, found


def test_completion_point_disturbed(step):
    step(CompletionPoint).disturb(3)


# ---- Run


class Run(Step):
    """Several tables into a target that has dual-written rows, of which those before the completion point are replaced."""

    tables = tuple(TABLES)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        make_tables(self.source, self.tables, self.source.server.has_timescaledb, rows=True)

    def prepare(self):
        self.target.execute('DROP SCHEMA IF EXISTS hyperfill CASCADE; DROP SCHEMA IF EXISTS "Odd S" CASCADE; DROP TABLE IF EXISTS cpu, ticks')
        make_tables(self.target, self.tables, True)
        for table in self.tables:
            time = TABLES[table][1]
            # From the completion point on all that the source has, before it a part of it, and rows that are nowhere else.
            copy_rows(self.source, self.target, table, f"NOT {self.before(table)}")
            copy_rows(self.source, self.target, table, f"{self.before(table)} AND hashtext({time}::text) % 9 = 0")
            self.target.execute(f"INSERT INTO {table} ({time}) SELECT {time} FROM {table} WHERE {self.before(table)} LIMIT 20")

    def command(self, target):
        return ["run", *self.sides(target), *self.bounds(), "--overlap", "replace", "--yes", "--jobs", "2", "--progress", "none"]

    def check(self):
        super().check()
        assert self.target.rows("SELECT count(*), bool_and(finished IS NOT NULL) FROM hyperfill.job") == [(len(self.tables), True)]


def test_run_disturbed(step):
    step(Run).disturb(6)


class Late(Run):
    """Rows that came late, in two tables that are loaded."""

    tables = TIMES

    def __init__(self, *arguments):
        super().__init__(*arguments)
        Run.prepare(self)
        self.hyperfill.run(*Run.command(self, self.target.conninfo))

    def begin(self):
        self.prepare()

    def prepare(self):
        for table in self.tables:
            time = TABLES[table][1]
            # What the source has, and the target does not, was late; and the other way round.
            self.target.execute(
                f"DELETE FROM {table} WHERE {self.before(table)} AND extract(hour FROM {time}) IN (3, 22);"
                f" INSERT INTO {table} SELECT * FROM {table} WHERE {self.before(table)} AND extract(hour FROM {time}) = 11"
            )

    def command(self, target):
        return [*super().command(target), "--late", "4 days"]

    def check(self):
        for table in self.tables:
            time, until = TABLES[table][1], TABLES[table][3]
            window = f"{time} >= '{until}'::timestamp - interval '4 days' AND {time} < '{until}'"
            # Of what is older nothing was asked.
            assert self.target.fingerprint(table, where=window) == self.source.fingerprint(table, where=window), table
            rest = f"{time} >= '{until}'"
            assert self.target.fingerprint(table, where=rest) == self.source.fingerprint(table, where=rest), table

    def idle(self, result):
        assert result.stderr.count("no row had come late") == 2, result


def test_late_disturbed(step):
    step(Late).disturb(5)


# ---- Verify


class Verify(Step):
    """Of equal rows: nothing is written."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        make_tables(self.source, self.tables, self.source.server.has_timescaledb, rows=True)
        make_tables(self.target, self.tables, True)
        self.hyperfill.run("run", *self.sides(self.target.conninfo), *self.bounds(), "--progress", "none")
        copy_rows(self.source, self.target, "cpu", f"NOT {self.before('cpu')}")
        self.loaded = self.state()
        self.pictured = picture(self.target)

    def begin(self):
        self.prepare()

    def prepare(self):
        pass

    def command(self, target):
        return ["verify", *self.sides(target), "--table", "cpu", "--until", TABLES["cpu"][3], "--json", "--jobs", "2", "--range-interval", "6h"]

    def check(self):
        super().check()
        assert self.state() == self.loaded

    def idle(self, result):
        found = json.loads(result.stdout)
        assert found["equal"] and found["differences"] == [] and found["ranges_before"] == 0, found


def test_verify_disturbed(step):
    step(Verify).disturb(6)


class Repair(Verify):
    """Rows missing, doubled and changed by hand."""

    def prepare(self):
        self.target.execute(
            "DELETE FROM cpu WHERE extract(hour FROM time) = 7; UPDATE cpu SET value = -1, note = 'by hand' WHERE extract(hour FROM time) = 15;"
            " INSERT INTO cpu SELECT * FROM cpu WHERE extract(hour FROM time) = 11"
        )
        # What lies behind is nobody's business.
        self.target.execute(f"DELETE FROM cpu WHERE NOT {self.before('cpu')}")
        copy_rows(self.source, self.target, "cpu", f"NOT {self.before('cpu')}")

    def command(self, target):
        return [*super().command(target), "--repair"]

    def check(self):
        Step.check(self)


def test_repair_disturbed(step):
    step(Repair).disturb(6)


# ---- Policies, refresh


def switched(database):
    """Which jobs are on, and which of them the ledger has paused."""
    jobs = database.rows("SELECT job_id, scheduled FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1")
    if database.value("SELECT to_regclass('hyperfill.policy')") is None:
        return jobs, [], []
    return jobs, *(
        [number for (number,) in database.rows(f"SELECT job_id FROM hyperfill.{table} ORDER BY 1")] for table in ("policy", "policy_hold")
    )


class OfCommunity(Step):
    """The target is a hypertable with policies of all kinds, one of which was off before, and continuous aggregates."""

    def __init__(self, hyperfill, chance, proxy, source_server, community):
        self.source, self.target = source_server.create_database(), community
        Disturbed.__init__(self, hyperfill, chance, proxy(community.server))
        make_tables(self.source, self.tables, False, rows=True)
        make_tables(community, self.tables, True)
        community.execute("ALTER TABLE cpu SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')")
        self.make_aggregates()
        community.execute(
            "SELECT add_retention_policy('cpu', interval '100 years', initial_start => 'infinity');"
            " SELECT alter_job(add_compression_policy('cpu', interval '90 years', initial_start => 'infinity'), scheduled => false);"
            " SELECT add_continuous_aggregate_policy('hours', NULL, interval '1 hour', interval '1 day', initial_start => 'infinity');"
            " SELECT add_continuous_aggregate_policy('days', NULL, interval '1 day', interval '1 day', initial_start => 'infinity')"
        )
        self.switched = switched(community)
        self.on = [number for number, on in self.switched[0] if on]
        assert len(self.switched[0]) == 4 and len(self.on) == 3 and self.switched[1:] == ([], [])
        self.pictured = None

    def make_aggregates(self):
        for name, bucket, value, table in (("hours", "time_bucket('1 hour', time)", "count(*)", "cpu"), ("days", "time_bucket('1 day', bucket)", "sum(n)", "hours")):
            self.target.execute(f"CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
                                f" SELECT {bucket} AS bucket, {value} AS n FROM {table} GROUP BY 1 WITH NO DATA")

    def restore(self):
        self.hyperfill.run("policies", "restore", "--target", self.target.conninfo, "--table", "cpu")

    def load(self):
        self.hyperfill.run("run", *self.sides(self.target.conninfo), *self.bounds(), "--progress", "none")


@pytest.fixture
def community_step(servers, community, hyperfill, chance, proxy):
    return lambda kind: kind(hyperfill, chance, proxy, servers["pg15"], community)


class Pause(OfCommunity):
    def prepare(self):
        self.restore()

    def command(self, target):
        return ["policies", "pause", "--target", target, "--table", "cpu"]

    def check(self):
        assert switched(self.target) == ([(number, False) for number, _ in self.switched[0]], self.on, self.on)

    def state(self):
        return self.target.rows("SELECT p.*, h.* FROM hyperfill.policy p JOIN hyperfill.policy_hold h USING (job_id) ORDER BY 1")


def test_pause_disturbed(community_step):
    step = community_step(Pause)
    step.disturb(6)
    # What was off before stays so.
    step.restore()
    assert switched(step.target) == step.switched


class Restore(OfCommunity):
    def prepare(self):
        self.hyperfill.run("policies", "pause", "--target", self.target.conninfo, "--table", "cpu")
        if self.chance.random() < 0.5:
            # As a run leaves them that was killed.
            self.target.execute("UPDATE hyperfill.policy_hold SET key = 77, holder = 'killed'")

    def command(self, target):
        return ["policies", "restore", "--target", target, "--table", "cpu"]

    def check(self):
        assert switched(self.target) == self.switched

    def state(self):
        return switched(self.target)

    def idle(self, result):
        assert result.stdout.startswith("0 policies"), result


def test_restore_disturbed(community_step):
    community_step(Restore).disturb(6)


class RunPausing(OfCommunity):
    """A run that pauses policies: however often it is killed, they are as they were in the end."""

    def prepare(self):
        self.target.execute("DROP SCHEMA IF EXISTS hyperfill CASCADE; TRUNCATE cpu")
        copy_rows(self.source, self.target, "cpu", f"NOT {self.before('cpu')}")

    def command(self, target):
        return ["run", *self.sides(target), *self.bounds(), "--overlap", "replace", "--yes", "--jobs", "2", "--progress", "none"]

    def check(self):
        assert self.target.fingerprint("cpu") == self.source.fingerprint("cpu")
        assert switched(self.target) == self.switched


def test_run_that_pauses_disturbed(community_step):
    community_step(RunPausing).disturb(6)


@pytest.mark.parametrize("who", ["run", "restore"])
def test_who_was_killed_just_now(community_step, hyperfill, who):
    """Its server process has not noticed yet, and so it seems to live; there is nobody but this run to restore what it has paused."""
    step = community_step(RunPausing)
    step.prepare()
    step.hyperfill.run(*step.command(step.target.conninfo))
    step.hyperfill.run("policies", "pause", "--target", step.target.conninfo, "--table", "cpu")
    dying = step.target.connect()
    dying.cursor().execute("SELECT pg_advisory_lock(1212566608, 77)")
    step.target.execute("UPDATE hyperfill.policy_hold SET key = 77, holder = 'killed'")
    process = hyperfill.start(*(step.command(step.target.conninfo) if who == "run" else Restore.command(step, step.target.conninfo)))
    wait_until(lambda: step.target.waits_for_locks() or not process.running, what="a wait for its end")
    dying.close()
    process.wait(check=0)
    assert switched(step.target) == step.switched


class Refresh(OfCommunity):
    """Two aggregates, one over the other, each as its definition says of the rows."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.load()
        self.raw = [self.target.rows(f"SELECT time_bucket('{width}', time), count(*) FROM cpu GROUP BY 1 ORDER BY 1") for width in ("1 hour", "1 day")]

    def begin(self):
        self.prepare()

    def prepare(self):
        self.target.execute("SET client_min_messages = error; DROP MATERIALIZED VIEW days; DROP MATERIALIZED VIEW hours")
        self.make_aggregates()

    def command(self, target):
        return ["refresh", "--target", target, "--table", "cpu"]

    def check(self):
        assert [self.target.rows(f"SELECT bucket, n::bigint FROM {name} ORDER BY 1") for name in ("hours", "days")] == self.raw

    def state(self):
        return self.target.rows("SELECT * FROM hyperfill.refresh ORDER BY aggregate, lo, hi")

    def idle(self, result):
        assert "nothing to refresh" in result.stdout, result


def test_refresh_disturbed(community_step):
    community_step(Refresh).disturb(7)


# ---- Retention


class Retention:
    """The server's own job, as often as it can: whatever is on is run, and shows as running before it looks whether it is on."""

    def __init__(self, database):
        self.database = Database(database.server, database.name)
        self.fired, self.error = 0, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.ended.set()
        self.thread.join()
        self.database.close()
        if self.error is not None and exception[0] is None:
            raise self.error

    def _run(self):
        jobs = self.database.rows("SELECT job_id, application_name FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'")
        try:
            while not self.ended.is_set():
                for number, name in jobs:
                    self.database.rows("SELECT set_config('application_name', %s, false)", [name])
                    self.fired += self._fire(number)
        except Exception as error:
            self.error = error

    def _fire(self, number):
        try:
            self.database.execute(
                f"DO $$ BEGIN IF (SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = {number}) THEN CALL run_job({number});"
                " ELSE PERFORM set_config('hyperfill.fired', 'no', false); END IF; END $$"
            )
            return self.database.value("SELECT set_config('hyperfill.fired', 'yes', false) = 'yes'")
        except psycopg2.errors.OperationalError as error:
            # It waits for a lock as any other, and does not get it at times.
            print(f"retention: {error}")
            return 0


def test_retention_fires_all_the_while(servers, community, hyperfill, chance):
    """Its own job would drop all that is loaded, and is run whenever it is on: before, during and after a run that is killed again and again."""
    source = servers["pg15"].create_database()
    make_tables(source, ["cpu"], False, rows=True)
    make_tables(community, ["cpu"], True)
    community.rows("SELECT add_retention_policy('cpu', interval '30 days', initial_start => 'infinity')")
    community.execute("INSERT INTO cpu (time) VALUES ('2023-03-01+00')")
    until = TABLES["cpu"][3]
    command = ["run", "--source", source.conninfo, "--target", community.conninfo, "--table", "cpu", "--until", until,
               "--jobs", "1", "--range-interval", "6h", "--progress", "none"]
    with Retention(community) as retention:
        wait_until(lambda: community.value("SELECT count(*) FROM cpu") == 0, what="the retention policy")
        loaded = 0
        for _ in range(6):
            process = hyperfill.start(*command)
            if chance.random() < 0.6:
                aim = loaded + chance.uniform(0, 800)
                wait_until(lambda: community.value("SELECT count(*) FROM cpu") > aim or not process.running, what="rows")  # noqa: B023
            else:
                try:
                    process.popen.wait(chance.uniform(0, 0.5))
                except subprocess.TimeoutExpired:
                    pass
            process.kill()
            now = community.value("SELECT count(*) FROM cpu")
            assert now >= loaded
            loaded = now
            if chance.random() < 0.3:
                policies = hyperfill.run("policies", "restore", "--target", community.conninfo, "--table", "cpu")
                print(policies.stdout + policies.stderr)
        hyperfill.run(*command)
        assert community.fingerprint("cpu") == source.fingerprint("cpu", where=f"time < '{until}'")
        # Once more by hand, as its jobs are: nothing that is on may take it.
        fired = retention.fired
        hyperfill.run(*command)
        assert community.fingerprint("cpu") == source.fingerprint("cpu", where=f"time < '{until}'")
        print(f"{loaded} rows after the kills, retention ran {fired} times")
        # It would have.
        hyperfill.run("policies", "restore", "--target", community.conninfo, "--table", "cpu", "--allow-drop")
        wait_until(lambda: community.value("SELECT count(*) FROM cpu") == 0, what="the retention policy")


# ---- Migrate


class Migrate(Step):
    """From an empty target up to where dual writes are to begin."""

    tables = ("cpu", "other")
    continues = ()

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.source.execute(
            "CREATE TABLE device (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);"
            " INSERT INTO device (name) SELECT 'd' || i FROM generate_series(1, 10) i"
        )
        for table in self.tables:
            self.source.execute(f"CREATE TABLE {table} (time timestamptz NOT NULL, device int REFERENCES device, v float8); CREATE INDEX ON {table} (time)")
            if self.source.server.has_timescaledb:
                self.source.rows("SELECT create_hypertable(%s, 'time', create_default_indexes => false)", [table])
            # The last of them are written while the target is written to as well.
            self.source.execute(f"INSERT INTO {table} SELECT now() - i * interval '10 s', 1 + i % 10, i FROM generate_series(1, 4000) i")
        self.dress()
        self.source.execute("ANALYZE")
        self.file = self.hyperfill.folder / "app.ini"
        self.pg_bin = test_schema.pg_bin(self.source, self.target)

    def dress(self):
        """Gives the source what else it is to have."""

    def prepare(self):
        self.target.close()
        self.target.server._administrate("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.target.name)
        self.target.server._administrate(f"CREATE DATABASE {{}} TEMPLATE {self.target.server._template()}", self.target.name)

    def command(self, target):
        self.file.write_text(
            f"[migration]\nname = app\nsource = {self.source.conninfo}\ntarget = {target}\njobs = 2\nwindow = 60 min\nwatch = 1\nlate = 1 day\npg_bin = {self.pg_bin}\n"
            + "".join(f"[table {table}]\ntime_column = time\n" for table in self.tables) + "[steps]\nswitch-over = skip\n"
        )  # fmt: skip
        # A yes to the plan would be one to the dual writes as well, once it is begun.
        begun = self.target.value("SELECT to_regclass('hyperfill.migration')") and self.target.value("SELECT count(*) FROM hyperfill.migration")
        return ["migrate", "--file", self.file, *(self.continues if begun else ["--yes"])]

    def way(self):
        steps = json.loads(self.hyperfill.run("migrate", "status", "--file", self.file, "--json").stdout)["steps"]
        return {step["step"]: step["state"] for step in steps}

    def check(self):
        way = self.way()
        assert way["dual-writes"] == "waiting" and way["schema"] == "done"
        assert self.target.rows("SELECT * FROM device ORDER BY 1") == self.source.rows("SELECT * FROM device ORDER BY 1")
        assert self.target.rows("SELECT last_value, is_called FROM device_id_seq") == [(10, True)]
        assert sorted(name for (name,) in self.target.rows("SELECT hypertable_name FROM timescaledb_information.hypertables")) == sorted(self.tables)
        assert all(self.target.value(f"SELECT count(*) FROM {table}") == 0 for table in self.tables)


class MigrateToTheEnd(Migrate):
    """From there, when both sides have been written to for a while, to the end."""

    continues = ("--continue",)

    def prepare(self):
        super().prepare()
        self.hyperfill.run(*self.command(self.target.conninfo))
        for table in self.tables:
            copy_rows(self.source, self.target, table, "time > now() - interval '40 min'")

    def check(self):
        assert set(self.way().values()) == {"done", "skipped"}
        for table in (*self.tables, "device"):
            assert self.target.fingerprint(table) == self.source.fingerprint(table), table
        relations = self.target.rows(RELATIONS)
        assert [row[1] for row in relations if row[0] == "hyperfill" and row[2] == "r"] == ["migration"]
        assert all(broken == 0 for *_, broken in relations)
        # Chunks, which begin and end by the clock, have their indexes all the same.
        chunks = {(row[0], row[5:]) for row in self.target.rows(CHUNKS)}
        assert len(chunks) == len({name for name, _ in chunks}) >= len(self.tables), chunks

    def idle(self, result):
        assert "The migration app is done" in result.stdout, result


def test_migrate_up_to_dual_writes_disturbed(servers, hyperfill, chance, proxy):
    source, target = chance.choice(PAIRS).split()
    Migrate(hyperfill, chance, proxy, servers[source], servers[target]).disturb(5)


def test_migrate_disturbed(step):
    step(MigrateToTheEnd).disturb(6)


def test_migrate_waits_for_one_that_was_killed_just_now(servers, hyperfill, chance, proxy):
    """Its server process has not noticed yet that it is alone."""
    step = Migrate(hyperfill, chance, proxy, servers["pg15"], servers["ts18"])
    step.prepare()
    hyperfill.run(*step.command(step.target.conninfo))
    dying = step.target.connect()
    dying.cursor().execute("SELECT pg_advisory_lock(hashtextextended('\"hyperfill\".migration app', 0))")
    process = hyperfill.start(*step.command(step.target.conninfo))
    wait_until(lambda: step.target.waits_for_locks() or not process.running, what="a wait for its end")
    dying.close()
    process.wait(check=0)


class MigrateCommunity(MigrateToTheEnd):
    """Policies and aggregates, too: none is left paused, and all are refreshed."""

    jobs = "SELECT proc_name, scheduled FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1"

    def dress(self):
        self.source.execute(
            "CREATE MATERIALIZED VIEW hours WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
            " SELECT time_bucket('1 hour', time) AS bucket, count(*) AS n FROM cpu GROUP BY 1 WITH NO DATA"
        )
        self.source.execute(
            "ALTER TABLE cpu SET (timescaledb.compress, timescaledb.compress_segmentby = 'device');"
            " SELECT add_retention_policy('cpu', interval '100 years', initial_start => 'infinity');"
            " SELECT alter_job(add_compression_policy('cpu', interval '90 years', initial_start => 'infinity'), scheduled => false);"
            " SELECT add_continuous_aggregate_policy('hours', NULL, interval '1 hour', interval '1 day', initial_start => 'infinity')"
        )

    def check(self):
        super().check()
        assert self.target.rows(self.jobs) == self.source.rows(self.jobs)
        raw = "SELECT time_bucket('1 hour', time) AS bucket, count(*) AS n FROM cpu WHERE time < date_trunc('hour', now() - interval '40 min') GROUP BY 1 ORDER BY 1"
        until = self.target.value("SELECT date_trunc('hour', now() - interval '40 min')")
        assert self.target.rows("SELECT bucket, n FROM hours WHERE bucket < %s ORDER BY 1", [until]) == self.source.rows(raw)


def test_migrate_with_policies_disturbed(community, hyperfill, chance, proxy):
    MigrateCommunity(hyperfill, chance, proxy, community.server, community.server).disturb(5)
