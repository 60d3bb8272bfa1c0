"""Where dual writing is complete: zones, the completion point, and when there is none yet."""

import datetime
import json
import re
import threading
import time

import psycopg2
import pytest

DATA, USAGE = 3, 2
TYPES = {
    "timestamptz": ("timestamptz", "to_timestamp({s})"),
    "timestamp": ("timestamp", "to_timestamp({s}) AT TIME ZONE 'UTC'"),
    "seconds": ("integer", "({s})::integer"),
    "milliseconds": ("bigint", "(({s}) * 1000::bigint)"),
}
NOW = "floor(extract(epoch from now()))::bigint"


class Pair:
    """Two sides with one table, filled by age: how many seconds before now its rows are."""

    def __init__(self, servers, target="ts17", kind="timestamptz", extra=""):
        self.type, self.expression = TYPES[kind]
        self.source = servers["pg15"].create_database()
        self.target = servers[target].create_database()
        for side in (self.source, self.target):
            side.execute(f"CREATE TABLE m (time {self.type} NOT NULL, device int, value float8, note text{extra}); CREATE INDEX ON m (time)")
        if target.startswith("ts") and self.type == "timestamptz":
            self.target.rows("SELECT create_hypertable('m', 'time')")
        self.now = self.source.value(f"SELECT {NOW}")

    def fill(self, side, oldest, youngest, every=1):
        """A row for each device each second, of ages from oldest down to youngest."""
        moment = self.expression.format(s=f"{self.now} - age")
        side.execute(
            f"INSERT INTO m SELECT {moment}, device, age * 0.1 + device, CASE WHEN age % 3 > 0 THEN 'n' || age END"
            f" FROM generate_series({youngest}, {oldest - 1}, {every}) age, generate_series(1, 2) device"
        )

    def fill_both(self, *ages, **how):
        self.fill(self.source, *ages, **how)
        self.fill(self.target, *ages, **how)

    def options(self, *more):
        watch = [] if "--watch" in more else ["--watch", "1"]
        return ["--source", self.source.conninfo, "--target", self.target.conninfo, "--table", "m", "--time-column", "time", *watch, *more]

    def seconds(self, text):
        """The age of a moment in the column's own spelling, on the server's word."""
        number = {"timestamptz": "extract(epoch from %s::timestamptz)", "timestamp": "extract(epoch from %s::timestamp)"}.get(self.type)
        if number is None:
            return self.now - int(text) / (1000 if self.type == "bigint" else 1)
        return self.now - float(self.source.value(f"SELECT {number}", [text]))


def find(hyperfill, pair, *more, check=0):
    result = hyperfill.run("completion-point", *pair.options("--json", *more), check=check)
    return json.loads(result.stdout)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("target", ["pg15", "ts17", "ts18"])
def test_zones(hyperfill, servers, target, kind):
    """Every type of time; the point lies between the beginning of dual writes and now, and is what run takes."""
    pair = Pair(servers, target, kind)
    pair.fill(pair.source, 5000, 1500)
    pair.fill_both(1500, 0)
    found = find(hyperfill, pair)
    assert found["result"] == "found" and found["type"] == {"integer": "int4", "bigint": "int8"}.get(pair.type, pair.type), found
    begin = pair.seconds(found["consistent"]["from"])
    until = pair.seconds(found["until"])
    assert 1480 <= begin <= 1500, (begin, found)
    assert 100 < until < 1400, (until, found)
    assert found["begin_seen"] and found["missing"]["differ"] >= 20 and found["consistent"]["differ"] == 0
    assert found["missing"]["source_rows"] >= 2 * 200 and found["consistent"]["source_rows"] == found["consistent"]["target_rows"]
    assert set(found["strip"][:20]) == {"<"}
    # A round minute at the least.
    assert until % 1 == 0 and (pair.now - until) % 60 == 0
    plan = hyperfill.run("run", "--source", pair.source.conninfo, "--target", pair.target.conninfo, "--table", "m", "--time-column", "time",
                         "--until", found["until"], "--overlap", "replace", "--yes", *([] if kind.startswith("t") else ["--range-interval", "100000"]))
    assert plan.status == 0
    assert pair.source.fingerprint("m") == pair.target.fingerprint("m")


def test_shown(hyperfill, servers):
    pair = Pair(servers)
    pair.fill(pair.source, 3000, 1500)
    pair.fill_both(1500, 0)
    text = hyperfill.run("completion-point", *pair.options("--window", "1h")).stdout
    assert re.search(r"missing writes .*\n.*consistent .*\n.*late data ", text), text
    assert re.search(r"^  --until '\d{4}-\d\d-\d\d \d\d:\d\d:00\+00'$", text, re.M), text
    assert all(len(line) <= 80 for line in text.splitlines() if re.match(r"\d{4}-\S+ \S+ [<=~.!T]+$", line))
    assert "<<<" in text and "===" in text and "T completion point" in text


