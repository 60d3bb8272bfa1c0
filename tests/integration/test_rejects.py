"""Bad rows: the good ones are loaded exactly once, the bad ones are set aside byte for byte, and loaded once they are mended."""

import csv
import json
import signal
import time

import pytest

DATA, USAGE, REJECTS = 3, 2, 8
HEADER = b"time,device,value,note\n"
COLUMNS = (
    "time timestamptz NOT NULL, device int NOT NULL, value double precision CHECK (value < 1000000), note varchar(40),"
    " UNIQUE (device, time)"
)

# What is wrong -> a record, SQLSTATE and column, as the reasons file tells.
BAD = {
    "text in a number": (b"2024-03-01 10:00:00+00,1,abc,x\n", "22P02", "value"),
    "too few fields": (b"2024-03-01 10:00:01+00,1\n", "22P04", None),
    "too many fields": (b"2024-03-01 10:00:02+00,1,2,x,y\n", "22P04", None),
    "bad time": (b"2024-13-01 10:00:03+00,1,2,x\n", "22007", "time"),
    "NULL time": (b",1,2,x\n", "22007", "time"),
    "infinity": (b"infinity,1,2,x\n", "22007", "time"),
    "no such time": (b"yesterday,1,2,\"two\nlines, \"\"quoted\"\"\"\n", "22007", "time"),
    "out of range": (b"2024-03-01 10:00:04+00,99999999999,2,x\n", "22003", "device"),
    "NOT NULL": (b"2024-03-01 10:00:05+00,,2,x\n", "23502", "device"),
    "CHECK": (b"2024-03-01 10:00:06+00,1,1000001,x\n", "23514", None),
    "too long": (b"2024-03-01 10:00:07+00,1,2,\"" + b"y" * 41 + b"\"\n", "22001", "note"),
    "invalid UTF-8": (b"2024-03-01 10:00:08+00,1,2,\xff\xfe\n", "22021", None),
    "half a character": (b"2024-03-01 10:00:09+00,1,2,caf\xc3\n", "22021", None),
    "NUL byte": (b"2024-03-01 10:00:10+00,1,2,a\0b\n", "22021", None),
    "end of data": (b"\\.\n", "22P04", ""),
    "blank line": (b"\n", "22007", "time"),
}


