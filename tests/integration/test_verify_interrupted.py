"""verify beside others and over several runs: second looks, kills in the midst, lost connections, repairs at the same time."""

import json
import signal

import pytest

from harness import DATA, STOPPED, wait_until
from harness.verify import WAYS, Pair, kinds


@pytest.fixture(params=WAYS, ids="-".join)
def pair(request, servers, hyperfill):
    return Pair(servers, *request.param, hyperfill)


@pytest.fixture
def one_pair(servers, hyperfill):
    return Pair(servers, "pg15", "ts17", hyperfill)


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


def waits(database, kind):
    return database.value(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = %s AND NOT l.granted AND a.datname = current_database()", [kind]
    )


BESIDE = ("2024-03-10 12:00:05+00", 3, 1.5, "dual")


def spoil_around(pair):
    """What is repaired is one stretch, with the time of BESIDE in it."""
    pair.target.execute("DELETE FROM m WHERE time IN ('2024-03-10 12:00:00+00', '2024-03-10 12:10:00+00')")


def write(connection, columns="time, device, value, note"):
    connection.cursor().execute(f"INSERT INTO m ({columns}) VALUES (%s, %s, %s, %s)", BESIDE)


def assert_whole_beside(pair):
    assert pair.equal()
    assert pair.target.value("SELECT count(*) FROM m WHERE note = 'dual'") == 1
    assert pair.verify()["differences"] == []


def test_repair_beside_a_write_that_comes_to_the_target_later(one_pair):
    """The source has it when it is copied; the target's copy, which no DELETE saw, bars the key until it is committed."""
    pair = one_pair
    spoil_around(pair)
    writer = pair.target.connect()
    write(writer)
    write(source := pair.source.connect())
    source.commit()
    process = pair.hyperfill.start("verify", *pair.options("--repair", "--json"))
    wait_until(lambda: waits(pair.target, "transactionid"), what="a repair that waits for the writer")
    writer.commit()
    result = process.wait(check=0)
    assert "looking again" in result.stderr and json.loads(result.stdout)["equal"], result
    assert_whole_beside(pair)


@pytest.mark.parametrize("key", [True, False], ids=["key", "none"])
def test_repair_beside_a_write_that_comes_to_the_source_later(one_pair, key):
    """The target's row goes as the source does not have it, but has it a moment later."""
    pair = one_pair
    if not key:
        pair.target.execute("ALTER TABLE m DROP CONSTRAINT m_pkey")
    spoil_around(pair)
    write(target := pair.target.connect())
    target.commit()
    writer = pair.source.connect()
    write(writer)
    process = pair.hyperfill.start("verify", *pair.options("--repair", "--json"))
    wait_until(lambda: pair.target.value("SELECT count(*) = 0 FROM m WHERE note = 'dual'"), what="a repair")
    writer.commit()
    assert json.loads(process.wait(check=0).stdout)["equal"]
    assert_whole_beside(pair)


def test_repair_beside_a_write_in_its_midst(one_pair):
    """Without a key nothing bars a row that both the repair and a writer bring: it is seen, and is there once in the end."""
    pair = one_pair
    pair.target.execute(
        "ALTER TABLE m DROP CONSTRAINT m_pkey; CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$;"
        " CREATE TRIGGER slow BEFORE INSERT ON m FOR EACH ROW WHEN (NEW.device = 4) EXECUTE FUNCTION slow()"
    )
    spoil_around(pair)
    write(source := pair.source.connect())
    source.commit()
    blocker = pair.target.connect()
    blocker.cursor().execute("SELECT pg_advisory_lock(7)")
    process = pair.hyperfill.start("verify", *pair.options("--repair", "--json"))
    wait_until(lambda: waits(pair.target, "advisory"), what="a repair in its midst")
    write(target := pair.target.connect())
    target.commit()
    blocker.close()
    assert json.loads(process.wait(check=0).stdout)["equal"]
    assert_whole_beside(pair)