def test_dates(hyperfill, servers):
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    for side, days in ((source, 25), (target, 15)):
        side.execute(f"CREATE TABLE m (time date NOT NULL, value int); INSERT INTO m SELECT current_date - n, n FROM generate_series(0, {days}) n")
    result = hyperfill.run("completion-point", "--source", source.conninfo, "--target", target.conninfo, "--table", "m", "--time-column", "time",
                           "--watch", "1", "--json")
    until = datetime.date.fromisoformat(json.loads(result.stdout)["until"])
    today = source.value("SELECT current_date")
    assert 3 <= (today - until).days <= 14, result


def test_numbers_without_unit(hyperfill, servers):
    """Integers that are no time: window and bucket have to be given, in their own unit."""
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    for side, first in ((source, 1), (target, 4001)):
        side.execute(f"CREATE TABLE m (n int NOT NULL, value int); INSERT INTO m SELECT n, n FROM generate_series({first}, 10000) n")
    options = ["completion-point", "--source", source.conninfo, "--target", target.conninfo, "--table", "m", "--time-column", "n", "--watch", "1", "--json"]
    result = hyperfill.run(*options, check=USAGE)
    assert "--window" in result.stderr and "--bucket" in result.stderr, result
    found = json.loads(hyperfill.run(*options, "--window", "9000", "--bucket", "100").stdout)
    assert found["until"] == "8000" and found["consistent"]["from"] == "4100", found


def test_not_begun(hyperfill, servers):
    pair = Pair(servers)
    found = find(hyperfill, pair, check=DATA)
    assert found["result"] == "no rows" and found["until"] is None
    pair.fill(pair.source, 3000, 0)
    result = hyperfill.run("completion-point", *pair.options(), check=DATA)
    assert "dual writes have not begun" in result.stderr, result
    # Rows, but long ago: nothing can be said, and the newest one is told.
    pair.source.execute("DELETE FROM m; INSERT INTO m VALUES ('2020-01-01 00:00+00', 1, 1, '')")
    result = hyperfill.run("completion-point", *pair.options(), check=DATA)
    assert "2020-01-01 00:00:00+00" in result.stderr, result


def test_too_soon(hyperfill, servers):
    """Dual writes are half a minute old: it says when to look again."""
    pair = Pair(servers)
    pair.fill(pair.source, 600, 25)
    pair.fill_both(25, 0)
    result = hyperfill.run("completion-point", *pair.options("--window", "20m"), check=DATA)
    again = re.search(r"look again at (\S+ \S+) \(in", result.stderr)
    assert again, result
    assert -120 < pair.seconds(again.group(1)) < 0


def test_outage(hyperfill, servers):
    """A gap of one side within dual writing: the point is after it, though it was equal before."""
    pair = Pair(servers)
    pair.fill(pair.source, 3000, 0)
    pair.fill(pair.target, 3000, 900)
    pair.fill(pair.target, 800, 0)
    found = find(hyperfill, pair, "--window", "50m")
    assert pair.seconds(found["until"]) < 800 and found["begin_seen"], found
    # One row that is another one does as well.
    pair.target.execute("UPDATE m SET note = 'x' WHERE time = (SELECT max(time) FROM m WHERE time < to_timestamp(%s)) AND device = 1", [pair.now - 400])
    found = find(hyperfill, pair, "--window", "50m")
    assert pair.seconds(found["until"]) < 400 and "!" in found["strip"], found


def test_columns(hyperfill, servers):
    """A serial number that each side draws by itself makes all rows differ, until it is left out."""
    pair = Pair(servers, extra=", id bigserial")
    pair.target.execute("SELECT setval('m_id_seq', 77777)")
    pair.fill_both(3000, 0)
    result = hyperfill.run("completion-point", *pair.options("--window", "30m"), check=DATA)
    assert "--columns" in result.stderr, result
    found = find(hyperfill, pair, "--window", "30m", "--columns", "time,device,value,note")
    assert found["result"] == "found" and not found["begin_seen"]
    result = hyperfill.run("completion-point", *pair.options("--columns", "time,nix"), check=USAGE)
    assert "nix" in result.stderr, result


