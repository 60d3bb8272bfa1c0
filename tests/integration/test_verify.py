"""verify: what differs between both sides is told, counted and repaired exactly, and nothing else is touched."""

import re

import pytest

from harness import DATA
from harness.verify import UNTIL, WAYS, Pair, kinds


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
