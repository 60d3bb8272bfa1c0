"""Each step of the method, killed and cut off from its servers at random moments: run again, it completes, and nothing shows."""

import io
import json
import re

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
    step(Schema).disturb(7)


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
    """It only reads: what is killed leaves nothing, and the same point is found."""

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
        self.before_it = [picture(side) if side.server.has_timescaledb else None for side in (self.source, self.target)]

    def prepare(self):
        pass

    def command(self, target):
        options = self.pair.options("--json", "--window", "45m")
        options[options.index("--target") + 1] = target
        return ["completion-point", *options]

    def check(self):
        assert [picture(side) if side.server.has_timescaledb else None for side in (self.source, self.target)] == self.before_it

    def idle(self, result):
        found = json.loads(result.stdout)
        assert found["result"] == "found" and found["begin_seen"], found
        assert 100 < self.pair.seconds(found["until"]) < 1400, found


def test_completion_point_disturbed(step):
    step(CompletionPoint).disturb(4)


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
    step(Run).disturb(7)


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
    step(Late).disturb(6)


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
    step(Repair).disturb(7)