def good(number, day=1):
    return b"2024-03-%02d %02d:%02d:%02d+00,7,%d,good\n" % (day, number // 3600, number // 60 % 60, number % 60, number)


class Table:
    def __init__(self, database, hyperfill, shape, columns=COLUMNS):
        self.database, self.hyperfill, self.shape = database, hyperfill, shape
        database.execute(f"CREATE TABLE m ({columns})")
        if shape == "hypertable":
            database.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day')")
        self.rejects = hyperfill.folder / "hyperfill-m.rejects"
        self.reasons = hyperfill.folder / "hyperfill-m.rejects.reasons"

    def arguments(self, source="f.csv", *more):
        plain = ["--time-column", "time", "--range-interval", "1d"] if self.shape == "plain" else []
        return ["--source", source, "--target", self.database.conninfo, "--table", "m", *plain, *(more if "--progress" in more else ("--progress", "none", *more))]

    def run(self, *more, source="f.csv", check=REJECTS, stdin=None):
        return self.hyperfill.start("run", *self.arguments(source, "--on-bad-row", "reject", *more), stdin=stdin).wait(check=check)

    def replay(self, *more, source="f.csv", check=0):
        return self.hyperfill.start("replay", *self.arguments(source, *more)).wait(check=check)

    def write(self, *records, header=HEADER):
        (self.hyperfill.folder / "f.csv").write_bytes(header + b"".join(records))

    def count(self):
        """The rows in the table, which are those of the ledger."""
        if self.database.value("SELECT to_regclass('hyperfill.piece')") is None:
            return self.database.value("SELECT count(*) FROM m")
        # Also while a backend that outlived its client still commits.
        ((rows, in_ledger),) = self.database.rows_of_one_moment(
            "SELECT (SELECT count(*) FROM m), (SELECT coalesce(sum(rows), 0) FROM hyperfill.piece)"
        )
        assert rows == in_ledger
        return rows

    def ledger(self, where="true"):
        rows = self.database.rows(f'SELECT record FROM hyperfill.reject WHERE {where} ORDER BY input, "offset"')
        return [bytes(record) for (record,) in rows]

    def told(self):
        with open(self.reasons, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def check_rejects(self, records):
        """Ledger and file have these records and no other, in this order."""
        assert self.ledger("replayed IS NULL") == records
        assert self.rejects.read_bytes() == b"".join(r if r[-1:] == b"\n" else r + b"\n" for r in records)
        assert [line["record"] for line in self.told()] == [str(n + 1) for n in range(len(records))]


@pytest.fixture(params=["pg15-plain", "ts17-hypertable"])
def table(request, servers, hyperfill):
    kind, shape = request.param.split("-")
    return Table(servers[kind].create_database(), hyperfill, shape)


@pytest.fixture
def hypertable(servers, hyperfill):
    return Table(servers["ts17"].create_database(), hyperfill, "hypertable")


@pytest.fixture
def plain(servers, hyperfill):
    return Table(servers["pg15"].create_database(), hyperfill, "plain")


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_of_bad_row(table, kind):
    record, sqlstate, column = BAD[kind]
    table.write(good(1), good(2), record, good(3), good(4))
    table.run()
    assert table.count() == 4
    table.check_rejects([record])
    (line,) = table.told()
    assert line["sqlstate"] == sqlstate and line["input"] == "f.csv" and line["reason"]
    assert line["line"] == "4" and line["offset"] == str(len(HEADER + good(1) + good(2)))
    assert column is None or line["column"] == column


def test_without_the_option_it_stops(table):
    table.write(good(1), BAD["text in a number"][0])
    result = table.hyperfill.start("run", *table.arguments()).wait(check=DATA)
    assert "--on-bad-row reject" in result.stderr
    assert table.count() == 0 and not table.rejects.exists()
    table.run()
    table.check_rejects([BAD["text in a number"][0]])


def test_all_kinds_at_once_and_mended(table):
    """Every kind among good rows; mended in place and replayed, all of the file is in, and nothing is left."""
    records = [record for record, _, _ in BAD.values()]
    table.write(*[part for n, record in enumerate(records) for part in (good(2 * n), record, good(2 * n + 1))])
    result = table.run()
    assert f"{len(records)} rows were rejected" in result.stderr
    assert table.count() == 2 * len(records)
    table.check_rejects(records)
    assert table.run().stderr.count("rejected") == 1, "a complete job with rejects says so"
    mended = [good(5000 + n) for n in range(len(records))]
    table.rejects.write_bytes(b"".join(mended))
    table.replay()
    assert table.count() == 3 * len(records)
    assert table.ledger("replayed IS NULL") == []
    table.run(check=0)
    table.replay()
    assert table.count() == 3 * len(records)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("escape", [b'"', b"\\"])
def test_records_over_several_lines(table, chance, end, escape):
    """The line that COPY names is turned into the right record, whatever line ends stand in fields before it."""
    records, bad = [], []
    for number in range(4000):
        device, value = b"7", b"%d" % number
        pieces = [chance.choice([b"a", b",", b"\n", b"\r", b"\r\n", escape + b'"', end]) for _ in range(chance.choice([0, 1, 9]))]
        note = b'"' + b"".join(pieces) + b'"'
        kind = chance.randrange(60)
        if kind == 0:
            value = b"x1"
        elif kind == 1:
            device = b""
        elif kind == 2:
            value = b"2000000"
        elif kind == 3:
            note += b",more"
        time_text = b"2024-03-%02d %02d:%02d:%02d+00" % (1 + number % 2, number // 3600, number // 60 % 60, number % 60)
        record = b",".join([time_text, device, value, note]) + end
        records.append(record)
        if kind < 4:
            bad.append(record)
    table.write(*records, header=HEADER.replace(b"\n", end))
    table.run("--escape", escape.decode())
    assert table.count() == len(records) - len(bad)
    assert table.ledger() == bad
    assert table.rejects.read_bytes() == b"".join(bad)
    told = table.told()
    offsets = [sum(map(len, records[: records.index(record)])) + len(HEADER.replace(b"\n", end)) for record in bad]
    assert [int(line["offset"]) for line in told] == offsets
    mended = [record.replace(b",x1,", b",5,").replace(b",2000000,", b",5,").replace(b",more", b"") for record in bad]
    mended = [record.replace(b"+00,,", b"+00,7,") for record in mended]
    table.rejects.write_bytes(b"".join(mended))
    table.replay("--escape", escape.decode())
    assert table.count() == len(records)


def test_a_record_without_line_end_at_the_end(table):
    table.write(good(1), b"x,1,2,3")
    table.run()
    assert table.ledger() == [b"x,1,2,3"]
    table.check_rejects([b"x,1,2,3"])


def test_an_unclosed_quote_still_stops(table):
    table.write(good(1), b'2024-03-01 10:00:00+00,1,2,"open\n', good(2))
    result = table.run(check=DATA)
    assert "quote is never closed" in result.stderr


def test_standard_input(table):
    record = BAD["text in a number"][0]
    data = HEADER + good(1) + record + good(2) + BAD["bad time"][0]
    table.run(source="-", stdin=data)
    assert table.count() == 2
    table.check_rejects([record, BAD["bad time"][0]])
    assert {line["input"] for line in table.told()} == {"standard input"}
    # The same once more is complete.
    table.run(source="-", stdin=data)
    assert table.count() == 2
    # The header is enough to tell the job.
    table.rejects.write_bytes(good(3) + good(4))
    table.hyperfill.start("replay", *table.arguments("-"), stdin=HEADER).wait(check=0)
    assert table.count() == 4


def test_unique_violations(table):
    """Against rows that are there, and between rows of one piece: the first of them is good."""
    table.database.execute("INSERT INTO m VALUES ('2024-03-01 00:00:05+00', 7, 0, 'there')")
    table.write(good(4), good(5), good(6), good(6), good(7))
    table.run("--overlap", "keep")
    assert table.database.value("SELECT count(*) FROM m") == 4
    table.check_rejects([good(5), good(6)])
    assert {line["sqlstate"] for line in table.told()} == {"23505"}


def test_triggers_and_waiting_constraints(plain):
    """A row trigger that raises, a foreign key that would be looked at by the commit only."""
    plain.database.execute(
        """CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (7);
        ALTER TABLE m ADD FOREIGN KEY (device) REFERENCES d DEFERRABLE INITIALLY DEFERRED;
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN IF NEW.note = 'evil' THEN RAISE EXCEPTION 'no, "%", never', NEW.note; END IF; RETURN NEW; END $$;
        CREATE TRIGGER t AFTER INSERT ON m FOR EACH ROW EXECUTE FUNCTION f()"""
    )
    bad = [good(3).replace(b"good", b"evil"), good(90).replace(b",7,", b",8,")]
    plain.write(good(1), good(2), bad[0], *map(good, range(10, 80)), bad[1], good(99))
    plain.run()
    assert plain.count() == 73
    plain.check_rejects(bad)
    assert [line["sqlstate"] for line in plain.told()] == ["P0001", "23503"]
    assert plain.told()[0]["reason"] == 'no, "evil", never'


@pytest.mark.parametrize("note", ["text", "varchar(40)"])
def test_from_postgres(servers, hyperfill, hypertable, note):
    """A source whose blocks are given back as they are written: the range is asked for again, once, and written carefully.

    With equal types the rows travel as binary, until the range is written carefully.
    """
    source = servers["pg15"].create_database()
    source.execute(
        f"""CREATE TABLE m (time timestamptz, device int, value float8, note {note});
        INSERT INTO m SELECT '2024-03-01'::timestamptz + n * interval '10 s', n % 7,
          CASE WHEN n % 1000 = 999 THEN 2000000 ELSE n END, E'a\\nb' || n FROM generate_series(1, 50000) n"""
    )
    bad = source.rows("SELECT count(*), sum(device) FROM m WHERE value >= 1000000")[0]
    hypertable.run("--until", "2024-03-07 00:00:00+00", source=source.conninfo)
    assert hypertable.count() == 50000 - bad[0]
    told = hypertable.told()
    assert len(told) == bad[0] == 50 and {line["sqlstate"] for line in told} == {"23514"}
    records = list(csv.reader(hypertable.rejects.open(newline="")))
    assert sum(int(record[1]) for record in records) == bad[1]
    text = hypertable.rejects.read_bytes().replace(b",2000000,", b",20,")
    hypertable.rejects.write_bytes(text)
    hypertable.replay("--until", "2024-03-07 00:00:00+00", source=source.conninfo)
    assert hypertable.count() == 50000
    query = "SELECT count(*), sum(hashtext(time::text || device || note)::bigint) FROM m"
    assert hypertable.database.rows(query) == source.rows(query)
    hypertable.run("--until", "2024-03-07 00:00:00+00", source=source.conninfo, check=0)


# ---- Limits


def test_max_rejects(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(10)]
    table.write(good(1), *bad[:5], good(2), *bad[5:], good(3, day=2))
    for limit in ("0", "9"):
        result = table.run("--max-rejects", limit, check=DATA)
        assert f"--max-rejects {limit} allows" in result.stderr and 'invalid input syntax' in result.stderr
        assert len(table.ledger()) <= int(limit)
    table.run("--max-rejects", "10")
    assert table.count() == 3
    table.check_rejects(bad)


def test_max_rejects_as_a_share(table):
    """Of few rows it is judged at the end only; what is loaded stays, and a higher share goes on."""
    records = [good(n) for n in range(90)] + [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(10)]
    table.write(*records)
    result = table.run("--max-rejects", "9.9%", check=DATA)
    assert "10 of 100 rows were rejected" in result.stderr
    assert table.count() == 90
    table.check_rejects(records[90:])
    table.run("--max-rejects", "10%")
    assert table.count() == 90


def test_a_share_of_many_ends_the_run_early(table):
    bad = [b"2024-03-01 %02d:%02d:00+00,1,abc,x\n" % (10 + n // 60, n % 60) for n in range(800)]
    table.write(*bad, *[BAD["bad time"][0]] * 400, *[good(n) for n in range(3000)])
    result = table.run("--max-rejects", "20%", check=DATA)
    assert "--max-rejects 20% allows" in result.stderr
    assert table.count() == 0
    table.run("--max-rejects", "100%")
    assert table.count() == 3000 and len(table.ledger()) == 1200


@pytest.mark.parametrize("value", ["x", "-1", "101%", "1%%", "%", "99999999999999999999"])
def test_max_rejects_that_cannot_be_read(hyperfill, value):
    result = hyperfill.start("run", "--source", "a", "--target", "b", "--table", "c", f"--max-rejects={value}").wait(check=USAGE)
    assert "--max-rejects" in result.stderr


# ---- Runs after each other


@pytest.mark.parametrize("mode", ["stop", "reject"])
def test_read_again_from_the_start(table, mode):
    """What was rejected stays so, also for a run that would stop there: as after a crash, all is read a second time."""
    bad = [record for record, _, _ in BAD.values()]
    table.write(good(1), *bad, good(2), good(3, day=2))
    table.run()
    table.database.execute(
        "UPDATE hyperfill.job SET finished = NULL; UPDATE hyperfill.piece SET frontier = 0, frontier_line = 0"
    )
    result = table.replay(check=USAGE)
    assert "not complete" in result.stderr
    table.hyperfill.start("run", *table.arguments("f.csv", "--on-bad-row", mode)).wait(check=REJECTS)
    assert table.count() == 3
    table.check_rejects(bad)


def test_the_limit_is_of_the_whole_job(table):
    """Those of earlier runs count; what is committed stays, and a higher limit goes on from there."""
    bad = [b"2024-03-%02d 10:%02d:00+00,1,abc,x\n" % (1 + n // 5, n % 5) for n in range(20)]
    table.write(*[part for n, record in enumerate(bad) for part in (good(n, day=1 + n // 5), record)])
    told = 0
    for limit in (5, 7, 12):
        table.run("--max-rejects", str(limit), "--jobs", "1", check=DATA)
        assert told <= len(table.ledger()) <= limit
        told = len(table.ledger())
        assert table.count() == told
        if told > 0:
            table.check_rejects(table.ledger())
    assert told > 0
    table.run("--max-rejects", "20")
    assert table.count() == 20
    table.check_rejects(bad)


def test_json_and_summary(table):
    table.write(good(1), BAD["CHECK"][0], BAD["bad time"][0])
    events = [json.loads(line) for line in table.run("--progress", "json").stdout.splitlines()]
    (summary,) = [event for event in events if event["event"] == "summary"]
    assert (summary["result"], summary["rows"], summary["rejects"]) == ("rejects", 1, 2)


def status_of(table):
    said = json.loads(table.hyperfill.run("status", "--table", "m", "--json").stdout)
    shown = table.hyperfill.run("status", "--table", "m").stdout
    counts = said["rejects"], said["rejects_open"], said["rejects_replayed"]
    if counts[0] > 0:
        assert "rejected    {:,}: {:,} open, {:,} replayed or dropped".format(*counts) in shown
    else:
        assert "rejected" not in shown
    assert ("hyperfill replay" in shown) == (counts[1] > 0 and said["state"] == "complete")
    return counts


def test_status_tells_of_rejects(table):
    bad = [BAD["CHECK"][0], BAD["bad time"][0], BAD["text in a number"][0], b"2024-03-02 10:00:00+00,1,abc,x\n"]
    table.write(good(1), *bad, good(2, day=2))
    table.run()
    assert status_of(table) == (4, 4, 0)
    # One is corrected, one is dropped, the third is still bad.
    records = table.rejects.read_bytes().splitlines(keepends=True)
    mended = {bad[0]: good(5), bad[1]: b"\n"}
    table.rejects.write_bytes(b"".join(mended.get(record, record) for record in sorted(records, key=bad.index)))
    reasons = table.told()
    table.replay(check=DATA)
    open_now = table.database.value("SELECT count(*) FROM hyperfill.reject WHERE replayed IS NULL")
    assert 2 <= open_now < 4 and len(reasons) == 4
    assert status_of(table) == (4, open_now, 4 - open_now)
    # Lost, cut off and damaged: the next run has it from the ledger.
    checkpoint = table.hyperfill.folder / "hyperfill-m.checkpoint"
    text = checkpoint.read_bytes()
    for content in (None, text.replace(b"open=", b"open=1"), text[: text.index(b"rejects all=") + 15]):
        if content is None:
            checkpoint.unlink()
        else:
            checkpoint.write_bytes(content)
        table.run()
        assert status_of(table) == (4, open_now, 4 - open_now)


def test_status_while_rows_are_rejected(table):
    """Killed at the first reject that the file knows of: what it says is no more than the ledger has, and the end is right."""
    table.write(*(good(n) if n % 3 else b"2024-03-01 10:00:00+00,%d,abc,x\n" % n for n in range(30_000)))
    process = table.hyperfill.start("run", *table.arguments("f.csv", "--on-bad-row", "reject", "--max-rejects", "100%", "--memory", "16MB"))
    checkpoint = table.hyperfill.folder / "hyperfill-m.checkpoint"
    while process.running and (not checkpoint.exists() or b"\nrejects " not in checkpoint.read_bytes()):
        time.sleep(0.01)
    process.kill()
    said = status_of(table)
    assert 0 < said[0] == said[1] <= table.database.value("SELECT count(*) FROM hyperfill.reject")
    table.run("--max-rejects", "100%")
    assert status_of(table) == (10_000, 10_000, 0)


def test_files_deleted_or_changed(table):
    bad = BAD["text in a number"][0]
    table.write(good(1), bad)
    table.run()
    table.rejects.unlink()
    table.run()
    table.check_rejects([bad])
    # What somebody is correcting is left alone.
    table.rejects.write_bytes(good(9))
    table.run()
    assert table.rejects.read_bytes() == good(9)
    table.rejects.unlink()
    table.reasons.unlink()
    table.run()
    table.check_rejects([bad])


def test_files_of_an_interrupted_rendering(table):
    """The reasons have their name already, the rejects not yet: not replayed, and written anew by the next run."""
    bad = BAD["text in a number"][0]
    table.write(good(1), bad)
    table.run()
    new = table.rejects.with_name(table.rejects.name + ".new")
    table.rejects.write_bytes(b"older\n")
    new.write_bytes(bad)
    result = table.replay(check=USAGE)
    assert "not written to its end" in result.stderr
    table.run()
    table.check_rejects([bad])
    assert not new.exists()


def test_more_rejects_after_an_edit(table):
    """What somebody was correcting when the job got other rejects is kept, and can be replayed under its new name."""
    bad = [b"2024-03-%02d 10:00:00+00,1,abc,x\n" % day for day in (1, 2, 3)]
    table.write(*bad, good(1))
    table.run("--max-rejects", "2", "--jobs", "1", check=DATA)
    told = table.ledger()
    if not told:
        pytest.skip("all were in one piece")
    table.rejects.write_bytes(b"".join(record.replace(b"abc", b"5") for record in told))
    table.run()
    table.check_rejects(bad)
    edited = table.rejects.with_name(table.rejects.name + ".edited")
    table.replay("--reject-file", edited.name, check=REJECTS)
    assert table.count() == 1 + len(told)


def test_files_of_others_are_not_written_over(table):
    table.write(good(1), BAD["text in a number"][0])
    table.rejects.write_bytes(b"mine\n")
    result = table.run(check=USAGE)
    assert "not written over" in result.stderr and "--reject-file" in result.stderr
    assert table.rejects.read_bytes() == b"mine\n"
    assert table.database.value("SELECT to_regclass('hyperfill.reject')") is None
    table.run("--reject-file", "other")
    assert (table.hyperfill.folder / "other").read_bytes() == BAD["text in a number"][0]


def test_a_ledger_of_an_earlier_version(table):
    table.write(good(1))
    table.run(check=0)
    table.database.execute("DROP TABLE hyperfill.reject")
    table.run(check=0)
    table.hyperfill.start("clean", "--target", table.database.conninfo, "--table", "m").wait(check=0)
    table.database.execute("TRUNCATE m")
    (table.hyperfill.folder / "hyperfill-m.checkpoint").unlink()
    table.write(good(1), BAD["text in a number"][0])
    table.run()
    clean = ["clean", "--target", table.database.conninfo, "--table", "m"]
    result = table.hyperfill.start(*clean).wait(check=USAGE)
    assert "1 rejected row" in result.stderr
    result = table.hyperfill.start(*clean, "--yes").wait(check=0)
    assert "1 rejected row" in result.stdout
    assert table.database.value("SELECT to_regclass('hyperfill.job')") is None


# ---- Replay


def test_replay_with_a_record_that_is_still_bad(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(6)]
    table.write(good(1), *bad)
    table.run()
    mended = [record.replace(b"abc", b"5") for record in bad]
    table.rejects.write_bytes(b"".join([*mended[:3], bad[3], *mended[4:]]))
    result = table.replay(check=DATA)
    assert "record 4 of" in result.stderr and "abc" in result.stderr
    assert table.count() == 4
    table.rejects.write_bytes(b"".join([*mended[:3], b"nothing,1,2,3\n", *mended[4:]]))
    result = table.replay(check=DATA)
    assert "record 4 of" in result.stderr and "nothing" in result.stderr
    table.rejects.write_bytes(b"".join(mended))
    table.replay()
    assert table.count() == 7


def test_replay_of_the_unchanged_file(table):
    table.write(good(1), BAD["CHECK"][0])
    table.run()
    table.replay(check=DATA)
    assert table.count() == 1


def test_replay_with_blank_lines(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\r\n" % n for n in range(4)]
    records = [good(n).replace(b"\n", b"\r\n") for n in range(4)]
    table.write(*records, *bad, header=HEADER.replace(b"\n", b"\r\n"))
    table.run()
    table.check_rejects(bad)
    table.rejects.write_bytes(b"".join([b"\n", bad[1].replace(b"abc", b"5"), b"\r\n", bad[3].replace(b"abc", b"6")]))
    result = table.replay()
    assert "2 loaded, 2 dropped" in result.stderr
    assert table.count() == 6
    table.run(check=0)


def test_replay_with_a_wrong_count(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(4)]
    table.write(good(1), *bad)
    table.run()
    for count in (3, 5):
        table.rejects.write_bytes(b"".join(good(n + 10) for n in range(count)))
        result = table.replay(check=USAGE)
        assert f"has {count} records" in result.stderr and "names 4" in result.stderr
    assert table.count() == 1


def test_replay_outside_of_the_window(table):
    table.write(good(1), BAD["text in a number"][0])
    table.run("--until", "2024-03-02 00:00:00+00")
    table.rejects.write_bytes(good(1, day=3))
    result = table.replay("--until", "2024-03-02 00:00:00+00", check=DATA)
    assert "--until" in result.stderr
    assert table.count() == 1


def test_replay_of_another_job(table):
    table.write(good(1), BAD["text in a number"][0])
    table.run()
    result = table.replay("--until", "2024-03-02 00:00:00+00", check=USAGE)
    assert "knows no job" in result.stderr


def test_replay_killed(table, chance):
    count = 3000
    bad = [b"2024-03-01 %02d:%02d:%02d+00,1,abc,x\n" % (n // 3600, n // 60 % 60, n % 60) for n in range(count)]
    table.write(good(1), *bad)
    table.run("--max-rejects", "100%")
    assert table.count() == 1
    table.rejects.write_bytes(b"".join(record.replace(b"abc", b"5") for record in bad))
    for _ in range(6):
        process = table.hyperfill.start("replay", *table.arguments())
        time.sleep(chance.uniform(0.01, 0.12))
        process.kill()
        ((rows, replayed),) = table.database.rows(
            "SELECT (SELECT count(*) FROM m), (SELECT count(replayed) FROM hyperfill.reject)"
        )
        assert rows == 1 + replayed
    table.replay()
    assert table.count() == count + 1
    assert table.database.value("SELECT count(DISTINCT time) FROM m WHERE value = 5") == count


def test_replay_with_a_commit_in_doubt(table, proxy, servers):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(4)]
    table.write(good(1), *bad)
    table.run()
    table.rejects.write_bytes(b"".join(record.replace(b"abc", b"5") for record in bad))
    between = proxy(table.database.server)
    between.lose_commit_answer()
    arguments = table.arguments()
    arguments[arguments.index("--target") + 1] = between.conninfo(table.database)
    table.hyperfill.start("replay", *arguments).wait(check=0)
    assert between.lost_answer_count == 1
    assert table.count() == 5


# ---- Killed, cut off, and many


def write_many(table, chance, rows):
    """Good rows of five days in turns, with a bad one of some kind after each hundredth; returns the bad ones."""
    bad = []
    with open(table.hyperfill.folder / "f.csv", "wb") as file:
        file.write(HEADER)
        for number in range(rows):
            file.write(good(number // 5, day=1 + number % 5))
            if chance.random() < 0.01:
                bad.append(chance.choice(list(BAD.values()))[0])
                file.write(bad[-1])
    return bad


def test_connections_cut(table, proxy, chance):
    """Connections that are lost at random, and answers to commits: careful pieces too are tried again, and stay exact."""
    rows = 60_000
    bad = write_many(table, chance, rows)
    line = proxy(table.database.server)
    arguments = table.arguments("f.csv", "--on-bad-row", "reject", "--max-rejects", "5%", "--memory", "16MB", "--jobs", "2")
    arguments[arguments.index("--target") + 1] = line.conninfo(table.database)
    line.cut_after(2_000_000, times=12, bytes_min=200_000)
    line.lose_commit_answer(5)
    table.hyperfill.start("run", *arguments).wait(check=REJECTS)
    print(f"{line.cut_count} cuts, {line.lost_answer_count} lost answers")
    assert line.cut_count > 0 and line.lost_answer_count == 1
    assert table.count() == rows
    table.check_rejects(bad)


def test_a_role_that_may_not_make_the_table_of_rejects(plain):
    """A ledger of an earlier version, made by somebody else: told with what to grant; without rejects it is of use as it is."""
    plain.write(good(1))
    plain.run(check=0)
    plain.database.execute(
        """DROP TABLE hyperfill.reject; DELETE FROM hyperfill.job; DELETE FROM hyperfill.piece; TRUNCATE m;
        DROP ROLE IF EXISTS loader; CREATE ROLE loader LOGIN;
        GRANT USAGE ON SCHEMA hyperfill TO loader; GRANT ALL ON hyperfill.job, hyperfill.piece, m TO loader"""
    )
    arguments = plain.arguments()
    arguments[arguments.index("--target") + 1] += " user=loader"
    try:
        result = plain.hyperfill.start("run", *arguments, "--on-bad-row", "reject").wait(check=4)
        assert "reject" in result.stderr and "GRANT" in result.stderr
        plain.hyperfill.start("run", *arguments).wait(check=0)
        assert plain.count() == 1
    finally:
        plain.database.execute("DROP OWNED BY loader; DROP ROLE loader")


def loaded(table):
    if table.database.value("SELECT to_regclass('hyperfill.piece')") is None:
        return 0
    return table.database.value("SELECT coalesce(sum(rows), 0) FROM hyperfill.piece")


def test_killed_at_random_moments(hypertable, chance):
    """kill -9 with bad rows of many kinds: table, ledger and files are exact in the end."""
    rows, hits, seen = 200_000, 0, set()
    bad = write_many(hypertable, chance, rows)
    more = ["--max-rejects", "5%", "--memory", "16MB", "--jobs", "2"]
    arguments = hypertable.arguments("f.csv", "--on-bad-row", "reject", *more)
    while hits < 8:
        process = hypertable.hyperfill.start("run", *arguments)
        # Half of the kills hit the start of a run, half come once it has committed something.
        if hits % 2 == 0:
            time.sleep(chance.uniform(0, 0.3))
        else:
            # The ledger is quick to ask: else it goes on for long while we look.
            before = loaded(hypertable)
            while process.running and loaded(hypertable) == before:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))
        process.kill()
        if process.popen.returncode != -signal.SIGKILL:
            break
        hits += 1
        seen.add(hypertable.count())
    hypertable.run(*more)
    print(f"{hits} kills, rows after them {sorted(seen)}")
    assert hits >= 4 and len(seen) > 1
    assert hypertable.count() == rows
    hypertable.check_rejects(bad)


def test_a_hundredth_of_a_million(servers, hyperfill, chance, server):
    """1 % bad rows of every kind in 1 M rows: all good ones in, all bad ones aside byte for byte, and in once mended."""
    table = Table(server.create_database(), hyperfill, "hypertable" if server.has_timescaledb else "plain")
    kinds = [record for record, _, _ in BAD.values()]
    bad, rows = [], 1_000_000
    with open(hyperfill.folder / "f.csv", "wb") as file:
        file.write(HEADER)
        for number in range(rows):
            if chance.random() < 0.01:
                bad.append(chance.choice(kinds))
                file.write(bad[-1])
            else:
                file.write(good(number % 86400, day=1 + number // 86400))
    begun = time.monotonic()
    table.run("--max-rejects", "2%")
    print(f"{rows} rows with {len(bad)} bad ones in {time.monotonic() - begun:.1f} s on {server.kind}")
    assert table.count() == rows - len(bad)
    table.check_rejects(bad)
    mended = [good(number % 86400, day=20 + number // 86400) for number in range(len(bad))]
    table.rejects.write_bytes(b"".join(mended))
    table.replay()
    assert table.count() == rows
    table.run(check=0)
