"""verify: both sides are compared in whatever form they keep their rows, what differs is told, and repaired exactly."""

import json
import re
import signal

import pytest

from harness import Database, wait_until

DATA = 3
STOPPED = 7
UNTIL = "2024-04-01 00:00:00+00"
# Source and target, by kind.
WAYS = (("pg15", "ts17"), ("ts17", "ts18"))


class Pair:
    """A source and a target with the same rows; the target has its columns in another order, and a key."""

    rows = 20000

    def __init__(self, servers, source, target, hyperfill, encoding="UTF8"):
        self.hyperfill = hyperfill
        self.source = servers[source].create_database()
        if encoding == "UTF8":
            self.target = servers[target].create_database()
        self.source.execute(
            "CREATE TABLE m (time timestamptz NOT NULL, device int NOT NULL, value double precision, note text);"
            " INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n / 5 * interval '10 min', n %% 5, n / 7.0,"
            " CASE n %% 3 WHEN 0 THEN 'n' || n WHEN 1 THEN '' END FROM generate_series(0, %s - 1) AS n; CREATE INDEX ON m (time)",
            [self.rows],
        )
        self.target.execute("CREATE TABLE m (note text, value double precision, device int NOT NULL, time timestamptz NOT NULL)")
        self.target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '3 days')")
        self.target.execute("ALTER TABLE m ADD PRIMARY KEY (device, time)")
        self.load()

    def options(self, *more):
        return ["--source", self.source.conninfo, "--target", self.target.conninfo, "--table", "m", "--until", UNTIL, "--progress", "none", *more]

    def load(self):
        self.hyperfill.run("run", *self.options())

    def verify(self, *more, check=None):
        """What it found; the exit status must say the same."""
        result = self.hyperfill.run("verify", *self.options("--json", *more), check=check)
        found = json.loads(result.stdout)
        assert result.status == (0 if found["equal"] else DATA), result
        return found

    def equal(self):
        columns = ["time", "device", "value", "note"]
        return self.source.fingerprint("m", columns) == self.target.fingerprint("m", columns, f"time < '{UNTIL}'")


@pytest.fixture(params=WAYS, ids="-".join)
def pair(request, servers, hyperfill):
    return Pair(servers, *request.param, hyperfill)


@pytest.fixture
def one_pair(servers, hyperfill):
    return Pair(servers, "pg15", "ts17", hyperfill)


def spoil(pair):
    """Each sort of difference, in chunks far from each other; what lies from UNTIL on is nobody's business."""
    pair.target.execute(
        "UPDATE m SET value = -1 WHERE time = '2024-03-02 00:00:00+00' AND device = 3;"
        "UPDATE m SET note = NULL WHERE time = '2024-03-08 00:00:00+00' AND note = '';"
        "DELETE FROM m WHERE time = '2024-03-15 00:10:00+00' AND device = 2;"
        "INSERT INTO m VALUES ('added', 1, 77, '2024-03-15 00:10:00+00');"
        "INSERT INTO m VALUES ('long before', 1, 77, '2023-01-01 00:00:00+00'), ('after', 1, 77, %s)",
        [UNTIL],
    )


def kinds(found):
    return sorted(row["kind"] for difference in found["differences"] for row in difference["rows"])


def test_equal(pair):
    found = pair.verify()
    assert found["equal"] and found["differences"] == [] and found["ranges"] > 5
    assert found["rows_source"] == found["rows_target"] == pair.rows
    text = pair.hyperfill.run("verify", *pair.options()).stdout
    assert "result    equal" in text