def test_types_and_encodings(hyperfill, servers):
    """The same rows in wider types, another order of columns and another encoding are equal."""
    source, target = servers["pg15"].create_database(), servers["ts18"].create_database()
    source.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    latin = type(source)(source.server, "latin")
    try:
        latin.execute("CREATE TABLE m (note varchar(20), amount numeric(8,2), time timestamptz NOT NULL, n int, list int[], doc jsonb)")
        target.execute("CREATE TABLE m (time timestamptz NOT NULL, n bigint, amount numeric, note text, list int[], doc jsonb)")
        for side in (latin, target):
            side.execute("INSERT INTO m (time, n, amount, note, list, doc) SELECT now() - s * interval '1 second', s, (s / 4.0)::numeric(8,2),"
                         " U&'\\00fc' || s, ARRAY[s, NULL], jsonb_build_object('b', s, 'a', NULL) FROM generate_series(0, 1) s WHERE false")
        rows = latin.rows("SELECT date_trunc('second', now()) - s * interval '1 second', s FROM generate_series(0, 1500) s")
        for side in (latin, target):
            with side.connect() as connection, connection.cursor() as cursor:
                cursor.executemany("INSERT INTO m (time, n, amount, note, list, doc) VALUES (%s, %s, %s / 4.0, 'ü' || %s, ARRAY[%s, NULL], '{\"b\": 1, \"a\": null}')",
                                   [(moment, s, s, s, s) for moment, s in rows])
        options = ["completion-point", "--source", latin.conninfo, "--target", target.conninfo, "--table", "m", "--time-column", "time", "--watch", "1",
                   "--window", "15m", "--json"]
        # numeric(8,2) keeps zeros that an unconstrained numeric was not given.
        target.execute("UPDATE m SET amount = amount::numeric(8,2)")
        assert json.loads(hyperfill.run(*options).stdout)["result"] == "found"
    finally:
        latin.close()
        source.execute("DROP DATABASE latin WITH (FORCE)")


class Writers(threading.Thread):
    """An application: writes to the source, to both from a moment on, and each row some seconds after its time."""

    def __init__(self, pair, late):
        super().__init__(daemon=True)
        self.pair, self.late = pair, late
        self.ending = threading.Event()
        self.failure = None

    def run(self):
        try:
            sides = [psycopg2.connect(side.conninfo) for side in (self.pair.source, self.pair.target)]
            number = 0
            while not self.ending.wait(0.05):
                number += 1
                row = (time.time() - (self.late if number % 2 else 0), number % 5, number)
                for side in sides:
                    with side, side.cursor() as cursor:
                        cursor.execute("INSERT INTO m VALUES (to_timestamp(%s), %s, %s, 'live')", row)
            for side in sides:
                side.close()
        except Exception as failure:  # the test's thread reports it
            self.failure = failure


def test_live(hyperfill, servers):
    """While an application writes to both, a part of it late: what is still coming is late data, and T is older."""
    pair = Pair(servers)
    pair.fill(pair.source, 3600, 1800)
    pair.fill_both(1800, 5)
    writers = Writers(pair, late=65)
    writers.start()
    try:
        result = hyperfill.run("completion-point", *pair.options("--json", "--watch", "3"))
    finally:
        writers.ending.set()
        writers.join()
    assert writers.failure is None
    found = json.loads(result.stdout)
    assert found["lateness_s"] >= 60 and found["late_rows"] > 0, found
    now = pair.seconds(found["now"])
    assert pair.seconds(found["consistent"]["until"]) - now >= 60 and pair.seconds(found["until"]) - now > 65, found
    assert "~" in found["strip"] and found["begin_seen"]


def wait_for_first_look(pair):
    """No transaction is open between the looks."""
    deadline = time.time() + 30
    while time.time() < deadline and pair.source.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'") < 1:
        time.sleep(0.05)


def test_row_on_its_way(hyperfill, servers):
    """A late row that the target has not yet at the first look is not where dual writing began."""
    pair = Pair(servers)
    pair.fill(pair.source, 3600, 1800)
    pair.fill_both(1800, 0)
    late = [pair.source.value("SELECT to_timestamp(%s)", [pair.now - 300])]
    pair.target.execute("CREATE TABLE late AS SELECT * FROM m WHERE time = %s", late)
    pair.target.execute("DELETE FROM m WHERE time = %s", late)
    process = hyperfill.start("completion-point", *pair.options("--json", "--watch", "5"))
    wait_for_first_look(pair)
    pair.target.execute("INSERT INTO m SELECT * FROM late")
    result = process.wait(timeout=60)
    found = json.loads(result.stdout)
    assert found["begin_seen"] and found["strip"].startswith("<"), result
    assert 1780 <= pair.seconds(found["consistent"]["from"]) <= 1800, result


