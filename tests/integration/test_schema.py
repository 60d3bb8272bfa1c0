"""hyperfill schema: what a source consists of, made again in a target; its relational rows; its hypertables."""

import re
import subprocess
import time

import psycopg2
import pytest

from harness import SERVER
from harness.schema import NAMED, PAIRS, RELATIONAL, Pair, assert_cloned, dump, entries, pg_bin, rows_of


@pytest.fixture(params=PAIRS)
def pair(request, servers, hyperfill):
    return Pair(servers, request.param, hyperfill)


DIMENSIONS = (
    "SELECT hypertable_schema, hypertable_name, dimension_number, column_name, time_interval, integer_interval, integer_now_func,"
    " num_partitions FROM timescaledb_information.dimensions ORDER BY 1, 2, 3"
)


def test_round_trip(pair):
    result = pair.clone()
    assert "copied" in result.stdout, result
    pair.assert_cloned()
    if not pair.named:
        assert pair.source.rows(DIMENSIONS) == pair.target.rows(DIMENSIONS)
    intervals = {name: str(every or number) for _, name, place, _, every, number, *_ in pair.target.rows(DIMENSIONS) if place == 1}
    assert intervals == {"readings": "1 day, 0:00:00", 'Log "Q"': "7 days, 0:00:00", "counts": "100"}
    for sequence in ("free", "readings_id_seq", "device_id_seq", '"Other Schema"."Site ""A""_Key_seq"', '"Other Schema"."Log ""Q""_n_seq"'):
        state = f"SELECT last_value, is_called FROM {sequence}"
        assert pair.source.rows(state) == pair.target.rows(state), sequence
    # They work, too.
    pair.target.execute("INSERT INTO device (name) VALUES ('new')")
    assert pair.target.value("SELECT max(id) FROM device") == 21
    pair.target.execute("""INSERT INTO readings ("Time", device) VALUES (now(), 21)""")
    assert pair.target.rows("SELECT id, v, twice, note FROM readings") == [(1235, 1.5, 3.0, "none")]
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        pair.target.execute("""INSERT INTO readings ("Time", device) VALUES (now(), 99)""")


def test_again_changes_nothing(pair):
    pair.clone()
    before = dump(pair.folder, pair.target)
    ledger = pair.target.rows("SELECT * FROM hyperfill.schema_step ORDER BY kind, name")
    result = pair.clone()
    assert result.stdout.startswith("nothing to do"), result
    assert entries(before) == entries(dump(pair.folder, pair.target))
    assert ledger == pair.target.rows("SELECT * FROM hyperfill.schema_step ORDER BY kind, name")
    # What the target has of its own, and what its application wrote, stays as well.
    pair.target.execute("INSERT INTO device (name) VALUES ('new'); CREATE TABLE own (x int); SELECT setval('free', -500), setval('readings_id_seq', 9999)")
    assert pair.clone().stdout.startswith("nothing to do")
    assert pair.target.value("SELECT count(*) FROM device") == 21
    assert pair.target.rows("SELECT (SELECT last_value FROM free), (SELECT last_value FROM readings_id_seq)") == [(-500, 9999)]
    # Sequences follow the source's.
    pair.source.execute("SELECT setval('readings_id_seq', 20000)")
    assert "made 1," in pair.clone().stdout
    assert pair.target.value("SELECT last_value FROM readings_id_seq") == 20000


