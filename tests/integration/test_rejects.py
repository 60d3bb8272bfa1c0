"""Bad rows: the good ones are loaded exactly once, the bad ones are set aside byte for byte, and loaded once they are mended."""

import csv

import pytest

from harness import DATA
from harness.rejects import BAD, HEADER, Table, good


@pytest.fixture
def plain(servers, hyperfill):
    return Table(servers["pg15"].create_database(), hyperfill, "plain")


@pytest.fixture
def hypertable(servers, hyperfill):
    return Table(servers["ts17"].create_database(), hyperfill, "hypertable")


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