def test_interrupted(hyperfill, servers):
    pair = Pair(servers)
    pair.fill_both(3000, 0)
    process = hyperfill.start("completion-point", *pair.options("--watch", "1000", "--window", "10m"))
    wait_for_first_look(pair)
    process.signal(2)
    assert process.wait(timeout=30).status == 7


def options_until(pair, until):
    return ["--source", pair.source.conninfo, "--target", pair.target.conninfo, "--table", "m", "--time-column", "time",
            "--until", until, "--overlap", "replace", "--yes"]


def plan_warns(hyperfill, pair, until):
    """What plan says of --until, None if nothing."""
    warned = re.search("^warning .*--until.*", hyperfill.run("plan", *options_until(pair, until)).stdout, re.M)
    return warned and warned.group()


def test_run_warns(hyperfill, servers):
    pair = Pair(servers)
    at = lambda age: pair.source.value("SELECT to_timestamp(%s)::text", [pair.now - age])  # noqa: E731
    pair.fill(pair.source, 4000, 0, every=10)
    assert "dual writes are not seen" in plan_warns(hyperfill, pair, at(2000))
    pair.fill(pair.target, 1000, 0, every=10)
    assert "are not complete" in plan_warns(hyperfill, pair, at(1200))
    assert plan_warns(hyperfill, pair, at(900)) is None
    assert "less than 60 s ago" in plan_warns(hyperfill, pair, pair.source.value("SELECT (now() - interval '5 s')::text"))
    assert "in the future" in plan_warns(hyperfill, pair, at(-50000))
    result = hyperfill.run("run", *options_until(pair, at(1200)))
    assert "completion-point" in result.stderr and "are not complete" in result.stderr, result
    result = hyperfill.run("run", *options_until(pair, at(900)), "--checkpoint", "right")
    assert "completion-point" not in result.stderr, result
    assert pair.source.fingerprint("m") == pair.target.fingerprint("m")
    pair.target.execute("UPDATE m SET value = 0 WHERE time = %s AND device = 1", [at(890)])
    assert "not the same ones" in plan_warns(hyperfill, pair, at(910))


def test_run_knows_what_was_measured(hyperfill, servers):
    """A point less than a minute ago was looked at: no warning; of one that nobody has looked at there is."""
    pair = Pair(servers)
    pair.fill(pair.source, 300, 60)
    pair.fill_both(60, 0)
    late = "less than 60 s ago"
    young = pair.source.value("SELECT to_timestamp(%s)::text", [pair.now - 1])
    assert late in plan_warns(hyperfill, pair, young)
    find(hyperfill, pair, "--window", "300s", "--bucket", "1s")
    # However slow this machine is, as if the zone reached up to now.
    pair.target.execute("UPDATE hyperfill.completion SET zone_hi = zone_hi + 3600 * 1000000::bigint")
    ahead = pair.source.value("SELECT (now() - interval '3 s')::text")
    assert plan_warns(hyperfill, pair, ahead) is None
    result = hyperfill.run("run", *options_until(pair, ahead))
    assert "completion-point" not in result.stderr, result
    assert hyperfill.run("plan", *options_until(pair, ahead), "--ledger-schema", "other").stdout.count(late) == 1
    pair.target.execute("UPDATE hyperfill.completion SET source = source || '2'")
    assert late in plan_warns(hyperfill, pair, pair.source.value("SELECT (now() - interval '3 s')::text"))
    hyperfill.run("clean", "--target", pair.target.conninfo, "--table", "m", "--yes")
    assert pair.target.value("SELECT to_regnamespace('hyperfill')") is None
    # Where no ledger may be made it is found all the same.
    pair.target.execute("DO $$ BEGIN CREATE ROLE looker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON m TO looker")
    arguments = pair.options("--json", "--window", "5m")
    arguments[3] = psycopg2.extensions.make_dsn(arguments[3], user="looker")
    assert json.loads(hyperfill.run("completion-point", *arguments).stdout)["result"] == "found"
    assert pair.target.value("SELECT to_regnamespace('hyperfill')") is None


def test_run_is_silent(hyperfill, servers):
    """Writers that have ended, and what cannot be known quickly."""
    pair = Pair(servers)
    pair.source.execute("INSERT INTO m SELECT '2024-01-01 00:00+00'::timestamptz + n * interval '1 s', n, n, '' FROM generate_series(1, 500) n")
    assert plan_warns(hyperfill, pair, "2024-02-01 00:00+00") is None
    pair.source.execute("DROP INDEX m_time_idx; INSERT INTO m VALUES (now() - interval '1 day', 1, 1, ''), (now() - interval '1 h', 1, 1, '')")
    assert plan_warns(hyperfill, pair, pair.source.value("SELECT (now() - interval '2 h')::text")) is None