def test_found_shown_and_repaired(pair):
    spoil(pair)
    found = pair.verify()
    assert not found["equal"]
    emptied = pair.source.value("SELECT count(*) FROM m WHERE time = '2024-03-08 00:00:00+00' AND note = ''")
    assert emptied > 0
    assert kinds(found) == ["different"] * (1 + emptied) + ["extra", "extra", "missing"]
    first = found["differences"][0]
    assert first["from"].startswith("2023-01-01 00:00:00+00") and first["extra"] == 1 and first["rows_source"] == 0
    row = found["differences"][1]["rows"][0]
    assert row["target"]["value"] == "-1" and row["source"]["value"] != "-1"
    assert {key: row["source"][key] for key in ("device", "note")} == {key: row["target"][key] for key in ("device", "note")}
    text = pair.hyperfill.run("verify", *pair.options(), check=DATA)
    assert re.search(r"different: source +2024-03-02 00:00:00\+00 +3 ", text.stdout), text
    assert re.search(r"extra +2023-01-01 00:00:00\+00 +77 .*long before", text.stdout), text
    assert "--repair" in text.stderr
    repaired = pair.verify("--repair")
    assert repaired["equal"] and all(difference["repaired"] for difference in repaired["differences"])
    assert pair.equal()
    assert pair.verify()["differences"] == []
    assert pair.target.value("SELECT count(*) FROM m WHERE time >= %s", [UNTIL]) == 1


def test_duplicates_count(servers, hyperfill):
    """Twice the same row, twice: a XOR would not see it. Without a key nothing is paired."""
    pair = Pair(servers, "pg15", "ts17", hyperfill)
    pair.target.execute("ALTER TABLE m DROP CONSTRAINT m_pkey")
    for _ in range(2):
        pair.target.execute("INSERT INTO m SELECT * FROM m WHERE time = '2024-03-05 00:00:00+00' AND device = 1 LIMIT 1")
    pair.target.execute("UPDATE m SET value = 0 WHERE time = '2024-03-06 00:00:00+00' AND device = 2")
    found = pair.verify()
    assert kinds(found) == ["extra", "extra", "extra", "missing"]
    assert pair.verify("--repair")["equal"] and pair.equal()


def test_large_difference(one_pair):
    """Whole chunks are gone, and all rows of another differ: shown in part, counted, repaired."""
    pair = one_pair
    pair.target.execute("DELETE FROM m WHERE time >= '2024-03-04+00' AND time < '2024-03-11+00'; UPDATE m SET value = 7 WHERE time >= '2024-03-20+00'")
    found = pair.verify("--examples", "3")
    assert all(len(difference["rows"]) <= 3 for difference in found["differences"])
    gone = pair.source.value("SELECT count(*) FROM m WHERE time >= '2024-03-04+00' AND time < '2024-03-11+00'")
    changed = pair.source.value("SELECT count(*) FROM m WHERE time >= '2024-03-20+00' AND value IS DISTINCT FROM 7")
    assert sum(difference["missing"] for difference in found["differences"]) == gone
    assert sum(difference["different"] for difference in found["differences"]) == changed
    assert pair.verify("--repair", "--jobs", "4")["equal"] and pair.equal()


def test_window(one_pair):
    one_pair.target.execute("DELETE FROM m WHERE time = '2024-03-10 12:00:00+00'")
    assert one_pair.verify("--from", "2024-03-10 12:00:00.000001+00")["equal"]
    assert one_pair.verify("--from", "2024-03-09 00:00:00+00")["differences"][0]["missing"] == 5
    assert one_pair.verify("--columns", "time,device")["differences"][0]["missing"] == 5


def test_columns_that_would_be_lost(one_pair):
    """A repair makes rows anew: one that leaves a column out is refused, and changes nothing."""
    one_pair.target.execute("DELETE FROM m WHERE time = '2024-03-10 12:00:00+00'")
    before = one_pair.target.fingerprint("m")
    result = one_pair.hyperfill.run("verify", *one_pair.options("--columns", "time,device", "--repair"), check=2)
    assert '"note"' in result.stderr or '"value"' in result.stderr
    assert one_pair.target.fingerprint("m") == before


def test_settings_of_roles(one_pair):
    """What a role or a database sets does not matter: zones, date styles, digits, forms of bytea and interval."""
    spoiled = "DO $$ DECLARE s text; BEGIN FOREACH s IN ARRAY ARRAY[{}] LOOP EXECUTE format('ALTER DATABASE %I SET %s', current_database(), s); END LOOP; END $$"
    for database, settings in (
        (one_pair.source, ("timezone = ''America/St_Johns''", "datestyle = ''SQL, DMY''", "extra_float_digits = 0", "intervalstyle = ''sql_standard''")),
        (one_pair.target, ("timezone = ''Asia/Kolkata''", "datestyle = ''German''", "bytea_output = ''escape''")),
    ):
        database.execute(spoiled.format(", ".join(f"'{setting}'" for setting in settings)))
        database.close()
    assert one_pair.verify()["equal"]