def test_dry_run(pair):
    before = dump(pair.folder, pair.target)
    result = pair.clone("--dry-run")
    assert entries(before) == entries(dump(pair.folder, pair.target)) == {}
    assert pair.target.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'hyperfill'") == 0
    for wanted in ("CREATE TABLE public.readings", ".create_hypertable(", "-- rows of public.device", "setval('public.readings_id_seq', 1234", "pg_dump"):
        assert wanted in result.stdout, wanted
    # It is a script that can be run.
    done = subprocess.run(
        [f"{pair.folder}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", pair.target.conninfo, "-c", "SET search_path = ''", "-f", "-"],
        input=result.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_cloned(*pair.dumps())


def test_killed_then_again(pair, chance):
    began = time.monotonic()
    pair.clone("--dry-run")
    whole = 3 * (time.monotonic() - began)
    for _ in range(4):
        named = NAMED if pair.named else ()
        process = pair.hyperfill.start("schema", *pair.addresses(), *named, "--pg-bin", pair.folder)
        time.sleep(chance.uniform(0, whole))
        process.kill()
    pair.clone()
    pair.assert_cloned()
    assert pair.clone().stdout.startswith("nothing to do")
    # Each table's rows were copied once, whoever copied them.
    assert pair.target.value("SELECT count(*) FROM hyperfill.schema_step WHERE kind = 'rows'") == len(RELATIONAL)


def test_completes_what_is_missing(pair):
    pair.clone()
    pair.target.execute('DROP INDEX "Partial"; DROP VIEW by_key; ALTER TABLE readings DROP CONSTRAINT readings_device_fkey; DROP TRIGGER touch ON readings')
    # A table that is made again gets its rows and grants again.
    pair.target.execute("DROP TABLE cache")
    pair.target.execute("DROP TABLE readings CASCADE")
    pair.clone()
    pair.assert_cloned()


def test_what_is_equal_without_a_ledger(pair):
    """As somebody's script leaves it, with the rows that it has copied."""
    pair.clone()
    pair.target.execute("DROP SCHEMA hyperfill CASCADE")
    # Of a server of another version it cannot be seen that a view is the same.
    for database in (pair.source, pair.target):
        database.execute('DROP VIEW by_key, "Other Schema".overview; DROP MATERIALIZED VIEW names')
    pair.clone()
    assert pair.clone().stdout.startswith("nothing to do")
    for table in RELATIONAL:
        assert rows_of(pair.source, table) == rows_of(pair.target, table), table


@pytest.mark.parametrize(
    "change, wanted",
    (
        ("ALTER TABLE device ADD COLUMN extra int", "TABLE public.device"),
        ("ALTER TABLE readings ALTER COLUMN v SET DEFAULT 2", "readings"),
        ('DROP INDEX "Partial"; CREATE INDEX "Partial" ON readings (note)', "INDEX public.Partial"),
        ("CREATE OR REPLACE FUNCTION tick_now() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 1::bigint'", "FUNCTION public.tick_now()"),
        ("SELECT set_chunk_time_interval('readings', interval '2 days')", '"readings"'),
        ("DROP VIEW by_key; CREATE VIEW by_key AS SELECT 1 AS x", "VIEW public.by_key"),
    ),
)
def test_what_differs_is_named(servers, hyperfill, change, wanted):
    pair = Pair(servers, PAIRS[0], hyperfill)
    pair.clone()
    pair.target.execute(change)
    before = dump(pair.folder, pair.target)
    result = pair.clone(check=SERVER)
    assert wanted in result.stderr and "target" in result.stderr, result
    assert entries(before) == entries(dump(pair.folder, pair.target))


def test_rows_that_differ_are_named(servers, hyperfill):
    pair = Pair(servers, PAIRS[0], hyperfill)
    pair.clone("--schema-only")
    assert pair.target.value("SELECT count(*) FROM device") == 0
    assert pair.target.rows("SELECT last_value, is_called FROM readings_id_seq") == [(1, False)]
    pair.target.execute("INSERT INTO cache VALUES ('other', NULL)")
    result = pair.clone(check=SERVER)
    assert "public.cache" in result.stderr and "TRUNCATE" in result.stderr, result
    assert rows_of(pair.target, "cache") == ["(other,)"]
    pair.target.execute("TRUNCATE cache")
    pair.clone()
    pair.assert_cloned()


def test_partitions_become_a_hypertable(servers, hyperfill):
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    source.execute(
        """
        CREATE TABLE m (t timestamptz, host text, v int NOT NULL, PRIMARY KEY (t, host)) PARTITION BY RANGE (t);
        CREATE TABLE m_1 PARTITION OF m FOR VALUES FROM ('2024-01-01+00') TO ('2024-02-01+00') PARTITION BY LIST (host);
        CREATE TABLE "m 1 a" PARTITION OF m_1 FOR VALUES IN ('a');
        CREATE TABLE m_rest PARTITION OF m DEFAULT;
        CREATE INDEX m_v ON m (v); CREATE INDEX own ON m_rest (host); COMMENT ON TABLE m IS 'parts'; COMMENT ON TABLE m_rest IS 'rest';
        INSERT INTO m SELECT '2024-01-05+00'::timestamptz + n * interval '1 hour', 'a', n FROM generate_series(1, 100) n;
        INSERT INTO m SELECT '2024-03-05+00'::timestamptz + n * interval '1 hour', 'b', n FROM generate_series(1, 100) n;
        """
    )
    arguments = ("--source", source.conninfo, "--target", target.conninfo)
    clone = ("schema", *arguments, "--hypertable", "m=t,1 month", "--pg-bin", pg_bin("pg15", "ts17"))
    hyperfill.run(*clone)
    assert target.rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')") == [("m",)]
    assert target.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1") == [("m_pkey",), ("m_v",)]
    assert target.rows("SELECT hypertable_name, time_interval::text FROM timescaledb_information.dimensions") == [("m", "30 days")]
    assert target.value("SELECT obj_description('m'::regclass)") == "parts"
    assert hyperfill.run(*clone).stdout.startswith("nothing to do")
    hyperfill.run("run", *arguments, "--table", "m", "--until", "2025-01-01 00:00:00+00")
    assert source.fingerprint("m") == target.fingerprint("m")


def test_then_run(pair):
    pair.clone()
    run = ("run", *pair.addresses(), "--table", "readings", "--until", "2024-06-01 00:00:00+00")
    pair.hyperfill.run(*run, *(("--time-column", "Time") if pair.named else ()))
    # The trigger is at work, and an enum is hashed by a number of its server's.
    columns = [re.sub("^m$", "m::text", column) for column in pair.source.columns("readings") if column != "note"]
    assert pair.target.fingerprint("readings", columns) == pair.source.fingerprint("readings", columns)
    assert pair.target.value("SELECT count(*) FROM readings") == 200
