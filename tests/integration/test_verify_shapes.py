"""verify compares both sides in whatever form they keep their rows: shapes, types of the time column, columnstore, encodings."""

import json

import pytest

from harness import DATA, Database
from harness.verify import UNTIL, Pair, kinds

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