def test_reads_only(one_pair):
    """Without --repair nothing is written but what is remembered, and that goes at the end."""
    before = one_pair.target.rows("SELECT relname FROM pg_class ORDER BY 1")
    one_pair.target.execute("DELETE FROM m WHERE time = '2024-03-10 12:00:00+00'")
    one_pair.verify()
    assert one_pair.target.rows("SELECT relname FROM pg_class ORDER BY 1") == before


def test_role_that_may_only_read(one_pair):
    """It compares, and says that it cannot remember."""
    one_pair.target.execute("DROP ROLE IF EXISTS verify_reader; CREATE ROLE verify_reader LOGIN; GRANT SELECT ON m TO verify_reader; REVOKE ALL ON SCHEMA hyperfill FROM PUBLIC")
    conninfo = re.sub(r"user=\S+", "user=verify_reader", one_pair.target.conninfo)
    options = ["--source", one_pair.source.conninfo, "--target", conninfo, "--table", "m", "--until", UNTIL, "--ledger-schema", "nobody"]
    result = one_pair.hyperfill.run("verify", *options, check=0)
    assert "remembered" in result.stderr
    one_pair.target.execute("DROP OWNED BY verify_reader; DROP ROLE verify_reader")


def test_standby_as_source(servers, hyperfill):
    pair = Pair(servers, "pg15", "ts17", hyperfill)
    primary = servers.another("pg15")
    moved = primary.create_database()
    moved.execute("CREATE TABLE m (time timestamptz NOT NULL, device int NOT NULL, value double precision, note text)")
    file = pair.hyperfill.folder / "rows"
    pair.source.copy_out("COPY m TO STDOUT", file)
    moved.copy_in("COPY m FROM STDIN", file)
    standby = primary.standby()
    standby.catch_up(primary)
    pair.source.close()
    options = ["--source", standby.conninfo(moved.name), "--target", pair.target.conninfo, "--table", "m", "--until", UNTIL]
    pair.hyperfill.run("verify", *options, check=0)
    pair.target.execute("DELETE FROM m WHERE time = '2024-03-10 12:00:00+00'")
    pair.hyperfill.run("verify", *options, check=DATA)
    pair.hyperfill.run("verify", *options, "--repair", check=0)


# ---- Looks, interruptions


class Blocked:
    """Whoever reads the values of the source in the last days waits for a lock; to plan is possible."""

    def __init__(self, pair):
        self.pair = pair
        if pair.source.value("SELECT to_regclass('kept')") is None:
            pair.source.execute(
                "ALTER TABLE m RENAME TO kept; CREATE FUNCTION slow(value float8) RETURNS float8 LANGUAGE plpgsql STABLE AS"
                " $$ BEGIN PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7); RETURN value; END $$;"
                " CREATE VIEW m AS SELECT time, device, CASE WHEN time = '2024-03-20+00' THEN slow(value) ELSE value END AS value, note FROM kept"
            )
        self.connection = pair.source.connect()
        self.connection.cursor().execute("SELECT pg_advisory_lock(7)")

    def wait(self):
        wait_until(
            lambda: self.pair.source.value(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            what="a comparison that waits for the lock",
        )

    def release(self):
        self.connection.close()


def test_second_look(one_pair):
    """A row that was on its way when its range was compared is no difference; one that stays away is."""
    rows = one_pair.target.rows("DELETE FROM m WHERE time = '2024-03-02 00:00:00+00' AND device IN (1, 2) RETURNING note, value, device, time")
    blocked = Blocked(one_pair)
    process = one_pair.hyperfill.start("verify", *one_pair.options("--json", "--jobs", "1"))
    blocked.wait()
    one_pair.target.execute("INSERT INTO m VALUES (%s, %s, %s, %s)", rows[0])
    blocked.release()
    found = json.loads(process.wait(check=DATA).stdout)
    assert kinds(found) == ["missing"] and found["differences"][0]["rows"][0]["source"]["device"] == str(rows[1][2])
    one_pair.target.execute("INSERT INTO m VALUES (%s, %s, %s, %s); DELETE FROM m WHERE time = '2024-03-03 00:00:00+00' AND device = 1", rows[1])
    row = one_pair.source.rows("SELECT note, value, device, time FROM m WHERE time = '2024-03-03 00:00:00+00' AND device = 1")[0]
    blocked = Blocked(one_pair)
    process = one_pair.hyperfill.start("verify", *one_pair.options("--json", "--jobs", "1"))
    blocked.wait()
    one_pair.target.execute("INSERT INTO m VALUES (%s, %s, %s, %s)", row)
    blocked.release()
    found = json.loads(process.wait(check=0).stdout)
    assert found["equal"] and found["settled"] == 1


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_resume(one_pair, how):
    """What was found equal is not compared again, until a comparison has come to its end; --afresh compares all."""
    blocked = Blocked(one_pair)
    process = one_pair.hyperfill.start("verify", *one_pair.options("--json", "--jobs", "1"))
    blocked.wait()
    if how == "kill":
        process.kill()
        blocked.release()
    else:
        process.signal(signal.SIGINT)
        blocked.release()
        assert "run the same command again" in process.wait(check=STOPPED).stderr
    before = one_pair.target.value("SELECT count(*) FROM hyperfill.verified")
    assert before >= 1
    found = one_pair.verify()
    assert found["equal"] and found["ranges_before"] == before
    assert one_pair.verify()["ranges_before"] == 0
    assert one_pair.target.value("SELECT to_regclass('hyperfill.verified')") is None


def test_afresh(one_pair):
    blocked = Blocked(one_pair)
    process = one_pair.hyperfill.start("verify", *one_pair.options("--jobs", "1"))
    blocked.wait()
    process.kill()
    blocked.release()
    # In a range that was found equal.
    one_pair.target.execute("DELETE FROM m WHERE time = '2024-03-01 00:00:00+00'")
    found = one_pair.verify("--afresh")
    assert found["ranges_before"] == 0 and found["differences"][0]["missing"] == 5


def test_killed_repair(pair, chance):
    """A repair that is killed at any moment is repeated, and all is as it should be."""
    pair.target.execute("ALTER TABLE m DROP CONSTRAINT m_pkey")
    pair.target.execute("DELETE FROM m WHERE extract(hour FROM time) = 7; INSERT INTO m SELECT * FROM m WHERE extract(hour FROM time) = 11;")
    for _ in range(5):
        process = pair.hyperfill.start("verify", *pair.options("--repair"))
        wait_until(
            lambda: not process.running or pair.target.value("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_advisory_xact_lock|DELETE FROM|COPY .*FROM STDIN' AND pid <> pg_backend_pid()"),
            what="a repair",
        )
        try:
            process.popen.wait(chance.uniform(0, 0.3))
        except Exception:
            process.kill()
    pair.hyperfill.run("verify", *pair.options("--repair"), check=0)
    assert pair.equal()
    assert pair.verify()["equal"]


def test_repairs_at_the_same_time(one_pair):
    """Two that repair the same rows do not load them twice."""
    one_pair.target.execute("ALTER TABLE m DROP CONSTRAINT m_pkey; DELETE FROM m WHERE extract(hour FROM time) IN (3, 4)")
    processes = [one_pair.hyperfill.start("verify", *one_pair.options("--repair")) for _ in range(2)]
    for process in processes:
        process.wait(check=0)
    assert one_pair.equal()


def test_unfinished_job(one_pair):
    """While a job is to load rows there nothing is repaired: they would be there twice."""
    one_pair.target.execute("UPDATE hyperfill.job SET finished = NULL; DELETE FROM m WHERE time = '2024-03-10 12:00:00+00'")
    before = one_pair.target.fingerprint("m")
    result = one_pair.hyperfill.run("verify", *one_pair.options("--repair"), check=2)
    assert "has not finished" in result.stderr
    assert one_pair.target.fingerprint("m") == before


def test_lost_connection(one_pair):
    """A connection that is lost is made again, and the range compared again."""
    blocked = Blocked(one_pair)
    process = one_pair.hyperfill.start("verify", *one_pair.options("--json", "--jobs", "1"))
    blocked.wait()
    one_pair.source.rows(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database()"
    )
    blocked.release()
    result = process.wait(check=0)
    found = json.loads(result.stdout)
    assert "trying again" in result.stderr
    assert found["equal"] and found["rows_source"] == found["rows_target"] == one_pair.rows


# ---- Shapes and times

TIMES = {
    "timestamp": ("timestamp '2024-03-01' + n * interval '10 min'", "2024-04-01 00:00:00", "5 days"),
    "date": ("date '2024-03-01' + n % 25", "2024-04-01", "5 days"),
    "bigint": ("n::bigint * 1000000000000 - 500000000000000", "9000000000000000000", "100000000000000"),
    "smallint": ("(n % 5000 - 2500)::smallint", "30000", "1000"),
}


@pytest.mark.parametrize("shape", ["plain", "hypertable", "partitioned"])
@pytest.mark.parametrize("type_of_time", TIMES)
def test_shapes_and_times(servers, hyperfill, type_of_time, shape):
    """What differs is found to the unit of the time's type, also before the first chunk and behind the last."""
    value, until, step = TIMES[type_of_time]
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    source.execute(f"CREATE TABLE m (at {type_of_time} NOT NULL, n int); INSERT INTO m SELECT {value}, n FROM generate_series(0, 2999) AS n")
    target.execute(f"CREATE TABLE m (n int, at {type_of_time} NOT NULL)" + (" PARTITION BY RANGE (at)" if shape == "partitioned" else ""))
    if shape == "hypertable":
        interval = f"interval '{step}'" if "days" in step else f"{step}::{type_of_time}"
        target.rows(f"SELECT create_hypertable('m', 'at', chunk_time_interval => {interval})")
    if shape == "partitioned":
        middle = source.value("SELECT (percentile_disc(0.5) WITHIN GROUP (ORDER BY at))::text FROM m")
        target.execute(f"CREATE TABLE m_low PARTITION OF m FOR VALUES FROM (MINVALUE) TO ('{middle}'); CREATE TABLE m_high PARTITION OF m FOR VALUES FROM ('{middle}') TO (MAXVALUE)")
    options = ["--source", source.conninfo, "--target", target.conninfo, "--table", "m", "--until", until, "--progress", "none"]
    options += ["--time-column", "at"] if shape == "plain" else []
    hyperfill.run("run", *options)
    hyperfill.run("verify", *options, check=0)
    target.execute("DELETE FROM m WHERE n IN (0, 1499); UPDATE m SET n = -1 WHERE n = 2998; INSERT INTO m SELECT -2, min(at) FROM m")
    found = json.loads(hyperfill.run("verify", *options, "--json", check=DATA).stdout)
    # A date has many rows: those of a day that differ are one stretch.
    assert sum(difference["missing"] for difference in found["differences"]) == 3
    assert sum(difference["extra"] for difference in found["differences"]) == 2
    assert not any(difference["more"] for difference in found["differences"])
    hyperfill.run("verify", *options, "--repair", check=0)
    assert source.rows("SELECT at, n FROM m ORDER BY 1, 2") == target.rows("SELECT at, n FROM m ORDER BY 1, 2")


def test_columnstore(community, servers, hyperfill):
    """Rows of compressed chunks are compared and repaired as any others."""
    source = servers["pg15"].create_database()
    source.execute("CREATE TABLE m (at timestamptz NOT NULL, device int, v float8); INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * interval '1 min', n % 7, n FROM generate_series(0, 9999) AS n")
    community.execute("CREATE TABLE m (at timestamptz NOT NULL, device int, v float8)")
    community.rows("SELECT create_hypertable('m', 'at', chunk_time_interval => interval '1 day')")
    community.execute("ALTER TABLE m SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')")
    options = ["--source", source.conninfo, "--target", community.conninfo, "--table", "m", "--until", UNTIL, "--progress", "none"]
    hyperfill.run("run", *options)
    community.rows("SELECT compress_chunk(c, true) FROM show_chunks('m') AS c")
    hyperfill.run("verify", *options, check=0)
    community.execute("DELETE FROM m WHERE v IN (3000, 3005); UPDATE m SET device = 8 WHERE v = 5000")
    found = json.loads(hyperfill.run("verify", *options, "--json", check=DATA).stdout)
    assert sum(difference["missing"] for difference in found["differences"]) == 3
    hyperfill.run("verify", *options, "--repair", check=0)
    assert source.fingerprint("m") == community.fingerprint("m")


# ---- Values


def test_encodings(servers, hyperfill):
    """Rows of different encodings are hashed here, by their characters."""
    pair = Pair(servers, "pg15", "ts17", hyperfill)
    server = servers["pg15"]
    latin = Database(server, pair.source.name + "_latin")
    server._administrate("CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", latin.name)
    server.databases.append(latin)
    latin.execute("CREATE TABLE m (time timestamptz NOT NULL, device int NOT NULL, value double precision, note text)")
    file = hyperfill.folder / "rows"
    pair.source.copy_out("COPY (SELECT time, device, value, coalesce(note, 'é\\\\\t\n') FROM m) TO STDOUT", file)
    pair.source.close()
    latin.execute("SET client_encoding = 'UTF8'")
    latin.copy_in("COPY m FROM STDIN (ENCODING 'UTF8')", file)
    pair.source = latin
    pair.target.execute("TRUNCATE m; TRUNCATE hyperfill.job, hyperfill.piece")
    (hyperfill.folder / "hyperfill-m.checkpoint").unlink()
    pair.load()
    assert pair.verify()["equal"]
    pair.target.execute("UPDATE m SET note = 'è' WHERE time = '2024-03-10 12:00:00+00' AND device = 3")
    found = pair.verify()
    assert kinds(found) == ["different"] and found["differences"][0]["rows"][0]["target"]["note"] == "è"
    assert pair.verify("--repair")["equal"] and pair.verify()["equal"]


# Every built-in type with a text form, and what its values can be that others might take for equal.
TYPES = {
    "boolean": ["true", "false"],
    "smallint": ["0", "-32768"],
    "integer": ["0", "2147483647"],
    "bigint": ["-9223372036854775808", "1"],
    "real": ["0", "-0", "NaN", "Infinity", "-Infinity", "1.1754944e-38", "0.1"],
    "double precision": ["0", "-0", "NaN", "Infinity", "0.1", "0.30000000000000004", "5e-324"],
    "numeric": ["1.0", "1.00", "NaN", "Infinity", "-Infinity", "0", "1e100", "-0.00001"],
    "numeric(12,3)": ["1.5", "NaN"],
    "money": ["12.34", "-5.00"],
    "text": ["''", "a", "\\t\\n", "é", "ﬀ", "(,)", '"'],
    "varchar(20)": ["", "x "],
    "char(5)": ["", "ab"],
    '"char"': ["a", ""],
    "name": ["n", ""],
    "bytea": ["\\x00ff", ""],
    "json": ['{"a": 1}', '{"a":1}', "[1.0]"],
    "jsonb": ['{"a": 1}', '{"a": 1.0}', '{"b": null, "a": [1, 2]}'],
    "xml": ["<a/>", "<a></a>"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "date": ["2024-02-29", "infinity", "0044-03-15 BC"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["12:00:00+01", "11:00:00+00"],
    "timestamp": ["2024-01-01 00:00:00", "-infinity"],
    "timestamptz": ["2024-07-01 12:00:00+02", "infinity"],
    "interval": ["1 day", "24:00:00", "-1 mon +2 days", "1.5 s"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(4)": ["0101"],
    "bit varying": ["", "1"],
    "tsvector": ["a:1 b:2A", "fat cat"],
    "tsquery": ["a & b", "!a"],
    "point": ["(0,-0)", "(1,2)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(0,0),(1,1)]"],
    "box": ["(2,2),(1,1)"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "circle": ["<(0,0),5>"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "int8range": ["[1,)"],
    "numrange": ["[1.0,1.10]"],
    "tsrange": ["[2024-01-01 00:00,2024-01-02 00:00)"],
    "tstzrange": ["[2024-01-01 00:00+00,)"],
    "daterange": ["[2024-01-01,2024-01-05)"],
    "int4multirange": ["{[1,3),[5,7)}"],
    "tstzmultirange": ["{[2024-01-01 00:00+00,2024-01-02 00:00+00)}"],
    "pg_lsn": ["16/B374D848"],
    "oid": ["4294967295"],
    "xid": ["7"],
    "xid8": ["18446744073709551615"],
    "tid": ["(1,2)"],
    "txid_snapshot": ["10:20:10,14"],
    "jsonpath": ["$.a[*] ? (@ > 1)"],
    "int[]": ["{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}", "{}"],
    "text[]": ['{"",NULL,"NULL"}'],
    "double precision[]": ["{-0,NaN,0.1}"],
    "timestamptz[]": ["{2024-01-01 00:00:00+00}"],
    "interval[]": ["{1 day,24:00:00}"],
    "bytea[]": ['{"\\\\x00"}'],
    "mood": ["sad", "very happy"],
    "mood[]": ['{sad,"very happy"}'],
    "positive": ["1.10", "1.1"],
    "pair": ["(1,)", '(,"a,b")', '(2,"")'],
    "pair[]": ['{"(1,a)"}'],
    "floatrange": ["[0.1,0.2)"],
    'text COLLATE "sloppy"': ["a", "A"],
}
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);"
    " CREATE TYPE pair AS (number int, word text); CREATE TYPE floatrange AS RANGE (subtype = float8);"
    " CREATE COLLATION sloppy (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_types(servers, hyperfill, way):
    """Every value comes out equal, and is told from every other one of its type."""
    source, target = (servers[kind].create_database() for kind in way)
    names = [f"c{number}" for number in range(len(TYPES))]
    for database, order in ((source, names), (target, names[::-1])):
        database.execute(OWN_TYPES)
        columns = ", ".join(f"{name} {list(TYPES)[int(name[1:])]}" for name in order)
        database.execute(f"CREATE TABLE t ({columns}, at timestamptz NOT NULL)")
    target.rows("SELECT create_hypertable('t', 'at')")
    number = 0
    for name, values in zip(names, TYPES.values()):
        for value in values:
            source.execute(f"INSERT INTO t (at, {name}) VALUES ('2024-03-01+00'::timestamptz + %s * interval '1 min', %s)", [number, "" if value == "''" else value])
            number += 1
    source.execute("INSERT INTO t (at) VALUES ('2024-03-03+00')")
    options = ["--source", source.conninfo, "--target", target.conninfo, "--table", "t", "--time-column", "at", "--until", UNTIL, "--progress", "none"]
    hyperfill.run("run", *options)
    hyperfill.run("verify", *options, check=0)
    # Each value becomes the next one of its type, the last one NULL: all are seen.
    number = 0
    for name, values in zip(names, TYPES.values()):
        for value in [*values[1:], None]:
            target.execute(
                f"UPDATE t SET {name} = %s WHERE at = '2024-03-01+00'::timestamptz + %s * interval '1 min'",
                ["" if value == "''" else value, number],
            )
            number += 1
    found = json.loads(hyperfill.run("verify", *options, "--json", "--examples", "10000", check=DATA).stdout)
    seen = {row["source"]["at"] for difference in found["differences"] for row in difference["rows"] if "source" in row}
    assert len(seen) == number, f"{number - len(seen)} were taken for equal"
    hyperfill.run("verify", *options, "--repair", check=0)
    hyperfill.run("verify", *options, check=0)


# ---- CSV


class FromCsv:
    def __init__(self, servers, hyperfill, kind="ts17", *more):
        self.hyperfill = hyperfill
        self.target = servers[kind].create_database()
        self.target.execute("CREATE TABLE m (time timestamptz NOT NULL, device int, value double precision, made timestamptz DEFAULT clock_timestamp())")
        self.target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
        self.files = []
        for number in range(2):
            self.files.append(hyperfill.folder / f"m{number}.csv")
            records = [f"2024-03-0{1 + n // 1000} 00:{n % 60:02}:00+00,{number},{n / 7}" for n in range(4000)]
            self.files[-1].write_text("\n".join(["time,device,value", *records]) + "\n")
        self.more = more

    def options(self, *more):
        sources = [word for file in self.files for word in ("--source", str(file))]
        return [*sources, "--target", self.target.conninfo, "--table", "m", "--progress", "none", *self.more, *more]

    def verify(self, *more, check=None):
        result = self.hyperfill.run("verify", *self.options("--json", *more), check=check)
        found = json.loads(result.stdout)
        assert result.status == (0 if found["equal"] else DATA), result
        return found


@pytest.fixture
def from_csv(servers, hyperfill):
    csv = FromCsv(servers, hyperfill)
    hyperfill.run("run", *csv.options())
    return csv


def test_csv_by_the_ledger(from_csv):
    found = from_csv.verify()
    assert found["equal"] and found["rows_source"] == found["rows_target"] == 8000
    from_csv.target.execute("UPDATE m SET value = 1 WHERE time < '2024-03-02+00'")
    assert from_csv.verify()["equal"], "numbers of rows are the same"
    from_csv.target.execute("DELETE FROM m WHERE time >= '2024-03-03+00' AND time < '2024-03-04+00' AND device = 1")
    from_csv.target.execute("INSERT INTO m SELECT * FROM m WHERE time >= '2024-03-04+00' LIMIT 3")
    found = from_csv.verify()
    assert [(difference["missing"], difference["extra"]) for difference in found["differences"]] == [(1000, 0), (0, 3)]
    assert "does not see" in found["compared"]
    assert "--aside" in from_csv.hyperfill.run("verify", *from_csv.options("--repair"), check=2).stderr


def test_csv_that_was_not_loaded(servers, hyperfill):
    csv = FromCsv(servers, hyperfill)
    result = hyperfill.run("verify", *csv.options(), check=2)
    assert "knows no job" in result.stderr


def test_csv_aside(from_csv):
    """All rows are seen; the copy and its files go; the table's defaults are not compared."""
    assert from_csv.verify("--aside")["equal"]
    from_csv.target.execute("UPDATE m SET value = -1 WHERE time = '2024-03-02 00:30:00+00' AND device = 1")
    changed = from_csv.target.value("SELECT count(*) FROM m WHERE value = -1")
    found = from_csv.verify("--aside")
    assert sum(difference["missing"] for difference in found["differences"]) == changed
    assert from_csv.target.value("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'bench'") == 0
    # Their time of making would be lost.
    assert '"made"' in from_csv.hyperfill.run("verify", *from_csv.options("--aside", "--repair"), check=2).stderr
    from_csv.target.execute("ALTER TABLE m DROP COLUMN made")
    assert from_csv.verify("--aside", "--repair")["equal"]
    assert from_csv.verify("--aside")["differences"] == []


def test_csv_aside_with_bad_rows(servers, hyperfill):
    """What was rejected is no more missing than what was left out for its key."""
    csv = FromCsv(servers, hyperfill, "ts17", "--timezone", "UTC")
    csv.target.execute("ALTER TABLE m DROP COLUMN made")
    with open(csv.files[0], "a", encoding="utf-8") as file:
        file.write("2024-03-02 00:30:00+00,7,many\nno time,8,1\n")
    hyperfill.run("run", *csv.options("--on-bad-row", "reject"), check=8)
    assert csv.verify()["equal"]
    assert csv.verify("--aside")["equal"]
    csv.target.execute("DELETE FROM m WHERE device = 0 AND time = '2024-03-02 00:30:00+00'")
    assert csv.verify("--aside", "--repair")["equal"]
    assert csv.verify("--aside")["differences"] == []
